//! However an append ends, all of it is there or nothing.

use std::process::{Command, Stdio};
use std::time::Duration;

use assay::event_store::{AppendError, Batch, own_fact};
use assay_domain::Event;

use super::{batch_of, read_all};
use crate::support::{self, TestDatabase, synthetic};
use synthetic::{CHAIN_ID, Random, block, facts_of_block};

/// Says to the child process where to append.
const CHILD_URL: &str = "ASSAY_TEST_CRASH_URL";

/// Blocks and facts a batch in the child.
const BLOCKS: u64 = 50;
const FACTS_PER_BLOCK: u64 = 60;

#[tokio::test]
async fn a_connection_lost_in_the_middle_leaves_nothing() {
    let database = support::database().await;
    let store = database.store().await;
    store.append(&batch_of(facts_of_block(1, 0, 3))).await.expect("an append");
    let mut appender = store.begin_append().await.expect("an appender");
    let fact = own_fact(CHAIN_ID, block(1, 0), Event::FinalityAdvanced);
    appender.push(&fact).await.expect("a push");
    appender.flush().await.expect("a flush");
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(appender.connection())
        .await
        .expect("an answer");
    sqlx::query("SELECT pg_terminate_backend($1)")
        .bind(backend)
        .execute(&database.pool().await)
        .await
        .expect("the login may do all");
    appender.push(&fact).await.expect("a push");
    let error = appender.commit().await.expect_err("the server hung up");
    assert!(matches!(error, AppendError::Unavailable(_)), "{error}");
    assert_eq!(read_all(&store).await, facts_of_block(1, 0, 3));
    store.append(&batch_of(facts_of_block(2, 0, 1))).await.expect("the lock is free");
}

#[tokio::test]
async fn a_killed_process_leaves_whole_batches() {
    let database = support::database().await;
    let store = database.store().await;
    let mut random = Random(std::process::id().into());
    let mut last = 0;
    for _ in 0..4 {
        let mut child = Command::new(std::env::current_exe().expect("this very program"))
            .args(["--exact", "store::crash::child_that_appends_until_it_is_killed"])
            .env(CHILD_URL, &database.url)
            .stdout(Stdio::null())
            .spawn()
            .expect("a child");
        // Until it has begun, and then anywhere in the middle.
        while store.head().await.expect("a head").position == last {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(random.below(150))).await;
        child.kill().expect("SIGKILL");
        child.wait().expect("an end");
        // The appender's session may still be rolling back; it holds the lock until it has.
        drop(store.begin_append().await.expect("the lock"));
        let verified = store.verify().await.expect("a sound store");
        let cursor = store.cursor(CHAIN_ID).await.expect("a cursor").expect("a cursor");
        assert_eq!(verified.chain_facts, (cursor.next_block - 1) * FACTS_PER_BLOCK);
        assert_eq!((cursor.next_block - 1) % BLOCKS, 0);
        last = verified.head.position;
    }
}

/// Not a test by itself: what `a_killed_process_leaves_whole_batches` runs and kills.
#[tokio::test]
async fn child_that_appends_until_it_is_killed() {
    let Ok(url) = std::env::var(CHILD_URL) else { return };
    let store = TestDatabase::store_at(&url).await;
    let mut next = store.cursor(CHAIN_ID).await.expect("a cursor").map_or(1, |c| c.next_block);
    loop {
        let numbers = next..next + BLOCKS;
        next += BLOCKS;
        let facts = numbers.flat_map(|number| facts_of_block(number, 0, FACTS_PER_BLOCK)).collect();
        let batch = Batch {
            next_block: Some(next),
            finalized: Some(block(next - 1, 0)),
            ..batch_of(facts)
        };
        store.append(&batch).await.expect("an append");
    }
}
