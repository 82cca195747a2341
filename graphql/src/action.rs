//! Rating actions: what was said, when, and on which facts.

use std::collections::BTreeMap;

use async_graphql::{Context, Enum, ID, InputObject, Object};
use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::entity::{EntityKind, RatedEntity};
use crate::error::ApiError;
use crate::id::NodeId;
use crate::leaderboard::values;
use crate::page::{Column, List, Order, Source};
use crate::period::Period;
use crate::rating::{Rating, big};
use crate::scalar::{BigInt, Bytes32, ChainId, DateTime, Grade, LogPosition};
use crate::scope::{Block, Scope, push_micros};
use crate::session::{Batch, Reader, Session};

/// What a rating action does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Enum)]
pub(crate) enum ActionKind {
    /// The first grade.
    Assigned,
    /// The same grade again.
    Affirmed,
    /// A better grade.
    Upgraded,
    /// A worse grade.
    Downgraded,
    /// No grade any more.
    Withdrawn,
}

#[derive(Debug, Clone)]
pub(crate) struct RatingAction {
    row: ActionRow,
    scope: Scope,
    /// How many actions before the one asked for.
    back: u8,
}

/// Which rating actions. All conditions hold at once; a list means any of its values.
#[derive(Debug, Default, InputObject)]
pub(crate) struct RatingActionWhere {
    /// That do one of these things.
    pub kind: Option<Vec<ActionKind>>,
    /// About entities of these kinds.
    pub entity_kind: Option<Vec<EntityKind>>,
    /// About entities on these chains.
    pub chain_id: Option<Vec<ChainId>>,
    /// Made in this revision; `snapshot` names the newest.
    pub revision: Option<i32>,
}

/// [`RatingActionWhere`] as SQL wants it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ActionFilter {
    is_of_parent: bool,
    period: Period,
    kinds: Option<Vec<i16>>,
    entity_kinds: Option<Vec<i16>>,
    chains: Option<Vec<i64>>,
    revision: Option<i32>,
}

#[derive(Debug, Clone, FromRow)]
pub(crate) struct ActionRow {
    storage_position: i64,
    revision: i32,
    entity_id: i64,
    chain_id: i64,
    kind: i16,
    from_grade: Option<i16>,
    to_grade: Option<i16>,
    position: i64,
    block_number: i64,
    block_time: i64,
    expected_loss_ppt: i64,
    seq: i64,
    word: Vec<u8>,
    recorded_micros: i64,
}

const COLUMNS: &str = "a.storage_position, a.revision, a.entity_id, e.chain_id, a.kind,
    a.from_grade, a.to_grade, a.position, a.block_number, a.block_time, a.expected_loss_ppt,
    a.seq, a.word, (extract(epoch FROM a.recorded_at) * 1000000)::bigint AS recorded_micros";

impl ActionFilter {
    /// Those of the parent in a period.
    pub(crate) fn of_parent(period: Period) -> Self {
        Self { is_of_parent: true, period, ..Self::default() }
    }

    pub(crate) fn new(wanted: Option<RatingActionWhere>) -> Result<Self, ApiError> {
        let wanted = wanted.unwrap_or_default();
        let number = |kind: ActionKind| match kind {
            ActionKind::Assigned => 1,
            ActionKind::Affirmed => 2,
            ActionKind::Upgraded => 3,
            ActionKind::Downgraded => 4,
            ActionKind::Withdrawn => 5,
        };
        Ok(Self {
            is_of_parent: false,
            period: Period::default(),
            kinds: values(wanted.kind, number)?,
            entity_kinds: values(wanted.entity_kind, EntityKind::number)?,
            chains: values(wanted.chain_id, |chain| chain.0)?,
            revision: wanted.revision,
        })
    }
}

impl RatingAction {
    pub(crate) fn new(row: ActionRow, scope: &Scope) -> Self {
        Self { row, scope: scope.clone(), back: 0 }
    }

    /// What was rated.
    pub(crate) async fn rated(&self, ctx: &Context<'_>) -> Result<Option<RatedEntity>, ApiError> {
        RatedEntity::by_row_id(ctx, &self.scope, self.row.entity_id).await
    }

