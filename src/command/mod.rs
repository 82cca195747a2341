//! What the binary can be asked to do, a file each. Wires the crates together; nobody imports it.

mod alerts;
mod archive;
mod attest;
mod backtest;
mod config;
mod database;
mod db;
mod demo;
mod doctor;
mod failure;
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
mod read;
mod replay;
mod run;
mod schema;
mod serve;
mod serving;
mod settings;
mod story;
mod stress;
mod table;
mod verify;
mod world;

use std::io::Write as _;
use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub(crate) use failure::{VerificationFailed, exit_code};

/// Credit ratings for Ethereum restaking that anyone can replay.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  \
    assay demo --once                 rate the shipped mainnet ledger, show the ratings, stop\n  \
    assay demo --world                a made-up year with something on every page\n  \
    assay ls sets --sort riskiest     who is rated how\n  \
    assay explain avs-1-0x12b75d5e…   why, and what would change it\n  \
    assay doctor                      whether everything is in order here\n\n\
    Exit codes: 0 done, 1 failed, 2 not understood, 3 not found, 4 compared and different,\n\
    5 unhealthy, 6 network, 7 database, 8 a limit is broken, 9 a breaking change,\n\
    130 interrupted."
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
    #[command(before_help = "Example: assay demo --world")]
    Demo(demo::DemoArgs),
    /// Who is rated how; exit code 8 with --fail-below.
    Ls(read::LsArgs),
    /// One entity: rating, what drives it, what was said last, where it is published.
    Show(read::ShowArgs),
    /// Why a rating is what it is, and what would change it.
    Explain(read::ExplainArgs),
    /// How a rating moved; with --actions what was said.
    History(read::HistoryArgs),
    /// What changed between two points of the record.
    Diff(read::DiffArgs),
    /// Entities side by side.
    Compare(read::CompareArgs),
    /// Who holds a token's assets and who can slash them; exit code 8 if a policy is broken.
    LookThrough(read::LookThroughArgs),
    /// How far stake is above what attacks would gain, and how far a shock can spread.
    Network(read::NetworkArgs),
    /// Who was slashed, of what, and how long it is still there.
    Slashings(read::SlashingsArgs),
    /// What is new, as JSON lines; resumes with --after.
    Watch(read::WatchArgs),
    /// A whole table, as CSV or JSON lines.
    Export(read::ExportArgs),
    /// Whether everything is in order here, and what to do if not; exit code 5 if not.
    Doctor(doctor::DoctorArgs),
    /// Answer assistants over the Model Context Protocol, on standard input and output.
    #[cfg(feature = "mcp")]
    Mcp(read::McpArgs),
    /// Follow a live chain: record, rate and serve, for as long as it runs.
    #[command(
        before_help = "Example: assay run --rpc-url wss://node.example --listen 0.0.0.0:4747"
    )]
    Run(Box<run::RunArgs>),
    /// Serve a database that another process writes: GraphQL and the dashboard, read only.
    #[command(before_help = "Example: assay serve --listen 0.0.0.0:4747")]
    Serve(serve::ServeArgs),
    /// Record a chain, and neither rate nor serve.
    #[command(before_help = "Example: assay ingest --rpc-url https://node.example --once")]
    Ingest(ingest::IngestArgs),
    /// Append `eth_getLogs` objects, one a line (plain, gzip or zstd), or an Assay archive.
    #[command(before_help = "Example: assay import logs.jsonl.zst --chain-id 1")]
    Import(import::ImportArgs),
    /// Answer a GraphQL query from the database, without a server.
    #[command(
        before_help = "Example: assay query graphql/operations/why.graphql --var slug=avs-1-0x…\n         assay query FILE --dry-run"
    )]
    Query(query::QueryArgs),
    /// Recompute the chain of hashes and every rating action from position 1, and compare.
    #[command(before_help = "Example: assay verify")]
    Verify(verify::VerifyArgs),
    /// Fold and rate the log in memory up to a position: the hashes that two machines compare.
    Replay(replay::ReplayArgs),
    /// The database: status, schema, a shell, backups, a new beginning.
    #[command(subcommand)]
    #[command(before_help = "Example: assay db backup assay.dump")]
    Db(db::DbCommand),
    /// Throw the read model away and write it anew from the log.
    #[command(before_help = "Example: assay rebuild")]
    Rebuild,
    /// The oracle contract: deploy, sign, submit, rotate, stop, look after.
    #[command(subcommand)]
    #[command(
        before_help = "Example: assay oracle status --oracle 0x… --oracle-rpc-url https://node.example"
    )]
    Oracle(oracle::OracleCommand),
    /// Sign a message (a claim, a registration), or record a signed one in the log.
    #[command(
        before_help = "Example: assay attest claim.json --sign --keystore key.json --password-file password"
    )]
    Attest(attest::AttestArgs),
    /// The log in a file: all of it as Parquet, or a slice of a chain as it was told.
    #[command(subcommand)]
    #[command(before_help = "Example: assay archive export log.parquet")]
    Archive(archive::ArchiveCommand),
    /// Names of operators and AVSs, from a file or from where they say.
    #[command(subcommand)]
    #[command(before_help = "Example: assay metadata fetch")]
    Metadata(metadata::MetadataCommand),
    /// Ask contracts and accounts what no event says, and record the answers with their block.
    #[command(before_help = "Example: assay observe renzo --rpc-url https://node.example")]
    Observe(observe::ObserveArgs),
    /// The exact loss distribution of blocks in a JSON file.
    #[command(before_help = "Example: assay loss blocks.json --json")]
    Loss(loss::LossArgs),
    /// Walk the log forward: what was said before each slash, and how the forecasts did.
    #[command(before_help = "Example: assay backtest --svg backtest.svg")]
    Backtest(backtest::BacktestArgs),
    /// What the ratings would be if something happened.
    #[command(before_help = "Example: assay stress --slash 0x…=50% --price 0x…=-20%")]
    Stress(stress::StressArgs),
    /// What the ratings would be if this happened: before, after, and what drives the change.
    #[command(name = "whatif")]
    WhatIf(read::WhatIfArgs),
    /// Which methodology this is, and what another would have said.
    #[command(before_help = "Example: assay methodology compare other.json")]
    Methodology(methodology::MethodologyArgs),
    /// The least tail risk for each reward, a premium, a hurdle, a lender's ceiling.
    #[command(
        before_help = "Example: assay frontier candidates.json\n         assay frontier --of lrt-1-0x… --url http://127.0.0.1:4747"
    )]
    Frontier(frontier::FrontierArgs),
    /// Print the GraphQL schema, or what it breaks of an older one; exit code 9 if anything.
    #[command(
        before_help = "Example: assay schema > schema.graphql\n         assay schema --json > schema.json\n         assay schema --diff schema.graphql"
    )]
    Schema(schema::SchemaArgs),
    /// Who is told of what happens: how far each is, and a message to try it.
    #[command(subcommand)]
    #[command(before_help = "Example: assay alerts test --webhooks webhooks.toml")]
    Alerts(alerts::AlertsCommand),
    /// Write assay.toml: every setting of a node, with what it is for and its default.
    Init(settings::InitArgs),
    /// What a command runs with, and where each value comes from.
    #[command(subcommand)]
    #[command(before_help = "Example: assay config show run --origin")]
    Config(config::ConfigCommand),
    /// Print the completions of a shell.
    #[command(
        before_help = "Example: assay completions bash > ~/.local/share/bash-completion/completions/assay"
    )]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print a page of the manual.
    #[command(before_help = "Example: assay man ls | man -l -")]
    Man {
        /// Of this command [default: assay itself].
        command: Option<String>,
    },
}

