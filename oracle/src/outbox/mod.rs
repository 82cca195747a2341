//! The only SQL on schema `outbox`, but for the guard's own table.
//!
//! Every function is one transaction, and what it leaves behind says what must follow: see
//! `migrations/0003_outbox.sql`. `row` turns rows into values and knows no SQL.

mod attempts;
mod decided;
mod row;

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, U256};
use sqlx::{AssertSqlSafe, PgPool, Postgres, Transaction};

use crate::batch::Batch;
use crate::chain::Chain;
pub use crate::council::Quorum;
use crate::report::{EntityKey, Report};
use crate::submission::Submission;
pub use attempts::{Attempt, AttemptSlot};
use decided::decided_at;
pub use decided::{batches_at, live_positions};
pub(crate) use decided::{position_of, unpromised_before};
use row::{BatchRow, phase_columns, to_i64};

/// Key of the advisory locks that make one process the leader of one (chain, gas key).
const LEADER_LOCK: &str = "assay-oracle leader";

/// The newest report of each entity. The recursion walks the primary key from entity to entity, so
/// the cost is that of the entities, not of all history.
const NEWEST: &str = "
    WITH RECURSIVE entities AS (
        (SELECT entity_key FROM outbox.reports ORDER BY entity_key LIMIT 1)
        UNION ALL
        SELECT (SELECT r.entity_key FROM outbox.reports r
                WHERE r.entity_key > e.entity_key ORDER BY r.entity_key LIMIT 1)
        FROM entities e WHERE e.entity_key IS NOT NULL
    ), newest AS (
        SELECT n.* FROM entities e CROSS JOIN LATERAL (
            SELECT r.entity_key, r.seq, r.canonical_position FROM outbox.reports r
            WHERE r.entity_key = e.entity_key AND NOT EXISTS (
                SELECT FROM outbox.refusals f
                WHERE f.entity_key = r.entity_key AND f.seq = r.seq)
            ORDER BY r.seq DESC LIMIT 1) n
    )";

/// Those that the contract does not have.
const DUE: &str = "
    SELECT n.entity_key, n.canonical_position FROM newest n WHERE NOT EXISTS (
        SELECT FROM outbox.batch_members m
        WHERE m.oracle_id = $1 AND m.entity_key = n.entity_key AND m.seq >= n.seq
            AND (m.outcome IS DISTINCT FROM 'released' OR m.retry_at > $2))";

/// The outbox of one contract on one chain.
#[derive(Debug, Clone)]
pub struct Outbox {
    pool: PgPool,
    oracle_id: i32,
    chain_id: i64,
    genesis_hash: B256,
}

/// A batch that is not closed.
#[derive(Debug, Clone)]
pub struct OpenBatch {
    /// Its number.
    pub id: i64,
    /// What it holds.
    pub batch: Batch,
    /// The epoch it is signed for.
    pub epoch: u32,
    /// How far it has come.
    pub submission: Submission,
    /// Who signed, and the signatures.
    pub quorum: Option<Quorum>,
    /// The nonce it spends.
    pub nonce: Option<u64>,
    /// Whose nonce it is.
    pub sender: Option<Address>,
    /// Its stored transactions, oldest first.
    pub attempts: Vec<Attempt>,
}

/// What became of a report in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The contract took this very word.
    Rated,
    /// The contract held a newer one.
    Passed,
    /// The contract skipped it for good.
    Refused,
    /// The contract does not have it: due again, from a time on or at once.
    Released {
        /// Chain time from which on it is due.
        retry_at: Option<u64>,
    },
}

/// Why the outbox does not answer.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The database is unreachable or refused. Retry with back-off; nothing was changed.
    #[error("the outbox is unavailable")]
    Unavailable(#[from] sqlx::Error),
    /// A row is not what this program writes. Stop and look.
    #[error("{table} {id} is damaged: {column} is {found}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The row.
        id: i64,
        /// The column.
        column: &'static str,
        /// What it holds.
        found: String,
    },
    /// A number does not fit the column.
    #[error("{column} is {found}, expected at most {}", i64::MAX)]
    TooLarge {
        /// The column.
        column: &'static str,
        /// The number.
        found: u128,
    },
    /// Another process publishes with this gas key on this chain. Wait for it to end.
    #[error("another process is publishing with this gas key on chain {chain_id}")]
    NotLeader {
        /// The chain.
        chain_id: i64,
    },
}

