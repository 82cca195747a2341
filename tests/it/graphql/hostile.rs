//! Documents written to hurt: refused, with a code, quickly.

use std::time::{Duration, Instant};

use super::code;
use super::live::{node, serve};
use super::seed::world;

/// What is not linear in the document takes hours; how fast it is, `benches/abuse.sh` measures.
const QUICKLY: Duration = Duration::from_secs(5);

#[tokio::test]
async fn hostile_documents_are_refused_quickly() {
    let (_database, pool) = world(1).await;
    let aliases = |n: usize, field: &str| {
        let fields: Vec<_> = (0..n).map(|i| format!("a{i}: {field}")).collect();
        format!("{{ {} }}", fields.join(" "))
    };
    let nested = |n: usize, open: &str| format!("{{{}slug{}}}", open.repeat(n), "}".repeat(n));
    let doubling: String =
        (0..60).map(|i| format!("fragment f{i} on Query {{ ...f{0} ...f{0} }} ", i + 1)).collect();
    let wide = "entities(first: 100) { nodes { ratingHistory(first: 100) { nodes { id } } } }";
    let strings = format!("{{ entity(slug: \"{}\") {{ slug }} }}", "\\u0041".repeat(10_000));
    for (name, query, expected) in [
        ("deep", nested(16, "entity(slug:\"x\"){ ...on Operator { "), "GRAPHQL_PARSE_FAILED"),
        ("deep fields", nested(30, "a{"), "DEPTH_EXCEEDED"),
        ("very deep", nested(30_000, "a{"), "COST_EXCEEDED"),
        (
            "deep lists",
            format!("{{ a(b: {}{}) }}", "[".repeat(9_000), "]".repeat(9_000)),
            "COST_EXCEEDED",
        ),
        ("aliases", aliases(31, "status { updatedAt }"), "COST_EXCEEDED"),
        ("many aliases", aliases(5_000, "__typename"), "COST_EXCEEDED"),
        ("pages of pages", format!("{{ {wide} }}"), "COST_EXCEEDED"),
        (
            "a huge page",
            "{ entities(first: 2147483647) { nodes { slug } } }".to_owned(),
            "PAGE_TOO_LARGE",
        ),
        (
            "a larger page",
            "{ entities(first: 99999999999) { totalCount } }".to_owned(),
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "a cycle",
            "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }".to_owned(),
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "a cycle of one",
            "{ ...a } fragment a on Query { status { ...a } }".to_owned(),
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "doubling",
            format!("{{ ...f0 }} {doubling} fragment f60 on Query {{ __typename }}"),
            "COST_EXCEEDED",
        ),
        ("a long name", format!("{{ {} }}", "x".repeat(100_000)), "COST_EXCEEDED"),
        (
            "directives",
            format!("{{ __typename {} }}", "@include(if: true) ".repeat(2_000)),
            "COST_EXCEEDED",
        ),
        ("no operation", "fragment a on Query { __typename }".to_owned(), "GRAPHQL_PARSE_FAILED"),
        ("nothing", String::new(), "GRAPHQL_PARSE_FAILED"),
        ("bytes", "\u{0}\u{feff}\u{202e}".repeat(1_000), "COST_EXCEEDED"),
        ("an unknown field", "{ secrets }".to_owned(), "GRAPHQL_VALIDATION_FAILED"),
        ("a mutation", "mutation { drop }".to_owned(), "GRAPHQL_VALIDATION_FAILED"),
        ("a subscription", "subscription { all }".to_owned(), "GRAPHQL_VALIDATION_FAILED"),
        ("SQL", "{ entities(after: \"' OR 1=1 --\") { totalCount } }".to_owned(), "BAD_CURSOR"),
    ] {
        let started = Instant::now();
        assert_eq!(code(&pool, &query).await, expected, "{name}");
        assert!(started.elapsed() < QUICKLY, "{name} took {:?}", started.elapsed());
    }
    // A long string is a long string: there is no such entity.
    let answer = super::ask(&pool, &strings, serde_json::json!({})).await;
    assert_eq!(answer["entity"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_over_a_socket_are_each_refused_with_a_code() {
    let (_database, pool) = world(1).await;
    let told = node("abuse.mjs", vec![serve(&pool).await]).await;
    let refusals = told["refusals"].as_array().unwrap();
    assert!(refusals.len() >= 30, "{}", refusals.len());
    for one in refusals {
        assert!(one["code"].is_string(), "{one}");
        // What is refused says so in a few words, however long the question was.
        assert!(one["bytes"].as_u64().unwrap() < 10_000, "{one}");
    }
    assert_eq!(told["works"], serde_json::json!([200, 200]));
}
