//! Whether the chain holds what Postgres holds, bit for bit.
//!
//! Two things in a stored word are the contract's own: `lag`, and SUSPENDED, which its guardian
//! sets. The first is left out of the comparison; the second counts as a difference unless the
//! contract's own log says that the guardian set it.

use alloy::primitives::{Address, U256};
use alloy::rpc::types::Filter;
use alloy::sol_types::SolEvent;
use assay_domain::word::{FieldDifference, WordOutOfRange};
use assay_domain::{Flags, Word};

use crate::chain::{Chain, ChainError};
use crate::contract::{IRatingOracle, read_words};
use crate::report::EntityKey;

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Entities compared.
    pub compared: usize,
    /// Entities that the guardian has suspended; their ratings are otherwise as expected.
    pub suspended: Vec<EntityKey>,
    /// The first entity, in the order given, whose word differs.
    pub first_difference: Option<Difference>,
}

/// How the chain differs from what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// The chain has no rating.
    #[error("{entity}: the chain holds no rating")]
    Missing {
        /// Whose.
        entity: EntityKey,
    },
    /// A field differs: the first one in the order of the layout.
    #[error(
        "{entity}: field {} is {} on chain, expected {}",
        .difference.field, .difference.found, .difference.expected
    )]
    Field {
        /// Whose rating.
        entity: EntityKey,
        /// Which field.
        difference: FieldDifference,
    },
    /// What the chain holds, or what was expected, is no rating.
    #[error("{entity}: {fault}")]
    Malformed {
        /// Whose.
        entity: EntityKey,
        /// Which field is out of range.
        fault: WordOutOfRange,
    },
}

impl Difference {
    /// Whose rating differs.
    pub const fn entity(&self) -> EntityKey {
        match self {
            Self::Missing { entity }
            | Self::Field { entity, .. }
            | Self::Malformed { entity, .. } => *entity,
        }
    }

    /// The field that differs; `None` if all do.
    pub const fn field(&self) -> Option<&'static str> {
        match self {
            Self::Missing { .. } => None,
            Self::Field { difference, .. } => Some(difference.field),
            Self::Malformed { fault, .. } => Some(fault.field),
        }
    }
}

/// Compares one word with what the chain holds; `lag` and SUSPENDED are left out.
pub fn compare(entity: EntityKey, expected: U256, found: U256) -> Result<(), Difference> {
    if found.is_zero() && !expected.is_zero() {
        return Err(Difference::Missing { entity });
    }
    let malformed = |fault| Difference::Malformed { entity, fault };
    let expected = Word::unpack(expected).map_err(malformed)?.as_signed();
    let found = Word::unpack(found).map_err(malformed)?.as_signed();
    match expected.first_difference(&found) {
        None => Ok(()),
        Some(difference) => Err(Difference::Field { entity, difference }),
    }
}

/// Reads every entity's word from the contract and compares it with the word expected.
/// `from_block` is where the contract was deployed, or any block before.
pub async fn audit(
    chain: &Chain,
    oracle: Address,
    expected: &[(EntityKey, U256)],
    from_block: u64,
) -> Result<Audit, ChainError> {
    let entities: Vec<EntityKey> = expected.iter().map(|(entity, _)| *entity).collect();
    let found = read_words(chain, oracle, &entities).await?;
    let mut audit = Audit { compared: expected.len(), suspended: vec![], first_difference: None };
    for ((entity, expected), found) in expected.iter().zip(found) {
        let mut verdict = compare(*entity, *expected, found);
        if verdict.is_ok() && is_suspended(found) && !is_suspended(*expected) {
            if guardian_suspended(chain, oracle, *entity, from_block).await? {
                audit.suspended.push(*entity);
            } else {
                verdict = Err(suspension_difference(*entity, *expected, found));
            }
        }
        if let Err(difference) = verdict {
            audit.first_difference = Some(difference);
            break;
        }
    }
    Ok(audit)
}

fn is_suspended(word: U256) -> bool {
    Word::unpack(word).is_ok_and(|word| word.fields().flags.contains(Flags::SUSPENDED))
}

fn suspension_difference(entity: EntityKey, expected: U256, found: U256) -> Difference {
    let flags = |word| Word::unpack(word).map_or(0, |word| u64::from(word.fields().flags.0));
    let (expected, found) = (flags(expected), flags(found));
    Difference::Field { entity, difference: FieldDifference { field: "flags", expected, found } }
}

/// Whether the contract's log ends with a suspension of the entity.
async fn guardian_suspended(
    chain: &Chain,
    oracle: Address,
    entity: EntityKey,
    from_block: u64,
) -> Result<bool, ChainError> {
    let topics =
        vec![IRatingOracle::Suspended::SIGNATURE_HASH, IRatingOracle::Reinstated::SIGNATURE_HASH];
    let filter = Filter::new()
        .address(oracle)
        .from_block(from_block)
        .event_signature(topics)
        .topic1(entity.0);
    let logs = chain.logs(&filter).await?;
    Ok(logs.last().and_then(|last| last.topic0().copied())
        == Some(IRatingOracle::Suspended::SIGNATURE_HASH))
}
