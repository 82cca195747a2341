//! Experience, frailty, mitigants and severities.

use alloy_primitives::U256;
use assay_domain::decimal::{Atto, Ppt};
use assay_domain::exposure::{DecayedExposure, EpochReversed, is_above_dust};
use assay_domain::frailty::{
    ExpectedAt, Hazard, OperatorRecord, Totals, estimate_kappa, leave_one_out, newcomer_multiplier,
};
use assay_domain::hazard::GammaRate;
use assay_domain::mitigation::{
    Claim, Covariates, Mitigant, OperatorClass, Standing, VerificationLevel, hazard_multiplier,
};
use assay_domain::severity::{Severity, SeverityRecord};
use proptest::prelude::*;
use serde_json::Value;

use crate::model_support::{atto, methodology, vector, within_1e12, within_a_ppt};

const EVERY_MITIGANT: [Mitigant; 4] =
    [Mitigant::AntiSlasher, Mitigant::RemoteSigner, Mitigant::Dvt, Mitigant::Doppelganger];

fn decimal(text: &str) -> Atto {
    text.parse().unwrap()
}

#[test]
fn v05_decay() {
    let methodology = methodology();
    let v05 = vector("V05_decay");
    within_1e12(methodology.decay.daily_factor, &v05["daily_factor"]);
    let mut experience = DecayedExposure::new(0);
    experience.set_live(0, true, &methodology.decay).unwrap();
    for epoch in v05["event_epochs"].as_array().unwrap() {
        experience.record_incident(epoch.as_u64().unwrap(), &methodology.decay).unwrap();
    }
    experience.advance_to(v05["epochs"].as_u64().unwrap(), &methodology.decay).unwrap();
    within_1e12(experience.incidents(), &v05["n_decayed"]);
    let years = experience.years(&methodology.clock);
    within_1e12(years, &v05["X_decayed_years_discrete_canonical"]);
    let prior = GammaRate::from(methodology.priors.c1);
    let posterior = prior.posterior(experience.incidents(), years);
    within_1e12(posterior.mean(), &v05["posterior_mean_prior_0p5_32p5"]);

    experience.advance_to(60_000, &methodology.decay).unwrap();
    within_1e12(experience.years(&methodology.clock), &v05["X_max_years"]);
}

#[test]
fn experience_does_not_go_back() {
    let decay = methodology().decay;
    let mut experience = DecayedExposure::new(10);
    assert_eq!(experience.advance_to(9, &decay), Err(EpochReversed { at: 10, asked: 9 }));
}

#[test]
fn v06_hierarchical_hazard() {
    let methodology = methodology();
    let v06 = vector("V06_hierarchical_hazard");
    let inputs = &v06["inputs"];
    let group = Totals { incidents: atto(&inputs["N_g"]), years: atto(&inputs["X_g"]) };
    let own = Totals { incidents: atto(&inputs["n_o"]), years: atto(&inputs["X_o"]) };
    let group = leave_one_out(methodology.priors.c1.into(), group, own);
    assert_eq!(group.shape, atto(&v06["group_loo"]["shape"]));
    assert_eq!(group.rate, atto(&v06["group_loo"]["rate"]));
    within_1e12(group.mean(), &v06["group_loo"]["mean"]);
    assert_eq!(methodology.frailty.kappa, atto(&inputs["kappa"]));

    let claim = |level| {
        let claim = Claim { level, standing: Standing::Current { age_days: 0 } };
        claim.credit(&methodology.levels, &methodology.mitigation)
    };
    let credits = [
        (Mitigant::AntiSlasher, claim(VerificationLevel::VerifiedRemote)),
        (Mitigant::Dvt, claim(VerificationLevel::SignedThirdParty)),
    ];
    for row in v06["rows"].as_array().unwrap() {
        let credits = if row["case"] == "no_mitigant" { &[][..] } else { &credits[..] };
        check_operator(group, own, credits, row);
    }
}

