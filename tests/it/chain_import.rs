//! Files of chain logs: what is read, what is refused, and that a refusal changes nothing.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Write as _};
use std::path::Path;
use std::sync::LazyLock;

use alloy::primitives::{B256, keccak256};
use assay::chain::import::OpenInput;
use assay::chain::{ChainLog, Contract, Decoder, Import, ImportError, ImportReport, Topics};
use assay_domain::Fact;

use crate::chain_decode::{address_of, mainnet};

static TOPIC: LazyLock<B256> =
    LazyLock::new(|| keccak256("DepositScalingFactorUpdated(address,address,uint256)"));

/// A deposit scaling factor update in a block.
fn line(block: u64, log_index: u32, time: Option<u64>) -> ChainLog {
    let topic = *TOPIC;
    let mut data = vec![0; 96];
    data[95] = log_index as u8;
    ChainLog {
        address: address_of(Contract::DelegationManager),
        topics: Topics::new(&[topic]).unwrap(),
        data,
        block_number: block,
        block_hash: B256::left_padding_from(&block.to_be_bytes()),
        block_timestamp: time,
        tx_hash: B256::repeat_byte(1),
        log_index,
        removed: false,
    }
}

fn text(logs: &[ChainLog]) -> String {
    logs.iter().map(|log| serde_json::to_string(log).unwrap() + "\n").collect()
}

pub(crate) fn input(bytes: impl AsRef<[u8]>) -> OpenInput {
    let bytes = bytes.as_ref().to_vec();
    Box::new(move || Ok(Box::new(Cursor::new(bytes.clone())) as Box<dyn io::Read + Send>))
}

fn import_keeping(
    decoder: &Decoder,
    bytes: impl AsRef<[u8]>,
    kept_max: usize,
) -> Result<(ImportReport, Vec<Fact>), ImportError> {
    let import = Import::read_keeping(input(bytes), decoder, kept_max)?;
    let batches = import.batches()?.collect::<Result<Vec<_>, _>>()?;
    let finals: Vec<_> = batches.iter().map(|batch| batch.finalized).collect();
    if let Some((last, others)) = finals.split_last() {
        assert!(others.iter().all(Option::is_none));
        assert_eq!(*last, batches.last().and_then(|b| b.facts.last()).map(|fact| fact.block));
    }
    assert!(batches.iter().all(|batch| batch.next_block.is_none() && batch.chain_id == 1));
    Ok((import.report().clone(), batches.into_iter().flat_map(|batch| batch.facts).collect()))
}

fn import(bytes: impl AsRef<[u8]>) -> Result<(ImportReport, Vec<Fact>), ImportError> {
    import_keeping(&mainnet(), bytes, 1_000)
}

fn refusal(bytes: impl AsRef<[u8]>) -> String {
    import(bytes).unwrap_err().to_string()
}

fn places(facts: &[Fact]) -> Vec<(u64, u32, u64)> {
    facts.iter().map(|f| (f.block.number, f.log_index, f.block.timestamp)).collect()
}

