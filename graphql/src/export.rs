//! For those who do not speak GraphQL: one rating as JSON, whole tables as CSV, JSON lines or Parquet.
//!
//! Every answer is that of a saved query at one position, page by page, so that an export holds
//! what the API says and streams whatever its length.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::OwnedSemaphorePermit;

use crate::error::ApiError;
use crate::execute::{Backend, Question, answer};
use crate::http::{KEPT_BRIEFLY, KEPT_FOREVER, Shared};
use crate::parquet::Rows;
use crate::transport::{etag, known};

/// The chain id of development chains: what is on one is made up, and a file of it says so.
const DEVELOPMENT_CHAIN: u64 = 31_337;

/// A table that can be had whole.
struct Table {
    name: &'static str,
    query: &'static str,
    /// Where the list is in `data`.
    list: &'static str,
    /// Header and place in a row.
    columns: &'static [(&'static str, &'static str)],
}

const TABLES: [Table; 8] = [
    Table {
        name: "ratings",
        query: "query Ratings($asOf: AsOf, $after: String) {
            entities(asOf: $asOf, first: 100, after: $after) { nodes { slug kind chainId address key
                rating { label grade score expectedLossPpt notRatedReason conservativeGrade
                    interval { lowPpt highPpt bestGrade worstGrade } outlook isWatchNegative
                    coveragePpm sufficiencyPpm position block { number time } seq word } }
                pageInfo { hasNextPage endCursor } } }",
        list: "/entities",
        columns: &[
            ("slug", "/slug"),
            ("kind", "/kind"),
            ("chain_id", "/chainId"),
            ("address", "/address"),
            ("key", "/key"),
            ("label", "/rating/label"),
            ("grade", "/rating/grade"),
            ("score_millinotch", "/rating/score"),
            ("expected_loss_ppt", "/rating/expectedLossPpt"),
            ("low_ppt", "/rating/interval/lowPpt"),
            ("high_ppt", "/rating/interval/highPpt"),
            ("best_grade", "/rating/interval/bestGrade"),
            ("worst_grade", "/rating/interval/worstGrade"),
            ("conservative_grade", "/rating/conservativeGrade"),
            ("outlook", "/rating/outlook"),
            ("is_watch_negative", "/rating/isWatchNegative"),
            ("coverage_ppm", "/rating/coveragePpm"),
            ("sufficiency_ppm", "/rating/sufficiencyPpm"),
            ("not_rated_reason", "/rating/notRatedReason"),
            ("position", "/rating/position"),
            ("block_number", "/rating/block/number"),
            ("block_time", "/rating/block/time"),
            ("seq", "/rating/seq"),
            ("word", "/rating/word"),
        ],
    },
    Table {
        name: "actions",
        query: "query Actions($asOf: AsOf, $after: String) {
            ratingActions(asOf: $asOf, first: 100, after: $after) { nodes { entity { slug } kind
                fromGrade toGrade notches expectedLossPpt position block { chainId number time }
                revision recordedAt seq word } pageInfo { hasNextPage endCursor } } }",
        list: "/ratingActions",
        columns: &[
            ("slug", "/entity/slug"),
            ("kind", "/kind"),
            ("from_grade", "/fromGrade"),
            ("to_grade", "/toGrade"),
            ("notches", "/notches"),
            ("expected_loss_ppt", "/expectedLossPpt"),
            ("position", "/position"),
            ("chain_id", "/block/chainId"),
            ("block_number", "/block/number"),
            ("block_time", "/block/time"),
            ("revision", "/revision"),
            ("recorded_at", "/recordedAt"),
            ("seq", "/seq"),
            ("word", "/word"),
        ],
    },
    Table {
        name: "slashings",
        query: "query Slashings($asOf: AsOf, $after: String) {
            slashings(asOf: $asOf, first: 100, after: $after) { nodes { position isProvisional
                block { chainId number time } txHash logIndex operatorAddress avsAddress
                operatorSetId strategies { strategy wadSlashed allocationSlashedWad }
                slashedShares { strategy shares releasedShares } releaseBlock isOpen
                redistributionRecipient incident untrustedDescription }
                pageInfo { hasNextPage endCursor } } }",
        list: "/slashings",
        columns: &[
            ("position", "/position"),
            ("is_provisional", "/isProvisional"),
            ("chain_id", "/block/chainId"),
            ("block_number", "/block/number"),
            ("block_time", "/block/time"),
            ("tx_hash", "/txHash"),
            ("log_index", "/logIndex"),
            ("operator", "/operatorAddress"),
            ("avs", "/avsAddress"),
            ("operator_set_id", "/operatorSetId"),
            ("strategies", "/strategies"),
            ("slashed_shares", "/slashedShares"),
            ("release_block", "/releaseBlock"),
            ("is_open", "/isOpen"),
            ("redistribution_recipient", "/redistributionRecipient"),
            ("incident", "/incident"),
            ("untrusted_description", "/untrustedDescription"),
        ],
    },
    Table {
        name: "publications",
        query: "query Publications($after: String) {
            publications(first: 100, after: $after) { nodes { entity { slug } entityKey
                oracleChainId oracle seq word txHash blockNumber status recordedAt }
                pageInfo { hasNextPage endCursor } } }",
        list: "/publications",
        columns: &[
            ("slug", "/entity/slug"),
            ("entity_key", "/entityKey"),
            ("oracle_chain_id", "/oracleChainId"),
            ("oracle", "/oracle"),
            ("seq", "/seq"),
            ("word", "/word"),
            ("tx_hash", "/txHash"),
            ("block_number", "/blockNumber"),
            ("status", "/status"),
            ("recorded_at", "/recordedAt"),
        ],
    },
    Table {
        name: "history",
        query: "query History($asOf: AsOf, $entity: String!, $after: String) {
            entity(asOf: $asOf, slug: $entity) { slug ratingHistory(first: 100, after: $after) {
                nodes { label grade score expectedLossPpt interval { lowPpt highPpt } outlook
                    isWatchNegative coveragePpm position block { chainId number time } seq }
                pageInfo { hasNextPage endCursor } } } }",
        list: "/entity/ratingHistory",
        columns: &[
            ("label", "/label"),
            ("grade", "/grade"),
            ("score_millinotch", "/score"),
            ("expected_loss_ppt", "/expectedLossPpt"),
            ("low_ppt", "/interval/lowPpt"),
            ("high_ppt", "/interval/highPpt"),
            ("outlook", "/outlook"),
            ("is_watch_negative", "/isWatchNegative"),
            ("coverage_ppm", "/coveragePpm"),
            ("position", "/position"),
            ("chain_id", "/block/chainId"),
            ("block_number", "/block/number"),
            ("block_time", "/block/time"),
            ("seq", "/seq"),
        ],
    },
    Table {
        name: "shares",
        query: "query Shares($asOf: AsOf, $after: String) {
            operatorShares(asOf: $asOf, first: 100, after: $after) { nodes { chainId
                operatorAddress strategy shares position block { number time } }
                pageInfo { hasNextPage endCursor } } }",
        list: "/operatorShares",
        columns: &[
            ("chain_id", "/chainId"),
            ("operator", "/operatorAddress"),
            ("strategy", "/strategy"),
            ("shares", "/shares"),
            ("position", "/position"),
            ("block_number", "/block/number"),
            ("block_time", "/block/time"),
        ],
    },
    Table {
        name: "attestations",
        query: "query Attestations($asOf: AsOf, $after: String) {
            attestations(asOf: $asOf, first: 100, after: $after) { nodes { digest claim standing
                subjects { slug } details { name untrustedValue } level evidence signer observedAt
                effectiveBlock expiresAt position block { chainId number time } }
                pageInfo { hasNextPage endCursor } } }",
        list: "/attestations",
        columns: &[
            ("digest", "/digest"),
            ("claim", "/claim"),
            ("standing", "/standing"),
            ("subjects", "/subjects"),
            ("untrusted_details", "/details"),
            ("level", "/level"),
            ("evidence", "/evidence"),
            ("signer", "/signer"),
            ("observed_at", "/observedAt"),
            ("effective_block", "/effectiveBlock"),
            ("expires_at", "/expiresAt"),
            ("position", "/position"),
            ("chain_id", "/block/chainId"),
            ("block_number", "/block/number"),
            ("block_time", "/block/time"),
        ],
    },
    Table {
        name: "stress",
        query: "query Stress($asOf: AsOf, $after: String) {
            stress(asOf: $asOf) { effects(first: 100, after: $after) { nodes { scenario slug
                lostPpt lostWei gradeBefore gradeAfter expectedLossBeforePpt expectedLossAfterPpt }
                pageInfo { hasNextPage endCursor } } } }",
        list: "/stress/effects",
        columns: &[
            ("scenario", "/scenario"),
            ("slug", "/slug"),
            ("lost_ppt", "/lostPpt"),
            ("lost_wei", "/lostWei"),
            ("grade_before", "/gradeBefore"),
            ("grade_after", "/gradeAfter"),
            ("expected_loss_before_ppt", "/expectedLossBeforePpt"),
            ("expected_loss_after_ppt", "/expectedLossAfterPpt"),
        ],
    },
];

