//! Death at every point, reorganisations, stolen nonces, fees too low: each rating lands once.

use std::process::{Command, Stdio};
use std::time::Duration;

use alloy::consensus::TxEip1559;
use alloy::eips::Encodable2718;
use alloy::network::TransactionBuilder;
use alloy::primitives::TxKind;
use alloy::providers::{Provider, RootProvider};
use alloy::rpc::types::TransactionRequest;
use assay::db;
use assay_oracle::anvil::Anvil;
use assay_oracle::chain::Chain;
use assay_oracle::publish::{PublishError, Stage};
use assay_oracle::{GasKey, Observer, OracleId, publish_once};
use serde_json::json;

use crate::oracle_world::{CHAIN_ID, World, anvil_path, key, publication};
use crate::support::synthetic::Random;

const STAGES: [Stage; 7] = [
    Stage::Chosen,
    Stage::Cleared,
    Stage::Signed,
    Stage::Stored,
    Stage::Broadcast,
    Stage::Included,
    Stage::Settled,
];

/// Deaths at each stage; `ASSAY_CRASH_ROUNDS` asks for more.
const ROUNDS: u32 = 3;

/// Not a test of its own: the process that dies. See `killed_at_every_stage`.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let ask = |name: &str| std::env::var(name);
    let (Ok(url), Ok(rpc_url), Ok(oracle), Ok(stage)) = (
        ask("ASSAY_CHILD_DATABASE"),
        ask("ASSAY_CHILD_RPC"),
        ask("ASSAY_CHILD_ORACLE"),
        ask("ASSAY_CHILD_STAGE"),
    ) else {
        return;
    };
    let connected = db::connect(&url).await.unwrap();
    let pool = connected.pool(db::Role::Oracle, 4).await.unwrap();
    let oracle = OracleId { chain_id: CHAIN_ID, address: oracle.parse().unwrap() };
    let mut publication = publication(&rpc_url, oracle);
    publication.observer = Observer::new(move |progress| {
        if format!("{:?}", progress.stage) == stage {
            use nix::sys::signal::{Signal, kill};
            kill(nix::unistd::getpid(), Signal::SIGKILL).unwrap();
        }
    });
    publish_once(&pool, &publication).await.unwrap();
    panic!("survived");
}

