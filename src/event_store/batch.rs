//! What ingestion hands to the store: everything learned in one step, committed as one.

use alloy::primitives::B256;
use assay_domain::{BlockRef, ChainId, Fact};

/// One step of ingestion of one chain. Applied in field order, in one transaction.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The chain.
    pub chain_id: ChainId,
    /// Blocks taken back before anything new is appended.
    pub revert: Option<Revert>,
    /// Blocks that were taken back once and are part of the chain again, oldest first.
    pub restored: Vec<B256>,
    /// The newest restored block; meaningful when `restored` is not empty.
    pub restored_head: Option<BlockRef>,
    /// Chain facts, whole blocks, in order. Those already stored are skipped and counted.
    pub facts: Vec<Fact>,
    /// Headers of the blocks in the reorg window, in order, whether or not they hold facts.
    pub headers: Vec<Header>,
    /// First block the next step will ask for; `None` leaves the cursor where it is (an import).
    pub next_block: Option<u64>,
    /// The newest final block, if it advanced.
    pub finalized: Option<BlockRef>,
}

/// A reorg: the chain went back to `to`.
#[derive(Debug, Clone)]
pub struct Revert {
    /// The newest block both forks share.
    pub to: BlockRef,
    /// Hashes of the blocks taken back, oldest first.
    pub orphaned: Vec<B256>,
}

/// A header in the reorg window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The block.
    pub block: BlockRef,
    /// Its parent.
    pub parent_hash: B256,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Chain facts stored.
    pub appended: u64,
    /// Chain facts that were there already.
    pub skipped: u64,
    /// Storage position after the append.
    pub position: u64,
    /// Storage hash after the append.
    pub hash: B256,
}