/// The rating of one entity, with its working.
const RATING: &str = "query Rating($asOf: AsOf, $entity: String!) {
    entity(asOf: $asOf, slug: $entity) { slug kind chainId address key rating { label grade score
        notRatedReason expectedLossPpt interval { lowPpt highPpt bestGrade worstGrade }
        conservativeGrade coveragePpm sufficiencyPpm isProvisional outlook isWatchNegative
        attribution { block class hazardPpt severityPpt exposurePpt expectedLossPpt points
            provenance }
        rationale { summary warnings drivers raise lower restsOn }
        position block { chainId number time } methodologyHash assessmentHash seq word } } }";

/// What may stand behind the question mark.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    /// The position to answer at.
    at: Option<String>,
    /// The entity a history is of.
    entity: Option<String>,
}

impl Asked {
    fn variables(&self, entity: Option<&str>, after: Option<&Value>) -> Map<String, Value> {
        let mut variables = Map::new();
        if let Some(at) = &self.at {
            variables.insert("asOf".to_owned(), json!({ "position": at }));
        }
        if let Some(entity) = entity.or(self.entity.as_deref()) {
            variables.insert("entity".to_owned(), json!(entity));
        }
        if let Some(after) = after {
            variables.insert("after".to_owned(), after.clone());
        }
        variables
    }
}

