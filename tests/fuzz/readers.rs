//! The readers of what strangers write: each answers or refuses, and neither panics nor takes
//! memory that its input does not account for. The fuzzer feeds them, and `tests/it/fuzz.rs` what
//! the fuzzer once found.
//!
//! ```sh
//! cargo install cargo-fuzz --locked
//! cd tests && mkdir -p fuzz/target/found
//! cargo +nightly fuzz run --fuzz-dir fuzz --sanitizer none log fuzz/target/found fuzz/corpus/log -- \
//!     -max_total_time=205 -malloc_limit_mb=512
//! ```

use std::io::Write as _;
use std::sync::LazyLock;

use alloy::primitives::{Address, B256};
use assay::archive::Archive;
use assay::chain::beacon::BeaconBlock;
use assay::chain::catalog::Catalog;
use assay::chain::{ChainLog, Contracts, Decoder, Manifest, Topics};
use assay::event_store::check_log;

/// Bytes of topics and data say what they say; these bits of the first two say otherwise.
const IS_JSON: u16 = 1 << 15;

/// Where a log of each declaration comes from: emitter, first topic, indexed parameters.
static PLACES: LazyLock<Vec<(Address, B256, usize)>> = LazyLock::new(|| {
    let contracts = DECODER.contracts();
    let of_role = |name: &str| {
        let mut addresses = contracts.addresses().into_iter();
        addresses.find(|one| contracts.role(one).is_some_and(|role| role.name() == name))
    };
    let core = Catalog::eigenlayer().declarations().iter().filter_map(|one| {
        let address = if one.contract == "EigenPod" { Some(POD) } else { of_role(one.contract) };
        Some((address?, &one.event))
    });
    let manifests = Manifest::built_in().into_iter().flatten();
    let listed = manifests.flat_map(|manifest| &manifest.contracts).flat_map(|contract| {
        contract.events.iter().map(|listed| (contract.address, &listed.event))
    });
    let place = |(address, event): (Address, &alloy::json_abi::Event)| {
        (address, event.selector(), event.inputs.iter().filter(|input| input.indexed).count())
    };
    core.chain(listed).map(place).collect()
});

/// An EigenPod that its manager announced.
const POD: Address = Address::repeat_byte(0x90);

static DECODER: LazyLock<Decoder> = LazyLock::new(|| {
    let decoder = Decoder::new(Contracts::of_chain(1).unwrap_or_else(|error| panic!("{error}")));
    let manager = "0x91e677b07f7af907ec9a428aafa9fc14a0d3a338".parse().unwrap_or_default();
    let deployed = alloy::primitives::keccak256("PodDeployed(address,address)");
    let topics = [deployed, POD.into_word(), POD.into_word()];
    assert!(decoder.decode(log_of(manager, &topics, &[]), 1).is_ok_and(|fact| fact.is_some()));
    decoder
});

fn log_of(address: Address, topics: &[B256], data: &[u8]) -> ChainLog {
    ChainLog {
        address,
        topics: Topics::new(topics).unwrap_or(Topics::NONE),
        data: data.to_vec(),
        block_number: 22_500_000,
        block_hash: B256::repeat_byte(1),
        block_timestamp: None,
        tx_hash: B256::repeat_byte(2),
        log_index: 7,
        removed: false,
    }
}

/// A log as a node gives it, or the words of a log of a known event behind the event's number.
pub(crate) fn log(bytes: &[u8]) -> bool {
    let Some((head, rest)) = bytes.split_first_chunk::<2>() else { return false };
    let number = u16::from_be_bytes(*head);
    let log = if number & IS_JSON == 0 {
        let (address, topic, indexed) = PLACES[usize::from(number) % PLACES.len()];
        let (words, _) = rest.as_chunks::<32>();
        let topics: Vec<B256> =
            [topic].into_iter().chain(words.iter().take(indexed).map(|word| word.into())).collect();
        log_of(address, &topics, rest.get(32 * indexed..).unwrap_or_default())
    } else {
        let Ok(log) = serde_json::from_slice::<ChainLog>(rest) else { return false };
        log
    };
    DECODER.decode(log, 1).is_ok()
}

/// The same, packed as the reader above takes it.
pub(crate) fn pack_log(log: &ChainLog) -> Option<Vec<u8>> {
    let [topic, indexed @ ..] = log.topics.as_slice() else { return None };
    let place = PLACES
        .iter()
        .position(|place| (place.0, place.1, place.2) == (log.address, *topic, indexed.len()))?;
    let head = u16::try_from(place).ok()?.to_be_bytes();
    Some([&head[..], &indexed.concat(), &log.data].concat())
}

/// A file in either of our formats: the log as Parquet, or a slice of a chain.
pub(crate) fn archive(bytes: &[u8]) -> bool {
    let mut file = tempfile::NamedTempFile::new().unwrap_or_else(|error| panic!("{error}"));
    file.write_all(bytes).unwrap_or_else(|error| panic!("{error}"));
    if bytes.starts_with(b"PAR1") {
        check_log(file.path()).is_ok()
    } else {
        Archive::open(file.path()).is_ok()
    }
}

/// A block as a beacon node gives it.
pub(crate) fn beacon(bytes: &[u8]) -> bool {
    BeaconBlock::parse(bytes).is_ok()
}
