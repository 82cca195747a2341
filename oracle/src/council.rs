//! Who may sign for a contract now, and which of our keys do.

use alloy::primitives::Address;

use crate::chain::Chain;
use crate::contract::IRatingOracle;
use crate::key::RatingSigner;
use crate::publish::PublishError;

/// What the contract says about who may sign.
#[derive(Debug)]
pub(crate) struct Council {
    /// The signers' epoch: part of what is signed.
    pub(crate) epoch: u32,
    /// Whether the guardian has stopped updates.
    pub(crate) is_paused: bool,
    /// The first keys of ours that make a quorum, exactly as many as the contract asks for, in
    /// ascending order of their index.
    pub(crate) quorum: Vec<(usize, RatingSigner)>,
}

impl Council {
    /// Asks the contract.
    pub(crate) async fn read(
        chain: &Chain,
        oracle: Address,
        keys: &[RatingSigner],
    ) -> Result<Self, PublishError> {
        let epoch = chain.call(oracle, &IRatingOracle::epochCall {}).await?;
        let threshold = chain.call(oracle, &IRatingOracle::thresholdCall {}).await?;
        let is_paused = chain.call(oracle, &IRatingOracle::pausedCall {}).await?;
        let signers = chain.call(oracle, &IRatingOracle::signersAtCall { ofEpoch: epoch }).await?;
        let quorum: Vec<(usize, RatingSigner)> = signers
            .iter()
            .enumerate()
            .filter_map(|(index, address)| {
                let ours = keys.iter().find(|key| key.address() == *address)?;
                Some((index, ours.clone()))
            })
            .take(threshold.into())
            .collect();
        if quorum.len() < usize::from(threshold) {
            let found = quorum.len();
            return Err(PublishError::NoQuorum { epoch, expected: threshold, found });
        }
        Ok(Self { epoch, is_paused, quorum })
    }
}
