//! Operators: what is delegated to them, what they have put at stake, and where.

use std::collections::BTreeMap;

use async_graphql::{Context, InputObject, Object, SimpleObject};
use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::allocation::{
    Allocation, AllocationFilter, Allocations, Membership, MembershipFilter, Memberships,
};
use crate::entity::Operator;
use crate::error::ApiError;
use crate::page::{Column, List, Order, Page, PageArgs, Source, page};
use crate::rated::rated_object;
use crate::scalar::{Address, BigInt, BlockNumber, ChainId, LogPosition};
use crate::scope::{Block, Scope, push_known_block};
use crate::session::{Batch, Reader, Session};
use crate::slashing::{SlashingEvent, SlashingFilter, SlashingRelation, Slashings};

/// What an operator has declared about itself.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct OperatorProfile {
    /// Who must approve each delegation. Null: nobody.
    pub delegation_approver: Option<Address>,
    /// Where its metadata is said to be. UNTRUSTED: written by a stranger, escaped for display;
    /// never fetch or follow it unasked.
    pub untrusted_metadata_uri: Option<String>,
    /// Blocks between an allocation and its effect. Null until the operator sets it. Zero means
    /// that risk can change without notice to delegators.
    pub allocation_delay_blocks: Option<BlockNumber>,
    /// An allocation delay announced but not in force yet.
    pub pending_allocation_delay: Option<PendingAllocationDelay>,
    /// The position of the last change.
    pub position: LogPosition,
}

/// An allocation delay announced but not in force yet.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct PendingAllocationDelay {
    /// The delay, in blocks.
    pub blocks: BlockNumber,
    /// The block from which it is in force.
    pub effect_block: BlockNumber,
}

#[derive(Debug, Clone)]
pub(crate) struct OperatorShares {
    row: SharesRow,
    scope: Scope,
}

/// Which operator shares. All conditions hold at once.
#[derive(Debug, Default, InputObject)]
pub(crate) struct OperatorSharesWhere {
    /// On this chain.
    pub chain_id: Option<ChainId>,
    /// Delegated to this operator.
    pub operator: Option<Address>,
    /// Of this strategy.
    pub strategy: Option<Address>,
}

/// [`OperatorSharesWhere`] as SQL wants it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SharesFilter {
    is_of_parent: bool,
    chain: Option<i64>,
    operator: Option<Vec<u8>>,
    strategy: Option<Vec<u8>>,
}

#[derive(Debug, Clone, FromRow)]
pub(crate) struct SharesRow {
    chain_id: i64,
    operator: Vec<u8>,
    strategy: Vec<u8>,
    position: i64,
    block_number: i64,
    block_time: i64,
    shares: String,
}

impl SharesFilter {
    pub(crate) fn new(wanted: Option<OperatorSharesWhere>) -> Self {
        let wanted = wanted.unwrap_or_default();
        Self {
            is_of_parent: false,
            chain: wanted.chain_id.map(|chain| chain.0),
            operator: wanted.operator.map(|address| address.0.to_vec()),
            strategy: wanted.strategy.map(|address| address.0.to_vec()),
        }
    }
}

impl OperatorShares {
    pub(crate) fn new(row: SharesRow, scope: &Scope) -> Self {
        Self { row, scope: scope.clone() }
    }
}

/// Shares of one strategy delegated to one operator, as they stand.
#[Object]
impl OperatorShares {
    /// The chain.
    async fn chain_id(&self) -> ChainId {
        ChainId(self.row.chain_id)
    }

    /// The operator's address.
    async fn operator_address(&self) -> Result<Address, ApiError> {
        Address::from_row(&self.row.operator)
    }

    /// The operator. Null when nothing but shares is known of it.
    async fn operator(&self, ctx: &Context<'_>) -> Result<Option<Operator>, ApiError> {
        Operator::find(ctx, &self.scope, self.row.chain_id, &self.row.operator, 0).await
    }

    /// The strategy's address.
    async fn strategy(&self) -> Result<Address, ApiError> {
        Address::from_row(&self.row.strategy)
    }

    /// Shares delegated, in the strategy's own unit (wei for beacon-chain ETH).
    async fn shares(&self) -> BigInt {
        BigInt(self.row.shares.clone())
    }

    /// The position of the last change.
    async fn position(&self) -> LogPosition {
        LogPosition(self.row.position)
    }

    /// The block of the last change.
    async fn block(&self) -> Block {
        Block::new(self.row.chain_id, self.row.block_number, self.row.block_time)
    }
}

