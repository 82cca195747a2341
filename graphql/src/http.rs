//! The server's routes: GraphQL at `/graphql`, a page to ask from, and what operations need.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_graphql_axum::GraphQLProtocol;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts as _, Query, Request, State};
use axum::http::header::{
    ACCEPT, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, RETRY_AFTER,
    SEC_WEBSOCKET_KEY, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use futures_util::StreamExt as _;
use serde_json::json;
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};

use crate::atom;
use crate::dashboard;
use crate::error::ApiError;
use crate::execute::{Allowed, Answer, Backend, Outcome, Prepared, Question, prepare, run, sdl};
use crate::export;
use crate::graphiql;
use crate::limit::{
    BODY_BYTES_DISCARDED, BODY_BYTES_MAX, BODY_SECONDS_MAX, CONCURRENT_REQUESTS_MAX, EXPORTS_MAX,
    REQUEST_SECONDS_MAX,
};
use crate::live::{Live, Payer};
use crate::metrics;
use crate::persisted::{self, Registered};
use crate::quota::{self, ApiKey, Client, Left, Quotas};
use crate::recent::{self, Recent};
use crate::record::Recorder;
use crate::session::Session;
use crate::stress::Simulator;
use crate::transport::{
    Malformed, Media, Wanted, check_content_type, etag, known, negotiate, question_of_body,
    question_of_url, status, tag_packed,
};

/// How the server behaves where that is a matter of taste.
#[derive(Debug, Clone, Default)]
pub struct ApiConfig {
    /// Above this many blocks behind a chain `/ready` says no. `None` when no chain is followed
    /// live: a replay or a demonstration.
    pub lag_blocks_max: Option<u64>,
    /// Keys that have points of their own.
    pub api_keys: Vec<ApiKey>,
    /// Points of each stranger in an hour; [`crate::POINTS_AN_HOUR`] unless told.
    pub points_an_hour: Option<NonZeroU32>,
    /// The header in which the proxy before this server names the client. Without one the client
    /// is whoever opened the connection.
    pub client_header: Option<HeaderName>,
    /// What plays scenarios; without it none are played.
    pub simulator: Option<Arc<dyn Simulator>>,
    /// What records signed messages; without it none are recorded.
    pub recorder: Option<Arc<dyn Recorder>>,
}

/// Of an answer that will never be another.
pub(crate) const KEPT_FOREVER: &str = "public, max-age=31536000, immutable";

/// Of an answer at the newest position.
pub(crate) const KEPT_BRIEFLY: &str = "public, max-age=2, stale-while-revalidate=10";

pub(crate) struct Shared {
    /// What queries are answered from.
    pub(crate) backend: Backend,
    lag_blocks_max: Option<u64>,
    places: Semaphore,
    /// Exports under way at once.
    pub(crate) exports: Arc<Semaphore>,
    pub(crate) live: Live,
    pub(crate) quotas: Arc<Quotas>,
    registered: Registered,
    recent: Recent,
}

/// The routes of the API over a pool that may read schema `read_model`.
pub fn router(pool: PgPool, config: ApiConfig) -> Router {
    let ApiConfig { lag_blocks_max, api_keys, points_an_hour, client_header, .. } = config;
    let (simulator, recorder) = (config.simulator, config.recorder);
    let shared = Arc::new(Shared {
        quotas: Arc::new(Quotas::new(api_keys, points_an_hour, client_header)),
        registered: Registered::new(),
        recent: Recent::new(pool.clone()),
        exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
        live: Live::new(pool.clone(), simulator.clone()),
        backend: Backend { pool, simulator, recorder },
        lag_blocks_max,
        places: Semaphore::new(CONCURRENT_REQUESTS_MAX),
    });
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([CONTENT_TYPE, ACCEPT, AUTHORIZATION])
        .expose_headers([ETAG, RETRY_AFTER]);
    Router::new()
        .route("/graphql", any(graphql))
        .route(
            "/schema.graphql",
            get(async || ([(CONTENT_TYPE, "text/plain; charset=utf-8")], sdl())),
        )
        .route("/health", get(async || Json(json!({ "status": "ok" }))))
        .route("/v1/ratings/{slug}", get(export::rating))
        .route("/v1/export/{file}", get(export::table))
        .route("/v1/operations", get(async || Json(persisted::saved())))
        .route("/v1/methodology", get(methodology))
        .route("/feeds/actions.atom", get(atom::actions))
        .route("/ready", get(ready))
        .route("/metrics", get(exposition))
        .merge(graphiql::routes())
        .merge(dashboard::routes())
        .layer(from_fn_with_state(shared.clone(), quota::meter))
        .layer(CompressionLayer::new())
        .layer(map_response(async |response: Response| tag_packed(response)))
        .layer(cors)
        .with_state(shared)
}

