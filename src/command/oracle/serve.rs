//! What a node tells other nodes: its signatures, and its log.
//!
//! `GET /v1/oracle/positions`,
//! `GET /v1/oracle/signatures/{position}?chain_id=…&oracle=…&deadline=…`, `GET /metrics/oracle`,
//! `GET /v1/log/head`, `GET /v1/log/marks/{position}`, `GET /v1/log/after/{position}`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use assay::agreement::{self, Block, Comparison, LogView, Mark};
use assay::event_store::EventStore;
use assay::feedback::{self, StoredRating};
use assay_domain::ChainId;
use assay_oracle::contract::rated_events;
use assay_oracle::node::SignError;
use assay_oracle::outbox::live_positions;
use assay_oracle::peer::PeerError;
use assay_oracle::{Node, OracleId, Peer, Share};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::sync::Semaphore;

use super::status::MAX_AGE;

/// Questions answered at once: each holds a database connection.
const CONCURRENT_MAX: usize = 4;

/// How long a question may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Positions told: a publisher that is further behind begins with the newest ones.
const POSITIONS_MAX: u16 = 100;

/// How often peers' logs are compared with ours.
const WATCH_INTERVAL: Duration = Duration::from_secs(30);

/// How long numbers for the monitoring are good enough.
const METRICS_INTERVAL: Duration = Duration::from_secs(15);

/// How often the contracts are read back: a block of Ethereum.
const FEEDBACK_INTERVAL: Duration = Duration::from_secs(12);

/// Blocks read back at most when nothing newer is recorded: a week of Ethereum.
const FEEDBACK_BLOCKS_MAX: u64 = 50_400;

struct Shared {
    view: LogView,
    /// What signs, a contract each.
    nodes: Vec<Node>,
    /// The outbox.
    pool: PgPool,
    places: Semaphore,
    metrics: tokio::sync::Mutex<Option<(Instant, String)>>,
}

/// The routes. `nodes` sign, a contract each; there may be none.
pub(in crate::command) fn routes(view: LogView, nodes: Vec<Node>, pool: PgPool) -> Router {
    let places = Semaphore::new(CONCURRENT_MAX);
    let shared = Arc::new(Shared { view, nodes, pool, places, metrics: Default::default() });
    Router::new()
        .route("/v1/oracle/positions", get(positions))
        .route("/v1/oracle/signatures/{position}", get(signatures))
        .route("/v1/log/head", get(head))
        .route("/v1/log/marks/{position}", get(mark))
        .route("/v1/log/after/{position}", get(after))
        .route("/metrics/oracle", get(metrics))
        .with_state(shared)
}

/// A question that gets no answer: status and a sentence.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

type Answer<T> = Result<Json<T>, Refusal>;

/// Within the limits of time and number.
async fn limited<T: Serialize, E: std::fmt::Display>(
    shared: &Shared,
    answer: impl Future<Output = Result<T, E>>,
    status: impl Fn(&E) -> StatusCode,
) -> Answer<T> {
    let busy = |text: &str| Refusal(StatusCode::SERVICE_UNAVAILABLE, format!("{text}\n"));
    let Ok(_place) = shared.places.try_acquire() else {
        return Err(busy("too many questions at once; ask again"));
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
        Ok(Ok(found)) => Ok(Json(found)),
        Ok(Err(error)) => {
            let status = status(&error);
            if status.is_server_error() {
                // What is wrong with this node is for its operator.
                tracing::warn!(%error, "a peer's question could not be answered");
                return Err(Refusal(status, "this node is in trouble; ask again\n".to_owned()));
            }
            Err(Refusal(status, format!("{error}\n")))
        }
        Err(_) => Err(busy("no answer in time; ask again")),
    }
}

const fn trouble<E>(_: &E) -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}

#[derive(Deserialize)]
struct SignQuery {
    chain_id: Option<ChainId>,
    oracle: Option<Address>,
    deadline: Option<u64>,
}

