//! Observations of a real node: calls, proofs against the state root, and nodes that lie.

use alloy::primitives::{Address, B256, Bytes, U256, address, bytes};
use alloy::providers::{Provider as _, RootProvider};
use alloy::sol;
use alloy::sol_types::SolCall as _;
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
    let (block, observed) = list().ask(&nodes(&[anvil.rpc_url()]).await, Some(2)).await.unwrap();
    let events: Vec<&Event> = observed.iter().map(|one| &one.event).collect();
    let header = node.get_block_by_number(2.into()).await.unwrap().unwrap().header;
    assert_eq!((block.number, block.hash), (2, header.hash));
    let Event::ViewObserved { answer, .. } = events[0] else { panic!("{events:?}") };
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
    assert_eq!(record(&store, 31_337, block, observed.clone()).await.unwrap(), 4);
    assert_eq!(record(&store, 31_337, block, observed).await.unwrap(), 0);
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

sol! {
    function calculateTVLs() external view returns (uint256[][] memory, uint256[] memory, uint256);
    function totalSupply() external view returns (uint256);
}

/// A contract that answers one function with these bytes, and reverts at all others.
fn answering(selector: [u8; 4], answer: &[u8]) -> Bytes {
    // PUSH0 CALLDATALOAD PUSH1 224 SHR PUSH4 selector EQ PUSH1 17 JUMPI PUSH0 PUSH0 REVERT
    let begin = [&[0x5f, 0x35, 0x60, 0xe0, 0x1c, 0x63][..], &selector].concat();
    let refuse = [0x14, 0x60, 0x11, 0x57, 0x5f, 0x5f, 0xfd];
    // JUMPDEST PUSH2 size PUSH2 31 PUSH0 CODECOPY PUSH2 size PUSH0 RETURN
    let [high, low] = u16::try_from(answer.len()).unwrap().to_be_bytes();
    let answer_it =
        [0x5b, 0x61, high, low, 0x61, 0x00, 0x1f, 0x5f, 0x39, 0x61, high, low, 0x5f, 0xf3];
    [&begin[..], &refuse, &answer_it, answer].concat().into()
}

/// What the rate of ezETH follows from, asked of contracts that answer as Renzo's do, in their
/// places.
#[tokio::test]
async fn the_value_behind_a_token_without_a_rate_is_observed() {
    let text = Observations::shipped("renzo").unwrap();
    let list = Observations::parse(&text.replace("chain_id = 1\n", "chain_id = 31337\n")).unwrap();
    let anvil = Anvil::start(&anvil_path(), &["--chain-id", "31337"]).unwrap();
    let node = World::node_of(&anvil);
    let call = async |method: &'static str, params: Value| {
        let _: Value = node.raw_request(method.into(), params).await.unwrap();
    };
    let manager = address!("74a09653a083691711cf8215a6ab074bb4e99ef5");
    let token = address!("bf5495efe5db9ce00f80364c8b423567e58d2110");
    let queue = address!("5efc9d10e42fb517456f4ac41eb5e2ebe42c8918");
    let ether = |whole: u64| U256::from(whole) * U256::from(10_u64.pow(18));
    let by_token = vec![vec![ether(1_000), ether(40)], vec![ether(2_050), U256::ZERO]];
    let values = calculateTVLsReturn {
        _0: by_token,
        _1: vec![ether(1_040), ether(2_050)],
        _2: ether(3_150),
    };
    let values = calculateTVLsCall::abi_encode_returns(&values);
    let supply = totalSupplyCall::abi_encode_returns(&ether(3_000));
    let code = answering(calculateTVLsCall::SELECTOR, &values);
    call("anvil_setCode", json!([manager, code])).await;
    call("anvil_setCode", json!([token, answering(totalSupplyCall::SELECTOR, &supply)])).await;
    call("anvil_setBalance", json!([queue, ether(60)])).await;
    call("anvil_mine", json!(["0x1"])).await;
    let nodes = nodes(&[anvil.rpc_url()]).await;
    let (block, observed) = list.ask(&nodes, Some(1)).await.unwrap();

    let database = support::database().await;
    assert_eq!(record(&database.store().await, 31_337, block, observed).await.unwrap(), 3);
    let rows: Vec<(String, i64, bool, Value)> = sqlx::query_as(
        "SELECT name, block_number, is_proven, said FROM read_model.observations ORDER BY name",
    )
    .fetch_all(&database.pool().await)
    .await
    .unwrap();
    let wei = |whole: u64| ether(whole).to_string();
    let [supply, value, queue] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((value.0.as_str(), value.1, value.2), ("renzo value", 1, false));
    let expected =
        json!([[[wei(1_000), wei(40)], [wei(2_050), "0"]], [wei(1_040), wei(2_050)], wei(3_150)]);
    assert_eq!(value.3["figures"], expected);
    assert_eq!((supply.0.as_str(), &supply.3["figures"]), ("renzo supply", &json!([wei(3_000)])));
    let is_proven = queue.2 && queue.3["balance"] == wei(60);
    assert!(queue.0 == "renzo withdraw queue" && is_proven, "{queue:?}");

    // The price feed is too old: the contract reverts, and nothing is made of it.
    call("anvil_setCode", json!([manager, answering([0; 4], &[])])).await;
    call("anvil_mine", json!(["0x1"])).await;
    let error = list.ask(&nodes, Some(2)).await.unwrap_err();
    let is_named = error.to_string().starts_with("\"renzo value\" at block 2: ");
    assert!(is_named && matches!(error, ObserveError::Unanswered { .. }), "{error}");
    // An upgrade to another function of the same name is found out.
    let other =
        answering(calculateTVLsCall::SELECTOR, &totalSupplyCall::abi_encode_returns(&ether(1)));
    call("anvil_setCode", json!([manager, other])).await;
    call("anvil_mine", json!(["0x1"])).await;
    let error = list.ask(&nodes, Some(3)).await.unwrap_err().to_string();
    assert!(error.contains("is not what the function returns"), "{error}");
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
        (
            call("f()", "[]") + &call("f()", "[]").replace("chain_id = 1", ""),
            "two entries have this name",
        ),
    ] {
        let error = Observations::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_lists_that_are_shipped_make_sense() {
    for name in ["eigenlayer", "puffer", "renzo"] {
        let list = Observations::parse(Observations::shipped(name).unwrap()).unwrap();
        assert_eq!(list.chain_id, 1);
    }
    assert!(Observations::shipped("renzo.toml").is_none());
}
