//! One whole mainnet block, and a hundred ways to lie about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use alloy::primitives::{Address, B256, address};
use alloy::rpc::types::{Header, TransactionReceipt};
use assay::chain::receipts::{Unproven, prove_header, prove_logs, prove_receipts};
use assay::chain::{ChainLog, Endpoint, LogFilter, LogSource as _, Nodes, Patience, SourceError};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::chain_shared::shared;
use crate::support::synthetic::Random;

/// Emits 70 of the block's 463 logs.
const WETH: Address = address!("c02aaa39b223fe8d0a0e5c4f27ead9083c756cc2");

fn weth() -> LogFilter {
    LogFilter::of([WETH])
}

#[derive(Debug, Clone)]
struct Block {
    header: Value,
    receipts: Value,
    logs: Vec<Value>,
}

impl Block {
    fn read() -> Option<Self> {
        let path = shared("block-21925176")?;
        let json = |name| serde_json::from_slice(&std::fs::read(path.join(name)).unwrap()).unwrap();
        let receipts: Value = json("receipts.json");
        let of_weth = |log: &&Value| log["address"] == json!(WETH);
        let all =
            receipts.as_array().unwrap().iter().flat_map(|one| one["logs"].as_array().unwrap());
        let logs = all.filter(of_weth).cloned().collect();
        Some(Self { header: json("block.json"), receipts, logs })
    }

    fn hash(&self) -> B256 {
        serde_json::from_value(self.header["hash"].clone()).unwrap()
    }

    fn prove(&self) -> Result<(), Unproven> {
        let header: Header = serde_json::from_value(self.header.clone()).unwrap();
        let receipts: Vec<TransactionReceipt> =
            serde_json::from_value(self.receipts.clone()).unwrap();
        let claimed: Vec<ChainLog> = serde_json::from_str(&json!(self.logs).to_string()).unwrap();
        prove_header(&header, self.hash())?;
        let proven = prove_receipts(&header, &receipts, &weth(), &claimed)?;
        prove_logs(&proven, &claimed)
    }

    /// Edits a log that the node gave.
    fn mutate_logs(&mut self, kind: u64, random: &mut Random) {
        let count = self.logs.len() as u64;
        let at = random.below(count - 1) as usize;
        match kind {
            0 => drop(self.logs.remove(at)),
            1 => {
                let mut added = self.logs[at].clone();
                added["logIndex"] = json!("0x1000");
                self.logs.push(added);
            }
            2 => alter(&mut self.logs[at], random),
            _ => {
                let index = self.logs[at]["logIndex"].take();
                self.logs[at]["logIndex"] = self.logs[at + 1]["logIndex"].take();
                self.logs[at + 1]["logIndex"] = index;
                self.logs.swap(at, at + 1);
            }
        }
    }

    /// Edits a log in the receipts.
    fn mutate_receipts(&mut self, kind: u64, random: &mut Random) {
        let is_rich = |receipt: &&mut Value| {
            let logs = receipt["logs"].as_array().unwrap();
            logs.len() > 1 && logs.iter().any(|log| log["address"] == json!(WETH))
        };
        let mut rich: Vec<_> =
            self.receipts.as_array_mut().unwrap().iter_mut().filter(is_rich).collect();
        let which = random.below(rich.len() as u64) as usize;
        let logs = rich[which]["logs"].as_array_mut().unwrap();
        let at = random.below(logs.len() as u64 - 1) as usize;
        match kind {
            0 => drop(logs.remove(at)),
            1 => logs.insert(at, logs[at].clone()),
            2 => {
                let ours = logs.iter_mut().find(|log| log["address"] == json!(WETH)).unwrap();
                alter(ours, random);
            }
            _ => logs.swap(at, at + 1),
        }
    }
}

/// Another digit in the data, or where there is none in a topic.
fn alter(log: &mut Value, random: &mut Random) {
    let text = match log["data"].as_str() {
        Some("0x") => &mut log["topics"][0],
        _ => &mut log["data"],
    };
    let mut digits = text.as_str().unwrap().to_owned().into_bytes();
    let at = 2 + random.below(digits.len() as u64 - 2) as usize;
    digits[at] = if digits[at] == b'0' { b'1' } else { b'0' };
    *text = json!(String::from_utf8(digits).unwrap());
}

