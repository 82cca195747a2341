//! The wire: statuses, caching, and what operations need.

use assay_graphql::{ApiConfig, router};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_NONE_MATCH, ORIGIN,
};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tower::ServiceExt;

use super::seed::{run, world};
use crate::support::database;

pub(super) const GRAPHQL: &str = "application/graphql-response+json";

pub(super) struct Reply {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) text: String,
}

impl Reply {
    pub(super) fn header(&self, name: impl axum::http::header::AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

pub(super) async fn send(app: &Router, request: Request<Body>) -> Reply {
    let response = app.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = String::from_utf8_lossy(&to_bytes(body, usize::MAX).await.unwrap()).into_owned();
    Reply { status: parts.status, headers: parts.headers, text }
}

pub(super) async fn get(app: &Router, uri: &str, accept: &str) -> Reply {
    send(app, Request::get(uri).header(ACCEPT, accept).body(Body::empty()).unwrap()).await
}

pub(super) async fn post(app: &Router, accept: &str, body: impl Into<Body>) -> Reply {
    let request = Request::post("/graphql").header(ACCEPT, accept);
    send(app, request.header(CONTENT_TYPE, "application/json").body(body.into()).unwrap()).await
}

pub(super) fn encoded(query: &str) -> String {
    query.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn app(pool: &PgPool) -> Router {
    router(pool.clone(), ApiConfig::default())
}

#[tokio::test]
async fn the_status_says_what_became_of_a_request() {
    let (_database, pool) = world(1).await;
    let app = app(&pool);
    let body = |query: &str| json!({ "query": query }).to_string();
    for (query, json_status, graphql_status, has_data) in [
        ("{ __typename }", 200, 200, true),
        ("{ entities(first: 101) { totalCount } }", 200, 200, true),
        ("{", 200, 400, false),
        ("{ secrets }", 200, 400, false),
        ("query($a: ID!) { node(id: $a) { id } }", 200, 400, false),
        ("mutation { x }", 200, 400, false),
    ] {
        for (accept, status) in [("application/json", json_status), (GRAPHQL, graphql_status)] {
            let reply = post(&app, accept, body(query)).await;
            assert_eq!(reply.status, status, "{query} as {accept}: {}", reply.text);
            assert_eq!(reply.json().get("data").is_some(), has_data, "{query}");
            assert_eq!(reply.header(CONTENT_TYPE), format!("{accept}; charset=utf-8"));
        }
    }
    for malformed in ["{", "[]", "{}", "{\"query\":7}", "{\"query\":\"{a}\",\"variables\":[]}"] {
        let reply = post(&app, "application/json", malformed).await;
        assert_eq!(reply.status, 400, "{malformed}");
        assert!(reply.json()["errors"][0]["extensions"]["code"].is_string());
    }
    let large = post(&app, GRAPHQL, body(&"#".repeat(1_000_000))).await;
    assert_eq!(large.status, 413);
    let request = Request::post("/graphql").body(Body::from(body("{ __typename }"))).unwrap();
    assert_eq!(send(&app, request).await.status, 415);
    assert_eq!(get(&app, "/graphql?query=%7B__typename%7D", "image/png").await.status, 406);
    let delete = Request::delete("/graphql").body(Body::empty()).unwrap();
    let reply = send(&app, delete).await;
    assert_eq!((reply.status.as_u16(), reply.header(ALLOW)), (405, "GET, POST"));
    let mutation = get(&app, "/graphql?query=mutation%7Bx%7D", "application/json").await;
    assert_eq!((mutation.status.as_u16(), mutation.header(ALLOW)), (405, "POST"));
}

#[tokio::test]
async fn an_answer_of_the_past_may_be_kept_for_ever_and_no_other() {
    let (_database, pool) = world(2).await;
    let app = app(&pool);
    let cached = async |query: &str| {
        let reply = get(&app, &format!("/graphql?query={}", encoded(query)), GRAPHQL).await;
        assert_eq!(reply.status, 200, "{query}");
        (reply.header(CACHE_CONTROL).contains("immutable"), reply)
    };
    let at = |as_of: &str| format!("{{ entities(asOf: {{ {as_of} }}) {{ totalCount }} }}");
    for (query, is_kept) in [
        (at("position: \"50\""), true),
        (at("block: { chainId: 1, number: 1060 }"), true),
        (at("time: \"2024-03-27T15:50:00Z\""), true),
        (at("recordedAt: \"2026-01-01T05:00:00Z\""), true),
        // More ratings may come at the newest position, more blocks at a time not yet final.
        (at("position: \"100\""), false),
        (at("time: \"2024-03-27T15:50:01Z\""), false),
        ("{ entities { totalCount } }".to_owned(), false),
        ("{ __typename }".to_owned(), false),
        (
            at("position: \"50\"").replace("totalCount", "nodes { publications { totalCount } }"),
            false,
        ),
        // Documents may be recorded later for what an operator named then.
        (at("position: \"50\"").replace("totalCount", "nodes { untrustedName }"), false),
        // A token's name is an answer that somebody has to ask for; operators had none yet.
        (at("position: \"9\"").replace("totalCount", "nodes { untrustedName }"), false),
        (
            at("position: \"9\"")
                .replace("totalCount", "nodes { untrustedName }")
                .replace("entities(", "entities(where: { kind: [OPERATOR] }, "),
            true,
        ),
        (at("position: \"50\"").replace("{ entities", "{ status { updatedAt } entities"), false),
        (at("position: \"50\"").replace("entities(", "entities(first: 101, "), false),
    ] {
        assert_eq!(cached(&query).await.0, is_kept, "{query}");
    }
    let (_, reply) = cached(&at("position: \"50\"")).await;
    let uri = format!("/graphql?query={}", encoded(&at("position: \"50\"")));
    let request =
        Request::get(uri).header(ACCEPT, GRAPHQL).header(IF_NONE_MATCH, reply.header(ETAG));
    assert_eq!(send(&app, request.body(Body::empty()).unwrap()).await.status, 304);
}

#[tokio::test]
async fn introspection_passes_the_limits_and_the_schema_is_served() {
    let (_database, pool) = world(1).await;
    let app = app(&pool);
    let of_type = "ofType { name kind ".repeat(9) + &"}".repeat(9);
    let query = format!(
        "query {{ __schema {{ queryType {{ name }} types {{ kind name possibleTypes {{ kind name }}
            fields(includeDeprecated: true) {{ name args {{ name type {{ name kind {of_type} }} }}
            type {{ name kind {of_type} }} }} }} directives {{ name locations }} }} }}"
    );
    let reply = post(&app, GRAPHQL, json!({ "query": query }).to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    for kind in reply.json()["data"]["__schema"]["types"].as_array().unwrap() {
        for possible in kind["possibleTypes"].as_array().unwrap_or(&Vec::new()) {
            assert_eq!(possible["kind"], "OBJECT");
        }
    }
    let served = get(&app, "/schema.graphql", "*/*").await;
    assert_eq!(served.text, assay_graphql::sdl());
}

