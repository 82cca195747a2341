//! AVSs and their operator sets.

use std::collections::BTreeMap;

use async_graphql::{Context, SimpleObject};
use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::allocation::{
    Allocation, AllocationFilter, Allocations, Membership, MembershipFilter, Memberships,
};
use crate::attestation::push_claims;
use crate::entity::{Avs, ENTITY_COLUMNS, EntityKind, EntityRow, OperatorSet, RatedEntity};
use crate::error::ApiError;
use crate::page::{Column, List, Order, Page, PageArgs, Source, page};
use crate::rated::rated_object;
use crate::rating::big;
use crate::scalar::{Address, BigInt, BlockNumber, LogPosition};
use crate::scope::{Scope, push_known_block};
use crate::session::{Batch, Reader, Session};
use crate::slashing::{SlashingEvent, SlashingFilter, SlashingRelation, Slashings};

/// What an AVS has declared about itself.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct AvsProfile {
    /// Where its metadata is said to be. UNTRUSTED: written by a stranger, escaped for display;
    /// never fetch or follow it unasked.
    pub untrusted_metadata_uri: Option<String>,
    /// The contract that decides who may register. Null: the AVS itself.
    pub registrar: Option<Address>,
    /// The position of the last change.
    pub position: LogPosition,
}

/// Who may slash an operator set and who gets what was slashed.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct OperatorSetTerms {
    /// Who may slash. Null when no event in the log says.
    pub slasher: Option<Address>,
    /// A slasher announced but not in force yet.
    pub pending_slasher: Option<PendingSlasher>,
    /// Who receives what was slashed. Null: it is burnt.
    pub redistribution_recipient: Option<Address>,
    /// The strategies whose shares can be slashed.
    pub strategies: Vec<Address>,
    /// The position of the last change.
    pub position: LogPosition,
}

/// A slasher announced but not in force yet.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct PendingSlasher {
    /// The slasher.
    pub address: Address,
    /// The block from which it may slash.
    pub effect_block: BlockNumber,
}

