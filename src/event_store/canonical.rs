//! The canonical log: the final facts of all chains, in the order that is the same on every node.
//!
//! A fact is canonical if a chain said it (kind below 200), its block is not taken back, and its
//! chain is final at least up to it. What was taken back and what is final is read from the
//! events themselves, so the log can be had as it was at any storage position.
//! Order: block time, chain, block, log index. Facts are nearly always stored in that order; the
//! store is read as it is, the order is checked, and only if it does not hold does Postgres sort.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use alloy::primitives::B256;
use assay_domain::event::OWN_EVENTS_FROM;
use assay_domain::{ChainId, Event, Fact, FactKey};

use super::codec::{CANONICAL_GENESIS, Preimage, Row};
use super::postgres::{EventStore, read_head};
use super::read::{Corruption, FoldError, ReadError};
use super::walk::{Check, Snapshot, Stop};

/// Tag of `Event::OperatorSlashed`.
const SLASH: u8 = 34;

/// A canonical fact with its place in both orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalFact {
    /// Storage position.
    pub storage_position: u64,
    /// Canonical position, 1 first.
    pub position: u64,
    /// Canonical hash up to here.
    pub hash: B256,
    /// What happened.
    pub fact: Fact,
}

/// How far the canonical log was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalHead {
    /// Every event up to this storage position is reflected.
    pub storage_position: u64,
    /// Position of the last canonical fact, 0 for none.
    pub position: u64,
    /// Canonical hash there.
    pub hash: B256,
    /// Place of that fact in the canonical order.
    pub key: Option<FactKey>,
    /// Number of the newest final block of each chain.
    pub finalized: BTreeMap<ChainId, u64>,
}

/// What became of a canonical log since it was last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extension {
    /// It went on, or nothing happened.
    Extended(CanonicalHead),
    /// Facts arrived that belong before its end, or into blocks that were final at its end. Discard
    /// what was handed over and fold from the start.
    Older {
        /// Place of the first of them.
        first: FactKey,
    },
}

impl EventStore {
    /// The newest final block of each chain, as it was at storage position `up_to`.
    pub async fn finalized_at(&self, up_to: u64) -> Result<BTreeMap<ChainId, u64>, ReadError> {
        let mut snapshot = Snapshot::begin(&self.pool).await?;
        let standing = Standing::at(&mut snapshot, up_to).await?;
        snapshot.end().await?;
        Ok(standing.finalized)
    }

    /// The facts of a block that stand, in order. Whether the block is final is not asked.
    pub async fn canonical_block<E>(
        &self,
        chain_id: ChainId,
        number: u64,
        mut apply: impl FnMut(Fact) -> Result<(), E>,
    ) -> Result<(), FoldError<E>> {
        let mut snapshot = Snapshot::begin(&self.pool).await?;
        let standing = format!(
            "kind < 200 AND chain_id = {chain_id} AND block_number = {number}
             AND NOT EXISTS (SELECT FROM event_store.orphans o
                 WHERE o.chain_id = events.chain_id AND o.block_hash = events.block_hash)
             ORDER BY log_index"
        );
        snapshot
            .select(&standing, |row| {
                apply(row.to_fact().map_err(|bad| Stop::Corrupt(bad.into()))?).map_err(Stop::Apply)
            })
            .await?;
        snapshot.end().await?;
        Ok(())
    }

    /// The facts that stand above what is final, in the order of each chain. Empty unless there
    /// is a slash among them: that is what is shown before it is final.
    pub async fn provisional_facts(
        &self,
        finalized: &BTreeMap<ChainId, u64>,
    ) -> Result<Vec<Fact>, ReadError> {
        let mut facts = Vec::new();
        for (chain_id, number) in finalized {
            let above = format!("kind < 200 AND block_number > {number}");
            let mut has_slash = false;
            let slashes = format!("{above} AND kind = {SLASH}");
            self.standing(&slashes, *chain_id, |_| has_slash = true).await?;
            if has_slash {
                self.standing(&above, *chain_id, |fact| facts.push(fact)).await?;
            }
        }
        Ok(facts)
    }

