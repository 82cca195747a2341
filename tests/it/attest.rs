//! Signed messages from document to rating: what is taken, what is refused, what it does.

use std::collections::BTreeSet;
use std::sync::Arc;

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use assay::attestation::{Document, Recorder, Refused, record};
use assay::event_store::{Batch, EventStore, Record, RecordError, Timeliness};
use assay::intake::{self, Door};
use assay::rater::Rater;
use assay_domain::attestation::{
    AdministratorAppointment, Attestation, Claim, Message, Revocation, SignerRegistration,
    SignerRemoval, SlasherKind,
};
use assay_domain::methodology::Methodology;
use assay_domain::mitigation::VerificationLevel;
use assay_domain::state::experience::BEACON_CHAIN_ETH;
use assay_domain::{AvsId, BlockRef, Event, Fact, OperatorId, OperatorSetId, RatedEntity};
use assay_graphql::{ApiConfig, Backend};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;
use tower::ServiceExt as _;

use crate::commands::{local, remote, told};
use crate::support::{self, TestDatabase};

const CHAIN: u64 = 1;
const GENESIS: u64 = 1_700_000_000;
const AVS: AvsId = AvsId(Address::repeat_byte(0xa5));
const SET: OperatorSetId = OperatorSetId { avs: AVS, id: 1 };
const OPERATOR: OperatorId = OperatorId(Address::repeat_byte(0x0b));
const SLASHER: Address = Address::repeat_byte(0x5a);

/// The newest final block before anything is attested, and the effective block of what is.
const FINAL: u64 = 20_000;

/// Messages with that effective block count from the end of this block.
const COUNTS: u64 = 28_799;

fn block(number: u64) -> BlockRef {
    BlockRef {
        number,
        hash: B256::left_padding_from(&number.to_be_bytes()),
        timestamp: GENESIS + 12 * number,
    }
}

pub(crate) fn key(number: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(number)).unwrap()
}

fn facts() -> Vec<Fact> {
    let events = [
        Event::OperatorSetCreated { operator_set: SET },
        Event::SlasherMigrated { operator_set: SET, slasher: SLASHER },
        Event::StrategyAddedToOperatorSet { operator_set: SET, strategy: BEACON_CHAIN_ETH },
        Event::OperatorRegistered { operator: OPERATOR, delegation_approver: Address::ZERO },
        Event::OperatorSharesIncreased {
            operator: OPERATOR,
            staker: assay_domain::StakerId(Address::repeat_byte(0x57)),
            strategy: BEACON_CHAIN_ETH,
            shares: U256::from(1_000) * U256::from(10_u64.pow(18)),
        },
        Event::OperatorAddedToOperatorSet { operator: OPERATOR, operator_set: SET },
        Event::AllocationUpdated {
            operator: OPERATOR,
            operator_set: SET,
            strategy: BEACON_CHAIN_ETH,
            magnitude: 500_000_000_000_000_000,
            effect_block: 1_000,
        },
    ];
    let place = |(log_index, event)| Fact {
        chain_id: CHAIN,
        block: block(1_000),
        tx_hash: B256::repeat_byte(1),
        log_index,
        emitter: Address::repeat_byte(2),
        event,
    };
    (0_u32..).zip(events).map(place).collect()
}

/// A log with one operator in one set, rated up to [`FINAL`], with an administrator, two third
/// parties and somebody who only claims.
struct World {
    database: TestDatabase,
    store: EventStore,
    rater: Rater,
}

fn rater(store: &EventStore) -> Rater {
    Rater::new(store.clone(), Arc::new(Methodology::version_1().unwrap()))
}

impl World {
    async fn new() -> Self {
        let database = support::database().await;
        let store = database.store().await;
        let facts = facts();
        let batch =
            Batch { chain_id: CHAIN, facts, finalized: Some(block(FINAL)), ..Batch::default() };
        store.append(&batch).await.unwrap();
        let mut rater = rater(&store);
        rater.catch_up().await.unwrap();
        Self { database, store, rater }
    }

