//! The risk-reward frontier: the least tail risk (`CVaR`) for a required reward.
//!
//! A solver's answer is not believed: a [`Certificate`] carries the weights and the dual prices,
//! and [`Problem::verify`] checks both in exact fractions and bounds how far the weights can be
//! from the best. Any solver may make one; `simplex` is an exact one for small portfolios.
//! `scenarios` makes the losses. §2.11 has the model; the optimal weights may not be unique, the
//! optimal risk is.

mod from_book;
pub mod input;
pub mod pricing;
mod scenarios;
mod simplex;

pub use from_book::Terms;
pub use scenarios::{PositionBlock, PositionOutcome, ScenarioError, scenarios};

use crate::ratio::{self, Ratio, RatioError};

/// Entries of the simplex tableau: 40 positions with 40 scenarios, some seconds.
pub const TABLEAU_MAX: usize = 40_000;
/// Points of a sweep of the frontier.
pub const SWEEP_POINTS_MAX: u16 = 101;

/// What each position loses in one course of the year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Its probability.
    pub probability: Ratio,
    /// The share of each position that is lost, 0 to 1.
    pub losses: Vec<Ratio>,
}

/// Positions that share a limit, such as those on one operator's stake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Indices of the positions.
    pub positions: Vec<usize>,
    /// The largest sum of their weights.
    pub limit: Ratio,
}

/// The choice to be made: weights of positions that sum to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    rewards: Vec<Ratio>,
    caps: Vec<Ratio>,
    scenarios: Vec<Scenario>,
    groups: Vec<Group>,
    level: Ratio,
}

/// Weights and the prices that prove them good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Weight of each position.
    pub weights: Vec<Ratio>,
    /// ζ, the value at risk the excess is measured from.
    pub at_risk: Ratio,
    /// Price of each scenario: its weight in the tail. They sum to one.
    pub scenario_prices: Vec<Ratio>,
    /// Price of the budget row Σw = 1.
    pub budget_price: Ratio,
    /// Price of the reward row: tail risk per unit of yield at the margin.
    pub reward_price: Ratio,
    /// Price of each group's limit.
    pub group_prices: Vec<Ratio>,
}

/// What a certificate proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The tail risk of the weights.
    pub risk: Ratio,
    /// No weights have less than this.
    pub bound: Ratio,
    /// Their difference, zero when the weights are optimal.
    pub gap: Ratio,
    /// The reward of the weights.
    pub reward: Ratio,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// A list has the wrong length.
    #[error("{what}: found {found}, expected {expected}")]
    Length {
        /// Which list.
        what: &'static str,
        /// Its length.
        found: usize,
        /// What was expected.
        expected: usize,
    },
    /// A figure is out of range.
    #[error("{what} number {index} is {found}, expected {expected}")]
    OutOfRange {
        /// Which figure.
        what: &'static str,
        /// Its place.
        index: usize,
        /// What was given.
        found: Ratio,
        /// What was expected.
        expected: &'static str,
    },
    /// Scenario probabilities do not sum to one.
    #[error("scenario probabilities sum to {found}, expected 1")]
    Probabilities {
        /// Their sum.
        found: Ratio,
    },
    /// No weights meet the limits and the reward. Ask for less.
    #[error("no weights earn {required} within the limits")]
    Infeasible {
        /// The reward asked for.
        required: Ratio,
    },
    /// The tableau is too large for the exact solver. Use another and verify its certificate.
    #[error("the exact solver takes {TABLEAU_MAX} entries, found {found}; use another solver")]
    TooLarge {
        /// Rows times columns.
        found: usize,
    },
    /// A fraction does not fit.
    #[error(transparent)]
    Ratio(#[from] RatioError),
}

