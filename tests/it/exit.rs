//! What others say of a token's markets, loans, value and reserves, and what it does to the token.

use alloy::primitives::{Address, B256, U256};
use assay_domain::Event;
use assay_domain::assess::Opinion;
use assay_domain::attestation::{Attestation, Claim, Message};
use assay_domain::cap::CapReason;
use assay_domain::decimal::Ppt;
use assay_domain::loss_block::Provenance;
use assay_domain::lrt::{LiquidityGrade, LrtOpinion, ReserveStatus};
use assay_domain::mitigation::VerificationLevel;
use assay_domain::rationale::exit_sentences;
use assay_domain::surveillance::WatchTrigger;
use proptest::prelude::*;

use crate::first_loss::{ANYBODY, ISSUER, NOW, THIRD_PARTY, opinion, said};
use crate::lrt::token;

const THIRD: VerificationLevel = VerificationLevel::SignedThirdParty;
const BP: u64 = 100_000_000;
const DAY: u64 = 86_400;

fn lrt(found: &Opinion) -> &LrtOpinion {
    found.lrt.as_ref().unwrap()
}

/// So many parts per million of what a token's net asset value is in the log.
fn part(name: &str, ppm: u64) -> U256 {
    lrt(&opinion(name, &[], 0)).look_through.nav * U256::from(ppm) / U256::from(1_000_000)
}

fn depth(name: &str, signer: Address, cost_bp: u64, ppm: u64) -> Event {
    let (cost, wei) = (Ppt(cost_bp * BP), part(name, ppm));
    said(signer, level(signer), Claim::DexDepth { token: token(name), cost, wei })
}

fn loans(name: &str, signer: Address, looped: u64, loan_to_value: u64, threshold: u64) -> Event {
    let claim = Claim::LendingExposure {
        token: token(name),
        looped: Ppt(looped * 100 * BP),
        loan_to_value: Ppt(loan_to_value * 100 * BP),
        liquidation_threshold: Ppt(threshold * 100 * BP),
    };
    said(signer, level(signer), claim)
}

fn proof(name: &str, signer: Address, ppm: u64, proven_at: u64) -> Event {
    let liabilities = U256::from(10_u64.pow(18));
    let assets = liabilities * U256::from(ppm) / U256::from(1_000_000);
    let claim = Claim::ReserveProof { token: token(name), assets, liabilities, proven_at };
    said(signer, level(signer), claim)
}

fn level(signer: Address) -> VerificationLevel {
    if signer == ANYBODY { VerificationLevel::SelfClaim } else { THIRD }
}

#[test]
fn what_a_sale_costs_is_the_second_leg_of_liquidity() {
    let plain = opinion("kelp", &[], 0);
    let liquidity = lrt(&plain).liquidity;
    assert_eq!((liquidity.by_cost, liquidity.grade), (None, liquidity.by_days));
    let unknown = exit_sentences(lrt(&plain)).concat();
    assert!(unknown.contains("what a sale costs is not known"), "{unknown}");
    let by_days = liquidity.by_days;
    for (bp, leg) in [(9, 1), (10, 2), (29, 2), (30, 3), (99, 3), (100, 4), (299, 4), (300, 5)] {
        let found = opinion("kelp", &[depth("kelp", THIRD_PARTY, bp, 1_000)], 0);
        let found = lrt(&found).liquidity;
        let (grade, sale) = found.by_cost.unwrap();
        assert_eq!((grade.number(), sale.cost, sale.level), (leg, Ppt(bp * BP), Some(THIRD)));
        assert_eq!(found.by_days, by_days, "the days stay what they are");
        assert_eq!(found.grade, grade.max(by_days));
    }
    // Of two the dearer counts, and anybody may say that it is dearer.
    for signer in [ANYBODY, ISSUER] {
        for (other, counts) in [(5, 40), (400, 400)] {
            let claims =
                [depth("kelp", THIRD_PARTY, 40, 1_000), depth("kelp", signer, other, 1_000)];
            let found = opinion("kelp", &claims, 0);
            let sale = lrt(&found).liquidity.by_cost.unwrap().1;
            assert_eq!(sale.cost, Ppt(counts * BP));
            assert_eq!(sale.level, (counts == 40).then_some(THIRD), "whose cost that is");
        }
        let alone = opinion("kelp", &[depth("kelp", signer, 400, 1_000)], 0);
        let found = lrt(&alone).liquidity;
        assert_eq!((found.grade, found.by_cost.unwrap().1.level), (LiquidityGrade::L5, None));
        let told = exit_sentences(lrt(&alone)).concat();
        assert!(told.contains("costs 4 % (L5), as somebody concerned says"), "{told}");
    }
    // It expires.
    let later = opinion("kelp", &[depth("kelp", THIRD_PARTY, 400, 1_000)], 31);
    assert_eq!(lrt(&later).liquidity.by_cost, None);
}

