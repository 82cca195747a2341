//! Batches of reports: the Merkle tree, and the EIP-712 message that m signers sign.
//!
//! One signature set covers the whole batch, any single leaf of it, and a fraud proof.
//! The tree is the one of `oracle/contracts/src/BatchTree.sol`. Nothing here signs: see `guard`.

use alloy::primitives::aliases::U40;
use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::sol;
use alloy::sol_types::{Eip712Domain, SolStruct, eip712_domain};
use assay_domain::block::ChainId;

use crate::report::{EntityKey, Report};

/// Ratings in one batch at most: 0.9 million gas, far below any block's limit.
pub const BATCH_LEN_MAX: usize = 100;

/// Bytes of an entity and its word.
const ENTRY_LEN: usize = 64;

/// Largest deadline: 40 bits of seconds.
const DEADLINE_MAX: u64 = (1 << 40) - 1;

sol! {
    /// What a signer signs.
    #[derive(Debug, PartialEq, Eq, serde::Serialize)]
    struct RatingBatch {
        bytes32 root;
        uint32 count;
        uint32 epoch;
        uint40 deadline;
    }
}

/// Reports in the order in which they are signed: by entity, each entity once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    reports: Vec<Report>,
}

/// Reports that make no batch. The caller chose them wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotABatch {
    /// Nothing to sign, or too much for one transaction.
    #[error("a batch has {found} reports, expected 1 to {BATCH_LEN_MAX}")]
    Length {
        /// How many were given.
        found: usize,
    },
    /// Two reports of one entity: the second would always be the newer one, so drop the first.
    #[error("a batch holds entity {entity} twice, expected once")]
    Repeated {
        /// Which one.
        entity: EntityKey,
    },
    /// The bytes are not entities and words, or not in order.
    #[error("{found} bytes are no entries: expected entity and word of each rating, in order")]
    Entries {
        /// How many bytes.
        found: usize,
    },
    /// The deadline does not fit 40 bits.
    #[error("a batch has deadline {found}, expected at most {DEADLINE_MAX}")]
    Deadline {
        /// Seconds since the Unix epoch.
        found: u64,
    },
}

/// The contract a message is meant for; it counts nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OracleId {
    /// The chain.
    pub chain_id: ChainId,
    /// The contract.
    pub address: Address,
}

impl OracleId {
    /// The EIP-712 domain.
    pub fn domain(&self) -> Eip712Domain {
        eip712_domain! {
            name: "Assay",
            version: "1",
            chain_id: self.chain_id,
            verifying_contract: self.address,
        }
    }

    /// The hash that is signed.
    pub fn digest(&self, message: &RatingBatch) -> B256 {
        message.eip712_signing_hash(&self.domain())
    }
}

impl Batch {
    /// Puts reports in order.
    pub fn new(mut reports: Vec<Report>) -> Result<Self, NotABatch> {
        if reports.is_empty() || reports.len() > BATCH_LEN_MAX {
            return Err(NotABatch::Length { found: reports.len() });
        }
        reports.sort_by_key(Report::entity);
        for pair in reports.windows(2) {
            if let [first, second] = pair
                && first.entity() == second.entity()
            {
                return Err(NotABatch::Repeated { entity: first.entity() });
            }
        }
        Ok(Self { reports })
    }

    /// Reads what [`Batch::entries`] writes.
    pub fn from_entries(bytes: &[u8]) -> Result<Self, NotABatch> {
        let refused = || NotABatch::Entries { found: bytes.len() };
        if bytes.len() > BATCH_LEN_MAX * ENTRY_LEN {
            return Err(refused());
        }
        let mut reports = Vec::with_capacity(bytes.len() / ENTRY_LEN);
        for entry in bytes.chunks(ENTRY_LEN) {
            let (entity, word) = entry.split_at_checked(32).ok_or_else(refused)?;
            let entity = B256::try_from(entity).map_err(|_| refused())?;
            let word = U256::try_from_be_slice(word).filter(|_| word.len() == 32);
            let report = word.and_then(|word| Report::new(EntityKey(entity), word).ok());
            reports.push(report.ok_or_else(refused)?);
        }
        let batch = Self::new(reports)?;
        // Sorting must have changed nothing: the order is signed.
        if batch.entries().as_ref() == bytes { Ok(batch) } else { Err(refused()) }
    }

    /// The reports, in leaf order.
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// The latest observation in it.
    pub fn as_of_max(&self) -> u64 {
        self.reports.iter().map(|report| report.word().fields().as_of).max().unwrap_or_default()
    }

    /// The contract's `entries`: entity ‖ word, nothing between.
    pub fn entries(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.reports.len().saturating_mul(ENTRY_LEN));
        for report in &self.reports {
            bytes.extend_from_slice(report.entity().0.as_slice());
            bytes.extend_from_slice(&report.word().pack().to_be_bytes::<32>());
        }
        bytes.into()
    }

    /// The Merkle root.
    pub fn root(&self) -> B256 {
        let mut level = self.leaves();
        while level.len() > 1 {
            level = parents(&level);
        }
        level.first().copied().unwrap_or_default()
    }

    /// Siblings from the leaf at `index` up; `None` outside the batch. A level at which the node
    /// moves up as it is has none.
    pub fn proof(&self, index: usize) -> Option<Vec<B256>> {
        let mut level = self.leaves();
        level.get(index)?;
        let (mut at, mut path) = (index, Vec::new());
        while level.len() > 1 {
            path.extend(level.get(at ^ 1));
            level = parents(&level);
            at /= 2;
        }
        Some(path)
    }

    /// The message to sign.
    pub fn message(&self, epoch: u32, deadline: u64) -> Result<RatingBatch, NotABatch> {
        let found = self.reports.len();
        let count = u32::try_from(found).map_err(|_| NotABatch::Length { found })?;
        if deadline > DEADLINE_MAX {
            return Err(NotABatch::Deadline { found: deadline });
        }
        Ok(RatingBatch { root: self.root(), count, epoch, deadline: U40::from(deadline) })
    }

    fn leaves(&self) -> Vec<B256> {
        self.reports
            .iter()
            .map(|report| hash(0, report.entity().0, report.word().pack().into()))
            .collect()
    }
}

