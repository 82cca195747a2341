//! `assay oracle sign`: this node's signatures over the batches of a position.

use anyhow::Context as _;
use assay_oracle::outbox::live_positions;
use assay_oracle::{Node, Policy};
use clap::Args;

use super::args::{ContractArgs, SignerArgs};
use crate::command::database::DatabaseArgs;
use crate::command::say;

#[derive(Debug, Args)]
pub(in crate::command) struct SignArgs {
    #[command(flatten)]
    contract: ContractArgs,
    #[command(flatten)]
    signers: SignerArgs,
    /// Canonical position at which the ratings were decided [default: the newest].
    #[arg(long)]
    position: Option<u64>,
    /// Last second at which the contract takes them, as another signer has chosen it.
    #[arg(long, value_name = "SECONDS")]
    deadline: Option<u64>,
}

pub(super) async fn run(database: &DatabaseArgs, args: SignArgs) -> anyhow::Result<()> {
    let keys = args.signers.keys().await?;
    let open = database.open().await?;
    let pool = open.oracle().await?;
    let position = match args.position {
        Some(position) => position,
        None => live_positions(&pool, 1).await?.pop().context("nothing is rated yet")?,
    };
    let node = Node::new(
        pool,
        args.contract.chain.oracle_rpc_url.clone(),
        args.contract.id(),
        keys,
        Policy::mainnet(),
    );
    let shares = node.sign(position, args.deadline).await?;
    say(&serde_json::to_string(&shares)?);
    Ok(())
}
