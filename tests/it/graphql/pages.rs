//! Pages: each row exactly once, in order, whatever the page size and the direction.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::seed::{avs, operator, operator_set, run, world};
use super::{ask, ask_raw, code};

/// A list of the schema: how to ask for it with `ARGS`, where it is, and what tells its rows apart.
struct List {
    query: String,
    path: &'static str,
    row: &'static str,
}

fn lists() -> Vec<List> {
    let below = |slug: String, field: &str, row: &str, on: &str| {
        format!(
            "{{ entity(slug: \"{slug}\") {{ ...on {on} {{ {field}(ARGS) {{ totalCount
            edges {{ cursor node {{ {row} }} }} pageInfo {{ hasNextPage hasPreviousPage
            startCursor endCursor }} }} }} }} }}"
        )
    };
    let root = |field: &str, row: &str, extra: &str| {
        format!(
            "{{ {field}(ARGS {extra}) {{ totalCount edges {{ cursor node {{ {row} }} }}
            pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
        )
    };
    let op = || operator(1).to_string();
    let mut lists = Vec::new();
    let mut add = |query, path, row| lists.push(List { query, path, row });
    for order in [
        "",
        "orderBy: { field: GRADE, direction: DESC }",
        "orderBy: { field: EXPECTED_LOSS }",
        "orderBy: { field: EXPECTED_LOSS, direction: DESC }",
        "orderBy: { field: POSITION }, where: { kind: [OPERATOR] }",
        "asOf: { recordedAt: \"2026-01-01T02:00:00Z\" }",
        "asOf: { position: \"55\" }",
    ] {
        add(root("entities", "slug", order), "/entities", "slug");
    }
    add(root("ratingActions", "id", ""), "/ratingActions", "id");
    add(root("slashings", "id", ""), "/slashings", "id");
    add(root("slashings", "id", "where: { isRedistributed: true }"), "/slashings", "id");
    add(root("operatorShares", "operatorAddress strategy", ""), "/operatorShares", "");
    add(root("publications", "id", ""), "/publications", "id");
    add(root("attestations", "digest", ""), "/attestations", "digest");
    let changes = "/governanceChanges";
    add(root("governanceChanges", "position", ""), changes, "position");
    let of_set = format!("entity: \"{}\"", operator_set());
    add(root("governanceChanges", "position", &of_set), changes, "position");
    add(below(op(), "attestations", "digest", "Operator"), "/entity/attestations", "digest");
    add(below(op(), "ratingHistory", "id", "Operator"), "/entity/ratingHistory", "id");
    add(below(op(), "ratingActions", "id", "Operator"), "/entity/ratingActions", "id");
    add(below(op(), "publications", "id", "Operator"), "/entity/publications", "id");
    add(below(op(), "shares", "strategy", "Operator"), "/entity/shares", "strategy");
    add(below(op(), "slashings", "id", "Operator"), "/entity/slashings", "id");
    add(below(op(), "allocations", "strategy", "Operator"), "/entity/allocations", "strategy");
    add(below(op(), "memberships", "avsAddress", "Operator"), "/entity/memberships", "");
    let (set, own) = (operator_set().to_string(), avs().to_string());
    add(below(set.clone(), "members", "operatorAddress", "OperatorSet"), "/entity/members", "");
    add(
        below(set.clone(), "allocations", "operatorAddress", "OperatorSet"),
        "/entity/allocations",
        "",
    );
    add(below(set, "slashings", "id", "OperatorSet"), "/entity/slashings", "id");
    add(below(own.clone(), "operatorSets", "slug", "Avs"), "/entity/operatorSets", "slug");
    add(below(own, "slashings", "id", "Avs"), "/entity/slashings", "id");
    lists
}

async fn page(pool: &PgPool, list: &List, args: &str) -> Value {
    let query = list.query.replace("ARGS", args);
    let data = ask(pool, &query, json!({})).await;
    data.pointer(list.path).cloned().unwrap_or_else(|| panic!("{query}: {data}"))
}

fn rows(page: &Value) -> Vec<String> {
    let edges = page["edges"].as_array().unwrap();
    edges.iter().map(|edge| edge["node"].to_string()).collect()
}

