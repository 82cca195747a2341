//! Facts that no event carries, asked for: what a contract answers to a call, and what an account
//! holds, proven against the state root of the block.
//!
//! What is asked is listed in a file. It is asked at one final block, and recorded with its number
//! and hash as an event of Assay's own: nodes that ask at different times still rate alike, for no
//! rating rests on it. A figure that should count is attested by somebody who signs for it.
//! A call's answer is believed if every node says the same; a proof needs one node alone.

use std::collections::BTreeSet;

use alloy::dyn_abi::{DynSolValue, FunctionExt as _, JsonAbiExt as _, Specifier as _};
use alloy::json_abi::Function;
use alloy::primitives::{Address, B256, Bytes, U256, hex, keccak256};
use alloy::rpc::types::{EIP1186AccountProofResponse, Header};
use alloy::trie::proof::verify_proof;
use alloy::trie::{Nibbles, TrieAccount};
use assay_domain::{BlockRef, ChainId, Event, UntrustedText};
use serde::Deserialize;
use serde_json::{Value, json};

use super::nodes::Nodes;
use super::source::{LogSource as _, SourceError};

/// Storage slots of one account in a list, at most.
const SLOTS_MAX: usize = 64;

/// Lists that come with the program, by name.
const SHIPPED: [(&str, &str); 3] = [
    ("eigenlayer", include_str!("observations/eigenlayer.toml")),
    ("puffer", include_str!("observations/puffer.toml")),
    ("renzo", include_str!("observations/renzo.toml")),
];

/// A list of what is asked.
#[derive(Debug, Clone)]
pub struct Observations {
    /// The chain.
    pub chain_id: ChainId,
    calls: Vec<ViewCall>,
    accounts: Vec<WatchedAccount>,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The fact for the log.
    pub event: Event,
    /// The figures in it, as decimal text; of a call its bytes too.
    pub said: Value,
}

impl From<Event> for Observed {
    /// Without the function's declaration, an answer is bytes.
    fn from(event: Event) -> Self {
        let said = match &event {
            Event::ViewObserved { input, answer, .. } => {
                json!({ "input": input, "answer": answer })
            }
            Event::AccountProven { balance, nonce, code_hash, slots, .. } => {
                let slots: Vec<_> =
                    slots.iter().map(|pair| [pair.0, pair.1].map(decimal)).collect();
                json!({ "balance": decimal(*balance), "nonce": nonce.to_string(),
                    "codeHash": code_hash, "slots": slots })
            }
            _ => Value::Null,
        };
        Self { event, said }
    }
}

/// A call.
#[derive(Debug, Clone)]
struct ViewCall {
    name: String,
    contract: Address,
    function: Function,
    input: Bytes,
}

/// An account, and slots of its storage.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WatchedAccount {
    name: String,
    address: Address,
    #[serde(default)]
    slots: Vec<U256>,
}