    /// Whether it is one that a subscriber asked for.
    pub(crate) fn matches(&self, filter: &ActionFilter, entity: Option<&RatedEntity>) -> bool {
        fn among<T: PartialEq>(wanted: Option<&Vec<T>>, found: &T) -> bool {
            wanted.is_none_or(|wanted| wanted.contains(found))
        }
        among(filter.kinds.as_ref(), &self.row.kind)
            && among(filter.chains.as_ref(), &self.row.chain_id)
            && filter.revision.is_none_or(|revision| revision == self.row.revision)
            && entity
                .is_none_or(|entity| among(filter.entity_kinds.as_ref(), &entity.kind_number()))
    }

    /// The action at this storage position.
    pub(crate) async fn by_id(
        ctx: &Context<'_>,
        scope: &Scope,
        storage_position: i64,
    ) -> Result<Option<Self>, ApiError> {
        let row = Session::of(ctx)?.load::<ActionById>((), storage_position).await?;
        Ok(row.map(|row| Self::new(row, scope)))
    }
}

/// A rating action: one statement about one entity, kept as it was made.
#[expect(clippy::wrong_self_convention, reason = "`fromGrade` is the field's name")]
#[Object]
impl RatingAction {
    /// The global id.
    pub(crate) async fn id(&self) -> ID {
        NodeId::Action(self.row.storage_position).into()
    }

    /// What was rated.
    async fn entity(&self, ctx: &Context<'_>) -> Result<Option<RatedEntity>, ApiError> {
        self.rated(ctx).await
    }

    /// What was done.
    async fn kind(&self) -> Result<ActionKind, ApiError> {
        match self.row.kind {
            1 => Ok(ActionKind::Assigned),
            2 => Ok(ActionKind::Affirmed),
            3 => Ok(ActionKind::Upgraded),
            4 => Ok(ActionKind::Downgraded),
            5 => Ok(ActionKind::Withdrawn),
            _ => Err(ApiError::Corrupt("an action kind outside 1 to 5")),
        }
    }

    /// The grade before. Null when there was none.
    async fn from_grade(&self) -> Result<Option<Grade>, ApiError> {
        self.row.from_grade.map(Grade::from_number).transpose()
    }

    /// The grade after. Null when it was withdrawn.
    async fn to_grade(&self) -> Result<Option<Grade>, ApiError> {
        self.row.to_grade.map(Grade::from_number).transpose()
    }

    /// Notches between the two: positive for an upgrade, negative for a downgrade. Null when one
    /// of them is missing.
    async fn notches(&self) -> Option<i32> {
        Some(i32::from(self.row.from_grade?) - i32::from(self.row.to_grade?))
    }

    /// Expected loss within a year as it was said, 1e-12 of the exposure.
    async fn expected_loss_ppt(&self) -> BigInt {
        big(self.row.expected_loss_ppt)
    }

    /// The canonical position it rests on.
    async fn position(&self) -> LogPosition {
        LogPosition(self.row.position)
    }

    /// The block it rests on.
    async fn block(&self) -> Block {
        Block::new(self.row.chain_id, self.row.block_number, self.row.block_time)
    }

    /// How often ratings had been made anew when it was made. An action of an older revision was
    /// said all the same.
    async fn revision(&self) -> i32 {
        self.row.revision
    }

    /// When Assay said it, on Assay's own clock.
    async fn recorded_at(&self) -> DateTime {
        DateTime { micros: self.row.recorded_micros }
    }

    /// The entity's counter in the oracle contract.
    async fn seq(&self) -> BigInt {
        big(self.row.seq)
    }

    /// The word that was to be signed, its lag zero.
    async fn word(&self) -> Result<Bytes32, ApiError> {
        Bytes32::from_row(&self.row.word)
    }

    /// The assessment behind it, with attribution and rationale. Null when ratings were made anew
    /// since and this one no longer stands.
    async fn rating(&self, ctx: &Context<'_>) -> Result<Option<Rating>, ApiError> {
        let place = (self.row.entity_id, self.row.position, self.row.block_number);
        let rating = Rating::at(ctx, &self.scope, self.back, place).await?;
        Ok(rating.filter(|rating| rating.has_word(&self.row.word)))
    }

