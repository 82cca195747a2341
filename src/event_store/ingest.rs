//! How one step of ingestion becomes rows, and what is refused.
//!
//! Everything runs in the appender's transaction: a refusal half-way leaves nothing behind.
//! The order is that of [`Batch`]: revert, restored, facts, headers, finality, cursor.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::B256;
use assay_domain::{BlockRef, Event, Fact};

use super::appender::{Appender, own_fact, to_bigint};
use super::batch::{Batch, Header, Revert};
use super::error::AppendError;
use super::postgres::{Cursor, read_cursor, read_orphans, to_hash};

/// Refuses what can be seen to be wrong without a database.
pub(super) fn check(batch: &Batch) -> Result<(), AppendError> {
    if !batch.restored.is_empty() && batch.restored_head.is_none() {
        return Err(AppendError::RestoredWithoutHead { count: batch.restored.len() });
    }
    if let Some(fact) = batch.facts.iter().find(|fact| fact.chain_id != batch.chain_id) {
        return Err(AppendError::ForeignChain { expected: batch.chain_id, found: fact.chain_id });
    }
    for pair in batch.facts.windows(2) {
        let [earlier, later] = pair else { continue };
        let (number, log_index) = (later.block.number, later.log_index);
        if (earlier.block.number, earlier.log_index) >= (number, log_index) {
            return Err(AppendError::NotInOrder { number, log_index });
        }
        if earlier.block.number == number && earlier.block != later.block {
            return Err(AppendError::TornBlock { number });
        }
    }
    Ok(())
}

/// Writes the batch; returns how many facts were stored and how many were there already.
pub(super) async fn apply(
    appender: &mut Appender,
    batch: &Batch,
) -> Result<(u64, u64), AppendError> {
    let chain_id = batch.chain_id;
    let cursor = read_cursor(appender.connection(), chain_id).await?;
    let mut chain = Chain {
        chain_id,
        finalized: cursor.and_then(|cursor| cursor.finalized),
        orphans: read_orphans(appender.connection(), chain_id).await?,
    };
    if let Some(revert) = &batch.revert {
        chain.revert(appender, revert).await?;
    }
    if let Some(head) = batch.restored_head {
        chain.restore(appender, &batch.restored, head).await?;
    }
    let counts = chain.append_facts(appender, &batch.facts).await?;
    chain.add_headers(appender, &batch.headers).await?;
    if let Some(finalized) = batch.finalized {
        chain.finalize(appender, finalized).await?;
    }
    chain.save_cursor(appender, cursor, batch.next_block).await?;
    Ok(counts)
}

/// What the store knows of the chain; kept up to date while a batch is written.
pub(super) struct Chain {
    pub(super) chain_id: u64,
    pub(super) finalized: Option<BlockRef>,
    pub(super) orphans: BTreeSet<B256>,
}

impl Chain {
    pub(super) async fn revert(
        &mut self,
        appender: &mut Appender,
        revert: &Revert,
    ) -> Result<(), AppendError> {
        self.check_final(revert.to)?;
        if let Some(finalized) = self.finalized.filter(|block| revert.to.number < block.number) {
            return Err(AppendError::RevertsFinal {
                chain_id: self.chain_id,
                to: revert.to.number,
                finalized: finalized.number,
            });
        }
        let fresh: Vec<B256> =
            revert.orphaned.iter().copied().filter(|hash| !self.orphans.contains(hash)).collect();
        if !fresh.is_empty() {
            self.insert_orphans(appender, &fresh).await?;
            let event = Event::BlocksReverted { orphaned: fresh };
            appender.push(&own_fact(self.chain_id, revert.to, event)).await?;
            crate::metrics::REORGS.inc();
        } else if !revert.orphaned.is_empty() {
            // A batch offered again: the chain may have gone on since.
            return Ok(());
        }
        self.check_nothing_above(appender, revert.to).await?;
        sqlx::query("DELETE FROM event_store.headers WHERE chain_id = $1 AND number > $2")
            .bind(self.id()?)
            .bind(to_bigint("block number", revert.to.number)?)
            .execute(appender.connection())
            .await?;
        Ok(())
    }

