//! Calls that timelocks hold: what is pending and from when on it can run, and whom it concerns.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, U256, keccak256};
use assay_domain::event::{Governed, ScheduledCall, TimelockWait};
use assay_domain::state::timelock::CALLS_MAX;
use assay_domain::surveillance::WatchTrigger;
use assay_domain::{AvsId, BlockRef, Event, Fact, LrtId, OperatorSetId, RatedEntity, State};

const TIMELOCK: Address = Address::repeat_byte(1);
const SLASHER: Address = Address::repeat_byte(2);
const SET: OperatorSetId = OperatorSetId { avs: AvsId(Address::repeat_byte(3)), id: 7 };
const OTHER: OperatorSetId = OperatorSetId { avs: AvsId(TIMELOCK), id: 0 };
const TOKEN: LrtId = LrtId(Address::repeat_byte(4));
const CORE: Address = Address::repeat_byte(5);
const START: u64 = 1_700_000_000;

fn tell(state: &mut State, timestamp: u64, event: Event) {
    let number = state.chains.get(&1).map_or(10, |chain| chain.block_number + 1);
    let hash = B256::left_padding_from(&number.to_be_bytes());
    let block = BlockRef { number, hash, timestamp };
    let (emitter, tx_hash) = (Address::ZERO, B256::ZERO);
    state.apply(&Fact { chain_id: 1, block, tx_hash, log_index: 0, emitter, event }).unwrap();
}

/// A set with a slasher, a set whose AVS is the timelock, and a token.
fn founded() -> State {
    let mut state = State::default();
    for event in [
        Event::OperatorSetCreated { operator_set: SET },
        Event::OperatorSetCreated { operator_set: OTHER },
        Event::SlasherMigrated { operator_set: SET, slasher: SLASHER },
        Event::LrtSupplyRecorded { token: TOKEN, supply: U256::ZERO },
    ] {
        tell(&mut state, START, event);
    }
    state
}

fn call(operation: u8, index: u64, about: Address) -> ScheduledCall {
    ScheduledCall {
        of: Governed::Named,
        timelock: TIMELOCK,
        operation: B256::repeat_byte(operation),
        index: U256::from(index),
        target: about,
        value: U256::ZERO,
        selector: None,
        data_hash: B256::ZERO,
        predecessor: B256::ZERO,
        wait: TimelockWait::Delay(U256::from(1_000)),
        about,
        about_of: None,
    }
}

fn scheduled(call: ScheduledCall) -> Event {
    Event::TimelockCallScheduled(Box::new(call))
}

fn executed(operation: u8, index: u64) -> Event {
    Event::TimelockCallExecuted {
        of: Governed::Named,
        timelock: TIMELOCK,
        operation: B256::repeat_byte(operation),
        index: U256::from(index),
        target: SLASHER,
    }
}

fn cancelled(operation: u8) -> Event {
    let operation = B256::repeat_byte(operation);
    Event::TimelockOperationCancelled { of: Governed::Named, timelock: TIMELOCK, operation }
}

/// Operation and place of what is pending, and from when on it can run.
fn pending(state: &State) -> Vec<(u8, U256, u64)> {
    let calls = state.chains[&1].timelocks.pending();
    calls.map(|one| (one.call.operation[0], one.call.index, one.executable_at)).collect()
}

#[test]
fn a_call_is_pending_until_it_runs_or_is_cancelled() {
    let mut state = founded();
    let until = |time| ScheduledCall { wait: TimelockWait::Until(time), ..call(9, 0, SLASHER) };
    for (index, place) in [(0, 1), (1, 2)] {
        tell(&mut state, START + place, scheduled(call(1, index, SLASHER)));
    }
    tell(&mut state, START + 3, scheduled(call(2, 0, SLASHER)));
    tell(&mut state, START + 4, scheduled(until(U256::from(START + 5_000))));
    let (zero, one) = (U256::ZERO, U256::from(1));
    let (first, second) = ((1, zero, START + 1_001), (1, one, START + 1_002));
    let (third, fourth) = ((2, zero, START + 1_003), (9, zero, START + 5_000));
    assert_eq!(pending(&state), [first, second, third, fourth]);
    tell(&mut state, START + 2_000, executed(1, 0));
    assert_eq!(pending(&state), [second, third, fourth]);
    tell(&mut state, START + 2_000, cancelled(1));
    assert_eq!(pending(&state), [third, fourth]);
    // What nobody scheduled, and another timelock's.
    tell(&mut state, START + 2_000, cancelled(7));
    let of_another = Event::TimelockOperationCancelled {
        of: Governed::Named,
        timelock: SLASHER,
        operation: B256::repeat_byte(2),
    };
    tell(&mut state, START + 2_000, of_another);
    assert_eq!(pending(&state), [third, fourth]);
    // Said again, it counts once; what never can run is not pending.
    tell(&mut state, START + 9, scheduled(call(2, 0, SLASHER)));
    tell(&mut state, START + 9, scheduled(until(U256::MAX)));
    let never = ScheduledCall { wait: TimelockWait::Delay(U256::MAX), ..call(8, 0, SLASHER) };
    tell(&mut state, START + 9, scheduled(never));
    assert_eq!(pending(&state), [(2, zero, START + 1_009), fourth]);
}

