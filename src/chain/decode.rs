//! Turns chain logs into facts. Total over everything EigenLayer's contracts emit: what no rating
//! needs, and what nobody knows, is kept as it came and counted.
//!
//! Never touches the database and never decides anything: an event that looks wrong is still a
//! fact. Only data that cannot be what the contract emitted is refused.
//! The strict reader is `abi`, the table of typed events `mapping`.

use alloy::primitives::map::B256Map;
use alloy::primitives::{Address, B256};
use assay_domain::event::Governed;
use assay_domain::{BlockRef, Event, Fact};

use super::abi::AbiError;
use super::catalog::Catalog;
use super::chain_log::ChainLog;
use super::deployment::{Contract, Contracts};
use super::discovered::{Announced, Discovered, Kind};
use super::governance;
use super::manifest::ListedEvent;
use super::mapping::{MAPPINGS, Mapping};

/// What a log is called whose topic nobody knows.
pub const UNKNOWN_EVENT: &str = "unknown";

/// Decodes the logs of one chain.
#[derive(Debug, Clone)]
pub struct Decoder {
    contracts: Contracts,
    discovered: Discovered,
    mappings: B256Map<Vec<&'static Mapping>>,
}

/// A log of a known event is not that event. Nothing of it may be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{event} of {contract} {emitter:#x} in block {block}, log {log_index}, transaction \
     {tx_hash:#x} does not decode: {reason}. Ask another node for this log: if it answers \
     differently, the source is faulty; if not, the contract has changed and Assay must learn \
     its new form"
)]
pub struct DecodeError {
    /// The emitter's role.
    pub contract: Contract,
    /// The emitter.
    pub emitter: Address,
    /// The event its topic names.
    pub event: String,
    /// Block number.
    pub block: u64,
    /// Place in the block.
    pub log_index: u32,
    /// Transaction.
    pub tx_hash: B256,
    /// What is wrong with it.
    pub reason: Box<AbiError>,
}

impl Decoder {
    /// A decoder for a chain's contracts.
    pub fn new(contracts: Contracts) -> Self {
        let mut mappings = B256Map::<Vec<&'static Mapping>>::default();
        for mapping in MAPPINGS {
            mappings.entry(mapping.topic()).or_default().push(mapping);
        }
        Self { contracts, discovered: Discovered::default(), mappings }
    }

    /// The contracts it knows.
    pub const fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    /// First topics of the events that are read of every EigenPod; none where nothing announces
    /// pods.
    pub fn pod_topics(&self) -> Vec<B256> {
        if !self.contracts.has(Contract::EigenPodManager) {
            return Vec::new();
        }
        let pods = MAPPINGS.iter().filter(|mapping| mapping.contract == Contract::EigenPod);
        pods.map(Mapping::topic).collect()
    }

    /// The fact a log states. `None`: its emitter is none of the contracts, or it is an event of a
    /// listed contract or a pod that is not read.
    pub fn decode(&self, log: ChainLog, timestamp: u64) -> Result<Option<Fact>, DecodeError> {
        let Some(contract) = self.role(&log) else { return Ok(None) };
        let event = match self.known(contract, &log) {
            Some(known) => known.decode(contract, &log)?,
            None => match self.governance(&log) {
                Some(event) => event,
                None if is_partly_read(contract) => return Ok(None),
                None => Event::Unmapped { topics: log.topics.to_vec(), data: log.data.into() },
            },
        };
        self.learn_from(log.address, log.block_number, &event);
        Ok(Some(Fact {
            chain_id: self.contracts.chain_id(),
            block: BlockRef { number: log.block_number, hash: log.block_hash, timestamp },
            tx_hash: log.tx_hash,
            log_index: log.log_index,
            emitter: log.address,
            event,
        }))
    }

    /// Whether a log would decode, without making the fact.
    pub fn check(&self, log: &ChainLog) -> Result<(), DecodeError> {
        let Some(contract) = self.role(log) else { return Ok(()) };
        let Some(known) = self.known(contract, log) else { return Ok(()) };
        let event = known.decode(contract, log)?;
        self.learn_from(log.address, log.block_number, &event);
        Ok(())
    }

    /// Learns the contracts that facts announce, and forgets all others.
    pub fn learn(&self, facts: &[Fact]) {
        self.discovered.forget_all();
        for fact in facts {
            self.learn_from(fact.emitter, fact.block.number, &fact.event);
        }
    }

    /// Contracts that were announced.
    pub(super) const fn discovered(&self) -> &Discovered {
        &self.discovered
    }

    fn learn_from(&self, emitter: Address, since: u64, event: &Event) {
        let listed = self.contracts.listed();
        let kind = match event {
            Event::PodDeployed { .. } => Some(Kind::Pod),
            _ => listed.kind_announced_by(&emitter).map(Kind::Listed),
        };
        if let (Some(address), Some(kind)) = (event.announced(), kind) {
            self.discovered.learn(Announced { address, kind, since });
        }
        if let Some(address) = event.empowered().filter(|address| !address.is_zero()) {
            self.discovered.learn(Announced { address, kind: Kind::Named, since });
        }
    }

