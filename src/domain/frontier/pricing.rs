//! What tail risk costs: the hurdle of one more position, a premium, a lender's ceiling (§2.11).

use alloy_primitives::U256;

use crate::decimal::{PPT_ONE, PPT_PER_BP};
use crate::loss::{Level, LossModel, Probability};
use crate::ratio::{Ratio, RatioError};

/// The expected shortfall of a portfolio at any level, a share of it, rounded up to a whole part
/// per trillion.
///
/// # Errors
/// When a fraction does not fit.
pub fn tail_risk(model: &LossModel, level: Ratio) -> Result<Ratio, RatioError> {
    let tail = Ratio::ONE.minus(level)?;
    let one = U256::from(Probability::ONE.to_q127());
    let tail = one.saturating_mul(tail.numerator().unsigned_abs()).div_ceil(tail.denominator());
    let (mut left, mut sum) = (tail, U256::ZERO);
    let losses: Vec<_> = model.distribution().losses().collect();
    for (loss, probability) in losses.into_iter().rev() {
        let mass = left.min(U256::from(probability.to_q127()));
        left = left.saturating_sub(mass);
        sum = sum.saturating_add(mass.saturating_mul(U256::from(loss)));
    }
    let ppt = sum.saturating_mul(U256::from(PPT_PER_BP)).div_ceil(tail.max(U256::ONE));
    Ratio::new(i128::try_from(ppt).unwrap_or(i128::MAX), PPT_ONE.into())
}

/// Expected loss and tail of a portfolio, shares of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Expected loss of a year.
    pub expected_loss: Ratio,
    /// Expected shortfall at 99 %.
    pub shortfall_99: Ratio,
    /// Expected shortfall at 99.9 %.
    pub shortfall_999: Ratio,
}

impl Tail {
    /// The figures of a portfolio, at whole parts per trillion.
    ///
    /// # Errors
    /// When a fraction does not fit.
    pub fn of(model: &LossModel) -> Result<Self, RatioError> {
        let distribution = model.distribution();
        let share = |ppt: u64| Ratio::new(i128::from(ppt), PPT_ONE.into());
        Ok(Self {
            expected_loss: share(distribution.expected_loss().to_ppt())?,
            shortfall_99: share(distribution.expected_shortfall(Level::P99).to_ppt())?,
            shortfall_999: share(distribution.expected_shortfall(Level::P999).to_ppt())?,
        })
    }

    /// EL + h (ES99 − EL): what bearing this costs a year.
    ///
    /// # Errors
    /// When a fraction does not fit.
    pub fn cost(&self, hurdle_rate: Ratio) -> Result<Ratio, RatioError> {
        let excess = self.shortfall_99.minus(self.expected_loss)?;
        self.expected_loss.plus(hurdle_rate.times(excess)?)
    }

    /// The yearly premium of underwriting it: its cost over what expenses leave.
    ///
    /// # Errors
    /// When expenses take everything, or a fraction does not fit.
    pub fn premium(&self, hurdle_rate: Ratio, expense: Ratio) -> Result<Ratio, RatioError> {
        self.cost(hurdle_rate)?.over(Ratio::ONE.minus(expense)?)
    }

    /// The most a lender should lend on it: 1 − ES99.9 − exit cost − loss before an oracle notices.
    ///
    /// # Errors
    /// When a fraction does not fit.
    pub fn loan_to_value(&self, exit_cost: Ratio, lag: Ratio) -> Result<Ratio, RatioError> {
        let left = Ratio::ONE.minus(self.shortfall_999)?.minus(exit_cost)?.minus(lag)?;
        Ok(left.max(Ratio::ZERO))
    }
}

/// One more position: what it must earn, and what it earns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptIn {
    /// ΔEL + h (ΔES99 − ΔEL).
    pub hurdle: Ratio,
    /// Δr.
    pub reward: Ratio,
}

impl OptIn {
    /// Compares a portfolio with and without it.
    ///
    /// # Errors
    /// When a fraction does not fit.
    pub fn new(
        before: &Tail,
        after: &Tail,
        reward: Ratio,
        hurdle_rate: Ratio,
    ) -> Result<Self, RatioError> {
        let hurdle = after.cost(hurdle_rate)?.minus(before.cost(hurdle_rate)?)?;
        Ok(Self { hurdle, reward })
    }

    /// Whether it earns more than it must.
    #[must_use]
    pub fn is_worth_it(&self) -> bool {
        self.reward > self.hurdle
    }
}