async fn graphql(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (began, mut operation) = (Instant::now(), "other");
    let response = respond(&shared, request, &mut operation).await;
    metrics::answered(operation, response.status().as_u16(), began.elapsed());
    response
}

/// A WebSocket for subscriptions, or GraphQL over HTTP.
async fn respond(shared: &Shared, request: Request, operation: &mut &'static str) -> Response {
    let client = shared.quotas.client(request.headers(), quota::peer(&request));
    if request.headers().contains_key(SEC_WEBSOCKET_KEY) {
        return match client.and_then(|client| shared.quotas.charge(client, 1).map(|_| client)) {
            Ok(client) => subscribe(shared, request, client).await,
            Err(cause) => quota::refusal(cause, Media::Json),
        };
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
    let client = match client {
        Ok(client) => client,
        Err(cause) => return quota::refusal(cause, media),
    };
    let asked = request.headers().clone();
    let read = read(request).await.and_then(|mut question| {
        let filled = shared.registered.fill_in(&mut question);
        filled.map(|candidate| (question, candidate)).map_err(Unread::Unknown)
    });
    // What cannot be run was work too.
    let cost = |points| shared.quotas.charge(client, points);
    let (question, candidate) = match read {
        Ok(read) => read,
        Err(refusal) => {
            return match cost(1) {
                Ok(_) => refused(refusal, media),
                Err(cause) => quota::refusal(cause, media),
            };
        }
    };
    *operation = persisted::name_of(&question.query);
    let key = recent::key(&question);
    let written = |answer: &Answer, left: Option<Left>| {
        let mut response = written(answer, media, is_get, &asked);
        if let Some(left) = left.filter(|_| !answer.is_settled) {
            left.write(response.headers_mut());
        }
        response
    };
    if let Some((answer, points)) = shared.recent.find(&key).await {
        return match cost(points) {
            Ok(left) => {
                metrics::spent(points);
                written(&answer, left)
            }
            Err(cause) => quota::refusal(cause, media),
        };
    }
    let text = candidate.map(|candidate| (candidate, question.query.clone()));
    let allowed = if is_get { Allowed::Queries } else { Allowed::Mutations };
    let prepared = prepare(question, allowed);
    let left = match cost(prepared.as_ref().map_or(1, |prepared| prepared.cost)) {
        Ok(left) => left,
        Err(cause) => return quota::refusal(cause, media),
    };
    let answer = match prepared {
        Ok(prepared) => {
            if let Some((candidate, text)) = text {
                shared.registered.register(candidate, &text);
            }
            metrics::spent(prepared.cost);
            let points = prepared.cost;
            match prepared.is_mutation {
                true => Arc::new(answer(shared, prepared).await),
                false => shared.recent.get_or_run(key, points, answer(shared, prepared)).await,
            }
        }
        Err(refusal) => Arc::new(refusal),
    };
    written(&answer, left)
}

async fn answer(shared: &Shared, prepared: Prepared) -> Answer {
    match shared.places.try_acquire() {
        Ok(_place) => run(&shared.backend, prepared).await,
        Err(_) => {
            let cause = ApiError::Unavailable("too many requests at once");
            Answer::refused(cause, Outcome::Unavailable)
        }
    }
}

async fn subscribe(shared: &Shared, request: Request, client: Client) -> Response {
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
        Some(place) => {
            let payer = Payer { quotas: shared.quotas.clone(), client };
            shared.live.upgrade(upgrade, protocol, place, payer)
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "10")]).into_response(),
    }
}

/// Why a request could not be read.
enum Unread {
    Malformed(Malformed),
    TooLarge,
    TooSlow,
    /// A document that is only named, by a name that stands for none.
    Unknown(ApiError),
}

