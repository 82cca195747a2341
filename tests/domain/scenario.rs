//! Scenarios: events that have not happened, through the same fold; and what moves an operator.

use alloy_primitives::{Address, B256, U256};
use assay_domain::assess::{When, sensitivities};
use assay_domain::decimal::Ppt;
use assay_domain::grade::Grade;
use assay_domain::loss_block::LossClass;
use assay_domain::methodology::Methodology;
use assay_domain::mitigation::Mitigant;
use assay_domain::scenario::{
    Baseline, Scenario, ScenarioError, Shock, StressSet, Targets, apply, effects,
};
use assay_domain::sensitivity::Change;
use assay_domain::state::ChainState;
use assay_domain::state::experience::BEACON_CHAIN_ETH;
use assay_domain::{
    AvsId, BlockRef, Event, Fact, OperatorId, OperatorSetId, RatedEntity, StakerId, State,
    StrategyId,
};

const CHAIN: u64 = 1;
const SET: OperatorSetId = OperatorSetId { avs: AvsId(Address::repeat_byte(3)), id: 0 };
const WAD: u64 = 1_000_000_000_000_000_000;

fn operator(number: u8) -> OperatorId {
    OperatorId(Address::repeat_byte(number))
}

/// Operators 1 and 2 in one set: 100 and 50 ether, half and a quarter of it allocated.
fn chain() -> ChainState {
    let mut events = vec![
        Event::OperatorSetCreated { operator_set: SET },
        Event::StrategyAddedToOperatorSet { operator_set: SET, strategy: BEACON_CHAIN_ETH },
    ];
    for (number, ether, magnitude) in [(1, 100_u64, WAD / 2), (2, 50, WAD / 4)] {
        let operator = operator(number);
        events.extend([
            Event::OperatorAddedToOperatorSet { operator, operator_set: SET },
            Event::OperatorSharesIncreased {
                operator,
                staker: StakerId(Address::repeat_byte(9)),
                strategy: BEACON_CHAIN_ETH,
                shares: U256::from(ether) * U256::from(WAD),
            },
            Event::AllocationUpdated {
                operator,
                operator_set: SET,
                strategy: BEACON_CHAIN_ETH,
                magnitude,
                effect_block: 10,
            },
            Event::EncumberedMagnitudeUpdated {
                operator,
                strategy: BEACON_CHAIN_ETH,
                encumbered_magnitude: magnitude,
            },
            Event::AllocationDelaySet { operator, delay_blocks: 120_000, effect_block: 10 },
        ]);
    }
    let mut state = State::default();
    for (log_index, event) in (0..).zip(events) {
        let block = BlockRef { number: 10, hash: B256::ZERO, timestamp: 1_700_000_000 };
        let (tx_hash, emitter) = (B256::ZERO, Address::ZERO);
        state.apply(&Fact { chain_id: CHAIN, block, tx_hash, log_index, emitter, event }).unwrap();
    }
    let mut chain = state.chains.remove(&CHAIN).unwrap();
    chain.end_epoch(0, &methodology());
    chain
}

fn methodology() -> Methodology {
    Methodology::version_1().unwrap()
}

fn scenario(shocks: Vec<Shock>) -> Scenario {
    Scenario { name: "own".to_owned(), title: String::new(), shocks }
}

fn slash(operators: Targets<OperatorId>, share: Ppt) -> Scenario {
    scenario(vec![Shock::OperatorsSlashed { operators, share }])
}

fn lost(chain: &ChainState, scenario: &Scenario) -> Vec<(String, Option<u64>, Option<Grade>)> {
    let methodology = methodology();
    let stressed = apply(chain, CHAIN, scenario, &methodology).unwrap();
    let baseline = Baseline::of(chain, CHAIN, &methodology);
    effects(chain, &baseline, &stressed, &methodology)
        .into_iter()
        .map(|effect| {
            let entity = effect.entity.kind.word().to_owned();
            (entity, effect.lost.map(|lost| lost.0 / 1_000_000), effect.grade_after)
        })
        .collect()
}

#[test]
fn half_of_an_allocation_of_half_is_a_quarter_of_the_stake() {
    let chain = chain();
    let found = lost(&chain, &slash(Targets::Named(vec![operator(1)]), Ppt(Ppt::ONE.0 / 2)));
    // 25 of 100 ether of the operator; of the set's 62.5 slashable ether first 25 go, then the
    // allocation is a third of what is left.
    let of = |kind: &str| found.iter().find(|(found, ..)| found == kind).unwrap();
    assert_eq!(of("operator").1, Some(250_000));
    assert_eq!(of("operator-set").1, Some(400_000));
    // The state itself is untouched.
    assert_eq!(chain.operators[&operator(1)].max_magnitude(BEACON_CHAIN_ETH), WAD);
    assert!(chain.slashes.is_empty());
}

#[test]
fn a_slasher_that_takes_all_puts_set_and_operator_in_default() {
    let sets = Targets::Largest(1);
    let found = lost(&chain(), &scenario(vec![Shock::SlashersCompromised { sets }]));
    let of = |kind: &str| found.iter().find(|(found, ..)| found == kind).unwrap();
    assert_eq!((of("operator").1, of("operator").2), (Some(500_000), Some(Grade::D)));
    assert_eq!((of("operator-set").1, of("operator-set").2), (Some(1_000_000), Some(Grade::D)));
}