rated_object!(
    /// An operator: an address that stakers delegate to, and what is lost there.
    Operator {
    /// What the operator has declared about itself. Null before it registers.
    async fn profile(&self, ctx: &Context<'_>) -> Result<Option<OperatorProfile>, ApiError> {
        let key = (self.0.row().chain_id, self.0.row().address.clone());
        let scope = self.0.scope.clone();
        let row = Session::of(ctx)?.load::<Profiles>(scope, key).await?;
        row.map(OperatorProfile::try_from).transpose()
    }

    /// Shares delegated to it, by strategy address. A strategy that was left entirely stays, with
    /// zero shares.
    async fn shares(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of this strategy alone.")] strategy: Option<Address>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<OperatorShares>, ApiError> {
        let args = PageArgs { first, after, last, before };
        let strategy = strategy.map(|address| address.0.to_vec());
        let filter = SharesFilter { is_of_parent: true, strategy, ..SharesFilter::default() };
        page::<Shares, _>(ctx, &self.0.scope, filter, self.0.parent(), args, |row, scope| {
            Ok(OperatorShares::new(row, scope))
        })
        .await
    }

    /// What it has put at stake, by operator set and strategy.
    async fn allocations(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<Allocation>, ApiError> {
        let args = PageArgs { first, after, last, before };
        let filter = AllocationFilter::OfOperator;
        page::<Allocations, _>(ctx, &self.0.scope, filter, self.0.parent(), args, |row, scope| {
            Ok(Allocation::new(row, scope))
        })
        .await
    }

    /// The operator sets it is or was a member of.
    async fn memberships(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<Membership>, ApiError> {
        let args = PageArgs { first, after, last, before };
        let filter = MembershipFilter::OfOperator;
        page::<Memberships, _>(ctx, &self.0.scope, filter, self.0.parent(), args, |row, scope| {
            Ok(Membership::new(row, scope))
        })
        .await
    }

    /// Validators of EigenPods delegated to it that the beacon chain slashed, the newest first, at
    /// most a hundred.
    async fn validator_slashings(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Vec<ValidatorSlashing>, ApiError> {
        let key = (self.0.row().chain_id, self.0.row().address.clone());
        let scope = self.0.scope.clone();
        Ok(Session::of(ctx)?.load::<ValidatorSlashings>(scope, key).await?.unwrap_or_default())
    }

    /// When it was slashed, the newest first.
    async fn slashings(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<SlashingEvent>, ApiError> {
        let args = PageArgs { first, after, last, before };
        let filter = SlashingFilter::of(SlashingRelation::Operator);
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
    operator: Vec<u8>,
    position: i64,
    delegation_approver: Option<Vec<u8>>,
    metadata_uri: Option<String>,
    allocation_delay_blocks: Option<i64>,
    pending_allocation_delay_blocks: Option<i64>,
    pending_allocation_delay_effect_block: Option<i64>,
    known_block: i64,
}

impl TryFrom<ProfileRow> for OperatorProfile {
    type Error = ApiError;

    fn try_from(row: ProfileRow) -> Result<Self, ApiError> {
        let approver = row.delegation_approver.as_deref().map(Address::from_row).transpose()?;
        let announced =
            row.pending_allocation_delay_blocks.zip(row.pending_allocation_delay_effect_block);
        let in_force = announced.filter(|(_, effect_block)| *effect_block <= row.known_block);
        let pending = announced.filter(|_| in_force.is_none()).map(|(blocks, effect_block)| {
            PendingAllocationDelay {
                blocks: BlockNumber(blocks),
                effect_block: BlockNumber(effect_block),
            }
        });
        Ok(Self {
            // The contract writes the zero address for "nobody".
            delegation_approver: approver.filter(|approver| approver.0 != [0; 20]),
            untrusted_metadata_uri: row.metadata_uri,
            allocation_delay_blocks: in_force
                .map(|(blocks, _)| blocks)
                .or(row.allocation_delay_blocks)
                .map(BlockNumber),
            pending_allocation_delay: pending,
            position: LogPosition(row.position),
        })
    }
}

/// A validator of an EigenPod that the beacon chain slashed.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct ValidatorSlashing {
    /// The slot of the beacon block that slashed it.
    pub slot: BigInt,
    /// The validator's index.
    pub validator_index: BigInt,
    /// The EigenPod that its withdrawal credentials name.
    pub pod: Address,
    /// Whose the pod is: who delegated to the operator then.
    pub pod_owner: Address,
    /// Its effective balance, gwei.
    pub effective_balance_gwei: BigInt,
    /// Whether the pod itself had proven that the validator is its own (`ValidatorRestaked`).
    pub is_proven_by_pod: bool,
    /// Validators in the same incident so far: slashings of one operator within 8,192 epochs count
    /// once.
    pub incident_validators: i64,
    /// The position of the slashing.
    pub position: LogPosition,
    /// The execution block of the slashing.
    pub block: Block,
}

#[derive(Debug, Clone, FromRow)]
struct ValidatorRow {
    chain_id: i64,
    operator: Vec<u8>,
    position: i64,
    block_number: i64,
    block_time: i64,
    slot: i64,
    validator_index: i64,
    pod: Vec<u8>,
    owner: Vec<u8>,
    effective_balance_gwei: i64,
    incident_validators: i64,
    is_proven: bool,
}

impl TryFrom<ValidatorRow> for ValidatorSlashing {
    type Error = ApiError;

    fn try_from(row: ValidatorRow) -> Result<Self, ApiError> {
        Ok(Self {
            slot: BigInt(row.slot.to_string()),
            validator_index: BigInt(row.validator_index.to_string()),
            pod: Address::from_row(&row.pod)?,
            pod_owner: Address::from_row(&row.owner)?,
            effective_balance_gwei: BigInt(row.effective_balance_gwei.to_string()),
            is_proven_by_pod: row.is_proven,
            incident_validators: row.incident_validators,
            position: LogPosition(row.position),
            block: Block::new(row.chain_id, row.block_number, row.block_time),
        })
    }
}

struct ValidatorSlashings;

impl Batch for ValidatorSlashings {
    type Group = Scope;
    type Key = (i64, Vec<u8>);
    type Value = Vec<ValidatorSlashing>;

    async fn fetch(
        reader: &mut Reader,
        scope: &Scope,
        keys: &[Self::Key],
    ) -> Result<BTreeMap<Self::Key, Self::Value>, ApiError> {
        let mut query: QueryBuilder<Postgres> = QueryBuilder::new("SELECT s.* FROM unnest(");
        query.push_bind(keys.iter().map(|key| key.0).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.1.clone()).collect::<Vec<_>>());
        query.push(
            ") AS k(chain_id, operator) CROSS JOIN LATERAL (
                SELECT s.chain_id, s.operator, s.position, s.block_number, s.block_time, s.slot,
                       s.validator_index, s.pod, s.owner, s.effective_balance_gwei,
                       s.incident_validators,
                       EXISTS (SELECT FROM read_model.validators v
                           WHERE v.chain_id = s.chain_id AND v.pod = s.pod
                             AND v.provenance = 'ValidatorRestaked' AND v.position < s.position
                             AND (v.validator_index = s.validator_index
                                  OR v.pubkey_hash = s.pubkey_hash)) AS is_proven
                  FROM read_model.validator_slashings s
                 WHERE s.chain_id = k.chain_id AND s.operator = k.operator AND s.position <= ",
        );
        query.push_bind(scope.position).push(" ORDER BY s.position DESC LIMIT 100) s");
        let mut found = BTreeMap::<Self::Key, Self::Value>::new();
        for row in reader.rows::<ValidatorRow>(query).await? {
            let key = (row.chain_id, row.operator.clone());
            found.entry(key).or_default().push(row.try_into()?);
        }
        Ok(found)
    }
}

struct Profiles;

impl Batch for Profiles {
    type Group = Scope;
    type Key = (i64, Vec<u8>);
    type Value = ProfileRow;

    async fn fetch(
        reader: &mut Reader,
        scope: &Scope,
        keys: &[Self::Key],
    ) -> Result<BTreeMap<Self::Key, ProfileRow>, ApiError> {
        let mut query: QueryBuilder<Postgres> = QueryBuilder::new("SELECT o.* FROM unnest(");
        query.push_bind(keys.iter().map(|key| key.0).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.1.clone()).collect::<Vec<_>>());
        query.push(
            ") AS k(chain_id, operator) CROSS JOIN LATERAL (
                SELECT o.chain_id, o.operator, o.position, o.delegation_approver,
                       o.metadata_uri, o.allocation_delay_blocks,
                       o.pending_allocation_delay_blocks,
                       o.pending_allocation_delay_effect_block, ",
        );
        push_known_block(&mut query, scope, "o.chain_id");
        query.push(
            " AS known_block FROM read_model.operators o
                 WHERE o.chain_id = k.chain_id AND o.operator = k.operator AND o.position <= ",
        );
        query.push_bind(scope.position).push(" ORDER BY o.position DESC LIMIT 1) o");
        let rows: Vec<ProfileRow> = reader.rows(query).await?;
        Ok(rows.into_iter().map(|row| ((row.chain_id, row.operator.clone()), row)).collect())
    }
}

/// Operator shares as they stand, by chain, operator and strategy.
pub(crate) struct Shares;

impl List for Shares {
    type Filter = SharesFilter;
    type Row = SharesRow;

    fn order(_: &SharesFilter) -> Order {
        Order {
            name: "shares",
            columns: &[
                Column::Integer("chain_id"),
                Column::Bytes("operator"),
                Column::Bytes("strategy"),
            ],
            is_descending: false,
        }
    }

    fn push_rows(query: &mut QueryBuilder<Postgres>, source: &Source<'_, SharesFilter>) {
        let (filter, direction) = (source.filter, source.direction);
        query.push(
            "SELECT DISTINCT ON (s.chain_id, s.operator, s.strategy) s.chain_id, s.operator,
                    s.strategy, s.position, s.block_number, s.block_time, s.shares::text
               FROM read_model.operator_shares s WHERE s.position <= ",
        );
        query.push_bind(source.scope.position);
        if filter.is_of_parent {
            query.push(" AND s.chain_id = p.chain_id AND s.operator = p.address");
        }
        if let Some(chain) = filter.chain {
            query.push(" AND s.chain_id = ").push_bind(chain);
        }
        if let Some(operator) = &filter.operator {
            query.push(" AND s.operator = ").push_bind(operator.clone());
        }
        if let Some(strategy) = &filter.strategy {
            query.push(" AND s.strategy = ").push_bind(strategy.clone());
        }
        query.push(format_args!(
            " ORDER BY s.chain_id {direction}, s.operator {direction}, s.strategy {direction},
                       s.position DESC"
        ));
    }
}