#[test]
fn what_markets_take_bounds_who_leaves_at_a_stale_value() {
    let most = Ppt(3_000 * BP);
    for name in ["kelp", "renzo", "swell"] {
        let plain = opinion(name, &[], 0);
        assert_eq!((lrt(&plain).run.redeemed, lrt(&plain).run.forced), (most, None), "{name}");
        // The issuer's word and anybody's earn nothing.
        for signer in [ISSUER, ANYBODY] {
            let own = opinion(name, &[depth(name, signer, 5, 0)], 0);
            assert_eq!(own.profile, plain.profile, "{name}");
        }
    }
    let plain = opinion("kelp", &[], 0);
    let at_once = |claims: &[Event]| {
        let found = opinion("kelp", claims, 0);
        (lrt(&found).run.redeemed, found.profile.expected_loss())
    };
    let (buffer, shallow) = at_once(&[depth("kelp", THIRD_PARTY, 5, 0)]);
    assert!(buffer < most && shallow < plain.profile.expected_loss());
    let (deeper, loss) = at_once(&[depth("kelp", THIRD_PARTY, 5, 20_000)]);
    assert!(deeper.0.abs_diff(buffer.0 + 200 * BP) <= 1, "{deeper} after {buffer}");
    assert!(loss > shallow);
    let disputed = [depth("kelp", THIRD_PARTY, 5, 0), depth("kelp", ANYBODY, 5, 20_000)];
    assert_eq!(at_once(&disputed), (deeper, loss));
    assert_eq!(at_once(&[depth("kelp", THIRD_PARTY, 5, 900_000)]).0, most);
    // Of a protocol whose events do not say what is set aside, the most leaves.
    let swell = opinion("swell", &[depth("swell", THIRD_PARTY, 5, 0)], 0);
    assert_eq!(lrt(&swell).run.redeemed, most);
}

#[test]
fn what_lenders_sell_leaves_too_where_a_loss_reaches_their_threshold() {
    let shallow = depth("kelp", THIRD_PARTY, 5, 0);
    let without = opinion("kelp", std::slice::from_ref(&shallow), 0);
    let with = |looped, loan_to_value| {
        let claims = [shallow.clone(), loans("kelp", ANYBODY, looped, loan_to_value, 95)];
        opinion("kelp", &claims, 0)
    };
    let (near, far) = (with(10, 93), with(10, 50));
    let sold = lrt(&near).run.forced.unwrap();
    // 1 - 93/95, rounded down.
    assert_eq!((sold.share, sold.from), (Ppt(1_000 * BP), Ppt(21_052_631_578)));
    let losses = [&without, &far, &near].map(|found| found.profile.expected_loss());
    assert!(losses[0] < losses[1] && losses[1] < losses[2], "{losses:?}");
    // Together with what is redeemed it is at most the methodology's share.
    let all = with(90, 95);
    let run = lrt(&all).run;
    assert_eq!(run.redeemed.0 + run.forced.unwrap().share.0, 3_000 * BP);
    assert_eq!(run.forced.unwrap().from, Ppt::ZERO);
    let told = exit_sentences(lrt(&near)).concat();
    assert!(told.contains("10 % stands behind loans that buy more of it"), "{told}");
    // Where all of that share leaves anyway, it is shown and moves nothing.
    let plain = opinion("kelp", &[], 0);
    let alone = opinion("kelp", &[loans("kelp", THIRD_PARTY, 40, 90, 95)], 0);
    assert_eq!((&alone.profile, lrt(&alone).run), (&plain.profile, lrt(&plain).run));
    assert_eq!(lrt(&alone).lending.unwrap().level, Some(THIRD));
}

