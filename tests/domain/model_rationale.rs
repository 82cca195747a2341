//! Sentences and what they are made of.

use assay_domain::attribution::Attribution;
use assay_domain::cap::{Cap, CapReason};
use assay_domain::decimal::Ppt;
use assay_domain::grade::{ExpectedLossPpt, Grade};
use assay_domain::hazard::Slack;
use assay_domain::loss_block::{LossBlock, LossProfile};
use assay_domain::operator_set::{SetInputs, SlasherAuthority, set_caps, set_profile};
use assay_domain::rationale::{not_rated_sentence, percent, rationale};
use assay_domain::ruleset::Complexity;
use assay_domain::sensitivity::{Change, set_sensitivities, thresholds};
use assay_domain::uncertainty::{NotRated, Uncertainty, with_coverage_cap};
use proptest::prelude::*;

use crate::model_support::{block, methodology, unknown_set};

#[test]
fn percents_have_three_digits() {
    let cases = [
        (0, "0"),
        (5, "0.0000000005"),
        (280_000, "0.000028"),
        (7_772_494_423, "0.777"),
        (9_999_999_999, "1"),
        (10_177_935_182, "1.02"),
        (120_260_486_915, "12"),
        (999_500_000_000, "100"),
        (1_000_000_000_000, "100"),
        // What a gain is above what it takes may be many times it.
        (9_996_000_000_000, "1000"),
        (13_796_000_000_000, "1380"),
        (u64::MAX, "1844674407"),
    ];
    for (ppt, text) in cases {
        assert_eq!(percent(ppt), text, "{ppt}");
    }
}

#[test]
fn a_set_is_explained_in_sentences() {
    let methodology = methodology();
    let inputs = SetInputs {
        complexity: Some(Complexity { quarters: 7 }),
        slack: Some(Slack(500_000_000_000)),
        ..unknown_set(&methodology)
    };
    let profile = set_profile(&inputs, &methodology);
    let caps = with_coverage_cap(&set_caps(&inputs, &methodology), &profile, &methodology);
    let attribution = Attribution::of(&profile, &caps, &methodology.scale);
    let uncertainty = Uncertainty::of(&profile, &methodology);
    let sensitivities = set_sensitivities(&inputs, &[], &methodology);
    let found =
        rationale(attribution.grade, &attribution, &uncertainty, &sensitivities, &methodology);
    let text = [vec![found.headline], found.drivers, found.raises, found.lowers, found.limits]
        .concat()
        .join("\n");
    assert_eq!(text, include_str!("model_rationale.txt").trim_end());
}

#[test]
fn a_ceiling_that_holds_alone_is_named() {
    let methodology = methodology();
    let profile = LossProfile::settle(vec![block("C1|o|s", Ppt::ONE, Ppt(935_000_000), Ppt::ONE)]);
    let caps = [Cap::of(CapReason::RecipientEoa, &methodology).unwrap()];
    let attribution = Attribution::of(&profile, &caps, &methodology.scale);
    let uncertainty = Uncertainty::of(&profile, &methodology);
    let found = rationale(Grade::BbM, &attribution, &uncertainty, &[], &methodology);
    assert_eq!(
        found.headline,
        "BB- (p): 0.0935 % of the exposure is expected to be lost in a year. That alone is BBB; a \
         ceiling holds it at BB. Today's figures give BB; the rating follows when they have lasted."
    );
    assert_eq!(
        found.raises,
        ["Without the ceiling because the recipient of slashed stake is a single key, the grade \
          would be BBB."]
    );
}

#[test]
fn a_slasher_behind_a_timelock_is_one_changed_input() {
    let methodology = methodology();
    let inputs = unknown_set(&methodology);
    let change = Change::Authority(SlasherAuthority::TimelockedMultisig);
    let sensitivities = set_sensitivities(&inputs, &[], &methodology);
    let found = sensitivities.iter().find(|sensitivity| sensitivity.change == change).unwrap();
    let authority = SlasherAuthority::TimelockedMultisig;
    let changed = SetInputs { authority, ..inputs.clone() };
    assert_eq!(found.expected_loss, set_profile(&changed, &methodology).expected_loss());
    let unchanged = Change::Authority(inputs.authority);
    assert!(sensitivities.iter().all(|sensitivity| sensitivity.change != unchanged));
}

#[test]
fn the_reason_for_no_rating_is_a_sentence() {
    let reason = NotRated::CoverageTooLow {
        coverage: "0.125".parse().unwrap(),
        needed: "0.25".parse().unwrap(),
    };
    assert_eq!(
        not_rated_sentence(reason),
        "Not rated: 12.5 % of the expected loss rests on evidence, 25 % is needed, and no \
         component was read from the chain."
    );
}

proptest! {
    #[test]
    fn a_threshold_is_where_the_grade_changes(
        losses in prop::collection::vec(0..100_000_000_000_u64, 1..6),
    ) {
        let scale = methodology().scale;
        let blocks: Vec<LossBlock> = losses
            .iter()
            .zip('a'..)
            .map(|(loss, id)| block(&format!("C1|{id}"), Ppt::ONE, Ppt(*loss), Ppt::ONE))
            .collect();
        let attribution = Attribution::of(&LossProfile::settle(blocks), &[], &scale);
        for threshold in thresholds(&attribution, &scale) {
            let with = |loss: ExpectedLossPpt| {
                let total = attribution.expected_loss.0 - threshold.expected_loss.0 + loss.0;
                scale.grade(ExpectedLossPpt(total))
            };
            if let Some((grade, loss)) = threshold.better {
                prop_assert_eq!(with(loss), grade);
                prop_assert_eq!(with(ExpectedLossPpt(loss.0 + 1)), attribution.grade);
            }
            if let Some((grade, loss)) = threshold.worse {
                prop_assert_eq!(with(loss), grade);
                prop_assert_eq!(with(ExpectedLossPpt(loss.0 - 1)), attribution.grade);
            }
        }
    }
}
