//! The one way in: a transaction that holds the append lock and knows the head of the store.
//!
//! Rows are gathered in memory and sent by binary `COPY`, a mebibyte at a time. Dropping the
//! appender without a commit leaves nothing behind.

use alloy::primitives::{Address, B256};
use assay_domain::attestation::Message;
use assay_domain::event::OWN_EVENTS_FROM;
use assay_domain::{BlockRef, ChainId, Event, Fact};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Transaction};

use super::codec::{self, COPY_HEADER, COPY_TRAILER, Preimage, Row};
use super::error::AppendError;
use super::postgres::read_head;
use super::read::Corruption;
use crate::db::AdvisoryLock;

/// The channel on which each commit says its new position.
pub const NOTIFY_CHANNEL: &str = "assay_events";

/// The log index of Assay's own events: behind every chain log of the block.
pub const OWN_LOG_INDEX: u32 = u32::MAX;

/// Bytes of rows gathered before they are sent: enough to make the cost of a `COPY` invisible,
/// and little beside what a batch of facts takes up.
const FLUSH_BYTES: usize = 1 << 20;

/// Where the store stands: its last position and the hash there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last storage position, 0 for an empty store.
    pub position: u64,
    /// The hash there, [`codec::STORAGE_GENESIS`] for an empty store.
    pub hash: B256,
}

/// A fact of Assay's own: after everything in its block, from no transaction and no contract.
pub const fn own_fact(chain_id: ChainId, block: BlockRef, event: Event) -> Fact {
    Fact {
        chain_id,
        block,
        tx_hash: B256::ZERO,
        log_index: OWN_LOG_INDEX,
        emitter: Address::ZERO,
        event,
    }
}

/// An append under way. Holds the append lock until it is committed or dropped.
#[derive(Debug)]
pub struct Appender {
    transaction: Transaction<'static, Postgres>,
    head: Head,
    preimage: Preimage,
    rows: Vec<u8>,
    has_pushed: bool,
}

impl Appender {
    /// Begins a transaction, waits for the append lock and reads the head.
    pub(super) async fn begin(pool: &PgPool) -> Result<Self, AppendError> {
        let mut transaction = pool.begin().await?;
        // A young table has no statistics, and then the planner may read all of it to learn that
        // a block is not there; every statement of an append has an index.
        let prelude = format!(
            "SET LOCAL enable_seqscan = off; SET LOCAL jit = off; \
             SELECT pg_advisory_xact_lock({})",
            AdvisoryLock::Append.id()
        );
        sqlx::raw_sql(AssertSqlSafe(prelude)).execute(&mut *transaction).await?;
        let head = read_head(&mut transaction).await?;
        Ok(Self {
            transaction,
            head,
            preimage: Preimage::new(),
            rows: Vec::new(),
            has_pushed: false,
        })
    }

    /// The head of the store with everything pushed so far.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// The connection, for rows that must become visible together with the events.
    ///
    /// Events pushed but not yet flushed are not visible on it. Do not end the transaction.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Refuses if the last rating action or restatement is not at `expected` (0: there is none).
    pub async fn expect_last_rating(&mut self, expected: u64) -> Result<(), AppendError> {
        let found = last_rating_position(&mut self.transaction).await?;
        if found == expected {
            Ok(())
        } else {
            Err(AppendError::WrongExpectedPosition { expected, found })
        }
    }

    /// Appends one of Assay's own events and says where it went.
    pub async fn push(&mut self, fact: &Fact) -> Result<u64, AppendError> {
        // A message carries its digest and its signer, so that the database refuses it twice.
        let (digest, signer) = Message::of_event(&fact.event)
            .map_or((B256::ZERO, Address::ZERO), |signed| (signed.digest, signed.signer));
        let is_own =
            fact.log_index == OWN_LOG_INDEX && fact.tx_hash == digest && fact.emitter == signer;
        self.push_row(fact, is_own, Origin::Assay).await
    }

