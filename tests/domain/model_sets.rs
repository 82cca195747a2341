//! Operator sets, AVSs and operators as loss blocks.

use alloy_primitives::U256;
use assay_domain::cap::CapReason;
use assay_domain::decimal::{Atto, Ppt};
use assay_domain::frailty::Hazard;
use assay_domain::grade::{ExpectedLossPpt, Grade};
use assay_domain::hazard::{GammaRate, Slack};
use assay_domain::loss_block::{
    LossClass, LossProfile, Provenance, Scope, lrt_contract_block, platform_block,
};
use assay_domain::methodology::Methodology;
use assay_domain::mitigation::VerificationLevel;
use assay_domain::operator::{OperatorInputs, SetPosition, operator_profile};
use assay_domain::operator_set::{
    Member, RecipientKind, Redistribution, Service, SetInputs, SetProvenance, SlasherAuthority,
    VetoProfile, WeightedSet, avs_profile, common_blocks, operator_severities, set_caps,
    set_profile,
};
use assay_domain::ruleset::Complexity;
use assay_domain::severity::Severity;
use assay_domain::uncertainty::{NotRated, Uncertainty, coverage, not_rated};
use proptest::prelude::*;
use serde_json::Value;

use crate::model_support::{atto, block, methodology, unknown_set, vector, within_a_ppt};

const QUARTERS_A_POINT: u128 = 4;

fn archetype(row: &Value, methodology: &Methodology) -> SetInputs {
    let inputs = &row["inputs"];
    let quarters = atto(&inputs["K"]).0 * QUARTERS_A_POINT / Atto::ONE.0;
    let authority = match inputs["mu_C4"].as_str().unwrap() {
        "0.001" => SlasherAuthority::Immutable,
        "0.002" => SlasherAuthority::TimelockedMultisig,
        "0.005" => SlasherAuthority::Multisig,
        "0.04" => SlasherAuthority::EoaOrUnknown,
        other => panic!("no authority with mean {other}"),
    };
    let redistribution = match inputs["redistribution_mult"].as_str().unwrap() {
        "1" => Redistribution::Burned,
        "3" => Redistribution::Immediate(RecipientKind::Eoa),
        other => panic!("no redistribution with multiplier {other}"),
    };
    let credit = atto(&inputs["veto"]).saturating_div(methodology.veto.weight.to_atto());
    let ppt = |value: &Value| atto(value).to_ppt();
    SetInputs {
        complexity: Some(Complexity { quarters: quarters.try_into().unwrap() }),
        slashes_liveness: inputs["liveness"].as_bool().unwrap(),
        authority,
        redistribution,
        veto: Some(VetoProfile { signers: 3, window_blocks: 7_200, credit }),
        alpha: Some(ppt(&inputs["alpha"])),
        slack: (!inputs["gamma"].is_null())
            .then(|| Slack(ppt(&inputs["gamma"]).0.try_into().unwrap())),
        live_years: atto(&inputs["avs_years_live"]),
        ..unknown_set(methodology)
    }
}

#[test]
fn v19_avs_archetypes() {
    let methodology = methodology();
    let rows = vector("V19_avs_archetypes");
    for row in rows.as_array().unwrap() {
        let profile = set_profile(&archetype(row, &methodology), &methodology);
        let found = profile.expected_loss();
        let expected: u64 = row["EL_ppt"].as_str().unwrap().parse().unwrap();
        assert_eq!(found, ExpectedLossPpt(expected), "{}", row["archetype"]);
        let grade = methodology.scale.grade(found);
        assert_eq!(grade.letters(), row["model_grade"].as_str().unwrap());
        for (class, loss) in row["EL_components"].as_object().unwrap() {
            let of_class = |name: &str| profile.blocks().iter().find(|b| b.class.name() == name);
            let loss_of_class = of_class(class).map_or(0, |block| block.expected_loss.0);
            within_a_ppt(Ppt(loss_of_class), loss);
        }
    }
}