#[test]
fn a_view_states_what_no_event_states_until_it_expires() {
    let view = |name: &str, signer: Address, ppm: u64| {
        let claim = Claim::NavView { token: token(name), wei: part(name, ppm) };
        said(signer, level(signer), claim)
    };
    let plain = opinion("renzo", &[], 0);
    assert_eq!(lrt(&plain).reserve.status, ReserveStatus::Absent);
    let nav = |claims: &[Event]| lrt(&opinion("renzo", claims, 0)).look_through.nav;
    assert_eq!(nav(&[view("renzo", THIRD_PARTY, 1_200_000)]), part("renzo", 1_200_000));
    assert_eq!(nav(&[view("renzo", THIRD_PARTY, 900_000)]), part("renzo", 1_000_000));
    assert_eq!(nav(&[view("renzo", ANYBODY, 1_200_000)]), part("renzo", 1_000_000));
    let disputed = [view("renzo", THIRD_PARTY, 1_200_000), view("renzo", ANYBODY, 1_300_000)];
    let found = opinion("renzo", &disputed, 0);
    assert_eq!(lrt(&found).look_through.nav, part("renzo", 1_200_000));
    assert_eq!(lrt(&found).reserve.liabilities, Some(part("renzo", 1_300_000)));
    let sum: U256 = lrt(&found).look_through.positions.iter().map(|one| one.value).sum();
    assert_eq!(sum, lrt(&found).look_through.nav, "every wei is in one place");
    // Where the protocol's events state it, they do.
    let swell = opinion("swell", &[view("swell", THIRD_PARTY, 2_000_000)], 0);
    assert_eq!(lrt(&swell).look_through.nav, part("swell", 1_000_000));
    // A view that expired is stale, and nothing is told by it.
    let old = opinion("renzo", &[view("renzo", THIRD_PARTY, 1_200_000)], 31);
    let reserve = lrt(&old).reserve;
    assert_eq!((reserve.status, reserve.liabilities), (ReserveStatus::Stale, None));
    assert!(old.watch.contains(&WatchTrigger::ReserveStale));
    assert_eq!(lrt(&old).look_through.nav, part("renzo", 1_000_000));
}

#[test]
fn a_proof_counts_while_it_is_fresh_and_the_worst_of_them_counts() {
    let status = |name: &str, claims: &[Event], days: u64| {
        let found = opinion(name, claims, days);
        let ceiling = found.caps.iter().find(|cap| {
            matches!(cap.reason, CapReason::ReserveBelowFull | CapReason::ReserveStaleOrAbsent)
        });
        (lrt(&found).reserve.status, ceiling.map(|cap| cap.reason))
    };
    let absent = (ReserveStatus::Absent, Some(CapReason::ReserveStaleOrAbsent));
    let stale = (ReserveStatus::Stale, absent.1);
    let short = |status| (status, Some(CapReason::ReserveBelowFull));
    assert_eq!(status("etherfi", &[], 0), absent);
    let full = proof("etherfi", THIRD_PARTY, 1_001_000, NOW);
    let proven = (ReserveStatus::Proven, None);
    assert_eq!(status("etherfi", std::slice::from_ref(&full), 0), proven);
    assert_eq!(status("etherfi", std::slice::from_ref(&full), 7), proven);
    // Older than a week, then expired.
    assert_eq!(status("etherfi", std::slice::from_ref(&full), 8), stale);
    assert_eq!(status("etherfi", std::slice::from_ref(&full), 31), stale);
    let old = proof("etherfi", THIRD_PARTY, 1_001_000, NOW - 8 * DAY);
    assert_eq!(status("etherfi", &[old], 0), stale);
    let claim = Claim::ReserveProof {
        token: token("etherfi"),
        assets: U256::ONE,
        liabilities: U256::ONE,
        proven_at: NOW + 1,
    };
    let (level, evidence) = (THIRD, B256::ZERO);
    let (observed_at, expires_at, effective_block) = (NOW, NOW + DAY, 1);
    let ahead = Attestation { claim, level, evidence, observed_at, effective_block, expires_at };
    assert_eq!(Message::Attestation(ahead).fault(), Some("it was observed before it was proven"));
    for signer in [ANYBODY, ISSUER] {
        let own = proof("etherfi", signer, 1_001_000, NOW);
        assert_eq!(status("etherfi", &[own], 0), absent, "its own word proves nothing");
        for (ppm, then) in
            [(995_000, ReserveStatus::BelowFull), (980_000, ReserveStatus::Insufficient)]
        {
            let less = proof("etherfi", signer, ppm, NOW);
            assert_eq!(status("etherfi", std::slice::from_ref(&less), 0), short(then));
            assert_eq!(status("etherfi", &[full.clone(), less], 0), short(then));
        }
    }
    // What a fresh proof misses is lost, whoever says so, and rests on no more than that.
    for (signer, level) in [
        (ANYBODY, VerificationLevel::SelfClaim),
        (ISSUER, VerificationLevel::SelfClaim),
        (THIRD_PARTY, THIRD),
    ] {
        let found = opinion("etherfi", &[proof("etherfi", signer, 980_000, NOW)], 0);
        let blocks = found.profile.blocks();
        let lost = blocks.iter().find(|block| block.id.contains("shortfall")).unwrap();
        assert_eq!((lost.severity, lost.hazard), (Ppt(200 * BP), Ppt::ONE));
        assert_eq!(lost.provenance, Provenance::Attested(level));
        assert_eq!(lrt(&found).reserve.proof, Some(level));
    }
    // Swell's own oracle counted enough: a third party's proof of less counts.
    assert_eq!(status("swell", &[], 0), proven);
    let less = proof("swell", THIRD_PARTY, 999_000, NOW);
    assert_eq!(status("swell", &[less], 0), short(ReserveStatus::BelowFull));
}

