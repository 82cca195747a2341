//! Every declaration of the shared lists: decoded by what runs in production, or left out for a
//! reason that is written down.

use std::collections::BTreeSet;

use alloy::dyn_abi::{DynSolType, DynSolValue, Specifier as _};
use alloy::json_abi::Event as AbiEvent;
use alloy::primitives::{Address, B256, I256, U256, keccak256};
use assay::chain::manifest::{ListedEvent, Manifest};
use assay::chain::{ChainLog, Decoder};
use assay_domain::Event;
use serde::Deserialize;

use crate::chain_decode::{encode, log, mainnet};
use crate::chain_shared::shared;
use crate::support::synthetic::Random;

/// Logs generated of each declaration.
const LOGS: u64 = 8;

/// Items of every generated array: arrays that belong together are of one length.
const ITEMS: u64 = 3;

const UNMAPPED: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/chain/abi/unmapped.toml"));

/// A line of one of the lists.
struct Declaration {
    source: &'static str,
    contract: String,
    event: AbiEvent,
}

/// A declaration that becomes no event of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unmapped {
    source: String,
    contracts: Vec<String>,
    #[serde(default)]
    events: Vec<String>,
    reason: String,
}

impl Unmapped {
    fn covers(&self, one: &Declaration) -> bool {
        self.source == one.source
            && self.contracts.contains(&one.contract)
            && (self.events.is_empty() || self.events.contains(&one.event.name))
    }
}

/// Who emits a declared event, and which of its parameters are taken over.
struct Emitter {
    address: Address,
    taken: Vec<(usize, Option<usize>)>,
}

/// The lines of a list, by the names of its columns.
fn declarations(source: &'static str) -> Option<Vec<Declaration>> {
    let text = std::fs::read_to_string(shared(&format!("events/{source}_events.csv"))?).unwrap();
    let mut lines = text.lines().map(columns);
    let names = lines.next().unwrap();
    let at = |name: &str| names.iter().position(|one| one == name).unwrap();
    let (contract, declaration, topic) = (at("contract"), at("declaration"), at("topic0"));
    let read = |columns: Vec<String>| {
        let event = AbiEvent::parse(&columns[declaration]).unwrap();
        assert_eq!(event.selector(), columns[topic].parse::<B256>().unwrap());
        Declaration { source, contract: columns[contract].clone(), event }
    };
    Some(lines.map(read).collect())
}

/// The columns of a line; a quoted one may hold commas.
fn columns(line: &str) -> Vec<String> {
    let mut columns = vec![String::new()];
    let mut is_quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => columns.push(String::new()),
            letter => columns.last_mut().unwrap().push(letter),
        }
    }
    columns
}

fn random_value(ty: &DynSolType, random: &mut Random) -> DynSolValue {
    let several = |ty: &DynSolType, count: u64, random: &mut Random| {
        (0..count).map(|_| random_value(ty, random)).collect::<Vec<_>>()
    };
    match ty {
        DynSolType::Bool => DynSolValue::Bool(random.below(2) == 1),
        // Prices: not below zero, and small enough for the scale of any feed.
        DynSolType::Int(bits) => {
            DynSolValue::Int(I256::try_from(random.next() >> 1).unwrap(), *bits)
        }
        // Enums of two values.
        DynSolType::Uint(8) => DynSolValue::Uint(U256::from(random.below(2)), 8),
        DynSolType::Uint(bits) => {
            let word = U256::from_be_bytes(random.bytes::<32>());
            // Amounts of the largest type leave room for the scale of a basis point.
            let spare = if *bits == 256 { 64 } else { 0 };
            DynSolValue::Uint(word >> (256 - bits + spare), *bits)
        }
        DynSolType::FixedBytes(size) => {
            let mut word = B256::ZERO;
            word[..*size].copy_from_slice(&random.bytes::<32>()[..*size]);
            DynSolValue::FixedBytes(word, *size)
        }
        DynSolType::Address => DynSolValue::Address(Address::new(random.bytes())),
        DynSolType::Bytes => {
            let length = random.below(70) as usize;
            DynSolValue::Bytes((0..length).map(|_| random.next() as u8).collect())
        }
        DynSolType::String => DynSolValue::String("é/x".repeat(random.below(30) as usize)),
        DynSolType::Array(inner) => DynSolValue::Array(several(inner, ITEMS, random)),
        DynSolType::FixedArray(inner, size) => {
            DynSolValue::FixedArray(several(inner, *size as u64, random))
        }
        DynSolType::Tuple(types) => {
            DynSolValue::Tuple(types.iter().map(|ty| random_value(ty, random)).collect())
        }
        other => panic!("no values of {other:?}"),
    }
}