#[test]
fn a_block_is_proven_and_a_hundred_lies_about_it_are_named() {
    let Some(block) = Block::read() else { return };
    assert_eq!(block.logs.len(), 70);
    block.prove().unwrap();
    for seed in 0..100 {
        let mut random = Random(seed);
        let mut lie = block.clone();
        if seed % 2 == 0 {
            lie.mutate_logs(seed / 2 % 4, &mut random);
        } else {
            lie.mutate_receipts(seed / 2 % 4, &mut random);
        }
        let refusal = lie.prove().unwrap_err();
        let is_about_a_log = matches!(refusal, Unproven::Log { .. });
        assert_eq!(is_about_a_log, seed % 2 == 0, "{seed}: {refusal}");
        let names_a_log = refusal.to_string().matches("log ").count() > 0;
        assert!(
            names_a_log && !refusal.to_string().contains("cannot be told"),
            "{seed}: {refusal}"
        );
    }
}

#[test]
fn an_edited_header_is_refused() {
    let Some(mut block) = Block::read() else { return };
    block.header["receiptsRoot"] = json!(B256::repeat_byte(7));
    assert!(matches!(block.prove(), Err(Unproven::Header { number: 21_925_176, .. })));
}

/// A node that knows this block alone.
async fn node(block: Block) -> Endpoint {
    mortal_node(block, Arc::default()).await
}

/// The same, until it is told that it is dead.
async fn mortal_node(block: Block, is_dead: Arc<AtomicBool>) -> Endpoint {
    type Node = Arc<(Block, Arc<AtomicBool>)>;
    async fn serve(
        State(node): State<Node>,
        Json(request): Json<Value>,
    ) -> Result<Json<Value>, StatusCode> {
        let (block, is_dead) = &*node;
        if is_dead.load(Ordering::Relaxed) {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        let result = match request["method"].as_str().unwrap() {
            "eth_chainId" => json!("0x1"),
            "eth_getBlockByNumber" | "eth_getBlockByHash" => block.header.clone(),
            "eth_getBlockReceipts" => block.receipts.clone(),
            "eth_getLogs" => json!(block.logs),
            other => panic!("{other}"),
        };
        Ok(Json(json!({ "jsonrpc": "2.0", "id": request["id"], "result": result })))
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/", post(serve)).with_state(Arc::new((block, is_dead)));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Endpoint::parse(&url).unwrap()
}

async fn nodes(endpoints: Vec<Endpoint>, verify_receipts: bool) -> Nodes {
    let patience = Patience {
        attempts_max: 2,
        backoff_first: Duration::from_millis(1),
        ..Patience::default()
    };
    Nodes::connect(endpoints, 1, patience, verify_receipts).await.unwrap()
}

#[tokio::test]
async fn a_liar_is_named_and_the_honest_node_is_believed() {
    let Some(block) = Block::read() else { return };
    let honest = node(block.clone()).await;
    let truth: Vec<ChainLog> = serde_json::from_str(&json!(block.logs).to_string()).unwrap();
    let number = truth[0].block_number;
    for kind in 0..4 {
        let mut lie = block.clone();
        lie.mutate_logs(kind, &mut Random(kind));
        let liar = node(lie).await;

        let alone = nodes(vec![liar.clone()], true).await;
        let refusal = alone.logs(weth(), number, number).await.unwrap_err();
        assert!(matches!(refusal, SourceError::Unproven { .. }), "{refusal}");
        assert!(refusal.to_string().contains(&liar.to_string()), "{refusal}");

        // Proven, or only compared: the block's receipts decide, whoever is asked first.
        for (endpoints, verify_receipts) in [
            (vec![liar.clone(), honest.clone()], true),
            (vec![liar.clone(), honest.clone()], false),
            (vec![honest.clone(), liar.clone()], false),
        ] {
            let both = nodes(endpoints, verify_receipts).await;
            let in_range = both.logs(weth(), number, number).await.unwrap();
            let by_hash = both.logs_of_block(weth(), truth[0].block_hash).await.unwrap();
            // Receipts know the time of their block, these logs do not.
            prove_logs(&truth, &in_range).unwrap();
            prove_logs(&truth, &by_hash).unwrap();
        }
    }
}

#[tokio::test]
async fn where_one_node_dies_the_next_is_asked() {
    let Some(block) = Block::read() else { return };
    let is_dead = Arc::new(AtomicBool::new(false));
    let mortal = mortal_node(block.clone(), is_dead.clone()).await;
    let never_there = Endpoint::parse("http://127.0.0.1:9").unwrap();
    let nodes = nodes(vec![never_there, mortal, node(block).await], true).await;
    for dies in [false, true] {
        is_dead.store(dies, Ordering::Relaxed);
        let logs = nodes.logs(weth(), 21_925_176, 21_925_176).await.unwrap();
        assert_eq!(logs.len(), 70);
    }
}
