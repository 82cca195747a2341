//! Real ledgers from file to rating: what is stored, folded, rated and answered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy::primitives::U256;
use assay::archive::Archive;
use assay::chain::{Contracts, Decoder, Import};
use assay::event_store::{Batch, EventStore, Revert};
use assay::rater::Rater;
use assay_domain::event::RatingAction;
use assay_domain::methodology::Methodology;
use assay_domain::state::{ChainState, State};
use assay_domain::{BlockRef, Event, Fact, OperatorSetId, RatedEntity};
use serde_json::{Value, json};

use crate::chain_shared::shared;
use crate::support::{self, TestDatabase};

const MAINNET: u64 = 1;
const HOLESKY: u64 = 17_000;
const SLASHER_OF_THE_STORY: &str = "0x12b75d5ed35320b33daf37f90ff0f6d31796cc3d";

fn ledger() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/command/ledger.assay")
}

/// The facts of the shipped ledger.
pub(crate) fn ledger_facts() -> Vec<Fact> {
    shipped().into_iter().flat_map(|batch| batch.facts).collect()
}

fn shipped() -> Vec<Batch> {
    let archive = Archive::open(&ledger()).unwrap();
    let decoder = Decoder::new(Contracts::of_chain(MAINNET).unwrap());
    let mut lines = Vec::new();
    for log in archive.logs().unwrap() {
        serde_json::to_writer(&mut lines, &log.unwrap()).unwrap();
        lines.push(b'\n');
    }
    let lines: Arc<[u8]> = lines.into();
    let input = Box::new(move || {
        Ok(Box::new(std::io::Cursor::new(lines.clone())) as Box<dyn std::io::Read + Send>)
    });
    let import = Import::read(input, &decoder).unwrap();
    import.batches().unwrap().map(Result::unwrap).collect()
}

pub(crate) fn rater(store: &EventStore) -> Rater {
    Rater::new(store.clone(), Arc::new(Methodology::version_1().unwrap()))
}

/// The shipped ledger in a database, rated.
pub(crate) async fn ledger_rated() -> TestDatabase {
    let database = support::database().await;
    let store = database.store().await;
    for batch in shipped() {
        store.append(&batch).await.unwrap();
    }
    rater(&store).catch_up().await.unwrap();
    database
}

async fn import(store: &EventStore, path: &Path, chain_id: u64) -> (u64, u64) {
    let decoder = Decoder::new(Contracts::of_chain(chain_id).unwrap());
    let import = Import::read_file(path, &decoder).unwrap();
    let (mut appended, mut skipped) = (0, 0);
    for batch in import.batches().unwrap() {
        let done = store.append(&batch.unwrap()).await.unwrap();
        appended += done.appended;
        skipped += done.skipped;
    }
    (appended, skipped)
}

async fn ask(database: &TestDatabase, query: &str, variables: Value) -> Value {
    let pool = database.pool().await;
    let answer = assay_graphql::execute(&pool, query, variables).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert!(answer.get("errors").is_none(), "{answer}");
    answer["data"].clone()
}

async fn actions(store: &EventStore) -> Vec<RatingAction> {
    let mut actions = Vec::new();
    store
        .read_own(&[203], 0, |recorded| {
            if let Event::RatingAction(action) = recorded.fact.event {
                actions.push(action);
            }
            Ok::<(), std::convert::Infallible>(())
        })
        .await
        .unwrap();
    actions
}

#[tokio::test]
async fn the_mainnet_ledger_is_rated_and_warned_of_the_sweep_before_it_came() {
    let database = support::database().await;
    let store = database.store().await;
    for batch in [Batch {
        chain_id: MAINNET,
        finalized: Some(ledger_facts().last().unwrap().block),
        facts: ledger_facts(),
        ..Batch::default()
    }] {
        assert_eq!(store.append(&batch).await.unwrap().appended, 149);
        assert_eq!(store.append(&batch).await.unwrap().appended, 0, "a second ingest adds nothing");
    }
    rater(&store).catch_up().await.unwrap();
    let grades = grades_at(&database, 24_712_915).await;
    let (story, others): (Vec<_>, Vec<_>) =
        grades.iter().partition(|(slug, _, _)| slug.contains(SLASHER_OF_THE_STORY));
    let mut plain: Vec<u8> =
        others.iter().filter(|(_, _, warned)| !warned).map(|(_, grade, _)| *grade).collect();
    plain.sort_unstable();
    let median = plain[plain.len() / 2];
    assert!(story[0].2, "the reason is told in words");
    assert!(story[0].1 >= median + 2, "{} against a median of {median}", story[0].1);
    let after = grades_at(&database, 24_763_745).await;
    let story = after.iter().find(|(slug, _, _)| slug.contains(SLASHER_OF_THE_STORY)).unwrap();
    assert_eq!(story.1, 20, "in default once it took all");
}

