//! The frontier of portfolios that are too large for the exact solver: an interior-point method.
//!
//! Its answer is not believed. It is rounded to fractions that keep every limit, and the core
//! checks them in exact arithmetic and says how far they can be from the best.

use assay_domain::frontier::input::{InputError, Question};
use assay_domain::frontier::{Certificate, FrontierError, Problem, Verified};
use assay_domain::ratio::{Ratio, RatioError};
use clarabel::algebra::CscMatrix;
use clarabel::solver::{
    DefaultSettings, DefaultSolver, IPSolver as _, SolverStatus, SupportedConeT,
};

/// What weights and prices are rounded to: 1e-9.
const UNIT: u64 = 1_000_000_000;

/// How far from its limits the solver stays, so that rounding breaks none.
const MARGIN: f64 = 1e-7;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum SolverError {
    /// The solver found none, or stopped. Ask for less.
    #[error("the solver found no weights that earn {required}: {status}")]
    NotSolved {
        /// The reward asked for.
        required: Ratio,
        /// What it said.
        status: String,
    },
    /// Its answer breaks a limit even after rounding, or proves nothing.
    #[error("the solver's answer does not hold")]
    Refuted(#[from] FrontierError),
    /// The weights make no portfolio.
    #[error(transparent)]
    Portfolio(#[from] InputError),
    /// A fraction does not fit.
    #[error(transparent)]
    Ratio(#[from] RatioError),
}

/// One point of a frontier.
#[derive(Debug, Clone)]
pub struct Point {
    /// The reward asked for.
    pub required: Ratio,
    /// Weights and prices.
    pub certificate: Certificate,
    /// What they prove of the scenarios, where no weights have less tail risk than in the portfolio
    /// itself.
    pub verified: Verified,
    /// The tail risk of the portfolio itself.
    pub risk: Ratio,
    /// No other weights that earn as much have a risk that is lower by more than this.
    pub gap: Ratio,
}

/// The frontier: the exact solver where it can, else the interior-point method with its
/// certificate checked.
pub fn sweep(question: &Question) -> Result<Vec<Point>, SolverError> {
    let problem = &question.problem;
    let solved = match problem.sweep(question.points) {
        Err(FrontierError::TooLarge { .. } | FrontierError::Ratio(_)) => {
            let highest = problem.highest_reward()?;
            // The very top leaves no room for the margins of positions that may hold little: a
            // ten-thousandth below is as good.
            let top = highest.times(Ratio::new(9_999, 10_000)?)?;
            let steps = u128::from(question.points.max(2)) - 1;
            (0..=steps)
                .map(|step| {
                    let step = i128::try_from(step).unwrap_or(i128::MAX);
                    let required = top.times(Ratio::new(step, steps)?)?;
                    let (certificate, verified) = solve(problem, required)?;
                    Ok((required, certificate, verified))
                })
                .collect::<Result<_, SolverError>>()?
        }
        solved => solved?,
    };
    solved
        .into_iter()
        .map(|(required, certificate, verified)| {
            let risk = question.tail_risk(&certificate.weights)?;
            let gap = risk.minus(verified.bound)?.max(Ratio::ZERO);
            Ok(Point { required, certificate, verified, risk, gap })
        })
        .collect()
}

/// Weights of least tail risk that earn `required`, with what they prove.
pub fn solve(problem: &Problem, required: Ratio) -> Result<(Certificate, Verified), SolverError> {
    let program = Program::new(problem, required);
    let settings = DefaultSettings { verbose: false, ..DefaultSettings::default() };
    let variables = program.costs.len();
    let cones =
        [SupportedConeT::ZeroConeT(1), SupportedConeT::NonnegativeConeT(program.bounds.len() - 1)];
    let quadratic = CscMatrix::zeros((variables, variables));
    let refused = |status: String| SolverError::NotSolved { required, status };
    let mut solver = DefaultSolver::new(
        &quadratic,
        &program.costs,
        &program.matrix(),
        &program.bounds,
        &cones,
        settings,
    )
    .map_err(|error| refused(error.to_string()))?;
    solver.solve();
    let solution = &solver.solution;
    if !matches!(solution.status, SolverStatus::Solved | SolverStatus::AlmostSolved) {
        return Err(refused(format!("{:?}", solution.status)));
    }
    let certificate = program.certificate(problem, &solution.x, &solution.z)?;
    let verified = problem.verify(required, &certificate)?;
    Ok((certificate, verified))
}

/// min cost·x, rows·x ≤ bounds (the first row an equation).
/// x: weights, the value at risk, an excess for each scenario.
struct Program {
    positions: usize,
    scenarios: usize,
    groups: usize,
    costs: Vec<f64>,
    bounds: Vec<f64>,
    /// Row, column, value.
    entries: Vec<(usize, usize, f64)>,
}

impl Program {
    fn new(problem: &Problem, required: Ratio) -> Self {
        let (n, m) = (problem.rewards().len(), problem.scenarios().len());
        let tail = 1.0 - float(problem.level());
        let mut costs = vec![0.0; n + 1 + m];
        costs[n] = 1.0;
        for (index, scenario) in problem.scenarios().iter().enumerate() {
            costs[n + 1 + index] = float(scenario.probability) / tail;
        }
        let mut program = Self {
            positions: n,
            scenarios: m,
            groups: problem.groups().len(),
            costs,
            bounds: Vec::new(),
            entries: Vec::new(),
        };
        program.row((0..n).map(|i| (i, 1.0)), 1.0);
        for (index, scenario) in problem.scenarios().iter().enumerate() {
            let losses = scenario.losses.iter().enumerate().map(|(i, loss)| (i, float(*loss)));
            program.row(losses.chain([(n, -1.0), (n + 1 + index, -1.0)]), 0.0);
        }
        let rewards = problem.rewards().iter().enumerate();
        program.row(rewards.map(|(i, reward)| (i, -float(*reward))), -(float(required) + MARGIN));
        for group in problem.groups() {
            let held = group.positions.iter().map(|i| (*i, 1.0));
            program.row(held, float(group.limit) - MARGIN);
        }
        for (index, cap) in problem.caps().iter().enumerate() {
            program.row([(index, 1.0)].into_iter(), float(*cap));
        }
        for index in (0..n).chain(n + 1..n + 1 + m) {
            program.row([(index, -1.0)].into_iter(), 0.0);
        }
        program
    }

    fn row(&mut self, entries: impl Iterator<Item = (usize, f64)>, bound: f64) {
        let row = self.bounds.len();
        self.entries.extend(entries.map(|(column, value)| (row, column, value)));
        self.bounds.push(bound);
    }

    fn matrix(&self) -> CscMatrix<f64> {
        let rows = self.entries.iter().map(|entry| entry.0).collect();
        let columns = self.entries.iter().map(|entry| entry.1).collect();
        let values = self.entries.iter().map(|entry| entry.2).collect();
        let size = (self.bounds.len(), self.costs.len());
        CscMatrix::new_from_triplets(size.0, size.1, rows, columns, values)
    }

    /// Rounds the answer. Rows: budget, scenarios, reward, groups.
    fn certificate(
        &self,
        problem: &Problem,
        x: &[f64],
        z: &[f64],
    ) -> Result<Certificate, SolverError> {
        let most: Vec<Ratio> = problem.caps().to_vec();
        let weights = simplex_point(&x[..self.positions], &most)?;
        let tail = Ratio::ONE.minus(problem.level())?;
        let limits = problem
            .scenarios()
            .iter()
            .map(|scenario| scenario.probability.over(tail))
            .collect::<Result<Vec<_>, _>>()?;
        let prices = &z[1..=self.scenarios];
        let reward_row = 1 + self.scenarios;
        let groups = &z[reward_row + 1..=reward_row + self.groups];
        Ok(Certificate {
            weights,
            at_risk: signed(x[self.positions])?,
            scenario_prices: simplex_point(prices, &limits)?,
            budget_price: signed(-z[0])?,
            reward_price: signed(z[reward_row].max(0.0))?,
            group_prices: groups
                .iter()
                .map(|price| signed(price.max(0.0)))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Non-negative fractions near `values` that sum to one, each at most its limit. What rounding
/// leaves over goes where there is room, the last first.
fn simplex_point(values: &[f64], limits: &[Ratio]) -> Result<Vec<Ratio>, RatioError> {
    let mut point = Vec::with_capacity(values.len());
    let mut left = Ratio::ONE;
    for (value, limit) in values.iter().zip(limits) {
        let rounded = signed(value.max(0.0))?.min(*limit).min(left);
        left = left.minus(rounded)?;
        point.push(rounded);
    }
    for (value, limit) in point.iter_mut().zip(limits).rev() {
        let more = limit.minus(*value)?.min(left);
        *value = value.plus(more)?;
        left = left.minus(more)?;
    }
    Ok(point)
}

fn signed(value: f64) -> Result<Ratio, RatioError> {
    Ratio::new((value * UNIT as f64).floor() as i128, u128::from(UNIT))
}

fn float(ratio: Ratio) -> f64 {
    let number = |text: String| text.parse::<f64>().unwrap_or(f64::NAN);
    number(ratio.numerator().to_string()) / number(ratio.denominator().to_string())
}

#[cfg(test)]
mod tests {
    use assay_domain::frontier::{Group, Scenario};

    use super::*;

    fn part(text: &str) -> Ratio {
        text.parse().unwrap()
    }

    /// Positions that lose in their own and in a common scenario.
    fn problem(positions: usize) -> Problem {
        let count = u64::try_from(positions).unwrap();
        let rewards =
            (0..count).map(|i| part("1/100").plus(part(&format!("{}/1000", 3 * i))).unwrap());
        let each = part(&format!("1/{}", 20 * count));
        let own = (0..positions).map(|hit| Scenario {
            probability: each,
            losses: (0..positions)
                .map(|i| if i == hit { part("4/5") } else { Ratio::ZERO })
                .collect(),
        });
        let common = [
            Scenario { probability: part("1/100"), losses: vec![part("1/4"); positions] },
            Scenario { probability: part("94/100"), losses: vec![Ratio::ZERO; positions] },
        ];
        let groups =
            vec![Group { positions: vec![positions - 1, positions - 2], limit: part("2/5") }];
        Problem::new(
            rewards.collect(),
            vec![part("1/2"); positions],
            own.chain(common).collect(),
            groups,
            part("19/20"),
        )
        .unwrap()
    }

    #[test]
    fn the_interior_point_is_as_good_as_the_exact_optimum_and_proves_it() {
        let problem = problem(6);
        for required in ["12/1000", "15/1000", "19/1000"] {
            let (_, exact) = problem.solve(part(required)).unwrap();
            let (_, found) = solve(&problem, part(required)).unwrap();
            assert!(found.bound <= exact.risk && exact.risk <= found.risk, "{required}");
            assert!(found.gap <= part("1/100000"), "{required}: gap {}", found.gap);
            assert!(found.reward >= part(required));
        }
    }

    #[test]
    fn a_portfolio_too_large_for_the_exact_solver_is_solved_and_certified() {
        let problem = problem(120);
        assert!(matches!(problem.solve(part("1/10")), Err(FrontierError::TooLarge { .. })));
        let (certificate, found) = solve(&problem, part("1/10")).unwrap();
        assert_eq!(certificate.weights.len(), 120);
        assert!(found.gap <= part("1/10000"), "gap {}", found.gap);
    }

    #[test]
    fn what_nothing_earns_is_refused() {
        let refused = solve(&problem(6), part("1/2")).unwrap_err();
        assert!(matches!(refused, SolverError::NotSolved { .. }), "{refused}");
    }
}
