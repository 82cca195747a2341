//! Signed messages: recording them once, and reading them back.
//!
//! What is refused here is refused with its reason; the signature itself is checked before, in
//! `attestation`.

use std::collections::BTreeMap;

use alloy::primitives::B256;
use assay_domain::attestation::{
    AHEAD_BLOCKS_MAX, Attestation, DELAY_BLOCKS, Message, Signed, counting_block, counting_epoch,
};
use assay_domain::block::BLOCKS_PER_EPOCH;
use assay_domain::event::SIGNED_MESSAGES;
use assay_domain::state::registry::{NotEntitled, Registry};
use assay_domain::{BlockRef, ChainId, Event, Fact};

use super::appender::{Appender, OWN_LOG_INDEX};
use super::error::AppendError;
use super::postgres::{EventStore, read_cursor};
use super::read::{FoldError, ReadError, Recorded};

/// Messages of one chain: enough for years of many signers, and read at each recording.
pub const MESSAGES_MAX: usize = 100_000;

/// Shortest seconds between blocks, to tell the time of a block that is not there yet.
const SLOT_SECONDS: u64 = 12;

/// What to do with a message that should have counted already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeliness {
    /// Refuse it: ratings that were published would change.
    Required,
    /// Take it; every rating is made anew. For a node that takes over the messages of others.
    Restates,
}

/// Where a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Storage position.
    pub position: u64,
    /// Its name for ever.
    pub digest: B256,
    /// The block at whose end it counts.
    pub counts_from: u64,
}

/// Why a message was refused; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// No chain of that number is followed.
    #[error("this log holds no final block of chain {chain_id}: is the message for another log?")]
    UnknownChain {
        /// The chain.
        chain_id: ChainId,
    },
    /// It was recorded before.
    #[error("it was recorded before, at position {position}")]
    Replayed {
        /// Where.
        position: u64,
    },
    /// The message contradicts itself or is too large.
    #[error("{reason}")]
    Faulty {
        /// What is wrong.
        reason: &'static str,
    },
    /// It should have counted already.
    #[error(
        "it would count from block {counts_from}, and ratings up to block {finalized} are made; \
         sign it anew with an effective block from {earliest} on"
    )]
    TooLate {
        /// From which block it would count.
        counts_from: u64,
        /// The newest final block.
        finalized: u64,
        /// The first effective block that is in time.
        earliest: u64,
    },
    /// It would count too far ahead.
    #[error("its effective block {effective} is more than {AHEAD_BLOCKS_MAX} after {finalized}")]
    TooEarly {
        /// Its effective block.
        effective: u64,
        /// The newest final block.
        finalized: u64,
    },
    /// It has expired, or will have when it counts.
    #[error("it expires at {expires_at}, before it counts at about {counts_at}")]
    Expired {
        /// When it expires.
        expires_at: u64,
        /// Time of the block from which it counts, at the earliest.
        counts_at: u64,
    },
    /// It says to have been observed in the future.
    #[error("it was observed at {observed_at}, after its effective block at about {effective_at}")]
    NotYetObserved {
        /// When it was observed.
        observed_at: u64,
        /// Time of its effective block, at the latest.
        effective_at: u64,
    },
    /// The signer may not say this.
    #[error(transparent)]
    NotEntitled(#[from] NotEntitled),
    /// The chain has too many messages.
    #[error("the log holds {MESSAGES_MAX} messages of this chain; no more are taken")]
    TooMany,
    /// The store could not be read or written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl EventStore {
    /// The signed messages after position `after` and up to `up_to`, in storage order.
    pub async fn messages(&self, after: u64, up_to: u64) -> Result<Vec<Recorded>, ReadError> {
        let kinds: Vec<u8> = SIGNED_MESSAGES.collect();
        let mut found = Vec::new();
        let read = self
            .read_own(&kinds, after, |recorded| {
                if recorded.position <= up_to {
                    found.push(recorded);
                }
                Ok::<(), std::convert::Infallible>(())
            })
            .await;
        match read {
            Ok(()) => Ok(found),
            Err(FoldError::Read(error)) => Err(error),
            Err(FoldError::Apply(never)) => match never {},
        }
    }

    /// Records a message whose signature was checked.
    pub async fn record(
        &self,
        chain_id: ChainId,
        signed: Signed<Message>,
        timeliness: Timeliness,
    ) -> Result<Record, RecordError> {
        if let Some(reason) = signed.message.fault() {
            return Err(RecordError::Faulty { reason });
        }
        let (digest, signer) = (signed.digest, signed.signer);
        let effective = signed.message.effective_block();
        // Before the lock is taken: a stranger must not keep ingestion waiting. What is struck off
        // in between is left out by the fold.
        let unknown = RecordError::UnknownChain { chain_id };
        let finalized = self.cursor(chain_id).await?.and_then(|cursor| cursor.finalized);
        check_time(&signed.message, finalized.ok_or(unknown)?, timeliness)?;
        let event = signed.message.clone().into_event(digest, signer, signed.signature);
        self.check_entitled(chain_id, effective, &event).await?;
        let mut appender = self.begin_append().await?;
        if let Some(position) = recorded_at(&mut appender, digest).await? {
            return Err(RecordError::Replayed { position });
        }
        let finalized = read_cursor(appender.connection(), chain_id)
            .await?
            .and_then(|cursor| cursor.finalized)
            .ok_or(RecordError::UnknownChain { chain_id })?;
        check_time(&signed.message, finalized, timeliness)?;
        let position = appender
            .push(&Fact {
                chain_id,
                block: BlockRef { number: effective, hash: B256::ZERO, timestamp: 0 },
                tx_hash: digest,
                log_index: OWN_LOG_INDEX,
                emitter: signer,
                event,
            })
            .await?;
        appender.commit().await?;
        Ok(Record { position, digest, counts_from: counting_block(effective) })
    }

    /// Whether the signer may say this when it counts, by all that is recorded.
    async fn check_entitled(
        &self,
        chain_id: ChainId,
        effective: u64,
        event: &Event,
    ) -> Result<(), RecordError> {
        let mut known = BTreeMap::new();
        for recorded in self.messages(0, u64::MAX).await? {
            let fact = recorded.fact;
            if fact.chain_id == chain_id
                && let Some(signed) = Message::of_event(&fact.event)
            {
                let epoch = counting_epoch(signed.message.effective_block());
                known.insert((epoch, fact.event.tag(), signed.digest), fact.event);
            }
        }
        if known.len() >= MESSAGES_MAX {
            return Err(RecordError::TooMany);
        }
        // Of its own epoch only what comes before its kind counts before it.
        let until = (counting_epoch(effective), event.tag(), B256::ZERO);
        let registry = Registry::of(known.range(..until).map(|(_, event)| event));
        Ok(registry.entitled(event)?)
    }
}

