//! Every event EigenLayer's contracts have ever declared, by contract and topic.
//!
//! Names events that no rating depends on, and decodes them for display.
//! The typed events go through `mapping`; nothing here decides what is stored.
//! In `ReleaseManager` the operator set is an indexed struct: its topic is a hash, from which the
//! set cannot be recovered.

use std::sync::LazyLock;

use alloy::dyn_abi::{DecodedEvent, EventExt};
use alloy::json_abi::Event;
use alloy::primitives::B256;
use alloy::primitives::map::B256Map;

/// `contract;declaration;first_release;last_release;topic0`, one declaration a line.
const EIGENLAYER: &str = include_str!("abi/eigenlayer.csv");

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::parse(EIGENLAYER));

/// One declaration of one event by one contract.
#[derive(Debug, Clone)]
pub struct Declaration {
    /// The contract.
    pub contract: &'static str,
    /// First release that declares it, of those that were read.
    pub first_release: &'static str,
    /// Last release that declares it.
    pub last_release: &'static str,
    /// The event.
    pub event: Event,
}

impl Declaration {
    /// Decodes a log of this event.
    pub fn decode(&self, topics: &[B256], data: &[u8]) -> alloy::dyn_abi::Result<DecodedEvent> {
        self.event.decode_log_parts(topics.iter().copied(), data)
    }
}

/// All declarations.
#[derive(Debug)]
pub struct Catalog {
    declarations: Vec<Declaration>,
    by_topic: B256Map<Vec<usize>>,
}

impl Catalog {
    /// EigenLayer's events, from June 2023 to May 2026.
    pub fn eigenlayer() -> &'static Self {
        &CATALOG
    }

    /// Reads the file. A line that is no declaration is left out; a test counts them.
    fn parse(text: &'static str) -> Self {
        let declarations: Vec<_> = text.lines().skip(1).filter_map(parse_line).collect();
        let mut by_topic = B256Map::<Vec<usize>>::default();
        for (index, declaration) in declarations.iter().enumerate() {
            by_topic.entry(declaration.event.selector()).or_default().push(index);
        }
        Self { declarations, by_topic }
    }

    /// Every declaration, by contract.
    pub fn declarations(&self) -> &[Declaration] {
        &self.declarations
    }

    /// Every contract's declaration with this topic. They share a name: the topic hashes it.
    pub fn with_topic(&self, topic: &B256) -> impl Iterator<Item = &Declaration> {
        let indices = self.by_topic.get(topic).map_or(&[][..], Vec::as_slice);
        indices.iter().filter_map(|index| self.declarations.get(*index))
    }

    /// The name of the event with this topic.
    pub fn name(&self, topic: &B256) -> Option<&str> {
        self.with_topic(topic).next().map(|declaration| declaration.event.name.as_str())
    }
}

fn parse_line(line: &'static str) -> Option<Declaration> {
    let mut fields = line.split(';');
    let (contract, declaration) = (fields.next()?, fields.next()?);
    let (first_release, last_release) = (fields.next()?, fields.next()?);
    let event = Event::parse(declaration).ok()?;
    let is_the_topic = fields.next()?.parse() == Ok(event.selector());
    is_the_topic.then_some(Declaration { contract, first_release, last_release, event })
}
