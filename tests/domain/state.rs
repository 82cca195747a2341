//! The fold: V01, V02 and the traps at the head of the methodology.

use alloy_primitives::{Address, B256, U256};
use assay_domain::assess::{When, assess};
use assay_domain::event::Withdrawal;
use assay_domain::methodology::Methodology;
use assay_domain::state::experience::BEACON_CHAIN_ETH;
use assay_domain::state::staker::{mul_wad_ceil, mul_wad_floor, slashable_shares};
use assay_domain::uncertainty::NotRated;
use assay_domain::{
    AvsId, BlockRef, Event, Fact, OperatorId, OperatorSetId, RatedEntity, StakerId, State,
    StrategyId, UntrustedText,
};
use serde_json::Value;

use crate::vectors::vector;

const OPERATOR: OperatorId = OperatorId(Address::repeat_byte(1));
const STRATEGY: StrategyId = StrategyId(Address::repeat_byte(2));
const SET: OperatorSetId = OperatorSetId { avs: AvsId(Address::repeat_byte(3)), id: 0 };

fn fact(block: u64, log_index: u32, event: Event) -> Fact {
    Fact {
        chain_id: 1,
        block: BlockRef {
            number: block,
            hash: B256::left_padding_from(&block.to_be_bytes()),
            timestamp: 1_700_000_000 + 12 * block,
        },
        tx_hash: B256::repeat_byte(9),
        log_index,
        emitter: Address::ZERO,
        event,
    }
}

fn folded(facts: &[Fact]) -> State {
    let mut state = State::default();
    for fact in facts {
        state.apply(fact).unwrap();
    }
    state
}

fn allocated(block: u64, log_index: u32, magnitude: u64, effect_block: u32) -> Fact {
    let event = Event::AllocationUpdated {
        operator: OPERATOR,
        operator_set: SET,
        strategy: STRATEGY,
        magnitude,
        effect_block,
    };
    fact(block, log_index, event)
}

fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

/// The events of one slash, in the contract's order.
fn slash(block: u64, new_max: u64, new_current: u64, wad: u64) -> Vec<Fact> {
    let at = u32::try_from(block).unwrap();
    vec![
        allocated(block, 0, new_current, at),
        fact(
            block,
            1,
            Event::MaxMagnitudeUpdated {
                operator: OPERATOR,
                strategy: STRATEGY,
                max_magnitude: new_max,
            },
        ),
        fact(
            block,
            2,
            Event::OperatorSlashed {
                operator: OPERATOR,
                operator_set: SET,
                strategies: vec![STRATEGY],
                wad_slashed: vec![U256::from(wad)],
                description: UntrustedText(Vec::new()),
            },
        ),
    ]
}

#[test]
fn v01_operator_slashed_decode() {
    let vector = vector("V01_operator_slashed_decode");
    let steps = vector["steps"].as_array().unwrap();
    let mut facts = vec![allocated(10, 0, number(&steps[0]["prevCurrentMagnitude"]), 10)];
    for (block, step) in (20_u64..).zip(steps) {
        let slashed = number(&step["slashedMagnitude"]);
        let current = number(&step["prevCurrentMagnitude"]);
        let wads = U256::from(number(&step["wadsToSlash"]));
        assert_eq!(mul_wad_ceil(U256::from(current), wads), Some(U256::from(slashed)));
        facts.extend(slash(
            block,
            number(&step["newMaxMagnitude"]),
            number(&step["newCurrentMagnitude"]),
            number(&step["event_wadSlashed"]),
        ));
    }
    let state = folded(&facts);
    let chain = &state.chains[&1];
    for (slash, step) in chain.slashes.iter().zip(steps) {
        let found = slash.strategies[0];
        assert_eq!(found.wad_recomputed, Some(U256::from(number(&step["event_wadSlashed"]))));
        let (a, b) = step["fraction_of_allocation"].as_str().unwrap().split_once('/').unwrap();
        let share =
            1_000_000_000_000_000_000 * a.parse::<u64>().unwrap() / b.parse::<u64>().unwrap();
        assert_eq!(found.allocation_slashed, Some(U256::from(share)));
    }
    // Both slashes are within a day: one incident, 1 − 3/4 · 1/2 of the allocation.
    assert_eq!(chain.incidents.len(), 1);
    assert_eq!(chain.incidents[0].severity_wad, 625_000_000_000_000_000);
    let max = chain.operators[&OPERATOR].max_magnitude(STRATEGY);
    let deposit = U256::from(32_000_000_000_000_000_000_u128);
    let withdrawable = mul_wad_floor(deposit, U256::from(max)).unwrap();
    assert_eq!(withdrawable.to_string(), vector["staker_32e18_deposit_shares_withdrawable"]);
    let pending = &vector["pending_dealloc"];
    let before = pending["pendingDiff_before"].as_str().unwrap().trim_start_matches('-');
    let cut = mul_wad_ceil(before.parse().unwrap(), U256::from(number(&pending["wadsToSlash"])));
    let after: U256 = before.parse::<U256>().unwrap() - cut.unwrap();
    assert_eq!(format!("-{after}"), pending["pendingDiff_after"].as_str().unwrap());
}

