//! Asks a node, patiently: retries with growing waits, notices what is too much, checks that what
//! comes back is what was asked for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use alloy::primitives::B256;
use alloy::rpc::types::{Header as WholeHeader, TransactionReceipt};
use assay_domain::{BlockRef, ChainId};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::chain_log::{ChainLog, HeaderJson, Quantity};
use super::endpoint::Endpoint;
use super::governance;
use super::rpc_error::CallError;
use super::source::{Heads, Limit, LogFilter, LogSource, Patience, SourceError};
use super::transport::{Call, Transport};
use crate::event_store::Header;

/// Headers asked for in one message. Providers allow between 100 and 1,000 requests.
const HEADERS_PER_MESSAGE: usize = 100;

/// Longest wait a provider may impose with `Retry-After`.
const RETRY_AFTER_SECONDS_MAX: u64 = 60;

/// A node.
#[derive(Debug)]
pub struct RpcSource {
    transport: Transport,
    patience: Patience,
    /// Headers the node takes in one message; shrinks when it refuses.
    headers_per_message: AtomicUsize,
}

impl RpcSource {
    /// Connects, and makes sure that the node speaks for the right chain.
    pub async fn connect(
        endpoint: Endpoint,
        expected: ChainId,
        patience: Patience,
    ) -> Result<Self, SourceError> {
        let name = endpoint.to_string();
        let mut attempt = 1;
        let transport = loop {
            match Transport::open(endpoint.clone(), patience.request_timeout).await {
                Ok(transport) => break transport,
                Err(error) if attempt < patience.attempts_max => {
                    retry(&name, "connect", &error, attempt, &patience).await;
                    attempt += 1;
                }
                Err(error) => {
                    let message = error.message().to_owned();
                    return Err(SourceError::Unavailable {
                        endpoint: name,
                        attempts: attempt,
                        message,
                    });
                }
            }
        };
        let headers_per_message = AtomicUsize::new(HEADERS_PER_MESSAGE);
        let source = Self { transport, patience, headers_per_message };
        let found = source.chain_id().await?;
        if found == expected {
            Ok(source)
        } else {
            Err(SourceError::WrongChain { endpoint: name, expected, found })
        }
    }

    /// The node, without its secrets.
    pub const fn endpoint(&self) -> &Endpoint {
        self.transport.endpoint()
    }

