//! Why an append was refused. Whatever the variant: nothing of it was written.

use alloy::primitives::B256;
use assay_domain::ChainId;

/// An append was refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The chain says otherwise than it said when the block was final. Stop: either the RPC
    /// endpoint lies or finality broke, and a person must decide.
    #[error(
        "chain {chain_id}: block {number} is final as {stored}, but {found} was offered; check \
         the RPC endpoint, nothing was written"
    )]
    ContradictsFinality {
        /// The chain.
        chain_id: ChainId,
        /// The block's number.
        number: u64,
        /// The hash the store knows.
        stored: B256,
        /// The hash that was offered.
        found: B256,
    },
    /// The chain has another block there than is stored, and no revert said so. Find the fork
    /// point and append the revert first.
    #[error(
        "chain {chain_id}: block {number} is stored as {stored}, but {found} was offered without \
         a revert; nothing was written"
    )]
    ContradictsBlock {
        /// The chain.
        chain_id: ChainId,
        /// The block's number.
        number: u64,
        /// The hash the store knows.
        stored: B256,
        /// The hash that was offered.
        found: B256,
    },
    /// A revert would go back behind finality. Stop, as for `ContradictsFinality`.
    #[error(
        "chain {chain_id}: a revert to block {to} goes behind block {finalized}, which is final; \
         check the RPC endpoint, nothing was written"
    )]
    RevertsFinal {
        /// The chain.
        chain_id: ChainId,
        /// The block the revert goes back to.
        to: u64,
        /// The newest final block.
        finalized: u64,
    },
    /// A revert left out a stored block above the block it goes back to. A bug of the caller.
    #[error(
        "chain {chain_id}: a revert to block {to} does not take back block {number} ({hash}), \
         which is stored; nothing was written"
    )]
    RevertIncomplete {
        /// The chain.
        chain_id: ChainId,
        /// The block the revert goes back to.
        to: u64,
        /// The block left out.
        number: u64,
        /// Its hash.
        hash: B256,
    },
    /// Facts of a block that is taken back at present. List the block in `restored`.
    #[error(
        "chain {chain_id}: block {number} ({hash}) was taken back and is not among the restored; \
         nothing was written"
    )]
    Orphaned {
        /// The chain.
        chain_id: ChainId,
        /// The block's number.
        number: u64,
        /// Its hash.
        hash: B256,
    },
    /// Restored blocks without the newest of them. A bug of the caller.
    #[error("{count} restored blocks, but not which is the newest; nothing was written")]
    RestoredWithoutHead {
        /// Blocks restored.
        count: usize,
    },
    /// A fact of another chain than the batch's. A bug of the caller.
    #[error("a batch of chain {expected} holds a fact of chain {found}; nothing was written")]
    ForeignChain {
        /// The batch's chain.
        expected: ChainId,
        /// The fact's chain.
        found: ChainId,
    },
    /// Facts of a batch come in whole blocks, in rising order of block and log index.
    #[error("block {number}, log {log_index} is not in order in its batch; nothing was written")]
    NotInOrder {
        /// The fact's block.
        number: u64,
        /// Its log index.
        log_index: u32,
    },
    /// One block of the batch has two hashes or two times. The RPC endpoint mixed forks: ask again.
    #[error("block {number} has two hashes or times within a batch; nothing was written")]
    TornBlock {
        /// The block's number.
        number: u64,
    },
    /// An event of Assay's own in a chain's batch, or the reverse. A bug of the caller.
    #[error(
        "an event with tag {tag} does not belong there: chain events come in batches, our own \
         with no transaction, no emitter and the last log index; nothing was written"
    )]
    Misplaced {
        /// The event's tag.
        tag: u8,
    },
    /// Someone appended a rating action or a restatement first. Load what is new, decide again.
    #[error(
        "the last rating action or restatement is at position {found}, expected {expected}; \
         nothing was written"
    )]
    WrongExpectedPosition {
        /// Where the caller thought it was; 0 for none.
        expected: u64,
        /// Where it is.
        found: u64,
    },
    /// A number that Postgres cannot hold.
    #[error("{what} {value} is above 2^63; nothing was written")]
    OutOfRange {
        /// What it is.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A stored hash has the wrong length. Run `assay verify`.
    #[error("{what} holds {length} bytes where a hash of 32 belongs; run `assay verify`")]
    Damaged {
        /// The column.
        what: &'static str,
        /// Its length.
        length: usize,
    },
    /// The database is unreachable or refused. Try again, backing off; nothing was written.
    #[error("the event store is unavailable; nothing was written")]
    Unavailable(#[from] sqlx::Error),
}
