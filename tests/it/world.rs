//! The made-up world: that everything is in it which a page, a command or a test may want to show.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;

use alloy::primitives::{B256, U256};
use assay::rating::{Engine, Observer};
use assay::world;
use assay_domain::attestation::Message;
use assay_domain::canonical::CanonicalHead;
use assay_domain::methodology::Methodology;
use assay_domain::rating::Rating;
use assay_domain::state::ChainState;
use assay_domain::{BlockRef, ChainId, Fact};
use assay_graphql::Backend;
use serde_json::{Value, json};

use crate::commands::{local, told};
use crate::dashboard::rated_world;
use crate::support::{self, TestDatabase};
use crate::what_if::simulator;

/// Tags of `Event::OperatorSlashed` and `Event::BlocksReverted`.
const SLASHED: i16 = 34;
const REVERTED: i16 = 201;

async fn ask(database: &TestDatabase, query: &str) -> Value {
    let text = assay_graphql::execute(&database.pool().await, query, json!({})).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer.get("errors"), None, "{answer}");
    answer["data"].clone()
}

fn list(value: &Value) -> &Vec<Value> {
    value["nodes"].as_array().unwrap_or_else(|| panic!("{value}"))
}

fn wei(value: &Value) -> U256 {
    value.as_str().unwrap_or_else(|| panic!("{value}")).parse().unwrap()
}

#[tokio::test]
async fn the_made_up_world_has_something_for_every_page() {
    let (database, mut rater, facts) = rated_world().await;
    assert!(facts.iter().all(|fact| fact.chain_id == world::CHAIN_ID));
    let query = "{ open: slashings(where: { isOpen: true }) { nodes { blocksLeft
            slashedShares { shares releasedShares } } }
        closed: slashings(where: { isOpen: false }) { nodes { blocksLeft
            slashedShares { shares releasedShares } } }
        notRated: entities(where: { isRated: false, kind: [OPERATOR] }) { totalCount }
        assigned: ratingActions(where: { kind: [ASSIGNED] }) { totalCount }
        affirmed: ratingActions(where: { kind: [AFFIRMED] }) { totalCount }
        upgraded: ratingActions(where: { kind: [UPGRADED] }) { totalCount }
        downgraded: ratingActions(where: { kind: [DOWNGRADED] }) { totalCount }
        withdrawn: ratingActions(where: { kind: [WITHDRAWN] }) { totalCount }
        first: ratingActions(where: { revision: 0 }) { totalCount }
        restated: ratingActions(where: { revision: 1 }) { totalCount }
        operators: entities(where: { kind: [OPERATOR] }) { nodes {
            ... on Operator { profile { allocationDelayBlocks pendingAllocationDelay { blocks } }
                allocations { nodes { currentMagnitudeWad pendingMagnitudeWad } } } } } }";
    let data = ask(&database, query).await;
    let (open, closed) = (list(&data["open"]), list(&data["closed"]));
    assert_eq!((open.len(), closed.len()), (2, 2), "the slash that was taken back is not here");
    for slash in open {
        assert!(slash["blocksLeft"].as_i64().unwrap() > 0);
        assert_eq!(slash["slashedShares"][0]["releasedShares"], "0");
    }
    for slash in closed {
        let shares = &slash["slashedShares"][0];
        assert_eq!(slash["blocksLeft"], 0);
        assert_eq!(shares["releasedShares"], shares["shares"]);
    }
    assert_eq!(data["notRated"]["totalCount"], 1);
    for kind in ["assigned", "affirmed", "upgraded", "downgraded", "withdrawn", "first", "restated"]
    {
        assert!(data[kind]["totalCount"].as_i64().unwrap() > 0, "{kind}: {data}");
    }
    let operators = list(&data["operators"]);
    let without_notice =
        operators.iter().filter(|one| one["profile"]["allocationDelayBlocks"] == 0).count();
    assert_eq!(without_notice, 2);
    // What was scheduled months ago is in force.
    for allocation in operators.iter().flat_map(|one| list(&one["allocations"])) {
        assert_eq!(allocation["pendingMagnitudeWad"], Value::Null, "{allocation}");
    }
    every_band_that_there_can_be_is_there(&database).await;
    tokens_are_looked_through(&database).await;
    a_reserve_is_a_line_of_its_own(&database).await;
    one_token_has_a_market(&database).await;
    stake_earns_and_the_frontier_bends(&database).await;
    what_is_signed_is_there(&database, world::head(&facts).timestamp).await;
    a_slash_was_taken_back(&database).await;
    slashers_are_easier_to_change(&database).await;

    // Told again to another log, it is the same to the last bit.
    let (_other, mut again, _) = rated_world().await;
    let heads = [rater.catch_up().await.unwrap(), again.catch_up().await.unwrap()];
    assert_eq!(heads[0], heads[1]);
}

