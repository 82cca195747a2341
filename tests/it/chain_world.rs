//! A scripted chain with something on it, and a sink that keeps what ingestion says in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use alloy::primitives::{Address, B256, U256, keccak256};
use assay::chain::scripted::Emission;
use assay::chain::{ChainLog, Contract, Resume, ScriptedSource, Sink, Topics};
use assay::event_store::{Appended, Batch};
use assay_domain::{ChainId, Fact};

use crate::chain_decode::{address_of, mainnet};

/// The first block of every scripted chain.
pub(crate) const FIRST: u64 = 1_000;

/// Logs of a block: share increases, one in between of somebody else, different for each seed.
pub(crate) fn emissions(seed: u64, count: u64) -> Vec<Emission> {
    use std::sync::LazyLock;
    static TOPIC: LazyLock<B256> =
        LazyLock::new(|| keccak256("OperatorSharesIncreased(address,address,address,uint256)"));
    let address = address_of(Contract::DelegationManager);
    let one = |index: u64| {
        let operator = B256::left_padding_from(&(index + 1).to_be_bytes());
        let shares = U256::from(seed).to_be_bytes::<32>();
        let data = [[0; 32], operator.0, shares].concat();
        let address = if index % 5 == 3 { Address::repeat_byte(0xee) } else { address };
        Emission { address, topics: Topics::new(&[*TOPIC, operator]).unwrap(), data }
    };
    (0..count).map(one).collect()
}

/// A chain of `blocks` blocks with up to three logs each.
pub(crate) fn chain(blocks: u64) -> ScriptedSource {
    let source = ScriptedSource::new(1, FIRST);
    for n in 0..blocks {
        source.push(0, emissions(n, n % 4));
    }
    source
}

/// What a chain's blocks up to `last` state, by the chain itself.
pub(crate) fn truth(source: &ScriptedSource, last: u64) -> Vec<Fact> {
    let decoder = mainnet();
    let blocks = source.blocks();
    let visible = blocks.iter().filter(|block| block.header.block.number <= last);
    let logs: Vec<_> = visible.flat_map(|block| block.logs.iter().cloned()).collect();
    let decode = |log: ChainLog| {
        let time = log.block_timestamp.unwrap();
        decoder.decode(log, time).unwrap()
    };
    // Twice: an announcement counts for its whole block.
    logs.iter().cloned().for_each(|log| drop(decode(log)));
    logs.into_iter().filter_map(decode).collect()
}

/// Keeps batches as the event store does, and checks what the event store checks.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemorySink(pub(crate) Arc<Mutex<Memory>>);

#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) state: Option<Resume>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) batches: u64,
    /// Crash at the append with this number: before it is kept, or after.
    pub(crate) crash_before: Option<u64>,
    pub(crate) crash_after: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
#[error("crashed as told")]
pub(crate) struct Crash;

impl MemorySink {
    /// The facts that stand, in canonical order.
    pub(crate) fn standing(&self) -> Vec<Fact> {
        let memory = self.0.lock().unwrap();
        let orphaned = memory.state.as_ref().map(|state| state.orphaned.clone());
        let orphaned = orphaned.unwrap_or_default();
        let stands = |fact: &&Fact| !orphaned.contains(&fact.block.hash);
        let mut facts: Vec<_> = memory.facts.iter().filter(stands).cloned().collect();
        facts.sort_by_key(Fact::key);
        facts
    }

    pub(crate) fn state(&self) -> Resume {
        self.0.lock().unwrap().state.clone().unwrap_or_default()
    }
}

impl Memory {
    fn keep(&mut self, batch: &Batch) -> Appended {
        let mut state = self.state.take().unwrap_or_default();
        if let Some(revert) = &batch.revert {
            let finalized = state.finalized.map_or(0, |block| block.number);
            assert!(revert.to.number >= finalized, "a revert behind finality");
            state.window.retain(|header| header.block.number <= revert.to.number);
            state.orphaned.extend(&revert.orphaned);
            let above = self.facts.iter().filter(|fact| fact.block.number > revert.to.number);
            assert!(above.into_iter().all(|fact| state.orphaned.contains(&fact.block.hash)));
        }
        assert_eq!(batch.restored.is_empty(), batch.restored_head.is_none());
        for hash in &batch.restored {
            assert!(state.orphaned.remove(hash), "restored, but never taken back");
        }
        let mut known: BTreeMap<(u64, u32), BTreeSet<B256>> = BTreeMap::new();
        for fact in &self.facts {
            let place = (fact.block.number, fact.log_index);
            known.entry(place).or_default().insert(fact.block.hash);
        }
        assert!(batch.facts.is_sorted_by_key(|fact| (fact.block.number, fact.log_index)));
        let mut appended = Appended { appended: 0, skipped: 0, position: 0, hash: B256::ZERO };
        for fact in &batch.facts {
            assert!(!state.orphaned.contains(&fact.block.hash), "a fact of an orphan");
            let place = (fact.block.number, fact.log_index);
            let hashes = known.remove(&place).unwrap_or_default();
            let rivals = hashes.iter().filter(|hash| !state.orphaned.contains(*hash));
            assert!(rivals.into_iter().all(|hash| *hash == fact.block.hash), "a standing rival");
            if hashes.contains(&fact.block.hash) {
                appended.skipped += 1;
            } else {
                appended.appended += 1;
                self.facts.push(fact.clone());
            }
        }
        state.window.extend(&batch.headers);
        for pair in state.window.windows(2) {
            assert_eq!(pair[1].parent_hash, pair[0].block.hash, "a gap in the headers");
        }
        if let Some(block) = batch.finalized {
            assert!(state.finalized.is_none_or(|known| known.number < block.number));
            state.window.retain(|header| header.block.number >= block.number);
            state.finalized = Some(block);
        }
        state.next_block = batch.next_block.unwrap_or(state.next_block);
        self.state = Some(state);
        appended
    }
}

impl Sink for MemorySink {
    type Error = Crash;

    async fn resume(&mut self, _: ChainId) -> Result<Resume, Crash> {
        Ok(self.state())
    }

    async fn append(&mut self, batch: &Batch) -> Result<Appended, Crash> {
        let mut memory = self.0.lock().unwrap();
        memory.batches += 1;
        if memory.crash_before == Some(memory.batches) {
            return Err(Crash);
        }
        let appended = memory.keep(batch);
        if memory.crash_after == Some(memory.batches) { Err(Crash) } else { Ok(appended) }
    }
}
