//! A chain played from memory: it grows, forks and finalizes as told. For tests and simulation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy::dyn_abi::DynSolValue;
use alloy::json_abi::Event;
use alloy::primitives::{Address, B256, keccak256};
use assay_domain::{BlockRef, ChainId};

use super::chain_log::{ChainLog, Topics};
use super::source::{Heads, LogFilter, LogSource, SourceError};
use crate::event_store::Header;

/// Seconds between two scripted blocks.
const BLOCK_SECONDS: u64 = 12;

/// What a scripted block emits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emission {
    /// Who emits it.
    pub address: Address,
    /// Its topics.
    pub topics: Topics,
    /// Its data.
    pub data: Vec<u8>,
}

impl Emission {
    /// What a contract emits for an event with these values; `None`: they are too many to index.
    pub fn new(address: Address, event: &Event, values: &[DynSolValue]) -> Option<Self> {
        let mut topics = vec![event.selector()];
        let mut body = Vec::new();
        for (input, value) in event.inputs.iter().zip(values) {
            if !input.indexed {
                body.push(value.clone());
            } else if let Some(word) = value.as_word() {
                topics.push(word);
            } else {
                topics.push(keccak256(value.abi_encode_packed()));
            }
        }
        let data = DynSolValue::Tuple(body).abi_encode_params();
        Some(Self { address, topics: Topics::new(&topics)?, data })
    }
}

/// A scripted block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptedBlock {
    /// Its header.
    pub header: Header,
    /// Its logs.
    pub logs: Vec<ChainLog>,
}

/// A source whose chain is written by its owner. Clones share the chain.
#[derive(Debug, Clone)]
pub struct ScriptedSource {
    chain_id: ChainId,
    chain: Arc<Mutex<Chain>>,
}

#[derive(Debug)]
struct Chain {
    /// Canonical blocks, in order, from the first number on.
    blocks: Vec<ScriptedBlock>,
    /// Every block there ever was, by hash.
    all: BTreeMap<B256, ScriptedBlock>,
    finalized: Option<u64>,
    /// The newest block shown; a node that lags shows less than there is.
    shown: Option<u64>,
    /// Whether logs say when their block was.
    logs_have_times: bool,
    /// Requests that will fail.
    failures: u32,
}

impl ScriptedSource {
    /// A chain whose first block has this number and no logs.
    pub fn new(chain_id: ChainId, first: u64) -> Self {
        let root = B256::repeat_byte(0xfe);
        let genesis = block(root, first, 0, Vec::new());
        let all = BTreeMap::from([(genesis.header.block.hash, genesis.clone())]);
        let chain = Chain {
            blocks: vec![genesis],
            all,
            finalized: None,
            shown: None,
            logs_have_times: true,
            failures: 0,
        };
        Self { chain_id, chain: Arc::new(Mutex::new(chain)) }
    }

    /// Adds a block. Blocks of one parent with different `salt` are rivals.
    pub fn push(&self, salt: u64, emissions: Vec<Emission>) -> BlockRef {
        let mut chain = self.lock();
        let parent = chain.last().header.block;
        let block = block(parent.hash, parent.number + 1, salt, emissions);
        chain.all.insert(block.header.block.hash, block.clone());
        let reference = block.header.block;
        chain.blocks.push(block);
        reference
    }

    /// Takes back every block above `number`; returns them, oldest first.
    pub fn rewind(&self, number: u64) -> Vec<ScriptedBlock> {
        let mut chain = self.lock();
        let keep = chain.blocks.partition_point(|block| block.header.block.number <= number);
        chain.blocks.split_off(keep.max(1))
    }

    /// Puts blocks that were taken back onto the chain again, which must end at their parent.
    pub fn adopt(&self, blocks: Vec<ScriptedBlock>) {
        self.lock().blocks.extend(blocks);
    }

    /// Makes the chain final up to `number`.
    pub fn finalize(&self, number: u64) {
        self.lock().finalized = Some(number);
    }

    /// Shows no block above `number`, as a node that lags behind; `None` shows all.
    pub fn show_up_to(&self, number: Option<u64>) {
        self.lock().shown = number;
    }

    /// Leaves block times out of logs, as some providers do.
    pub fn hide_times(&self) {
        self.lock().logs_have_times = false;
    }

    /// Fails the next `count` requests.
    pub fn fail_next(&self, count: u32) {
        self.lock().failures = count;
    }

