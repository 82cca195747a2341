//! The list of all entities: who is rated how, filtered and ordered.

use async_graphql::{Enum, InputObject};
use sqlx::{Postgres, QueryBuilder};

use crate::entity::{ENTITY_COLUMNS, EntityKind, EntityRow};
use crate::error::ApiError;
use crate::limit::FILTER_VALUES_MAX;
use crate::page::{Column, List, Order, Source};
use crate::rating::{Outlook, push_latest};
use crate::scalar::{Address, ChainId, Grade};

/// Which entities. All conditions hold at once; a list means any of its values.
#[derive(Debug, Default, InputObject)]
pub(crate) struct EntityWhere {
    /// Of these kinds.
    pub kind: Option<Vec<EntityKind>>,
    /// On these chains.
    pub chain_id: Option<Vec<ChainId>>,
    /// At these addresses.
    pub address: Option<Vec<Address>>,
    /// Whose slug contains this text: a part of an address, or a word like `operator-set`.
    pub slug_contains: Option<String>,
    /// With a grade in this range.
    pub grade: Option<GradeRange>,
    /// With a grade, or without.
    pub is_rated: Option<bool>,
    /// With one of these outlooks.
    pub outlook: Option<Vec<Outlook>>,
    /// On watch, or not.
    pub is_watch_negative: Option<bool>,
}

/// Grades between two, both included. Either end may be left out.
#[derive(Debug, InputObject)]
pub(crate) struct GradeRange {
    /// The best grade of the range: `{ best: "BB+" }` is BB+ or worse.
    pub best: Option<Grade>,
    /// The worst grade of the range: `{ worst: "BBB-" }` is BBB- or better.
    pub worst: Option<Grade>,
}

/// How to order entities.
#[derive(Debug, InputObject)]
pub(crate) struct EntityOrder {
    /// By what.
    pub field: EntityOrderField,
    /// Which end first.
    #[graphql(default)]
    pub direction: OrderDirection,
}

/// What entities can be ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Enum)]
pub(crate) enum EntityOrderField {
    /// The grade, and within a grade the score: ASC is the safest first. Those without a grade
    /// come last in both directions.
    Grade,
    /// The expected loss: ASC is the smallest first. Those without a grade come last in both
    /// directions.
    ExpectedLoss,
    /// The position at which they were first seen.
    Position,
}

/// Which end of an order comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Enum)]
pub(crate) enum OrderDirection {
    /// The smallest first.
    #[default]
    Asc,
    /// The largest first.
    Desc,
}

/// [`EntityWhere`] and [`EntityOrder`] as SQL wants them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntityFilter {
    kinds: Option<Vec<i16>>,
    chains: Option<Vec<i64>>,
    addresses: Option<Vec<Vec<u8>>>,
    slug_contains: Option<String>,
    best: Option<i16>,
    worst: Option<i16>,
    is_rated: Option<bool>,
    outlooks: Option<Vec<i16>>,
    is_watch_negative: Option<bool>,
    field: EntityOrderField,
    direction: OrderDirection,
}

impl EntityFilter {
    /// All of one kind, the safest first.
    pub(crate) fn of_kind(kind: EntityKind) -> Result<Self, ApiError> {
        let wanted = EntityWhere { kind: Some(vec![kind]), ..EntityWhere::default() };
        Self::new(Some(wanted), None)
    }

    pub(crate) fn new(
        wanted: Option<EntityWhere>,
        order: Option<EntityOrder>,
    ) -> Result<Self, ApiError> {
        let wanted = wanted.unwrap_or_default();
        let order = order.unwrap_or(EntityOrder {
            field: EntityOrderField::Grade,
            direction: OrderDirection::Asc,
        });
        let outlook = |outlook: Outlook| match outlook {
            Outlook::Negative => -1,
            Outlook::Stable => 0,
            Outlook::Positive => 1,
        };
        Ok(Self {
            kinds: values(wanted.kind, EntityKind::number)?,
            chains: values(wanted.chain_id, |chain| chain.0)?,
            addresses: values(wanted.address, |address| address.0.to_vec())?,
            slug_contains: wanted.slug_contains.map(|text| searched(&text)).transpose()?,
            best: wanted.grade.as_ref().and_then(|range| range.best).map(Grade::number),
            worst: wanted.grade.as_ref().and_then(|range| range.worst).map(Grade::number),
            is_rated: wanted.is_rated,
            outlooks: values(wanted.outlook, outlook)?,
            is_watch_negative: wanted.is_watch_negative,
            field: order.field,
            direction: order.direction,
        })
    }

    fn needs_rating(&self) -> bool {
        self.best.is_some()
            || self.worst.is_some()
            || self.is_rated.is_some()
            || self.outlooks.is_some()
            || self.is_watch_negative.is_some()
            || self.field != EntityOrderField::Position
    }