impl Problem {
    /// Positions with yearly rewards and largest weights, scenarios, groups, and a level such as
    /// 0.95.
    ///
    /// # Errors
    /// When lengths differ, a figure is out of range, or probabilities do not sum to one.
    pub fn new(
        rewards: Vec<Ratio>,
        caps: Vec<Ratio>,
        scenarios: Vec<Scenario>,
        mut groups: Vec<Group>,
        level: Ratio,
    ) -> Result<Self, FrontierError> {
        let expected = rewards.len();
        length("caps", caps.len(), expected)?;
        for scenario in &scenarios {
            length("losses of a scenario", scenario.losses.len(), expected)?;
            in_unit("loss", &scenario.losses)?;
        }
        for group in &mut groups {
            group.positions.sort_unstable();
            group.positions.dedup();
            if let Some(&found) = group.positions.iter().find(|i| **i >= expected) {
                return Err(FrontierError::Length { what: "position of a group", found, expected });
            }
        }
        in_unit("cap", &caps)?;
        in_unit("probability", scenarios.iter().map(|scenario| &scenario.probability))?;
        if level.is_negative() || level >= Ratio::ONE {
            let (what, expected) = ("level", "0 to below 1");
            return Err(FrontierError::OutOfRange { what, index: 0, found: level, expected });
        }
        let found = ratio::sum(scenarios.iter().map(|scenario| scenario.probability))?;
        if found != Ratio::ONE {
            return Err(FrontierError::Probabilities { found });
        }
        Ok(Self { rewards, caps, scenarios, groups, level })
    }

    /// Yearly rewards.
    pub fn rewards(&self) -> &[Ratio] {
        &self.rewards
    }

    /// Largest weights.
    pub fn caps(&self) -> &[Ratio] {
        &self.caps
    }

    /// Courses of the year.
    pub fn scenarios(&self) -> &[Scenario] {
        &self.scenarios
    }

    /// Shared limits.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The level, such as 0.95.
    pub fn level(&self) -> Ratio {
        self.level
    }

    /// Weights of least tail risk among those that earn `required`, exactly, with their
    /// certificate.
    ///
    /// # Errors
    /// When nothing earns that much, or the portfolio is too large for the exact solver.
    pub fn solve(&self, required: Ratio) -> Result<(Certificate, Verified), FrontierError> {
        let (program, layout) = self.program(required)?;
        let optimum = simplex::minimise(&program)?.ok_or(FrontierError::Infeasible { required })?;
        let certificate = layout.certificate(&optimum)?;
        let verified = self.verify(required, &certificate)?;
        Ok((certificate, verified))
    }

    /// The highest reward any weights earn.
    ///
    /// # Errors
    /// When the limits leave no weights at all, or the portfolio is too large for the exact solver.
    pub fn highest_reward(&self) -> Result<Ratio, FrontierError> {
        let free = Self { scenarios: Vec::new(), ..self.clone() };
        let lowest = self.rewards.iter().copied().min().unwrap_or(Ratio::ZERO);
        let (mut program, _) = free.program(lowest)?;
        program.costs.fill(Ratio::ZERO);
        for (cost, reward) in program.costs.iter_mut().zip(&self.rewards) {
            *cost = reward.negated();
        }
        let optimum = simplex::minimise(&program)?;
        Ok(optimum.ok_or(FrontierError::Infeasible { required: lowest })?.objective.negated())
    }

    /// The frontier at evenly spaced rewards, from that of least risk to the highest.
    ///
    /// # Errors
    /// As [`Problem::solve`], or when `points` is not 2 to 101.
    pub fn sweep(&self, points: u16) -> Result<Vec<(Ratio, Certificate, Verified)>, FrontierError> {
        if !(2..=SWEEP_POINTS_MAX).contains(&points) {
            let (what, found) = ("points", usize::from(points));
            return Err(FrontierError::Length { what, found, expected: 21 });
        }
        let lowest = self.rewards.iter().copied().min().unwrap_or(Ratio::ZERO);
        let from = self.solve(lowest)?.1.reward;
        let range = self.highest_reward()?.minus(from)?;
        let last = u128::from(points.saturating_sub(1));
        let point = |i: u16| {
            let required = from.plus(range.times(Ratio::new(i128::from(i), last)?)?)?;
            let (certificate, verified) = self.solve(required)?;
            Ok((required, certificate, verified))
        };
        (0..points).map(point).collect()
    }

    /// Checks a certificate in exact fractions.
    ///
    /// Prices of the caps are not part of it: the best ones follow from the others. So any prices
    /// that pass are a proof, however they were found; round them before they are written down.
    ///
    /// # Errors
    /// When the weights break a limit or miss the reward, or the prices prove nothing.
    pub fn verify(
        &self,
        required: Ratio,
        certificate: &Certificate,
    ) -> Result<Verified, FrontierError> {
        let reward = self.check_weights(required, &certificate.weights)?;
        let risk = self.risk(&certificate.weights, certificate.at_risk)?;
        let bound = self.bound(required, certificate)?;
        Ok(Verified { risk, bound, gap: risk.minus(bound)?, reward })
    }

