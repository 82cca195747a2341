//! Observations of a real node: calls, proofs against the state root, and nodes that lie.

use alloy::primitives::{Address, B256, Bytes, U256, address, bytes};
use alloy::providers::{Provider as _, RootProvider};
use assay::chain::observe::{Observations, ObserveError};
use assay::chain::{Endpoint, Nodes, Patience};
use assay::observations::record;
use assay_domain::Event;
use assay_oracle::anvil::Anvil;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::oracle_world::{World, anvil_path};
use crate::support;

const VAULT: Address = address!("00000000000000000000000000000000000000aa");
const RESERVE: Address = address!("00000000000000000000000000000000000000bb");
const NOBODY: Address = address!("00000000000000000000000000000000000000cc");

/// Answers every call with storage slot 0: PUSH0 SLOAD PUSH0 MSTORE PUSH1 32 PUSH0 RETURN.
const CODE: Bytes = bytes!("5f545f5260205ff3");

fn list() -> Observations {
    let text = format!(
        "chain_id = 31337\n\
         [[call]]\nname = \"vault assets\"\ncontract = \"{VAULT}\"\n\
         function = \"convertToAssets(uint256) view returns (uint256)\"\narguments = [\"1000\"]\n\
         [[account]]\nname = \"reserve\"\naddress = \"{RESERVE}\"\n\
         [[account]]\nname = \"vault\"\naddress = \"{VAULT}\"\nslots = [\"0x0\", \"0x7\"]\n\
         [[account]]\nname = \"nobody\"\naddress = \"{NOBODY}\"\nslots = [\"0x1\"]\n"
    );
    Observations::parse(&text).unwrap()
}

/// A chain with a vault that has assets and a reserve that has ether.
async fn chain() -> (Anvil, RootProvider) {
    let anvil = Anvil::start(&anvil_path(), &["--chain-id", "31337"]).unwrap();
    let node = World::node_of(&anvil);
    let slot = |number: u64| B256::from(U256::from(number));
    let call = async |method: &'static str, params: Value| {
        let _: Value = node.raw_request(method.into(), params).await.unwrap();
    };
    call("anvil_setCode", json!([VAULT, CODE])).await;
    call("anvil_setStorageAt", json!([VAULT, "0x0", slot(1_234_567)])).await;
    call("anvil_setBalance", json!([RESERVE, "0xde0b6b3a7640000"])).await;
    call("anvil_mine", json!(["0x2"])).await;
    // What comes later is not what was at the block.
    let at = node.get_block_number().await.unwrap();
    assert_eq!(at, 2);
    let accounts: Value = node.raw_request("eth_accounts".into(), ()).await.unwrap();
    let payment = json!({ "from": accounts[0], "to": RESERVE, "value": "0x1" });
    call("eth_sendTransaction", json!([payment])).await;
    (anvil, node)
}

async fn nodes(urls: &[&str]) -> Nodes {
    let endpoints = urls.iter().map(|url| Endpoint::parse(url).unwrap()).collect();
    let patience = Patience { attempts_max: 1, ..Patience::default() };
    Nodes::connect(endpoints, 31_337, patience, false).await.unwrap()
}

#[tokio::test]
async fn what_is_asked_is_recorded_with_its_block_and_proof() {
    let (anvil, node) = chain().await;
    let (block, events) = list().ask(&nodes(&[anvil.rpc_url()]).await, Some(2)).await.unwrap();
    let header = node.get_block_by_number(2.into()).await.unwrap().unwrap().header;
    assert_eq!((block.number, block.hash), (2, header.hash));
    let Event::ViewObserved { answer, .. } = &events[0] else { panic!("{events:?}") };
    assert_eq!(U256::from_be_slice(answer), U256::from(1_234_567));
    let proven: Vec<_> = events[1..]
        .iter()
        .map(|event| match event {
            Event::AccountProven { account, balance, slots, .. } => (*account, *balance, &**slots),
            other => panic!("{other:?}"),
        })
        .collect();
    let slot = |slot: u64, value: u64| (U256::from(slot), U256::from(value));
    let ether = U256::from(1_000_000_000_000_000_000_u64);
    assert_eq!(proven[0], (RESERVE, ether, &[][..]));
    assert_eq!(proven[1], (VAULT, U256::ZERO, &[slot(0, 1_234_567), slot(7, 0)][..]));
    assert_eq!(proven[2], (NOBODY, U256::ZERO, &[slot(1, 0)][..]));

    let database = support::database().await;
    let store = database.store().await;
    assert_eq!(record(&store, 31_337, block, events.clone()).await.unwrap(), 4);
    assert_eq!(record(&store, 31_337, block, events).await.unwrap(), 0);
    let rows: Vec<(String, i64, Vec<u8>, bool)> = sqlx::query_as(
        "SELECT name, block_number, block_hash, is_proven FROM read_model.observations ORDER BY name",
    )
    .fetch_all(&database.pool().await)
    .await
    .unwrap();
    let names: Vec<_> = rows.iter().map(|row| (row.0.as_str(), row.3)).collect();
    let expected = [("nobody", true), ("reserve", true), ("vault", true), ("vault assets", false)];
    assert_eq!(names, expected);
    assert!(rows.iter().all(|row| (row.1, row.2.as_slice()) == (2, block.hash.as_slice())));
    let verified = store.verify().await.unwrap();
    assert_eq!(verified.head.position, 4);
}