async fn signatures(
    State(shared): State<Arc<Shared>>,
    Path(position): Path<u64>,
    Query(query): Query<SignQuery>,
) -> Answer<Vec<Share>> {
    let is_asked = |node: &&Node| {
        query.chain_id.is_none_or(|chain_id| chain_id == node.oracle().chain_id)
            && query.oracle.is_none_or(|address| address == node.oracle().address)
    };
    let Some(node) = shared.nodes.iter().find(is_asked) else {
        let text = "this node signs nothing for that contract\n".to_owned();
        return Err(Refusal(StatusCode::NOT_FOUND, text));
    };
    let status = |error: &SignError| match error {
        SignError::NothingDecided { .. } => StatusCode::NOT_FOUND,
        refusal if refusal.is_refusal() => StatusCode::CONFLICT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    limited(&shared, node.sign(position, query.deadline), status).await
}

async fn positions(State(shared): State<Arc<Shared>>) -> Answer<Vec<u64>> {
    limited(&shared, live_positions(&shared.pool, POSITIONS_MAX), trouble).await
}

/// Numbers for a monitoring system; asked of chain and outbox every few seconds at most.
async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut kept = shared.metrics.lock().await;
    if let Some((at, text)) = &*kept
        && at.elapsed() < METRICS_INTERVAL
    {
        return text.clone().into_response();
    }
    let mut text = String::new();
    for node in &shared.nodes {
        let looking = async {
            let (chain, oracle) = (node.chain().await?, node.oracle().address);
            super::status::look(chain, oracle, &shared.pool, MAX_AGE).await
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, looking).await {
            Ok(Ok(status)) => text += &status.metrics(),
            Ok(Err(error)) => tracing::warn!(%error, "no numbers of the oracle"),
            Err(_) => tracing::warn!("no numbers of the oracle in time"),
        }
    }
    *kept = Some((Instant::now(), text.clone()));
    text.into_response()
}

async fn head(State(shared): State<Arc<Shared>>) -> Answer<Mark> {
    limited(&shared, shared.view.head(), trouble).await
}

async fn mark(
    State(shared): State<Arc<Shared>>,
    Path(position): Path<u64>,
) -> Answer<Option<Mark>> {
    limited(&shared, shared.view.mark(position), trouble).await
}

async fn after(State(shared): State<Arc<Shared>>, Path(position): Path<u64>) -> Answer<Vec<Block>> {
    limited(&shared, shared.view.after(position), trouble).await
}

/// A peer's log, over HTTP.
pub(in crate::command) struct RemoteLog<'a>(pub(in crate::command) &'a Peer);

impl agreement::Peer for RemoteLog<'_> {
    type Error = PeerError;

    async fn head(&self) -> Result<Mark, PeerError> {
        self.0.get("v1/log/head").await
    }

    async fn mark(&self, at: u64) -> Result<Option<Mark>, PeerError> {
        self.0.get(&format!("v1/log/marks/{at}")).await
    }

    async fn after(&self, position: u64) -> Result<Vec<Block>, PeerError> {
        self.0.get(&format!("v1/log/after/{position}")).await
    }
}

/// Compares the peers' logs with ours, on and on, and says once when one has parted.
pub(in crate::command) async fn watch(view: LogView, peers: Vec<Peer>) {
    let mut said: Vec<Option<u64>> = vec![None; peers.len()];
    loop {
        for (peer, said) in peers.iter().zip(&mut said) {
            match view.compare(&RemoteLog(peer)).await {
                Ok(Comparison::Parted(parting)) => {
                    if said.replace(parting.position) != Some(parting.position) {
                        tracing::error!(%peer, "this node and {peer} have parted: {parting}");
                    }
                }
                Ok(_) => {
                    if said.take().is_some() {
                        tracing::warn!(%peer, "this node and {peer} agree again");
                    }
                }
                Err(error) => tracing::debug!(%peer, %error, "the peer's log was not compared"),
            }
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

/// Brings what the contracts stored back into the log, on and on, once it is final.
pub(in crate::command) async fn feed_back(store: EventStore, nodes: Vec<Node>) {
    loop {
        for node in &nodes {
            if let Err(error) = feed_back_once(&store, node).await {
                let address = node.oracle().address;
                tracing::warn!(error = format!("{error:#}"), "{address} was not read back");
            }
        }
        tokio::time::sleep(FEEDBACK_INTERVAL).await;
    }
}

async fn feed_back_once(store: &EventStore, node: &Node) -> anyhow::Result<()> {
    let chain = node.chain().await?;
    chain.confirm().await?;
    let OracleId { chain_id, address } = node.oracle();
    let to = chain.finalized_number().await?;
    let recorded = feedback::recorded_to(store, chain_id, address).await?;
    // Again from the last block recorded: a transaction that ended in the middle of it costs nothing.
    let from = recorded.unwrap_or(0).max(to.saturating_sub(FEEDBACK_BLOCKS_MAX));
    let stored: Vec<StoredRating> = rated_events(chain, address, from, to)
        .await?
        .into_iter()
        .map(|event| StoredRating {
            entity_key: event.entity.0,
            seq: event.word.fields().seq,
            word: event.word,
            block: event.block,
            tx_hash: event.tx_hash,
        })
        .collect();
    let count = feedback::record(store, chain_id, address, &stored).await?;
    if count > 0 {
        tracing::info!(count, oracle = %address, "ratings on chain were recorded");
    }
    Ok(())
}
