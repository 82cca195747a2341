//! Answers of the last moments, for what many ask at once.
//!
//! An answer is given again only while the database's snapshot is the one that it was made of: one
//! statement tells. So nobody is told what is old, and what grows by the clock alone (the lag of a
//! chain) is no older than [`crate::RECENT_SECONDS_MAX`].

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::execute::{Answer, Outcome, Question};
use crate::limit::{RECENT_BYTES_MAX, RECENT_MAX, RECENT_SECONDS_MAX};

/// Whoever waits longer for the statement had better run the query.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(1);

/// What is asked, whoever asks.
pub(crate) type Key = [u8; 32];

struct Kept {
    /// The transactions that the answer saw, as Postgres writes it.
    snapshot: String,
    since: Instant,
    answer: Arc<Answer>,
}

/// The answers.
pub(crate) struct Recent(Mutex<LruCache<Key, Kept>>);

/// Where an answer is to be kept.
pub(crate) struct Place {
    key: Key,
    snapshot: String,
}

/// What a question is kept under.
pub(crate) fn key(question: &Question) -> Key {
    let mut hash = Sha256::new();
    let name = question.operation_name.as_deref().unwrap_or_default();
    for part in [question.query.as_str(), name] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    // Strings, numbers and maps with string keys: writing them cannot fail.
    hash.update(serde_json::to_vec(&question.variables).unwrap_or_default());
    hash.finalize().into()
}

impl Recent {
    pub(crate) fn new() -> Self {
        let size = NonZeroUsize::new(RECENT_MAX).unwrap_or(NonZeroUsize::MIN);
        Self(Mutex::new(LruCache::new(size)))
    }

    /// The answer, if it is kept and still true; else where to keep it.
    pub(crate) async fn find(&self, pool: &PgPool, key: Key) -> Result<Arc<Answer>, Option<Place>> {
        let snapshot = sqlx::query_scalar("SELECT pg_current_snapshot()::text").fetch_one(pool);
        // Without the database there is no answer that is known to be true.
        let snapshot = tokio::time::timeout(SNAPSHOT_WAIT, snapshot).await;
        let Ok(Ok(snapshot)) = snapshot else { return Err(None) };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let longest = Duration::from_secs(RECENT_SECONDS_MAX);
        match kept.get(&key) {
            Some(found) if found.snapshot == snapshot && found.since.elapsed() < longest => {
                Ok(found.answer.clone())
            }
            _ => Err(Some(Place { key, snapshot })),
        }
    }

    /// Keeps an answer that was made after its place was given: it has seen at least as much.
    pub(crate) fn keep(&self, place: Place, answer: &Arc<Answer>) {
        if answer.outcome == Outcome::Run && answer.body.len() <= RECENT_BYTES_MAX {
            let Place { key, snapshot } = place;
            let kept = Kept { snapshot, since: Instant::now(), answer: answer.clone() };
            self.0.lock().unwrap_or_else(PoisonError::into_inner).put(key, kept);
        }
    }
}
