//! Reads history from a file: one `eth_getLogs` object a line, plain, gzip or zstd.
//!
//! Everything is read and decoded once before anything is handed on, so that a damaged file
//! changes nothing. A file too large to be kept in memory is read a second time while it is
//! appended. A file is history: its last block is taken as final.
//! Lines are read in `lines`, block times filled in by `times`.

mod count;
mod lines;
mod times;

use std::io;
use std::path::Path;

use alloy::primitives::B256;
use assay_domain::{BlockRef, Fact};

use self::count::Counter;
use self::lines::Lines;
use self::times::BlockTimes;
use super::chain_log::ChainLog;
use super::decode::{DecodeError, Decoder};
use crate::event_store::Batch;

pub use self::count::ImportReport;
pub use self::lines::LINE_BYTES_MAX;

/// Logs kept in memory between reading and appending; about half a kilobyte each. A larger file
/// is read twice and must therefore be in order.
pub const LOGS_KEPT_MAX: usize = 200_000;

/// Facts after which a batch ends, at the next block boundary.
const FACTS_PER_BATCH: usize = 10_000;

/// A file that cannot be imported. Nothing of it was handed on, unless it changed between the
/// two readings of a large file.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be opened or read; a cut gzip or zstd file ends up here too.
    #[error("line {line} cannot be read: {source}")]
    Unreadable {
        /// The line that was being read.
        line: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line is longer than any log. The file is something else.
    #[error("line {line} is longer than {limit} bytes; expected one chain log a line")]
    LineTooLong {
        /// The line.
        line: u64,
        /// The limit.
        limit: u64,
    },
    /// A line is not a log: something else, or cut off.
    #[error("line {line} is not a chain log as eth_getLogs returns it: {reason}")]
    NotALog {
        /// The line.
        line: u64,
        /// What the parser said.
        reason: String,
    },
    /// A log was taken back by a reorg. Fetch the range again.
    #[error("line {line} is marked as removed: the chain took this log back; fetch it again")]
    Removed {
        /// The line.
        line: u64,
    },
    /// Two blocks of one number: the file mixes forks. Fetch the block again.
    #[error("block {block} is {first_hash} on line {first_line} and {hash} on line {line}")]
    TwoHashes {
        /// The number.
        block: u64,
        /// A line with the first hash.
        first_line: u64,
        /// The first hash.
        first_hash: B256,
        /// A line with the second hash.
        line: u64,
        /// The second hash.
        hash: B256,
    },
    /// Two times for one block.
    #[error("block {block} has time {first_time} on line {first_line} and {time} on line {line}")]
    TwoTimes {
        /// The number.
        block: u64,
        /// A line with the first time.
        first_line: u64,
        /// The first time.
        first_time: u64,
        /// A line with the second time.
        line: u64,
        /// The second time.
        time: u64,
    },
    /// A later block has an earlier time.
    #[error(
        "block {block} on line {line} has time {time}, earlier than {previous_time} of block \
         {previous_block} on line {previous_line}"
    )]
    TimeGoesBack {
        /// The later block.
        block: u64,
        /// Its line.
        line: u64,
        /// Its time.
        time: u64,
        /// The earlier block.
        previous_block: u64,
        /// Its line.
        previous_line: u64,
        /// Its time.
        previous_time: u64,
    },
    /// Two different logs in one place.
    #[error(
        "lines {first_line} and {line} are different logs with number {log_index} in block {block}"
    )]
    Conflict {
        /// Block number.
        block: u64,
        /// Place in the block.
        log_index: u32,
        /// The first line.
        first_line: u64,
        /// The second line.
        line: u64,
    },
    /// No log says when its block was. Get at least one log with `blockTimestamp`.
    #[error("no line has a blockTimestamp, so no block time can be estimated")]
    NoTimes,
    /// A log of a known event is not that event.
    #[error("line {line}: {source}")]
    Decode {
        /// The line.
        line: u64,
        /// What is wrong with it.
        #[source]
        source: Box<DecodeError>,
    },
    /// A file too large for memory is not in order. Sort it by block and log index.
    #[error(
        "line {line} is out of order, and a file of more than {limit} logs must be sorted by \
         block number and log index"
    )]
    OutOfOrder {
        /// The line.
        line: u64,
        /// Logs that can be sorted in memory.
        limit: usize,
    },
}

/// Opens the same input again from its start.
pub type OpenInput = Box<dyn Fn() -> io::Result<Box<dyn io::Read + Send>> + Send + Sync>;

/// A file that was read from end to end and found good.
pub struct Import<'a> {
    decoder: &'a Decoder,
    report: ImportReport,
    times: BlockTimes,
    content: Content,
}

impl std::fmt::Debug for Import<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Import").field("report", &self.report).finish_non_exhaustive()
    }
}

enum Content {
    Kept(Vec<(u64, ChainLog)>),
    ReadAgain(OpenInput),
}

impl<'a> Import<'a> {
    /// Reads a file; its compression is known by its first bytes.
    pub fn read_file(path: &Path, decoder: &'a Decoder) -> Result<Self, ImportError> {
        let path = path.to_owned();
        Self::read(Box::new(move || Ok(Box::new(std::fs::File::open(&path)?))), decoder)
    }

    /// Reads any input that can be opened twice.
    pub fn read(open: OpenInput, decoder: &'a Decoder) -> Result<Self, ImportError> {
        Self::read_keeping(open, decoder, LOGS_KEPT_MAX)
    }