/// Nobody is above BBB: what the platform's own contracts can lose is in every rating.
async fn every_band_that_there_can_be_is_there(database: &TestDatabase) {
    let query = "{ entities(first: 100) { nodes { rating { grade } } } }";
    let data = ask(database, query).await;
    let band = |entity: &Value| match entity["rating"]["grade"].as_str() {
        Some(grade) => grade.trim_end_matches(['+', '-']).to_owned(),
        None => "NR".to_owned(),
    };
    let bands: BTreeSet<String> = list(&data["entities"]).iter().map(band).collect();
    let expected = ["B", "BB", "BBB", "CCC", "D", "NR"].map(str::to_owned);
    assert_eq!(bands, BTreeSet::from(expected));
}

async fn stake_earns_and_the_frontier_bends(database: &TestDatabase) {
    let simulator = Some(simulator(database.store().await));
    let backend = Backend { simulator, ..Backend::from(&database.pool().await) };
    let query = "{ entities(where: { kind: [OPERATOR], isRated: true }, first: 2,
        orderBy: { field: GRADE, direction: ASC }) { nodes { slug } } }";
    let operators = ask(database, query).await;
    let mut bent = 0;
    for operator in list(&operators["entities"]) {
        let query = "query ($entity: String!) { frontier(entity: $entity, points: 3) {
            positions { yearlyRewardPpt } points { rewardPpt riskPpt } } }";
        let asked = json!({ "entity": operator["slug"] });
        let text = assay_graphql::execute(backend.clone(), query, asked).await;
        let answer: Value = serde_json::from_str(&text).unwrap();
        let frontier = &answer["data"]["frontier"];
        let points = frontier["points"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let positions = frontier["positions"].as_array().unwrap();
        assert!(positions.iter().all(|one| one["yearlyRewardPpt"] != "0"), "{answer}");
        let risks: BTreeSet<U256> = points.iter().map(|point| wei(&point["riskPpt"])).collect();
        bent += usize::from(risks.len() > 2);
    }
    assert_eq!(bent, 2);
}

