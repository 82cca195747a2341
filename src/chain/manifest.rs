//! Contracts beside EigenLayer's own, and what each of their events says, as data.
//!
//! A manifest (`manifests/*.toml`) names a protocol's contracts, the declarations of the events
//! that move a rating, and the domain event each becomes, field by field. A protocol whose events
//! map plainly is added by such a file alone. Everything else those contracts emit is not read.
//! Where a factory announces contracts, the manifest says once what they emit (`kind`); which they
//! are, `discovered` learns from the log. What an event can become is in `target`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use alloy::dyn_abi::{DynSolEvent, DynSolValue, Specifier as _};
use alloy::json_abi;
use alloy::primitives::map::AddressMap;
use alloy::primitives::{Address, B256};
use assay_domain::event::Governed;
use assay_domain::{ChainId, Event, LrtId};
use serde::Deserialize;

use super::abi::AbiError;
use super::scripted::Emission;
use super::target::{Source, Target, Values};

/// The manifests Assay knows.
const BUILT_IN: [(&str, &str); 8] = [
    ("etherfi", include_str!("manifests/etherfi.toml")),
    ("governance", include_str!("manifests/governance.toml")),
    ("kelp", include_str!("manifests/kelp.toml")),
    ("prices", include_str!("manifests/prices.toml")),
    ("puffer", include_str!("manifests/puffer.toml")),
    ("renzo", include_str!("manifests/renzo.toml")),
    ("swell", include_str!("manifests/swell.toml")),
    ("symbiotic", include_str!("manifests/symbiotic.toml")),
];

static MANIFESTS: LazyLock<Result<Vec<Manifest>, ManifestError>> =
    LazyLock::new(|| BUILT_IN.iter().map(|(name, text)| Manifest::parse(name, text)).collect());

/// A manifest that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ManifestError {
    /// The text is no manifest.
    #[error("manifest {manifest} does not read as TOML: {reason}")]
    Unreadable {
        /// The manifest.
        manifest: String,
        /// What the reader said.
        reason: String,
    },
    /// An event's mapping makes no sense. Correct the manifest.
    #[error("manifest {manifest}, {contract}, event \"{abi}\": {reason}")]
    Event {
        /// The manifest.
        manifest: String,
        /// The contract.
        contract: String,
        /// The declaration.
        abi: String,
        /// What is wrong.
        reason: String,
    },
}

impl ManifestError {
    fn unreadable(manifest: &str, error: &toml::de::Error) -> Self {
        Self::Unreadable { manifest: manifest.to_owned(), reason: error.to_string() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    chain_id: ChainId,
    token: Option<Address>,
    /// Whether its contracts are the restaking platform's.
    #[serde(default)]
    is_platform: bool,
    contract: Vec<FileContract>,
    #[serde(default)]
    kind: Vec<FileKind>,
}

/// Contracts that another one announces.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKind {
    name: String,
    interface: Option<String>,
    announced_by: Address,
    event: Vec<FileEvent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileContract {
    name: String,
    /// The name its declarations have in the sources, where that is another.
    interface: Option<String>,
    address: Address,
    /// The block of its creation; logs before are not its own.
    #[serde(default)]
    start_block: u64,
    #[serde(default)]
    event: Vec<FileEvent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEvent {
    abi: String,
    interface: Option<String>,
    /// The standard that declares it, where the protocol's own sources do not.
    standard: Option<String>,
    to: BTreeMap<String, BTreeMap<String, toml::Value>>,
}

/// The contracts of one protocol on one chain.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// What it is called.
    pub name: String,
    /// The chain.
    pub chain_id: ChainId,
    /// The token it is about, if it is about one.
    pub token: Option<LrtId>,
    /// Its contracts.
    pub contracts: Vec<ListedContract>,
    /// Contracts that its contracts announce.
    pub kinds: Vec<ListedKind>,
}

/// What all contracts have in common that another one announces.
#[derive(Debug, Clone)]
pub struct ListedKind {
    /// What they are.
    pub name: String,
    /// Who announces them: see [`Event::announced`].
    pub announced_by: Address,
    /// The events that are read.
    pub events: Vec<ListedEvent>,
}

/// A contract of a manifest.
#[derive(Debug, Clone)]
pub struct ListedContract {
    /// Its name.
    pub name: String,
    /// Where it lives.
    pub address: Address,
    /// The block of its creation, or zero.
    pub start_block: u64,
    /// Why it is read when it is governed otherwise than before.
    pub of: Governed,
    /// The events that are read, beside those of [`Event::governed`].
    pub events: Vec<ListedEvent>,
}

/// An event of a manifest and what it becomes.
#[derive(Debug, Clone)]
pub struct ListedEvent {
    /// Contract and event, for messages.
    pub name: String,
    /// Who declares it: the interface of the protocol's sources.
    pub interface: String,
    /// The standard that declares it, where the protocol's sources do not.
    pub standard: Option<String>,
    /// Its declaration.
    pub event: json_abi::Event,
    resolved: DynSolEvent,
    target: Target,
    token: Option<LrtId>,
    fields: BTreeMap<String, Source>,
}

impl Manifest {
    /// Reads a manifest; `file` names it in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, ManifestError> {
        let read = toml::from_str(text).map_err(|error| ManifestError::unreadable(file, &error))?;
        Self::of(file, read)
    }

    fn of(file: &str, read: File) -> Result<Self, ManifestError> {
        let token = read.token.map(LrtId);
        let of = match token {
            Some(token) => Governed::Token(token),
            None if read.is_platform => Governed::Platform,
            None => Governed::Named,
        };
        let events = |contract: &str, interface: Option<&str>, events: Vec<FileEvent>| {
            let event = |event: FileEvent| {
                let abi = event.abi.clone();
                ListedEvent::new(contract, interface, event, token).map_err(|reason| {
                    let (manifest, contract) = (file.to_owned(), contract.to_owned());
                    ManifestError::Event { manifest, contract, abi, reason }
                })
            };
            events.into_iter().map(event).collect::<Result<Vec<_>, _>>()
        };
        let contract = |contract: FileContract| {
            Ok(ListedContract {
                address: contract.address,
                start_block: contract.start_block,
                of,
                events: events(&contract.name, contract.interface.as_deref(), contract.event)?,
                name: contract.name,
            })
        };
        let kind = |kind: FileKind| {
            Ok(ListedKind {
                announced_by: kind.announced_by,
                events: events(&kind.name, kind.interface.as_deref(), kind.event)?,
                name: kind.name,
            })
        };
        Ok(Self {
            name: read.name,
            chain_id: read.chain_id,
            token,
            contracts: read.contract.into_iter().map(contract).collect::<Result<_, _>>()?,
            kinds: read.kind.into_iter().map(kind).collect::<Result<_, _>>()?,
        })
    }

    /// The manifests built in.
    pub fn built_in() -> Result<&'static [Self], ManifestError> {
        MANIFESTS.as_deref().map_err(Clone::clone)
    }

