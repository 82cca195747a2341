//! A part of an entity's history.

use async_graphql::InputObject;
use sqlx::{Postgres, QueryBuilder};

use crate::error::ApiError;
use crate::scalar::{BlockNumber, DateTime};

/// A part of an entity's history, by the blocks assessed, both ends included. All conditions hold
/// at once.
#[derive(Debug, InputObject)]
pub(crate) struct HistoryPeriod {
    /// Of this block of the entity's chain, or later ones.
    pub from_block: Option<BlockNumber>,
    /// Of this block of the entity's chain, or earlier ones.
    pub to_block: Option<BlockNumber>,
    /// Of this time on the chain's clock, or later.
    pub from_time: Option<DateTime>,
    /// Of this time on the chain's clock, or earlier.
    pub to_time: Option<DateTime>,
}

/// [`HistoryPeriod`] as SQL wants it: each condition with its number, times in seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Period(Vec<(&'static str, i64)>);

impl Period {
    pub(crate) fn new(wanted: Option<HistoryPeriod>) -> Result<Self, ApiError> {
        let Some(HistoryPeriod { from_block, to_block, from_time, to_time }) = wanted else {
            return Ok(Self::default());
        };
        if let (Some(from), Some(to)) = (from_block, to_block)
            && from.0 > to.0
        {
            let message = format!("fromBlock {} lies after toBlock {}", from.0, to.0);
            return Err(ApiError::BadArgument(message));
        }
        if let (Some(from), Some(to)) = (from_time, to_time)
            && from.micros > to.micros
        {
            return Err(ApiError::BadArgument(format!("fromTime {from} lies after toTime {to}")));
        }
        // A block of a whole second is not of a time that began after it.
        let from_second = from_time.map(|time| {
            time.micros.div_euclid(1_000_000) + i64::from(time.micros.rem_euclid(1_000_000) > 0)
        });
        let conditions = [
            ("block_number >= ", from_block.map(|block| block.0)),
            ("block_number <= ", to_block.map(|block| block.0)),
            ("block_time >= ", from_second),
            ("block_time <= ", to_time.map(DateTime::seconds)),
        ];
        let given = conditions.into_iter().filter_map(|(name, bound)| Some((name, bound?)));
        Ok(Self(given.collect()))
    }

    /// Pushes the conditions on the rows of `table`.
    pub(crate) fn push(&self, query: &mut QueryBuilder<Postgres>, table: &str) {
        for (condition, bound) in &self.0 {
            query.push(format_args!(" AND {table}.{condition}")).push_bind(*bound);
        }
    }
}
