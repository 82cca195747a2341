//! What strangers get: quotas, answers that may be kept, documents by name, metrics.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use assay_graphql::{ApiConfig, ApiKey, OPERATIONS, router};
use axum::Router;
use axum::body::Body;
use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, ETAG, IF_NONE_MATCH,
    RETRY_AFTER,
};
use axum::http::{HeaderName, Request};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::live::{node, serve};
use super::seed::{run, world};
use super::server::{GRAPHQL, Reply, encoded, get, post, send};

const KEY: &str = "correct horse battery staple";

/// An API behind a proxy, with small quotas.
fn metered(pool: &sqlx::PgPool) -> Router {
    let key = ApiKey {
        name: "desk".to_owned(),
        sha256: Sha256::digest(KEY).into(),
        points_an_hour: NonZeroU32::new(500).unwrap(),
    };
    let config = ApiConfig {
        api_keys: vec![key],
        points_an_hour: NonZeroU32::new(50),
        client_header: Some(HeaderName::from_static("x-forwarded-for")),
        ..ApiConfig::default()
    };
    router(pool.clone(), config)
}

async fn from(app: &Router, address: &str, key: Option<&str>, uri: &str) -> Reply {
    let mut request = Request::get(uri).header("x-forwarded-for", address).header(ACCEPT, GRAPHQL);
    if let Some(key) = key {
        request = request.header(AUTHORIZATION, format!("Bearer {key}"));
    }
    send(app, request.body(Body::empty()).unwrap()).await
}

fn error_code(reply: &Reply) -> Value {
    reply.json()["errors"][0]["extensions"]["code"].clone()
}

#[tokio::test]
async fn points_run_out_by_address_and_by_key_and_whoever_waits_may_ask_again() {
    let (_database, pool) = world(1).await;
    let app = metered(&pool);
    // 21 points each.
    let uri = format!("/graphql?query={}", encoded("{ entities { nodes { slug } } }"));
    let first = from(&app, "203.0.113.9", None, &uri).await;
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(first.header("x-ratelimit-limit"), "50");
    assert_eq!(first.header("x-ratelimit-remaining"), "29");
    assert_eq!(from(&app, "203.0.113.9", None, &uri).await.status, 200);
    let refused = from(&app, "203.0.113.9", None, &uri).await;
    assert_eq!((refused.status.as_u16(), error_code(&refused)), (429, json!("RATE_LIMITED")));
    let wait: u64 = refused.header(RETRY_AFTER).parse().unwrap();
    assert!((900..=940).contains(&wait), "13 points at 72 s each: {wait}");
    // Someone else, this machine, and who has a key are not meant.
    assert_eq!(from(&app, "203.0.113.10", None, &uri).await.status, 200);
    assert_eq!(from(&app, "127.0.0.1", None, &uri).await.status, 200);
    for _ in 0..20 {
        assert_eq!(from(&app, "203.0.113.9", Some(KEY), &uri).await.status, 200);
    }
    // A refusal costs a point too; an export costs more than strangers have here.
    for _ in 0..50 {
        from(&app, "203.0.113.11", None, "/graphql?query=%7B").await;
    }
    let refused = from(&app, "203.0.113.11", None, "/graphql?query=%7B").await;
    assert_eq!(error_code(&refused), "RATE_LIMITED");
    let export = from(&app, "203.0.113.12", None, "/v1/export/ratings.csv").await;
    assert_eq!((export.status.as_u16(), error_code(&export)), (400, json!("COST_EXCEEDED")));
    let rating = from(&app, "203.0.113.12", None, "/v1/ratings/nobody").await;
    assert_eq!(rating.status, 404);
    let unknown = from(&app, "203.0.113.12", Some("guess"), &uri).await;
    assert_eq!((unknown.status.as_u16(), error_code(&unknown)), (401, json!("UNAUTHENTICATED")));
    assert!(!unknown.text.contains("guess"));
    assert_eq!(from(&app, "203.0.113.12", None, "/health").await.status, 200);
}

