//! Attributions add up.

use std::collections::BTreeMap;

use alloy_primitives::U256;
use assay_domain::attribution::{
    Attribution, ExactChange, Factors, change_lines, hamilton, shapley,
};
use assay_domain::cap::{Cap, CapReason};
use assay_domain::decimal::Ppt;
use assay_domain::grade::{ExpectedLossPpt, Grade, MilliNotch};
use assay_domain::loss_block::{LossBlock, LossProfile};
use proptest::prelude::*;
use serde_json::Value;

use crate::model_support::{block, methodology, vector};

fn by_family(value: &Value) -> BTreeMap<String, u16> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn v12_attribution() {
    let v12 = vector("V12_attribution");
    let losses = v12["el_ppt_by_block"].as_object().unwrap();
    // Hazard one and exposure one leave the severity as the expected loss, to the last digit.
    let of_loss = |(id, loss): (&String, &Value)| {
        let loss = loss.as_str().unwrap().parse().unwrap();
        block(id, Ppt::ONE, Ppt(loss), Ppt::ONE)
    };
    let profile = LossProfile::settle(losses.iter().map(of_loss).collect());
    let attribution = Attribution::of(&profile, &[], &methodology().scale);
    assert_eq!(u64::from(attribution.score.0), v12["points_total"].as_u64().unwrap());
    for line in &attribution.blocks {
        let expected = v12["hamilton_points"][&line.id].as_u64().unwrap();
        assert_eq!(u64::from(line.points), expected, "{}", line.id);
    }
    let families = attribution.by_family();
    let families: BTreeMap<String, u16> =
        families.into_iter().map(|(family, points)| (family.to_owned(), points)).collect();
    assert_eq!(families, by_family(&v12["by_family"]));
}

#[test]
fn v12_shapley_change() {
    let v12 = &vector("V12_attribution")["shapley_delta"];
    let factors = |field: &str| {
        let factor = |index: usize| v12[field][index].as_str().unwrap().parse().unwrap();
        Factors { hazard: factor(0), severity: factor(1), exposure: factor(2) }
    };
    let change = shapley(factors("t0"), factors("t1"));
    let check = |found: ExactChange, field: &str| {
        let (numerator, denominator) = found.ratio();
        assert_eq!(format!("{numerator}/{denominator}"), v12[field].as_str().unwrap());
    };
    check(change.hazard, "d_hazard_exact");
    check(change.severity, "d_severity_exact");
    check(change.exposure, "d_exposure_exact");
    let total = change.hazard.plus(change.severity).plus(change.exposure);
    assert_eq!(total.ratio(), (63, 2_500_000));
}

fn cap(reason: CapReason) -> Cap {
    Cap::of(reason, &methodology()).unwrap()
}

#[test]
fn caps_are_lines_and_the_sum_still_holds() {
    let scale = methodology().scale;
    let profile = LossProfile::settle(vec![block("C1|x", Ppt::ONE, Ppt(935_000_000), Ppt::ONE)]);
    let caps = [
        cap(CapReason::RulesetUnpublished),
        cap(CapReason::CorruptionProfitUnknown),
        cap(CapReason::RecipientEoa),
        cap(CapReason::SlasherEoaOrUnknown),
    ];
    let attribution = Attribution::of(&profile, &caps, &scale);
    assert_eq!(attribution.model_grade, Grade::Bbb);
    assert_eq!(attribution.grade, Grade::BbM);
    assert_eq!(attribution.score, MilliNotch(12_000));
    let lines: Vec<(CapReason, u16)> =
        attribution.caps.iter().map(|line| (line.reason, line.points)).collect();
    let expected = [
        (CapReason::CorruptionProfitUnknown, 0),
        (CapReason::RecipientEoa, 3_000),
        (CapReason::SlasherEoaOrUnknown, 1_000),
        (CapReason::RulesetUnpublished, 0),
    ];
    assert_eq!(lines, expected);
    let defaulted = Attribution::of(&profile, &[cap(CapReason::DefaultEvent)], &scale);
    assert_eq!((defaulted.grade, defaulted.score), (Grade::D, MilliNotch::DEFAULT_EVENT));
}

#[test]
fn nothing_to_split_is_split_into_nothing() {
    assert_eq!(hamilton(100, &[]), [0_u64; 0]);
    assert_eq!(hamilton(100, &[U256::ZERO, U256::ZERO]), [0, 0]);
    assert_eq!(hamilton(2, &[U256::ONE, U256::ONE, U256::ONE]), [1, 1, 0]);
}

