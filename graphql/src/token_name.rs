//! What tokens call themselves, by the newest answer to `name()` that was recorded.

use std::collections::BTreeMap;

use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::error::ApiError;
use crate::session::{Batch, Reader};

/// The selector of ERC-20's `name()`, as observations write what was asked.
const NAME: &str = "0x06fdde03";

pub(crate) struct TokenNames;

#[derive(Debug, FromRow)]
struct NameRow {
    chain_id: i64,
    subject: Vec<u8>,
    name: String,
}

impl Batch for TokenNames {
    type Group = ();
    type Key = (i64, Vec<u8>);
    type Value = String;

    async fn fetch(
        reader: &mut Reader,
        (): &(),
        keys: &[Self::Key],
    ) -> Result<BTreeMap<Self::Key, String>, ApiError> {
        let mut query: QueryBuilder<Postgres> = QueryBuilder::new("SELECT o.* FROM unnest(");
        query.push_bind(keys.iter().map(|key| key.0).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.1.clone()).collect::<Vec<_>>());
        query.push(
            ") AS k(chain_id, subject) CROSS JOIN LATERAL (
                SELECT o.chain_id, o.subject, o.said->'figures'->>0 AS name
                  FROM read_model.observations o
                 WHERE o.chain_id = k.chain_id AND o.subject = k.subject AND NOT o.is_proven
                   AND o.said->'figures'->>0 IS NOT NULL AND o.said->>'input' = ",
        );
        query.push_bind(NAME).push(" ORDER BY o.block_number DESC, o.name LIMIT 1) o");
        let rows: Vec<NameRow> = reader.rows(query).await?;
        Ok(rows.into_iter().map(|row| ((row.chain_id, row.subject), row.name)).collect())
    }
}
