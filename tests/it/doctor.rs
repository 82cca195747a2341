//! What `assay doctor` looks at beyond the database's contents, and what it mends by itself.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use assay::chain::ScriptedSource;
use assay::event_store::{Batch, EventStore, Head};
use assay_graphql::ApiConfig;
use assay_oracle::anvil::Anvil;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse as _;
use serde_json::Value;

use crate::commands::{local, told};
use crate::graphql::live::serve;
use crate::ledger::{ledger_facts, ledger_rated};
use crate::mock_node::{Habits, MockNode};
use crate::oracle_world::anvil_path;
use crate::support;

/// What the doctor says: state and detail of each check, what it mended, its exit code.
struct Found {
    checks: BTreeMap<String, (String, String)>,
    mended: Vec<String>,
    code: i32,
}

impl Found {
    fn state(&self, check: &str) -> &str {
        &self.checks.get(check).unwrap_or_else(|| panic!("{check}: {:?}", self.checks)).0
    }

    fn detail(&self, check: &str) -> &str {
        &self.checks[check].1
    }
}

/// The doctor, beside the servers of the test.
async fn examine(arguments: &[&str]) -> Found {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
    command.args(["doctor", "--json"]).args(arguments);
    for name in ["ASSAY_URL", "ASSAY_RPC_URL", "ASSAY_ORACLE_RPC_URL", "DATABASE_URL"] {
        command.env_remove(name);
    }
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (said, error, code) = told(&output);
    let said: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{error}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let checks = said["checks"].as_array().unwrap().iter();
    let checks = checks.map(|one| {
        assert!(one["state"] == "ok" || one["fix"] != "", "{one}");
        (text(&one["check"]), (text(&one["state"]), text(&one["detail"])))
    });
    let mended = said["mended"].as_array().unwrap().iter().map(text).collect();
    Found { checks: checks.collect(), mended, code }
}