    /// Reads an input, keeping at most `kept_max` logs in memory.
    pub fn read_keeping(
        open: OpenInput,
        decoder: &'a Decoder,
        kept_max: usize,
    ) -> Result<Self, ImportError> {
        let mut pass = FirstPass::default();
        let mut lines = Lines::open(&open)?;
        while let Some((line, log)) = lines.next_log()? {
            pass.take(decoder, line, log, kept_max)?;
        }
        let (times, report, kept) = pass.finish(decoder)?;
        let content = kept.map_or(Content::ReadAgain(open), Content::Kept);
        Ok(Self { decoder, report, times, content })
    }

    /// What the file holds.
    pub const fn report(&self) -> &ImportReport {
        &self.report
    }

    /// The facts, whole blocks a batch, in order; the last batch makes the last block final.
    pub fn batches(&self) -> Result<Batches<'_>, ImportError> {
        Ok(Batches { import: self, facts: self.facts()?, next: None, done: false })
    }

    fn logs(&self) -> Result<Logs<'_>, ImportError> {
        match &self.content {
            Content::Kept(logs) => Ok(Logs::Kept(logs.iter())),
            Content::ReadAgain(open) => Ok(Logs::Lines(Lines::open(open)?)),
        }
    }

    fn facts(&self) -> Result<Facts<'_>, ImportError> {
        Ok(Facts { import: self, logs: self.logs()?, previous: None })
    }
}

enum Logs<'a> {
    Kept(std::slice::Iter<'a, (u64, ChainLog)>),
    Lines(Lines),
}

impl Logs<'_> {
    fn next_log(&mut self) -> Result<Option<(u64, ChainLog)>, ImportError> {
        match self {
            Self::Kept(logs) => Ok(logs.next().cloned()),
            Self::Lines(lines) => lines.next_log(),
        }
    }
}

/// The facts of a file in order, repetitions left out.
struct Facts<'a> {
    import: &'a Import<'a>,
    logs: Logs<'a>,
    previous: Option<(u64, u32)>,
}

impl Facts<'_> {
    fn next_fact(&mut self) -> Result<Option<Fact>, ImportError> {
        while let Some((line, log)) = self.logs.next_log()? {
            if self.previous.replace(place(&log)) == Some(place(&log)) {
                continue;
            }
            let timestamp = self.import.times.of(log.block_number).ok_or(ImportError::NoTimes)?;
            let fact = self.import.decoder.decode(log, timestamp);
            if let Some(fact) = fact.map_err(|error| undecodable(line, error))? {
                return Ok(Some(fact));
            }
        }
        Ok(None)
    }
}

/// The batches of a file.
pub struct Batches<'a> {
    import: &'a Import<'a>,
    facts: Facts<'a>,
    next: Option<Fact>,
    done: bool,
}

impl std::fmt::Debug for Batches<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches").field("done", &self.done).finish_non_exhaustive()
    }
}

impl Batches<'_> {
    fn next_batch(&mut self) -> Result<Option<Batch>, ImportError> {
        let mut facts: Vec<Fact> = self.next.take().into_iter().collect();
        while let Some(fact) = self.facts.next_fact()? {
            let starts_a_block = facts.last().is_some_and(|last| last.block != fact.block);
            if starts_a_block && facts.len() >= FACTS_PER_BATCH {
                self.next = Some(fact);
                break;
            }
            facts.push(fact);
        }
        let Some(last) = facts.last() else { return Ok(None) };
        let finalized: Option<BlockRef> = self.next.is_none().then_some(last.block);
        let chain_id = self.import.decoder.contracts().chain_id();
        Ok(Some(Batch { chain_id, facts, finalized, ..Batch::default() }))
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let batch = self.next_batch().transpose();
        self.done = !matches!(batch, Some(Ok(_)));
        batch
    }
}

/// What the first reading gathers.
#[derive(Default)]
struct FirstPass {
    times: BlockTimes,
    counter: Counter,
    kept: Vec<(u64, ChainLog)>,
    read: usize,
    /// The first line that is out of order.
    out_of_order: Option<u64>,
}

impl FirstPass {
    fn take(
        &mut self,
        decoder: &Decoder,
        line: u64,
        log: ChainLog,
        kept_max: usize,
    ) -> Result<(), ImportError> {
        if log.removed {
            return Err(ImportError::Removed { line });
        }
        self.times.observe(line, &log)?;
        decoder.check(&log).map_err(|error| undecodable(line, error))?;
        if self.counter.is_past(&log) {
            self.out_of_order.get_or_insert(line);
        }
        if self.out_of_order.is_none() {
            self.counter.take(decoder, line, &log)?;
        }
        self.read += 1;
        match self.out_of_order {
            _ if self.read <= kept_max => self.kept.push((line, log)),
            None => self.kept = Vec::new(),
            Some(line) => return Err(ImportError::OutOfOrder { line, limit: kept_max }),
        }
        Ok(())
    }

    /// Block times, what the file holds, and the logs in order if all of them were kept.
    fn finish(mut self, decoder: &Decoder) -> Result<Finished, ImportError> {
        self.times.fill()?;
        let kept_all = self.kept.len() == self.read;
        if self.out_of_order.is_some() {
            // A stable sort: of repeated lines the first stays first.
            self.kept.sort_by_key(|(_, log)| place(log));
            self.counter = Counter::default();
            for (line, log) in &self.kept {
                self.counter.take(decoder, *line, log)?;
            }
        }
        let report = self.counter.finish(&self.times);
        Ok((self.times, report, kept_all.then_some(self.kept)))
    }
}

type Finished = (BlockTimes, ImportReport, Option<Vec<(u64, ChainLog)>>);

/// A log's place in the chain. Two logs of one place have one block hash: `BlockTimes` sees to it.
const fn place(log: &ChainLog) -> (u64, u32) {
    (log.block_number, log.log_index)
}

fn undecodable(line: u64, source: DecodeError) -> ImportError {
    ImportError::Decode { line, source: Box::new(source) }
}