#[tokio::test]
async fn every_walk_gives_each_row_once_and_in_order() {
    let (_database, pool) = world(9).await;
    for list in lists() {
        let whole = page(&pool, &list, "first: 100").await;
        let expected = rows(&whole);
        let mut distinct = expected.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), expected.len(), "{}: a row twice", list.query);
        assert!(!expected.is_empty(), "{}: the seed fills every list", list.query);
        assert_eq!(whole["totalCount"], expected.len(), "{}", list.query);
        assert!(list.row.is_empty() || whole["edges"][0]["node"][list.row].is_string());
        for size in [1, 3, 8] {
            assert_eq!(forward(&pool, &list, size).await, expected, "{} by {size}", list.query);
            assert_eq!(backward(&pool, &list, size).await, expected, "{} by -{size}", list.query);
        }
    }
}

/// Relay's algorithm over a whole list, by its specification: edges after and before cursors, then
/// the first or the last of them.
fn relay(all: &[Value], after: Option<usize>, before: Option<usize>, take: Take) -> Vec<String> {
    let from = after.map_or(0, |at| at + 1);
    let edges = all.get(from..before.unwrap_or(all.len())).unwrap_or_default();
    let edges = match take {
        Take::First(count) => &edges[..count.min(edges.len())],
        Take::Last(count) => &edges[edges.len().saturating_sub(count)..],
    };
    edges.iter().map(|edge| edge["node"].to_string()).collect()
}

#[derive(Debug, Clone, Copy)]
enum Take {
    First(usize),
    Last(usize),
}

#[tokio::test]
async fn any_page_between_any_cursors_is_the_one_that_relay_specifies() {
    use proptest::strategy::{Strategy, ValueTree};
    let (_database, pool) = world(9).await;
    let mut runner = proptest::test_runner::TestRunner::default();
    let point = || proptest::option::of(0.0..1.0_f64);
    let case = (point(), point(), 1_usize..12, proptest::bool::ANY);
    for list in lists() {
        let whole = page(&pool, &list, "first: 100").await;
        let all = whole["edges"].as_array().unwrap();
        for _ in 0..12 {
            let (after, before, size, is_first) = case.new_tree(&mut runner).unwrap().current();
            let place = |point: f64| (point * all.len() as f64) as usize;
            let (after, before) = (after.map(place), before.map(place));
            let take = if is_first { Take::First(size) } else { Take::Last(size) };
            let mut args = match take {
                Take::First(size) => format!("first: {size}"),
                Take::Last(size) => format!("last: {size}"),
            };
            for (name, place) in [("after", after), ("before", before)] {
                if let Some(place) = place {
                    args += &format!(", {name}: {}", all[place]["cursor"]);
                }
            }
            let found = page(&pool, &list, &args).await;
            let expected = relay(all, after, before, take);
            assert_eq!(rows(&found), expected, "{} with {args}", list.query);
            let edges = found["edges"].as_array().unwrap();
            for (name, edge) in [("startCursor", edges.first()), ("endCursor", edges.last())] {
                let cursor = edge.map_or(&Value::Null, |edge| &edge["cursor"]);
                assert_eq!(found["pageInfo"][name], *cursor, "{args}");
            }
        }
    }
}

async fn forward(pool: &PgPool, list: &List, size: usize) -> Vec<String> {
    let (mut found, mut args) = (Vec::new(), format!("first: {size}"));
    loop {
        let page = page(pool, list, &args).await;
        assert!(rows(&page).len() <= size);
        assert_eq!(page["pageInfo"]["hasPreviousPage"], !found.is_empty());
        found.extend(rows(&page));
        if page["pageInfo"]["hasNextPage"] == false {
            return found;
        }
        args = format!("first: {size}, after: {}", page["pageInfo"]["endCursor"]);
    }
}

async fn backward(pool: &PgPool, list: &List, size: usize) -> Vec<String> {
    let (mut found, mut args) = (Vec::new(), format!("last: {size}"));
    loop {
        let page = page(pool, list, &args).await;
        let mut rows = rows(&page);
        rows.extend(found);
        found = rows;
        if page["pageInfo"]["hasPreviousPage"] == false {
            return found;
        }
        args = format!("last: {size}, before: {}", page["pageInfo"]["startCursor"]);
    }
}

