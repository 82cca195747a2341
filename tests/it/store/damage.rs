//! Whatever is tampered with is noticed, and its place is named.

use assay::event_store::{Batch, EventStore, FoldError, ReadError, Revert, VerifyError};
use sqlx::{AssertSqlSafe, PgPool};

use super::{batch_of, headers};
use crate::support::{self, synthetic};
use synthetic::{Random, block, facts_of_block};

async fn run(pool: &PgPool, statement: &str) {
    let statement = format!(
        "SET session_replication_role = replica; {statement}; \
                             SET session_replication_role = origin"
    );
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(pool).await.expect("the login may do all");
}

/// Twelve blocks with two facts each, a reorg at the end, finality at block 4.
async fn fill(store: &EventStore) -> u64 {
    let facts = (1..=12).flat_map(|number| facts_of_block(number, 0, 2)).collect();
    let batch = Batch { headers: headers(1..=12, 0), ..batch_of(facts) };
    store.append(&batch).await.expect("an append");
    let orphaned = vec![block(12, 0).hash];
    let batch = Batch {
        revert: Some(Revert { to: block(11, 0), orphaned }),
        finalized: Some(block(4, 0)),
        next_block: Some(12),
        ..batch_of(Vec::new())
    };
    store.append(&batch).await.expect("an append").position
}

async fn corrupt_at(store: &EventStore, what: &str) -> (u64, Option<&'static str>) {
    match store.verify().await {
        Err(VerifyError::Corrupt(corruption)) => (corruption.position, corruption.column),
        other => panic!("{what}: {other:?}"),
    }
}

#[tokio::test]
async fn any_flipped_bit_of_any_column_is_named_by_its_position() {
    let database = support::database().await;
    let store = database.store().await;
    let last = fill(&store).await;
    let pool = database.pool().await;
    let mut random = Random(1);
    // Column and number of bits; the high bits of a position, so that it meets no other.
    let integers = [("chain_id", 64), ("block_number", 64), ("block_time", 64), ("log_index", 64)];
    let bytes = ["block_hash", "tx_hash", "emitter", "payload", "hash"];
    for position in [1, 2, 13, 24, 25, last] {
        for (column, bits) in integers {
            let flip = format!(
                "UPDATE event_store.events SET {column} = {column} # (1::bigint << {})
                 WHERE position = {position}",
                random.below(bits)
            );
            run(&pool, &flip).await;
            let (found, _) = corrupt_at(&store, &flip).await;
            assert_eq!(found, position, "{flip}");
            run(&pool, &flip).await;
        }
        for column in bytes {
            let length: i32 = sqlx::query_scalar(AssertSqlSafe(format!(
                "SELECT length({column}) FROM event_store.events WHERE position = {position}"
            )))
            .fetch_one(&pool)
            .await
            .expect("a length");
            let at = random.below(u64::from(length.unsigned_abs()) * 8);
            let flip = format!(
                "UPDATE event_store.events
                 SET {column} = set_bit({column}, {at}, 1 - get_bit({column}, {at}))
                 WHERE position = {position}"
            );
            run(&pool, &flip).await;
            let (found, named) = corrupt_at(&store, &flip).await;
            assert_eq!(found, position, "{flip}");
            if column == "hash" && position != last {
                assert_eq!(named, Some("hash"));
            }
            run(&pool, &flip).await;
        }
        let flip = format!(
            "UPDATE event_store.events SET kind = kind # (1 << {})::smallint
             WHERE position = {position}",
            random.below(15)
        );
        run(&pool, &flip).await;
        assert_eq!(corrupt_at(&store, &flip).await, (position, Some("kind")), "{flip}");
        run(&pool, &flip).await;
    }
    store.verify().await.expect("all was put right again");
}

#[tokio::test]
async fn a_row_moved_removed_or_cut_is_named() {
    let database = support::database().await;
    let store = database.store().await;
    fill(&store).await;
    let pool = database.pool().await;
    run(&pool, "UPDATE event_store.events SET position = 1000 WHERE position = 7").await;
    assert_eq!(corrupt_at(&store, "moved").await.0, 7);
    run(&pool, "UPDATE event_store.events SET position = 7 WHERE position = 1000").await;
    store.verify().await.expect("put right again");
    let cut = "UPDATE event_store.events SET tx_hash = '\\x01' WHERE position = 8";
    run(&pool, cut).await;
    assert_eq!(corrupt_at(&store, "cut").await, (8, Some("tx_hash")));
    run(&pool, "DELETE FROM event_store.events WHERE position = 5").await;
    assert_eq!(corrupt_at(&store, "removed").await.0, 5);
    // Who reads for another purpose is told, too.
    let read = store.for_each(0, None, |_| Ok::<(), std::fmt::Error>(())).await;
    assert!(matches!(read, Err(FoldError::Read(ReadError::Corrupt(c))) if c.position == 5));
    let apply = |_: &mut (), _: &_| Ok::<(), std::fmt::Error>(());
    let fold = store.fold_canonical(None, || (), apply).await;
    assert!(matches!(fold, Err(FoldError::Read(ReadError::Corrupt(c))) if c.position == 5));
}

#[tokio::test]
async fn the_tables_beside_the_events_must_agree_with_them() {
    let cases = [
        ("DELETE FROM event_store.orphans", "orphans"),
        ("INSERT INTO event_store.orphans VALUES (1, decode(repeat('07', 32), 'hex'))", "orphans"),
        ("UPDATE event_store.cursors SET finalized_number = 5", "cursors"),
        (
            "UPDATE event_store.cursors SET finalized_hash = decode(repeat('07', 32), 'hex')",
            "cursors",
        ),
        ("DELETE FROM event_store.cursors", "cursors"),
        ("UPDATE event_store.headers SET parent_hash = hash WHERE number = 6", "headers"),
        ("UPDATE event_store.headers SET hash = parent_hash WHERE number = 11", "headers"),
        ("UPDATE event_store.headers SET hash = parent_hash WHERE number = 4", "headers"),
    ];
    for (statement, expected) in cases {
        let database = support::database().await;
        let store = database.store().await;
        fill(&store).await;
        store.verify().await.expect("a sound store");
        run(&database.pool().await, statement).await;
        match store.verify().await {
            Err(VerifyError::Inconsistent { table, .. }) => assert_eq!(table, expected),
            other => panic!("{statement}: {other:?}"),
        }
    }
}
