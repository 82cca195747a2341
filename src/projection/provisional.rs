//! Slashes of blocks that are not final: shown at once, told as provisional, and in no rating.
//!
//! They are folded onto a small copy of the state, so that a block that is taken back leaves
//! nothing behind: the rows are written anew whenever the log grows.

use std::collections::BTreeMap;

use assay_domain::{Event, Fact, State};
use sqlx::PgConnection;

use super::copy::TableRows;
use super::facts::{SLASHING_COLUMNS, write_slash};

/// Removes what was provisional, before what is final takes its place.
pub async fn clear(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM read_model.slashing_events WHERE is_provisional")
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes the slashes among facts that are not final, chain by chain, given the state up to what is.
pub async fn write(
    connection: &mut PgConnection,
    state: &State,
    facts: &[Fact],
) -> sqlx::Result<()> {
    let mut rows = TableRows::new("slashing_events", SLASHING_COLUMNS);
    for facts in facts.chunk_by(|one, next| one.chain_id == next.chain_id) {
        let Some(chain_id) = facts.first().map(|fact| fact.chain_id) else { continue };
        let around = state.chains.get(&chain_id).map(|chain| chain.around(facts));
        let mut ahead = State { chains: BTreeMap::from([(chain_id, around.unwrap_or_default())]) };
        for fact in facts {
            // An older block than the state's belongs to a restatement, which comes first.
            if ahead.apply(fact).is_err() {
                continue;
            }
            let Some(chain) = ahead.chains.get(&chain_id) else { continue };
            if let (Event::OperatorSlashed { .. }, Some(slash)) =
                (&fact.event, chain.slashes.last())
            {
                write_slash(&mut rows, fact, chain, slash, None);
            }
        }
    }
    rows.flush(connection).await
}