    /// The same protocols on a made-up chain, where each address is another.
    pub fn made_up(
        chain_id: ChainId,
        address: impl Fn(Address) -> Address,
    ) -> Result<Vec<Self>, ManifestError> {
        let moved = |(name, text): &(&str, &str)| {
            let unreadable = |error| ManifestError::unreadable(name, &error);
            let mut value: toml::Value = toml::from_str(text).map_err(unreadable)?;
            move_addresses(&mut value, &address);
            let read: File = value.try_into().map_err(unreadable)?;
            Self::of(name, File { chain_id, ..read })
        };
        BUILT_IN.iter().map(moved).collect()
    }

    /// A log of a listed event as its contract would emit it; `None`: it is not listed.
    pub fn emission(
        &self,
        contract: &str,
        event: &str,
        values: &[DynSolValue],
    ) -> Option<Emission> {
        let contract = self.contracts.iter().find(|one| one.name == contract)?;
        let listed = contract.events.iter().find(|one| one.event.name == event)?;
        Emission::new(contract.address, &listed.event, values)
    }
}

fn move_addresses(value: &mut toml::Value, to: &impl Fn(Address) -> Address) {
    match value {
        toml::Value::String(text) => {
            if let Ok(address) = text.parse::<Address>() {
                *text = to(address).to_string();
            }
        }
        toml::Value::Array(values) => {
            values.iter_mut().for_each(|value| move_addresses(value, to));
        }
        toml::Value::Table(table) => {
            table.iter_mut().for_each(|(_, value)| move_addresses(value, to));
        }
        _ => {}
    }
}

