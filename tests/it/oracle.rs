//! Publishing on a real chain from a real outbox: what is due lands, once, and can be audited.

use alloy::primitives::{B256, U256, keccak256};
use alloy::providers::Provider;
use alloy::sol_types::SolValue;
use assay_domain::{Word, WordFields};
use assay_oracle::chain::ChainError;
use assay_oracle::compare::{Difference, audit};
use assay_oracle::contract::{IRatingOracle, administer, read_word};
use assay_oracle::guard;
use assay_oracle::outbox::Outbox;
use assay_oracle::publish::PublishError;
use assay_oracle::{Batch, GasKey, Report, publish_once, run};
use tokio_util::sync::CancellationToken;

use crate::oracle_world::{CHAIN_ID, World, chain_with_contract, entity, key, signers, word};

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_and_fifty_ratings_land_in_two_batches_and_read_back_equal() {
    let world = World::new().await;
    world.rate(150, 1).await;
    let published = publish_once(&world.pool, &world.publication).await.unwrap();
    assert_eq!((published.batches, published.transactions, published.ratings), (2, 2, 150));
    assert_eq!(published.released, 0);
    world.assert_all_rated_once().await;
    assert_eq!(world.count("SELECT count(*) FROM outbox.signatures").await, 3 * 150);
    let rated = "SELECT count(*) FROM outbox.batch_members WHERE outcome = 'rated'";
    assert_eq!(world.count(rated).await, 150);

    // The contract reads the fields out of a word as we put them in.
    let asked = IRatingOracle::ratingCall { entity: entity(7).0 };
    let rating = world.chain.call(world.oracle(), &asked).await.unwrap();
    let stored = read_word(&world.chain, world.oracle(), entity(7)).await.unwrap();
    let ours = Word::unpack(stored).unwrap();
    let fields = ours.fields();
    assert_eq!(rating.asOf.to::<u64>(), fields.as_of);
    assert_eq!(rating.lag.to::<u32>(), ours.lag());
    assert_eq!(rating.logPos.to::<u64>(), fields.log_pos);
    assert_eq!((rating.seq, rating.model), (fields.seq, fields.model));
    assert_eq!((rating.flags, rating.grade), (fields.flags.0, fields.grade));
    assert_eq!((rating.score, rating.pd, rating.el), (fields.score, fields.pd, fields.el));

    // Nothing is due, so nothing happens; then only what is new.
    let again = publish_once(&world.pool, &world.publication).await.unwrap();
    assert_eq!(again, Default::default());
    world.rate(20, 2).await;
    let more = publish_once(&world.pool, &world.publication).await.unwrap();
    assert_eq!((more.batches, more.ratings), (1, 20));
    world.assert_all_rated_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_of_several_reports_is_brought() {
    let world = World::new().await;
    for seq in 1..=3 {
        world.rate(2, seq).await;
    }
    let published = publish_once(&world.pool, &world.publication).await.unwrap();
    assert_eq!(published.ratings, 2);
    assert_eq!(world.rated().await.keys().map(|(_, seq)| *seq).collect::<Vec<_>>(), [3, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_brings_what_becomes_due_until_it_is_told_to_stop() {
    let world = World::new().await;
    let stop = CancellationToken::new();
    let (pool, publication) = (world.pool.clone(), world.publication.clone());
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { run(&pool, &publication, stop).await }
    });
    for seq in 1..=3 {
        world.rate(3, seq).await;
        for _ in 0..500 {
            if world.rated().await.len() == 3 * seq as usize {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    world.assert_all_rated_once().await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_outbox_serves_two_chains_with_one_promise_a_word() {
    let world = World::new().await;
    let (_other_anvil, other_chain, other) = chain_with_contract(7_777).await;
    world.rate(5, 1).await;
    let (here, there) = tokio::join!(
        publish_once(&world.pool, &world.publication),
        publish_once(&world.pool, &other)
    );
    assert_eq!((here.unwrap().ratings, there.unwrap().ratings), (5, 5));
    world.assert_all_rated_once().await;
    assert_eq!(world.count("SELECT count(*) FROM outbox.signatures").await, 15);
    let outbox = Outbox::open(&world.pool, &other_chain, other.oracle.address).await.unwrap();
    let expected = outbox.rated_words().await.unwrap();
    let audit = audit(&other_chain, other.oracle.address, &expected, 0).await.unwrap();
    assert_eq!((audit.compared, audit.first_difference), (5, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_development_chain_started_anew_under_the_same_number_is_another_chain() {
    let world = World::new().await;
    world.rate(4, 1).await;
    publish_once(&world.pool, &world.publication).await.unwrap();
    // Block 0 carries the second in which it was made.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let (_anvil, chain, anew) = chain_with_contract(CHAIN_ID).await;
    assert_eq!(anew.oracle, world.publication.oracle);
    assert_eq!(publish_once(&world.pool, &anew).await.unwrap().ratings, 4);
    let outbox = Outbox::open(&world.pool, &chain, anew.oracle.address).await.unwrap();
    let expected = outbox.rated_words().await.unwrap();
    let audit = audit(&chain, anew.oracle.address, &expected, 0).await.unwrap();
    assert_eq!((audit.compared, audit.first_difference), (4, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chain_than_the_one_wanted_is_refused_before_anything_is_signed() {
    let world = World::new().await;
    world.rate(1, 1).await;
    let mut publication = world.publication.clone();
    publication.oracle.chain_id = 1;
    let refused = publish_once(&world.pool, &publication).await.unwrap_err();
    assert_eq!(refused.to_string(), "the node serves chain 31337, expected 1");
    assert!(matches!(refused, PublishError::Chain(ChainError::WrongChain { .. })));

    // Another contract, too few keys, and a gas key with a say are refused as well.
    publication = world.publication.clone();
    publication.oracle.address = key("somebody").address();
    let refused = publish_once(&world.pool, &publication).await.unwrap_err();
    assert!(matches!(refused, PublishError::Chain(ChainError::NoContract { .. })), "{refused}");
    publication = world.publication.clone();
    publication.signers.truncate(2);
    let refused = publish_once(&world.pool, &publication).await.unwrap_err();
    assert_eq!(refused.to_string(), "2 of our keys are signers of epoch 1, expected 3");
    publication = world.publication.clone();
    publication.gas_key = GasKey::from_signer(key("signer 1"));
    let refused = publish_once(&world.pool, &publication).await.unwrap_err();
    assert!(matches!(refused, PublishError::GasKeySigns { .. }), "{refused}");
    assert_eq!(world.count("SELECT count(*) FROM outbox.signatures").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_must_not_be_signed_does_not_hold_up_the_others() {
    let world = World::new().await;
    world.rate(4, 1).await;
    let as_of = world.chain.head().await.unwrap().time;
    // No grade at all.
    let grade: U256 = U256::from(0xff) << 80;
    let broken = word(4, 1, as_of) & !grade;
    world.rate_one(entity(4), broken).await;
    // A contradiction to what one key has signed before.
    let other = word(3, 1, as_of - 100_u64);
    let batch = Batch::new(vec![Report::new(entity(3), other).unwrap()]).unwrap();
    let mut addresses: Vec<_> = signers().iter().map(|signer| signer.address()).collect();
    addresses.sort();
    guard::clear(&world.pool, addresses[0], &batch).await.unwrap();

    let published = publish_once(&world.pool, &world.publication).await.unwrap();
    assert_eq!(published.ratings, 3);
    let reasons: Vec<String> = sqlx::query_scalar("SELECT reason FROM outbox.refusals")
        .fetch_all(&world.admin)
        .await
        .unwrap();
    assert_eq!(reasons.len(), 2);
    assert!(reasons.iter().any(|reason| reason.contains("field grade")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("has signed 0x")), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_improvement_too_soon_waits_until_the_contract_takes_it() {
    let world = World::new().await;
    world.rate(2, 1).await;
    publish_once(&world.pool, &world.publication).await.unwrap();
    let as_of = world.chain.head().await.unwrap().time;
    let better =
        WordFields { grade: 6, score: 5_000, ..Word::unpack(word(0, 2, as_of)).unwrap().fields() };
    world.rate_one(entity(0), Word::new(better).unwrap().pack()).await;
    let soon = publish_once(&world.pool, &world.publication).await.unwrap();
    assert_eq!((soon.ratings, soon.released), (0, 1));
    assert_eq!(publish_once(&world.pool, &world.publication).await.unwrap().batches, 0);
    world.anvil("evm_increaseTime", serde_json::json!([6 * 3_600 + 1])).await;
    world.anvil("evm_mine", serde_json::json!([])).await;
    assert_eq!(publish_once(&world.pool, &world.publication).await.unwrap().ratings, 1);
    world.assert_all_rated_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_contract_is_waited_for_and_new_signers_sign_anew() {
    let world = World::new().await;
    world.rate(2, 1).await;
    let owner = world.publication.gas_key.clone();
    let oracle = world.oracle();
    administer(&world.chain, &owner, oracle, &IRatingOracle::pauseCall {}).await.unwrap();
    let mut publication = world.publication.clone();
    publication.policy.publish_timeout = std::time::Duration::from_millis(200);
    let paused = publish_once(&world.pool, &publication).await.unwrap_err();
    assert!(matches!(paused, PublishError::Paused { .. }), "{paused}");
    administer(&world.chain, &owner, oracle, &IRatingOracle::unpauseCall {}).await.unwrap();

    // Signed for epoch 1, not yet sent; then the signers change.
    world.anvil("evm_setAutomine", serde_json::json!([false])).await;
    let outbox = Outbox::open(&world.pool, &world.chain, oracle).await.unwrap();
    let now = world.chain.head().await.unwrap().time;
    outbox.choose(now, 1, |_| now + 600).await.unwrap().unwrap();
    world.anvil("evm_setAutomine", serde_json::json!([true])).await;
    let mut rotated: Vec<_> = signers().iter().skip(1).map(|signer| signer.address()).collect();
    rotated.sort();
    let rotate = IRatingOracle::rotateSignersCall { signers: rotated, threshold: 3 };
    administer(&world.chain, &owner, oracle, &rotate).await.unwrap();
    publish_once(&world.pool, &world.publication).await.unwrap();
    world.assert_all_rated_once().await;
    let abandoned = "SELECT count(*) FROM outbox.batches WHERE phase = 'abandoned'";
    assert_eq!(world.count(abandoned).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_names_the_entity_and_the_field_of_one_flipped_bit() {
    let world = World::new().await;
    world.rate(12, 1).await;
    publish_once(&world.pool, &world.publication).await.unwrap();
    let oracle = world.oracle();
    let outbox = Outbox::open(&world.pool, &world.chain, oracle).await.unwrap();
    let expected = outbox.rated_words().await.unwrap();
    let clean = audit(&world.chain, oracle, &expected, 0).await.unwrap();
    assert_eq!((clean.compared, clean.first_difference), (12, None));

    let victim = expected[7].0;
    let stored = read_word(&world.chain, oracle, victim).await.unwrap();
    let slot = slot_of(&world, victim.0, stored).await;
    let fields = [
        ("asOf", 216),
        ("logPos", 144),
        ("seq", 112),
        ("model", 96),
        ("flags", 88),
        ("grade", 80),
        ("score", 64),
        ("pd", 32),
        ("el", 0),
        // SUSPENDED, which no guardian has set.
        ("flags", 95),
    ];
    for (field, bit) in fields {
        let flipped = stored ^ (U256::from(1) << bit);
        set_slot(&world, slot, flipped).await;
        let found = audit(&world.chain, oracle, &expected, 0).await.unwrap();
        let found = found.first_difference.unwrap_or_else(|| panic!("bit {bit} is not seen"));
        assert_eq!((found.entity(), found.field()), (victim, Some(field)), "bit {bit}");
    }
    // A lag is the contract's own; a rating that is gone is missing; one too large is malformed.
    set_slot(&world, slot, stored ^ (U256::from(1) << 192)).await;
    assert_eq!(audit(&world.chain, oracle, &expected, 0).await.unwrap().first_difference, None);
    set_slot(&world, slot, U256::ZERO).await;
    let found = audit(&world.chain, oracle, &expected, 0).await.unwrap().first_difference;
    assert_eq!(found, Some(Difference::Missing { entity: victim }));
    set_slot(&world, slot, stored | (U256::from(0xff) << 80)).await;
    let found = audit(&world.chain, oracle, &expected, 0).await.unwrap().first_difference;
    assert!(matches!(found, Some(Difference::Malformed { entity, .. }) if entity == victim));

    // What the guardian suspends is told, and no difference.
    set_slot(&world, slot, stored).await;
    let suspend = IRatingOracle::suspendCall { entity: victim.0 };
    administer(&world.chain, &world.publication.gas_key, oracle, &suspend).await.unwrap();
    let found = audit(&world.chain, oracle, &expected, 0).await.unwrap();
    assert_eq!((found.suspended, found.first_difference), (vec![victim], None));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_transmits_cannot_write_what_is_to_be_signed_nor_change_what_was() {
    let world = World::new().await;
    world.rate(1, 1).await;
    publish_once(&world.pool, &world.publication).await.unwrap();
    for refused in [
        "INSERT INTO outbox.reports SELECT entity_key, seq + 1, word, 1 FROM outbox.reports",
        "UPDATE outbox.signatures SET seq = seq + 1",
        "DELETE FROM outbox.signatures",
        "DELETE FROM outbox.tx_attempts",
        "SELECT count(*) FROM event_store.events",
        "SELECT count(*) FROM read_model.entities",
    ] {
        assert!(sqlx::query(refused).execute(&world.pool).await.is_err(), "{refused}");
    }
    // Nor can the owner of the tables.
    for refused in [
        "UPDATE outbox.signatures SET seq = seq + 1",
        "DELETE FROM outbox.signatures",
        "TRUNCATE outbox.signatures",
        "UPDATE outbox.reports SET canonical_position = 2",
        "UPDATE outbox.tx_attempts SET attempt = 2",
    ] {
        assert!(sqlx::query(refused).execute(&world.admin).await.is_err(), "{refused}");
    }
}

/// The storage slot of an entity's word: whichever mapping holds it.
async fn slot_of(world: &World, entity: B256, stored: U256) -> U256 {
    for mapping in 0..20_u64 {
        let slot = keccak256((entity, U256::from(mapping)).abi_encode()).into();
        let found = world.node.get_storage_at(world.oracle(), slot).await.unwrap();
        if found == stored {
            return slot;
        }
    }
    panic!("no mapping holds {stored:#x}");
}

async fn set_slot(world: &World, slot: U256, value: U256) {
    let (slot, value) = (B256::from(slot), B256::from(value));
    let arguments = serde_json::json!([world.oracle(), slot, value]);
    world.anvil("anvil_setStorageAt", arguments).await;
}
