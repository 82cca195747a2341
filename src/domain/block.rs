//! Where and when something happened on a chain.

use alloy_primitives::B256;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// An EIP-155 chain id.
pub type ChainId = u64;

/// Blocks per rating epoch (methodology §2.1): one day of 12-second slots.
pub const BLOCKS_PER_EPOCH: u64 = 7_200;

/// Seconds of a day: block times are UTC and know no leap seconds.
pub(crate) const DAY_SECONDS: u64 = 86_400;

/// The identity of a block together with its time: the only clock the core knows.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
pub struct BlockRef {
    /// Block number.
    pub number: u64,
    /// Block hash.
    pub hash: B256,
    /// Block time, seconds since the Unix epoch.
    pub timestamp: u64,
}

impl BlockRef {
    /// The rating epoch this block lies in.
    pub const fn epoch(&self) -> u64 {
        self.number / BLOCKS_PER_EPOCH
    }
}

/// The last block of a rating epoch.
pub const fn epoch_end(epoch: u64) -> u64 {
    epoch.saturating_mul(BLOCKS_PER_EPOCH).saturating_add(BLOCKS_PER_EPOCH - 1)
}
