//! Ingestion into a real event store: the canonical log is the chain, however it got there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::B256;
use assay::chain::{Import, Ingest, IngestError, ScriptedSource, Step};
use assay::event_store::{AppendError, EventStore};
use assay_domain::Fact;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio_util::sync::CancellationToken;

use crate::chain_decode::mainnet;
use crate::chain_ingest::{Happening, Player, happening, options};
use crate::chain_world::{chain, truth};
use crate::support::{self, TestDatabase};

pub(crate) type StoredIngest = Ingest<ScriptedSource, EventStore>;

pub(crate) async fn resume(chain: &ScriptedSource, store: &EventStore) -> StoredIngest {
    let (source, decoder) = (Arc::new(chain.clone()), Arc::new(mainnet()));
    let stop = CancellationToken::new();
    Ingest::resume(source, decoder, store.clone(), options(), stop).await.unwrap()
}

pub(crate) async fn canonical(store: &EventStore) -> (Vec<Fact>, B256) {
    let apply = |facts: &mut Vec<Fact>, canonical: &assay::event_store::CanonicalFact| {
        facts.push(canonical.fact.clone());
        Ok::<_, std::convert::Infallible>(())
    };
    let (facts, head) = store.fold_canonical(None, Vec::new, apply).await.unwrap();
    (facts, head.hash)
}

/// The same happenings for the same seed.
fn happenings(seed: u8) -> Vec<Happening> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    prop::collection::vec(happening(), 30).new_tree(&mut runner).unwrap().current()
}

/// Looks at the chain until there is nothing more to see. With `patience`, each look is broken off
/// after so many microseconds, as by a crash, and ingestion begins again from the store.
async fn look(
    mut ingest: StoredIngest,
    chain: &ScriptedSource,
    database: &TestDatabase,
    mut patience: Option<u64>,
) -> StoredIngest {
    loop {
        let step = match &mut patience {
            None => Some(ingest.step().await),
            Some(micros) => {
                *micros += *micros / 2 + 200;
                tokio::time::timeout(Duration::from_micros(*micros), ingest.step()).await.ok()
            }
        };
        match step {
            // Its connections went down with it; or the database hiccuped, and a supervisor begins
            // again.
            None | Some(Err(IngestError::Sink(AppendError::Unavailable(_)))) => {
                ingest = resume(chain, &database.store().await).await
            }
            Some(Ok(Step::Advanced)) => {}
            Some(Ok(Step::UpToDate | Step::SourceBehind) | Err(IngestError::Source(_))) => {
                return ingest;
            }
            Some(Err(error)) => panic!("{error:?}"),
        }
    }
}

#[tokio::test]
async fn however_ingestion_is_interrupted_the_canonical_log_is_the_chain() {
    for seed in 0..4 {
        let mut hashes = Vec::new();
        for (looks_every, patience) in [(1, None), (3, None), (1, Some(300)), (2, Some(900))] {
            let database = support::database().await;
            let store = database.store().await;
            let chain = chain(12);
            let mut player = Player::new(chain.clone());
            let mut ingest = resume(&chain, &store).await;
            for (index, happening) in happenings(seed).iter().enumerate() {
                player.play(happening);
                if index % looks_every == 0 {
                    ingest = look(ingest, &chain, &database, patience).await;
                }
            }
            chain.fail_next(0);
            player.play(&Happening::Grow(20));
            player.play(&Happening::Finalize(0));
            // Steps that were broken off leave connections in the middle of an answer behind.
            let store = database.store().await;
            look(resume(&chain, &store).await, &chain, &database, None).await;
            let (facts, hash) = canonical(&store).await;
            assert_eq!(facts, truth(&chain, u64::MAX), "seed {seed}");
            hashes.push(hash);
            store.verify().await.unwrap();
        }
        hashes.dedup();
        assert_eq!(hashes.len(), 1, "seed {seed}");
    }
}

#[tokio::test]
async fn a_restart_waits_for_the_append_its_predecessor_left_behind() {
    let database = support::database().await;
    let store = database.store().await;
    let left_behind = store.begin_append().await.unwrap();
    let chain = chain(3);
    let mut restart = std::pin::pin!(resume(&chain, &store));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut restart).await;
    assert!(early.is_err());
    left_behind.commit().await.unwrap();
    let mut ingest = restart.await;
    assert_eq!(ingest.step().await.unwrap(), Step::UpToDate);
}

#[tokio::test]
async fn a_file_and_the_live_chain_meet_in_one_store() {
    let database = support::database().await;
    let store = database.store().await;
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/logs");
    let decoder = mainnet();
    let import = Import::read_file(&golden.join("mainnet-milestones.jsonl"), &decoder).unwrap();
    for again in [false, true] {
        let (mut appended, mut skipped) = (0, 0);
        for batch in import.batches().unwrap() {
            let done = store.append(&batch.unwrap()).await.unwrap();
            appended += done.appended;
            skipped += done.skipped;
        }
        let all = import.report().facts;
        assert_eq!((appended, skipped), if again { (0, all) } else { (all, 0) });
    }
    // The file ends far above where the live chain begins.
    let chain = chain(30);
    chain.finalize(chain.tip().number);
    look(resume(&chain, &store).await, &chain, &database, None).await;
    let (facts, _) = canonical(&store).await;
    assert_eq!(facts.len() as u64, import.report().facts + truth(&chain, u64::MAX).len() as u64);
    assert_eq!(store.cursor(1).await.unwrap().unwrap().next_block, chain.tip().number + 1);
}