/// An answer taken apart.
pub(crate) struct Answered {
    pub(crate) data: Value,
    position: String,
    /// Of the development chain: made up.
    is_demo: bool,
    is_settled: bool,
}

/// Answers a saved query, or says over HTTP why not.
pub(crate) async fn ask(
    backend: &Backend,
    query: &str,
    variables: Map<String, Value>,
) -> Result<Answered, Response> {
    let question = Question { query: query.to_owned(), variables, ..Question::default() };
    let answer = answer(backend, question).await;
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    match body.get("errors") {
        Some(errors) => {
            let status = match errors.pointer("/0/extensions/code").and_then(Value::as_str) {
                Some("UNAVAILABLE") => StatusCode::SERVICE_UNAVAILABLE,
                Some("TIMEOUT") => StatusCode::GATEWAY_TIMEOUT,
                Some("INTERNAL") => StatusCode::INTERNAL_SERVER_ERROR,
                Some("POSITION_IN_FUTURE" | "BEFORE_FIRST_POSITION") => StatusCode::NOT_FOUND,
                _ => StatusCode::BAD_REQUEST,
            };
            Err((status, axum::Json(json!({ "errors": errors }))).into_response())
        }
        None => {
            let said = body.pointer("/extensions/assay/position").and_then(Value::as_str);
            let position = said.unwrap_or("0").to_owned();
            let data = body.get("data").cloned().unwrap_or_default();
            let chain = body.pointer("/extensions/assay/block/chainId").and_then(Value::as_u64);
            let (is_demo, is_settled) = (chain == Some(DEVELOPMENT_CHAIN), answer.is_settled);
            Ok(Answered { data, position, is_demo, is_settled })
        }
    }
}

