//! EigenPods: found by their manager's word, read by topic, whoever else says the same.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, I256, U256, address, hex, keccak256};
use alloy::providers::{Provider as _, RootProvider};
use assay::chain::scripted::Emission;
use assay::chain::{
    Contract, Contracts, Decoder, Endpoint, Import, Ingest, IngestOptions, Nodes, Patience,
    ScriptedSource, Step, Topics, parse_deployments,
};
use assay::event_store::EventStore;
use assay_domain::Event;
use assay_domain::event::PodValidator;
use assay_oracle::anvil::Anvil;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::chain_decode::{address_of, mainnet};
use crate::chain_ingest::options;
use crate::chain_store::{StoredIngest, canonical};
use crate::chain_world::FIRST;
use crate::mock_node::{Habits, MockNode};
use crate::oracle_world::{World, anvil_path};
use crate::support;

fn pod(number: u8) -> Address {
    Address::repeat_byte(0x60 + number)
}

pub(crate) fn emission(
    emitter: Address,
    signature: &str,
    indexed: &[B256],
    data: &[U256],
) -> Emission {
    let topics = [&[keccak256(signature)], indexed].concat();
    Emission {
        address: emitter,
        topics: Topics::new(&topics).unwrap(),
        data: data.iter().flat_map(U256::to_be_bytes::<32>).collect(),
    }
}

fn deployed_by(manager: Address, pod: Address) -> Emission {
    let owner = Address::repeat_byte(0x0a).into_word();
    emission(manager, "PodDeployed(address,address)", &[pod.into_word(), owner], &[])
}

fn deployed(pod: Address) -> Emission {
    deployed_by(address_of(Contract::EigenPodManager), pod)
}

/// A checkpoint of a pod with this many wei more.
fn finalized(pod: Address, delta: u64) -> Emission {
    let time = B256::left_padding_from(&7_u64.to_be_bytes());
    emission(pod, "CheckpointFinalized(uint64,int256)", &[time], &[U256::from(delta)])
}

/// Announcements and events of seven pods, half of which are not announced (yet).
pub(crate) fn random_pods(seed: u64) -> Vec<Emission> {
    let of = |number: u64| pod((number % 7) as u8);
    let mut emissions = vec![finalized(of(seed / 3), seed), finalized(of(seed / 5), seed + 1)];
    if seed.is_multiple_of(4) {
        emissions.insert(1, deployed(of(seed / 4)));
    }
    emissions
}

/// Which pods were announced, and what all their checkpoints say.
async fn told(store: &EventStore) -> (Vec<Address>, Vec<u64>) {
    let (mut pods, mut deltas) = (Vec::new(), Vec::new());
    for fact in canonical(store).await.0 {
        match fact.event {
            Event::PodDeployed { eigen_pod, .. } => pods.push(eigen_pod),
            Event::PodCheckpointFinalized { checkpoint_time: 7, share_delta_wei } => {
                deltas.push(u64::try_from(share_delta_wei).unwrap());
            }
            other => panic!("{other:?}"),
        }
    }
    (pods, deltas)
}

pub(crate) async fn resume(
    chain: &ScriptedSource,
    store: &EventStore,
    blocks: u64,
) -> StoredIngest {
    let options = IngestOptions {
        start_block: chain.blocks()[0].header.block.number,
        range_blocks_first: blocks,
        range_blocks_max: blocks,
        ..options()
    };
    let (source, decoder) = (Arc::new(chain.clone()), Arc::new(mainnet()));
    let stop = CancellationToken::new();
    Ingest::resume(source, decoder, store.clone(), options, stop).await.unwrap()
}

pub(crate) async fn look(ingest: &mut StoredIngest) {
    while ingest.step().await.unwrap() == Step::Advanced {}
}

