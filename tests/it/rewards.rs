//! Rewards, from logs of the RewardsCoordinator's real ABI to what a position earns, and the
//! frontier of positions that the log holds.

use std::process::Command;
use std::sync::Arc;

use alloy::dyn_abi::DynSolValue;
use alloy::primitives::{Address, B256, U256};
use assay::chain::Contract;
use assay::event_store::Batch;
use assay::rater::Rater;
use assay::solver;
use assay_domain::assess::positions::{Book, BookError, PositionId, Subject, book};
use assay_domain::assess::{When, assess};
use assay_domain::attestation::Claim;
use assay_domain::block::epoch_end;
use assay_domain::decimal::{PPT_ONE, Ppt};
use assay_domain::frontier::Terms;
use assay_domain::frontier::pricing::{OptIn, Tail};
use assay_domain::mitigation::VerificationLevel;
use assay_domain::ratio::Ratio;
use assay_domain::state::ChainState;
use assay_domain::tail::loss_model;
use assay_domain::{AvsId, BlockRef, Event, Fact, OperatorId, OperatorSetId, RatedEntity};
use assay_graphql::{ApiConfig, Backend};
use serde_json::{Value, json};

use crate::first_loss::{ANYBODY, THIRD_PARTY, registry, said_at};
use crate::graphql::live::serve_as;
use crate::lrt::{
    BEACON, START, Speaker, WAD, WORLD, World, ether, five, methodology, number, set, token, uint,
    who,
};
use crate::support;
use crate::what_if::simulator;

const PAID_IN: Address = Address::repeat_byte(0xea);
const UNPRICED: Address = Address::repeat_byte(0xeb);
const DAY: u64 = 86_400;
/// A day that begins after the first epoch ended.
const FROM: u64 = 20_215 * DAY;
/// Epochs that end, of which stake is counted.
const EPOCHS: u64 = 28;

fn a() -> OperatorId {
    OperatorId(WORLD.a)
}

fn b() -> OperatorId {
    OperatorId(WORLD.b)
}

fn x1() -> OperatorSetId {
    OperatorSetId { avs: AvsId(WORLD.x), id: 1 }
}

fn strategies() -> DynSolValue {
    DynSolValue::Array(vec![DynSolValue::Tuple(vec![who(BEACON), number(WAD, 96)])])
}

fn hash() -> DynSolValue {
    DynSolValue::FixedBytes(B256::repeat_byte(7), 32)
}

fn period(days: u64) -> [DynSolValue; 2] {
    [number(FROM, 32), number(days * DAY, 32)]
}

/// `RewardsSubmission`.
fn submission(token: Address, amount: U256, days: u64) -> DynSolValue {
    let [start, duration] = period(days);
    DynSolValue::Tuple(vec![strategies(), who(token), uint(amount), start, duration])
}

/// `OperatorDirectedRewardsSubmission`.
fn directed(amounts: &[(OperatorId, U256)], days: u64) -> DynSolValue {
    let [start, duration] = period(days);
    let amount = |(operator, amount): &(OperatorId, U256)| {
        DynSolValue::Tuple(vec![who(operator.0), uint(*amount)])
    };
    let amounts = DynSolValue::Array(amounts.iter().map(amount).collect());
    let text = DynSolValue::String("for service".to_owned());
    DynSolValue::Tuple(vec![strategies(), who(PAID_IN), amounts, start, duration, text])
}

