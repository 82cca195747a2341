//! The commands of those who run a node, as programs.

use assay::event_store::Batch;
use assay_domain::Fact;
use serde_json::Value;

use crate::commands::{local, told};
use crate::ledger::{ledger_facts, rater};
use crate::support;

/// What `assay replay` says, and its exit code.
fn replayed(url: &str, more: &[&str]) -> (String, String, i32) {
    told(&local(url, &[&["replay", "--json"], more].concat()))
}

#[tokio::test]
async fn a_replay_comes_to_the_same_on_every_machine_and_to_what_the_read_model_holds() {
    let facts = ledger_facts();
    let (early, late) = facts.split_at(facts.len() / 2);
    let batch = |part: &[Fact]| Batch {
        chain_id: 1,
        finalized: facts.last().map(|fact| fact.block),
        facts: part.to_vec(),
        ..Batch::default()
    };
    let database = support::database().await;
    let store = database.store().await;
    store.append(&batch(&facts)).await.unwrap();
    rater(&store).catch_up().await.unwrap();
    let (all, error, code) = replayed(&database.url, &["--verify", "--epochs"]);
    assert!(code == 0 && error.contains("same ratings"), "{error}");
    assert_eq!(replayed(&database.url, &["--verify", "--epochs"]).0, all, "byte for byte");

    // Another machine got the facts the other way round, and said everything once more.
    let other = support::database().await;
    let store = other.store().await;
    store.append(&batch(late)).await.unwrap();
    rater(&store).catch_up().await.unwrap();
    store.append(&Batch { finalized: None, ..batch(early) }).await.unwrap();
    // What was rated follows from what was known then, and what is known now is not rated yet.
    let (_, error, code) = replayed(&other.url, &["--verify"]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(replayed(&other.url, &["--epochs"]).0, all, "in whatever order");
    rater(&store).catch_up().await.unwrap();
    assert_eq!(replayed(&other.url, &["--verify", "--epochs"]).0, all, "restated");

    // At a position in between, and at one that there is not.
    let told: Value = serde_json::from_str(&all).unwrap();
    let epochs = told["epochs"].as_array().unwrap();
    assert!(epochs.len() > 100 && told["entities"].as_u64() > Some(90), "{}", epochs.len());
    let middle = &epochs[epochs.len() / 2];
    let position = middle["position"].to_string();
    let (there, _, code) = replayed(&other.url, &["--position", &position, "--verify"]);
    assert_eq!((&serde_json::from_str::<Value>(&there).unwrap(), code), (middle, 0));
    assert_eq!(replayed(&other.url, &["--position", "99999999"]).2, 3);
    assert_eq!(replayed(&other.url, &["--position", "99999999", "--verify"]).2, 3);

    // A rating, and a hash, that do not follow.
    let pool = database.pool().await;
    for (change, words) in [
        (
            "UPDATE read_model.rating_points SET assessment_hash = sha256(assessment_hash)",
            "rating of ",
        ),
        ("UPDATE read_model.blocks SET canonical_hash = decode('00', 'hex')", "another hash"),
    ] {
        sqlx::query(change).execute(&pool).await.unwrap();
        let (_, error, code) = replayed(&database.url, &["--verify"]);
        assert!(code == 4 && error.contains(words), "{error}");
    }
}