    /// Sends a request until it is answered, refused, or patience runs out.
    async fn call<T: DeserializeOwned>(&self, call: &Call) -> Result<T, SourceError> {
        let mut attempt = 1;
        loop {
            let error = match self.transport.call(call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let endpoint = self.endpoint().to_string();
            match error {
                CallError::Refused { message } => {
                    return Err(SourceError::Refused { endpoint, method: call.method, message });
                }
                CallError::TooLarge { message, limit } => {
                    return Err(SourceError::TooLarge { endpoint, message, limit });
                }
                // A long range that breaks off is asked for in parts; a single block again.
                CallError::Cut { message } if call.range.is_some_and(|(from, to)| from < to) => {
                    let limit = Limit::Unknown;
                    return Err(SourceError::TooLarge { endpoint, message, limit });
                }
                error if attempt >= self.patience.attempts_max => {
                    let message = error.message().to_owned();
                    let attempts = attempt;
                    return Err(SourceError::Unavailable { endpoint, attempts, message });
                }
                error => retry(&endpoint, call.method, &error, attempt, &self.patience).await,
            }
            attempt += 1;
        }
    }

    /// What the node answers to a question about state.
    pub(super) async fn answer<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, SourceError> {
        self.call(&Call { method, params, range: None }).await
    }

    /// The whole header of a block, by number or hash.
    pub(super) async fn whole_header(&self, block: Value) -> Result<WholeHeader, SourceError> {
        let is_hash = block.as_str().is_some_and(|block| block.len() == 66);
        let method = if is_hash { "eth_getBlockByHash" } else { "eth_getBlockByNumber" };
        let params = json!([block, false]);
        let header: Option<WholeHeader> = self.call(&Call { method, params, range: None }).await?;
        header.ok_or_else(|| self.inconsistent(format!("it no longer has block {block}")))
    }

    /// The receipts of a block, by hash.
    pub(super) async fn receipts(
        &self,
        block: B256,
    ) -> Result<Vec<TransactionReceipt>, SourceError> {
        let call = Call { method: "eth_getBlockReceipts", params: json!([block]), range: None };
        let receipts: Option<_> = self.call(&call).await?;
        receipts.ok_or_else(|| self.inconsistent(format!("it has no receipts of block {block}")))
    }

    /// The logs of some blocks. `eth_getLogs` knows no "or" between addresses and topics: up to
    /// three questions, asked together.
    async fn filtered(
        &self,
        filter: &LogFilter,
        blocks: &Value,
        range: Option<(u64, u64)>,
    ) -> Result<Vec<ChainLog>, SourceError> {
        let asked = |is_wanted: bool, wanted: Value| async move {
            if !is_wanted {
                return Ok(Vec::new());
            }
            let mut question = blocks.clone();
            if let (Some(question), Value::Object(wanted)) = (question.as_object_mut(), wanted) {
                question.extend(wanted);
            }
            self.call(&Call { method: "eth_getLogs", params: json!([question]), range }).await
        };
        let LogFilter { addresses, topics, named } = filter;
        let (mut logs, by_topic, of_named): (Vec<ChainLog>, Vec<ChainLog>, Vec<ChainLog>) = futures_util::try_join!(
            asked(!addresses.is_empty(), json!({ "address": **addresses })),
            asked(!topics.is_empty(), json!({ "topics": [**topics] })),
            asked(
                !named.is_empty(),
                json!({ "address": **named, "topics": [governance::topics()] })
            ),
        )?;
        logs.extend(by_topic);
        logs.extend(of_named);
        Ok(logs)
    }

    async fn header_by_tag(&self, tag: &str) -> Result<Option<Header>, SourceError> {
        let call = header_call(json!(tag));
        Ok(self.call::<Option<HeaderJson>>(&call).await?.map(|json| json.0))
    }

    /// A tag that not every node knows.
    async fn header_by_new_tag(&self, tag: &str) -> Result<Option<BlockRef>, SourceError> {
        match self.header_by_tag(tag).await {
            Ok(header) => Ok(header.map(|header| header.block)),
            Err(SourceError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn headers_in_one_message(
        &self,
        numbers: &[u64],
    ) -> Result<Vec<Option<Header>>, SourceError> {
        let calls: Vec<_> =
            numbers.iter().map(|number| header_call(json!(format!("{number:#x}")))).collect();
        if !self.transport.can_batch() || calls.len() == 1 {
            let asked = calls.iter().map(|call| self.call::<Option<HeaderJson>>(call));
            let headers = futures_util::future::try_join_all(asked).await?;
            return Ok(headers.into_iter().map(|json| json.map(|json| json.0)).collect());
        }
        let mut attempt = 1;
        loop {
            let error = match self.transport.call_all::<Option<HeaderJson>>(&calls).await {
                Ok(headers) => {
                    return Ok(headers.into_iter().map(|json| json.map(|json| json.0)).collect());
                }
                Err(error) => error,
            };
            let endpoint = self.endpoint().to_string();
            let message = error.message().to_owned();
            match error {
                CallError::TooLarge { limit, .. } => {
                    return Err(SourceError::TooLarge { endpoint, message, limit });
                }
                CallError::Cut { .. } | CallError::Refused { .. } if attempt > 1 => {
                    let limit = Limit::Unknown;
                    return Err(SourceError::TooLarge { endpoint, message, limit });
                }
                _ if attempt >= self.patience.attempts_max => {
                    let attempts = attempt;
                    return Err(SourceError::Unavailable { endpoint, attempts, message });
                }
                error => retry(&endpoint, "batch", &error, attempt, &self.patience).await,
            }
            attempt += 1;
        }
    }

    /// Checks that the logs are of the blocks asked for, and that each number has one hash.
    fn check_range(&self, logs: &[ChainLog], from: u64, to: u64) -> Result<(), SourceError> {
        let mut hashes = BTreeMap::new();
        for log in logs {
            let (number, hash) = (log.block_number, log.block_hash);
            if log.removed {
                return Err(self.inconsistent(format!("a removed log in final block {number}")));
            }
            if !(from..=to).contains(&number) {
                let found = format!("asked for blocks {from} to {to}, found a log of {number}");
                return Err(self.inconsistent(found));
            }
            let known = *hashes.entry(number).or_insert(hash);
            if known != hash {
                return Err(self.inconsistent(format!("block {number} is {known} and {hash}")));
            }
        }
        Ok(())
    }

    /// In the order of the chain, each log once. Nodes answer so, but nothing promises it.
    fn in_order(&self, mut logs: Vec<ChainLog>) -> Result<Vec<ChainLog>, SourceError> {
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        let mut torn = None;
        logs.dedup_by(|later, earlier| {
            let is_one_place =
                (later.block_number, later.log_index) == (earlier.block_number, earlier.log_index);
            if is_one_place && !later.is_same_as(earlier) {
                torn = Some((later.block_number, later.log_index));
            }
            is_one_place
        });
        match torn {
            None => Ok(logs),
            Some((block, index)) => {
                Err(self.inconsistent(format!("two different logs {index} in block {block}")))
            }
        }
    }

    pub(super) fn inconsistent(&self, message: String) -> SourceError {
        SourceError::Inconsistent { endpoint: self.endpoint().to_string(), message }
    }
}

impl LogSource for RpcSource {
    fn name(&self) -> String {
        self.endpoint().to_string()
    }

    async fn chain_id(&self) -> Result<ChainId, SourceError> {
        let call = Call { method: "eth_chainId", params: json!([]), range: None };
        let answer: Box<RawValue> = self.call(&call).await?;
        let quantity: Result<Quantity<'_>, _> = serde_json::from_str(answer.get());
        quantity
            .and_then(|quantity| quantity.value::<serde_json::Error>("chain id"))
            .map_err(|error| self.inconsistent(error.to_string()))
    }

    async fn heads(&self) -> Result<Heads, SourceError> {
        let (latest, safe, finalized) = futures_util::try_join!(
            self.header_by_tag("latest"),
            self.header_by_new_tag("safe"),
            self.header_by_new_tag("finalized"),
        )?;
        let latest = latest.ok_or_else(|| self.inconsistent("no latest block".to_owned()))?;
        Ok(Heads { latest, safe, finalized })
    }

    async fn headers(&self, numbers: &[u64]) -> Result<Vec<Option<Header>>, SourceError> {
        let mut headers = Vec::with_capacity(numbers.len());
        while let Some(rest) = numbers.get(headers.len()..).filter(|rest| !rest.is_empty()) {
            let size = self.headers_per_message.load(Ordering::Relaxed).min(rest.len()).max(1);
            let (now, _) = rest.split_at(size);
            match self.headers_in_one_message(now).await {
                Ok(answered) => headers.extend(answered),
                Err(SourceError::TooLarge { .. }) if size > 1 => {
                    self.headers_per_message.store(size / 2, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        for (number, header) in numbers.iter().zip(&headers) {
            if let Some(found) = header.filter(|header| header.block.number != *number) {
                let found = found.block.number;
                return Err(self.inconsistent(format!("asked for block {number}, found {found}")));
            }
        }
        Ok(headers)
    }

    async fn logs(
        &self,
        filter: LogFilter,
        from: u64,
        to: u64,
    ) -> Result<Vec<ChainLog>, SourceError> {
        let (first, last) = (format!("{from:#x}"), format!("{to:#x}"));
        let blocks = json!({ "fromBlock": first, "toBlock": last });
        let logs = self.filtered(&filter, &blocks, Some((from, to))).await?;
        self.check_range(&logs, from, to)?;
        self.in_order(logs)
    }

    async fn logs_of_block(
        &self,
        filter: LogFilter,
        block: B256,
    ) -> Result<Vec<ChainLog>, SourceError> {
        let logs = self.filtered(&filter, &json!({ "blockHash": block }), None).await?;
        if let Some(log) = logs.iter().find(|log| log.block_hash != block || log.removed) {
            let found = log.block_hash;
            return Err(self.inconsistent(format!("asked for logs of {block}, found of {found}")));
        }
        self.in_order(logs)
    }

    async fn changed(&self) {
        self.transport.news().await;
    }
}

fn header_call(block: Value) -> Call {
    Call { method: "eth_getBlockByNumber", params: json!([block, false]), range: None }
}

async fn retry(endpoint: &str, method: &str, error: &CallError, attempt: u32, patience: &Patience) {
    let wait = match error {
        CallError::RateLimited { wait: Some(wait), .. } => {
            (*wait).min(std::time::Duration::from_secs(RETRY_AFTER_SECONDS_MAX))
        }
        _ => patience.backoff(attempt),
    };
    tracing::debug!(
        rpc.endpoint = endpoint,
        rpc.method = method,
        rpc.attempt = attempt,
        rpc.error = error.message(),
        wait_milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        "the node did not answer; asking again"
    );
    tokio::time::sleep(wait).await;
}