async fn tokens_are_looked_through(database: &TestDatabase) {
    let data = ask(
        database,
        "{ lrts(first: 5) { nodes { slug untrustedName rating { label } rates(first: 1) { nodes { rate } }
            backing { nav
                positions(first: 20) { nodes { place value operator { slug } operatorSet { slug } } }
                lossDays worstWriteDownPpt reserve { status coveragePpt } lossDistribution { expectedLossPpt } } } } }",
    )
    .await;
    let mut statuses = BTreeMap::<&str, usize>::new();
    let mut lost = Vec::new();
    for lrt in list(&data["lrts"]) {
        let (backing, slug) = (&lrt["backing"], &lrt["slug"]);
        assert!(
            lrt["untrustedName"].as_str().is_some_and(|name| name.ends_with("(DEMO)")),
            "{lrt}"
        );
        lost.extend(backing["lossDays"].as_u64().filter(|days| *days > 0));
        let positions = list(&backing["positions"]);
        let sum: U256 = positions.iter().map(|one| wei(&one["value"])).sum();
        assert_eq!(sum, wei(&backing["nav"]), "{slug}");
        let slashable = positions.iter().filter(|one| one["place"] == "SLASHABLE");
        let named = |one: &Value| one["operator"]["slug"].is_string();
        let sets = slashable.filter(|one| named(one) && one["operatorSet"]["slug"].is_string());
        assert!(sets.count() > 1, "{slug}");
        assert!(!list(&lrt["rates"]).is_empty(), "{slug}");
        assert!(lrt["rating"]["label"].is_string(), "{slug}");
        let status = backing["reserve"]["status"].as_str().unwrap();
        *statuses.entry(status).or_default() += 1;
        if status == "BELOW_FULL" {
            assert!(wei(&backing["reserve"]["coveragePpt"]) < U256::from(1_000_000_000_000_u64));
        }
    }
    assert_eq!(lost, [2], "one token lost twice, in front of everybody");
    assert_eq!(statuses, BTreeMap::from([("ABSENT", 1), ("BELOW_FULL", 1), ("PROVEN", 1)]));
}

/// One token has a reserve that a third party vouches for: every line adds up to its score and to
/// what its holders lose, the reserve's below zero.
async fn a_reserve_is_a_line_of_its_own(database: &TestDatabase) {
    let query = "{ lrts(first: 5) { nodes { rating { score expectedLossPpt
        attribution { class block hazardPpt expectedLossPpt points provenance }
        rationale { drivers } } backing { firstLoss { bp bornePpt } } } } }";
    let data = ask(database, query).await;
    let mut reserves = 0;
    for lrt in list(&data["lrts"]) {
        let (rating, first_loss) = (&lrt["rating"], &lrt["backing"]["firstLoss"]);
        let lines = rating["attribution"].as_array().unwrap();
        let number = |value: &Value| value.as_str().unwrap().parse::<i64>().unwrap();
        let points: i64 = lines.iter().map(|line| line["points"].as_i64().unwrap()).sum();
        let losses: i64 = lines.iter().map(|line| number(&line["expectedLossPpt"])).sum();
        assert_eq!(points, rating["score"].as_i64().unwrap());
        assert_eq!(losses, number(&rating["expectedLossPpt"]));
        let own: Vec<_> = lines.iter().filter(|line| line["class"] == "reserve").collect();
        let told = rating["rationale"]["drivers"].as_array().unwrap().iter();
        let told = told.filter(|line| line.as_str().unwrap().contains("bears the first loss"));
        assert_eq!(
            (own.len(), told.count()),
            match first_loss.is_null() {
                true => (0, 0),
                false => (1, 1),
            }
        );
        let [line] = own[..] else { continue };
        reserves += 1;
        assert!(line["points"].as_i64().unwrap() < 0, "{line}");
        assert_eq!(-number(&line["expectedLossPpt"]), number(&first_loss["bornePpt"]));
        assert_eq!(line["provenance"], "signed_third_party");
    }
    assert_eq!(reserves, 1);
}