fn parents(level: &[B256]) -> Vec<B256> {
    level
        .chunks(2)
        .map(|pair| match pair {
            [left, right] => hash(1, *left, *right),
            [odd] => *odd,
            _ => B256::ZERO,
        })
        .collect()
}

/// A prefix keeps leaves and nodes apart: a leaf is as long as a node.
pub(crate) fn hash(prefix: u8, left: B256, right: B256) -> B256 {
    let mut preimage = [0_u8; 65];
    preimage[0] = prefix;
    preimage[1..33].copy_from_slice(left.as_slice());
    preimage[33..].copy_from_slice(right.as_slice());
    keccak256(preimage)
}

#[cfg(test)]
mod tests {
    use alloy::dyn_abi::TypedData;
    use assay_domain::{Flags, Word, WordFields};
    use proptest::prelude::*;

    use super::*;

    fn report(entity: B256, seq: u32) -> Report {
        let fields = WordFields {
            as_of: 1_785_456_012,
            log_pos: 5,
            seq,
            model: 1,
            flags: Flags::default(),
            grade: 9,
            score: 8_125,
            pd: 1,
            el: 1,
        };
        Report::new(EntityKey(entity), Word::new(fields).unwrap().pack()).unwrap()
    }

    fn batch(len: usize) -> Batch {
        Batch::new((1..=len).map(|n| report(keccak256([n as u8]), 7)).collect()).unwrap()
    }

    /// `BatchTree.climb`, line by line.
    fn climb(mut hash_: B256, mut index: usize, mut count: usize, path: &[B256]) -> Option<B256> {
        let mut path = path.iter();
        while count > 1 {
            if index ^ 1 < count {
                let sibling = *path.next()?;
                let (left, right) =
                    if index & 1 == 0 { (hash_, sibling) } else { (sibling, hash_) };
                hash_ = hash(1, left, right);
            }
            index >>= 1;
            count = count.div_ceil(2);
        }
        path.next().is_none().then_some(hash_)
    }

    proptest! {
        #[test]
        fn every_leaf_leads_to_the_root(len in 1_usize..=BATCH_LEN_MAX, pick in 0_usize..100) {
            let (batch, index) = (batch(len), pick % len);
            let leaf = batch.leaves()[index];
            let path = batch.proof(index).unwrap();
            prop_assert_eq!(climb(leaf, index, len, &path), Some(batch.root()));
        }

        #[test]
        fn entries_are_read_back_and_nothing_else_is(len in 1_usize..9, at in any::<usize>(), cut in 1_usize..64) {
            let batch = batch(len);
            let bytes = batch.entries().to_vec();
            prop_assert_eq!(Batch::from_entries(&bytes), Ok(batch));
            prop_assert!(Batch::from_entries(&bytes[..bytes.len() - cut]).is_err());
            let mut swapped: Vec<&[u8]> = bytes.chunks(64).collect();
            swapped.rotate_left(at % len);
            let is_same = at % len == 0;
            prop_assert_eq!(Batch::from_entries(&swapped.concat()).is_ok(), is_same);
        }

        #[test]
        fn the_order_given_does_not_matter(len in 1_usize..20, seed in any::<u64>()) {
            let sorted = batch(len);
            let mut shuffled = sorted.reports.clone();
            shuffled.sort_by_key(|report| keccak256((seed, report.entity().0).0.to_be_bytes()
                .into_iter().chain(report.entity().0.0).collect::<Vec<_>>()));
            prop_assert_eq!(Batch::new(shuffled).unwrap(), sorted);
        }
    }

    #[test]
    fn an_empty_a_long_and_a_repeating_batch_are_refused() {
        assert_eq!(Batch::new(Vec::new()), Err(NotABatch::Length { found: 0 }));
        let many = (0..=100_u8).map(|n| report(keccak256([n]), 1)).collect();
        assert_eq!(Batch::new(many), Err(NotABatch::Length { found: 101 }));
        let entity = EntityKey(B256::repeat_byte(3));
        let twice = vec![report(entity.0, 1), report(entity.0, 2)];
        assert_eq!(Batch::new(twice), Err(NotABatch::Repeated { entity }));
        let found = 1 << 40;
        assert_eq!(batch(1).message(1, found), Err(NotABatch::Deadline { found }));
    }

    #[test]
    fn a_wallet_that_reads_typed_data_gets_the_same_digest() {
        let oracle = OracleId { chain_id: 31_337, address: Address::repeat_byte(0x11) };
        let message = batch(3).message(1, 1_785_456_612).unwrap();
        let typed = TypedData::from_struct(&message, Some(oracle.domain()));
        assert_eq!(typed.eip712_signing_hash().unwrap(), oracle.digest(&message));
    }

    #[test]
    fn a_word_with_lag_is_no_report() {
        let word = report(B256::ZERO, 1).word().pack() | (U256::from(3) << 192);
        let refused = Report::new(EntityKey(B256::ZERO), word).unwrap_err();
        assert_eq!((refused.field, refused.found), ("lag", 3));
    }
}
