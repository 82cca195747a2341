//! The contract: its interface, its bytecode, and what is read from it.
//!
//! The interface is `oracle/contracts/src/IRatingOracle.sol` as far as it is used here; a test
//! compares it with the compiled one.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::rpc::types::{BlockNumberOrTag, Filter, Log};
use alloy::sol;
use alloy::sol_types::{SolEvent, SolInterface};
use assay_domain::{BlockRef, Word};

#[cfg(feature = "publisher")]
pub use crate::admin::{AdminError, Deployed, Deployment, administer, deploy};
use crate::chain::{Chain, ChainError, Receipt};
use crate::report::EntityKey;

/// What forge compiled: `{"abi": …, "bytecode": "0x…"}`.
pub const ARTIFACT: &str = include_str!("../abi/RatingOracle.json");

/// Blocks of one `eth_getLogs`: what every provider serves for one address.
const LOG_BLOCKS_PER_REQUEST: usize = 10_000;

sol! {
    /// The contract's interface.
    #[derive(Debug, PartialEq, Eq)]
    interface IRatingOracle {
        /// One signature over one batch, and the place of one rating in it.
        struct Statement {
            bytes32 domain;
            uint256 word;
            uint32 epoch;
            uint32 count;
            uint32 index;
            uint40 deadline;
            bytes32 r;
            bytes32 vs;
            bytes32[] path;
        }

        struct Rating {
            uint40 asOf;
            uint24 lag;
            uint48 logPos;
            uint32 seq;
            uint16 model;
            uint8 flags;
            uint8 grade;
            uint16 score;
            uint32 pd;
            uint32 el;
        }

        event Rated(bytes32 indexed entity, uint32 indexed seq, uint256 word);
        event Skipped(bytes32 indexed entity, uint32 seq, uint8 reason);
        event Suspended(bytes32 indexed entity);
        event Reinstated(bytes32 indexed entity);
        event Equivocated(
            address indexed signer, bytes32 indexed entity, uint32 seq, uint256 a, uint256 b
        );

        error MalformedRating(bytes32 entity, uint256 word);
        error BadBatchLength(uint256 length);
        error BadProof();
        error Expired(uint40 deadline);
        error BadQuorum();
        error BadSignature(uint256 signerIndex);
        error WritesPaused();
        error UnknownSigner(uint32 epoch, uint256 signerIndex);
        error UnknownEntity(bytes32 entity);
        error NoEquivocation();

        constructor(address owner, address guardian, address[] signers, uint8 threshold);

        function push(bytes entries, uint256 bitmap, bytes signatures, uint40 deadline)
            returns (uint256 stored);
        function pull(
            bytes32 entity,
            uint256 word,
            uint32 index,
            uint32 count,
            bytes32[] path,
            uint256 bitmap,
            bytes signatures,
            uint40 deadline
        ) returns (bool stored);
        function fulfillOracleQuery(bytes signedOffchainData) payable;
        function reportEquivocation(
            bytes32 entity, uint32 signerEpoch, uint8 signerIndex, Statement a, Statement b
        );
        function equivocatedAt(address signer) view returns (uint256);
        function raw(bytes32 entity) view returns (uint256 word);
        function rating(bytes32 entity) view returns (Rating rating);
        function tryRating(bytes32 entity, uint256 maxAge)
            view returns (bool ok, Rating stored);
        function domainSeparator() view returns (bytes32);
        function batchDigest(bytes32 root, uint32 count, uint32 signedEpoch, uint40 deadline)
            view returns (bytes32);
        function epoch() view returns (uint32);
        function threshold() view returns (uint8);
        function signersAt(uint32 ofEpoch) view returns (address[] signers);
        function paused() view returns (bool);
        function owner() view returns (address);
        function guardian() view returns (address);
        function rotateSigners(address[] signers, uint8 threshold);
        function suspend(bytes32 entity);
        function pause();
        function unpause();
        function registerModel(uint16 id, bytes32 hash);
    }
}

/// Why the contract did not store a signed word: `SkipReason` of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// It holds this number or a higher one.
    NotNewer,
    /// Position, time or counter do not follow the stored ones, now or ever.
    Unfit(u8),
    /// Observed too far ahead of the chain's clock.
    Future,
    /// An improvement too soon after the last rating.
    Dwell,
}

impl SkipReason {
    /// The reason with this number in the interface.
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::NotNewer,
            7 => Self::Future,
            8 => Self::Dwell,
            other => Self::Unfit(other),
        }
    }
}

/// The stored word of an entity; zero if it was never rated.
pub async fn read_word(
    chain: &Chain,
    oracle: Address,
    entity: EntityKey,
) -> Result<U256, ChainError> {
    chain.call(oracle, &IRatingOracle::rawCall { entity: entity.0 }).await
}

/// The stored words of many entities, in the order asked for.
pub async fn read_words(
    chain: &Chain,
    oracle: Address,
    entities: &[EntityKey],
) -> Result<Vec<U256>, ChainError> {
    read_words_at(chain, oracle, entities, BlockNumberOrTag::Latest).await
}