#[tokio::test]
async fn a_browser_gets_a_page_that_loads_nothing_from_elsewhere() {
    let (_database, pool) = world(1).await;
    let app = app(&pool);
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for uri in ["/graphql", "/graphiql"] {
        let page = get(&app, uri, accept).await;
        assert_eq!(page.status, 200);
        assert!(page.text.contains("query Leaderboard"));
        assert!(!page.text.contains("http://") && !page.text.contains("https://"));
        for part in page.text.split("=\"/").skip(1) {
            let uri = format!("/{}", part.split('"').next().unwrap());
            assert_eq!(get(&app, &uri, "*/*").await.status, 200, "{uri}");
        }
    }
    let asked = get(&app, "/graphql?query=%7B__typename%7D", accept).await;
    assert!(asked.header(CONTENT_TYPE).starts_with("application/json"));
    let foreign =
        Request::get("/graphql?query=%7B__typename%7D").header(ORIGIN, "https://a.example");
    let reply = send(&app, foreign.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.header(ACCESS_CONTROL_ALLOW_ORIGIN), "*");
}

#[tokio::test]
async fn the_dashboards_pages_load_nothing_from_elsewhere_and_run_nothing_inline() {
    let (_database, pool) = world(1).await;
    let app = app(&pool);
    for uri in ["/", "/slashings", "/actions", "/feed", "/methodology", "/e/operator-1-0xab"] {
        let page = get(&app, uri, "text/html").await;
        assert_eq!(page.status, 200, "{uri}");
        let policy = page.header(CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(!page.text.contains("://") && !page.text.contains("<style"), "{uri}");
        assert!(page.text.matches("<script").count() == 1, "one script, and it is a file");
        for part in page.text.split("=\"/ui/").skip(1) {
            let uri = format!("/ui/{}", part.split('"').next().unwrap());
            let asset = get(&app, &uri, "*/*").await;
            assert_eq!(asset.status, 200, "{uri}");
            let again = Request::get(&uri).header(IF_NONE_MATCH, asset.header(ETAG));
            let again = send(&app, again.body(Body::empty()).unwrap()).await;
            assert_eq!(again.status, 304, "{uri}");
        }
    }
    assert_eq!(get(&app, "/ui/..%2fCargo.toml", "*/*").await.status, 404);
    let methodology = get(&app, "/v1/methodology", "*/*").await;
    assert_eq!(methodology.json()["version"], "1");
}

#[tokio::test]
async fn what_is_exported_is_what_the_api_says_and_goes_on_past_a_page() {
    let (_database, pool) = world(130).await;
    let app = app(&pool);
    let table = get(&app, "/v1/export/ratings.csv?at=50", "*/*").await;
    assert_eq!(table.status, 200);
    assert!(table.header(CACHE_CONTROL).contains("immutable"));
    assert_eq!(table.header("x-assay-position"), "50");
    let lines: Vec<&str> = table.text.lines().collect();
    assert!(lines[0].starts_with("slug,kind,chain_id,"), "{}", lines[0]);
    assert_eq!(lines.len() - 1, 134, "every entity has a line");
    let json = get(&app, "/v1/export/ratings.jsonl?at=50", "*/*").await;
    let rows: Vec<Value> =
        json.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 134);
    for (row, line) in rows.iter().zip(&lines[1..]) {
        assert!(line.starts_with(row["slug"].as_str().unwrap()), "{line}");
    }
    let slug = rows[0]["slug"].as_str().unwrap();
    let one = get(&app, &format!("/v1/ratings/{slug}?at=50"), "*/*").await;
    assert_eq!(one.json()["entity"]["rating"]["expectedLossPpt"], rows[0]["expected_loss_ppt"]);
    assert_eq!(one.json()["position"], "50");
    let history = get(&app, &format!("/v1/export/history.csv?entity={slug}&at=50"), "*/*").await;
    assert_eq!(history.text.lines().count() - 1, 5, "{}", history.text);
    let feed = get(&app, "/feeds/actions.atom", "*/*").await;
    assert_eq!(feed.text.matches("<entry>").count(), 50);
    let feed = get(&app, &format!("/feeds/actions.atom?entity={slug}"), "*/*").await;
    assert_eq!(feed.text.matches("<entry>").count(), 2, "{}", feed.text);
    for (uri, status) in [
        ("/feeds/actions.atom?entity=nobody", 404),
        ("/v1/ratings/operator-1-0xnobody", 404),
        ("/v1/ratings/x?at=999", 404),
        ("/v1/ratings/x?at=soon", 400),
        ("/v1/export/secrets.csv", 404),
        ("/v1/export/ratings.exe", 404),
        ("/v1/export/history.csv", 400),
        ("/v1/export/history.csv?entity=nobody", 404),
    ] {
        let reply = get(&app, uri, "*/*").await;
        assert_eq!(reply.status, status, "{uri}: {}", reply.text);
        assert!(reply.json()["errors"][0]["extensions"]["code"].is_string(), "{uri}");
    }
}

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let empty = database().await;
    let reply = get(&app(&empty.pool().await), "/ready", "*/*").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["reason"]), (503, &json!("the log is empty")));
    let (_database, pool) = world(1).await;
    assert_eq!(get(&app(&pool), "/ready", "*/*").await.status, 200);
    run(
        &pool,
        "UPDATE read_model.chains SET updated_at = now() - interval '20 minutes'
        WHERE chain_id = 1",
    )
    .await;
    let strict =
        router(pool.clone(), ApiConfig { lag_blocks_max: Some(50), ..ApiConfig::default() });
    let reply = get(&strict, "/ready", "*/*").await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["reason"], "chain 1 is 100 blocks behind, the limit is 50");
    let metrics = get(&strict, "/metrics", "*/*").await.text;
    assert!(metrics.contains("assay_log_position 100\n"), "{metrics}");
    assert!(metrics.contains("assay_ingest_lag_blocks{chain=\"1\"} 100\n"), "{metrics}");
    assert_eq!(get(&strict, "/health", "*/*").await.status, 200);
}

