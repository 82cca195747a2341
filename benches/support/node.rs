//! A node that is as fast as a node can be: a made-up chain, its logs rendered before it listens.
//!
//! The chain is the one on which other indexers were measured: seed 42, blocks of 0 to 10
//! `OperatorSharesIncreased` logs; 200,000 blocks hold 1,001,460.

use std::fmt::Write as _;
use std::sync::Arc;

use alloy::primitives::{Address, B256, address, keccak256};
use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

const SEED: u64 = 42;

/// Mainnet's DelegationManager.
const EMITTER: Address = address!("39053d51b77dc0d36036fc1fcc8cb819df8ef37a");

const SIGNATURE: &str = "OperatorSharesIncreased(address,address,address,uint256)";

const LOGS_IN_BLOCK_MAX: u64 = 10;

/// SplitMix64, once.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The same number for the same three.
fn random(seed: u64, a: u64, b: u64) -> u64 {
    mix(mix(mix(seed) ^ a) ^ b.wrapping_mul(0xd134_2543_de82_ef95))
}

fn nth_address(kind: u64, which: u64) -> Address {
    let bytes = [0, 1, 2].map(|part| random(kind, which, part).to_be_bytes()).concat();
    Address::from_slice(&bytes[..20])
}

struct Chain {
    hashes: Vec<B256>,
    /// Logs of all blocks, each followed by a comma.
    logs: String,
    /// Where the logs of each block end.
    ends: Vec<usize>,
}

impl Chain {
    fn new(blocks: u64) -> Result<Self> {
        let mut chain = Self { hashes: vec![B256::ZERO], logs: String::new(), ends: vec![0] };
        let topic = keccak256(SIGNATURE);
        for number in 1..=blocks {
            let parent = chain.hashes[chain.hashes.len() - 1];
            let hash = keccak256([parent.as_slice(), &number.to_be_bytes()].concat());
            for index in 0..random(SEED, number, 1) % (LOGS_IN_BLOCK_MAX + 1) {
                let field = |field: u64| random(SEED, number, 100 + 8 * index + field);
                let (operator, staker) = (field(0) % 2_000, field(1) % 100_000);
                let (operator, staker) = (nth_address(1, operator), nth_address(2, staker));
                let strategy = nth_address(3, field(2) % 12);
                let shares = u128::from(field(3)) << 36 | u128::from(field(4)) & 0xf_ffff_ffff;
                let tx = keccak256([hash.as_slice(), &[(index / 2) as u8]].concat());
                write!(
                    chain.logs,
                    concat!(
                        r#"{{"address":"{:#x}","topics":["{}","0x{:0>64}"],"#,
                        r#""data":"0x{:0>64}{:0>64}{:064x}","blockNumber":"{:#x}","#,
                        r#""transactionHash":"{}","transactionIndex":"{:#x}","blockHash":"{}","#,
                        r#""logIndex":"{:#x}","removed":false}},"#
                    ),
                    EMITTER,
                    topic,
                    Hex(operator),
                    Hex(staker),
                    Hex(strategy),
                    shares,
                    number,
                    tx,
                    index / 2,
                    hash,
                    index
                )?;
            }
            chain.hashes.push(hash);
            chain.ends.push(chain.logs.len());
        }
        Ok(chain)
    }

    fn answer(&self, request: &Value) -> String {
        let newest = self.hashes.len() - 1;
        let number = |of: &Value| match of.as_str() {
            Some("latest" | "safe" | "finalized") => newest,
            Some(text) => usize::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or(0),
            None => 0,
        };
        let params = &request["params"];
        let result = match request["method"].as_str() {
            Some("eth_chainId") => "\"0x1\"".to_owned(),
            Some("eth_getBlockByNumber") => match number(&params[0]) {
                at if at > newest => "null".to_owned(),
                at => json!({
                    "number": format!("{at:#x}"),
                    "hash": self.hashes[at],
                    "parentHash": self.hashes[at.saturating_sub(1)],
                    "timestamp": format!("{:#x}", 1_700_000_000 + 12 * at),
                })
                .to_string(),
            },
            // Nothing in the chain is asked for by topic alone.
            Some("eth_getLogs") if params[0]["address"].is_null() => "[]".to_owned(),
            Some("eth_getLogs") => {
                let (from, to) = (number(&params[0]["fromBlock"]), number(&params[0]["toBlock"]));
                let (from, to) = (self.ends[from.max(1) - 1], self.ends[to.min(newest)]);
                format!("[{}]", self.logs[from..to].trim_end_matches(','))
            }
            _ => {
                let error = json!({ "code": -32601, "message": "no such method" });
                return json!({ "jsonrpc": "2.0", "id": request["id"], "error": error })
                    .to_string();
            }
        };
        format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, request["id"])
    }
}

/// An address without `0x`.
struct Hex(Address);

impl std::fmt::Display for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&alloy::hex::encode(self.0))
    }
}

/// Serves the chain on a free port, which it prints once it is ready.
#[expect(clippy::print_stdout, reason = "how the parent process learns the port")]
pub(crate) async fn serve(blocks: u64) -> Result<()> {
    async fn answer(State(chain): State<Arc<Chain>>, body: Bytes) -> Response {
        let body = match serde_json::from_slice(&body) {
            Ok(Value::Array(requests)) => {
                let answers: Vec<_> = requests.iter().map(|one| chain.answer(one)).collect();
                format!("[{}]", answers.join(","))
            }
            Ok(request) => chain.answer(&request),
            Err(error) => error.to_string(),
        };
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
    let router = Router::new().route("/", post(answer)).with_state(Arc::new(Chain::new(blocks)?));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    axum::serve(listener, router).await?;
    Ok(())
}