    /// What was said about the entity before, in whichever revision. Null for the first.
    async fn previous(&self, ctx: &Context<'_>) -> Result<Option<RatingAction>, ApiError> {
        let row = Session::of(ctx)?.load::<ActionBefore>((), self.row.storage_position).await?;
        let back = self.back.saturating_add(1);
        Ok(row.map(|row| Self { row, scope: self.scope.clone(), back }))
    }
}

struct ActionById;

impl Batch for ActionById {
    type Group = ();
    type Key = i64;
    type Value = ActionRow;

    async fn fetch(
        reader: &mut Reader,
        (): &(),
        keys: &[i64],
    ) -> Result<BTreeMap<i64, ActionRow>, ApiError> {
        let mut query: QueryBuilder<Postgres> = QueryBuilder::new(format!(
            "SELECT {COLUMNS} FROM read_model.rating_actions a
               JOIN read_model.entities e ON e.id = a.entity_id WHERE a.storage_position = ANY("
        ));
        query.push_bind(keys.to_vec()).push(")");
        let rows: Vec<ActionRow> = reader.rows(query).await?;
        Ok(rows.into_iter().map(|row| (row.storage_position, row)).collect())
    }
}

#[derive(Debug, Clone, FromRow)]
struct ActionBeforeRow {
    next: i64,
    #[sqlx(flatten)]
    row: ActionRow,
}

/// The action before one, of the same entity.
struct ActionBefore;

impl Batch for ActionBefore {
    type Group = ();
    type Key = i64;
    type Value = ActionRow;

    async fn fetch(
        reader: &mut Reader,
        (): &(),
        keys: &[i64],
    ) -> Result<BTreeMap<i64, ActionRow>, ApiError> {
        let mut query: QueryBuilder<Postgres> = QueryBuilder::new(format!(
            "SELECT n.storage_position AS next, {COLUMNS} FROM read_model.rating_actions n
               CROSS JOIN LATERAL (SELECT * FROM read_model.rating_actions a
                    WHERE a.entity_id = n.entity_id AND a.storage_position < n.storage_position
                    ORDER BY a.storage_position DESC LIMIT 1) a
               JOIN read_model.entities e ON e.id = a.entity_id WHERE n.storage_position = ANY("
        ));
        query.push_bind(keys.to_vec()).push(")");
        let rows: Vec<ActionBeforeRow> = reader.rows(query).await?;
        Ok(rows.into_iter().map(|found| (found.next, found.row)).collect())
    }
}

/// Rating actions, the newest first.
pub(crate) struct Actions;

impl List for Actions {
    type Filter = ActionFilter;
    type Row = ActionRow;

    fn order(_: &ActionFilter) -> Order {
        Order {
            name: "actions",
            columns: &[Column::Integer("storage_position")],
            is_descending: true,
        }
    }

    fn push_rows(query: &mut QueryBuilder<Postgres>, source: &Source<'_, ActionFilter>) {
        let (filter, scope) = (source.filter, source.scope);
        query.push(format_args!("SELECT {COLUMNS} FROM read_model.rating_actions a "));
        query.push("JOIN read_model.entities e ON e.id = a.entity_id WHERE ");
        match scope.recorded_at {
            Some(recorded_at) => {
                query.push("a.recorded_at <= ");
                push_micros(query, recorded_at);
            }
            None => {
                query.push("a.position <= ").push_bind(scope.position);
            }
        }
        if let Some((chain, number)) = scope.block {
            query.push(" AND (e.chain_id <> ").push_bind(chain);
            query.push(" OR a.block_number <= ").push_bind(number).push(")");
        }
        if let Some(time) = scope.time {
            query.push(" AND a.block_time <= ").push_bind(time);
        }
        if filter.is_of_parent {
            query.push(" AND a.entity_id = p.entity_id");
        }
        filter.period.push(query, "a");
        if let Some(kinds) = &filter.kinds {
            query.push(" AND a.kind = ANY(").push_bind(kinds.clone()).push(")");
        }
        if let Some(kinds) = &filter.entity_kinds {
            query.push(" AND e.kind = ANY(").push_bind(kinds.clone()).push(")");
        }
        if let Some(chains) = &filter.chains {
            query.push(" AND e.chain_id = ANY(").push_bind(chains.clone()).push(")");
        }
        if let Some(revision) = filter.revision {
            query.push(" AND a.revision = ").push_bind(revision);
        }
    }
}