/// A list that cannot be used, or an answer that cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The list does not read.
    #[error("the list does not read as TOML: {0}")]
    Unreadable(#[from] toml::de::Error),
    /// An entry makes no sense.
    #[error("\"{name}\": {reason}")]
    Entry {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The nodes know no final block. Name a block.
    #[error("no node says which block is final; name one with --block")]
    NoFinalBlock,
    /// A node does not answer.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No answer to a call. Where the contract reverts, ask at another block.
    #[error("\"{name}\" at block {block}: {source}")]
    Unanswered {
        /// What was asked.
        name: String,
        /// At which block.
        block: u64,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// Two nodes answer differently: then neither is believed.
    #[error("\"{name}\" at block {block}: {one} and {other} answer differently")]
    Contradiction {
        /// What was asked.
        name: String,
        /// At which block.
        block: u64,
        /// A node.
        one: String,
        /// Another.
        other: String,
    },
    /// A proof does not lead to the block's state root.
    #[error("\"{name}\" at block {block}: what {node} gives is not in the block's state: {reason}")]
    Unproven {
        /// What was asked.
        name: String,
        /// At which block.
        block: u64,
        /// Who answered.
        node: String,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    chain_id: ChainId,
    #[serde(default)]
    call: Vec<CallEntry>,
    #[serde(default)]
    account: Vec<WatchedAccount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallEntry {
    name: String,
    contract: Address,
    /// Its declaration: `totalAssets() view returns (uint256)`.
    function: String,
    #[serde(default)]
    arguments: Vec<String>,
}

impl Observations {
    /// The text of a list that comes with the program.
    pub fn shipped(name: &str) -> Option<&'static str> {
        SHIPPED.into_iter().find(|(known, _)| *known == name).map(|(_, text)| text)
    }

    /// Reads a list: `[[call]]` with name, contract, function and arguments; `[[account]]` with
    /// name, address and slots.
    pub fn parse(text: &str) -> Result<Self, ObserveError> {
        let list: List = toml::from_str(text)?;
        let calls = list.call.iter().map(|one| &one.name);
        let mut names = BTreeSet::new();
        if let Some(name) =
            calls.chain(list.account.iter().map(|one| &one.name)).find(|name| !names.insert(*name))
        {
            let reason = "two entries have this name".to_owned();
            return Err(ObserveError::Entry { name: name.clone(), reason });
        }
        if let Some(one) = list.account.iter().find(|one| one.slots.len() > SLOTS_MAX) {
            let reason = format!("{} slots, at most {SLOTS_MAX} are asked for", one.slots.len());
            return Err(ObserveError::Entry { name: one.name.clone(), reason });
        }
        let call = |entry: CallEntry| {
            let name = entry.name.clone();
            ViewCall::new(entry).map_err(|reason| ObserveError::Entry { name, reason })
        };
        Ok(Self {
            chain_id: list.chain_id,
            calls: list.call.into_iter().map(call).collect::<Result<_, _>>()?,
            accounts: list.account,
        })
    }

    /// Asks everything at one block: the one named, or the newest final one.
    pub async fn ask(
        &self,
        nodes: &Nodes,
        block: Option<u64>,
    ) -> Result<(BlockRef, Vec<Observed>), ObserveError> {
        let number = match block {
            Some(number) => number,
            None => nodes.heads().await?.finalized.ok_or(ObserveError::NoFinalBlock)?.number,
        };
        let header = nodes.proven_header(number).await?;
        let at = BlockRef { number, hash: header.hash, timestamp: header.inner.timestamp };
        let mut observed = Vec::with_capacity(self.calls.len() + self.accounts.len());
        for call in &self.calls {
            observed.push(call.ask(nodes, at).await?);
        }
        for account in &self.accounts {
            observed.push(account.ask(nodes, &header).await?);
        }
        Ok((at, observed))
    }
}

impl ViewCall {
    fn new(entry: CallEntry) -> Result<Self, String> {
        let function = Function::parse(&entry.function).map_err(|error| error.to_string())?;
        if function.inputs.len() != entry.arguments.len() {
            let (wanted, given) = (function.inputs.len(), entry.arguments.len());
            return Err(format!("the function takes {wanted} arguments, {given} are given"));
        }
        let values = function.inputs.iter().zip(&entry.arguments).map(|(input, text)| {
            let ty = input.resolve().map_err(|error| error.to_string())?;
            ty.coerce_str(text).map_err(|error| format!("{text} is no {ty}: {error}"))
        });
        let values: Vec<DynSolValue> = values.collect::<Result<_, String>>()?;
        let input = function.abi_encode_input(&values).map_err(|error| error.to_string())?;
        Ok(Self { name: entry.name, contract: entry.contract, input: input.into(), function })
    }

    async fn ask(&self, nodes: &Nodes, at: BlockRef) -> Result<Observed, ObserveError> {
        let answers = nodes.view(self.contract, &self.input, at.hash).await;
        let answers = answers.map_err(|source| ObserveError::Unanswered {
            name: self.name.clone(),
            block: at.number,
            source,
        })?;
        let mut answers = answers.into_iter();
        let Some((one, answer)) = answers.next() else { return Err(ObserveError::NoFinalBlock) };
        if let Some((other, _)) = answers.find(|(_, other)| *other != answer) {
            let (name, block) = (self.name.clone(), at.number);
            return Err(ObserveError::Contradiction { name, block, one, other });
        }
        let decoded = self.function.abi_decode_output(&answer).map_err(|error| {
            let reason = format!("the answer {answer} is not what the function returns: {error}");
            ObserveError::Entry { name: self.name.clone(), reason }
        })?;
        let mut observed = Observed::from(Event::ViewObserved {
            name: self.name.clone(),
            contract: self.contract,
            input: self.input.clone(),
            answer,
        });
        observed.said["figures"] = decoded.iter().map(figure).collect();
        Ok(observed)
    }
}

impl WatchedAccount {
    async fn ask(&self, nodes: &Nodes, header: &Header) -> Result<Observed, ObserveError> {
        let slots: Vec<B256> = self.slots.iter().map(|slot| B256::from(*slot)).collect();
        let (node, proof) = nodes.account_proof(self.address, &slots, header.hash).await?;
        self.checked(&proof, header.inner.state_root).map_err(|reason| ObserveError::Unproven {
            name: self.name.clone(),
            block: header.inner.number,
            node,
            reason,
        })
    }

    /// The event, if the proof leads to the state root.
    fn checked(
        &self,
        proof: &EIP1186AccountProofResponse,
        state_root: B256,
    ) -> Result<Observed, String> {
        let key = |bytes: &[u8]| Nibbles::unpack(keccak256(bytes));
        // An account that is not there is proven by its absence.
        let account = TrieAccount {
            nonce: proof.nonce,
            balance: proof.balance,
            storage_root: proof.storage_hash,
            code_hash: proof.code_hash,
        };
        let value = (!proof.is_empty()).then(|| alloy::rlp::encode(account));
        verify_proof(state_root, key(self.address.as_slice()), value, &proof.account_proof)
            .map_err(|error| error.to_string())?;
        let mut slots = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let word = B256::from(*slot);
            let found = proof.storage_proof.iter().find(|found| found.key.as_b256() == word);
            let found = found.ok_or_else(|| format!("slot {slot} is missing"))?;
            let value = (!found.value.is_zero()).then(|| alloy::rlp::encode(found.value));
            verify_proof(proof.storage_hash, key(word.as_slice()), value, &found.proof)
                .map_err(|error| format!("slot {slot}: {error}"))?;
            slots.push((*slot, found.value));
        }
        Ok(Observed::from(Event::AccountProven {
            name: self.name.clone(),
            account: self.address,
            balance: proof.balance,
            nonce: proof.nonce,
            code_hash: proof.code_hash,
            slots,
        }))
    }
}

fn decimal(number: U256) -> String {
    number.to_string()
}

/// A decoded value as JSON: numbers as decimal text, texts escaped.
fn figure(value: &DynSolValue) -> Value {
    match value {
        DynSolValue::Bool(value) => json!(value),
        DynSolValue::Int(value, _) => json!(value.to_string()),
        DynSolValue::Uint(value, _) => json!(decimal(*value)),
        DynSolValue::FixedBytes(word, size) => json!(hex::encode_prefixed(&word[..*size])),
        DynSolValue::Address(value) => json!(value),
        DynSolValue::Function(value) => json!(hex::encode_prefixed(value)),
        DynSolValue::Bytes(value) => json!(hex::encode_prefixed(value)),
        DynSolValue::String(text) => {
            json!(UntrustedText(text.clone().into_bytes()).to_string())
        }
        DynSolValue::Array(all)
        | DynSolValue::FixedArray(all)
        | DynSolValue::Tuple(all)
        | DynSolValue::CustomStruct { tuple: all, .. } => all.iter().map(figure).collect(),
    }
}
