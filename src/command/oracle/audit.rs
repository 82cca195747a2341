//! `assay oracle audit-chain`: every rating on chain, now and ever, against the log.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{B256, U256};
use assay_domain::{RatedEntity, Word};
use assay_oracle::EntityKey;
use assay_oracle::chain::Chain;
use assay_oracle::compare::{audit, compare};
use assay_oracle::contract::{rated_events, read_words};
use clap::Args;
use serde_json::json;

use super::args::ContractArgs;
use crate::command::database::DatabaseArgs;
use crate::command::progress::during;
use crate::command::{VerificationFailed, say};

#[derive(Debug, Args)]
pub(in crate::command) struct AuditChainArgs {
    #[command(flatten)]
    contract: ContractArgs,
    /// The block in which the contract was deployed, or any before.
    #[arg(long, default_value_t = 0)]
    from_block: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Every report that follows from the log, by key and counter.
type Reports = BTreeMap<(B256, u32), (RatedEntity, U256)>;

/// What agreed.
struct Agreed {
    /// `Rated` events compared.
    events: usize,
    /// Stored ratings compared.
    stored: usize,
    /// Entities that the guardian has suspended.
    suspended: usize,
    /// Entities with a report in the log and no rating on chain.
    missing: usize,
}

pub(super) async fn run(database: &DatabaseArgs, args: AuditChainArgs) -> anyhow::Result<()> {
    let chain = args.contract.connect().await?;
    let open = database.open().await?;
    let rater = open.rater().await?;
    let reports = during("recomputing every rating", assay::verify::reports(&rater)).await?;
    let found = audit_all(&chain, &args, &reports).await;
    let difference = match &found {
        Err(error) => error.downcast_ref::<VerificationFailed>().map(ToString::to_string),
        Ok(_) => None,
    };
    if args.json && (found.is_ok() || difference.is_some()) {
        let agreed = found.as_ref().ok();
        let told = json!({
            "events": agreed.map(|agreed| agreed.events),
            "stored": agreed.map(|agreed| agreed.stored),
            "suspended": agreed.map(|agreed| agreed.suspended),
            "not_on_chain": agreed.map(|agreed| agreed.missing),
            "first_difference": difference,
        });
        say(&told.to_string());
    }
    let agreed = found?;
    if !args.json {
        say(&format!(
            "{} ratings in the contract and {} events of it are what follows from the log; {} \
             suspended, {} entities not on chain.",
            agreed.stored, agreed.events, agreed.suspended, agreed.missing
        ));
    }
    Ok(())
}

async fn audit_all(
    chain: &Chain,
    args: &AuditChainArgs,
    reports: &Reports,
) -> anyhow::Result<Agreed> {
    let oracle = args.contract.oracle;
    let events = rated_events(chain, oracle, args.from_block, chain.head().await?.number).await?;
    for event in &events {
        let place = format!("block {}", event.block.number);
        compare_one(event.entity, event.word.pack(), reports, &place)?;
    }
    // Also what no event tells: a slot that was never written by the contract's own code.
    let mut entities: BTreeSet<EntityKey> = events.iter().map(|event| event.entity).collect();
    entities.extend(reports.keys().map(|(key, _)| EntityKey(*key)));
    let entities: Vec<EntityKey> = entities.into_iter().collect();
    let words = read_words(chain, oracle, &entities).await?;
    let mut expected = Vec::new();
    for (entity, word) in entities.iter().zip(words) {
        if word.is_zero() {
            continue;
        }
        expected.push((*entity, compare_one(*entity, word, reports, "the contract's storage")?));
    }
    let stored: BTreeSet<EntityKey> = expected.iter().map(|(entity, _)| *entity).collect();
    if let Some(lost) = events.iter().find(|event| !stored.contains(&event.entity)) {
        return failed(format!("{}: the contract has lost its rating", slug(lost.entity, reports)));
    }
    // Once more with the guardian's suspensions, of which the log knows nothing.
    let audited = audit(chain, oracle, &expected, args.from_block).await?;
    if let Some(difference) = audited.first_difference {
        return failed(format!("{}: {difference}", slug(difference.entity(), reports)));
    }
    Ok(Agreed {
        events: events.len(),
        stored: expected.len(),
        suspended: audited.suspended.len(),
        missing: entities.len() - expected.len(),
    })
}

/// Compares a word found on chain with the one of its number; returns that one.
fn compare_one(
    entity: EntityKey,
    found: U256,
    reports: &Reports,
    place: &str,
) -> anyhow::Result<U256> {
    let name = slug(entity, reports);
    let seq = match Word::unpack(found) {
        Ok(word) => word.fields().seq,
        Err(fault) => return failed(format!("{name}: {place} holds no rating: {fault}")),
    };
    let Some((_, expected)) = reports.get(&(entity.0, seq)) else {
        return failed(format!("{name}: {place} has seq {seq}, which the log never gave"));
    };
    match compare(entity, *expected, found) {
        Ok(()) => Ok(*expected),
        Err(difference) => failed(format!("{name}: {place}, seq {seq}: {difference}")),
    }
}

fn failed<T>(text: String) -> anyhow::Result<T> {
    Err(VerificationFailed(text).into())
}

/// The entity's name, if the log knows it.
fn slug(entity: EntityKey, reports: &Reports) -> String {
    let mut of_entity = reports.range((entity.0, 0)..=(entity.0, u32::MAX));
    of_entity.next().map_or_else(|| entity.to_string(), |(_, (entity, _))| entity.to_string())
}