#[test]
fn a_price_that_falls_takes_its_share_of_what_is_staked_in_it() {
    // Operator 1 holds 100 ether and 100 shares at 2 ether each: 300.
    let token = Address::repeat_byte(0x5e);
    let mut state = State::default();
    state.chains.insert(CHAIN, chain());
    let events = [
        Event::OperatorSharesIncreased {
            operator: operator(1),
            staker: StakerId(Address::repeat_byte(9)),
            strategy: StrategyId(token),
            shares: U256::from(100) * U256::from(WAD),
        },
        Event::PriceUpdated { asset: token, price: U256::from(2 * WAD) },
    ];
    for (log_index, event) in (0..).zip(events) {
        let block = BlockRef { number: 11, hash: B256::ZERO, timestamp: 1_700_000_012 };
        let (tx_hash, emitter) = (B256::ZERO, Address::ZERO);
        state.apply(&Fact { chain_id: CHAIN, block, tx_hash, log_index, emitter, event }).unwrap();
    }
    let chain = state.chains.remove(&CHAIN).unwrap();
    let fall = |asset, share| scenario(vec![Shock::PriceFallen { asset, share: Ppt(share) }]);
    let found = lost(&chain, &fall(token, 300_000_000_000));
    assert_eq!(found.len(), 1, "who holds none of it is not touched: {found:?}");
    assert_eq!((found[0].0.as_str(), found[0].1), ("operator", Some(200_000)));
    // Twice is less than the sum.
    let twice = scenario(
        [fall(token, 300_000_000_000), fall(token, 300_000_000_000)]
            .into_iter()
            .flat_map(|one| one.shocks)
            .collect(),
    );
    assert_eq!(lost(&chain, &twice)[0].1, Some(340_000));
    let refused =
        |asset, share| apply(&chain, CHAIN, &fall(asset, share), &methodology()).unwrap_err();
    let unknown = refused(Address::repeat_byte(7), 1);
    assert!(unknown.to_string().starts_with("a price of 0x0707"), "{unknown}");
    assert!(matches!(refused(token, Ppt::ONE.0), ScenarioError::OutOfRange(_)));
    assert!(matches!(refused(BEACON_CHAIN_ETH.0, 1), ScenarioError::OutOfRange(_)));
}

#[test]
fn a_client_bug_takes_three_times_its_share_of_its_share_and_all_from_a_third_on() {
    let bug = |affected| scenario(vec![Shock::ClientBug { affected }]);
    let small = lost(&chain(), &bug(Ppt(200_000_000_000)));
    assert!(small.iter().all(|(_, lost, _)| *lost == Some(120_000)), "{small:?}");
    let large = lost(&chain(), &bug(Ppt(400_000_000_000)));
    assert!(large.iter().all(|(_, lost, _)| *lost == Some(400_000)), "{large:?}");
}

#[test]
fn when_exits_stop_what_an_operator_could_allocate_counts() {
    // 120,000 blocks of delay are more than the 14 days of leaving, and less than 28.
    let found = lost(&chain(), &scenario(vec![Shock::ExitsStopped { days: 14 }]));
    assert!(found.iter().any(|(kind, ..)| kind == "operator"), "{found:?}");
    assert_eq!(lost(&chain(), &scenario(vec![Shock::ExitsStopped { days: 0 }])), []);
}

#[test]
fn the_largest_is_the_one_with_the_most_at_stake_and_strangers_are_refused() {
    let chain = chain();
    let by_size = lost(&chain, &slash(Targets::Largest(1), Ppt::ONE));
    let by_name = lost(&chain, &slash(Targets::Named(vec![operator(1)]), Ppt::ONE));
    assert_eq!(by_size, by_name);
    let stranger = slash(Targets::Named(vec![operator(7)]), Ppt::ONE);
    let refused = apply(&chain, CHAIN, &stranger, &methodology()).unwrap_err();
    assert!(matches!(refused, ScenarioError::Unknown(_)));
    let too_much = slash(Targets::Largest(1), Ppt(Ppt::ONE.0 + 1));
    assert!(apply(&chain, CHAIN, &too_much, &methodology()).is_err());
}

#[test]
fn the_fixed_scenarios_are_read_and_each_can_be_played() {
    let set = StressSet::version_1().unwrap();
    assert_eq!(set.scenarios.len(), 8);
    let chain = chain();
    for scenario in &set.scenarios {
        assert_eq!(set.find(&scenario.name), Some(scenario));
        assert!(!lost(&chain, scenario).is_empty(), "{} moves nothing", scenario.name);
    }
}

#[test]
fn an_operator_is_told_what_would_move_it_with_the_models_own_numbers() {
    let chain = chain();
    let entity = RatedEntity::operator(CHAIN, operator(1));
    let methodology = methodology();
    let found = sensitivities(&chain, &entity, When::newest(&chain), &methodology);
    let base = assay_domain::assess::assess(&chain, &entity, When::newest(&chain), &methodology);
    let base = base.profile.expected_loss();
    let loss = |change| {
        let of = found.iter().find(|sensitivity| sensitivity.change == change);
        of.unwrap_or_else(|| panic!("{change:?} is missing")).expected_loss
    };
    assert!(loss(Change::MitigantAdded(Mitigant::RemoteSigner)) < base);
    assert!(loss(Change::QuietYear) < base);
    assert!(loss(Change::Allocated(Ppt(Ppt::ONE.0 / 10))) < base);
    assert!(loss(Change::Allocated(Ppt::ONE)) > base);
    assert!(loss(Change::OneMoreIncident(LossClass::C1)) > base);
    assert!(loss(Change::AllocationDelayBelowExit) > base);
    let nothing_to_lose = |sensitivity: &assay_domain::sensitivity::Sensitivity| {
        matches!(sensitivity.change, Change::MitigantLost(_))
            || sensitivity.change == Change::MitigantAdded(Mitigant::AntiSlasher)
            || sensitivity.change == Change::AllocationDelayAboveExit
    };
    assert!(!found.iter().any(nothing_to_lose), "{found:?}");
}
