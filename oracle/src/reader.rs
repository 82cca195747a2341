//! Reads ratings, as whoever relies on them does.

use alloy::primitives::U256;
use assay_domain::word::WordOutOfRange;
use assay_domain::{Flags, Word};

use crate::batch::OracleId;
use crate::chain::{Chain, ChainError};
use crate::contract::{IRatingOracle, read_word};
use crate::council::Council;
use crate::report::EntityKey;

/// A contract to read ratings from.
#[derive(Debug, Clone)]
pub struct Reader {
    chain: Chain,
    oracle: OracleId,
}

/// Why a rating should not be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreliable {
    /// Nobody has rated the entity.
    #[error("the entity was never rated")]
    Unknown,
    /// The guardian warns against it.
    #[error("the guardian has suspended the rating")]
    Suspended,
    /// Nobody rates the entity any more; the grade is the last there was.
    #[error("the rating is withdrawn")]
    Withdrawn,
    /// Observed too long ago.
    #[error("the rating is {age} s old, expected at most {age_max} s")]
    Stale {
        /// Seconds since the observation.
        age: u64,
        /// Seconds allowed.
        age_max: u64,
    },
}

/// Why there is no rating to be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The chain does not answer, or is another one.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The contract is not this oracle. Correct the address.
    #[error("{} on chain {} is no rating oracle of ours", oracle.address, oracle.chain_id)]
    OtherContract {
        /// What was taken for it.
        oracle: OracleId,
    },
    /// What is stored is no rating. The node lies, or the contract is another one.
    #[error(transparent)]
    Malformed(#[from] WordOutOfRange),
    /// There is a rating, but not one to rely on.
    #[error(transparent)]
    Unreliable(#[from] Unreliable),
}

impl Reader {
    /// Connects, and checks that chain and contract are the ones wanted.
    pub async fn connect(rpc_url: &str, oracle: OracleId) -> Result<Self, ReadError> {
        let chain = Chain::connect(rpc_url, oracle.chain_id).await?;
        let asked = IRatingOracle::domainSeparatorCall {};
        if chain.call(oracle.address, &asked).await? != oracle.domain().separator() {
            return Err(ReadError::OtherContract { oracle });
        }
        Ok(Self { chain, oracle })
    }

    /// The stored rating, however old; `None` if there never was one.
    pub async fn rating(&self, entity: EntityKey) -> Result<Option<Word>, ReadError> {
        let word = read_word(&self.chain, self.oracle.address, entity).await?;
        Ok(if word == U256::ZERO { None } else { Some(Word::unpack(word)?) })
    }

    /// The stored rating, if it can be relied on in the newest block: observed at most so many
    /// seconds before it, neither suspended nor withdrawn.
    pub async fn reliable(&self, entity: EntityKey, age_max: u64) -> Result<Word, ReadError> {
        let now = self.chain.head().await?.time;
        let word = self.rating(entity).await?.ok_or(Unreliable::Unknown)?;
        judge(&word, now, age_max)?;
        Ok(word)
    }

    /// Who may sign now.
    pub async fn council(&self) -> Result<Council, ReadError> {
        Ok(Council::read(&self.chain, self.oracle.address).await?)
    }
}

/// Whether a stored rating can be relied on at a time: the rule of the contract's own reads.
pub fn judge(word: &Word, now: u64, age_max: u64) -> Result<(), Unreliable> {
    let fields = word.fields();
    if fields.flags.contains(Flags::SUSPENDED) {
        return Err(Unreliable::Suspended);
    }
    if fields.flags.contains(Flags::WITHDRAWN) {
        return Err(Unreliable::Withdrawn);
    }
    let age = now.saturating_sub(fields.as_of);
    if age > age_max { Err(Unreliable::Stale { age, age_max }) } else { Ok(()) }
}
