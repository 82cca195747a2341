//! The consensus layer, over the standard Beacon API: who was slashed, and what is final.
//!
//! A beacon block carries the execution block of its slot, so what it says takes that block's
//! place in the log, behind the block's own logs: it is taken back with the block, it is final
//! with it, and no second clock is needed. A block's slot follows from its time. An execution
//! block is ingested when both layers tell of it, and they must tell of the same one.
//! What a validator lost is not said here: that is for the state to work out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes};
use assay_domain::{BlockRef, ChainId, Event, Fact};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::endpoint::Endpoint;
use super::rpc_error::CallError;
use super::source::{Patience, SourceError};
use super::transport::Transport;

/// Log indices from here on are of the beacon block: no execution block has so many logs.
const LOG_INDEX_FROM: u32 = 1 << 31;

/// Blocks asked for at once.
const BLOCKS_AT_ONCE: usize = 8;

/// Validators asked about in one request: longer URLs are refused by some nodes.
const VALIDATORS_PER_REQUEST: usize = 64;

/// Slashings a block can hold: `MAX_PROPOSER_SLASHINGS`, `MAX_ATTESTER_SLASHINGS`.
const PROPOSER_SLASHINGS_MAX: usize = 16;
const ATTESTER_SLASHINGS_MAX: usize = 2;

/// Pause before the stream of heads is opened again.
const STREAM_PAUSE: Duration = Duration::from_secs(5);

/// How long one stream of heads is read.
const STREAM_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A beacon node.
#[derive(Debug)]
pub struct Beacon {
    transport: Transport,
    patience: Patience,
    genesis_time: u64,
    seconds_per_slot: u64,
    /// First execution block whose beacon block is read.
    start_block: u64,
    news: Arc<Notify>,
    listening: AbortHandle,
}

impl Drop for Beacon {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// What matters of a beacon block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeaconBlock {
    /// Its slot.
    pub slot: u64,
    /// The execution block in it; `None` before the merge.
    pub payload: Option<BlockRef>,
    /// Indices of slashed proposers, in order.
    pub proposers: Vec<u64>,
    /// For each attester slashing the indices in both votes, rising.
    pub attesters: Vec<Vec<u64>>,
}

impl BeaconBlock {
    /// Reads `/eth/v2/beacon/blocks/{block_id}`.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        let block: Document<BlockJson> = serde_json::from_slice(json)?;
        let MessageJson { slot, body } = block.data.message;
        if body.proposer_slashings.len() > PROPOSER_SLASHINGS_MAX
            || body.attester_slashings.len() > ATTESTER_SLASHINGS_MAX
        {
            return Err(serde_json::Error::custom("more slashings than a block can hold"));
        }
        let proposers = body.proposer_slashings.iter().map(|one| one.signed_header_1.message);
        let attesters = body.attester_slashings.iter().map(|slashing| {
            let one: BTreeSet<u64> = slashing.attestation_1.indices().collect();
            let other: BTreeSet<u64> = slashing.attestation_2.indices().collect();
            one.intersection(&other).copied().collect()
        });
        Ok(Self {
            slot: slot.0,
            payload: body.execution_payload.map(Into::into).filter(|block: &BlockRef| {
                // Between Bellatrix and the merge the payload is there, and empty.
                !block.hash.is_zero()
            }),
            proposers: proposers.map(|header| header.proposer_index.0).collect(),
            attesters: attesters.collect(),
        })
    }

    fn slashed(&self) -> BTreeSet<u64> {
        self.proposers.iter().chain(self.attesters.iter().flatten()).copied().collect()
    }
}

impl Beacon {
    /// Connects, and makes sure that the node speaks for the chain. `start_block` is the first
    /// execution block whose beacon block is read: nodes that sign together begin at the same.
    pub async fn connect(
        endpoint: Endpoint,
        chain_id: ChainId,
        start_block: u64,
        patience: Patience,
    ) -> Result<Self, SourceError> {
        let name = endpoint.to_string();
        let transport =
            Transport::open(endpoint, patience.request_timeout).await.map_err(|error| {
                let message = error.message().to_owned();
                SourceError::Unavailable { endpoint: name.clone(), attempts: 1, message }
            })?;
        let news = Arc::new(Notify::new());
        let mut beacon = Self {
            transport,
            patience,
            genesis_time: 0,
            seconds_per_slot: 0,
            start_block,
            news: Arc::clone(&news),
            // There is something to listen with once the node is known.
            listening: tokio::spawn(async {}).abort_handle(),
        };
        let genesis: Document<GenesisJson> = beacon.ask("/eth/v1/beacon/genesis", &[]).await?;
        let spec: Document<SpecJson> = beacon.ask("/eth/v1/config/spec", &[]).await?;
        let found = spec.data.chain_id.0;
        if found != chain_id {
            return Err(SourceError::WrongChain { endpoint: name, expected: chain_id, found });
        }
        beacon.genesis_time = genesis.data.genesis_time.0;
        beacon.seconds_per_slot = spec.data.seconds_per_slot.0.max(1);
        let stream = beacon.transport.another().await.map_err(|error| beacon.refused(&error))?;
        beacon.listening = tokio::spawn(listen(stream, news)).abort_handle();
        Ok(beacon)
    }

