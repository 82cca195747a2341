//! Reorgs by the thousand and kills at any moment: what is left is the chain that won.
//!
//! `ASSAY_SIM_REORGS`, `ASSAY_SIM_SEED` and `ASSAY_SIM_KILLS` make either longer, or other.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use alloy::primitives::B256;
use assay::chain::scripted::ScriptedBlock;
use assay::chain::{IngestError, ScriptedSource, Step};
use assay::event_store::{AppendError, EventStore};
use assay_domain::{Event, Fact};

use crate::chain_pods::random_pods;
use crate::chain_store::{StoredIngest, canonical, resume};
use crate::chain_world::{FIRST, chain, emissions, truth};
use crate::mock_node::{Habits, MockNode};
use crate::support::synthetic::Random;
use crate::support::{self, TestDatabase};

/// The deepest reorg: two epochs of the beacon chain, the most that is ever not final.
const DEPTH_MAX: u64 = 64;

/// Reorgs of one chain, before the next begins with an empty database.
const REORGS_A_CHAIN: u64 = 50;

/// A number from the environment.
pub(crate) fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// A chain that is played, and what ingests it.
struct Game {
    random: Random,
    chain: ScriptedSource,
    /// Blocks taken back last, and where from.
    taken: Option<(u64, Vec<ScriptedBlock>)>,
    finalized: u64,
    salt: u64,
    database: TestDatabase,
    ingest: Option<StoredIngest>,
    /// How many reorgs met ingestion in the middle of a step, of final history among them.
    restarts: u64,
    during_steps: u64,
}

impl Game {
    fn grow(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.salt += 1;
            let logs = self.random.below(4);
            let emissions = [emissions(self.salt, logs), random_pods(self.salt)].concat();
            self.chain.push(self.salt, emissions);
        }
    }

    /// Takes back one to 64 blocks that are not final, and puts others in their place: as many,
    /// fewer, more, or those of the time before.
    fn reorg(&mut self) {
        let tip = self.chain.tip().number;
        let depth = (1 + self.random.below(DEPTH_MAX)).min(tip - self.finalized);
        let to = tip - depth;
        let taken = self.chain.rewind(to);
        match self.taken.take() {
            Some((at, blocks)) if at == to && self.random.below(2) == 0 => self.chain.adopt(blocks),
            _ => {
                let more = self.random.below(4);
                self.grow((depth + more).saturating_sub(1));
            }
        }
        self.taken = Some((to, taken));
    }

    /// Room for the deepest reorg, and sometimes a stretch of final history to backfill.
    fn make_room(&mut self) {
        let tip = self.chain.tip().number;
        if tip - self.finalized < DEPTH_MAX + 2 {
            self.grow(DEPTH_MAX + 2);
        }
        if self.random.below(5) == 0 {
            self.grow(60);
            self.finalized = self.chain.tip().number - DEPTH_MAX - 1;
            self.chain.finalize(self.finalized);
        }
    }

    async fn restart(&mut self) {
        self.restarts += 1;
        self.ingest = None;
        self.ingest = Some(resume(&self.chain, &self.database.store().await).await);
    }

    /// One reorg: before ingestion looks, while it looks, or while it is down.
    async fn play(&mut self) {
        self.make_room();
        match self.random.below(4) {
            0 => {
                self.reorg();
                self.restart().await;
            }
            1 => {
                // The reorg comes in the middle of a step, which then goes on.
                let micros = self.random.below(4_000);
                let mut ingest = self.ingest.take().expect("it is put back");
                let mut step = Box::pin(async {
                    let stepped = ingest.step().await;
                    (ingest, stepped)
                });
                let early = tokio::time::timeout(Duration::from_micros(micros), &mut step).await;
                self.during_steps += u64::from(early.is_err());
                self.reorg();
                let (ingest, stepped) = match early {
                    Ok(done) => done,
                    Err(_) => step.await,
                };
                self.ingest = Some(ingest);
                check(stepped);
            }
            2 => {
                // The step is broken off, as by a crash.
                let micros = self.random.below(4_000);
                let ingest = self.ingest.as_mut().expect("there is one");
                let patience = Duration::from_micros(micros);
                let _broken_off = tokio::time::timeout(patience, ingest.step()).await;
                self.reorg();
                self.restart().await;
            }
            _ => self.reorg(),
        }
        // One chain in three is looked at again only after the next reorg.
        if self.random.below(3) > 0 {
            self.look().await;
        }
    }

    /// Until there is nothing more to see.
    async fn look(&mut self) {
        while check(self.ingest.as_mut().expect("there is one").step().await) == Step::Advanced {}
    }
}

/// What a step led to. A source that moved between two questions is asked again.
fn check(stepped: Result<Step, IngestError<AppendError>>) -> Step {
    match stepped {
        Ok(step) => step,
        Err(IngestError::Source(error)) if error.is_temporary() => Step::Advanced,
        Err(error) => panic!("{error:?}"),
    }
}

