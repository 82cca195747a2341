//! What the binary can be asked to do, a file each. Wires the crates together; nobody imports it.

mod archive;
mod attest;
mod backtest;
mod database;
mod demo;
mod feed;
mod frontier;
mod import;
mod ingest;
mod loss;
mod metadata;
mod methodology;
mod nodes;
mod observe;
mod oracle;
mod progress;
mod query;
mod run;
mod story;
mod stress;
mod table;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Credit ratings for Ethereum restaking that anyone can replay.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  \
    assay demo --once                 rate the shipped mainnet ledger, show the ratings, stop\n  \
    assay import logs.jsonl --chain-id 1\n  \
    assay query graphql/operations/01-leaderboard.graphql\n  \
    assay verify                      recompute every hash and every rating action"
)]
pub(crate) struct Args {
    #[command(flatten)]
    database: database::DatabaseArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Rate the shipped mainnet slashing ledger, publish to a local chain, serve GraphQL.
    Demo(demo::DemoArgs),
    /// Follow a live chain: record, rate and serve, for as long as it runs.
    Run(run::RunArgs),
    /// Record a chain, and neither rate nor serve.
    Ingest(ingest::IngestArgs),
    /// Append `eth_getLogs` objects, one a line (plain, gzip or zstd), or an Assay archive.
    Import(import::ImportArgs),
    /// Answer a GraphQL query from the database, without a server.
    Query(query::QueryArgs),
    /// Recompute the chain of hashes and every rating action from position 1, and compare.
    Verify(verify::VerifyArgs),
    /// Throw the read model away and write it anew from the log.
    Rebuild,
    /// The oracle contract: deploy, sign, submit, rotate, stop, look after.
    #[command(subcommand)]
    Oracle(oracle::OracleCommand),
    /// Sign a message (a claim, a registration), or record a signed one in the log.
    Attest(attest::AttestArgs),
    /// The log in a file: all of it as Parquet, or a slice of a chain as it was told.
    #[command(subcommand)]
    Archive(archive::ArchiveCommand),
    /// Names of operators and AVSs, from a file or from where they say.
    #[command(subcommand)]
    Metadata(metadata::MetadataCommand),
    /// Ask contracts and accounts what no event says, and record the answers with their block.
    Observe(observe::ObserveArgs),
    /// The exact loss distribution of blocks in a JSON file.
    Loss(loss::LossArgs),
    /// Walk the log forward: what was said before each slash, and how the forecasts did.
    Backtest(backtest::BacktestArgs),
    /// What the ratings would be if something happened.
    Stress(stress::StressArgs),
    /// Which methodology this is, and what another would have said.
    Methodology(methodology::MethodologyArgs),
    /// The least tail risk for each reward, a premium, a hurdle, a lender's ceiling.
    Frontier(frontier::FrontierArgs),
    /// Print the GraphQL schema.
    Schema,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Demo(demo) => demo::run(&args.database, demo).await,
        Command::Run(run) => run::run(&args.database, run).await,
        Command::Ingest(ingest) => ingest::run(&args.database, ingest).await,
        Command::Import(import) => import::run(&args.database, import).await,
        Command::Query(query) => query::run(&args.database, query).await,
        Command::Verify(verify) => verify::run(&args.database, verify).await,
        Command::Rebuild => verify::rebuild(&args.database).await,
        Command::Oracle(command) => oracle::run(&args.database, command).await,
        Command::Attest(attest) => attest::run(&args.database, attest).await,
        Command::Archive(command) => archive::run(&args.database, command).await,
        Command::Metadata(command) => metadata::run(&args.database, command).await,
        Command::Observe(observe) => observe::run(&args.database, observe).await,
        Command::Loss(loss) => loss::run(loss),
        Command::Backtest(backtest) => backtest::run(&args.database, backtest).await,
        Command::Stress(stress) => stress::run(&args.database, stress).await,
        Command::Methodology(found) => methodology::run(&args.database, found).await,
        Command::Frontier(frontier) => frontier::run(frontier),
        Command::Schema => {
            say(&assay_graphql::sdl());
            Ok(())
        }
    }
}

/// Something was checked and found different: exit code 4.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct VerificationFailed(pub(crate) String);

/// 4 where a check failed, 1 for every other error (2 is clap's).
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<VerificationFailed>() { ExitCode::from(4) } else { ExitCode::FAILURE }
}

/// Results go to standard output; everything else to standard error.
#[expect(clippy::print_stdout, reason = "the one place where results leave the program")]
fn say(text: &str) {
    println!("{}", text.trim_end());
}

/// Returns when the user or the system asks the program to stop.
async fn stopped() {
    let interrupt = tokio::signal::ctrl_c();
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = interrupt => {}
            _ = terminate.recv() => {}
        },
        // Without a handler the system's own way of stopping still works.
        Err(_) => drop(interrupt.await),
    }
}

/// Reads a file whole, naming it in the error.
fn read_file(path: &PathBuf) -> anyhow::Result<String> {
    use anyhow::Context as _;
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
