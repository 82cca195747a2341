//! Reads final history by ranges: several requests under way, results in order.
//!
//! At most `concurrency` answers are in memory at once. A range that is too large is asked for
//! again in parts, together with everything after it.

use std::collections::VecDeque;
use std::sync::Arc;

use assay_domain::{BlockRef, Fact};
use tokio::task::JoinHandle;

use super::beacon::Beacon;
use super::chain_log::ChainLog;
use super::decode::{DecodeError, Decoder};
use super::discovered::{Announced, Kind};
use super::governance;
use super::range::RangeSize;
use super::source::{LogFilter, LogSource, SourceError};

/// Contracts with a say in what is slashed that are asked about by address. Where there are more,
/// the same events are asked for of anybody: what is recorded does not depend on their number.
const NAMED_MAX: usize = 1_000;

/// A final range, decoded.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Its last block.
    pub(super) last: BlockRef,
    /// Its facts, in order.
    pub(super) facts: Vec<Fact>,
    logs: usize,
    /// Logs whose emitters are known only when every range before is read, with their times.
    undecided: Vec<(ChainLog, u64)>,
    asked: Asked,
}

/// Which announced contracts were asked about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    /// How many by address.
    known: usize,
    /// Whether EigenPods were.
    pods: bool,
    /// Whether the events of who has a say in what is slashed were asked for of anybody.
    anybody: bool,
}

/// A range could not be read or decoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// The ranges from one block to another.
#[derive(Debug)]
pub(super) struct Backfill<S> {
    fetch: Fetch<S>,
    /// First block not asked for.
    next: u64,
    end: u64,
    concurrency: usize,
    under_way: VecDeque<Task>,
}

/// What each request needs.
#[derive(Debug)]
pub(super) struct Fetch<S> {
    pub(super) source: Arc<S>,
    pub(super) decoder: Arc<Decoder>,
    pub(super) filter: LogFilter,
    /// The consensus layer, where it is read.
    pub(super) beacon: Option<Arc<Beacon>>,
}

impl<S> Clone for Fetch<S> {
    fn clone(&self) -> Self {
        Self {
            source: Arc::clone(&self.source),
            decoder: Arc::clone(&self.decoder),
            filter: self.filter.clone(),
            beacon: self.beacon.clone(),
        }
    }
}