/// Slug, grade and whether a warning is told, of every operator set as of a block.
async fn grades_at(database: &TestDatabase, block: u64) -> Vec<(String, u8, bool)> {
    const QUERY: &str = "query ($asOf: AsOf!) { entities(asOf: $asOf, first: 100,
        where: { kind: [OPERATOR_SET] }) { pageInfo { hasNextPage } nodes { slug
        rating { grade rationale { warnings } } } } }";
    let as_of = json!({ "asOf": { "block": { "chainId": 1, "number": block } } });
    let data = ask(database, QUERY, as_of).await;
    assert_eq!(data["entities"]["pageInfo"]["hasNextPage"], json!(false));
    let nodes = data["entities"]["nodes"].as_array().unwrap().clone();
    nodes
        .iter()
        .map(|node| {
            let grade = node["rating"]["grade"].as_str().unwrap();
            let grade: assay_domain::grade::Grade = grade.parse().unwrap();
            let warnings = node["rating"]["rationale"]["warnings"].as_array().unwrap();
            (node["slug"].as_str().unwrap().to_owned(), grade.number(), !warnings.is_empty())
        })
        .collect()
}

#[tokio::test]
async fn the_shared_mainnet_file_holds_what_the_shipped_ledger_holds() {
    let Some(path) = shared("mainnet-allocation-manager.jsonl") else { return };
    let database = support::database().await;
    let store = database.store().await;
    assert_eq!(import(&store, &path, MAINNET).await, (149, 0));
    assert_eq!(import(&store, &path, MAINNET).await, (0, 149));
    let shipped = Batch { chain_id: MAINNET, facts: ledger_facts(), ..Batch::default() };
    assert_eq!(store.append(&shipped).await.unwrap().appended, 0);
}

/// Folds a file and calls `after` with the state after each fact.
async fn fold(path: &Path, chain_id: u64, mut after: impl FnMut(&Fact, &ChainState)) -> State {
    let database = support::database().await;
    let store = database.store().await;
    import(&store, path, chain_id).await;
    let mut state = State::default();
    let facts = std::cell::RefCell::new(Vec::new());
    store
        .fold_canonical(
            None,
            || facts.borrow_mut().clear(),
            |(), found| {
                facts.borrow_mut().push(found.fact.clone());
                Ok::<(), std::convert::Infallible>(())
            },
        )
        .await
        .unwrap();
    for fact in facts.into_inner() {
        state.apply(&fact).unwrap();
        after(&fact, &state.chains[&chain_id]);
    }
    state
}

