//! Folds the log from nothing to a position, in memory, and says what it comes to: a hash over the
//! canonical log and a root over the ratings, which are the same on every machine that has the same
//! facts, in whatever order and however often restated it got them.

use std::collections::BTreeMap;

use alloy::primitives::B256;
use assay_domain::canonical::CanonicalHead;
use assay_domain::methodology::Methodology;
use assay_domain::rating::Rating;
use assay_domain::state::ChainState;
use assay_domain::{BlockRef, ChainId, Fact};
use sha2::{Digest as _, Sha256};

use crate::rater::{Rater, RaterError};
use crate::rating::Observer;

/// What begins the hash over ratings.
const TAG: &[u8] = b"assay ratings 1";

/// Where a replay came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The canonical log there. An epoch's end and the messages behind it are one step.
    pub log: CanonicalHead,
    /// The newest block with a fact or an epoch's end.
    pub block: Option<(ChainId, BlockRef)>,
    /// SHA-256 over a tag and, by the entity's key in the contract, key and hash of the assessment
    /// of everything rated.
    pub ratings_root: B256,
    /// How many are rated, or said not to be.
    pub entities: usize,
}

/// What the read model holds as of a position.
#[derive(Debug)]
pub struct Held {
    /// The storage position that it reflects.
    storage_position: u64,
    /// The newest block's end, not later than the position.
    log: Option<CanonicalHead>,
    /// Slug and newest assessment, by key.
    ratings: BTreeMap<B256, (String, B256)>,
}

/// The log could not be replayed, or comes to something else than the read model.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log could not be read or rated.
    #[error(transparent)]
    Rater(#[from] RaterError),
    /// The log does not reach so far.
    #[error("the log reaches to position {0}; --position wants one up to there")]
    Ahead(u64),
    /// The read model does not reach so far.
    #[error("the read model reaches to position {0}: compare up to there, or let `assay run` rate")]
    NotHeld(u64),
    /// The canonical log of the read model is another.
    #[error("the read model's log has another hash at position {0} than the one that is replayed")]
    OtherLog(u64),
    /// A rating of the read model is another.
    #[error("the read model's rating of {0} is not the one that follows from the log")]
    OtherRating(String),
}

impl From<sqlx::Error> for ReplayError {
    fn from(error: sqlx::Error) -> Self {
        Self::Rater(error.into())
    }
}

impl ReplayError {
    /// Whether something was compared and found different.
    pub const fn is_difference(&self) -> bool {
        matches!(self, Self::OtherLog(_) | Self::OtherRating(_))
    }
}

/// Replays the log up to a canonical position, or all of it: each epoch's end on the way, if that
/// is wanted, and where it came to. `held` is compared with what comes out.
pub async fn replay(
    rater: &Rater,
    position: Option<u64>,
    held: Option<&Held>,
    is_each_epoch: bool,
) -> Result<(Vec<Replayed>, Replayed), ReplayError> {
    let end = match held {
        Some(held) => held.storage_position,
        None => {
            rater.store().head().await.map_err(|error| RaterError::Read(error.into()))?.position
        }
    };
    let start = || Replay {
        up_to: position.unwrap_or(u64::MAX),
        log: CanonicalHead { position: 0, hash: B256::ZERO },
        block: None,
        ratings: BTreeMap::new(),
        is_each_epoch,
        epochs: Vec::new(),
        held: held.and_then(|held| held.log),
        is_met: false,
    };
    let (engine, _) = rater.replay_to(end, &BTreeMap::new(), start).await?;
    let reached = engine.head().position;
    if position.is_some_and(|position| position > reached) {
        return Err(ReplayError::Ahead(reached));
    }
    let replay = engine.observer;
    if let Some(held) = held {
        if let Some(log) = held.log.filter(|_| !replay.is_met) {
            return Err(ReplayError::OtherLog(log.position));
        }
        for (key, (slug, hash)) in &held.ratings {
            if replay.ratings.get(key) != Some(hash) {
                return Err(ReplayError::OtherRating(slug.clone()));
            }
        }
        if let Some(key) = replay.ratings.keys().find(|key| !held.ratings.contains_key(*key)) {
            return Err(ReplayError::OtherRating(format!("the entity with key {key}")));
        }
    }
    let here = replay.here();
    Ok((replay.epochs, here))
}

