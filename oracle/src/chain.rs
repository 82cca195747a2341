//! One chain, as the transmitter sees it through one node.
//!
//! What a node says is an observation, never a decision: an accepted broadcast proves nothing, a
//! refused one neither. Every request has a time limit, and no error shows the node's address,
//! which may hold a token.

use std::future::IntoFuture;
use std::time::Duration;

use alloy::consensus::BlockHeader;
use alloy::eips::BlockId;
use alloy::network::primitives::HeaderResponse;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256};
use alloy::providers::{Provider, RootProvider};
use alloy::rpc::client::{BatchRequest, RpcClient};
use alloy::rpc::types::{BlockNumberOrTag, Filter, Log, TransactionInput, TransactionRequest};
use alloy::sol_types::SolCall;
use alloy::transports::http::reqwest;
use alloy::transports::{RpcError, TransportError};
use assay_domain::block::ChainId;

use crate::contract::revert_reason;
use crate::submission::Fees;

/// A node that has not answered by then is asked again at the next turn.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls in one JSON-RPC batch: providers refuse more than a few hundred.
const CALLS_PER_REQUEST: usize = 100;

/// A chain that was asked who it is.
#[derive(Debug, Clone)]
pub struct Chain {
    provider: RootProvider,
    rpc_url: String,
    chain_id: ChainId,
    genesis_hash: B256,
}

/// The newest block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Block number.
    pub number: u64,
    /// Block time: the publisher's only clock.
    pub time: u64,
}

/// A transaction in a block.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// Number of the block.
    pub block_number: u64,
    /// Hash of the block.
    pub block_hash: B256,
    /// Whether it did not revert.
    pub is_success: bool,
    /// The contract it created, if any.
    pub created: Option<Address>,
    /// Its logs.
    pub logs: Vec<Log>,
}

/// Why a chain does not answer.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The address of the node is no address. Correct it.
    #[error("the address of the node is no http address")]
    BadUrl,
    /// The node serves another chain. Nothing was signed or sent; correct the address or the id.
    #[error("the node serves chain {found}, expected {expected}")]
    WrongChain {
        /// The chain wanted.
        expected: ChainId,
        /// The chain the node serves.
        found: ChainId,
    },
    /// The node is out of reach or refuses. Retry with back-off.
    #[error("{method} failed: {reason}")]
    Unavailable {
        /// What was asked.
        method: &'static str,
        /// What the node or the network said, without its address.
        reason: String,
    },
    /// The contract refuses the call.
    #[error("the contract refuses: {reason}")]
    Reverted {
        /// The contract's error.
        reason: String,
    },
    /// There is no contract at the address. Correct it, or use a node that is up to date.
    #[error("there is no contract at {address}")]
    NoContract {
        /// Where it should be.
        address: Address,
    },
    /// The answer is not what the method returns. Use another node.
    #[error("{method} returned {found}")]
    Malformed {
        /// What was asked.
        method: &'static str,
        /// What came.
        found: String,
    },
}

