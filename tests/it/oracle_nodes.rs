//! Several nodes, each with its own database, node and key: a quorum without a leader.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use alloy::primitives::{Address, U256, address};
use alloy::providers::Provider as _;
use alloy::sol;
use alloy::sol_types::SolEvent;
use assay::chain::scripted::Emission;
use assay::chain::{Contract, ScriptedSource, Topics};
use assay_domain::grade::Grade;
use assay_domain::{AvsId, OperatorSetId, RatedEntity, Word};
use assay_oracle::contract::{read_word, read_words};
use assay_oracle::guard::GuardError;
use assay_oracle::node::{Node, SignError};
use assay_oracle::{Ballot, EntityKey, GasKey, Peer, publish_once};
use serde_json::{Value, json};

use crate::chain_decode::address_of;
use crate::chain_world::FIRST;
use crate::mock_node::{Habits, MockNode};
use crate::oracle_command::{Keys, json_of};
use crate::oracle_world::{CHAIN_ID, World, chain_for, entity, key, policy, signers, word};
use crate::support::{self, TestDatabase};

sol! {
    struct OperatorSet {
        address avs;
        uint32 id;
    }
    event OperatorSetCreated(OperatorSet operatorSet);
    event RedistributionAddressSet(OperatorSet operatorSet, address redistributionRecipient);
    event OperatorSlashed(address operator, OperatorSet operatorSet, address[] strategies,
        uint256[] wadSlashed, string description);
}

const SLASHED: Address = address!("0x00000000000000000000000000000000000000a1");
const PEACEFUL: Address = address!("0x00000000000000000000000000000000000000b2");
const LATER: Address = address!("0x00000000000000000000000000000000000000c3");

/// Seconds since the Unix epoch at which the development chain begins: scripted blocks are older.
const CLOCK: &str = "20000";

fn emission(event: &impl SolEvent) -> Emission {
    let data = event.encode_log_data();
    Emission {
        address: address_of(Contract::AllocationManager),
        topics: Topics::new(data.topics()).unwrap(),
        data: data.data.to_vec(),
    }
}

fn set(avs: Address) -> OperatorSet {
    OperatorSet { avs, id: 0 }
}

fn key_of(avs: Address) -> EntityKey {
    EntityKey(RatedEntity::operator_set(1, OperatorSetId { avs: AvsId(avs), id: 0 }).key())
}

/// A chain on which two sets are made, one is slashed, and a third is made. The hashes of scripted
/// blocks do not depend on their logs, so a node that hides one serves the same headers.
fn ledger(hides_the_slash: bool) -> ScriptedSource {
    let source = ScriptedSource::new(1, FIRST);
    for number in FIRST + 1..=FIRST + 120 {
        let emissions = match number - FIRST {
            10 => vec![
                emission(&OperatorSetCreated { operatorSet: set(SLASHED) }),
                emission(&OperatorSetCreated { operatorSet: set(PEACEFUL) }),
            ],
            20 => vec![emission(&RedistributionAddressSet {
                operatorSet: set(SLASHED),
                redistributionRecipient: SLASHED,
            })],
            50 if !hides_the_slash => vec![emission(&OperatorSlashed {
                operator: Address::repeat_byte(0x77),
                operatorSet: set(SLASHED),
                strategies: vec![Address::repeat_byte(0x55)],
                wadSlashed: vec![U256::from(10).pow(U256::from(18))],
                description: "took \u{1b}[31meverything".to_owned(),
            })],
            60 => vec![emission(&OperatorSetCreated { operatorSet: set(LATER) })],
            _ => Vec::new(),
        };
        source.push(0, emissions);
    }
    source.finalize(FIRST + 110);
    source
}

/// A process of `assay run`, ended with the test.
struct RunningNode {
    child: Child,
    url: String,
    trace: PathBuf,
    database: TestDatabase,
    _rpc: MockNode,
}

