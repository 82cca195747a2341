//! Keys that another process holds and signs with on request: the JSON-RPC methods of Web3Signer.
//!
//! It is asked for typed data and for transactions, never for a hash, so that it can refuse what
//! it does not like. Its address is in no error: it may hold a token.

use alloy::consensus::{SignableTransaction, TxEnvelope};
use alloy::eips::Decodable2718;
use alloy::network::TxSigner;
use alloy::primitives::{Address, B256, Bytes, ChainId, Signature};
use alloy::rpc::client::RpcClient;
use alloy::rpc::types::{TransactionInput, TransactionRequest};
use alloy::signers::{Error, Result, Signer, UnsupportedSignerOperation};
use alloy::transports::http::reqwest::Url;
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::chain::without_url;

/// The answer of a server that does not know a method.
const METHOD_NOT_FOUND: i64 = -32_601;

/// A key behind `eth_signTransaction` and `eth_signTypedData_v4`.
pub(super) struct Web3Signer {
    client: RpcClient,
    url: Url,
    address: Address,
    chain_id: Option<ChainId>,
}

impl Web3Signer {
    /// A key of a server; who it is, is checked with each signature.
    pub(super) fn new(url: Url, address: Address) -> Self {
        Self { client: RpcClient::new_http(url.clone()), url, address, chain_id: None }
    }

    /// Asks by the first method that the server knows.
    async fn ask(&self, methods: &[&'static str], params: Value) -> Result<Bytes> {
        let mut refusal = None;
        for method in methods {
            match self.client.request::<Value, Bytes>(*method, params.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let is_unknown =
                        error.as_error_resp().is_some_and(|said| said.code == METHOD_NOT_FOUND);
                    let said = without_url(self.url.as_str(), &error);
                    refusal = Some(Error::message(format!("{method}: {said}")));
                    if !is_unknown {
                        break;
                    }
                }
            }
        }
        Err(refusal.unwrap_or_else(|| Error::message("no method to ask by")))
    }
}

#[async_trait]
impl Signer for Web3Signer {
    async fn sign_hash(&self, _hash: &B256) -> Result<Signature> {
        Err(Error::UnsupportedOperation(UnsupportedSignerOperation::SignHash))
    }

    async fn sign_dynamic_typed_data(
        &self,
        payload: &alloy::dyn_abi::TypedData,
    ) -> Result<Signature> {
        // As text: some servers take only that, and those that take an object take it too.
        let text = serde_json::to_string(payload).map_err(Error::other)?;
        // Web3Signer itself calls version 4 plainly `eth_signTypedData`.
        let methods = ["eth_signTypedData_v4", "eth_signTypedData"];
        let answer = self.ask(&methods, json!([self.address, text])).await?;
        Signature::from_raw(&answer).map_err(Error::other)
    }

    fn address(&self) -> Address {
        self.address
    }

    fn chain_id(&self) -> Option<ChainId> {
        self.chain_id
    }

    fn set_chain_id(&mut self, chain_id: Option<ChainId>) {
        self.chain_id = chain_id;
    }
}

#[async_trait]
impl TxSigner<Signature> for Web3Signer {
    fn address(&self) -> Address {
        self.address
    }

    async fn sign_transaction(
        &self,
        transaction: &mut dyn SignableTransaction<Signature>,
    ) -> Result<Signature> {
        if let Some(signer) = self.chain_id
            && !transaction.set_chain_id_checked(signer)
        {
            let tx = transaction.chain_id().unwrap_or_default();
            return Err(Error::TransactionChainIdMismatch { signer, tx });
        }
        let max_fee = transaction.max_fee_per_gas();
        let is_dynamic = transaction.is_dynamic_fee();
        let request = TransactionRequest {
            from: Some(self.address),
            to: Some(transaction.kind()),
            gas_price: (!is_dynamic).then_some(max_fee),
            max_fee_per_gas: is_dynamic.then_some(max_fee),
            max_priority_fee_per_gas: transaction.max_priority_fee_per_gas(),
            gas: Some(transaction.gas_limit()),
            value: Some(transaction.value()),
            // Some servers read `data`, some `input`.
            input: TransactionInput::both(transaction.input().clone()),
            nonce: Some(transaction.nonce()),
            chain_id: transaction.chain_id(),
            access_list: transaction.access_list().cloned(),
            transaction_type: Some(transaction.ty()),
            ..TransactionRequest::default()
        };
        let raw = self.ask(&["eth_signTransaction"], json!([request])).await?;
        let signed = TxEnvelope::decode_2718(&mut raw.as_ref()).map_err(Error::other)?;
        if signed.signature_hash() != transaction.signature_hash() {
            return Err(Error::message("eth_signTransaction: another transaction was signed"));
        }
        Ok(*signed.signature())
    }
}