#[test]
fn a_timelock_holds_no_more_calls_than_are_kept() {
    let mut state = founded();
    for index in 0..CALLS_MAX as u64 + 20 {
        tell(&mut state, START, scheduled(call(1, index, SLASHER)));
    }
    assert_eq!(pending(&state).len(), CALLS_MAX);
    let other = ScheduledCall { timelock: SLASHER, ..call(1, 0, SLASHER) };
    tell(&mut state, START, scheduled(other));
    assert_eq!(pending(&state).len(), CALLS_MAX + 1, "of each timelock");
    tell(&mut state, START, cancelled(1));
    assert_eq!(pending(&state).len(), 1);
}

#[test]
fn a_call_concerns_who_depends_on_what_it_is_about() {
    let signature = |text: &str| keccak256(text).first_chunk().copied();
    let upgrades = [
        "upgradeTo(address)",
        "upgradeToAndCall(address,bytes)",
        "upgrade(address,address)",
        "upgradeAndCall(address,address,bytes)",
    ];
    let (platform, token) = (Some(Governed::Platform), Some(Governed::Token(TOKEN)));
    let of_platform = |call: ScheduledCall| ScheduledCall { of: Governed::Platform, ..call };
    let of_slasher = |call: ScheduledCall| ScheduledCall { timelock: SLASHER, ..call };
    let core = ScheduledCall { about_of: platform, ..call(1, 0, CORE) };
    let code = ScheduledCall { about_of: token, ..call(1, 0, CORE) };
    let mut cases = vec![
        (of_platform(call(1, 0, SLASHER)), vec![SET], vec![]),
        (of_platform(call(1, 0, Address::repeat_byte(9))), vec![], vec![]),
        // Whoever has a set of his own schedules what he likes, and moves nobody else's.
        (call(1, 0, SLASHER), vec![], vec![]),
        (call(1, 0, TIMELOCK), vec![OTHER], vec![]),
        (call(1, 0, Address::repeat_byte(9)), vec![], vec![]),
        (of_slasher(call(1, 0, SET.avs.0)), vec![SET], vec![]),
        (of_slasher(call(1, 0, TIMELOCK)), vec![], vec![]),
        // Who may slash calls the platform; the platform's own timelock does so every few weeks.
        (core.clone(), vec![OTHER], vec![]),
        (of_slasher(core.clone()), vec![SET], vec![]),
        (of_platform(core), vec![], vec![]),
        // A token's code; not how it is run from day to day.
        (of_platform(code.clone()), vec![], vec![]),
    ];
    for name in upgrades {
        let upgrade = ScheduledCall { selector: signature(name), ..code.clone() };
        cases.push((upgrade.clone(), vec![], vec![]));
        cases.push((of_platform(upgrade), vec![], vec![TOKEN]));
    }
    for (call, sets, tokens) in cases {
        let (mut state, at) = (founded(), START + 10);
        let event = scheduled(call.clone());
        tell(&mut state, at, event.clone());
        let chain = &state.chains[&1];
        let concern = (!sets.is_empty() || !tokens.is_empty())
            .then(|| (WatchTrigger::ChangeScheduled, tokens.clone()));
        assert_eq!(chain.concern_of(&event), concern, "{call:?}");
        assert_eq!(chain.sets_concerned(&event), sets.iter().copied().collect(), "{call:?}");
        // It holds them until it can run.
        let mut held: BTreeSet<RatedEntity> = BTreeSet::new();
        for set in &sets {
            held.extend([RatedEntity::avs(1, set.avs), RatedEntity::operator_set(1, *set)]);
        }
        held.extend(tokens.iter().map(|token| RatedEntity::lrt(1, *token)));
        assert_eq!(chain.held_by_timelocks(1, at + 1_000), held);
        assert_eq!(chain.held_by_timelocks(1, at + 1_001), BTreeSet::new());
        // And cancelled concerns the same.
        let (timelock, of) = (call.timelock, call.of);
        let over = Event::TimelockOperationCancelled { of, timelock, operation: call.operation };
        tell(&mut state, at, over.clone());
        let chain = &state.chains[&1];
        assert_eq!(chain.concern_of(&over), concern, "{call:?}");
        assert_eq!(chain.held_by_timelocks(1, 0), BTreeSet::new());
        tell(&mut state, at, over.clone());
        assert_eq!(state.chains[&1].concern_of(&over), None, "there is nothing left to cancel");
    }
}
