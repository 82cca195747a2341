//! Reads the golden vectors and compares with what the production functions gave.

use assay_domain::decimal::{Atto, Ppt};
use assay_domain::grade::ExpectedLossPpt;
use assay_domain::loss_block::{LossBlock, LossClass, LossShape, Provenance};
use assay_domain::methodology::Methodology;
use assay_domain::operator_set::{
    Redistribution, Service, SetInputs, SetProvenance, SetSeverities, SlasherAuthority,
};
use serde_json::Value;

/// One vector by its id.
pub(crate) fn vector(id: &str) -> Value {
    let file = include_str!("../golden/vectors.json");
    let all: Value = serde_json::from_str(file).unwrap();
    all.get(id).unwrap_or_else(|| panic!("no vector {id}")).clone()
}

/// The methodology of this binary.
pub(crate) fn methodology() -> Methodology {
    Methodology::version_1().unwrap()
}

/// A field that holds a decimal, cut to the 18 digits that [`Atto`] keeps.
pub(crate) fn atto(value: &Value) -> Atto {
    cut(value, 18).parse().unwrap()
}

/// Cuts a decimal to `digits` after the point.
fn cut(value: &Value, digits: usize) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        other => panic!("{other} is no number"),
    };
    match text.split_once('.') {
        Some((whole, fraction)) => {
            format!("{whole}.{}", &fraction[..fraction.len().min(digits)])
        }
        None => text,
    }
}

/// A probability or expected loss within one part per trillion of the vector.
#[track_caller]
pub(crate) fn within_a_ppt(found: Ppt, expected: &Value) {
    let expected = atto(expected);
    let error = found.to_atto().distance(expected).0;
    assert!(error <= 1_000_000, "found {found}, expected {expected}, error {error}e-18");
}

/// A rate or quantile within 1e-12 of the vector, relative.
#[track_caller]
pub(crate) fn within_1e12(found: Atto, expected: &Value) {
    let expected = atto(expected);
    let error = found.distance(expected).0;
    let allowed = expected.0 / 1_000_000_000_000 + 1;
    assert!(error <= allowed, "found {found}, expected {expected}, error {error}e-18");
}

/// A block with the given factors and nothing else.
pub(crate) fn block(id: &str, hazard: Ppt, severity: Ppt, exposure: Ppt) -> LossBlock {
    LossBlock {
        id: id.to_owned(),
        class: LossClass::C1,
        hazard,
        severity,
        shape: LossShape::certain(severity),
        exposure,
        expected_loss: ExpectedLossPpt::ZERO,
        provenance: Provenance::Log,
        rate: None,
        group: None,
        own_cv2: Atto::ZERO,
        credibility: Ppt::ZERO,
    }
}

/// A set of which nothing is known.
pub(crate) fn unknown_set(methodology: &Methodology) -> SetInputs {
    SetInputs {
        set: "s".to_owned(),
        group: "none|eigenlayer".to_owned(),
        complexity: None,
        slashes_liveness: false,
        slash_max: None,
        authority: SlasherAuthority::EoaOrUnknown,
        redistribution: Redistribution::Burned,
        veto: None,
        alpha: None,
        slack: None,
        live_years: Atto::ZERO,
        incidents_c3: Atto::ZERO,
        incidents_c4: Atto::ZERO,
        severities: SetSeverities::default(),
        provenance: SetProvenance {
            c3: Provenance::Prior,
            c4: Provenance::Prior,
            c5: Provenance::Prior,
        },
        service: Service::prior_benchmark(methodology),
    }
}
