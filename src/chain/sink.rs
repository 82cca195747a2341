//! Where ingestion puts what it learns, and where it learns how far it came.

use std::collections::BTreeSet;
use std::future::Future;

use alloy::primitives::B256;
use assay_domain::{BlockRef, ChainId, Fact};

use crate::event_store::error::AppendError;
use crate::event_store::{Appended, Batch, EventStore, Header};

/// How far ingestion of a chain came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resume {
    /// First block not yet ingested.
    pub next_block: u64,
    /// Headers of the newest ingested blocks, oldest first, without gaps.
    pub window: Vec<Header>,
    /// The newest final block; an import may have put it above `next_block`.
    pub finalized: Option<BlockRef>,
    /// Blocks that are taken back at present.
    pub orphaned: BTreeSet<B256>,
    /// Facts that stand and make contracts known: see [`assay_domain::Event::announced`].
    pub announcements: Vec<Fact>,
}

/// Stores batches, each as a whole or not at all. What is stored already is skipped.
pub trait Sink: Send {
    /// Why a batch was not stored.
    type Error: std::error::Error + Send + Sync + 'static;

    /// How far ingestion came.
    fn resume(
        &mut self,
        chain_id: ChainId,
    ) -> impl Future<Output = Result<Resume, Self::Error>> + Send;

    /// Stores a batch.
    fn append(
        &mut self,
        batch: &Batch,
    ) -> impl Future<Output = Result<Appended, Self::Error>> + Send;
}

impl Sink for EventStore {
    type Error = AppendError;

    async fn resume(&mut self, chain_id: ChainId) -> Result<Resume, AppendError> {
        // A process that was killed while it committed leaves Postgres at work. Whoever reads the
        // cursor before that ends continues from a state that is no longer true: wait in line.
        self.begin_append().await?.commit().await?;
        let Some(cursor) = self.cursor(chain_id).await? else { return Ok(Resume::default()) };
        Ok(Resume {
            next_block: cursor.next_block,
            window: self.headers(chain_id).await?,
            finalized: cursor.finalized,
            orphaned: self.orphans(chain_id).await?,
            announcements: self.announcements(chain_id).await?,
        })
    }

    async fn append(&mut self, batch: &Batch) -> Result<Appended, AppendError> {
        EventStore::append(self, batch).await
    }
}