/// What the read model holds as of a canonical position, or the newest it has.
pub async fn held(rater: &Rater, position: Option<u64>) -> Result<Held, ReplayError> {
    let mut transaction = rater.store().pool().begin().await?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        .execute(&mut *transaction)
        .await?;
    let (storage, newest): (i64, i64) = sqlx::query_as(
        "SELECT coalesce(max(storage_position), 0), coalesce(max(canonical_position), 0)
         FROM read_model.checkpoint",
    )
    .fetch_one(&mut *transaction)
    .await?;
    let position = position.unwrap_or(newest.cast_unsigned());
    if position > newest.cast_unsigned() {
        return Err(ReplayError::NotHeld(newest.cast_unsigned()));
    }
    let log: Option<(i64, Vec<u8>)> = sqlx::query_as(
        "SELECT last_position, canonical_hash FROM read_model.blocks WHERE last_position <= $1
         ORDER BY last_position DESC LIMIT 1",
    )
    .bind(position.cast_signed())
    .fetch_optional(&mut *transaction)
    .await?;
    let ratings: Vec<(Vec<u8>, String, Vec<u8>)> = sqlx::query_as(
        "SELECT DISTINCT ON (e.id) e.key, e.slug, p.assessment_hash
         FROM read_model.rating_points p JOIN read_model.entities e ON e.id = p.entity_id
         WHERE p.position <= $1 ORDER BY e.id, p.position DESC",
    )
    .bind(position.cast_signed())
    .fetch_all(&mut *transaction)
    .await?;
    // A row of the wrong length is a difference, and is found as one.
    let hash = |bytes: &[u8]| B256::try_from(bytes).unwrap_or_default();
    Ok(Held {
        storage_position: storage.cast_unsigned(),
        log: log.map(|(position, bytes)| CanonicalHead {
            position: position.cast_unsigned(),
            hash: hash(&bytes),
        }),
        ratings: ratings
            .into_iter()
            .map(|(key, slug, rating)| (hash(&key), (slug, hash(&rating))))
            .collect(),
    })
}

/// Keeps the newest of everything, up to a position.
#[derive(Debug)]
struct Replay {
    up_to: u64,
    log: CanonicalHead,
    block: Option<(ChainId, BlockRef)>,
    ratings: BTreeMap<B256, B256>,
    is_each_epoch: bool,
    epochs: Vec<Replayed>,
    /// A place that must be met.
    held: Option<CanonicalHead>,
    is_met: bool,
}

impl Replay {
    fn come_to(&mut self, chain_id: ChainId, block: BlockRef, head: CanonicalHead) {
        self.log = head;
        self.block = Some((chain_id, block));
        self.is_met |= self.held == Some(head);
    }

    fn here(&self) -> Replayed {
        let mut root = Sha256::new_with_prefix(TAG);
        for (key, assessment) in &self.ratings {
            root.update(key);
            root.update(assessment);
        }
        let ratings_root = B256::from(<[u8; 32]>::from(root.finalize()));
        let (log, block, entities) = (self.log, self.block, self.ratings.len());
        Replayed { log, block, ratings_root, entities }
    }
}

impl Observer for Replay {
    fn fact_folded(&mut self, fact: &Fact, _: &ChainState, head: CanonicalHead) {
        if head.position <= self.up_to {
            self.come_to(fact.chain_id, fact.block, head);
        }
    }

    fn rated(&mut self, ratings: &[Rating], _: &ChainState, _: &Methodology) {
        let wanted = ratings.iter().filter(|rating| rating.head.position <= self.up_to);
        self.ratings.extend(wanted.map(|rating| (rating.entity.key(), rating.assessment_hash)));
    }

    fn block_ended(&mut self, chain_id: ChainId, block: BlockRef, head: CanonicalHead) {
        if head.position > self.up_to {
            return;
        }
        self.come_to(chain_id, block, head);
        // No event tells the hash of the block that ends an epoch.
        if self.is_each_epoch && block.hash == B256::ZERO {
            self.epochs.push(self.here());
        }
    }
}