    async fn with_signers() -> Self {
        let world = Self::new().await;
        let appointed =
            AdministratorAppointment { administrator: key(1).address(), effective_block: FINAL };
        world.says(1, Message::AdministratorAppointment(appointed)).await.unwrap();
        let third = VerificationLevel::SignedThirdParty;
        for (number, level, affiliation) in [
            (2, third, None),
            (3, third, None),
            (4, VerificationLevel::SelfClaim, None),
            (5, third, Some(AVS.0)),
        ] {
            let registration = SignerRegistration {
                signer: key(number).address(),
                level,
                affiliations: affiliation.into_iter().collect(),
                effective_block: FINAL,
            };
            world.says(1, Message::SignerRegistration(registration)).await.unwrap();
        }
        world
    }

    async fn says(&self, who: u8, message: Message) -> Result<Record, Refused> {
        let document = signed(&key(who), message);
        record(&self.store, document, Recorder::Owner, Timeliness::Required).await
    }

    async fn finalize(&mut self, number: u64) -> u32 {
        let finalized = Some(block(number));
        let batch = Batch { chain_id: CHAIN, finalized, ..Batch::default() };
        self.store.append(&batch).await.unwrap();
        self.rater.catch_up().await.unwrap().revision
    }

    /// Expected loss of a rated entity as of a block, ppt.
    async fn loss(&self, entity: RatedEntity, at: u64) -> i64 {
        sqlx::query_scalar(
            "SELECT r.expected_loss_ppt FROM read_model.ratings r
             JOIN read_model.entities e ON e.id = r.entity_id
             WHERE e.slug = $1 AND r.block_number <= $2 ORDER BY r.position DESC LIMIT 1",
        )
        .bind(entity.to_string())
        .bind(at.cast_signed())
        .fetch_one(&self.database.pool().await)
        .await
        .unwrap()
    }
}

fn signed(key: &PrivateKeySigner, message: Message) -> Document {
    signed_for(CHAIN, key, message)
}

pub(crate) fn signed_for(chain_id: u64, key: &PrivateKeySigner, message: Message) -> Document {
    let signer = key.address();
    let mut document = Document { chain_id, message, signer: Some(signer), signature: None };
    let signature = key.sign_hash_sync(&document.digest(signer)).unwrap();
    document.signature = Some(Bytes::from(signature.as_bytes().to_vec()));
    document
}

fn claims(level: VerificationLevel, claim: Claim) -> Message {
    Message::Attestation(Attestation {
        claim,
        level,
        evidence: B256::repeat_byte(0xee),
        observed_at: block(FINAL).timestamp,
        effective_block: FINAL,
        expires_at: block(FINAL).timestamp + 30 * 86_400,
    })
}

fn third_party(claim: Claim) -> Message {
    claims(VerificationLevel::SignedThirdParty, claim)
}

fn slasher_is(kind: SlasherKind) -> Claim {
    Claim::SlasherProfile {
        set: SET,
        slasher: SLASHER,
        kind,
        code_hash: Some(B256::repeat_byte(0xc0)),
        max_slash: None,
    }
}

const MULTISIG: SlasherKind =
    SlasherKind::Multisig { threshold: 4, signers: 7, timelock_blocks: 0 };

fn set() -> RatedEntity {
    RatedEntity::operator_set(CHAIN, SET)
}

#[tokio::test]
async fn a_third_party_moves_a_rating_from_the_epoch_that_was_signed_and_both_nodes_agree() {
    let mut world = World::with_signers().await;
    let done = world.says(2, third_party(slasher_is(SlasherKind::Immutable))).await.unwrap();
    assert_eq!(done.counts_from, COUNTS);
    assert_eq!(world.finalize(COUNTS - 1).await, 0);
    let before = world.loss(set(), COUNTS - 1).await;
    assert_eq!(world.finalize(40_000).await, 0);
    let after = world.loss(set(), COUNTS).await;
    assert!(after < before * 2 / 3, "{before} to {after}: the worst part was the unknown slasher");
    assert_eq!(world.loss(set(), COUNTS - 1).await, before, "not a block earlier");
    assay::verify::verify(&world.rater).await.unwrap();
    let head = world.rater.catch_up().await.unwrap().head;
    assert_eq!(rater(&world.store).catch_up().await.unwrap().head, head, "after a restart too");

    // Another node gets the messages in another order and all of the chain at once.
    let other = support::database().await.store().await;
    let batch = Batch {
        chain_id: CHAIN,
        facts: facts(),
        finalized: Some(block(FINAL)),
        ..Batch::default()
    };
    other.append(&batch).await.unwrap();
    let mut messages = world.store.messages(0, u64::MAX).await.unwrap();
    messages[1..5].reverse();
    for recorded in messages {
        let found = Message::of_event(&recorded.fact.event).unwrap();
        let signature = Some(Bytes::from(found.signature.to_vec()));
        let signer = Some(found.signer);
        let document = Document { chain_id: CHAIN, message: found.message, signer, signature };
        record(&other, document, Recorder::Owner, Timeliness::Required).await.unwrap();
    }
    let finalized = Some(block(40_000));
    other.append(&Batch { chain_id: CHAIN, finalized, ..Batch::default() }).await.unwrap();
    assert_eq!(rater(&other).catch_up().await.unwrap().head, head);
}

