//! What ties operators to operator sets: memberships, and magnitudes put at stake.

use async_graphql::{Context, Object};
use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::entity::{Operator, OperatorSet};
use crate::error::ApiError;
use crate::page::{Column, List, Order, Source};
use crate::rating::big;
use crate::scalar::{Address, BigInt, BlockNumber, ChainId, LogPosition};
use crate::scope::{Scope, push_known_block};

#[derive(Debug, Clone)]
pub(crate) struct Allocation {
    row: AllocationRow,
    scope: Scope,
}

#[derive(Debug, Clone)]
pub(crate) struct Membership {
    row: MembershipRow,
    scope: Scope,
}

#[derive(Debug, Clone, FromRow)]
pub(crate) struct AllocationRow {
    chain_id: i64,
    operator: Vec<u8>,
    avs: Vec<u8>,
    operator_set_id: i64,
    strategy: Vec<u8>,
    position: i64,
    block_number: i64,
    current_magnitude: String,
    pending_magnitude: Option<String>,
    effect_block: Option<i64>,
    max_magnitude: Option<String>,
    known_block: i64,
}

#[derive(Debug, Clone, FromRow)]
pub(crate) struct MembershipRow {
    chain_id: i64,
    operator: Vec<u8>,
    avs: Vec<u8>,
    operator_set_id: i64,
    position: i64,
    block_number: i64,
    is_member: bool,
    slashable_until: Option<i64>,
}

impl Allocation {
    /// Whether what was scheduled at its last change is still to come.
    fn is_pending(&self) -> bool {
        self.row.effect_block.is_some_and(|block| block > self.row.known_block)
    }

    pub(crate) fn new(row: AllocationRow, scope: &Scope) -> Self {
        Self { row, scope: scope.clone() }
    }
}

impl Membership {
    pub(crate) fn new(row: MembershipRow, scope: &Scope) -> Self {
        Self { row, scope: scope.clone() }
    }
}

/// The share of an operator's stake in one strategy that one operator set can slash.
#[Object]
impl Allocation {
    /// The chain.
    async fn chain_id(&self) -> ChainId {
        ChainId(self.row.chain_id)
    }

    /// The operator's address.
    async fn operator_address(&self) -> Result<Address, ApiError> {
        Address::from_row(&self.row.operator)
    }

    /// The operator. Null when it is not among the entities.
    async fn operator(&self, ctx: &Context<'_>) -> Result<Option<Operator>, ApiError> {
        Operator::find(ctx, &self.scope, self.row.chain_id, &self.row.operator, 0).await
    }

    /// The address of the AVS that owns the operator set.
    async fn avs_address(&self) -> Result<Address, ApiError> {
        Address::from_row(&self.row.avs)
    }

    /// The operator set's number within its AVS.
    async fn operator_set_id(&self) -> BigInt {
        big(self.row.operator_set_id)
    }

    /// The operator set. Null when it is not among the entities.
    async fn operator_set(&self, ctx: &Context<'_>) -> Result<Option<OperatorSet>, ApiError> {
        let (chain, set) = (self.row.chain_id, self.row.operator_set_id);
        OperatorSet::find(ctx, &self.scope, chain, &self.row.avs, set).await
    }

    /// The strategy's address.
    async fn strategy(&self) -> Result<Address, ApiError> {
        Address::from_row(&self.row.strategy)
    }

    /// Magnitude that can be slashed now, 1e-18 of the operator's undiminished stake.
    async fn current_magnitude_wad(&self) -> BigInt {
        let row = &self.row;
        let in_force = row.pending_magnitude.as_ref().filter(|_| !self.is_pending());
        BigInt(in_force.unwrap_or(&row.current_magnitude).clone())
    }

    /// Magnitude from `effectBlock` on. Null when no change is pending.
    async fn pending_magnitude_wad(&self) -> Option<BigInt> {
        self.row.pending_magnitude.clone().filter(|_| self.is_pending()).map(BigInt)
    }

    /// The block from which `pendingMagnitudeWad` holds. Null when no change is pending.
    async fn effect_block(&self) -> Option<BlockNumber> {
        self.row.effect_block.filter(|_| self.is_pending()).map(BlockNumber)
    }

    /// What is left of the operator's stake in the strategy after slashes, 1e-18. Null when no
    /// event in the log says.
    async fn max_magnitude_wad(&self) -> Option<BigInt> {
        self.row.max_magnitude.clone().map(BigInt)
    }

    /// The position of the last change.
    async fn position(&self) -> LogPosition {
        LogPosition(self.row.position)
    }

    /// The block of the last change.
    async fn block_number(&self) -> BlockNumber {
        BlockNumber(self.row.block_number)
    }
}

/// An operator's place in an operator set, present or past.
#[Object]
impl Membership {
    /// The chain.
    async fn chain_id(&self) -> ChainId {
        ChainId(self.row.chain_id)
    }

    /// The operator's address.
    async fn operator_address(&self) -> Result<Address, ApiError> {
        Address::from_row(&self.row.operator)
    }

    /// The operator. Null when it is not among the entities.
    async fn operator(&self, ctx: &Context<'_>) -> Result<Option<Operator>, ApiError> {
        Operator::find(ctx, &self.scope, self.row.chain_id, &self.row.operator, 0).await
    }

