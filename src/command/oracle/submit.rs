//! `assay oracle submit`: whoever has m signatures can bring a batch. Needs no database.

use std::collections::BTreeMap;
use std::path::PathBuf;

use alloy::primitives::{Address, B256};
use anyhow::{Context as _, bail};
use assay_oracle::contract::{IRatingOracle, administer, outcomes};
use assay_oracle::share::Share;
use assay_oracle::{Ballot, Council, OracleId, Peer};
use clap::Args;
use serde_json::json;

use super::args::{ContractArgs, PayerArgs, parse_peers};
use crate::command::{read_file, say};

#[derive(Debug, Args)]
pub(in crate::command) struct SubmitArgs {
    #[command(flatten)]
    contract: ContractArgs,
    #[command(flatten)]
    payer: PayerArgs,
    /// Files that `assay oracle sign` printed.
    #[arg(required_unless_present = "peer")]
    files: Vec<PathBuf>,
    /// Address of a node to ask; repeat for each.
    #[arg(long, value_name = "URL", requires = "position")]
    peer: Vec<String>,
    /// Canonical position to ask the nodes for.
    #[arg(long)]
    position: Option<u64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: SubmitArgs) -> anyhow::Result<()> {
    let key = args.payer.key().await?;
    let chain = args.contract.connect().await?;
    let mut shares = Vec::new();
    for path in &args.files {
        let found: Vec<Share> = serde_json::from_str(&read_file(path)?)
            .with_context(|| format!("{} holds no signatures", path.display()))?;
        shares.extend(found);
    }
    if let Some(position) = args.position {
        shares.extend(collect(&parse_peers(&args.peer)?, args.contract.id(), position).await);
    }
    let oracle = args.contract.id();
    let council = Council::read(&chain, oracle.address).await?;
    let decided = decide(&council, oracle, &shares)?;
    let (mut stored, mut skipped, mut transactions) = (Vec::new(), Vec::new(), Vec::new());
    for (share, ballot) in &decided {
        let quorum = ballot.quorum().context("a decided ballot has a quorum")?;
        let batch = share.batch()?;
        let call = IRatingOracle::pushCall {
            entries: batch.entries(),
            bitmap: quorum.bitmap,
            signatures: quorum.signatures.into(),
            deadline: batch.message(share.epoch, share.deadline)?.deadline,
        };
        let receipt = administer(&chain, &key, oracle.address, &call).await?;
        transactions.push(receipt.block_number);
        for (entity, seq, skip) in outcomes(&receipt, oracle.address) {
            match skip {
                None => stored.push(json!({ "entity": entity.0, "seq": seq })),
                Some(reason) => skipped.push(
                    json!({ "entity": entity.0, "seq": seq, "reason": format!("{reason:?}") }),
                ),
            }
        }
    }
    if args.json {
        let told = json!({ "blocks": transactions, "stored": stored, "skipped": skipped });
        say(&told.to_string());
    } else {
        say(&format!(
            "{} ratings stored, {} skipped, in {} transaction(s)",
            stored.len(),
            skipped.len(),
            transactions.len()
        ));
    }
    Ok(())
}

/// Asks each node; the first that answers chooses the deadline.
async fn collect(peers: &[Peer], oracle: OracleId, position: u64) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for peer in peers {
        let deadline = shares.first().map(|share| share.deadline);
        match peer.shares(oracle, position, deadline).await {
            Ok(found) => shares.extend(found),
            Err(error) => tracing::warn!(%error, "no signatures"),
        }
    }
    shares
}

/// The batches that enough signers have signed. What no signer has signed does not count.
fn decide<'a>(
    council: &'a Council,
    oracle: OracleId,
    shares: &[Share],
) -> anyhow::Result<Vec<(Share, Ballot<'a>)>> {
    let mut ballots: BTreeMap<B256, (Share, Ballot<'a>)> = BTreeMap::new();
    let mut strangers: Vec<Address> = Vec::new();
    for share in shares {
        if share.oracle_id() != oracle {
            bail!("a signature is for {} on chain {}", share.oracle, share.chain_id);
        }
        if share.epoch != council.epoch {
            bail!(
                "a signature is for epoch {}, the contract's is {}: the signers were rotated; sign \
                 again",
                share.epoch,
                council.epoch
            );
        }
        let digest = share.verified_digest()?;
        let (_, ballot) =
            ballots.entry(digest).or_insert_with(|| (share.clone(), Ballot::new(council, digest)));
        if ballot.count(share.signature).is_none() {
            strangers.push(share.signer);
        }
    }
    let most = ballots.values().map(|(_, ballot)| ballot.votes()).max().unwrap_or_default();
    let mut decided: Vec<_> =
        ballots.into_values().filter(|(_, ballot)| ballot.is_decided()).collect();
    if decided.is_empty() {
        bail!(
            "{most} signers have signed one batch, {} must; {} signature(s) are of nobody who may \
             sign",
            council.threshold,
            strangers.len()
        );
    }
    decided.sort_by_key(|(share, _)| share.position);
    Ok(decided)
}