/// Final history in ranges of any size, block by block, or a file all at once: the same is told.
pub(crate) async fn read_every_way<T: PartialEq + Debug>(
    chain: &ScriptedSource,
    first: u64,
    told: impl AsyncFn(&EventStore) -> T,
    expected: T,
) {
    let tip = chain.tip().number;
    for (blocks, finalized) in [(1, tip), (3, tip), (50, tip), (4, first + 6), (50, first)] {
        let database = support::database().await;
        let store = database.store().await;
        chain.finalize(finalized);
        look(&mut resume(chain, &store, blocks).await).await;
        chain.finalize(tip);
        look(&mut resume(chain, &store, blocks).await).await;
        assert_eq!(told(&store).await, expected, "ranges of {blocks}, final to {finalized}");
    }

    let logs = chain.blocks().into_iter().flat_map(|block| block.logs);
    let lines: String = logs.map(|log| serde_json::to_string(&log).unwrap() + "\n").collect();
    let decoder = mainnet();
    let import = Import::read(crate::chain_import::input(lines), &decoder).unwrap();
    let database = support::database().await;
    let store = database.store().await;
    for batch in import.batches().unwrap() {
        store.append(&batch.unwrap()).await.unwrap();
    }
    assert_eq!(told(&store).await, expected);
}

#[tokio::test]
async fn a_pod_is_read_from_its_deployment_on_and_nobody_else_is() {
    let chain = ScriptedSource::new(1, FIRST);
    let forger = Address::repeat_byte(0xbb);
    chain.push(0, vec![finalized(pod(1), 1), deployed_by(forger, pod(1))]);
    chain.push(0, vec![deployed(pod(1)), finalized(pod(1), 2), finalized(forger, 99)]);
    for delta in 3..9 {
        chain.push(0, vec![finalized(pod(1), delta), finalized(pod(2), 98)]);
        chain.push(0, vec![]);
    }
    chain.push(0, vec![finalized(pod(2), 9), deployed(pod(2)), finalized(pod(1), 10)]);
    // Nothing is kept of a pod's events that nothing is made of.
    chain.push(0, vec![emission(pod(1), "NonBeaconChainETHReceived(uint256)", &[], &[U256::ONE])]);
    let expected = (vec![pod(1), pod(2)], (2..11).collect());
    read_every_way(&chain, FIRST, told, expected).await;
}

#[tokio::test]
async fn a_pod_whose_deployment_is_taken_back_is_nobody() {
    let chain = ScriptedSource::new(1, FIRST);
    chain.finalize(FIRST);
    let database = support::database().await;
    let store = database.store().await;
    let mut ingest = resume(&chain, &store, 10).await;
    for is_restarted in [false, true] {
        chain.rewind(FIRST);
        chain.push(1, vec![deployed(pod(1)), finalized(pod(1), 1)]);
        chain.push(1, vec![finalized(pod(1), 2)]);
        look(&mut ingest).await;
        assert_eq!(told_now(&store).await, 3);
        chain.rewind(FIRST);
        chain.push(2, vec![deployed(pod(2))]);
        chain.push(2, vec![finalized(pod(1), 3), finalized(pod(2), 4)]);
        if is_restarted {
            ingest = resume(&chain, &store, 10).await;
        }
        look(&mut ingest).await;
        assert_eq!(store.announcements(1).await.unwrap().len(), 1);
    }
    chain.finalize(chain.tip().number);
    look(&mut ingest).await;
    assert_eq!(told(&store).await, (vec![pod(2)], vec![4]));
    store.verify().await.unwrap();
}

/// Facts in blocks that stand, final or not.
async fn told_now(store: &EventStore) -> i64 {
    let count = "SELECT count(*) FROM event_store.events e WHERE kind < 200 AND NOT EXISTS
        (SELECT FROM event_store.orphans o WHERE o.block_hash = e.block_hash)";
    sqlx::query_scalar(count).fetch_one(store.pool()).await.unwrap()
}

