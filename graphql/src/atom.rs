//! Rating actions as an Atom feed, for readers and chat rooms.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::export::{ask, not_found};
use crate::http::{KEPT_BRIEFLY, Shared};

/// The newest actions of all, or of one entity.
const ACTIONS: &str = "query Actions($entity: String!, $isOne: Boolean!) {
    all: ratingActions(first: 50) @skip(if: $isOne) { nodes { ...A } }
    entity(slug: $entity) @include(if: $isOne) { ratingActions(first: 50) { nodes { ...A } } } }
    fragment A on RatingAction { id kind fromGrade toGrade position recordedAt entity { slug }
        block { chainId number time } rating { rationale { summary } } }";

/// What may stand behind the question mark.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    /// The entity whose actions are wanted; all without it.
    entity: Option<String>,
}

/// `GET /feeds/actions.atom`.
pub(crate) async fn actions(
    State(shared): State<Arc<Shared>>,
    Query(asked): Query<Asked>,
) -> Response {
    let mut variables = Map::new();
    variables.insert("isOne".to_owned(), json!(asked.entity.is_some()));
    variables.insert("entity".to_owned(), json!(asked.entity.unwrap_or_default()));
    let answered = match ask(&shared.backend.clone(), ACTIONS, variables).await {
        Ok(answered) => answered,
        Err(refusal) => return refusal,
    };
    let data = &answered.data;
    if data.get("entity").is_some_and(Value::is_null) {
        return not_found("no entity of that slug was known");
    }
    let nodes = data.pointer("/all/nodes").or_else(|| data.pointer("/entity/ratingActions/nodes"));
    let nodes = nodes.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let headers =
        [(CONTENT_TYPE, "application/atom+xml; charset=utf-8"), (CACHE_CONTROL, KEPT_BRIEFLY)];
    (headers, feed(nodes)).into_response()
}

fn feed(actions: &[Value]) -> String {
    let updated = actions.first().map_or("1970-01-01T00:00:00Z", |one| text(one, "/recordedAt"));
    let mut feed = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <feed xmlns=\"http://www.w3.org/2005/Atom\">\n<id>urn:assay:actions</id>\n\
         <title>Assay: rating actions</title>\n<author><name>Assay</name></author>\n\
         <link href=\"/actions\"/>\n<updated>{updated}</updated>\n"
    );
    for action in actions {
        let slug = text(action, "/entity/slug");
        let said = match (text(action, "/fromGrade"), text(action, "/toGrade")) {
            ("", to) => to.to_owned(),
            (from, "") => format!("{from} → NR"),
            (from, to) if from == to => to.to_owned(),
            (from, to) => format!("{from} → {to}"),
        };
        let kind = text(action, "/kind").to_ascii_lowercase();
        // The chain says it is made up; so does the title.
        let is_demo = action.pointer("/block/chainId") == Some(&json!(31_337));
        let mark = if is_demo { "DEMO " } else { "" };
        // Writing to a String does not fail.
        let _ = writeln!(
            feed,
            "<entry><id>urn:assay:{}</id><title>{}</title><link href=\"/e/{}?at={}\"/>\
             <updated>{}</updated><published>{}</published><summary>{}</summary></entry>",
            escaped(text(action, "/id")),
            escaped(&format!("{mark}{slug} {kind}: {said}")),
            escaped(slug),
            escaped(text(action, "/position")),
            escaped(text(action, "/recordedAt")),
            escaped(text(action, "/block/time")),
            escaped(text(action, "/rating/rationale/summary")),
        );
    }
    feed + "</feed>\n"
}

fn text<'a>(value: &'a Value, place: &str) -> &'a str {
    value.pointer(place).and_then(Value::as_str).unwrap_or_default()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_said_becomes_markup() {
        let action = json!({ "id": "a&b", "kind": "DOWNGRADED", "fromGrade": "BB-", "toGrade": "D",
            "position": "9", "recordedAt": "2026-01-01T00:00:00Z", "entity": { "slug": "<x>" },
            "block": { "chainId": 31_337, "time": "2026-01-01T00:00:00Z" },
            "rating": { "rationale": { "summary": "\"<script>\"" } } });
        let feed = feed(&[action]);
        assert!(feed.contains("<title>DEMO &lt;x&gt; downgraded: BB- → D</title>"), "{feed}");
        assert!(!feed.contains("<script") && !feed.contains("a&b"), "{feed}");
    }
}
