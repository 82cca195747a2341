//! What tokens call themselves, by the newest answer to `name()` that was recorded.

use std::collections::BTreeMap;

use alloy_primitives::{U256, hex};
use assay_domain::text::UntrustedText;
use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::error::ApiError;
use crate::session::{Batch, Reader};

/// The selector of ERC-20's `name()`, as observations write what was asked.
const NAME: &str = "0x06fdde03";

pub(super) struct Names;

#[derive(Debug, FromRow)]
struct NameRow {
    chain_id: i64,
    subject: Vec<u8>,
    answer: String,
}

impl Batch for Names {
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
                SELECT o.chain_id, o.subject, o.said->>'answer' AS answer
                  FROM read_model.observations o
                 WHERE o.chain_id = k.chain_id AND o.subject = k.subject AND NOT o.is_proven
                   AND o.said->>'input' = ",
        );
        query.push_bind(NAME).push(" ORDER BY o.block_number DESC, o.name LIMIT 1) o");
        let rows: Vec<NameRow> = reader.rows(query).await?;
        let named = rows.into_iter().filter_map(|row| {
            let answer = hex::decode(&row.answer).ok()?;
            let name = UntrustedText(string(&answer)?.to_vec());
            Some(((row.chain_id, row.subject), name.to_string()))
        });
        Ok(named.collect())
    }
}

/// The bytes of an ABI-encoded `string` that stands alone; `None`: it is none.
fn string(answer: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| {
        let bytes = answer.get(at..at.checked_add(32)?)?;
        usize::try_from(U256::from_be_slice(bytes)).ok()
    };
    let at = word(0)?;
    let begin = at.checked_add(32)?;
    answer.get(begin..begin.checked_add(word(at)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_where_there_is_one() {
        let mut answer =
            [U256::from(32), U256::from(5)].map(|one| one.to_be_bytes::<32>()).concat();
        answer.extend(b"Heath");
        assert_eq!(string(&answer), Some(b"Heath".as_slice()));
        // Cut short, and with an offset and a length beyond any answer.
        assert_eq!(string(&answer[..60]), None);
        assert_eq!(string(&answer[..66]), None);
        assert_eq!(string(&[0xff; 64]), None);
        assert_eq!(string(&[]), None);
    }
}