/// Tens of thousands of pods, far more than one filter names: few bytes each, and all are read.
#[tokio::test]
async fn fifty_thousand_pods_are_no_address_list() {
    let numbered = |number: u64| Address::from_word(B256::left_padding_from(&number.to_be_bytes()));
    let chain = ScriptedSource::new(1, FIRST);
    for block in 0..50 {
        let pods = block * 1_000 + 1..=block * 1_000 + 1_000;
        chain.push(0, pods.map(|number| deployed(numbered(number))).collect());
    }
    chain.push(0, vec![finalized(numbered(1), 1), finalized(numbered(50_000), 2)]);
    chain.push(0, vec![finalized(numbered(50_001), 3), finalized(numbered(25_000), 4)]);
    chain.finalize(chain.tip().number - 1);
    let database = support::database().await;
    let store = database.store().await;
    look(&mut resume(&chain, &store, 10).await).await;
    // Another process, which learns of all pods from the store.
    let mut ingest = resume(&chain, &store, 10).await;
    chain.finalize(chain.tip().number);
    look(&mut ingest).await;
    let (pods, deltas) = told(&store).await;
    assert_eq!((pods.len(), deltas), (50_000, vec![1, 2, 4]));
}

/// The question by topic is asked from the first announcement on, once a range, however many
/// ranges are under way when it comes.
#[tokio::test]
async fn without_pods_a_range_costs_one_question() {
    let manager = address_of(Contract::EigenPodManager);
    for (blocks_before, expected) in [(None, 10), (Some(54), 15), (Some(0), 20)] {
        let chain = ScriptedSource::new(1, FIRST);
        for number in 1..100_u64 {
            let total =
                emission(manager, "NewTotalShares(address,int256)", &[B256::ZERO], &[U256::ONE]);
            let is_first = blocks_before == Some(number - 1);
            let first = is_first.then(|| deployed(pod(1)));
            chain.push(0, [total, finalized(pod(1), number)].into_iter().chain(first).collect());
        }
        chain.finalize(chain.tip().number);
        let node = MockNode::start(chain.clone(), Habits::default()).await;
        let endpoint = Endpoint::parse(&node.url()).unwrap();
        let source = Nodes::connect(vec![endpoint], 1, Patience::default(), false).await.unwrap();
        let options = IngestOptions {
            start_block: FIRST,
            range_blocks_first: 10,
            range_blocks_max: 10,
            ..options()
        };
        let database = support::database().await;
        let store = database.store().await;
        let (source, decoder) = (Arc::new(source), Arc::new(mainnet()));
        let stop = CancellationToken::new();
        let ingest = Ingest::resume(source, decoder, store.clone(), options, stop).await;
        let mut ingest = ingest.unwrap();
        while ingest.step().await.unwrap() == Step::Advanced {}
        assert_eq!(node.calls("eth_getLogs"), expected, "{blocks_before:?}");
        let checkpoints = canonical(&store).await.0.into_iter();
        let checkpoints = checkpoints
            .filter(|fact| matches!(fact.event, Event::PodCheckpointFinalized { .. }))
            .count() as u64;
        assert_eq!(checkpoints, blocks_before.map_or(0, |before| 99 - before));
    }
}

const CHAIN_ID: u64 = 31_337;
pub(crate) const MANAGER: Address = address!("00000000000000000000000000000000000e1600");

pub(crate) const ALLOCATIONS: Address = address!("00000000000000000000000000000000000e1601");

/// Code that emits its call data as a log: `count` topics, then data.
fn emitter(count: u8) -> Bytes {
    let topics = count * 32;
    let size = [0x60, topics, 0x36, 0x03];
    let mut code = [&size[..], &[0x60, topics, 0x60, 0, 0x37]].concat();
    for index in (0..count).rev() {
        code.extend([0x60, index * 32, 0x35]);
    }
    code.extend(size);
    code.extend([0x60, 0, 0xa0 + count, 0]);
    code.into()
}

/// Lets contracts on a real chain emit these, in one block.
pub(crate) async fn emit(node: &RootProvider, emissions: Vec<Emission>) {
    let call = async |method: &'static str, params: Value| -> Value {
        node.raw_request(method.into(), params).await.unwrap()
    };
    let sender = call("eth_accounts", json!([])).await[0].clone();
    call("evm_setAutomine", json!([false])).await;
    for emission in emissions {
        let topics = emission.topics.as_slice();
        let code = emitter(u8::try_from(topics.len()).unwrap());
        call("anvil_setCode", json!([emission.address, code])).await;
        let data = [topics.concat(), emission.data].concat();
        let transaction = json!({ "from": sender, "to": emission.address, "gas": "0x30d40",
            "input": hex::encode_prefixed(data) });
        call("eth_sendTransaction", json!([transaction])).await;
    }
    call("evm_mine", json!([])).await;
    call("evm_setAutomine", json!([true])).await;
}