/// The right to publish with one gas key on one chain. Ends with its database connection.
#[derive(Debug)]
pub struct Leadership(sqlx::PgConnection);

impl Leadership {
    /// Whether the connection, and with it the lock, still stands.
    pub async fn confirm(&mut self) -> Result<(), OutboxError> {
        sqlx::query("SELECT 1").execute(&mut self.0).await?;
        Ok(())
    }
}

impl Outbox {
    /// Opens the outbox of a contract, registering it if it is new.
    pub async fn open(pool: &PgPool, chain: &Chain, oracle: Address) -> Result<Self, OutboxError> {
        let chain_id = to_i64("chain_id", chain.chain_id())?;
        let genesis_hash = chain.genesis_hash();
        sqlx::query(
            "INSERT INTO outbox.oracles (chain_id, genesis_hash, address) VALUES ($1, $2, $3)
             ON CONFLICT DO NOTHING",
        )
        .bind(chain_id)
        .bind(genesis_hash.as_slice())
        .bind(oracle.as_slice())
        .execute(pool)
        .await?;
        let oracle_id = sqlx::query_scalar(
            "SELECT id FROM outbox.oracles
             WHERE chain_id = $1 AND genesis_hash = $2 AND address = $3",
        )
        .bind(chain_id)
        .bind(genesis_hash.as_slice())
        .bind(oracle.as_slice())
        .fetch_one(pool)
        .await?;
        Ok(Self { pool: pool.clone(), oracle_id, chain_id, genesis_hash })
    }

    /// Becomes the only one to publish with this gas key on this chain.
    pub async fn lead(&self, sender: Address) -> Result<Leadership, OutboxError> {
        // Detached: the lock belongs to the connection, which must not go back to the pool.
        let mut connection = self.pool.acquire().await?.detach();
        // If this host vanishes without a word, the server lets go of the lock after six seconds.
        // Over a Unix socket the settings are there and do nothing.
        sqlx::raw_sql(
            "SET tcp_keepalives_idle = 3; SET tcp_keepalives_interval = 1;
             SET tcp_keepalives_count = 3",
        )
        .execute(&mut connection)
        .await?;
        let won: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
            .bind(format!("{LEADER_LOCK} {} {} {sender}", self.chain_id, self.genesis_hash))
            .fetch_one(&mut connection)
            .await?;
        let chain_id = self.chain_id;
        if won { Ok(Leadership(connection)) } else { Err(OutboxError::NotLeader { chain_id }) }
    }

    /// Chooses the oldest position with a report that is due, and stores its batch: all that was
    /// decided there, so that every node makes the same. Words that do not fit the contract are
    /// refused on the way; `None`: nothing is due.
    pub async fn choose(
        &self,
        now: u64,
        epoch: u32,
        deadline: impl Fn(&Batch) -> u64,
    ) -> Result<Option<i64>, OutboxError> {
        let mut transaction = self.pool.begin().await?;
        // One chooser of an oracle at a time. The reports themselves cannot be locked: that asks
        // for the right to change them, which who signs must not have.
        sqlx::query("SELECT id FROM outbox.oracles WHERE id = $1 FOR UPDATE")
            .bind(self.oracle_id)
            .execute(&mut *transaction)
            .await?;
        let due = format!("{NEWEST} {DUE} ORDER BY n.canonical_position, n.entity_key LIMIT 1");
        loop {
            let due: Option<(Vec<u8>, i64)> = sqlx::query_as(AssertSqlSafe(due.as_str()))
                .bind(self.oracle_id)
                .bind(to_i64("now", now)?)
                .fetch_optional(&mut *transaction)
                .await?;
            let Some((entity, position)) = due else {
                transaction.commit().await?;
                return Ok(None);
            };
            let decided = decided_at(&mut transaction, position).await?;
            let with_it = |members: &Vec<decided::Decided>| {
                members.iter().any(|member| member.entity == entity)
            };
            let mut reports = Vec::new();
            for member in decided.into_iter().find(with_it).unwrap_or_default() {
                match member.report {
                    Ok(report) if !member.is_refused => reports.push(report),
                    Ok(_) => {}
                    Err(fault) => {
                        refuse(&mut transaction, &member.entity, member.seq, &fault).await?;
                    }
                }
            }
            if let Ok(batch) = Batch::new(reports) {
                let id = self.insert(&mut transaction, &batch, epoch, deadline(&batch)).await?;
                transaction.commit().await?;
                return Ok(Some(id));
            }
        }
    }

