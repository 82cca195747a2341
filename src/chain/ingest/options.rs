//! How to ingest, and how far it is.

use std::time::Duration;

/// How to ingest. The defaults suit a hosted node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestOptions {
    /// First block to read when the store knows nothing of the chain.
    pub start_block: u64,
    /// How often to look when the source does not tell of new blocks.
    pub poll_interval: Duration,
    /// Blocks of the first range.
    pub range_blocks_first: u64,
    /// Blocks of the largest range.
    pub range_blocks_max: u64,
    /// Logs an answer should have at most.
    pub range_logs: usize,
    /// Ranges under way at once, and blocks whose logs are asked for at once.
    pub concurrency: usize,
    /// Blocks that may still change, appended in one batch.
    pub tail_blocks: u64,
    /// For a chain whose nodes know no `finalized` tag: blocks after which a block is final.
    pub finality_depth: Option<u64>,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            start_block: 0,
            poll_interval: Duration::from_secs(4),
            range_blocks_first: 1_000,
            range_blocks_max: 20_000,
            range_logs: 10_000,
            concurrency: 4,
            tail_blocks: 64,
            finality_depth: None,
        }
    }
}

/// What one look at the chain led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something was appended; there may be more.
    Advanced,
    /// Everything the source has is appended.
    UpToDate,
    /// The source is behind what is appended already; wait for it.
    SourceBehind,
}

/// How far ingestion is, for those who watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IngestStatus {
    /// First block not yet ingested.
    pub next_block: u64,
    /// The source's newest block.
    pub head: Option<u64>,
    /// The newest final block that is ingested.
    pub finalized: Option<u64>,
    /// Facts appended since the start.
    pub facts_appended: u64,
    /// Reorgs seen since the start.
    pub reorgs: u64,
    /// Why there is no progress at present.
    pub trouble: Option<String>,
}
