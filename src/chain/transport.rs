//! One JSON-RPC request over HTTP or WebSocket, with a limit on time and size.
//!
//! Answers are read straight into lean types: alloy's own reject what some providers write
//! (integers as strings, missing fields) and cost more. Retries are in `rpc_source`.
//! HTTP goes through the client that alloy brings along, so that the size of an answer can be
//! limited while it comes in; WebSocket goes through alloy's provider, which reconnects.

use std::sync::Arc;
use std::time::Duration;

use alloy::providers::{DynProvider, Provider, ProviderBuilder, WsConnect};
use alloy::transports::http::reqwest::{self, Response, header};
use alloy::transports::ws::WebSocketConfig;
use alloy::transports::{RpcError, TransportError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;

use super::endpoint::{Endpoint, Scheme};
use super::rpc_error::{CallError, classify, classify_status, shorten};

/// Longest answer read. The busiest range a provider serves, 10,000 logs, has about 10 MB.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Bytes of an error page that are read.
const ERROR_BYTES_MAX: usize = 4 << 10;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) params: Value,
    /// The blocks asked for, where it is a range: then a refusal may be about its size.
    pub(crate) range: Option<(u64, u64)>,
}

/// A way to send requests.
#[derive(Debug)]
pub(crate) struct Transport {
    endpoint: Endpoint,
    timeout: Duration,
    wire: Wire,
}

enum Wire {
    Http(reqwest::Client),
    WebSocket { provider: DynProvider, news: Arc<Notify> },
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http(_) => "Http",
            Self::WebSocket { .. } => "WebSocket",
        })
    }
}

impl Transport {
    /// Prepares to speak to a node; a WebSocket is opened at once.
    pub(crate) async fn open(endpoint: Endpoint, timeout: Duration) -> Result<Self, CallError> {
        let wire = match endpoint.scheme() {
            Scheme::Http => reqwest::Client::builder()
                .timeout(timeout)
                .user_agent(concat!("assay/", env!("CARGO_PKG_VERSION")))
                .build()
                .map(Wire::Http)
                .map_err(|error| refused(&endpoint, &error.without_url()))?,
            Scheme::WebSocket => open_web_socket(&endpoint, timeout).await?,
        };
        Ok(Self { endpoint, timeout, wire })
    }

    /// Another connection to the same node.
    pub(crate) async fn another(&self) -> Result<Self, CallError> {
        Self::open(self.endpoint.clone(), self.timeout).await
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether several requests fit one message.
    pub(crate) const fn can_batch(&self) -> bool {
        matches!(self.wire, Wire::Http(_))
    }

    /// Sends one request.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: &Call) -> Result<T, CallError> {
        match &self.wire {
            Wire::Http(client) => {
                let body = self.post(client, &request(0, call)).await?;
                let answer: Answer<T> = parse(&body)?;
                answer.into_result(call.range)
            }
            Wire::WebSocket { provider, .. } => self.ask(provider, call).await,
        }
    }

    /// Sends several requests in one message. The answers are in the order of the requests.
    pub(crate) async fn call_all<T: DeserializeOwned>(
        &self,
        calls: &[Call],
    ) -> Result<Vec<T>, CallError> {
        let Wire::Http(client) = &self.wire else {
            return futures_util::future::try_join_all(calls.iter().map(|one| self.call(one)))
                .await;
        };
        let requests: Vec<_> = (0_u64..).zip(calls).map(|(id, one)| request(id, one)).collect();
        let body = self.post(client, &Value::Array(requests)).await?;
        if body.trim_ascii_start().first() == Some(&b'{') {
            // One error for all of them: the provider does not do batches, or not so many.
            let answer: Answer<Value> = parse(&body)?;
            let message = match answer.into_result(None) {
                Err(error) => error.message().to_owned(),
                Ok(_) => "one answer to several requests".to_owned(),
            };
            return Err(CallError::TooLarge { message, limit: super::source::Limit::Unknown });
        }
        let mut answers: Vec<Answer<T>> = parse(&body)?;
        answers.sort_by_key(|answer| answer.id);
        if answers.len() != calls.len() {
            let message = format!("{} answers to {} requests", answers.len(), calls.len());
            return Err(CallError::Transient { message });
        }
        let range = |index: usize| calls.get(index).and_then(|call| call.range);
        let in_order = answers.into_iter().enumerate();
        in_order.map(|(index, answer)| answer.into_result(range(index))).collect()
    }

