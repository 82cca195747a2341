//! `assay doctor`: is everything in order here, and if not, what to do.

mod host;
mod node;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy::primitives::Address;
use assay::db::MIGRATIONS;
use assay::rater::Reflected;
use assay::webhook::Place;
use assay_domain::ChainId;
use assay_domain::methodology::Methodology;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::database::{DatabaseArgs, Open};
use super::failure::Failure;
use super::progress::during;
use super::read::{Format, ServerArgs, Sheet, Source, clean, group};

/// Rows whose hashes are recomputed; `assay verify` does all.
const TAIL: u64 = 1_000;

/// Clocks further apart than this put a wrong age on a rating.
const SKEW_SECONDS_MAX: u64 = 5;

/// Unless told: two epochs of finality, as `/ready` has it.
const LAG_BLOCKS_MAX: u64 = 64;

#[derive(Debug, Args)]
#[command(
    before_help = "Example: assay doctor --rpc-url https://node.example --lag-max 64\n         \
                   assay doctor --fix --secret-file signer.json"
)]
pub(super) struct DoctorArgs {
    /// A node to be tried; repeat it for each.
    #[arg(
        long,
        value_name = "URL",
        env = "ASSAY_RPC_URL",
        hide_env_values = true,
        value_delimiter = ' '
    )]
    rpc_url: Vec<String>,
    /// A keystore or password file that nobody else may read; repeat it for each.
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
    /// Above this many blocks behind its chain a node that should follow it is ill [default: it
    /// may be a replay, and is only told of].
    #[arg(long, value_name = "BLOCKS")]
    lag_max: Option<u64>,
    /// Where the API is to be served [default: 127.0.0.1:4747, and another program there is only
    /// told of].
    #[arg(long, value_name = "ADDRESS", conflicts_with = "url")]
    listen: Option<SocketAddr>,
    /// The account that pays for publications; its balance is asked of --oracle-rpc-url.
    #[arg(long, value_name = "ADDRESS", requires = "oracle_rpc_url")]
    submitter: Option<Address>,
    /// A node of the oracle contract's chain.
    #[arg(long, value_name = "URL", env = "ASSAY_ORACLE_RPC_URL", hide_env_values = true)]
    oracle_rpc_url: Option<String>,
    /// The oracle contract's chain.
    #[arg(long, default_value_t = 1)]
    oracle_chain_id: ChainId,
    /// Mend what can be mended safely, and say each thing done: modes of the data directory and of
    /// secret files, missing migrations, a read model that is not there or behind. What would add
    /// to the log is left.
    #[arg(long, conflicts_with = "url")]
    fix: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Somebody should look.
    Warning,
    /// It does not work.
    Bad,
}

#[derive(Debug, Serialize)]
struct Check {
    check: String,
    state: State,
    detail: String,
    /// What to do. Empty where nothing is to be done.
    fix: String,
}

#[derive(Debug, Default)]
struct Checks {
    all: Vec<Check>,
    /// Whether to mend what can be.
    is_mending: bool,
    /// What was done, a line each.
    mended: Vec<String>,
}

impl Checks {
    fn add(&mut self, check: impl Into<String>, state: State, detail: impl AsRef<str>, fix: &str) {
        let fix = if state == State::Ok { String::new() } else { clean(fix) };
        // An error of several lines is told in one.
        let detail = detail.as_ref().split_whitespace().collect::<Vec<_>>().join(" ");
        self.all.push(Check { check: check.into(), state, detail: clean(&detail), fix });
    }

    fn mended(&mut self, what: impl AsRef<str>) {
        self.mended.push(clean(what.as_ref()));
    }

    /// Takes rights away from a file or directory, if that is to be mended and can be.
    fn chmod(&mut self, path: &Path, mode: u32) -> bool {
        let was = || path.metadata().map(|found| found.permissions().mode() & 0o7777);
        let Ok(before) = was() else { return false };
        let is_done = self.is_mending
            && std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).is_ok()
            && was().is_ok_and(|after| after == mode & 0o7777);
        if is_done {
            let path = path.display();
            self.mended(format!(
                "chmod {:o} {path}; it was {before:o}: think about who has used that",
                mode & 0o7777
            ));
        }
        is_done
    }

    fn sheet(&self) -> Sheet {
        let mut sheet = Sheet::new(&["check", "state", "detail", "fix"]);
        for check in &self.all {
            let state = match check.state {
                State::Ok => "✔",
                State::Warning => "! look",
                State::Bad => "✘ bad",
            };
            sheet.row([
                check.check.clone(),
                state.to_owned(),
                check.detail.clone(),
                check.fix.clone(),
            ]);
        }
        sheet
    }
}

