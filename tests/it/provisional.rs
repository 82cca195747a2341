//! A slash is shown and told before its block is final, and follows the chain wherever it goes.

use std::sync::Arc;

use alloy::primitives::{Address, U256};
use assay::event_store::{Batch, EventStore, Revert};
use assay::rater::Rater;
use assay_domain::methodology::Methodology;
use assay_domain::{AvsId, BlockRef, Event, Fact, OperatorId, OperatorSetId, StrategyId};
use sqlx::PgPool;

use crate::support;
use crate::support::synthetic::{CHAIN_ID, block};

const OPERATOR: OperatorId = OperatorId(Address::repeat_byte(1));
const SET: OperatorSetId = OperatorSetId { avs: AvsId(Address::repeat_byte(2)), id: 0 };
const STRATEGY: StrategyId = StrategyId(Address::repeat_byte(3));

/// Tenths of a whole, 1e-18.
const fn tenths(count: u64) -> u64 {
    count * 100_000_000_000_000_000
}

fn facts(at: BlockRef, events: Vec<Event>) -> Vec<Fact> {
    let fact = |(log_index, event)| Fact {
        chain_id: CHAIN_ID,
        block: at,
        tx_hash: at.hash,
        log_index,
        emitter: Address::repeat_byte(9),
        event,
    };
    (0..).zip(events).map(fact).collect()
}

fn allocated(magnitude: u64, effect_block: u32) -> Event {
    Event::AllocationUpdated {
        operator: OPERATOR,
        operator_set: SET,
        strategy: STRATEGY,
        magnitude,
        effect_block,
    }
}

/// A tenth of the whole is gone; what is left of the allocation, and of the maximum.
fn slash(at: BlockRef, allocation: u64, max_magnitude: u64) -> Vec<Fact> {
    let slashed = Event::OperatorSlashed {
        operator: OPERATOR,
        operator_set: SET,
        strategies: vec![STRATEGY],
        wad_slashed: vec![U256::from(tenths(1))],
        description: assay_domain::text::UntrustedText(b"late".to_vec()),
    };
    let effect_block = u32::try_from(at.number).unwrap();
    let fell = Event::MaxMagnitudeUpdated { operator: OPERATOR, strategy: STRATEGY, max_magnitude };
    facts(at, vec![allocated(allocation, effect_block), fell, slashed])
}

struct Chain {
    store: EventStore,
    rater: Rater,
    pool: PgPool,
}

impl Chain {
    async fn append(&mut self, batch: Batch) -> u64 {
        self.store.append(&Batch { chain_id: CHAIN_ID, ..batch }).await.unwrap();
        self.rater.catch_up().await.unwrap().head.position
    }

    /// Block, position and share of the allocation of each slash shown.
    async fn shown(&self) -> Vec<(i64, Option<i64>, bool, String)> {
        sqlx::query_as(
            "SELECT block_number, position, is_provisional,
                    coalesce(allocation_slashed[1]::text, 'unknown')
             FROM read_model.slashing_events ORDER BY block_number",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    /// What was told of slashes.
    async fn told(&self) -> Vec<String> {
        let told = "SELECT status FROM read_model.feed WHERE kind = 2 ORDER BY position";
        sqlx::query_scalar(told).fetch_all(&self.pool).await.unwrap()
    }
}

#[tokio::test]
async fn a_slash_is_shown_at_once_and_follows_the_chain() {
    let database = support::database().await;
    let store = database.store().await;
    let rater = Rater::new(store.clone(), Arc::new(Methodology::version_1().unwrap()));
    let mut chain = Chain { store, rater, pool: database.pool().await };
    let (first, slashing, later) = (block(100, 0), block(110, 0), block(120, 0));
    let known = facts(
        first,
        vec![Event::OperatorSetCreated { operator_set: SET }, allocated(tenths(5), 100)],
    );
    let start =
        chain.append(Batch { facts: known, finalized: Some(first), ..Batch::default() }).await;
    // A tenth of the whole was a fifth of the allocation of five tenths.
    let of_allocation = tenths(2).to_string();
    let seen = Batch { facts: slash(slashing, tenths(4), tenths(9)), ..Batch::default() };
    assert_eq!(chain.append(seen).await, start, "no rating rests on it");
    let provisional = vec![(110, None, true, of_allocation.clone())];
    assert_eq!(
        (chain.shown().await, chain.told().await),
        (provisional.clone(), vec!["provisional".to_owned()])
    );

    // A second one rests on the first.
    let second = slash(later, tenths(3), tenths(8));
    chain.append(Batch { facts: second, ..Batch::default() }).await;
    assert_eq!(chain.shown().await.len(), 2);

    // The chain takes both back, then one of them returns.
    let orphaned = vec![slashing.hash, later.hash];
    chain.append(Batch { revert: Some(Revert { to: first, orphaned }), ..Batch::default() }).await;
    assert_eq!(chain.shown().await, []);
    chain
        .append(Batch {
            restored: vec![slashing.hash],
            restored_head: Some(slashing),
            ..Batch::default()
        })
        .await;
    assert_eq!(chain.shown().await, provisional);

    // Final: the same figures, now with a place.
    let end = chain.append(Batch { finalized: Some(slashing), ..Batch::default() }).await;
    assert!(end > start);
    let shown = chain.shown().await;
    assert!(matches!(&shown[..], [(110, Some(_), false, share)] if *share == of_allocation));
    let mut told = chain.told().await;
    let reverted = told.split_off(2);
    assert_eq!(told, ["provisional", "provisional"]);
    assert_eq!(reverted, ["reverted", "reverted", "provisional", "final"]);
    assay::verify::verify(&chain.rater).await.unwrap();
}