    /// Returns when the node tells of a new block; over HTTP, never.
    pub(crate) async fn news(&self) {
        match &self.wire {
            Wire::WebSocket { news, .. } => news.notified().await,
            Wire::Http(_) => std::future::pending().await,
        }
    }

    /// Asks for a document below the endpoint's path; `None` where there is none.
    pub(crate) async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<Vec<u8>>, CallError> {
        let mut response = self.open_document(path, query, self.timeout).await?;
        let status = response.status();
        if status.is_success() {
            return self.body(&mut response, ANSWER_BYTES_MAX).await.map(Some);
        }
        if status.as_u16() == 404 {
            return Ok(None);
        }
        let body = self.body(&mut response, ERROR_BYTES_MAX).await.unwrap_or_default();
        let page = self.endpoint.scrub(&String::from_utf8_lossy(&body));
        Err(classify_status(status.as_u16(), &page, None))
    }

    /// The same, to be read as it comes.
    pub(crate) async fn open_document(
        &self,
        path: &str,
        query: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<Response, CallError> {
        let Wire::Http(client) = &self.wire else {
            let message = "it must be asked over http or https".to_owned();
            return Err(CallError::Refused { message });
        };
        let mut url = self.endpoint.secret_url().clone();
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        client.get(url).timeout(timeout).send().await.map_err(|error| self.http_error(error))
    }

    async fn post(&self, client: &reqwest::Client, request: &Value) -> Result<Vec<u8>, CallError> {
        let send = client
            .post(self.endpoint.secret_url().clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(request.to_string());
        let mut response = send.send().await.map_err(|error| self.http_error(error))?;
        let status = response.status();
        if status.is_success() {
            return self.body(&mut response, ANSWER_BYTES_MAX).await;
        }
        let wait = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let body = self.body(&mut response, ERROR_BYTES_MAX).await.unwrap_or_default();
        // Some providers send a proper error with a status; the error says more. Not so with 429.
        if status.as_u16() != 429 && serde_json::from_slice::<Answer<Value>>(&body).is_ok() {
            return Ok(body);
        }
        let page = self.endpoint.scrub(&String::from_utf8_lossy(&body));
        Err(classify_status(status.as_u16(), &page, wait))
    }

    async fn body(&self, response: &mut Response, limit: usize) -> Result<Vec<u8>, CallError> {
        let expected = response.content_length().and_then(|length| usize::try_from(length).ok());
        let mut body = Vec::with_capacity(expected.unwrap_or(0).min(limit));
        while let Some(chunk) = response.chunk().await.map_err(|error| self.http_error(error))? {
            if body.len() + chunk.len() > limit {
                let message = format!("an answer of more than {limit} bytes");
                return Err(CallError::TooLarge { message, limit: super::source::Limit::Unknown });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// What a failed HTTP exchange means. Connecting can fail for a while; an exchange that was
    /// under way and broke off may have been too much.
    fn http_error(&self, error: reqwest::Error) -> CallError {
        let is_cut = error.is_timeout() || error.is_body() || error.is_decode();
        let is_connect = error.is_connect();
        let message = self.endpoint.scrub(&chain_of_causes(&error.without_url()));
        if is_cut && !is_connect {
            CallError::Cut { message }
        } else {
            CallError::Transient { message }
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        provider: &DynProvider,
        call: &Call,
    ) -> Result<T, CallError> {
        let params = to_raw_value(&call.params)
            .map_err(|error| CallError::Refused { message: error.to_string() })?;
        let asked = provider.raw_request_dyn(call.method.into(), &params);
        let answer = match tokio::time::timeout(self.timeout, asked).await {
            Ok(answer) => answer,
            Err(_) => {
                let message = format!("no answer within {} seconds", self.timeout.as_secs());
                return Err(CallError::Cut { message });
            }
        };
        let raw = answer.map_err(|error| self.web_socket_error(error, call.range))?;
        parse(raw.get().as_bytes())
    }

    fn web_socket_error(&self, error: TransportError, range: Option<(u64, u64)>) -> CallError {
        match error {
            RpcError::ErrorResp(payload) => {
                let message = self.endpoint.scrub(&payload.message);
                classify(payload.code, &message, range)
            }
            other => CallError::Transient {
                message: shorten(&self.endpoint.scrub(&chain_of_causes(&other))),
            },
        }
    }
}

/// A JSON-RPC answer.
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Answer<T> {
    #[serde(default)]
    id: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    result: Option<T>,
    #[serde(default)]
    error: Option<ErrorJson>,
}

/// A field that is there counts as there, even if it is `null`.
fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct ErrorJson {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

impl<T> Answer<T> {
    fn into_result(self, range: Option<(u64, u64)>) -> Result<T, CallError> {
        match (self.error, self.result) {
            (Some(error), _) => Err(classify(error.code, &error.message, range)),
            (None, Some(result)) => Ok(result),
            (None, None) => {
                Err(CallError::Transient { message: "neither result nor error".to_owned() })
            }
        }
    }
}

fn request(id: u64, call: &Call) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": call.method, "params": call.params })
}

/// Reads an answer. One that does not read was cut off, or is no JSON-RPC at all.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(body).map_err(|error| CallError::Cut {
        message: format!("{error}, in an answer of {} bytes", body.len()),
    })
}

async fn open_web_socket(endpoint: &Endpoint, timeout: Duration) -> Result<Wire, CallError> {
    /// Reconnections tried in a row before the source reports itself broken.
    const RECONNECTIONS_MAX: u32 = 1_000;
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(ANSWER_BYTES_MAX);
    config.max_frame_size = Some(ANSWER_BYTES_MAX);
    let connect = WsConnect::new(endpoint.secret_url().as_str())
        .with_config(config)
        .with_max_retries(RECONNECTIONS_MAX);
    let opened = tokio::time::timeout(timeout, ProviderBuilder::new().connect_ws(connect)).await;
    let provider = match opened {
        Ok(Ok(provider)) => provider.erased(),
        Ok(Err(error)) => {
            let message = shorten(&endpoint.scrub(&chain_of_causes(&error)));
            return Err(CallError::Transient { message });
        }
        Err(_) => {
            let message = format!("no connection within {} seconds", timeout.as_secs());
            return Err(CallError::Cut { message });
        }
    };
    let news = Arc::new(Notify::new());
    tokio::spawn(listen(provider.clone(), Arc::downgrade(&news)));
    Ok(Wire::WebSocket { provider, news })
}

/// Wakes whoever waits at each new head. A node that cannot subscribe is polled alone.
async fn listen(provider: DynProvider, news: std::sync::Weak<Notify>) {
    let subscription = provider.subscribe::<_, Box<RawValue>>(("newHeads",)).await;
    let mut heads = match subscription {
        Ok(heads) => heads,
        Err(_) => {
            tracing::warn!("the node does not tell of new blocks; it will be asked instead");
            return;
        }
    };
    drop(provider);
    // Heads missed while nobody listened are as good a reason to look as the next one.
    while !matches!(heads.recv_any().await, Err(RecvError::Closed)) {
        let Some(news) = news.upgrade() else { return };
        news.notify_one();
    }
}

fn refused(endpoint: &Endpoint, error: &reqwest::Error) -> CallError {
    CallError::Refused { message: endpoint.scrub(&chain_of_causes(error)) }
}

/// An error with everything below it, on one line.
fn chain_of_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