#[test]
fn caps_come_from_the_design() {
    let methodology = methodology();
    let rows = vector("V19_avs_archetypes");
    let reasons = |index: usize| -> Vec<CapReason> {
        let inputs = archetype(&rows[index], &methodology);
        set_caps(&inputs, &methodology).into_iter().map(|cap| cap.reason).collect()
    };
    assert_eq!(reasons(0), []);
    assert_eq!(reasons(1), []);
    assert_eq!(reasons(2), [CapReason::CorruptionProfitUnknown]);
    let all = [
        CapReason::SlasherEoaOrUnknown,
        CapReason::RecipientEoa,
        CapReason::CorruptionProfitUnknown,
    ];
    assert_eq!(reasons(3), all);
    let unknown = set_caps(&unknown_set(&methodology), &methodology);
    let ceiling = unknown.iter().find(|cap| cap.reason == CapReason::RulesetUnpublished);
    assert_eq!(ceiling.unwrap().ceiling, Grade::BbM);
}

#[test]
fn an_unpublished_ruleset_is_assumed_complex_and_to_slash_liveness() {
    let methodology = methodology();
    let profile = set_profile(&unknown_set(&methodology), &methodology);
    let block = |class| profile.blocks().iter().find(|block| block.class == class);
    assert!(block(LossClass::C2).is_some());
    let mean = block(LossClass::C3).unwrap().rate.unwrap().mean();
    assert_eq!(mean, "0.08".parse().unwrap());
}

#[test]
fn a_recipient_under_its_own_control_expects_a_sweep() {
    let methodology = methodology();
    let inputs = SetInputs {
        authority: SlasherAuthority::Immutable,
        redistribution: Redistribution::SelfControlled(RecipientKind::Contract),
        ..unknown_set(&methodology)
    };
    let profile = set_profile(&inputs, &methodology);
    let c4 = profile.blocks().iter().find(|block| block.class == LossClass::C4).unwrap();
    assert_eq!(c4.rate.unwrap().mean(), "0.5".parse().unwrap());
}

#[test]
fn a_real_slash_moves_the_posterior() {
    let methodology = methodology();
    let clean = unknown_set(&methodology);
    let slashed = SetInputs { incidents_c4: Atto::ONE, ..clean.clone() };
    let older = SetInputs { live_years: Atto::ONE, ..clean.clone() };
    let loss = |inputs: &SetInputs| set_profile(inputs, &methodology).expected_loss();
    assert!(loss(&slashed) > loss(&clean));
    assert!(loss(&older) < loss(&clean));
}

#[test]
fn a_bounded_slasher_bounds_what_it_slashes() {
    let methodology = methodology();
    let bound: Ppt = "0.1".parse().unwrap();
    let inputs = SetInputs {
        slash_max: Some(bound),
        authority: SlasherAuthority::Immutable,
        ..unknown_set(&methodology)
    };
    for block in set_profile(&inputs, &methodology).blocks() {
        assert!(block.severity <= bound, "{}", block.id);
    }
    let inputs = SetInputs { authority: SlasherAuthority::Multisig, ..inputs };
    let profile = set_profile(&inputs, &methodology);
    let c4 = profile.blocks().iter().find(|block| block.class == LossClass::C4).unwrap();
    assert_eq!(c4.severity, "0.95".parse().unwrap());
}

#[test]
fn members_weigh_by_stake() {
    let methodology = methodology();
    let group: GammaRate = methodology.priors.c1.into();
    let member = |operator: &str, slashable: u64| Member {
        operator: operator.to_owned(),
        slashable: U256::from(slashable),
        c1: Hazard::benchmark(group),
        c2: Hazard::benchmark(methodology.priors.c2.into()),
        provenance: Provenance::Log,
    };
    let benchmark = unknown_set(&methodology);
    let members = SetInputs {
        service: Service::Members(vec![member("b", 1), member("a", 2)]),
        ..benchmark.clone()
    };
    let profile = set_profile(&members, &methodology);
    let exposure = |id: &str| {
        profile.blocks().iter().find(|block| block.id == id).unwrap().exposure.to_string()
    };
    assert_eq!(exposure("C1|a|s"), "0.666666666667");
    assert_eq!(exposure("C1|b|s"), "0.333333333333");
    // Two benchmark members are a benchmark.
    let benchmark = set_profile(&benchmark, &methodology).expected_loss();
    assert!(profile.expected_loss().0.abs_diff(benchmark.0) <= 1);
}

