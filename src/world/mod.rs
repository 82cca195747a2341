//! A made-up year: the same facts every time, with something for every page to show.
//!
//! Names are invented, addresses come from a hash, and the chain is the development chain: nothing
//! here can be taken for a real operator. Names travel as `data:` metadata URIs, which say what
//! they say without being fetched; one stands in a document.
//!
//! Every band of the scale is there that the methodology leaves: what the platform's own contracts
//! can lose is in every rating and is nobody's evidence, so the best is BBB-.

mod lrt;
mod play;
mod rewards;

use std::collections::BTreeMap;

use alloy::dyn_abi::DynSolValue;
use alloy::primitives::{Address, B256, U256, keccak256};
use assay_domain::event::{Governed, ScheduledCall, TimelockWait};
use assay_domain::text::UntrustedText;
use assay_domain::{AvsId, BlockRef, Event, Fact, OperatorId, OperatorSetId, StakerId, StrategyId};

pub use play::{PlayError, play};

use crate::chain::{
    ChainLog, Contracts, DecodeError, Decoder, DeploymentError, Manifest, ManifestError,
    parse_deployments,
};

/// The development chain: no wallet takes it for Ethereum.
pub const CHAIN_ID: u64 = 31_337;

/// 2025-11-01T00:00:00Z.
const BEGIN_TIME: u64 = 1_761_955_200;

/// A block that is none of mainnet's by its hash, and looks like one by its number.
const BEGIN_BLOCK: u64 = 7_200_000;

/// Blocks of a day, one in 12 seconds.
const DAY_BLOCKS: u64 = 7_200;

/// Days of the story.
pub const DAYS: u64 = 365;

/// Days on which a slasher's code changes, a Safe takes fewer signatures, and a timelock takes a
/// call.
const UPGRADE_DAY: u64 = 354;
const THRESHOLD_DAY: u64 = 358;
const SCHEDULE_DAY: u64 = 360;

/// Blocks into a day at which everyday things happen, and slashes.
const MORNING: u64 = 40;
const SLASH_PLACE: u64 = 3_000;

/// 1e18: all of a magnitude, and one ether.
const WAD: u64 = 1_000_000_000_000_000_000;

/// Native ether, the one strategy whose price the log knows.
const ETH: Address = alloy::primitives::address!("beaC0eeEeeeeEEeEeEEEEeeEEeEeeeEeeEEBEaC0");

/// Operators: name, ether delegated, allocation delay in blocks.
const OPERATORS: [(&str, u64, Option<u32>); 10] = [
    ("Wren", 118_204, Some(126_000)),
    ("Heron", 64_310, Some(100_800)),
    ("Plover", 41_870, Some(126_000)),
    ("Avocet", 33_020, Some(50_400)),
    ("Curlew", 21_450, Some(0)),
    ("Egret", 12_990, Some(126_000)),
    ("Dunlin", 9_870, Some(17_500)),
    ("Knot", 4_410, None),
    // Nothing of it is allocated: it is not rated.
    ("Teal", 3_120, Some(126_000)),
    // Everything about its one set is attested: the best grade that the platform's own contracts
    // leave to anybody.
    ("Ruff", 52_600, Some(126_000)),
];

/// AVSs and their operator sets: name, and for each set whether it hands over what it slashes.
const AVSS: [(&str, &[Recipient]); 6] = [
    ("Northlight", &[Recipient::Nobody, Recipient::Treasury]),
    ("Lattice", &[Recipient::Itself]),
    ("Tidewater", &[Recipient::Nobody]),
    ("Kestrel DA", &[Recipient::Nobody, Recipient::Nobody]),
    ("Gannet Oracle", &[Recipient::Treasury]),
    ("Turnstone", &[Recipient::Nobody]),
];

/// Who gets what a set slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recipient {
    Nobody,
    Treasury,
    Itself,
}

