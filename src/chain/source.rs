//! What ingestion asks of a chain, and how an answer can fail.
//!
//! Three sources exist: `rpc_source` asks a node, `nodes` several, `scripted` plays a chain from
//! memory.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256, Bloom, BloomInput};
use assay_domain::{BlockRef, ChainId};

use super::chain_log::ChainLog;
use super::governance;
use super::receipts::Unproven;
use crate::event_store::Header;

/// The newest blocks a source knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// The newest block.
    pub latest: Header,
    /// The newest block that two thirds of the validators have justified; `None` where unknown.
    pub safe: Option<BlockRef>,
    /// The newest block the chain will not go back behind; `None` where unknown.
    pub finalized: Option<BlockRef>,
}

/// Which logs are asked for: all of some contracts, and some events whoever emits them. A chain has
/// more EigenPods than an address list can hold. Of contracts that strangers name, which may be the
/// busiest of the chain, only the events of governance are wanted.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    /// Contracts whose logs are wanted.
    pub addresses: Arc<[Address]>,
    /// First topics that are wanted of anybody.
    pub topics: Arc<[B256]>,
    /// Contracts of which it is wanted who can change them.
    pub named: Arc<[Address]>,
}

impl LogFilter {
    /// All logs of these contracts.
    pub fn of(addresses: impl Into<Arc<[Address]>>) -> Self {
        Self { addresses: addresses.into(), ..Self::default() }
    }

    /// Whether a log of this emitter with this first topic is asked for.
    pub fn wants(&self, emitter: &Address, topic: Option<&B256>) -> bool {
        let is_one_of = |topics: &[B256]| topic.is_some_and(|topic| topics.contains(topic));
        self.addresses.contains(emitter)
            || is_one_of(&self.topics)
            || is_one_of(governance::topics()) && self.named.contains(emitter)
    }

    /// Whether a block with this bloom may hold a log that is asked for.
    pub fn may_be_in(&self, bloom: &Bloom) -> bool {
        let is_in = |bytes: &[u8]| bloom.contains_input(BloomInput::Raw(bytes));
        let emits = |address: &Address| is_in(address.as_slice());
        let has = |topic: &B256| is_in(topic.as_slice());
        self.addresses.iter().any(emits)
            || self.topics.iter().any(has)
            || self.named.iter().any(emits) && governance::topics().iter().any(has)
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.topics.is_empty() && self.named.is_empty()
    }
}

/// Where chain logs come from.
pub trait LogSource: Send + Sync + 'static {
    /// What to call the source in messages: no secrets.
    fn name(&self) -> String;

    /// The chain the source speaks for.
    fn chain_id(&self) -> impl Future<Output = Result<ChainId, SourceError>> + Send;

    /// The newest blocks.
    fn heads(&self) -> impl Future<Output = Result<Heads, SourceError>> + Send;

    /// Headers of the canonical chain, in the order asked for; `None` for a block the source does
    /// not have.
    fn headers(
        &self,
        numbers: &[u64],
    ) -> impl Future<Output = Result<Vec<Option<Header>>, SourceError>> + Send;

    /// Logs of the canonical blocks `from` to `to`, both included.
    fn logs(
        &self,
        filter: LogFilter,
        from: u64,
        to: u64,
    ) -> impl Future<Output = Result<Vec<ChainLog>, SourceError>> + Send;

    /// Logs of this very block, canonical or not.
    fn logs_of_block(
        &self,
        filter: LogFilter,
        block: B256,
    ) -> impl Future<Output = Result<Vec<ChainLog>, SourceError>> + Send;

    /// Returns when there may be something new. A source that cannot know never returns.
    fn changed(&self) -> impl Future<Output = ()> + Send;
}

/// A source did not answer as needed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The source speaks for another chain. Configure the right one.
    #[error("{endpoint} answers for chain {found}, but chain {expected} is wanted")]
    WrongChain {
        /// The source, without its secrets.
        endpoint: String,
        /// The chain wanted.
        expected: ChainId,
        /// The chain it speaks for.
        found: ChainId,
    },
    /// Too many blocks or logs were asked for at once. Ask for fewer.
    #[error("{endpoint} refuses this many blocks or logs at once: {message}")]
    TooLarge {
        /// The source, without its secrets.
        endpoint: String,
        /// What it said.
        message: String,
        /// What it says it would serve.
        limit: Limit,
    },
    /// No answer after several attempts. Try again later; every request may be repeated.
    #[error("{endpoint} gives no usable answer after {attempts} attempts: {message}")]
    Unavailable {
        /// The source, without its secrets.
        endpoint: String,
        /// Requests made.
        attempts: u32,
        /// What happened last.
        message: String,
    },
    /// The source will not answer this, however often it is asked. Check key and plan.
    #[error("{endpoint} refuses {method}: {message}")]
    Refused {
        /// The source, without its secrets.
        endpoint: String,
        /// The method.
        method: &'static str,
        /// What it said.
        message: String,
    },
    /// What the source said is not what the block's hash commits to. Ask another node.
    #[error("{endpoint} is wrong: {unproven}")]
    Unproven {
        /// The source, without its secrets.
        endpoint: String,
        /// What is wrong, and with which log.
        unproven: Box<Unproven>,
    },
    /// Two answers cannot both be true: the nodes behind one address are not of one mind, or the
    /// chain moved between two questions. Ask again.
    #[error("{endpoint} contradicts itself: {message}")]
    Inconsistent {
        /// The source, without its secrets.
        endpoint: String,
        /// What was expected and what was found.
        message: String,
    },
}

impl SourceError {
    /// Whether waiting can help.
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::WrongChain { .. } | Self::Refused { .. } => false,
            Self::TooLarge { .. }
            | Self::Unavailable { .. }
            | Self::Unproven { .. }
            | Self::Inconsistent { .. } => true,
        }
    }
}

/// What a source says it would serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// It does not say.
    Unknown,
    /// This many blocks from where the range began; the next range may differ.
    ThisRange(u64),
    /// Never more than this many blocks.
    EveryRange(u64),
}

/// How patient a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long one request may take.
    pub request_timeout: Duration,
    /// Requests made before giving up.
    pub attempts_max: u32,
    /// Wait after the first failure; doubles with each further one.
    pub backoff_first: Duration,
    /// Longest wait.
    pub backoff_max: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            attempts_max: 6,
            backoff_first: Duration::from_millis(250),
            backoff_max: Duration::from_secs(30),
        }
    }
}

impl Patience {
    /// The wait after the given attempt, the first being 1. The same every time.
    pub fn backoff(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(16);
        self.backoff_first.saturating_mul(1 << doublings).min(self.backoff_max)
    }
}
