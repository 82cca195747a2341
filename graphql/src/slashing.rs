//! Slashing events: every slash in the log, final or not.

use std::collections::BTreeMap;

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::entity::{Avs, Operator, OperatorSet};
use crate::error::ApiError;
use crate::id::NodeId;
use crate::page::{Column, List, Order, Source};
use crate::rating::big;
use crate::scalar::{Address, BigInt, BlockNumber, Bytes32, ChainId, LogPosition};
use crate::scope::{Block, Scope, push_known_block};
use crate::session::{Batch, Reader, Session};

/// Blocks between a slash and the burning or handing over of what it took: 7 days (ELIP-016).
const RELEASE_DELAY_BLOCKS: i64 = 50_400;

#[derive(Debug, Clone)]
pub(crate) struct SlashingEvent {
    row: SlashingRow,
    scope: Scope,
}

/// What one slash took of one strategy.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct SlashedStrategy {
    /// The strategy's address.
    pub strategy: Address,
    /// Share of the operator's whole stake before the slash, 1e-18. A lower bound where
    /// `allocationSlashedWad` is null.
    pub wad_slashed: BigInt,
    /// Share of the allocation that was slashed, 1e-18. Null where the log holds no state before
    /// the slash.
    pub allocation_slashed_wad: Option<BigInt>,
}

/// What one slash took of one strategy, in shares.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, FromRow)]
pub(crate) struct SlashedShares {
    /// The strategy's address.
    #[sqlx(try_from = "Vec<u8>")]
    pub strategy: Address,
    /// Shares taken, in the strategy's own unit.
    #[sqlx(try_from = "String")]
    pub shares: BigInt,
    /// Of these, shares that were burnt or handed over already.
    #[sqlx(try_from = "String")]
    pub released_shares: BigInt,
}

/// Which slashing events. All conditions hold at once.
#[derive(Debug, Default, InputObject)]
pub(crate) struct SlashingWhere {
    /// On this chain.
    pub chain_id: Option<ChainId>,
    /// Of this operator.
    pub operator: Option<Address>,
    /// By this AVS.
    pub avs: Option<Address>,
    /// Whether somebody receives what was slashed.
    pub is_redistributed: Option<bool>,
    /// Whether the block is not final yet.
    pub is_provisional: Option<bool>,
    /// Whether what was slashed is still there: neither burnt nor handed over.
    pub is_open: Option<bool>,
}

/// [`SlashingWhere`] as SQL wants it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SlashingFilter {
    relation: SlashingRelation,
    chain: Option<i64>,
    operator: Option<Vec<u8>>,
    avs: Option<Vec<u8>>,
    is_redistributed: Option<bool>,
    is_provisional: Option<bool>,
    is_open: Option<bool>,
}

/// What the parent of a list of slashes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SlashingRelation {
    /// There is none.
    Root,
    /// The operator slashed.
    Operator,
    /// The AVS that slashed.
    Avs,
    /// The operator set slashed.
    OperatorSet,
}

#[derive(Debug, Clone, FromRow)]
pub(crate) struct SlashingRow {
    position: Option<i64>,
    is_provisional: bool,
    chain_id: i64,
    block_number: i64,
    block_time: i64,
    block_hash: Vec<u8>,
    tx_hash: Vec<u8>,
    log_index: i64,
    operator: Vec<u8>,
    avs: Vec<u8>,
    operator_set_id: i64,
    strategies: Vec<Vec<u8>>,
    wad_slashed: Vec<String>,
    allocation_slashed: Vec<Option<String>>,
    redistribution_recipient: Option<Vec<u8>>,
    incident: Option<i64>,
    description: String,
    blocks_left: i64,
    is_open: bool,
}

const COLUMNS: &str = "s.position, s.is_provisional, s.chain_id, s.block_number, s.block_time,
    s.block_hash, s.tx_hash, s.log_index, s.operator, s.avs, s.operator_set_id, s.strategies,
    s.wad_slashed::text[], s.allocation_slashed::text[], s.redistribution_recipient, s.incident,
    s.description, greatest(s.block_number + 50400 - now_at.number, 0) AS blocks_left,
    coalesce(taken.remaining > 0, s.block_number + 50400 > now_at.number) AS is_open";