#[tokio::test]
async fn an_answer_of_the_past_has_a_strong_tag_and_grows_not_with_the_log() {
    let (_database, pool) = world(2).await;
    let app = router(pool.clone(), ApiConfig::default());
    let query = "{ a: entities(asOf: { position: \"50\" }) { nodes { slug rating { label } } }
                   b: entities(asOf: { block: { chainId: 1, number: 600 } }) { totalCount } }";
    let uri = format!("/graphql?query={}", encoded(query));
    let before = get(&app, &uri, GRAPHQL).await;
    assert!(before.header(CACHE_CONTROL).contains("immutable"), "{}", before.text);
    let tag = before.header(ETAG);
    assert!(tag.starts_with('"') && tag.len() == 34, "{tag}");
    run(
        &pool,
        "UPDATE read_model.checkpoint SET canonical_position = 200, storage_position = 2000;
         INSERT INTO read_model.blocks VALUES (1, 2000, decode(repeat('ee', 32), 'hex'),
             1711800000, 200, decode(repeat('c0', 32), 'hex'))",
    )
    .await;
    let after = get(&app, &uri, GRAPHQL).await;
    assert_eq!(after.text, before.text);
    assert_eq!(after.header(ETAG), tag);
    // Compressed it is other bytes, and has another tag; each is known again.
    let zipped = Request::get(&uri).header(ACCEPT, GRAPHQL).header(ACCEPT_ENCODING, "gzip");
    let zipped = send(&app, zipped.body(Body::empty()).unwrap()).await;
    assert_eq!(zipped.header(CONTENT_ENCODING), "gzip");
    assert_eq!(zipped.header(ETAG), format!("{}-gzip\"", tag.trim_end_matches('"')));
    for known in [tag.to_owned(), zipped.header(ETAG).to_owned(), format!("\"x\", W/{tag}")] {
        let again = Request::get(&uri).header(ACCEPT, GRAPHQL).header(IF_NONE_MATCH, &known);
        let again = send(&app, again.body(Body::empty()).unwrap()).await;
        assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{known}");
    }
}

