//! The methodology file: it reads, it is checked, and what is wrong is named.

use assay_domain::methodology::{Methodology, MethodologyError};
use serde_json::Value;

use crate::model_support::methodology;

const FILE: &str = include_str!("../../src/domain/methodology/assay-1.json");

fn error_after(change: impl FnOnce(&mut Value)) -> MethodologyError {
    let mut file: Value = serde_json::from_str(FILE).unwrap();
    change(&mut file);
    Methodology::parse(&file.to_string()).unwrap_err()
}

#[test]
fn the_committed_file_is_version_1() {
    let methodology = methodology();
    assert_eq!(methodology.version, "1");
    assert_eq!(methodology.model_id, 1);
    assert_eq!(methodology.rulesets.standards.len(), 8);
    for standard in &methodology.rulesets.standards {
        assert_eq!(methodology.rulesets.standard(standard.hash), Some(standard));
    }
}

#[test]
fn the_hash_is_of_the_bytes() {
    let changed = format!("{FILE}\n");
    let changed = Methodology::parse(&changed).unwrap();
    assert_ne!(changed.hash(), methodology().hash());
}

#[test]
fn a_missing_field_is_named() {
    let error = error_after(|file| {
        file["frailty"].as_object_mut().unwrap().remove("kappa");
    });
    assert!(error.to_string().contains("missing field `kappa`"), "{error}");
}

#[test]
fn an_unknown_field_is_named() {
    let error = error_after(|file| file["frailty"]["kapa"] = "2".into());
    assert!(error.to_string().contains("unknown field `kapa`"), "{error}");
}

#[test]
fn a_number_that_is_not_exact_is_refused() {
    for wrong in ["1e-3", "-1", "", "0.0000000000000000001", ".5", "1."] {
        let error = error_after(|file| file["frailty"]["kappa"] = wrong.into());
        assert!(matches!(error, MethodologyError::Malformed(_)), "{wrong}: {error}");
    }
}

#[test]
fn a_scale_with_a_hole_is_refused() {
    let error = error_after(|file| {
        file["scale"].as_object_mut().unwrap().remove("BBB");
    });
    assert!(
        matches!(error, MethodologyError::ScaleIncomplete { table: "scale", found: 18 }),
        "{error}"
    );
}

#[test]
fn a_scale_that_falls_is_refused() {
    let error = error_after(|file| file["scale"]["BBB"] = "0.5".into());
    assert!(matches!(error, MethodologyError::ScaleNotRising(_)), "{error}");
}

#[test]
fn a_changed_rule_breaks_its_commitment() {
    let error = error_after(|file| {
        file["rulesets"]["standards"][0]["ruleset"]["rules"][0]["text"] = "other".into();
    });
    assert!(matches!(error, MethodologyError::RulesetHash { .. }), "{error}");
}

#[test]
fn a_complexity_that_the_rules_do_not_score_is_refused() {
    let error = error_after(|file| file["rulesets"]["standards"][0]["quarters"] = 2.into());
    assert!(
        matches!(error, MethodologyError::RulesetComplexity { expected: 2, found: 1, .. }),
        "{error}"
    );
}

#[test]
fn an_epoch_without_blocks_is_refused() {
    let error = error_after(|file| file["clock"]["epoch_blocks"] = 0.into());
    assert!(matches!(error, MethodologyError::Zero("epoch_blocks")), "{error}");
}
