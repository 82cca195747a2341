//! The event store on a real Postgres.

mod append;
mod archive;
mod canonical;
mod crash;
mod damage;
mod golden;
mod own;
mod reorg;
mod roles;

use std::convert::Infallible;

use assay::event_store::{Batch, CanonicalFact, CanonicalHead, EventStore, Header};
use assay_domain::{BlockRef, Fact};

use crate::support::synthetic::{CHAIN_ID, block};

/// A batch that holds facts and nothing else.
pub(crate) fn batch_of(facts: Vec<Fact>) -> Batch {
    Batch { chain_id: CHAIN_ID, facts, ..Batch::default() }
}

/// Headers of blocks of one fork.
fn headers(numbers: std::ops::RangeInclusive<u64>, fork: u64) -> Vec<Header> {
    let header =
        |number| Header { block: block(number, fork), parent_hash: block(number - 1, fork).hash };
    numbers.map(header).collect()
}

/// Everything in storage order.
async fn read_all(store: &EventStore) -> Vec<Fact> {
    let mut facts = Vec::new();
    let read = store.for_each(0, None, |envelope| {
        assert_eq!(envelope.position, facts.len() as u64 + 1);
        facts.push(envelope.fact);
        Ok::<(), Infallible>(())
    });
    read.await.expect("a sound store");
    facts
}

/// The canonical log as it was at a storage position.
async fn canonical(store: &EventStore, up_to: Option<u64>) -> (Vec<CanonicalFact>, CanonicalHead) {
    let apply = |facts: &mut Vec<CanonicalFact>, fact: &CanonicalFact| {
        facts.push(fact.clone());
        Ok::<(), Infallible>(())
    };
    store.fold_canonical(up_to, Vec::new, apply).await.expect("a sound store")
}

/// The newest block of facts.
fn last_block(facts: &[Fact]) -> BlockRef {
    facts.last().expect("there are facts").block
}
