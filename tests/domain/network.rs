//! The restaking graph that the fold makes: V10's networks as events of a chain.

use alloy_primitives::{Address, B256, U256};
use assay_domain::assess::network::{
    NotCovered, RestakingNetwork, Unbounded, UncoveredService, restaking_network,
};
use assay_domain::assess::{When, assess};
use assay_domain::attestation::{
    AdministratorAppointment, Attestation, Claim, Message, SignerRegistration,
};
use assay_domain::decimal::Ppt;
use assay_domain::hazard::Slack;
use assay_domain::loss_block::LossClass;
use assay_domain::methodology::Methodology;
use assay_domain::mitigation::VerificationLevel;
use assay_domain::network::{CASCADE_NODES_MAX, Network, Service, loss_bound};
use assay_domain::ratio::Ratio;
use assay_domain::state::ChainState;
use assay_domain::state::experience::BEACON_CHAIN_ETH;
use assay_domain::{
    AvsId, BlockRef, Event, Fact, OperatorId, OperatorSetId, RatedEntity, StakerId, State,
    StrategyId,
};
use proptest::prelude::*;
use serde_json::Value;

use crate::vectors::vector;

const CHAIN: u64 = 1;
const WAD: u64 = 1_000_000_000_000_000_000;
const NOW: u64 = 1_746_600_000;
const KEYS: [Address; 3] =
    [Address::repeat_byte(0xad), Address::repeat_byte(0x71), Address::repeat_byte(0x72)];

fn set(number: u8) -> OperatorSetId {
    OperatorSetId { avs: AvsId(Address::repeat_byte(0xc0 | number)), id: 0 }
}

fn operator(number: u8) -> OperatorId {
    OperatorId(Address::repeat_byte(number))
}

/// A stake of the vectors in wei: a unit is 11 ether, so that every figure of theirs is whole.
fn wei(units: &str) -> U256 {
    let units: Ratio = units.parse().unwrap();
    let wei = units.times(Ratio::new(11, 1).unwrap()).unwrap();
    let wei = wei.times(Ratio::whole(WAD)).unwrap();
    assert_eq!(wei.denominator(), U256::ONE, "{units}");
    wei.numerator().unsigned_abs()
}

/// An operator in a set with so many units, all of its magnitude; each in a strategy of its own
/// worth an ether a share, so that one operator can be in several sets.
fn member(number: u8, set: OperatorSetId, units: &str) -> Vec<Event> {
    let (operator, strategy) = (operator(number), StrategyId(set.avs.0));
    vec![
        Event::StrategyAddedToOperatorSet { operator_set: set, strategy },
        Event::OperatorAddedToOperatorSet { operator, operator_set: set },
        Event::OperatorSharesIncreased {
            operator,
            staker: StakerId(Address::repeat_byte(9)),
            strategy,
            shares: wei(units),
        },
        Event::AllocationUpdated {
            operator,
            operator_set: set,
            strategy,
            magnitude: WAD,
            effect_block: 10,
        },
    ]
}

/// A claim of the third party with key 1, or of key 2, who is nobody.
fn claimed(key: usize, claim: Claim) -> Event {
    let level = [VerificationLevel::SignedThirdParty, VerificationLevel::SelfClaim][key - 1];
    let message = Attestation {
        claim,
        level,
        evidence: B256::ZERO,
        observed_at: NOW,
        effective_block: 1,
        expires_at: NOW + 86_400,
    };
    let digest = alloy_primitives::keccak256(format!("{key} {:?}", message.claim));
    Message::Attestation(message).into_event(digest, KEYS[key], [0; 65])
}

fn profit(key: usize, set: OperatorSetId, units: &str) -> Event {
    let method = "the value of the bridge".to_owned();
    claimed(key, Claim::ProfitFromCorruption { set, wei: wei(units), method })
}

fn threshold(set: OperatorSetId, alpha: u64) -> Event {
    claimed(1, Claim::CorruptionThreshold { set, alpha: Ppt(alpha) })
}

