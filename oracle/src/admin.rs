//! What an administrator does with the contract: deploy it, and call what is theirs to call.

use alloy::consensus::TxEip1559;
use alloy::eips::Encodable2718;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256};
use alloy::sol_types::SolConstructor;

use crate::chain::{Chain, ChainError, Receipt};
use crate::contract::{ARTIFACT, IRatingOracle};
use crate::key::{GasKey, KeyError};

/// Fee ceiling of a deployment, wei per gas.
const DEPLOY_MAX_FEE_WEI: u128 = 500_000_000_000;

/// How long to wait for a block, and how often to look.
const LOOKS_MAX: u32 = 600;
const LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);

/// Who may do what in a new contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Lifts pauses and suspensions, rotates signers: meant to be a timelock.
    pub owner: Address,
    /// Pauses and suspends.
    pub guardian: Address,
    /// Who signs, in any order.
    pub signers: Vec<Address>,
    /// How many must.
    pub threshold: u8,
}

/// A contract that was deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deployed {
    /// Its address.
    pub address: Address,
    /// The block it was deployed in: nothing happened to it before.
    pub block_number: u64,
    /// The deploying transaction.
    pub tx_hash: B256,
}

/// Why a transaction of an administrator did not go through.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The chain does not answer, or the contract refuses.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The key did not sign.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The bytecode compiled in is not bytecode. Build again.
    #[error("oracle/abi/RatingOracle.json holds no bytecode")]
    NoBytecode,
    /// Fees are above the ceiling. Try again later.
    #[error("gas costs more than {DEPLOY_MAX_FEE_WEI} wei")]
    TooDear,
    /// No block took the transaction in time; it may still come.
    #[error("no block has taken transaction {tx_hash}")]
    NotIncluded {
        /// The transaction.
        tx_hash: B256,
    },
    /// The transaction reverted.
    #[error("transaction {tx_hash} reverted")]
    Reverted {
        /// The transaction.
        tx_hash: B256,
    },
}

/// Deploys the contract and waits until a block has taken it.
pub async fn deploy(
    chain: &Chain,
    key: &GasKey,
    deployment: &Deployment,
) -> Result<Deployed, AdminError> {
    let mut signers = deployment.signers.clone();
    signers.sort();
    let constructor = IRatingOracle::constructorCall {
        owner: deployment.owner,
        guardian: deployment.guardian,
        signers,
        threshold: deployment.threshold,
    };
    let mut code = bytecode()?;
    code.extend(constructor.abi_encode());
    let (tx_hash, receipt) = send(chain, key, TxKind::Create, code.into()).await?;
    let address = receipt.created.ok_or(AdminError::Reverted { tx_hash })?;
    Ok(Deployed { address, block_number: receipt.block_number, tx_hash })
}

/// Sends a call of an administrator and waits until a block has taken it.
pub async fn administer(
    chain: &Chain,
    key: &GasKey,
    oracle: Address,
    call: &impl alloy::sol_types::SolCall,
) -> Result<Receipt, AdminError> {
    let input = call.abi_encode().into();
    Ok(send(chain, key, TxKind::Call(oracle), input).await?.1)
}

fn bytecode() -> Result<Vec<u8>, AdminError> {
    let artifact: serde_json::Value =
        serde_json::from_str(ARTIFACT).map_err(|_| AdminError::NoBytecode)?;
    let text = artifact.get("bytecode").and_then(serde_json::Value::as_str);
    let bytes = text.and_then(|text| alloy::primitives::hex::decode(text).ok());
    bytes.filter(|bytes| !bytes.is_empty()).ok_or(AdminError::NoBytecode)
}

async fn send(
    chain: &Chain,
    key: &GasKey,
    to: TxKind,
    input: Bytes,
) -> Result<(B256, Receipt), AdminError> {
    let gas = chain.estimate_gas(key.address(), to, input.clone()).await?;
    let fees = chain.market_fees(DEPLOY_MAX_FEE_WEI).await?.ok_or(AdminError::TooDear)?;
    let transaction = TxEip1559 {
        chain_id: chain.chain_id(),
        nonce: chain.nonce(key.address()).await?,
        gas_limit: gas.saturating_add(gas / 5),
        max_fee_per_gas: fees.max_fee_wei,
        max_priority_fee_per_gas: fees.tip_wei,
        to,
        value: U256::ZERO,
        access_list: Default::default(),
        input,
    };
    let signed = key.sign(transaction).await?;
    let tx_hash = *signed.tx_hash();
    chain.broadcast(&signed.encoded_2718()).await?;
    for _ in 0..LOOKS_MAX {
        if let Some(receipt) = chain.receipt(tx_hash).await? {
            return if receipt.is_success {
                Ok((tx_hash, receipt))
            } else {
                Err(AdminError::Reverted { tx_hash })
            };
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Err(AdminError::NotIncluded { tx_hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytecode_is_compiled_in() {
        assert!(bytecode().unwrap().len() > 1_000);
    }
}
