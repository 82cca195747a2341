//! The canonical log: the same whatever the order of arrival.

use std::convert::Infallible;

use assay::event_store::{Batch, CanonicalHead, EventStore, Extension, Revert};
use assay_domain::Fact;

use super::{batch_of, canonical, last_block};
use crate::support::{self, synthetic};
use synthetic::{CHAIN_ID, Random, block, facts_of_block};

#[tokio::test]
async fn an_import_out_of_order_gives_the_same_canonical_log() {
    let (one, other) = (support::database().await, support::database().await);
    let (in_order, mixed) = (one.store().await, other.store().await);
    let facts = synthetic::facts(5, 3_000);
    let finality = Batch { finalized: Some(last_block(&facts)), ..batch_of(Vec::new()) };
    in_order.append(&batch_of(facts.clone())).await.expect("an append");
    in_order.append(&finality).await.expect("an append");
    // Newest first, and the operators' events before the others, as two imports would.
    mixed.append(&finality).await.expect("an append");
    for facts in facts.chunks(700).rev() {
        let (some, rest): (Vec<Fact>, Vec<Fact>) =
            facts.iter().cloned().partition(|fact| fact.log_index % 2 == 0);
        mixed.append(&batch_of(some)).await.expect("an append");
        mixed.append(&batch_of(rest)).await.expect("an append");
    }
    let (expected, head) = canonical(&in_order, None).await;
    let (found, mixed_head) = canonical(&mixed, None).await;
    assert_eq!(
        expected.iter().map(|fact| &fact.fact).collect::<Vec<_>>(),
        facts.iter().collect::<Vec<_>>()
    );
    assert_eq!((head.hash, head.position), (mixed_head.hash, mixed_head.position));
    assert!(expected.iter().zip(&found).all(|(a, b)| a.fact == b.fact && a.hash == b.hash));
    mixed.verify().await.expect("a sound store");
}

#[tokio::test]
async fn what_is_not_final_is_not_canonical() {
    let database = support::database().await;
    let store = database.store().await;
    let facts: Vec<Fact> = (1..=6).flat_map(|number| facts_of_block(number, 0, 2)).collect();
    store.append(&batch_of(facts)).await.expect("an append");
    assert_eq!(canonical(&store, None).await.1.position, 0);
    for number in [2, 5] {
        let finality = Batch { finalized: Some(block(number, 0)), ..batch_of(Vec::new()) };
        store.append(&finality).await.expect("an append");
    }
    assert_eq!(canonical(&store, None).await.1.position, 10);
    // As it was when block 2 was the newest final one, and before that.
    assert_eq!(canonical(&store, Some(13)).await.1.position, 4);
    assert_eq!(canonical(&store, Some(12)).await.1.position, 0);
}