fn chain(events: Vec<Event>, said: &[Event]) -> ChainState {
    let mut state = State::default();
    // An ether a share.
    let prices = (0..=0xff_u8).map(|byte| {
        let strategy = StrategyId(Address::repeat_byte(byte));
        claimed(1, Claim::Price { strategy, wei: U256::from(WAD) })
    });
    for (log_index, event) in (0..).zip(events) {
        let block = BlockRef { number: 10, timestamp: NOW, ..BlockRef::default() };
        let (tx_hash, emitter) = (B256::ZERO, Address::ZERO);
        state.apply(&Fact { chain_id: CHAIN, block, tx_hash, log_index, emitter, event }).unwrap();
    }
    let mut chain = state.chains.remove(&CHAIN).unwrap();
    let appointed = AdministratorAppointment { administrator: KEYS[0], effective_block: 1 };
    let appointed = Message::AdministratorAppointment(appointed);
    let mut messages = vec![appointed.into_event(B256::with_last_byte(1), KEYS[0], [0; 65])];
    for (key, level) in
        [(1, VerificationLevel::SignedThirdParty), (2, VerificationLevel::SelfClaim)]
    {
        let (signer, affiliations) = (KEYS[key], [].into());
        let message = SignerRegistration { signer, level, affiliations, effective_block: 1 };
        let digest = B256::with_last_byte(u8::try_from(key).unwrap() + 1);
        messages.push(Message::SignerRegistration(message).into_event(digest, KEYS[0], [0; 65]));
    }
    messages.extend(prices);
    messages.extend_from_slice(said);
    chain.fold_messages(&messages.iter().collect::<Vec<_>>(), NOW);
    chain
}

fn network(chain: &ChainState) -> RestakingNetwork {
    restaking_network(chain, When::newest(chain), &Methodology::version_1().unwrap())
}

fn ppt(fraction: &Value) -> i64 {
    let fraction: Ratio = fraction.as_str().unwrap().parse().unwrap();
    i64::try_from(fraction.to_ppt().unwrap()).unwrap()
}

const ALL: u64 = 1_000_000_000_000;

#[test]
fn v10b_from_events_has_the_tight_slack_and_its_bound() {
    let expected = vector("V10b_DR_theorem3_tight_eps_1/10000");
    let sigma = |name: &str| expected["sigma"][name].as_str().unwrap();
    let (x, padding) = (set(1), set(2));
    let mut events = member(1, x, sigma("a"));
    events.extend(member(2, x, sigma("b")));
    events.extend(member(3, padding, sigma("c")));
    let said = [profit(1, x, expected["pi_x"].as_str().unwrap()), threshold(x, ALL)];
    let found = network(&chain(events.clone(), &said));
    let gamma = Slack(ppt(&expected["gamma_bruteforce"]));
    assert_eq!(found.slack(), Some((gamma, true)));
    let [covered] = found.services[..] else { panic!("{found:?}") };
    assert_eq!((covered.set, covered.operators, covered.threshold), (x, 2, Ppt(ALL)));
    assert!(!covered.is_threshold_assumed);
    assert_eq!(covered.stake, wei(sigma("a")) + wei(sigma("b")));
    assert_eq!(found.covered_stake, covered.stake);
    // The padding is stake of the network, and named for what nobody attested of it.
    assert_eq!(found.stake, covered.stake + wei(sigma("c")));
    let [one] = found.uncovered[..] else { panic!("{found:?}") };
    assert_eq!(one.service, UncoveredService::OperatorSet(padding));
    assert_eq!((one.stake, one.reason), (wei(sigma("c")), NotCovered::ProfitUnknown));
    // The bound is (1 + 1/γ) ψ, at most everything, whatever ψ the loss model finds.
    let shock = found.shock.unwrap();
    assert!(shock > Ppt::ZERO && shock.0.is_multiple_of(100_000_000), "{shock}: a whole bp");
    let share = Ratio::new(shock.0.into(), u128::from(ALL)).unwrap();
    let gamma: Ratio = expected["gamma_bruteforce"].as_str().unwrap().parse().unwrap();
    let bound = loss_bound(gamma, share).unwrap().unwrap().min(Ratio::ONE);
    assert_eq!(found.loss_bound, Ok(Ppt(bound.to_ppt().unwrap())));

    // α that nobody attested is the methodology's, half: then b alone attacks, 9.9 of 10.9.
    let found = network(&chain(events, &said[..1]));
    let [covered] = found.services[..] else { panic!("{found:?}") };
    assert!(covered.is_threshold_assumed && covered.is_exact);
    // 9.9 / (109 / 11) - 1 = -1 / 1,090, rounded down.
    assert_eq!(covered.slack, Slack(-917_431_193));
    assert_eq!(found.loss_bound, Err(Unbounded::NoSlack));
}

