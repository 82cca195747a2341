//! `assay observe`: ask contracts and accounts what no event says, and record the answers.

use std::path::PathBuf;

use assay::chain::observe::Observations;
use assay::observations::record;
use assay_domain::Event;
use clap::Args;

use super::database::DatabaseArgs;
use super::ingest::RpcArgs;

#[derive(Debug, Args)]
pub(super) struct ObserveArgs {
    /// What to ask: `renzo`, `puffer` or `eigenlayer` (who governs it), or a file: TOML with `[[call]]`
    /// (name, contract, function, arguments) and `[[account]]` (name, address, slots as "0x…").
    list: PathBuf,
    #[command(flatten)]
    rpc: RpcArgs,
    /// The block to ask at [default: the newest final one].
    #[arg(long)]
    block: Option<u64>,
}

pub(super) async fn run(database: &DatabaseArgs, args: ObserveArgs) -> anyhow::Result<()> {
    let observations = match args.list.to_str().and_then(Observations::shipped) {
        Some(text) => Observations::parse(text)?,
        None => Observations::parse(&super::read_file(&args.list)?)?,
    };
    let chain_id = observations.chain_id;
    let nodes = args.rpc.connect(chain_id, false).await?;
    let (block, observed) = observations.ask(&nodes, args.block).await?;
    for one in &observed {
        if let Event::ViewObserved { name, .. } | Event::AccountProven { name, .. } = &one.event {
            let figures = one.said.get("figures").unwrap_or(&one.said);
            super::say(&format!("{name}: {figures}"));
        }
    }
    let (asked, store) = (observed.len(), database.open().await?.store().await?);
    let new = record(&store, chain_id, block, observed).await?;
    super::say(&format!("{asked} answers at block {} ({}), {new} new.", block.number, block.hash));
    Ok(())
}