impl Drop for RunningNode {
    fn drop(&mut self) {
        // It may have ended by itself, with a message that the test shows.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn assay(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
    command.args(["--database-url", url]);
    command
}

/// A free port, for an address that peers must know beforehand.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn wait_until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(180), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_rpc_hides_a_slash_is_named_with_the_position_and_the_others_reach_quorum() {
    let keys = Keys::new();
    let names = ["node 0", "node 1", "node 2"];
    let council: Vec<_> = names.iter().map(|name| key(name).address()).collect();
    let (anvil, chain, oracle) = chain_for(CHAIN_ID, &["--timestamp", CLOCK], &council, 2).await;
    let node = World::node_of(&anvil);
    // The same ratings go to a second chain, by a worker of its own.
    let (second_anvil, second_chain, second) =
        chain_for(7_777, &["--timestamp", CLOCK], &council, 2).await;
    let second_node = World::node_of(&second_anvil);
    let ports: Vec<u16> = names.iter().map(|_| free_port()).collect();
    let oracle_args = [
        "--oracle".to_owned(),
        oracle.address.to_string(),
        "--oracle-rpc-url".to_owned(),
        anvil.rpc_url().to_owned(),
        "--oracle-chain-id".to_owned(),
        CHAIN_ID.to_string(),
    ];
    let mut nodes = Vec::new();
    for (number, name) in names.iter().enumerate() {
        World::fund(&node, key(&format!("gas of {name}")).address()).await;
        World::fund(&second_node, key(&format!("gas of {name}")).address()).await;
        let rpc = MockNode::start(ledger(number == 2), Habits::default()).await;
        let database = support::database().await;
        let trace = keys.folder().join(format!("trace {number}"));
        let mut command = assay(&database.url);
        command
            .args(["run", "--start-block", &FIRST.to_string(), "--rpc-url", &rpc.url()])
            .args(["--listen", &format!("127.0.0.1:{}", ports[number])])
            .args(&oracle_args)
            .args(["--oracle", &second.address.to_string(), "--oracle-chain-id", "7777"])
            .args(["--oracle-rpc-url", second_anvil.rpc_url()])
            .arg("--signer-keystore")
            .arg(keys.keystore(name))
            .arg("--gas-keystore")
            .arg(keys.keystore(&format!("gas of {name}")))
            .arg("--password-file")
            .arg(keys.password());
        for (_, port) in ports.iter().enumerate().filter(|(other, _)| *other != number) {
            command.args(["--peer", &format!("http://127.0.0.1:{port}")]);
        }
        let child =
            command.stdout(Stdio::null()).stderr(File::create(&trace).unwrap()).spawn().unwrap();
        let url = format!("http://127.0.0.1:{}", ports[number]);
        nodes.push(RunningNode { child, url, trace, database, _rpc: rpc });
    }
    let grade_of = async |avs| {
        let word = read_word(&chain, oracle.address, key_of(avs)).await.unwrap();
        Word::unpack(word).ok().map(|word| word.fields())
    };
    // Two of three bring the default, and the set that was made after it.
    wait_until("the default is on chain", async || {
        grade_of(SLASHED).await.is_some_and(|fields| fields.grade == Grade::D.number())
    })
    .await;
    wait_until("the later set is on chain", async || grade_of(LATER).await.is_some()).await;
    assert_eq!(grade_of(LATER).await.unwrap().log_pos, 5);
    assert!(grade_of(PEACEFUL).await.is_some());
    wait_until("the default is on the second chain", async || {
        let word = read_word(&second_chain, second.address, key_of(SLASHED)).await.unwrap();
        Word::unpack(word).is_ok_and(|word| word.fields().grade == Grade::D.number())
    })
    .await;
    let monitor: Peer = nodes[0].url.parse().unwrap();
    let positions: Vec<u64> = monitor.get("v1/oracle/positions").await.unwrap();
    assert_eq!(positions.last(), Some(&5));
    let metrics = text_of(&format!("{}/metrics/oracle", nodes[0].url)).await;
    for chain in [CHAIN_ID, 7_777] {
        let line = format!("assay_oracle_paused{{chain=\"{chain}\",oracle=");
        assert!(metrics.contains(&line), "{metrics}");
    }
    assert!(metrics.contains("assay_oracle_gas_wei"), "{metrics}");

