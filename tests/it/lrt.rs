//! Liquid restaking tokens, from logs of each protocol's real ABI to the API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy::dyn_abi::{DynSolValue, Specifier as _};
use alloy::json_abi;
use alloy::primitives::{Address, B256, U256, address};
use assay::chain::catalog::{Catalog, Declaration};
use assay::chain::manifest::{ListedContract, Manifest};
use assay::chain::scripted::Emission;
use assay::chain::{ChainLog, Contract, Topics};
use assay::event_store::Batch;
use assay::rater::Rater;
use assay_domain::assess::{When, assess};
use assay_domain::decimal::Ppt;
use assay_domain::lrt::{LookThrough, Place};
use assay_domain::methodology::Methodology;
use assay_domain::tail::{Tail, loss_model};
use assay_domain::uncertainty::NotRated;
use assay_domain::{
    BlockRef, Event, Fact, LrtId, OperatorId, OperatorSetId, RatedEntity, StakerId, State,
    StrategyId,
};
use serde_json::{Value, json};

use crate::chain_decode::{address_of, encode, mainnet, sample};
use crate::chain_shared::shared;
use crate::support;

/// The first block of an epoch.
pub(crate) const START: u64 = 22_500_000;
pub(crate) const WAD: u64 = 1_000_000_000_000_000_000;
pub(crate) const BEACON: Address = address!("beaC0eeEeeeeEEeEeEEEEeeEEeEeeeEeeEEBEaC0");
const PROTOCOLS: [&str; 5] = ["etherfi", "kelp", "puffer", "renzo", "swell"];

pub(crate) fn ether(milli: u64) -> U256 {
    U256::from(milli) * U256::from(WAD / 1_000)
}

pub(crate) fn uint(value: U256) -> DynSolValue {
    DynSolValue::Uint(value, 256)
}

pub(crate) fn number(value: u64, bits: usize) -> DynSolValue {
    DynSolValue::Uint(U256::from(value), bits)
}

pub(crate) fn who(address: Address) -> DynSolValue {
    DynSolValue::Address(address)
}

pub(crate) fn set(avs: Address, id: u64) -> DynSolValue {
    DynSolValue::Tuple(vec![who(avs), number(id, 32)])
}

fn manifest(name: &str) -> &'static Manifest {
    Manifest::built_in().unwrap().iter().find(|one| one.name == name).unwrap()
}

pub(crate) fn token(name: &str) -> LrtId {
    manifest(name).token.unwrap()
}

/// A chain that contracts speak on, one block a log.
pub(crate) struct Speaker {
    pub(crate) block: u64,
    pub(crate) facts: Vec<Fact>,
}

impl Speaker {
    fn new() -> Self {
        Self { block: START, facts: Vec::new() }
    }

    fn say(&mut self, emission: Emission) {
        self.block += 1;
        let log = ChainLog {
            address: emission.address,
            topics: emission.topics,
            data: emission.data,
            block_number: self.block,
            block_hash: B256::from(U256::from(self.block)),
            block_timestamp: None,
            tx_hash: B256::repeat_byte(2),
            log_index: 0,
            removed: false,
        };
        let time = 1_746_500_000 + (self.block - START) * 12;
        self.facts.push(mainnet().decode(log, time).unwrap().expect("a fact"));
    }

    /// An event of a protocol's contract, by its manifest.
    fn listed(&mut self, protocol: &str, contract: &str, event: &str, values: &[DynSolValue]) {
        let emission = manifest(protocol).emission(contract, event, values);
        self.say(emission.unwrap_or_else(|| panic!("{protocol} {contract} {event}")));
    }

    /// An event of EigenLayer's own, in its newest form.
    pub(crate) fn core(&mut self, contract: Contract, event: &str, values: &[DynSolValue]) {
        let is_it = |one: &&Declaration| {
            one.contract == contract.name()
                && one.event.name == event
                && one.event.inputs.len() == values.len()
        };
        let declared = Catalog::eigenlayer().declarations().iter().rfind(is_it);
        let event = &declared.unwrap_or_else(|| panic!("{event}")).event;
        self.say(Emission::new(address_of(contract), event, values).unwrap());
    }

    pub(crate) fn state(&self) -> State {
        let mut state = State::default();
        for fact in &self.facts {
            state.apply(fact).unwrap();
        }
        state
    }
}

/// Two operators and three operator sets of two AVSs.
pub(crate) struct World {
    pub(crate) a: Address,
    pub(crate) b: Address,
    pub(crate) x: Address,
    pub(crate) y: Address,
}