    /// ζ + E[(L − ζ)⁺] / (1 − β): the tail risk of weights, if ζ is their value at risk.
    fn risk(&self, weights: &[Ratio], at_risk: Ratio) -> Result<Ratio, FrontierError> {
        let mut excess = Ratio::ZERO;
        for scenario in &self.scenarios {
            let over = dot(&scenario.losses, weights)?.minus(at_risk)?.max(Ratio::ZERO);
            excess = excess.plus(over.times(scenario.probability)?)?;
        }
        Ok(at_risk.plus(excess.over(Ratio::ONE.minus(self.level)?)?)?)
    }

    /// The reward, if the weights keep every limit and reach what is required.
    fn check_weights(&self, required: Ratio, weights: &[Ratio]) -> Result<Ratio, FrontierError> {
        length("weights", weights.len(), self.caps.len())?;
        for (index, (found, cap)) in weights.iter().zip(&self.caps).enumerate() {
            if found.is_negative() || found > cap {
                let (what, found, expected) = ("weight", *found, "0 to its cap");
                return Err(FrontierError::OutOfRange { what, index, found, expected });
            }
        }
        let refuse = |what, index, found, expected| {
            Err(FrontierError::OutOfRange { what, index, found, expected })
        };
        let total = ratio::sum(weights.iter().copied())?;
        if total != Ratio::ONE {
            return refuse("sum of weights", 0, total, "1");
        }
        for (index, group) in self.groups.iter().enumerate() {
            let held = group.positions.iter().filter_map(|i| weights.get(*i).copied());
            let held = ratio::sum(held)?;
            if held > group.limit {
                return refuse("sum of group", index, held, "at most its limit");
            }
        }
        let reward = dot(&self.rewards, weights)?;
        if reward < required {
            return refuse("reward", 0, reward, "at least what is required");
        }
        Ok(reward)
    }

    /// The dual objective: no weights have less risk.
    fn bound(&self, required: Ratio, certificate: &Certificate) -> Result<Ratio, FrontierError> {
        let prices = &certificate.scenario_prices;
        length("scenario prices", prices.len(), self.scenarios.len())?;
        length("group prices", certificate.group_prices.len(), self.groups.len())?;
        let refuse = |what, index, found, expected| {
            Err(FrontierError::OutOfRange { what, index, found, expected })
        };
        let tail = Ratio::ONE.minus(self.level)?;
        for (index, (price, scenario)) in prices.iter().zip(&self.scenarios).enumerate() {
            if price.is_negative() || *price > scenario.probability.over(tail)? {
                return refuse("scenario price", index, *price, "0 to probability / (1 - level)");
            }
        }
        let total = ratio::sum(prices.iter().copied())?;
        if total != Ratio::ONE {
            return refuse("sum of scenario prices", 0, total, "1");
        }
        if certificate.reward_price.is_negative() {
            return refuse("reward price", 0, certificate.reward_price, "0 or more");
        }
        let mut bound = certificate.budget_price;
        bound = bound.plus(required.times(certificate.reward_price)?)?;
        for (index, (price, group)) in certificate.group_prices.iter().zip(&self.groups).enumerate()
        {
            if price.is_negative() {
                return refuse("group price", index, *price, "0 or more");
            }
            bound = bound.minus(group.limit.times(*price)?)?;
        }
        for (index, cap) in self.caps.iter().enumerate() {
            let price = self.advantage(index, certificate)?.max(Ratio::ZERO);
            bound = bound.minus(cap.times(price)?)?;
        }
        Ok(bound)
    }

    /// How much a position is worth beyond its risk at these prices: the best price of its cap.
    fn advantage(&self, index: usize, certificate: &Certificate) -> Result<Ratio, FrontierError> {
        let reward = self.rewards.get(index).copied().unwrap_or(Ratio::ZERO);
        let mut worth = reward.times(certificate.reward_price)?;
        worth = worth.plus(certificate.budget_price)?;
        for (scenario, price) in self.scenarios.iter().zip(&certificate.scenario_prices) {
            let loss = scenario.losses.get(index).copied().unwrap_or(Ratio::ZERO);
            worth = worth.minus(loss.times(*price)?)?;
        }
        for (group, price) in self.groups.iter().zip(&certificate.group_prices) {
            if group.positions.contains(&index) {
                worth = worth.minus(*price)?;
            }
        }
        Ok(worth)
    }