/// Allocations: day, operator, AVS, set, parts of a thousand.
const ALLOCATIONS: [(u64, usize, usize, u32, u64); 17] = [
    (20, 0, 0, 0, 20),
    (22, 0, 3, 0, 15),
    (21, 1, 0, 0, 60),
    (25, 1, 1, 0, 250),
    (30, 1, 2, 0, 100),
    (24, 2, 3, 0, 80),
    (40, 2, 3, 1, 40),
    (26, 9, 5, 0, 250),
    (28, 3, 0, 1, 300),
    (35, 3, 4, 0, 150),
    (33, 4, 1, 0, 600),
    (60, 4, 2, 0, 200),
    (45, 5, 3, 1, 50),
    (50, 6, 2, 0, 500),
    (55, 7, 4, 0, 350),
    (210, 0, 4, 0, 10),
    (300, 2, 0, 0, 30),
];

/// The made-up world cannot be told: a manifest has changed and the story has not.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// A manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The made-up chain has no deployment.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// A log is not the event it should be.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The story has an event that no manifest lists.
    #[error("manifest {manifest} lists no {event} of {contract}")]
    NotListed {
        /// The manifest.
        manifest: &'static str,
        /// The contract.
        contract: &'static str,
        /// The event.
        event: &'static str,
    },
}

/// All facts of the year, in order. The last block is final.
pub fn facts() -> Result<Vec<Fact>, WorldError> {
    Ok(World::told(DAYS)?.facts)
}

/// An address of the made-up world.
fn address(of: &str, number: usize) -> Address {
    Address::from_word(keccak256(format!("assay-demo {of} {number}")))
}

fn operator(number: usize) -> OperatorId {
    OperatorId(address("operator", number))
}

fn set(avs: usize, id: u32) -> OperatorSetId {
    OperatorSetId { avs: AvsId(address("avs", avs)), id }
}

const fn block_at(day: u64, block_of_day: u64) -> u64 {
    BEGIN_BLOCK + day * DAY_BLOCKS + block_of_day
}

const fn time_at(day: u64, block_of_day: u64) -> u64 {
    BEGIN_TIME + 12 * (day * DAY_BLOCKS + block_of_day)
}

const fn day_of(block: u64) -> u64 {
    (block - BEGIN_BLOCK) / DAY_BLOCKS
}

/// The operator whose name stands in a document elsewhere, as names of real ones do.
const DOCUMENTED: usize = 0;
const DOCUMENT_URI: &str = "https://names.example/wren.json";
const DOCUMENT: &str = r#"{"name":"Operator Wren (DEMO)","website":"https://wren.example/"}"#;

/// What something calls itself.
fn name(name: &str) -> UntrustedText {
    UntrustedText(format!("data:,{}%20(DEMO)", name.replace(' ', "%20")).into_bytes())
}

fn ether(amount: u64) -> U256 {
    U256::from(amount) * U256::from(WAD)
}

/// The year so far.
#[derive(Debug)]
struct World {
    facts: Vec<Fact>,
    block: BlockRef,
    slashes: u64,
    /// What is left of each operator's stake, 1e-18, and of its allocations.
    left: BTreeMap<usize, u64>,
    allocated: BTreeMap<(usize, usize, u32), u64>,
    /// Wei in the pods of the tokens' restakers.
    pods: BTreeMap<Address, U256>,
    manifests: Vec<Manifest>,
    decoder: Decoder,
}

impl World {
    fn new() -> Result<Self, WorldError> {
        let elsewhere =
            |known: Address| Address::from_word(keccak256(format!("assay-demo {known}")));
        let manifests = Manifest::made_up(CHAIN_ID, elsewhere)?;
        let deployment = format!(
            "[[deployment]]\nname = \"demo\"\nchain_id = {CHAIN_ID}\nstart_block = {BEGIN_BLOCK}"
        );
        let contracts = Contracts::new(CHAIN_ID, &parse_deployments(&deployment)?)?;
        let decoder = Decoder::new(contracts.with_manifests(&manifests)?);
        Ok(Self {
            facts: Vec::new(),
            block: BlockRef::default(),
            slashes: 0,
            left: BTreeMap::new(),
            allocated: BTreeMap::new(),
            pods: BTreeMap::new(),
            manifests,
            decoder,
        })
    }

