//! Scenarios and loss distributions through the API: what the domain says of the same state.

use std::sync::Arc;

use alloy::primitives::{Address, U256};
use assay::event_store::{Batch, EventStore};
use assay::rater::Rater;
use assay::simulation::LogSimulator;
use assay::world;
use assay_domain::Fact;
use assay_domain::methodology::Methodology;
use assay_domain::scenario::{
    Baseline, Effect, Scenario, Shock, StressSet, Targets, apply, effects,
};
use assay_domain::{EntityKind, Event, OperatorId, StakerId, StrategyId};
use assay_graphql::{ApiConfig, Backend, Simulator};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::graphql::live::serve_as;
use crate::support::{TestDatabase, database};

/// What plays scenarios on a store.
pub(crate) fn simulator(store: EventStore) -> Arc<dyn Simulator> {
    let methodology = Arc::new(Methodology::version_1().unwrap());
    Arc::new(LogSimulator::new(store, methodology, Vec::new()))
}

struct World {
    database: TestDatabase,
    rater: Rater,
    backend: Backend,
}

async fn rated(facts: Vec<Fact>) -> World {
    let database = database().await;
    let store = database.store().await;
    let finalized = Some(world::head(&facts));
    let batch = Batch { chain_id: world::CHAIN_ID, finalized, facts, ..Batch::default() };
    store.append(&batch).await.unwrap();
    let mut rater = Rater::new(store.clone(), Arc::new(Methodology::version_1().unwrap()));
    rater.catch_up().await.unwrap();
    let backend =
        Backend { simulator: Some(simulator(store)), ..Backend::from(&database.pool().await) };
    World { database, rater, backend }
}

async fn ask(backend: &Backend, query: &str, variables: Value) -> Value {
    let text = assay_graphql::execute(backend.clone(), query, variables).await;
    serde_json::from_str(&text).unwrap()
}

const EFFECTS: &str = "effects(first: 100) { totalCount nodes { slug lostPpt lostWei gradeBefore
    gradeAfter expectedLossBeforePpt expectedLossAfterPpt entity { slug } } }";

/// The effects as the API writes them, by slug.
fn written(effects: &[Effect]) -> Vec<Value> {
    let mut lines: Vec<Value> = effects
        .iter()
        .map(|effect| {
            let slug = effect.entity.to_string();
            json!({
                "slug": slug,
                "lostPpt": effect.lost.map(|lost| lost.0.to_string()),
                "lostWei": effect.lost_wei.map(|lost| lost.to_string()),
                "gradeBefore": effect.grade_before.map(|grade| grade.to_string()),
                "gradeAfter": effect.grade_after.map(|grade| grade.to_string()),
                "expectedLossBeforePpt": effect.expected_loss_before.0.to_string(),
                "expectedLossAfterPpt": effect.expected_loss_after.0.to_string(),
                "entity": { "slug": slug },
            })
        })
        .collect();
    lines.sort_by_key(|line| line["slug"].to_string());
    lines
}

fn told(scenario: &Value) -> Vec<Value> {
    let mut lines = scenario["effects"]["nodes"].as_array().unwrap().clone();
    lines.sort_by_key(|line| line["slug"].to_string());
    lines
}

fn played(rater: &Rater, scenario: &Scenario) -> Vec<Effect> {
    let methodology = Methodology::version_1().unwrap();
    let chain = &rater.state().unwrap().chains[&world::CHAIN_ID];
    let baseline = Baseline::of(chain, world::CHAIN_ID, &methodology);
    let stressed = apply(chain, world::CHAIN_ID, scenario, &methodology).unwrap();
    effects(chain, &baseline, &stressed, &methodology)
}

