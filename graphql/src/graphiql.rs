//! GraphiQL without the network: everything it needs is in this binary, and the saved operations
//! are its tabs.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY,
};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

/// Operations worth starting from; the first is shown.
pub const OPERATIONS: [(&str, &str); 8] = [
    ("leaderboard", include_str!("../operations/leaderboard.graphql")),
    ("why", include_str!("../operations/why.graphql")),
    ("as-of", include_str!("../operations/as-of.graphql")),
    ("slashings", include_str!("../operations/slashings.graphql")),
    ("shares-on-a-day", include_str!("../operations/shares-on-a-day.graphql")),
    ("history", include_str!("../operations/history.graphql")),
    ("exposures", include_str!("../operations/exposures.graphql")),
    ("verify", include_str!("../operations/verify.graphql")),
];

const PAGE: &str = include_str!("../assets/graphiql.html");

/// GraphiQL builds its editor's style sheets at run time and compiles nothing from strings.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self' data:; frame-ancestors 'none'";

/// The page and what it loads.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/graphiql", get(async || page()))
        .route("/graphiql/start.js", get(async || start()))
        .route("/graphiql/react.js", get(async || react()))
        .route("/graphiql/graphiql.js", get(async || script()))
        .route("/graphiql/graphiql.css", get(async || style()))
}

/// The page.
pub(crate) fn page() -> Response {
    let tabs: Vec<_> = OPERATIONS.iter().map(|(_, query)| json!({ "query": query })).collect();
    // The tabs stand in a data block: `<` must not end it.
    let tabs = json!(tabs).to_string().replace('<', "\\u003c");
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-cache"),
        (VARY, "Accept"),
    ];
    (headers, PAGE.replace("TABS", &tabs)).into_response()
}

fn start() -> Response {
    let headers = [(CONTENT_TYPE, "text/javascript; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    (headers, include_str!("../assets/start.js")).into_response()
}

fn react() -> Response {
    packed("text/javascript; charset=utf-8", include_bytes!("../assets/react.min.js.gz"))
}

fn script() -> Response {
    packed("text/javascript; charset=utf-8", include_bytes!("../assets/graphiql.min.js.gz"))
}

fn style() -> Response {
    packed("text/css; charset=utf-8", include_bytes!("../assets/graphiql.min.css.gz"))
}

/// An asset that is kept compressed. Every browser unpacks it.
fn packed(content_type: &'static str, bytes: &'static [u8]) -> Response {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CONTENT_ENCODING, "gzip"),
        (CACHE_CONTROL, "public, max-age=86400"),
    ];
    (headers, bytes).into_response()
}