/// The bytes that an event must hold somewhere if it says this value: any one of each list.
fn traces(value: &DynSolValue, all: &mut Vec<Vec<Vec<u8>>>) {
    let significant = |value: U256| {
        let bytes = value.to_le_bytes::<32>();
        let length = 32 - bytes.iter().rev().take_while(|byte| **byte == 0).count();
        bytes[..length].to_vec()
    };
    match value {
        DynSolValue::Bool(value) => all.push(vec![vec![u8::from(*value)]]),
        DynSolValue::Int(value, _) => {
            let raw = value.into_raw();
            // As it is, and a price of eight decimals in wei.
            let scaled = raw.saturating_mul(U256::from(10_000_000_000_u64));
            all.push(vec![significant(raw), significant(scaled)]);
        }
        DynSolValue::Uint(value, _) => {
            // As it is, and basis points in 1e-18.
            let scaled = value.saturating_mul(U256::from(100_000_000_000_000_u64));
            all.push(vec![significant(*value), significant(scaled)]);
        }
        DynSolValue::FixedBytes(word, size) => all.push(vec![word[..*size].to_vec()]),
        DynSolValue::Address(address) => all.push(vec![address.to_vec()]),
        DynSolValue::Bytes(bytes) => all.push(vec![bytes.clone()]),
        DynSolValue::String(text) => all.push(vec![text.clone().into_bytes()]),
        DynSolValue::Array(values)
        | DynSolValue::FixedArray(values)
        | DynSolValue::Tuple(values) => values.iter().for_each(|value| traces(value, all)),
        other => panic!("no trace of {other:?}"),
    }
}

fn holds(bytes: &[u8], trace: &[u8]) -> bool {
    trace.is_empty() || bytes.windows(trace.len()).any(|window| window == trace)
}

/// Parameters that a typed event leaves out: no rating reads them.
fn left_out(declaration: &Declaration) -> &'static [(usize, Option<usize>)] {
    match declaration.event.signature().as_str() {
        // The earnings receiver and the opt-out window of the second generation.
        "OperatorRegistered(address,(address,address,uint32))"
        | "OperatorDetailsModified(address,(address,address,uint32))" => {
            &[(1, Some(0)), (1, Some(2))]
        }
        // The token, which the strategy implies.
        "Deposit(address,address,address,uint256)" => &[(1, None)],
        _ => &[],
    }
}

/// The contract of EigenLayer that emits it, with everything that its typed event keeps.
fn core_emitter(decoder: &Decoder, declaration: &Declaration) -> Option<Emitter> {
    let contracts = decoder.contracts();
    let is_named = |address: &Address| {
        contracts.role(address).is_some_and(|role| role.name() == declaration.contract)
    };
    let address = if declaration.contract == "EigenPod" {
        pod(decoder)
    } else {
        contracts.addresses().into_iter().find(is_named)?
    };
    let mut taken = Vec::new();
    for (place, input) in declaration.event.inputs.iter().enumerate() {
        let left_out = left_out(declaration);
        if left_out.contains(&(place, None)) {
            continue;
        }
        if left_out.iter().any(|(of, _)| *of == place) {
            let components = (0..input.components.len()).map(|component| (place, Some(component)));
            taken.extend(components.filter(|one| !left_out.contains(one)));
        } else {
            taken.push((place, None));
        }
    }
    Some(Emitter { address, taken })
}

/// Every contract of a manifest that is said to emit it; an announced one is announced first.
fn listed_emitters(decoder: &Decoder, declaration: &Declaration) -> Vec<Emitter> {
    let is_it = |listed: &&ListedEvent| {
        listed.interface.split(", ").any(|interface| interface == declaration.contract)
            && listed.event.signature() == declaration.event.signature()
    };
    let mut emitters = Vec::new();
    for manifest in Manifest::built_in().unwrap() {
        for contract in &manifest.contracts {
            let listed = contract.events.iter().filter(is_it);
            emitters.extend(listed.map(|listed| Emitter {
                address: contract.address,
                taken: listed.taken().collect(),
            }));
        }
        for kind in &manifest.kinds {
            let address = Address::from_word(keccak256(&kind.name));
            for listed in kind.events.iter().filter(is_it) {
                announce(decoder, kind.announced_by, address);
                emitters.push(Emitter { address, taken: listed.taken().collect() });
            }
        }
    }
    emitters
}

/// An EigenPod that its manager announced.
fn pod(decoder: &Decoder) -> Address {
    let is_manager = |one: &Address| {
        decoder.contracts().role(one).is_some_and(|role| role.name() == "EigenPodManager")
    };
    let manager = decoder.contracts().addresses().into_iter().find(is_manager).unwrap();
    let pod = Address::repeat_byte(0x90);
    let topic = keccak256("PodDeployed(address,address)");
    let owner = Address::repeat_byte(0x91).into_word();
    let announcement = log(manager, &[topic, pod.into_word(), owner], Vec::new());
    assert!(decoder.decode(announcement, 1).unwrap().is_some());
    pod
}

/// Lets a factory say that there is a new contract.
fn announce(decoder: &Decoder, factory: Address, address: Address) {
    let event = AbiEvent::parse("AddEntity(address indexed entity)").unwrap();
    let announcement = log(factory, &[event.selector(), address.into_word()], Vec::new());
    assert!(decoder.decode(announcement, 1).unwrap().is_some());
}

