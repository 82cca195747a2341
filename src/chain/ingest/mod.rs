//! The loop: look at the chain, notice what it took back, append what is new, whole blocks only.
//!
//! What is final is read by ranges (`backfill`); what may still change is read block by block:
//! each header must be the child of the one before, and its logs are asked for by its hash, so
//! that no log of another fork can slip in.
//! All state is in the store; what is here is a copy of it. A crash at any point costs at most the
//! work of one batch.

mod error;
mod options;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::B256;
use assay_domain::{BlockRef, Fact};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::chain::backfill::{Backfill, Chunk, Fetch, in_order};
use crate::chain::beacon::Beacon;
use crate::chain::decode::Decoder;
use crate::chain::range::RangeSize;
use crate::chain::sink::Sink;
use crate::chain::source::{Heads, LogFilter, LogSource, SourceError};
use crate::chain::window::{Fork, Window, check_link};
use crate::event_store::{Batch, Header, Revert};

pub use self::error::IngestError;
pub use self::options::{IngestOptions, IngestStatus, Step};

/// Ingestion of one chain.
#[derive(Debug)]
pub struct Ingest<S, K> {
    fetch: Fetch<S>,
    sink: K,
    options: IngestOptions,
    stop: CancellationToken,
    status: watch::Sender<IngestStatus>,
    size: RangeSize,
    next_block: u64,
    window: Window,
    finalized: Option<BlockRef>,
    orphaned: BTreeSet<B256>,
}

impl<S: LogSource, K: Sink> Ingest<S, K> {
    /// Continues where the sink says ingestion stands.
    pub async fn resume(
        source: Arc<S>,
        decoder: Arc<Decoder>,
        mut sink: K,
        options: IngestOptions,
        stop: CancellationToken,
    ) -> Result<Self, IngestError<K::Error>> {
        let chain_id = decoder.contracts().chain_id();
        let state = sink.resume(chain_id).await.map_err(IngestError::Sink)?;
        let next_block = state.next_block.max(options.start_block);
        // A final block that was imported ahead is not where the next block attaches.
        let anchor = state.finalized.filter(|block| block.number < next_block);
        let is_attached = |block: &BlockRef| {
            let first = state.window.iter().find(|header| header.block.number > block.number);
            first.map_or(next_block, |header| header.block.number) == block.number + 1
        };
        let window = Window::new(anchor.filter(is_attached), &state.window)
            .map_err(IngestError::BrokenWindow)?;
        decoder.learn(&state.announcements);
        let filter = LogFilter {
            addresses: decoder.contracts().addresses().into(),
            topics: decoder.pod_topics().into(),
            named: Arc::default(),
        };
        let size = RangeSize::new(
            options.range_blocks_first,
            options.range_blocks_max,
            options.range_logs,
        );
        let finalized = state.finalized.map(|block| block.number);
        let status = IngestStatus { next_block, finalized, ..IngestStatus::default() };
        Ok(Self {
            fetch: Fetch { source, decoder, filter, beacon: None },
            sink,
            options,
            stop,
            status: watch::Sender::new(status),
            size,
            next_block,
            window,
            finalized: state.finalized,
            orphaned: state.orphaned,
        })
    }

    /// Reads the consensus layer too.
    pub fn with_beacon(mut self, beacon: Option<Arc<Beacon>>) -> Self {
        self.fetch.beacon = beacon;
        self
    }

    /// Watches how far ingestion is.
    pub fn status(&self) -> watch::Receiver<IngestStatus> {
        self.status.subscribe()
    }

    /// The sink.
    pub const fn sink(&self) -> &K {
        &self.sink
    }

    /// The sink, when ingestion is over.
    pub fn into_sink(self) -> K {
        self.sink
    }