#[test]
fn v10c_from_events_has_no_slack_and_so_no_bound() {
    let expected = vector("V10c_DR_theorem2_zero_slack");
    let x = set(1);
    let mut events = member(1, x, expected["sigma"]["a"].as_str().unwrap());
    events.extend(member(2, x, expected["sigma"]["b"].as_str().unwrap()));
    let said = [profit(1, x, expected["pi_x"].as_str().unwrap()), threshold(x, ALL)];
    let found = network(&chain(events.clone(), &said));
    assert_eq!(found.slack(), Some((Slack(ppt(&expected["gamma"])), true)));
    assert_eq!(found.loss_bound, Err(Unbounded::NoSlack));

    // Who left can take its stake away: it does not secure the set any more.
    events.push(Event::OperatorRemovedFromOperatorSet { operator: operator(2), operator_set: x });
    let chain = chain(events, &said);
    let when = When { block: chain.block_number + 1, ..When::newest(&chain) };
    let found = restaking_network(&chain, when, &Methodology::version_1().unwrap());
    assert_eq!(found.slack(), Some((Slack(-990_000_000_000), true)));
    assert_eq!(found.stake, wei("1/100"));
}

#[test]
fn v10e_from_events_is_unique_stake_and_the_least_of_its_sets() {
    let expected = &vector("V10e_pooled_vs_unique_stake")["unique"];
    let (s1, s2) = (set(1), set(2));
    let mut events = member(1, s1, "40");
    events.extend(member(2, s1, "50"));
    events.extend(member(1, s2, "30"));
    // 2/3 in parts per trillion, rounded up as an attester would.
    let said = [
        profit(1, s1, "30"),
        threshold(s1, 666_666_666_667),
        profit(1, s2, "10"),
        threshold(s2, ALL / 2),
        // Anybody may say that there is more to gain, and who is nobody covers no set alone.
        profit(2, s2, "1"),
        profit(2, set(3), "1"),
    ];
    events.extend(member(3, set(3), "5"));
    let found = network(&chain(events, &said));
    assert_eq!(found.slack(), Some((Slack(ppt(&expected["gamma"])), true)));
    assert_eq!(found.services.iter().map(|one| one.set).collect::<Vec<_>>(), [s1, s2]);
    let [one] = found.uncovered[..] else { panic!("{found:?}") };
    assert_eq!(one.service, UncoveredService::OperatorSet(set(3)));
    assert_eq!(one.reason, NotCovered::ProfitUnknown);
}

