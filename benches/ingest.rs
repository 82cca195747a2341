//! What it costs to record a chain: node to log, hash chain and all, beside a bare `COPY`.
//!
//! From nothing: an own cluster, `fsync` on, an own node in a process of its own (`support/node.rs`),
//! then `assay ingest --once` from the first block to the last, and in the same run a binary
//! `COPY` of the rows it wrote into a table with a primary key and nothing else. With `--kills N`
//! the same backfill is killed at N random moments first; it must end in the same hash.
//! Run it by `benches/ingest.sh --json`; the last line is the report. Linux only.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use alloy::hex;
use anyhow::{Context, Result, ensure};
use assay::cluster::{Cluster, ClusterConfig, Durability, Install};
use assay::db::{self, Role};
use assay::event_store::EventStore;
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};

#[path = "support/cpu.rs"]
#[expect(dead_code, reason = "replay uses more of it")]
mod cpu;
#[path = "support/node.rs"]
mod node;

const ASSAY: &str = env!("CARGO_BIN_EXE_assay");

/// How often peak memory is looked at.
const SAMPLE: Duration = Duration::from_millis(20);

fn main() -> Result<()> {
    let options = Options::from_args()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if options.is_node {
        return runtime.block_on(node::serve(options.blocks));
    }
    let report = runtime.block_on(measure(&options))?;
    let mut out = std::io::stdout().lock();
    if !options.is_json {
        writeln!(out, "{:.1} µs an event; {:.2} times the bare COPY", report.1, report.2)?;
    }
    writeln!(out, "{}", report.0)?;
    Ok(())
}

struct Options {
    blocks: u64,
    kills: u32,
    is_json: bool,
    is_node: bool,
}

impl Options {
    fn from_args() -> Result<Self> {
        let mut options = Self { blocks: 200_000, kills: 0, is_json: false, is_node: false };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                // Cargo adds it.
                "--bench" => {}
                "--json" => options.is_json = true,
                "--node" => options.is_node = true,
                "--blocks" => options.blocks = args.next().context("how many?")?.parse()?,
                "--kills" => options.kills = args.next().context("how many?")?.parse()?,
                other => anyhow::bail!("{other} is none of --json, --blocks N, --kills N"),
            }
        }
        Ok(options)
    }
}

/// The node, until it is dropped.
struct Node {
    process: Child,
    url: String,
}

impl Node {
    fn start(blocks: u64) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--node", "--blocks", &blocks.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut port = String::new();
        BufReader::new(process.stdout.take().context("piped")?).read_line(&mut port)?;
        Ok(Self { process, url: format!("http://127.0.0.1:{}", port.trim()) })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to kill.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

async fn measure(options: &Options) -> Result<(serde_json::Value, f64, f64)> {
    let data_dir = tempfile::tempdir()?;
    let cluster = Cluster::start(&ClusterConfig {
        data_dir: Some(data_dir.path().to_owned()),
        binaries: None,
        durability: Durability::Durable,
        install: Install::Refused,
    })?;
    let node = Node::start(options.blocks)?;
    let mut admin = PgConnection::connect(&cluster.url()).await?;
    let ingest = |database: &str| {
        let mut command = Command::new(ASSAY);
        command
            .args(["ingest", "--once", "--start-block", "1", "--rpc-url", &node.url])
            .env("DATABASE_URL", cluster.url_of(database))
            .stdout(Stdio::null());
        command
    };

    admin.execute("CREATE DATABASE whole").await?;
    let postgres_before = cpu::of_cluster(&cluster)?;
    let (assay_cpu_s, peak_rss_mb) = run_to_the_end(ingest("whole").spawn()?)?;
    let postgres_cpu_s = cpu::of_cluster(&cluster)? - postgres_before;
    let (events, hash) = head(&cluster.url_of("whole")).await?;

    let mut pauses = Pauses(7);
    if options.kills > 0 {
        admin.execute("CREATE DATABASE killed").await?;
        for _ in 0..options.kills {
            let mut process = ingest("killed").spawn()?;
            std::thread::sleep(pauses.next());
            process.kill()?;
            process.wait()?;
        }
        ensure!(ingest("killed").status()?.success(), "the last run failed");
        let found = head(&cluster.url_of("killed")).await?;
        ensure!(found == (events, hash.clone()), "{found:?} after kills, {events} {hash} without");
    }

    let copy_cpu_s = bare_copy(&cluster)?;
    let together = assay_cpu_s + postgres_cpu_s;
    let report = json!({
        "events": events, "assay_cpu_s": round(assay_cpu_s),
        "postgres_cpu_s": round(postgres_cpu_s), "copy_cpu_s": round(copy_cpu_s),
        "peak_rss_mb": round(peak_rss_mb), "kills": options.kills, "head": hash,
    });
    Ok((report, together / events as f64 * 1e6, together / copy_cpu_s))
}

/// CPU seconds and peak memory, MiB, of a process that must succeed.
fn run_to_the_end(mut process: Child) -> Result<(f64, f64)> {
    let status = format!("/proc/{}/status", process.id());
    let before = cpu::of_ended_children()?;
    let mut peak_kib = 0_u64;
    let ended = loop {
        if let Some(ended) = process.try_wait()? {
            break ended;
        }
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|line| line.split_whitespace().next()?.parse().ok());
        peak_kib = peak_kib.max(peak.unwrap_or(0));
        std::thread::sleep(SAMPLE);
    };
    ensure!(ended.success(), "assay ingest failed");
    Ok((cpu::of_ended_children()? - before, peak_kib as f64 / 1024.0))
}

/// Facts and hash of the canonical log, every storage hash recomputed on the way. The storage chain
/// itself also holds when finality was noticed, which depends on where a run began.
async fn head(url: &str) -> Result<(u64, String)> {
    let store = EventStore::new(db::connect(url).await?.pool(Role::Writer, 1).await?);
    let ((), head) = store.fold_canonical(None, || (), |(), _| Ok::<_, Infallible>(())).await?;
    Ok((head.position, hex::encode(head.hash)))
}

/// The rows of the whole run, out to a file and into a table with a primary key: the second half.
fn bare_copy(cluster: &Cluster) -> Result<f64> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("rows");
    let url = cluster.url_of("whole");
    psql(&url, &format!("\\copy event_store.events TO '{}' (FORMAT binary)", file.display()))?;
    psql(
        &url,
        "CREATE TABLE floor (LIKE event_store.events); ALTER TABLE floor ADD PRIMARY KEY (position)",
    )?;
    let before = cpu::of_ended_children()? + cpu::of_cluster(cluster)?;
    psql(&url, &format!("\\copy floor FROM '{}' (FORMAT binary)", file.display()))?;
    Ok(cpu::of_ended_children()? + cpu::of_cluster(cluster)? - before)
}

fn psql(url: &str, command: &str) -> Result<()> {
    let status = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--dbname", url, "--command", command])
        .status()
        .context("psql is needed")?;
    ensure!(status.success(), "psql failed");
    Ok(())
}

/// Random pauses up to a second and a half.
struct Pauses(u64);

impl Pauses {
    fn next(&mut self) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Duration::from_millis((self.0 >> 33) % 1_500)
    }
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
