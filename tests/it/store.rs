//! The event store on a real Postgres.

use crate::support::{self, synthetic};
use assay::event_store::{Batch, EventStore};

fn batch(facts: Vec<assay_domain::Fact>) -> Batch {
    Batch { chain_id: synthetic::CHAIN_ID, facts, ..Batch::default() }
}

#[tokio::test]
async fn what_is_appended_reads_back() {
    let database = support::database().await;
    let store: EventStore = database.store().await;
    let facts = synthetic::facts(42, 5_000);
    let appended = store.append(&batch(facts.clone())).await.expect("append");
    assert_eq!((appended.appended, appended.skipped, appended.position), (5_000, 0, 5_000));
    let mut read = Vec::new();
    let head = store
        .for_each(0, None, |envelope| {
            read.push(envelope.fact);
            Ok::<(), std::convert::Infallible>(())
        })
        .await
        .expect("read");
    assert_eq!(head, store.head().await.expect("head"));
    assert_eq!(head.hash, appended.hash);
    assert_eq!(read, facts);
}
