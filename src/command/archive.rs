//! `assay archive`: the whole log as Parquet, out and in; and a slice of a chain as the archive
//! that `assay import` reads.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;

use alloy::primitives::B256;
use alloy::rpc::types::Log;
use anyhow::{Context as _, bail};
use assay::archive::{self, Header};
use assay::chain::decode::Decoder;
use assay::chain::deployment::Contracts;
use assay::chain::import::Import;
use assay::event_store::{canonical_hash, check_log};
use assay_domain::{ChainId, Fact};
use clap::{Args, Subcommand};

use super::database::DatabaseArgs;
use super::progress::during;

#[derive(Debug, Subcommand)]
pub(super) enum ArchiveCommand {
    /// Write the whole log to a Parquet file.
    Export {
        /// Where it goes.
        file: PathBuf,
    },
    /// Read such a file into an empty database: every hash is recomputed, and nothing is kept of
    /// a file with anything wrong in it.
    Import {
        /// What `export` wrote.
        file: PathBuf,
        /// Refuse a log that ends in another hash than this.
        #[arg(long)]
        hash: Option<B256>,
    },
    /// Recompute every hash of such a file, without a database.
    Check {
        /// What `export` wrote.
        file: PathBuf,
    },
    /// Write an archive of a slice of a chain from `eth_getLogs` objects.
    Write(WriteArgs),
}

#[derive(Debug, Args)]
pub(super) struct WriteArgs {
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

pub(super) async fn run(database: &DatabaseArgs, command: ArchiveCommand) -> anyhow::Result<()> {
    match command {
        ArchiveCommand::Export { file } => {
            let open = database.open().await?;
            let store = open.store().await?;
            let head = during("writing the log", store.export_log(&file)).await?;
            super::say(&format!(
                "{}: {} events, hash {}",
                file.display(),
                head.position,
                head.hash
            ));
            Ok(())
        }
        ArchiveCommand::Import { file, hash } => {
            let open = database.open().await?;
            let store = open.store().await?;
            let head = during("reading the log", store.import_log(&file, hash)).await?;
            let rated = during("rating", open.rater().await?.catch_up()).await?;
            assay::documents::project(&store).await?;
            super::say(&format!(
                "{}: every hash holds; the store is at position {}, hash {}. Rated: {} rating actions; \
                 the canonical log is at position {}.",
                file.display(),
                head.position,
                head.hash,
                rated.actions,
                rated.head.position
            ));
            Ok(())
        }
        ArchiveCommand::Check { file } => {
            let head = check_log(&file)?;
            let (position, hash) = (head.position, head.hash);
            super::say(&format!("{}: {position} events, hash {hash}", file.display()));
            Ok(())
        }
        ArchiveCommand::Write(args) => write(&args),
    }
}

fn write(args: &WriteArgs) -> anyhow::Result<()> {
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
    archive::write(&args.out, &header, logs(args, &facts)?)?;
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
fn logs(args: &WriteArgs, facts: &[Fact]) -> anyhow::Result<Vec<Log>> {
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
