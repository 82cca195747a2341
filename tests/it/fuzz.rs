//! The readers of what strangers write, fed with damaged copies of what is good: each must answer
//! or refuse, and neither panic nor take memory that the input does not account for.
//!
//! `ASSAY_FUZZ_SECONDS` says for how long each reader is fed, `ASSAY_FUZZ_SEED` with what.

use std::path::Path;
use std::time::{Duration, Instant};

use assay::archive::{self, Archive};
use assay::chain::beacon::BeaconBlock;
use assay::chain::{ChainLog, Topics};
use assay::event_store::{Batch, check_log};
use serde_json::json;

use crate::chain_chaos::number;
use crate::chain_decode::mainnet;
use crate::declarations::samples;
use crate::store::batch_of;
use crate::support;
use crate::support::synthetic::{Random, facts};

/// What each reader may add to the memory in use, at most.
const KIBIBYTES_MAX: u64 = 1 << 20;

/// The most memory this process ever had, KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Feeds a reader for a while; says how often, and how much of it was accepted.
fn feed(name: &str, seeds: &[Vec<u8>], mut read: impl FnMut(&[u8]) -> bool) {
    let patience = Duration::from_secs(number("ASSAY_FUZZ_SECONDS", 2));
    let seed = number("ASSAY_FUZZ_SEED", 1);
    let (mut random, before, start) = (Random(seed), peak(), Instant::now());
    let (mut fed, mut accepted) = (0_u64, 0_u64);
    for seed in seeds {
        assert!(read(seed), "{name}: what is good is not accepted");
    }
    while start.elapsed() < patience {
        let mut input = seeds[random.below(seeds.len() as u64) as usize].clone();
        for _ in 0..=random.below(4) {
            let other = &seeds[random.below(seeds.len() as u64) as usize];
            damage(&mut input, other, &mut random);
        }
        accepted += u64::from(read(&input));
        fed += 1;
    }
    let grown = peak().saturating_sub(before);
    eprintln!(
        "{name}: seed {seed}, {fed} inputs, {accepted} accepted, {grown} KiB more at the peak"
    );
    assert!(fed > 0 && grown < KIBIBYTES_MAX, "{name} took {grown} KiB");
}

/// One of the ways in which bytes go bad.
fn damage(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    if bytes.is_empty() {
        bytes.push(0);
    }
    let at = random.below(bytes.len() as u64) as usize;
    let end = (at + 1 + random.below(40) as usize).min(bytes.len());
    match random.below(7) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'9', b'{'][random.below(8) as usize],
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        5 => {
            let from = random.below(other.len() as u64) as usize;
            let to = (from + 1 + random.below(64) as usize).min(other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        _ => bytes[at..end].fill(0xff),
    }
}

#[test]
fn no_log_whatever_makes_the_decoder_panic() {
    let logs = samples();
    let decoder = mainnet();
    // As the words of a log of a known event, and as the JSON of a node.
    let places: Vec<_> = logs.iter().map(|log| (log.address, log.topics)).collect();
    let pack = |(index, log): (usize, &ChainLog)| {
        let index = u16::try_from(index).unwrap().to_be_bytes();
        [&index, log.data.as_slice()].concat()
    };
    let words: Vec<Vec<u8>> = logs.iter().enumerate().map(pack).collect();
    feed("log decoding, words", &words, |bytes| {
        let Some((index, data)) = bytes.split_first_chunk::<2>() else { return false };
        let index = usize::from(u16::from_be_bytes(*index));
        let (address, topics) = places[index % places.len()];
        let log = ChainLog { address, topics, data: data.to_vec(), ..logs[0].clone() };
        decoder.decode(log, 1).is_ok()
    });
    let texts: Vec<Vec<u8>> = logs.iter().map(|log| serde_json::to_vec(log).unwrap()).collect();
    feed("log decoding, JSON", &texts, |bytes| match serde_json::from_slice::<ChainLog>(bytes) {
        Ok(log) => decoder.decode(log, 1).is_ok(),
        Err(_) => false,
    });
    assert_eq!(Topics::NONE.as_slice().len(), 0);
}

#[test]
fn no_beacon_block_whatever_makes_its_reader_panic() {
    let vote = |indices: &[&str]| json!({ "attesting_indices": indices });
    let header = json!({ "message": { "proposer_index": "77" } });
    let payload = json!({ "block_number": "5", "timestamp": "1606824023" });
    let mut blocks = Vec::new();
    for hash in ["0x", "0x1"] {
        let mut payload = payload.clone();
        payload["block_hash"] = json!(format!("{hash}{}", "a".repeat(66 - hash.len())));
        let body = json!({
            "proposer_slashings": [{ "signed_header_1": header, "signed_header_2": header }],
            "attester_slashings": [{ "attestation_1": vote(&["1", "2", "3"]),
                "attestation_2": vote(&["2", "3", "18446744073709551615"]) }],
            "execution_payload": payload });
        let block = json!({ "data": { "message": { "slot": "12", "body": body } } });
        blocks.push(serde_json::to_vec(&block).unwrap());
    }
    feed("Beacon JSON", &blocks, |bytes| BeaconBlock::parse(bytes).is_ok());
}

/// Reads a file whose bytes are these.
fn as_file(path: &Path, bytes: &[u8], read: impl FnOnce(&Path) -> bool) -> bool {
    std::fs::write(path, bytes).unwrap();
    read(path)
}

#[tokio::test]
async fn no_archive_whatever_makes_its_reader_panic() {
    let database = support::database().await;
    let store = database.store().await;
    let facts = facts(3, 300);
    let finalized = Some(facts.last().unwrap().block);
    store.append(&Batch { finalized, ..batch_of(facts) }).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (log, slice) = (dir.path().join("log.parquet"), dir.path().join("slice.assay"));
    store.export_log(&log).await.unwrap();
    let parquet = std::fs::read(&log).unwrap();
    feed("archive, Parquet", &[parquet], |bytes| {
        as_file(&log, bytes, |path| check_log(path).is_ok())
    });

    let ledger = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/command/ledger.assay");
    let packed = std::fs::read(ledger).unwrap();
    let lines = zstd::decode_all(packed.as_slice()).unwrap();
    let is_sound = |path: &Path| Archive::open(path).is_ok();
    feed("archive, packed", &[packed], |bytes| as_file(&slice, bytes, is_sound));
    feed("archive, lines", &[lines], |bytes| {
        let packed = zstd::encode_all(bytes, 1).unwrap();
        as_file(&slice, &packed, is_sound)
    });
    assert!(!archive::is_header("{}"));
}
