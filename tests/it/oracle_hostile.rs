//! Publishing through a node that lies, loses and refuses; and what becomes of a publisher's work
//! when it dies.

use std::collections::VecDeque;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy::transports::http::reqwest;
use assay::db;
use assay_oracle::chain::ChainError;
use assay_oracle::publish::PublishError;
use assay_oracle::{OracleId, Policy, publish_once, run};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::oracle_world::{CHAIN_ID, World, policy, publication};

/// What happens to one request.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// It is done, and the answer is lost.
    Swallowed,
    /// It is not done, and an error says so.
    Refused,
    /// It is not done, and an error says that it was done before.
    NonceTooLow,
    /// It is done, and an error says that it was done before.
    DoneButNonceTooLow,
    /// It is not done, and the answer says that it was.
    Dropped,
}

/// A node between the publisher and the real one.
struct Proxy {
    url: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    behind: String,
    client: reqwest::Client,
    /// Faults of the next `eth_sendRawTransaction`s.
    faults: Mutex<VecDeque<Fault>>,
    /// What `eth_chainId` answers instead.
    other_chain: Mutex<Option<u64>>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Proxy {
    async fn start(world: &World) -> Self {
        let shared = Arc::new(Shared {
            behind: world.anvil.rpc_url().to_owned(),
            client: reqwest::Client::new(),
            faults: Mutex::default(),
            other_chain: Mutex::default(),
        });
        let app = Router::new().fallback(forward).with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, shared, server }
    }

    fn fail(&self, faults: &[Fault]) {
        self.shared.faults.lock().unwrap().extend(faults);
    }

    fn faults_left(&self) -> usize {
        self.shared.faults.lock().unwrap().len()
    }
}