    /// Appends a chain fact.
    pub(super) async fn push_chain_fact(&mut self, fact: &Fact) -> Result<u64, AppendError> {
        self.push_row(fact, true, Origin::Chain).await
    }

    /// Appends a row of another store if it follows the head of this one; its fact, or what is
    /// wrong with it.
    pub(super) async fn push_stored(
        &mut self,
        row: &Row<'_>,
    ) -> Result<Result<Fact, Corruption>, AppendError> {
        let (fact, head) = match self.preimage.follow(self.head, row) {
            Ok(followed) => followed,
            Err(corruption) => return Ok(Err(corruption)),
        };
        self.write(head.position, head.hash).await?;
        Ok(Ok(fact))
    }

    /// Sends what is gathered, so that it is visible on [`Self::connection`].
    pub async fn flush(&mut self) -> Result<(), AppendError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.rows.extend_from_slice(&COPY_TRAILER);
        let statement =
            format!("COPY event_store.events ({}) FROM STDIN (FORMAT binary)", codec::COLUMNS);
        let mut copy = self.transaction.copy_in_raw(&statement).await?;
        copy.send(self.rows.as_slice()).await?;
        copy.finish().await?;
        self.rows.clear();
        Ok(())
    }

    /// Commits, and tells who listens.
    pub async fn commit(mut self) -> Result<Head, AppendError> {
        self.flush().await?;
        if self.has_pushed {
            sqlx::query("SELECT pg_notify($1, $2)")
                .bind(NOTIFY_CHANNEL)
                .bind(self.head.position.to_string())
                .execute(&mut *self.transaction)
                .await?;
        }
        self.transaction.commit().await?;
        Ok(self.head)
    }

    async fn push_row(
        &mut self,
        fact: &Fact,
        is_well_placed: bool,
        origin: Origin,
    ) -> Result<u64, AppendError> {
        self.preimage.set_fact(fact);
        let tag = self.preimage.kind();
        if !is_well_placed || (tag >= OWN_EVENTS_FROM) != (origin == Origin::Assay) {
            return Err(AppendError::Misplaced { tag });
        }
        check_range("chain id", fact.chain_id)?;
        check_range("block number", fact.block.number)?;
        check_range("block time", fact.block.timestamp)?;
        let position = self.head.position.saturating_add(1);
        check_range("position", position)?;
        let hash = self.preimage.hash_after(&self.head.hash);
        self.write(position, hash).await?;
        Ok(position)
    }

    /// Writes the row that the preimage holds.
    async fn write(&mut self, position: u64, hash: B256) -> Result<(), AppendError> {
        if self.rows.is_empty() {
            self.rows.extend_from_slice(&COPY_HEADER);
        }
        self.preimage.write_row(position, &hash, &mut self.rows);
        self.head = Head { position, hash };
        self.has_pushed = true;
        if self.rows.len() >= FLUSH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }
}

/// Who said that it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Chain,
    Assay,
}

fn check_range(what: &'static str, value: u64) -> Result<(), AppendError> {
    to_bigint(what, value).map(|_| ())
}

/// The number as Postgres holds it.
pub(super) fn to_bigint(what: &'static str, value: u64) -> Result<i64, AppendError> {
    i64::try_from(value).map_err(|_| AppendError::OutOfRange { what, value })
}

/// Storage position of the last rating action or restatement, 0 if there is none.
pub(super) async fn last_rating_position(connection: &mut PgConnection) -> sqlx::Result<u64> {
    let position: i64 = sqlx::query_scalar(
        "SELECT greatest(
             (SELECT max(position) FROM event_store.events WHERE kind >= 200 AND kind = 202),
             (SELECT max(position) FROM event_store.events WHERE kind >= 200 AND kind = 203), 0)",
    )
    .fetch_one(connection)
    .await?;
    Ok(position.unsigned_abs())
}