    /// The world as it is at the end of a day.
    fn told(until: u64) -> Result<Self, WorldError> {
        let mut world = Self::new()?;
        world.found();
        for day in 2..=until {
            world.lrt_day(day)?;
            world.live(day);
        }
        Ok(world)
    }

    /// Goes on to a block: what is said next is in it.
    fn at(&mut self, day: u64, block_of_day: u64) {
        let number = block_at(day, block_of_day);
        let hash = keccak256(format!("assay-demo block {number}"));
        self.block = BlockRef { number, hash, timestamp: time_at(day, block_of_day) };
    }

    fn say(&mut self, event: Event) {
        self.facts.push(Fact {
            chain_id: CHAIN_ID,
            block: self.block,
            tx_hash: self.tx_hash(),
            log_index: self.log_index(),
            emitter: address("contract", 0),
            event,
        });
    }

    /// A log of a protocol's contract, read as it is on mainnet.
    fn emit(
        &mut self,
        manifest: &'static str,
        contract: &'static str,
        event: &'static str,
        values: &[DynSolValue],
    ) -> Result<(), WorldError> {
        let not_listed = WorldError::NotListed { manifest, contract, event };
        let found = self.manifests.iter().find(|one| one.name == manifest);
        let Some(emission) = found.and_then(|found| found.emission(contract, event, values)) else {
            return Err(not_listed);
        };
        let log = ChainLog {
            address: emission.address,
            topics: emission.topics,
            data: emission.data,
            block_number: self.block.number,
            block_hash: self.block.hash,
            block_timestamp: Some(self.block.timestamp),
            tx_hash: self.tx_hash(),
            log_index: self.log_index(),
            removed: false,
        };
        self.facts.push(self.decoder.decode(log, self.block.timestamp)?.ok_or(not_listed)?);
        Ok(())
    }

    fn tx_hash(&self) -> B256 {
        keccak256(format!("assay-demo tx {}", self.block.number))
    }

    fn log_index(&self) -> u32 {
        let here = self.facts.iter().rev().take_while(|fact| fact.block == self.block).count();
        u32::try_from(here).unwrap_or(u32::MAX)
    }

    /// The first days: everybody appears.
    fn found(&mut self) {
        self.at(0, 10);
        for (avs, (called, recipients)) in AVSS.iter().enumerate() {
            let id = AvsId(address("avs", avs));
            self.say(Event::AvsMetadataUriUpdated { avs: id, metadata_uri: name(called) });
            for (number, recipient) in (0_u32..).zip(*recipients) {
                let operator_set = set(avs, number);
                self.say(Event::OperatorSetCreated { operator_set });
                let slasher = address("slasher", avs);
                self.say(Event::SlasherUpdated { operator_set, slasher, effect_block: 0 });
                let strategy = StrategyId(ETH);
                self.say(Event::StrategyAddedToOperatorSet { operator_set, strategy });
                let redistribution_recipient = match recipient {
                    Recipient::Nobody => continue,
                    Recipient::Treasury => address("treasury", avs),
                    Recipient::Itself => id.0,
                };
                self.say(Event::RedistributionAddressSet {
                    operator_set,
                    redistribution_recipient,
                });
            }
        }
        self.at(1, 10);
        for (number, (called, amount, delay)) in OPERATORS.iter().enumerate() {
            let id = operator(number);
            let delegation_approver = Address::ZERO;
            self.say(Event::OperatorRegistered { operator: id, delegation_approver });
            let metadata_uri = match number {
                DOCUMENTED => UntrustedText(DOCUMENT_URI.as_bytes().to_vec()),
                _ => name(&format!("Operator {called}")),
            };
            self.say(Event::OperatorMetadataUriUpdated { operator: id, metadata_uri });
            if let Some(delay_blocks) = *delay {
                let effect_block = u32::try_from(self.block.number).unwrap_or(u32::MAX);
                self.say(Event::AllocationDelaySet { operator: id, delay_blocks, effect_block });
            }
            self.say(Event::OperatorSharesIncreased {
                operator: id,
                staker: StakerId(address("staker", number)),
                strategy: StrategyId(ETH),
                shares: ether(*amount),
            });
            self.left.insert(number, WAD);
        }
    }