    /// The address of the AVS that owns the operator set.
    async fn avs_address(&self) -> Result<Address, ApiError> {
        Address::from_row(&self.row.avs)
    }

    /// The operator set's number within its AVS.
    async fn operator_set_id(&self) -> BigInt {
        big(self.row.operator_set_id)
    }

    /// The operator set. Null when it is not among the entities.
    async fn operator_set(&self, ctx: &Context<'_>) -> Result<Option<OperatorSet>, ApiError> {
        let (chain, set) = (self.row.chain_id, self.row.operator_set_id);
        OperatorSet::find(ctx, &self.scope, chain, &self.row.avs, set).await
    }

    /// Whether it is a member now.
    async fn is_member(&self) -> bool {
        self.row.is_member
    }

    /// The last block at which a former member can still be slashed. Null for a member.
    async fn slashable_until_block(&self) -> Option<BlockNumber> {
        self.row.slashable_until.map(BlockNumber)
    }

    /// The position of the last change.
    async fn position(&self) -> LogPosition {
        LogPosition(self.row.position)
    }

    /// The block of the last change.
    async fn block_number(&self) -> BlockNumber {
        BlockNumber(self.row.block_number)
    }
}

/// Whose allocations.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AllocationFilter {
    /// The parent is an operator.
    OfOperator,
    /// The parent is an operator set.
    OfOperatorSet,
}

/// Allocations as they stand.
pub(crate) struct Allocations;

impl List for Allocations {
    type Filter = AllocationFilter;
    type Row = AllocationRow;

    fn order(filter: &AllocationFilter) -> Order {
        let (name, columns): (_, &[Column]) = match filter {
            AllocationFilter::OfOperator => (
                "operator-allocations",
                &[
                    Column::Bytes("avs"),
                    Column::Integer("operator_set_id"),
                    Column::Bytes("strategy"),
                ],
            ),
            AllocationFilter::OfOperatorSet => {
                ("set-allocations", &[Column::Bytes("operator"), Column::Bytes("strategy")])
            }
        };
        Order { name, columns, is_descending: false }
    }

    fn push_rows(query: &mut QueryBuilder<Postgres>, source: &Source<'_, AllocationFilter>) {
        let d = source.direction;
        let (key, parent) = match source.filter {
            AllocationFilter::OfOperator => (
                ["a.avs", "a.operator_set_id", "a.strategy"].as_slice(),
                "a.chain_id = p.chain_id AND a.operator = p.address",
            ),
            AllocationFilter::OfOperatorSet => (
                ["a.operator", "a.strategy"].as_slice(),
                "a.chain_id = p.chain_id AND a.avs = p.address
                    AND a.operator_set_id = p.operator_set_id",
            ),
        };
        query.push(format_args!("SELECT DISTINCT ON ({}) ", key.join(", ")));
        query.push(
            "a.chain_id, a.operator, a.avs, a.operator_set_id, a.strategy, a.position,
             a.block_number, a.current_magnitude::text, a.pending_magnitude::text,
             a.effect_block, a.max_magnitude::text, ",
        );
        push_known_block(query, source.scope, "a.chain_id");
        query.push(" AS known_block FROM read_model.allocations a WHERE ");
        query.push(parent).push(" AND a.position <= ").push_bind(source.scope.position);
        let order = key.iter().map(|column| format!("{column} {d}")).collect::<Vec<_>>();
        query.push(format_args!(" ORDER BY {}, a.position DESC", order.join(", ")));
    }
}

/// Whose memberships.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MembershipFilter {
    /// The parent is an operator.
    OfOperator,
    /// The parent is an operator set.
    OfOperatorSet,
}

/// Memberships as they stand.
pub(crate) struct Memberships;

impl List for Memberships {
    type Filter = MembershipFilter;
    type Row = MembershipRow;

    fn order(filter: &MembershipFilter) -> Order {
        let (name, columns): (_, &[Column]) = match filter {
            MembershipFilter::OfOperator => {
                ("memberships", &[Column::Bytes("avs"), Column::Integer("operator_set_id")])
            }
            MembershipFilter::OfOperatorSet => ("members", &[Column::Bytes("operator")]),
        };
        Order { name, columns, is_descending: false }
    }

    fn push_rows(query: &mut QueryBuilder<Postgres>, source: &Source<'_, MembershipFilter>) {
        let d = source.direction;
        let (key, parent) = match source.filter {
            MembershipFilter::OfOperator => (
                ["m.avs", "m.operator_set_id"].as_slice(),
                "m.chain_id = p.chain_id AND m.operator = p.address",
            ),
            MembershipFilter::OfOperatorSet => (
                ["m.operator"].as_slice(),
                "m.chain_id = p.chain_id AND m.avs = p.address
                    AND m.operator_set_id = p.operator_set_id",
            ),
        };
        query.push(format_args!("SELECT DISTINCT ON ({}) ", key.join(", ")));
        query.push(
            "m.chain_id, m.operator, m.avs, m.operator_set_id, m.position, m.block_number,
             m.is_member, m.slashable_until
             FROM read_model.memberships m WHERE ",
        );
        query.push(parent).push(" AND m.position <= ").push_bind(source.scope.position);
        let order = key.iter().map(|column| format!("{column} {d}")).collect::<Vec<_>>();
        query.push(format_args!(" ORDER BY {}, m.position DESC", order.join(", ")));
    }
}
