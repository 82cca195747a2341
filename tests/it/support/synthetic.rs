//! A made-up chain: the same facts for the same seed, cheap enough for a million.

use alloy::primitives::{Address, B256, U256};
use assay_domain::{AvsId, BlockRef, Event, Fact, OperatorId, OperatorSetId, StakerId, StrategyId};

/// The chain the facts are of.
pub(crate) const CHAIN_ID: u64 = 1;

/// Time of block 0; twelve seconds later comes block 1.
pub(crate) const GENESIS_TIME: u64 = 1_600_000_000;

/// A random source that is the same everywhere (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// That many bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes()[..chunk.len()]);
        }
        bytes
    }
}

/// Block `number` of a fork of the made-up chain. Fork 0 is the main one.
pub(crate) fn block(number: u64, fork: u64) -> BlockRef {
    let mut random = Random(number ^ (fork << 48));
    BlockRef { number, hash: B256::new(random.bytes()), timestamp: GENESIS_TIME + 12 * number }
}

/// The first `count` facts of the chain, from block 1 on: 0 to 10 a block, 91 % of blocks have one.
pub(crate) fn facts(seed: u64, count: usize) -> Vec<Fact> {
    let mut random = Random(seed);
    let mut facts = Vec::with_capacity(count);
    let mut number = 0;
    while facts.len() < count {
        number += 1;
        let here = random.below(11);
        let block = block(number, 0);
        let tx_hash = B256::new(random.bytes());
        for index in 0..here {
            if facts.len() < count {
                facts.push(fact_in(&mut random, block, tx_hash, index));
            }
        }
    }
    facts
}

/// The facts of one block of a fork.
pub(crate) fn facts_of_block(number: u64, fork: u64, count: u64) -> Vec<Fact> {
    let mut random = Random(number ^ (fork << 32));
    let tx_hash = B256::new(random.bytes());
    (0..count).map(|index| fact_in(&mut random, block(number, fork), tx_hash, index)).collect()
}

fn fact_in(random: &mut Random, block: BlockRef, tx_hash: B256, index: u64) -> Fact {
    Fact {
        chain_id: CHAIN_ID,
        block,
        tx_hash,
        log_index: u32::try_from(index * 3 + random.below(3)).expect("small"),
        emitter: Address::repeat_byte(0xe1),
        event: event(random),
    }
}

fn nth(kind: u64, which: u64) -> Address {
    Address::new(Random(kind << 32 | which).bytes())
}

/// As `DelegationManager` has it, a staker's shares are delegated to one operator, and most hold
/// few strategies: here up to three of twenty.
fn event(random: &mut Random) -> Event {
    let of_staker = random.below(50_000);
    let staker = StakerId(nth(2, of_staker));
    let operator = OperatorId(nth(1, of_staker % 500));
    let strategy = StrategyId(nth(3, (of_staker + random.below(3)) % 20));
    let set = OperatorSetId { avs: AvsId(nth(4, random.below(60))), id: 0 };
    let shares = U256::from(random.next());
    match random.below(20) {
        0 => Event::StakerDelegated { staker, operator },
        1 => Event::AllocationUpdated {
            operator,
            operator_set: set,
            strategy,
            magnitude: random.below(1_000_000_000_000_000_000),
            effect_block: 1,
        },
        2 => Event::OperatorAddedToOperatorSet { operator, operator_set: set },
        3..=7 => Event::OperatorSharesDecreased { operator, staker, strategy, shares },
        _ => Event::OperatorSharesIncreased { operator, staker, strategy, shares },
    }
}