    /// The facts of a chain that stand and meet a condition, in the order of the chain. Final or not
    /// is not asked.
    pub(super) async fn standing(
        &self,
        condition: &str,
        chain_id: ChainId,
        mut apply: impl FnMut(Fact),
    ) -> Result<(), ReadError> {
        let mut snapshot = Snapshot::begin(&self.pool).await?;
        let standing = format!(
            "{condition} AND chain_id = {chain_id}
             AND NOT EXISTS (SELECT FROM event_store.orphans o
                 WHERE o.chain_id = events.chain_id AND o.block_hash = events.block_hash)
             ORDER BY block_number, log_index"
        );
        let each = |row: &Row<'_>| {
            apply(row.to_fact().map_err(|bad| Stop::Corrupt(bad.into()))?);
            Ok::<(), Stop<Infallible>>(())
        };
        snapshot.select(&standing, each).await.map_err(|error| match error {
            FoldError::Read(error) => error,
            FoldError::Apply(never) => match never {},
        })?;
        snapshot.end().await?;
        Ok(())
    }

    /// Folds the canonical log, as it was at storage position `up_to` (or is at the head).
    ///
    /// The whole store up to there is read and checked against the storage hash chain; that is
    /// known at the end, so use nothing of the state if this fails. `start` is called again if it
    /// turns out half-way that the order of storage is not the canonical one.
    pub async fn fold_canonical<S, E>(
        &self,
        up_to: Option<u64>,
        start: impl Fn() -> S,
        mut apply: impl FnMut(&mut S, &CanonicalFact) -> Result<(), E>,
    ) -> Result<(S, CanonicalHead), FoldError<E>> {
        let mut snapshot = Snapshot::begin(&self.pool).await?;
        let last = read_head(snapshot.connection()).await?.position;
        let end = up_to.map_or(last, |up_to| up_to.min(last));
        let standing = Standing::at(&mut snapshot, end).await?;
        let mut state = start();
        let mut log = Log::new(standing);
        let mut is_in_order = true;
        snapshot
            .walk(0, Some(end), Check::LastHash, |row, preimage, _| {
                if !is_in_order || !log.is_canonical(row) {
                    return Ok(());
                }
                match log.push(row, preimage).map_err(Stop::Corrupt)? {
                    Some(fact) => apply(&mut state, &fact).map_err(Stop::Apply),
                    None => {
                        is_in_order = false;
                        Ok(())
                    }
                }
            })
            .await?;
        if !is_in_order {
            state = start();
            log = Log::new(log.standing);
            let mut preimage = Preimage::new();
            let sorted = format!("kind < 200 AND position <= {end} ORDER BY {CANONICAL_ORDER}");
            snapshot
                .select(&sorted, |row| {
                    if !log.is_canonical(row) {
                        return Ok(());
                    }
                    preimage.set_row(row);
                    let fact = log.push(row, &preimage).map_err(Stop::Corrupt)?;
                    let fact = fact.ok_or_else(|| Stop::Corrupt(same_place(row)))?;
                    apply(&mut state, &fact).map_err(Stop::Apply)
                })
                .await?;
        }
        snapshot.end().await?;
        Ok((state, log.into_head(end)))
    }

    /// Hands over what became canonical since `head`, in order, or says that older facts arrived.
    ///
    /// Rows are not checked against the storage chain here: a fold from the start does that.
    pub async fn extend_canonical<E>(
        &self,
        head: &CanonicalHead,
        up_to: Option<u64>,
        mut apply: impl FnMut(&CanonicalFact) -> Result<(), E>,
    ) -> Result<Extension, FoldError<E>> {
        let mut snapshot = Snapshot::begin(&self.pool).await?;
        let last = read_head(snapshot.connection()).await?.position;
        let end = up_to.map_or(last, |up_to| up_to.min(last));
        let standing = Standing::at(&mut snapshot, end).await?;
        let Some(fresh) = fresh_facts(head, &standing, end) else {
            snapshot.end().await?;
            let head = CanonicalHead { storage_position: end, ..head.clone() };
            return Ok(Extension::Extended(head));
        };
        let mut log = Log::after(head, standing);
        let mut preimage = Preimage::new();
        let read = snapshot
            .select(&fresh, |row| {
                if !log.is_canonical(row) {
                    return Ok(());
                }
                let was_final = head.finalized.get(&row.chain_id);
                if was_final.is_some_and(|number| row.block_number <= *number) {
                    return Err(Stop::Apply(Stopped::Older(key_of(row))));
                }
                preimage.set_row(row);
                match log.push(row, &preimage).map_err(Stop::Corrupt)? {
                    Some(fact) => apply(&fact).map_err(|error| Stop::Apply(Stopped::Caller(error))),
                    None if log.position == head.position => {
                        Err(Stop::Apply(Stopped::Older(key_of(row))))
                    }
                    None => Err(Stop::Corrupt(same_place(row))),
                }
            })
            .await;
        match read {
            Ok(()) => {}
            Err(FoldError::Apply(Stopped::Older(first))) => return Ok(Extension::Older { first }),
            Err(FoldError::Apply(Stopped::Caller(error))) => return Err(FoldError::Apply(error)),
            Err(FoldError::Read(error)) => return Err(error.into()),
        }
        snapshot.end().await?;
        Ok(Extension::Extended(log.into_head(end)))
    }
}