    // A command says who parted, where, and by which event.
    let status = |from: usize, to: usize| {
        assay(&nodes[from].database.url)
            .args(["oracle", "status", "--json", "--peer", &nodes[to].url])
            .args(&oracle_args)
            .output()
            .unwrap()
    };
    let honest = status(0, 1);
    let told = json_of(&honest);
    assert!(honest.status.success(), "{honest:?}");
    assert_eq!(told["peers"][0]["verdict"], json!("same"));
    assert_eq!((&told["threshold"], &told["paused"]), (&json!(2), &json!(false)));
    assert_eq!((&told["missing"], &told["behind"]), (&json!(0), &json!(0)));

    let parted = status(0, 2);
    assert_eq!(parted.status.code(), Some(4), "{parted:?}");
    let told = json_of(&parted);
    let peer = &told["peers"][0];
    assert_eq!((&peer["verdict"], &peer["position"]), (&json!("parted"), &json!(4)));
    assert_eq!(peer["agreed"]["position"], json!(3));
    let ours = peer["ours"]["entry"]["event"].as_str().unwrap();
    let theirs = peer["theirs"]["entry"]["event"].as_str().unwrap();
    assert!(ours.starts_with("OperatorSlashed"), "{ours}");
    assert!(theirs.starts_with("OperatorSetCreated"), "{theirs}");
    let slashed = RatedEntity::operator_set(1, OperatorSetId { avs: AvsId(SLASHED), id: 0 });
    let ratings = peer["ratings"].as_array().unwrap();
    let of_set = ratings.iter().find(|found| found["entity"] == json!(slashed.to_string()));
    let of_set = of_set.unwrap_or_else(|| panic!("{ratings:?}"));
    assert!(of_set["ours"].is_string() && of_set["theirs"].is_null(), "{of_set}");
    let message = String::from_utf8_lossy(&parted.stderr);
    assert!(message.contains("part at position 4") && !message.contains('\u{1b}'), "{message}");
    assert!(message.contains(&format!("{slashed} (seq ")), "{message}");

    // The nodes have said so by themselves: the honest of the third, the third of the honest.
    for (number, other) in [(0, 2), (1, 2), (2, 0)] {
        wait_until("it is said", async || {
            let said = fs::read_to_string(&nodes[number].trace).unwrap();
            let place = format!("this node and 127.0.0.1:{} have parted", ports[other]);
            said.contains(&place) && said.contains("part at position 4")
        })
        .await;
    }

    // On chain is what the honest logs say, and not what the third's says.
    let audit = |node: &RunningNode| {
        assay(&node.database.url)
            .args(["oracle", "audit-chain", "--json"])
            .args(&oracle_args)
            .output()
            .unwrap()
    };
    let honest = audit(&nodes[1]);
    assert!(honest.status.success(), "{honest:?}");
    assert!(json_of(&honest)["stored"].as_u64().unwrap() >= 6, "{honest:?}");
    let dishonest = audit(&nodes[2]);
    assert_eq!(dishonest.status.code(), Some(4), "{dishonest:?}");

    // Once final, what the contracts say comes back into each node's log, and it still verifies.
    let expected = json_of(&honest)["events"].as_i64().unwrap();
    for node in [&node, &second_node] {
        let _: Value = node.raw_request("anvil_mine".into(), json!(["0x60"])).await.unwrap();
    }
    let pool = nodes[1].database.pool().await;
    let told = "SELECT (SELECT count(*) FROM event_store.events WHERE kind = 220),
        (SELECT count(*) FROM read_model.publications WHERE status = 'final')";
    wait_until("ratings on chain are events", async || {
        let (events, rows): (i64, i64) = sqlx::query_as(told).fetch_one(&pool).await.unwrap();
        // The same on both chains. The outbox may know that they are final before the log does.
        events >= 2 * expected && events == rows
    })
    .await;
    let verified = assay(&nodes[1].database.url).arg("verify").output().unwrap();
    assert!(verified.status.success(), "{verified:?}");