async fn head(store: &EventStore) -> Head {
    store.head().await.unwrap()
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_safe_is_mended_once_and_the_log_is_left_alone() {
    let database = ledger_rated().await;
    let (pool, store) = (database.pool().await, database.store().await);
    let before = head(&store).await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("password");
    std::fs::write(&secret, "x").unwrap();
    set_mode(&secret, 0o644);
    sqlx::query("DELETE FROM read_model.checkpoint").execute(&pool).await.unwrap();
    let ill = ["--database-url", &database.url, "--secret-file", secret.to_str().unwrap()];
    let found = examine(&ill).await;
    assert_eq!((found.state("secret file"), found.state("read model")), ("bad", "warning"));
    assert!(found.mended.is_empty() && mode(&secret) == 0o644, "nobody asked for it");

    let fix = [&ill[..], &["--fix"]].concat();
    let found = examine(&fix).await;
    assert_eq!(found.code, 0, "{:?}", found.checks);
    assert_eq!((found.state("secret file"), found.state("read model")), ("ok", "ok"));
    assert!(found.mended.len() == 2 && found.mended[1].contains("chmod 600"), "{:?}", found.mended);
    assert_eq!((mode(&secret), head(&store).await), (0o600, before));
    assert_eq!(told(&local(&database.url, &["verify"])).2, 0);
    assert!(examine(&fix).await.mended.is_empty());

    // What is not rated yet would add to the log, so it stays.
    let other = support::database().await;
    let store = other.store().await;
    let facts: Vec<_> = ledger_facts().into_iter().take(40).collect();
    let finalized = facts.last().map(|fact| fact.block);
    let batch = Batch { chain_id: 1, finalized, facts, ..Batch::default() };
    store.append(&batch).await.unwrap();
    let before = head(&store).await;
    let found = examine(&["--database-url", &other.url, "--fix"]).await;
    assert_eq!((found.state("read model"), found.mended.len()), ("warning", 0));
    assert!(found.detail("read model").contains("rating actions are not in the log"));
    assert_eq!(head(&store).await, before);

    // A database without the schema gets it.
    let empty = support::database().await;
    sqlx::raw_sql(
        "DROP SCHEMA event_store, read_model, outbox CASCADE; DROP TABLE _sqlx_migrations",
    )
    .execute(&empty.pool().await)
    .await
    .unwrap();
    let found = examine(&["--database-url", &empty.url]).await;
    assert_eq!(found.state("migrations"), "warning");
    let found = examine(&["--database-url", &empty.url, "--fix"]).await;
    assert_eq!((found.state("migrations"), found.code), ("ok", 0), "{:?}", found.checks);
    assert!(found.mended[0].contains("migrations applied"), "{:?}", found.mended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_open_to_all_is_closed_and_the_private_postgres_tells_of_itself() {
    let folder = tempfile::tempdir().unwrap();
    set_mode(folder.path(), 0o755);
    let dir = folder.path().join("data");
    std::fs::create_dir(&dir).unwrap();
    set_mode(&dir, 0o777);
    let at = ["--data-dir", dir.to_str().unwrap()];
    let found = examine(&[&at[..], &["--fix"]].concat()).await;
    assert_eq!((found.state("data directory"), mode(&dir)), ("ok", 0o775));
    assert!(found.mended[0].starts_with("chmod 775"), "{:?}", found.mended);
    let postgres = found.detail("postgres");
    assert!(postgres.contains("socket's path of ") && postgres.contains("UTF8"), "{postgres}");
    set_mode(&dir, 0o777);
    let found = examine(&at).await;
    assert_eq!((found.state("data directory"), mode(&dir), found.code), ("bad", 0o777, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_is_free_an_assays_or_anothers() {
    let database = ledger_rated().await;
    let served = serve(&database.pool().await).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let another = taken.local_addr().unwrap().to_string();
    let free = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let assays = served.trim_start_matches("http://");
    for (address, state, words) in [
        (free.as_str(), "ok", "is free"),
        (assays, "ok", "an Assay is at"),
        (&another, "bad", "another program"),
    ] {
        let found = examine(&["--database-url", &database.url, "--listen", address]).await;
        assert_eq!((found.state("port"), found.code), (state, if state == "ok" { 0 } else { 5 }));
        assert!(found.detail("port").contains(words), "{}", found.detail("port"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_tried_for_old_state_and_many_requests_and_an_account_for_its_balance() {
    let database = ledger_rated().await;
    let path = tokio::task::spawn_blocking(anvil_path).await.unwrap();
    let anvil = Anvil::start(&path, &[]).unwrap();
    let base = ["--database-url", &database.url];
    let found = examine(&[&base[..], &["--rpc-url", anvil.rpc_url()]].concat()).await;
    let detail = found.detail("rpc 1");
    assert!(detail.contains("state of every block, 32 of 32 requests at once"), "{detail}");

    // One that keeps no state and counts requests: one of them asks which chain it is.
    let habits = Habits { chain_ids_max: Some(21), ..Habits::default() };
    let chain = ScriptedSource::new(1, 10);
    chain.push(0, Vec::new());
    let node = MockNode::start(chain, habits).await;
    let found = examine(&[&base[..], &["--rpc-url", &node.url()]].concat()).await;
    let detail = found.detail("rpc 1");
    assert!(detail.contains("no state, 20 of 32 requests at once"), "{detail}");
    assert_eq!(found.state("rpc 1"), "warning");

    let rich = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
    let poor = "0x00000000000000000000000000000000000000aa";
    for (account, chain, state, words) in [
        (rich, "31337", "ok", "10000.000000000000000000 ether: about "),
        (poor, "31337", "bad", "0.000000000000000000 ether: about 0 batches of 100 ratings at 0.0"),
        (rich, "1", "bad", "31337"),
    ] {
        let asked = ["--submitter", account, "--oracle-chain-id", chain];
        let asked = [&base[..], &asked, &["--oracle-rpc-url", anvil.rpc_url()]].concat();
        let found = examine(&asked).await;
        let check = found.checks.keys().find(|name| name.starts_with("submitter")).unwrap();
        assert_eq!(found.state(check), state, "{}", found.detail(check));
        assert!(found.detail(check).contains(words), "{}", found.detail(check));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dashboard_that_something_between_changes_is_noticed() {
    let database = ledger_rated().await;
    let pool = database.pool().await;
    let found = examine(&["--url", &serve(&pool).await]).await;
    assert_eq!((found.state("dashboard"), found.code), ("ok", 0), "{:?}", found.checks);

    let stale = from_fn(async |request: Request, next: Next| match request.uri().path() {
        "/ui/app.js" => "what was there last year".into_response(),
        _ => next.run(request).await,
    });
    let app = assay_graphql::router(pool, ApiConfig::default()).layer(stale);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(assay_graphql::serve(listener, app, std::future::pending()));
    let found = examine(&["--url", &url]).await;
    assert_eq!(found.state("dashboard"), "warning");
    assert!(found.detail("dashboard").ends_with("files differ: /ui/app.js"));
}
