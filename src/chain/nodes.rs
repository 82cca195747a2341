//! One or several nodes of a chain as one source: the next is asked where one fails, two are
//! compared, and a block's receipts decide between them.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use alloy::consensus::BlockHeader;
use alloy::primitives::{Address, B256, Bytes};
use alloy::rpc::types::{EIP1186AccountProofResponse, Header as WholeHeader};
use assay_domain::ChainId;
use futures_util::future::{join, select_all};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::chain_log::ChainLog;
use super::endpoint::Endpoint;
use super::receipts::{Unproven, prove_header, prove_logs, prove_receipts};
use super::rpc_source::RpcSource;
use super::source::{Heads, LogFilter, LogSource, Patience, SourceError};
use crate::event_store::Header;

/// Headers and receipts under way at a time while a range is proven.
const PROOFS_AT_ONCE: usize = 8;

/// Attempts at a node when there is another one to ask.
const ATTEMPTS_WITH_ANOTHER: u32 = 2;

/// The nodes of one chain.
#[derive(Debug)]
pub struct Nodes {
    nodes: Vec<RpcSource>,
    /// Which of them is asked first.
    first: AtomicUsize,
    verify_receipts: bool,
}

impl Nodes {
    /// Connects to all that answer; one that answers for another chain is an error. With
    /// `verify_receipts` every block that may hold a log of ours is proven complete.
    pub async fn connect(
        endpoints: Vec<Endpoint>,
        expected: ChainId,
        mut patience: Patience,
        verify_receipts: bool,
    ) -> Result<Self, SourceError> {
        if endpoints.len() > 1 {
            patience.attempts_max = patience.attempts_max.min(ATTEMPTS_WITH_ANOTHER);
        }
        let mut nodes = Vec::with_capacity(endpoints.len());
        let mut failure = None;
        for endpoint in endpoints {
            match RpcSource::connect(endpoint, expected, patience).await {
                Ok(node) => nodes.push(node),
                Err(error @ SourceError::WrongChain { .. }) => return Err(error),
                Err(error) => {
                    tracing::warn!(error = %error, "a node is left out until the next start");
                    failure = Some(error);
                }
            }
        }
        match failure {
            Some(error) if nodes.is_empty() => Err(error),
            _ => Ok(Self { nodes, first: AtomicUsize::new(0), verify_receipts }),
        }
    }

    /// The nodes, the one to ask first leading.
    fn in_turn(&self) -> impl Iterator<Item = (usize, &RpcSource)> {
        let first = self.first.load(Ordering::Relaxed);
        let (before, from) = self.nodes.split_at(first.min(self.nodes.len()));
        (first..).zip(from).chain((0..).zip(before))
    }

