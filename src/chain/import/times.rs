//! Block times of a file: as its logs say them, else estimated, always growing with the number.
//!
//! Providers may leave `blockTimestamp` out. Another log of the same block knows it; otherwise
//! the time is counted in slots from the nearest earlier block whose time is known, but never
//! past the next known one, or backwards from the first known one. The estimate depends on
//! nothing but the file.

use std::collections::BTreeMap;

use alloy::primitives::B256;

use super::ImportError;
use crate::chain::chain_log::ChainLog;

/// Seconds between two blocks, when no slot is missed.
const SLOT_SECONDS: u64 = 12;

#[derive(Default)]
pub(super) struct BlockTimes {
    blocks: BTreeMap<u64, Block>,
}

struct Block {
    line: u64,
    hash: B256,
    time: Time,
}

#[derive(Clone, Copy)]
enum Time {
    Unknown,
    /// As a line said it.
    Known {
        line: u64,
        time: u64,
    },
    Estimated(u64),
}

impl BlockTimes {
    /// Takes note of a log's block.
    pub(super) fn observe(&mut self, line: u64, log: &ChainLog) -> Result<(), ImportError> {
        let block = self.blocks.entry(log.block_number).or_insert(Block {
            line,
            hash: log.block_hash,
            time: Time::Unknown,
        });
        if block.hash != log.block_hash {
            return Err(ImportError::TwoHashes {
                block: log.block_number,
                first_line: block.line,
                first_hash: block.hash,
                line,
                hash: log.block_hash,
            });
        }
        match (block.time, log.block_timestamp) {
            (Time::Known { line: first_line, time: first_time }, Some(time))
                if first_time != time =>
            {
                let block = log.block_number;
                Err(ImportError::TwoTimes { block, first_line, first_time, line, time })
            }
            (Time::Unknown, Some(time)) => {
                block.time = Time::Known { line, time };
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Estimates what no line said.
    pub(super) fn fill(&mut self) -> Result<(), ImportError> {
        let mut known: Vec<(u64, u64)> = Vec::new();
        let mut previous: Option<(u64, u64, u64)> = None;
        for (&number, block) in &self.blocks {
            let Time::Known { line, time } = block.time else { continue };
            if let Some((previous_block, previous_line, previous_time)) = previous
                && previous_time > time
            {
                return Err(ImportError::TimeGoesBack {
                    block: number,
                    line,
                    time,
                    previous_block,
                    previous_line,
                    previous_time,
                });
            }
            previous = Some((number, line, time));
            known.push((number, time));
        }
        if known.is_empty() && !self.blocks.is_empty() {
            return Err(ImportError::NoTimes);
        }
        for (&number, block) in &mut self.blocks {
            if matches!(block.time, Time::Unknown) {
                block.time = Time::Estimated(estimate(number, &known));
            }
        }
        Ok(())
    }

    /// The time of a block of the file.
    pub(super) fn of(&self, number: u64) -> Option<u64> {
        match self.blocks.get(&number)?.time {
            Time::Known { time, .. } | Time::Estimated(time) => Some(time),
            Time::Unknown => None,
        }
    }

    pub(super) fn is_estimated(&self, number: u64) -> bool {
        self.blocks.get(&number).is_some_and(|block| matches!(block.time, Time::Estimated(_)))
    }
}

/// The time of a block between known ones, which are in order. Grows with `number`.
fn estimate(number: u64, known: &[(u64, u64)]) -> u64 {
    let next = known.partition_point(|(block, _)| *block < number);
    let after = known.get(next);
    match next.checked_sub(1).and_then(|index| known.get(index)) {
        Some((block, time)) => {
            let counted = time.saturating_add((number - block).saturating_mul(SLOT_SECONDS));
            after.map_or(counted, |(_, limit)| counted.min(*limit))
        }
        None => after.map_or(0, |(block, time)| {
            time.saturating_sub((block - number).saturating_mul(SLOT_SECONDS))
        }),
    }
}
