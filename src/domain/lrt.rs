//! What stands behind a liquid restaking token: positions, reserves, liquidity.
//!
//! `assess` makes these from state; what is here is what they mean. Amounts are wei of ether.

use alloy_primitives::U256;
use borsh::BorshSerialize;

use crate::block::DAY_SECONDS;
use crate::decimal::{PPT_ONE, PPT_PER_BP, Ppt};
use crate::grade::ExpectedLossPpt;
use crate::id::{OperatorId, OperatorSetId, StrategyId};
use crate::loss::Level;
use crate::loss_block::LossProfile;
use crate::methodology::Methodology;
use crate::mitigation::VerificationLevel;
use crate::parameters::LrtParameters;
use crate::state::lrt::RedemptionDelay;
use crate::tail::{Run, loss_model};

/// Where a part of the net asset value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize)]
pub enum Place {
    /// With an operator, and an operator set can slash it.
    Slashable {
        /// The operator.
        operator: OperatorId,
        /// The set.
        operator_set: OperatorSetId,
        /// As shares of what.
        strategy: StrategyId,
    },
    /// With an operator, promised to nobody.
    Unallocated {
        /// The operator.
        operator: OperatorId,
        /// As shares of what.
        strategy: StrategyId,
    },
    /// In EigenLayer, with no operator.
    Undelegated {
        /// As shares of what.
        strategy: StrategyId,
    },
    /// In EigenLayer's queue, past the time in which it can be slashed.
    Exiting {
        /// As shares of what.
        strategy: StrategyId,
    },
    /// Set aside to redeem at once.
    Buffer,
    /// Stated by the protocol, and not seen in the log: idle, staked elsewhere, or not there.
    Unseen,
}

/// A part of the net asset value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize)]
pub struct Position {
    /// Where it is.
    pub place: Place,
    /// What it is worth, wei.
    pub value: U256,
}

/// A token looked through to the operator sets that can slash what stands behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize)]
pub struct LookThrough {
    /// Net asset value: the larger of what is stated and what is seen.
    pub nav: U256,
    /// What the positions in the log and the buffer are worth together.
    pub seen: U256,
    /// The positions, by place; they sum to the net asset value to the wei.
    pub positions: Vec<Position>,
    /// Strategies without a recorded price in which the token holds shares.
    pub unpriced: Vec<StrategyId>,
    /// The first of them of which an operator set can slash something.
    pub unpriced_at_risk: Option<StrategyId>,
}

/// How far the protocol's assets are proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize)]
pub enum ReserveStatus {
    /// At least the liabilities are there, and the proof is fresh.
    Proven,
    /// Fresh, and between the default threshold and the liabilities.
    BelowFull,
    /// Fresh, and below the default threshold.
    Insufficient,
    /// The proof is older than it may be.
    Stale,
    /// The log does not prove the liabilities covered.
    Absent,
}

/// Assets over liabilities, and how old the proof is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize)]
pub struct Reserve {
    /// What holders are owed, wei, if the log says.
    pub liabilities: Option<U256>,
    /// What is proven to be there, wei.
    pub assets: U256,
    /// Assets over liabilities, ppt; may be above one.
    pub coverage: Option<Ppt>,
    /// Share of the native ether seen whose pod was not proven lately, ppt.
    pub stale_share: Ppt,
    /// What that makes of it.
    pub status: ReserveStatus,
    /// Level of the attested proof that it rests on; `None`: on the log.
    pub proof: Option<VerificationLevel>,
}

impl Reserve {
    /// What holders have lost already: the part of the liabilities that a fresh proof misses.
    #[must_use]
    pub fn shortfall(&self) -> Ppt {
        match (self.status, self.coverage) {
            (ReserveStatus::BelowFull | ReserveStatus::Insufficient, Some(coverage)) => {
                coverage.complement()
            }
            _ => Ppt::ZERO,
        }
    }
}

/// What bears a token's losses before its holders do.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub struct FirstLoss {
    /// Wei of ether set aside.
    pub wei: U256,
    /// The same, in bp of the net asset value, rounded down.
    pub bp: u16,
    /// How well it is verified.
    pub level: VerificationLevel,
    /// The expected loss of a year that it bears.
    pub borne: ExpectedLossPpt,
    /// The loss blocks before it; its part of each is in the rated profile.
    pub gross: LossProfile,
}

/// How well a token turns into ether. A scale of its own, never part of the expected loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize)]
pub enum LiquidityGrade {
    /// Within a day, for less than 10 bp.
    L1,
    /// Within a week, for less than 30 bp.
    L2,
    /// Within two weeks, for less than 1 %.
    L3,
    /// Within a month, for less than 3 %.
    L4,
    /// Later or dearer, or not at all.
    L5,
}

impl LiquidityGrade {
    /// The grade's number, 1 to 5.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::L1 => 1,
            Self::L2 => 2,
            Self::L3 => 3,
            Self::L4 => 4,
            Self::L5 => 5,
        }
    }

    /// The first grade below whose limit a figure is.
    fn below([l1, l2, l3, l4]: [u64; 4], figure: Option<u64>) -> Self {
        match figure {
            Some(figure) if figure < l1 => Self::L1,
            Some(figure) if figure < l2 => Self::L2,
            Some(figure) if figure < l3 => Self::L3,
            Some(figure) if figure < l4 => Self::L4,
            _ => Self::L5,
        }
    }
}

