//! `assay doctor`: is everything in order here, and if not, what to do.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use assay::chain::endpoint::Endpoint;
use assay::chain::probe::probe;
use assay::db::MIGRATIONS;
use assay::webhook::Place;
use assay_domain::methodology::Methodology;
use clap::Args;
use nix::sys::statvfs::statvfs;
use nix::unistd::{Uid, User};
use serde::Serialize;
use serde_json::{Value, json};

use super::database::DatabaseArgs;
use super::failure::Failure;
use super::progress::during;
use super::read::{Format, ServerArgs, Sheet, Source, clean, group};

/// Rows whose hashes are recomputed; `assay verify` does all.
const TAIL: u64 = 1_000;

/// Below this much free space Postgres is about to stop; below the other one somebody should look.
const FREE_BYTES_MIN: u64 = 256 << 20;
const FREE_BYTES_LOW: u64 = 4 << 30;

/// Clocks further apart than this put a wrong age on a rating.
const SKEW_SECONDS_MAX: u64 = 5;

/// A head block that is older is not the head: five slots.
const HEAD_SECONDS_MAX: u64 = 60;

/// A range of fewer blocks makes a backfill of years slow.
const LOG_RANGE_LOW: u64 = 2_000;

/// Unless told: two epochs of finality, as `/ready` has it.
const LAG_BLOCKS_MAX: u64 = 64;

