//! Proves that a node left nothing out: the logs it gave are those of the receipts whose root the
//! block's header commits to, and the header is the one its hash names.
//!
//! Only blocks whose bloom may hold an address of ours need their receipts; a bloom has no false
//! negatives. What this cannot show is that the block itself is the chain's: that is for parent
//! hashes, finality and a second node.

use alloy::consensus::proofs::calculate_receipt_root;
use alloy::consensus::{BlockHeader, TxReceipt};
use alloy::primitives::{Address, B256, Bloom, BloomInput};
use alloy::rpc::types::{Header, Log, TransactionReceipt};

use super::chain_log::{ChainLog, Topics};
use super::source::LogFilter;

/// What a node said about a block is not what the block's hash commits to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// The header is another block's, or edited.
    #[error("the header of block {number} hashes to {found}, not to {expected}")]
    Header {
        /// The block.
        number: u64,
        /// Its hash.
        expected: B256,
        /// Hash of the header given.
        found: B256,
    },
    /// The receipts are not those of the header.
    #[error(
        "the receipts of block {number} have the root {found}, its header says {expected}: {suspect}"
    )]
    Receipts {
        /// The block.
        number: u64,
        /// The header's receipts root.
        expected: B256,
        /// Root of the receipts given.
        found: B256,
        /// The first log that gives itself away.
        suspect: String,
    },
    /// The receipts are right and the logs given beside them are not.
    #[error(
        "log {log_index} of block {number}, emitted by {address} in transaction {tx_hash}, {what}"
    )]
    Log {
        /// The block.
        number: u64,
        /// The log's place in it.
        log_index: u32,
        /// Who emitted it.
        address: Address,
        /// Its transaction.
        tx_hash: B256,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Recomputes the header's hash.
pub fn prove_header(header: &Header, expected: B256) -> Result<(), Unproven> {
    let found = header.inner.hash_slow();
    if found == expected {
        return Ok(());
    }
    Err(Unproven::Header { number: header.number(), expected, found })
}

/// The logs in a block that are asked for, if the receipts are the block's. The header must be
/// proven. `claimed`, the logs that another answer gave, only helps to say which log is wrong.
pub fn prove_receipts(
    header: &Header,
    receipts: &[TransactionReceipt],
    filter: &LogFilter,
    claimed: &[ChainLog],
) -> Result<Vec<ChainLog>, Unproven> {
    let logs: Vec<ChainLog> = receipts
        .iter()
        .flat_map(TransactionReceipt::logs)
        .filter(|log| filter.wants(&log.address(), log.topic0()))
        .map(|log| chain_log(log, header))
        .collect();
    let primitives = receipts.iter().cloned().map(TransactionReceipt::into_primitives_receipt);
    let primitives: Vec<_> = primitives.map(|receipt| receipt.inner).collect();
    let found = calculate_receipt_root(&primitives);
    let expected = header.receipts_root();
    if found == expected {
        return Ok(logs);
    }
    let suspect = suspect(header, receipts).unwrap_or_else(|| match prove_logs(&logs, claimed) {
        Err(difference) => format!("of two answers, {difference}"),
        Ok(()) => "which log is wrong cannot be told".to_owned(),
    });
    Err(Unproven::Receipts { number: header.number(), expected, found, suspect })
}

/// Compares claimed logs with proven ones; both are in the order of the block.
pub fn prove_logs(proven: &[ChainLog], claimed: &[ChainLog]) -> Result<(), Unproven> {
    let mut pairs = proven.iter().zip(claimed);
    let (log, what) = match pairs.find(|(truth, claim)| !truth.is_same_as(claim)) {
        Some((truth, claim)) if truth.log_index < claim.log_index => (truth, "was left out"),
        Some((truth, claim)) if claim.log_index < truth.log_index => (claim, "is in no receipt"),
        Some((_, claim)) => (claim, "is not what its receipt says"),
        None => match (proven.get(claimed.len()), claimed.get(proven.len())) {
            (Some(truth), _) => (truth, "was left out"),
            (None, Some(claim)) => (claim, "is in no receipt"),
            (None, None) => return Ok(()),
        },
    };
    Err(Unproven::Log {
        number: log.block_number,
        log_index: log.log_index,
        address: log.address,
        tx_hash: log.tx_hash,
        what,
    })
}

/// The first log of receipts with a wrong root that contradicts its place or a bloom.
fn suspect(header: &Header, receipts: &[TransactionReceipt]) -> Option<String> {
    let mut expected_index = 0;
    for receipt in receipts {
        let hash = receipt.transaction_hash;
        for log in receipt.logs() {
            let index = log.log_index.unwrap_or(u64::MAX);
            if index != expected_index {
                return Some(format!(
                    "log {expected_index} is missing or moved: log {index} of transaction {hash} \
                     stands in its place"
                ));
            }
            expected_index += 1;
            let address = log.address();
            let inputs = std::iter::once(address.as_slice())
                .chain(log.topics().iter().map(|topic| topic.as_slice()));
            for input in inputs {
                if !header.logs_bloom().contains_input(BloomInput::Raw(input)) {
                    return Some(format!(
                        "log {index} of transaction {hash} is not in the block's bloom"
                    ));
                }
            }
        }
        let bloom: Bloom = receipt.logs().iter().map(|log| &log.inner).collect();
        if bloom != receipt.inner.bloom() {
            let after = expected_index;
            return Some(format!(
                "the logs before log {after} in transaction {hash} are not those of its bloom"
            ));
        }
    }
    None
}

fn chain_log(log: &Log, header: &Header) -> ChainLog {
    ChainLog {
        address: log.address(),
        // More than four topics do not fit a receipt; alloy has refused them.
        topics: Topics::new(log.topics()).unwrap_or(Topics::NONE),
        data: log.inner.data.data.to_vec(),
        block_number: header.number(),
        block_hash: header.hash,
        block_timestamp: Some(header.timestamp()),
        tx_hash: log.transaction_hash.unwrap_or_default(),
        log_index: log.log_index.and_then(|index| u32::try_from(index).ok()).unwrap_or(u32::MAX),
        removed: false,
    }
}
