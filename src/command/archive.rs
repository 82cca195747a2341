//! `assay archive`: write an archive of a slice of a chain.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;

use alloy::rpc::types::Log;
use anyhow::{Context as _, bail};
use assay::archive::{self, Header};
use assay::chain::decode::Decoder;
use assay::chain::deployment::Contracts;
use assay::chain::import::Import;
use assay::event_store::canonical_hash;
use assay_domain::{ChainId, Fact};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct ArchiveArgs {
    /// `eth_getLogs` objects, one a line.
    file: PathBuf,
    /// The chain that the logs are of.
    #[arg(long)]
    chain_id: ChainId,
    /// Where the archive goes.
    #[arg(long)]
    out: PathBuf,
    /// Where the logs are from, for people.
    #[arg(long)]
    source: String,
    /// Anything else a person should know.
    #[arg(long, default_value = "")]
    note: String,
}

pub(super) fn run(args: ArchiveArgs) -> anyhow::Result<()> {
    let decoder = Decoder::new(Contracts::of_chain(args.chain_id)?);
    let import = Import::read_file(&args.file, &decoder)
        .with_context(|| format!("{} was not archived", args.file.display()))?;
    let mut facts: Vec<Fact> = Vec::new();
    for batch in import.batches()? {
        facts.extend(batch?.facts);
    }
    let (Some(first), Some(last)) = (facts.first(), facts.last()) else {
        bail!("{} holds no log of EigenLayer's contracts", args.file.display());
    };
    let mut header =
        Header::new(args.chain_id, first.block.number..=last.block.number, facts.len() as u64);
    header.source.clone_from(&args.source);
    header.canonical_hash = canonical_hash(&facts);
    header.note = match import.report().estimated_times {
        0 => args.note.clone(),
        count => format!(
            "{} The block times of {count} logs are not told by their source; they are estimated \
             from their neighbours.",
            args.note
        ),
    };
    archive::write(&args.out, &header, logs(&args, &facts)?)?;
    super::say(&format!(
        "{}: {} logs of blocks {} to {}, canonical hash {}",
        args.out.display(),
        header.facts,
        header.first_block,
        header.last_block,
        header.canonical_hash
    ));
    Ok(())
}

/// The logs that became facts, in order, each with the time of its block.
fn logs(args: &ArchiveArgs, facts: &[Fact]) -> anyhow::Result<Vec<Log>> {
    let times: BTreeMap<(u64, u32), u64> = facts
        .iter()
        .map(|fact| ((fact.block.number, fact.log_index), fact.block.timestamp))
        .collect();
    let mut logs = BTreeMap::new();
    let file = BufReader::new(std::fs::File::open(&args.file)?);
    for (number, line) in file.lines().enumerate() {
        let line = line?;
        let mut log: Log = serde_json::from_str(&line)
            .with_context(|| format!("line {} is no plain log object", number + 1))?;
        let log_index = log.log_index.and_then(|index| u32::try_from(index).ok());
        if let Some(place) = log.block_number.zip(log_index)
            && let Some(time) = times.get(&place)
        {
            log.block_timestamp = Some(*time);
            logs.insert(place, log);
        }
    }
    Ok(logs.into_values().collect())
}
