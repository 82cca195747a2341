//! Counts what a file holds, and finds two logs in one place.

use std::collections::BTreeMap;

use super::times::BlockTimes;
use super::{ImportError, place};
use crate::chain::chain_log::ChainLog;
use crate::chain::decode::Decoder;

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Logs that became facts.
    pub facts: u64,
    /// Facts by the name of their event.
    pub events: BTreeMap<String, u64>,
    /// Logs of contracts that are not EigenLayer's: skipped.
    pub foreign: u64,
    /// Lines that repeat another: skipped.
    pub repeated: u64,
    /// Facts whose block time no line says, so that it was estimated.
    pub estimated_times: u64,
    /// Block numbers of the first and the last fact.
    pub blocks: Option<(u64, u64)>,
}

/// Counts logs that come in order.
#[derive(Default)]
pub(super) struct Counter {
    report: ImportReport,
    /// Facts of blocks of which no time was seen yet.
    without_time: BTreeMap<u64, u64>,
    previous: Option<(u64, ChainLog)>,
}

impl Counter {
    /// Whether a log lies before the one taken last.
    pub(super) fn is_past(&self, log: &ChainLog) -> bool {
        self.previous.as_ref().is_some_and(|(_, previous)| place(previous) > place(log))
    }

    pub(super) fn take(
        &mut self,
        decoder: &Decoder,
        line: u64,
        log: &ChainLog,
    ) -> Result<(), ImportError> {
        if let Some((first_line, first)) = &self.previous
            && place(first) == place(log)
        {
            if !first.is_same_as(log) {
                let (block, log_index) = place(log);
                let first_line = *first_line;
                return Err(ImportError::Conflict { block, log_index, first_line, line });
            }
            self.report.repeated += 1;
            return Ok(());
        }
        if decoder.is_ours(log) {
            self.count_fact(decoder, log);
        } else {
            self.report.foreign += 1;
        }
        self.previous = Some((line, log.clone()));
        Ok(())
    }

    fn count_fact(&mut self, decoder: &Decoder, log: &ChainLog) {
        let name = decoder.name(log);
        match self.report.events.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                self.report.events.insert(name.to_owned(), 1);
            }
        }
        if log.block_timestamp.is_none() {
            *self.without_time.entry(log.block_number).or_default() += 1;
        }
        self.report.facts += 1;
        let first = self.report.blocks.map_or(log.block_number, |(first, _)| first);
        self.report.blocks = Some((first, log.block_number));
    }

    pub(super) fn finish(mut self, times: &BlockTimes) -> ImportReport {
        let estimated = self.without_time.iter().filter(|(block, _)| times.is_estimated(**block));
        self.report.estimated_times = estimated.map(|(_, facts)| facts).sum();
        self.report
    }
}
