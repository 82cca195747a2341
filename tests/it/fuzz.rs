//! What the fuzzer is seeded with and what it found, read once more by the same readers.
//!
//! `ASSAY_BLESS=1` writes the seeds into the corpus; the fuzzer itself is run by hand, see
//! `tests/fuzz/readers.rs`.

#[path = "../fuzz/readers.rs"]
mod readers;

use std::path::{Path, PathBuf};

use assay::event_store::Batch;
use serde_json::json;

use crate::declarations::samples;
use crate::store::batch_of;
use crate::support;
use crate::support::synthetic::facts;

/// What all inputs together may add to the memory in use, at most.
const KIBIBYTES_MAX: u64 = 1 << 20;

/// The most memory this process ever had, KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target)
}

/// Reads the seeds, which are good, and everything in the corpus, which may be anything.
fn replay(target: &str, seeds: &[Vec<u8>], read: fn(&[u8]) -> bool) {
    let before = peak();
    if std::env::var_os("ASSAY_BLESS").is_some() {
        std::fs::create_dir_all(corpus(target)).unwrap();
        for (index, seed) in seeds.iter().enumerate() {
            std::fs::write(corpus(target).join(format!("seed-{index:03}")), seed).unwrap();
        }
    }
    for (index, seed) in seeds.iter().enumerate() {
        assert!(read(seed), "{target}: seed {index}, which is good, is refused");
    }
    let mut count = 0;
    for entry in std::fs::read_dir(corpus(target)).unwrap() {
        read(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    let grown = peak().saturating_sub(before);
    assert!(count > 0 && grown < KIBIBYTES_MAX, "{target}: {count} inputs took {grown} KiB");
}

#[test]
fn no_log_whatever_makes_the_decoder_panic() {
    let logs = samples();
    let mut seeds: Vec<Vec<u8>> = logs.iter().filter_map(readers::pack_log).collect();
    assert!(seeds.len() > 100, "{}", seeds.len());
    // One of each of two forms is enough of a start.
    seeds = seeds.into_iter().step_by(8).collect();
    let json = serde_json::to_vec(&logs[0]).unwrap();
    seeds.push([&[0x80, 0][..], &json].concat());
    replay("log", &seeds, readers::log);
}

#[test]
fn no_beacon_block_whatever_makes_its_reader_panic() {
    let vote = |indices: &[&str]| json!({ "attesting_indices": indices });
    let header = json!({ "message": { "proposer_index": "77" } });
    let hash = format!("0x{}", "a".repeat(64));
    let body = json!({
        "proposer_slashings": [{ "signed_header_1": header, "signed_header_2": header }],
        "attester_slashings": [{ "attestation_1": vote(&["1", "2", "3"]),
            "attestation_2": vote(&["2", "3", "18446744073709551615"]) }],
        "execution_payload":
            { "block_number": "5", "timestamp": "1606824023", "block_hash": hash } });
    let block = json!({ "data": { "message": { "slot": "12", "body": body } } });
    replay("beacon", &[serde_json::to_vec(&block).unwrap()], readers::beacon);
}

#[tokio::test]
async fn no_archive_whatever_makes_its_reader_panic() {
    let database = support::database().await;
    let store = database.store().await;
    let facts = facts(3, 60);
    let finalized = Some(facts.last().unwrap().block);
    store.append(&Batch { finalized, ..batch_of(facts) }).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log.parquet");
    store.export_log(&log).await.unwrap();
    let ledger = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/command/ledger.assay");
    let seeds = [std::fs::read(log).unwrap(), std::fs::read(ledger).unwrap()];
    replay("archive", &seeds, readers::archive);
}
