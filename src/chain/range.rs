//! How many blocks to ask for at once. Pure: the same answers give the same sizes.

use super::source::Limit;

/// Successes after which a size that was once refused is tried again.
const SUCCESSES_TO_RETRY: u32 = 32;

/// The size of `eth_getLogs` ranges: grows while answers are small, shrinks when one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeSize {
    blocks: u64,
    blocks_max: u64,
    /// Below the size that was refused last.
    refused_above: u64,
    successes: u32,
    logs_wanted: usize,
}

impl RangeSize {
    /// Starts at `blocks`, never goes above `blocks_max`, aims at `logs_wanted` an answer.
    pub fn new(blocks: u64, blocks_max: u64, logs_wanted: usize) -> Self {
        let blocks_max = blocks_max.max(1);
        let blocks = blocks.clamp(1, blocks_max);
        Self { blocks, blocks_max, refused_above: blocks_max, successes: 0, logs_wanted }
    }

    /// Blocks to ask for next.
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// A range of `blocks` held `logs`.
    pub fn succeeded(&mut self, blocks: u64, logs: usize) {
        self.successes += 1;
        if self.successes >= SUCCESSES_TO_RETRY {
            self.successes = 0;
            self.refused_above = self.refused_above.saturating_mul(2).min(self.blocks_max);
        }
        if logs > self.logs_wanted {
            self.blocks = (blocks / 2).clamp(1, self.blocks);
        } else if blocks >= self.blocks && logs <= self.logs_wanted / 2 {
            self.blocks = self.blocks.saturating_mul(2).min(self.refused_above).max(self.blocks);
        }
    }

    /// A range of `blocks` was refused. Returns whether a smaller one can be asked for.
    pub fn refused(&mut self, blocks: u64, limit: Limit) -> bool {
        if blocks <= 1 {
            return false;
        }
        self.successes = 0;
        let smaller = match limit {
            Limit::Unknown => blocks / 2,
            Limit::ThisRange(named) => named.clamp(1, blocks - 1),
            Limit::EveryRange(named) => {
                self.blocks_max = named.clamp(1, blocks - 1);
                self.blocks_max
            }
        };
        self.blocks = self.blocks.min(smaller).max(1);
        self.refused_above = (blocks - 1).min(self.blocks_max);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_grow_while_answers_are_small_and_shrink_when_refused() {
        let mut size = RangeSize::new(1_000, 20_000, 10_000);
        for expected in [2_000, 4_000, 8_000, 16_000, 20_000, 20_000] {
            size.succeeded(size.blocks(), 3);
            assert_eq!(size.blocks(), expected);
        }
        assert!(size.refused(20_000, Limit::Unknown));
        assert_eq!(size.blocks(), 10_000);
        assert!(size.refused(10_000, Limit::ThisRange(700)));
        assert_eq!(size.blocks(), 700);
        assert!(size.refused(700, Limit::EveryRange(500)));
        for _ in 0..100 {
            size.succeeded(size.blocks(), 0);
            assert!(size.blocks() <= 500);
        }
        size.succeeded(500, 11_000);
        assert_eq!(size.blocks(), 250);
        assert!(!size.refused(1, Limit::Unknown));
    }

    #[test]
    fn a_size_that_was_refused_is_not_asked_for_again_at_once() {
        let mut size = RangeSize::new(1_000, 20_000, 10_000);
        assert!(size.refused(1_000, Limit::Unknown));
        for _ in 0..10 {
            size.succeeded(size.blocks(), 0);
        }
        assert_eq!(size.blocks(), 999);
        for _ in 0..200 {
            size.succeeded(size.blocks(), 0);
        }
        assert_eq!(size.blocks(), 20_000);
    }
}