#[test]
fn a_block_that_comes_is_exposure() {
    let before = LossProfile::settle(vec![]);
    let after = LossProfile::settle(vec![block("C3|s", Ppt::ONE, Ppt(5), Ppt::ONE)]);
    let lines = change_lines(&before, &after);
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].hazard_ppt, lines[0].severity_ppt, lines[0].exposure_ppt), (0, 0, 5));
    let lines = change_lines(&after, &before);
    assert_eq!((lines[0].hazard_ppt, lines[0].severity_ppt, lines[0].exposure_ppt), (0, 0, -5));
}

const SOME_CAPS: [CapReason; 4] = [
    CapReason::RecipientEoa,
    CapReason::RulesetUnpublished,
    CapReason::TailAboveHalf,
    CapReason::DefaultEvent,
];

fn share() -> impl Strategy<Value = Ppt> {
    prop_oneof![Just(0), Just(1_000_000_000_000), 0..=1_000_000_000_000_u64, 0..2_000_000_u64]
        .prop_map(Ppt)
}

fn blocks() -> impl Strategy<Value = Vec<LossBlock>> {
    let one = (0..12_u8, share(), share(), share());
    prop::collection::btree_map(0..12_u8, one, 0..10).prop_map(|map| {
        map.into_iter().map(|(id, (_, h, s, x))| block(&format!("C1|{id}"), h, s, x)).collect()
    })
}

proptest! {
    #[test]
    fn hamilton_sums_exactly(
        total in 0..20_000_u64,
        weights in prop::collection::vec(0..u64::MAX, 1..40),
    ) {
        let weights: Vec<U256> = weights.into_iter().map(U256::from).collect();
        let parts = hamilton(total, &weights);
        let sum: u64 = parts.iter().sum();
        let expected = if weights.iter().all(|weight| weight.is_zero()) { 0 } else { total };
        prop_assert_eq!(sum, expected);
    }

    #[test]
    fn an_attribution_sums_to_its_score(
        blocks in blocks(),
        reasons in prop::sample::subsequence(SOME_CAPS.to_vec(), 0..=SOME_CAPS.len()),
    ) {
        let profile = LossProfile::settle(blocks);
        let caps: Vec<Cap> = reasons.into_iter().map(cap).collect();
        let attribution = Attribution::of(&profile, &caps, &methodology().scale);
        let losses: u64 = attribution.blocks.iter().map(|line| line.expected_loss.0).sum();
        prop_assert_eq!(ExpectedLossPpt(losses), attribution.expected_loss);
        let points = attribution.blocks.iter().map(|line| line.points)
            .chain(attribution.caps.iter().map(|line| line.points));
        prop_assert_eq!(points.sum::<u16>(), attribution.score.0);
        prop_assert!(attribution.score >= attribution.model_score);
        prop_assert!(attribution.grade >= attribution.model_grade);
    }

    #[test]
    fn blocks_in_any_order_settle_the_same((blocks, shuffled) in blocks().prop_flat_map(
        |blocks| (Just(blocks.clone()), Just(blocks).prop_shuffle())
    )) {
        prop_assert_eq!(LossProfile::settle(blocks), LossProfile::settle(shuffled));
    }

    #[test]
    fn a_settled_block_is_within_a_part_of_its_product(blocks in blocks()) {
        for block in LossProfile::settle(blocks).blocks() {
            let factors = [block.hazard, block.severity, block.exposure];
            let product: u128 = factors.iter().map(|factor| u128::from(factor.0)).product();
            let exact = product / 1_000_000_000_000_000_000_000_000;
            let found = u128::from(block.expected_loss.0);
            prop_assert!(found == exact || found == exact + 1);
        }
    }

    #[test]
    fn more_of_any_factor_is_never_less_loss(
        blocks in blocks(),
        index in 0..10_usize,
        which in 0..3_u8,
        more in share(),
    ) {
        let before = LossProfile::settle(blocks.clone()).expected_loss();
        let mut blocks = blocks;
        if let Some(block) = blocks.get_mut(index) {
            let factor = match which {
                0 => &mut block.hazard,
                1 => &mut block.severity,
                _ => &mut block.exposure,
            };
            *factor = (*factor).max(more);
        }
        prop_assert!(LossProfile::settle(blocks).expected_loss() >= before);
    }

    #[test]
    fn a_change_is_explained_to_the_last_part(before in blocks(), after in blocks()) {
        let (before, after) = (LossProfile::settle(before), LossProfile::settle(after));
        let sum: i128 = change_lines(&before, &after).iter()
            .flat_map(|line| [line.hazard_ppt, line.severity_ppt, line.exposure_ppt])
            .map(i128::from)
            .sum();
        let expected = i128::from(after.expected_loss().0) - i128::from(before.expected_loss().0);
        prop_assert_eq!(sum, expected);
    }
}
