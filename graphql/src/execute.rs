//! From a document to an answer: admit, run, and say as of when.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use async_graphql::{Name, Request, Response, Schema, ServerError, Value, Variables, indexmap};
use serde::Serialize;
use serde_json::{Map, json};
use sqlx::PgPool;

use crate::arrange::Shape;
use crate::error::{ApiError, annotate};
use crate::limit::{self, ERRORS_MAX, REQUEST_SECONDS_MAX};
use crate::query::Query;
use crate::record::{Mutation, Recorder};
use crate::scope::{Scope, block_at};
use crate::session::{Reader, Session};
use crate::stress::Simulator;
use crate::subscription::Subscription;

/// The schema. It holds no connection: each request brings its own.
pub type AssaySchema = Schema<Query, Mutation, Subscription>;

/// The schema, built once.
pub fn schema() -> &'static AssaySchema {
    static SCHEMA: OnceLock<AssaySchema> = OnceLock::new();
    SCHEMA.get_or_init(|| Schema::build(Query, Mutation, Subscription).finish())
}

/// The schema definition language of [`schema`]: what `graphql/schema.graphql` holds.
pub fn sdl() -> String {
    let options = async_graphql::SDLExportOptions::new()
        .prefer_single_line_descriptions()
        .include_specified_by()
        .use_space_ident()
        .indent_width(2);
    schema().sdl_with_options(options)
}

/// What queries are answered from.
#[derive(Debug, Clone)]
pub struct Backend {
    /// A pool that may read schema `read_model`.
    pub pool: PgPool,
    /// What plays scenarios; without it none are played.
    pub simulator: Option<Arc<dyn Simulator>>,
    /// What records signed messages; without it none are recorded.
    pub recorder: Option<Arc<dyn Recorder>>,
}

impl From<&PgPool> for Backend {
    fn from(pool: &PgPool) -> Self {
        Self { pool: pool.clone(), simulator: None, recorder: None }
    }
}

/// Answers a query as the server would, for the command line. The answer is the whole response:
/// `data`, `errors`, `extensions`, as JSON text with the fields in the order of the query.
pub async fn execute(
    backend: impl Into<Backend>,
    query: &str,
    variables: serde_json::Value,
) -> String {
    let variables = match variables {
        serde_json::Value::Object(variables) => variables,
        _ => Map::new(),
    };
    let question = Question { query: query.to_owned(), variables, ..Question::default() };
    answer(&backend.into(), question).await.body
}

/// A request, whatever way it came.
#[derive(Debug, Default)]
pub(crate) struct Question {
    pub(crate) query: String,
    /// The SHA-256 of a document that is named, with or without its text beside it.
    pub(crate) document_id: Option<String>,
    pub(crate) operation_name: Option<String>,
    pub(crate) variables: Map<String, serde_json::Value>,
}

/// An answer, before it has a status and headers.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The response as JSON text. Never a `serde_json::Value`, which would sort the fields.
    pub(crate) body: String,
    /// What became of the request.
    pub(crate) outcome: Outcome,
    /// Whether the same request will be answered alike for ever.
    pub(crate) is_settled: bool,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was run, with or without errors in fields.
    Run,
    /// The document or its variables were refused.
    Refused,
    /// The operation changes something and nothing here can.
    NotAQuery,
    /// The database or the time allowed gave out.
    Unavailable,
    /// The time allowed ran out.
    TimedOut,
}

/// Answers a request.
pub(crate) async fn answer(backend: &Backend, question: Question) -> Answer {
    match prepare(question, Allowed::Mutations) {
        Ok(prepared) => run(backend, prepared).await,
        Err(refusal) => refusal,
    }
}

/// What a way to ask may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// Read: caches may repeat it.
    Queries,
    /// Read and change.
    Mutations,
}

/// A request that may be run.
pub(crate) struct Prepared {
    request: Request,
    /// Whether it changes something, so that no earlier answer is one to it.
    pub(crate) is_mutation: bool,
    shape: Shape,
    /// What it costs, in points.
    pub(crate) cost: u64,
}

/// Checks a request against all limits that do not depend on who asks.
pub(crate) fn prepare(question: Question, allowed: Allowed) -> Result<Prepared, Answer> {
    let variables = Variables::from_value(graphql_object(question.variables));
    let name = question.operation_name.as_deref();
    let admitted = match limit::admit(&question.query, name, &variables) {
        Ok(admitted) => admitted,
        Err(cause) => return Err(Answer::refused(cause, Outcome::Refused)),
    };
    let is_mutation = admitted.kind == OperationType::Mutation;
    let refusal = match admitted.kind {
        OperationType::Subscription => {
            Some("subscriptions go over a WebSocket with the protocol graphql-transport-ws")
        }
        OperationType::Mutation if allowed == Allowed::Queries => Some("mutations go by POST"),
        _ => None,
    };
    if let Some(message) = refusal {
        let cause = ApiError::ValidationFailed(message.to_owned());
        return Err(Answer::refused(cause, Outcome::NotAQuery));
    }
    let mut request = Request::new(question.query).variables(variables);
    if let Some(name) = question.operation_name {
        request = request.operation_name(name);
    }
    request.set_parsed_query(admitted.document);
    Ok(Prepared { request, is_mutation, shape: admitted.shape, cost: admitted.cost })
}

