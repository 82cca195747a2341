//! What a full replay costs beside a plain copy of the same rows.
//!
//! From nothing: an own throwaway cluster, a million made-up events through `EventStore::append`,
//! then in turns (a) `psql -c "COPY … TO STDOUT (FORMAT binary)"` to nowhere and (b) a replay:
//! read, check positions and hashes, decode, canonical hash, fold the state. CPU seconds are user and system time
//! of this process, its children, and every process of the cluster, from `/proc`; Linux only.
//! Run it by `benches/replay.sh --json`; the last line is the report.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use assay::cluster::{Cluster, ClusterConfig, Durability, Install};
use assay::db::{self, Role};
use assay::event_store::{Batch, EventStore};
use assay_domain::{Fact, State};
use sqlx::Executor;

#[path = "support/cpu.rs"]
mod cpu;
#[path = "../tests/it/support/synthetic.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod synthetic;

/// Facts a batch: what ingestion takes in one step of a backfill.
const BATCH_FACTS: usize = 10_000;

fn main() -> Result<()> {
    let options = Options::from_args()?;
    let cluster = Cluster::start(&ClusterConfig {
        data_dir: None,
        binaries: None,
        durability: Durability::Throwaway,
        install: Install::Refused,
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // On a worker, where a wake-up does not change threads; as the program itself runs it.
        tokio::spawn(measure(options, cluster)).await?
    })
}

async fn measure(options: Options, cluster: Cluster) -> Result<()> {
    let database = db::connect(&cluster.url()).await?;
    database.migrate().await?;
    let store = EventStore::new(database.pool(Role::Writer, 4).await?);
    let facts = synthetic::facts(42, options.events);
    let append_cpu_s = append(&store, &facts, &cluster).await?;
    drop(facts);
    settle(&cluster).await?;
    let (mut copies, mut replays) = (Vec::new(), Vec::new());
    for _ in 0..options.repeats {
        copies.push(copy(&cluster)?);
        replays.push(replay(&store, &cluster, options.events).await?);
    }
    let (copy_cpu_s, replay_cpu_s) = (median(copies), median(replays));
    let ratio = replay_cpu_s / copy_cpu_s;
    let events = options.events;
    let mut out = std::io::stdout().lock();
    if options.is_json {
        let report = serde_json::json!({
            "events": events, "replay_cpu_s": round(replay_cpu_s),
            "copy_cpu_s": round(copy_cpu_s), "ratio": round(ratio),
            "append_cpu_s": round(append_cpu_s),
        });
        writeln!(out, "{report}")?;
    } else {
        writeln!(
            out,
            "{events} events: replay {replay_cpu_s:.2} CPU s, plain copy {copy_cpu_s:.2} CPU s, \
             ratio {ratio:.2}; append {append_cpu_s:.2} CPU s"
        )?;
    }
    Ok(())
}

struct Options {
    events: usize,
    repeats: usize,
    is_json: bool,
}

impl Options {
    fn from_args() -> Result<Self> {
        let mut options = Self { events: 1_000_000, repeats: 5, is_json: false };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                // Cargo adds it.
                "--bench" => {}
                "--json" => options.is_json = true,
                "--events" => options.events = args.next().context("how many?")?.parse()?,
                "--repeats" => options.repeats = args.next().context("how many?")?.parse()?,
                other => anyhow::bail!("{other} is none of --json, --events N, --repeats N"),
            }
        }
        Ok(options)
    }
}

async fn append(store: &EventStore, facts: &[Fact], cluster: &Cluster) -> Result<f64> {
    let before = cpu_seconds(cluster)?;
    for facts in facts.chunks(BATCH_FACTS) {
        // A block cut in two by the batch size is whole again with the next batch.
        let last = facts.last().context("a chunk is not empty")?.block;
        let batch = Batch {
            chain_id: synthetic::CHAIN_ID,
            facts: facts.to_vec(),
            next_block: Some(last.number + 1),
            finalized: Some(last),
            ..Batch::default()
        };
        store.append(&batch).await?;
    }
    Ok(cpu_seconds(cluster)? - before)
}

/// Lets the cluster do now what it would do some time: visibility, statistics, checkpoint.
async fn settle(cluster: &Cluster) -> Result<()> {
    let pool = sqlx::PgPool::connect(&cluster.url()).await?;
    pool.execute("VACUUM (ANALYZE) event_store.events").await?;
    pool.execute("CHECKPOINT").await?;
    pool.close().await;
    Ok(())
}

fn copy(cluster: &Cluster) -> Result<f64> {
    let bundled = cluster.binaries().map(|dir| dir.join("psql")).filter(|psql| psql.exists());
    let before = cpu_seconds(cluster)?;
    let status = Command::new(bundled.unwrap_or_else(|| "psql".into()))
        .args(["--no-psqlrc", "--dbname", &cluster.url(), "--command"])
        .arg("COPY (SELECT * FROM event_store.events) TO STDOUT (FORMAT binary)")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("psql is needed")?;
    ensure!(status.success(), "psql failed");
    Ok(cpu_seconds(cluster)? - before)
}

async fn replay(store: &EventStore, cluster: &Cluster, events: usize) -> Result<f64> {
    let before = cpu_seconds(cluster)?;
    let ((folded, state), head) = store
        .fold_canonical(
            None,
            || (0_usize, State::default()),
            |(folded, state), canonical| {
                *folded += 1;
                state.apply(&canonical.fact)
            },
        )
        .await?;
    std::hint::black_box(state);
    ensure!(folded == events, "{folded} of {events} events are canonical");
    ensure!(head.position == u64::try_from(events)?, "positions have no gaps");
    Ok(cpu_seconds(cluster)? - before)
}

/// Of this process, its ended children, and the whole cluster.
fn cpu_seconds(cluster: &Cluster) -> Result<f64> {
    Ok(cpu::of_self()? + cpu::of_ended_children()? + cpu::of_cluster(cluster)?)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