async fn read(request: Request) -> Result<Question, Unread> {
    if request.method() != Method::POST {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(request.uri())
            .map_err(|_| Unread::Malformed(Malformed::Body))?;
        return question_of_url(pairs.0).map_err(Unread::Malformed);
    }
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    check_content_type(content_type).map_err(Unread::Malformed)?;
    let body = whole(request.into_body());
    let body = tokio::time::timeout(Duration::from_secs(BODY_SECONDS_MAX), body).await;
    let body = body.map_err(|_| Unread::TooSlow)??;
    question_of_body(&body).map_err(Unread::Malformed)
}

/// Reads a body. Some of what is too much is read and thrown away: a client that is still sending
/// would not hear why it is refused.
async fn whole(body: Body) -> Result<Vec<u8>, Unread> {
    let (mut parts, mut bytes, mut read) = (body.into_data_stream(), Vec::new(), 0_usize);
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| Unread::Malformed(Malformed::Body))?;
        read = read.saturating_add(part.len());
        if read > BODY_BYTES_DISCARDED {
            break;
        }
        if read <= BODY_BYTES_MAX {
            bytes.extend_from_slice(&part);
        }
    }
    if read > BODY_BYTES_MAX { Err(Unread::TooLarge) } else { Ok(bytes) }
}

fn refused(unread: Unread, media: Media) -> Response {
    let (status, cause) = match unread {
        Unread::TooSlow => {
            (StatusCode::REQUEST_TIMEOUT, ApiError::Timeout { seconds: BODY_SECONDS_MAX })
        }
        Unread::Unknown(cause) => (status(Outcome::Refused, media), cause),
        Unread::Malformed(cause) => (cause.status(), ApiError::ValidationFailed(cause.to_string())),
        Unread::TooLarge => {
            let (what, limit) = ("the body in bytes", BODY_BYTES_MAX as u64);
            let dearest = String::new();
            let cause = ApiError::CostExceeded { what, found: limit + 1, limit, dearest };
            (StatusCode::PAYLOAD_TOO_LARGE, cause)
        }
    };
    let body = Answer::refused(cause, Outcome::Refused).body;
    // A client that registers documents asks again at once.
    let kept = [(CACHE_CONTROL, "no-store"), (CONTENT_TYPE, media.content_type())];
    (status, kept, body).into_response()
}

fn written(answer: &Answer, media: Media, is_get: bool, asked: &HeaderMap) -> Response {
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
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache_control(answer)));
        let tag = etag(answer.body.as_bytes());
        let known = known(asked, &tag);
        let is_known = known.is_some();
        headers.insert(ETAG, known.unwrap_or(tag));
        if is_known {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
    }
    (status, headers, Body::from(answer.body.clone())).into_response()
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
    let (lags, reason) = match lags(&shared).await {
        Ok(lags) => {
            let limit = shared.lag_blocks_max.unwrap_or(u64::MAX);
            let late = lags.iter().find(|(_, lag)| *lag > limit);
            let reason = late.map(|(chain, lag)| {
                format!("chain {chain} is {lag} blocks behind, the limit is {limit}")
            });
            (lags, reason)
        }
        Err(reason) => (Vec::new(), Some(reason)),
    };
    let lags: Vec<_> =
        lags.iter().map(|(chain, lag)| json!({ "chainId": chain, "lagBlocks": lag })).collect();
    match reason {
        None => Json(json!({ "status": "ready", "chains": lags })).into_response(),
        Some(reason) => {
            let body = json!({ "status": "not ready", "reason": reason, "chains": lags });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

/// How many blocks the read model is behind each chain, or why it cannot be told.
async fn lags(shared: &Shared) -> Result<Vec<(i64, u64)>, String> {
    let check = async {
        let session = Session::new(shared.backend.pool.clone());
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
    let lag = |chain: &crate::status::Chain| u64::try_from(chain.lag_blocks.0).unwrap_or_default();
    Ok(chains.iter().map(|chain| (chain.chain_id.0, lag(chain))).collect())
}

async fn exposition(State(shared): State<Arc<Shared>>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::text(&shared).await).into_response()
}
