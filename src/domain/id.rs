//! Names of the things Assay knows: one type per idea, so that they cannot be mixed up.

use alloy_primitives::{Address, B256, U256, keccak256};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::block::ChainId;

macro_rules! address_id {
    ($(#[$doc:meta] $name:ident),+ $(,)?) => {$(
        #[$doc]
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize,
            BorshDeserialize, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub Address);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    )+};
}

address_id! {
    /// An operator: an address that stakers delegate to.
    OperatorId,
    /// An actively validated service: the contract that owns operator sets.
    AvsId,
    /// A strategy: one kind of restaked asset.
    StrategyId,
    /// A staker: an address that owns deposit shares. What restakes for an LRT is a staker.
    StakerId,
    /// A liquid restaking token: its ERC-20 contract.
    LrtId,
}

/// An operator set: `OperatorSet { avs, id }` of `OperatorSetLib.sol`.
#[derive(
    Debug,
    Clone,
    Copy,
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
pub struct OperatorSetId {
    /// The AVS that owns the set.
    pub avs: AvsId,
    /// The set's number within its AVS.
    pub id: u32,
}

impl std::fmt::Display for OperatorSetId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.avs, self.id)
    }
}

/// What kind of thing is rated. The number is the one in the on-chain entity key.
#[derive(
    Debug,
    Clone,
    Copy,
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
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(u8)]
#[borsh(use_discriminant = true)]
pub enum EntityKind {
    /// An operator.
    Operator = 1,
    /// An AVS.
    Avs = 2,
    /// An operator set of an AVS.
    OperatorSet = 3,
    /// A liquid restaking token.
    Lrt = 4,
}

impl EntityKind {
    /// The number of the kind in the entity key and in SQL.
    pub const fn number(self) -> u8 {
        match self {
            Self::Operator => 1,
            Self::Avs => 2,
            Self::OperatorSet => 3,
            Self::Lrt => 4,
        }
    }

    /// The kind with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Operator),
            2 => Some(Self::Avs),
            3 => Some(Self::OperatorSet),
            4 => Some(Self::Lrt),
            _ => None,
        }
    }

    /// The word for the kind in tables and slugs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Avs => "avs",
            Self::OperatorSet => "operator-set",
            Self::Lrt => "lrt",
        }
    }
}

/// Something that carries a rating.
#[derive(
    Debug,
    Clone,
    Copy,
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
pub struct RatedEntity {
    /// The chain the entity lives on.
    pub chain_id: ChainId,
    /// What it is.
    pub kind: EntityKind,
    /// Its address; an operator set carries the address of its AVS.
    pub address: Address,
    /// The operator set's number; 0 for every other kind.
    pub operator_set_id: u32,
}

impl RatedEntity {
    /// The rated entity of an operator.
    pub const fn operator(chain_id: ChainId, operator: OperatorId) -> Self {
        Self { chain_id, kind: EntityKind::Operator, address: operator.0, operator_set_id: 0 }
    }

    /// The rated entity of an AVS.
    pub const fn avs(chain_id: ChainId, avs: AvsId) -> Self {
        Self { chain_id, kind: EntityKind::Avs, address: avs.0, operator_set_id: 0 }
    }

    /// The rated entity of an operator set.
    pub const fn operator_set(chain_id: ChainId, set: OperatorSetId) -> Self {
        Self {
            chain_id,
            kind: EntityKind::OperatorSet,
            address: set.avs.0,
            operator_set_id: set.id,
        }
    }

    /// The rated entity of a liquid restaking token.
    pub const fn lrt(chain_id: ChainId, token: LrtId) -> Self {
        Self { chain_id, kind: EntityKind::Lrt, address: token.0, operator_set_id: 0 }
    }

    /// The key the oracle contract stores the rating under:
    /// `keccak256(abi.encode(uint8 kind, uint256 chainId, address, uint32 operatorSetId))`.
    pub fn key(&self) -> B256 {
        let mut words = [0_u8; 128];
        let (kind, rest) = words.split_at_mut(32);
        let (chain, rest) = rest.split_at_mut(32);
        let (address, set) = rest.split_at_mut(32);
        kind.copy_from_slice(&U256::from(self.kind.number()).to_be_bytes::<32>());
        chain.copy_from_slice(&U256::from(self.chain_id).to_be_bytes::<32>());
        address.copy_from_slice(&self.address.into_word().0);
        set.copy_from_slice(&U256::from(self.operator_set_id).to_be_bytes::<32>());
        keccak256(words)
    }
}

impl std::fmt::Display for RatedEntity {
    /// The entity's slug, unique over all kinds and chains:
    /// `operator-1-0x…`, `avs-1-0x…`, `operator-set-1-0x…-0`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}-{:#x}", self.kind.word(), self.chain_id, self.address)?;
        if self.kind == EntityKind::OperatorSet {
            write!(f, "-{}", self.operator_set_id)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_keccak_of_the_abi_encoding() {
        let set = OperatorSetId { avs: AvsId(Address::repeat_byte(0x12)), id: 7 };
        let entity = RatedEntity::operator_set(1, set);
        // cast keccak $(cast abi-encode 'f(uint8,uint256,address,uint32)' 3 1 0x1212… 7)
        assert_eq!(
            entity.key().to_string(),
            "0xf9e707be4e80d35c20f75aac075c566ca6c4cd36d45a25a4aabee98bf3ac1f8f"
        );
    }
}