/// Shares that a slash `s` took: those that came into escrow in its transaction, for its set,
/// since the set's slash before it.
const TAKEN: &str = "read_model.slashed_shares t
    WHERE t.tx_hash = s.tx_hash AND t.chain_id = s.chain_id AND t.avs = s.avs
      AND t.operator_set_id = s.operator_set_id AND t.shares_delta > 0
      AND t.log_index < s.log_index AND NOT EXISTS (
          SELECT FROM read_model.slashing_events earlier
           WHERE earlier.tx_hash = s.tx_hash AND earlier.chain_id = s.chain_id
             AND earlier.avs = s.avs AND earlier.operator_set_id = s.operator_set_id
             AND earlier.log_index < s.log_index AND earlier.log_index > t.log_index)";

/// Shares in and out of the same slash and strategy as `t`.
const SAME_SLASH: &str = "d.chain_id = t.chain_id AND d.avs = t.avs
    AND d.operator_set_id = t.operator_set_id AND d.slash_id = t.slash_id
    AND d.strategy = t.strategy AND d.position <= ";

/// Pushes what stands beside each slash `s` as of a scope: the chain's newest block, and the
/// shares not yet released (null where the log holds none).
fn push_beside(query: &mut QueryBuilder<Postgres>, scope: &Scope) {
    query.push(" CROSS JOIN LATERAL (SELECT ");
    push_known_block(query, scope, "s.chain_id");
    query.push(" AS number) now_at CROSS JOIN LATERAL (SELECT sum(d.shares_delta) AS remaining");
    query.push(" FROM read_model.slashed_shares d WHERE EXISTS (SELECT FROM ");
    query.push(TAKEN).push(" AND ").push(SAME_SLASH).push_bind(scope.position).push(")) taken ");
}

impl SlashingFilter {
    pub(crate) fn new(wanted: Option<SlashingWhere>) -> Self {
        let wanted = wanted.unwrap_or_default();
        Self {
            relation: SlashingRelation::Root,
            chain: wanted.chain_id.map(|chain| chain.0),
            operator: wanted.operator.map(|address| address.0.to_vec()),
            avs: wanted.avs.map(|address| address.0.to_vec()),
            is_redistributed: wanted.is_redistributed,
            is_provisional: wanted.is_provisional,
            is_open: wanted.is_open,
        }
    }

    pub(crate) fn of(relation: SlashingRelation) -> Self {
        Self { relation, ..Self::new(None) }
    }
}

impl SlashingEvent {
    pub(crate) fn new(row: SlashingRow, scope: &Scope) -> Self {
        Self { row, scope: scope.clone() }
    }

    /// The slash of this log.
    pub(crate) async fn by_id(
        ctx: &Context<'_>,
        scope: &Scope,
        key: SlashingKey,
    ) -> Result<Option<Self>, ApiError> {
        let row = Session::of(ctx)?.load::<SlashingById>(scope.clone(), key).await?;
        Ok(row.map(|row| Self::new(row, scope)))
    }
}

/// One `OperatorSlashed` log.
#[Object]
impl SlashingEvent {
    /// The global id.
    pub(crate) async fn id(&self) -> ID {
        NodeId::Slashing {
            chain: self.row.chain_id,
            block_hash: self.row.block_hash.clone(),
            log_index: self.row.log_index,
        }
        .into()
    }

    /// Its canonical position. Null while its block is not final.
    async fn position(&self) -> Option<LogPosition> {
        self.row.position.map(LogPosition)
    }

    /// Whether its block is not final yet: a reorganisation may still take it back. Such events
    /// are shown without `asOf` only.
    async fn is_provisional(&self) -> bool {
        self.row.is_provisional
    }

    /// Its block.
    async fn block(&self) -> Block {
        Block::new(self.row.chain_id, self.row.block_number, self.row.block_time)
    }

    /// The hash of its block.
    async fn block_hash(&self) -> Result<Bytes32, ApiError> {
        Bytes32::from_row(&self.row.block_hash)
    }

    /// Its transaction.
    async fn tx_hash(&self) -> Result<Bytes32, ApiError> {
        Bytes32::from_row(&self.row.tx_hash)
    }

    /// Its place among the logs of its block.
    async fn log_index(&self) -> i32 {
        i32::try_from(self.row.log_index).unwrap_or(i32::MAX)
    }

    /// The operator's address.
    async fn operator_address(&self) -> Result<Address, ApiError> {
        Address::from_row(&self.row.operator)
    }