/// What a sale of one token costs is attested, and how much of it stands behind loans; of the
/// others nobody says, and their liquidity is the days alone.
async fn one_token_has_a_market(database: &TestDatabase) {
    let query = "{ lrts(first: 5) { nodes { rating { rationale { restsOn } } backing {
        redeemedBeforePpt lending { loopedPpt soldFromPpt addedPpt level }
        liquidity { grade daysGrade sale { grade costPpt depth level } } } } } }";
    let data = ask(database, query).await;
    let mut sold = 0;
    for lrt in list(&data["lrts"]) {
        let (backing, liquidity) = (&lrt["backing"], &lrt["backing"]["liquidity"]);
        let told = lrt["rating"]["rationale"]["restsOn"].to_string();
        if liquidity["sale"].is_null() {
            assert_eq!(liquidity["grade"], liquidity["daysGrade"], "{lrt}");
            assert_eq!(backing["redeemedBeforePpt"], "300000000000");
            assert!(told.contains("what a sale costs is not known"), "{told}");
            continue;
        }
        sold += 1;
        let legs = [&liquidity["daysGrade"], &liquidity["sale"]["grade"]];
        let worst = legs.into_iter().filter_map(Value::as_i64).max();
        assert_eq!((liquidity["grade"].as_i64(), legs[1]), (worst, &json!(4)));
        assert_ne!(legs[0], legs[1], "the sale is the worse of both");
        assert_eq!(liquidity["sale"]["level"], "SIGNED_THIRD_PARTY");
        assert!(wei(&backing["redeemedBeforePpt"]) < U256::from(200_000_000_000_u64), "{lrt}");
        let lending = &backing["lending"];
        assert_eq!(
            (&lending["loopedPpt"], &lending["addedPpt"]),
            (&json!("140000000000"), &json!("140000000000"))
        );
        assert!(told.contains("to sell 1 % costs 1.2 % (L4), as a third party attests"), "{told}");
        assert!(told.contains("14 % stands behind loans"), "{told}");
    }
    assert_eq!(sold, 1);
}

async fn what_is_signed_is_there(database: &TestDatabase, now: u64) {
    let store = database.store().await;
    let (mut standing, mut expired) = (BTreeSet::new(), 0);
    let (mut signers, mut revoked) = (0, BTreeSet::new());
    for recorded in store.messages(0, u64::MAX).await.unwrap() {
        let signed = Message::of_event(&recorded.fact.event).unwrap();
        assert!(assay::attestation::is_genuine(world::CHAIN_ID, &signed));
        match signed.message {
            Message::SignerRegistration(_) => signers += 1,
            Message::Attestation(claim) if claim.expires_at < now => expired += 1,
            Message::Attestation(_) => {
                standing.insert(signed.digest);
            }
            Message::Revocation(revocation) => {
                revoked.insert(revocation.attestation);
            }
            _ => {}
        }
    }
    assert_eq!((signers, expired, revoked.len()), (2, 1, 1));
    assert!(revoked.is_subset(&standing) && standing.len() >= 8, "{}", standing.len());
}

/// Code that was replaced, a threshold that fell and a call that a timelock holds: their sets are on
/// watch to the end.
async fn slashers_are_easier_to_change(database: &TestDatabase) {
    let query = "{ governanceChanges { nodes { kind summary opensWatch
        subjects { __typename slug rating { isWatchNegative } } } } }";
    let data = ask(database, query).await;
    let changes = list(&data["governanceChanges"]);
    let summary = changes[0]["summary"].as_str().unwrap();
    assert!(summary.ends_with("which can run from 2026-11-06T00:08:00Z on."), "{summary}");
    let kinds: Vec<_> = changes.iter().map(|change| &change["kind"]).collect();
    assert_eq!(kinds, ["CALL_SCHEDULED", "THRESHOLD_CHANGED", "UPGRADED"]);
    for change in changes {
        assert_eq!(change["opensWatch"], true);
        let subjects = change["subjects"].as_array().unwrap();
        assert!(subjects.len() >= 2, "a set and its AVS: {change}");
        assert!(subjects.iter().all(|one| one["rating"]["isWatchNegative"] == true), "{change}");
    }
    let slug = changes[2]["subjects"].as_array().unwrap().iter();
    let slug = slug.map(|one| &one["slug"]).find_map(|slug| slug.as_str()).unwrap().to_owned();
    let url = database.url.clone();
    let told = tokio::task::spawn_blocking(move || told(&local(&url, &["show", &slug])));
    let (out, err, code) = told.await.unwrap();
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("control       The code of 0x") && out.contains("is now that at"),
        "{out}"
    );
}

