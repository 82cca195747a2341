//! The loop: forks, crashes, nodes that lag. Whatever happens on the way, the facts are the same.

use std::sync::Arc;
use std::time::Duration;

use assay::chain::window::{Fork, Window};
use assay::chain::{
    Ingest, IngestError, IngestOptions, LogSource, ScriptedSource, SourceError, Step,
};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::chain_decode::mainnet;
use crate::chain_world::{FIRST, MemorySink, chain, emissions, truth};

pub(crate) fn options() -> IngestOptions {
    IngestOptions {
        start_block: FIRST,
        poll_interval: Duration::from_millis(1),
        range_blocks_first: 16,
        range_blocks_max: 64,
        ..IngestOptions::default()
    }
}

async fn begin<S: LogSource>(
    source: S,
    sink: &MemorySink,
    options: IngestOptions,
) -> Ingest<S, MemorySink> {
    let stop = CancellationToken::new();
    Ingest::resume(Arc::new(source), Arc::new(mainnet()), sink.clone(), options, stop)
        .await
        .unwrap()
}

/// Ingests until the source has nothing more.
pub(crate) async fn follow_to_the_end<S: LogSource>(
    source: S,
    options: IngestOptions,
) -> MemorySink {
    let sink = MemorySink::default();
    let mut ingest = begin(source, &sink, options).await;
    while ingest.step().await.unwrap() == Step::Advanced {}
    sink
}

#[tokio::test]
async fn a_reorg_takes_back_and_a_second_one_restores() {
    let chain = chain(20);
    chain.finalize(FIRST + 10);
    let sink = MemorySink::default();
    let mut ingest = begin(chain.clone(), &sink, options()).await;
    while ingest.step().await.unwrap() == Step::Advanced {}
    let before = sink.standing();

    let taken = chain.rewind(FIRST + 15);
    chain.push(1, emissions(77, 3));
    chain.push(1, emissions(78, 3));
    // Shorter than what it replaces, but another block stands in place of one of ours.
    assert_eq!(ingest.step().await.unwrap(), Step::UpToDate);
    assert_eq!(sink.standing(), truth(&chain, u64::MAX));
    assert_eq!(sink.state().orphaned.len(), 5);

    chain.rewind(FIRST + 15);
    chain.adopt(taken);
    assert_eq!(ingest.step().await.unwrap(), Step::UpToDate);
    assert_eq!(sink.standing(), before);
    assert_eq!(sink.state().orphaned.len(), 2);
    assert_eq!(ingest.status().borrow().reorgs, 2);
}

#[tokio::test]
async fn a_node_that_falls_behind_is_waited_for() {
    let chain = chain(20);
    chain.finalize(FIRST + 10);
    let sink = MemorySink::default();
    let mut ingest = begin(chain.clone(), &sink, options()).await;
    while ingest.step().await.unwrap() == Step::Advanced {}
    let (before, batches) = (sink.standing(), sink.0.lock().unwrap().batches);
    for lag in [1, 9, 10, 15] {
        chain.show_up_to(Some(FIRST + 20 - lag));
        assert_eq!(ingest.step().await.unwrap(), Step::SourceBehind, "{lag} blocks behind");
    }
    assert_eq!((sink.standing(), sink.0.lock().unwrap().batches), (before, batches));
    chain.show_up_to(None);
    chain.push(0, emissions(5, 2));
    assert_eq!(ingest.step().await.unwrap(), Step::UpToDate);
    assert_eq!(sink.standing(), truth(&chain, u64::MAX));
}

#[tokio::test]
async fn a_reorg_behind_finality_stops_ingestion() {
    let chain = chain(20);
    chain.finalize(FIRST + 15);
    let sink = MemorySink::default();
    let mut ingest = begin(chain.clone(), &sink, options()).await;
    while ingest.step().await.unwrap() == Step::Advanced {}
    let before = sink.standing();
    chain.rewind(FIRST + 12);
    for n in 0..20 {
        chain.push(9, emissions(n, 1));
    }
    let error = ingest.run().await.unwrap_err();
    assert!(
        matches!(&error, IngestError::ReorgBehindFinality { number, .. } if *number == FIRST + 15)
    );
    assert!(error.to_string().contains("a reorg behind finality"), "{error}");
    assert_eq!(sink.standing(), before);
}