const fn cache_control(is_settled: bool) -> HeaderValue {
    HeaderValue::from_static(if is_settled { KEPT_FOREVER } else { KEPT_BRIEFLY })
}

/// A refusal with a code.
pub(crate) fn not_found(message: &str) -> Response {
    let cause = ApiError::NotFound(message.to_owned());
    let extensions = json!({ "code": cause.code(), "hint": cause.hint() });
    let errors = json!([{ "message": cause.to_string(), "extensions": extensions }]);
    (StatusCode::NOT_FOUND, axum::Json(json!({ "errors": errors }))).into_response()
}

/// `GET /v1/ratings/{slug}`: one rating with its working, as JSON.
pub(crate) async fn rating(
    State(shared): State<Arc<Shared>>,
    Path(slug): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let answered =
        match ask(&shared.backend.clone(), RATING, asked.variables(Some(&slug), None)).await {
            Ok(answered) => answered,
            Err(refusal) => return refusal,
        };
    let entity = answered.data.get("entity").cloned().unwrap_or_default();
    if entity.is_null() {
        return not_found("no entity of that slug was known");
    }
    let body = json!({ "position": answered.position, "entity": entity }).to_string();
    let tag = etag(body.as_bytes());
    let kept = [(CACHE_CONTROL, cache_control(answered.is_settled))];
    if let Some(known) = known(&headers, &tag) {
        return (StatusCode::NOT_MODIFIED, kept, [(ETAG, known)]).into_response();
    }
    (kept, [(ETAG, tag)], [(CONTENT_TYPE, "application/json")], body).into_response()
}

/// How rows are written.
enum Format {
    Csv,
    JsonLines,
    Parquet(Box<Rows>),
}

/// `GET /v1/export/{table}.csv`, `.jsonl` and `.parquet`: a whole table at one position.
pub(crate) async fn table(
    State(shared): State<Arc<Shared>>,
    Path(file): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let (name, ending) = match file.rsplit_once('.') {
        Some((name, ending)) if ["csv", "jsonl", "parquet"].contains(&ending) => (name, ending),
        _ => return not_found("exports end in .csv, .jsonl or .parquet"),
    };
    let Some(table) = TABLES.iter().find(|table| table.name == name) else {
        let names = TABLES.iter().map(|table| table.name).collect::<Vec<_>>().join(", ");
        return not_found(&format!("there are exports of {names}"));
    };
    let Ok(place) = shared.exports.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "10")]).into_response();
    };
    let first = match ask(&shared.backend.clone(), table.query, asked.variables(None, None)).await {
        Ok(answered) => answered,
        Err(refusal) => return refusal,
    };
    if first.data.pointer(table.list).is_none_or(Value::is_null) {
        return not_found("no entity of that slug was known");
    }
    let (format, content_type) = match ending {
        "csv" => (Format::Csv, "text/csv; charset=utf-8"),
        "jsonl" => (Format::JsonLines, "application/jsonl; charset=utf-8"),
        _ => match Rows::new(table.columns.iter().map(|(name, _)| *name)) {
            Ok(rows) => (Format::Parquet(Box::new(rows)), "application/vnd.apache.parquet"),
            Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        },
    };
    let demo = if first.is_demo { "DEMO-" } else { "" };
    let disposition =
        format!("attachment; filename=\"assay-{demo}{name}-at-{}.{ending}\"", first.position);
    let head = [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CACHE_CONTROL, cache_control(first.is_settled)),
        // A position and a name from our own list: always a header value.
        (
            CONTENT_DISPOSITION,
            HeaderValue::try_from(disposition).unwrap_or(HeaderValue::from_static("attachment")),
        ),
        (
            axum::http::HeaderName::from_static("x-assay-position"),
            HeaderValue::try_from(first.position.clone()).unwrap_or(HeaderValue::from_static("0")),
        ),
    ];
    let walk = Walk { backend: shared.backend.clone(), table, format, asked, _place: place };
    (head, Body::from_stream(walk.pages(first.data))).into_response()
}