pub(crate) const WORLD: World = World {
    a: Address::repeat_byte(0xa1),
    b: Address::repeat_byte(0xb1),
    x: Address::repeat_byte(0xc1),
    y: Address::repeat_byte(0xc2),
};

/// The stakers of a protocol: the first delegates to operator A, the second to B, the third to
/// nobody.
fn stakers(protocol: &str) -> [Address; 3] {
    let index = PROTOCOLS.iter().position(|one| *one == protocol).unwrap();
    let byte = |which: u8| Address::repeat_byte(0x10 * (u8::try_from(index).unwrap() + 1) + which);
    [byte(1), byte(2), byte(3)]
}

const ALLOCATED: &str = "AllocationUpdated";

fn operators(chain: &mut Speaker) {
    let World { a, b, x, y } = WORLD;
    let (allocation, delegation) = (Contract::AllocationManager, Contract::DelegationManager);
    for (avs, id) in [(x, 1), (x, 2), (y, 7)] {
        chain.core(allocation, "OperatorSetCreated", &[set(avs, id)]);
        chain.core(allocation, "StrategyAddedToOperatorSet", &[set(avs, id), who(BEACON)]);
    }
    let joins = "OperatorAddedToOperatorSet";
    for (operator, avs, id, magnitude) in
        [(a, x, 1, 300), (a, y, 7, 250), (b, x, 1, 200), (b, x, 2, 100)]
    {
        chain.core(delegation, "OperatorRegistered", &[who(operator), who(Address::ZERO)]);
        chain.core(allocation, joins, &[who(operator), set(avs, id)]);
        let magnitude = number(magnitude * (WAD / 1_000), 64);
        let at = number(chain.block, 32);
        chain.core(
            allocation,
            ALLOCATED,
            &[who(operator), set(avs, id), who(BEACON), magnitude, at],
        );
    }
}

/// Set 1 of X takes a third of what A allocated to it: 10 % of all.
fn slash(chain: &mut Speaker) {
    let World { a, x, .. } = WORLD;
    let allocation = Contract::AllocationManager;
    let (left, max) = (number(200 * (WAD / 1_000), 64), number(900 * (WAD / 1_000), 64));
    let at = number(chain.block, 32);
    chain.core(allocation, ALLOCATED, &[who(a), set(x, 1), who(BEACON), left, at]);
    chain.core(allocation, "MaxMagnitudeUpdated", &[who(a), who(BEACON), max]);
}

/// What stands behind a protocol: shares of odd amounts, a scaling factor, a queued withdrawal.
fn restake(chain: &mut Speaker, protocol: &str) {
    let [first, second, third] = stakers(protocol);
    let World { a, b, .. } = WORLD;
    let delegation = Contract::DelegationManager;
    for (staker, operator) in [(first, a), (second, b)] {
        chain.core(delegation, "StakerDelegated", &[who(staker), who(operator)]);
    }
    let scaling = uint(U256::from(1_234_567_890_123_456_789_u64));
    chain.core(delegation, "DepositScalingFactorUpdated", &[who(second), who(BEACON), scaling]);
    for (staker, shares) in deposits(protocol) {
        let shares = DynSolValue::Int(shares.try_into().unwrap(), 256);
        chain.core(Contract::EigenPodManager, "NewTotalShares", &[who(staker), shares]);
    }
    assert_ne!(third, first);
    let withdrawal = DynSolValue::Tuple(vec![
        who(first),
        who(a),
        who(first),
        uint(U256::ZERO),
        number(chain.block, 32),
        DynSolValue::Array(vec![who(BEACON)]),
        DynSolValue::Array(vec![uint(queued())]),
    ]);
    chain.core(
        delegation,
        "SlashingWithdrawalQueued",
        &[
            DynSolValue::FixedBytes(first.into_word(), 32),
            withdrawal,
            DynSolValue::Array(vec![uint(queued())]),
        ],
    );
}

fn deposits(protocol: &str) -> [(Address, U256); 3] {
    let [first, second, third] = stakers(protocol);
    [
        (first, ether(600_000) + U256::from(7)),
        (second, ether(300_000) + U256::from(11)),
        (third, ether(50_000) + U256::from(13)),
    ]
}

fn queued() -> U256 {
    ether(32_000) + U256::from(3)
}