impl ListedEvent {
    fn new(
        contract: &str,
        interface: Option<&str>,
        read: FileEvent,
        token: Option<LrtId>,
    ) -> Result<Self, String> {
        let event = json_abi::Event::parse(&read.abi).map_err(|error| error.to_string())?;
        let resolved = event.resolve().map_err(|error| error.to_string())?;
        let mut to = read.to.into_iter();
        let (Some((target, fields)), None) = (to.next(), to.next()) else {
            return Err("\"to\" must name one domain event".to_owned());
        };
        let target = Target::deserialize(toml::Value::String(target.clone()))
            .map_err(|_| format!("\"{target}\" is no domain event"))?;
        if token.is_none() && target.is_about_the_token() {
            return Err("the manifest names no token that the event could be about".to_owned());
        }
        let (required, optional) = target.fields();
        if let Some(missing) = required.iter().find(|name| !fields.contains_key(**name)) {
            return Err(format!("the field {missing} is missing"));
        }
        let source = |(name, value): (String, toml::Value)| {
            if !required.contains(&name.as_str()) && !optional.contains(&name.as_str()) {
                return Err(format!("the domain event has no field {name}"));
            }
            Ok((name.clone(), Source::new(&name, &value, &event)?))
        };
        Ok(Self {
            name: format!("{contract}.{}", event.name),
            interface: read.interface.unwrap_or_else(|| interface.unwrap_or(contract).to_owned()),
            standard: read.standard,
            fields: fields.into_iter().map(source).collect::<Result<_, _>>()?,
            resolved,
            target,
            token,
            event,
        })
    }

    /// The places of the parameters that are taken over, and of a component of each.
    pub fn taken(&self) -> impl Iterator<Item = (usize, Option<usize>)> {
        self.fields.values().filter_map(|source| match source {
            Source::Parameter(place, component) => Some((*place, *component)),
            _ => None,
        })
    }

    /// The domain event that a log states.
    pub(crate) fn decode(
        &self,
        emitter: Address,
        topics: &[B256],
        data: &[u8],
    ) -> Result<Event, AbiError> {
        let decoded = self
            .resolved
            .decode_log_parts(topics.iter().copied(), data)
            .map_err(|error| AbiError::NotTheEncoding { reason: error.to_string() })?;
        // What was read must be all there is: encoded again it gives the same bytes.
        let words = decoded.indexed.iter().map(DynSolValue::as_word);
        let is_indexed_clean = words
            .zip(topics.iter().skip(1))
            .all(|(word, topic)| word.is_none_or(|word| word == *topic));
        if !is_indexed_clean || DynSolValue::Tuple(decoded.body.clone()).abi_encode_params() != data
        {
            let reason = "something is left that the declaration does not explain".to_owned();
            return Err(AbiError::NotTheEncoding { reason });
        }
        let (mut indexed, mut body) = (decoded.indexed.into_iter(), decoded.body.into_iter());
        let inputs = self.event.inputs.iter();
        let values: Vec<DynSolValue> = inputs
            .filter_map(|input| if input.indexed { indexed.next() } else { body.next() })
            .collect();
        Values { values: &values, fields: &self.fields, emitter }.event(self.target, self.token)
    }
}

/// The listed contracts of one chain, by address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listed {
    contracts: AddressMap<ListedContract>,
    kinds: Vec<ListedKind>,
}

impl Listed {
    /// The contracts of all manifests of a chain. One address listed twice keeps both lists.
    pub(crate) fn new(chain_id: ChainId, manifests: &[Manifest]) -> Self {
        let mut contracts = AddressMap::<ListedContract>::default();
        let here = manifests.iter().filter(|manifest| manifest.chain_id == chain_id);
        for contract in here.flat_map(|manifest| &manifest.contracts) {
            match contracts.get_mut(&contract.address) {
                Some(known) => {
                    known.of = known.of.min(contract.of);
                    known.events.extend(contract.events.iter().cloned());
                }
                None => {
                    contracts.insert(contract.address, contract.clone());
                }
            }
        }
        let here = manifests.iter().filter(|manifest| manifest.chain_id == chain_id);
        let kinds = here.flat_map(|manifest| &manifest.kinds).cloned().collect();
        Self { contracts, kinds }
    }

    /// The kind of what this contract announces, by its place.
    pub(crate) fn kind_announced_by(&self, emitter: &Address) -> Option<usize> {
        self.kinds.iter().position(|kind| kind.announced_by == *emitter)
    }

    /// The listed event of a log of an announced contract.
    pub(crate) fn event_of_kind(&self, kind: usize, topics: &[B256]) -> Option<&ListedEvent> {
        let topic = topics.first()?;
        self.kinds.get(kind)?.events.iter().find(|listed| listed.event.selector() == *topic)
    }

    /// Why a contract is read, if it is listed and created.
    pub(crate) fn governed(&self, address: &Address, block: u64) -> Option<Governed> {
        let contract = self.contracts.get(address).filter(|one| block >= one.start_block)?;
        Some(contract.of)
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = Address> {
        self.contracts.keys().copied()
    }

    /// The listed event of a log.
    pub(crate) fn event(
        &self,
        emitter: &Address,
        topics: &[B256],
        block: u64,
    ) -> Option<&ListedEvent> {
        let contract = self.contracts.get(emitter)?;
        let topic = topics.first().filter(|_| block >= contract.start_block)?;
        contract.events.iter().find(|listed| listed.event.selector() == *topic)
    }
}
