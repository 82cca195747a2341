//! What goes in, what is skipped, what is refused.

use assay::event_store::{AppendError, Appended, Batch, Cursor, NOTIFY_CHANNEL, Revert, own_fact};
use assay_domain::{Event, Fact};
use sqlx::postgres::PgListener;

use super::{batch_of, headers, last_block, read_all};
use crate::support::{self, synthetic};
use synthetic::{CHAIN_ID, block, facts_of_block};

#[tokio::test]
async fn what_is_appended_reads_back() {
    let database = support::database().await;
    let store = database.store().await;
    let facts = synthetic::facts(42, 5_000);
    let Appended { appended, skipped, position, hash } =
        store.append(&batch_of(facts.clone())).await.expect("an append");
    assert_eq!((appended, skipped, position), (5_000, 0, 5_000));
    assert_eq!(store.head().await.expect("a head").hash, hash);
    assert_eq!(read_all(&store).await, facts);
}

#[tokio::test]
async fn reading_starts_and_ends_where_it_is_told() {
    let database = support::database().await;
    let store = database.store().await;
    store.append(&batch_of(synthetic::facts(1, 100))).await.expect("an append");
    let mut positions = Vec::new();
    let head = store
        .for_each(10, Some(20), |envelope| {
            positions.push(envelope.position);
            Ok::<(), std::convert::Infallible>(())
        })
        .await
        .expect("a sound store");
    assert_eq!(positions, (11..=20).collect::<Vec<_>>());
    assert_eq!(head.position, 20);
    let stop = store.for_each(0, None, |envelope| {
        Err(std::io::Error::other(envelope.fact.tx_hash.to_string()))
    });
    assert!(matches!(stop.await, Err(assay::event_store::FoldError::Apply(_))));
    // The connection that was left in the middle of a copy is not used again.
    assert_eq!(read_all(&store).await.len(), 100);
}

#[tokio::test]
async fn a_batch_offered_again_changes_nothing() {
    let database = support::database().await;
    let store = database.store().await;
    let facts = synthetic::facts(7, 400);
    let last = last_block(&facts);
    let batch = Batch {
        headers: headers(last.number..=last.number + 2, 0),
        next_block: Some(last.number + 3),
        finalized: Some(last),
        ..batch_of(facts)
    };
    let first = store.append(&batch).await.expect("an append");
    let again = store.append(&batch).await.expect("an append");
    assert_eq!(again, Appended { appended: 0, skipped: 400, ..first });
    let cursor = store.cursor(CHAIN_ID).await.expect("a cursor");
    assert_eq!(cursor, Some(Cursor { next_block: last.number + 3, finalized: Some(last) }));
    assert_eq!(store.headers(CHAIN_ID).await.expect("headers"), batch.headers);
    store.verify().await.expect("a sound store");
}

#[tokio::test]
async fn of_an_overlapping_batch_only_the_rest_is_stored() {
    let database = support::database().await;
    let store = database.store().await;
    let facts = synthetic::facts(3, 300);
    store.append(&batch_of(facts[..100].to_vec())).await.expect("an append");
    store.append(&batch_of(facts[150..200].to_vec())).await.expect("an append");
    let rest = store.append(&batch_of(facts.clone())).await.expect("an append");
    assert_eq!((rest.appended, rest.skipped, rest.position), (150, 150, 300));
    let mut stored = read_all(&store).await;
    stored.sort_by_key(Fact::key);
    assert_eq!(stored, facts);
}

#[tokio::test]
async fn a_wrong_batch_is_refused_as_a_whole() {
    let database = support::database().await;
    let store = database.store().await;
    let sound = Batch {
        headers: headers(3..=6, 0),
        next_block: Some(7),
        finalized: Some(block(3, 0)),
        ..batch_of((1..=6).flat_map(|number| facts_of_block(number, 0, 3)).collect())
    };
    let before = store.append(&sound).await.expect("an append");
    // Each batch starts with something that is right.
    let new = facts_of_block(7, 0, 2);
    let with = |more: Vec<Fact>| batch_of(new.iter().cloned().chain(more).collect());
    let mut foreign = facts_of_block(8, 0, 1);
    foreign[0].chain_id = 5;
    let mut torn = facts_of_block(8, 0, 2);
    torn[1].block.hash = block(8, 1).hash;
    let mut far = facts_of_block(8, 0, 1);
    far[0].block.number = u64::MAX;
    let mut ours = facts_of_block(8, 0, 1);
    ours[0].event = Event::FinalityAdvanced;
    let revert = |to, orphaned: &[(u64, u64)]| Batch {
        revert: Some(Revert {
            to,
            orphaned: orphaned.iter().map(|(number, fork)| block(*number, *fork).hash).collect(),
        }),
        ..batch_of(Vec::new())
    };
    let cases: Vec<(&str, Batch)> = vec![
        ("ForeignChain", with(foreign)),
        ("NotInOrder", with(facts_of_block(7, 0, 1))),
        ("TornBlock", with(torn)),
        ("OutOfRange", with(far)),
        ("Misplaced", with(ours)),
        ("RestoredWithoutHead", Batch { restored: vec![block(9, 0).hash], ..with(Vec::new()) }),
        ("ContradictsFinality", batch_of(facts_of_block(2, 1, 1))),
        ("ContradictsFinality", batch_of(facts_of_block(3, 1, 1))),
        ("ContradictsBlock", batch_of(facts_of_block(5, 1, 1))),
        ("ContradictsBlock", Batch { headers: headers(6..=8, 1), ..with(Vec::new()) }),
        ("ContradictsBlock", Batch { finalized: Some(block(5, 1)), ..with(Vec::new()) }),
        ("ContradictsFinality", Batch { finalized: Some(block(3, 1)), ..with(Vec::new()) }),
        ("RevertsFinal", revert(block(2, 0), &[(3, 0), (4, 0), (5, 0), (6, 0)])),
        ("ContradictsFinality", revert(block(3, 1), &[(4, 0), (5, 0), (6, 0)])),
        ("RevertIncomplete", revert(block(4, 0), &[(5, 0)])),
    ];
    for (expected, batch) in cases {
        let error = store.append(&batch).await.expect_err(expected);
        let name = format!("{error:?}");
        assert!(name.starts_with(expected), "{expected} expected, {name} found");
        assert!(error.to_string().contains("nothing was written"), "{error}");
        assert_eq!(store.head().await.expect("a head").position, before.position, "{expected}");
    }
    store.verify().await.expect("a sound store");
}