async fn forward(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap();
    let id = &request["id"];
    let error = |message: &str| {
        let error = json!({ "code": -32000, "message": message });
        axum::Json(json!({ "jsonrpc": "2.0", "id": id, "error": error })).into_response()
    };
    let other_chain = *shared.other_chain.lock().unwrap();
    if let (Some(chain), Some("eth_chainId")) = (other_chain, request["method"].as_str()) {
        let answer = json!({ "jsonrpc": "2.0", "id": id, "result": format!("{chain:#x}") });
        return axum::Json(answer).into_response();
    }
    let mut fault = None;
    if request["method"] == "eth_sendRawTransaction" {
        fault = shared.faults.lock().unwrap().pop_front();
    }
    match fault {
        Some(Fault::Refused) => return error("transaction pool is full"),
        Some(Fault::NonceTooLow) => return error("nonce too low"),
        Some(Fault::Dropped) => {
            let hash = format!("0x{}", "11".repeat(32));
            return axum::Json(json!({ "jsonrpc": "2.0", "id": id, "result": hash }))
                .into_response();
        }
        None | Some(Fault::Swallowed | Fault::DoneButNonceTooLow) => {}
    }
    let sent = shared.client.post(&shared.behind).header("content-type", "application/json");
    let answer = sent.body(body.clone()).send().await.unwrap().bytes().await.unwrap();
    match fault {
        Some(Fault::Swallowed) => StatusCode::GATEWAY_TIMEOUT.into_response(),
        Some(Fault::DoneButNonceTooLow) => error("nonce too low: next nonce 1, tx nonce 0"),
        _ => ([("content-type", "application/json")], answer).into_response(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_node_says_of_a_broadcast_each_rating_lands_once_under_one_nonce() {
    let world = World::new().await;
    let proxy = Proxy::start(&world).await;
    let mut publication = world.publication.clone();
    publication.rpc_url = proxy.url.clone();
    let cases: [&[Fault]; 7] = [
        &[Fault::Swallowed],
        &[Fault::Refused],
        &[Fault::NonceTooLow],
        &[Fault::DoneButNonceTooLow],
        &[Fault::Dropped],
        &[Fault::Refused, Fault::Dropped, Fault::NonceTooLow, Fault::Swallowed],
        &[Fault::Refused; 8],
    ];
    for (seq, faults) in (1..).zip(cases) {
        world.rate(3, seq).await;
        proxy.fail(faults);
        let published = publish_once(&world.pool, &publication).await.unwrap();
        assert_eq!((published.batches, published.ratings), (1, 3), "{faults:?}");
        assert_eq!(proxy.faults_left(), 0, "{faults:?}");
        world.assert_all_rated_once().await;
    }
    // One transaction a batch: the same bytes went out again.
    assert_eq!(world.count("SELECT count(*) FROM outbox.tx_attempts").await, 7);
    assert_eq!(world.count("SELECT count(DISTINCT nonce) FROM outbox.batches").await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_fee_that_triples_is_followed_and_a_block_that_goes_is_filled_again() {
    let world = World::new().await;
    let proxy = Proxy::start(&world).await;
    let mut publication = world.with_confirmations(2);
    publication.rpc_url = proxy.url.clone();
    publication.policy.patience.bump_after_blocks = 1;
    world.anvil("evm_setAutomine", json!([false])).await;
    world.rate(3, 1).await;
    proxy.fail(&[Fault::Swallowed]);
    let base_fee = "0xb2d05e00"; // 3 gwei: three times anvil's first.
    let squeeze = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        for _ in 0..3 {
            world.anvil("anvil_setNextBlockBaseFeePerGas", json!([base_fee])).await;
            world.anvil("evm_mine", json!([])).await;
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        // The block that took it, and what lies on it, go away; the pool forgets.
        world.anvil("anvil_reorg", json!([2, []])).await;
        world.anvil("evm_setAutomine", json!([true])).await;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            world.anvil("evm_mine", json!([])).await;
        }
    };
    let stop = CancellationToken::new();
    let running = run(&world.pool, &publication, stop.clone());
    let (ended, ()) = tokio::join!(running, async {
        squeeze.await;
        stop.cancel();
    });
    ended.unwrap();
    world.assert_all_rated_once().await;
    assert_eq!(world.count("SELECT count(DISTINCT nonce) FROM outbox.batches").await, 1);
    let dearest: i64 = sqlx::query_scalar("SELECT max(max_fee_wei) FROM outbox.tx_attempts")
        .fetch_one(&world.admin)
        .await
        .unwrap();
    assert!(dearest > 3_000_000_000, "{dearest}");
    let phases = "SELECT count(*) FROM outbox.batches WHERE phase = 'final'";
    assert_eq!(world.count(phases).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chain_behind_the_address_stops_the_publisher_with_the_reason() {
    let world = World::new().await;
    let proxy = Proxy::start(&world).await;
    let mut publication = world.publication.clone();
    publication.rpc_url = proxy.url.clone();
    let (pool, stop) = (world.pool.clone(), CancellationToken::new());
    let running = tokio::spawn(async move { run(&pool, &publication, stop).await });
    world.rate(2, 1).await;
    while world.rated().await.len() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The provider's balancer sends us elsewhere, in the middle of it.
    *proxy.shared.other_chain.lock().unwrap() = Some(5);
    let stopped = running.await.unwrap().unwrap_err();
    assert_eq!(stopped.to_string(), format!("the node serves chain 5, expected {CHAIN_ID}"));
    assert!(matches!(stopped, PublishError::Chain(ChainError::WrongChain { .. })));
    world.assert_all_rated_once().await;
}

/// Not a test of its own: a process that publishes until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn child_publisher() {
    let ask = |name: &str| std::env::var(name);
    let (Ok(url), Ok(rpc_url), Ok(oracle)) = (
        ask("ASSAY_PUBLISHER_DATABASE"),
        ask("ASSAY_PUBLISHER_RPC"),
        ask("ASSAY_PUBLISHER_ORACLE"),
    ) else {
        return;
    };
    let connected = db::connect(&url).await.unwrap();
    let pool = connected.pool(db::Role::Oracle, 4).await.unwrap();
    let oracle = OracleId { chain_id: CHAIN_ID, address: oracle.parse().unwrap() };
    let mut publication = publication(&rpc_url, oracle);
    // As patient as in earnest, so that its pauses after errors are as long.
    publication.policy = Policy { poll_interval: Policy::mainnet().poll_interval, ..policy() };
    run(&pool, &publication, CancellationToken::new()).await.unwrap();
}

/// Killed with the test.
struct Publisher(Child);

impl Publisher {
    fn start(world: &World) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "oracle_hostile::child_publisher"])
            .env("ASSAY_PUBLISHER_DATABASE", &world.database.url)
            .env("ASSAY_PUBLISHER_RPC", world.anvil.rpc_url())
            .env("ASSAY_PUBLISHER_ORACLE", world.oracle().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// kill -9.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn rated_within(world: &World, count: usize, patience: Duration) -> Duration {
    let begun = Instant::now();
    while world.rated().await.len() < count {
        assert!(begun.elapsed() < patience, "{count} ratings are not on chain");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_publishers_one_leads_and_the_other_takes_over_within_ten_seconds_of_its_death() {
    let world = World::new().await;
    world.rate(3, 1).await;
    let mut leader = Publisher::start(&world);
    rated_within(&world, 3, Duration::from_secs(30)).await;
    let mut next = Publisher::start(&world);
    for (round, seq) in (0..2).zip([2, 4]) {
        // The other has waited for so long that a pause that grows would be longer than allowed.
        tokio::time::sleep(Duration::from_secs(9)).await;
        world.rate(3, seq).await;
        rated_within(&world, 3 * (seq as usize), Duration::from_secs(30)).await;
        leader.kill();
        world.rate(3, seq + 1).await;
        let took = rated_within(&world, 3 * (seq as usize + 1), Duration::from_secs(10)).await;
        eprintln!("round {round}: taken over and published after {took:?}");
        leader = std::mem::replace(&mut next, Publisher::start(&world));
    }
    world.assert_all_rated_once().await;
    let nonces = "SELECT max(nonce) - min(nonce) + 1 - count(DISTINCT nonce) FROM outbox.batches";
    assert_eq!(world.count(nonces).await, 0);
    let batches = world.count("SELECT count(*) FROM outbox.batches").await;
    assert_eq!(world.count("SELECT count(*) FROM outbox.tx_attempts").await, batches);
}
