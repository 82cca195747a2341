//! How long a slash takes from its transaction to the read model.
//!
//! A real anvil mines a block with one `OperatorSlashed` each round; `assay run` follows it over
//! a WebSocket, on a cluster of its own with `fsync` on. The clock starts when the transaction is
//! sent, so that mining and notification are in the figure, and stops when a reader who is told of
//! news sees the row.
//! Run it by `benches/latency.sh --json`; the last line is the report. Linux only.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use alloy::network::TransactionBuilder;
use alloy::primitives::{Address, B256, Bytes, U256, address, hex};
use alloy::providers::{Provider, ProviderBuilder, WsConnect};
use alloy::rpc::types::TransactionRequest;
use alloy::sol;
use alloy::sol_types::SolEvent;
use anyhow::{Context, Result};
use assay::cluster::{Cluster, ClusterConfig, Durability, Install};
use assay_oracle::anvil::Anvil;
use serde_json::json;
use sqlx::postgres::PgListener;
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::timeout;

const ASSAY: &str = env!("CARGO_BIN_EXE_assay");

/// Mainnet's AllocationManager.
const ALLOCATION_MANAGER: Address = address!("948a420b8CC1d6BFd0B6087C2E7c344a2CD0bc39");

/// Emits its input: the first word is the topic, the rest the data.
const EMITTER: [u8; 18] = hex!("60203603806020600037600035906000a100");

/// Rounds before the clock counts.
const WARM_UP: usize = 20;

/// A round that takes longer has failed.
const ROUND_MAX: Duration = Duration::from_secs(10);

sol! {
    struct OperatorSet { address avs; uint32 id; }
    event OperatorSlashed(address operator, OperatorSet operatorSet, address[] strategies,
        uint256[] wadSlashed, string description);
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let (mut rounds, mut is_json) = (500, false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // Cargo adds it.
            "--bench" => {}
            "--json" => is_json = true,
            "--rounds" => rounds = args.next().context("how many?")?.parse()?,
            other => anyhow::bail!("{other} is none of --json, --rounds N"),
        }
    }
    let mut taken = measure(rounds).await?;
    taken.sort_unstable();
    let at = |percent: usize| -> Result<f64> {
        let index = (taken.len() * percent).div_ceil(100).saturating_sub(1);
        Ok(taken.get(index).context("no rounds")?.as_secs_f64() * 1e3)
    };
    let round = |value: f64| (value * 10.0).round() / 10.0;
    let (p50, p90, p99, max) = (at(50)?, at(90)?, at(99)?, at(100)?);
    let mut out = std::io::stdout().lock();
    if !is_json {
        writeln!(out, "{rounds} blocks: p50 {p50:.1} ms, p99 {p99:.1} ms, at most {max:.1} ms")?;
    }
    let report = json!({ "blocks": rounds, "p50_ms": round(p50), "p90_ms": round(p90),
        "p99_ms": round(p99), "max_ms": round(max) });
    writeln!(out, "{report}")?;
    Ok(())
}

async fn measure(rounds: usize) -> Result<Vec<Duration>> {
    let data_dir = tempfile::tempdir()?;
    let cluster = Cluster::start(&ClusterConfig {
        data_dir: Some(data_dir.path().to_owned()),
        binaries: None,
        durability: Durability::Durable,
        install: Install::Refused,
    })?;
    PgConnection::connect(&cluster.url()).await?.execute("CREATE DATABASE latency").await?;
    let url = cluster.url_of("latency");
    let search_path = std::env::var("PATH").unwrap_or_default();
    let anvil = Anvil::start(&Anvil::find(&[], &search_path)?, &["--chain-id", "1"])?;
    let socket = anvil.rpc_url().replacen("http", "ws", 1);
    let node = ProviderBuilder::new().connect_ws(WsConnect::new(socket.clone())).await?;
    node.raw_request::<_, ()>(
        "anvil_setCode".into(),
        (ALLOCATION_MANAGER, Bytes::from_static(&EMITTER)),
    )
    .await?;
    let _follower = Follower(
        Command::new(ASSAY)
            .args(["run", "--rpc-url", &socket, "--start-block", "0", "--listen", "127.0.0.1:0"])
            .env("DATABASE_URL", &url)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?,
    );
    let mut listener = listen(&url).await?;
    let mut reader = PgConnection::connect(&url).await?;
    let from = node.get_accounts().await?.first().copied().context("anvil has accounts")?;
    let mut taken = Vec::with_capacity(rounds);
    for round in 0..rounds + WARM_UP {
        let slash = OperatorSlashed {
            operator: Address::with_last_byte(1),
            operatorSet: OperatorSet { avs: Address::with_last_byte(2), id: 0 },
            strategies: vec![Address::with_last_byte(3)],
            wadSlashed: vec![U256::from(round + 1)],
            description: String::new(),
        };
        let input = [OperatorSlashed::SIGNATURE_HASH.as_slice(), &slash.encode_data()].concat();
        let request = TransactionRequest::default()
            .with_from(from)
            .with_to(ALLOCATION_MANAGER)
            .with_input(input);
        let begun = Instant::now();
        let sent: B256 = node.raw_request("eth_sendTransaction".into(), (request,)).await?;
        // Told of anything, look whether it is this one.
        while !is_shown(&mut reader, sent).await? {
            timeout(ROUND_MAX, listener.recv()).await.context("the slash is not shown")??;
        }
        if round >= WARM_UP {
            taken.push(begun.elapsed());
        }
    }
    Ok(taken)
}

async fn is_shown(reader: &mut PgConnection, tx_hash: B256) -> Result<bool> {
    let shown = "SELECT EXISTS (SELECT FROM read_model.slashing_events WHERE tx_hash = $1)";
    Ok(sqlx::query_scalar(shown).bind(tx_hash.as_slice()).fetch_one(reader).await?)
}

/// Hears of the feed, as soon as the follower has made it.
async fn listen(url: &str) -> Result<PgListener> {
    let made = "SELECT to_regclass('read_model.feed') IS NOT NULL";
    let mut connection = PgConnection::connect(url).await?;
    while !sqlx::query_scalar::<_, bool>(made).fetch_one(&mut connection).await? {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut listener = PgListener::connect(url).await?;
    listener.listen("assay_feed").await?;
    Ok(listener)
}

/// The node under test, until it is dropped.
struct Follower(Child);

impl Drop for Follower {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to kill.
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}