    /// A day: somebody delegates, somebody allocates, and now and then something happens.
    fn live(&mut self, day: u64) {
        self.at(day, MORNING);
        let number = usize::try_from(day).unwrap_or_default() % OPERATORS.len();
        self.say(Event::OperatorSharesIncreased {
            operator: operator(number),
            staker: StakerId(address("staker", 100 + number)),
            strategy: StrategyId(ETH),
            shares: ether(1 + day % 37),
        });
        for (_, who, avs, id, parts) in ALLOCATIONS.iter().filter(|one| one.0 == day) {
            self.allocate(*who, *avs, *id, WAD / 1_000 * parts);
        }
        self.pay(day);
        match day {
            // Tidewater slashes Dunlin a tenth; it is burnt a week later.
            120 => self.slash(6, 2, 0, 10, "missed 4 of 5 rounds (DEMO)"),
            128 => self.release(1),
            // Gannet Oracle slashes Avocet; its treasury takes it, and holders of the third token
            // see its rate fall.
            lrt::LOSS_DAY => self.slash(3, 4, 0, 60, "two reports for round 88213 (DEMO)"),
            lrt::RELEASED_DAY => self.release(2),
            // Tidewater replaces the code that slashes for it; Kestrel DA's council of nine needs
            // three signatures and no more five.
            UPGRADE_DAY => {
                let (contract, implementation) = (address("slasher", 2), address("code", 2));
                self.say(Event::ContractUpgraded { of: Governed::Named, contract, implementation });
            }
            THRESHOLD_DAY => {
                let (safe, threshold) = (address("slasher", 3), U256::from(3));
                self.say(Event::SafeThresholdChanged { of: Governed::Named, safe, threshold });
            }
            // Gannet Oracle's timelock holds for ten days what names it another slasher.
            SCHEDULE_DAY => {
                let target = address("contract", 0);
                let signature = keccak256("updateSlasher((address,uint32),address)");
                self.say(Event::TimelockCallScheduled(Box::new(ScheduledCall {
                    of: Governed::Named,
                    timelock: address("slasher", 4),
                    operation: keccak256("operation (DEMO)"),
                    index: U256::ZERO,
                    target,
                    value: U256::ZERO,
                    selector: signature.first_chunk().copied(),
                    data_hash: keccak256("data (DEMO)"),
                    predecessor: B256::ZERO,
                    wait: TimelockWait::Delay(U256::from(10 * 86_400)),
                    about: target,
                    about_of: Some(Governed::Platform),
                })));
            }
            // Heron gives up its notice.
            345 => {
                let effect_block = u32::try_from(self.block.number).unwrap_or(u32::MAX);
                let (operator, delay_blocks) = (operator(1), 0);
                self.say(Event::AllocationDelaySet { operator, delay_blocks, effect_block });
            }
            // Lattice slashes two operators, to its own benefit; nothing is released yet.
            362 => self.slash(1, 1, 0, 60, "see lattice.example/incident (DEMO)"),
            363 => self.slash(4, 1, 0, 100, "<b>claim your refund</b> at lattice.example (DEMO)"),
            _ => {}
        }
    }

    fn allocate(&mut self, who: usize, avs: usize, id: u32, magnitude: u64) {
        let (operator, operator_set, strategy) = (operator(who), set(avs, id), StrategyId(ETH));
        self.say(Event::OperatorAddedToOperatorSet { operator, operator_set });
        let delay = OPERATORS[who].2.unwrap_or(126_000);
        let effect_block = u32::try_from(self.block.number).unwrap_or(u32::MAX) + delay;
        let updated =
            Event::AllocationUpdated { operator, operator_set, strategy, magnitude, effect_block };
        self.allocated.insert((who, avs, id), magnitude);
        let encumbered_magnitude = self.encumbered(who);
        self.say(Event::EncumberedMagnitudeUpdated { operator, strategy, encumbered_magnitude });
        self.say(updated);
    }