/// The five protocols with stake at operators, and what sets pay for it.
fn paid() -> Speaker {
    let mut chain = five();
    let World { a: first, b: second, x, .. } = WORLD;
    let coordinator = Contract::RewardsCoordinator;
    for (operator, shares) in [(first, 3_000_000), (second, 1_500_000)] {
        let values =
            [who(operator), who(Address::repeat_byte(0x99)), who(BEACON), uint(ether(shares))];
        chain.core(Contract::DelegationManager, "OperatorSharesIncreased", &values);
    }
    let price = Event::PriceUpdated { asset: PAID_IN, price: ether(2_000) };
    let fact = Fact { event: price, log_index: 1, ..chain.facts.last().unwrap().clone() };
    chain.facts.push(fact);
    // Fourteen days are within the window, all of them.
    let amounts = [(a(), ether(2_800)), (b(), ether(1_400))];
    chain.core(
        coordinator,
        "OperatorDirectedOperatorSetRewardsSubmissionCreated",
        &[who(x), hash(), set(x, 1), number(1, 256), directed(&amounts, 14)],
    );
    // What AVS X names for A is for all of A's sets of X; it is in one.
    chain.core(
        coordinator,
        "OperatorDirectedAVSRewardsSubmissionCreated",
        &[who(x), who(x), hash(), number(2, 256), directed(&[(a(), ether(700))], 14)],
    );
    let unique = "UniqueStakeRewardsSubmissionCreated";
    let all = submission(PAID_IN, ether(10_000), 14);
    chain.core(coordinator, unique, &[who(x), hash(), set(x, 1), number(3, 256), all]);
    // Nobody knows what this is worth.
    let all = submission(UNPRICED, ether(9_000_000), 14);
    let total = "TotalStakeRewardsSubmissionCreated";
    chain.core(coordinator, total, &[who(x), hash(), set(x, 1), number(4, 256), all]);
    // The protocol's own incentives are no position's.
    let everyone = submission(PAID_IN, ether(5_000_000), 14);
    let name = "RewardsSubmissionForAllEarnersCreated";
    chain.core(coordinator, name, &[who(first), number(1, 256), hash(), everyone]);
    let (now, before, after) = (number(FROM - 30 * DAY, 32), number(1_000, 16), number(2_000, 16));
    let b_keeps = [who(second), who(second), set(x, 1), now, before, after];
    chain.core(coordinator, "OperatorSetSplitBipsSet", &b_keeps);
    chain
}

fn aged(chain: &Speaker) -> ChainState {
    let mut state = chain.state();
    let known = state.chains.get_mut(&1).unwrap();
    for epoch in START / 7_200..START / 7_200 + EPOCHS {
        known.end_epoch(epoch, &methodology());
    }
    known.clone()
}

fn when(chain: &ChainState) -> When {
    let epoch = START / 7_200 + EPOCHS - 1;
    let block = BlockRef { number: epoch_end(epoch), timestamp: chain.time, ..BlockRef::default() };
    When::at(block)
}

fn held(chain: &ChainState, subject: Subject<'_>, opt_in: Option<PositionId>) -> Book {
    book(chain, subject, opt_in, when(chain), &methodology()).unwrap()
}

#[test]
fn a_position_earns_what_submissions_name_for_it_after_the_split_over_its_stake() {
    let chain = aged(&paid());
    let of = |operator: OperatorId| {
        let entity = RatedEntity::operator(1, operator);
        let found = held(&chain, Subject::Entity(&entity), None);
        let position = found.positions.iter().find(|one| one.id == (operator, x1()));
        position.unwrap().clone()
    };
    // A was slashed from 300 to 200 of 900; B has 200 of 1,000.
    let stake_a = ether(3_000_000) * U256::from(200) / U256::from(900);
    let stake_b = ether(1_500_000) * U256::from(200) / U256::from(1_000);
    let by_rule = |own: U256| ether(10_000) * own / (stake_a + stake_b);
    let (two, ten) = (U256::from(2), U256::from(10));
    let own = (ether(2_800) + ether(700) + by_rule(stake_a)) * two;
    let wei_a = of(a()).reward.wei;
    assert!(wei_a.abs_diff(own * U256::from(9) / ten) < ten, "A keeps the default: {wei_a}");
    let own = (ether(1_400) + by_rule(stake_b)) * two;
    let wei_b = of(b()).reward.wei;
    assert!(wei_b.abs_diff(own * U256::from(8) / ten) < ten, "B keeps 20 %: {wei_b}");
    for (operator, stake, wei) in [(a(), stake_a, wei_a), (b(), stake_b, wei_b)] {
        let found = of(operator);
        assert_eq!(found.reward.stake_days, stake * U256::from(EPOCHS));
        let yearly =
            wei * U256::from(PPT_ONE) * U256::from(36_525) / (stake * U256::from(EPOCHS * 100));
        assert_eq!(U256::from(found.reward.yearly.0), yearly);
        assert_eq!(found.reward.unpriced.iter().copied().collect::<Vec<_>>(), [UNPRICED]);
        assert!(!found.reward.is_of_set);
    }
}

