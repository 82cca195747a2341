//! `assay demo --nodes`: several nodes on this machine, each with its own database and its own key.
//!
//! Each imports the ledger and rates it by itself, and serves its signatures and its log over HTTP.
//! The first collects a quorum and sends; the others look, find everything there, and send nothing.

use std::collections::BTreeMap;
use std::fmt;

use alloy::primitives::{Address, B256};
use anyhow::{Context as _, bail};
use assay::agreement::{Comparison, LogView, Mark};
use assay_oracle::outbox::live_positions;
use assay_oracle::{
    Node, Observer, OracleId, Peer, Policy, Publication, Published, RatingSigner, publish_once,
};
use serde::Serialize;
use sqlx::PgPool;
use tokio::net::TcpListener;

use super::VerificationFailed;
use super::database::Open;
use super::feed::{Feed, LocalChain};
use super::oracle::{RemoteLog, routes};
use super::progress::during;

/// Positions whose signatures are shown.
const SHOWN_MAX: u16 = 16;

/// What the nodes did.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    threshold: u8,
    nodes: Vec<NodeTold>,
    batches: Vec<BatchTold>,
    /// Where all logs end.
    log: Mark,
    agree: bool,
}

#[derive(Debug, Serialize)]
struct NodeTold {
    signer: Address,
    url: String,
    /// Transactions it sent.
    transactions: usize,
    /// Ratings that they stored.
    ratings: usize,
}

/// What was signed: the same digest on every node.
#[derive(Debug, Serialize)]
struct BatchTold {
    position: u64,
    ratings: usize,
    digest: B256,
    signers: Vec<Address>,
}

/// A node of the demo.
struct Member {
    /// Dropped last.
    pool: PgPool,
    view: LogView,
    signer: RatingSigner,
    peer: Peer,
    url: String,
}

pub(super) async fn publish(first: &Open, count: u8) -> anyhow::Result<(Feed, Told)> {
    let threshold = count / 2 + 1;
    let local = LocalChain::start(&first.oracle().await?).await?;
    let signers: Vec<RatingSigner> = (0..count).map(|_| RatingSigner::random()).collect();
    let oracle = local.deploy(&signers, threshold).await?;
    let mut members = Vec::new();
    let mut siblings = Vec::new();
    for (number, signer) in (1..).zip(signers) {
        let member = if number == 1 {
            member(first, &local, oracle, signer).await?
        } else {
            let open = first.sibling(&format!("node_{number}")).await?;
            let rating = async {
                super::demo::import_ledger(&open).await?;
                anyhow::Ok(open.rater().await?.catch_up().await?)
            };
            during("the other nodes import the ledger and rate", rating).await?;
            let member = member(&open, &local, oracle, signer).await?;
            siblings.push(open);
            member
        };
        members.push(member);
    }
    let batches = votes(&members, oracle).await?;
    let mut told = Vec::new();
    for member in &members {
        let published = send(member, &members, &local, oracle).await?;
        told.push(NodeTold {
            signer: member.signer.address(),
            url: member.url.clone(),
            transactions: published.transactions,
            ratings: published.ratings,
        });
    }
    let log = same_log(&members).await?;
    let agree = batches.iter().all(|batch| batch.signers.len() == members.len());
    let told = Told { threshold, nodes: told, batches, log, agree };
    if !agree {
        return Err(VerificationFailed(told.to_string()).into());
    }
    Ok((Feed::new(local, oracle.address), told))
}

/// Starts a node's server.
async fn member(
    open: &Open,
    local: &LocalChain,
    oracle: OracleId,
    signer: RatingSigner,
) -> anyhow::Result<Member> {
    let (pool, view) = (open.oracle().await?, LogView::new(open.store().await?));
    let keys = vec![signer.clone()];
    let rpc_url = local.anvil.rpc_url().to_owned();
    let node = Node::new(pool.clone(), rpc_url, oracle, keys, Policy::development());
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen")?;
    let url = format!("http://{}", listener.local_addr()?);
    let router = routes(view.clone(), vec![node], pool.clone());
    // Ends with the program.
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(Member { pool, view, signer, peer: url.parse()?, url })
}

/// What each node signs when it is asked by the first.
async fn votes(members: &[Member], oracle: OracleId) -> anyhow::Result<Vec<BatchTold>> {
    let Some(first) = members.first() else { bail!("there is no node") };
    let mut batches: BTreeMap<(u64, B256), BatchTold> = BTreeMap::new();
    for position in live_positions(&first.pool, SHOWN_MAX).await? {
        let mut deadline = None;
        for member in members {
            for share in member.peer.shares(oracle, position, deadline).await? {
                let digest = share.verified_digest()?;
                deadline = Some(share.deadline);
                let ratings = share.batch()?.reports().len();
                batches
                    .entry((position, digest))
                    .or_insert(BatchTold { position, ratings, digest, signers: Vec::new() })
                    .signers
                    .push(share.signer);
            }
        }
    }
    Ok(batches.into_values().collect())
}

/// Lets a node publish whatever is still due, with the others as its peers.
async fn send(
    member: &Member,
    members: &[Member],
    local: &LocalChain,
    oracle: OracleId,
) -> anyhow::Result<Published> {
    let peers = members.iter().filter(|other| other.url != member.url);
    let publication = Publication {
        rpc_url: local.anvil.rpc_url().to_owned(),
        oracle,
        signers: vec![member.signer.clone()],
        peers: peers.map(|other| other.peer.clone()).collect(),
        gas_key: local.another_gas_key().await?,
        policy: Policy { turn_seconds: 0, ..Policy::development() },
        observer: Observer::silent(),
    };
    let publishing = publish_once(&member.pool, &publication);
    Ok(during("collecting signatures and publishing", publishing).await?)
}

/// Compares every log with the first one's.
async fn same_log(members: &[Member]) -> anyhow::Result<Mark> {
    let Some((first, others)) = members.split_first() else { bail!("there is no node") };
    let mut log = first.view.head().await?;
    for other in others {
        match first.view.compare(&RemoteLog(&other.peer)).await? {
            Comparison::Same { end } => log = end,
            Comparison::Parted(parting) => {
                return Err(VerificationFailed(format!("{}: {parting}", other.url)).into());
            }
            behind => bail!("{}: {behind:?}", other.url),
        }
    }
    Ok(log)
}

impl Told {
    /// How many keys of how many.
    pub(super) fn quorum(&self) -> String {
        format!("{} of {}", self.threshold, self.nodes.len())
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.nodes.len();
        writeln!(
            f,
            "{count} nodes, each with its own database and key; {} must sign. Their logs are the \
             same up to position {}, {}.",
            self.quorum(),
            self.log.position,
            self.log.canonical_hash
        )?;
        for batch in &self.batches {
            writeln!(
                f,
                "position {}: {} ratings, digest {}, signed by {} of {count}",
                batch.position,
                batch.ratings,
                batch.digest,
                batch.signers.len()
            )?;
        }
        for (number, node) in (1..).zip(&self.nodes) {
            let (signer, url) = (node.signer, &node.url);
            let (sent, stored) = (node.transactions, node.ratings);
            let did = match sent {
                0 => "found everything on chain and sent nothing".to_owned(),
                _ => format!(
                    "collected signatures and landed {stored} ratings in {sent} transactions"
                ),
            };
            writeln!(f, "node {number} ({signer}, {url}) {did}")?;
        }
        Ok(())
    }
}