    /// How many entities' newest ratings the contract does not have, and the oldest position among
    /// them.
    pub async fn due(&self, now: u64) -> Result<(u64, Option<u64>), OutboxError> {
        let query =
            format!("SELECT count(*), min(canonical_position) FROM ({NEWEST} {DUE}) AS due");
        let (count, oldest): (i64, Option<i64>) = sqlx::query_as(AssertSqlSafe(query))
            .bind(self.oracle_id)
            .bind(to_i64("now", now)?)
            .fetch_one(&self.pool)
            .await?;
        let position = |row| row::to_u64("reports", 0, "canonical_position", row);
        Ok((count.unsigned_abs(), oldest.map(position).transpose()?))
    }

    async fn insert(
        &self,
        transaction: &mut Transaction<'static, Postgres>,
        batch: &Batch,
        epoch: u32,
        deadline: u64,
    ) -> Result<i64, OutboxError> {
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO outbox.batches (oracle_id, root, count, epoch, deadline)
             VALUES ($1, $2, $3, $4, $5) RETURNING id",
        )
        .bind(self.oracle_id)
        .bind(batch.root().as_slice())
        .bind(i32::try_from(batch.reports().len()).unwrap_or(i32::MAX))
        .bind(i64::from(epoch))
        .bind(to_i64("deadline", deadline)?)
        .fetch_one(&mut **transaction)
        .await?;
        let keys: Vec<Vec<u8>> =
            batch.reports().iter().map(|report| report.entity().0.to_vec()).collect();
        let seqs: Vec<i64> = batch.reports().iter().map(|report| report.seq().into()).collect();
        sqlx::query(
            "INSERT INTO outbox.batch_members (batch_id, oracle_id, entity_key, seq)
             SELECT $1, $2, m.entity_key, m.seq FROM unnest($3::bytea[], $4::bigint[])
                 AS m (entity_key, seq)",
        )
        .bind(id)
        .bind(self.oracle_id)
        .bind(keys)
        .bind(seqs)
        .execute(&mut **transaction)
        .await?;
        Ok(id)
    }

    /// All batches that are not closed, oldest first.
    pub async fn open_batches(&self) -> Result<Vec<OpenBatch>, OutboxError> {
        let rows: Vec<BatchRow> = sqlx::query_as(
            "SELECT id, epoch, deadline, phase, bitmap, signatures, sender, nonce, attempts, intent,
                 since_block, block_number, block_hash, landing
             FROM outbox.batches
             WHERE oracle_id = $1 AND phase NOT IN ('final', 'abandoned') ORDER BY id",
        )
        .bind(self.oracle_id)
        .fetch_all(&self.pool)
        .await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let members: Vec<(i64, Vec<u8>, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT m.batch_id, m.entity_key, m.seq, r.word FROM outbox.batch_members m
             JOIN outbox.reports r USING (entity_key, seq) WHERE m.batch_id = ANY($1)",
        )
        .bind(&ids)
        .fetch_all(&self.pool)
        .await?;
        let mut reports: BTreeMap<i64, Vec<Report>> = BTreeMap::new();
        for (id, entity, seq, word) in members {
            let report = row::report(&entity, seq, &word)
                .map_err(|found| row::corrupt("batch_members", id, "word", found))?;
            reports.entry(id).or_default().push(report);
        }
        let mut attempts = self.attempts(&ids).await?;
        rows.into_iter()
            .map(|row| {
                let id = row.id;
                let reports = reports.remove(&id).unwrap_or_default();
                row.into_open(reports, attempts.remove(&id).unwrap_or_default())
            })
            .collect()
    }

    /// Records that a report will never be signed.
    pub async fn refuse(
        &self,
        entity: EntityKey,
        seq: u32,
        reason: &str,
    ) -> Result<(), OutboxError> {
        let mut transaction = self.pool.begin().await?;
        refuse(&mut transaction, entity.0.as_slice(), seq.into(), reason).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Stores a quorum's signatures together with the phase that follows.
    pub async fn store_quorum(
        &self,
        id: i64,
        quorum: &Quorum,
        submission: &Submission,
    ) -> Result<(), OutboxError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("UPDATE outbox.batches SET bitmap = $2, signatures = $3 WHERE id = $1")
            .bind(id)
            .bind(quorum.bitmap.to_be_bytes_vec())
            .bind(&quorum.signatures)
            .execute(&mut *transaction)
            .await?;
        save(&mut transaction, id, submission).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Stores how far a batch has come.
    pub async fn save(&self, id: i64, submission: &Submission) -> Result<(), OutboxError> {
        let mut transaction = self.pool.begin().await?;
        save(&mut transaction, id, submission).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Makes all reports of a batch due again that no transaction has brought, together with the
    /// phase that follows.
    pub async fn release(
        &self,
        id: i64,
        submission: &Submission,
        retry_at: Option<u64>,
    ) -> Result<(), OutboxError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "UPDATE outbox.batch_members SET outcome = 'released', retry_at = $2
             WHERE batch_id = $1 AND outcome IS NULL",
        )
        .bind(id)
        .bind(retry_at.map(|time| to_i64("retry_at", time)).transpose()?)
        .execute(&mut *transaction)
        .await?;
        save(&mut transaction, id, submission).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Stores what became of each report, together with the phase that follows.
    pub async fn settle(
        &self,
        id: i64,
        submission: &Submission,
        outcomes: &[(EntityKey, Outcome)],
    ) -> Result<(), OutboxError> {
        let mut transaction = self.pool.begin().await?;
        for (entity, outcome) in outcomes {
            let (word, retry_at) = row::outcome_columns(*outcome)?;
            sqlx::query(
                "UPDATE outbox.batch_members SET outcome = $3, retry_at = $4
                 WHERE batch_id = $1 AND entity_key = $2",
            )
            .bind(id)
            .bind(entity.0.as_slice())
            .bind(word)
            .bind(retry_at)
            .execute(&mut *transaction)
            .await?;
        }
        save(&mut transaction, id, submission).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The newest word of each entity that the contract took, for an audit.
    pub async fn rated_words(&self) -> Result<Vec<(EntityKey, U256)>, OutboxError> {
        let rows: Vec<(Vec<u8>, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT DISTINCT ON (m.entity_key) m.entity_key, m.seq, r.word
             FROM outbox.batch_members m JOIN outbox.reports r USING (entity_key, seq)
             WHERE m.oracle_id = $1 AND m.outcome = 'rated'
             ORDER BY m.entity_key, m.seq DESC",
        )
        .bind(self.oracle_id)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(entity, seq, word)| {
                row::report(&entity, seq, &word)
                    .map(|report| (report.entity(), report.word().pack()))
                    .map_err(|found| row::corrupt("reports", seq, "word", found))
            })
            .collect()
    }
}

