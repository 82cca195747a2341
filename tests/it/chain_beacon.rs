//! The consensus layer: real blocks, slashings, reorgs, and nodes that are not of one mind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy::primitives::{B256, Bytes, b256, keccak256};
use assay::chain::beacon::BeaconBlock;
use assay::chain::{
    Beacon, Endpoint, Ingest, IngestError, IngestOptions, Patience, ScriptedSource, SourceError,
    Step,
};
use assay_domain::{BlockRef, Event};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::chain_decode::mainnet;
use crate::chain_ingest::options;
use crate::chain_shared::shared;
use crate::chain_world::{FIRST, MemorySink, chain, truth};

/// Seconds of a slot; the scripted chain has a block in each, from time zero on.
const SLOT: u64 = 12;

/// Who is slashed in the beacon block with an execution block.
#[derive(Clone, Default)]
struct Slashings {
    proposers: Vec<u64>,
    attesters: Vec<(Vec<u64>, Vec<u64>)>,
}

/// A beacon node for a scripted chain.
struct Node {
    chain: ScriptedSource,
    slashings: Mutex<BTreeMap<B256, Slashings>>,
    /// Blocks that the node shows in a slot instead of the chain's.
    lies: Mutex<BTreeMap<u64, B256>>,
    finalized: Mutex<u64>,
    deposit_chain: u64,
}

type Shared = Arc<Node>;

impl Node {
    fn new(chain: ScriptedSource) -> Shared {
        let finalized = Mutex::new(FIRST);
        let (slashings, lies) = (Mutex::default(), Mutex::default());
        Arc::new(Self { chain, slashings, lies, finalized, deposit_chain: 1 })
    }

    fn slash(&self, block: BlockRef, proposers: &[u64], attesters: &[(&[u64], &[u64])]) {
        let attesters = attesters.iter().map(|(one, two)| (one.to_vec(), two.to_vec()));
        let slashings = Slashings { proposers: proposers.to_vec(), attesters: attesters.collect() };
        self.slashings.lock().unwrap().insert(block.hash, slashings);
    }

    fn block(&self, number: u64) -> Option<Value> {
        let blocks = self.chain.blocks();
        let block = blocks.iter().find(|block| block.header.block.number == number)?.header.block;
        let hash = self.lies.lock().unwrap().get(&number).copied().unwrap_or(block.hash);
        let slashings =
            self.slashings.lock().unwrap().get(&block.hash).cloned().unwrap_or_default();
        let texts = |all: &[u64]| all.iter().map(u64::to_string).collect::<Vec<_>>();
        let proposers: Vec<_> = slashings
            .proposers
            .iter()
            .map(|index| {
                let header = json!({ "message": { "proposer_index": index.to_string() } });
                json!({ "signed_header_1": header, "signed_header_2": header })
            })
            .collect();
        let attesters: Vec<_> = slashings
            .attesters
            .iter()
            .map(|(one, two)| {
                json!({ "attestation_1": { "attesting_indices": texts(one) },
                        "attestation_2": { "attesting_indices": texts(two) } })
            })
            .collect();
        Some(json!({ "version": "electra", "finalized": false, "data": { "message": {
            "slot": number.to_string(), "proposer_index": "4",
            "body": { "proposer_slashings": proposers, "attester_slashings": attesters,
                "execution_payload": { "block_number": number.to_string(), "block_hash": hash,
                    "timestamp": (number * SLOT).to_string() } } } } }))
    }

    async fn serve(self: Shared) -> String {
        let app = Router::new()
            .route(
                "/eth/v1/beacon/genesis",
                get(|| async { axum::Json(json!({ "data": { "genesis_time": "0" } })) }),
            )
            .route(
                "/eth/v1/config/spec",
                get(|State(node): State<Shared>| async move {
                    axum::Json(json!({ "data": { "SECONDS_PER_SLOT": SLOT.to_string(),
                    "DEPOSIT_CHAIN_ID": node.deposit_chain.to_string() } }))
                }),
            )
            .route("/eth/v2/beacon/blocks/{id}", get(one_block))
            .route("/eth/v1/beacon/states/{id}/validators", get(validators))
            .route("/eth/v1/beacon/states/head/finality_checkpoints", get(checkpoints))
            .route("/eth/v1/events", get(|| async { "event: head\ndata: {\"slot\":\"1\"}\n\n" }))
            .with_state(self);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        url
    }
}

async fn one_block(State(node): State<Shared>, Path(id): Path<String>) -> Response {
    // A root is made of the number here; a slot is the number.
    let root =
        id.parse::<B256>().ok().map(|root| u64::from_be_bytes(root[24..].try_into().unwrap()));
    match node.block(root.unwrap_or_else(|| id.parse().unwrap())) {
        Some(block) => axum::Json(block).into_response(),
        None => (StatusCode::NOT_FOUND, "no such block").into_response(),
    }
}

