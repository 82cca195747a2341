//! The saved operations, single objects, and a database that knows nothing yet.

use serde_json::{Value, json};

use super::seed::{address, avs, operator, run, world};
use super::{ask, ask_raw, code};
use crate::support::database;

fn variables(name: &str) -> Value {
    match name {
        "why" | "history" | "verify" => json!({ "slug": operator(1).to_string() }),
        "as-of" => json!({ "slug": operator(1).to_string(), "chainId": 1, "block": 750,
            "recordedAt": "2026-01-01T05:30:00Z" }),
        "shares-on-a-day" => json!({ "chainId": 17000, "time": "2024-03-26T23:59:59Z" }),
        "exposures" => json!({ "chainId": 1, "avs": address(0xa) }),
        _ => json!({}),
    }
}

#[tokio::test]
async fn every_saved_operation_has_an_answer() {
    let (database, _) = world(30).await;
    // With the rights of the reader: nothing but SELECT on the read model.
    let database = assay::db::connect(&database.url).await.unwrap();
    let pool = database.pool(assay::db::Role::Reader, 2).await.unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/graphql/operations");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), assay_graphql::OPERATIONS.len());
    for (name, query) in assay_graphql::OPERATIONS {
        let response = ask_raw(&pool, query, variables(name)).await;
        assert_eq!(response.get("errors"), None, "{name}");
        for (field, value) in response["data"].as_object().unwrap() {
            assert_ne!(*value, Value::Null, "{name}: {field}");
            let is_empty = value.get("nodes").is_some_and(|nodes| *nodes == json!([]));
            assert!(!is_empty, "{name}: {field} is empty");
        }
        assert!(response["extensions"]["assay"]["cost"].as_u64().unwrap() <= 5_000, "{name}");
    }
}

#[tokio::test]
async fn the_points_of_an_attribution_sum_to_the_score() {
    let (_database, pool) = world(20).await;
    let query = "{ entities(first: 100, where: { isRated: true }) { nodes { rating {
        score attribution { points expectedLossPpt hazardPpt } expectedLossPpt
        interval { lowPpt highPpt bestGrade worstGrade } conservativeGrade } } } }";
    let data = ask(&pool, query, json!({})).await;
    let nodes = data["entities"]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 19);
    for node in nodes {
        let rating = &node["rating"];
        let blocks = rating["attribution"].as_array().unwrap();
        let sum: i64 = blocks.iter().map(|block| block["points"].as_i64().unwrap()).sum();
        assert_eq!(rating["score"], sum);
        let ppt = |value: &Value| value.as_str().unwrap().parse::<i64>().unwrap();
        let sum: i64 = blocks.iter().map(|block| ppt(&block["expectedLossPpt"])).sum();
        assert_eq!(ppt(&rating["expectedLossPpt"]), sum);
        assert!(ppt(&rating["interval"]["lowPpt"]) < ppt(&rating["interval"]["highPpt"]));
    }
}

#[tokio::test]
async fn every_object_is_found_again_by_its_id() {
    let (_database, pool) = world(3).await;
    let query = "{ entities(first: 100) { nodes { id rating { id } } }
        ratingActions { nodes { id } } slashings { nodes { id } } publications { nodes { id } } }";
    let data = ask(&pool, query, json!({})).await;
    let mut ids = Vec::new();
    collect_ids(&data, &mut ids);
    assert!(ids.len() > 20);
    for id in ids {
        let found =
            ask(&pool, "query($id: ID!) { node(id: $id) { id } }", json!({ "id": id })).await;
        assert_eq!(found["node"]["id"], *id);
    }
    assert_eq!(code(&pool, "{ node(id: \"what\") { id } }").await, "BAD_ARGUMENT");
}

fn collect_ids<'a>(value: &'a Value, ids: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            ids.extend(fields.get("id").and_then(Value::as_str));
            fields.values().for_each(|value| collect_ids(value, ids));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_ids(value, ids)),
        _ => {}
    }
}