#[tokio::test]
async fn of_two_that_disagree_the_worse_counts_and_who_belongs_to_it_earns_nothing() {
    let mut world = World::with_signers().await;
    world.says(5, third_party(slasher_is(SlasherKind::Immutable))).await.unwrap();
    world.finalize(30_000).await;
    let unknown = world.loss(set(), FINAL).await;
    // A quiet day moves it by less than a hundredth.
    let affiliated = world.loss(set(), COUNTS).await;
    assert!(affiliated > unknown - unknown / 100, "an affiliate's word lifts nothing");

    let mut world = World::with_signers().await;
    world.says(2, third_party(slasher_is(SlasherKind::Immutable))).await.unwrap();
    world.says(3, third_party(slasher_is(MULTISIG))).await.unwrap();
    world.finalize(30_000).await;
    let disputed = world.loss(set(), COUNTS).await;

    let mut world = World::with_signers().await;
    world.says(3, third_party(slasher_is(MULTISIG))).await.unwrap();
    world.finalize(30_000).await;
    assert_eq!(world.loss(set(), COUNTS).await, disputed, "the worse of the two");
    assert!(disputed < unknown);

    // Anybody registered can make it worse again.
    let mut world = World::with_signers().await;
    world.says(2, third_party(slasher_is(SlasherKind::Immutable))).await.unwrap();
    let says_eoa = claims(VerificationLevel::SelfClaim, slasher_is(SlasherKind::Eoa));
    world.says(4, says_eoa).await.unwrap();
    world.finalize(30_000).await;
    assert!(world.loss(set(), COUNTS).await > disputed);
}

