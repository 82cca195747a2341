//! The dashboard in a real browser, over the made-up world, and the audits that need a server.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use alloy::primitives::{B256, U256};
use assay::event_store::Batch;
use assay::rater::Rater;
use assay::world;
use assay_domain::methodology::Methodology;
use assay_domain::text::UntrustedText;
use assay_domain::{BlockRef, Event, Fact, OperatorId, RatedEntity};
use assay_graphql::ApiConfig;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use crate::graphql::live::{serve, serve_as};
use crate::support::{TestDatabase, database, node};
use crate::what_if::simulator;

/// The browser, if this machine has one. In CI it must be there.
fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("ASSAY_CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = named
        .into_iter()
        .chain(std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name))));
    let found = found.into_iter().find(|program| program.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "no Chromium: install it, or set ASSAY_CHROMIUM");
        eprintln!("skipped: there is no Chromium on PATH and none in ASSAY_CHROMIUM");
    }
    found
}

/// The made-up world in a database, rated.
pub(crate) async fn rated_world() -> (TestDatabase, Rater, Vec<Fact>) {
    let database = database().await;
    let store = database.store().await;
    let mut rater = Rater::new(store.clone(), Arc::new(Methodology::version_1().unwrap()));
    world::play(&store, &mut rater, 0..=world::DAYS).await.unwrap();
    (database, rater, world::facts().unwrap())
}

/// The operator that third parties say most about: the first.
fn attested(facts: &[Fact]) -> OperatorId {
    let found = facts.iter().find_map(|fact| match &fact.event {
        Event::OperatorRegistered { operator, .. } => Some(*operator),
        _ => None,
    });
    found.unwrap()
}

async fn append(database: &TestDatabase, facts: Vec<Fact>) {
    let finalized = Some(world::head(&facts));
    let batch = Batch { chain_id: world::CHAIN_ID, finalized, facts, ..Batch::default() };
    database.store().await.append(&batch).await.unwrap();
}

/// The last slash of the year once more, an hour later.
fn slashed_again(facts: &[Fact]) -> (Fact, RatedEntity) {
    let slash = facts.iter().rev().find_map(|fact| match &fact.event {
        Event::OperatorSlashed { operator, operator_set, strategies, .. } => {
            Some((*operator, *operator_set, strategies.clone()))
        }
        _ => None,
    });
    let (operator, operator_set, strategies) = slash.unwrap();
    let head = world::head(facts);
    let block = BlockRef {
        number: head.number + 300,
        hash: B256::repeat_byte(0x5a),
        timestamp: head.timestamp + 3_600,
    };
    let event = Event::OperatorSlashed {
        operator,
        operator_set,
        strategies,
        wad_slashed: vec![U256::from(10_000_000_000_000_000_u64)],
        description: UntrustedText(b"<img src=x onerror=alert(1)> (DEMO)".to_vec()),
    };
    let fact = Fact {
        chain_id: world::CHAIN_ID,
        block,
        tx_hash: B256::repeat_byte(0x5b),
        log_index: 0,
        emitter: facts[0].emitter,
        event,
    };
    (fact, RatedEntity::operator(world::CHAIN_ID, operator))
}

/// Where the screenshots are left, to be looked at.
fn screenshots() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_sound_and_shows_a_slash_without_a_reload() {
    let Some(chromium) = chromium() else { return };
    let (database, mut rater, facts) = rated_world().await;
    let simulator = Some(simulator(database.store().await));
    let config = ApiConfig { simulator, ..ApiConfig::default() };
    let url = serve_as(&database.pool().await, config).await;
    let (slash, operator) = slashed_again(&facts);
    let attested = RatedEntity::operator(world::CHAIN_ID, attested(&facts)).to_string();
    let token = facts.iter().find_map(|fact| fact.event.lrt()).unwrap();
    let token = RatedEntity::lrt(world::CHAIN_ID, token).to_string();
    let (folder, slug) = (screenshots(), operator.to_string());
    let folder_name = folder.to_str().unwrap();
    let arguments = [url.as_str(), folder_name, attested.as_str(), slug.as_str(), token.as_str()];
    let mut command = tokio::process::Command::from(node::check("dashboard.mjs", &arguments));
    command.env("ASSAY_CHROMIUM", chromium);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut browser = command.spawn().unwrap();
    let mut said = BufReader::new(browser.stdout.take().unwrap()).lines();
    let mut hears = browser.stdin.take().unwrap();
    while let Some(line) = said.next_line().await.unwrap() {
        if line == "slash now" {
            append(&database, vec![slash.clone()]).await;
            rater.catch_up().await.unwrap();
            hears.write_all(b"slashed\n").await.unwrap();
        }
    }
    let status = browser.wait().await.unwrap();
    assert!(status.success(), "the sentences above say what is wrong; {}", folder.display());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graphql_over_http_passes_its_audit_whole() {
    let (database, _, _) = rated_world().await;
    let url = serve(&database.pool().await).await;
    let mut command = tokio::process::Command::from(node::check("audit.mjs", &[&url]));
    let output = command.kill_on_drop(true).output().await.unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["ok"], &found["all"]), (&Value::from(61), &Value::from(61)), "{output:?}");
}