#[tokio::test]
async fn a_walk_stays_where_it_began_while_the_log_grows() {
    let (_database, pool) = world(9).await;
    let slug = |page: &Value| {
        page["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| node["slug"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let query = "query($after: String) { entities(first: 4, after: $after) {
        nodes { slug rating { position } } pageInfo { endCursor } } }";
    let whole = ask(&pool, "{ entities { nodes { slug } } }", json!({})).await;
    let first = ask(&pool, query, json!({})).await["entities"].clone();
    // Everyone's grade changes, so the order does too.
    run(
        &pool,
        "UPDATE read_model.checkpoint SET canonical_position = 110;
         INSERT INTO read_model.ratings SELECT entity_id, 110, 1150, block_time + 9000,
            20 - grade, not_rated_reason, 18000 - score, expected_loss_ppt, low_ppt, high_ppt,
            best_grade, worst_grade, conservative_grade, coverage_ppm, sufficiency_ppm, outlook,
            is_watch_negative, attribution, rationale, assessment_hash, NULL, NULL
            FROM read_model.ratings WHERE position = 100",
    )
    .await;
    let mut found = slug(&first);
    let mut after = first["pageInfo"]["endCursor"].clone();
    for _ in 0..4 {
        let page = ask(&pool, query, json!({ "after": after })).await["entities"].clone();
        for node in page["nodes"].as_array().unwrap() {
            assert_ne!(node["rating"]["position"], "110", "a page of another position");
        }
        found.extend(slug(&page));
        after = match &page["pageInfo"]["endCursor"] {
            Value::Null => break,
            cursor => cursor.clone(),
        };
    }
    assert_eq!(found, slug(&whole["entities"]));
}

#[tokio::test]
async fn bad_pages_and_cursors_are_refused_with_their_code() {
    let (_database, pool) = world(5).await;
    let cursor = async |query: &str, path: &str| {
        let data = ask(&pool, query, json!({})).await;
        data.pointer(path).and_then(Value::as_str).unwrap().to_owned()
    };
    let by_grade = "{ entities(first: 1) { pageInfo { endCursor } } }";
    let by_grade = cursor(by_grade, "/entities/pageInfo/endCursor").await;
    let shares = "{ operatorShares(first: 1) { pageInfo { endCursor } } }";
    let shares = cursor(shares, "/operatorShares/pageInfo/endCursor").await;
    for (args, expected) in [
        ("first: 101".to_owned(), "PAGE_TOO_LARGE"),
        ("last: 1000000".to_owned(), "PAGE_TOO_LARGE"),
        ("first: -1".to_owned(), "BAD_ARGUMENT"),
        ("first: 1, last: 1".to_owned(), "BAD_ARGUMENT"),
        ("after: \"what\"".to_owned(), "BAD_CURSOR"),
        ("after: \"e30\"".to_owned(), "BAD_CURSOR"),
        (format!("after: \"{shares}\""), "BAD_CURSOR"),
        (format!("after: \"{by_grade}\", orderBy: {{ field: POSITION }}"), "BAD_CURSOR"),
        (format!("after: \"{by_grade}\", asOf: {{ position: \"40\" }}"), "BAD_CURSOR"),
    ] {
        let query = format!("{{ entities({args}) {{ nodes {{ slug }} }} }}");
        assert_eq!(code(&pool, &query).await, expected, "{args}");
    }
    let hint = "{ entities(first: 101) { nodes { slug } } }";
    let response = ask_raw(&pool, hint, json!({})).await;
    assert!(response["errors"][0]["extensions"]["hint"].as_str().unwrap().contains("endCursor"));
    run(&pool, "UPDATE read_model.checkpoint SET revision = 2").await;
    let query = format!("{{ entities(after: \"{by_grade}\") {{ nodes {{ slug }} }} }}");
    assert_eq!(code(&pool, &query).await, "BAD_CURSOR");
}

#[tokio::test]
async fn the_number_of_statements_does_not_depend_on_the_number_of_rows() {
    let (_database, pool) = world(110).await;
    let query = "query($first: Int) { entities(first: $first) { totalCount nodes { slug
        attestations(first: 2) { totalCount nodes { standing subjects { slug } } }
        rating { label score lossDistribution { worstBp } publications { seq } entity { slug } block { number } }
        ratingBefore(days: 1) { score } ratingHistory(first: 2) { nodes { score } }
        ratingActions(first: 2) { totalCount nodes { kind rating { score }
            previous { kind rating { score } } } }
        ... on Operator { profile { allocationDelayBlocks }
            shares(first: 2) { nodes { shares operator { slug } } }
            allocations(first: 2) { nodes { operatorSet { slug avs { slug } } } } }
        } } }";
    let mut counts = Vec::new();
    for first in [1, 25, 60] {
        let response = ask_raw(&pool, query, json!({ "first": first })).await;
        assert_eq!(response.get("errors"), None);
        let nodes = response["data"]["entities"]["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), first);
        counts.push(response["extensions"]["assay"]["statements"].as_u64().unwrap());
    }
    assert_eq!(counts[1], counts[2], "{counts:?}");
    assert!(counts[1] <= 25, "{counts:?}");
    let slashings = "query($first: Int) { slashings(first: $first) { nodes { isOpen
        slashedShares { shares } operator { slug } } } }";
    for first in [2, 10] {
        let response = ask_raw(&pool, slashings, json!({ "first": first })).await;
        assert_eq!(response["data"]["slashings"]["nodes"].as_array().unwrap().len(), first);
        // Position, page, shares, operators.
        assert_eq!(response["extensions"]["assay"]["statements"], 4);
    }
    let leaderboard = include_str!("../../../graphql/operations/leaderboard.graphql");
    for first in [25, 100] {
        let response = ask_raw(&pool, leaderboard, json!({ "first": first })).await;
        let statements = response["extensions"]["assay"]["statements"].as_u64().unwrap();
        // Position, page, count, ratings, their blocks' entities, names, those of tokens.
        assert!(statements <= 7, "{statements}");
    }
}

