//! Liquid restaking tokens: what stands behind them, how they can lose, how fast they can be left.

mod rows;

use async_graphql::{Context, Enum, Object, SimpleObject};
use rows::{BackingRow, Backings, PositionRow, Positions, RateRow, Rates};
use serde::Deserialize;

use crate::attestation::VerificationLevel;
use crate::distribution::LossDistribution;
use crate::entity::{Lrt, Operator, OperatorSet};
use crate::error::ApiError;
use crate::page::{Page, PageArgs, page};
use crate::rated::rated_object;
use crate::rating::{Rating, big};
use crate::scalar::{Address, BigInt, LogPosition};
use crate::scope::{Block, Scope};
use crate::session::Session;

rated_object!(
    /// A liquid restaking token, rated by what stands behind it.
    Lrt {
    /// What stands behind it at the assessment in force. Null before one, and under `recordedAt`
    /// where the assessment was made anew since.
    async fn backing(&self, ctx: &Context<'_>) -> Result<Option<LrtBacking>, ApiError> {
        let rating = Rating::latest(ctx, &self.0.scope, self.0.row().id).await?;
        let Some(hash) = rating.as_ref().and_then(Rating::hash) else { return Ok(None) };
        let row = Session::of(ctx)?.load::<Backings>((), hash.to_vec()).await?;
        row.map(|row| LrtBacking::new(row, &self.0)).transpose()
    }

    /// What it was worth, the newest first.
    async fn rates(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<LrtRate>, ApiError> {
        let args = PageArgs { first, after, last, before };
        page::<Rates, _>(ctx, &self.0.scope, (), self.0.parent(), args, |row, _| {
            Ok(LrtRate::from(row))
        })
        .await
    }
}
);

/// What stands behind a liquid restaking token, and the loss distribution that follows.
#[derive(Debug, Clone)]
pub(crate) struct LrtBacking {
    hash: Vec<u8>,
    nav: String,
    detail: Detail,
    chain_id: i64,
    parent: crate::page::Parent,
    scope: Scope,
}

/// How far a token's assets are proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ReserveStatus {
    /// At least the liabilities are there, and the proof is fresh.
    Proven,
    /// Fresh, and between 99 % of the liabilities and all of them.
    BelowFull,
    /// Fresh, and below 99 % of the liabilities.
    Insufficient,
    /// The proof is older than seven days.
    Stale,
    /// The log does not prove the liabilities covered.
    Absent,
}

/// Assets over liabilities. Amounts are wei of ether.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LrtReserve {
    /// How far the assets are proven.
    pub status: ReserveStatus,
    /// What holders are owed. Null when the log does not say.
    pub liabilities: Option<BigInt>,
    /// What is proven to be there.
    pub assets: BigInt,
    /// Assets over liabilities, 1e-12. Null when the liabilities are not known.
    pub coverage_ppt: Option<BigInt>,
    /// Share of what is seen whose pods were not proven within seven days, 1e-12.
    pub stale_ppt: BigInt,
    /// Level of the signed proof that this rests on. Null: it rests on the log.
    pub level: Option<VerificationLevel>,
}

/// How well a token turns into ether: the worse of how long it takes to redeem 5 % of the supply and
/// of what it costs to sell 1 %. A scale of its own, never part of the rating. Amounts are wei of
/// ether.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LrtLiquidity {
    /// 1 to 5: the worse of both legs, or the days alone where nobody attested what a sale costs.
    pub grade: i32,
    /// 1 (within a day) to 5 (a month or later, or not at all).
    pub days_grade: i32,
    /// Days. Null: what is known does not suffice, or redemptions are stopped.
    pub days: Option<i64>,
    /// What is to be redeemed.
    pub wanted: BigInt,
    /// What waits already.
    pub queued: BigInt,
    /// What is set aside.
    pub buffer: BigInt,
    /// What leaves EigenLayer within its escrow.
    pub escrowed: BigInt,
    /// What must leave the beacon chain too.
    pub staked: BigInt,
    /// Days a redemption waits at least.
    pub delay_days: i64,
    /// Whether redemptions are stopped.
    pub is_paused: bool,
    /// The other leg. Null: nobody attested what a sale costs, and it is not known.
    pub sale: Option<LrtSale>,
}

/// What it takes to sell a token on its markets, as attested: the worst that anybody says.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LrtSale {
    /// 1 (below 10 bp) to 5 (3 % or more).
    pub grade: i32,
    /// What selling 1 % of the supply at once loses against its value, 1e-12.
    pub cost_ppt: BigInt,
    /// For how much it can be sold before a loss is recognised, wei of ether.
    pub depth: BigInt,
    /// Level of the third party whose cost that is. Null: somebody concerned says it, and is
    /// believed since it makes things worse.
    pub level: Option<VerificationLevel>,
}