/// Runs a request that was checked.
pub(crate) async fn run(backend: &Backend, prepared: Prepared) -> Answer {
    let session = Arc::new(Session::new(backend.pool.clone()));
    let mut request = prepared.request.data(session.clone());
    if let Some(simulator) = &backend.simulator {
        request = request.data(simulator.clone());
    }
    if let Some(recorder) = &backend.recorder {
        request = request.data(recorder.clone());
    }
    let allowed = Duration::from_secs(REQUEST_SECONDS_MAX);
    match tokio::time::timeout(allowed, schema().execute(request)).await {
        Ok(mut response) => {
            prepared.shape.arrange(&mut response.data);
            finish(response, &session, prepared.cost).await
        }
        Err(_) => {
            let cause = ApiError::Timeout { seconds: REQUEST_SECONDS_MAX };
            Answer::refused(cause, Outcome::TimedOut)
        }
    }
}

impl Answer {
    /// The answer to a request that was not run.
    pub(crate) fn refused(cause: ApiError, outcome: Outcome) -> Self {
        let body = Body { data: None, errors: vec![cause.into_server_error()], extensions: None };
        Self { body: body.text(), outcome, is_settled: false }
    }
}

async fn finish(mut response: Response, session: &Session, cost: u64) -> Answer {
    // A request error has no path: nothing was run, so there is no data, not even null.
    let was_run = response.errors.is_empty()
        || response.data != Value::Null
        || response.errors.iter().any(|error| !error.path.is_empty());
    response.errors.truncate(ERRORS_MAX);
    response.errors.iter_mut().for_each(annotate);
    let outcome = if was_run { outcome(&response) } else { Outcome::Refused };
    let is_settled = response.errors.is_empty() && session.is_settled();
    let extensions = match was_run {
        true => Some(extensions(&mut *session.reader().await, &session.scopes(), cost).await),
        false => None,
    };
    let body = Body { data: was_run.then_some(response.data), errors: response.errors, extensions };
    Answer { body: body.text(), outcome, is_settled }
}

#[derive(Serialize)]
struct Body {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ServerError>,
    /// Absent when nothing was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extensions: Option<serde_json::Value>,
}

impl Body {
    fn text(&self) -> String {
        // Strings, numbers and maps with string keys: writing them cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Whether an answer without any data is the database's fault.
fn outcome(response: &Response) -> Outcome {
    let lacks = |found: fn(&ApiError) -> bool| {
        response.data == Value::Null
            && response.errors.iter().any(|error| error.source::<ApiError>().is_some_and(found))
    };
    if lacks(|cause| matches!(cause, ApiError::Timeout { .. })) {
        Outcome::TimedOut
    } else if lacks(|cause| matches!(cause, ApiError::Unavailable(_))) {
        Outcome::Unavailable
    } else {
        Outcome::Run
    }
}

/// What `extensions` says: as of when, and at what cost.
async fn extensions(reader: &mut Reader, scopes: &[Scope], cost: u64) -> serde_json::Value {
    let mut said = Map::new();
    if let Some(pin) = reader.known_pin().cloned() {
        // The latest: what an answer of the past says of itself must not grow with the log.
        let position = scopes.iter().map(|scope| scope.position).max().unwrap_or(pin.position);
        // Without its block a position is still a position.
        let block = match position == pin.position {
            true => pin.block,
            false => block_at(reader, position).await.unwrap_or_default(),
        };
        said.insert("position".to_owned(), json!(position.to_string()));
        said.insert("revision".to_owned(), json!(pin.revision));
        if let Some(block) = block {
            let number = json!({ "chainId": block.chain_id.0, "number": block.number.0 });
            said.insert("block".to_owned(), number);
            said.insert("time".to_owned(), json!(block.time.to_string()));
        }
    }
    if scopes.len() > 1 {
        let positions = scopes.iter().map(|scope| scope.position.to_string());
        said.insert("positions".to_owned(), json!(positions.collect::<Vec<_>>()));
    }
    said.insert("cost".to_owned(), json!(cost));
    said.insert("statements".to_owned(), json!(reader.statements));
    json!({ "assay": said })
}

/// JSON as GraphQL values, by hand: with serde_json's arbitrary precision, which the workspace
/// uses, serde would turn every number into an object.
fn graphql_value(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Boolean(flag),
        serde_json::Value::Number(number) => Value::Number(number),
        serde_json::Value::String(text) => Value::String(text),
        serde_json::Value::Array(items) => {
            Value::List(items.into_iter().map(graphql_value).collect())
        }
        serde_json::Value::Object(fields) => graphql_object(fields),
    }
}

pub(crate) fn graphql_object(fields: Map<String, serde_json::Value>) -> Value {
    let mut object = indexmap::IndexMap::new();
    for (name, value) in fields {
        object.insert(Name::new(name), graphql_value(value));
    }
    Value::Object(object)
}