fn die_at(world: &World, stage: Stage) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "oracle_crash::child"])
        .env("ASSAY_CHILD_DATABASE", &world.database.url)
        .env("ASSAY_CHILD_RPC", world.anvil.rpc_url())
        .env("ASSAY_CHILD_ORACLE", world.oracle().to_string())
        .env("ASSAY_CHILD_STAGE", format!("{stage:?}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(status.signal(), Some(9), "{stage:?}: {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_stage_nothing_is_lost_and_nothing_lands_twice() {
    let rounds = std::env::var("ASSAY_CRASH_ROUNDS").ok();
    let rounds = rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let world = World::new().await;
    let mut seq = 0;
    for round in 0..rounds {
        // Every third round blocks come by themselves, so that it also dies between a broadcast
        // and its block.
        let is_slow = round % 3 == 1;
        world.anvil("evm_setAutomine", json!([!is_slow])).await;
        let miner = is_slow.then(|| tokio::spawn(mine_for_ever(world.node.clone())));
        for stage in STAGES {
            seq += 1;
            world.rate(3 + round, seq).await;
            die_at(&world, stage);
            // Every other time it dies again while it recovers, if there is anything left to do.
            if round % 2 == 1 && (stage as u8) < Stage::Signed as u8 {
                die_at(&world, Stage::Stored);
            }
            publish_once(&world.pool, &world.publication).await.unwrap();
            world.assert_all_rated_once().await;
        }
        if let Some(miner) = miner {
            miner.abort();
        }
    }
    // One nonce a batch that got so far, and the same bytes however often it died.
    let doubled: Vec<String> =
        sqlx::query_scalar("SELECT b::text FROM outbox.batches b WHERE attempts > 1")
            .fetch_all(&world.admin)
            .await
            .unwrap();
    assert_eq!(doubled, Vec::<String>::new());
    let open = "SELECT count(*) FROM outbox.batches WHERE phase NOT IN ('final', 'abandoned')";
    assert_eq!(world.count(open).await, 0);
}

async fn mine_for_ever(node: RootProvider) {
    loop {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let _: serde_json::Value =
            node.raw_request("evm_mine".into(), json!([])).await.expect("a block");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_at_any_moment_nothing_is_lost_and_nothing_lands_twice() {
    let world = World::new().await;
    let mut random = Random(7);
    for seq in 1..=6 {
        world.rate(5, seq).await;
        for _ in 0..5 {
            let patience = Duration::from_micros(random.below(120_000));
            let begun = publish_once(&world.pool, &world.publication);
            let _ended_or_dropped = tokio::time::timeout(patience, begun).await;
        }
        publish_once(&world.pool, &world.publication).await.unwrap();
        world.assert_all_rated_once().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_transmitters_at_once_bring_each_rating_once() {
    let world = World::new().await;
    world.rate(30, 1).await;
    let (one, other) = tokio::join!(
        publish_once(&world.pool, &world.publication),
        publish_once(&world.pool, &world.publication)
    );
    assert_eq!(one.unwrap().ratings + other.unwrap().ratings, 30);
    world.assert_all_rated_once().await;
    assert_eq!(world.count("SELECT count(*) FROM outbox.tx_attempts").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganised_block_is_filled_with_the_same_bytes_again() {
    let world = World::new().await;
    let publication = world.with_confirmations(3);
    for seq in 1..=3 {
        world.rate(4, seq).await;
        publish_once(&world.pool, &publication).await.unwrap();
        // The transaction leaves the chain and the pool.
        world.anvil("anvil_reorg", json!([1, []])).await;
        assert_eq!(world.rated().await.len(), 4 * (seq as usize - 1));
        publish_once(&world.pool, &publication).await.unwrap();
        world.assert_all_rated_once().await;
    }
    // Two blocks with a batch each, gone at once.
    world.rate(2, 4).await;
    publish_once(&world.pool, &publication).await.unwrap();
    world.rate(2, 5).await;
    publish_once(&world.pool, &publication).await.unwrap();
    world.anvil("anvil_reorg", json!([2, []])).await;
    publish_once(&world.pool, &publication).await.unwrap();
    world.assert_all_rated_once().await;
    assert_eq!(world.count("SELECT count(*) FROM outbox.tx_attempts").await, 5);

    let open = "SELECT count(*) FROM outbox.batches WHERE phase = 'included'";
    assert!(world.count(open).await > 0);
    world.anvil("anvil_mine", json!(["0x4"])).await;
    publish_once(&world.pool, &publication).await.unwrap();
    assert_eq!(world.count(open).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_spent_by_somebody_else_costs_one_more_transaction_and_no_rating() {
    let world = World::new().await;
    world.rate(3, 1).await;
    world.anvil("evm_setAutomine", json!([false])).await;
    let mut hasty = world.publication.clone();
    hasty.policy.publish_timeout = Duration::from_millis(300);
    let waiting = publish_once(&world.pool, &hasty).await.unwrap_err();
    assert!(matches!(waiting, PublishError::NotIncluded { .. }), "{waiting}");
    world.anvil("anvil_dropAllTransactions", json!([])).await;
    spend_nonce(&world).await;
    world.anvil("evm_setAutomine", json!([true])).await;
    world.anvil("evm_mine", json!([])).await;
    publish_once(&world.pool, &world.publication).await.unwrap();
    world.assert_all_rated_once().await;
    assert_eq!(world.count("SELECT count(*) FROM outbox.tx_attempts").await, 2);

    // And between two batches.
    spend_nonce(&world).await;
    world.rate(3, 2).await;
    publish_once(&world.pool, &world.publication).await.unwrap();
    world.assert_all_rated_once().await;
}

/// Sends a transfer with the gas key, behind the transmitter's back.
async fn spend_nonce(world: &World) {
    let gas = key("gas");
    let nonce = world.node.get_transaction_count(gas.address()).await.unwrap();
    let transfer = TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 100_000_000_000,
        max_priority_fee_per_gas: 2_000_000_000,
        to: TxKind::Call(gas.address()),
        ..TxEip1559::default()
    };
    let signed = GasKey::from_signer(gas).sign(transfer).await.unwrap();
    let _sent = world.node.send_raw_transaction(&signed.encoded_2718()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fee_that_became_too_low_is_raised_by_an_eighth_or_more() {
    let world = World::new().await;
    world.rate(3, 1).await;
    world.anvil("evm_setAutomine", json!([false])).await;
    let mut hasty = world.publication.clone();
    hasty.policy.publish_timeout = Duration::from_millis(300);
    hasty.policy.patience.bump_after_blocks = 1;
    publish_once(&world.pool, &hasty).await.unwrap_err();
    // The next block costs fifty times as much, so it leaves our transaction out.
    world.anvil("anvil_setNextBlockBaseFeePerGas", json!(["0xba43b7400"])).await;
    world.anvil("evm_mine", json!([])).await;
    let miner = tokio::spawn(mine_for_ever(world.node.clone()));
    hasty.policy.publish_timeout = world.publication.policy.publish_timeout;
    publish_once(&world.pool, &hasty).await.unwrap();
    miner.abort();
    world.assert_all_rated_once().await;
    let rows: Vec<(i64, i64)> =
        sqlx::query_as("SELECT max_fee_wei, tip_wei FROM outbox.tx_attempts ORDER BY attempt")
            .fetch_all(&world.admin)
            .await
            .unwrap();
    let [(fee, tip), (raised_fee, raised_tip)] = rows.as_slice() else { panic!("{rows:?}") };
    assert!(raised_fee * 8 >= fee * 9 && raised_tip * 8 >= tip * 9, "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_expires_in_the_pool_is_cancelled_and_brought_again() {
    let world = World::new().await;
    world.rate(3, 1).await;
    world.anvil("evm_setAutomine", json!([false])).await;
    let mut hasty = world.publication.clone();
    hasty.policy.publish_timeout = Duration::from_millis(300);
    publish_once(&world.pool, &hasty).await.unwrap_err();
    world.anvil("anvil_dropAllTransactions", json!([])).await;
    world.anvil("evm_increaseTime", json!([2_000])).await;
    world.anvil("evm_mine", json!([])).await;
    world.anvil("evm_setAutomine", json!([true])).await;
    let published = publish_once(&world.pool, &world.publication).await.unwrap();
    assert_eq!((published.batches, published.ratings), (1, 3));
    world.assert_all_rated_once().await;
    let cancelled = "SELECT count(*) FROM outbox.batches WHERE landing = 'cancelled'";
    assert_eq!(world.count(cancelled).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_expires_in_its_block_is_brought_again() {
    let world = World::new().await;
    world.rate(3, 1).await;
    world.anvil("evm_setAutomine", json!([false])).await;
    let mut hasty = world.publication.clone();
    hasty.policy.publish_timeout = Duration::from_millis(300);
    publish_once(&world.pool, &hasty).await.unwrap_err();
    world.anvil("evm_increaseTime", json!([2_000])).await;
    world.anvil("evm_mine", json!([])).await;
    world.anvil("evm_setAutomine", json!([true])).await;
    let published = publish_once(&world.pool, &world.publication).await.unwrap();
    assert_eq!((published.batches, published.ratings, published.released), (1, 3, 3));
    world.assert_all_rated_once().await;
    let reverted = "SELECT count(*) FROM outbox.batches WHERE landing = 'reverted'";
    assert_eq!(world.count(reverted).await, 1);
}

/// Not a test of its own: starts a chain and dies. See `a_chain_ends_with_who_started_it`.
#[test]
fn child_with_a_chain() {
    let Ok(file) = std::env::var("ASSAY_CHILD_FILE") else { return };
    let anvil = Anvil::start(&anvil_path(), &[]).unwrap();
    std::fs::write(file, anvil.rpc_url()).unwrap();
    use nix::sys::signal::{Signal, kill};
    kill(nix::unistd::getpid(), Signal::SIGKILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_ends_with_who_started_it() {
    let is_up = async |rpc_url: &str| Chain::connect(rpc_url, CHAIN_ID).await.is_ok();
    let anvil = Anvil::start(&anvil_path(), &[]).unwrap();
    let rpc_url = anvil.rpc_url().to_owned();
    assert!(is_up(&rpc_url).await);
    drop(anvil);
    assert!(!is_up(&rpc_url).await);

    let file = tempfile::NamedTempFile::new().unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "oracle_crash::child_with_a_chain"])
        .env("ASSAY_CHILD_FILE", file.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success());
    let rpc_url = std::fs::read_to_string(file.path()).unwrap();
    for _ in 0..100 {
        if !is_up(&rpc_url).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{rpc_url} outlives the process that started it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_somebody_else_brought_first_counts_as_rated() {
    let world = World::new().await;
    world.rate(3, 1).await;
    world.anvil("evm_setAutomine", json!([false])).await;
    let mut hasty = world.publication.clone();
    hasty.policy.publish_timeout = Duration::from_millis(300);
    publish_once(&world.pool, &hasty).await.unwrap_err();
    // Copied out of the pool and sent by a stranger at a higher price.
    let raw: Vec<u8> = sqlx::query_scalar("SELECT raw FROM outbox.tx_attempts")
        .fetch_one(&world.admin)
        .await
        .unwrap();
    let seen = <alloy::consensus::TxEnvelope as alloy::eips::Decodable2718>::decode_2718(
        &mut raw.as_slice(),
    )
    .unwrap();
    let stranger = world.node.get_accounts().await.unwrap()[0];
    let copy = TransactionRequest::default()
        .with_from(stranger)
        .with_to(world.oracle())
        .with_input(alloy::consensus::Transaction::input(&seen).clone())
        .with_gas_limit(1_000_000)
        .with_max_fee_per_gas(100_000_000_000)
        .with_max_priority_fee_per_gas(50_000_000_000);
    let _sent = world.node.send_transaction(copy).await.unwrap();
    world.anvil("evm_mine", json!([])).await;
    publish_once(&world.pool, &world.publication).await.unwrap();
    world.assert_all_rated_once().await;
    let rated = "SELECT count(*) FROM outbox.batch_members WHERE outcome = 'rated'";
    assert_eq!(world.count(rated).await, 3);
}