/// Why reading an extension stops.
enum Stopped<E> {
    Older(FactKey),
    Caller(E),
}

const CANONICAL_ORDER: &str = "block_time, chain_id, block_number, log_index";

/// What stands of each chain at a storage position.
struct Standing {
    finalized: BTreeMap<ChainId, u64>,
    orphans: BTreeSet<(ChainId, B256)>,
}

impl Standing {
    async fn at(snapshot: &mut Snapshot, end: u64) -> Result<Self, ReadError> {
        // Finality only advances, so the last event of a chain says it; the cursors say which
        // chains there are.
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT cursors.chain_id, last.block_number FROM event_store.cursors
             CROSS JOIN LATERAL (
                 SELECT block_number FROM event_store.events
                 WHERE kind >= 200 AND kind = 200 AND events.chain_id = cursors.chain_id
                     AND position <= $1
                 ORDER BY position DESC LIMIT 1) AS last",
        )
        .bind(i64::try_from(end).unwrap_or(i64::MAX))
        .fetch_all(snapshot.connection())
        .await?;
        let finalized = rows
            .into_iter()
            .map(|(chain_id, number)| (chain_id.cast_unsigned(), number.cast_unsigned()))
            .collect();
        let mut orphans = BTreeSet::new();
        let reorgs =
            format!("kind >= 200 AND kind IN (201, 204) AND position <= {end} ORDER BY position");
        let read = snapshot
            .select(&reorgs, |row| {
                let fact = row.to_fact().map_err(|bad| Stop::Corrupt(bad.into()))?;
                note_reorg(&fact, &mut orphans);
                Ok::<(), Stop<Infallible>>(())
            })
            .await;
        match read {
            Ok(()) => Ok(Self { finalized, orphans }),
            Err(FoldError::Read(error)) => Err(error),
            Err(FoldError::Apply(never)) => match never {},
        }
    }
}

/// Keeps the set of blocks taken back in step with an event.
pub(super) fn note_reorg(fact: &Fact, orphans: &mut BTreeSet<(ChainId, B256)>) {
    match &fact.event {
        Event::BlocksReverted { orphaned } => {
            orphans.extend(orphaned.iter().map(|hash| (fact.chain_id, *hash)));
        }
        Event::BlocksRestored { restored } => {
            for hash in restored {
                orphans.remove(&(fact.chain_id, *hash));
            }
        }
        _ => {}
    }
}