#[tokio::test]
async fn every_slash_of_preprod_is_recomputed_from_the_fold() {
    let Some(path) = shared("preprod-allocation-manager.jsonl") else { return };
    let mut slashes = 0;
    let mut last_max = BTreeMap::new();
    // What the events of one block say last of each allocation: current, and pending with its block.
    type Said = (Option<u64>, Option<(u64, u64)>);
    let mut said: BTreeMap<_, Said> = BTreeMap::new();
    let mut block = 0;
    let state = fold(&path, HOLESKY, |fact, chain| {
        if fact.block.number != block {
            block = fact.block.number;
            said.clear();
        }
        match &fact.event {
            Event::MaxMagnitudeUpdated { operator, strategy, max_magnitude } => {
                last_max.insert((*operator, *strategy), *max_magnitude);
            }
            Event::AllocationUpdated {
                operator,
                operator_set,
                strategy,
                magnitude,
                effect_block,
            } => {
                let entry = said.entry((*operator, *operator_set, *strategy)).or_default();
                if u64::from(*effect_block) <= block {
                    entry.0 = Some(*magnitude);
                } else {
                    entry.1 = Some((*magnitude, u64::from(*effect_block)));
                }
            }
            Event::OperatorSlashed { operator, operator_set, wad_slashed, .. } => {
                slashes += 1;
                let slash = chain.slashes.last().unwrap();
                for (found, wad) in slash.strategies.iter().zip(wad_slashed) {
                    assert_eq!(found.wad_recomputed, Some(*wad), "{found:?}");
                    assert!(found.allocation_slashed.is_some_and(|share| share >= *wad));
                    let key = (*operator, *operator_set, found.strategy);
                    let Some((current, pending)) = said.get(&key) else {
                        assert_eq!(*wad, U256::ZERO, "a slash without an AllocationUpdated");
                        continue;
                    };
                    let allocation = chain.allocations[&key];
                    assert_eq!(Some(allocation.current_at(block)), *current);
                    let found = allocation.pending_at(block);
                    assert_eq!(found.map(|next| (next.magnitude, next.effect_block)), *pending);
                }
            }
            _ => {}
        }
    })
    .await;
    assert_eq!(slashes, 3);
    assert!(!last_max.is_empty());
    for ((operator, strategy), max) in last_max {
        assert_eq!(state.chains[&HOLESKY].operators[&operator].max_magnitude(strategy), max);
    }
}

#[tokio::test]
async fn the_daily_shares_of_operators_are_what_eigenlayers_own_indexer_expects() {
    let Some(path) = shared("snapshots/operator-shares.jsonl") else { return };
    let Some(expected) = shared("snapshots/operator-shares-expected.json") else { return };
    let expected: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(expected).unwrap()).unwrap();
    assert_eq!(expected.len(), 928);
    let database = support::database().await;
    let store = database.store().await;
    import(&store, &path, HOLESKY).await;
    rater(&store).catch_up().await.unwrap();
    let pool = database.pool().await;
    for row in &expected {
        // The snapshot of a day holds the last state of a day before it.
        let time = format!("{}T00:00:00Z", row["snapshot"].as_str().unwrap());
        let time = time.parse::<jiff::Timestamp>().unwrap() - jiff::SignedDuration::from_secs(1);
        let variables = json!({ "operator": row["operator"], "strategy": row["strategy"],
            "asOf": { "time": time.to_string() } });
        let answer = assay_graphql::execute(
            &pool,
            "query ($operator: Address!, $strategy: Address!, $asOf: AsOf!) { operatorShares(
                where: { chainId: 17000, operator: $operator, strategy: $strategy },
                asOf: $asOf) { nodes { shares } } }",
            variables,
        )
        .await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let shares = &answer["data"]["operatorShares"]["nodes"][0]["shares"];
        assert_eq!(*shares, row["shares"], "{row} {answer}");
    }
}

/// A small generator whose whole state is a number (Knuth's MMIX constants): one seed, one world.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[tokio::test]
async fn twenty_ways_to_ingest_one_chain_end_in_the_same_log_words_and_digests() {
    // A third of the ledger: six months with every kind of event but the last slashes.
    let mut facts = ledger_facts();
    facts.truncate(118);
    let mut outcomes = Vec::new();
    for seed in 0..20 {
        let found = ingest_somehow(&facts, seed).await;
        let first: &Agreed = outcomes.first().unwrap_or(&found);
        assert_eq!(first.0, found.0, "canonical head, seed {seed}");
        for (a, b) in first.1.iter().zip(&found.1) {
            assert_eq!(a, b, "rating action, seed {seed}");
        }
        assert_eq!((first.1.len(), first.2), (found.1.len(), found.2), "seed {seed}");
        assert_eq!(first.3, found.3, "the batches of every position, seed {seed}");
        outcomes.push(found);
    }
}

/// What nodes must agree on: canonical head, every action, the digest of the newest words, and
/// each position with the roots of its batches.
type Agreed = (
    assay_domain::canonical::CanonicalHead,
    Vec<RatingAction>,
    alloy::primitives::B256,
    Vec<(i64, Vec<alloy::primitives::B256>)>,
);