#[test]
fn what_an_operator_never_got_is_no_reward_whoever_says_so() {
    let entity = RatedEntity::operator(1, a());
    // All of it was earned, more than a day before.
    let time = FROM + 16 * DAY;
    let earned = |claims: &[Event]| {
        let mut chain = aged(&paid());
        let mut events = registry();
        events.extend_from_slice(claims);
        chain.fold_messages(&events.iter().collect::<Vec<_>>(), time);
        let when = When { time, ..when(&chain) };
        let found = book(&chain, Subject::Entity(&entity), None, when, &methodology()).unwrap();
        let reward = &found.positions.iter().find(|one| one.id == (a(), x1())).unwrap().reward;
        (reward.wei, reward.realised.get(&PAID_IN).copied())
    };
    let got = |signer: Address, token: Address, cumulative: U256| {
        let claim = Claim::RewardRealisation { earner: a().0, token, cumulative };
        let level = if signer == ANYBODY {
            VerificationLevel::SelfClaim
        } else {
            VerificationLevel::SignedThirdParty
        };
        said_at(time, signer, level, claim)
    };
    let (whole, none) = earned(&[]);
    assert_eq!(none, None);
    // Named for A are 2,800 and 700, of which it keeps a tenth.
    let kept = ether(350);
    assert_eq!(earned(&[got(THIRD_PARTY, PAID_IN, kept)]), (whole, None), "all of it");
    assert_eq!(earned(&[got(THIRD_PARTY, PAID_IN, kept * U256::from(9))]), (whole, None));
    assert_eq!(earned(&[got(THIRD_PARTY, UNPRICED, U256::ZERO)]), (whole, None));
    let (two, half) = (U256::from(2), Some(Ppt(PPT_ONE / 2)));
    for signer in [THIRD_PARTY, ANYBODY] {
        let (less, share) = earned(&[got(signer, PAID_IN, kept / two)]);
        assert_eq!((less, share), (whole / two, half));
    }
    let disputed = [got(THIRD_PARTY, PAID_IN, kept / two), got(ANYBODY, PAID_IN, kept)];
    assert_eq!(earned(&disputed), (whole / two, half), "the least counts");
}

#[test]
fn rewards_and_stake_behind_the_window_are_forgotten() {
    let mut chain = aged(&paid());
    let entity = RatedEntity::operator(1, a());
    let before = held(&chain, Subject::Entity(&entity), None).positions;
    for epoch in START / 7_200 + EPOCHS..START / 7_200 + EPOCHS + 15 * 28 {
        chain.end_epoch(epoch, &methodology());
    }
    let after = held(&chain, Subject::Entity(&entity), None);
    assert!(before.iter().any(|one| one.reward.yearly > Ppt::ZERO));
    assert!(after.positions.iter().all(|one| one.reward.yearly == Ppt::ZERO));
    let days = after.window.unwrap().days;
    assert!((13 * 28..=14 * 28).contains(&days), "{days}");
    let most = ether(3_000_000) * U256::from(days);
    assert!(after.positions.iter().all(|one| one.reward.stake_days < most));
}

fn terms(opt_in: Option<(PositionId, Ppt)>) -> Terms {
    let part = |text: &str| text.parse().unwrap();
    Terms {
        level: part("0.95"),
        points: 5,
        hurdle_rate: part("0.08"),
        expense: part("0.2"),
        exit_cost: part("0.01"),
        oracle_lag_loss: part("0.005"),
        opt_in,
    }
}

