//! Two kinds of keys, two duties: who signs ratings holds no ether, who pays has no say.

use alloy::primitives::U256;
use tracing::warn;

use crate::chain::Chain;
use crate::contract::IRatingOracle;
use crate::publish::{Publication, PublishError};

/// Refuses a gas key that may sign ratings of the contract, with our keys or without; warns of
/// one that governs the contract, and of rating keys that hold ether.
pub(crate) async fn check(chain: &Chain, publication: &Publication) -> Result<(), PublishError> {
    let (oracle, gas_key) = (publication.oracle.address, publication.gas_key.address());
    let epoch = chain.call(oracle, &IRatingOracle::epochCall {}).await?;
    let signers = chain.call(oracle, &IRatingOracle::signersAtCall { ofEpoch: epoch }).await?;
    let ours = || publication.signers.iter().map(|signer| signer.address());
    if signers.contains(&gas_key) || ours().any(|signer| signer == gas_key) {
        return Err(PublishError::GasKeySigns { address: gas_key });
    }
    let owner = chain.call(oracle, &IRatingOracle::ownerCall {}).await?;
    let guardian = chain.call(oracle, &IRatingOracle::guardianCall {}).await?;
    if gas_key == owner || gas_key == guardian {
        warn!(%gas_key, "the gas key governs the contract: a stolen one could; use two keys");
    }
    for signer in ours() {
        if chain.balance(signer).await? > U256::ZERO {
            warn!(%signer, "a rating key holds ether, which it never needs: move it away");
        }
    }
    Ok(())
}