/// The facts that stand, final or not, in the order of the chain.
async fn standing(store: &EventStore) -> Vec<Fact> {
    let orphans: BTreeSet<B256> = store.orphans(1).await.unwrap();
    let mut facts = Vec::new();
    let each = |envelope: assay::event_store::Envelope| {
        let is_said = !matches!(
            envelope.fact.event,
            Event::FinalityAdvanced | Event::BlocksReverted { .. } | Event::BlocksRestored { .. }
        );
        if is_said && !orphans.contains(&envelope.fact.block.hash) {
            facts.push(envelope.fact);
        }
        Ok::<(), std::convert::Infallible>(())
    };
    store.for_each(0, None, each).await.unwrap();
    facts.sort_by_key(Fact::key);
    facts
}

#[tokio::test]
async fn whatever_reorgs_there_were_the_log_is_that_of_the_chain_that_won() {
    let (seed, reorgs) = (number("ASSAY_SIM_SEED", 20_261_122), number("ASSAY_SIM_REORGS", 100));
    eprintln!("seed {seed}, {reorgs} reorgs");
    let mut random = Random(seed);
    let (mut restarts, mut during_steps, mut told) = (0, 0, 0);
    for _ in 0..reorgs.div_ceil(REORGS_A_CHAIN) {
        let database = support::database().await;
        let store = database.store().await;
        let chain = chain(12);
        // Steps that are broken off leave connections in the middle of an answer behind.
        let ingest = Some(resume(&chain, &database.store().await).await);
        let mut game = Game {
            random: Random(random.next()),
            chain: chain.clone(),
            taken: None,
            finalized: FIRST,
            salt: 1_000,
            database,
            ingest,
            restarts: 0,
            during_steps: 0,
        };
        for turn in 0..REORGS_A_CHAIN {
            game.play().await;
            if turn % 10 == 9 {
                // A chain that is only shorter cannot be told from a node that is behind.
                game.grow(1);
                game.look().await;
                assert_eq!(standing(&store).await, truth(&chain, u64::MAX), "seed {seed}");
            }
        }
        game.grow(3);
        chain.finalize(chain.tip().number);
        game.look().await;
        let (facts, hash) = canonical(&store).await;
        assert_eq!(facts, truth(&chain, u64::MAX), "seed {seed}");
        store.verify().await.unwrap();

        let fresh = support::database().await;
        let fresh_store = fresh.store().await;
        let mut ingest = resume(&chain, &fresh_store).await;
        while check(ingest.step().await) == Step::Advanced {}
        assert_eq!(canonical(&fresh_store).await, (facts, hash), "seed {seed}");
        (restarts, during_steps) = (restarts + game.restarts, during_steps + game.during_steps);
        store
            .read_own(&[201], 0, |_| {
                told += 1;
                Ok::<(), std::convert::Infallible>(())
            })
            .await
            .unwrap();
    }
    eprintln!("{told} reverts recorded, {restarts} restarts, {during_steps} during a step");
    assert!(told * 3 > reorgs && restarts * 10 > reorgs && during_steps > 0);
}

/// The program itself, recording a chain from a node.
fn ingest(url: &str, node: &MockNode) -> Child {
    let start = FIRST.to_string();
    Command::new(env!("CARGO_BIN_EXE_assay"))
        .args(["ingest", "--once", "--start-block", &start, "--rpc-url", &node.url()])
        .args(["--database-url", url])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

async fn to_the_end(url: &str, node: &MockNode) {
    let mut child = ingest(url, node);
    let ended = tokio::task::spawn_blocking(move || child.wait()).await.unwrap();
    assert!(ended.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_killed_at_any_moment_loses_nothing_and_doubles_nothing() {
    let (seed, kills) = (number("ASSAY_SIM_SEED", 20_261_122), number("ASSAY_SIM_KILLS", 5));
    eprintln!("seed {seed}, {kills} kills");
    let chain = chain(1_500);
    chain.finalize(chain.tip().number);
    // Small ranges: a commit each, and many moments between them.
    let habits = Habits { range_max: Some(12), ..Habits::default() };
    let node = MockNode::start(chain.clone(), habits).await;
    let whole = support::database().await;
    to_the_end(&whole.url, &node).await;
    let expected = whole.store().await.head().await.unwrap();

    let mut random = Random(seed);
    let mut database = support::database().await;
    let (mut killed, mut half_way) = (0, 0);
    while killed < kills {
        let store = database.store().await;
        let before = store.head().await.unwrap().position;
        let target = before + random.below(expected.position / 3);
        let extra = Duration::from_micros(random.below(20_000));
        let mut child = ingest(&database.url, &node);
        while child.try_wait().unwrap().is_none()
            && store.head().await.unwrap().position < target.max(before + 1)
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(extra).await;
        // SIGKILL.
        let _it_may_have_ended = child.kill();
        child.wait().unwrap();
        killed += 1;
        let position = store.head().await.unwrap().position;
        half_way += u64::from(position < expected.position);
        if position == expected.position && killed < kills {
            assert_eq!(store.head().await.unwrap(), expected);
            database = support::database().await;
        }
    }
    to_the_end(&database.url, &node).await;
    let store = database.store().await;
    let (facts, _) = canonical(&store).await;
    assert_eq!(facts, truth(&chain, u64::MAX), "seed {seed}");
    assert_eq!(store.verify().await.unwrap().head, expected, "seed {seed}");
    assert!(half_way > 0);
}
