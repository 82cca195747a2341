//! `assay observe`: ask contracts and accounts what no event says, and record the answers.

use std::path::PathBuf;

use assay::chain::observe::Observations;
use assay::chain::{Endpoint, Nodes, Patience};
use assay::observations::record;
use clap::Args;

use super::database::DatabaseArgs;

#[derive(Debug, Args)]
pub(super) struct ObserveArgs {
    /// What to ask: TOML with `[[call]]` (name, contract, function, arguments) and `[[account]]`
    /// (name, address, slots as "0x…").
    file: PathBuf,
    /// The node to ask. Repeat it, and calls are believed only if all say the same.
    #[arg(
        long,
        required = true,
        env = "ASSAY_RPC_URL",
        hide_env_values = true,
        value_delimiter = ' '
    )]
    rpc_url: Vec<String>,
    /// The block to ask at [default: the newest final one].
    #[arg(long)]
    block: Option<u64>,
}

pub(super) async fn run(database: &DatabaseArgs, args: ObserveArgs) -> anyhow::Result<()> {
    let observations = Observations::parse(&super::read_file(&args.file)?)?;
    let endpoints = args.rpc_url.iter().map(|url| Endpoint::parse(url));
    let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
    let chain_id = observations.chain_id;
    let nodes = Nodes::connect(endpoints, chain_id, Patience::default(), false).await?;
    let (block, events) = observations.ask(&nodes, args.block).await?;
    let (asked, store) = (events.len(), database.open().await?.store().await?);
    let new = record(&store, chain_id, block, events).await?;
    super::say(&format!("{asked} answers at block {} ({}), {new} new.", block.number, block.hash));
    Ok(())
}