async fn ingest_somehow(facts: &[Fact], seed: u64) -> Agreed {
    let mut random = Seeded(seed);
    let database = support::database().await;
    let mut store = database.store().await;
    let mut rater = rater(&store);
    let mut rest = facts;
    while !rest.is_empty() {
        let mut size = 1 + random.below(50) as usize;
        size = size.min(rest.len());
        // Whole blocks only.
        while size < rest.len() && rest[size].block == rest[size - 1].block {
            size += 1;
        }
        let (batch, later) = rest.split_at(size);
        let last = batch.last().unwrap().block;
        if random.below(3) == 0 && !later.is_empty() {
            append_and_take_back(&store, batch.last().unwrap(), &mut random).await;
        }
        let is_final = later.is_empty() || random.below(2) == 0;
        store
            .append(&Batch {
                chain_id: MAINNET,
                facts: batch.to_vec(),
                finalized: is_final.then_some(last),
                ..Batch::default()
            })
            .await
            .unwrap();
        if random.below(3) == 0 {
            assert_eq!(rater.catch_up().await.unwrap().revision, 0, "seed {seed}");
        }
        if random.below(4) == 0 {
            // A restart: everything that was only in memory is gone.
            store = database.store().await;
            rater = self::rater(&store);
        }
        rest = later;
    }
    let head = rater.catch_up().await.unwrap().head;
    if seed.is_multiple_of(5) {
        assay::verify::verify(&rater).await.unwrap();
    }
    let actions = actions(&store).await;
    let mut newest = BTreeMap::new();
    for action in &actions {
        newest.insert(action.entity.key(), action.word);
    }
    let reports = newest
        .into_iter()
        .take(100)
        .map(|(key, word)| assay_oracle::Report::new(assay_oracle::EntityKey(key), word).unwrap())
        .collect();
    let message = assay_oracle::Batch::new(reports).unwrap().message(1, 2_000_000_000).unwrap();
    let oracle =
        assay_oracle::OracleId { chain_id: 1, address: alloy::primitives::Address::repeat_byte(7) };
    let pool = database.pool().await;
    let positions: Vec<i64> =
        sqlx::query_scalar("SELECT DISTINCT canonical_position FROM outbox.reports ORDER BY 1")
            .fetch_all(&pool)
            .await
            .unwrap();
    let mut roots = Vec::new();
    for position in positions {
        let batches =
            assay_oracle::outbox::batches_at(&pool, position.unsigned_abs()).await.unwrap();
        roots.push((position, batches.iter().map(assay_oracle::Batch::root).collect()));
    }
    assert!(roots.len() > 50);
    (head, actions, oracle.digest(&message), roots)
}

/// A block of another fork, above everything so far, that the chain then takes back.
async fn append_and_take_back(store: &EventStore, next: &Fact, random: &mut Seeded) {
    let mut fact = next.clone();
    fact.block.hash.0[0] ^= 1 + random.below(200) as u8;
    let orphan = fact.block;
    let to = BlockRef { number: orphan.number - 1, hash: orphan.hash, ..orphan };
    let seen = Batch { chain_id: MAINNET, facts: vec![fact], ..Batch::default() };
    store.append(&seen).await.unwrap();
    let revert = Some(Revert { to, orphaned: vec![orphan.hash] });
    store.append(&Batch { chain_id: MAINNET, revert, ..Batch::default() }).await.unwrap();
}

#[tokio::test]
async fn older_facts_restate_and_what_was_said_stays() {
    let facts = ledger_facts();
    let (older, newer) = facts.split_at(60);
    let database = support::database().await;
    let store = database.store().await;
    let batch = |facts: &[Fact]| Batch {
        chain_id: MAINNET,
        finalized: Some(newer.last().unwrap().block),
        facts: facts.to_vec(),
        ..Batch::default()
    };
    store.append(&batch(newer)).await.unwrap();
    let mut first = rater(&store);
    assert_eq!(first.catch_up().await.unwrap().revision, 0);
    let said = actions(&store).await;
    store.append(&Batch { finalized: None, ..batch(older) }).await.unwrap();
    let done = first.catch_up().await.unwrap();
    assert_eq!(done.revision, 1);
    let now = actions(&store).await;
    assert_eq!(now[..said.len()], said, "nothing that was said is gone");
    // No number is used for two words.
    let mut numbers = std::collections::BTreeSet::new();
    assert!(now.iter().all(|action| numbers.insert((action.entity, action.seq))));
    let verified = assay::verify::verify(&first).await.unwrap();
    assert_eq!((verified.revisions, verified.actions), (2, now.len()));
    // A node that had everything from the start rates alike, but for its numbers.
    let other = support::database().await;
    let whole = other.store().await;
    whole.append(&batch(&facts)).await.unwrap();
    assert_eq!(rater(&whole).catch_up().await.unwrap().head, done.head);
}