#[test]
fn the_frontier_of_a_token_is_certified_and_priced_by_its_rated_distribution() {
    let chain = aged(&paid());
    let entity = RatedEntity::lrt(1, token("renzo"));
    // B is in two sets of X, and not yet in Y's.
    let y7 = OperatorSetId { avs: AvsId(WORLD.y), id: 7 };
    let more = ((b(), y7), Ppt(PPT_ONE / 50));
    let found = held(&chain, Subject::Entity(&entity), Some(more.0));
    assert_eq!(found.positions.len(), 5, "four held and one more");
    let question = found.question(&terms(Some(more))).unwrap();
    let weights = question.held.clone().unwrap();
    let limits = question.problem.groups();
    assert!(!limits.is_empty(), "what an operator has of the token limits its sets");
    let highest = question.problem.highest_reward().unwrap();
    assert!(highest > Ratio::ZERO);
    let mut before = None;
    for share in ["0", "1/2", "99/100"] {
        let required = highest.times(share.parse().unwrap()).unwrap();
        let (certificate, verified) = solver::solve(&question.problem, required).unwrap();
        assert_eq!(question.problem.verify(required, &certificate).unwrap(), verified);
        assert!(verified.gap <= "1/1000".parse().unwrap(), "{}", verified.gap);
        assert!(before.is_none_or(|before| verified.risk >= before), "more reward, more risk");
        before = Some(verified.bound);
    }
    // The premium rests on the very distribution that the rating publishes.
    let opinion = assess(&chain, &entity, when(&chain), &methodology());
    let run = Some(opinion.lrt.as_ref().unwrap().run);
    let rated = Tail::of(&loss_model(&opinion.profile, run, &methodology()).unwrap()).unwrap();
    assert_eq!(Tail::of(found.rated.as_ref().unwrap()).unwrap(), rated);
    // One more set costs tail, and earns what Y's members earn: nothing.
    let held = Tail::of(&question.portfolio(&weights).unwrap()).unwrap();
    let (position, weight) = question.opt_in.unwrap();
    let mut after = weights;
    after[position] = after[position].plus(weight).unwrap();
    let idle = after.last_mut().unwrap();
    *idle = idle.minus(weight).unwrap();
    let after = Tail::of(&question.portfolio(&after).unwrap()).unwrap();
    let reward = question.rewards[position].times(weight).unwrap();
    let opt_in = OptIn::new(&held, &after, reward, question.hurdle_rate).unwrap();
    assert!(opt_in.hurdle > Ratio::ZERO && !opt_in.is_worth_it());
}