async fn a_slash_was_taken_back(database: &TestDatabase) {
    let counts: (i64, i64, i64) = sqlx::query_as(
        "SELECT count(*), count(o.block_hash),
                (SELECT count(*) FROM event_store.events WHERE kind = $2)
         FROM event_store.events e LEFT JOIN event_store.orphans o USING (chain_id, block_hash)
         WHERE e.kind = $1",
    )
    .bind(SLASHED)
    .bind(REVERTED)
    .fetch_one(&database.pool().await)
    .await
    .unwrap();
    assert_eq!(counts, (5, 1, 1));
}

/// Notes the hash of every rating, in the order in which they are told.
#[derive(Default)]
struct Hashes(Vec<B256>);

impl Observer for Hashes {
    fn fact_folded(&mut self, _: &Fact, _: &ChainState, _: CanonicalHead) {}
    fn rated(&mut self, ratings: &[Rating], _: &ChainState, _: &Methodology) {
        self.0.extend(ratings.iter().map(|rating| rating.assessment_hash));
    }
    fn block_ended(&mut self, _: ChainId, _: BlockRef, _: CanonicalHead) {}
}

#[test]
fn ratings_are_the_same_on_any_number_of_cores() {
    // Tokens are there for the last days of it.
    const BLOCKS: u64 = 303 * 7_200;
    let facts = world::facts().unwrap();
    let until = facts[0].block.number + BLOCKS;
    let facts = || facts.iter().take_while(|fact| fact.block.number < until);
    let rated_on = |threads: usize| {
        let methodology = Arc::new(Methodology::version_1().unwrap());
        let finalized = BTreeMap::from([(world::CHAIN_ID, until)]);
        let mut engine = Engine::new(methodology, finalized, &BTreeMap::new(), Hashes::default());
        for fact in facts() {
            engine.message(fact);
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            for fact in facts().filter(|fact| Message::of_event(&fact.event).is_none()) {
                engine.fact(fact, &B256::ZERO).unwrap();
            }
            engine.finish().unwrap();
        });
        engine.observer.0
    };
    let on_one = rated_on(1);
    assert!(on_one.len() > 1_000, "{} ratings", on_one.len());
    assert!([2, 5].into_iter().all(|threads| rated_on(threads) == on_one));
}

#[tokio::test]
async fn the_demo_of_the_world_publishes_through_trouble() {
    let database = support::database().await;
    let demo = || {
        let url = database.url.clone();
        tokio::task::spawn_blocking(move || {
            crate::oracle_world::anvil_path();
            let demo = ["demo", "--world", "--once", "--json", "--database-url", &url];
            Command::new(env!("CARGO_BIN_EXE_assay")).args(demo).output().unwrap()
        })
    };
    let output = demo().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["isDemo"], true);
    let replaced: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM read_model.publications WHERE cardinality(replaced_tx_hashes) = 1",
    )
    .fetch_one(&database.pool().await)
    .await
    .unwrap();
    assert!(replaced > 0, "a transaction was sent again at a higher fee");
    let (failed, feeds, stale): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM outbox.batches WHERE landing = 'reverted'),
                (SELECT count(DISTINCT oracle) FROM read_model.publications),
                (SELECT count(DISTINCT p.entity_key) FROM read_model.publications p
                  WHERE p.oracle = (SELECT address FROM outbox.oracles ORDER BY id LIMIT 1)
                    AND EXISTS (SELECT FROM outbox.reports r
                          WHERE r.entity_key = p.entity_key AND r.seq > p.seq))",
    )
    .fetch_one(&database.pool().await)
    .await
    .unwrap();
    assert!(failed > 0 && stale > 0, "{failed} {stale}");
    assert_eq!(feeds, 2);
    // Whoever shows it again shows the same year, on chains whose clocks have gone on.
    for _ in 0..2 {
        let again = demo().await.unwrap();
        assert!(again.status.success(), "{again:?}");
    }
}