#[tokio::test]
async fn an_entity_is_found_by_slug_key_and_address() {
    let (_database, pool) = world(2).await;
    let (slug, key) = (avs().to_string(), avs().key().to_string());
    let query = "query($slug: String, $key: Bytes32, $address: Address!) {
        bySlug: entity(slug: $slug) { __typename slug } byKey: entity(key: $key) { slug }
        avs(address: $address) { slug kind key profile { untrustedMetadataUri } }
        operator(address: $address) { slug }
        operatorSet(avs: $address, operatorSetId: 3) { operatorSetId avs { slug } }
        lrt(address: \"0x0000000000000000000000000000000000000002\") { kind rating { label } }
        unknown: entity(slug: \"operator-1-0x00\") { slug } }";
    let variables = json!({ "slug": slug, "key": key, "address": avs().address });
    let data = ask(&pool, query, variables).await;
    assert_eq!(data["bySlug"], json!({ "__typename": "Avs", "slug": slug }));
    assert_eq!(data["byKey"]["slug"], slug);
    assert_eq!(data["avs"]["key"], key);
    assert_eq!(data["operator"], Value::Null);
    assert_eq!(data["operatorSet"]["avs"]["slug"], slug);
    assert_eq!(data["lrt"], json!({ "kind": "LRT", "rating": null }));
    assert_eq!(data["unknown"], Value::Null);
    assert_eq!(code(&pool, "{ entity { slug } }").await, "BAD_ARGUMENT");
}

#[tokio::test]
async fn slashes_that_are_not_final_are_shown_as_such_and_only_now() {
    let (_database, pool) = world(3).await;
    let list = "slashings { totalCount nodes { isProvisional position untrustedDescription
        strategies { wadSlashed allocationSlashedWad } } }";
    let now = ask(&pool, &format!("{{ {list} }}"), json!({})).await["slashings"].clone();
    assert_eq!(now["totalCount"], 10);
    assert_eq!(now["nodes"][0]["isProvisional"], true);
    assert_eq!(now["nodes"][0]["position"], Value::Null);
    assert_eq!(now["nodes"][1]["position"], "100");
    assert_eq!(
        now["nodes"][1]["strategies"][1],
        json!({ "wadSlashed": "1", "allocationSlashedWad": null })
    );
    assert_eq!(now["nodes"][1]["untrustedDescription"], "Join us at \\u{202e}example");
    let list = list.replace("slashings {", "slashings(asOf: { position: \"100\" }) {");
    let then = ask(&pool, &format!("{{ {list} }}"), json!({})).await["slashings"].clone();
    assert_eq!(then["totalCount"], 9);
}

#[tokio::test]
async fn a_database_that_knows_nothing_gives_empty_lists_and_clear_errors() {
    let database = database().await;
    let pool = database.pool().await;
    let query = "{ entities { totalCount nodes { slug } } slashings { totalCount }
        ratingActions { totalCount } operatorShares { totalCount } publications { totalCount }
        snapshot { position block { number } methodologyHash }
        status { chains { chainId } updatedAt head { position } }
        operator(address: \"0x0000000000000000000000000000000000000001\") { slug } }";
    let response = ask_raw(&pool, query, json!({})).await;
    assert_eq!(response.get("errors"), None);
    assert_eq!(response["data"]["entities"], json!({ "totalCount": 0, "nodes": [] }));
    assert_eq!(response["data"]["snapshot"]["position"], "0");
    assert_eq!(response["data"]["operator"], Value::Null);
    for as_of in ["position: \"1\"", "time: \"2024-01-01T00:00:00Z\""] {
        let query = format!("{{ snapshot(asOf: {{ {as_of} }}) {{ position }} }}");
        assert_eq!(code(&pool, &query).await, "BEFORE_FIRST_POSITION");
    }
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_an_error_and_not_a_panic() {
    let (_database, pool) = world(2).await;
    run(&pool, "UPDATE read_model.assessments SET attribution = '{}', outlook = 7").await;
    let field =
        |field: &str| format!("{{ entity(slug: \"{}\") {{ rating {{ {field} }} }} }}", operator(1));
    assert_eq!(code(&pool, &field("attribution { points }")).await, "INTERNAL");
    assert_eq!(code(&pool, &field("outlook")).await, "INTERNAL");
}
