//! The query side over a real Postgres with a made-up record.

mod as_of;
mod hostile;
pub(crate) mod live;
mod operations;
mod pages;
pub(crate) mod seed;
mod server;

use serde_json::{Value, json};
use sqlx::PgPool;

/// The answer to a query that must have no errors.
async fn ask(pool: &PgPool, query: &str, variables: Value) -> Value {
    let response = ask_raw(pool, query, variables).await;
    assert_eq!(response.get("errors"), None, "{query}");
    response["data"].clone()
}

/// The whole response to a query.
async fn ask_raw(pool: &PgPool, query: &str, variables: Value) -> Value {
    let text = assay_graphql::execute(pool, query, variables).await;
    serde_json::from_str(&text).expect("a response is JSON")
}

/// The code of the only error.
async fn code(pool: &PgPool, query: &str) -> String {
    let response = ask_raw(pool, query, json!({})).await;
    let errors = response["errors"].as_array().cloned().unwrap_or_default();
    assert_eq!(errors.len(), 1, "{response}");
    errors[0]["extensions"]["code"].as_str().expect("every error has a code").to_owned()
}

#[test]
fn the_committed_schema_is_the_one_that_is_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/graphql/schema.graphql");
    let served = assay_graphql::sdl();
    if std::env::var_os("ASSAY_BLESS").is_some() {
        std::fs::write(path, &served).expect("the schema is written");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(served == committed, "graphql/schema.graphql is old: run again with ASSAY_BLESS=1");
}