#[tokio::test]
async fn a_claim_ends_when_it_expires_is_revoked_or_its_signer_is_struck_off() {
    for way in 0..3 {
        let mut world = World::with_signers().await;
        let done = world.says(2, third_party(slasher_is(SlasherKind::Immutable))).await.unwrap();
        world.finalize(30_000).await;
        let unknown = world.loss(set(), FINAL).await;
        assert!(world.loss(set(), COUNTS).await < unknown);
        match way {
            0 => {}
            1 => {
                let attestation = done.digest;
                let revoked = Revocation { attestation, effective_block: 30_000 };
                world.says(2, Message::Revocation(revoked)).await.unwrap();
            }
            _ => {
                let removed = SignerRemoval { signer: key(2).address(), effective_block: 30_000 };
                world.says(1, Message::SignerRemoval(removed)).await.unwrap();
            }
        }
        // 30 days after it was observed it has expired anyway.
        let until = if way == 0 { FINAL + 31 * 7_200 } else { 45_000 };
        world.finalize(until).await;
        assert!(world.loss(set(), until).await >= unknown - unknown / 100, "way {way}");
        assay::verify::verify(&world.rater).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_network_has_a_slack_once_a_third_party_says_what_there_is_to_gain() {
    let mut world = World::with_signers().await;
    let ether = |ether: u64| U256::from(ether) * U256::from(10_u64.pow(18));
    let profit = |wei| Claim::ProfitFromCorruption { set: SET, wei, method: "bridge".to_owned() };
    world.says(2, third_party(profit(ether(100)))).await.unwrap();
    // Its own word counts where it is worse.
    world.says(5, third_party(profit(ether(250)))).await.unwrap();
    world.finalize(COUNTS - 1).await;
    let simulator = Some(crate::what_if::simulator(world.store.clone()));
    let backend = Backend { pool: world.database.pool().await, simulator, recorder: None };
    let ask = async || {
        let query = "{ network { slackPpt isSlackExact shockPpt lossBoundPpt worstLossPpt
            isWorstLossExact unboundedReason
            stakeWei coveredStakeWei coveredCount uncoveredCount
            covered { slug operatorSetId profitWei level thresholdPpt isThresholdAssumed operators }
            uncovered { slug avsAddress stakeWei reason } } }";
        let text = assay_graphql::execute(backend.clone(), query, serde_json::json!({})).await;
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer.get("errors"), None, "{answer}");
        answer["data"]["network"].clone()
    };
    let before = ask().await;
    assert_eq!((&before["slackPpt"], &before["coveredCount"]), (&json!(null), &json!(0)));
    let reason = before["unboundedReason"].as_str().unwrap();
    assert!(reason.contains("no operator set is covered"), "{reason}");
    // Half of 1,000 ether is allocated; its only operator has to put in all of it.
    let stake = ether(500).to_string();
    assert_eq!(before["stakeWei"], stake);

    world.finalize(COUNTS).await;
    let found = ask().await;
    assert_eq!(
        (&found["slackPpt"], &found["isSlackExact"]),
        (&json!("1000000000000"), &json!(true))
    );
    assert_eq!(found["coveredStakeWei"], stake);
    let expected = json!([{
        "slug": set().to_string(), "operatorSetId": 1, "profitWei": ether(250).to_string(),
        "level": "SIGNED_THIRD_PARTY", "thresholdPpt": "500000000000",
        "isThresholdAssumed": true, "operators": 1,
    }]);
    assert_eq!(found["covered"], expected);
    let consensus = json!([{
        "slug": null, "avsAddress": null, "stakeWei": stake,
        "reason": "no third party attested a profit from corruption",
    }]);
    assert_eq!((&found["uncovered"], &found["uncoveredCount"]), (&consensus, &json!(1)));
    // With a slack of one whatever a shock takes at most doubles.
    let ppt = |field: &str| found[field].as_str().unwrap().parse::<u64>().unwrap();
    assert!(ppt("shockPpt") > 0);
    assert_eq!(ppt("lossBoundPpt"), (2 * ppt("shockPpt")).min(1_000_000_000_000));
    assert_eq!(found["unboundedReason"], json!(null));
    // Every attack tried, none pays: what is lost is the shock.
    assert_eq!(found["worstLossPpt"], found["shockPpt"]);
    assert_eq!(found["isWorstLossExact"], true);

    let pool = world.database.pool().await;
    let config = ApiConfig { simulator: backend.simulator.clone(), ..ApiConfig::default() };
    let served = crate::graphql::live::serve_as(&pool, config).await;
    let url = world.database.url.clone();
    let told = tokio::task::spawn_blocking(move || {
        let told = told(&local(&url, &["network"]));
        assert_eq!(self::told(&remote(&served, &["network"])), told);
        told
    });
    let (out, err, code) = told.await.unwrap();
    assert_eq!(code, 0, "{err}");
    for line in
        ["slack         100 % (exact)", " of the stake at worst (exact)", "Ethereum's consensus"]
    {
        assert!(out.contains(line), "{out}");
    }
    assert!(out.contains("250") && out.contains("50 % (assumed)"), "{out}");
}