    /// The operator slashed. Null when it is not among the entities.
    async fn operator(&self, ctx: &Context<'_>) -> Result<Option<Operator>, ApiError> {
        Operator::find(ctx, &self.scope, self.row.chain_id, &self.row.operator, 0).await
    }

    /// The address of the AVS.
    async fn avs_address(&self) -> Result<Address, ApiError> {
        Address::from_row(&self.row.avs)
    }

    /// The AVS that slashed. Null when it is not among the entities.
    async fn avs(&self, ctx: &Context<'_>) -> Result<Option<Avs>, ApiError> {
        Avs::find(ctx, &self.scope, self.row.chain_id, &self.row.avs, 0).await
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

    /// What it took, strategy by strategy.
    async fn strategies(&self) -> Result<Vec<SlashedStrategy>, ApiError> {
        let row = &self.row;
        let amounts = row.wad_slashed.iter().zip(&row.allocation_slashed);
        if row.strategies.len() != amounts.len() {
            return Err(ApiError::Corrupt("a slash with more strategies than amounts"));
        }
        let slashed = row.strategies.iter().zip(amounts).map(|(strategy, (wad, allocation))| {
            Ok(SlashedStrategy {
                strategy: Address::from_row(strategy)?,
                wad_slashed: BigInt(wad.clone()),
                allocation_slashed_wad: allocation.clone().map(BigInt),
            })
        });
        slashed.collect()
    }

    /// What it took, in shares. Empty where the log does not hold them.
    async fn slashed_shares(&self, ctx: &Context<'_>) -> Result<Vec<SlashedShares>, ApiError> {
        let key = (self.row.chain_id, self.row.block_hash.clone(), self.row.log_index);
        let found = Session::of(ctx)?.load::<SharesOfSlash>(self.scope.position, key).await?;
        Ok(found.unwrap_or_default())
    }

    /// The first block at which what it took may be burnt or handed over: 50,400 blocks (7 days)
    /// later, where ELIP-016 is in force.
    async fn release_block(&self) -> BlockNumber {
        BlockNumber(self.row.block_number.saturating_add(RELEASE_DELAY_BLOCKS))
    }

    /// Blocks from the chain's newest known block to `releaseBlock`; 0 when it is reached.
    async fn blocks_left(&self) -> BlockNumber {
        BlockNumber(self.row.blocks_left)
    }

    /// Whether what it took is still there. Where the log holds the shares: until all are burnt
    /// or handed over; where it does not: until `releaseBlock`.
    async fn is_open(&self) -> bool {
        self.row.is_open
    }

    /// Who receives what was slashed. Null: it is burnt.
    async fn redistribution_recipient(&self) -> Result<Option<Address>, ApiError> {
        self.row.redistribution_recipient.as_deref().map(Address::from_row).transpose()
    }

    /// The incident it belongs to: slashes of one operator by one set within 7,200 blocks count
    /// once. The position of the first of them; null while it is not final.
    async fn incident(&self) -> Option<LogPosition> {
        self.row.incident.map(LogPosition)
    }

    /// What the slasher wrote. UNTRUSTED: anyone who may slash can write anything here, even
    /// advertisements. Escaped for display; never decide by it, never follow its links.
    async fn untrusted_description(&self) -> &str {
        &self.row.description
    }
}

/// A log: chain, block hash, index.
pub(crate) type SlashingKey = (i64, Vec<u8>, i64);

struct SlashingById;

impl Batch for SlashingById {
    type Group = Scope;
    type Key = SlashingKey;
    type Value = SlashingRow;

    async fn fetch(
        reader: &mut Reader,
        scope: &Scope,
        keys: &[SlashingKey],
    ) -> Result<BTreeMap<SlashingKey, SlashingRow>, ApiError> {
        let mut query: QueryBuilder<Postgres> =
            QueryBuilder::new(format!("SELECT {COLUMNS} FROM unnest("));
        query.push_bind(keys.iter().map(|key| key.0).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.1.clone()).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.2).collect::<Vec<_>>());
        query.push(
            ") AS k(chain_id, block_hash, log_index)
             JOIN read_model.slashing_events s USING (chain_id, block_hash, log_index)",
        );
        push_beside(&mut query, scope);
        let rows: Vec<SlashingRow> = reader.rows(query).await?;
        let key = |row: &SlashingRow| (row.chain_id, row.block_hash.clone(), row.log_index);
        Ok(rows.into_iter().map(|row| (key(&row), row)).collect())
    }
}

