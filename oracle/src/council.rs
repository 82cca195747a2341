//! Who may sign for a contract now, and the votes of a batch.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, FixedBytes, U256};

use crate::chain::{Chain, ChainError};
use crate::contract::IRatingOracle;
use crate::share::recover;

/// What the contract says about who may sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Council {
    /// The signers' epoch: part of what is signed.
    pub epoch: u32,
    /// How many must sign.
    pub threshold: u8,
    /// Who may, ascending.
    pub signers: Vec<Address>,
    /// Whether the guardian has stopped updates.
    pub is_paused: bool,
}

impl Council {
    /// Asks the contract.
    pub async fn read(chain: &Chain, oracle: Address) -> Result<Self, ChainError> {
        let epoch = chain.call(oracle, &IRatingOracle::epochCall {}).await?;
        let threshold = chain.call(oracle, &IRatingOracle::thresholdCall {}).await?;
        let is_paused = chain.call(oracle, &IRatingOracle::pausedCall {}).await?;
        let signers = chain.call(oracle, &IRatingOracle::signersAtCall { ofEpoch: epoch }).await?;
        Ok(Self { epoch, threshold, signers, is_paused })
    }
}

/// A quorum's signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    /// Bit i: signer i of the epoch signed.
    pub bitmap: U256,
    /// EIP-2098 signatures in ascending order of signer index.
    pub signatures: Vec<u8>,
}

/// Signatures of one digest by signers of one council, until there are enough.
#[derive(Debug)]
pub struct Ballot<'a> {
    council: &'a Council,
    digest: B256,
    votes: BTreeMap<usize, FixedBytes<64>>,
}

impl<'a> Ballot<'a> {
    /// Nobody has signed yet.
    pub const fn new(council: &'a Council, digest: B256) -> Self {
        Self { council, digest, votes: BTreeMap::new() }
    }

    /// Counts a signature. Returns whose it is, or `None` if it is no signer's: whatever the
    /// sender says, the digest decides.
    pub fn count(&mut self, signature: FixedBytes<64>) -> Option<Address> {
        let signer = recover(&signature, &self.digest)?;
        let index = self.council.signers.iter().position(|found| *found == signer)?;
        self.votes.insert(index, signature);
        Some(signer)
    }

    /// How many signers have signed.
    pub fn votes(&self) -> usize {
        self.votes.len()
    }

    /// Whether enough have signed.
    pub fn is_decided(&self) -> bool {
        self.votes.len() >= usize::from(self.council.threshold)
    }

    /// Exactly as many signatures as the contract wants, or `None` if there are too few.
    pub fn quorum(&self) -> Option<Quorum> {
        if !self.is_decided() {
            return None;
        }
        let mut quorum = Quorum { bitmap: U256::ZERO, signatures: Vec::new() };
        for (index, signature) in self.votes.iter().take(self.council.threshold.into()) {
            quorum.bitmap.set_bit(*index, true);
            quorum.signatures.extend(signature);
        }
        Some(quorum)
    }
}

#[cfg(test)]
mod tests {
    use alloy::signers::SignerSync;
    use alloy::signers::local::PrivateKeySigner;

    use super::*;

    #[test]
    fn only_signers_count_each_once_and_exactly_as_many_as_asked_are_brought() {
        let mut keys: Vec<_> = (0..5).map(|_| PrivateKeySigner::random()).collect();
        keys.sort_by_key(PrivateKeySigner::address);
        let signers = keys.iter().map(PrivateKeySigner::address).collect();
        let council = Council { epoch: 1, threshold: 3, signers, is_paused: false };
        let digest = B256::repeat_byte(7);
        let sign = |key: &PrivateKeySigner, digest| {
            FixedBytes(key.sign_hash_sync(&digest).unwrap().as_erc2098())
        };
        let mut ballot = Ballot::new(&council, digest);
        assert_eq!(ballot.count(sign(&PrivateKeySigner::random(), digest)), None);
        assert_eq!(ballot.count(sign(&keys[0], B256::repeat_byte(8))), None);
        assert_eq!(ballot.count(FixedBytes::ZERO), None);
        for _ in 0..3 {
            assert_eq!(ballot.count(sign(&keys[4], digest)), Some(keys[4].address()));
        }
        assert_eq!(ballot.count(sign(&keys[1], digest)), Some(keys[1].address()));
        assert_eq!((ballot.votes(), ballot.quorum()), (2, None));
        for key in &keys {
            ballot.count(sign(key, digest));
        }
        let quorum = ballot.quorum().unwrap();
        assert_eq!(quorum.bitmap, U256::from(0b111));
        assert_eq!(quorum.signatures.len(), 3 * 64);
        assert_eq!(quorum.signatures[..64], sign(&keys[0], digest)[..]);
    }
}
