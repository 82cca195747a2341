//! Answers as of a position, a block, a time, and a moment of Assay's own clock.

use serde_json::{Value, json};

use super::seed::{address, holesky_operator, operator, run, world};
use super::{ask, ask_raw, code};

/// The grade of operator 1 at a step, as the seed makes it.
fn grade_at(step: i64) -> &'static str {
    let labels = [
        "AAA", "AA+", "AA", "AA-", "A+", "A", "A-", "BBB+", "BBB", "BBB-", "BB+", "BB", "BB-",
        "B+", "B", "B-", "CCC+", "CCC", "CCC-",
    ];
    labels[usize::try_from((7 + step) % 18).unwrap()]
}

async fn rating_as_of(pool: &sqlx::PgPool, as_of: &str) -> Value {
    let slug = operator(1).to_string();
    let argument = if as_of.is_empty() { String::new() } else { format!(", asOf: {{ {as_of} }}") };
    let query =
        format!("{{ entity(slug: \"{slug}\"{argument}) {{ rating {{ grade score position }} }} }}");
    ask(pool, &query, json!({})).await["entity"]["rating"].clone()
}

#[tokio::test]
async fn a_rating_is_the_one_in_force_at_that_point() {
    let (_database, pool) = world(3).await;
    for (as_of, step) in [
        ("", 10),
        ("position: \"100\"", 10),
        ("position: \"99\"", 9),
        ("position: \"10\"", 1),
        // Block 549 is before the assessment of step 5 at 550, which rests on facts of block 500.
        ("block: { chainId: 1, number: 550 }", 5),
        ("block: { chainId: 1, number: 549 }", 4),
        ("block: { chainId: 1, number: 500 }", 4),
        (&format!("blockHash: \"0x{:064x}\"", 5), 4),
        // A block of another chain caps the position alone: facts of step 5 lie beyond it.
        ("block: { chainId: 17000, number: 35 }", 4),
        // The assessment's own time counts, to the second.
        ("time: \"2024-03-26T20:10:00Z\"", 5),
        ("time: \"2024-03-26T20:09:59Z\"", 4),
        ("time: \"2024-03-26T22:09:59+02:00\"", 4),
    ] {
        let rating = rating_as_of(&pool, as_of).await;
        assert_eq!(rating["grade"], grade_at(step), "{as_of}");
        assert_eq!(rating["position"], (10 * step).to_string(), "{as_of}");
    }
}

#[tokio::test]
async fn what_was_said_is_kept_though_the_working_was_made_anew() {
    let (_database, pool) = world(3).await;
    // Step 5 was said at 05:00, and stands.
    let rating = rating_as_of(&pool, "recordedAt: \"2026-01-01T05:00:00Z\"").await;
    assert_eq!(rating["grade"], grade_at(5));
    // Step 1 was said at 01:00 with a score of 5,000 (0x1388), which is not today's.
    let query = format!(
        "{{ entity(slug: \"{}\", asOf: {{ recordedAt: \"2026-01-01T04:59:59.999999Z\" }}) {{
            rating {{ grade score seq outlook attribution {{ points }} assessmentHash }}
            ratingActions {{ nodes {{ kind rating {{ score }} }} }} }} }}",
        operator(1)
    );
    let entity = &ask(&pool, &query, json!({})).await["entity"];
    assert_eq!(
        entity["rating"],
        json!({ "grade": grade_at(1), "score": 5000, "seq": "1", "outlook": null,
                "attribution": null, "assessmentHash": null })
    );
    assert_eq!(entity["ratingActions"]["nodes"], json!([{ "kind": "ASSIGNED", "rating": null }]));
    // Operator 2's first word still stands, so its working is there.
    let query = query.replace(&operator(1).to_string(), &operator(2).to_string());
    let entity = &ask(&pool, &query, json!({})).await["entity"];
    assert_ne!(entity["rating"]["attribution"], Value::Null);
    assert_ne!(entity["ratingActions"]["nodes"][0]["rating"], Value::Null);
}

#[tokio::test]
async fn points_outside_the_record_are_refused_with_their_code() {
    let (_database, pool) = world(1).await;
    for (as_of, expected) in [
        ("position: \"101\"", "POSITION_IN_FUTURE"),
        ("position: \"0\"", "BEFORE_FIRST_POSITION"),
        ("block: { chainId: 1, number: 1061 }", "POSITION_IN_FUTURE"),
        ("block: { chainId: 1, number: 99 }", "BEFORE_FIRST_POSITION"),
        ("block: { chainId: 5, number: 99 }", "NOT_FOUND"),
        (&format!("blockHash: \"0x{:064x}\"", 77), "NOT_FOUND"),
        ("time: \"2024-03-25T00:00:00Z\"", "BEFORE_FIRST_POSITION"),
        ("time: \"2999-01-01T00:00:00Z\"", "POSITION_IN_FUTURE"),
        ("recordedAt: \"2025-12-31T00:00:00Z\"", "BEFORE_FIRST_POSITION"),
        ("recordedAt: \"2999-01-01T00:00:00Z\"", "POSITION_IN_FUTURE"),
        ("position: \"1\", time: \"2024-03-26T00:00:00Z\"", "GRAPHQL_VALIDATION_FAILED"),
        ("time: \"yesterday\"", "GRAPHQL_VALIDATION_FAILED"),
    ] {
        let query = format!("{{ snapshot(asOf: {{ {as_of} }}) {{ position }} }}");
        assert_eq!(code(&pool, &query).await, expected, "{as_of}");
    }
    // The last final block may be asked for though it holds no fact.
    let query = "{ snapshot(asOf: { block: { chainId: 1, number: 1060 } }) { position } }";
    assert_eq!(ask(&pool, query, json!({})).await["snapshot"]["position"], "100");
}

