//! The dashboard: pages for people, in plain files that every browser runs as they are.
//!
//! One document serves every page; its script asks the API on this server and nothing else.

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::transport::{etag, known};

/// Nothing from elsewhere, nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("../dashboard/index.html");

/// Paths that are pages. The document is the same; the script reads the path.
const PAGES: [&str; 8] =
    ["/", "/e/{slug}", "/slashings", "/actions", "/stress", "/frontier", "/feed", "/methodology"];

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! asset {
    ($kind:expr, $name:literal) => {
        ($name, $kind, include_str!(concat!("../dashboard/", $name)))
    };
}

/// What the document loads.
const ASSETS: [(&str, &str, &str); 18] = [
    asset!(STYLE, "assay.css"),
    asset!(SCRIPT, "app.js"),
    asset!(SCRIPT, "api.js"),
    asset!(SCRIPT, "dom.js"),
    asset!(SCRIPT, "format.js"),
    asset!(SCRIPT, "frame.js"),
    asset!(SCRIPT, "charts.js"),
    asset!(SCRIPT, "leaderboard.js"),
    asset!(SCRIPT, "entity.js"),
    asset!(SCRIPT, "attestations.js"),
    asset!(SCRIPT, "lrt.js"),
    asset!(SCRIPT, "flow.js"),
    asset!(SCRIPT, "stress.js"),
    asset!(SCRIPT, "frontier.js"),
    asset!(SCRIPT, "slashings.js"),
    asset!(SCRIPT, "feed.js"),
    asset!(SCRIPT, "methodology.js"),
    asset!("image/svg+xml", "icon.svg"),
];

/// The dashboard's document and what it loads, each with its path.
pub fn dashboard_files() -> impl Iterator<Item = (String, &'static str)> {
    let assets = ASSETS.iter().map(|(name, _, text)| (format!("/ui/{name}"), *text));
    std::iter::once(("/".to_owned(), PAGE)).chain(assets)
}

/// The pages and what they load.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let pages = PAGES.iter().fold(Router::new(), |router, path| {
        router.route(path, get(async |headers: HeaderMap| page(&headers)))
    });
    pages.route("/ui/{name}", get(asset))
}

fn page(asked: &HeaderMap) -> Response {
    let mut response = kept(asked, "text/html; charset=utf-8", PAGE);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

async fn asset(Path(name): Path<String>, asked: HeaderMap) -> Response {
    match ASSETS.iter().find(|(known, _, _)| *known == name) {
        Some((_, content_type, text)) => kept(&asked, content_type, text),
        None => (StatusCode::NOT_FOUND, "there is no such file\n").into_response(),
    }
}

/// A text that browsers keep and ask about again: after an update everything is new at once.
pub(crate) fn kept(asked: &HeaderMap, content_type: &'static str, text: &'static str) -> Response {
    let tag = etag(text.as_bytes());
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(ETAG, tag.clone());
    if let Some(known) = known(asked, &tag) {
        headers.insert(ETAG, known);
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    (headers, text).into_response()
}