    pub(super) async fn insert_orphans(
        &mut self,
        appender: &mut Appender,
        hashes: &[B256],
    ) -> Result<(), AppendError> {
        self.orphans.extend(hashes);
        sqlx::query(
            "INSERT INTO event_store.orphans (chain_id, block_hash)
             SELECT $1, hash FROM unnest($2::bytea[]) AS hash ON CONFLICT DO NOTHING",
        )
        .bind(self.id()?)
        .bind(to_bytes(hashes))
        .execute(appender.connection())
        .await?;
        Ok(())
    }

    /// After a revert, nothing above the fork point may be left standing.
    async fn check_nothing_above(
        &self,
        appender: &mut Appender,
        to: BlockRef,
    ) -> Result<(), AppendError> {
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT DISTINCT block_number, block_hash FROM event_store.events
             WHERE kind < 200 AND chain_id = $1 AND block_number > $2",
        )
        .bind(self.id()?)
        .bind(to_bigint("block number", to.number)?)
        .fetch_all(appender.connection())
        .await?;
        for (number, hash) in rows {
            let hash = to_hash("events.block_hash", &hash)?;
            if !self.orphans.contains(&hash) {
                return Err(AppendError::RevertIncomplete {
                    chain_id: self.chain_id,
                    to: to.number,
                    number: number.cast_unsigned(),
                    hash,
                });
            }
        }
        Ok(())
    }

    async fn restore(
        &mut self,
        appender: &mut Appender,
        hashes: &[B256],
        head: BlockRef,
    ) -> Result<(), AppendError> {
        let restored: Vec<B256> =
            hashes.iter().copied().filter(|hash| self.orphans.remove(hash)).collect();
        if restored.is_empty() {
            return Ok(());
        }
        sqlx::query("DELETE FROM event_store.orphans WHERE chain_id = $1 AND block_hash = ANY($2)")
            .bind(self.id()?)
            .bind(to_bytes(&restored))
            .execute(appender.connection())
            .await?;
        self.check_one_fork(appender, head, restored.len()).await?;
        let event = Event::BlocksRestored { restored };
        appender.push(&own_fact(self.chain_id, head, event)).await?;
        Ok(())
    }

    /// After a restoration, no block that was restored may have a standing rival.
    async fn check_one_fork(
        &self,
        appender: &mut Appender,
        head: BlockRef,
        restored: usize,
    ) -> Result<(), AppendError> {
        let below = head.number.saturating_sub(u64::try_from(restored).unwrap_or(u64::MAX));
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT DISTINCT block_number, block_hash FROM event_store.events
             WHERE kind < 200 AND chain_id = $1 AND block_number > $2 AND block_number <= $3",
        )
        .bind(self.id()?)
        .bind(to_bigint("block number", below)?)
        .bind(to_bigint("block number", head.number)?)
        .fetch_all(appender.connection())
        .await?;
        let mut standing = BTreeMap::new();
        for (number, hash) in rows {
            let hash = to_hash("events.block_hash", &hash)?;
            if self.orphans.contains(&hash) {
                continue;
            }
            if let Some(rival) = standing.insert(number, hash) {
                return Err(self.contradiction(number.cast_unsigned(), rival, hash));
            }
        }
        Ok(())
    }

    async fn append_facts(
        &self,
        appender: &mut Appender,
        facts: &[Fact],
    ) -> Result<(u64, u64), AppendError> {
        let stored = self.stored_blocks(appender, facts).await?;
        let (mut appended, mut skipped) = (0, 0);
        for fact in facts {
            self.check_final(fact.block)?;
            if self.is_stored(&stored, fact)? {
                skipped += 1;
            } else {
                appender.push_chain_fact(fact).await?;
                appended += 1;
            }
        }
        Ok((appended, skipped))
    }

    /// Whether this very fact is there. Refuses a fact that contradicts what is there.
    fn is_stored(&self, stored: &StoredBlocks, fact: &Fact) -> Result<bool, AppendError> {
        let (chain_id, number, found) = (self.chain_id, fact.block.number, fact.block.hash);
        if self.orphans.contains(&found) {
            return Err(AppendError::Orphaned { chain_id, number, hash: found });
        }
        let Some(rows) = stored.get(&number) else { return Ok(false) };
        let other = rows.iter().find(|(_, hash)| *hash != found && !self.orphans.contains(hash));
        if let Some((_, stored)) = other {
            return Err(self.contradiction(number, *stored, found));
        }
        Ok(rows.contains(&(fact.log_index, found)))
    }

    /// What is stored of the blocks that hold these facts. In the common case, at the head of a
    /// chain, that is one look into the index.
    async fn stored_blocks(
        &self,
        appender: &mut Appender,
        facts: &[Fact],
    ) -> Result<StoredBlocks, AppendError> {
        let (Some(first), Some(last)) = (facts.first(), facts.last()) else {
            return Ok(StoredBlocks::new());
        };
        let is_any_stored: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM event_store.events WHERE kind < 200 AND chain_id = $1
                            AND block_number BETWEEN $2 AND $3)",
        )
        .bind(self.id()?)
        .bind(to_bigint("block number", first.block.number)?)
        .bind(to_bigint("block number", last.block.number)?)
        .fetch_one(appender.connection())
        .await?;
        if !is_any_stored {
            return Ok(StoredBlocks::new());
        }
        let mut numbers = Vec::new();
        for fact in facts {
            numbers.push(to_bigint("block number", fact.block.number)?);
        }
        numbers.dedup();
        let rows: Vec<(i64, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT block_number, log_index, block_hash FROM event_store.events
             WHERE kind < 200 AND chain_id = $1 AND block_number = ANY($2)",
        )
        .bind(self.id()?)
        .bind(numbers)
        .fetch_all(appender.connection())
        .await?;
        let mut stored = StoredBlocks::new();
        for (number, log_index, hash) in rows {
            // A log index above u32 was never written; `verify` names it if someone else did.
            let log_index = u32::try_from(log_index).unwrap_or(u32::MAX);
            let hash = to_hash("events.block_hash", &hash)?;
            stored.entry(number.cast_unsigned()).or_default().insert((log_index, hash));
        }
        Ok(stored)
    }

    async fn add_headers(
        &self,
        appender: &mut Appender,
        headers: &[Header],
    ) -> Result<(), AppendError> {
        let (Some(first), Some(last)) = (headers.first(), headers.last()) else { return Ok(()) };
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT number, hash FROM event_store.headers
             WHERE chain_id = $1 AND number BETWEEN $2 AND $3",
        )
        .bind(self.id()?)
        .bind(to_bigint("block number", first.block.number)?)
        .bind(to_bigint("block number", last.block.number)?)
        .fetch_all(appender.connection())
        .await?;
        let mut stored = BTreeMap::new();
        for (number, hash) in rows {
            stored.insert(number.cast_unsigned(), to_hash("headers.hash", &hash)?);
        }
        let (mut numbers, mut times) = (Vec::new(), Vec::new());
        let (mut hashes, mut parents) = (Vec::new(), Vec::new());
        for Header { block, parent_hash } in headers {
            self.check_final(*block)?;
            match stored.get(&block.number) {
                Some(hash) if *hash == block.hash => {}
                Some(hash) => return Err(self.contradiction(block.number, *hash, block.hash)),
                None => {
                    numbers.push(to_bigint("block number", block.number)?);
                    times.push(to_bigint("block time", block.timestamp)?);
                    hashes.push(block.hash);
                    parents.push(*parent_hash);
                }
            }
        }
        sqlx::query(
            "INSERT INTO event_store.headers (chain_id, number, hash, parent_hash, time)
             SELECT $1, * FROM unnest($2::bigint[], $3::bytea[], $4::bytea[], $5::bigint[])",
        )
        .bind(self.id()?)
        .bind(numbers)
        .bind(to_bytes(&hashes))
        .bind(to_bytes(&parents))
        .bind(times)
        .execute(appender.connection())
        .await?;
        Ok(())
    }

    /// Records that the chain will not go back behind `block`. An older block says nothing new.
    async fn finalize(
        &mut self,
        appender: &mut Appender,
        block: BlockRef,
    ) -> Result<(), AppendError> {
        self.check_final(block)?;
        if self.finalized.is_some_and(|finalized| block.number <= finalized.number) {
            return Ok(());
        }
        appender.flush().await?;
        let known: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT hash FROM event_store.headers WHERE chain_id = $1 AND number = $2
             UNION SELECT block_hash FROM event_store.events
             WHERE kind < 200 AND chain_id = $1 AND block_number = $2",
        )
        .bind(self.id()?)
        .bind(to_bigint("block number", block.number)?)
        .fetch_all(appender.connection())
        .await?;
        for hash in known {
            let stored = to_hash("events.block_hash", &hash)?;
            if stored != block.hash && !self.orphans.contains(&stored) {
                return Err(self.contradiction(block.number, stored, block.hash));
            }
        }
        appender.push(&own_fact(self.chain_id, block, Event::FinalityAdvanced)).await?;
        // The final block's own header stays: it is where the next ones attach.
        sqlx::query("DELETE FROM event_store.headers WHERE chain_id = $1 AND number < $2")
            .bind(self.id()?)
            .bind(to_bigint("block number", block.number)?)
            .execute(appender.connection())
            .await?;
        self.finalized = Some(block);
        Ok(())
    }

    pub(super) async fn save_cursor(
        &self,
        appender: &mut Appender,
        before: Option<Cursor>,
        next_block: Option<u64>,
    ) -> Result<(), AppendError> {
        let next_block = next_block.or(before.map(|cursor| cursor.next_block)).unwrap_or(0);
        let after = Cursor { next_block, finalized: self.finalized };
        if before == Some(after) {
            return Ok(());
        }
        let finalized = match self.finalized {
            None => (None, None, None),
            Some(block) => (
                Some(to_bigint("block number", block.number)?),
                Some(block.hash.to_vec()),
                Some(to_bigint("block time", block.timestamp)?),
            ),
        };
        sqlx::query(
            "INSERT INTO event_store.cursors
                 (chain_id, next_block, finalized_number, finalized_hash, finalized_time)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (chain_id) DO UPDATE SET next_block = excluded.next_block,
                 finalized_number = excluded.finalized_number,
                 finalized_hash = excluded.finalized_hash,
                 finalized_time = excluded.finalized_time",
        )
        .bind(self.id()?)
        .bind(to_bigint("next block", next_block)?)
        .bind(finalized.0)
        .bind(finalized.1)
        .bind(finalized.2)
        .execute(appender.connection())
        .await?;
        Ok(())
    }

    /// Refuses another hash for the newest final block.
    fn check_final(&self, block: BlockRef) -> Result<(), AppendError> {
        match self.finalized {
            Some(finalized) if finalized.number == block.number && finalized.hash != block.hash => {
                Err(self.contradiction(block.number, finalized.hash, block.hash))
            }
            _ => Ok(()),
        }
    }

    fn contradiction(&self, number: u64, stored: B256, found: B256) -> AppendError {
        let chain_id = self.chain_id;
        if self.finalized.is_some_and(|finalized| number <= finalized.number) {
            AppendError::ContradictsFinality { chain_id, number, stored, found }
        } else {
            AppendError::ContradictsBlock { chain_id, number, stored, found }
        }
    }

    fn id(&self) -> Result<i64, AppendError> {
        to_bigint("chain id", self.chain_id)
    }
}

/// By block number: log index and block hash of each fact stored.
type StoredBlocks = BTreeMap<u64, BTreeSet<(u32, B256)>>;

fn to_bytes(hashes: &[B256]) -> Vec<Vec<u8>> {
    hashes.iter().map(|hash| hash.to_vec()).collect()
}