impl Args {
    /// What was typed, over what the environment and the file of settings say.
    pub(crate) fn from_command_line() -> Self {
        Self::from_arg_matches(&settings::matches()).unwrap_or_else(|error| error.exit())
    }
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Demo(demo) => demo::run(&args.database, demo).await,
        Command::Run(run) => run::run(&args.database, *run).await,
        Command::Serve(serve) => serve::run(&args.database, serve).await,
        Command::Ingest(ingest) => ingest::run(&args.database, ingest).await,
        Command::Import(import) => import::run(&args.database, import).await,
        Command::Query(query) => query::run(&args.database, query).await,
        Command::Verify(verify) => verify::run(&args.database, verify).await,
        Command::Replay(replay) => replay::run(&args.database, replay).await,
        Command::Db(command) => db::run(&args.database, command).await,
        Command::Rebuild => verify::rebuild(&args.database).await,
        Command::Oracle(command) => oracle::run(&args.database, command).await,
        Command::Attest(attest) => attest::run(&args.database, attest).await,
        Command::Archive(command) => archive::run(&args.database, command).await,
        Command::Metadata(command) => metadata::run(&args.database, command).await,
        Command::Observe(observe) => observe::run(&args.database, observe).await,
        Command::Loss(loss) => loss::run(loss),
        Command::Backtest(backtest) => backtest::run(&args.database, backtest).await,
        Command::Stress(stress) => stress::run(&args.database, stress).await,
        Command::WhatIf(what_if) => read::what_if(&args.database, what_if).await,
        Command::Methodology(found) => methodology::run(&args.database, found).await,
        Command::Frontier(frontier) => frontier::run(&args.database, frontier).await,
        Command::Ls(ls) => read::ls(&args.database, ls).await,
        Command::Show(show) => read::show(&args.database, show).await,
        Command::Explain(explain) => read::explain(&args.database, explain).await,
        Command::History(history) => read::history(&args.database, history).await,
        Command::Diff(diff) => read::diff(&args.database, diff).await,
        Command::Compare(compare) => read::compare(&args.database, compare).await,
        Command::LookThrough(token) => read::look_through(&args.database, token).await,
        Command::Network(network) => read::network(&args.database, network).await,
        Command::Slashings(slashings) => read::slashings(&args.database, slashings).await,
        Command::Watch(watch) => read::watch(&args.database, watch).await,
        Command::Export(export) => read::export(&args.database, export).await,
        Command::Doctor(doctor) => doctor::run(&args.database, doctor).await,
        #[cfg(feature = "mcp")]
        Command::Mcp(mcp) => read::mcp(&args.database, mcp).await,
        Command::Alerts(command) => alerts::run(&args.database, command).await,
        Command::Init(init) => settings::init(&init),
        Command::Config(command) => config::run(&args.database, command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "assay", &mut script);
            write(&script)
        }
        Command::Man { command } => man(command.as_deref()),
        Command::Schema(schema) => schema::run(&schema).await,
    }
}

/// Results go to standard output; everything else to standard error.
fn say(text: &str) {
    let _said = write(format!("{}\n", text.trim_end_matches(['\r', '\n', ' '])).as_bytes());
}

/// Writes a part of a result. A reader that has gone away has read enough: the program ends.
fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}

/// Prints a page of the manual.
fn man(name: Option<&str>) -> anyhow::Result<()> {
    let mut all = Args::command();
    all.build();
    let command = match name {
        None => all,
        Some(name) => all.find_subcommand(name).cloned().ok_or_else(|| {
            failure::Failure::NotFound(format!(
                "there is no command {name}; `assay --help` lists them"
            ))
        })?,
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    write(&page)
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