#[tokio::test]
async fn without_its_database_the_server_says_so() {
    let pool = PgPoolOptions::new()
        .acquire_timeout(std::time::Duration::from_millis(200))
        .connect_lazy("postgres://nobody@127.0.0.1:1/nothing")
        .unwrap();
    let app = app(&pool);
    let reply = post(&app, GRAPHQL, r#"{"query":"{ entities { totalCount } }"}"#).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["errors"][0]["extensions"]["code"], "UNAVAILABLE");
    assert_eq!(get(&app, "/ready", "*/*").await.status, 503);
    assert_eq!(get(&app, "/health", "*/*").await.status, 200);
    assert_eq!(get(&app, "/metrics", "*/*").await.status, 200);
    let schema = post(&app, GRAPHQL, r#"{"query":"{ __schema { queryType { name } } }"}"#).await;
    assert_eq!(schema.status, 200, "what needs no database has an answer");
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_stopped() {
    let (_database, pool) = world(1).await;
    let mut held = pool.begin().await.unwrap();
    let lock = "LOCK TABLE read_model.checkpoint IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut *held).await.unwrap();
    let reply = post(&app(&pool), GRAPHQL, r#"{"query":"{ entities { totalCount } }"}"#).await;
    assert_eq!(reply.status, 504);
    assert_eq!(reply.json()["errors"][0]["extensions"]["code"], "TIMEOUT");
}