/// The same, as they were in some block.
pub async fn read_words_at(
    chain: &Chain,
    oracle: Address,
    entities: &[EntityKey],
    at: BlockNumberOrTag,
) -> Result<Vec<U256>, ChainError> {
    let calls: Vec<_> =
        entities.iter().map(|entity| IRatingOracle::rawCall { entity: entity.0 }).collect();
    chain.call_many(oracle, &calls, at).await
}

/// A rating that the contract stored once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatedEvent {
    /// Whose.
    pub entity: EntityKey,
    /// The stored word, `lag` filled in by the contract.
    pub word: Word,
    /// The block.
    pub block: BlockRef,
    /// The transaction.
    pub tx_hash: B256,
}

/// The ratings that the contract stored in these blocks, oldest first.
pub async fn rated_events(
    chain: &Chain,
    oracle: Address,
    from_block: u64,
    to_block: u64,
) -> Result<Vec<RatedEvent>, ChainError> {
    let mut events = Vec::new();
    for from in (from_block..=to_block).step_by(LOG_BLOCKS_PER_REQUEST) {
        let to = from.saturating_add(LOG_BLOCKS_PER_REQUEST as u64 - 1).min(to_block);
        let filter = Filter::new()
            .address(oracle)
            .from_block(from)
            .to_block(to)
            .event_signature(IRatingOracle::Rated::SIGNATURE_HASH);
        for found in chain.logs(&filter).await? {
            events.push(rated_event(&found).ok_or_else(|| ChainError::Malformed {
                method: "eth_getLogs",
                found: format!("no rating in transaction {:?}", found.transaction_hash),
            })?);
        }
    }
    Ok(events)
}

fn rated_event(found: &Log) -> Option<RatedEvent> {
    let event = IRatingOracle::Rated::decode_log(&found.inner).ok()?;
    let word = Word::unpack(event.word).ok()?;
    // The contract wrote the block's time into the word: observation plus lag.
    let written = word.fields().as_of.saturating_add(word.lag().into());
    let block = BlockRef {
        number: found.block_number?,
        hash: found.block_hash?,
        timestamp: found.block_timestamp.unwrap_or(written),
    };
    Some(RatedEvent {
        entity: EntityKey(event.entity),
        word,
        block,
        tx_hash: found.transaction_hash?,
    })
}

/// Says which of a revert's errors it is, if it is one of the contract's.
pub(crate) fn revert_reason(output: &Bytes) -> String {
    match IRatingOracle::IRatingOracleErrors::abi_decode(output) {
        Ok(error) => format!("{error:?}"),
        Err(_) => output.to_string(),
    }
}

/// The ratings and skips in a transaction's logs.
pub fn outcomes(
    receipt: &Receipt,
    oracle: Address,
) -> impl Iterator<Item = (EntityKey, u32, Option<SkipReason>)> {
    receipt.logs.iter().filter(move |found| found.address() == oracle).filter_map(|found| {
        if let Ok(rated) = IRatingOracle::Rated::decode_log(&found.inner) {
            return Some((EntityKey(rated.entity), rated.seq, None));
        }
        let skipped = IRatingOracle::Skipped::decode_log(&found.inner).ok()?;
        let reason = SkipReason::from_number(skipped.reason);
        Some((EntityKey(skipped.entity), skipped.seq, Some(reason)))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use alloy::json_abi::JsonAbi;
    use alloy::sol_types::{SolCall, SolError};

    use super::*;

    #[test]
    fn the_interface_used_is_the_one_compiled() {
        let artifact: serde_json::Value = serde_json::from_str(ARTIFACT).unwrap();
        let abi: JsonAbi = serde_json::from_value(artifact["abi"].clone()).unwrap();
        let functions: BTreeSet<_> = abi.functions().map(|found| found.selector().0).collect();
        let errors: BTreeSet<_> = abi.errors().map(|found| found.selector().0).collect();
        let events: BTreeSet<_> = abi.events().map(|found| found.selector()).collect();
        for selector in IRatingOracle::IRatingOracleCalls::selectors() {
            assert!(functions.contains(&selector), "function {selector:02x?}");
        }
        for selector in IRatingOracle::IRatingOracleErrors::selectors() {
            assert!(errors.contains(&selector), "error {selector:02x?}");
        }
        for topic in IRatingOracle::IRatingOracleEvents::SELECTORS {
            assert!(events.contains(&B256::from(*topic)), "event {topic:02x?}");
        }
        assert!(functions.contains(&IRatingOracle::pushCall::SELECTOR));
        assert!(errors.contains(&IRatingOracle::Expired::SELECTOR));
        assert_eq!(abi.constructor.unwrap().inputs.len(), 4);
    }

    #[test]
    fn a_revert_is_told_in_the_words_of_the_contract() {
        let output = IRatingOracle::WritesPaused {}.abi_encode().into();
        assert_eq!(revert_reason(&output), "WritesPaused(WritesPaused)");
        assert_eq!(revert_reason(&Bytes::from_static(&[1, 2])), "0x0102");
    }
}