/// Loans that were taken against a token to buy more of it, as attested: the worst that anybody
/// says.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LrtLending {
    /// Share of the supply behind them, 1e-12.
    pub looped_ppt: BigInt,
    /// The loss from which lenders sell it, 1e-12.
    pub sold_from_ppt: BigInt,
    /// What that adds to `redeemedBeforePpt` for losses from there on, 1e-12: with it at most 30 %.
    pub added_ppt: BigInt,
    /// Level of the third party whose share that is. Null: somebody concerned says it.
    pub level: Option<VerificationLevel>,
}

/// What bears a token's losses before its holders do; in the loss blocks already.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LrtFirstLoss {
    /// What is set aside, wei of ether.
    pub wei: BigInt,
    /// The same, in basis points of the net asset value.
    pub bp: i32,
    /// How well that is verified.
    pub level: VerificationLevel,
    /// The expected loss of a year that it bears, 1e-12.
    pub borne_ppt: BigInt,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    first_loss: Option<LrtFirstLoss>,
    seen: BigInt,
    unpriced: Vec<Address>,
    reserve: LrtReserve,
    liquidity: LrtLiquidity,
    lending: Option<LrtLending>,
    guard_ppt: BigInt,
    redeemed_ppt: BigInt,
    slashing_loss_ppt: BigInt,
    loss_without_run_ppt: BigInt,
    market_over_value_ppt: Option<BigInt>,
    loss_days: i64,
    worst_write_down_ppt: BigInt,
    distribution: Option<LossDistribution>,
}

impl LrtBacking {
    fn new(row: BackingRow, of: &crate::entity::RatedFields) -> Result<Self, ApiError> {
        Ok(Self {
            detail: serde_json::from_str(&row.detail)
                .map_err(|_| ApiError::Corrupt("the shape of a token's backing"))?,
            hash: row.hash,
            nav: row.nav,
            chain_id: of.row().chain_id,
            parent: of.parent(),
            scope: of.scope.clone(),
        })
    }
}

/// What stands behind a liquid restaking token at one assessment. Amounts are wei of ether.
#[Object]
impl LrtBacking {
    /// Net asset value: the larger of what the protocol states and what the log shows.
    async fn nav(&self) -> BigInt {
        BigInt(self.nav.clone())
    }

    /// What the log shows.
    async fn seen(&self) -> &BigInt {
        &self.detail.seen
    }

    /// Where the net asset value is, to the wei: what operator sets can slash first.
    async fn positions(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<LrtPosition>, ApiError> {
        let args = PageArgs { first, after, last, before };
        let (filter, chain_id) = (self.hash.clone(), self.chain_id);
        page::<Positions, _>(ctx, &self.scope, filter, self.parent.clone(), args, |row, scope| {
            Ok(LrtPosition { row, chain_id, scope: scope.clone() })
        })
        .await
    }

    /// Strategies without a recorded price in which the token holds shares: not in `seen`.
    async fn unpriced_strategies(&self) -> &[Address] {
        &self.detail.unpriced
    }

    /// Assets over liabilities.
    async fn reserve(&self) -> &LrtReserve {
        &self.detail.reserve
    }

    /// How well it turns into ether.
    async fn liquidity(&self) -> &LrtLiquidity {
        &self.detail.liquidity
    }

    /// Loans against it. Null where nobody attested any.
    async fn lending(&self) -> Option<&LrtLending> {
        self.detail.lending.as_ref()
    }

    /// What bears the first loss. Null where nobody vouches for anything.
    async fn first_loss(&self) -> Option<&LrtFirstLoss> {
        self.detail.first_loss.as_ref()
    }

    /// The exact distribution of the loss. Null when the token is not rated.
    async fn loss_distribution(&self) -> Option<&LossDistribution> {
        self.detail.distribution.as_ref()
    }

    /// Expected loss from slashing and the base layer alone, 1e-12: scope S. The rating's own
    /// expected loss is all-in: scope A.
    async fn slashing_loss_ppt(&self) -> &BigInt {
        &self.detail.slashing_loss_ppt
    }

    /// The all-in expected loss if nobody could redeem at a stale value, 1e-12.
    async fn loss_without_run_ppt(&self) -> &BigInt {
        &self.detail.loss_without_run_ppt
    }

    /// Losses up to this share are recognised in one report, 1e-12.
    async fn nav_guard_ppt(&self) -> &BigInt {
        &self.detail.guard_ppt
    }

    /// Share of the supply taken to redeem before a larger loss is recognised, 1e-12.
    async fn redeemed_before_ppt(&self) -> &BigInt {
        &self.detail.redeemed_ppt
    }

    /// Market price over rate, 1e-12. Null when no price is recorded.
    async fn market_over_value_ppt(&self) -> Option<&BigInt> {
        self.detail.market_over_value_ppt.as_ref()
    }

    /// Days on which the rate ended below the day before, since the log began.
    async fn loss_days(&self) -> i64 {
        self.detail.loss_days
    }

    /// The largest share that one new rate ever took, 1e-12.
    async fn worst_write_down_ppt(&self) -> &BigInt {
        &self.detail.worst_write_down_ppt
    }
}

/// Where a part of the net asset value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum LrtPlace {
    /// With an operator, and an operator set can slash it.
    Slashable,
    /// With an operator, promised to nobody.
    Unallocated,
    /// In EigenLayer, with no operator.
    Undelegated,
    /// In EigenLayer's queue, past the time in which it can be slashed.
    Exiting,
    /// Set aside to redeem at once.
    Buffer,
    /// Stated by the protocol and not seen in the log.
    Unseen,
}

