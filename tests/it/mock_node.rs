//! A JSON-RPC node for tests: serves a scripted chain over HTTP and WebSocket, with the habits
//! and the faults of real providers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy::primitives::{Address, B256};
use assay::chain::{ChainLog, LogFilter, LogSource as _, ScriptedSource};
use assay::event_store::Header;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use futures_util::stream;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// How the node behaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Habits {
    /// Largest range served, in blocks; refused as this style of provider does.
    pub(crate) range_max: Option<u64>,
    /// Most logs served; refused as this style of provider does.
    pub(crate) logs_max: Option<usize>,
    /// Whose words it uses.
    pub(crate) style: Style,
    /// How it writes integers.
    pub(crate) integers: Integers,
    /// Leaves `blockTimestamp` out.
    pub(crate) hides_times: bool,
    /// Refuses several requests in one message.
    pub(crate) refuses_batches: bool,
    /// Knows neither `safe` nor `finalized`.
    pub(crate) knows_no_finality: bool,
    /// Answers `eth_getLogs` for this many blocks or more with half a JSON text.
    pub(crate) cuts_from: Option<u64>,
    /// Says so often which chain it is, and then that it is asked too often.
    pub(crate) chain_ids_max: Option<u64>,
}

/// Whose words a refusal has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Style {
    #[default]
    Infura,
    Reth,
    Silent,
}

/// How integers are written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Integers {
    #[default]
    Hex,
    Text,
    Number,
}

/// What happens to the next messages instead of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Status 429 with `Retry-After: 0`.
    RateLimit,
    /// Status 502 with a page in HTML.
    BadGateway,
    /// The connection breaks in the middle of the body.
    BrokenBody,
    /// No answer in time.
    Silence,
}

pub(crate) struct MockNode {
    pub(crate) chain: ScriptedSource,
    pub(crate) port: u16,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    chain: ScriptedSource,
    habits: Habits,
    faults: Mutex<Vec<Fault>>,
    calls: Mutex<BTreeMap<String, u64>>,
}

impl Drop for MockNode {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl MockNode {
    pub(crate) async fn start(chain: ScriptedSource, habits: Habits) -> Self {
        let shared = Arc::new(Shared {
            chain: chain.clone(),
            habits,
            faults: Mutex::default(),
            calls: Mutex::default(),
        });
        let app = Router::new()
            .route("/{*path}", any(serve))
            .route("/", any(serve))
            .with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { chain, port, shared, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v3/0123456789abcdef", self.port)
    }

    pub(crate) fn web_socket_url(&self) -> String {
        format!("ws://127.0.0.1:{}/v3/0123456789abcdef", self.port)
    }

    /// Lets the next messages fail.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.faults.lock().unwrap().extend(faults);
    }