#[test]
fn stake_that_another_platform_can_take_too_deters_nobody_whoever_says_so() {
    let x = set(1);
    let elsewhere = |key: usize, number: u8, units: &str| {
        let (operator, platforms) = (operator(number), "Symbiotic".to_owned());
        claimed(key, Claim::CrossPlatformStake { operator, platforms, wei: wei(units) })
    };
    for count in [2_u8, 17] {
        let events: Vec<Event> = (1..=count).flat_map(|number| member(number, x, "10")).collect();
        let stake = u64::from(count) * 10;
        let found = |said: &[Event]| {
            let mut all = vec![profit(1, x, "10"), threshold(x, ALL)];
            all.extend_from_slice(said);
            let chain = chain(events.clone(), &all);
            let entity = RatedEntity::operator_set(CHAIN, x);
            let methodology = Methodology::version_1().unwrap();
            let opinion = assess(&chain, &entity, When::newest(&chain), &methodology);
            let blocks = opinion.profile.blocks().iter();
            let corrupted: u64 =
                blocks.filter(|one| one.class == LossClass::C5).map(|one| one.hazard.0).sum();
            (network(&chain), corrupted)
        };
        let mut last = i64::MAX;
        let mut hazard = 0;
        for (units, left) in
            [("0", stake), ("3", stake - 3), ("10", stake - 10), ("99", stake - 10)]
        {
            for key in [1, 2] {
                let (network, corrupted) = found(&[elsewhere(key, 1, units)]);
                let [covered] = network.services[..] else { panic!("{network:?}") };
                // α = 1 and π = 10: γ is a tenth of what is left, less one.
                let slack = i64::try_from(left * ALL / 10).unwrap() - i64::try_from(ALL).unwrap();
                assert_eq!((covered.slack, network.stake), (Slack(slack), covered.stake));
                assert_eq!(covered.pooled, covered.stake - wei(&left.to_string()));
                assert!(slack <= last && corrupted >= hazard, "{units}: {slack} {corrupted}");
                (last, hazard) = (slack, corrupted);
            }
        }
        // Of two the larger counts; all of it elsewhere is no deterrent, and not an unknown one.
        let two = [elsewhere(1, 1, "2"), elsewhere(2, 1, "5")];
        assert_eq!(found(&two).0.services[0].pooled, wei("5"));
        let all: Vec<Event> = (1..=count).map(|number| elsewhere(1, number, "10")).collect();
        let (network, corrupted) = found(&all);
        assert_eq!(network.slack(), Some((Slack(-i64::try_from(ALL).unwrap()), true)));
        assert!(corrupted > hazard, "{corrupted} after {hazard}");
    }
}

#[test]
fn above_sixteen_operators_the_slack_is_a_lower_bound_and_says_so() {
    let x = set(1);
    let members = |count: u8| -> Vec<Event> {
        (1..=count).flat_map(|number| member(number, x, "10")).collect()
    };
    // Half of the stake: 8 of 16, and 9 of 17 where the bound counts 8.5.
    let said = [profit(1, x, "40"), threshold(x, ALL / 2)];
    let found = network(&chain(members(16), &said));
    assert_eq!(found.slack(), Some((Slack(1_000_000_000_000), true)));
    let found = network(&chain(members(17), &said));
    assert_eq!(found.slack(), Some((Slack(1_125_000_000_000), false)));
    assert_eq!(found.services[0].operators, 17);
}

#[test]
fn what_is_not_covered_is_named_with_its_reason_and_never_guessed() {
    let (with, without, empty) = (set(1), set(2), set(4));
    let native = |event: Event| match event {
        Event::StrategyAddedToOperatorSet { operator_set, .. } => {
            Event::StrategyAddedToOperatorSet { operator_set, strategy: BEACON_CHAIN_ETH }
        }
        Event::OperatorSharesIncreased { operator, staker, shares, .. } => {
            let strategy = BEACON_CHAIN_ETH;
            Event::OperatorSharesIncreased { operator, staker, strategy, shares }
        }
        Event::AllocationUpdated { operator, operator_set, magnitude, effect_block, .. } => {
            let strategy = BEACON_CHAIN_ETH;
            Event::AllocationUpdated { operator, operator_set, strategy, magnitude, effect_block }
        }
        other => other,
    };
    let mut events = member(1, with, "10");
    events.extend(member(2, without, "3").into_iter().map(native));
    events.push(Event::OperatorSetCreated { operator_set: empty });
    let avs = AvsId(Address::repeat_byte(0xd1));
    events.push(Event::OperatorAvsRegistrationStatusUpdated {
        operator: operator(1),
        avs,
        is_registered: true,
    });
    let said = [profit(1, with, "1"), profit(1, empty, "1")];
    let found = network(&chain(events.clone(), &said));
    let named: Vec<_> =
        found.uncovered.iter().map(|one| (one.service, one.stake, one.reason)).collect();
    let expected = [
        (UncoveredService::OperatorSet(without), wei("3"), NotCovered::ProfitUnknown),
        // The same stake once more: it secures Ethereum too.
        (UncoveredService::Consensus, wei("3"), NotCovered::ProfitUnknown),
        (UncoveredService::OperatorSet(empty), U256::ZERO, NotCovered::NoStake),
        (UncoveredService::Avs(avs), U256::ZERO, NotCovered::NoStake),
    ];
    assert_eq!(named, expected);
    // The only operator has to put in all of it.
    assert_eq!(found.slack(), Some((Slack(9_000_000_000_000), true)));
    assert_eq!(found.stake, wei("13"));

    let found = network(&chain(events, &[]));
    assert_eq!((found.slack(), found.covered_stake), (None, U256::ZERO));
    assert_eq!(found.loss_bound, Err(Unbounded::NothingCovered));
    let nothing = vec![Event::OperatorSetCreated { operator_set: with }];
    assert_eq!(network(&chain(nothing, &[])).shock, Err(Unbounded::NoStake));
}