#[tokio::test]
async fn the_api_tells_what_became_of_a_claim_as_of_any_position() {
    let mut world = World::with_signers().await;
    let done = world.says(2, third_party(slasher_is(SlasherKind::Immutable))).await.unwrap();
    world
        .says(4, claims(VerificationLevel::SelfClaim, slasher_is(SlasherKind::Eoa)))
        .await
        .unwrap();
    world.finalize(30_000).await;
    let pool = world.database.pool().await;
    let ask = async |as_of: String| {
        let query = format!(
            "{{ entity(slug: \"{}\" {as_of}) {{ attestations {{ totalCount nodes {{ digest claim
                standing level signer expiresAt details {{ name untrustedValue }}
                subjects {{ slug }} position }} }} }} avs(address: \"{AVS}\") {{
                attestations {{ totalCount }} }} }}",
            set()
        );
        let text = assay_graphql::execute(&pool, &query, serde_json::json!({})).await;
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer.get("errors"), None, "{answer}");
        assert_eq!(answer["data"]["avs"]["attestations"]["totalCount"], 2, "its AVS is concerned");
        answer["data"]["entity"]["attestations"].clone()
    };
    let of = |page: &serde_json::Value, signer: u8| {
        let signer = key(signer).address().to_checksum(None);
        let mut found = page["nodes"].as_array().unwrap().iter();
        found.find(|one| one["signer"] == signer).cloned().unwrap()
    };
    let now = ask(String::new()).await;
    let third = of(&now, 2);
    assert_eq!(third["digest"], done.digest.to_string());
    assert_eq!(
        (&third["claim"], &third["standing"]),
        (&"SlasherProfileAttested".into(), &"VERIFIED".into())
    );
    assert_eq!(third["level"], "SIGNED_THIRD_PARTY");
    let detail = serde_json::json!({ "name": "kind", "untrustedValue": "immutable" });
    assert!(third["details"].as_array().unwrap().contains(&detail), "{third}");
    assert_eq!(third["subjects"].as_array().unwrap().len(), 2, "the set and its AVS");
    assert_eq!(of(&now, 4)["standing"], "CLAIMED");
    let before = third["position"].as_str().unwrap().parse::<u64>().unwrap() - 1;
    let then = ask(format!(", asOf: {{ position: \"{before}\" }}")).await;
    assert!(then["totalCount"].as_i64().unwrap() < 2, "not before it counts");

    // Taken back, struck off and re-admitted, said anew, expired.
    let revoked = Revocation { attestation: done.digest, effective_block: 30_000 };
    world.says(2, Message::Revocation(revoked)).await.unwrap();
    let removed = SignerRemoval { signer: key(4).address(), effective_block: 30_000 };
    world.says(1, Message::SignerRemoval(removed)).await.unwrap();
    world.finalize(45_000).await;
    let later = ask(String::new()).await;
    assert_eq!(of(&later, 2)["standing"], "REVOKED");
    assert_eq!(of(&later, 4)["standing"], "SIGNER_NOT_ENTITLED");
    let again = SignerRegistration {
        signer: key(4).address(),
        level: VerificationLevel::SelfClaim,
        affiliations: BTreeSet::new(),
        effective_block: 45_000,
    };
    world.says(1, Message::SignerRegistration(again)).await.unwrap();
    world.finalize(60_000).await;
    let readmitted = ask(String::new()).await;
    assert_eq!(of(&readmitted, 4)["standing"], "CLAIMED");
    let counted = now["nodes"][0]["position"].as_str().unwrap();
    let as_it_was = ask(format!(", asOf: {{ position: \"{counted}\" }}")).await;
    assert_eq!(of(&as_it_was, 2)["standing"], "VERIFIED", "as of then it counted");
    world.finalize(FINAL + 31 * 7_200).await;
    assert_eq!(of(&ask(String::new()).await, 4)["standing"], "EXPIRED");
    assay::verify::verify(&world.rater).await.unwrap();
    // A restart writes nothing twice and nothing else.
    rater(&world.store).catch_up().await.unwrap();
    assay::verify::verify(&rater(&world.store)).await.unwrap();
}

#[tokio::test]
async fn mitigants_lift_the_operator_and_no_bad_slasher() {
    let mut world = World::with_signers().await;
    let claim = Claim::Infrastructure {
        operator: OPERATOR,
        has_remote_signer: true,
        has_dvt: true,
        has_doppelganger_detection: true,
    };
    world.says(2, third_party(claim)).await.unwrap();
    world.finalize(30_000).await;
    let blocks: serde_json::Value = sqlx::query_scalar(
        "SELECT jsonb_agg(jsonb_build_array(r.block_number, r.attribution) ORDER BY r.position)
         FROM read_model.ratings r JOIN read_model.entities e ON e.id = r.entity_id
         WHERE e.slug = $1",
    )
    .bind(set().to_string())
    .fetch_one(&world.database.pool().await)
    .await
    .unwrap();
    let hazard = |at: u64, class: &str| {
        let mut points = blocks.as_array().unwrap().iter();
        let point = points.rfind(|point| point[0].as_u64().unwrap() <= at).unwrap();
        let lines = point[1].as_array().unwrap();
        let line = lines.iter().find(|line| line["class"] == class).unwrap();
        line["hazardPpt"].to_string().trim_matches('"').parse::<u64>().unwrap()
    };
    assert!(hazard(COUNTS, "C1") < hazard(FINAL, "C1") * 3 / 4);
    assert!(hazard(COUNTS, "C4") > hazard(FINAL, "C4") * 99 / 100);
}