#[tokio::test]
async fn a_document_can_be_named_and_only_by_the_hash_of_its_text() {
    let (_database, pool) = world(2).await;
    let app = router(pool.clone(), ApiConfig::default());
    let hash = |text: &str| alloy::hex::encode(Sha256::digest(text));
    for (name, text) in OPERATIONS {
        let variables = encoded("{\"slug\":\"x\",\"position\":\"50\"}");
        let named = format!("/graphql?documentId=sha256:{}&variables={variables}", hash(text));
        let whole = format!("/graphql?query={}&variables={variables}", encoded(text));
        let (named, whole) = (get(&app, &named, GRAPHQL).await, get(&app, &whole, GRAPHQL).await);
        assert_eq!((named.status, &named.text), (whole.status, &whole.text), "{name}");
        assert_eq!(named.header(CACHE_CONTROL), whole.header(CACHE_CONTROL), "{name}");
    }
    let listed = get(&app, "/v1/operations", "*/*").await.json();
    assert_eq!(listed[0]["documentId"], format!("sha256:{}", hash(OPERATIONS[0].1)));

    // As Apollo's clients do it: name it, be told that nobody knows it, send it once, name it.
    let query = "{ entities(first: 7) { totalCount } }";
    let extensions = json!({ "persistedQuery": { "version": 1, "sha256Hash": hash(query) } });
    let uri = format!("/graphql?extensions={}", encoded(&extensions.to_string()));
    let unknown = get(&app, &uri, "application/json").await;
    assert_eq!(unknown.json()["errors"][0]["message"], "PersistedQueryNotFound");
    assert_eq!(error_code(&unknown), "PERSISTED_QUERY_NOT_FOUND");
    assert_eq!(unknown.header(CACHE_CONTROL), "no-store");
    let stolen = json!({ "query": "{ __typename }", "extensions": extensions }).to_string();
    let stolen = post(&app, "application/json", stolen).await;
    assert_eq!(error_code(&stolen), "GRAPHQL_VALIDATION_FAILED");
    let bad = hash("{ bad");
    let bad = json!({ "query": "{ bad", "documentId": bad }).to_string();
    assert_eq!(error_code(&post(&app, GRAPHQL, bad.clone()).await), "GRAPHQL_PARSE_FAILED");
    let sent = json!({ "query": query, "extensions": extensions }).to_string();
    assert_eq!(post(&app, GRAPHQL, sent).await.status, 200);
    let known = get(&app, &uri, GRAPHQL).await;
    assert_eq!(known.json()["data"]["entities"]["totalCount"], 6);
    let not_kept = json!({ "documentId": hash("{ bad") }).to_string();
    assert_eq!(error_code(&post(&app, GRAPHQL, not_kept).await), "PERSISTED_QUERY_NOT_FOUND");
    let nonsense = post(&app, GRAPHQL, r#"{"documentId":"leaderboard"}"#).await;
    assert_eq!(error_code(&nonsense), "GRAPHQL_VALIDATION_FAILED");
}

#[tokio::test]
async fn who_asks_after_a_change_is_told_of_it_however_lately_another_asked() {
    let (_database, pool) = world(2).await;
    let app = router(pool.clone(), ApiConfig::default());
    let body = r#"{"query":"{ status { head { position } } }"}"#;
    for position in 101..=140_u64 {
        let set = format!("UPDATE read_model.checkpoint SET canonical_position = {position}");
        run(&pool, &set).await;
        let replies = [post(&app, GRAPHQL, body).await, post(&app, GRAPHQL, body).await];
        for reply in &replies {
            let said = reply.json()["data"]["status"]["head"]["position"].clone();
            assert_eq!(said, position.to_string());
        }
        assert_eq!(replies[0].text, replies[1].text);
    }
    // Variables and names make another question.
    let named = r#"{"query":"query a { __typename } query b { status { __typename } }","operationName":"NAME"}"#;
    let (a, b) = (named.replace("NAME", "a"), named.replace("NAME", "b"));
    assert_ne!(post(&app, GRAPHQL, a).await.text, post(&app, GRAPHQL, b).await.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_generated_from_introspection_compiles() {
    let (_database, pool) = world(1).await;
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("schema.json");
    let mut schema = std::process::Command::new(env!("CARGO_BIN_EXE_assay"));
    std::fs::write(&kept, schema.args(["schema", "--json"]).output().unwrap().stdout).unwrap();
    let paths = [folder.path(), &kept].map(|path| path.display().to_string());
    let arguments = [vec![serve(&pool).await], paths.to_vec()].concat();
    let generated = node("codegen.mjs", arguments).await;
    assert!(generated["types"].as_u64().unwrap() > 100, "{generated}");
}

const PUBLISHER: &str = include_str!("../../../src/command/oracle/status.rs");

#[tokio::test]
async fn parquet_holds_what_the_lines_of_json_hold_through_several_pages() {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Field;
    let (_database, pool) = world(230).await;
    let app = router(pool.clone(), ApiConfig::default());
    for table in ["ratings", "actions", "slashings", "publications", "shares"] {
        let lines = get(&app, &format!("/v1/export/{table}.jsonl?at=90"), "*/*").await.text;
        let lines: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let uri = format!("/v1/export/{table}.parquet?at=90");
        let request = Request::get(uri).body(Body::empty()).unwrap();
        let response = tower::ServiceExt::oneshot(app.clone(), request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/vnd.apache.parquet");
        let file = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let file = tempfile_with(&file);
        let reader = SerializedFileReader::new(file).unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), lines.len(), "{table}");
        assert!(table != "ratings" || rows.len() > 200);
        for (row, line) in rows.iter().zip(&lines) {
            for (name, field) in row.get_column_iter() {
                let found = match field {
                    Field::Null => Value::Null,
                    Field::Long(number) => json!(number.to_string()),
                    Field::Bool(flag) => json!(flag.to_string()),
                    Field::Str(text) => json!(text),
                    other => panic!("{name} is {other:?}"),
                };
                let expected = match &line[name] {
                    Value::Null => Value::Null,
                    Value::String(text) => json!(text),
                    other => json!(other.to_string()),
                };
                assert_eq!(found, expected, "{table}: {name}");
            }
        }
    }
}

fn tempfile_with(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    file
}

/// The names of all metrics that are served.
async fn metrics(app: &Router) -> BTreeSet<String> {
    let text = get(app, "/metrics", "*/*").await.text;
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    names.map(str::to_owned).collect()
}

/// The words of an expression that are metrics of ours, without what histograms add.
fn named(expression: &str) -> impl Iterator<Item = String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("assay_")).map(|word| {
        let ends = ["_bucket", "_sum", "_count"];
        ends.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    })
}