/// The canonical log while it is read.
struct Log {
    standing: Standing,
    position: u64,
    hash: B256,
    key: Option<FactKey>,
    /// The block last asked about, and whether it stands: a block has many facts.
    block: Option<(ChainId, B256, bool)>,
}

impl Log {
    fn new(standing: Standing) -> Self {
        Self { standing, position: 0, hash: *CANONICAL_GENESIS, key: None, block: None }
    }

    fn after(head: &CanonicalHead, standing: Standing) -> Self {
        Self { position: head.position, hash: head.hash, key: head.key, ..Self::new(standing) }
    }

    fn is_canonical(&mut self, row: &Row<'_>) -> bool {
        if row.kind >= i16::from(OWN_EVENTS_FROM) {
            return false;
        }
        let hash = B256::new(*row.block_hash);
        if let Some((chain_id, block, stands)) = self.block
            && (chain_id, block) == (row.chain_id, hash)
        {
            return stands;
        }
        let finalized = self.standing.finalized.get(&row.chain_id);
        let stands = finalized.is_some_and(|number| row.block_number <= *number)
            && !self.standing.orphans.contains(&(row.chain_id, hash));
        self.block = Some((row.chain_id, hash, stands));
        stands
    }

    /// The next canonical fact; `None`, and no change, if it does not come after the last.
    fn push(
        &mut self,
        row: &Row<'_>,
        preimage: &Preimage,
    ) -> Result<Option<CanonicalFact>, Corruption> {
        let fact = row.to_fact()?;
        let key = fact.key();
        if self.key.is_some_and(|last| key <= last) {
            return Ok(None);
        }
        self.position += 1;
        self.hash = preimage.hash_after(&self.hash);
        self.key = Some(key);
        Ok(Some(CanonicalFact {
            storage_position: row.position,
            position: self.position,
            hash: self.hash,
            fact,
        }))
    }

    fn into_head(self, storage_position: u64) -> CanonicalHead {
        CanonicalHead {
            storage_position,
            position: self.position,
            hash: self.hash,
            key: self.key,
            finalized: self.standing.finalized,
        }
    }
}

/// The condition for what may have become canonical since `head`: blocks that became final, and
/// facts stored since of blocks that were final before. `None` if no chain is final anywhere.
fn fresh_facts(head: &CanonicalHead, standing: &Standing, end: u64) -> Option<String> {
    let mut parts = Vec::new();
    for (chain_id, now) in &standing.finalized {
        match head.finalized.get(chain_id) {
            None => parts.push(format!("(chain_id = {chain_id} AND block_number <= {now})")),
            Some(before) => {
                parts.push(format!(
                    "(chain_id = {chain_id} AND block_number > {before} AND block_number <= {now})"
                ));
                // The additions keep the planner, which knows nothing of a young table, from
                // walking the whole chain's index instead of the few newest positions.
                parts.push(format!(
                    "(position > {} AND chain_id + 0 = {chain_id}
                      AND block_number + 0 <= {before})",
                    head.storage_position
                ));
            }
        }
    }
    if parts.is_empty() {
        return None;
    }
    Some(format!(
        "kind < 200 AND position <= {end} AND ({}) ORDER BY {CANONICAL_ORDER}",
        parts.join(" OR ")
    ))
}

fn key_of(row: &Row<'_>) -> FactKey {
    FactKey {
        timestamp: row.block_time,
        chain_id: row.chain_id,
        block_number: row.block_number,
        log_index: u32::try_from(row.log_index).unwrap_or(u32::MAX),
    }
}

fn same_place(row: &Row<'_>) -> Corruption {
    Corruption {
        position: row.position,
        column: None,
        reason: "another canonical fact has the same block and log index".to_owned(),
    }
}