#[tokio::test]
async fn what_is_wrong_with_a_message_is_said_and_nothing_is_written() {
    let world = World::with_signers().await;
    let head = world.store.head().await.unwrap();
    let claim = || slasher_is(SlasherKind::Immutable);
    let refused = |who: u8, message: Message| {
        let world = &world;
        async move { world.says(who, message).await.unwrap_err().to_string() }
    };
    let with = |change: fn(&mut Attestation)| {
        let Message::Attestation(mut attestation) = third_party(claim()) else { unreachable!() };
        change(&mut attestation);
        Message::Attestation(attestation)
    };
    let said = [
        (refused(9, third_party(claim())).await, "not a registered signer"),
        (refused(4, third_party(claim())).await, "is registered for SelfClaim at most"),
        (refused(2, with(|a| a.expires_at = a.observed_at + 60)).await, "expires at"),
        (refused(2, with(|a| a.expires_at = a.observed_at)).await, "before it was observed"),
        (refused(2, with(|a| a.expires_at += 900 * 86_400)).await, "more than two years"),
        (refused(2, with(|a| a.observed_at += 86_400)).await, "was observed at"),
        (refused(2, with(|a| a.effective_block = 1_000)).await, "from 7200 on"),
        (refused(2, with(|a| a.effective_block = 900_000)).await, "more than 216000 after"),
        (
            refused(
                2,
                third_party(slasher_is(SlasherKind::Multisig {
                    threshold: 8,
                    signers: 7,
                    timelock_blocks: 0,
                })),
            )
            .await,
            "1 to all of its keys",
        ),
        (
            refused(
                2,
                Message::SignerRemoval(SignerRemoval {
                    signer: key(3).address(),
                    effective_block: FINAL,
                }),
            )
            .await,
            "is not the administrator",
        ),
        (
            refused(
                2,
                Message::Revocation(Revocation { attestation: B256::ZERO, effective_block: FINAL }),
            )
            .await,
            "no attestation",
        ),
    ];
    for (found, expected) in said {
        assert!(found.contains(expected), "{found}");
    }
    // For another chain, and changed after it was signed.
    let mut foreign = signed_for(17_000, &key(2), third_party(claim()));
    foreign.chain_id = CHAIN;
    let found = foreign.clone().verify().unwrap_err().to_string();
    assert!(found.contains("it is for chain 17000"), "{found}");
    foreign.chain_id = 17_000;
    let elsewhere =
        record(&world.store, foreign, Recorder::Owner, Timeliness::Required).await.unwrap_err();
    assert!(
        matches!(
            elsewhere,
            Refused::Record(RecordError::NotEntitled(_) | RecordError::UnknownChain { .. })
        ),
        "{elsewhere}"
    );
    let mut changed = signed(&key(2), third_party(claim()));
    changed.message = third_party(slasher_is(MULTISIG));
    assert!(changed.verify().unwrap_err().to_string().starts_with("bad signature"));
    assert_eq!(world.store.head().await.unwrap(), head);
    // Once is enough.
    world.says(2, third_party(claim())).await.unwrap();
    let again = world.says(2, third_party(claim())).await.unwrap_err().to_string();
    assert!(again.contains("recorded before, at position"), "{again}");
}

#[tokio::test]
async fn a_late_message_is_taken_only_if_every_rating_may_be_made_anew() {
    let mut world = World::with_signers().await;
    world.finalize(40_000).await;
    let late = signed(&key(2), third_party(slasher_is(SlasherKind::Immutable)));
    let refused = record(&world.store, late.clone(), Recorder::Owner, Timeliness::Required).await;
    assert!(matches!(refused, Err(Refused::Record(RecordError::TooLate { .. }))));
    let before = world.loss(set(), COUNTS).await;
    record(&world.store, late, Recorder::Owner, Timeliness::Restates).await.unwrap();
    assert_eq!(world.rater.catch_up().await.unwrap().revision, 1);
    assert!(world.loss(set(), COUNTS).await < before);
    assay::verify::verify(&world.rater).await.unwrap();
}