#[test]
fn v02_slashable_exposure() {
    let vector = vector("V02_slashable_exposure");
    let input = |name: &str| vector["inputs"][name].as_str().unwrap().parse::<U256>().unwrap();
    let shares = slashable_shares(
        input("lrt_withdrawable_shares"),
        input("queued_still_slashable_shares"),
        number(&vector["inputs"]["currentMagnitude"]),
        number(&vector["inputs"]["maxMagnitude"]),
    );
    assert_eq!(shares.unwrap().to_string(), vector["correct_exposure_shares"]);
}

#[test]
fn a_slash_during_a_deallocation_keeps_the_pending_one() {
    let state = folded(&[
        allocated(10, 0, 400, 10),
        allocated(20, 0, 100, 100_821),
        // The slash: the pending value first, then the current one.
        allocated(30, 0, 75, 100_821),
        allocated(30, 1, 300, 30),
    ]);
    let allocation = state.chains[&1].allocations[&(OPERATOR, SET, STRATEGY)];
    assert_eq!((allocation.current_at(100_820), allocation.current_at(100_821)), (300, 75));
    assert_eq!(allocation.pending_at(30).unwrap().magnitude, 75);
    assert_eq!(allocation.pending_at(100_821), None);
}

#[test]
fn a_slash_whose_past_is_not_in_the_log_is_a_lower_bound() {
    let facts = slash(20, 1, 1, 250_000_000_000_000_000);
    let state = folded(&facts[2..]);
    let incident = &state.chains[&1].incidents[0];
    assert!(incident.is_lower_bound);
    assert_eq!(incident.severity_wad, 250_000_000_000_000_000);
}

#[test]
fn shares_that_were_never_added_make_the_history_partial_and_never_negative() {
    let decreased = Event::OperatorSharesDecreased {
        operator: OPERATOR,
        staker: StakerId(Address::repeat_byte(7)),
        strategy: STRATEGY,
        shares: U256::from(5),
    };
    let state = folded(&[fact(1, 0, decreased)]);
    let operator = &state.chains[&1].operators[&OPERATOR];
    assert_eq!(operator.shares[&STRATEGY], U256::ZERO);
    assert!(operator.is_share_history_partial);
}

#[test]
fn facts_out_of_order_are_refused() {
    let mut state = State::default();
    state.apply(&allocated(20, 0, 1, 20)).unwrap();
    let refused = state.apply(&allocated(19, 0, 1, 19)).unwrap_err().to_string();
    assert_eq!(refused, "chain 1: block 19 was folded after block 20");
}

