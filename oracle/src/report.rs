//! One rating that is due on chain.

use alloy::primitives::{B256, U256};
use assay_domain::Word;
use assay_domain::word::WordOutOfRange;

/// The key a rating is stored under in the contract: `RatedEntity::key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityKey(pub B256);

impl std::fmt::Display for EntityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A rating to publish: whose it is and the word to sign. Its number is in the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    entity: EntityKey,
    word: Word,
}

impl Report {
    /// A report of a word that can be signed: in range, without `lag` or SUSPENDED.
    pub fn new(entity: EntityKey, word: U256) -> Result<Self, WordOutOfRange> {
        let read = Word::unpack(word)?;
        if read.lag() != 0 {
            let found = u64::from(read.lag());
            return Err(WordOutOfRange { field: "lag", lowest: 0, highest: 0, found });
        }
        Ok(Self { entity, word: Word::new(read.fields())? })
    }

    /// Whose rating.
    pub const fn entity(&self) -> EntityKey {
        self.entity
    }

    /// The word.
    pub const fn word(&self) -> Word {
        self.word
    }

    /// The entity's counter.
    pub const fn seq(&self) -> u32 {
        self.word.fields().seq
    }
}
