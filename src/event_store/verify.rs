//! Recomputes what can be recomputed, and names the first row that is not what was written.
//!
//! Rows cut off the end leave a shorter store that is sound in itself: against that, compare the
//! head with one that was published.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::B256;
use assay_domain::{BlockRef, ChainId, Event};

use super::appender::Head;
use super::canonical::note_reorg;
use super::codec::Preimage;
use super::error::AppendError;
use super::postgres::{EventStore, read_cursor, read_head, read_orphans, to_hash};
use super::read::Corruption;
use super::read::{FoldError, ReadError};
use super::walk::{Check, Snapshot, Stop};

/// What a sound store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The last position and the hash there, recomputed from the first row on.
    pub head: Head,
    /// Facts that chains said.
    pub chain_facts: u64,
    /// Events of Assay's own.
    pub own_events: u64,
}

/// The store is not sound, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A row is not what was written. Restore from a backup; the positions before it are sound.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The events are sound, but a table kept beside them says otherwise than they do.
    #[error("event_store.{table} contradicts the events: {reason}")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The database is unreachable or refused. Try again.
    #[error("the event store is unavailable")]
    Unavailable(#[from] sqlx::Error),
}

impl From<ReadError> for VerifyError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Corrupt(corruption) => Self::Corrupt(corruption),
            ReadError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl From<AppendError> for VerifyError {
    fn from(error: AppendError) -> Self {
        ReadError::from(error).into()
    }
}

impl EventStore {
    /// Reads everything from the first row on and checks positions, tags, payloads, hashes, and
    /// the tables of cursors, orphans and headers.
    pub async fn verify(&self) -> Result<Verified, VerifyError> {
        let mut snapshot = Snapshot::begin(&self.pool).await?;
        let mut told = Told::default();
        let walked = snapshot
            .walk(0, None, Check::EveryHash, |row, _, _| {
                let fact = row.to_fact().map_err(|bad| Stop::Corrupt(bad.into()))?;
                told.note(&fact);
                Ok::<(), Stop<std::convert::Infallible>>(())
            })
            .await;
        let head = match walked {
            Ok(head) => head,
            Err(FoldError::Apply(never)) => match never {},
            Err(FoldError::Read(ReadError::Corrupt(corruption))) => {
                drop(snapshot);
                return Err(self.blame(corruption).await?.into());
            }
            Err(FoldError::Read(error)) => return Err(error.into()),
        };
        for chain_id in told.chains(&mut snapshot).await? {
            told.check_chain(&mut snapshot, chain_id).await?;
        }
        snapshot.end().await?;
        Ok(Verified { head, chain_facts: told.chain_facts, own_events: told.own_events })
    }

    /// Checks the hashes of the last `events` rows alone. Returns the head and how many were checked.
    pub async fn verify_tail(&self, events: u64) -> Result<(Head, u64), VerifyError> {
        let mut snapshot = Snapshot::begin(&self.pool).await?;
        let last = read_head(snapshot.connection()).await?.position;
        let after = last.saturating_sub(events);
        let walked = snapshot
            .walk(after, Some(last), Check::EveryHash, |_, _, _| {
                Ok::<(), Stop<std::convert::Infallible>>(())
            })
            .await;
        let head = match walked {
            Ok(head) => head,
            Err(FoldError::Apply(never)) => match never {},
            Err(FoldError::Read(error)) => return Err(error.into()),
        };
        snapshot.end().await?;
        Ok((head, last - after))
    }

    /// Finds out whether it is the stored hash that was changed: then the next row still follows
    /// from the recomputed one.
    async fn blame(&self, mut corruption: Corruption) -> Result<Corruption, VerifyError> {
        let bad = corruption.position;
        if corruption.column.is_some() || bad == 0 {
            return Ok(corruption);
        }
        let mut snapshot = Snapshot::begin(&self.pool).await?;
        let around = format!(
            "position BETWEEN {} AND {} ORDER BY position",
            bad.saturating_sub(1),
            bad.saturating_add(1)
        );
        let mut preimage = Preimage::new();
        let mut previous = (bad == 1).then_some(*super::codec::STORAGE_GENESIS);
        let mut is_hash_bad = false;
        let read = snapshot
            .select(&around, |row| {
                preimage.set_row(row);
                match previous {
                    Some(hash) if row.position == bad => {
                        previous = Some(preimage.hash_after(&hash))
                    }
                    Some(hash) => is_hash_bad = Some(preimage.hash_after(&hash)) == row.hash,
                    None => previous = row.hash,
                }
                Ok::<(), Stop<std::convert::Infallible>>(())
            })
            .await;
        // A damaged neighbour tells nothing; the first bad row is known anyway.
        if read.is_ok() && is_hash_bad {
            corruption.column = Some("hash");
        }
        Ok(corruption)
    }
}