rated_object!(
    /// An actively validated service, rated over its operator sets.
    Avs {
    /// What the AVS has declared about itself. Null before it does.
    async fn profile(&self, ctx: &Context<'_>) -> Result<Option<AvsProfile>, ApiError> {
        let key = (self.0.row().chain_id, self.0.row().address.clone());
        let position = self.0.scope.position;
        let row = Session::of(ctx)?.load::<Profiles>(position, key).await?;
        row.map(AvsProfile::try_from).transpose()
    }

    /// Its operator sets, by number.
    async fn operator_sets(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<OperatorSet>, ApiError> {
        let args = PageArgs { first, after, last, before };
        page::<SetsOfAvs, _>(ctx, &self.0.scope, (), self.0.parent(), args, |row, scope| {
            match RatedEntity::new(row, scope)? {
                RatedEntity::OperatorSet(set) => Ok(set),
                _ => Err(ApiError::Corrupt("an operator set of another kind")),
            }
        })
        .await
    }

    /// The slashes it made, the newest first.
    async fn slashings(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<SlashingEvent>, ApiError> {
        let args = PageArgs { first, after, last, before };
        let filter = SlashingFilter::of(SlashingRelation::Avs);
        page::<Slashings, _>(ctx, &self.0.scope, filter, self.0.parent(), args, |row, scope| {
            Ok(SlashingEvent::new(row, scope))
        })
        .await
    }
}
);

rated_object!(
    /// An operator set of an AVS: who can be slashed together, by whom and to whose benefit.
    OperatorSet {
    /// The AVS that owns it. Null when it is not among the entities.
    async fn avs(&self, ctx: &Context<'_>) -> Result<Option<Avs>, ApiError> {
        let row = self.0.row();
        Avs::find(ctx, &self.0.scope, row.chain_id, &row.address, 0).await
    }

    /// Its number within its AVS.
    async fn operator_set_id(&self) -> BigInt {
        big(self.0.row().operator_set_id)
    }

    /// Who may slash it and who gets what was slashed. Null before an event says.
    async fn terms(&self, ctx: &Context<'_>) -> Result<Option<OperatorSetTerms>, ApiError> {
        let row = self.0.row();
        let key = (row.chain_id, row.address.clone(), row.operator_set_id);
        let scope = self.0.scope.clone();
        let row = Session::of(ctx)?.load::<Terms>(scope, key).await?;
        row.map(OperatorSetTerms::try_from).transpose()
    }

    /// The published standard that its ruleset is, by the newest verified claim: DA-1, ORACLE-1. It
    /// names the vertical. Null where no ruleset is attested, or one of its own.
    async fn ruleset_standard(&self, ctx: &Context<'_>) -> Result<Option<String>, ApiError> {
        let scope = self.0.scope.clone();
        Session::of(ctx)?.load::<Standards>(scope, self.0.row().id).await
    }

    /// Operators that are or were members, by address.
    async fn members(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<Membership>, ApiError> {
        let args = PageArgs { first, after, last, before };
        let filter = MembershipFilter::OfOperatorSet;
        page::<Memberships, _>(ctx, &self.0.scope, filter, self.0.parent(), args, |row, scope| {
            Ok(Membership::new(row, scope))
        })
        .await
    }

    /// What its operators have put at stake, by operator and strategy.
    async fn allocations(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<Allocation>, ApiError> {
        let args = PageArgs { first, after, last, before };
        let filter = AllocationFilter::OfOperatorSet;
        page::<Allocations, _>(ctx, &self.0.scope, filter, self.0.parent(), args, |row, scope| {
            Ok(Allocation::new(row, scope))
        })
        .await
    }

    /// The slashes of its members, the newest first.
    async fn slashings(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<SlashingEvent>, ApiError> {
        let args = PageArgs { first, after, last, before };
        let filter = SlashingFilter::of(SlashingRelation::OperatorSet);
        page::<Slashings, _>(ctx, &self.0.scope, filter, self.0.parent(), args, |row, scope| {
            Ok(SlashingEvent::new(row, scope))
        })
        .await
    }
}
);

#[derive(Debug, Clone, FromRow)]
struct ProfileRow {
    chain_id: i64,
    avs: Vec<u8>,
    position: i64,
    metadata_uri: Option<String>,
    registrar: Option<Vec<u8>>,
}

impl TryFrom<ProfileRow> for AvsProfile {
    type Error = ApiError;

    fn try_from(row: ProfileRow) -> Result<Self, ApiError> {
        Ok(Self {
            untrusted_metadata_uri: row.metadata_uri,
            registrar: row.registrar.as_deref().map(Address::from_row).transpose()?,
            position: LogPosition(row.position),
        })
    }
}

struct Profiles;

impl Batch for Profiles {
    type Group = i64;
    type Key = (i64, Vec<u8>);
    type Value = ProfileRow;

    async fn fetch(
        reader: &mut Reader,
        position: &i64,
        keys: &[Self::Key],
    ) -> Result<BTreeMap<Self::Key, ProfileRow>, ApiError> {
        let mut query: QueryBuilder<Postgres> = QueryBuilder::new("SELECT a.* FROM unnest(");
        query.push_bind(keys.iter().map(|key| key.0).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.1.clone()).collect::<Vec<_>>());
        query.push(
            ") AS k(chain_id, avs) CROSS JOIN LATERAL (
                SELECT a.chain_id, a.avs, a.position, a.metadata_uri, a.registrar
                  FROM read_model.avss a
                 WHERE a.chain_id = k.chain_id AND a.avs = k.avs AND a.position <= ",
        );
        query.push_bind(*position).push(" ORDER BY a.position DESC LIMIT 1) a");
        let rows: Vec<ProfileRow> = reader.rows(query).await?;
        Ok(rows.into_iter().map(|row| ((row.chain_id, row.avs.clone()), row)).collect())
    }
}

#[derive(Debug, Clone, FromRow)]
struct TermsRow {
    chain_id: i64,
    avs: Vec<u8>,
    operator_set_id: i64,
    position: i64,
    slasher: Option<Vec<u8>>,
    pending_slasher: Option<Vec<u8>>,
    pending_slasher_effect_block: Option<i64>,
    redistribution_recipient: Option<Vec<u8>>,
    strategies: Vec<Vec<u8>>,
    known_block: i64,
}

impl TryFrom<TermsRow> for OperatorSetTerms {
    type Error = ApiError;

    fn try_from(row: TermsRow) -> Result<Self, ApiError> {
        let address = |bytes: Option<Vec<u8>>| bytes.as_deref().map(Address::from_row).transpose();
        let announced = address(row.pending_slasher)?.zip(row.pending_slasher_effect_block);
        let in_force = announced.filter(|(_, effect_block)| *effect_block <= row.known_block);
        let pending = announced.filter(|_| in_force.is_none());
        Ok(Self {
            slasher: in_force.map(|(slasher, _)| slasher).or(address(row.slasher)?),
            pending_slasher: pending.map(|(address, effect_block)| PendingSlasher {
                address,
                effect_block: BlockNumber(effect_block),
            }),
            redistribution_recipient: address(row.redistribution_recipient)?,
            strategies: row
                .strategies
                .iter()
                .map(|strategy| Address::from_row(strategy))
                .collect::<Result<_, _>>()?,
            position: LogPosition(row.position),
        })
    }
}

struct Terms;

impl Batch for Terms {
    type Group = Scope;
    type Key = (i64, Vec<u8>, i64);
    type Value = TermsRow;

    async fn fetch(
        reader: &mut Reader,
        scope: &Scope,
        keys: &[Self::Key],
    ) -> Result<BTreeMap<Self::Key, TermsRow>, ApiError> {
        let mut query: QueryBuilder<Postgres> = QueryBuilder::new("SELECT s.* FROM unnest(");
        query.push_bind(keys.iter().map(|key| key.0).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.1.clone()).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.2).collect::<Vec<_>>());
        query.push(
            ") AS k(chain_id, avs, operator_set_id) CROSS JOIN LATERAL (
                SELECT s.chain_id, s.avs, s.operator_set_id, s.position, s.slasher,
                       s.pending_slasher, s.pending_slasher_effect_block,
                       s.redistribution_recipient, s.strategies, ",
        );
        push_known_block(&mut query, scope, "s.chain_id");
        query.push(
            " AS known_block FROM read_model.operator_sets s
                 WHERE s.chain_id = k.chain_id AND s.avs = k.avs
                   AND s.operator_set_id = k.operator_set_id AND s.position <= ",
        );
        query.push_bind(scope.position).push(" ORDER BY s.position DESC LIMIT 1) s");
        let rows: Vec<TermsRow> = reader.rows(query).await?;
        let key = |row: &TermsRow| (row.chain_id, row.avs.clone(), row.operator_set_id);
        Ok(rows.into_iter().map(|row| (key(&row), row)).collect())
    }
}

/// Published standards that attested rulesets of sets are.
struct Standards;

impl Batch for Standards {
    type Group = Scope;
    type Key = i64;
    type Value = String;

    async fn fetch(
        reader: &mut Reader,
        scope: &Scope,
        keys: &[i64],
    ) -> Result<BTreeMap<i64, String>, ApiError> {
        let mut query: QueryBuilder<Postgres> =
            QueryBuilder::new("SELECT k.id, v.standard FROM unnest(");
        query.push_bind(keys.to_vec());
        query.push(
            ") AS k(id) CROSS JOIN LATERAL (
                SELECT (SELECT d->>1 FROM jsonb_array_elements(x.details::jsonb) d
                         WHERE d->>0 = 'standard') AS standard
                  FROM (",
        );
        push_claims(&mut query, scope);
        query.push(
            " AND x.claim = 'RulesetAttested' AND x.subjects @> ARRAY[k.id]) x
                 WHERE x.standing = 1 AND NOT x.is_expired
                 ORDER BY x.position DESC LIMIT 1) v WHERE v.standard IS NOT NULL",
        );
        let rows: Vec<(i64, String)> = reader.rows(query).await?;
        Ok(rows.into_iter().collect())
    }
}

/// The operator sets of an AVS.
struct SetsOfAvs;

impl List for SetsOfAvs {
    type Filter = ();
    type Row = EntityRow;

    fn order((): &()) -> Order {
        Order { name: "sets", columns: &[Column::Integer("operator_set_id")], is_descending: false }
    }

    fn push_rows(query: &mut QueryBuilder<Postgres>, source: &Source<'_, ()>) {
        query.push(format_args!("SELECT {ENTITY_COLUMNS} FROM read_model.entities e "));
        query.push("WHERE e.chain_id = p.chain_id AND e.address = p.address AND e.kind = ");
        query.push_bind(EntityKind::OperatorSet.number());
        query.push(" AND e.first_position <= ").push_bind(source.scope.position);
    }
}