#[tokio::test]
async fn what_grafana_shows_and_what_alerts_is_served() {
    let (database, pool) = world(3).await;
    assay::metrics::show();
    let app = router(pool.clone(), ApiConfig::default());
    post(&app, GRAPHQL, r#"{"query":"{ entities { totalCount } }"}"#).await;
    let served = metrics(&app).await;
    let read = |name: &str| {
        let path = format!("{}/contrib/grafana/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    };
    let rules = read("alerts.yml");
    let dashboard: Value = serde_json::from_str(&read("assay.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets: Vec<&Value> =
        panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten()).collect();
    let shown: Vec<&str> = targets.iter().filter_map(|one| one["expr"].as_str()).collect();
    assert!(rules.matches("- alert:").count() >= 8 && shown.len() >= 8);
    for expression in shown.into_iter().chain([rules.as_str()]) {
        for name in named(expression) {
            // The publisher's figures have a page of their own, /metrics/oracle.
            let of_publisher = name.strip_prefix("assay_oracle_");
            let is_served = served.contains(&name)
                || of_publisher.is_some_and(|rest| PUBLISHER.contains(&format!("\"{rest}\"")));
            assert!(is_served, "{name} is not served; there are {served:?}");
        }
    }
    let reader = assay::db::connect(&database.url).await.unwrap();
    let reader = reader.pool(assay::db::Role::Reader, 1).await.unwrap();
    let statements: Vec<&str> = targets.iter().filter_map(|one| one["rawSql"].as_str()).collect();
    assert!(statements.len() >= 3);
    for statement in statements {
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).fetch_all(&reader).await;
        let rows = rows.unwrap_or_else(|error| panic!("{statement}: {error}"));
        assert!(!rows.is_empty(), "the seed has something for {statement}");
    }
    for name in [
        "assay_log_position",
        "assay_ingest_lag_blocks",
        "assay_ingest_lag_seconds",
        "assay_reorgs_total",
        "assay_rating_run_seconds",
        "assay_rating_actions_total",
        "assay_action_latency_seconds",
        "assay_publication_age_seconds",
        "assay_publications_total",
        "assay_open_slashings",
        "assay_graphql_request_seconds",
        "assay_graphql_cost_points",
        "assay_webhook_deliveries_total",
        "assay_db_pool_connections",
        "assay_build_info",
    ] {
        assert!(served.contains(name), "{name}");
    }
    let text = get(&app, "/metrics", "*/*").await.text;
    assert!(text.contains("assay_open_slashings 10\n"), "{text}");
    let downgraded = text.lines().filter_map(|line| {
        line.strip_prefix("assay_rating_actions_total{type=\"downgraded\",trigger=\"")?
            .split_once("\"} ")
    });
    assert_eq!(downgraded.collect::<Vec<_>>(), [("epoch_end", "0"), ("event", "2")]);
}