/// What each protocol's own contracts say, through every event its manifest lists but a few.
fn protocol(chain: &mut Speaker, name: &str) {
    let [first, second, third] = stakers(name);
    let all = DynSolValue::Array([first, second, third].map(who).to_vec());
    let user = who(Address::repeat_byte(0x77));
    let zero = || uint(U256::ZERO);
    match name {
        "renzo" => {
            for staker in [first, second, third] {
                chain.listed(name, "RestakeManager", "OperatorDelegatorAdded", &[who(staker)]);
            }
            let native = who(Address::ZERO);
            chain.listed(
                name,
                "RestakeManager",
                "Deposit",
                &[user.clone(), native, uint(ether(100_000)), uint(ether(98_000)), zero()],
            );
            chain.listed(name, "WithdrawQueue", "EthBufferFilled", &[uint(ether(90_000))]);
            let cooldown = [zero(), uint(U256::from(259_200))];
            chain.listed(name, "WithdrawQueue", "CoolDownPeriodUpdated", &cooldown);
            let claimed = who(Address::repeat_byte(0xee));
            for (request, amount) in [(1, 5_000), (2, 3_000)] {
                let request = [
                    number(request, 256),
                    user.clone(),
                    claimed.clone(),
                    uint(ether(amount + 100)),
                    uint(ether(amount)),
                    zero(),
                    DynSolValue::Bool(false),
                    zero(),
                ];
                chain.listed(name, "WithdrawQueue", "WithdrawRequestCreated", &request);
            }
            let request = DynSolValue::Tuple(vec![
                claimed,
                number(1, 256),
                uint(ether(5_100)),
                uint(ether(5_000)),
                zero(),
            ]);
            chain.listed(name, "WithdrawQueue", "WithdrawRequestClaimed", &[request]);
        }
        "swell" => {
            for staker in [first, second, third] {
                chain.listed(name, "EigenLayerManager", "StakerCreated", &[who(staker)]);
            }
            let snapshot = [number(1, 256), zero(), zero(), zero(), uint(ether(1_100_000)), zero()];
            chain.listed(name, "RepricingOracle", "SnapshotSubmittedV2", &snapshot);
            let reserves = [
                number(1, 256),
                zero(),
                zero(),
                zero(),
                zero(),
                uint(ether(1_155_000)),
                zero(),
                zero(),
            ];
            chain.listed(name, "RepricingOracle", "ReservesRecordedV2", &reserves);
            let reprice = [uint(ether(1_155_000)), uint(ether(1_050)), zero(), zero(), zero()];
            chain.listed(name, "rswETH", "Reprice", &reprice);
            let guard = [zero(), uint(ether(20))];
            chain.listed(name, "rswETH", "MaximumRepriceDifferencePercentageUpdated", &guard);
            let deposit = [user.clone(), uint(ether(21)), uint(ether(20)), zero(), user.clone()];
            chain.listed(name, "rswETH", "ETHDepositReceived", &deposit);
            let request =
                [number(7, 256), uint(ether(3_000)), zero(), zero(), zero(), user.clone()];
            chain.listed(name, "rswEXIT", "WithdrawRequestCreated", &request);
        }
        "etherfi" => {
            chain.listed(name, "StakingManager", "EtherFiNodeDeployed", &[who(first)]);
            chain.listed(name, "StakingManager", "EtherFiNodeDeployed", &[who(third)]);
            let hash = DynSolValue::FixedBytes(B256::repeat_byte(9), 32);
            let linked = [hash, who(second), zero(), DynSolValue::Bytes(vec![1; 48])];
            chain.listed(name, "EtherFiNodesManager", "PubkeyLinked", &linked);
            let totals = [uint(ether(1_200_000)), uint(ether(1_100_000))];
            chain.listed(name, "LiquidityPool", "Rebase", &totals);
            chain.listed(name, "EtherFiAdmin", "MaxNegativeRebaseBpsUpdated", &[number(3, 256)]);
            for (event, request) in [
                ("WithdrawRequestCreated", 9),
                ("WithdrawRequestCreated", 10),
                ("WithdrawRequestClaimed", 9),
            ] {
                let request =
                    [number(request, 32), uint(ether(2_200)), uint(ether(2_000)), user.clone()];
                chain.listed(name, "WithdrawRequestNFT", event, &request);
            }
        }
        "kelp" => {
            chain.listed(name, "LRTDepositPool", "NodeDelegatorAddedinQueue", &[all]);
            for (new, old) in [(1_020, 1_000), (1_015, 1_020), (1_030, 1_015)] {
                let price = [uint(ether(new)), uint(ether(old))];
                chain.listed(name, "LRTOracle", "RsETHPriceUpdate", &price);
            }
            chain.listed(name, "LRTOracle", "PricePercentageLimitUpdate", &[uint(ether(10))]);
            let asset = who(Address::repeat_byte(0xee));
            let queued = [user.clone(), asset.clone(), uint(ether(4_000)), zero()];
            chain.listed(name, "LRTWithdrawalManager", "AssetWithdrawalQueued", &queued);
            let ended = [user.clone(), asset, uint(ether(1_500)), uint(ether(1_545))];
            chain.listed(name, "LRTWithdrawalManager", "AssetWithdrawalFinalized", &ended);
            let delay = [number(57_600, 256)];
            chain.listed(name, "LRTWithdrawalManager", "WithdrawalDelayBlocksUpdated", &delay);
            let moved = [user.clone(), uint(ether(50_000))];
            chain.listed(name, "LRTUnstakingVault", "EthReceived", &moved);
            let moved = [user, uint(ether(20_000))];
            chain.listed(name, "LRTUnstakingVault", "EthTransferred", &moved);
        }
        "puffer" => {
            for staker in [first, second, third] {
                let name_of = DynSolValue::FixedBytes(staker.into_word(), 32);
                let module = [who(staker), name_of.clone(), name_of];
                chain.listed(name, "PufferProtocol", "NewPufferModuleCreated", &module);
            }
            for (assets, shares) in [(10_000, 9_500), (21, 20)] {
                let deposit =
                    [user.clone(), user.clone(), uint(ether(assets)), uint(ether(shares))];
                chain.listed(name, "PufferVault", "Deposit", &deposit);
            }
            let request = [number(3, 256), zero(), uint(ether(2_000)), user.clone()];
            chain.listed(name, "PufferWithdrawalManager", "WithdrawalRequested", &request);
        }
        other => panic!("{other}"),
    }
}

