//! The server's routes: GraphQL at `/graphql`, a page to ask from, and what operations need.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_graphql_axum::GraphQLProtocol;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts as _, Query, Request, State};
use axum::http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER,
    SEC_WEBSOCKET_KEY, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use serde_json::json;
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};

use crate::atom;
use crate::dashboard;
use crate::error::ApiError;
use crate::execute::{Answer, Backend, Outcome, Question, answer, sdl};
use crate::export;
use crate::graphiql;
use crate::limit::{BODY_BYTES_MAX, CONCURRENT_REQUESTS_MAX, EXPORTS_MAX, REQUEST_SECONDS_MAX};
use crate::live::Live;
use crate::session::Session;
use crate::stress::Simulator;
use crate::transport::{
    Malformed, Media, Wanted, check_content_type, etag, negotiate, question_of_body,
    question_of_url, status,
};

/// How the server behaves where that is a matter of taste.
#[derive(Debug, Clone, Default)]
pub struct ApiConfig {
    /// Above this many blocks behind a chain `/ready` says no. `None` when no chain is followed
    /// live: a replay or a demonstration.
    pub lag_blocks_max: Option<u64>,
    /// What plays scenarios; without it none are played.
    pub simulator: Option<Arc<dyn Simulator>>,
}

/// Of an answer that will never be another.
pub(crate) const KEPT_FOREVER: &str = "public, max-age=31536000, immutable";

/// Of an answer at the newest position.
pub(crate) const KEPT_BRIEFLY: &str = "public, max-age=2, stale-while-revalidate=10";

pub(crate) struct Shared {
    pub(crate) pool: PgPool,
    config: ApiConfig,
    places: Semaphore,
    /// Exports under way at once.
    pub(crate) exports: Arc<Semaphore>,
    live: Live,
    /// Requests answered so far, by status.
    answered: Mutex<BTreeMap<u16, u64>>,
}

impl Shared {
    /// What queries are answered from.
    pub(crate) fn backend(&self) -> Backend {
        Backend { pool: self.pool.clone(), simulator: self.config.simulator.clone() }
    }
}

/// The routes of the API over a pool that may read schema `read_model`.
pub fn router(pool: PgPool, config: ApiConfig) -> Router {
    let shared = Arc::new(Shared {
        exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
        live: Live::new(pool.clone()),
        pool,
        config,
        places: Semaphore::new(CONCURRENT_REQUESTS_MAX),
        answered: Mutex::default(),
    });
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([CONTENT_TYPE, ACCEPT]);
    Router::new()
        .route("/graphql", any(graphql))
        .route(
            "/schema.graphql",
            get(async || ([(CONTENT_TYPE, "text/plain; charset=utf-8")], sdl())),
        )
        .route("/health", get(async || Json(json!({ "status": "ok" }))))
        .route("/v1/ratings/{slug}", get(export::rating))
        .route("/v1/export/{file}", get(export::table))
        .route("/v1/methodology", get(methodology))
        .route("/feeds/actions.atom", get(atom::actions))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .merge(graphiql::routes())
        .merge(dashboard::routes())
        .layer(CompressionLayer::new())
        .layer(cors)
        .with_state(shared)
}

async fn graphql(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let response = respond(&shared, request).await;
    let mut answered = shared.answered.lock().unwrap_or_else(PoisonError::into_inner);
    *answered.entry(response.status().as_u16()).or_default() += 1;
    response
}

/// A WebSocket for subscriptions, or GraphQL over HTTP.
async fn respond(shared: &Shared, request: Request) -> Response {
    if request.headers().contains_key(SEC_WEBSOCKET_KEY) {
        return subscribe(shared, request).await;
    }
    let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    let media = match negotiate(accept) {
        Wanted::Answer(media) => media,
        Wanted::Html if is_get && request.uri().query().is_none() => return graphiql::page(),
        Wanted::Html => Media::Json,
        Wanted::Nothing => {
            let text = "the answer can be application/graphql-response+json or application/json\n";
            return (StatusCode::NOT_ACCEPTABLE, text).into_response();
        }
    };
    if !is_get && request.method() != Method::POST {
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, POST")]).into_response();
    }
    let none_match = request.headers().get(IF_NONE_MATCH).cloned();
    let question = match read(request).await {
        Ok(question) => question,
        Err(refusal) => return refused(&refusal, media),
    };
    let Ok(_place) = shared.places.try_acquire() else {
        let cause = ApiError::Unavailable("too many requests at once");
        return written(Answer::refused(cause, Outcome::Unavailable), media, is_get, none_match);
    };
    written(answer(&shared.backend(), question).await, media, is_get, none_match)
}

async fn subscribe(shared: &Shared, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let Ok(protocol) = GraphQLProtocol::from_request_parts(&mut parts, &()).await else {
        let text = "ask for the protocol graphql-transport-ws\n";
        return (StatusCode::BAD_REQUEST, text).into_response();
    };
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(refusal) => return refusal.into_response(),
    };
    match shared.live.place() {
        Some(place) => shared.live.upgrade(upgrade, protocol, place),
        None => (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "10")]).into_response(),
    }
}

/// Why a request could not be read.
enum Unread {
    Malformed(Malformed),
    TooLarge,
}