/// Number, hash, parent's hash, and the hash of the header before it.
type HeaderRow = (i64, Vec<u8>, Vec<u8>, Option<Vec<u8>>);

/// What the events say about the tables beside them.
#[derive(Default)]
struct Told {
    chain_facts: u64,
    own_events: u64,
    orphans: BTreeSet<(ChainId, B256)>,
    finalized: BTreeMap<ChainId, BlockRef>,
}

impl Told {
    fn note(&mut self, fact: &assay_domain::Fact) {
        note_reorg(fact, &mut self.orphans);
        match &fact.event {
            Event::FinalityAdvanced => {
                self.finalized.insert(fact.chain_id, fact.block);
                self.own_events += 1;
            }
            _ if fact.log_index == super::appender::OWN_LOG_INDEX => self.own_events += 1,
            _ => self.chain_facts += 1,
        }
    }

    /// The chains that any of the tables or events know.
    async fn chains(&self, snapshot: &mut Snapshot) -> Result<BTreeSet<ChainId>, VerifyError> {
        let rows: Vec<i64> = sqlx::query_scalar(
            "SELECT chain_id FROM event_store.cursors UNION
             SELECT chain_id FROM event_store.headers UNION
             SELECT chain_id FROM event_store.orphans",
        )
        .fetch_all(snapshot.connection())
        .await?;
        let told = self.orphans.iter().map(|(chain_id, _)| *chain_id);
        let known = rows.into_iter().map(i64::cast_unsigned);
        Ok(known.chain(told).chain(self.finalized.keys().copied()).collect())
    }

    async fn check_chain(
        &self,
        snapshot: &mut Snapshot,
        chain_id: ChainId,
    ) -> Result<(), VerifyError> {
        let orphans = read_orphans(snapshot.connection(), chain_id).await?;
        let told = self.orphans.iter().filter(|(chain, _)| *chain == chain_id);
        let told: BTreeSet<B256> = told.map(|(_, hash)| *hash).collect();
        if let Some(hash) = orphans.symmetric_difference(&told).next() {
            return Err(VerifyError::Inconsistent {
                table: "orphans",
                reason: format!(
                    "chain {chain_id}, block {hash} is {}",
                    if told.contains(hash) { "missing" } else { "there without a revert" }
                ),
            });
        }
        let cursor = read_cursor(snapshot.connection(), chain_id).await?;
        let (found, told) =
            (cursor.and_then(|cursor| cursor.finalized), self.finalized.get(&chain_id).copied());
        if found != told {
            return Err(VerifyError::Inconsistent {
                table: "cursors",
                reason: format!("chain {chain_id} is final at {found:?}, the events say {told:?}"),
            });
        }
        self.check_headers(snapshot, chain_id, &orphans).await
    }

    async fn check_headers(
        &self,
        snapshot: &mut Snapshot,
        chain_id: ChainId,
        orphans: &BTreeSet<B256>,
    ) -> Result<(), VerifyError> {
        let bad = |number: i64, reason: &str| VerifyError::Inconsistent {
            table: "headers",
            reason: format!("chain {chain_id}, block {number} {reason}"),
        };
        let rows: Vec<HeaderRow> = sqlx::query_as(
            "SELECT number, hash, parent_hash,
                    lag(hash) OVER (ORDER BY number)
             FROM event_store.headers WHERE chain_id = $1 ORDER BY number",
        )
        .bind(chain_id.cast_signed())
        .fetch_all(snapshot.connection())
        .await?;
        let mut hashes = BTreeMap::new();
        for (number, hash, parent_hash, before) in rows {
            let hash = to_hash("headers.hash", &hash)?;
            let is_next = number.checked_sub(1).is_some_and(|at| hashes.contains_key(&at));
            if is_next && before.is_some_and(|before| before != parent_hash) {
                return Err(bad(number, "does not follow from its parent"));
            }
            if orphans.contains(&hash) {
                return Err(bad(number, "is taken back"));
            }
            if let Some(finalized) = self.finalized.get(&chain_id)
                && finalized.number.cast_signed() == number
                && finalized.hash != hash
            {
                return Err(bad(number, "is not the one that is final"));
            }
            hashes.insert(number, hash);
        }
        let Some((lowest, _)) = hashes.first_key_value() else { return Ok(()) };
        let facts: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT DISTINCT block_number, block_hash FROM event_store.events
             WHERE kind < 200 AND chain_id = $1 AND block_number >= $2",
        )
        .bind(chain_id.cast_signed())
        .bind(lowest)
        .fetch_all(snapshot.connection())
        .await?;
        for (number, hash) in facts {
            let hash = to_hash("events.block_hash", &hash)?;
            if !orphans.contains(&hash) && hashes.get(&number).is_some_and(|known| *known != hash) {
                return Err(bad(number, "is not the one that holds facts"));
            }
        }
        Ok(())
    }
}