    /// Asks one node after the other until one answers.
    async fn ask<'a, T, F>(
        &'a self,
        question: impl Fn(&'a RpcSource) -> F,
    ) -> Result<T, SourceError>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        let mut failure = None;
        for (index, node) in self.in_turn() {
            match question(node).await {
                Ok(answer) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                // A smaller question helps more than another node.
                Err(error @ SourceError::TooLarge { .. }) => return Err(error),
                Err(error) => {
                    if self.nodes.len() > 1 {
                        tracing::warn!(error = %error, "asking the next node");
                    }
                    failure = Some(error);
                }
            }
        }
        // There is at least one node, so there is a failure.
        Err(failure.unwrap_or_else(|| self.inconsistent("no node".to_owned())))
    }

    /// Asks two nodes; where they differ, the receipts of the block decide.
    async fn compare<'a, F>(
        &'a self,
        filter: &LogFilter,
        question: impl Fn(&'a RpcSource) -> F,
    ) -> Result<Vec<ChainLog>, SourceError>
    where
        F: Future<Output = Result<Vec<ChainLog>, SourceError>>,
    {
        let mut two = self.in_turn().map(|(_, node)| node);
        let (Some(one), Some(other)) = (two.next(), two.next()) else {
            return self.ask(question).await;
        };
        match join(question(one), question(other)).await {
            (Ok(logs), Ok(others)) => self.settle([one, other], filter, logs, others).await,
            (Err(error @ SourceError::TooLarge { .. }), _)
            | (_, Err(error @ SourceError::TooLarge { .. })) => Err(error),
            (Ok(logs), Err(error)) | (Err(error), Ok(logs)) => {
                tracing::warn!(error = %error, "one node alone was asked");
                Ok(logs)
            }
            (Err(_), Err(_)) => self.ask(question).await,
        }
    }

    async fn settle(
        &self,
        nodes: [&RpcSource; 2],
        filter: &LogFilter,
        mut logs: Vec<ChainLog>,
        others: Vec<ChainLog>,
    ) -> Result<Vec<ChainLog>, SourceError> {
        if prove_logs(&logs, &others).is_ok() {
            return Ok(logs);
        }
        let numbers: BTreeSet<u64> =
            logs.iter().chain(&others).map(|log| log.block_number).collect();
        for number in numbers {
            let one = logs.get(place_of(&logs, number)).unwrap_or_default();
            let other = others.get(place_of(&others, number)).unwrap_or_default();
            if prove_logs(one, other).is_ok() {
                continue;
            }
            let hashes: BTreeSet<B256> =
                one.iter().chain(other).map(|log| log.block_hash).collect();
            let (Some(hash), 1) = (hashes.first(), hashes.len()) else {
                return Err(self.inconsistent(format!("block {number} has several hashes")));
            };
            let proven = self
                .ask(|node| async {
                    let header = node.whole_header(json!(hash)).await?;
                    proven_logs(node, &header, *hash, filter, one).await
                })
                .await?;
            for (node, claimed) in nodes.iter().zip([one, other]) {
                if let Err(unproven) = prove_logs(&proven, claimed) {
                    tracing::error!(rpc.endpoint = %node.name(), error = %unproven, "a node is wrong");
                }
            }
            let at = place_of(&logs, number);
            logs.splice(at, proven);
        }
        Ok(logs)
    }

    /// The header of a block, its hash recomputed. Every node must know the same block.
    pub(super) async fn proven_header(&self, number: u64) -> Result<WholeHeader, SourceError> {
        let mut proven: Option<WholeHeader> = None;
        for node in &self.nodes {
            let header = node.whole_header(json!(format!("{number:#x}"))).await?;
            prove_header(&header, header.hash).map_err(|unproven| wrong(node, unproven))?;
            if header.number() != number || proven.is_some_and(|other| other.hash != header.hash) {
                return Err(self.inconsistent(format!("block {number} has several hashes")));
            }
            proven = Some(header);
        }
        proven.ok_or_else(|| self.inconsistent("no node".to_owned()))
    }

    /// What each node says that a contract answers to a call at this very block.
    pub(super) async fn view(
        &self,
        contract: Address,
        input: &Bytes,
        block: B256,
    ) -> Result<Vec<(String, Bytes)>, SourceError> {
        let mut answers = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let call = json!({ "to": contract, "data": input });
            let params = json!([call, { "blockHash": block }]);
            answers.push((node.name(), node.answer("eth_call", params).await?));
        }
        Ok(answers)
    }

    /// An account and some of its slots at this very block, with proofs, and who gave them.
    pub(super) async fn account_proof(
        &self,
        account: Address,
        slots: &[B256],
        block: B256,
    ) -> Result<(String, EIP1186AccountProofResponse), SourceError> {
        let params = json!([account, slots, { "blockHash": block }]);
        self.ask(|node| {
            let params = params.clone();
            async { Ok((node.name(), node.answer("eth_getProof", params).await?)) }
        })
        .await
    }

    fn inconsistent(&self, message: String) -> SourceError {
        SourceError::Inconsistent { endpoint: self.name(), message }
    }
}

/// Where the logs of a block lie among logs in the order of the chain.
fn place_of(logs: &[ChainLog], number: u64) -> Range<usize> {
    logs.partition_point(|log| log.block_number < number)
        ..logs.partition_point(|log| log.block_number <= number)
}

