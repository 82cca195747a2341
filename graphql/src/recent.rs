//! Answers of the last moments, for what many ask at once.
//!
//! An answer is given again only while the database's snapshot is the one that it was made of: one
//! statement tells, the same for all who wait for it. So nobody is told what is old, and what grows
//! by the clock alone (the lag of a chain) is no older than [`crate::RECENT_SECONDS_MAX`].

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tokio::sync::OnceCell;

use crate::execute::{Answer, Outcome, Question};
use crate::limit::{RECENT_BYTES_MAX, RECENT_MAX, RECENT_SECONDS_MAX};

/// Whoever waits longer for the statement had better run the query.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(1);

/// What is asked, whoever asks.
pub(crate) type Key = [u8; 32];

/// The transactions that a statement sees, as Postgres writes it.
type Snapshot = Arc<str>;

/// One answer, or the wait for it.
struct Slot {
    snapshot: Snapshot,
    since: Instant,
    cost: u64,
    answer: OnceCell<Arc<Answer>>,
}

/// The answers.
pub(crate) struct Recent {
    slots: Mutex<LruCache<Key, Arc<Slot>>>,
    pool: PgPool,
    /// How many statements have begun.
    begun: AtomicU64,
    /// What the last one saw, and which one that was.
    seen: tokio::sync::Mutex<Option<(u64, Snapshot)>>,
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
    pub(crate) fn new(pool: PgPool) -> Self {
        let size = NonZeroUsize::new(RECENT_MAX).unwrap_or(NonZeroUsize::MIN);
        let slots = Mutex::new(LruCache::new(size));
        Self { slots, pool, begun: AtomicU64::new(0), seen: tokio::sync::Mutex::default() }
    }

    /// The answer with its cost, if it is here and still true.
    pub(crate) async fn find(&self, key: &Key) -> Option<(Arc<Answer>, u64)> {
        let slot = self.slots().get(key).filter(|slot| slot.is_fresh()).cloned()?;
        let answer = slot.answer.get()?.clone();
        (self.snapshot().await? == slot.snapshot).then_some((answer, slot.cost))
    }

    /// The answer that someone else is waiting for already, or the one that `run` makes.
    pub(crate) async fn get_or_run(
        &self,
        key: Key,
        cost: u64,
        run: impl Future<Output = Answer>,
    ) -> Arc<Answer> {
        // Without the database there is no answer that is known to be true.
        let Some(snapshot) = self.snapshot().await else { return Arc::new(run.await) };
        let slot = {
            let mut slots = self.slots();
            match slots.get(&key).filter(|slot| slot.is_fresh() && slot.snapshot == snapshot) {
                Some(slot) => slot.clone(),
                None => {
                    let answer = OnceCell::new();
                    let slot = Arc::new(Slot { snapshot, since: Instant::now(), cost, answer });
                    slots.put(key, slot.clone());
                    slot
                }
            }
        };
        let run = async {
            let answer = Arc::new(run.await);
            let is_kept = answer.outcome == Outcome::Run && answer.body.len() <= RECENT_BYTES_MAX;
            if is_kept { Ok(answer) } else { Err(answer) }
        };
        // Made after its snapshot was read, it has seen at least as much.
        match slot.answer.get_or_try_init(|| run).await {
            Ok(answer) => answer.clone(),
            Err(answer) => answer,
        }
    }

    /// What is visible now. Of all who wait one asks: a statement that began after someone came
    /// tells that one the truth too.
    async fn snapshot(&self) -> Option<Snapshot> {
        let before = self.begun.load(Ordering::SeqCst);
        let mut seen = self.seen.lock().await;
        if let Some((_, snapshot)) = seen.as_ref().filter(|(number, _)| *number > before) {
            return Some(snapshot.clone());
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let pool = self.pool.clone();
        // Whole even if who asks goes away: sqlx does not survive half a statement.
        let asked = tokio::spawn(async move {
            sqlx::query_scalar::<_, String>("SELECT pg_current_snapshot()::text")
                .fetch_one(&pool)
                .await
        });
        let snapshot = tokio::time::timeout(SNAPSHOT_WAIT, asked).await.ok()?.ok()?.ok()?;
        let snapshot = Snapshot::from(snapshot);
        *seen = Some((number, snapshot.clone()));
        Some(snapshot)
    }

    fn slots(&self) -> MutexGuard<'_, LruCache<Key, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn is_fresh(&self) -> bool {
        self.since.elapsed() < Duration::from_secs(RECENT_SECONDS_MAX)
    }
}