fn check_operator(group: GammaRate, own: Totals, credits: &[(Mitigant, Atto)], row: &Value) {
    let methodology = methodology();
    let class = OperatorClass::SigningFault;
    let none = Covariates::default();
    let multiplier = hazard_multiplier(class, credits, &none, &methodology.mitigation);
    assert_eq!(multiplier, atto(&row["m"]));
    let at = ExpectedAt { group_mean: group.mean(), multiplier, years: own.years };
    let record = OperatorRecord::new(own.incidents, &[at]);
    within_1e12(record.expected, &row["E_o"]);
    let kappa = methodology.frailty.kappa;
    within_1e12(record.frailty(kappa), &row["theta_mean"]);
    within_a_ppt(record.credibility(kappa), &row["credibility_Z"]);
    let hazard = Hazard::of_operator(group, multiplier, &record, &methodology.frailty);
    within_1e12(hazard.rate.mean(), &row["lambda_mean"]);
    within_1e12(hazard.rate.shape, &row["match_shape"]);
    within_1e12(hazard.rate.rate, &row["match_rate"]);
    within_a_ppt(hazard.rate.predictive(Atto::ONE), &row["P_ge1_1y"]);
    within_1e12(hazard.rate.quantile("0.05".parse().unwrap()), &row["q05"]);
    within_1e12(hazard.rate.quantile("0.95".parse().unwrap()), &row["q95"]);
}

#[test]
fn a_new_identity_starts_above_its_group() {
    let frailty = methodology().frailty;
    let young = OperatorRecord { years: decimal("0.499"), ..OperatorRecord::default() };
    let grown = OperatorRecord { years: decimal("0.5"), ..OperatorRecord::default() };
    assert_eq!(newcomer_multiplier(&young, &frailty), decimal("1.5"));
    assert_eq!(newcomer_multiplier(&grown, &frailty), Atto::ONE);
}

#[test]
fn kappa_is_estimated_and_clamped() {
    let frailty = methodology().frailty;
    let record = |incidents: &str, expected: &str| OperatorRecord {
        incidents: decimal(incidents),
        expected: decimal(expected),
        years: Atto::ONE,
    };
    // (1 + 1) / ((4 - 1) + (1 - 1)) = 2/3.
    let records = [record("3", "1"), record("0", "1")];
    let two_thirds = Atto::from_whole(2).saturating_div(Atto::from_whole(3));
    assert_eq!(estimate_kappa(&records, &frailty), two_thirds);
    assert_eq!(estimate_kappa(&[record("1", "1")], &frailty), frailty.kappa_max);
    assert_eq!(estimate_kappa(&[record("30", "0.1")], &frailty), frailty.kappa_min);
}

#[test]
fn credit_fades_and_lapses() {
    let methodology = methodology();
    let credit = |standing| {
        let claim = Claim { level: VerificationLevel::VerifiedOnChain, standing };
        claim.credit(&methodology.levels, &methodology.mitigation)
    };
    assert_eq!(credit(Standing::Current { age_days: 0 }), Atto::ONE);
    assert_eq!(credit(Standing::Current { age_days: 90 }), decimal("0.5"));
    assert_eq!(credit(Standing::Lapsed), Atto::ZERO);
}

#[test]
fn covariates_raise_and_are_clamped() {
    let mitigation = methodology().mitigation;
    let worst = Covariates {
        key_migration_age_days: Some(30),
        uptime: Some("0.98".parse().unwrap()),
        sets_served: 21,
    };
    assert_eq!(worst.multiplier(&mitigation), Atto::from_whole(3));
    let fine = Covariates {
        key_migration_age_days: Some(31),
        uptime: Some("0.99".parse().unwrap()),
        sets_served: 20,
    };
    assert_eq!(fine.multiplier(&mitigation), Atto::ONE);
    let all = EVERY_MITIGANT.map(|mitigant| (mitigant, Atto::ONE));
    let class = OperatorClass::SigningFault;
    assert_eq!(hazard_multiplier(class, &all, &fine, &mitigation), decimal("0.1"));
    let one = [(Mitigant::AntiSlasher, Atto::ONE)];
    let liveness = hazard_multiplier(OperatorClass::Liveness, &one, &fine, &mitigation);
    assert_eq!(liveness, decimal("1.05"));
}

