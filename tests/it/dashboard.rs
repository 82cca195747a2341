//! The dashboard in a real browser, over the made-up world, and the audits that need a server.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use alloy::primitives::{B256, U256};
use assay::attestation::{Recorder, record};
use assay::event_store::{Batch, EventStore, Timeliness};
use assay::rater::Rater;
use assay::world;
use assay_domain::attestation::{
    AdministratorAppointment, Attestation, Claim, Message, SignerRegistration,
};
use assay_domain::methodology::Methodology;
use assay_domain::mitigation::VerificationLevel;
use assay_domain::text::UntrustedText;
use assay_domain::{BlockRef, Event, Fact, OperatorId, RatedEntity};
use assay_graphql::ApiConfig;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use crate::attest::{key, signed_for};
use crate::graphql::live::{serve, serve_as};
use crate::support::{TestDatabase, database, node};
use crate::what_if::simulator;

/// Where in the year claims are signed: three weeks before its end.
const ATTESTED_BLOCKS_AGO: u64 = 21 * 7_200;

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
async fn rated_world() -> (TestDatabase, Rater, Vec<Fact>) {
    let database = database().await;
    let store = database.store().await;
    let facts = world::facts().unwrap();
    let until = world::head(&facts).number - ATTESTED_BLOCKS_AGO;
    let (early, late) = facts.iter().cloned().partition(|fact| fact.block.number <= until);
    append(&database, early).await;
    attest(&store, &facts).await;
    append(&database, late).await;
    let mut rater = Rater::new(store, Arc::new(Methodology::version_1().unwrap()));
    rater.catch_up().await.unwrap();
    (database, rater, facts)
}

/// Heron says that it runs well, a third party says what slashes it.
async fn attest(store: &EventStore, facts: &[Fact]) {
    let until = facts
        .iter()
        .rfind(|fact| fact.block.number <= world::head(facts).number - ATTESTED_BLOCKS_AGO);
    let until = until.unwrap().block;
    let effective_block = until.number;
    let say = async |who: u8, message: Message| {
        let document = signed_for(world::CHAIN_ID, &key(who), message);
        record(store, document, Recorder::Owner, Timeliness::Required).await.unwrap();
    };
    let administrator = key(1).address();
    let appointed = AdministratorAppointment { administrator, effective_block };
    say(1, Message::AdministratorAppointment(appointed)).await;
    let level = VerificationLevel::SignedThirdParty;
    let signer = key(2).address();
    let registered =
        SignerRegistration { signer, level, affiliations: BTreeSet::new(), effective_block };
    say(1, Message::SignerRegistration(registered)).await;
    let operator = heron(facts);
    let infrastructure = Claim::Infrastructure {
        operator,
        has_remote_signer: true,
        has_dvt: false,
        has_doppelganger_detection: true,
    };
    for (claim, days) in [
        (infrastructure, 90),
        (Claim::KeyMigration { operator, migrated_at: until.timestamp - 86_400 }, 3),
    ] {
        let evidence = B256::repeat_byte(0xee);
        let observed_at = until.timestamp;
        let expires_at = observed_at + days * 86_400;
        let said = Attestation { claim, level, evidence, observed_at, effective_block, expires_at };
        say(2, Message::Attestation(said)).await;
    }
}

/// An operator that can allocate without notice.
fn heron(facts: &[Fact]) -> OperatorId {
    let found = facts.iter().find_map(|fact| match &fact.event {
        Event::AllocationDelaySet { operator, delay_blocks: 0, .. } => Some(*operator),
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
    let heron = RatedEntity::operator(world::CHAIN_ID, heron(&facts)).to_string();
    let token = facts.iter().find_map(|fact| fact.event.lrt()).unwrap();
    let token = RatedEntity::lrt(world::CHAIN_ID, token).to_string();
    let (folder, slug) = (screenshots(), operator.to_string());
    let folder_name = folder.to_str().unwrap();
    let arguments = [url.as_str(), folder_name, heron.as_str(), slug.as_str(), token.as_str()];
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

#[tokio::test]
async fn the_made_up_world_has_something_for_every_page() {
    let (database, _, facts) = rated_world().await;
    assert!(facts.iter().all(|fact| fact.chain_id == world::CHAIN_ID));
    assert_eq!(facts, world::facts().unwrap(), "the same every time");
    let pool = database.pool().await;
    let query = "{ open: slashings(where: { isOpen: true }) { totalCount nodes { blocksLeft
            slashedShares { shares releasedShares } } }
        closed: slashings(where: { isOpen: false }) { nodes { blocksLeft
            slashedShares { shares releasedShares } } }
        notRated: entities(where: { isRated: false, kind: [OPERATOR] }) { totalCount }
        downgrades: ratingActions(where: { kind: [DOWNGRADED] }) { totalCount }
        operators: entities(where: { kind: [OPERATOR] }) { nodes {
            ... on Operator { profile { allocationDelayBlocks pendingAllocationDelay { blocks } }
                allocations { nodes { currentMagnitudeWad pendingMagnitudeWad } } } } } }";
    let text = assay_graphql::execute(&pool, query, serde_json::json!({})).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    let data = &answer["data"];
    assert_eq!(data["open"]["totalCount"], 2, "{answer}");
    for slash in data["open"]["nodes"].as_array().unwrap() {
        assert!(slash["blocksLeft"].as_i64().unwrap() > 0);
        assert_eq!(slash["slashedShares"][0]["releasedShares"], "0");
    }
    for slash in data["closed"]["nodes"].as_array().unwrap() {
        let shares = &slash["slashedShares"][0];
        assert_eq!(
            (&slash["blocksLeft"], &shares["releasedShares"]),
            (&0.into(), &shares["shares"])
        );
    }
    assert_eq!(data["closed"]["nodes"].as_array().unwrap().len(), 2);
    assert_eq!(data["notRated"]["totalCount"], 1);
    assert!(data["downgrades"]["totalCount"].as_i64().unwrap() >= 2);
    let operators = data["operators"]["nodes"].as_array().unwrap();
    let without_notice =
        operators.iter().filter(|one| one["profile"]["allocationDelayBlocks"] == 0).count();
    assert_eq!(without_notice, 2);
    // What was scheduled months ago is in force.
    for allocation in
        operators.iter().flat_map(|one| one["allocations"]["nodes"].as_array().unwrap())
    {
        assert_eq!(allocation["pendingMagnitudeWad"], Value::Null, "{allocation}");
    }
}