#[tokio::test]
async fn an_older_finality_says_nothing_new() {
    let database = support::database().await;
    let store = database.store().await;
    let finalized = |number| Batch { finalized: Some(block(number, 0)), ..batch_of(Vec::new()) };
    let first = store.append(&finalized(9)).await.expect("an append");
    assert_eq!(first.position, 1);
    assert_eq!(store.append(&finalized(8)).await.expect("an append").position, 1);
    let cursor = store.cursor(CHAIN_ID).await.expect("a cursor").expect("a cursor");
    assert_eq!(cursor.finalized, Some(block(9, 0)));
    let expected = own_fact(CHAIN_ID, block(9, 0), Event::FinalityAdvanced);
    assert_eq!(read_all(&store).await, [expected]);
}

#[tokio::test]
async fn headers_are_pruned_at_finality() {
    let database = support::database().await;
    let store = database.store().await;
    let first = Batch { headers: headers(1..=9, 0), ..batch_of(Vec::new()) };
    store.append(&first).await.expect("an append");
    let second = Batch {
        headers: headers(8..=12, 0),
        finalized: Some(block(10, 0)),
        ..batch_of(Vec::new())
    };
    store.append(&second).await.expect("an append");
    assert_eq!(store.headers(CHAIN_ID).await.expect("headers"), headers(10..=12, 0));
}

#[tokio::test]
async fn writers_at_the_same_time_leave_no_gap() {
    let database = support::database().await;
    let store = database.store().await;
    let mut writers = Vec::new();
    for chain_id in 1..=4_u64 {
        let store = store.clone();
        writers.push(tokio::spawn(async move {
            for number in 1..=15 {
                let mut facts = facts_of_block(number, chain_id, 20);
                facts.iter_mut().for_each(|fact| fact.chain_id = chain_id);
                let batch = Batch { chain_id, facts, ..Batch::default() };
                store.append(&batch).await.expect("an append");
            }
        }));
    }
    for writer in writers {
        writer.await.expect("a writer");
    }
    assert_eq!(read_all(&store).await.len(), 4 * 15 * 20);
}

#[tokio::test]
async fn every_commit_tells_who_listens() {
    let database = support::database().await;
    let store = database.store().await;
    let mut listener = PgListener::connect(&database.url).await.expect("a listener");
    listener.listen(NOTIFY_CHANNEL).await.expect("listening");
    store.append(&batch_of(facts_of_block(1, 0, 5))).await.expect("an append");
    assert_eq!(listener.recv().await.expect("a notification").payload(), "5");
}

#[tokio::test]
async fn the_table_refuses_change_even_by_its_owner() {
    let database = support::database().await;
    database.store().await.append(&batch_of(facts_of_block(1, 0, 5))).await.expect("an append");
    let pool = database.pool().await;
    for statement in [
        "UPDATE event_store.events SET kind = kind",
        "DELETE FROM event_store.events",
        "TRUNCATE event_store.events",
    ] {
        let refused = sqlx::query(statement).execute(&pool).await.expect_err(statement);
        assert!(refused.to_string().contains("append-only"), "{refused}");
    }
}

#[tokio::test]
async fn rows_that_do_not_lie_in_order_read_in_order() {
    let database = support::database().await;
    let store = database.store().await;
    let facts = synthetic::facts(11, 2_000);
    store.append(&batch_of(facts[..10].to_vec())).await.expect("an append");
    // An append that is given up leaves holes on disk, which later rows fill.
    let mut given_up = store.begin_append().await.expect("an appender");
    for _ in 0..1_000 {
        let event = Event::BlocksReverted { orphaned: vec![block(1, 1).hash] };
        given_up.push(&own_fact(CHAIN_ID, block(1, 0), event)).await.expect("a push");
    }
    given_up.flush().await.expect("a flush");
    drop(given_up);
    store.append(&batch_of(facts[10..1_000].to_vec())).await.expect("an append");
    let pool = database.pool().await;
    sqlx::query("VACUUM event_store.events").execute(&pool).await.expect("a vacuum");
    store.append(&batch_of(facts[1_000..].to_vec())).await.expect("an append");
    let is_in_order: bool = sqlx::query_scalar(
        "SELECT bool_and(ctid > before) FROM
         (SELECT ctid, lag(ctid) OVER (ORDER BY position) AS before FROM event_store.events) AS t",
    )
    .fetch_one(&pool)
    .await
    .expect("an answer");
    assert!(!is_in_order, "the test is about rows out of order");
    assert_eq!(read_all(&store).await, facts);
}

#[tokio::test]
async fn a_refusal_names_what_to_do() {
    let error = AppendError::WrongExpectedPosition { expected: 3, found: 5 };
    assert_eq!(
        error.to_string(),
        "the last rating action or restatement is at position 5, expected 3; nothing was written"
    );
}
