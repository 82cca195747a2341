//! Blocks taken back and brought back.

use assay::event_store::{AppendError, Batch, Revert};
use assay_domain::Event;

use super::{batch_of, canonical, headers, read_all};
use crate::support::{self, synthetic};
use synthetic::{CHAIN_ID, block, facts_of_block};

fn blocks(numbers: std::ops::RangeInclusive<u64>, fork: u64) -> Batch {
    let facts = numbers.clone().flat_map(|number| facts_of_block(number, fork, 2)).collect();
    Batch {
        next_block: Some(numbers.end() + 1),
        headers: headers(numbers, fork),
        ..batch_of(facts)
    }
}

fn revert(to: u64, orphaned: std::ops::RangeInclusive<u64>, fork: u64) -> Option<Revert> {
    let orphaned = orphaned.map(|number| block(number, fork).hash).collect();
    Some(Revert { to: block(to, 0), orphaned })
}

#[tokio::test]
async fn a_fork_and_the_way_back() {
    let database = support::database().await;
    let store = database.store().await;
    store.append(&blocks(1..=5, 0)).await.expect("an append");

    // Blocks 4 and 5 give way to another 4.
    let away = Batch { revert: revert(3, 4..=5, 0), ..blocks(4..=4, 1) };
    store.append(&away).await.expect("an append");
    let orphans = store.orphans(CHAIN_ID).await.expect("orphans");
    assert_eq!(orphans, [block(4, 0).hash, block(5, 0).hash].into());
    let kept = store.headers(CHAIN_ID).await.expect("headers");
    assert_eq!(kept.last().map(|header| header.block), Some(block(4, 1)));
    let position = store.head().await.expect("a head").position;
    store.append(&away).await.expect("an append");
    assert_eq!(store.head().await.expect("a head").position, position, "offered again");

    // Facts of a block that was taken back need a word that it is back.
    let silent = store.append(&batch_of(facts_of_block(5, 0, 2))).await.expect_err("orphaned");
    assert!(matches!(silent, AppendError::Orphaned { number: 5, .. }), "{silent}");
    // And a block cannot be back while its rival stands.
    let both = Batch {
        restored: vec![block(4, 0).hash],
        restored_head: Some(block(4, 0)),
        ..batch_of(Vec::new())
    };
    let both = store.append(&both).await.expect_err("a rival stands");
    assert!(matches!(both, AppendError::ContradictsBlock { number: 4, .. }), "{both}");

    // The first fork wins after all, and goes on.
    let mut back = blocks(6..=6, 0);
    back.revert = revert(3, 4..=4, 1);
    back.restored = vec![block(4, 0).hash, block(5, 0).hash];
    back.restored_head = Some(block(5, 0));
    back.headers = headers(4..=6, 0);
    store.append(&back).await.expect("an append");
    let position = store.head().await.expect("a head").position;
    store.append(&back).await.expect("an append");
    assert_eq!(store.head().await.expect("a head").position, position, "offered again");
    assert_eq!(store.orphans(CHAIN_ID).await.expect("orphans"), [block(4, 1).hash].into());

    let finality = Batch { finalized: Some(block(6, 0)), ..batch_of(Vec::new()) };
    store.append(&finality).await.expect("an append");
    store.verify().await.expect("a sound store");
    let straight: Vec<_> = (1..=6).flat_map(|number| facts_of_block(number, 0, 2)).collect();
    let (facts, _) = canonical(&store, None).await;
    assert_eq!(facts.into_iter().map(|fact| fact.fact).collect::<Vec<_>>(), straight);

    let own: Vec<_> = read_all(&store).await.into_iter().map(|fact| fact.event).collect();
    let tags: Vec<u8> = own
        .iter()
        .filter(|event| event.to_canonical_bytes()[0] >= 200)
        .map(|event| event.to_canonical_bytes()[0])
        .collect();
    assert_eq!(tags, [201, 201, 204, 200]);
    assert!(own.contains(&Event::BlocksRestored { restored: back.restored }));
}