/// Refuses what counts too late or too early, has expired, or was observed in the future.
fn check_time(
    message: &Message,
    finalized: BlockRef,
    timeliness: Timeliness,
) -> Result<(), RecordError> {
    let effective = message.effective_block();
    let counts_from = counting_block(effective);
    if counts_from <= finalized.number && timeliness == Timeliness::Required {
        let finalized = finalized.number;
        let open = finalized.saturating_add(1) / BLOCKS_PER_EPOCH * BLOCKS_PER_EPOCH;
        let earliest = open.saturating_sub(DELAY_BLOCKS);
        return Err(RecordError::TooLate { counts_from, finalized, earliest });
    }
    if effective > finalized.number.saturating_add(AHEAD_BLOCKS_MAX) {
        return Err(RecordError::TooEarly { effective, finalized: finalized.number });
    }
    let Message::Attestation(Attestation { observed_at, expires_at, .. }) = message else {
        return Ok(());
    };
    let time_of = |block: u64| {
        let ahead = block.saturating_sub(finalized.number).saturating_mul(SLOT_SECONDS);
        let behind = finalized.number.saturating_sub(block).saturating_mul(SLOT_SECONDS);
        finalized.timestamp.saturating_add(ahead).saturating_sub(behind)
    };
    let (expires_at, counts_at) = (*expires_at, time_of(counts_from));
    if expires_at <= counts_at {
        return Err(RecordError::Expired { expires_at, counts_at });
    }
    let (observed_at, effective_at) = (*observed_at, time_of(effective));
    if observed_at > effective_at {
        return Err(RecordError::NotYetObserved { observed_at, effective_at });
    }
    Ok(())
}

async fn recorded_at(appender: &mut Appender, digest: B256) -> Result<Option<u64>, AppendError> {
    let position: Option<i64> = sqlx::query_scalar(
        "SELECT position FROM event_store.events
         WHERE kind >= 205 AND kind <= 219 AND tx_hash = $1",
    )
    .bind(digest.as_slice())
    .fetch_optional(appender.connection())
    .await?;
    Ok(position.map(i64::cast_unsigned))
}
