//! `assay import`: history from a file, through the same path as live logs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use assay::chain::decode::Decoder;
use assay::chain::deployment::Contracts;
use assay::chain::import::{Import, ImportReport, OpenInput};
use assay::event_store::EventStore;
use assay_domain::ChainId;
use clap::Args;

use super::database::DatabaseArgs;
use super::progress::during;

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
    let path = args.file.clone();
    let input: OpenInput = Box::new(move || Ok(Box::new(std::fs::File::open(&path)?)));
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

/// Reads the whole input and finds it good before anything is appended.
pub(super) async fn import(
    store: &EventStore,
    input: OpenInput,
    chain_id: ChainId,
) -> anyhow::Result<Imported> {
    let decoder = Decoder::new(Contracts::of_chain(chain_id)?);
    let import = Import::read(input, &decoder)?;
    let mut imported =
        Imported { report: import.report().clone(), appended: 0, skipped: 0 };
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