#[test]
fn the_worst_loss_adds_what_pays_to_the_shock() {
    // A thirteenth of all stake is covered: three times ten, of 390.
    let x = set(1);
    let mut events: Vec<Event> = (1..=3).flat_map(|number| member(number, x, "10")).collect();
    events.extend((2..=37).flat_map(|number| member(number, set(number), "10")));
    for (gain, lost) in [
        // Two of three can attack, and need twenty.
        ("25", 20),
        // Once a shock took one of them, ten of twenty.
        ("15", 10),
        ("5", 0),
    ] {
        let found = network(&chain(events.clone(), &[profit(1, x, gain), threshold(x, ALL / 2)]));
        let shock = Ratio::new(found.shock.clone().unwrap().0.into(), u128::from(ALL)).unwrap();
        let expected = shock.plus(Ratio::new(lost, 390).unwrap()).unwrap();
        assert!(expected < Ratio::ONE, "{expected:?}");
        let (worst, is_exact) = found.worst_loss.clone().unwrap();
        assert!(is_exact);
        let difference = worst.0.abs_diff(expected.to_ppt().unwrap());
        assert!(difference <= 1, "{gain}: {worst}, and not {expected:?} rounded up");
        match found.loss_bound {
            Ok(bound) => assert!(lost < 20 && worst <= bound, "{gain}: {worst} above {bound}"),
            Err(reason) => assert_eq!((reason, lost), (Unbounded::NoSlack, 20)),
        }
    }
}

#[test]
fn the_worst_loss_is_exact_up_to_twelve_nodes_and_the_bound_beyond() {
    let x = set(1);
    let said = [profit(1, x, "5"), threshold(x, ALL)];
    for (operators, is_exact) in [(CASCADE_NODES_MAX - 1, true), (CASCADE_NODES_MAX, false)] {
        let members =
            (1..=operators).flat_map(|number| member(number.try_into().unwrap(), x, "10"));
        let found = network(&chain(members.collect(), &said));
        let (worst, exact) = found.worst_loss.clone().unwrap();
        assert_eq!(exact, is_exact);
        let expected = if is_exact { found.shock.unwrap() } else { found.loss_bound.unwrap() };
        assert_eq!(worst, expected, "nobody gains by any attack");
    }
    // Stake that another platform can take too is no part of the graph.
    let elsewhere = claimed(
        1,
        Claim::CrossPlatformStake {
            operator: operator(1),
            platforms: "Symbiotic".to_owned(),
            wei: wei("1"),
        },
    );
    let members = (1..=3).flat_map(|number| member(number, x, "10")).collect();
    let found = network(&chain(members, &[&said[..], &[elsewhere]].concat()));
    assert_eq!(found.worst_loss, Ok((found.loss_bound.unwrap(), false)));
}