impl Chain {
    /// Connects and checks that the node serves the chain wanted.
    pub async fn connect(rpc_url: &str, expected: ChainId) -> Result<Self, ChainError> {
        let url: reqwest::Url = rpc_url.parse().map_err(|_| ChainError::BadUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ChainError::BadUrl);
        }
        let provider = RootProvider::new(RpcClient::new_http(url));
        let rpc_url = rpc_url.to_owned();
        let mut chain = Self { provider, rpc_url, chain_id: expected, genesis_hash: B256::ZERO };
        chain.confirm().await?;
        let genesis = BlockId::number(0);
        chain.genesis_hash = chain.block("eth_getBlockByNumber", genesis).await?.hash;
        Ok(chain)
    }

    /// Whether the node still serves the chain wanted: behind one address may be many nodes.
    pub async fn confirm(&self) -> Result<(), ChainError> {
        let (expected, asked) = (self.chain_id, self.provider.get_chain_id());
        let found = self.ask("eth_chainId", asked).await?;
        if found == expected { Ok(()) } else { Err(ChainError::WrongChain { expected, found }) }
    }

    /// The chain's number.
    pub const fn chain_id(&self) -> ChainId {
        self.chain_id
    }

    /// Hash of block 0.
    pub const fn genesis_hash(&self) -> B256 {
        self.genesis_hash
    }

    /// The newest block.
    pub async fn head(&self) -> Result<Head, ChainError> {
        let header = self.block("eth_getBlockByNumber", BlockId::latest()).await?;
        Ok(Head { number: header.number(), time: header.timestamp() })
    }

    /// Number of the newest block that will not go away.
    pub async fn finalized_number(&self) -> Result<u64, ChainError> {
        Ok(self.block("eth_getBlockByNumber", BlockId::finalized()).await?.number())
    }

    /// How many transactions of an account the newest block knows: its next nonce.
    pub async fn nonce(&self, account: Address) -> Result<u64, ChainError> {
        let asked = self.provider.get_transaction_count(account);
        self.ask("eth_getTransactionCount", asked).await
    }

    /// What an account holds, wei.
    pub async fn balance(&self, account: Address) -> Result<U256, ChainError> {
        self.ask("eth_getBalance", self.provider.get_balance(account)).await
    }

    /// The receipt of a transaction, if it is in a block of the present chain.
    pub async fn receipt(&self, tx_hash: B256) -> Result<Option<Receipt>, ChainError> {
        let method = "eth_getTransactionReceipt";
        let asked = self.provider.get_transaction_receipt(tx_hash);
        let Some(receipt) = self.ask(method, asked).await? else { return Ok(None) };
        let (Some(block_number), Some(block_hash)) = (receipt.block_number, receipt.block_hash)
        else {
            return Ok(None);
        };
        let (is_success, created) = (receipt.status(), receipt.contract_address);
        let logs = receipt.inner.logs().to_vec();
        Ok(Some(Receipt { block_number, block_hash, is_success, created, logs }))
    }

    /// Calls a function of a contract.
    pub async fn call<C: SolCall>(&self, to: Address, call: &C) -> Result<C::Return, ChainError> {
        let request = call_request(to, call.abi_encode().into());
        let answer = self.ask("eth_call", self.provider.call(request)).await?;
        decode::<C>(to, &answer)
    }

    /// Calls one function of a contract many times, in as few requests as the node allows.
    pub async fn call_many<C: SolCall>(
        &self,
        to: Address,
        calls: &[C],
        at: BlockNumberOrTag,
    ) -> Result<Vec<C::Return>, ChainError> {
        let mut answers = Vec::with_capacity(calls.len());
        for chunk in calls.chunks(CALLS_PER_REQUEST) {
            let mut batch = BatchRequest::new(self.provider.client());
            let mut waiting = Vec::with_capacity(chunk.len());
            for call in chunk {
                let request = call_request(to, call.abi_encode().into());
                let added = batch.add_call("eth_call", &(request, at));
                waiting.push(added.map_err(|error| self.failed("eth_call", error))?);
            }
            self.ask("eth_call", batch.send()).await?;
            for answer in waiting {
                let answer: Bytes = self.ask("eth_call", answer).await?;
                answers.push(decode::<C>(to, &answer)?);
            }
        }
        Ok(answers)
    }

    /// Logs of a contract.
    pub async fn logs(&self, filter: &Filter) -> Result<Vec<Log>, ChainError> {
        self.ask("eth_getLogs", self.provider.get_logs(filter)).await
    }

    /// What a transaction should offer now; `None` when that is above the cap.
    pub async fn market_fees(&self, max_fee_wei_cap: u128) -> Result<Option<Fees>, ChainError> {
        let found = self.ask("eth_feeHistory", self.provider.estimate_eip1559_fees()).await?;
        let tip_wei = found.max_priority_fee_per_gas;
        // alloy doubles the base fee; what is left must pay for at least the base fee of now.
        let base_fee_wei = found.max_fee_per_gas.saturating_sub(tip_wei) / 2;
        if base_fee_wei.saturating_add(tip_wei) > max_fee_wei_cap {
            return Ok(None);
        }
        Ok(Some(Fees { max_fee_wei: found.max_fee_per_gas.min(max_fee_wei_cap), tip_wei }))
    }

    /// The gas a transaction needs; an error says that it would revert, and why.
    pub async fn estimate_gas(
        &self,
        from: Address,
        to: TxKind,
        input: Bytes,
    ) -> Result<u64, ChainError> {
        let request = TransactionRequest {
            from: Some(from),
            to: Some(to),
            input: TransactionInput::both(input),
            ..TransactionRequest::default()
        };
        self.ask("eth_estimateGas", self.provider.estimate_gas(request)).await
    }

    /// Hands raw bytes to the node. The answer is worth a line in the trace and nothing more:
    /// "already known" and "nonce too low" are what a repeated broadcast looks like.
    pub async fn broadcast(&self, raw: &[u8]) -> Result<(), ChainError> {
        let sent = self.provider.send_raw_transaction(raw);
        self.ask("eth_sendRawTransaction", sent).await.map(drop)
    }

    async fn block(
        &self,
        method: &'static str,
        id: BlockId,
    ) -> Result<alloy::rpc::types::Header, ChainError> {
        let block = self.ask(method, self.provider.get_block(id)).await?;
        let found = || ChainError::Malformed { method, found: format!("no block {id}") };
        let header = block.ok_or_else(found)?.header;
        if header.hash() == B256::ZERO { Err(found()) } else { Ok(header) }
    }

    async fn ask<T>(
        &self,
        method: &'static str,
        request: impl IntoFuture<Output = Result<T, TransportError>>,
    ) -> Result<T, ChainError> {
        match tokio::time::timeout(REQUEST_TIMEOUT, request.into_future()).await {
            Ok(answer) => answer.map_err(|error| self.failed(method, error)),
            Err(_) => {
                let reason = format!("no answer within {} s", REQUEST_TIMEOUT.as_secs());
                Err(ChainError::Unavailable { method, reason })
            }
        }
    }

    fn failed(&self, method: &'static str, error: TransportError) -> ChainError {
        if let RpcError::ErrorResp(payload) = &error
            && let Some(reason) = payload.as_revert_data().map(|bytes| revert_reason(&bytes))
        {
            return ChainError::Reverted { reason };
        }
        ChainError::Unavailable { method, reason: without_url(&self.rpc_url, &error) }
    }
}

