//! The one door in: signed messages by `POST /v1/attestations` or the mutation
//! `recordAttestation`, recorded with the writer's rights.
//!
//! The query side cannot write; the route is beside it, and both take one document of
//! [`Document`]'s form at a time. Whoever sends it does not matter: what counts is who signed.

use std::sync::Arc;

use assay_graphql::{BoxFuture, NotRecorded, Recorded};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::attestation::{DOCUMENT_BYTES_MAX, Document, Recorder, Refused, record};
use crate::event_store::{EventStore, Record, RecordError, Timeliness};

/// Documents checked at once: more would keep the writer's connections from ingestion.
const CONCURRENT_MAX: usize = 2;

/// Over a store with the writer's rights.
#[derive(Debug, Clone)]
pub struct Door {
    store: EventStore,
    places: Arc<Semaphore>,
}

impl Door {
    /// The door to a store.
    pub fn new(store: EventStore) -> Self {
        Self { store, places: Arc::new(Semaphore::new(CONCURRENT_MAX)) }
    }

    async fn take(&self, document: &[u8]) -> Result<Record, (StatusCode, NotRecorded)> {
        let refuse = |status, code, message| Err((status, NotRecorded { code, message }));
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            let message = "too many messages at once; retry in a few seconds".to_owned();
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "BUSY", message);
        };
        let (by, timeliness) = (Recorder::Anyone, Timeliness::Required);
        let done = match Document::parse(document) {
            Ok(document) => {
                let store = self.store.clone();
                // Whole even if whoever sent it goes away: half an append is none, but it costs its
                // connection.
                let done = tokio::spawn(async move {
                    let _place = place;
                    record(&store, document, by, timeliness).await
                });
                let Ok(done) = done.await else {
                    let message = "the node is going down; send it again".to_owned();
                    return refuse(StatusCode::SERVICE_UNAVAILABLE, "BUSY", message);
                };
                done
            }
            Err(refused) => Err(refused),
        };
        done.or_else(|refused| {
            let (status, code) = sort(&refused);
            if status.is_server_error() {
                tracing::warn!(error = %refused, "a message could not be recorded");
                return refuse(status, code, "the log is away; retry in a few seconds".to_owned());
            }
            refuse(status, code, refused.to_string())
        })
    }
}

impl assay_graphql::Recorder for Door {
    fn record(&self, document: String) -> BoxFuture<'static, Result<Recorded, NotRecorded>> {
        let door = self.clone();
        Box::pin(async move {
            let done = door.take(document.as_bytes()).await.map_err(|(_, refused)| refused)?;
            let Record { position, digest, counts_from } = done;
            Ok(Recorded { position, digest, counts_from_block: counts_from })
        })
    }
}

/// The route.
pub fn routes(door: Door) -> Router {
    Router::new()
        .route("/v1/attestations", post(take))
        .layer(DefaultBodyLimit::max(DOCUMENT_BYTES_MAX))
        .with_state(door)
}

async fn take(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> Response {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = content_type.and_then(|value| value.split(';').next()).map(str::trim);
    if !media.is_some_and(|media| media.eq_ignore_ascii_case("application/json")) {
        let message = "send application/json";
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "NOT_JSON", message);
    }
    match door.take(&body).await {
        Ok(done) => {
            let said = json!({
                "position": done.position.to_string(),
                "digest": done.digest,
                "countsFromBlock": done.counts_from.to_string(),
            });
            (StatusCode::CREATED, axum::Json(said)).into_response()
        }
        Err((status, NotRecorded { code, message })) => refusal(status, code, &message),
    }
}

const fn sort(refused: &Refused) -> (StatusCode, &'static str) {
    match refused {
        Refused::Malformed(_) => (StatusCode::BAD_REQUEST, "MALFORMED"),
        Refused::TooLong { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "TOO_LONG"),
        Refused::Unsigned => (StatusCode::BAD_REQUEST, "UNSIGNED"),
        Refused::BadSignature { .. } => (StatusCode::FORBIDDEN, "BAD_SIGNATURE"),
        Refused::OwnerOnly => (StatusCode::FORBIDDEN, "OWNER_ONLY"),
        Refused::Record(error) => match error {
            RecordError::UnknownChain { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "UNKNOWN_CHAIN"),
            RecordError::Replayed { .. } => (StatusCode::CONFLICT, "REPLAYED"),
            RecordError::Faulty { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "FAULTY"),
            RecordError::TooLate { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "TOO_LATE"),
            RecordError::TooEarly { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "TOO_EARLY"),
            RecordError::Expired { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "EXPIRED"),
            RecordError::NotYetObserved { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "NOT_YET_OBSERVED")
            }
            RecordError::NotEntitled(_) => (StatusCode::FORBIDDEN, "NOT_ENTITLED"),
            RecordError::TooMany => (StatusCode::INSUFFICIENT_STORAGE, "TOO_MANY"),
            RecordError::Append(_) | RecordError::Read(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE")
            }
        },
    }
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    (status, axum::Json(json!({ "error": { "code": code, "message": message } }))).into_response()
}