struct SharesOfSlash;

#[derive(FromRow)]
struct SharesOfSlashRow {
    chain_id: i64,
    block_hash: Vec<u8>,
    log_index: i64,
    #[sqlx(flatten)]
    shares: SlashedShares,
}

impl Batch for SharesOfSlash {
    type Group = i64;
    type Key = SlashingKey;
    type Value = Vec<SlashedShares>;

    async fn fetch(
        reader: &mut Reader,
        position: &i64,
        keys: &[SlashingKey],
    ) -> Result<BTreeMap<SlashingKey, Vec<SlashedShares>>, ApiError> {
        let mut query: QueryBuilder<Postgres> = QueryBuilder::new(
            "SELECT s.chain_id, s.block_hash, s.log_index, x.strategy, x.shares::text AS shares,
                    (x.shares - x.remaining)::text AS released_shares FROM unnest(",
        );
        query.push_bind(keys.iter().map(|key| key.0).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.1.clone()).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.2).collect::<Vec<_>>());
        query.push(
            ") AS k(chain_id, block_hash, log_index)
             JOIN read_model.slashing_events s USING (chain_id, block_hash, log_index)
             CROSS JOIN LATERAL (SELECT t.strategy, t.shares_delta AS shares,
                 (SELECT sum(d.shares_delta) FROM read_model.slashed_shares d WHERE ",
        );
        query.push(SAME_SLASH).push_bind(*position).push(") AS remaining FROM ").push(TAKEN);
        query.push(" AND t.position <= ").push_bind(*position);
        query.push(") x ORDER BY x.strategy");
        let rows: Vec<SharesOfSlashRow> = reader.rows(query).await?;
        let mut found: BTreeMap<SlashingKey, Vec<SlashedShares>> = BTreeMap::new();
        for row in rows {
            let key = (row.chain_id, row.block_hash, row.log_index);
            found.entry(key).or_default().push(row.shares);
        }
        Ok(found)
    }
}

/// Slashing events, the newest first.
pub(crate) struct Slashings;

impl List for Slashings {
    type Filter = SlashingFilter;
    type Row = SlashingRow;

    fn order(_: &SlashingFilter) -> Order {
        Order {
            name: "slashings",
            columns: &[
                Column::Integer("block_time"),
                Column::Integer("chain_id"),
                Column::Integer("block_number"),
                Column::Integer("log_index"),
                Column::Bytes("block_hash"),
            ],
            is_descending: true,
        }
    }

    fn push_rows(query: &mut QueryBuilder<Postgres>, source: &Source<'_, SlashingFilter>) {
        let (filter, scope) = (source.filter, source.scope);
        query.push(format_args!("SELECT {COLUMNS} FROM read_model.slashing_events s "));
        push_beside(query, scope);
        query.push(" WHERE ");
        if scope.is_head {
            // What is not final has no position.
            query.push("(s.position IS NULL OR s.position <= ").push_bind(scope.position);
            query.push(")");
        } else {
            query.push("s.position <= ").push_bind(scope.position);
        }
        query.push(match filter.relation {
            SlashingRelation::Root => "",
            SlashingRelation::Operator => " AND s.chain_id = p.chain_id AND s.operator = p.address",
            SlashingRelation::Avs => " AND s.chain_id = p.chain_id AND s.avs = p.address",
            SlashingRelation::OperatorSet => {
                " AND s.chain_id = p.chain_id AND s.avs = p.address
                  AND s.operator_set_id = p.operator_set_id"
            }
        });
        if let Some(chain) = filter.chain {
            query.push(" AND s.chain_id = ").push_bind(chain);
        }
        if let Some(operator) = &filter.operator {
            query.push(" AND s.operator = ").push_bind(operator.clone());
        }
        if let Some(avs) = &filter.avs {
            query.push(" AND s.avs = ").push_bind(avs.clone());
        }
        if let Some(is_redistributed) = filter.is_redistributed {
            query.push(" AND (s.redistribution_recipient IS NOT NULL) = ");
            query.push_bind(is_redistributed);
        }
        if let Some(is_provisional) = filter.is_provisional {
            query.push(" AND s.is_provisional = ").push_bind(is_provisional);
        }
        if let Some(is_open) = filter.is_open {
            query
                .push(" AND coalesce(taken.remaining > 0, s.block_number + 50400 > now_at.number)");
            query.push(" = ").push_bind(is_open);
        }
    }
}