#[tokio::test]
async fn the_api_plays_what_the_command_plays_and_tokens_are_hit_through_their_operators() {
    // Somebody stakes what is not ether, too.
    let mut facts = world::facts().unwrap();
    let last = facts.last().unwrap().clone();
    let priced = Address::repeat_byte(0x5e);
    let operator = facts.iter().find_map(|fact| match fact.event {
        Event::OperatorSharesIncreased { operator, .. } => Some(operator),
        _ => None,
    });
    let operator = operator.unwrap();
    let ether = U256::from(10).pow(U256::from(18));
    let shares = ether * U256::from(1_000_000);
    let (staker, strategy) = (StakerId(priced), StrategyId(priced));
    for (more, event) in (1..).zip([
        Event::PriceUpdated { asset: priced, price: ether * U256::from(2) },
        Event::OperatorSharesIncreased { operator, staker, strategy, shares },
    ]) {
        facts.push(Fact { event, log_index: last.log_index + more, ..last.clone() });
    }
    let world = rated(facts).await;
    let query = format!("{{ stress {{ version hash scenarios {{ name {EFFECTS} }} }} }}");
    let answer = ask(&world.backend, &query, json!({})).await;
    assert_eq!(answer.get("errors"), None, "{answer}");
    let set = StressSet::version_1().unwrap();
    assert_eq!(answer["data"]["stress"]["hash"], set.hash.to_string());
    let scenarios = answer["data"]["stress"]["scenarios"].as_array().unwrap();
    assert_eq!(scenarios.len(), set.scenarios.len());
    for (told_of, scenario) in scenarios.iter().zip(&set.scenarios) {
        assert_eq!(told_of["name"], scenario.name.as_str());
        let effects = played(&world.rater, scenario);
        assert_eq!(told(told_of), written(&effects), "{}", scenario.name);
    }
    // The largest operator's fall reaches the tokens that delegate to it, in wei.
    let hit = played(&world.rater, &set.scenarios[0]);
    let tokens = hit.iter().filter(|effect| effect.entity.kind == EntityKind::Lrt);
    assert!(tokens.clone().any(|token| token.lost_wei.is_some_and(|lost| !lost.is_zero())));
    for token in tokens {
        assert!(token.lost.is_some(), "{token:?}");
    }

    // A client bug reaches them through their pods: 12 % of what is there.
    let bug = played(&world.rater, set.find("client-bug-20").unwrap());
    let tokens: Vec<_> = bug.iter().filter(|one| one.entity.kind == EntityKind::Lrt).collect();
    assert!(!tokens.is_empty(), "{bug:?}");
    for token in tokens {
        let lost = token.lost.unwrap().0;
        assert!(lost > 0 && lost <= 120_000_000_000, "{token:?}");
    }

    // One's own is the same function of the same shocks.
    let half = assay_domain::decimal::Ppt(500_000_000_000);
    let own = Scenario::own(vec![
        Shock::OperatorsSlashed { operators: Targets::Named(vec![operator]), share: half },
        Shock::ExitsStopped { days: 14 },
        Shock::PriceFallen { asset: priced, share: half },
    ]);
    let query = format!(
        "query ($shocks: ShocksInput!) {{ whatIf(shocks: $shocks) {{ scenarios {{ {EFFECTS} }} }} }}"
    );
    let slash = json!([{ "operator": operator.0, "sharePpt": half.0.to_string() }]);
    let price = json!([{ "asset": priced, "sharePpt": half.0.to_string() }]);
    let shocks = json!({ "slash": slash, "exitsStoppedDays": 14, "price": price });
    let answer = ask(&world.backend, &query, json!({ "shocks": shocks })).await;
    assert_eq!(
        told(&answer["data"]["whatIf"]["scenarios"][0]),
        written(&played(&world.rater, &own))
    );
    // The command asks for the same shocks.
    let url = world.database.url.clone();
    let flags = [
        format!("--slash={}=50%", operator.0),
        "--exits-stop=14".to_owned(),
        format!("--price={priced}=-50%"),
    ];
    let run = move |flags: &[String]| {
        let arguments = [&["whatif".to_owned(), "--json".to_owned()], flags].concat();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        crate::commands::told(&crate::commands::local(&url, &arguments))
    };
    let (said, error, code) = run(&flags);
    assert_eq!(code, 0, "{error}");
    let said: Value = serde_json::from_str(&said).unwrap();
    let effects = &said["data"]["played"]["scenarios"][0]["effects"];
    assert_eq!(effects["totalCount"], written(&played(&world.rater, &own)).len());
    let (_, error, code) = run(&[format!("--price={priced}=50%")]);
    assert!(code == 1 && error.contains("it falls"), "{error}");
    // Refused with a sentence: who is not there, what is too much, nothing at all.
    for (shocks, says) in [
        (
            json!({ "slash": [{ "operator": OperatorId(alloy::primitives::Address::ZERO).0, "sharePpt": "1" }] }),
            "not in the log",
        ),
        (json!({ "clientBugPpt": "1000000000001" }), "at most"),
        (json!({ "price": [{ "asset": priced, "sharePpt": "1000000000000" }] }), "less than 100 %"),
        (json!({ "exitsStoppedDays": 400 }), "at most 366"),
        (json!({}), "say what happens"),
    ] {
        let answer = ask(&world.backend, &query, json!({ "shocks": shocks })).await;
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], "BAD_ARGUMENT", "{answer}");
        assert!(error["message"].as_str().unwrap().contains(says), "{answer}");
    }
    distributions_are_whole(&world.backend).await;
    let none = Backend { simulator: None, ..world.backend.clone() };
    let answer = ask(&none, "{ stress { version } }", json!({})).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAVAILABLE");
    drop(world.database);
}