    /// How often a method was called.
    pub(crate) fn calls(&self, method: &str) -> u64 {
        self.shared.calls.lock().unwrap().get(method).copied().unwrap_or(0)
    }
}

async fn serve(
    State(node): State<Arc<Shared>>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
    body: Bytes,
) -> Response {
    if let Ok(upgrade) = upgrade {
        return upgrade.on_upgrade(move |socket| talk(node, socket));
    }
    let fault = node.faults.lock().unwrap().pop();
    match fault {
        None => {}
        Some(Fault::RateLimit) => {
            let wait = [(header::RETRY_AFTER, "0")];
            return (StatusCode::TOO_MANY_REQUESTS, wait, "slow down").into_response();
        }
        Some(Fault::BadGateway) => {
            return (StatusCode::BAD_GATEWAY, "<html>no upstream</html>").into_response();
        }
        Some(Fault::BrokenBody) => {
            let half = Ok(Bytes::from_static(b"{\"jsonrpc\":\"2.0\",\"id\":0,\"res"));
            let broken = Err(std::io::Error::other("the cable is cut"));
            return Response::new(Body::from_stream(stream::iter([half, broken])));
        }
        Some(Fault::Silence) => tokio::time::sleep(Duration::from_secs(60)).await,
    }
    let request: Value = serde_json::from_slice(&body).unwrap();
    let answer = match &request {
        Value::Array(_) if node.habits.refuses_batches => {
            json!({ "jsonrpc": "2.0", "id": null, "error":
                { "code": -32600, "message": "batch requests are not supported" } })
        }
        Value::Array(requests) => {
            let mut answers = Vec::new();
            // Providers may answer in any order.
            for request in requests.iter().rev() {
                answers.push(answer(&node, request).await);
            }
            Value::Array(answers)
        }
        one => answer(&node, one).await,
    };
    let mut text = answer.to_string();
    if is_long_range(&node.habits, &request) {
        text.truncate(text.len() / 2);
    }
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

async fn talk(node: Arc<Shared>, mut socket: WebSocket) {
    let mut told = None;
    let mut subscribed = false;
    loop {
        tokio::select! {
            message = socket.recv() => {
                let Some(Ok(message)) = message else { return };
                let Message::Text(text) = message else { continue };
                let request: Value = serde_json::from_str(&text).unwrap();
                subscribed |= request["method"] == "eth_subscribe";
                let answer = answer(&node, &request).await.to_string();
                if socket.send(Message::Text(answer.into())).await.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(Duration::from_millis(10)), if subscribed => {
                let tip = node.chain.tip();
                if told.replace(tip) == Some(tip) {
                    continue;
                }
                let news = json!({ "jsonrpc": "2.0", "method": "eth_subscription", "params":
                    { "subscription": "0x1", "result": { "number": tip.number } } });
                if socket.send(Message::Text(news.to_string().into())).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn answer(node: &Shared, request: &Value) -> Value {
    let method = request["method"].as_str().unwrap();
    *node.calls.lock().unwrap().entry(method.to_owned()).or_default() += 1;
    let id = &request["id"];
    match result(node, method, &request["params"]).await {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err((code, message)) => {
            let error = json!({ "code": code, "message": message });
            json!({ "jsonrpc": "2.0", "id": id, "error": error })
        }
    }
}

async fn result(node: &Shared, method: &str, params: &Value) -> Result<Value, (i64, String)> {
    match method {
        "eth_chainId"
            if node.habits.chain_ids_max.is_some_and(|most| {
                node.calls.lock().unwrap().get(method).is_some_and(|calls| *calls > most)
            }) =>
        {
            Err((-32005, "too many requests".to_owned()))
        }
        "eth_chainId" => Ok(node.habits.integer(node.chain.chain_id().await.unwrap())),
        "eth_subscribe" => Ok("0x1".into()),
        "eth_getBlockByNumber" => header(node, params[0].as_str().unwrap()).await,
        "eth_getLogs" => logs(node, &params[0]).await,
        other => Err((-32601, format!("the method {other} does not exist"))),
    }
}

async fn header(node: &Shared, tag: &str) -> Result<Value, (i64, String)> {
    let heads = node.chain.heads().await.unwrap();
    let header = match tag {
        "latest" => Some(heads.latest),
        "safe" | "finalized" if node.habits.knows_no_finality => {
            return Err((-32602, format!("invalid argument 0: unknown tag {tag}")));
        }
        "safe" | "finalized" => {
            let number = heads.finalized.map(|block| block.number);
            let numbers: Vec<_> = number.into_iter().collect();
            node.chain.headers(&numbers).await.unwrap().first().copied().flatten()
        }
        number => node.chain.headers(&[quantity(number)]).await.unwrap()[0],
    };
    Ok(header.map_or(Value::Null, |header| node.habits.header(&header)))
}

async fn logs(node: &Shared, filter: &Value) -> Result<Value, (i64, String)> {
    let wanted = asked(listed(&filter["address"]), listed(&filter["topics"][0]));
    let logs = if let Some(hash) = filter["blockHash"].as_str() {
        let logs = node.chain.logs_of_block(wanted, hash.parse().unwrap()).await;
        logs.map_err(|_| (-32000, "unknown block".to_owned()))?
    } else {
        let (from, to) = range(filter);
        let habits = &node.habits;
        if let Some(max) = habits.range_max.filter(|max| to - from >= *max) {
            return Err(habits.refuse_range(from, max));
        }
        let logs = node.chain.logs(wanted, from, to).await.unwrap();
        if let Some(max) = habits.logs_max.filter(|max| logs.len() > *max && to > from) {
            let fitting = logs[max].block_number.saturating_sub(1).clamp(from, to - 1);
            return Err(habits.refuse_logs(max, from, fitting));
        }
        logs
    };
    Ok(logs.iter().map(|log| node.habits.log(log)).collect())
}

/// What is asked for: contracts with topics are those of which it is asked who can change them.
fn asked(addresses: Vec<Address>, topics: Vec<B256>) -> LogFilter {
    if addresses.is_empty() || topics.is_empty() {
        return LogFilter { topics: topics.into(), ..LogFilter::of(addresses) };
    }
    LogFilter { named: addresses.into(), ..LogFilter::default() }
}

/// The items of a list that may be missing.
fn listed<T: DeserializeOwned>(list: &Value) -> Vec<T> {
    serde_json::from_value::<Option<_>>(list.clone()).unwrap().unwrap_or_default()
}

fn range(filter: &Value) -> (u64, u64) {
    (quantity(filter["fromBlock"].as_str().unwrap()), quantity(filter["toBlock"].as_str().unwrap()))
}

fn is_long_range(habits: &Habits, request: &Value) -> bool {
    let is_range =
        request["method"] == "eth_getLogs" && request["params"][0]["fromBlock"].is_string();
    let blocks = || {
        let (from, to) = range(&request["params"][0]);
        to - from + 1
    };
    is_range && habits.cuts_from.is_some_and(|limit| blocks() >= limit)
}

fn quantity(text: &str) -> u64 {
    u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
}

impl Habits {
    fn refuse_range(&self, from: u64, max: u64) -> (i64, String) {
        match self.style {
            Style::Infura => {
                let to = from + max - 1;
                let range = format!("[{from:#x}, {to:#x}]");
                (-32005, format!("exceeds the limit. Try with this block range {range}."))
            }
            Style::Reth => (-32602, format!("query exceeds max block range {max}")),
            Style::Silent => (-32005, "limit exceeded".to_owned()),
        }
    }

    fn refuse_logs(&self, max: usize, from: u64, to: u64) -> (i64, String) {
        match self.style {
            Style::Infura => {
                let range = format!("[{from:#x}, {to:#x}]");
                let text = format!("query returned more than {max} results. ");
                (-32005, format!("{text}Try with this block range {range}."))
            }
            Style::Reth => {
                let text = format!("query exceeds max results {max}, ");
                (-32602, format!("{text}retry with the range {from}-{to}"))
            }
            Style::Silent => (-32005, "query returned too many results".to_owned()),
        }
    }

    fn integer(&self, value: u64) -> Value {
        match self.integers {
            Integers::Hex => format!("{value:#x}").into(),
            Integers::Text => value.to_string().into(),
            Integers::Number => value.into(),
        }
    }

    fn header(&self, header: &Header) -> Value {
        json!({
            "number": self.integer(header.block.number),
            "hash": header.block.hash,
            "parentHash": header.parent_hash,
            "timestamp": self.integer(header.block.timestamp),
            "logsBloom": format!("0x{}", "0".repeat(512)),
            "transactions": [],
        })
    }

    fn log(&self, log: &ChainLog) -> Value {
        let mut json = serde_json::to_value(log).unwrap();
        json["blockNumber"] = self.integer(log.block_number);
        json["logIndex"] = self.integer(log.log_index.into());
        json["transactionIndex"] = self.integer(0);
        match log.block_timestamp.filter(|_| !self.hides_times) {
            Some(time) => json["blockTimestamp"] = self.integer(time),
            None => drop(json.as_object_mut().unwrap().remove("blockTimestamp")),
        }
        json
    }
}