    signed_by_hand_and_brought_by_a_stranger(&keys, &nodes, &oracle_args).await;
}

async fn text_of(url: &str) -> String {
    alloy::transports::http::reqwest::get(url).await.unwrap().text().await.unwrap()
}

/// `sign` on one node, its server on another, `submit` by somebody who has no database.
async fn signed_by_hand_and_brought_by_a_stranger(
    keys: &Keys,
    nodes: &[RunningNode],
    oracle_args: &[String],
) {
    let signed = assay(&nodes[0].database.url)
        .args(["oracle", "sign", "--position", "5"])
        .args(oracle_args)
        .arg("--signer-keystore")
        .arg(keys.keystore("node 0"))
        .arg("--password-file")
        .arg(keys.password())
        .output()
        .unwrap();
    assert!(signed.status.success(), "{signed:?}");
    let shares = keys.folder().join("shares.json");
    fs::write(&shares, &signed.stdout).unwrap();
    let submit = |files: &[&Path], peers: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
        command.args(["oracle", "submit", "--json", "--position", "5"]).args(oracle_args);
        command.arg("--keystore").arg(keys.keystore("gas of node 2"));
        command.arg("--password-file").arg(keys.password()).args(files);
        for peer in peers {
            command.args(["--peer", peer]);
        }
        command.output().unwrap()
    };
    let alone = submit(&[&shares], &[]);
    let message = String::from_utf8_lossy(&alone.stderr);
    assert_eq!(alone.status.code(), Some(1));
    assert!(message.contains("1 signers have signed one batch, 2 must"), "{message}");
    let both = submit(&[], &[&nodes[0].url, &nodes[1].url]);
    assert!(both.status.success(), "{both:?}");
    // It was there already: nothing is stored twice.
    assert_eq!(json_of(&both)["stored"], json!([]));
    assert!(!json_of(&both)["skipped"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_bring_the_same_batches_at_once_do_no_harm() {
    let world = World::new().await;
    let other = support::database().await;
    let connected = assay::db::connect(&other.url).await.unwrap();
    let other_pool = connected.pool(assay::db::Role::Oracle, 8).await.unwrap();
    let mut theirs = world.publication.clone();
    theirs.gas_key = GasKey::from_signer(key("gas of another"));
    World::fund(&world.node, theirs.gas_key.address()).await;
    for seq in 1..=4 {
        let as_of = world.chain.head().await.unwrap().time;
        for number in 0..20 {
            world.rate_one(entity(number), word(number, seq, as_of)).await;
        }
        copy_reports(&world, &other.pool().await).await;
        // Every other time both are in one block.
        let is_slow = seq % 2 == 0;
        world.anvil("evm_setAutomine", json!([!is_slow])).await;
        let mining = async {
            if is_slow {
                tokio::time::sleep(Duration::from_secs(2)).await;
                world.anvil("evm_mine", json!([])).await;
                world.anvil("evm_setAutomine", json!([true])).await;
            }
        };
        let (ours, others, ()) = tokio::join!(
            publish_once(&world.pool, &world.publication),
            publish_once(&other_pool, &theirs),
            mining
        );
        assert_eq!(ours.unwrap().ratings + others.unwrap().ratings, 20, "seq {seq}");
        world.assert_all_rated_once().await;
    }
    // Both know that all of it is there, and a late third sends nothing.
    for pool in [&world.admin, &other.pool().await] {
        let open: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM outbox.batch_members WHERE outcome IS DISTINCT FROM 'rated'",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        assert_eq!(open, 0);
    }
    let late = support::database().await;
    copy_reports(&world, &late.pool().await).await;
    let connected = assay::db::connect(&late.url).await.unwrap();
    let late_pool = connected.pool(assay::db::Role::Oracle, 8).await.unwrap();
    assert_eq!(publish_once(&late_pool, &theirs).await.unwrap(), Default::default());
}

async fn copy_reports(world: &World, to: &sqlx::PgPool) {
    let rows: Vec<(Vec<u8>, i64, Vec<u8>, i64)> =
        sqlx::query_as("SELECT entity_key, seq, word, canonical_position FROM outbox.reports")
            .fetch_all(&world.admin)
            .await
            .unwrap();
    for (key, seq, word, position) in rows {
        sqlx::query("INSERT INTO outbox.reports VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING")
            .bind(key)
            .bind(seq)
            .bind(word)
            .bind(position)
            .execute(to)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_can_ask_for_positions_in_any_order_and_for_nothing_else() {
    let world = World::new().await;
    let oracle = world.publication.oracle;
    let rpc_url = world.anvil.rpc_url().to_owned();
    let own = vec![signers()[0].clone()];
    let node = Node::new(world.pool.clone(), rpc_url.clone(), oracle, own, policy());
    world.rate(150, 1).await;
    world.rate(3, 2).await;
    // The later position first: the earlier one, which is the newest of 147, is promised along.
    let later = node.sign(2, None).await.unwrap();
    assert_eq!(later.len(), 1);
    assert_eq!(later[0].batch().unwrap().reports().len(), 3);
    let earlier = node.sign(1, None).await.unwrap();
    let counts: Vec<usize> =
        earlier.iter().map(|share| share.batch().unwrap().reports().len()).collect();
    assert_eq!(counts, [100, 50]);
    // The same question, the same bytes; nothing more is promised.
    assert_eq!(node.sign(1, Some(earlier[0].deadline)).await.unwrap(), earlier);
    assert_eq!(world.count("SELECT count(*) FROM outbox.signatures").await, 153);

    // Each counts where it was signed for, and nowhere else.
    let council = node.look().await.unwrap().council;
    let digest = earlier[0].verified_digest().unwrap();
    let mut ballot = Ballot::new(&council, digest);
    assert_eq!(ballot.count(earlier[0].signature), Some(earlier[0].signer));
    assert_eq!(ballot.count(earlier[1].signature), None);
    let mut forged = earlier[0].clone();
    forged.entries = later[0].entries.clone();
    forged.verified_digest().unwrap_err();
    forged = earlier[0].clone();
    forged.deadline += 600;
    forged.verified_digest().unwrap_err();

    // Not on the grid, long past, far ahead; where nothing was decided; with a key without office.
    let deadline = earlier[0].deadline;
    for wrong in [deadline + 1, deadline - 6_000, deadline + 6_000, 0, u64::MAX] {
        let refused = node.sign(1, Some(wrong)).await.unwrap_err();
        assert!(matches!(refused, SignError::Deadline { .. }), "{wrong}: {refused}");
    }
    for position in [0, 3, u64::MAX / 2] {
        let refused = node.sign(position, None).await.unwrap_err();
        assert!(matches!(refused, SignError::NothingDecided { .. }), "{position}: {refused}");
    }
    let stranger = vec![assay_oracle::RatingSigner::random()];
    let without_office = Node::new(world.pool.clone(), rpc_url, oracle, stranger, policy());
    let refused = without_office.sign(1, None).await.unwrap_err();
    assert!(matches!(refused, SignError::NoSigner { epoch: 1 }), "{refused}");

    // A word that contradicts what the key has signed is refused, whoever asks.
    sqlx::query("ALTER TABLE outbox.reports DISABLE TRIGGER reports_are_never_changed")
        .execute(&world.admin)
        .await
        .unwrap();
    sqlx::query(
        "UPDATE outbox.reports SET word = set_byte(word, 31, get_byte(word, 31) + 1)
         WHERE canonical_position = 2",
    )
    .execute(&world.admin)
    .await
    .unwrap();
    let refused = node.sign(2, None).await.unwrap_err();
    assert!(matches!(refused, SignError::Guard(GuardError::NotSafe(_))), "{refused}");
    let stored = read_words(&world.chain, world.oracle(), &[entity(0)]).await.unwrap();
    assert_eq!(stored, [U256::ZERO]);
}