    /// The column that orders, as a bigint that is never null.
    fn rank(&self) -> &'static str {
        match (self.field, self.direction) {
            (EntityOrderField::Position, _) => "e.first_position",
            (EntityOrderField::Grade, OrderDirection::Asc) => {
                "coalesce(l.grade::bigint * 100000 + l.score, 9223372036854775807)"
            }
            (EntityOrderField::Grade, OrderDirection::Desc) => {
                "coalesce(l.grade::bigint * 100000 + l.score, -1)"
            }
            (EntityOrderField::ExpectedLoss, OrderDirection::Asc) => {
                "CASE WHEN l.grade IS NULL THEN 9223372036854775807 ELSE l.expected_loss_ppt END"
            }
            (EntityOrderField::ExpectedLoss, OrderDirection::Desc) => {
                "CASE WHEN l.grade IS NULL THEN -1 ELSE l.expected_loss_ppt END"
            }
        }
    }
}

/// A text to search slugs for, if it is not too long: a slug has 80 characters at most.
fn searched(text: &str) -> Result<String, ApiError> {
    match text.chars().count() {
        0..=100 => Ok(text.trim().to_ascii_lowercase()),
        found => Err(ApiError::BadArgument(format!(
            "slugContains takes 100 characters at most, {found} were given"
        ))),
    }
}

/// The values of a filter's list, if there are not too many.
pub(crate) fn values<T, U>(
    list: Option<Vec<T>>,
    value: impl Fn(T) -> U,
) -> Result<Option<Vec<U>>, ApiError> {
    match list {
        None => Ok(None),
        Some(list) if list.len() > FILTER_VALUES_MAX => Err(ApiError::BadArgument(format!(
            "a filter takes {FILTER_VALUES_MAX} values at most, {} were given",
            list.len()
        ))),
        Some(list) => Ok(Some(list.into_iter().map(value).collect())),
    }
}

/// All entities.
pub(crate) struct Entities;

impl List for Entities {
    type Filter = EntityFilter;
    type Row = EntityRow;

    fn order(filter: &EntityFilter) -> Order {
        let columns = &[Column::Integer("rank"), Column::Integer("id")];
        let name = match (filter.field, filter.direction) {
            (EntityOrderField::Grade, OrderDirection::Asc) => "grade",
            (EntityOrderField::Grade, OrderDirection::Desc) => "-grade",
            (EntityOrderField::ExpectedLoss, OrderDirection::Asc) => "loss",
            (EntityOrderField::ExpectedLoss, OrderDirection::Desc) => "-loss",
            (EntityOrderField::Position, OrderDirection::Asc) => "position",
            (EntityOrderField::Position, OrderDirection::Desc) => "-position",
        };
        Order { name, columns, is_descending: filter.direction == OrderDirection::Desc }
    }

    fn push_rows(query: &mut QueryBuilder<Postgres>, source: &Source<'_, EntityFilter>) {
        let filter = source.filter;
        query.push(format_args!("SELECT {ENTITY_COLUMNS}, {} AS rank ", filter.rank()));
        query.push("FROM read_model.entities e");
        if filter.needs_rating() {
            query.push(" LEFT JOIN LATERAL ");
            push_latest(query, source.scope);
            query.push(" l ON true");
        }
        query.push(" WHERE e.first_position <= ").push_bind(source.scope.position);
        if let Some(kinds) = &filter.kinds {
            query.push(" AND e.kind = ANY(").push_bind(kinds.clone()).push(")");
        }
        if let Some(chains) = &filter.chains {
            query.push(" AND e.chain_id = ANY(").push_bind(chains.clone()).push(")");
        }
        if let Some(addresses) = &filter.addresses {
            query.push(" AND e.address = ANY(").push_bind(addresses.clone()).push(")");
        }
        if let Some(text) = &filter.slug_contains {
            query.push(" AND position(").push_bind(text.clone()).push(" IN e.slug) > 0");
        }
        if let Some(best) = filter.best {
            query.push(" AND l.grade >= ").push_bind(best);
        }
        if let Some(worst) = filter.worst {
            query.push(" AND l.grade <= ").push_bind(worst);
        }
        if let Some(is_rated) = filter.is_rated {
            query.push(" AND (l.grade IS NOT NULL) = ").push_bind(is_rated);
        }
        if let Some(outlooks) = &filter.outlooks {
            query.push(" AND l.outlook = ANY(").push_bind(outlooks.clone()).push(")");
        }
        if let Some(is_watched) = filter.is_watch_negative {
            query.push(" AND l.is_watch_negative = ").push_bind(is_watched);
        }
    }
}