/// Hands everything on to a node, and changes what comes back.
async fn liar(url: &str, lie: fn(&str, &mut Value)) -> String {
    type Behind = (RootProvider, fn(&str, &mut Value));
    async fn pass(State(behind): State<Behind>, Json(request): Json<Value>) -> Json<Value> {
        let method = request["method"].as_str().unwrap().to_owned();
        let asked = behind.0.raw_request::<_, Value>(method.clone().into(), &request["params"]);
        let mut answer =
            json!({ "jsonrpc": "2.0", "id": request["id"], "result": asked.await.unwrap() });
        (behind.1)(&method, &mut answer["result"]);
        Json(answer)
    }
    let behind: Behind = (RootProvider::new_http(url.parse().unwrap()), lie);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route("/", post(pass)).with_state(behind);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

#[tokio::test]
async fn a_node_that_lies_about_state_is_found_out() {
    let (anvil, _) = chain().await;
    let lies: [fn(&str, &mut Value); 5] = [
        |method, answer| {
            if method == "eth_getProof" {
                answer["balance"] = json!("0xffffffffffffffffff");
            }
        },
        |method, answer| {
            if method == "eth_getProof" && !answer["storageProof"][0].is_null() {
                answer["storageProof"][0]["value"] = json!("0x99");
            }
        },
        |method, answer| {
            if method == "eth_getProof" && answer["storageProof"][0].is_object() {
                answer["storageProof"] = json!([]);
            }
        },
        |method, answer| {
            if method == "eth_getProof" {
                answer["storageHash"] = json!(B256::repeat_byte(7));
            }
        },
        |method, answer| {
            if method == "eth_getBlockByNumber" && answer["stateRoot"].is_string() {
                answer["stateRoot"] = json!(B256::repeat_byte(7));
            }
        },
    ];
    for (index, lie) in lies.into_iter().enumerate() {
        let url = liar(anvil.rpc_url(), lie).await;
        let error = list().ask(&nodes(&[&url]).await, Some(2)).await.unwrap_err();
        let is_named = error.to_string().contains(&url);
        assert!(is_named, "{index}: {error}");
        let is_expected = matches!(error, ObserveError::Unproven { .. } | ObserveError::Source(_));
        assert!(is_expected, "{index}: {error}");
    }
    // A call cannot be proven: two nodes that differ are both disbelieved.
    let url = liar(anvil.rpc_url(), |method, answer| {
        if method == "eth_call" {
            *answer = json!(B256::repeat_byte(1));
        }
    })
    .await;
    let error = list().ask(&nodes(&[anvil.rpc_url(), &url]).await, Some(2)).await.unwrap_err();
    assert!(matches!(error, ObserveError::Contradiction { .. }), "{error}");
}

#[test]
fn a_list_that_makes_no_sense_is_refused() {
    let call = |function: &str, arguments: &str| {
        format!(
            "chain_id = 1\n[[call]]\nname = \"x\"\ncontract = \"{VAULT}\"\n\
             function = \"{function}\"\narguments = {arguments}\n"
        )
    };
    for (text, expected) in [
        (call("f(", "[]"), "\"x\""),
        (call("f(uint256)", "[]"), "takes 1 arguments, 0 are given"),
        (call("f(uint256)", "[\"eleven\"]"), "is no uint256"),
        ("chain_id = 1\nsurprise = 2".to_owned(), "TOML"),
    ] {
        let error = Observations::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
