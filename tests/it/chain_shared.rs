//! Real chain data that lies beside the workspace, not in it.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use alloy::primitives::U256;
use assay::chain::catalog::Catalog;
use assay::chain::{ChainLog, Contracts, Decoder, Import, ImportReport};
use assay_domain::{Event, Fact};
use serde_json::Value;

use crate::chain_decode::mainnet;
use crate::chain_import::input;

/// The shared data, if this machine has it. In CI it must be there.
pub(crate) fn shared(file: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let root = std::env::var_os("ASSAY_SHARED").map_or_else(beside, PathBuf::from);
    let path = root.join("data").join(file);
    if path.exists() {
        return Some(path);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{} is not there: set ASSAY_SHARED to the directory that holds data/",
        path.display()
    );
    eprintln!("skipped: {} is not there", path.display());
    None
}

fn json_lines(path: &Path) -> Vec<Value> {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    file.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

fn import(path: &Path, chain_id: u64) -> (ImportReport, Vec<Fact>) {
    let decoder = Decoder::new(Contracts::of_chain(chain_id).unwrap());
    let import = Import::read_file(path, &decoder).unwrap();
    let facts = import.batches().unwrap().flat_map(|batch| batch.unwrap().facts).collect();
    (import.report().clone(), facts)
}

fn counts(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn the_catalog_is_the_list_of_declarations() {
    let Some(path) = shared("events/eigenlayer_events.csv") else { return };
    let rows = std::fs::read_to_string(path).unwrap();
    let topics = rows.lines().skip(1).map(|row| {
        let topic = row.split(',').find(|field| field.len() == 66 && field.starts_with("0x"));
        topic.unwrap().parse().unwrap()
    });
    let topics: Vec<alloy::primitives::B256> = topics.collect();
    assert_eq!(topics.len(), 225);
    assert!(topics.iter().all(|topic| Catalog::eigenlayer().name(topic).is_some()));
}

#[test]
fn the_allocation_manager_of_mainnet() {
    let Some(path) = shared("mainnet-allocation-manager.jsonl") else { return };
    let (report, facts) = import(&path, 1);
    let expected = ImportReport {
        facts: 149,
        events: counts(&[
            ("OperatorSetCreated", 99),
            ("OperatorSlashed", 15),
            ("RedistributionAddressSet", 14),
            ("SlasherUpdated", 21),
        ]),
        foreign: 0,
        repeated: 0,
        estimated_times: 2,
        blocks: Some((23_042_566, 25_314_910)),
    };
    assert_eq!(report, expected);
    assert!(facts.is_sorted_by_key(Fact::key));
    assert!(facts.iter().all(|fact| !matches!(fact.event, Event::Unmapped { .. })));
    let slashes: Vec<_> = facts
        .iter()
        .filter_map(|fact| match &fact.event {
            Event::OperatorSlashed { wad_slashed, description, .. } => {
                Some((fact.block.number, wad_slashed[0], description.to_string()))
            }
            _ => None,
        })
        .collect();
    let tenth = U256::from(10).pow(U256::from(17));
    assert_eq!(slashes[0], (23_442_944, tenth, "slash 10%".to_owned()));
    let advertised = slashes.iter().filter(|(_, _, text)| text.contains("eigenyields")).count();
    let silent = slashes.iter().filter(|(_, _, text)| text.is_empty()).count();
    assert_eq!((advertised, silent), (10, 2));
}

#[test]
fn the_preprod_deployment_on_holesky() {
    let Some(path) = shared("preprod-allocation-manager.jsonl") else { return };
    let (report, facts) = import(&path, 17_000);
    let events = counts(&[
        ("AllocationDelaySet", 620),
        ("AllocationUpdated", 36),
        ("EncumberedMagnitudeUpdated", 30),
        ("MaxMagnitudeUpdated", 9),
        ("OperatorSetCreated", 6),
        ("OperatorSlashed", 3),
    ]);
    assert_eq!((report.facts, report.events), (704, events));
    assert_eq!((report.estimated_times, report.foreign), (0, 0));
    assert!(facts.iter().all(|fact| !matches!(fact.event, Event::Unmapped { .. })));
}

#[test]
fn the_share_history_of_holesky() {
    let Some(path) = shared("snapshots/operator-shares.jsonl") else { return };
    let (report, facts) = import(&path, 17_000);
    let events = counts(&[("OperatorSharesIncreased", 333), ("OperatorSharesDecreased", 72)]);
    assert_eq!((report.facts, report.events), (405, events));
    assert_eq!(facts.len(), 405);
}

/// Logs of a receipt file, one a line, with the times of their headers.
fn as_lines(logs: impl IntoIterator<Item = Value>) -> String {
    logs.into_iter().map(|log| log.to_string() + "\n").collect()
}

fn facts_of(lines: String) -> (ImportReport, Vec<Fact>) {
    let decoder = mainnet();
    let import = Import::read(input(lines), &decoder).unwrap();
    let facts = import.batches().unwrap().flat_map(|batch| batch.unwrap().facts).collect();
    (import.report().clone(), facts)
}

#[test]
fn receipts_of_four_contract_generations() {
    let Some(path) = shared("mainnet-receipts.jsonl") else { return };
    let mut logs = Vec::new();
    for row in json_lines(&path) {
        for log in row["receipt"]["logs"].as_array().unwrap() {
            let mut log = log.clone();
            log["blockTimestamp"] = row["block_header"]["timestamp"].clone();
            logs.push(log);
        }
    }
    let total = logs.len() as u64;
    let (report, facts) = facts_of(as_lines(logs));
    assert_eq!(
        report.events,
        counts(&[
            // Three of the StrategyManager, one of Renzo's RestakeManager.
            ("Deposit", 4),
            ("NewTotalShares", 1),
            ("OperatorSharesDecreased", 2),
            ("OperatorSharesIncreased", 1),
            ("PodDeployed", 3),
            ("PodSharesUpdated", 2),
            ("RewardsClaimed", 1),
            ("WithdrawalCompleted", 2),
            ("WithdrawalQueued", 2),
        ])
    );
    assert_eq!((report.facts, report.foreign), (18, total - 18));
    let kept = facts.iter().filter(|fact| matches!(fact.event, Event::Unmapped { .. }));
    // The first generation's WithdrawalCompleted, and the rewards claim.
    assert_eq!(kept.map(|fact| fact.block.number).collect::<Vec<_>>(), [19_205_967, 20_739_969]);
}

#[test]
fn a_whole_block_of_mainnet() {
    let Some(path) = shared("block-21925176/receipts.json") else { return };
    let receipts: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let header = path.with_file_name("block.json");
    let header: Value = serde_json::from_str(&std::fs::read_to_string(header).unwrap()).unwrap();
    let logs = receipts.as_array().unwrap().iter().flat_map(|receipt| {
        receipt["logs"].as_array().unwrap().iter().map(|log| {
            let mut log = log.clone();
            log["blockTimestamp"] = header["timestamp"].clone();
            log
        })
    });
    let logs: Vec<_> = logs.collect();
    assert_eq!(logs.len(), 463);
    for log in &logs {
        serde_json::from_str::<ChainLog>(&log.to_string()).unwrap();
    }
    let (report, _) = facts_of(as_lines(logs));
    assert_eq!(report.facts + report.foreign, 463);
    assert_eq!(report.events, counts(&[]));
}