#[tokio::test]
async fn the_route_takes_a_signed_document_and_says_why_not() {
    let world = World::with_signers().await;
    let app = intake::routes(Door::new(world.store.clone()));
    let post = |body: String, media: &'static str| {
        let app = app.clone();
        async move {
            let request = Request::post("/v1/attestations")
                .header("content-type", media)
                .body(Body::from(body))
                .unwrap();
            let response = app.oneshot(request).await.unwrap();
            let status = response.status();
            let body = axum::body::to_bytes(response.into_body(), 100_000).await.unwrap();
            (status, serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default())
        }
    };
    let json = "application/json";
    let text = |document: &Document| serde_json::to_string(document).unwrap();
    let good = text(&signed(&key(2), third_party(slasher_is(MULTISIG))));
    assert_eq!(post(good.clone(), "text/plain").await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (status, body) = post(good.clone(), json).await;
    assert_eq!((status, &body["countsFromBlock"]), (StatusCode::CREATED, &"28799".into()));
    assert_eq!(post(good, json).await.0, StatusCode::CONFLICT);
    let (status, body) = post("{}".to_owned(), json).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::BAD_REQUEST, &"MALFORMED".into()));
    let unknown = text(&signed(&key(8), third_party(slasher_is(MULTISIG))));
    assert_eq!(post(unknown, json).await.0, StatusCode::FORBIDDEN);
    assert_eq!(post(" ".repeat(70_000), json).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let appointed =
        AdministratorAppointment { administrator: key(7).address(), effective_block: FINAL };
    let (status, body) =
        post(text(&signed(&key(7), Message::AdministratorAppointment(appointed))), json).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::FORBIDDEN, &"OWNER_ONLY".into()));
}