#[test]
fn a_member_that_left_is_slashable_for_fourteen_days_more() {
    let joined = Event::OperatorAddedToOperatorSet { operator: OPERATOR, operator_set: SET };
    let left = Event::OperatorRemovedFromOperatorSet { operator: OPERATOR, operator_set: SET };
    let state = folded(&[fact(10, 0, joined), fact(20, 0, left)]);
    let set = &state.chains[&1].operator_sets[&SET];
    assert!(set.can_slash(OPERATOR, 100_820));
    assert!(!set.can_slash(OPERATOR, 100_821));
}

#[test]
fn an_avs_of_the_older_directory_is_not_rated_for_that_reason() {
    let avs = SET.avs;
    let event = Event::OperatorAvsRegistrationStatusUpdated {
        operator: OPERATOR,
        avs,
        is_registered: true,
    };
    let state = folded(&[fact(1, 0, event)]);
    let chain = &state.chains[&1];
    let opinion = assess(
        chain,
        &RatedEntity::avs(1, avs),
        When::newest(chain),
        &Methodology::version_1().unwrap(),
    );
    assert_eq!(opinion.refusal, Some(NotRated::NoOperatorSet));
}

#[test]
fn a_queued_withdrawal_is_slashed_through_its_last_slashable_block_and_no_further() {
    const ETH: u64 = 1_000_000_000_000_000_000;
    let staker = StakerId(Address::repeat_byte(7));
    let withdrawal = Withdrawal {
        staker,
        delegated_to: OPERATOR,
        withdrawer: staker.0,
        nonce: U256::ZERO,
        start_block: 1_000,
        strategies: vec![STRATEGY, BEACON_CHAIN_ETH],
        scaled_shares: vec![U256::from(8 * ETH), U256::from(16 * ETH)],
    };
    let root = B256::repeat_byte(0x77);
    let queued = Event::SlashingWithdrawalQueued {
        withdrawal_root: root,
        withdrawal,
        shares_to_withdraw: vec![U256::from(8 * ETH), U256::from(16 * ETH)],
    };
    let falls = |block, log_index, strategy, max_magnitude| {
        let event = Event::MaxMagnitudeUpdated { operator: OPERATOR, strategy, max_magnitude };
        fact(block, log_index, event)
    };
    let last = 1_000 + 100_800;
    let pays = |facts: &[Fact]| -> Vec<U256> {
        let mut all = vec![falls(900, 0, STRATEGY, ETH / 2), fact(1_000, 0, queued.clone())];
        all.extend_from_slice(facts);
        let state = folded(&all);
        let chain = &state.chains[&1];
        let shares = chain.queued_shares(&chain.withdrawals[&root]);
        shares.into_iter().map(|(_, shares)| shares).collect()
    };
    let ether = |a: u64, b: u64| vec![U256::from(a * (ETH / 8)), U256::from(b * (ETH / 8))];
    // What fell before it was queued counts: scaled shares are over it.
    assert_eq!(pays(&[]), ether(32, 128));
    // At the last slashable block it is slashed, twice if it is slashed twice.
    let half = [falls(last, 0, STRATEGY, ETH / 4), falls(last, 1, STRATEGY, ETH / 8)];
    assert_eq!(pays(&half), ether(8, 128));
    // A block later it is not, whatever happens and however often.
    let late = [
        falls(last + 1, 0, STRATEGY, ETH / 4),
        falls(last + 1, 1, STRATEGY, ETH / 8),
        falls(last + 9, 0, STRATEGY, 0),
        falls(last + 9, 1, BEACON_CHAIN_ETH, ETH / 4),
    ];
    assert_eq!(pays(&late), ether(32, 128));
    let between = [falls(last - 1, 0, STRATEGY, ETH / 4), late[2].clone()];
    assert_eq!(pays(&between), ether(16, 128));
    // The beacon chain's penalties follow it to the end.
    let penalty = Event::BeaconChainSlashingFactorDecreased {
        staker,
        previous_factor: ETH,
        new_factor: ETH / 2,
    };
    let mut late = late.to_vec();
    late.push(fact(last + 10, 0, penalty));
    assert_eq!(pays(&late), ether(32, 64));
}