fn pubkey(index: u64) -> Bytes {
    [keccak256(index.to_be_bytes()).as_slice(), &[1; 16]].concat().into()
}

fn credentials(index: u64) -> B256 {
    let mut word = keccak256([index.to_be_bytes(), [7; 8]].concat());
    word[..12].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    word
}

async fn validators(
    Path(_slot): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> axum::Json<Value> {
    let indices = query["id"].split(',').map(|id| id.parse::<u64>().unwrap());
    let mut data: Vec<_> = indices
        .map(|index| {
            json!({ "index": index.to_string(), "balance": "31000000000", "status":
                "active_slashed", "validator": { "pubkey": pubkey(index),
                "withdrawal_credentials": credentials(index), "effective_balance": "32000000000",
                "slashed": true, "exit_epoch": "9", "withdrawable_epoch": "8200" } })
        })
        .collect();
    data.reverse();
    axum::Json(json!({ "data": data }))
}

async fn checkpoints(State(node): State<Shared>) -> axum::Json<Value> {
    let mut root = B256::ZERO;
    root[24..].copy_from_slice(&node.finalized.lock().unwrap().to_be_bytes());
    axum::Json(json!({ "data": { "finalized": { "epoch": "1", "root": root } } }))
}

fn patience() -> Patience {
    Patience {
        request_timeout: Duration::from_secs(5),
        attempts_max: 2,
        backoff_first: Duration::from_millis(1),
        backoff_max: Duration::from_millis(1),
    }
}

async fn connect(url: &str, start_block: u64) -> Result<Beacon, SourceError> {
    Beacon::connect(Endpoint::parse(url).unwrap(), 1, start_block, patience()).await
}

type Reader = Ingest<ScriptedSource, MemorySink>;

async fn reader(chain: &ScriptedSource, sink: &MemorySink, url: &str, first: u64) -> Reader {
    let beacon = Arc::new(connect(url, first).await.unwrap());
    let (source, decoder) = (Arc::new(chain.clone()), Arc::new(mainnet()));
    let options = IngestOptions { range_blocks_first: 4, range_blocks_max: 4, ..options() };
    let stop = CancellationToken::new();
    Ingest::resume(source, decoder, sink.clone(), options, stop)
        .await
        .unwrap()
        .with_beacon(Some(beacon))
}

/// What stands of the beacon chain: block and event.
fn said(sink: &MemorySink) -> Vec<(u64, Event)> {
    let facts = sink.standing().into_iter().filter(|fact| fact.log_index >= 1 << 31);
    facts.map(|fact| (fact.block.number, fact.event)).collect()
}

fn observed(slot: u64, validator: u64) -> Event {
    let padded = Sha256::digest([&pubkey(validator)[..], &[0; 16]].concat());
    Event::BeaconValidatorObserved {
        slot,
        validator,
        pubkey_hash: B256::new(padded.into()),
        withdrawal_credentials: credentials(validator),
        effective_balance_gwei: 32_000_000_000,
        withdrawable_epoch: 8_200,
    }
}

fn proposer(slot: u64, validator: u64) -> Event {
    Event::BeaconProposerSlashed { slot, validator }
}

#[tokio::test]
async fn slashings_take_the_place_of_their_execution_block() {
    let chain = chain(20);
    let node = Node::new(chain.clone());
    let (old, new) = (FIRST + 3, FIRST + 16);
    let at = |number: u64| chain.blocks()[(number - FIRST) as usize].header.block;
    // Of two contradictory votes those are slashed who signed both.
    node.slash(at(old), &[77], &[(&[9, 5, 3, 1], &[1, 2, 5, 8]), (&[4], &[6])]);
    node.slash(at(new), &[78], &[]);
    chain.finalize(FIRST + 10);
    *node.finalized.lock().unwrap() = FIRST + 8;
    let url = Arc::clone(&node).serve().await;
    let sink = MemorySink::default();
    let mut ingest = reader(&chain, &sink, &url, 0).await;
    while ingest.step().await.unwrap() == Step::Advanced {}
    let history = vec![
        (old, proposer(old, 77)),
        (old, Event::BeaconAttesterSlashed { slot: old, validators: vec![1, 5] }),
        (old, Event::BeaconAttesterSlashed { slot: old, validators: vec![] }),
        (old, observed(old, 1)),
        (old, observed(old, 5)),
        (old, observed(old, 77)),
    ];
    let tail = vec![(new, proposer(new, 78)), (new, observed(new, 78))];
    assert_eq!(said(&sink), [history.clone(), tail].concat());
    // Final is what both layers hold for final.
    assert_eq!(sink.state().finalized.unwrap().number, FIRST + 8);

    // Taken back with its block; another one is slashed in its place, and a restart between.
    chain.rewind(new - 1);
    let block = chain.push(9, Vec::new());
    chain.push(9, Vec::new());
    node.slash(block, &[79], &[]);
    ingest = reader(&chain, &sink, &url, 0).await;
    while ingest.step().await.unwrap() == Step::Advanced {}
    let tail = vec![(new, proposer(new, 79)), (new, observed(new, 79))];
    assert_eq!(said(&sink), [history.clone(), tail].concat());
    let of_the_chain = sink.standing().into_iter().filter(|fact| fact.log_index < 1 << 31);
    assert_eq!(of_the_chain.collect::<Vec<_>>(), truth(&chain, u64::MAX));

    // Read from a later block on, the older slashing is not there.
    let later = MemorySink::default();
    let mut ingest = reader(&chain, &later, &url, old + 1).await;
    while ingest.step().await.unwrap() == Step::Advanced {}
    assert_eq!(said(&later).len(), 2);
}

#[tokio::test]
async fn layers_that_disagree_stop_at_the_block_and_go_on_when_they_agree() {
    let chain = chain(8);
    let node = Node::new(chain.clone());
    chain.finalize(FIRST);
    node.lies.lock().unwrap().insert(FIRST + 4, B256::repeat_byte(3));
    let url = Arc::clone(&node).serve().await;
    let sink = MemorySink::default();
    let mut ingest = reader(&chain, &sink, &url, 0).await;
    let error = loop {
        match ingest.step().await {
            Ok(Step::Advanced) => {}
            Ok(step) => panic!("{step:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, IngestError::Source(error) if error.is_temporary()), "{error}");
    assert!(error.to_string().contains("slot 1004 holds 0x0303"), "{error}");
    node.lies.lock().unwrap().clear();
    while ingest.step().await.unwrap() == Step::Advanced {}
    assert_eq!(sink.standing(), truth(&chain, u64::MAX));
    // Another final block than the execution layer's.
    node.lies.lock().unwrap().insert(FIRST + 6, B256::repeat_byte(4));
    *node.finalized.lock().unwrap() = FIRST + 6;
    chain.finalize(FIRST + 6);
    let error = ingest.step().await.unwrap_err();
    assert!(error.to_string().contains("block 1006 is final as 0x0404"), "{error}");
}

#[tokio::test]
async fn a_node_tells_of_heads_and_must_be_of_the_chain() {
    let node = Node::new(chain(2));
    let url = Arc::clone(&node).serve().await;
    let beacon = connect(&url, 0).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), beacon.changed()).await.unwrap();
    let other =
        Node { deposit_chain: 17_000, ..Arc::try_unwrap(Node::new(chain(2))).ok().unwrap() };
    let url = Arc::new(other).serve().await;
    let error = connect(&url, 0).await.unwrap_err();
    assert!(matches!(error, SourceError::WrongChain { found: 17_000, .. }), "{error}");
}

#[test]
fn real_blocks_of_the_mainnet() {
    let expected = [(
        7_109_344,
        17_923_026,
        b256!("bc8499537876e5406c7a65e25f99063f1cd85a17014a3aa5ade38271b1fbf64f"),
    )];
    for slot in [7_109_344_u64, 7_109_430, 7_109_431] {
        let Some(path) = shared(&format!("beacon-blocks/blocks_{slot}.json")) else { return };
        let json = std::fs::read(path).unwrap();
        let block = BeaconBlock::parse(&json).unwrap();
        let payload = block.payload.unwrap();
        assert_eq!(block.slot, slot);
        // Mainnet's genesis, and a slot of twelve seconds.
        assert_eq!(payload.timestamp, 1_606_824_023 + slot * SLOT);
        assert_eq!((block.proposers.len(), block.attesters.len()), (0, 0));
        if let Some((_, number, hash)) = expected.iter().find(|(at, ..)| *at == slot) {
            assert_eq!((payload.number, payload.hash), (*number, *hash));
        }
        // With slashings put inside, they are found; cut off, it is refused.
        let mut slashed: Value = serde_json::from_slice(&json).unwrap();
        let body = &mut slashed["data"]["message"]["body"];
        let vote = |indices: &[&str]| json!({ "attesting_indices": indices });
        body["attester_slashings"] = json!([{
            "attestation_1": vote(&["11", "12", "40"]), "attestation_2": vote(&["12", "40", "41"]) }]);
        let block = BeaconBlock::parse(slashed.to_string().as_bytes()).unwrap();
        assert_eq!(block.attesters, [[12, 40]]);
        assert!(BeaconBlock::parse(&json[..json.len() / 2]).is_err());
    }
}
