//! The canonical log: what independent nodes must agree on.
//!
//! It holds the finalized facts in the order of [`FactKey`], and between them a mark at the end of
//! each epoch of each chain, so that a position exists for every moment at which a rating is made,
//! and after the mark the signed messages that count from there, by kind and digest.
//! Arrival order, reorgs, polls and finality notices are not in it.
//!
//! An epoch seldom ends in a block that holds a fact, so its time is computed, not fetched: the
//! last fact's time plus the shortest time the blocks since can have taken. It is never later than
//! the block's own time, and it is the same on every node.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use sha2::{Digest, Sha256};

use crate::block::{BlockRef, ChainId, epoch_end};
use crate::event::{Fact, FactKey};

/// A place in the canonical log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanonicalHead {
    /// Entries so far, facts and marks.
    pub position: u64,
    /// Hash over all of them.
    pub hash: B256,
}

/// The end of an epoch on a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The chain.
    pub chain_id: ChainId,
    /// The epoch's last block. Its hash is zero: no event tells it.
    pub block: BlockRef,
}

impl EpochEnd {
    /// The mark's place in the canonical order: after every fact of its block.
    const fn key(&self) -> FactKey {
        FactKey {
            timestamp: self.block.timestamp,
            chain_id: self.chain_id,
            block_number: self.block.number,
            log_index: u32::MAX,
        }
    }
}

/// Counts and hashes the canonical log and finds the epoch ends between its facts.
#[derive(Debug, Clone)]
pub struct Canonicalizer {
    head: CanonicalHead,
    /// Shortest seconds between two blocks, by chain; a chain not listed may take none.
    slot_seconds: BTreeMap<ChainId, u64>,
    /// Last fact's block and the next epoch end, by chain.
    clocks: BTreeMap<ChainId, Clock>,
}

#[derive(Debug, Clone, Copy)]
struct Clock {
    last: BlockRef,
    next_epoch: u64,
}

impl Canonicalizer {
    /// An empty canonical log.
    pub fn new(slot_seconds: BTreeMap<ChainId, u64>) -> Self {
        let hash = B256::from(<[u8; 32]>::from(Sha256::digest(b"assay canonical log 1")));
        Self { head: CanonicalHead { position: 0, hash }, slot_seconds, clocks: BTreeMap::new() }
    }

    /// Where the log stands.
    pub const fn head(&self) -> CanonicalHead {
        self.head
    }

    /// The next epoch end before a fact in block `until` of its chain. Call until it returns
    /// `None`, then append the fact. The computed time plays no part in this: it is a lower bound,
    /// and a fact of the epoch may have a later one.
    pub fn next_epoch_end_before(&mut self, chain_id: ChainId, until: u64) -> Option<EpochEnd> {
        let end = self.epoch_end(chain_id, self.clocks.get(&chain_id)?);
        (end.block.number < until).then(|| self.end_epoch(end))
    }

    /// The next epoch end that the finality of its chain has passed. Call until it returns `None`
    /// once every fact that is final has been appended.
    pub fn next_final_epoch_end(&mut self, finalized: &BTreeMap<ChainId, u64>) -> Option<EpochEnd> {
        let end = self
            .clocks
            .iter()
            .map(|(chain_id, clock)| self.epoch_end(*chain_id, clock))
            .filter(|end| {
                finalized.get(&end.chain_id).is_some_and(|number| *number >= end.block.number)
            })
            .min_by_key(EpochEnd::key)?;
        Some(self.end_epoch(end))
    }

    fn end_epoch(&mut self, end: EpochEnd) -> EpochEnd {
        if let Some(clock) = self.clocks.get_mut(&end.chain_id) {
            clock.next_epoch = clock.next_epoch.saturating_add(1);
        }
        self.mark(&end);
        end
    }

    /// The first epoch of a chain that has not ended; `None` before its first fact.
    pub fn open_epoch(&self, chain_id: ChainId) -> Option<u64> {
        self.clocks.get(&chain_id).map(|clock| clock.next_epoch)
    }

    /// Appends a signed message, right after the end of the epoch from which it counts. Its place
    /// and its hash follow from what was signed, not from the signature's own bytes.
    pub fn append_message(&mut self, tag: u8, digest: &B256) -> CanonicalHead {
        let mut bytes = Vec::with_capacity(40);
        bytes.extend_from_slice(b"message");
        bytes.push(tag);
        bytes.extend_from_slice(digest.as_slice());
        self.advance(&bytes)
    }

    /// Appends a fact, given the bytes that its storage hash covers.
    pub fn append(&mut self, fact: &Fact, hashed_bytes: &[u8]) -> CanonicalHead {
        let clock = self
            .clocks
            .entry(fact.chain_id)
            .or_insert(Clock { last: fact.block, next_epoch: fact.block.epoch() });
        clock.last = fact.block;
        self.advance(hashed_bytes)
    }

    fn epoch_end(&self, chain_id: ChainId, clock: &Clock) -> EpochEnd {
        let number = epoch_end(clock.next_epoch);
        let blocks = number.saturating_sub(clock.last.number);
        let slot = self.slot_seconds.get(&chain_id).copied().unwrap_or(0);
        let timestamp = clock.last.timestamp.saturating_add(blocks.saturating_mul(slot));
        EpochEnd { chain_id, block: BlockRef { number, hash: B256::ZERO, timestamp } }
    }

    fn mark(&mut self, end: &EpochEnd) {
        let mut bytes = Vec::with_capacity(33);
        bytes.extend_from_slice(b"epoch end");
        for word in [end.chain_id, end.block.number, end.block.timestamp] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        self.advance(&bytes);
    }

    fn advance(&mut self, bytes: &[u8]) -> CanonicalHead {
        let hash = Sha256::new().chain_update(self.head.hash).chain_update(bytes).finalize();
        self.head = CanonicalHead {
            position: self.head.position.saturating_add(1),
            hash: B256::from(<[u8; 32]>::from(hash)),
        };
        self.head
    }
}