#[test]
fn plain_gzip_and_zstd_are_told_apart_by_their_first_bytes() {
    let plain = text(&[line(10, 0, Some(120)), line(11, 3, Some(132))]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(plain.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(plain.as_bytes(), 3).unwrap();
    let expected = import(&plain).unwrap();
    assert_eq!(places(&expected.1), [(10, 0, 120), (11, 3, 132)]);
    assert_eq!(import(&gzip).unwrap(), expected);
    assert_eq!(import(&zstd).unwrap(), expected);
    for cut in [&gzip[..gzip.len() - 6], &zstd[..zstd.len() - 6]] {
        assert!(refusal(cut).contains("cannot be read"), "{}", refusal(cut));
    }
}

#[test]
fn lines_come_in_any_order_and_repetitions_count_once() {
    let (a, b, c) = (line(10, 0, Some(120)), line(10, 5, None), line(12, 1, Some(144)));
    let (report, facts) = import(text(&[c.clone(), b.clone(), a.clone(), b, c, a])).unwrap();
    assert_eq!(places(&facts), [(10, 0, 120), (10, 5, 120), (12, 1, 144)]);
    let name = "DepositScalingFactorUpdated".to_owned();
    assert_eq!(
        report,
        ImportReport {
            facts: 3,
            events: BTreeMap::from([(name, 3)]),
            repeated: 3,
            blocks: Some((10, 12)),
            ..ImportReport::default()
        }
    );
}

#[test]
fn missing_times_are_estimated_and_counted() {
    let unknown = |block| line(block, 0, None);
    let known = |block, time| line(block, 0, Some(time));
    let lines = [
        unknown(7),
        known(10, 1_000),
        unknown(12),
        unknown(15),
        // Slots were not missed but, for once, the next known time is early: never go past it.
        known(16, 1_040),
        unknown(20),
    ];
    let (report, facts) = import(text(&lines)).unwrap();
    let times: Vec<_> = facts.iter().map(|fact| fact.block.timestamp).collect();
    assert_eq!(times, [964, 1_000, 1_024, 1_040, 1_040, 1_088]);
    assert!(facts.is_sorted_by_key(Fact::key));
    assert_eq!(report.estimated_times, 4);
    assert!(refusal(text(&[unknown(1), unknown(2)])).contains("no line has a blockTimestamp"));
}

#[test]
fn integers_come_as_providers_write_them() {
    let whole = serde_json::to_value(line(255, 3, Some(16))).unwrap();
    for (number, time, index) in [
        (r#""0xff""#, r#""0x10""#, r#""0x3""#),
        (r#""255""#, r#""16""#, r#""3""#),
        ("255", "16", "3"),
    ] {
        let mut json = whole.clone();
        json["blockNumber"] = serde_json::from_str(number).unwrap();
        json["blockTimestamp"] = serde_json::from_str(time).unwrap();
        json["logIndex"] = serde_json::from_str(index).unwrap();
        json["timestamp"] = "unknown fields are skipped".into();
        json["transactionIndex"] = serde_json::Value::Null;
        json.as_object_mut().unwrap().remove("removed");
        let (_, facts) = import(json.to_string()).unwrap();
        assert_eq!(places(&facts), [(255, 3, 16)]);
    }
    let mut json = whole;
    json["blockTimestamp"] = serde_json::Value::Null;
    assert!(refusal(json.to_string()).contains("no line has a blockTimestamp"));
    for bad in ["-1", "1.5", r#""0x""#, r#""0x10000000000000000""#, "null", "[]"] {
        json["blockNumber"] = serde_json::from_str(bad).unwrap();
        let refused = refusal(json.to_string());
        assert!(refused.starts_with("line 1 is not a chain log"), "{refused}");
    }
}

#[test]
fn what_cannot_be_true_is_refused_with_the_lines_it_stands_on() {
    let good = line(10, 0, Some(120));
    let removed = ChainLog { removed: true, ..line(11, 0, None) };
    let fork = ChainLog { block_hash: B256::ZERO, ..line(10, 1, Some(120)) };
    let late = line(10, 1, Some(121));
    let early = line(11, 0, Some(119));
    let mut other = good.clone();
    other.data[95] ^= 1;
    let mut short = line(11, 0, Some(132));
    short.data.pop();
    for (second, expected) in [
        (removed, "line 2 is marked as removed"),
        (fork, "on line 1 and 0x00000000"),
        (late, "block 10 has time 120 on line 1 and 121 on line 2"),
        (early, "block 11 on line 2 has time 119, earlier than 120 of block 10 on line 1"),
        (other, "lines 1 and 2 are different logs with number 0 in block 10"),
        (short, "line 2: DepositScalingFactorUpdated of DelegationManager"),
    ] {
        let refused = refusal(text(&[good.clone(), second]));
        assert!(refused.contains(expected), "{refused}");
    }
}

#[test]
fn a_cut_last_line_or_an_endless_one_is_refused() {
    let whole = text(&[line(10, 0, Some(120)), line(11, 0, Some(132))]);
    let cut = &whole[..whole.len() - 20];
    assert!(refusal(cut).starts_with("line 2 is not a chain log"), "{}", refusal(cut));
    // Without the line end alone nothing is missing.
    assert_eq!(import(whole.trim_end()).unwrap().1.len(), 2);
    let endless = [whole.as_bytes(), &vec![b' '; 5 << 20]].concat();
    assert!(refusal(endless).starts_with("line 3 is longer than 4194304 bytes"));
    assert_eq!(import("\n\n").unwrap(), (ImportReport::default(), Vec::new()));
}

#[test]
fn a_file_too_large_for_memory_is_read_twice_and_must_be_in_order() {
    let lines: Vec<_> = (0..500)
        .flat_map(|n| {
            let time = (!u64::is_multiple_of(n, 3)).then_some(n * 12);
            [line(100 + n, 0, time), line(100 + n, 1, None), line(100 + n, 1, None)]
        })
        .collect();
    let decoder = mainnet();
    let kept = import_keeping(&decoder, text(&lines), 10_000).unwrap();
    let streamed = import_keeping(&decoder, text(&lines), 10).unwrap();
    assert_eq!(kept, streamed);
    assert_eq!(kept.0.repeated, 500);
    let mut swapped = lines;
    swapped.swap(1_200, 1_206);
    let refused = import_keeping(&decoder, text(&swapped), 10).unwrap_err().to_string();
    assert!(refused.starts_with("line 1202 is out of order"), "{refused}");
}

#[test]
fn a_long_file_becomes_batches_of_whole_blocks() {
    let lines: Vec<_> =
        (0..4_000).flat_map(|n| (0..6).map(move |i| line(n, i, Some(n * 12)))).collect();
    let decoder = mainnet();
    let import = Import::read(input(text(&lines)), &decoder).unwrap();
    let batches: Vec<_> = import.batches().unwrap().map(Result::unwrap).collect();
    let sizes: Vec<_> = batches.iter().map(|batch| batch.facts.len()).collect();
    assert_eq!(sizes, [10_002, 10_002, 3_996]);
}

#[test]
fn real_logs_of_four_contract_generations_decode_to_what_is_written_down() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/logs");
    let decoder = mainnet();
    let import = Import::read_file(&golden.join("mainnet-milestones.jsonl"), &decoder).unwrap();
    let batches: Vec<_> = import.batches().unwrap().map(Result::unwrap).collect();
    let mut found = String::new();
    for fact in batches.iter().flat_map(|batch| &batch.facts) {
        let block = fact.block;
        let place =
            format!("block {} log {} time {}", block.number, fact.log_index, block.timestamp);
        found += &format!("{place}\n{:#?}\n", fact.event);
    }
    let file = golden.join("mainnet-milestones.txt");
    if std::env::var_os("ASSAY_BLESS").is_some() {
        std::fs::write(&file, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(file).unwrap());
    assert_eq!(import.report().estimated_times, 1);
}
