//! `assay oracle status`: what an operator at night wants to know first.

use alloy::primitives::{Address, U256};
use assay::agreement::{Comparison, LogView};
use assay_domain::Word;
use assay_oracle::chain::Chain;
use assay_oracle::contract::read_words;
use assay_oracle::outbox::Outbox;
use assay_oracle::publish::PublishError;
use assay_oracle::{Council, EntityKey};
use clap::Args;
use serde::Serialize;
use sqlx::PgPool;

use super::args::{ContractArgs, parse_peers};
use super::serve::RemoteLog;
use crate::command::database::DatabaseArgs;
use crate::command::feed::newest_reports;
use crate::command::{VerificationFailed, say};

/// A heartbeat comes every day; two hours later something is wrong.
pub(super) const MAX_AGE: u64 = 26 * 3_600;

#[derive(Debug, Args)]
pub(in crate::command) struct StatusArgs {
    #[command(flatten)]
    contract: ContractArgs,
    /// Address of a node whose log is compared with this one's; repeat for each.
    #[arg(long, value_name = "URL")]
    peer: Vec<String>,
    /// Ratings observed longer ago than this are stale.
    #[arg(long, value_name = "SECONDS", default_value_t = MAX_AGE)]
    max_age: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Status {
    oracle: Address,
    chain_id: u64,
    epoch: u32,
    threshold: u8,
    signers: Vec<Address>,
    paused: bool,
    head_block: u64,
    head_time: u64,
    /// Entities whose newest rating is on chain, is older there, is not there.
    current: usize,
    behind: usize,
    missing: usize,
    /// Entities whose rating on chain was observed too long ago, and the oldest age, seconds.
    stale: usize,
    oldest_age_seconds: Option<u64>,
    /// Newest rating this node has, and newest on chain, as canonical positions.
    newest_position: u64,
    published_position: u64,
    /// What the outbox still has to bring.
    due: u64,
    oldest_due_position: Option<u64>,
    open_batches: Vec<OpenBatch>,
    gas: Vec<Account>,
    peers: Vec<PeerStatus>,
}

#[derive(Debug, Serialize)]
struct OpenBatch {
    id: i64,
    phase: String,
    ratings: usize,
    deadline: u64,
    nonce: Option<u64>,
    attempts: usize,
}

#[derive(Debug, Serialize)]
struct Account {
    address: Address,
    balance_wei: U256,
    /// Next nonce: of the chain, and of the outbox. A gap is a transaction that is under way.
    chain_nonce: u64,
    outbox_nonce: u64,
}

#[derive(Debug, Serialize)]
struct PeerStatus {
    peer: String,
    #[serde(flatten)]
    comparison: Option<Comparison>,
    error: Option<String>,
}

pub(super) async fn run(database: &DatabaseArgs, args: StatusArgs) -> anyhow::Result<()> {
    let peers = parse_peers(&args.peer)?;
    let chain = args.contract.connect().await?;
    let open = database.open().await?;
    let pool = open.oracle().await?;
    let mut status = look(&chain, args.contract.oracle, &pool, args.max_age).await?;
    let view = LogView::new(open.store().await?);
    let mut partings = Vec::new();
    for peer in &peers {
        let compared = view.compare(&RemoteLog(peer)).await;
        let error = compared.as_ref().err().map(ToString::to_string);
        if let Ok(Comparison::Parted(parting)) = &compared {
            partings.push(format!("{peer}: {parting}"));
        }
        let comparison = compared.ok();
        status.peers.push(PeerStatus { peer: peer.to_string(), comparison, error });
    }
    say(&if args.json { serde_json::to_string(&status)? } else { told(&status) });
    if partings.is_empty() { Ok(()) } else { Err(VerificationFailed(partings.join("\n")).into()) }
}

/// Asks the contract and the outbox.
pub(super) async fn look(
    chain: &Chain,
    oracle: Address,
    pool: &PgPool,
    max_age: u64,
) -> anyhow::Result<Status> {
    let council = Council::read(chain, oracle).await?;
    let head = chain.head().await?;
    let reports = newest_reports(pool).await?;
    let entities: Vec<EntityKey> = reports.iter().map(|(entity, _)| *entity).collect();
    let words = read_words(chain, oracle, &entities).await?;
    let (mut current, mut behind, mut missing, mut stale) = (0, 0, 0, 0);
    let (mut newest_position, mut published_position, mut oldest_age_seconds) = (0, 0, None);
    for ((_, ours), stored) in reports.iter().zip(words) {
        let ours = Word::unpack(*ours)?.fields();
        newest_position = ours.log_pos.max(newest_position);
        if stored.is_zero() {
            missing += 1;
            continue;
        }
        let stored = Word::unpack(stored)?.fields();
        if stored.seq >= ours.seq {
            current += 1
        } else {
            behind += 1
        }
        published_position = stored.log_pos.max(published_position);
        let age = head.time.saturating_sub(stored.as_of);
        stale += usize::from(age > max_age);
        oldest_age_seconds = Some(age.max(oldest_age_seconds.unwrap_or_default()));
    }
    let outbox = Outbox::open(pool, chain, oracle).await.map_err(PublishError::from)?;
    let (due, oldest_due_position) = outbox.due(head.time).await?;
    let batches = outbox.open_batches().await?;
    let open_batches = batches.into_iter().map(|open| OpenBatch {
        id: open.id,
        phase: format!("{:?}", open.submission.phase),
        ratings: open.batch.reports().len(),
        deadline: open.submission.deadline,
        nonce: open.nonce,
        attempts: open.attempts.len(),
    });
    let mut gas = Vec::new();
    for (address, outbox_nonce) in outbox.senders().await? {
        let balance_wei = chain.balance(address).await?;
        let chain_nonce = chain.nonce(address).await?;
        gas.push(Account { address, balance_wei, chain_nonce, outbox_nonce });
    }
    Ok(Status {
        oracle,
        chain_id: chain.chain_id(),
        epoch: council.epoch,
        threshold: council.threshold,
        signers: council.signers,
        paused: council.is_paused,
        head_block: head.number,
        head_time: head.time,
        current,
        behind,
        missing,
        stale,
        oldest_age_seconds,
        newest_position,
        published_position,
        due,
        oldest_due_position,
        open_batches: open_batches.collect(),
        gas,
        peers: Vec::new(),
    })
}

impl Status {
    /// The same as numbers, in the text format of Prometheus.
    pub(super) fn metrics(&self) -> String {
        let oracle = format!("chain=\"{}\",oracle=\"{}\"", self.chain_id, self.oracle);
        let mut text = String::new();
        let mut gauge = |name: &str, labels: &str, value: String| {
            let line = format!("assay_oracle_{name}{{{oracle}{labels}}} {value}\n");
            text.push_str(&line);
        };
        for (state, count) in [
            ("current", self.current),
            ("behind", self.behind),
            ("missing", self.missing),
            ("stale", self.stale),
        ] {
            gauge("ratings", &format!(",state=\"{state}\""), count.to_string());
        }
        let oldest = self.oldest_age_seconds.unwrap_or_default();
        gauge("oldest_age_seconds", "", oldest.to_string());
        gauge("due", "", self.due.to_string());
        gauge("open_batches", "", self.open_batches.len().to_string());
        gauge("paused", "", u8::from(self.paused).to_string());
        gauge("published_position", "", self.published_position.to_string());
        for account in &self.gas {
            let label = format!(",account=\"{}\"", account.address);
            gauge("gas_wei", &label, account.balance_wei.to_string());
        }
        text
    }
}

fn told(status: &Status) -> String {
    let mut lines = vec![
        format!(
            "oracle     {} on chain {}, block {}{}",
            status.oracle,
            status.chain_id,
            status.head_block,
            if status.paused { ": PAUSED by its guardian" } else { "" }
        ),
        format!(
            "signers    {} of {} must sign, epoch {}",
            status.threshold,
            status.signers.len(),
            status.epoch
        ),
        format!(
            "ratings    {} current, {} behind, {} not on chain, {} stale; the oldest observed {} s \
             ago",
            status.current,
            status.behind,
            status.missing,
            status.stale,
            status.oldest_age_seconds.unwrap_or_default()
        ),
        format!(
            "positions  {} rated, {} on chain; {} ratings due{}",
            status.newest_position,
            status.published_position,
            status.due,
            status.oldest_due_position.map_or_else(String::new, |at| format!(" since {at}"))
        ),
    ];
    lines.extend(status.open_batches.iter().map(|batch| {
        format!(
            "batch {:<4} {} ratings, {}, deadline {}, {} transaction(s){}",
            batch.id,
            batch.ratings,
            batch.phase,
            batch.deadline,
            batch.attempts,
            batch.nonce.map_or_else(String::new, |nonce| format!(", nonce {nonce}"))
        )
    }));
    lines.extend(status.gas.iter().map(|account| {
        format!(
            "gas key    {}: {} wei, nonce {} on chain, {} here",
            account.address, account.balance_wei, account.chain_nonce, account.outbox_nonce
        )
    }));
    lines.extend(status.peers.iter().map(|peer| {
        let verdict = match (&peer.comparison, &peer.error) {
            (Some(Comparison::Same { end }), _) => format!("same log up to {}", end.position),
            (Some(Comparison::TheyAreBehind { end }), _) => {
                format!("same log, behind: at {}", end.position)
            }
            (Some(Comparison::WeAreBehind { end }), _) => {
                format!("same log, ahead: we are at {}", end.position)
            }
            (Some(Comparison::Parted(parting)), _) => format!("PARTED: {parting}"),
            (None, error) => error.clone().unwrap_or_default(),
        };
        format!("peer       {}: {verdict}", peer.peer)
    }));
    lines.join("\n")
}