#[test]
fn an_avs_is_its_sets_or_its_worst() {
    let methodology = methodology();
    let bad = set_profile(&unknown_set(&methodology), &methodology);
    let rows = vector("V19_avs_archetypes");
    let good = set_profile(
        &SetInputs { set: "t".to_owned(), ..archetype(&rows[0], &methodology) },
        &methodology,
    );
    let weighted = |set: &str, slashable: Option<u64>, profile: &LossProfile| WeightedSet {
        set: set.to_owned(),
        slashable: slashable.map(U256::from),
        profile: profile.clone(),
    };
    let known = [weighted("t", Some(3), &good), weighted("s", Some(1), &bad)];
    let avs = avs_profile(&known).unwrap();
    assert_eq!(avs.worst_set, "s");
    let mean = (3 * good.expected_loss().0 + bad.expected_loss().0) / 4;
    assert!(avs.profile.expected_loss().0.abs_diff(mean) <= 1);
    let unknown = [weighted("t", Some(3), &good), weighted("s", None, &bad)];
    assert_eq!(avs_profile(&unknown).unwrap().profile, bad);
    assert_eq!(avs_profile(&[]), None);
}

fn position(set: &str, allocated: &str, methodology: &Methodology) -> SetPosition {
    let inputs = SetInputs { set: set.to_owned(), ..unknown_set(methodology) };
    let (c1_severity, c2_severity) = operator_severities(&inputs, methodology);
    let c2 = Hazard::benchmark(methodology.priors.c2.into());
    SetPosition {
        set: set.to_owned(),
        group: inputs.group.clone(),
        allocated: allocated.parse().unwrap(),
        latent: Ppt::ZERO,
        c1: Hazard::benchmark(methodology.priors.c1.into()),
        c1_severity,
        c2: c2_severity.map(|severity| (c2, severity)),
        provenance: Provenance::Log,
        common: common_blocks(&inputs, methodology),
    }
}

fn operator(positions: Vec<SetPosition>) -> OperatorInputs {
    OperatorInputs { operator: "o".to_owned(), positions, unencumbered: Ppt::ZERO }
}

#[test]
fn v07d_single_operator() {
    let methodology = methodology();
    let v07d = vector("V07d_single_operator");
    let hazard = atto(&v07d["p"]).to_ppt();
    let severity = atto(&v07d["severity"]).to_ppt();
    let profile = LossProfile::settle(vec![block("C1|o|s", hazard, severity, Ppt::ONE)]);
    assert_eq!(profile.expected_loss(), ExpectedLossPpt(4_312_000_000));
    within_a_ppt(Ppt(profile.expected_loss().0), &v07d["EL"]);
    assert_eq!(methodology.scale.grade(profile.expected_loss()), Grade::BbP);

    // The same through an operator whose posterior predictive probability is that hazard.
    let rate = GammaRate::from_mean("0.5".parse().unwrap(), "0.015779".parse().unwrap());
    let lone = SetPosition {
        c1: Hazard::benchmark(rate),
        c1_severity: Severity::fixed(severity),
        c2: None,
        common: vec![],
        ..position("s", "1", &methodology)
    };
    let profile = operator_profile(&operator(vec![lone]), &methodology);
    let probability = rate.predictive(Atto::ONE);
    assert_eq!(profile.blocks().len(), 1);
    assert_eq!(Ppt(profile.expected_loss().0), probability.times(severity));
}

#[test]
fn a_tenth_allocated_is_a_tenth_of_the_loss() {
    let methodology = methodology();
    let profile = |allocated: &str| {
        let lone = position("s", allocated, &methodology);
        operator_profile(&operator(vec![lone]), &methodology).expected_loss().0
    };
    let whole = set_profile(&unknown_set(&methodology), &methodology).expected_loss().0;
    assert_eq!(profile("1"), whole);
    assert!(profile("0.1").abs_diff(whole / 10) <= 1);
}