/// All five protocols, restaked with the same operators, one of which was slashed since.
pub(crate) fn five() -> Speaker {
    let mut chain = Speaker::new();
    operators(&mut chain);
    for name in PROTOCOLS {
        protocol(&mut chain, name);
        restake(&mut chain, name);
    }
    slash(&mut chain);
    chain
}

pub(crate) fn methodology() -> Methodology {
    Methodology::version_1().unwrap()
}

fn mul(x: U256, y: U256) -> U256 {
    x * y / U256::from(WAD)
}

/// What the contracts would say of a protocol's shares, by the arithmetic of `SlashingLib` written
/// out: the positions with operators A and B, and the one with nobody.
fn expected(protocol: &str) -> BTreeMap<Place, U256> {
    let World { a, b, x, y } = WORLD;
    let [(_, first), (_, second), (_, third)] = deposits(protocol);
    let milli = |value: u64| U256::from(value * (WAD / 1_000));
    let with_a = mul(first, milli(900)) + mul(queued(), milli(900));
    let with_b = mul(second, U256::from(1_234_567_890_123_456_789_u64));
    let strategy = StrategyId(BEACON);
    let mut places = BTreeMap::new();
    for (operator, shares, max, sets) in [
        (a, with_a, 900, vec![(x, 1, 200), (y, 7, 250)]),
        (b, with_b, 1_000, vec![(x, 1, 200), (x, 2, 100)]),
    ] {
        let operator = OperatorId(operator);
        let mut rest = shares;
        for (avs, id, magnitude) in sets {
            let operator_set = OperatorSetId { avs: assay_domain::AvsId(avs), id };
            let value = shares * milli(magnitude) / milli(max);
            rest -= value;
            places.insert(Place::Slashable { operator, operator_set, strategy }, value);
        }
        places.insert(Place::Unallocated { operator, strategy }, rest);
    }
    places.insert(Place::Undelegated { strategy }, third);
    places
}