#[tokio::test]
async fn a_changed_row_anywhere_in_the_read_model_is_found() {
    let database = support::database().await;
    let store = database.store().await;
    let facts = ledger_facts();
    let finalized = Some(facts.last().unwrap().block);
    let batch = Batch { chain_id: MAINNET, finalized, facts, ..Batch::default() };
    store.append(&batch).await.unwrap();
    let mut rater = rater(&store);
    rater.catch_up().await.unwrap();
    assay::verify::verify(&rater).await.unwrap();
    let changes = [
        ("assessments", "UPDATE read_model.assessments SET grade = 1 WHERE grade = 20"),
        ("rating_points", "UPDATE read_model.rating_points SET seq = 9 WHERE seq = 2"),
        ("rating_actions", "UPDATE read_model.rating_actions SET to_grade = 1 WHERE kind = 1"),
        ("slashing_events", "DELETE FROM read_model.slashing_events WHERE block_number = 24763745"),
        ("operator_sets", "UPDATE read_model.operator_sets SET redistribution_recipient = NULL"),
        ("blocks", "UPDATE read_model.blocks SET time = time + 1 WHERE last_position = 5"),
    ];
    for (table, change) in changes {
        let mut connection = database.pool().await.acquire().await.unwrap();
        for statement in
            [format!("CREATE TABLE kept AS TABLE read_model.{table}"), change.to_owned()]
        {
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *connection).await.unwrap();
        }
        let found = assay::verify::verify(&rater).await.unwrap_err().to_string();
        assert!(found.contains(table), "{table}: {found}");
        for statement in [
            format!("DELETE FROM read_model.{table}"),
            format!("INSERT INTO read_model.{table} SELECT * FROM kept"),
            "DROP TABLE kept".to_owned(),
        ] {
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *connection).await.unwrap();
        }
    }
    assay::verify::verify(&rater).await.unwrap();
}

#[tokio::test]
async fn a_fact_in_the_last_block_of_an_epoch_and_the_epochs_end_share_a_row() {
    let database = support::database().await;
    let store = database.store().await;
    let mut facts = ledger_facts();
    facts.truncate(2);
    for (fact, number) in facts.iter_mut().zip([7_199, 7_205]) {
        fact.block.number = number;
        fact.block.timestamp = 1_700_000_000 + 12 * number;
    }
    let finalized = Some(facts[1].block);
    let batch = Batch { chain_id: MAINNET, finalized, facts, ..Batch::default() };
    store.append(&batch).await.unwrap();
    let mut rater = rater(&store);
    let head = rater.catch_up().await.unwrap().head;
    assert_eq!(head.position, 3, "two facts and one epoch's end");
    assay::verify::verify(&rater).await.unwrap();
    assert_eq!(self::rater(&store).catch_up().await.unwrap().head, head, "after a restart too");
}

#[tokio::test]
async fn a_read_model_that_is_thrown_away_is_written_anew_and_nothing_is_said_twice() {
    let database = support::database().await;
    let store = database.store().await;
    let facts = ledger_facts();
    let finalized = Some(facts.last().unwrap().block);
    let batch = Batch { chain_id: MAINNET, finalized, facts, ..Batch::default() };
    store.append(&batch).await.unwrap();
    let mut rater = rater(&store);
    rater.catch_up().await.unwrap();
    let said = actions(&store).await;
    rater.rebuild().await.unwrap();
    assert_eq!(actions(&store).await, said);
    assay::verify::verify(&rater).await.unwrap();
}

#[test]
fn the_story_has_its_entity() {
    let avs = SLASHER_OF_THE_STORY.parse().unwrap();
    let set = OperatorSetId { avs: assay_domain::AvsId(avs), id: 0 };
    let slug = RatedEntity::operator_set(MAINNET, set).to_string();
    assert_eq!(slug, format!("operator-set-1-{SLASHER_OF_THE_STORY}-0"));
}