pub(super) async fn run(database: &DatabaseArgs, args: DoctorArgs) -> anyhow::Result<()> {
    let mut checks = Checks { is_mending: args.fix, ..Checks::default() };
    binary(&mut checks);
    if args.server.is_remote() {
        server(&mut checks, database, &args).await;
    } else {
        host::data_dir(&mut checks, database);
        host::port(&mut checks, database, args.listen).await;
        local(&mut checks, database, &args).await;
    }
    for (number, url) in args.rpc_url.iter().enumerate() {
        node::node(&mut checks, number + 1, url).await;
    }
    for path in &args.secret_file {
        host::secret(&mut checks, path);
    }
    if let (Some(address), Some(url)) = (args.submitter, &args.oracle_rpc_url) {
        node::submitter(&mut checks, address, url, args.oracle_chain_id).await;
    }
    let bad = checks.all.iter().filter(|check| check.state == State::Bad).count();
    if args.json {
        let told = json!({ "isHealthy": bad == 0, "checks": checks.all, "mended": checks.mended });
        super::say(&told.to_string());
    } else {
        super::say(&checks.sheet().write(Format::Text));
        checks.mended.iter().for_each(|what| super::say(&format!("mended: {what}")));
    }
    match bad {
        0 => Ok(()),
        _ => Err(Failure::Unhealthy(format!("{bad} of {} checks failed", checks.all.len())).into()),
    }
}

fn binary(checks: &mut Checks) {
    let version = env!("CARGO_PKG_VERSION");
    match Methodology::version_1() {
        Ok(methodology) => {
            let schema = MIGRATIONS.iter().map(|one| one.version).max().unwrap_or_default();
            let (_, dashboard) = dashboard();
            let detail = format!(
                "assay {version}, schema {schema}, methodology {}, dashboard {dashboard}",
                methodology.hash()
            );
            checks.add("binary", State::Ok, detail, "");
        }
        Err(error) => checks.add("binary", State::Bad, error.to_string(), "install Assay anew"),
    }
}

/// The database and what is in it.
async fn local(checks: &mut Checks, database: &DatabaseArgs, args: &DoctorArgs) {
    let (connected, cluster) = match during("starting Postgres", database.connect()).await {
        Ok(connected) => connected,
        // Each of these errors says what to do.
        Err(error) => {
            return checks.add("postgres", State::Bad, format!("{error:#}"), "see the detail");
        }
    };
    let examined = match connected.examine().await {
        Ok(examined) => examined,
        Err(error) => {
            return checks.add("postgres", State::Bad, error.to_string(), "see the detail");
        }
    };
    let found = cluster.as_ref().and_then(|cluster| cluster.binaries());
    let found = match (found, &cluster) {
        (Some(dir), _) => format!("its own, run by {}", dir.display()),
        (None, Some(_)) => "its own, run by another Assay".to_owned(),
        (None, None) => format!("at {}", connected.server()),
    };
    // A longer path was not started with.
    let socket = cluster.as_ref().map_or_else(String::new, |cluster| {
        format!(", its socket's path of {} bytes", cluster.socket().as_os_str().len())
    });
    let (encoding, collation) = (&examined.encoding, &examined.collation);
    let detail = format!("{} {found}{socket}, {encoding}, collation {collation}", examined.version);
    let state = if encoding == "UTF8" { State::Ok } else { State::Bad };
    let fix = "a database with another encoding cannot hold every name: \
               createdb --encoding UTF8 --template template0, and move the log there";
    checks.add("postgres", state, detail, fix);
    clock(checks, "clock", "Postgres", examined.clock);
    let known = MIGRATIONS.iter().count();
    if !examined.missing.is_empty() && !checks.is_mending {
        let detail = format!("{} of {known} are missing", examined.missing.len());
        let fix = "any command that reads or records applies them: assay ls";
        return checks.add("migrations", State::Warning, detail, fix);
    }
    // This applies what is missing; the cluster, if any, is up, and is shared.
    let open = match database.open().await {
        Ok(open) => open,
        Err(error) => {
            return checks.add("schema", State::Bad, format!("{error:#}"), "see the detail");
        }
    };
    if !examined.missing.is_empty() {
        checks.mended(format!("{} of {known} migrations applied", examined.missing.len()));
    }
    checks.add("migrations", State::Ok, format!("all {known} applied"), "");
    let tail = async { anyhow::Ok(open.store().await?.verify_tail(TAIL).await?) };
    match during("checking the log", tail).await {
        Ok((head, checked)) => {
            let detail = format!(
                "{} events; the last {} hash to {}",
                group(head.position),
                group(checked),
                head.hash
            );
            checks.add("log", State::Ok, detail, "");
        }
        Err(error) => {
            let fix =
                "assay verify names the first bad row; restore a backup, see docs/OPERATIONS.md";
            checks.add("log", State::Bad, format!("{error:#}"), fix);
        }
    }
    if let Err(error) = read_model(checks, &open).await {
        checks.add("read model", State::Bad, format!("{error:#}"), "assay rebuild");
    }
    let places = async { anyhow::Ok(assay::webhook::places(&open.reader().await?).await?) };
    match places.await {
        Ok(places) => places.iter().for_each(|place| webhook(checks, place)),
        Err(error) => checks.add("webhooks", State::Bad, format!("{error:#}"), "see the detail"),
    }
    match args.server.open(database).await {
        Ok(source) => answers(checks, &source, args).await,
        Err(error) => checks.add("ratings", State::Bad, format!("{error:#}"), "assay rebuild"),
    }
}