    /// What to call the node in messages.
    pub fn name(&self) -> String {
        self.transport.endpoint().to_string()
    }

    /// Returns when the node tells of a new head.
    pub async fn changed(&self) {
        self.news.notified().await;
    }

    /// The newest block that both layers hold for final, given the one the execution layer does.
    pub async fn final_block(&self, block: BlockRef) -> Result<Option<BlockRef>, SourceError> {
        if block.number < self.start_block {
            return Ok(Some(block));
        }
        let path = "/eth/v1/beacon/states/head/finality_checkpoints";
        let checkpoints: Document<CheckpointsJson> = self.ask(path, &[]).await?;
        let root = checkpoints.data.finalized.root;
        if root.is_zero() {
            return Ok(None);
        }
        let Some(payload) = self.block(&root.to_string()).await?.payload else { return Ok(None) };
        if payload.number == block.number && payload.hash != block.hash {
            let (number, ours, theirs) = (block.number, block.hash, payload.hash);
            return Err(self.inconsistent(format!(
                "block {number} is final as {theirs}, and as {ours} at the execution node"
            )));
        }
        Ok(Some(if payload.number < block.number { payload } else { block }))
    }

    /// What the beacon blocks of these execution blocks say, in order.
    pub async fn facts_of(
        &self,
        chain_id: ChainId,
        blocks: impl IntoIterator<Item = BlockRef>,
    ) -> Result<Vec<Fact>, SourceError> {
        let ours = blocks.into_iter().filter(|block| block.number >= self.start_block);
        let ours: Vec<_> = ours.collect();
        let facts: Vec<Vec<Fact>> = stream::iter(ours)
            .map(|block| self.facts_of_block(chain_id, block))
            .buffered(BLOCKS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(facts.concat())
    }

    async fn facts_of_block(
        &self,
        chain_id: ChainId,
        block: BlockRef,
    ) -> Result<Vec<Fact>, SourceError> {
        let Some(since) = block.timestamp.checked_sub(self.genesis_time) else {
            return Ok(Vec::new());
        };
        let slot = since / self.seconds_per_slot;
        let beacon_block = self.block(&slot.to_string()).await?;
        // Before the merge a slot and a block of one time have nothing to do with each other.
        let Some(payload) = beacon_block.payload else { return Ok(Vec::new()) };
        if beacon_block.slot != slot || payload.hash != block.hash {
            let (number, expected, found) = (block.number, block.hash, payload.hash);
            return Err(self.inconsistent(format!(
                "slot {slot} holds {found}, but block {number} is {expected} at the execution node"
            )));
        }
        let proposers = beacon_block.proposers.iter();
        let proposers =
            proposers.map(|validator| Event::BeaconProposerSlashed { slot, validator: *validator });
        let attesters = beacon_block.attesters.iter().cloned();
        let attesters =
            attesters.map(|validators| Event::BeaconAttesterSlashed { slot, validators });
        let mut events: Vec<Event> = proposers.chain(attesters).collect();
        events.extend(self.validators(slot, &beacon_block.slashed()).await?);
        let fact = |(log_index, event)| Fact {
            chain_id,
            block,
            tx_hash: B256::ZERO,
            log_index,
            emitter: Address::ZERO,
            event,
        };
        Ok((LOG_INDEX_FROM..).zip(events).map(fact).collect())
    }

    /// Who these validators are, in the state after a slot.
    async fn validators(
        &self,
        slot: u64,
        indices: &BTreeSet<u64>,
    ) -> Result<Vec<Event>, SourceError> {
        let indices: Vec<u64> = indices.iter().copied().collect();
        let mut events = Vec::with_capacity(indices.len());
        for some in indices.chunks(VALIDATORS_PER_REQUEST) {
            let ids: Vec<String> = some.iter().map(u64::to_string).collect();
            let path = format!("/eth/v1/beacon/states/{slot}/validators");
            let mut answer: Document<Vec<StateValidatorJson>> =
                self.ask(&path, &[("id", &ids.join(","))]).await?;
            answer.data.sort_by_key(|one| one.index.0);
            if !answer.data.iter().map(|one| one.index.0).eq(some.iter().copied()) {
                let message = format!("it was asked who {some:?} are and answered about others");
                return Err(self.inconsistent(message));
            }
            events.extend(answer.data.into_iter().map(|one| one.observed(slot)));
        }
        Ok(events)
    }

    async fn block(&self, id: &str) -> Result<BeaconBlock, SourceError> {
        let path = format!("/eth/v2/beacon/blocks/{id}");
        let json = self.document(&path, &[]).await?;
        BeaconBlock::parse(&json).map_err(|error| self.unreadable(&path, &error))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, SourceError> {
        let json = self.document(path, query).await?;
        serde_json::from_slice(&json).map_err(|error| self.unreadable(path, &error))
    }

    /// Asks until there is an answer, or patience runs out. What is not there may come yet.
    async fn document(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<u8>, SourceError> {
        let mut attempt = 1;
        loop {
            let message = match self.transport.get(path, query).await {
                Ok(Some(json)) => return Ok(json),
                Ok(None) => format!("it does not have {path}: it is behind, or keeps no history"),
                Err(error @ CallError::Refused { .. }) => return Err(self.refused(&error)),
                Err(error) => error.message().to_owned(),
            };
            if attempt >= self.patience.attempts_max {
                let endpoint = self.name();
                return Err(SourceError::Unavailable { endpoint, attempts: attempt, message });
            }
            tokio::time::sleep(self.patience.backoff(attempt)).await;
            attempt += 1;
        }
    }

    fn refused(&self, error: &CallError) -> SourceError {
        let message = error.message().to_owned();
        SourceError::Refused { endpoint: self.name(), method: "the Beacon API", message }
    }

    fn unreadable(&self, path: &str, error: &serde_json::Error) -> SourceError {
        self.inconsistent(format!("{path} is not what the Beacon API says: {error}"))
    }

    fn inconsistent(&self, message: String) -> SourceError {
        SourceError::Inconsistent { endpoint: self.name(), message }
    }
}

/// Listens to server-sent events of new heads, for ever. What they say is asked for again.
async fn listen(transport: Transport, news: Arc<Notify>) {
    loop {
        let topics = [("topics", "head")];
        if let Ok(mut response) =
            transport.open_document("/eth/v1/events", &topics, STREAM_TIME).await
            && response.status().is_success()
        {
            while let Ok(Some(chunk)) = response.chunk().await {
                // A comment keeps the connection alive and says nothing.
                if !chunk.starts_with(b":") {
                    news.notify_one();
                }
            }
        }
        tokio::time::sleep(STREAM_PAUSE).await;
    }
}

#[derive(Deserialize)]
struct Document<T> {
    data: T,
}

#[derive(Deserialize)]
struct GenesisJson {
    genesis_time: Number,
}

#[derive(Deserialize)]
struct SpecJson {
    #[serde(rename = "SECONDS_PER_SLOT")]
    seconds_per_slot: Number,
    #[serde(rename = "DEPOSIT_CHAIN_ID")]
    chain_id: Number,
}

#[derive(Deserialize)]
struct CheckpointsJson {
    finalized: CheckpointJson,
}

#[derive(Deserialize)]
struct CheckpointJson {
    root: B256,
}

#[derive(Deserialize)]
struct BlockJson {
    message: MessageJson,
}

#[derive(Deserialize)]
struct MessageJson {
    slot: Number,
    body: BodyJson,
}

#[derive(Deserialize)]
struct BodyJson {
    proposer_slashings: Vec<ProposerSlashingJson>,
    attester_slashings: Vec<AttesterSlashingJson>,
    execution_payload: Option<PayloadJson>,
}

#[derive(Deserialize)]
struct PayloadJson {
    block_number: Number,
    block_hash: B256,
    timestamp: Number,
}

impl From<PayloadJson> for BlockRef {
    fn from(json: PayloadJson) -> Self {
        Self { number: json.block_number.0, hash: json.block_hash, timestamp: json.timestamp.0 }
    }
}

#[derive(Deserialize)]
struct ProposerSlashingJson {
    signed_header_1: SignedHeaderJson,
}

#[derive(Deserialize)]
struct SignedHeaderJson {
    message: HeaderJson,
}

#[derive(Deserialize, Clone, Copy)]
struct HeaderJson {
    proposer_index: Number,
}

#[derive(Deserialize)]
struct AttesterSlashingJson {
    attestation_1: AttestationJson,
    attestation_2: AttestationJson,
}

#[derive(Deserialize)]
struct AttestationJson {
    attesting_indices: Vec<Number>,
}

impl AttestationJson {
    fn indices(&self) -> impl Iterator<Item = u64> {
        self.attesting_indices.iter().map(|index| index.0)
    }
}

#[derive(Deserialize)]
struct StateValidatorJson {
    index: Number,
    validator: ValidatorJson,
}

#[derive(Deserialize)]
struct ValidatorJson {
    pubkey: Bytes,
    withdrawal_credentials: B256,
    effective_balance: Number,
    withdrawable_epoch: Number,
}

impl StateValidatorJson {
    fn observed(self, slot: u64) -> Event {
        // `hash_tree_root` of 48 bytes: two chunks, the second padded.
        let padded = Sha256::new().chain_update(&self.validator.pubkey).chain_update([0; 16]);
        Event::BeaconValidatorObserved {
            slot,
            validator: self.index.0,
            pubkey_hash: B256::new(padded.finalize().into()),
            withdrawal_credentials: self.validator.withdrawal_credentials,
            effective_balance_gwei: self.validator.effective_balance.0,
            withdrawable_epoch: self.validator.withdrawable_epoch.0,
        }
    }
}

/// An integer as the Beacon API writes it: decimal digits in a string.
#[derive(Debug, Clone, Copy)]
struct Number(u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_digits);
        number.map(Self).ok_or_else(|| D::Error::custom("expected an unsigned 64-bit number"))
    }
}