/// Proves every block of a range, and that `logs` are all that it holds that are asked for.
async fn prove_range(
    node: &RpcSource,
    filter: &LogFilter,
    from: u64,
    to: u64,
    logs: &[ChainLog],
) -> Result<(), SourceError> {
    let headers = stream::iter(from..=to)
        .map(|number| node.whole_header(json!(format!("{number:#x}"))))
        .buffered(PROOFS_AT_ONCE);
    let proofs = headers
        .map_ok(|header| async move {
            let claimed = logs.get(place_of(logs, header.number())).unwrap_or_default();
            prove_block(node, &header, header.hash, filter, claimed).await?;
            Ok((header.number(), header.parent_hash(), header.hash))
        })
        .try_buffered(PROOFS_AT_ONCE);
    let mut proofs = std::pin::pin!(proofs);
    let mut parent = None;
    while let Some((number, parent_hash, hash)) = proofs.try_next().await? {
        if parent.is_some_and(|parent| parent != parent_hash) {
            let message = format!("block {number} is no child of the block before it");
            return Err(node.inconsistent(message));
        }
        parent = Some(hash);
    }
    Ok(())
}

async fn prove_block(
    node: &RpcSource,
    header: &WholeHeader,
    hash: B256,
    filter: &LogFilter,
    claimed: &[ChainLog],
) -> Result<(), SourceError> {
    // Where the bloom holds none of ours, there is nothing to fetch: no log is the whole truth.
    let proven = if filter.may_be_in(&header.logs_bloom()) {
        proven_logs(node, header, hash, filter, claimed).await?
    } else {
        prove_header(header, hash).map_err(|unproven| wrong(node, unproven))?;
        Vec::new()
    };
    prove_logs(&proven, claimed).map_err(|unproven| wrong(node, unproven))
}

async fn proven_logs(
    node: &RpcSource,
    header: &WholeHeader,
    hash: B256,
    filter: &LogFilter,
    claimed: &[ChainLog],
) -> Result<Vec<ChainLog>, SourceError> {
    prove_header(header, hash).map_err(|unproven| wrong(node, unproven))?;
    let receipts = node.receipts(hash).await?;
    prove_receipts(header, &receipts, filter, claimed).map_err(|unproven| wrong(node, unproven))
}

fn wrong(node: &RpcSource, unproven: Unproven) -> SourceError {
    SourceError::Unproven { endpoint: node.name(), unproven: Box::new(unproven) }
}

impl LogSource for Nodes {
    fn name(&self) -> String {
        self.in_turn().map(|(_, node)| node.name()).collect::<Vec<_>>().join(" and ")
    }

    async fn chain_id(&self) -> Result<ChainId, SourceError> {
        self.ask(RpcSource::chain_id).await
    }

    async fn heads(&self) -> Result<Heads, SourceError> {
        self.ask(RpcSource::heads).await
    }

    async fn headers(&self, numbers: &[u64]) -> Result<Vec<Option<Header>>, SourceError> {
        self.ask(|node| node.headers(numbers)).await
    }

    async fn logs(
        &self,
        filter: LogFilter,
        from: u64,
        to: u64,
    ) -> Result<Vec<ChainLog>, SourceError> {
        if !self.verify_receipts {
            let question = |node| RpcSource::logs(node, filter.clone(), from, to);
            return self.compare(&filter, question).await;
        }
        self.ask(|node| async {
            let logs = node.logs(filter.clone(), from, to).await?;
            prove_range(node, &filter, from, to, &logs).await?;
            Ok(logs)
        })
        .await
    }

    async fn logs_of_block(
        &self,
        filter: LogFilter,
        block: B256,
    ) -> Result<Vec<ChainLog>, SourceError> {
        if !self.verify_receipts {
            let question = |node| RpcSource::logs_of_block(node, filter.clone(), block);
            return self.compare(&filter, question).await;
        }
        self.ask(|node| async {
            let logs = node.logs_of_block(filter.clone(), block).await?;
            let header = node.whole_header(json!(block)).await?;
            prove_block(node, &header, block, &filter, &logs).await?;
            Ok(logs)
        })
        .await
    }

    async fn changed(&self) {
        select_all(self.nodes.iter().map(|node| node.changed().boxed())).await;
    }
}
