//! What entities call themselves: the words of strangers, in the one form in which they are shown.

use std::collections::BTreeMap;

use assay_domain::UntrustedText;
use async_graphql::Context;
use percent_encoding::percent_decode_str;
use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::entity::{EntityKind, RatedFields};
use crate::error::ApiError;

use crate::session::{Batch, Reader, Session};
use crate::token_name::TokenNames;

/// Characters shown of a name: a longer one is made to push something else aside.
const NAME_CHARS_MAX: usize = 80;

/// What an entity calls itself: a token as its contract answers, an operator or an AVS in its
/// document or its URI, an operator set what its AVS does.
pub(crate) async fn name_of(
    ctx: &Context<'_>,
    entity: &RatedFields,
) -> Result<Option<String>, ApiError> {
    let (session, row) = (Session::of(ctx)?, entity.row());
    let kind = match entity.kind()? {
        EntityKind::Operator => EntityKind::Operator,
        EntityKind::Avs | EntityKind::OperatorSet => EntityKind::Avs,
        EntityKind::Lrt => {
            session.used_live();
            let key = (row.chain_id, row.address.clone());
            let named = session.load::<TokenNames>((), key).await?;
            return Ok(named.as_deref().map(cut));
        }
    };
    let key = (kind.number(), row.chain_id, row.address.clone());
    let Some(named) = session.load::<Names>(entity.scope.position, key).await? else {
        return Ok(None);
    };
    if let Some(name) = name_within(&named.metadata_uri) {
        return Ok(Some(cut(&name)));
    }
    // Which document is at an address, no position says.
    session.used_live();
    Ok(named.name.as_deref().map(cut))
}

/// The name that a metadata URI carries itself: `data:,Heron`.
fn name_within(uri: &str) -> Option<String> {
    let (media, name) = uri.strip_prefix("data:")?.split_once(',')?;
    let media = media.to_ascii_lowercase();
    let media = media.strip_suffix(";charset=utf-8").unwrap_or(&media);
    let is_text = matches!(media, "" | "text/plain") && !name.is_empty();
    is_text.then(|| UntrustedText(percent_decode_str(name).collect()).to_string())
}

fn cut(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

#[derive(Debug, Clone, FromRow)]
struct NameRow {
    kind: i16,
    chain_id: i64,
    address: Vec<u8>,
    metadata_uri: String,
    name: Option<String>,
}

struct Names;

impl Batch for Names {
    type Group = i64;
    type Key = (i16, i64, Vec<u8>);
    type Value = NameRow;

    async fn fetch(
        reader: &mut Reader,
        position: &i64,
        keys: &[Self::Key],
    ) -> Result<BTreeMap<Self::Key, NameRow>, ApiError> {
        let mut query: QueryBuilder<Postgres> = QueryBuilder::new(
            "SELECT k.kind, k.chain_id, k.address, u.metadata_uri, d.name FROM unnest(",
        );
        query.push_bind(keys.iter().map(|key| key.0).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.1).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.2.clone()).collect::<Vec<_>>());
        query.push(") AS k(kind, chain_id, address) CROSS JOIN LATERAL (");
        let tables =
            [(EntityKind::Operator, "operators", "operator"), (EntityKind::Avs, "avss", "avs")];
        for (index, (kind, table, column)) in tables.into_iter().enumerate() {
            query.push(if index == 0 { "" } else { " UNION ALL " });
            query.push(format_args!(
                "(SELECT n.metadata_uri FROM read_model.{table} n
                   WHERE n.chain_id = k.chain_id AND n.{column} = k.address AND k.kind = "
            ));
            query.push_bind(kind.number()).push(" AND n.position <= ").push_bind(*position);
            query.push(" ORDER BY n.position DESC LIMIT 1)");
        }
        query.push(
            ") u LEFT JOIN read_model.documents d ON d.uri = u.metadata_uri
             WHERE u.metadata_uri IS NOT NULL",
        );
        let rows: Vec<NameRow> = reader.rows(query).await?;
        let key = |row: &NameRow| (row.kind, row.chain_id, row.address.clone());
        Ok(rows.into_iter().map(|row| (key(&row), row)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_within_a_uri_is_text_and_no_more() {
        for (uri, name) in [
            ("data:,Heron%20(DEMO)", Some("Heron (DEMO)")),
            ("data:text/plain;charset=UTF-8,Heron", Some("Heron")),
            ("data:,Heron%1b%5B2J%e2%80%ae", Some("Heron\\u{1b}[2J\\u{202e}")),
            ("data:,%ff", Some("\u{fffd}")),
            ("data:,", None),
            ("data:text/html,<b>", None),
            ("https://heron.example", None),
        ] {
            assert_eq!(name_within(uri).as_deref(), name, "{uri}");
        }
    }

    #[test]
    fn a_long_name_is_cut() {
        assert_eq!(cut(&"x".repeat(80)), "x".repeat(80));
        assert_eq!(cut(&"é".repeat(81)), format!("{}…", "é".repeat(80)));
    }
}