#[test]
fn severities_start_at_the_table_and_move() {
    let parameters = methodology().severity;
    let estimate = |prior, record: &SeverityRecord, bound: Option<&str>| {
        let bound = bound.map(|text| text.parse().unwrap());
        Severity::estimate(prior, record, bound, &parameters).mean.to_string()
    };
    let mut record = SeverityRecord::default();
    assert_eq!(estimate(&parameters.c1, &record, None), "0.28");
    assert_eq!(estimate(&parameters.c2, &record, None), "0.05");
    assert_eq!(estimate(&parameters.c3, &record, None), "0.4375");
    assert_eq!(estimate(&parameters.c4, &record, None), "0.95");
    assert_eq!(estimate(&parameters.c1, &record, Some("0.1")), "0.1");
    assert_eq!(estimate(&parameters.c1, &record, Some("0.5")), "0.23");
    record.record("0.95".parse().unwrap(), &parameters);
    // Full 2/11, partial 0.2.
    assert_eq!(estimate(&parameters.c1, &record, None), "0.345454545455");
    record.record("0.75".parse().unwrap(), &parameters);
    // Full 2/12, partial (10 · 0.2 + 0.75) / 11 = 0.25.
    assert_eq!(estimate(&parameters.c1, &record, None), "0.375");
}

#[test]
fn dust_is_no_experience() {
    let exposure = methodology().exposure;
    let eth = |value: u64| U256::from(value) * U256::from(10).pow(U256::from(18));
    assert!(is_above_dust(eth(32), eth(32_000), &exposure));
    assert!(!is_above_dust(eth(31), eth(31), &exposure));
    assert!(!is_above_dust(eth(32), eth(32_001), &exposure));
}

proptest! {
    #[test]
    fn decay_does_not_depend_on_the_batch(
        stops in prop::collection::vec((0..2_000_u64, 0..3_u8), 0..20),
    ) {
        let decay = methodology().decay;
        let mut stops = stops;
        stops.sort_unstable();
        let (mut coarse, mut fine) = (DecayedExposure::new(0), DecayedExposure::new(0));
        for (epoch, what) in stops.iter().copied() {
            for at in fine.epoch()..=epoch {
                fine.advance_to(at, &decay).unwrap();
            }
            for experience in [&mut coarse, &mut fine] {
                match what {
                    0 => experience.record_incident(epoch, &decay).unwrap(),
                    1 => experience.set_live(epoch, true, &decay).unwrap(),
                    _ => experience.set_live(epoch, false, &decay).unwrap(),
                }
            }
        }
        coarse.advance_to(2_000, &decay).unwrap();
        for at in fine.epoch()..=2_000 {
            fine.advance_to(at, &decay).unwrap();
        }
        prop_assert_eq!(coarse, fine);
    }

    #[test]
    fn mitigants_in_any_order_give_the_same(
        order in Just(EVERY_MITIGANT).prop_shuffle(),
        credit in 0..=1_000_000_u64,
    ) {
        let mitigation = methodology().mitigation;
        let credit = Atto(u128::from(credit) * 1_000_000_000_007);
        let mut sorted = order;
        sorted.sort_unstable();
        let multiplier = |mitigants: [Mitigant; 4]| {
            let credits = mitigants.map(|mitigant| (mitigant, credit));
            let none = Covariates::default();
            hazard_multiplier(OperatorClass::SigningFault, &credits, &none, &mitigation)
        };
        prop_assert_eq!(multiplier(order), multiplier(sorted));
    }

    #[test]
    fn a_worse_incident_is_never_a_lower_severity(
        a in 0..=1_000_000_000_000_u64,
        b in 0..=1_000_000_000_000_u64,
    ) {
        let parameters = methodology().severity;
        let after = |share| {
            let mut record = SeverityRecord::default();
            record.record(Ppt(share), &parameters);
            Severity::estimate(&parameters.c3, &record, None, &parameters).mean
        };
        prop_assert!(after(a.min(b)) <= after(a.max(b)));
    }
}