/// A claim of some kind by somebody whose word earns nothing.
fn own_word(name: &'static str) -> impl Strategy<Value = Event> {
    let signer = prop::sample::select(vec![ANYBODY, ISSUER]);
    (signer, 0..4_u8, 0..2_000_u64, 0..1_500_000_u64).prop_map(move |(signer, kind, bp, ppm)| {
        match kind {
            0 => depth(name, signer, bp, ppm),
            1 => loans(name, signer, bp / 20, bp / 30, 70),
            2 => proof(name, signer, ppm, NOW),
            _ => {
                let claim = Claim::NavView { token: token(name), wei: part(name, ppm + 1) };
                said(signer, level(signer), claim)
            }
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn more_looped_supply_never_lowers_a_loss(
        few in 0..100_u64, more in 0..100_u64, loan in 1..95_u64, ppm in 0..300_000_u64,
    ) {
        let loss = |looped| {
            let depth = depth("kelp", THIRD_PARTY, 5, ppm);
            let loans = loans("kelp", THIRD_PARTY, looped, loan, 95);
            opinion("kelp", &[depth, loans], 0).profile.expected_loss()
        };
        prop_assert!(loss(few.min(more)) <= loss(few.max(more)));
    }

    #[test]
    fn what_is_not_vouched_for_never_improves_anything(
        name in prop::sample::select(vec!["kelp", "renzo", "etherfi", "swell"]),
        kelps in prop::collection::vec(own_word("kelp"), 1..4),
        renzos in prop::collection::vec(own_word("renzo"), 1..4),
        etherfis in prop::collection::vec(own_word("etherfi"), 1..4),
        swells in prop::collection::vec(own_word("swell"), 1..4),
        is_vouched in any::<bool>(),
    ) {
        let own = match name { "kelp" => kelps, "renzo" => renzos, "etherfi" => etherfis, _ => swells };
        let mut claims = Vec::new();
        if is_vouched {
            let claim = Claim::NavView { token: token(name), wei: part(name, 1_100_000) };
            claims = vec![
                depth(name, THIRD_PARTY, 50, 30_000),
                loans(name, THIRD_PARTY, 10, 90, 95),
                proof(name, THIRD_PARTY, 1_000_000, NOW),
                said(THIRD_PARTY, THIRD, claim),
            ];
        }
        let before = opinion(name, &claims, 0);
        claims.extend(own);
        let after = opinion(name, &claims, 0);
        prop_assert!(after.profile.expected_loss() >= before.profile.expected_loss());
        prop_assert!(lrt(&after).liquidity.grade >= lrt(&before).liquidity.grade);
        let ceiling = |found: &Opinion| found.caps.iter().map(|cap| cap.ceiling).max();
        prop_assert!(ceiling(&after) >= ceiling(&before));
    }
}