    fn encumbered(&self, who: usize) -> u64 {
        self.allocated.iter().filter(|((of, ..), _)| *of == who).map(|(_, parts)| parts).sum()
    }

    /// Takes a percentage of an allocation, with every event that the contracts emit for it.
    fn slash(&mut self, who: usize, avs: usize, id: u32, percent: u64, words: &str) {
        self.at(day_of(self.block.number), SLASH_PLACE);
        self.slashes += 1;
        let (operator, operator_set, strategy) = (operator(who), set(avs, id), StrategyId(ETH));
        let before = self.left.get(&who).copied().unwrap_or(WAD);
        let allocated = self.allocated.get(&(who, avs, id)).copied().unwrap_or_default();
        let taken = allocated / 100 * percent;
        self.left.insert(who, before - taken);
        self.allocated.insert((who, avs, id), allocated - taken);
        let effect_block = u32::try_from(self.block.number).unwrap_or(u32::MAX);
        let magnitude = allocated - taken;
        self.say(Event::AllocationUpdated {
            operator,
            operator_set,
            strategy,
            magnitude,
            effect_block,
        });
        let encumbered_magnitude = self.encumbered(who);
        self.say(Event::EncumberedMagnitudeUpdated { operator, strategy, encumbered_magnitude });
        let max_magnitude = before - taken;
        self.say(Event::MaxMagnitudeUpdated { operator, strategy, max_magnitude });
        let shares = self.taken(who, before, taken);
        self.say(Event::OperatorSharesDecreased {
            operator,
            staker: StakerId(Address::ZERO),
            strategy,
            shares,
        });
        self.say(Event::OperatorSharesSlashed { operator, strategy, total_slashed_shares: shares });
        let slash_id = U256::from(self.slashes);
        self.say(Event::BurnOrRedistributableSharesIncreased {
            operator_set,
            slash_id,
            strategy,
            shares,
        });
        let wad = U256::from(taken) * U256::from(WAD) / U256::from(before);
        self.say(Event::OperatorSlashed {
            operator,
            operator_set,
            strategies: vec![strategy],
            wad_slashed: vec![wad],
            description: UntrustedText(words.as_bytes().to_vec()),
        });
    }

    /// Shares lost with a part of the magnitude: the operator's shares by now, in proportion.
    fn taken(&self, who: usize, before: u64, taken: u64) -> U256 {
        let held = self.facts.iter().fold(U256::ZERO, |held, fact| match &fact.event {
            Event::OperatorSharesIncreased { operator: of, strategy, shares, .. }
                if *of == operator(who) && strategy.0 == ETH =>
            {
                held + shares
            }
            Event::OperatorSharesDecreased { operator: of, strategy, shares, .. }
                if *of == operator(who) && strategy.0 == ETH =>
            {
                held - shares
            }
            _ => held,
        });
        held * U256::from(taken) / U256::from(before)
    }

    /// What a slash took is burnt or handed over.
    fn release(&mut self, number: u64) {
        let found = self.facts.iter().find_map(|fact| match &fact.event {
            Event::BurnOrRedistributableSharesIncreased {
                operator_set,
                slash_id,
                strategy,
                shares,
            } if *slash_id == U256::from(number) => Some((*operator_set, *strategy, *shares)),
            _ => None,
        });
        if let Some((operator_set, strategy, shares)) = found {
            let slash_id = U256::from(number);
            self.say(Event::BurnOrRedistributableSharesDecreased {
                operator_set,
                slash_id,
                strategy,
                shares,
            });
        }
    }
}

/// The block of the last fact.
pub fn head(facts: &[Fact]) -> BlockRef {
    facts.last().map_or(BlockRef { number: 0, hash: B256::ZERO, timestamp: 0 }, |fact| fact.block)
}