#[test]
fn latent_exposure_counts_a_quarter_in_the_worst_set() {
    let methodology = methodology();
    let mild = SetPosition { common: vec![], ..position("a", "0.5", &methodology) };
    let inputs = OperatorInputs {
        unencumbered: "0.4".parse().unwrap(),
        ..operator(vec![mild, position("b", "0.1", &methodology)])
    };
    let profile = operator_profile(&inputs, &methodology);
    let exposure =
        |id: &str| profile.blocks().iter().find(|block| block.id == id).unwrap().exposure;
    assert_eq!(exposure("C1|o|a"), "0.5".parse().unwrap());
    assert_eq!(exposure("C1|o|b"), "0.2".parse().unwrap());
    assert_eq!(exposure("C1w|o"), "0.7".parse().unwrap());
}

#[test]
fn shared_keys_are_a_block_of_their_own() {
    let methodology = methodology();
    let sets = vec![position("a", "0.2", &methodology), position("b", "0.3", &methodology)];
    let profile = operator_profile(&operator(sets), &methodology);
    let mean = |id: &str| {
        profile.blocks().iter().find(|block| block.id == id).unwrap().rate.unwrap().mean()
    };
    let prior = GammaRate::from(methodology.priors.c1).mean();
    let near = |found: Atto, factor: &str| {
        let expected = prior.saturating_mul(factor.parse().unwrap());
        assert!(found.distance(expected).0 <= 2, "{found}, expected {expected}");
    };
    near(mean("C1|o|a"), "0.8");
    near(mean("C1w|o"), "0.4");
}

#[test]
fn the_platform_counts_only_in_the_all_in_scope() {
    let methodology = methodology();
    let slashing = set_profile(&unknown_set(&methodology), &methodology);
    let all_in = slashing.clone().with([
        platform_block("eigenlayer", Atto::from_whole(2), &methodology),
        lrt_contract_block("lrt", Atto::from_whole(2), &methodology),
    ]);
    assert!(all_in.expected_loss() > slashing.expected_loss());
    assert_eq!(all_in.within(Scope::Slashing), slashing);
    assert_eq!(all_in.within(Scope::AllIn), all_in);
}

#[test]
fn what_is_not_known_is_not_rated() {
    let methodology = methodology();
    let empty = LossProfile::settle(vec![]);
    assert_eq!(not_rated(&empty, &methodology), Some(NotRated::NothingKnown));
    let inputs = unknown_set(&methodology);
    let reason = not_rated(&set_profile(&inputs, &methodology), &methodology);
    assert!(matches!(reason, Some(NotRated::CoverageTooLow { coverage: Ppt::ZERO, .. })));
    let provenance = SetProvenance { c4: Provenance::Log, ..inputs.provenance };
    let read = set_profile(&SetInputs { provenance, ..inputs }, &methodology);
    assert_eq!(not_rated(&read, &methodology), None);
}

#[test]
fn coverage_is_weighted_by_loss() {
    let methodology = methodology();
    let of = |id: &str, loss: u64, provenance| {
        let block = block(id, Ppt::ONE, Ppt(loss), Ppt::ONE);
        assay_domain::loss_block::LossBlock { provenance, ..block }
    };
    let profile = LossProfile::settle(vec![
        of("C1|a", 1_000_000, Provenance::Log),
        of("C3|a", 2_000_000, Provenance::Attested(VerificationLevel::SignedThirdParty)),
        of("C5|a", 1_000_000, Provenance::Prior),
    ]);
    assert_eq!(coverage(&profile, &methodology), "0.5".parse().unwrap());
}