/// A range being read; dropped, it stops.
#[derive(Debug)]
struct Task {
    from: u64,
    to: u64,
    handle: JoinHandle<Result<Chunk, FetchError>>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl<S: LogSource> Backfill<S> {
    /// Reads the blocks `from` to `end`, both included.
    pub(super) fn new(fetch: Fetch<S>, from: u64, end: u64, concurrency: usize) -> Self {
        let concurrency = concurrency.max(1);
        Self { fetch, next: from, end, concurrency, under_way: VecDeque::new() }
    }

    /// The next range in order; `None` after the last one. After an error there is no next one:
    /// begin again at the first block that was not handed out.
    pub(super) async fn next(&mut self, size: &mut RangeSize) -> Result<Option<Chunk>, FetchError> {
        loop {
            self.ask(size);
            let Some(mut first) = self.under_way.pop_front() else { return Ok(None) };
            let blocks = first.to - first.from + 1;
            let read = match (&mut first.handle).await {
                Ok(Ok(chunk)) => self.fetch.complete(chunk, first.from).await,
                Ok(Err(error)) => Err(error),
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime is going down, and this task with it.
                    Err(_) => std::future::pending().await,
                },
            };
            match read {
                Ok(chunk) => {
                    size.succeeded(blocks, chunk.logs);
                    return Ok(Some(chunk));
                }
                Err(FetchError::Source(SourceError::TooLarge { limit, .. }))
                    if size.refused(blocks, limit) =>
                {
                    self.under_way.clear();
                    self.next = first.from;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn ask(&mut self, size: &RangeSize) {
        while self.under_way.len() < self.concurrency && self.next <= self.end {
            let from = self.next;
            let to = from.saturating_add(size.blocks() - 1).min(self.end);
            let handle = tokio::spawn(self.fetch.clone().range(from, to));
            self.under_way.push_back(Task { from, to, handle });
            self.next = to + 1;
        }
    }
}

impl<S: LogSource> Fetch<S> {
    /// What to ask for up to a block, and which of the announced contracts are in it.
    pub(super) fn filter(&self, to: u64) -> (LogFilter, Asked) {
        let mut asked = Asked::default();
        let mut filter = self.news(&mut asked, to).unwrap_or_default();
        let mut all: Vec<_> =
            self.filter.addresses.iter().chain(&*filter.addresses).copied().collect();
        all.sort_unstable();
        all.dedup();
        filter.addresses = all.into();
        (filter, asked)
    }

    /// What was announced up to a block and not asked about; `None`: nothing was announced since.
    /// Where there is no EigenPod, the question by topic is spared.
    pub(super) fn news(&self, asked: &mut Asked, to: u64) -> Option<LogFilter> {
        let discovered = self.decoder.discovered();
        let (announced, known) = discovered.after(asked.known);
        let has_pods = !asked.pods && discovered.has_pods(to);
        if known <= asked.known && !has_pods {
            return None;
        }
        let are_too_many = !asked.anybody && discovered.named() > NAMED_MAX;
        let news = announced.iter().filter(|one| one.since <= to);
        let (named, listed): (Vec<_>, Vec<_>) = news.partition(|one| one.kind == Kind::Named);
        let addresses = |of: Vec<&Announced>| of.into_iter().map(|one| one.address).collect();
        let mut filter = LogFilter { addresses: addresses(listed), ..LogFilter::default() };
        let mut topics = Vec::new();
        if has_pods {
            topics.extend_from_slice(&self.filter.topics);
        }
        if are_too_many {
            topics.extend_from_slice(governance::topics());
        }
        filter.topics = topics.into();
        if !asked.anybody && !are_too_many {
            filter.named = addresses(named);
        }
        *asked =
            Asked { known, pods: asked.pods || has_pods, anybody: asked.anybody || are_too_many };
        Some(filter)
    }

    async fn range(self, from: u64, to: u64) -> Result<Chunk, FetchError> {
        let (filter, asked) = self.filter(to);
        let mut chunk = self.read(filter, from, to).await?;
        chunk.asked = asked;
        if let Some(beacon) = &self.beacon {
            let numbers: Vec<u64> = (from..=to).collect();
            let headers = self.source.headers(&numbers).await?;
            let found = headers.iter().flatten().map(|header| header.block);
            let blocks: Vec<_> = found.collect();
            if blocks.len() != numbers.len() {
                return Err(self.gone(from).into());
            }
            let chain_id = self.decoder.contracts().chain_id();
            chunk.facts.extend(beacon.facts_of(chain_id, blocks).await?);
            in_order(&mut chunk.facts);
        }
        Ok(chunk)
    }

    /// Adds the logs of contracts that were announced since the range was asked for: in it, or in
    /// one before it. Every range before it is complete.
    async fn complete(&self, mut chunk: Chunk, from: u64) -> Result<Chunk, FetchError> {
        let to = chunk.last.number;
        for (log, timestamp) in std::mem::take(&mut chunk.undecided) {
            chunk.facts.extend(self.decoder.decode(log, timestamp)?);
        }
        in_order(&mut chunk.facts);
        while let Some(news) = self.news(&mut chunk.asked, to) {
            if news.is_empty() {
                continue;
            }
            let more = self.read(news, from, to).await?;
            chunk.logs += more.logs;
            chunk.facts.extend(more.facts);
            for (log, timestamp) in more.undecided {
                chunk.facts.extend(self.decoder.decode(log, timestamp)?);
            }
            in_order(&mut chunk.facts);
        }
        Ok(chunk)
    }

    async fn read(&self, filter: LogFilter, from: u64, to: u64) -> Result<Chunk, FetchError> {
        let logs = self.source.logs(filter, from, to).await?;
        let times = self.block_times(&logs, to).await?;
        let mut facts = Vec::with_capacity(logs.len());
        let mut undecided = Vec::new();
        let count = logs.len();
        let mut blocks = times.iter().copied().peekable();
        for log in logs {
            while blocks.next_if(|block| block.number < log.block_number).is_some() {}
            let timestamp = match (log.block_timestamp, blocks.peek()) {
                (Some(time), _) => time,
                (None, Some(block)) if block.hash == log.block_hash => block.timestamp,
                (None, _) => return Err(self.moved(&log).into()),
            };
            if self.decoder.is_emitter_known(&log) {
                facts.extend(self.decoder.decode(log, timestamp)?);
            } else {
                undecided.push((log, timestamp));
            }
        }
        let last = times.last().copied().filter(|block| block.number == to);
        let last = last.ok_or_else(|| self.gone(to))?;
        Ok(Chunk { last, facts, logs: count, undecided, asked: Asked::default() })
    }

    /// The logs of this very block.
    pub(super) async fn of_block(
        self,
        filter: LogFilter,
        block: BlockRef,
    ) -> Result<(BlockRef, Vec<ChainLog>), SourceError> {
        let logs = self.source.logs_of_block(filter, block.hash).await?;
        Ok((block, logs))
    }

    /// The blocks whose time no log says, and the last block of the range, in order.
    async fn block_times(&self, logs: &[ChainLog], to: u64) -> Result<Vec<BlockRef>, SourceError> {
        let untimed = logs.iter().filter(|log| log.block_timestamp.is_none());
        let mut numbers: Vec<u64> = untimed.map(|log| log.block_number).collect();
        numbers.push(to);
        numbers.dedup();
        let headers = self.source.headers(&numbers).await?;
        let found = numbers.iter().zip(headers);
        found.map(|(number, header)| Ok(header.ok_or_else(|| self.gone(*number))?.block)).collect()
    }

    fn moved(&self, log: &ChainLog) -> SourceError {
        self.inconsistent(format!(
            "a log lies in block {} ({}), which has another hash when asked for by number",
            log.block_number, log.block_hash
        ))
    }

    fn gone(&self, number: u64) -> SourceError {
        self.inconsistent(format!("block {number} is final, but its header is not there"))
    }

    pub(super) fn inconsistent(&self, message: String) -> SourceError {
        SourceError::Inconsistent { endpoint: self.source.name(), message }
    }
}

/// In the order of the chain, each once: a contract announced twice is asked about twice.
pub(super) fn in_order(facts: &mut Vec<Fact>) {
    facts.sort_by_key(|fact| (fact.block.number, fact.log_index));
    facts.dedup_by_key(|fact| (fact.block.number, fact.log_index));
}