    /// The newest block.
    pub fn tip(&self) -> BlockRef {
        self.lock().tip().header.block
    }

    /// The canonical blocks, oldest first.
    pub fn blocks(&self) -> Vec<ScriptedBlock> {
        self.lock().blocks.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Chain> {
        // A test that panicked while holding the chain says so itself.
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer<T>(
        &self,
        answer: impl FnOnce(&Chain) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let mut chain = self.lock();
        if chain.failures > 0 {
            chain.failures -= 1;
            return Err(SourceError::Unavailable {
                endpoint: self.name(),
                attempts: 1,
                message: "told to fail".to_owned(),
            });
        }
        answer(&chain)
    }
}

impl Chain {
    fn tip(&self) -> &ScriptedBlock {
        let shown = self.shown.and_then(|number| self.at(number));
        shown.unwrap_or_else(|| self.last())
    }

    /// There is always a first block: `rewind` keeps it.
    fn last(&self) -> &ScriptedBlock {
        &self.blocks[self.blocks.len() - 1]
    }

    fn at(&self, number: u64) -> Option<&ScriptedBlock> {
        let first = self.blocks.first()?.header.block.number;
        self.blocks.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    fn seen(&self, number: u64) -> Option<&ScriptedBlock> {
        self.at(number).filter(|_| self.shown.is_none_or(|shown| number <= shown))
    }

    fn logs_of(&self, block: &ScriptedBlock, filter: &LogFilter) -> Vec<ChainLog> {
        let is_wanted = |log: &&ChainLog| filter.wants(&log.address, log.topics.as_slice().first());
        let wanted = block.logs.iter().filter(is_wanted);
        let hide = |mut log: ChainLog| {
            log.block_timestamp = log.block_timestamp.filter(|_| self.logs_have_times);
            log
        };
        wanted.cloned().map(hide).collect()
    }
}

impl LogSource for ScriptedSource {
    fn name(&self) -> String {
        "the scripted chain".to_owned()
    }

    async fn chain_id(&self) -> Result<ChainId, SourceError> {
        self.answer(|_| Ok(self.chain_id))
    }

    async fn heads(&self) -> Result<Heads, SourceError> {
        self.answer(|chain| {
            let finalized = chain.finalized.and_then(|number| chain.seen(number));
            let finalized = finalized.map(|block| block.header.block);
            Ok(Heads { latest: chain.tip().header, safe: finalized, finalized })
        })
    }

    async fn headers(&self, numbers: &[u64]) -> Result<Vec<Option<Header>>, SourceError> {
        self.answer(|chain| {
            Ok(numbers.iter().map(|number| Some(chain.seen(*number)?.header)).collect())
        })
    }

    async fn logs(
        &self,
        filter: LogFilter,
        from: u64,
        to: u64,
    ) -> Result<Vec<ChainLog>, SourceError> {
        self.answer(|chain| {
            let blocks = (from..=to).filter_map(|number| chain.seen(number));
            Ok(blocks.flat_map(|block| chain.logs_of(block, &filter)).collect())
        })
    }

    async fn logs_of_block(
        &self,
        filter: LogFilter,
        block: B256,
    ) -> Result<Vec<ChainLog>, SourceError> {
        self.answer(|chain| match chain.all.get(&block) {
            Some(block) => Ok(chain.logs_of(block, &filter)),
            None => Err(SourceError::Inconsistent {
                endpoint: self.name(),
                message: format!("unknown block {block}"),
            }),
        })
    }

    async fn changed(&self) {
        std::future::pending().await
    }
}

/// A block; its hash depends on everything in it but the logs.
fn block(parent_hash: B256, number: u64, salt: u64, emissions: Vec<Emission>) -> ScriptedBlock {
    let mut preimage = parent_hash.to_vec();
    preimage.extend(number.to_be_bytes());
    preimage.extend(salt.to_be_bytes());
    let hash = keccak256(preimage);
    let timestamp = number * BLOCK_SECONDS;
    let logs = (0..).zip(emissions).map(|(log_index, emission)| ChainLog {
        address: emission.address,
        topics: emission.topics,
        data: emission.data,
        block_number: number,
        block_hash: hash,
        block_timestamp: Some(timestamp),
        tx_hash: keccak256([hash.as_slice(), &u32::to_be_bytes(log_index)].concat()),
        log_index,
        removed: false,
    });
    let header = Header { block: BlockRef { number, hash, timestamp }, parent_hash };
    ScriptedBlock { header, logs: logs.collect() }
}