#[tokio::test]
async fn filters_keep_what_they_say() {
    let (_database, pool) = world(20).await;
    let grades = async |filter: &str| {
        let query = format!(
            "{{ entities(first: 100, where: {{ {filter} }}) {{ nodes {{ kind
            rating {{ grade label score notRatedReason isProvisional outlook }} }} }} }}"
        );
        ask(&pool, &query, json!({})).await["entities"]["nodes"].as_array().unwrap().clone()
    };
    let better = grades("grade: { worst: \"A-\" }").await;
    assert!(!better.is_empty());
    assert!(better.iter().all(|node| node["rating"]["score"].as_i64().unwrap() <= 7 * 900));
    let worse = grades("grade: { best: \"BBB+\" }").await;
    assert_eq!(better.len() + worse.len(), 19);
    let unrated = grades("isRated: false, kind: [OPERATOR]").await;
    // Operator 0, and the one on Holesky that nobody has assessed.
    assert_eq!(unrated.len(), 2);
    let assessed = unrated.iter().find(|node| !node["rating"].is_null()).unwrap();
    assert_eq!(assessed["rating"]["label"], "NR");
    assert_eq!(assessed["rating"]["grade"], Value::Null);
    assert_eq!(assessed["rating"]["score"], Value::Null);
    assert_eq!(assessed["rating"]["notRatedReason"], "coverage below 25 %");
    let all = grades("").await;
    let score = |node: &Value| node["rating"]["score"].as_i64().unwrap_or(i64::MAX);
    assert!(all.is_sorted_by_key(score), "the safest first, those without a grade last");
    let provisional = all.iter().filter(|node| node["rating"]["isProvisional"] == true);
    for node in provisional.filter(|node| !node["rating"]["grade"].is_null()) {
        assert!(node["rating"]["label"].as_str().unwrap().ends_with(" (p)"));
    }
    let negative = grades("outlook: [NEGATIVE]").await;
    assert!(!negative.is_empty());
    assert!(negative.iter().all(|node| node["rating"]["outlook"] == "NEGATIVE"));
    let filter = format!(
        "address: [{}]",
        vec!["\"0x000000000000000000000000000000000000000A\""; 101].join(",")
    );
    let query = format!("{{ entities(where: {{ {filter} }}) {{ nodes {{ slug }} }} }}");
    assert_eq!(code(&pool, &query).await, "BAD_ARGUMENT");
}