#[test]
fn five_protocols_are_looked_through_to_operator_sets_to_the_wei() {
    let chain = five();
    let state = chain.state();
    let known = &state.chains[&1];
    for name in PROTOCOLS {
        let entity = RatedEntity::lrt(1, token(name));
        let at = BlockRef { number: chain.block, ..BlockRef::default() };
        let opinion = assess(known, &entity, When::at(at), &methodology());
        let lrt = opinion.lrt.as_ref().unwrap_or_else(|| panic!("{name} is not looked through"));
        let LookThrough { nav, seen, positions, unpriced, .. } = &lrt.look_through;
        let sum: U256 = positions.iter().map(|position| position.value).sum();
        assert_eq!(sum, *nav, "{name}: every wei is in one place");
        let found: BTreeMap<Place, U256> = positions
            .iter()
            .filter(|one| !matches!(one.place, Place::Buffer | Place::Unseen))
            .map(|one| (one.place, one.value))
            .collect();
        assert_eq!(found, expected(name), "{name}");
        assert!(unpriced.is_empty());
        let buffer = match name {
            "renzo" => ether(90_000 - 5_100),
            "kelp" => ether(50_000 - 20_000),
            _ => U256::ZERO,
        };
        assert_eq!(*seen, expected(name).values().copied().sum::<U256>() + buffer, "{name}");
        let stated = match name {
            "etherfi" => ether(1_200_000),
            "swell" => ether(1_155_000) + ether(21),
            _ => *seen,
        };
        assert_eq!(*nav, stated, "{name}");
    }
}

#[test]
fn what_each_protocol_says_is_what_the_state_holds() {
    let state = five().state();
    let lrts = &state.chains[&1].lrts;
    let lrt = |name: &str| &lrts[&token(name)];
    let rate = |name: &str| lrt(name).rate.unwrap().wei;
    for name in PROTOCOLS {
        let own: BTreeSet<StakerId> = stakers(name).into_iter().map(StakerId).collect();
        assert_eq!(lrt(name).stakers, own, "{name}");
    }
    assert_eq!(rate("renzo"), ether(100_000) * U256::from(WAD) / ether(98_000));
    assert_eq!(rate("swell"), ether(1_050));
    assert_eq!(rate("etherfi"), ether(1_200_000) * U256::from(WAD) / ether(1_100_000));
    assert_eq!(rate("kelp"), ether(1_030));
    // 10 / 9.5 is 1.0526…; a mint of 20 for 21 milli-ether says 1.05.
    assert_eq!(rate("puffer"), ether(1_050));
    assert!(!lrt("puffer").rate.unwrap().is_stated && lrt("kelp").rate.unwrap().is_stated);
    assert_eq!(lrt("renzo").queue.outstanding(), ether(3_000));
    assert_eq!(lrt("swell").queue.outstanding(), ether(3_000));
    assert_eq!(lrt("etherfi").queue.outstanding(), ether(2_000));
    assert_eq!(lrt("kelp").queue.outstanding(), ether(2_500));
    assert_eq!(lrt("puffer").queue.outstanding(), ether(2_000));
    assert_eq!(lrt("etherfi").nav_guard, Some(U256::from(3 * (WAD / 10_000))));
    assert_eq!(lrt("kelp").nav_guard, Some(ether(10)));
    assert_eq!(lrt("swell").nav_guard, Some(ether(20)));
    assert_eq!(lrt("kelp").worst_write_down, Ppt(4_901_960_784), "5 of 1,020");
    assert_eq!(lrt("swell").reserves.unwrap().amount, ether(1_155_000));
}

#[test]
fn the_distribution_of_a_token_adds_up() {
    let chain = five();
    let state = chain.state();
    let methodology = methodology();
    let at = BlockRef { number: chain.block, ..BlockRef::default() };
    for name in PROTOCOLS {
        let entity = RatedEntity::lrt(1, token(name));
        let opinion = assess(&state.chains[&1], &entity, When::at(at), &methodology);
        let lrt = opinion.lrt.as_ref().unwrap();
        let model = loss_model(&opinion.profile, Some(lrt.run), &methodology).unwrap();
        let tail = Tail::of(&model, 0);
        // The blocks sum to the mean of the distribution, but for the cap and a ppt a block.
        let blocks = opinion.profile.expected_loss().0;
        let mean = tail.expected_loss.0;
        assert!(mean <= blocks + 100 && blocks - mean < blocks / 50, "{name}: {mean} of {blocks}");
        let sum: u64 = tail.contributions.iter().map(|(_, part)| part.0).sum();
        assert_eq!(sum, tail.levels[1].1.0, "{name}: the tail's parts sum to its shortfall");
        assert!(tail.exceedance.is_sorted_by(|a, b| a.0 < b.0 && a.1 >= b.1), "{name}");
        assert_eq!(tail.exceedance.len(), 75);
        let above = tail.exceedance.iter().find(|(bp, _)| *bp == 100).unwrap().1;
        assert_eq!(above, tail.above_one_percent, "{name}");
        // Sets of X have one owner: one shock for both. Y is another.
        let shocks = |class: &str| {
            let is_class = |id: &str| id.starts_with(&format!("{class}|"));
            opinion.profile.blocks().iter().filter(|block| is_class(&block.id)).count()
        };
        assert_eq!((shocks("C3"), shocks("C4"), shocks("C5")), (2, 2, 3), "{name}");
        assert_eq!((shocks("C1"), shocks("C1w"), shocks("C2")), (4, 2, 4), "{name}");
        assert_eq!((shocks("C6"), shocks("C7"), shocks("C8")), (3, 1, 1), "{name}");
        assert!(lrt.slashing_loss.0 < lrt.loss_without_run.0, "{name}");
        assert!(lrt.loss_without_run.0 < blocks, "{name}: a run makes it worse");
    }
}

