//! `assay import`: history from a file, through the same path as live logs.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use alloy::rpc::types::Log;
use anyhow::{Context as _, bail};
use assay::archive::{self, Archive, ArchiveError};
use assay::chain::decode::Decoder;
use assay::chain::deployment::Contracts;
use assay::chain::import::{Import, ImportReport, OpenInput};
use assay::event_store::EventStore;
use assay_domain::ChainId;
use clap::Args;

use super::database::DatabaseArgs;
use super::progress::during;

/// An archive's first line is shorter than this.
const HEADER_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// `eth_getLogs` objects, one a line (plain, gzip or zstd), or an Assay archive.
    file: PathBuf,
    /// The chain that the logs are of.
    #[arg(long)]
    chain_id: ChainId,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What an import did.
#[derive(Debug)]
pub(super) struct Imported {
    pub(super) report: ImportReport,
    pub(super) appended: u64,
    pub(super) skipped: u64,
}

pub(super) async fn run(database: &DatabaseArgs, args: ImportArgs) -> anyhow::Result<()> {
    // Refuse what cannot be a file of logs before a server is started for it.
    std::fs::metadata(&args.file)
        .with_context(|| format!("cannot read {}", args.file.display()))?;
    let open = database.open().await?;
    let store = open.store().await?;
    let input = if is_archive(&args.file)? {
        archive_input(&args.file, args.chain_id)?
    } else {
        let path = args.file.clone();
        Box::new(move || Ok(Box::new(std::fs::File::open(&path)?) as Box<dyn Read + Send>))
    };
    let imported = import(&store, input, args.chain_id)
        .await
        .with_context(|| format!("{} was not imported", args.file.display()))?;
    let rated = during("rating", open.rater().await?.catch_up()).await?;
    if args.json {
        let events: &BTreeMap<String, u64> = &imported.report.events;
        let result = serde_json::json!({
            "events": events,
            "appended": imported.appended,
            "skipped": imported.skipped,
            "foreign": imported.report.foreign,
            "estimated_times": imported.report.estimated_times,
            "canonical_position": rated.head.position.to_string(),
            "canonical_hash": rated.head.hash.to_string(),
            "rating_actions": rated.actions,
        });
        super::say(&result.to_string());
    } else {
        super::say(&summary(&imported));
        super::say(&format!(
            "Rated: {} rating actions; the canonical log is at position {}.",
            rated.actions, rated.head.position
        ));
    }
    Ok(())
}

/// Whether the file is an archive of Assay's, by its first line.
fn is_archive(path: &Path) -> anyhow::Result<bool> {
    let file = std::fs::File::open(path)?;
    let Ok(decoder) = zstd::Decoder::new(file) else { return Ok(false) };
    let mut line = String::new();
    let read = BufReader::new(decoder).take(HEADER_BYTES_MAX).read_line(&mut line);
    Ok(read.is_ok() && archive::is_header(line.trim_end()))
}

/// The logs of an archive, which is read to its end and found whole first.
pub(super) fn archive_input(path: &Path, chain_id: ChainId) -> anyhow::Result<OpenInput> {
    let archive = Archive::open(path)?;
    let found = archive.header().chain_id;
    if found != chain_id {
        bail!("{} is an archive of chain {found}, not of {chain_id}", path.display());
    }
    Ok(Box::new(move || {
        let logs = archive.logs().map_err(std::io::Error::other)?;
        Ok(Box::new(LogLines { logs: Box::new(logs), line: std::io::Cursor::default() }))
    }))
}

/// Logs as the lines they would be in a plain file.
struct LogLines {
    logs: Box<dyn Iterator<Item = Result<Log, ArchiveError>> + Send>,
    line: std::io::Cursor<Vec<u8>>,
}

impl Read for LogLines {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let read = self.line.read(into)?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            let Some(log) = self.logs.next() else { return Ok(0) };
            let mut line = serde_json::to_vec(&log.map_err(std::io::Error::other)?)?;
            line.push(b'\n');
            self.line = std::io::Cursor::new(line);
        }
    }
}

/// Reads the whole input and finds it good before anything is appended.
pub(super) async fn import(
    store: &EventStore,
    input: OpenInput,
    chain_id: ChainId,
) -> anyhow::Result<Imported> {
    let decoder = Decoder::new(Contracts::of_chain(chain_id)?);
    decoder.learn(&store.announcements(chain_id).await?);
    let import = Import::read(input, &decoder)?;
    let mut imported = Imported { report: import.report().clone(), appended: 0, skipped: 0 };
    for batch in import.batches()? {
        let appended = store.append(&batch?).await?;
        imported.appended += appended.appended;
        imported.skipped += appended.skipped;
    }
    Ok(imported)
}

fn summary(imported: &Imported) -> String {
    let report = &imported.report;
    let mut lines = vec![format!(
        "{} events added, {} were there already, {} of other contracts left out.",
        imported.appended, imported.skipped, report.foreign
    )];
    if report.estimated_times > 0 {
        lines.push(format!(
            "{} lines lack a block time; it was estimated from their neighbours.",
            report.estimated_times
        ));
    }
    for (name, count) in &report.events {
        lines.push(format!("  {count:>8} {name}"));
    }
    lines.join("\n")
}