/// An export under way.
struct Walk {
    backend: Backend,
    table: &'static Table,
    format: Format,
    asked: Asked,
    _place: OwnedSemaphorePermit,
}

impl Walk {
    /// All pages. An error ends the transfer short, so that no reader takes a part for
    /// the whole.
    fn pages(self, first: Value) -> impl stream::Stream<Item = Result<Bytes, String>> {
        let mut head = String::new();
        if matches!(self.format, Format::Csv) {
            let names: Vec<&str> = self.table.columns.iter().map(|(name, _)| *name).collect();
            head = names.join(",") + "\r\n";
        }
        stream::unfold(Some((self, first, head)), async |state| {
            let (mut walk, data, mut text) = state?;
            let page = data.pointer(walk.table.list).cloned().unwrap_or_default();
            for row in page["nodes"].as_array().into_iter().flatten() {
                if let Err(error) = walk.write(row, &mut text) {
                    return Some((Err(error), None));
                }
            }
            if page["pageInfo"]["hasNextPage"] != json!(true) {
                let last = match walk.format {
                    Format::Parquet(rows) => rows.finish().map_err(|error| error.to_string()),
                    _ => Ok(text.into_bytes()),
                };
                return Some((last.map(Bytes::from), None));
            }
            let after = &page["pageInfo"]["endCursor"];
            let variables = walk.asked.variables(None, Some(after));
            match ask(&walk.backend, walk.table.query, variables).await {
                Ok(next) => {
                    let part = match &mut walk.format {
                        Format::Parquet(rows) => rows.take(),
                        _ => text.into_bytes(),
                    };
                    Some((Ok(Bytes::from(part)), Some((walk, next.data, String::new()))))
                }
                Err(_) => Some((Err("the export was cut short".to_owned()), None)),
            }
        })
    }

    fn write(&mut self, row: &Value, text: &mut String) -> Result<(), String> {
        match &mut self.format {
            Format::Parquet(rows) => {
                let cells = self.table.columns.iter().map(|(_, place)| row.pointer(place));
                rows.push(cells).map_err(|error| error.to_string())?;
            }
            Format::Csv => {
                for (index, (_, place)) in self.table.columns.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    cell(row.pointer(place), text);
                }
                text.push_str("\r\n");
            }
            Format::JsonLines => {
                let flat: Map<String, Value> = self
                    .table
                    .columns
                    .iter()
                    .map(|(name, place)| {
                        ((*name).to_owned(), row.pointer(place).cloned().unwrap_or_default())
                    })
                    .collect();
                text.push_str(&Value::Object(flat).to_string());
                text.push('\n');
            }
        }
        Ok(())
    }
}

fn cell(value: Option<&Value>, text: &mut String) {
    match value {
        None | Some(Value::Null) => {}
        Some(Value::String(found)) => text.push_str(&csv_cell(found)),
        Some(other) => text.push_str(&quoted(other.to_string())),
    }
}

/// A cell of RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe.
pub fn csv_cell(text: &str) -> String {
    // Grades such as "AA-" begin with a letter; only a stranger's text begins so.
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    quoted(if is_formula { format!("'{text}") } else { text.to_owned() })
}

fn quoted(text: String) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_where_it_must_be_and_never_a_formula() {
        for (value, written) in [
            (json!("plain"), "plain"),
            (json!("a,b"), "\"a,b\""),
            (json!("say \"no\""), "\"say \"\"no\"\"\""),
            (json!("=HYPERLINK(1)"), "'=HYPERLINK(1)"),
            (json!("@x\ny"), "\"'@x\ny\""),
            (json!(-3), "-3"),
            (json!(true), "true"),
            (Value::Null, ""),
        ] {
            let mut text = String::new();
            cell(Some(&value), &mut text);
            assert_eq!(text, written);
        }
    }
}
