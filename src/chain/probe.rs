//! What a node can do, before it is relied on.

use std::time::{Duration, Instant};

use alloy::primitives::U64;
use serde::Deserialize;
use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::rpc_error::CallError;
use super::transport::{Call, Transport};

/// A node that has not answered by then is too slow to follow a chain with.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Ranges that are tried, in blocks, the largest first.
const RANGES: [u64; 5] = [50_000, 10_000, 2_000, 500, 50];

/// Blocks ago whose state is asked for, besides the first block's.
const DEPTHS: [u64; 5] = [1_000_000, 100_000, 10_000, 128, 0];

/// Requests sent at once, to see how many are too many.
pub const BURST: usize = 32;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The chain it serves.
    pub chain_id: u64,
    /// Its newest block.
    pub head: u64,
    /// Time of that block, in seconds since 1970.
    pub head_time: u64,
    /// Its last final block. `None`: it does not know the tag.
    pub finalized: Option<u64>,
    /// The widest range of blocks, of those tried, whose logs it gives at once. `None`: none.
    pub log_range: Option<u64>,
    /// How many blocks ago the oldest state is that it gives, of those tried; `head` is all.
    /// `None`: it gives none.
    pub state_depth: Option<u64>,
    /// How many of [`BURST`] requests at once it answers, and within how many milliseconds.
    pub burst_answered: usize,
    /// See `burst_answered`.
    pub burst_millis: u128,
}

/// A node that gives no usable answer. The address is not repeated: it may hold a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{endpoint} gives no usable answer to {method}: {message}")]
pub struct ProbeError {
    endpoint: String,
    method: &'static str,
    message: String,
}

#[derive(Deserialize)]
struct Block {
    number: U64,
    timestamp: U64,
}

/// Asks a node for its chain, its newest and last final block, and for logs of ever fewer blocks.
pub async fn probe(endpoint: Endpoint) -> Result<Probe, ProbeError> {
    let name = endpoint.to_string();
    let failed = |method: &'static str| {
        let endpoint = name.clone();
        move |error: CallError| {
            let message = error.message().to_owned();
            ProbeError { endpoint, method, message }
        }
    };
    let transport = Transport::open(endpoint, TIMEOUT).await.map_err(failed("connect"))?;
    let call = |method, params| Call { method, params, range: None };
    let chain_id: U64 =
        transport.call(&call("eth_chainId", json!([]))).await.map_err(failed("eth_chainId"))?;
    let block = |tag: &str| call("eth_getBlockByNumber", json!([tag, false]));
    let head: Block =
        transport.call(&block("latest")).await.map_err(failed("eth_getBlockByNumber"))?;
    let finalized: Option<Block> = transport.call(&block("finalized")).await.ok();
    let head_number = head.number.to::<u64>();
    let mut log_range = None;
    for range in RANGES {
        let from = head_number.saturating_sub(range);
        // A contract that emits nothing: only the range is on trial.
        let filter = json!({
            "fromBlock": format!("{from:#x}"),
            "toBlock": format!("{head_number:#x}"),
            "address": ["0x0000000000000000000000000000000000000001"],
        });
        let asked = Call {
            method: "eth_getLogs",
            params: json!([filter]),
            range: Some((from, head_number)),
        };
        let logs: Result<Vec<Value>, CallError> = transport.call(&asked).await;
        if logs.is_ok() {
            log_range = Some(range);
            break;
        }
    }
    let mut state_depth = None;
    for depth in [head_number].into_iter().chain(DEPTHS).filter(|depth| *depth <= head_number) {
        let block = format!("{:#x}", head_number - depth);
        let asked =
            call("eth_getBalance", json!(["0x0000000000000000000000000000000000000001", block]));
        let balance: Result<String, CallError> = transport.call(&asked).await;
        if balance.is_ok() {
            state_depth = Some(depth);
            break;
        }
    }
    let asked = call("eth_chainId", json!([]));
    let began = Instant::now();
    let burst = (0..BURST).map(|_| transport.call::<U64>(&asked));
    let burst = futures_util::future::join_all(burst).await;
    let burst_millis = began.elapsed().as_millis();
    Ok(Probe {
        chain_id: chain_id.to(),
        head: head_number,
        head_time: head.timestamp.to(),
        finalized: finalized.map(|block| block.number.to()),
        log_range,
        state_depth,
        burst_answered: burst.iter().filter(|answer| answer.is_ok()).count(),
        burst_millis,
    })
}