#[test]
fn what_is_no_portfolio_is_refused_with_the_reason() {
    let chain = aged(&paid());
    let refused = |subject: Subject<'_>| {
        book(&chain, subject, None, when(&chain), &methodology()).unwrap_err()
    };
    let avs = RatedEntity::avs(1, AvsId(WORLD.x));
    assert_eq!(refused(Subject::Entity(&avs)), BookError::NotAHolder(avs));
    let stranger = RatedEntity::operator(1, OperatorId(Address::repeat_byte(0x44)));
    assert_eq!(refused(Subject::Entity(&stranger)), BookError::Empty);
    let most = [((a(), x1()), Ppt(PPT_ONE)), ((b(), x1()), Ppt(1))];
    assert_eq!(refused(Subject::Positions(&most)), BookError::MoreThanAll);
    let nowhere = OperatorSetId { avs: AvsId(Address::ZERO), id: 1 };
    let unknown = [((a(), nowhere), Ppt(1))];
    assert_eq!(refused(Subject::Positions(&unknown)), BookError::UnknownSet(nowhere));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_says_what_positions_of_the_log_earn_and_risk() {
    let chain = paid();
    let database = support::database().await;
    let store = database.store().await;
    let last = epoch_end(START / 7_200 + EPOCHS - 1);
    let finalized = BlockRef {
        number: last,
        hash: B256::repeat_byte(0xff),
        timestamp: 1_746_500_000 + (last - START) * 12,
    };
    let batch =
        Batch { chain_id: 1, facts: chain.facts, finalized: Some(finalized), ..Batch::default() };
    store.append(&batch).await.unwrap();
    Rater::new(store, Arc::new(methodology())).catch_up().await.unwrap();
    let ask = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_assay"))
            .args(["--database-url", &database.url, "frontier", "--json", "--points", "3"])
            .args(arguments)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), output.stdout, errors)
    };
    let position = format!("{}@{}=40%", a(), x1());
    let opt_in = format!("{}@{}=10%", b(), x1());
    let (is_done, told, errors) = ask(&["--position", &position, "--opt-in", &opt_in]);
    assert!(is_done, "{errors}");
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["frontier"].as_array().unwrap().len(), 3);
    assert_eq!(told["log"]["positions"].as_array().unwrap().len(), 2);
    assert!(told["log"]["positions"][0]["yearlyRewardPpt"].as_u64().unwrap() > 0);
    assert!(told["portfolio"]["optIn"]["isWorthIt"].is_boolean());
    // The API says of an operator what the command says.
    let slug = RatedEntity::operator(1, a()).to_string();
    let (is_done, told, errors) = ask(&["--of", &slug]);
    assert!(is_done, "{errors}");
    let told: Value = serde_json::from_slice(&told).unwrap();
    let simulator = Some(simulator(database.store().await));
    let backend = Backend { simulator: simulator.clone(), ..Backend::from(&database.pool().await) };
    let query = "query ($entity: String!) { frontier(entity: $entity, points: 3) {
        rewardsFrom positions { yearlyRewardPpt weightPpt operator { slug } }
        points { rewardPpt riskPpt gapPpt weightsPpt } held { rewardPpt riskPpt } } }";
    let text = assay_graphql::execute(backend, query, json!({ "entity": slug })).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    let found = &answer["data"]["frontier"];
    let ppt = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
    let positions = found["positions"].as_array().unwrap();
    let of_log = told["log"]["positions"].as_array().unwrap();
    assert_eq!(positions.len(), of_log.len(), "{answer}");
    for (position, of_log) in positions.iter().zip(of_log) {
        assert_eq!(ppt(&position["yearlyRewardPpt"]), of_log["yearlyRewardPpt"].as_u64().unwrap());
        assert_eq!(ppt(&position["weightPpt"]), of_log["weightPpt"].as_u64().unwrap());
        assert_eq!(position["operator"]["slug"], slug.as_str());
    }
    let points = found["points"].as_array().unwrap();
    assert_eq!(points.len(), 3);
    let is_it = |told: &Value, exact: &Value| {
        let text = exact.as_str().unwrap();
        let (numerator, denominator) = text.split_once('/').unwrap_or((text, "1"));
        let of = |text: &str| text.parse::<f64>().unwrap();
        let ppt = of(numerator) / of(denominator) * 1e12;
        assert!((ppt - of(told.as_str().unwrap())).abs() < 1.0, "{told} {exact}");
    };
    for (point, of_log) in points.iter().zip(told["frontier"].as_array().unwrap()) {
        is_it(&point["rewardPpt"], &of_log["reward"]);
        is_it(&point["riskPpt"], &of_log["cvar"]);
        is_it(&point["gapPpt"], &of_log["gap"]);
    }
    // And so does the command of a server, or as of a point of the record, by a part of the slug.
    let config = ApiConfig { simulator, ..ApiConfig::default() };
    let server = serve_as(&database.pool().await, config).await;
    let head = answer["extensions"]["assay"]["position"].as_str().unwrap();
    for more in [["--url", &server], ["--at", head]] {
        let arguments = ["--of", &slug[..slug.len() - 4], more[0], more[1]];
        let (is_done, told, errors) = ask(&arguments);
        assert!(is_done, "{errors}");
        let told: Value = serde_json::from_slice(&told).unwrap();
        assert_eq!(told["data"]["frontier"]["points"], found["points"], "{more:?}");
        assert_eq!(told["data"]["frontier"]["held"], found["held"], "{more:?}");
    }
    let priced = ask(&["--of", &slug, "--url", &server, "--hurdle-rate", "9%"]);
    assert!(!priced.0 && priced.2.contains("cannot be used with"), "{}", priced.2);
    // What is held is one of the portfolios: nothing on the frontier that earns less risks more.
    let (reward, risk) = (ppt(&found["held"]["rewardPpt"]), ppt(&found["held"]["riskPpt"]));
    assert!(reward > 0 && risk > 0);
    for point in points.iter().filter(|point| ppt(&point["rewardPpt"]) <= reward) {
        assert!(ppt(&point["riskPpt"]) <= risk + ppt(&point["gapPpt"]) + 1, "{answer}");
    }
    let (is_done, _, errors) = ask(&["--of", "lrt-1-0x00"]);
    assert!(!is_done && errors.contains("there is no entity lrt-1-0x00"), "{errors}");
}