/// A log of a declaration with values of one's own, and the values.
fn generate(
    declaration: &Declaration,
    address: Address,
    random: &mut Random,
) -> (ChainLog, Vec<DynSolValue>) {
    let inputs = declaration.event.inputs.iter();
    let values: Vec<_> =
        inputs.map(|input| random_value(&input.resolve().unwrap(), random)).collect();
    let (topics, data) = encode(&declaration.event, &values);
    (log(address, &topics, data), values)
}

/// Whether what runs in production makes an event of its own of the log.
fn decoded(decoder: &Decoder, log: &ChainLog) -> Option<Event> {
    let fact = decoder.decode(log.clone(), 1_700_000_000).unwrap_or_else(|e| panic!("{e}"))?;
    match &fact.event {
        Event::Unmapped { topics, data } => {
            assert_eq!((topics.as_slice(), &data[..]), (log.topics.as_slice(), &log.data[..]));
            None
        }
        _ => Some(fact.event),
    }
}

/// Whether logs of this declaration become an event that says all that is taken over.
fn is_mapped(decoder: &Decoder, declaration: &Declaration, random: &mut Random) -> bool {
    let emitters = match declaration.source {
        "eigenlayer" => core_emitter(decoder, declaration).into_iter().collect(),
        _ => listed_emitters(decoder, declaration),
    };
    let mut is_mapped = false;
    for emitter in emitters {
        let mut said = BTreeSet::new();
        for _ in 0..LOGS {
            let (log, values) = generate(declaration, emitter.address, random);
            let Some(event) = decoded(decoder, &log) else { break };
            is_mapped = true;
            let bytes = event.to_canonical_bytes();
            let mut expected = Vec::new();
            for (place, component) in &emitter.taken {
                let value = match component {
                    None => &values[*place],
                    Some(component) => &values[*place].as_tuple().unwrap()[*component],
                };
                traces(value, &mut expected);
            }
            for any_of in expected {
                let is_there = any_of.iter().any(|trace| holds(&bytes, trace));
                let name = declaration.event.full_signature();
                assert!(is_there, "{name} lost {any_of:02x?} in {event:?}");
            }
            said.insert(bytes);
        }
        // Of other values another event: a truth value or a number of one bit has no trace.
        let says_something = is_mapped && !emitter.taken.is_empty();
        assert!(!says_something || said.len() > 1, "{}", declaration.event.full_signature());
    }
    is_mapped
}

/// A log of each listed contract's events and of some of EigenLayer's own.
pub(crate) fn samples() -> Vec<ChainLog> {
    let mut random = Random(5);
    let decoder = mainnet();
    let mut logs = Vec::new();
    for declaration in assay::chain::catalog::Catalog::eigenlayer().declarations() {
        let (contract, event) = (declaration.contract.to_owned(), declaration.event.clone());
        let declaration = Declaration { source: "eigenlayer", contract, event };
        if let Some(emitter) = core_emitter(&decoder, &declaration) {
            logs.push(generate(&declaration, emitter.address, &mut random).0);
        }
    }
    for contract in Manifest::built_in().unwrap().iter().flat_map(|manifest| &manifest.contracts) {
        for listed in &contract.events {
            let (contract_name, event) = (contract.name.clone(), listed.event.clone());
            let declaration = Declaration { source: "listed", contract: contract_name, event };
            logs.push(generate(&declaration, contract.address, &mut random).0);
        }
    }
    logs
}

#[test]
fn every_declaration_is_decoded_or_left_out_for_a_reason() {
    #[derive(Deserialize)]
    struct File {
        unmapped: Vec<Unmapped>,
    }
    let list: File = toml::from_str(UNMAPPED).unwrap();
    let mut used = vec![BTreeSet::new(); list.unmapped.len()];
    let decoder = mainnet();
    let mut random = Random(20_260_501);
    for (source, count, mapped_count) in
        [("eigenlayer", 225, 69), ("lrt", 468, 45), ("symbiotic", 115, 22)]
    {
        let Some(declarations) = declarations(source) else { return };
        assert_eq!(declarations.len(), count);
        let mut mapped = 0;
        for declaration in &declarations {
            let is_mapped = is_mapped(&decoder, declaration, &mut random);
            mapped += usize::from(is_mapped);
            if is_mapped {
                continue;
            }
            let covering = list.unmapped.iter().position(|entry| entry.covers(declaration));
            let (contract, event) = (&declaration.contract, &declaration.event.name);
            let entry = covering.unwrap_or_else(|| {
                panic!("{source}: {contract}.{event} is neither mapped nor in unmapped.toml")
            });
            used[entry].insert(contract.clone());
            used[entry].insert(format!("{event} "));
        }
        assert_eq!(mapped, mapped_count, "{source}");
    }
    for (entry, used) in list.unmapped.iter().zip(used) {
        assert!(entry.reason.ends_with('.'), "{}", entry.reason);
        for contract in &entry.contracts {
            assert!(used.contains(contract), "{contract} has nothing to leave out");
        }
        for event in &entry.events {
            assert!(used.contains(&format!("{event} ")), "{event} is mapped, or declared nowhere");
        }
    }
}