/// What went wrong, with its causes and without the address asked, in either of the forms in
/// which it is printed.
pub(crate) fn without_url(url: &str, error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    let bare = url.trim_end_matches('/');
    text.replace(&format!("{bare}/"), "the node").replace(bare, "the node")
}

fn call_request(to: Address, input: Bytes) -> TransactionRequest {
    TransactionRequest {
        to: Some(TxKind::Call(to)),
        input: TransactionInput::both(input),
        value: Some(U256::ZERO),
        ..TransactionRequest::default()
    }
}

fn decode<C: SolCall>(address: Address, answer: &Bytes) -> Result<C::Return, ChainError> {
    if answer.is_empty() {
        return Err(ChainError::NoContract { address });
    }
    C::abi_decode_returns(answer).map_err(|error| ChainError::Malformed {
        method: "eth_call",
        found: format!("{} bytes for {}: {error}", answer.len(), C::SIGNATURE),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_error_shows_the_address_of_the_node() {
        for url in ["http://127.0.0.1:1/v3/s3cret", "http://user:s3cret@127.0.0.1:1"] {
            let failed = Chain::connect(url, 1).await.unwrap_err();
            assert!(matches!(failed, ChainError::Unavailable { .. }), "{failed:?}");
            assert!(!format!("{failed} {failed:?}").contains("s3cret"), "{failed:?}");
        }
        let refused = Chain::connect("ftp://s3cret", 1).await.unwrap_err();
        assert!(matches!(refused, ChainError::BadUrl), "{refused}");
    }
}