    /// Ingests until told to stop. A node that is slow, behind or out of reach is waited for.
    pub async fn run(&mut self) -> Result<(), IngestError<K::Error>> {
        let stop = self.stop.clone();
        let mut failures = 0_u32;
        let mut has_worked = false;
        loop {
            let wait = match self.step().await {
                Err(IngestError::Stopped) => return Ok(()),
                Ok(Step::Advanced) => Duration::ZERO,
                Ok(Step::UpToDate | Step::SourceBehind) => self.options.poll_interval,
                Err(IngestError::Source(error)) if has_worked || error.is_temporary() => {
                    failures = failures.saturating_add(1);
                    self.report_trouble(&error);
                    self.options.poll_interval.saturating_mul(failures.min(8))
                }
                Err(error) => return Err(error),
            };
            if self.status.borrow().trouble.is_none() {
                failures = 0;
                has_worked = true;
            }
            if wait.is_zero() {
                continue;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = self.fetch.source.changed(), if failures == 0 => {}
                () = beacon_changed(self.fetch.beacon.as_deref()), if failures == 0 => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Looks at the chain once and appends what is new, in one batch or, if it is final history,
    /// in many. Told to stop, it waits for no source, but finishes what it is appending.
    pub async fn step(&mut self) -> Result<Step, IngestError<K::Error>> {
        let look = async {
            let heads = self.fetch.source.heads().await?;
            let finalized = self.final_block(&heads).await?;
            let fork = self.compare(&heads).await?;
            Ok::<_, SourceError>((heads, finalized, fork))
        };
        let (heads, finalized, fork) = unless_stopped(&self.stop, look).await??;
        self.status.send_modify(|status| {
            status.head = Some(heads.latest.block.number);
            status.trouble = None;
        });
        let revert = match fork {
            Fork::None => None,
            Fork::Above { to, orphaned } => Some(Revert { to, orphaned }),
            Fork::Unknown => return Ok(Step::SourceBehind),
            Fork::Deeper { number, expected, found } => {
                let endpoint = self.fetch.source.name();
                let error = IngestError::ReorgBehindFinality { endpoint, number, expected, found };
                return Err(error);
            }
        };
        let next = revert.as_ref().map_or(self.next_block, |revert| revert.to.number + 1);
        match finalized {
            Some(last) if last.number >= next => {
                if revert.is_some() {
                    let batch = Batch { revert, next_block: Some(next), ..self.batch() };
                    self.append(batch).await?;
                    self.fetch.decoder.discovered().forget_above(next.saturating_sub(1));
                }
                self.backfill(last.number).await?;
                Ok(Step::Advanced)
            }
            _ => {
                // Only contracts that were announced in blocks that stand are asked about. If the
                // step fails, what is stored stands as before.
                let decoder = Arc::clone(&self.fetch.decoder);
                let taken_back = decoder.discovered().forget_above(next.saturating_sub(1));
                let followed = self.follow(&heads, finalized, revert, next).await;
                if followed.is_err() {
                    decoder.discovered().forget_above(next.saturating_sub(1));
                    taken_back.into_iter().for_each(|one| decoder.discovered().learn(one));
                }
                followed
            }
        }
    }

    /// The newest block that will not change any more, as far as the sources say.
    async fn final_block(&self, heads: &Heads) -> Result<Option<BlockRef>, SourceError> {
        let block = self.final_block_of_source(heads).await?;
        match (block, &self.fetch.beacon) {
            (Some(block), Some(beacon)) if self.is_final_news(&block) => {
                beacon.final_block(block).await
            }
            (block, _) => Ok(block),
        }
    }

    fn is_final_news(&self, block: &BlockRef) -> bool {
        self.finalized.is_none_or(|known| known.number < block.number)
            || self.next_block <= block.number
    }

    async fn final_block_of_source(&self, heads: &Heads) -> Result<Option<BlockRef>, SourceError> {
        match (heads.finalized, self.options.finality_depth) {
            (Some(block), _) => Ok(Some(block)),
            (None, None) => Ok(None),
            (None, Some(depth)) => {
                let Some(number) = heads.latest.block.number.checked_sub(depth) else {
                    return Ok(None);
                };
                let headers = self.fetch.source.headers(&[number]).await?;
                Ok(headers.first().copied().flatten().map(|header| header.block))
            }
        }
    }

    /// Whether the source's chain still holds what is appended, and where it parts if not.
    async fn compare(&self, heads: &Heads) -> Result<Fork, SourceError> {
        let Some(tip) = self.window.tip() else { return Ok(Fork::None) };
        let latest = heads.latest;
        if check_link(tip, &latest).is_ok() || latest.block.hash == tip.hash {
            return Ok(Fork::None);
        }
        if latest.block.number < tip.number {
            // A node that is behind shows a block we know. Only another block in its place, or
            // none of ours at all, tells of a reorg.
            match self.window.at(latest.block.number) {
                Some(known) if known.hash != latest.block.hash => {}
                _ => return Ok(Fork::Unknown),
            }
        } else {
            match self.fetch.source.headers(&[tip.number]).await?.first().copied().flatten() {
                Some(header) if header.block.hash == tip.hash => return Ok(Fork::None),
                Some(_) => {}
                None => return Ok(Fork::Unknown),
            }
        }
        let numbers = self.window.numbers_to_compare(latest.block.number);
        let headers = self.fetch.source.headers(&numbers).await?;
        let theirs: BTreeMap<u64, Header> =
            headers.into_iter().flatten().map(|header| (header.block.number, header)).collect();
        Ok(self.window.fork(&theirs))
    }

    /// Reads final history up to `last`.
    async fn backfill(&mut self, last: u64) -> Result<(), IngestError<K::Error>> {
        let concurrency = self.options.concurrency;
        let mut ranges = Backfill::new(self.fetch.clone(), self.next_block, last, concurrency);
        loop {
            let next = unless_stopped(&self.stop, ranges.next(&mut self.size)).await?;
            let Some(Chunk { last, facts, .. }) = next? else { return Ok(()) };
            let blocks = facts.iter().map(|fact| fact.block);
            let (restored, restored_head) = self.restored(blocks, None);
            let is_news = self.finalized.is_none_or(|known| known.number < last.number);
            let batch = Batch {
                restored,
                restored_head,
                facts,
                next_block: Some(last.number + 1),
                finalized: is_news.then_some(last),
                ..self.batch()
            };
            self.append(batch).await?;
            self.window.finalize(last);
        }
    }

    /// Reads blocks that may still change, and what became final among those read before.
    async fn follow(
        &mut self,
        heads: &Heads,
        finalized: Option<BlockRef>,
        revert: Option<Revert>,
        next: u64,
    ) -> Result<Step, IngestError<K::Error>> {
        let finalized = self.newly_final(finalized)?;
        let parent = revert.as_ref().map(|revert| revert.to).or_else(|| self.window.tip());
        let headers = self.new_headers(heads, parent, next);
        let headers = unless_stopped(&self.stop, headers).await??;
        if headers.is_empty() && finalized.is_none() && revert.is_none() {
            return Ok(Step::UpToDate);
        }
        let facts = unless_stopped(&self.stop, self.facts_of(&headers)).await??;
        let blocks = headers.iter().map(|header| header.block);
        let (restored, restored_head) = self.restored(blocks, revert.as_ref());
        let next = headers.last().map_or(next, |header| header.block.number + 1);
        let is_all = next > heads.latest.block.number;
        let next_block = Some(next);
        let batch = Batch {
            revert,
            restored,
            restored_head,
            facts,
            headers,
            next_block,
            finalized,
            ..self.batch()
        };
        self.append(batch).await?;
        Ok(if is_all { Step::UpToDate } else { Step::Advanced })
    }

    /// The source's final block, if it is news and one of ours.
    fn newly_final(&self, block: Option<BlockRef>) -> Result<Option<BlockRef>, SourceError> {
        let is_news =
            |block: &BlockRef| self.finalized.is_none_or(|known| known.number < block.number);
        let Some(block) = block.filter(is_news) else { return Ok(None) };
        match self.window.at(block.number) {
            Some(ours) if ours.hash == block.hash => Ok(Some(ours)),
            Some(ours) => Err(self.fetch.inconsistent(format!(
                "block {} is final as {}, but part of the newest chain as {}",
                block.number, block.hash, ours.hash
            ))),
            None => Ok(None),
        }
    }

    /// The next headers, each the child of the one before.
    async fn new_headers(
        &self,
        heads: &Heads,
        parent: Option<BlockRef>,
        next: u64,
    ) -> Result<Vec<Header>, SourceError> {
        let latest = heads.latest;
        let mut parent = parent.filter(|block| block.number + 1 == next);
        let end = latest.block.number.min(next.saturating_add(self.options.tail_blocks.max(1) - 1));
        let numbers: Vec<u64> = (next..=end).collect();
        let found = match numbers.as_slice() {
            [] => return Ok(Vec::new()),
            [only] if *only == latest.block.number => vec![Some(latest)],
            numbers => self.fetch.source.headers(numbers).await?,
        };
        let mut headers: Vec<Header> = Vec::with_capacity(found.len());
        for header in found.into_iter().map_while(|header| header) {
            let link = parent.map_or(Ok(()), |parent| check_link(parent, &header));
            if let Err(broken) = link {
                // The chain moved between two questions. What fits is good; the rest comes later.
                if headers.is_empty() {
                    return Err(self.fetch.inconsistent(broken.to_string()));
                }
                break;
            }
            parent = Some(header.block);
            headers.push(header);
        }
        Ok(headers)
    }

    /// The facts of these very blocks, in order; of contracts announced in them too.
    async fn facts_of(&self, headers: &[Header]) -> Result<Vec<Fact>, IngestError<K::Error>> {
        let Some(last) = headers.last() else { return Ok(Vec::new()) };
        let to = last.block.number;
        let (filter, mut asked) = self.fetch.filter(to);
        let mut facts = self.filtered_facts(headers, &filter).await?;
        while let Some(news) = self.fetch.news(&mut asked, to) {
            if !news.is_empty() {
                facts.extend(self.filtered_facts(headers, &news).await?);
            }
        }
        if let Some(beacon) = &self.fetch.beacon {
            let blocks = headers.iter().map(|header| header.block);
            let chain_id = self.fetch.decoder.contracts().chain_id();
            facts.extend(beacon.facts_of(chain_id, blocks).await?);
        }
        in_order(&mut facts);
        Ok(facts)
    }

    async fn filtered_facts(
        &self,
        headers: &[Header],
        filter: &LogFilter,
    ) -> Result<Vec<Fact>, IngestError<K::Error>> {
        let blocks: Vec<_> = headers
            .iter()
            .map(|header| (self.fetch.clone(), filter.clone(), header.block))
            .collect();
        let asked =
            stream::iter(blocks).map(|(fetch, filter, block)| fetch.of_block(filter, block));
        let answers: Vec<_> = asked.buffered(self.options.concurrency.max(1)).try_collect().await?;
        let decoder = &self.fetch.decoder;
        let (mut facts, mut undecided) = (Vec::new(), Vec::new());
        for (block, logs) in answers {
            for log in logs {
                if (log.block_number, log.block_hash) != (block.number, block.hash) {
                    let found = log.block_number;
                    let message = format!("asked for logs of {}, found of {found}", block.number);
                    return Err(self.fetch.inconsistent(message).into());
                }
                if decoder.is_emitter_known(&log) {
                    facts.extend(decoder.decode(log, block.timestamp)?);
                } else {
                    undecided.push((log, block.timestamp));
                }
            }
        }
        for (log, timestamp) in undecided {
            facts.extend(decoder.decode(log, timestamp)?);
        }
        Ok(facts)
    }

    /// Those of the blocks that are taken back at present, and the newest of them.
    fn restored(
        &self,
        blocks: impl Iterator<Item = BlockRef>,
        revert: Option<&Revert>,
    ) -> (Vec<B256>, Option<BlockRef>) {
        let mut restored = Vec::new();
        let mut head = None;
        for block in blocks {
            if head == Some(block) {
                continue;
            }
            let is_reverted = revert.is_some_and(|revert| revert.orphaned.contains(&block.hash));
            if is_reverted || self.orphaned.contains(&block.hash) {
                restored.push(block.hash);
                head = Some(block);
            }
        }
        (restored, head)
    }

    fn batch(&self) -> Batch {
        Batch { chain_id: self.fetch.decoder.contracts().chain_id(), ..Batch::default() }
    }

    /// Stores a batch, then does here what the store did.
    async fn append(&mut self, batch: Batch) -> Result<(), IngestError<K::Error>> {
        let appended = self.sink.append(&batch).await.map_err(IngestError::Sink)?;
        if let Some(revert) = &batch.revert {
            tracing::warn!(
                block.number = revert.to.number,
                blocks_orphaned = revert.orphaned.len(),
                "the chain took blocks back"
            );
            self.window.revert_to(revert.to.number);
            self.orphaned.extend(&revert.orphaned);
        }
        for hash in &batch.restored {
            self.orphaned.remove(hash);
        }
        for header in &batch.headers {
            self.window.extend(*header).map_err(IngestError::BrokenWindow)?;
        }
        if let Some(block) = batch.finalized {
            self.window.finalize(block);
            self.finalized = Some(block);
        }
        self.next_block = batch.next_block.unwrap_or(self.next_block);
        self.status.send_modify(|status| {
            status.next_block = self.next_block;
            status.finalized = self.finalized.map(|block| block.number);
            status.facts_appended += appended.appended;
            status.reorgs += u64::from(batch.revert.is_some());
        });
        Ok(())
    }

    fn report_trouble(&self, error: &SourceError) {
        tracing::warn!(error = %error, "no progress; trying again");
        self.status.send_modify(|status| status.trouble = Some(error.to_string()));
    }
}

/// Returns when the beacon node tells of a new head; without one, never.
async fn beacon_changed(beacon: Option<&Beacon>) {
    match beacon {
        Some(beacon) => beacon.changed().await,
        None => std::future::pending().await,
    }
}

/// Waits for an answer, unless told to stop.
async fn unless_stopped<T, E: std::error::Error + 'static>(
    stop: &CancellationToken,
    answer: impl Future<Output = T>,
) -> Result<T, IngestError<E>> {
    stop.run_until_cancelled(answer).await.ok_or(IngestError::Stopped)
}