async fn read(request: Request) -> Result<Question, Unread> {
    if request.method() != Method::POST {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(request.uri())
            .map_err(|_| Unread::Malformed(Malformed::Body))?;
        return question_of_url(pairs.0).map_err(Unread::Malformed);
    }
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    check_content_type(content_type).map_err(Unread::Malformed)?;
    let body = to_bytes(request.into_body(), BODY_BYTES_MAX).await;
    let body: Bytes = body.map_err(|_| Unread::TooLarge)?;
    question_of_body(&body).map_err(Unread::Malformed)
}

fn refused(unread: &Unread, media: Media) -> Response {
    let (status, cause) = match unread {
        Unread::Malformed(cause) => (cause.status(), ApiError::ValidationFailed(cause.to_string())),
        Unread::TooLarge => {
            let (what, limit) = ("the body in bytes", BODY_BYTES_MAX as u64);
            let dearest = String::new();
            let cause = ApiError::CostExceeded { what, found: limit + 1, limit, dearest };
            (StatusCode::PAYLOAD_TOO_LARGE, cause)
        }
    };
    let body = Answer::refused(cause, Outcome::Refused).body;
    (status, [(CONTENT_TYPE, media.content_type())], body).into_response()
}

fn written(
    answer: Answer,
    media: Media,
    is_get: bool,
    none_match: Option<HeaderValue>,
) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media.content_type()));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    let status = match (answer.outcome, is_get) {
        // What changes something may never come by GET, whatever the client accepts.
        (Outcome::NotAQuery, true) => {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
            StatusCode::METHOD_NOT_ALLOWED
        }
        (outcome, _) => status(outcome, media),
    };
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
    }
    if is_get && status == StatusCode::OK {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache_control(&answer)));
        let tag = etag(answer.body.as_bytes());
        let is_known = none_match.is_some_and(|known| known == tag);
        headers.insert(ETAG, tag);
        if is_known {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
    }
    (status, headers, Body::from(answer.body)).into_response()
}

fn cache_control(answer: &Answer) -> &'static str {
    match (answer.outcome, answer.is_settled) {
        (Outcome::Run, true) => KEPT_FOREVER,
        (Outcome::Run, false) => KEPT_BRIEFLY,
        _ => "no-store",
    }
}

/// The file that every constant of the rating model is read from, as it is hashed.
async fn methodology(asked: HeaderMap) -> Response {
    dashboard::kept(&asked, "application/json", assay_domain::methodology::VERSION_1)
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match unready(&shared).await {
        Ok(()) => Json(json!({ "status": "ready" })).into_response(),
        Err(reason) => {
            let body = Json(json!({ "status": "not ready", "reason": reason }));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

/// Why requests had better go elsewhere.
async fn unready(shared: &Shared) -> Result<(), String> {
    let check = async {
        let session = Session::new(shared.pool.clone());
        let mut reader = session.reader().await;
        let pin = reader.pin().await?;
        Ok::<_, ApiError>((pin, crate::status::chains(&mut reader).await?))
    };
    let (pin, chains) = tokio::time::timeout(Duration::from_secs(REQUEST_SECONDS_MAX), check)
        .await
        .map_err(|_| "the database does not answer".to_owned())?
        .map_err(|error| error.to_string())?;
    if pin.position == 0 {
        return Err("the log is empty".to_owned());
    }
    let Some(limit) = shared.config.lag_blocks_max else { return Ok(()) };
    for chain in chains {
        let lag = u64::try_from(chain.lag_blocks.0).unwrap_or_default();
        if lag > limit {
            let id = chain.chain_id.0;
            return Err(format!("chain {id} is {lag} blocks behind, the limit is {limit}"));
        }
    }
    Ok(())
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut text = String::from("# TYPE assay_graphql_requests_total counter\n");
    for (status, count) in shared.answered.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        text += &format!("assay_graphql_requests_total{{status=\"{status}\"}} {count}\n");
    }
    let (open, idle) = (shared.pool.size(), shared.pool.num_idle());
    text += "# TYPE assay_db_pool_connections gauge\n";
    text += &format!("assay_db_pool_connections{{state=\"idle\"}} {idle}\n");
    let used = usize::try_from(open).unwrap_or_default().saturating_sub(idle);
    text += &format!("assay_db_pool_connections{{state=\"used\"}} {used}\n");
    text += "# TYPE assay_graphql_sockets gauge\n";
    text += &format!("assay_graphql_sockets {}\n", shared.live.sockets());
    text += "# TYPE assay_build_info gauge\n";
    text += &format!("assay_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"));
    let session = Session::new(shared.pool.clone());
    let mut reader = session.reader().await;
    // Without the database the rest still stands.
    if let Ok(pin) = reader.pin().await {
        text += "# TYPE assay_log_position gauge\n";
        text += &format!("assay_log_position {}\n", pin.position);
    }
    let chains = crate::status::chains(&mut reader).await.unwrap_or_default();
    for (name, value) in [
        (
            "assay_ingest_head_block",
            (|chain| chain.head_number.0) as fn(&crate::status::Chain) -> i64,
        ),
        ("assay_ingest_lag_blocks", |chain| chain.lag_blocks.0),
    ] {
        text += &format!("# TYPE {name} gauge\n");
        for chain in &chains {
            text += &format!("{name}{{chain=\"{}\"}} {}\n", chain.chain_id.0, value(chain));
        }
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