#[test]
fn a_shared_rate_is_less_certain_than_two_of_their_own() {
    let methodology = methodology();
    let sets = vec![position("a", "0.2", &methodology), position("b", "0.3", &methodology)];
    let profile = operator_profile(&operator(sets), &methodology);
    let shared = Uncertainty::of(&profile, &methodology);
    let mut apart = profile.blocks().to_vec();
    for (block, number) in apart.iter_mut().zip(0..) {
        if let Some(group) = &mut block.group {
            group.id = format!("{number}");
        }
    }
    let apart = Uncertainty::of(&LossProfile::settle(apart), &methodology);
    assert!(shared.cv2 > apart.cv2);
    assert!(shared.low < profile.expected_loss() && profile.expected_loss() < shared.high);
    assert!(shared.conservative_grade >= methodology.scale.grade(profile.expected_loss()));
    assert!(shared.is_provisional(&methodology));
}

#[test]
fn v18_interval_of_a_profile() {
    let methodology = methodology();
    let mut lone = block("C1|o|s", Ppt::ONE, "0.0043".parse().unwrap(), Ppt::ONE);
    lone.own_cv2 = "2.25".parse().unwrap();
    let found = Uncertainty::of(&LossProfile::settle(vec![lone]), &methodology);
    let interval = &vector("V18_lrt_balance_sheet")["lognormal_EL_interval"];
    let expected = |field: &str| interval["q_ppt"][field].as_str().unwrap().parse::<u64>().unwrap();
    assert!(found.low.0.abs_diff(expected("q05")) <= 1);
    assert!(found.high.0.abs_diff(expected("q95")) <= 1);
    assert_eq!((found.low_grade, found.high_grade), (Grade::BbbP, Grade::BbM));
}

proptest! {
    #[test]
    fn a_worse_set_never_expects_less(
        (quarters, more_quarters) in (0..20_u16, 0..8_u16),
        slack in -1_500_000_000_000..1_500_000_000_000_i64,
        less_slack in 0..500_000_000_000_i64,
        (alpha, more_alpha) in (0..=500_000_000_000_u64, 0..=500_000_000_000_u64),
        (years, incidents) in (0..5_u64, 0..3_u64),
    ) {
        let methodology = methodology();
        let base = SetInputs {
            complexity: Some(Complexity { quarters }),
            slack: Some(Slack(slack)),
            alpha: Some(Ppt(alpha)),
            live_years: Atto::from_whole(years),
            ..unknown_set(&methodology)
        };
        let more_complex = Complexity { quarters: quarters + more_quarters };
        let redistribution = Redistribution::Immediate(RecipientKind::Eoa);
        let worse = [
            SetInputs { complexity: Some(more_complex), ..base.clone() },
            SetInputs { slack: Some(Slack(slack - less_slack)), ..base.clone() },
            SetInputs { alpha: Some(Ppt(alpha + more_alpha)), ..base.clone() },
            SetInputs { incidents_c3: Atto::from_whole(incidents), ..base.clone() },
            SetInputs { incidents_c4: Atto::from_whole(incidents), ..base.clone() },
            SetInputs { redistribution, ..base.clone() },
            SetInputs { slashes_liveness: true, ..base.clone() },
        ];
        let loss = |inputs: &SetInputs| set_profile(inputs, &methodology).expected_loss();
        for worse in &worse {
            prop_assert!(loss(worse) >= loss(&base));
        }
    }

    #[test]
    fn more_allocated_is_never_less_loss_and_order_does_not_matter(
        shares in prop::collection::vec((0..200_000_000_000_u64, 0..200_000_000_000_u64), 1..5),
        more in 0..100_000_000_000_u64,
    ) {
        let methodology = methodology();
        let at = |((allocated, latent), set): (&(u64, u64), char)| SetPosition {
            allocated: Ppt(*allocated),
            latent: Ppt(*latent),
            ..position(&set.to_string(), "0", &methodology)
        };
        let positions: Vec<SetPosition> = shares.iter().zip('a'..).map(at).collect();
        let mut more_allocated = positions.clone();
        more_allocated[0].allocated.0 += more;
        let loss = |positions| operator_profile(&operator(positions), &methodology);
        let base = loss(positions.clone());
        prop_assert!(loss(more_allocated).expected_loss() >= base.expected_loss());
        let mut reversed = positions;
        reversed.reverse();
        prop_assert_eq!(loss(reversed), base);
    }
}