/// The data of an answer over a socket.
async fn ask_socket(server: &str, query: &str) -> Value {
    let mut request =
        format!("{}/graphql", server.replacen("http", "ws", 1)).into_client_request().unwrap();
    let protocol = HeaderValue::from_static("graphql-transport-ws");
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let subscribe =
        json!({ "type": "subscribe", "id": "1", "payload": { "query": query } }).to_string();
    socket.send(Message::text(r#"{"type":"connection_init"}"#)).await.unwrap();
    socket.next().await.unwrap().unwrap();
    socket.send(Message::text(subscribe)).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap();
    let answer: Value = serde_json::from_str(answer.to_text().unwrap()).unwrap();
    answer["payload"].clone()
}

#[tokio::test]
async fn a_scenario_over_a_socket_is_the_one_over_http() {
    let world = rated(world::facts().unwrap()).await;
    let query = "{ stress(scenarios: [\"client-bug-20\"]) { hash scenarios { name downgraded } } }";
    let config = ApiConfig { simulator: world.backend.simulator.clone(), ..ApiConfig::default() };
    let server = serve_as(&world.backend.pool, config).await;
    let over_http = ask(&world.backend, query, json!({})).await;
    let over_socket = ask_socket(&server, query).await;
    assert_eq!(over_socket["data"], over_http["data"], "{over_socket}");
    assert_eq!(over_http["data"]["stress"]["scenarios"][0]["name"], "client-bug-20");
}

#[tokio::test]
async fn a_scenario_in_the_past_knows_nothing_of_what_came_after() {
    let facts = world::facts().unwrap();
    let whole = rated(facts.clone()).await;
    let middle = facts[facts.len() / 2].block.number;
    let half = rated(facts.into_iter().filter(|fact| fact.block.number <= middle).collect()).await;
    let query = format!(
        "query ($asOf: AsOf) {{ stress(asOf: $asOf) {{ scenarios {{ name {EFFECTS} }} }} }}"
    );
    let now = ask(&half.backend, &query, json!({})).await;
    let position = &now["extensions"]["assay"]["position"];
    let as_of = json!({ "asOf": { "position": position } });
    let then = ask(&whole.backend, &query, as_of).await;
    assert_eq!(then.get("errors"), None, "{then}");
    assert_eq!(then["data"], now["data"]);
    let today = ask(&whole.backend, &query, json!({})).await;
    assert_ne!(today["data"], now["data"]);
}

/// Every rating has its whole distribution.
async fn distributions_are_whole(backend: &Backend) {
    let query = "{ entities(first: 60, where: { isRated: true }) { nodes { kind slug rating { expectedLossPpt
        attribution { class block expectedLossPpt }
        lossDistribution { expectedLossPpt worstBp hash levels { valueAtRiskBp expectedShortfallPpt }
            exceedance { lossBp probabilityPpt } contributions { block shortfallPpt } } } } } }";
    let answer = ask(backend, query, json!({})).await;
    assert_eq!(answer.get("errors"), None, "{answer}");
    let ppt = |value: &Value| value.as_str().unwrap().parse::<i64>().unwrap();
    let nodes = answer["data"]["entities"]["nodes"].as_array().unwrap();
    assert!(
        nodes
            .iter()
            .any(|node| node["kind"] == "LRT" && !node["rating"]["lossDistribution"].is_null())
    );
    for node in nodes {
        let (rating, found) = (&node["rating"], &node["rating"]["lossDistribution"]);
        let of = |name: &str| ppt(&found[name]);
        // The blocks sum to the mean before the cap at everything and where rates do not follow
        // the common factor: what it takes off is little.
        let (mean, sum) = (of("expectedLossPpt"), ppt(&rating["expectedLossPpt"]));
        assert!(mean <= sum + 10 && mean >= sum - sum / 10, "{} {mean} {sum}", node["slug"]);
        let levels = found["levels"].as_array().unwrap();
        let parts = found["contributions"].as_array().unwrap();
        let parts: i64 = parts.iter().map(|part| ppt(&part["shortfallPpt"])).sum();
        assert_eq!(parts, ppt(&levels[1]["expectedShortfallPpt"]), "{}", node["slug"]);
        let curve = found["exceedance"].as_array().unwrap();
        let falls =
            |pair: &[Value]| ppt(&pair[0]["probabilityPpt"]) >= ppt(&pair[1]["probabilityPpt"]);
        assert!(curve.windows(2).all(falls), "{}", node["slug"]);
    }
}