    /// The linear program in equality form and where its parts are.
    ///
    /// Columns: w, ζ⁺, ζ⁻, u, slack of caps, surplus of scenarios, surplus of reward, slack of
    /// groups.
    fn program(&self, required: Ratio) -> Result<(simplex::Program, Layout), FrontierError> {
        let layout = Layout {
            positions: self.caps.len(),
            scenarios: self.scenarios.len(),
            groups: self.groups.len(),
        };
        let (n, k) = (layout.positions, layout.scenarios);
        let zeta = n;
        let shortfall = zeta.saturating_add(2);
        let cap_slack = shortfall.saturating_add(k);
        let surplus = cap_slack.saturating_add(n);
        let reward_surplus = surplus.saturating_add(k);
        let group_slack = reward_surplus.saturating_add(1);
        let mut program = simplex::Program::new(group_slack.saturating_add(layout.groups));
        let minus_one = Ratio::ONE.negated();
        for (i, scenario) in self.scenarios.iter().enumerate() {
            let losses = scenario.losses.iter().map(|loss| loss.negated()).enumerate();
            let rest = [
                (zeta, Ratio::ONE),
                (zeta.saturating_add(1), minus_one),
                (shortfall.saturating_add(i), Ratio::ONE),
                (surplus.saturating_add(i), minus_one),
            ];
            program.row(losses.chain(rest), Ratio::ZERO);
        }
        program.row((0..n).map(|i| (i, Ratio::ONE)), Ratio::ONE);
        for (i, cap) in self.caps.iter().enumerate() {
            program.row([(i, Ratio::ONE), (cap_slack.saturating_add(i), Ratio::ONE)], *cap);
        }
        let rewards = self.rewards.iter().copied().enumerate();
        program.row(rewards.chain([(reward_surplus, minus_one)]), required);
        for (i, group) in self.groups.iter().enumerate() {
            let members = group.positions.iter().map(|position| (*position, Ratio::ONE));
            program.row(members.chain([(group_slack.saturating_add(i), Ratio::ONE)]), group.limit);
        }
        let tail = Ratio::ONE.minus(self.level)?;
        program.cost(zeta, Ratio::ONE);
        program.cost(zeta.saturating_add(1), minus_one);
        for (i, scenario) in self.scenarios.iter().enumerate() {
            program.cost(shortfall.saturating_add(i), scenario.probability.over(tail)?);
        }
        Ok((program, layout))
    }
}

/// Sizes of the parts of the program.
struct Layout {
    positions: usize,
    scenarios: usize,
    groups: usize,
}

impl Layout {
    fn certificate(&self, optimum: &simplex::Optimum) -> Result<Certificate, FrontierError> {
        let value = |i: usize| optimum.values.get(i).copied().unwrap_or(Ratio::ZERO);
        let mut prices = optimum.prices.iter().copied();
        let scenario_prices = prices.by_ref().take(self.scenarios).collect();
        let budget_price = prices.next().unwrap_or(Ratio::ZERO);
        let mut prices = prices.skip(self.positions);
        let reward_price = prices.next().unwrap_or(Ratio::ZERO);
        Ok(Certificate {
            weights: (0..self.positions).map(value).collect(),
            at_risk: value(self.positions).minus(value(self.positions.saturating_add(1)))?,
            scenario_prices,
            budget_price,
            reward_price,
            // A limit's row has a price of zero or less.
            group_prices: prices.take(self.groups).map(Ratio::negated).collect(),
        })
    }
}

fn dot(a: &[Ratio], b: &[Ratio]) -> Result<Ratio, RatioError> {
    a.iter().zip(b).try_fold(Ratio::ZERO, |sum, (x, y)| sum.plus(x.times(*y)?))
}

fn length(what: &'static str, found: usize, expected: usize) -> Result<(), FrontierError> {
    if found == expected { Ok(()) } else { Err(FrontierError::Length { what, found, expected }) }
}

fn in_unit<'a>(
    what: &'static str,
    values: impl IntoIterator<Item = &'a Ratio>,
) -> Result<(), FrontierError> {
    for (index, value) in values.into_iter().enumerate() {
        if value.is_negative() || *value > Ratio::ONE {
            let (found, expected) = (*value, "0 to 1");
            return Err(FrontierError::OutOfRange { what, index, found, expected });
        }
    }
    Ok(())
}
