//! Reads `tests/golden/vectors.json`, the numbers of the independent program, and compares.

use std::sync::OnceLock;

use serde_json::Value;

/// The record of one vector.
pub(crate) fn vector(name: &str) -> &'static Value {
    static FILE: OnceLock<Value> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        serde_json::from_str(include_str!("../golden/vectors.json")).expect("vectors.json is JSON")
    });
    file.get(name).unwrap_or_else(|| panic!("no vector {name}"))
}

/// A number written as text or as a JSON number.
pub(crate) fn number(value: &Value) -> f64 {
    match value {
        Value::String(text) => text.parse().expect("a number"),
        Value::Number(number) => number.to_string().parse().expect("a number"),
        other => panic!("no number: {other}"),
    }
}

/// Within `bound` of the expected number.
#[track_caller]
pub(crate) fn absolute(what: &str, found: f64, expected: &Value, bound: f64) {
    let error = (found - number(expected)).abs();
    report(what, error, "absolute");
    assert!(error <= bound, "{what}: found {found:e}, expected {expected}, off {error:e}");
}

/// Within `bound` times the expected number.
#[track_caller]
pub(crate) fn relative(what: &str, found: f64, expected: &Value, bound: f64) {
    let wanted = number(expected);
    let error = if wanted == 0.0 { found.abs() } else { ((found - wanted) / wanted).abs() };
    report(what, error, "relative");
    assert!(error <= bound, "{what}: found {found:e}, expected {expected}, off {error:e}");
}

/// With `ASSAY_SHOW_ERRORS=1` the errors are printed, for the record in the methodology.
fn report(what: &str, error: f64, kind: &str) {
    if std::env::var_os("ASSAY_SHOW_ERRORS").is_some() {
        eprintln!("{what}: {kind} error {error:.1e}");
    }
}