#[tokio::test]
async fn a_damaged_log_stops_ingestion_and_nothing_of_its_batch_is_kept() {
    let chain = chain(8);
    let mut bad = emissions(1, 1);
    bad[0].data.pop();
    chain.push(0, bad);
    let sink = MemorySink::default();
    let error = begin(chain.clone(), &sink, options()).await.run().await.unwrap_err();
    assert!(matches!(error, IngestError::Decode(_)), "{error}");
    assert_eq!(sink.standing(), []);
}

#[tokio::test]
async fn it_runs_until_it_is_told_to_stop_and_waits_out_failures() {
    let chain = chain(100);
    chain.finalize(FIRST + 50);
    chain.fail_next(3);
    let sink = MemorySink::default();
    let stop = CancellationToken::new();
    let source = Arc::new(chain.clone());
    let mut ingest =
        Ingest::resume(source, Arc::new(mainnet()), sink.clone(), options(), stop.clone())
            .await
            .unwrap();
    let mut status = ingest.status();
    let running = tokio::spawn(async move { ingest.run().await.map_err(|e| e.to_string()) });
    let wait = status.wait_for(|status| status.next_block == FIRST + 101);
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap().unwrap();
    chain.fail_next(2);
    chain.push(0, emissions(3, 3));
    let wait = status.wait_for(|status| status.next_block == FIRST + 102);
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap().unwrap();
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(sink.standing(), truth(&chain, u64::MAX));
    let error = SourceError::Inconsistent { endpoint: String::new(), message: String::new() };
    assert!(error.is_temporary());
}

/// Something that happens to a chain.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    Grow(u64),
    /// Blocks taken back, at most down to finality, and blocks put in their place.
    Reorg {
        depth: u64,
        grow: u64,
    },
    /// The blocks taken back last are put back.
    Readopt,
    /// Final up to this far behind the tip.
    Finalize(u64),
    Lag(u64),
    Fail(u32),
}

pub(crate) fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1_u64..12).prop_map(Happening::Grow),
        3 => (1_u64..8, 0_u64..9).prop_map(|(depth, grow)| Happening::Reorg { depth, grow }),
        2 => Just(Happening::Readopt),
        2 => (0_u64..12).prop_map(Happening::Finalize),
        1 => (1_u64..6).prop_map(Happening::Lag),
        1 => (1_u32..4).prop_map(Happening::Fail),
    ]
}

/// Plays happenings onto a chain; the same ones make the same chain.
pub(crate) struct Player {
    chain: ScriptedSource,
    seed: u64,
    finalized: u64,
    taken: Option<(u64, Vec<assay::chain::scripted::ScriptedBlock>)>,
}

impl Player {
    pub(crate) fn new(chain: ScriptedSource) -> Self {
        Self { chain, seed: 100, finalized: FIRST, taken: None }
    }

    pub(crate) fn play(&mut self, happening: &Happening) {
        self.chain.show_up_to(None);
        let tip = self.chain.tip().number;
        match *happening {
            Happening::Grow(blocks) => self.grow(blocks),
            Happening::Reorg { depth, grow } => {
                let to = tip.saturating_sub(depth).max(self.finalized);
                self.taken = Some((to, self.chain.rewind(to)));
                self.grow(grow);
            }
            Happening::Readopt => {
                if let Some((to, blocks)) =
                    self.taken.take().filter(|(to, _)| *to >= self.finalized)
                {
                    self.taken = Some((to, self.chain.rewind(to)));
                    self.chain.adopt(blocks);
                }
            }
            Happening::Finalize(behind) => {
                self.finalized = tip.saturating_sub(behind).max(self.finalized);
                self.chain.finalize(self.finalized);
            }
            Happening::Lag(blocks) => self.chain.show_up_to(Some((tip - blocks).max(FIRST))),
            Happening::Fail(count) => self.chain.fail_next(count),
        }
    }

    fn grow(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.seed += 1;
            self.chain.push(self.seed, emissions(self.seed, self.seed % 4));
        }
    }
}

/// One of many ways to ingest the same happenings.
#[derive(Debug, Clone)]
struct Way {
    options: IngestOptions,
    /// Looks at the chain after every so many happenings.
    looks_every: usize,
    /// Crashes at every so many appends, before or after they are kept.
    crashes_every: u64,
}