#[tokio::test]
async fn chains_are_merged_by_time() {
    let database = support::database().await;
    let store = database.store().await;
    let mut expected = Vec::new();
    for chain_id in [10, 1] {
        let mut facts: Vec<Fact> = (1..=20).flat_map(|n| facts_of_block(n, chain_id, 2)).collect();
        facts.iter_mut().for_each(|fact| fact.chain_id = chain_id);
        let finalized = Some(last_block(&facts));
        expected.extend(facts.clone());
        store
            .append(&Batch { chain_id, facts, finalized, ..Batch::default() })
            .await
            .expect("append");
    }
    expected.sort_by_key(Fact::key);
    let (found, _) = canonical(&store, None).await;
    assert_eq!(found.into_iter().map(|fact| fact.fact).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn older_facts_are_said_and_not_slipped_in() {
    let database = support::database().await;
    let store = database.store().await;
    let finality = Some(block(9, 0));
    let newer = Batch { finalized: finality, ..batch_of(facts_of_block(9, 0, 2)) };
    store.append(&newer).await.expect("an append");
    let (_, head) = canonical(&store, None).await;
    let older = facts_of_block(4, 0, 3);
    store.append(&batch_of(older.clone())).await.expect("an append");
    let mut handed_over = 0;
    let count = |_: &_| {
        handed_over += 1;
        Ok::<(), Infallible>(())
    };
    let extension = store.extend_canonical(&head, None, count).await.expect("a sound store");
    assert_eq!(extension, Extension::Older { first: older[0].key() });
    assert_eq!(handed_over, 0);
    // Up to where they were not known, nothing happened.
    let count = |_: &_| Ok::<(), Infallible>(());
    let then = store.extend_canonical(&head, Some(head.storage_position), count).await;
    assert_eq!(then.expect("a sound store"), Extension::Extended(head));
}

/// A chain that grows, forks, goes back to an older fork and becomes final, as the seed says.
struct World {
    random: Random,
    /// The fork of each block of the chain as it is now, block 1 first.
    forks: Vec<u64>,
    /// What was last taken back: the block above which, and the forks.
    taken_back: Option<(usize, Vec<u64>)>,
    final_count: usize,
    next_fork: u64,
}

impl World {
    fn step(&mut self) -> Batch {
        let mut batch = batch_of(Vec::new());
        let tail = self.forks.len() - self.final_count;
        match self.random.below(6) {
            0 | 1 if tail > 0 => self.fork(&mut batch, tail),
            2 if self.taken_back.is_some() => self.go_back(&mut batch),
            3 => {
                self.final_count += usize::try_from(self.random.below(tail as u64 + 1)).unwrap();
                if self.taken_back.as_ref().is_some_and(|(above, _)| *above < self.final_count) {
                    self.taken_back = None;
                }
            }
            _ => {}
        }
        for _ in 0..self.random.below(4) {
            self.forks.push(self.next_fork);
            batch.facts.extend(self.facts_of(self.forks.len()));
        }
        if self.final_count > 0 {
            batch.finalized = Some(self.block(self.final_count));
        }
        batch.next_block = Some(self.forks.len() as u64 + 1);
        batch
    }

    fn fork(&mut self, batch: &mut Batch, tail: usize) {
        let depth = 1 + usize::try_from(self.random.below(tail as u64)).unwrap();
        let above = self.forks.len() - depth;
        let taken_back = self.take_back(batch, above);
        self.taken_back = Some((above, taken_back));
        self.next_fork += 1;
    }

    fn go_back(&mut self, batch: &mut Batch) {
        let Some((above, forks)) = self.taken_back.take() else { return };
        // Only if the chain still has the block below.
        if above > self.forks.len() || above < self.final_count {
            return;
        }
        if above < self.forks.len() {
            self.take_back(batch, above);
            self.next_fork += 1;
        }
        self.forks.extend(forks);
        batch.restored = (above + 1..=self.forks.len()).map(|n| self.block(n).hash).collect();
        batch.restored_head = Some(self.block(self.forks.len()));
    }

    fn take_back(&mut self, batch: &mut Batch, above: usize) -> Vec<u64> {
        let orphaned = (above + 1..=self.forks.len()).map(|n| self.block(n).hash).collect();
        let to = if above == 0 { block(0, 0) } else { self.block(above) };
        batch.revert = Some(Revert { to, orphaned });
        self.forks.split_off(above)
    }

    fn block(&self, number: usize) -> assay_domain::BlockRef {
        block(number as u64, self.forks[number - 1])
    }

    fn facts_of(&self, number: usize) -> Vec<Fact> {
        let (number, fork) = (number as u64, self.forks[number - 1]);
        facts_of_block(number, fork, (number + fork) % 4)
    }

    fn final_facts(&self) -> Vec<Fact> {
        (1..=self.final_count).flat_map(|number| self.facts_of(number)).collect()
    }
}

async fn extend(store: &EventStore, head: CanonicalHead, facts: &mut Vec<Fact>) -> CanonicalHead {
    let apply = |fact: &assay::event_store::CanonicalFact| {
        facts.push(fact.fact.clone());
        Ok::<(), Infallible>(())
    };
    match store.extend_canonical(&head, None, apply).await.expect("a sound store") {
        Extension::Extended(head) => head,
        Extension::Older { first } => panic!("one chain in order, but {first:?} is older"),
    }
}

#[tokio::test]
async fn whatever_the_chain_does_the_canonical_log_is_its_final_blocks() {
    for seed in 0..6 {
        let database = support::database().await;
        let store = database.store().await;
        let mut world = World {
            random: Random(seed),
            forks: Vec::new(),
            taken_back: None,
            final_count: 0,
            next_fork: 0,
        };
        let (_, mut head) = canonical(&store, None).await;
        let (mut facts, mut heads) = (Vec::new(), Vec::new());
        for step in 0..40 {
            let batch = world.step();
            let appended = store.append(&batch).await;
            appended.unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}"));
            if step % 3 == 0 {
                head = extend(&store, head, &mut facts).await;
                assert_eq!(facts, world.final_facts(), "seed {seed}, step {step}");
                heads.push(head.clone());
            }
        }
        store.verify().await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        for expected in heads {
            let (_, then) = canonical(&store, Some(expected.storage_position)).await;
            assert_eq!(then, expected, "seed {seed}");
        }
        assert!(world.next_fork > 3 && world.final_count > 3, "seed {seed} is a dull one");
        assert_eq!(
            store.cursor(CHAIN_ID).await.expect("a cursor").map(|c| c.next_block),
            Some(world.forks.len() as u64 + 1)
        );
    }
}