/// Ingests what a real node has, every block proven by its receipts.
pub(crate) async fn follow(anvil: &Anvil, store: &EventStore) {
    let deployment = format!(
        "[[deployment]]\nname = \"local\"\nchain_id = {CHAIN_ID}\nstart_block = 0\n\
         eigen_pod_manager = \"{MANAGER}\"\n\
         allocation_manager = \"{ALLOCATIONS}\"\n"
    );
    let deployments = parse_deployments(&deployment).unwrap();
    let decoder = Decoder::new(Contracts::new(CHAIN_ID, &deployments).unwrap());
    let endpoint = Endpoint::parse(anvil.rpc_url()).unwrap();
    let patience = Patience { backoff_first: Duration::from_millis(1), ..Patience::default() };
    let nodes = Nodes::connect(vec![endpoint], CHAIN_ID, patience, true).await.unwrap();
    let options = IngestOptions { start_block: 0, ..options() };
    let (nodes, decoder, stop) = (Arc::new(nodes), Arc::new(decoder), CancellationToken::new());
    let ingest = Ingest::resume(nodes, decoder, store.clone(), options, stop).await;
    let mut ingest = ingest.unwrap();
    while ingest.step().await.unwrap() == Step::Advanced {}
}

#[tokio::test]
async fn pods_of_a_real_chain_are_read_and_proven() {
    let anvil = Anvil::start(&anvil_path(), &["--chain-id", "31337"]).unwrap();
    let node = World::node_of(&anvil);
    let database = support::database().await;
    let store = database.store().await;
    let deployed = |pod| deployed_by(MANAGER, pod);
    let by_key = U256::from(5);
    let restaked = [
        emission(pod(1), "ValidatorRestaked(uint40)", &[], &[U256::from(61_511)]),
        emission(pod(1), "ValidatorRestaked(bytes32)", &[], &[by_key]),
    ];
    let [first, second] = restaked;
    emit(&node, vec![deployed(pod(1)), first, finalized(pod(2), 98)]).await;
    emit(&node, vec![second]).await;
    follow(&anvil, &store).await;

    // A pod that the chain takes back, and another one in its place.
    let snapshot: Value = node.raw_request("evm_snapshot".into(), ()).await.unwrap();
    emit(&node, vec![deployed(pod(2)), finalized(pod(2), 97)]).await;
    follow(&anvil, &store).await;
    let _: Value = node.raw_request("evm_revert".into(), (snapshot,)).await.unwrap();
    emit(&node, vec![deployed(pod(3)), finalized(pod(3), 1)]).await;
    emit(&node, vec![finalized(pod(2), 96), finalized(pod(3), 2)]).await;
    follow(&anvil, &store).await;
    let _: Value = node.raw_request("anvil_mine".into(), ("0x60",)).await.unwrap();
    follow(&anvil, &store).await;

    let (facts, _) = canonical(&store).await;
    let said: Vec<_> = facts.into_iter().map(|fact| (fact.emitter, fact.event)).collect();
    let owner = assay_domain::StakerId(Address::repeat_byte(0x0a));
    let announced = |eigen_pod| (MANAGER, Event::PodDeployed { eigen_pod, pod_owner: owner });
    let restaked = |validator| (pod(1), Event::PodValidatorRestaked { validator });
    let finalized = |delta: i64| Event::PodCheckpointFinalized {
        checkpoint_time: 7,
        share_delta_wei: I256::try_from(delta).unwrap(),
    };
    let expected = [
        announced(pod(1)),
        restaked(PodValidator::Index(61_511)),
        restaked(PodValidator::PubkeyHash(by_key.into())),
        announced(pod(3)),
        (pod(3), finalized(1)),
        (pod(3), finalized(2)),
    ];
    assert_eq!(said, expected);
    store.verify().await.unwrap();
}