#[test]
fn collateral_without_a_price_is_not_rated_until_one_is_recorded() {
    let mut chain = five();
    let World { a, x, .. } = WORLD;
    let [first, ..] = stakers("kelp");
    let tokens = Address::repeat_byte(0x5e);
    let deposit = "Deposit";
    let shares = [who(first), who(tokens), uint(ether(500_000))];
    chain.core(Contract::StrategyManager, deposit, &shares);
    let refusal = |chain: &Speaker| {
        let at = BlockRef { number: chain.block, ..BlockRef::default() };
        let entity = RatedEntity::lrt(1, token("kelp"));
        let state = chain.state();
        let opinion = assess(&state.chains[&1], &entity, When::at(at), &methodology());
        let lrt = opinion.lrt.unwrap();
        (opinion.refusal, lrt.look_through.unpriced, lrt.look_through.seen)
    };
    let (refused, unpriced, before) = refusal(&chain);
    assert_eq!((refused, unpriced), (None, vec![StrategyId(tokens)]), "nothing can slash it");
    let at = number(chain.block, 32);
    let half = number(500 * (WAD / 1_000), 64);
    chain.core(Contract::AllocationManager, ALLOCATED, &[who(a), set(x, 1), who(tokens), half, at]);
    let added = "StrategyAddedToOperatorSet";
    chain.core(Contract::AllocationManager, added, &[set(x, 1), who(tokens)]);
    let (refused, _, _) = refusal(&chain);
    assert_eq!(refused, Some(NotRated::PriceUnknown { strategy: StrategyId(tokens) }));
    let price = Event::PriceUpdated { asset: tokens, price: ether(1_150) };
    let fact = Fact { event: price, ..chain.facts.last().unwrap().clone() };
    chain.facts.push(fact);
    let (refused, unpriced, after) = refusal(&chain);
    assert_eq!((refused, unpriced), (None, vec![]));
    assert_eq!(after - before, ether(500_000) * ether(1_150) / U256::from(WAD));
}

/// The five protocols in a database, rated.
pub(crate) async fn five_rated() -> support::TestDatabase {
    let chain = five();
    let database = support::database().await;
    let store = database.store().await;
    let last = START + 2 * 7_200 - 1;
    let finalized = BlockRef {
        number: last,
        hash: B256::repeat_byte(0xff),
        timestamp: 1_746_500_000 + (last - START) * 12,
    };
    let batch =
        Batch { chain_id: 1, facts: chain.facts, finalized: Some(finalized), ..Batch::default() };
    store.append(&batch).await.unwrap();
    Rater::new(store, Arc::new(methodology())).catch_up().await.unwrap();
    database
}

