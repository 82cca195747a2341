//! What a node tells other nodes: its signatures, and its log.
//!
//! `GET /v1/oracle/positions`, `GET /v1/oracle/signatures/{position}?deadline=…`,
//! `GET /v1/log/head`, `GET /v1/log/marks/{position}`, `GET /v1/log/after/{position}`.

use std::sync::Arc;
use std::time::Duration;

use assay::agreement::{self, Block, Comparison, LogView, Mark};
use assay_oracle::outbox::live_positions;
use assay_oracle::peer::PeerError;
use assay_oracle::{Node, Peer};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::sync::Semaphore;

/// Questions answered at once: each holds a database connection.
const CONCURRENT_MAX: usize = 4;

/// How long a question may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Positions told: a publisher that is further behind begins with the newest ones.
const POSITIONS_MAX: u16 = 100;

/// How often peers' logs are compared with ours.
const WATCH_INTERVAL: Duration = Duration::from_secs(30);

struct Shared {
    view: LogView,
    signing: Option<(Node, PgPool)>,
    places: Semaphore,
}

/// The routes. `signing` is this node's keys and the pool of the outbox, if it signs.
pub(in crate::command) fn routes(view: LogView, signing: Option<(Node, PgPool)>) -> Router {
    let shared = Arc::new(Shared { view, signing, places: Semaphore::new(CONCURRENT_MAX) });
    Router::new()
        .route("/v1/oracle/positions", get(positions))
        .route("/v1/oracle/signatures/{position}", get(signatures))
        .route("/v1/log/head", get(head))
        .route("/v1/log/marks/{position}", get(mark))
        .route("/v1/log/after/{position}", get(after))
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
    deadline: Option<u64>,
}

async fn signatures(
    State(shared): State<Arc<Shared>>,
    Path(position): Path<u64>,
    Query(query): Query<SignQuery>,
) -> Answer<Vec<assay_oracle::Share>> {
    let Some((node, _)) = &shared.signing else { return Err(no_keys()) };
    let status = |error: &assay_oracle::node::SignError| match error {
        assay_oracle::node::SignError::NothingDecided { .. } => StatusCode::NOT_FOUND,
        refusal if refusal.is_refusal() => StatusCode::CONFLICT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    limited(&shared, node.sign(position, query.deadline), status).await
}

async fn positions(State(shared): State<Arc<Shared>>) -> Answer<Vec<u64>> {
    let Some((_, pool)) = &shared.signing else { return Err(no_keys()) };
    limited(&shared, live_positions(pool, POSITIONS_MAX), trouble).await
}

fn no_keys() -> Refusal {
    Refusal(StatusCode::NOT_FOUND, "this node signs nothing\n".to_owned())
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