/// Whether the read model is there. What would be said anew is the log's, and left alone.
async fn read_model(checks: &mut Checks, open: &Open) -> anyhow::Result<()> {
    let store = open.store().await?;
    let head = store.head().await?.position;
    if checks.is_mending && head > 0 {
        let mut rater = open.rater().await?;
        match during("comparing the read model with the log", rater.reflect()).await? {
            Reflected::Already => {}
            Reflected::Written(head) => {
                let position = group(head.position);
                checks.mended(format!("read model written up to canonical position {position}"));
            }
            Reflected::Unsaid(actions) => {
                let detail = format!("{} rating actions are not in the log", group(actions));
                let fix = "assay run says them, or assay rebuild";
                checks.add("read model", State::Warning, detail, fix);
                return Ok(());
            }
        }
    }
    match assay::verify::reflected(&store).await? {
        Some(position) => {
            let detail = format!("reflects the log up to {position}");
            checks.add("read model", State::Ok, detail, "");
        }
        None if head == 0 => checks.add("read model", State::Ok, "nothing to reflect yet", ""),
        None => {
            let detail = "it is not there: the API answers as if the log were empty";
            checks.add(
                "read model",
                State::Warning,
                detail,
                "assay doctor --fix, or assay rebuild",
            );
        }
    }
    Ok(())
}

/// Whether a webhook takes what it is told.
fn webhook(checks: &mut Checks, place: &Place) {
    let check = format!("webhook {}", place.name);
    let took = place.delivered_at.as_deref().unwrap_or("never");
    let detail = format!("took something last: {took}; {} lines wait", place.waiting);
    match &place.failing_since {
        None => checks.add(check, State::Ok, detail, ""),
        Some(since) => {
            let detail = format!("fails since {since}; {detail}");
            let fix = format!("assay alerts test --webhooks FILE --name {}", place.name);
            checks.add(check, State::Bad, detail, &fix);
        }
    }
}

/// A server: that it answers, and says it is ready.
async fn server(checks: &mut Checks, database: &DatabaseArgs, args: &DoctorArgs) {
    let source = match args.server.open(database).await {
        Ok(source) => source,
        Err(error) => {
            return checks.add("server", State::Bad, format!("{error:#}"), "correct --url");
        }
    };
    let mut said = Vec::new();
    let ready = source.fetch("/ready", |chunk| {
        said.extend_from_slice(chunk);
        Ok(())
    });
    match ready.await {
        Ok(()) => checks.add("server", State::Ok, format!("{} is ready", source.name()), ""),
        Err(error) => {
            let fix = "its /ready says why; its trace too (ASSAY_LOG=info)";
            return checks.add("server", State::Bad, format!("{error:#}"), fix);
        }
    }
    assets(checks, &source).await;
    answers(checks, &source, args).await;
}

/// The files of this binary's dashboard, and the first bytes of their hash.
fn dashboard() -> (usize, String) {
    let mut hash = Sha256::new();
    let files = assay_graphql::dashboard_files();
    let count = files.map(|(_, text)| hash.update(text)).count();
    (count, alloy::hex::encode(&hash.finalize()[..8]))
}