/// Validators' stakes and services: profit, threshold in twelfths, members as a mask.
type Graph = (Vec<u64>, Vec<(u64, u64, u32)>);

fn graphs(validators: usize, services: usize) -> impl Strategy<Value = Graph> {
    let members = 1_u32..1 << validators;
    let service = (0_u64..30, 1_u64..=12, members);
    let stakes = proptest::collection::vec(1_u64..30, validators);
    (stakes, proptest::collection::vec(service, 1..=services))
}

fn network_of((stakes, services): &Graph) -> Network {
    let services = services.iter().map(|(profit, twelfths, members)| Service {
        profit: Ratio::whole(*profit),
        threshold: Ratio::new(i128::from(*twelfths), 12).unwrap(),
        validators: (0..stakes.len()).filter(|index| members & (1 << index) != 0).collect(),
    });
    Network::new(stakes.iter().copied().map(Ratio::whole).collect(), services.collect()).unwrap()
}

/// The most that attacks one after another take: by the definition, with nothing remembered and no
/// attack left out.
fn by_trying((stakes, services): &Graph, lost: u32, gone: u32) -> u64 {
    let stake = |set: u32| -> u64 {
        (0..stakes.len()).filter(|index| set & (1 << index) != 0).map(|index| stakes[index]).sum()
    };
    let mut worst = 0;
    for attackers in (1_u32..1 << stakes.len()).filter(|set| set & lost == 0) {
        for attacked in (1_u32..1 << services.len()).filter(|set| set & gone == 0) {
            let picked = (0..services.len()).filter(|index| attacked & (1 << index) != 0);
            let picked: Vec<_> = picked.map(|index| services[index]).collect();
            let gain: u64 = picked.iter().map(|(profit, ..)| profit).sum();
            let can = picked.iter().all(|(_, twelfths, members)| {
                let left = members & !lost;
                left != 0 && 12 * stake(attackers & members) >= twelfths * stake(left)
            });
            if can && gain > stake(attackers) {
                let then = by_trying(
                    &(stakes.clone(), services.clone()),
                    lost | attackers,
                    gone | attacked,
                );
                worst = worst.max(stake(attackers) + then);
            }
        }
    }
    worst
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_exact_loss_is_what_trying_everything_finds(
        graph in (1_usize..=4, 1_usize..=3).prop_flat_map(|(v, s)| graphs(v, s)),
        percent in 0_u64..=100,
    ) {
        let shock = Ratio::new(percent.into(), 100).unwrap();
        let total: u64 = graph.0.iter().sum();
        let worst = (0_u32..1 << graph.0.len())
            .filter(|lost| {
                let stakes = (0..graph.0.len()).filter(|index| lost & (1 << index) != 0);
                100 * stakes.map(|index| graph.0[index]).sum::<u64>() <= percent * total
            })
            .map(|lost| by_trying(&graph, lost, 0))
            .max()
            .unwrap();
        let expected = shock.plus(Ratio::new(worst.into(), total.into()).unwrap()).unwrap();
        prop_assert_eq!(network_of(&graph).worst_case_loss(shock).unwrap(), expected);
    }

    #[test]
    fn the_exact_loss_is_never_above_the_bound(
        graph in (1_usize..=6, 1_usize..=3).prop_flat_map(|(v, s)| graphs(v, s)),
        permille in 0_i128..300,
    ) {
        let (found, shock) = (network_of(&graph), Ratio::new(permille, 1_000).unwrap());
        let exact = found.worst_case_loss(shock).unwrap();
        for slack in [found.slack().unwrap(), found.slack_lower_bound().unwrap()] {
            let bound = slack.and_then(|slack| loss_bound(slack, shock).unwrap());
            prop_assert!(bound.is_none_or(|bound| exact <= bound), "{:?} {:?}", exact, bound);
        }
        if found.slack().unwrap().is_none() {
            prop_assert_eq!(exact, shock, "nobody gains anything");
        }
    }
}