#[tokio::test]
async fn five_protocols_are_rated_and_answered() {
    let database = five_rated().await;
    let pool = database.pool().await;
    let query = "{ lrts(first: 10) { totalCount nodes {
        slug address
        rating { label expectedLossPpt attribution { block expectedLossPpt } }
        rates(first: 5) { nodes { rate isStated } }
        backing { nav seen slashingLossPpt
          positions(first: 20) { nodes { place value operatorAddress avsAddress operatorSetId
            operator { slug } operatorSet { slug } } }
          reserve { status coveragePpt } liquidity { grade days }
          lossDistribution { expectedLossPpt aboveOnePercentPpt worstBp hash
            levels { level valueAtRiskBp expectedShortfallPpt }
            exceedance { lossBp probabilityPpt }
            contributions { block shortfallPpt } afterReserve { reserveBp expectedLossPpt } }
    } } } }";
    let answer = assay_graphql::execute(&pool, query, json!({})).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer.get("errors"), None, "{answer}");
    let lrts = answer["data"]["lrts"]["nodes"].as_array().unwrap();
    assert_eq!(answer["data"]["lrts"]["totalCount"], 5);
    let big = |value: &Value| value.as_str().unwrap().parse::<u128>().unwrap();
    for lrt in lrts {
        let (backing, name) = (&lrt["backing"], lrt["slug"].as_str().unwrap());
        let positions = backing["positions"]["nodes"].as_array().unwrap();
        let sum: u128 = positions.iter().map(|one| big(&one["value"])).sum();
        assert_eq!(sum, big(&backing["nav"]), "{name}");
        let slashable = positions.iter().filter(|one| one["place"] == "SLASHABLE");
        let slashable: Vec<_> = slashable.collect();
        assert_eq!(slashable.len(), 4, "{name}");
        assert!(slashable.iter().all(|one| one["operatorSet"]["slug"].is_string()), "{name}");
        let blocks = lrt["rating"]["attribution"].as_array().unwrap();
        let sum: u128 = blocks.iter().map(|one| big(&one["expectedLossPpt"])).sum();
        assert_eq!(sum, big(&lrt["rating"]["expectedLossPpt"]), "{name}");
        let tail = &backing["lossDistribution"];
        assert_eq!(tail["exceedance"].as_array().unwrap().len(), 75, "{name}");
        let parts = tail["contributions"].as_array().unwrap();
        let sum: u128 = parts.iter().map(|one| big(&one["shortfallPpt"])).sum();
        assert_eq!(sum, big(&tail["levels"][1]["expectedShortfallPpt"]), "{name}");
        assert!(!lrt["rates"]["nodes"].as_array().unwrap().is_empty(), "{name}");
    }
    let reserve = |name: &str| {
        let slug = RatedEntity::lrt(1, token(name)).to_string();
        let lrt = lrts.iter().find(|one| one["slug"] == slug).unwrap();
        lrt["backing"]["reserve"]["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(reserve("swell"), "PROVEN", "its oracle counted what holders are owed");
    assert_eq!(reserve("etherfi"), "ABSENT", "the log shows less than is stated");
    assert_eq!(reserve("renzo"), "ABSENT", "the log says not what holders are owed");
}

/// Rows of `lrt_events.csv`: repository, contract, declaration, topic.
fn declared() -> Option<Vec<(String, String, String, B256)>> {
    let text = std::fs::read_to_string(shared("events/lrt_events.csv")?).unwrap();
    let row = |line: &str| {
        // Declarations are quoted where they hold a comma; nothing else is.
        let (mut fields, mut field, mut is_quoted) = (Vec::new(), String::new(), false);
        for character in line.chars() {
            match character {
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted => fields.push(std::mem::take(&mut field)),
                other => field.push(other),
            }
        }
        let topic = field.trim().parse().unwrap();
        (fields[0].clone(), fields[2].clone(), fields[3].clone(), topic)
    };
    Some(text.lines().skip(1).map(row).collect())
}

#[test]
fn every_listed_event_is_declared_so_by_its_protocol_and_decodes() {
    let Some(declared) = declared() else { return };
    let mut seed = 0;
    let (mut listed_events, mut standard) = (0, 0);
    for name in PROTOCOLS {
        for (contract, listed) in events(name) {
            listed_events += 1;
            let topic = listed.event.selector();
            if listed.standard.is_some() {
                standard += 1;
            } else {
                let is_it = |row: &&(String, String, String, B256)| {
                    row.3 == topic && row.1 == listed.interface
                };
                let row = declared.iter().find(is_it);
                let row = row.unwrap_or_else(|| panic!("{} is not declared", listed.name));
                assert_eq!(json_abi::Event::parse(&row.2).unwrap(), listed.event, "{}", row.2);
            }
            let inputs = listed.event.inputs.iter();
            let values: Vec<_> =
                inputs.map(|input| sample(&input.resolve().unwrap(), &mut seed)).collect();
            let mut chain = Speaker::new();
            chain.say(Emission::new(contract.address, &listed.event, &values).unwrap());
            let found = chain.facts[0].event.lrt();
            assert_eq!(found, Some(token(name)), "{}", listed.name);
            // Cut short or too long, it is refused.
            let (topics, data) = encode(&listed.event, &values);
            for data in [[data.as_slice(), &[0; 32]].concat(), data[..data.len() / 2].to_vec()] {
                let log = ChainLog {
                    address: contract.address,
                    topics: Topics::new(&topics).unwrap(),
                    data,
                    block_number: START,
                    block_hash: B256::ZERO,
                    block_timestamp: None,
                    tx_hash: B256::ZERO,
                    log_index: 0,
                    removed: false,
                };
                if log.data.len() != encode(&listed.event, &values).1.len() {
                    mainnet().decode(log, 0).expect_err(&listed.name);
                }
            }
        }
    }
    assert_eq!((listed_events, standard), (47, 2));
}

fn events(
    protocol: &str,
) -> impl Iterator<Item = (&'static ListedContract, &'static assay::chain::manifest::ListedEvent)> {
    manifest(protocol)
        .contracts
        .iter()
        .flat_map(|contract| contract.events.iter().map(move |event| (contract, event)))
}

#[test]
fn a_manifest_that_makes_no_sense_is_refused_with_the_reason() {
    let text = |to: &str| {
        format!(
            "name = \"x\"\nchain_id = 1\ntoken = \"{BEACON}\"\n[[contract]]\nname = \"C\"\n\
             address = \"{BEACON}\"\n[[contract.event]]\nabi = \"E(address who, uint256 amount)\"\n\
             to = {to}\n"
        )
    };
    for (to, reason) in [
        ("{ LrtBurned = { assets = \"sum\" } }", "it has no parameter sum"),
        ("{ LrtBurned = {} }", "the field assets is missing"),
        ("{ LrtBurned = { assets = \"amount\", x = \"who\" } }", "has no field x"),
        ("{ LrtSold = { assets = \"amount\" } }", "\"LrtSold\" is no domain event"),
        ("{ LrtBurned = { assets = \"amount.1\" } }", "amount has no component 1"),
    ] {
        let error = Manifest::parse("x.toml", &text(to)).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    Manifest::parse("x.toml", &text("{ LrtBurned = { assets = \"amount\" } }")).unwrap();
}

/// One series of the shared rates: report and what is priced, since a report may hold two.
type Series = BTreeMap<(String, String), BTreeMap<String, String>>;

fn daily_rates() -> Option<Series> {
    let text = std::fs::read_to_string(shared("lrt/rates-daily-2024.csv")?).unwrap();
    let mut series = Series::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [report, date, base, _, _, _, ratio, ..] = fields.as_slice() else { panic!("{line}") };
        let key = ((*report).to_owned(), (*base).to_owned());
        series.entry(key).or_default().insert((*date).to_owned(), (*ratio).to_owned());
    }
    Some(series)
}

#[test]
fn days_of_loss_in_real_rates_are_those_an_independent_count_finds() {
    let Some(series) = daily_rates() else { return };
    let (mut days, mut found_in_all) = (0, 0);
    for ((report, base), rates) in &series {
        // The count: a day whose rate is below that of the last day before it, as decimal text.
        let decimals: Vec<(u64, u64)> = rates
            .values()
            .map(|ratio| {
                let (whole, fraction) = ratio.split_once('.').unwrap();
                assert_eq!(fraction.len(), 10, "{ratio}");
                (whole.parse().unwrap(), fraction.parse().unwrap())
            })
            .collect();
        let expected = decimals.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64;
        // The product: the same rates as events of a protocol.
        let mut state = State::default();
        let subject = token("kelp");
        for (index, (date, (whole, fraction))) in rates.keys().zip(&decimals).enumerate() {
            let rate = U256::from(whole * WAD) + U256::from(fraction * 100_000_000);
            state
                .apply(&Fact {
                    chain_id: 1,
                    block: BlockRef {
                        number: START + index as u64,
                        hash: B256::ZERO,
                        timestamp: midnight(date) + 43_200,
                    },
                    tx_hash: B256::ZERO,
                    log_index: 0,
                    emitter: Address::ZERO,
                    event: Event::LrtRateUpdated { token: subject, rate, total_assets: None },
                })
                .unwrap();
        }
        let lrt = &state.chains[&1].lrts[&subject];
        assert_eq!(lrt.days.len(), rates.len(), "{report} {base}");
        assert_eq!(lrt.loss_days(), expected, "{report} {base}");
        days += rates.len();
        found_in_all += expected;
    }
    // Counted by a script of its own, in decimals.
    assert_eq!((series.len(), days, found_in_all), (29, 1_445, 107));
}

/// Seconds since 1970 at the start of a date, UTC.
fn midnight(date: &str) -> u64 {
    let parts: Vec<u64> = date.split('-').map(|part| part.parse().unwrap()).collect();
    let [year, month, day] = parts[..] else { panic!("{date}") };
    assert_eq!(year, 2024, "a leap year");
    let before: u64 = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        .iter()
        .take(usize::try_from(month - 1).unwrap())
        .sum();
    1_704_067_200 + (before + day - 1) * 86_400
}