/// What a redemption of a given share of the supply can be paid from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, BorshSerialize)]
pub struct Redemption {
    /// Wei to redeem.
    pub wanted: U256,
    /// Wei that wait already.
    pub queued: U256,
    /// Wei set aside.
    pub buffer: U256,
    /// Wei that leave EigenLayer within its escrow and are no native ether of validators.
    pub escrowed: U256,
    /// Wei that must leave the beacon chain too.
    pub staked: U256,
    /// Days a redemption waits at least.
    pub delay_days: u64,
    /// Whether redemptions are stopped.
    pub is_paused: bool,
}

/// What it takes to sell a token on its markets, as attested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize)]
pub struct Sale {
    /// What selling 1 % of the supply loses against its value, ppt: the most that anybody says.
    pub cost: Ppt,
    /// Level of the third party who says that; `None`: somebody concerned does.
    pub level: Option<VerificationLevel>,
    /// Wei for which it can be sold before a loss is recognised: the most that anybody says.
    pub depth: U256,
    /// Whether any third party states a depth.
    pub is_depth_vouched: bool,
}

/// Loans against a token that were taken to buy more of it, as attested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize)]
pub struct Lending {
    /// Share of the supply behind them: the most that anybody says.
    pub looped: Ppt,
    /// Level of the third party who says that; `None`: somebody concerned does.
    pub level: Option<VerificationLevel>,
    /// The loss from which lenders sell it: the least that anybody says.
    pub sold_from: Ppt,
}

/// The liquidity of a token: the worse of two legs. Where nobody attested what a sale costs, the
/// redemption leg alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize)]
pub struct Liquidity {
    /// The grade.
    pub grade: LiquidityGrade,
    /// Grade of the days to redeem.
    pub by_days: LiquidityGrade,
    /// Days to redeem; `None`: what is known does not suffice, or redemptions are stopped.
    pub days: Option<u64>,
    /// What it rests on.
    pub redemption: Redemption,
    /// Grade of what a sale costs, and the sale; `None`: nobody says.
    pub by_cost: Option<(LiquidityGrade, Sale)>,
}

impl Liquidity {
    /// The days are the worse of the protocol's own delay and the time until enough is there.
    #[must_use]
    pub fn of(redemption: Redemption, sale: Option<Sale>, parameters: &LrtParameters) -> Self {
        let owed = redemption.queued.saturating_add(redemption.wanted);
        let with_escrow = redemption.buffer.saturating_add(redemption.escrowed);
        let with_all = with_escrow.saturating_add(redemption.staked);
        let wait = if redemption.buffer >= owed {
            Some(0)
        } else if with_escrow >= owed {
            Some(parameters.escrow_days)
        } else if with_all >= owed {
            Some(parameters.escrow_days.saturating_add(parameters.beacon_exit_days))
        } else {
            None
        };
        let days =
            wait.filter(|_| !redemption.is_paused).map(|days| days.max(redemption.delay_days));
        let by_days = LiquidityGrade::below(parameters.liquidity_days, days);
        let limits = parameters.liquidity_cost_bp.map(|bp| bp.saturating_mul(PPT_PER_BP));
        let by_cost = sale.map(|sale| (LiquidityGrade::below(limits, Some(sale.cost.0)), sale));
        let grade = by_cost.map_or(by_days, |(by_cost, _)| by_cost.max(by_days));
        Self { grade, by_days, days, redemption, by_cost }
    }
}

impl RedemptionDelay {
    /// Whole days, rounded down.
    #[must_use]
    pub fn days(self, slot_seconds: u64) -> u64 {
        let seconds = match self {
            Self::Seconds(seconds) => seconds,
            Self::Blocks(blocks) => blocks.saturating_mul(U256::from(slot_seconds)),
        };
        let days = seconds.checked_div(U256::from(DAY_SECONDS)).unwrap_or_default();
        u64::try_from(days).unwrap_or(u64::MAX)
    }
}

/// Everything about a token that its rating rests on beside the loss blocks.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub struct LrtOpinion {
    /// Where the net asset value is.
    pub look_through: LookThrough,
    /// Assets over liabilities.
    pub reserve: Reserve,
    /// How fast it turns into ether.
    pub liquidity: Liquidity,
    /// Redemptions at a stale value, in the blocks already.
    pub run: Run,
    /// Loans against it; in the run already.
    pub lending: Option<Lending>,
    /// What bears the first loss; in the blocks already.
    pub first_loss: Option<FirstLoss>,
    /// Expected loss in scope S: slashing and base layer, without the run and before any reserve.
    pub slashing_loss: ExpectedLossPpt,
    /// Expected loss in scope A without the run and before any reserve.
    pub loss_without_run: ExpectedLossPpt,
    /// What it trades at over its rate, ppt, if both are known.
    pub market_over_value: Option<Ppt>,
    /// Days of loss in the log so far.
    pub loss_days: u64,
    /// The largest share that one new rate ever took.
    pub worst_write_down: Ppt,
}

impl LrtOpinion {
    /// Whether the worst year in a thousand takes more than half of what a reserve leaves.
    #[must_use]
    pub fn has_heavy_tail(&self, profile: &LossProfile, methodology: &Methodology) -> bool {
        let reserve = self.first_loss.as_ref().map_or(0, |first_loss| first_loss.bp);
        let model = loss_model(profile, Some(self.run), methodology);
        model.is_ok_and(|model| {
            let left = model.distribution().after(reserve);
            left.expected_shortfall(Level::P999).to_ppt() > PPT_ONE / 2
        })
    }
}