#[derive(Debug, Args)]
#[command(before_help = "Example: assay doctor --rpc-url https://node.example --lag-max 64")]
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
struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, check: impl Into<String>, state: State, detail: impl AsRef<str>, fix: &str) {
        let fix = if state == State::Ok { String::new() } else { clean(fix) };
        // An error of several lines is told in one.
        let detail = detail.as_ref().split_whitespace().collect::<Vec<_>>().join(" ");
        self.0.push(Check { check: check.into(), state, detail: clean(&detail), fix });
    }

    fn sheet(&self) -> Sheet {
        let mut sheet = Sheet::new(&["check", "state", "detail", "fix"]);
        for check in &self.0 {
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
    let mut checks = Checks::default();
    binary(&mut checks);
    if args.server.is_remote() {
        server(&mut checks, database, &args).await;
    } else {
        data_dir(&mut checks, database);
        local(&mut checks, database, &args).await;
    }
    for (number, url) in args.rpc_url.iter().enumerate() {
        node(&mut checks, number + 1, url).await;
    }
    for path in &args.secret_file {
        match assay_oracle::check_private(path) {
            Ok(()) => checks.add("secret file", State::Ok, path.display().to_string(), ""),
            Err(error) => {
                let fix = format!("chmod 600 {}, and think about who has read it", path.display());
                checks.add("secret file", State::Bad, error.to_string(), &fix);
            }
        }
    }
    let bad = checks.0.iter().filter(|check| check.state == State::Bad).count();
    if args.json {
        let told = json!({ "isHealthy": bad == 0, "checks": checks.0 });
        super::say(&told.to_string());
    } else {
        super::say(&checks.sheet().write(Format::Text));
    }
    match bad {
        0 => Ok(()),
        _ => Err(Failure::Unhealthy(format!("{bad} of {} checks failed", checks.0.len())).into()),
    }
}

fn binary(checks: &mut Checks) {
    let version = env!("CARGO_PKG_VERSION");
    match Methodology::version_1() {
        Ok(methodology) => {
            let schema = MIGRATIONS.iter().map(|one| one.version).max().unwrap_or_default();
            let detail =
                format!("assay {version}, schema {schema}, methodology {}", methodology.hash());
            checks.add("binary", State::Ok, detail, "");
        }
        Err(error) => checks.add("binary", State::Bad, error.to_string(), "install Assay anew"),
    }
}

fn data_dir(checks: &mut Checks, database: &DatabaseArgs) {
    let dir = match database.data_dir() {
        None => return,
        Some(Ok(dir)) => dir,
        Some(Err(error)) => {
            return checks.add("data directory", State::Bad, error.to_string(), "pass --data-dir");
        }
    };
    let place = dir.display();
    let Ok(found) = dir.metadata() else {
        let detail = format!("{place} is not there yet; the first command makes it");
        return checks.add("data directory", State::Ok, detail, "");
    };
    let owner = User::from_uid(Uid::from_raw(found.uid())).ok().flatten();
    let owner = owner.map_or_else(|| found.uid().to_string(), |user| user.name);
    let mode = found.mode() & 0o7777;
    let space = statvfs(&dir).map(|fs| {
        // These are of 32 bits on some systems.
        let bytes = i128::from(fs.fragment_size()) * i128::from(fs.blocks_available());
        u64::try_from(bytes).unwrap_or(u64::MAX)
    });
    let free = space
        .as_ref()
        .map_or_else(ToString::to_string, |bytes| format!("{:.1} GiB free", gib(*bytes)));
    let detail = format!("{place}, of {owner}, mode {mode:04o}, {free}");
    // Others may make files there, and take the cluster's place.
    if mode & 0o002 != 0 && mode & 0o1000 == 0 {
        return checks.add("data directory", State::Bad, detail, &format!("chmod o-w {place}"));
    }
    match space {
        Ok(bytes) if bytes < FREE_BYTES_MIN => {
            checks.add(
                "data directory",
                State::Bad,
                detail,
                "make room, or move it and pass --data-dir",
            );
        }
        Ok(bytes) if bytes < FREE_BYTES_LOW => {
            checks.add("data directory", State::Warning, detail, "make room soon");
        }
        _ => checks.add("data directory", State::Ok, detail, ""),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
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
    checks.add("postgres", State::Ok, format!("{} {found}", examined.version), "");
    clock(checks, "clock", "Postgres", examined.clock);
    let known = MIGRATIONS.iter().count();
    if !examined.missing.is_empty() {
        let detail = format!("{} of {known} are missing", examined.missing.len());
        let fix = "any command that reads or records applies them: assay ls";
        return checks.add("migrations", State::Warning, detail, fix);
    }
    checks.add("migrations", State::Ok, format!("all {known} applied"), "");
    // From here on everything is there; the cluster, if any, is up, and is shared.
    let open = match database.open().await {
        Ok(open) => open,
        Err(error) => {
            return checks.add("schema", State::Bad, format!("{error:#}"), "see the detail");
        }
    };
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
    answers(checks, &source, args).await;
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

/// A node: which chain, how far, how wide a range of logs.
async fn node(checks: &mut Checks, number: usize, url: &str) {
    let check = format!("rpc {number}");
    let endpoint = match Endpoint::parse(url) {
        Ok(endpoint) => endpoint,
        Err(error) => return checks.add(check, State::Bad, error.to_string(), "correct --rpc-url"),
    };
    let name = endpoint.to_string();
    let found = match during("trying the node", probe(endpoint)).await {
        Ok(found) => found,
        Err(error) => {
            return checks.add(
                check,
                State::Bad,
                error.to_string(),
                "correct --rpc-url, or change the provider",
            );
        }
    };
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let age = ours.saturating_sub(found.head_time);
    let ahead = found.head_time.saturating_sub(ours);
    let range = found.log_range.map_or_else(|| "no".to_owned(), group);
    let finalized = found
        .finalized
        .map_or_else(|| "no finalized tag".to_owned(), |block| format!("final {}", group(block)));
    let detail = format!(
        "{name}: chain {}, block {} of {age} s ago, {finalized}, logs of {range} blocks at once",
        found.chain_id,
        group(found.head)
    );
    let (state, fix) = match () {
        () if found.log_range.is_none() => {
            (State::Bad, "it gives no logs: change the provider or the plan")
        }
        () if ahead > SKEW_SECONDS_MAX => {
            (State::Bad, "its head lies in the future: let NTP set this clock")
        }
        () if age > HEAD_SECONDS_MAX => {
            (State::Warning, "it lags, or the chain is one that stands still")
        }
        () if found.finalized.is_none() => (State::Warning, "pass --finality-depth to assay run"),
        () if found.log_range < Some(LOG_RANGE_LOW) => (State::Warning, "a backfill will be slow"),
        () => (State::Ok, ""),
    };
    checks.add(check, state, detail, fix);
}