async fn save(
    transaction: &mut Transaction<'static, Postgres>,
    id: i64,
    submission: &Submission,
) -> Result<(), OutboxError> {
    let (phase, at) = phase_columns(submission.phase);
    sqlx::query(
        "UPDATE outbox.batches SET phase = $2, attempts = $3, intent = $4, since_block = $5,
             block_number = $6, block_hash = $7, landing = $8 WHERE id = $1",
    )
    .bind(id)
    .bind(phase)
    .bind(i32::try_from(submission.attempts).unwrap_or(i32::MAX))
    .bind(row::intent_word(submission.intent))
    .bind(to_i64("since_block", submission.since_block)?)
    .bind(at.map(|at| to_i64("block_number", at.number)).transpose()?)
    .bind(at.map(|at| at.hash.to_vec()))
    .bind(at.map(|at| row::landing_word(at.landing)))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn refuse(
    transaction: &mut Transaction<'static, Postgres>,
    entity: &[u8],
    seq: i64,
    reason: &str,
) -> Result<(), OutboxError> {
    sqlx::query(
        "INSERT INTO outbox.refusals (entity_key, seq, reason) VALUES ($1, $2, $3)
         ON CONFLICT DO NOTHING",
    )
    .bind(entity)
    .bind(seq)
    .bind(reason)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
