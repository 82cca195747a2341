//! `assay metadata`: names for operators and AVSs, from a file or from where they say.

use std::path::PathBuf;

use anyhow::Context as _;
use assay::documents::fetch::{Limits, fetch};
use assay::documents::{Document, record, wanted};
use assay_domain::ChainId;
use clap::{Args, Subcommand};
use futures_util::{StreamExt as _, stream};

use super::database::DatabaseArgs;

/// Documents fetched at once.
const FETCHES_AT_ONCE: usize = 4;

#[derive(Debug, Subcommand)]
pub(super) enum MetadataCommand {
    /// Record documents of a file: `{"document": PATH, "metadata": {…}}`, one a line.
    Import(ImportArgs),
    /// Fetch what operators and AVSs name on chain. Asks hosts that strangers chose: https only,
    /// public addresses only, small and quick answers only.
    Fetch(FetchArgs),
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The file.
    file: PathBuf,
    /// What goes before each PATH to make it the URI that is named on chain.
    #[arg(long, default_value = "")]
    base: String,
    /// The chain whose operators and AVSs name the documents.
    #[arg(long, default_value_t = 1)]
    chain_id: ChainId,
}

#[derive(Debug, Args)]
pub(super) struct FetchArgs {
    /// The chain.
    #[arg(long, default_value_t = 1)]
    chain_id: ChainId,
}

pub(super) async fn run(database: &DatabaseArgs, command: MetadataCommand) -> anyhow::Result<()> {
    match command {
        MetadataCommand::Import(args) => import(database, args).await,
        MetadataCommand::Fetch(args) => from_the_net(database, args).await,
    }
}

async fn import(database: &DatabaseArgs, args: ImportArgs) -> anyhow::Result<()> {
    let text = super::read_file(&args.file)?;
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let read = |(number, line): (usize, &str)| {
        Document::parse_line(&args.base, line)
            .with_context(|| format!("{}, line {number}", args.file.display()))
    };
    let documents = lines.map(read).collect::<anyhow::Result<Vec<_>>>()?;
    let store = database.open().await?.store().await?;
    let new = record(&store, args.chain_id, &documents).await?;
    super::say(&format!("{} documents read, {new} of them new or changed.", documents.len()));
    Ok(())
}

async fn from_the_net(database: &DatabaseArgs, args: FetchArgs) -> anyhow::Result<()> {
    let store = database.open().await?.store().await?;
    let uris = wanted(&store, args.chain_id).await?;
    let asked = stream::iter(uris).map(|uri| async move {
        let fetched = fetch(&uri, Limits::default()).await;
        if let Err(error) = &fetched {
            tracing::warn!(uri, error = %error, "no name from there");
        }
        fetched.ok()
    });
    let answers: Vec<Option<Document>> = asked.buffer_unordered(FETCHES_AT_ONCE).collect().await;
    let asked = answers.len();
    let documents: Vec<Document> = answers.into_iter().flatten().collect();
    let new = record(&store, args.chain_id, &documents).await?;
    super::say(&format!(
        "{asked} documents asked for, {} answered, {new} of them new or changed.",
        documents.len()
    ));
    Ok(())
}
