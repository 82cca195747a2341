//! What tail risk costs, against V09, and the file of a question.

use assay_domain::frontier::input;
use assay_domain::frontier::pricing::Tail;
use assay_domain::loss::input as loss_input;
use assay_domain::ratio::Ratio;
use serde_json::json;

use crate::vectors::vector;

fn part(text: &str) -> Ratio {
    text.parse().unwrap()
}

#[test]
fn v09_premium_is_two_hundred_and_forty_five_basis_points() {
    let file = serde_json::to_vec(vector("V09_lrt_end_to_end")).unwrap();
    let tail = Tail::of(&loss_input::parse(&file).unwrap()).unwrap();
    // 73.575078615302 + 0.08 · (2224.374128301032 − 73.575078615302) bp.
    let premium = tail.premium(part("8/100"), Ratio::ZERO).unwrap().to_ppt().unwrap();
    assert!(premium.abs_diff(24_563_900_259) <= 2, "{premium}");
    let with_expenses = tail.premium(part("8/100"), part("1/5")).unwrap().to_ppt().unwrap();
    assert!(with_expenses.abs_diff(premium * 5 / 4) <= 2);
    let ceiling = tail.loan_to_value(part("1/100"), part("1/200")).unwrap().to_ppt().unwrap();
    // 1 − 0.312834583267925 − 0.01 − 0.005
    assert!(ceiling.abs_diff(672_165_416_732) <= 2, "{ceiling}");
}

fn question(change: impl Fn(&mut serde_json::Value)) -> Result<input::Question, String> {
    let mut file = json!({
        "points": 5,
        "positions": [
            { "id": "A|S1", "reward": "0.05", "cap": "0.6", "weight": "0.3" },
            { "id": "B|S1", "reward": 0.03, "cap": "1", "weight": "0.2" },
            { "id": "A|S2", "reward": "0.08", "cap": "0.4" }
        ],
        "groups": [{ "positions": ["A|S1", "A|S2"], "limit": "0.7" }],
        "blocks": [
            { "id": "C1|A", "p": "0.02", "outcomes": [
                { "probability": "0.8", "losses_bp": { "A|S1": 1000, "A|S2": 1000 } },
                { "probability": "0.2", "losses_bp": { "A|S1": 10000 } }] },
            { "id": "C3|S1", "p": "0.01", "outcomes": [
                { "probability": "1", "losses_bp": { "A|S1": 5000, "B|S1": 5000 } }] },
            { "id": "C4|S2", "p": "0.03", "outcomes": [
                { "probability": 1, "losses_bp": { "A|S2": 10000 } }] }
        ],
        "optIn": { "position": "A|S2", "weight": "0.1" },
        "hasCommonFactor": true
    });
    change(&mut file);
    input::parse(&serde_json::to_vec(&file).unwrap()).map_err(|error| error.to_string())
}

#[test]
fn more_reward_never_has_less_tail_risk_and_every_point_is_proven() {
    let question = question(|_| {}).unwrap();
    let points = question.problem.sweep(question.points).unwrap();
    assert_eq!(points.len(), 5);
    let mut before = None;
    for (_, _, verified) in points {
        assert_eq!(verified.gap, Ratio::ZERO);
        assert!(before.is_none_or(|before| verified.risk >= before));
        before = Some(verified.risk);
    }
}

#[test]
fn a_portfolio_held_loses_what_its_blocks_say() {
    let question = question(|_| {}).unwrap();
    let held = question.held.as_ref().unwrap();
    assert_eq!(held[3], part("1/2"), "the rest is idle");
    let tail = Tail::of(&question.portfolio(held).unwrap()).unwrap();
    // 0.02 · (0.8 · 0.03 + 0.2 · 0.3) + 0.01 · 0.25
    assert_eq!(tail.expected_loss.to_ppt(), Some(4_180_000_000));
}

#[test]
fn a_question_that_is_wrong_is_refused_with_its_place() {
    let refused = |change: fn(&mut serde_json::Value)| question(change).unwrap_err();
    let said = [
        (refused(|file| file["blocks"][0]["p"] = json!("2")), "block C1|A: p"),
        (refused(|file| file["blocks"][1]["outcomes"][0]["probability"] = json!("0.9")), "C3|S1"),
        (
            refused(|file| file["blocks"][2]["outcomes"][0]["losses_bp"] = json!({ "X": 1 })),
            "no position X",
        ),
        (refused(|file| file["positions"][1]["id"] = json!("A|S1")), "A|S1 is there twice"),
        (refused(|file| file["positions"][1]["weight"] = json!("0.8")), "at most 1"),
        (refused(|file| file["points"] = json!(1_000)), "points: expected 2 to 101"),
        (refused(|file| file["lvel"] = json!(1)), "unknown field `lvel`"),
    ];
    for (found, expected) in said {
        assert!(found.contains(expected), "{found}");
    }
}