/// Whether a server's dashboard comes here as this binary has it.
async fn assets(checks: &mut Checks, source: &Source) {
    let mut others = Vec::new();
    for (path, text) in assay_graphql::dashboard_files() {
        let mut found = Vec::new();
        let fetched = source.fetch(&path, |chunk| {
            // A file that is longer than ours is another one already.
            anyhow::ensure!(found.len() + chunk.len() <= text.len(), "it is another file");
            found.extend_from_slice(chunk);
            Ok(())
        });
        if fetched.await.is_err() || found != text.as_bytes() {
            others.push(path);
        }
    }
    let (count, hash) = dashboard();
    if others.is_empty() {
        let detail = format!("all {count} files are those of this binary, {hash}");
        return checks.add("dashboard", State::Ok, detail, "");
    }
    let detail = format!("{} of {count} files differ: {}", others.len(), others.join(" "));
    let fix = "if the server is this version of Assay, what lies between keeps or changes files";
    checks.add("dashboard", State::Warning, detail, fix);
}

/// What the API says about itself: ratings, lag, feed.
async fn answers(checks: &mut Checks, source: &Source, args: &DoctorArgs) {
    const STATUS: &str = "{ status { updatedAt head { position block { number time } }
        chains { chainId headNumber finalized { number } lagBlocks updatedAt unmappedLogs } }
        publications(first: 1) { totalCount nodes { oracle oracleChainId status recordedAt } } }";
    let answer = match source.ask(STATUS, json!({})).await {
        Ok(answer) => answer,
        Err(error) => {
            return checks.add("ratings", State::Bad, format!("{error:#}"), "assay rebuild");
        }
    };
    let status = &answer.data["status"];
    let text = |value: &Value| value.as_str().unwrap_or("–").to_owned();
    if status["head"]["block"].is_null() {
        let fix = "assay demo --once, assay import FILE or assay run --rpc-url URL";
        return checks.add("ratings", State::Warning, "the log is empty", fix);
    }
    let detail = format!(
        "up to position {}, written {}",
        text(&status["head"]["position"]),
        text(&status["updatedAt"])
    );
    checks.add("ratings", State::Ok, detail, "");
    for chain in status["chains"].as_array().into_iter().flatten() {
        let lag = chain["lagBlocks"].as_u64().unwrap_or_default();
        let head = group(chain["headNumber"].as_u64().unwrap_or_default());
        let detail = format!(
            "block {head} read {}, {} blocks ago; final up to {}; {} logs not understood",
            text(&chain["updatedAt"]),
            group(lag),
            chain["finalized"]["number"].as_u64().map_or_else(|| "none".to_owned(), group),
            text(&chain["unmappedLogs"])
        );
        let state = match args.lag_max {
            Some(most) if lag > most => State::Bad,
            None if lag > LAG_BLOCKS_MAX => State::Warning,
            _ => State::Ok,
        };
        let fix = "if it should follow the chain: assay run --rpc-url URL, and its trace";
        checks.add(format!("chain {}", chain["chainId"]), state, detail, fix);
    }
    feed(checks, &answer.data["publications"]);
}

/// How fresh what stands in oracle contracts is.
fn feed(checks: &mut Checks, publications: &Value) {
    /// A contract calls a rating stale after 26 hours.
    const STALE_SECONDS: i64 = 26 * 3_600;
    let Some(newest) = publications["nodes"].get(0) else {
        return checks.add("feed", State::Ok, "nothing is published from here", "");
    };
    let recorded = newest["recordedAt"].as_str().unwrap_or_default();
    let age = recorded
        .parse::<jiff::Timestamp>()
        .map(|time| jiff::Timestamp::now().as_second() - time.as_second());
    let detail = format!(
        "{} publications, the newest {recorded} in {} on chain {}",
        publications["totalCount"],
        newest["oracle"].as_str().unwrap_or_default(),
        newest["oracleChainId"]
    );
    let state = if age.is_ok_and(|age| age < STALE_SECONDS) { State::Ok } else { State::Warning };
    checks.add("feed", state, detail, "if it should publish: assay oracle status");
}

/// Compares a clock with ours.
fn clock(checks: &mut Checks, check: &str, whose: &str, theirs: i64) {
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let apart = ours.abs_diff(theirs.unsigned_abs());
    let state = if apart > SKEW_SECONDS_MAX { State::Bad } else { State::Ok };
    checks.add(check, state, format!("{apart} s from that of {whose}"), "let NTP set the clock");
}
