//! Events of Assay's own, and what is written together with them.

use assay::event_store::{AppendError, FoldError, own_fact};
use assay_domain::{BlockRef, Event, Fact};

use super::{batch_of, read_all};
use crate::support::{self, synthetic};
use synthetic::{CHAIN_ID, block, facts_of_block};

fn restated(known: u64) -> Fact {
    own_fact(CHAIN_ID, block(1, 0), Event::Restated { known })
}

#[tokio::test]
async fn of_two_who_expect_the_same_position_one_wins() {
    let database = support::database().await;
    let store = database.store().await;
    store.append(&batch_of(facts_of_block(1, 0, 3))).await.expect("an append");
    assert_eq!(store.last_rating_position().await.expect("a position"), 0);
    let first = store.append_own(&[restated(3)], Some(0)).await.expect("an append");
    assert_eq!(first.position, 4);
    // Chain facts in between do not matter.
    store.append(&batch_of(facts_of_block(2, 0, 2))).await.expect("an append");
    let late = store.append_own(&[restated(3)], Some(0)).await.expect_err("someone was faster");
    assert!(matches!(late, AppendError::WrongExpectedPosition { expected: 0, found: 4 }));
    let (one, other) = (store.clone(), store.clone());
    let (one, other) =
        tokio::join!(async move { one.append_own(&[restated(5)], Some(4)).await }, async move {
            other.append_own(&[restated(6)], Some(4)).await
        },);
    assert!(one.is_ok() != other.is_ok(), "one of them wins");
    assert_eq!(store.last_rating_position().await.expect("a position"), 7);
}

#[tokio::test]
async fn other_rows_appear_with_the_events_or_not_at_all() {
    let database = support::database().await;
    let store = database.store().await;
    let count = "SELECT count(*) FROM outbox.reports";
    let insert = "INSERT INTO outbox.reports (entity_key, seq, word, canonical_position)
                  VALUES (decode(repeat('01', 32), 'hex'), $1, decode(repeat('02', 32), 'hex'), 1)";
    for (seq, commits) in [(1_i64, false), (2, true)] {
        let mut appender = store.begin_append().await.expect("an appender");
        appender.expect_last_rating(0).await.expect("none yet");
        assert_eq!(appender.push(&restated(0)).await.expect("a push"), 1);
        sqlx::query(insert).bind(seq).execute(appender.connection()).await.expect("an insert");
        if commits {
            appender.commit().await.expect("a commit");
        }
    }
    let reports: i64 =
        sqlx::query_scalar(count).fetch_one(&database.pool().await).await.expect("a count");
    assert_eq!((reports, read_all(&store).await.len()), (1, 1));
}

#[tokio::test]
async fn an_own_event_looks_like_one_or_is_refused() {
    let database = support::database().await;
    let store = database.store().await;
    let mut with_tx = restated(0);
    with_tx.tx_hash = block(1, 0).hash;
    let mut with_index = restated(0);
    with_index.log_index = 3;
    let chain_fact = facts_of_block(1, 0, 1).remove(0);
    for fact in [with_tx, with_index, chain_fact] {
        let refused = store.append_own(&[fact], None).await.expect_err("not an own event");
        assert!(matches!(refused, AppendError::Misplaced { .. }), "{refused}");
    }
    assert_eq!(store.head().await.expect("a head").position, 0);
}

#[tokio::test]
async fn own_events_are_found_by_kind() {
    let database = support::database().await;
    let store = database.store().await;
    let nowhere = BlockRef { number: 9, hash: Default::default(), timestamp: 1 };
    let finality = own_fact(CHAIN_ID, nowhere, Event::FinalityAdvanced);
    let facts = [restated(0), finality, restated(2), restated(3)];
    store.append_own(&facts, None).await.expect("an append");
    let mut found = Vec::new();
    let read = store.read_own(&[202, 203], 1, |recorded| {
        found.push((recorded.position, recorded.fact));
        Ok::<(), std::convert::Infallible>(())
    });
    read.await.expect("a sound store");
    assert_eq!(found, [(3, restated(2)), (4, restated(3))]);
    let stopped = store.read_own(&[202], 0, |_| Err(std::fmt::Error)).await;
    assert!(matches!(stopped, Err(FoldError::Apply(_))));
}