/// A part of the net asset value.
#[derive(Debug, Clone)]
pub(crate) struct LrtPosition {
    row: PositionRow,
    chain_id: i64,
    scope: Scope,
}

/// A part of a token's net asset value: who holds it, and who can slash it.
#[Object]
impl LrtPosition {
    /// Where it is.
    async fn place(&self) -> Result<LrtPlace, ApiError> {
        Ok(match self.row.place {
            1 => LrtPlace::Slashable,
            2 => LrtPlace::Unallocated,
            3 => LrtPlace::Undelegated,
            4 => LrtPlace::Exiting,
            5 => LrtPlace::Buffer,
            6 => LrtPlace::Unseen,
            _ => return Err(ApiError::Corrupt("a place outside 1 to 6")),
        })
    }

    /// What it is worth, wei of ether.
    async fn value(&self) -> BigInt {
        BigInt(self.row.value.clone())
    }

    /// The strategy its shares are of. Null for what is not in EigenLayer.
    async fn strategy(&self) -> Result<Option<Address>, ApiError> {
        self.row.strategy.as_deref().map(Address::from_row).transpose()
    }

    /// The operator's address. Null when it is with none.
    async fn operator_address(&self) -> Result<Option<Address>, ApiError> {
        self.row.operator.as_deref().map(Address::from_row).transpose()
    }

    /// The operator. Null when it is with none, or not among the entities.
    async fn operator(&self, ctx: &Context<'_>) -> Result<Option<Operator>, ApiError> {
        let Some(operator) = &self.row.operator else { return Ok(None) };
        Operator::find(ctx, &self.scope, self.chain_id, operator, 0).await
    }

    /// The address of the AVS whose operator set can slash it. Null when none can.
    async fn avs_address(&self) -> Result<Option<Address>, ApiError> {
        self.row.avs.as_deref().map(Address::from_row).transpose()
    }

    /// The number of the operator set that can slash it. Null when none can.
    async fn operator_set_id(&self) -> Option<BigInt> {
        self.row.operator_set_id.map(big)
    }

    /// The operator set that can slash it. Null when none can, or not among the entities.
    async fn operator_set(&self, ctx: &Context<'_>) -> Result<Option<OperatorSet>, ApiError> {
        let (Some(avs), Some(set)) = (&self.row.avs, self.row.operator_set_id) else {
            return Ok(None);
        };
        OperatorSet::find(ctx, &self.scope, self.chain_id, avs, set).await
    }
}

/// What a token was worth from one block on.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct LrtRate {
    /// Wei of ether a whole token.
    pub rate: BigInt,
    /// Whether the protocol said so; else it follows from what was minted.
    pub is_stated: bool,
    /// All that holders own by what the protocol states, wei. Null: it does not state it.
    pub total_assets: Option<BigInt>,
    /// The block.
    pub block: Block,
    /// The position of the change.
    pub position: LogPosition,
}

impl From<RateRow> for LrtRate {
    fn from(row: RateRow) -> Self {
        Self {
            rate: BigInt(row.rate),
            is_stated: row.is_stated,
            total_assets: row.total_assets.map(BigInt),
            block: Block::new(row.chain_id, row.block_number, row.block_time),
            position: LogPosition(row.position),
        }
    }
}
