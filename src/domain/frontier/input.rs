//! The file `assay frontier` reads: positions, what can happen to them, and what is asked.
//!
//! Numbers are JSON numbers or text; both are read as the exact fractions they write. "idle" is a
//! position that is always there: it earns nothing and loses nothing short of everything.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{
    FrontierError, Group, PositionBlock, PositionOutcome, Problem, SWEEP_POINTS_MAX, ScenarioError,
    pricing, scenarios,
};
use crate::loss::{
    Block, BlockId, BlockProblem, Factor, Hazard, LossModel, ModelError, Probability,
    ProbabilityError, Severity,
};
use crate::ratio::{self, Ratio, RatioError};

/// Largest file read, bytes.
pub const BYTES_MAX: usize = 4 << 20;
/// Positions in one file, idle not counted.
pub const POSITIONS_MAX: usize = 200;
/// The position that is always there.
pub const IDLE: &str = "idle";

/// Why a file is no question.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The file is larger than [`BYTES_MAX`].
    #[error("the file has {found} bytes, expected at most {BYTES_MAX}")]
    TooLarge {
        /// Its size.
        found: usize,
    },
    /// The file is no JSON, or a key is unknown or missing. The message names line and column.
    #[error("the file is refused: {0}")]
    Json(#[from] serde_json::Error),
    /// A name is given twice, is not known, or there are too many.
    #[error("{0}")]
    Names(String),
    /// A block is refused.
    #[error("block {block}: {problem}")]
    Block {
        /// Its id.
        block: String,
        /// What is wrong.
        problem: String,
    },
    /// A figure does not fit.
    #[error(transparent)]
    Ratio(#[from] RatioError),
    /// The scenarios cannot be made.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The problem is refused.
    #[error(transparent)]
    Frontier(#[from] FrontierError),
    /// The blocks are no portfolio.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// An exact number, from a JSON number or a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exact(Ratio);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text,
            other => {
                return Err(serde::de::Error::custom(format!("expected a number, found {other}")));
            }
        };
        let parsed = text.parse().map_err(|_| {
            serde::de::Error::custom(format!("expected a decimal or a fraction, found {text}"))
        });
        parsed.map(Self)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    #[serde(default = "nineteen_in_twenty")]
    level: Exact,
    #[serde(default = "twenty_one")]
    points: u16,
    positions: Vec<RawPosition>,
    #[serde(default)]
    groups: Vec<RawGroup>,
    #[serde(default)]
    blocks: Vec<RawBlock>,
    #[serde(default)]
    has_common_factor: bool,
    /// h of methodology §2.11.
    #[serde(default = "eight_percent")]
    hurdle_rate: Exact,
    #[serde(default = "nothing")]
    expense: Exact,
    #[serde(default = "nothing")]
    exit_cost: Exact,
    #[serde(default = "nothing")]
    oracle_lag_loss: Exact,
    /// One more position to opt in to, with the weight it would have, taken from idle.
    opt_in: Option<RawOptIn>,
}

const fn nothing() -> Exact {
    Exact(Ratio::ZERO)
}

fn nineteen_in_twenty() -> Exact {
    Exact(Ratio::new(19, 20).unwrap_or(Ratio::ZERO))
}

fn eight_percent() -> Exact {
    Exact(Ratio::new(8, 100).unwrap_or(Ratio::ZERO))
}

const fn twenty_one() -> u16 {
    21
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPosition {
    id: String,
    reward: Exact,
    cap: Exact,
    weight: Option<Exact>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    positions: Vec<String>,
    limit: Exact,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBlock {
    id: String,
    lam: Option<Exact>,
    p: Option<Exact>,
    beta: Option<Exact>,
    outcomes: Vec<RawOutcome>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutcome {
    probability: Exact,
    losses_bp: BTreeMap<String, u16>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOptIn {
    position: String,
    weight: Exact,
}

/// What is asked.
#[derive(Debug)]
pub struct Question {
    /// Names of the positions, idle last.
    pub positions: Vec<String>,
    /// The choice.
    pub problem: Problem,
    /// Points of the sweep.
    pub points: u16,
    /// Weights held now, idle included; `None` where the file gives none.
    pub held: Option<Vec<Ratio>>,
    /// One more position, and the weight it would have.
    pub opt_in: Option<(usize, Ratio)>,
    /// Yearly rewards.
    pub rewards: Vec<Ratio>,
    /// Price of tail risk over expected loss.
    pub hurdle_rate: Ratio,
    /// Share of the premium that expenses take.
    pub expense: Ratio,
    /// Loss on selling 1 % of supply.
    pub exit_cost: Ratio,
    /// Loss before an oracle has noticed.
    pub oracle_lag_loss: Ratio,
    pub(super) blocks: Vec<PositionBlock>,
    pub(super) factor: Factor,
}

/// Reads a question from JSON.
///
/// # Errors
/// When the text is none; the message says where and what to change.
pub fn parse(json: &[u8]) -> Result<Question, InputError> {
    if json.len() > BYTES_MAX {
        return Err(InputError::TooLarge { found: json.len() });
    }
    let file: File = serde_json::from_slice(json)?;
    if file.positions.is_empty() || file.positions.len() > POSITIONS_MAX {
        let message = format!("expected 1 to {POSITIONS_MAX} positions");
        return Err(InputError::Names(message));
    }
    if !(2..=SWEEP_POINTS_MAX).contains(&file.points) {
        return Err(InputError::Names(format!("points: expected 2 to {SWEEP_POINTS_MAX}")));
    }
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, position) in file.positions.iter().enumerate() {
        if position.id == IDLE || names.insert(&position.id, index).is_some() {
            return Err(InputError::Names(format!("position {} is there twice", position.id)));
        }
    }
    names.insert(IDLE, file.positions.len());
    let find = |name: &str| {
        let unknown = || InputError::Names(format!("there is no position {name}"));
        names.get(name).copied().ok_or_else(unknown)
    };
    let count = names.len();
    let factor = if file.has_common_factor { Factor::GammaUnitVariance } else { Factor::Off };
    let mut blocks = Vec::new();
    for raw in &file.blocks {
        blocks.push(block(raw, count, &find)?);
    }
    let rewards: Vec<Ratio> =
        file.positions.iter().map(|p| p.reward.0).chain([Ratio::ZERO]).collect();
    let caps = file.positions.iter().map(|p| p.cap.0).chain([Ratio::ONE]).collect();
    let mut groups = Vec::new();
    for group in &file.groups {
        let positions =
            group.positions.iter().map(|name| find(name)).collect::<Result<_, InputError>>()?;
        groups.push(Group { positions, limit: group.limit.0 });
    }
    let made = scenarios(&blocks, factor, count)?;
    let problem = Problem::new(rewards.clone(), caps, made, groups, file.level.0)?;
    let opt_in = match &file.opt_in {
        Some(raw) => Some((find(&raw.position)?, raw.weight.0)),
        None => None,
    };
    Ok(Question {
        held: held(&file.positions)?,
        positions: file.positions.iter().map(|p| p.id.clone()).chain([IDLE.to_owned()]).collect(),
        problem,
        points: file.points,
        opt_in,
        rewards,
        hurdle_rate: file.hurdle_rate.0,
        expense: file.expense.0,
        exit_cost: file.exit_cost.0,
        oracle_lag_loss: file.oracle_lag_loss.0,
        blocks,
        factor,
    })
}

/// The weights given, with what is left of one idle.
fn held(positions: &[RawPosition]) -> Result<Option<Vec<Ratio>>, InputError> {
    if positions.iter().all(|position| position.weight.is_none()) {
        return Ok(None);
    }
    let given = |position: &RawPosition| position.weight.map_or(Ratio::ZERO, |weight| weight.0);
    let mut weights: Vec<Ratio> = positions.iter().map(given).collect();
    let idle = Ratio::ONE.minus(ratio::sum(weights.iter().copied())?)?;
    if idle.is_negative() || weights.iter().any(|weight| weight.is_negative()) {
        return Err(InputError::Names("weights are 0 or more and sum to at most 1".to_owned()));
    }
    weights.push(idle);
    Ok(Some(weights))
}

fn block(
    raw: &RawBlock,
    count: usize,
    find: &impl Fn(&str) -> Result<usize, InputError>,
) -> Result<PositionBlock, InputError> {
    let refuse = |problem: String| InputError::Block { block: raw.id.clone(), problem };
    let fault = |problem: BlockProblem| refuse(problem.to_string());
    let probability = |what: &str, value: Ratio| {
        let parsed = Probability::parse(&decimal(value));
        parsed.map_err(|error| refuse(format!("{what}: {}", of_probability(&error))))
    };
    let hazard = match (raw.lam, raw.p) {
        (Some(rate), None) => Hazard::Rate { per_year: float(rate.0) },
        (None, Some(p)) => Hazard::Fixed(probability("p", p.0)?),
        _ => return Err(refuse("expected one of lam (events a year) and p".to_owned())),
    };
    let mut outcomes = Vec::new();
    for outcome in &raw.outcomes {
        let mut losses_bp = vec![0; count];
        for (name, loss) in &outcome.losses_bp {
            if let Some(cell) = losses_bp.get_mut(find(name)?) {
                *cell = *loss;
            }
        }
        let probability = probability("probability", outcome.probability.0)?;
        outcomes.push(PositionOutcome { probability, losses_bp });
    }
    if ratio::sum(raw.outcomes.iter().map(|outcome| outcome.probability.0))? != Ratio::ONE {
        return Err(refuse("the outcomes' probabilities must sum to 1".to_owned()));
    }
    let id = BlockId::new(raw.id.clone()).map_err(fault)?;
    let beta = raw.beta.map_or(0.0, |beta| float(beta.0));
    // The checks of a block are those of the loss model.
    let some = Severity::certain(1).map_err(fault)?;
    Block::new(id.clone(), hazard, beta, some).map_err(fault)?;
    Ok(PositionBlock { id, hazard, beta, outcomes })
}

const fn of_probability(error: &ProbabilityError) -> &'static str {
    match error {
        ProbabilityError::NotDecimal => "expected a decimal",
        ProbabilityError::OutOfRange => "expected a number from 0 to 1",
    }
}

/// At most twelve decimals, rounded: finer would be noise in a hazard.
fn decimal(value: Ratio) -> String {
    match value.to_ppt() {
        Some(ppt) => {
            let one = 1_000_000_000_000_u64;
            format!("{}.{:012}", ppt / one, ppt % one)
        }
        None => "-1".to_owned(),
    }
}

#[expect(clippy::float_arithmetic, clippy::as_conversions, reason = "a hazard is a float")]
fn float(value: Ratio) -> f64 {
    value.to_ppt().map_or(f64::NAN, |ppt| ppt as f64 / 1e12)
}

impl Question {
    /// The exact loss of a portfolio with these weights. A loss between two cells is rounded up.
    ///
    /// # Errors
    /// When the blocks are too many.
    pub fn portfolio(&self, weights: &[Ratio]) -> Result<LossModel, InputError> {
        let mut blocks = Vec::new();
        for block in &self.blocks {
            if let Some(found) = portfolio_block(block, weights)? {
                blocks.push(found);
            }
        }
        Ok(LossModel::new(blocks, self.factor)?)
    }

    /// The tail risk of [`Question::portfolio`] at the question's level.
    ///
    /// # Errors
    /// As [`Question::portfolio`].
    pub fn tail_risk(&self, weights: &[Ratio]) -> Result<Ratio, InputError> {
        Ok(pricing::tail_risk(&self.portfolio(weights)?, self.problem.level())?)
    }
}

/// `None` where the block cannot touch the portfolio.
fn portfolio_block(block: &PositionBlock, weights: &[Ratio]) -> Result<Option<Block>, InputError> {
    let mut losses: BTreeMap<u16, Probability> = BTreeMap::new();
    let mut quiet = Probability::from_q127(0);
    for outcome in &block.outcomes {
        let mut loss = Ratio::ZERO;
        for (weight, bp) in weights.iter().zip(&outcome.losses_bp) {
            loss = loss.plus(weight.times(Ratio::whole(u64::from(*bp)))?)?;
        }
        let whole = loss.numerator().unsigned_abs().div_ceil(loss.denominator());
        let cell = u16::try_from(whole).unwrap_or(crate::loss::CELLS).min(crate::loss::CELLS);
        if cell == 0 {
            quiet = quiet.plus(outcome.probability);
        } else {
            let held = losses.entry(cell).or_insert_with(|| Probability::from_q127(0));
            *held = held.plus(outcome.probability);
        }
    }
    if losses.is_empty() {
        return Ok(None);
    }
    // What takes nothing takes the least that the grid holds: against the holder.
    if quiet.to_q127() > 0 {
        let least = losses.entry(1).or_insert_with(|| Probability::from_q127(0));
        *least = least.plus(quiet);
    }
    let refuse = |problem: BlockProblem| InputError::Block {
        block: block.id.as_str().to_owned(),
        problem: problem.to_string(),
    };
    let severity = Severity::new(losses).map_err(refuse)?;
    Block::new(block.id.clone(), block.hazard, block.beta, severity).map(Some).map_err(refuse)
}
