//! The demo, as a program: what it prints, what it leaves running, and what it catches.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::providers::{Provider as _, ProviderBuilder};
use assay_domain::{AvsId, OperatorSetId, RatedEntity};
use serde_json::{Value, json};

use crate::support;

pub(crate) fn assay(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
    command.args(arguments).args(["--database-url", url]);
    command
}

/// The demo, still running; ended with the test.
struct Demo {
    child: Child,
    told: Value,
    place: Value,
}

impl Demo {
    fn start(url: &str) -> Self {
        let mut child = assay(url, &["demo", "--json", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        Self { told: next(), place: next(), child }
    }

    fn verify(&self, url: &str) -> Output {
        let (oracle, rpc_url) =
            (self.place["oracle"].as_str().unwrap(), self.place["rpc_url"].as_str().unwrap());
        assay(url, &["verify", "--oracle", oracle, "--oracle-rpc-url", rpc_url]).output().unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended by itself, with a message that the test shows.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn refused(output: &Output, entity: &str) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{message}");
    assert!(message.contains(entity), "{message}");
}

#[tokio::test]
async fn the_demo_agrees_with_itself_and_one_changed_bit_or_row_is_named() {
    let database = support::database().await;
    let url = database.url.clone();
    let demo = tokio::task::spawn_blocking(move || {
        crate::oracle_world::anvil_path();
        Demo::start(&url)
    })
    .await
    .unwrap();
    let url = database.url.as_str();
    assert_eq!(demo.told["agree"], json!(true));
    let expected = json!({ "OperatorSlashed": 15, "OperatorSetCreated": 99, "SlasherUpdated": 21,
        "RedistributionAddressSet": 14 });
    assert_eq!(demo.told["events"], expected);
    let ratings = demo.told["ratings"].as_array().unwrap();
    assert!(ratings.iter().filter(|rating| !rating["grade"].is_null()).count() > 110);
    assert!(demo.verify(url).status.success());

    // What was published is seen, rating by rating, and its news are in the feed.
    let (published, told, entities, reported): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM read_model.publications WHERE status = 'final'),
                (SELECT count(*) FROM read_model.feed WHERE kind = 3),
                (SELECT count(DISTINCT entity_key) FROM read_model.publications),
                (SELECT count(DISTINCT entity_key) FROM outbox.reports)",
    )
    .fetch_one(&database.pool().await)
    .await
    .unwrap();
    assert_eq!((published, entities), (told, reported));
    assert!(entities > 110, "{entities}");
    // And its transaction names the position that it rests on.
    let (transaction, slug): (String, String) = sqlx::query_as(
        "SELECT encode(tx_hash, 'hex'), slug FROM read_model.publications p
           JOIN read_model.entities e ON e.key = p.entity_key ORDER BY recorded_at, slug LIMIT 1",
    )
    .fetch_one(&database.pool().await)
    .await
    .unwrap();
    let at = format!("publication:0x{transaction}");
    let shown = assay(url, &["show", &slug, "--at", &at, "--json"]).output().unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    // What was stored came back into the log and moves no rating: nothing is to be mended.
    let told = assay(url, &["doctor", "--fix", "--json"]).output().unwrap().stdout;
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["mended"], json!([]), "{told}");

    // One bit of one stored word.
    let avs: Address = "0x12b75d5ed35320b33daf37f90ff0f6d31796cc3d".parse().unwrap();
    let entity = RatedEntity::operator_set(1, OperatorSetId { avs: AvsId(avs), id: 0 });
    let rpc_url = demo.place["rpc_url"].as_str().unwrap();
    let oracle: Address = demo.place["oracle"].as_str().unwrap().parse().unwrap();
    let provider = ProviderBuilder::new().connect_http(rpc_url.parse().unwrap());
    let (slot, word) = slot_of(&provider, oracle, entity.key()).await;
    let set = async |value: U256| {
        let _: Value = provider
            .raw_request("anvil_setStorageAt".into(), (oracle, slot, B256::from(value)))
            .await
            .unwrap();
    };
    set(word ^ U256::from(1)).await;
    refused(&demo.verify(url), &entity.to_string());
    set(word).await;
    assert!(demo.verify(url).status.success());

    // One row of what the API answers from.
    let pool = database.pool().await;
    let key = entity.key();
    sqlx::query(
        "UPDATE read_model.rating_points SET word = set_byte(word, 31, 255) WHERE entity_id =
            (SELECT id FROM read_model.entities WHERE key = $1)",
    )
    .bind(key.as_slice())
    .execute(&pool)
    .await
    .unwrap();
    refused(&demo.verify(url), "rating_points");
}

#[tokio::test]
async fn three_nodes_rate_by_themselves_sign_the_same_and_one_of_them_lands_it() {
    let database = support::database().await;
    let url = database.url.clone();
    let output = tokio::task::spawn_blocking(move || {
        crate::oracle_world::anvil_path();
        assay(&url, &["demo", "--once", "--json", "--nodes", "3"]).output().unwrap()
    })
    .await
    .unwrap();
    assert!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let council = &told["council"];
    assert_eq!((&told["agree"], &council["agree"]), (&json!(true), &json!(true)));
    assert_eq!(council["threshold"], json!(2));
    let batches = council["batches"].as_array().unwrap();
    assert!(!batches.is_empty());
    for batch in batches {
        assert_eq!(batch["signers"].as_array().unwrap().len(), 3, "{batch}");
    }
    let sent: Vec<u64> = council["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["transactions"].as_u64().unwrap())
        .collect();
    assert_eq!(sent, [batches.len() as u64, 0, 0]);
    // The other nodes' databases are left beside this one; a server of others is left clean.
    let admin = database.pool().await;
    for sibling in 2..=3 {
        let name: String =
            sqlx::query_scalar("SELECT current_database()::text").fetch_one(&admin).await.unwrap();
        let drop = format!("DROP DATABASE \"{name}_node_{sibling}\" WITH (FORCE)");
        sqlx::query(sqlx::AssertSqlSafe(drop)).execute(&admin).await.unwrap();
    }
}

/// The storage slot of an entity's rating: the mapping's own slot is found by trying.
async fn slot_of(
    provider: &impl alloy::providers::Provider,
    oracle: Address,
    key: B256,
) -> (B256, U256) {
    for place in 0_u64..32 {
        let slot = keccak256([key, B256::from(U256::from(place))].concat());
        let word = provider.get_storage_at(oracle, slot.into()).await.unwrap();
        if !word.is_zero() {
            return (slot, word);
        }
    }
    panic!("no slot holds the rating");
}

#[test]
fn bad_input_gets_a_sentence_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.jsonl");
    let output = assay("postgres://nobody:geheim@127.0.0.1:1/none", &["import", "--chain-id", "1"])
        .arg(&missing)
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("missing.jsonl"), "{message}");
    // A server that is not there, and a password that must not be shown.
    let output = assay("postgres://nobody:geheim@127.0.0.1:1/none", &["verify"]).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("127.0.0.1:1") && !message.contains("geheim"), "{message}");
    let file = dir.path().join("blocks.json");
    std::fs::write(&file, r#"{"blocks":[{"id":"C1|x","lam":"-1","severity_bp":{"5":"1"}}]}"#)
        .unwrap();
    let output = assay("postgres://unused", &["loss"]).arg(&file).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("C1|x"), "{message}");
}
