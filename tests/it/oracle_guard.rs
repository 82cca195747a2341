//! The guard under concurrency: one number, one word, whoever asks.

use alloy::primitives::{Address, U256, keccak256};
use assay::db;
use assay_oracle::guard::{self, GuardError, NotSafe, Safe};
use assay_oracle::{Batch, EntityKey, Report};
use sqlx::PgPool;

use crate::oracle_world::{entity, word};
use crate::support;
use crate::support::synthetic::Random;

const SIGNER: Address = Address::repeat_byte(0x51);

async fn pool() -> (support::TestDatabase, PgPool) {
    let database = support::database().await;
    let connected = db::connect(&database.url).await.unwrap();
    let pool = connected.pool(db::Role::Oracle, 8).await.unwrap();
    (database, pool)
}

fn batch(entity: EntityKey, word: U256) -> Batch {
    Batch::new(vec![Report::new(entity, word).unwrap()]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_words_for_one_number_exactly_one_is_cleared() {
    let (_database, pool) = pool().await;
    for round in 0..100 {
        let entity = EntityKey(keccak256([round]));
        let one = batch(entity, word(1, 5, 1_000_000));
        let other = batch(entity, word(2, 5, 1_000_000));
        let (one, other) = tokio::join!(
            tokio::spawn({
                let pool = pool.clone();
                async move { guard::clear(&pool, SIGNER, &one).await }
            }),
            tokio::spawn({
                let pool = pool.clone();
                async move { guard::clear(&pool, SIGNER, &other).await }
            })
        );
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_ne!(one.is_ok(), other.is_ok(), "round {round}");
        let lost = one.err().or(other.err()).unwrap();
        assert!(matches!(lost, GuardError::NotSafe(NotSafe::OtherWord { .. })), "{lost}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_word_may_be_signed_again_and_an_older_one_never() {
    let (_database, pool) = pool().await;
    let check = async |word: U256| {
        let cleared = guard::clear(&pool, SIGNER, &batch(entity(1), word)).await;
        cleared.map(|cleared| cleared.verdicts().to_vec()).map_err(|error| error.to_string())
    };
    let fifth = word(1, 5, 1_000_000);
    assert_eq!(check(fifth).await.unwrap(), [Safe::Valid]);
    assert_eq!(check(fifth).await.unwrap(), [Safe::SameData]);
    assert_eq!(check(word(1, 9, 1_000_000)).await.unwrap(), [Safe::Valid]);
    // Signed before, so no news to anybody.
    assert_eq!(check(fifth).await.unwrap(), [Safe::SameData]);
    let older = check(word(1, 7, 1_000_000)).await.unwrap_err();
    assert!(older.contains("has signed seq 9"), "{older}");
    let back = check(word(1, 10, 999_999)).await.unwrap_err();
    assert!(back.contains("has signed asOf 1000000"), "{back}");
    // seq 10 at the position of seq 9.
    let shift = |seq: u32| U256::from(seq) << 112;
    let behind = word(1, 9, 1_000_000) - shift(9) + shift(10);
    let behind = check(behind).await.unwrap_err();
    assert!(behind.contains("has signed logPos 9001"), "{behind}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_one_unsafe_report_promises_nothing() {
    let (_database, pool) = pool().await;
    guard::clear(&pool, SIGNER, &batch(entity(2), word(1, 5, 1_000))).await.unwrap();
    let both = vec![
        Report::new(entity(1), word(1, 5, 1_000)).unwrap(),
        Report::new(entity(2), word(2, 5, 1_000)).unwrap(),
    ];
    let refused = guard::clear(&pool, SIGNER, &Batch::new(both).unwrap()).await.unwrap_err();
    assert!(matches!(refused, GuardError::NotSafe(NotSafe::OtherWord { .. })), "{refused}");
    // Nothing was promised for entity 1, so another word is still free.
    guard::clear(&pool, SIGNER, &batch(entity(1), word(3, 5, 1_000))).await.unwrap();
}

/// Whatever is asked, by however many at once: what was cleared never contradicts itself.
#[tokio::test(flavor = "multi_thread")]
async fn no_history_of_clearances_can_convict_the_signer() {
    let (_database, pool) = pool().await;
    let mut random = Random(0x5167);
    let mut tasks = Vec::new();
    for _ in 0..300 {
        let seq = u32::try_from(1 + random.below(12)).unwrap();
        let variant = u32::try_from(random.below(3)).unwrap();
        let who = entity(u32::try_from(random.below(4)).unwrap());
        let pool = pool.clone();
        tasks.push(tokio::spawn(async move {
            let asked = word(variant, seq, 1_000_000 + u64::from(seq));
            guard::clear(&pool, SIGNER, &batch(who, asked)).await.ok().map(|_| (who, seq, asked))
        }));
    }
    let mut signed = std::collections::BTreeMap::new();
    for task in tasks {
        if let Some((who, seq, asked)) = task.await.unwrap() {
            assert_eq!(*signed.entry((who, seq)).or_insert(asked), asked);
        }
    }
    assert!(signed.len() >= 4);
}