#[tokio::test]
async fn the_mutation_records_by_post_alone_and_keeps_every_reason() {
    let world = World::with_signers().await;
    let door = Door::new(world.store.clone());
    let ask = async |config: ApiConfig, request: Request<Body>| {
        let pool = world.database.pool().await;
        let response = assay_graphql::router(pool, config).oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 100_000).await.unwrap();
        (status, serde_json::from_slice::<serde_json::Value>(&body).unwrap())
    };
    const MUTATION: &str =
        "mutation ($document: String!) { recordAttestation(document: $document) {
        storagePosition digest countsFromBlock } }";
    let post = async |config: ApiConfig, document: &str| {
        let variables = serde_json::json!({ "document": document });
        let body = serde_json::json!({ "query": MUTATION, "variables": variables }).to_string();
        let request = Request::post("/graphql").header("content-type", "application/json");
        ask(config, request.body(Body::from(body)).unwrap()).await
    };
    let writes = || ApiConfig { recorder: Some(Arc::new(door.clone())), ..ApiConfig::default() };
    let text = |document: &Document| serde_json::to_string(document).unwrap();
    let document = signed(&key(2), third_party(slasher_is(MULTISIG)));
    let good = text(&document);
    let before = world.store.head().await.unwrap().position;

    // Who cannot write says so; GET changes nothing, whoever answers.
    let refused = |answer: &serde_json::Value| answer["errors"][0]["extensions"]["code"].clone();
    assert_eq!(refused(&post(ApiConfig::default(), &good).await.1), "READ_ONLY");
    let url = "/graphql?query=mutation%7BrecordAttestation(document:%22%22)%7Bdigest%7D%7D";
    let (status, _) = ask(writes(), Request::get(url).body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(world.store.head().await.unwrap().position, before);

    let (status, answer) = post(writes(), &good).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let done = &answer["data"]["recordAttestation"];
    assert_eq!(done["digest"], document.digest(key(2).address()).to_string());
    assert_eq!(
        (&done["countsFromBlock"], &done["storagePosition"]),
        (&28_799.into(), &(before + 1).to_string().into())
    );
    assert!(answer["extensions"]["assay"]["cost"].as_u64().unwrap() >= 100);
    // The same bytes at the same moment are not answered from memory.
    assert_eq!(refused(&post(writes(), &good).await.1), "REPLAYED");
    let mut forged = signed(&key(2), third_party(slasher_is(SlasherKind::Eoa)));
    forged.signer = Some(key(3).address());
    let stranger = signed(&key(8), third_party(slasher_is(MULTISIG)));
    for (document, code) in [
        ("{}".to_owned(), "MALFORMED"),
        (text(&forged), "BAD_SIGNATURE"),
        (text(&stranger), "NOT_ENTITLED"),
        (" ".repeat(70_000), "TOO_LONG"),
    ] {
        let (_, answer) = post(writes(), &document).await;
        assert_eq!(refused(&answer), code, "{answer}");
        assert_eq!(answer["data"], serde_json::Value::Null);
        assert!(!answer["errors"][0]["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(world.store.head().await.unwrap().position, before + 1);
}

#[test]
fn typed_data_that_wallets_see_has_the_digest_that_is_signed() {
    let rulesets: BTreeSet<B256> = [B256::repeat_byte(1), B256::repeat_byte(2)].into();
    let messages = [
        third_party(slasher_is(MULTISIG)),
        third_party(Claim::AntiSlasher {
            operator: OPERATOR,
            signing_keys: B256::repeat_byte(3),
            policy: B256::repeat_byte(4),
            rulesets,
        }),
        Message::Revocation(Revocation { attestation: B256::repeat_byte(5), effective_block: 9 }),
        Message::SignerRegistration(SignerRegistration {
            signer: SLASHER,
            level: VerificationLevel::VerifiedRemote,
            affiliations: [AVS.0, OPERATOR.0].into(),
            effective_block: 9,
        }),
    ];
    for message in messages {
        let document = signed(&key(2), message);
        let signer = document.signer.unwrap();
        let typed = document.typed_data(signer);
        // Through JSON, as a wallet gets it, and alloy's dynamic encoder, which shares no code
        // with the static one.
        let text = serde_json::to_string(&typed).unwrap();
        let typed: alloy::dyn_abi::TypedData = serde_json::from_str(&text).unwrap();
        assert_eq!(typed.eip712_signing_hash().unwrap(), document.digest(signer));
        let again = Document::parse(serde_json::to_string(&document).unwrap().as_bytes()).unwrap();
        assert_eq!(again, document);
        again.verify().unwrap();
    }
}

#[tokio::test]
async fn a_methodology_is_adopted_by_an_event_and_every_action_names_its_own() {
    let file = include_str!("../../src/domain/methodology/assay-1.json");
    let changed = file
        .replace("\"version\": \"1\"", "\"version\": \"2-test\"")
        .replace("\"eoa_or_unknown\": \"0.04\"", "\"eoa_or_unknown\": \"0.4\"");
    let next = Arc::new(Methodology::parse(&changed).unwrap());
    let mut world = World::with_signers().await;
    let adoption = assay_domain::attestation::MethodologyAdoption {
        methodology: next.hash(),
        version: next.version.clone(),
        effective_block: FINAL,
    };
    let by_another = world.says(2, Message::MethodologyAdoption(adoption.clone())).await;
    assert!(by_another.unwrap_err().to_string().contains("is not the administrator"));
    world.says(1, Message::MethodologyAdoption(adoption)).await.unwrap();
    // Without the file nothing is rated, and the reason names it.
    let finalized = Some(block(40_000));
    let batch = Batch { chain_id: CHAIN, finalized, ..Batch::default() };
    world.store.append(&batch).await.unwrap();
    let refused = world.rater.catch_up().await.unwrap_err().to_string();
    assert!(refused.contains(&next.hash().to_string()), "{refused}");
    world.rater = rater(&world.store).knowing(vec![next.clone()]);
    world.rater.catch_up().await.unwrap();
    assert!(world.loss(set(), COUNTS).await > 2 * world.loss(set(), COUNTS - 1).await);
    assay::verify::verify(&world.rater).await.unwrap();
    let mut named = BTreeSet::new();
    world
        .store
        .read_own(&[203], 0, |recorded| {
            if let Event::RatingAction(action) = recorded.fact.event {
                named.insert(action.methodology_hash);
            }
            Ok::<(), std::convert::Infallible>(())
        })
        .await
        .unwrap();
    let first = Methodology::version_1().unwrap().hash();
    assert_eq!(named, [first, next.hash()].into());
}