fn ways() -> Vec<Way> {
    let way = |n: u64| Way {
        options: IngestOptions {
            range_blocks_first: 1 + n * 3 % 20,
            range_blocks_max: 1 + n * 7 % 50,
            range_logs: 1 + (n as usize * 5) % 40,
            concurrency: 1 + n as usize % 4,
            tail_blocks: 1 + n * 5 % 30,
            ..options()
        },
        looks_every: 1 + n as usize % 5,
        crashes_every: 2 + n % 6,
    };
    (0..20).map(way).collect()
}

async fn ingest_one_way(happenings: &[Happening], way: &Way) -> (MemorySink, ScriptedSource) {
    let chain = chain(12);
    let mut player = Player::new(chain.clone());
    let sink = MemorySink::default();
    let mut ingest = begin(chain.clone(), &sink, way.options.clone()).await;
    let end = [Happening::Grow(15), Happening::Finalize(3), Happening::Finalize(0)];
    for (index, happening) in happenings.iter().chain(&end).enumerate() {
        player.play(happening);
        let is_end = index >= happenings.len();
        if is_end {
            // A node that still fails has not shown how the chain ended.
            chain.fail_next(0);
        }
        if !is_end && !index.is_multiple_of(way.looks_every) {
            continue;
        }
        for _ in 0..1_000 {
            let appends = sink.0.lock().unwrap().batches;
            let crash = Some((appends / way.crashes_every + 1) * way.crashes_every);
            let is_before = appends.is_multiple_of(2);
            sink.0.lock().unwrap().crash_before = crash.filter(|_| is_before);
            sink.0.lock().unwrap().crash_after = crash.filter(|_| !is_before);
            match ingest.step().await {
                Ok(Step::Advanced) => {}
                Ok(Step::UpToDate) | Err(IngestError::Source(_)) if is_end => {
                    if ingest.status().borrow().next_block > chain.tip().number {
                        break;
                    }
                }
                Ok(Step::UpToDate | Step::SourceBehind) | Err(IngestError::Source(_)) => break,
                Err(IngestError::Sink(_)) => {
                    ingest = begin(chain.clone(), &sink, way.options.clone()).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    (sink, chain)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn twenty_ways_to_ingest_one_chain_give_the_same_facts(
        happenings in prop::collection::vec(happening(), 1..25),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for way in ways() {
            let (sink, chain) = runtime.block_on(ingest_one_way(&happenings, &way));
            prop_assert_eq!(sink.standing(), truth(&chain, u64::MAX), "{:?}", way);
            let finalized = sink.state().finalized.map(|block| block.number);
            prop_assert_eq!(finalized, Some(chain.tip().number), "{:?}", way);
        }
    }

    #[test]
    fn the_fork_point_is_the_newest_common_block(
        common in 1_u64..20, ours in 0_u64..20, theirs in 1_u64..20, anchored in any::<bool>(),
    ) {
        let source = ScriptedSource::new(1, FIRST);
        for _ in 1..common {
            source.push(0, Vec::new());
        }
        let to = source.tip();
        for _ in 0..ours {
            source.push(1, Vec::new());
        }
        let headers: Vec<_> = source.blocks().iter().map(|block| block.header).collect();
        let anchor = anchored.then_some(headers[0].block);
        let window = Window::new(anchor, &headers).unwrap();
        let orphaned: Vec<_> =
            headers[common as usize..].iter().map(|header| header.block.hash).collect();
        source.rewind(to.number);
        for _ in 0..theirs {
            source.push(2, Vec::new());
        }
        let numbers = window.numbers_to_compare(source.tip().number);
        let blocks = source.blocks();
        let known = blocks.iter().map(|block| (block.header.block.number, block.header));
        let theirs = known.filter(|(number, _)| numbers.contains(number)).collect();
        let expected =
            if ours == 0 { Fork::None } else { Fork::Above { to, orphaned: orphaned.clone() } };
        prop_assert_eq!(window.fork(&theirs), expected);
        let mut reverted = window.clone();
        prop_assert_eq!(reverted.revert_to(to.number), orphaned);
        prop_assert_eq!(reverted.tip(), Some(to));
    }
}