#[tokio::test]
async fn shares_as_of_the_end_of_a_day_are_carried_forward() {
    let (_database, pool) = world(1).await;
    let query = "query($operator: Address!, $time: DateTime!) {
        operator(chainId: 17000, address: $operator, asOf: { time: $time }) {
            shares(strategy: \"0x000000000000000000000000000000000000005C\") {
                totalCount nodes { strategy shares block { number } } } }
        operatorShares(where: { chainId: 17000, operator: $operator }, asOf: { time: $time }) {
            nodes { operatorAddress shares operator { slug } } } }";
    // Holesky's steps are at 3:50, 7:50, … 23:50 of the 26th: six of them, and then four more.
    for (time, step) in [
        ("2024-03-26T23:59:59Z", 6),
        ("2024-03-26T23:49:59Z", 5),
        ("2024-03-27T03:50:00Z", 7),
        ("2024-06-01T00:00:00Z", 10),
    ] {
        let variables = json!({ "operator": holesky_operator().address, "time": time });
        let data = ask(&pool, query, variables).await;
        let shares = &data["operator"]["shares"];
        assert_eq!(shares["totalCount"], 1);
        assert_eq!(shares["nodes"][0]["shares"], (100 * step).to_string(), "{time}");
        assert_eq!(shares["nodes"][0]["block"]["number"], 7 * step);
        let listed = &data["operatorShares"]["nodes"];
        assert_eq!(listed[0]["shares"], (100 * step).to_string());
        assert_eq!(listed[0]["operator"]["slug"], holesky_operator().to_string());
    }
}

#[tokio::test]
async fn memberships_allocations_and_terms_are_those_of_their_time() {
    let (_database, pool) = world(4).await;
    let query = "query($avs: Address!, $at: LogPosition!) {
        avs(address: $avs, asOf: { position: $at }) { operatorSets { nodes { slug
            terms { redistributionRecipient }
            members { nodes { isMember slashableUntilBlock operator { slug } } }
            allocations { totalCount nodes { currentMagnitudeWad pendingMagnitudeWad effectBlock } }
        } } } }";
    let set_at = async |position: &str| {
        let variables = json!({ "avs": address(0xa), "at": position });
        ask(&pool, query, variables).await["avs"]["operatorSets"]["nodes"][0].clone()
    };
    let before = set_at("19").await;
    assert_eq!(before["terms"]["redistributionRecipient"], Value::Null);
    assert!(before["members"]["nodes"].as_array().unwrap().iter().all(|m| m["isMember"] == true));
    assert_eq!(before["allocations"]["totalCount"], 4);
    let first = &before["allocations"]["nodes"][0];
    assert_eq!(first["currentMagnitudeWad"], "100000000000000000");
    assert_eq!(first["pendingMagnitudeWad"], Value::Null);
    let after = set_at("20").await;
    assert_ne!(after["terms"]["redistributionRecipient"], Value::Null);
    let members = after["members"]["nodes"].as_array().unwrap();
    assert_eq!(members.iter().filter(|member| member["isMember"] == true).count(), 2);
    assert_eq!(after["allocations"]["nodes"][3]["effectBlock"], 999);
}

#[tokio::test]
async fn a_request_without_as_of_is_pinned_and_says_where() {
    let (_database, pool) = world(2).await;
    let response =
        ask_raw(&pool, "{ entities { totalCount } status { updatedAt } }", json!({})).await;
    let said = &response["extensions"]["assay"];
    assert_eq!(said["position"], "100");
    assert_eq!(said["block"], json!({ "chainId": 1, "number": 1000 }));
    assert_eq!(said["time"], "2024-03-27T16:00:00Z");
    let query = "{ snapshot(asOf: { position: \"57\" }) { block { chainId number } } }";
    let response = ask_raw(&pool, query, json!({})).await;
    assert_eq!(response["extensions"]["assay"]["position"], "57");
    assert_eq!(
        response["extensions"]["assay"]["block"],
        json!({ "chainId": 17000, "number": 42 })
            .as_object()
            .map(|_| json!({ "chainId": 17000, "number": 42 }))
            .unwrap()
    );
    assert_eq!(response["data"]["snapshot"]["block"]["number"], 42);
}

#[tokio::test]
async fn an_answer_of_the_past_is_the_same_when_the_log_has_grown() {
    let (_database, pool) = world(5).await;
    let query = "{ entities(asOf: { position: \"60\" }) { totalCount nodes { slug
        rating { label score position } ratingHistory(first: 3) { totalCount nodes { position } }
        ... on Operator { shares { nodes { shares } } slashings { nodes { position } } } } } }";
    let before = ask(&pool, query, json!({})).await;
    run(
        &pool,
        "UPDATE read_model.checkpoint SET canonical_position = 200;
         INSERT INTO read_model.ratings SELECT entity_id, position + 100, block_number + 1000,
            block_time + 144000, grade, not_rated_reason, score, expected_loss_ppt, low_ppt,
            high_ppt, best_grade, worst_grade, conservative_grade, coverage_ppm, sufficiency_ppm,
            outlook, is_watch_negative, attribution, rationale, assessment_hash, NULL, NULL
            FROM read_model.ratings;
         INSERT INTO read_model.operator_shares SELECT chain_id, operator, strategy,
            position + 100, block_number + 1000, block_time + 144000, shares + 1
            FROM read_model.operator_shares",
    )
    .await;
    assert_eq!(ask(&pool, query, json!({})).await, before);
}