    fn role(&self, log: &ChainLog) -> Option<Contract> {
        self.contracts.role(&log.address).or_else(|| {
            let Some(announced) = self.discovered.at(&log.address, log.block_number) else {
                let is_named = self.discovered.is_named(&log.address, log.block_number);
                return is_named.then_some(Contract::Named);
            };
            Some(match announced.kind {
                Kind::Listed(_) => Contract::Listed,
                Kind::Pod => Contract::EigenPod,
                Kind::Named => Contract::Named,
            })
        })
    }

    /// What a log says of who can change its emitter: EigenLayer's, a listed contract, or one that
    /// has a say in what is slashed.
    fn governance(&self, log: &ChainLog) -> Option<Event> {
        let followed = |address: &Address| self.followed(address, log.block_number);
        let of = followed(&log.address).or_else(|| {
            let is_named = self.discovered.is_named(&log.address, log.block_number);
            is_named.then_some(Governed::Named)
        })?;
        governance::decode(of, log, followed)
    }

    /// Why a contract is read, if it is EigenLayer's or listed.
    fn followed(&self, address: &Address, block: u64) -> Option<Governed> {
        match self.contracts.role(address)? {
            Contract::Listed => self.contracts.listed().governed(address, block),
            _ => Some(Governed::Platform),
        }
    }

    /// Whether it is decided already whose log this is. An emitter that nobody announced so far
    /// may be one that was announced in blocks before, which are still being read; and one that is
    /// known may have been given a say in what is slashed.
    pub(super) fn is_emitter_known(&self, log: &ChainLog) -> bool {
        let topic = log.topics.as_slice().first();
        let is_of_governance = topic.is_some_and(|topic| governance::topics().contains(topic));
        match self.role(log) {
            None | Some(Contract::Named) => false,
            Some(role) => !(is_of_governance && is_partly_read(role)),
        }
    }

    /// Whether a log becomes a fact.
    pub fn is_ours(&self, log: &ChainLog) -> bool {
        match self.role(log) {
            Some(role) if is_partly_read(role) => {
                self.known(role, log).is_some() || self.governance(log).is_some()
            }
            found => found.is_some(),
        }
    }

    /// What the event of a log is called, for counts; [`UNKNOWN_EVENT`] if nobody knows.
    pub fn name(&self, log: &ChainLog) -> &str {
        let Some(topic) = log.topics.as_slice().first() else { return UNKNOWN_EVENT };
        if let Some(listed) = self.listed(log) {
            return &listed.event.name;
        }
        let mapped = self.mappings.get(topic).and_then(|mappings| mappings.first());
        mapped
            .map(|mapping| mapping.name())
            .or_else(|| governance::name(topic))
            .or_else(|| Catalog::eigenlayer().name(topic))
            .unwrap_or(UNKNOWN_EVENT)
    }

    fn known(&self, contract: Contract, log: &ChainLog) -> Option<Known<'_>> {
        if contract == Contract::Listed {
            return self.listed(log).map(Known::Listed);
        }
        let topic = log.topics.as_slice().first()?;
        let mappings = self.mappings.get(topic)?;
        mappings.iter().find(|mapping| mapping.contract == contract).copied().map(Known::Mapped)
    }

    fn listed(&self, log: &ChainLog) -> Option<&ListedEvent> {
        let (listed, topics) = (self.contracts.listed(), log.topics.as_slice());
        listed.event(&log.address, topics, log.block_number).or_else(|| {
            let announced = self.discovered.at(&log.address, log.block_number)?;
            match announced.kind {
                Kind::Listed(kind) => listed.event_of_kind(kind, topics),
                Kind::Pod | Kind::Named => None,
            }
        })
    }
}

/// Contracts of which only the mapped events are read, and nothing else is kept.
const fn is_partly_read(contract: Contract) -> bool {
    matches!(contract, Contract::Listed | Contract::EigenPod | Contract::Named)
}

/// How an event is read: by code, or by a manifest.
enum Known<'a> {
    Mapped(&'static Mapping),
    Listed(&'a ListedEvent),
}

impl Known<'_> {
    fn decode(&self, contract: Contract, log: &ChainLog) -> Result<Event, DecodeError> {
        let topics = log.topics.as_slice();
        match self {
            Self::Mapped(mapping) => mapping
                .decode(topics, &log.data)
                .map_err(|reason| error(contract, mapping.name(), log, reason)),
            Self::Listed(listed) => listed
                .decode(log.address, topics, &log.data)
                .map_err(|reason| error(contract, &listed.name, log, reason)),
        }
    }
}

#[cold]
fn error(contract: Contract, event: &str, log: &ChainLog, reason: AbiError) -> DecodeError {
    DecodeError {
        contract,
        emitter: log.address,
        event: event.to_owned(),
        block: log.block_number,
        log_index: log.log_index,
        tx_hash: log.tx_hash,
        reason: Box::new(reason),
    }
}
