//! The rows that tokens are answered from.

use std::collections::BTreeMap;

use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::error::ApiError;
use crate::page::{Column, List, Order, Source};
use crate::session::{Batch, Reader};

#[derive(Debug, Clone, FromRow)]
pub(super) struct BackingRow {
    pub hash: Vec<u8>,
    pub nav: String,
    pub detail: String,
}

/// What stood behind tokens, by the hash of the assessment.
pub(super) struct Backings;

impl Batch for Backings {
    type Group = ();
    type Key = Vec<u8>;
    type Value = BackingRow;

    async fn fetch(
        reader: &mut Reader,
        (): &(),
        keys: &[Vec<u8>],
    ) -> Result<BTreeMap<Vec<u8>, BackingRow>, ApiError> {
        let mut query: QueryBuilder<Postgres> = QueryBuilder::new(
            "SELECT a.hash, a.nav::text, a.detail::text FROM read_model.lrt_assessments a
              WHERE a.hash = ANY(",
        );
        query.push_bind(keys.to_vec()).push(")");
        let rows: Vec<BackingRow> = reader.rows(query).await?;
        Ok(rows.into_iter().map(|row| (row.hash.clone(), row)).collect())
    }
}

#[derive(Debug, Clone, FromRow)]
pub(crate) struct PositionRow {
    pub place: i16,
    pub operator: Option<Vec<u8>>,
    pub avs: Option<Vec<u8>>,
    pub operator_set_id: Option<i64>,
    pub strategy: Option<Vec<u8>>,
    pub value: String,
}

/// The positions of one assessment.
pub(super) struct Positions;

impl List for Positions {
    type Filter = Vec<u8>;
    type Row = PositionRow;

    fn order(_: &Vec<u8>) -> Order {
        Order {
            name: "lrt-positions",
            columns: &[Column::Integer("ordinal")],
            is_descending: false,
        }
    }

    fn push_rows(query: &mut QueryBuilder<Postgres>, source: &Source<'_, Vec<u8>>) {
        query.push(
            "SELECT x.ordinal, x.place, x.operator, x.avs, x.operator_set_id, x.strategy,
                    x.value::text FROM read_model.lrt_positions x WHERE x.hash = ",
        );
        query.push_bind(source.filter.clone());
    }
}

#[derive(Debug, Clone, FromRow)]
pub(crate) struct RateRow {
    pub chain_id: i64,
    pub position: i64,
    pub block_number: i64,
    pub block_time: i64,
    pub rate: String,
    pub is_stated: bool,
    pub total_assets: Option<String>,
}

/// The rates of a token.
pub(super) struct Rates;

impl List for Rates {
    type Filter = ();
    type Row = RateRow;

    fn order((): &()) -> Order {
        Order { name: "lrt-rates", columns: &[Column::Integer("position")], is_descending: true }
    }

    fn push_rows(query: &mut QueryBuilder<Postgres>, source: &Source<'_, ()>) {
        query.push(
            "SELECT x.chain_id, x.position, x.block_number, x.block_time, x.rate::text,
                    x.is_stated, x.total_assets::text FROM read_model.lrt_rates x
              WHERE x.chain_id = p.chain_id AND x.token = p.address AND x.position <= ",
        );
        query.push_bind(source.scope.position);
    }
}
