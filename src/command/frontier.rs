//! `assay frontier`: the least tail risk for each reward, and what tail risk costs.

use std::path::PathBuf;

use anyhow::Context as _;
use assay::solver;
use assay_domain::frontier::input::{self, Question};
use assay_domain::frontier::pricing::{OptIn, Tail};
use assay_domain::frontier::{Certificate, FrontierError, Verified};
use assay_domain::ratio::Ratio;
use clap::Args;
use serde_json::{Value, json};

use super::say;
use super::table::table;

#[derive(Debug, Args)]
pub(super) struct FrontierArgs {
    /// Positions, blocks, groups and what is asked; see docs/FRONTIER.md.
    file: PathBuf,
    /// Print one JSON object with every figure, fractions exact.
    #[arg(long)]
    json: bool,
}

/// One point of the frontier.
struct Point {
    required: Ratio,
    certificate: Certificate,
    verified: Verified,
}

pub(super) fn run(args: FrontierArgs) -> anyhow::Result<()> {
    let text = super::read_file(&args.file)?;
    let question = input::parse(text.as_bytes())
        .with_context(|| format!("{} is refused", args.file.display()))?;
    let points = sweep(&question)?;
    let priced = question.held.as_ref().map(|held| price(&question, held)).transpose()?;
    if args.json {
        let found: Vec<Value> = points.iter().map(|point| as_json(&question, point)).collect();
        say(&json!({ "positions": question.positions, "frontier": found, "portfolio": priced })
            .to_string());
        return Ok(());
    }
    tell(&question, &points);
    if let Some(priced) = priced {
        tell_priced(&priced);
    }
    Ok(())
}

/// The exact solver where it can, else the interior-point method with its certificate checked.
fn sweep(question: &Question) -> anyhow::Result<Vec<Point>> {
    let problem = &question.problem;
    match problem.sweep(question.points) {
        Ok(points) => Ok(points
            .into_iter()
            .map(|(required, certificate, verified)| Point { required, certificate, verified })
            .collect()),
        Err(FrontierError::TooLarge { .. }) => {
            let highest = problem.highest_reward()?;
            // The very top leaves the solver no room; a millionth below is as good.
            let top = highest.times(Ratio::new(999_999, 1_000_000)?)?;
            let steps = u128::from(question.points.max(2)) - 1;
            (0..=steps)
                .map(|step| {
                    let required = top.times(Ratio::new(i128::try_from(step)?, steps)?)?;
                    let (certificate, verified) = solver::solve(problem, required)?;
                    Ok(Point { required, certificate, verified })
                })
                .collect()
        }
        Err(error) => Err(error.into()),
    }
}

/// What the portfolio held costs, and one more position.
fn price(question: &Question, held: &[Ratio]) -> anyhow::Result<Value> {
    let tail = Tail::of(&question.portfolio(held)?)?;
    let opt_in = match question.opt_in {
        None => None,
        Some((position, weight)) => {
            let mut after = held.to_vec();
            let idle = after.last_mut().context("there is always idle")?;
            *idle = idle.minus(weight)?;
            anyhow::ensure!(!idle.is_negative(), "only what is idle can be opted in");
            let held = after.get_mut(position).context("the position is there")?;
            *held = held.plus(weight)?;
            let reward = question.rewards.get(position).context("it has a reward")?;
            let after = Tail::of(&question.portfolio(&after)?)?;
            let found = OptIn::new(&tail, &after, reward.times(weight)?, question.hurdle_rate)?;
            Some(json!({
                "position": question.positions[position],
                "weight": shown(weight),
                "hurdle": shown(found.hurdle),
                "reward": shown(found.reward),
                "isWorthIt": found.is_worth_it(),
            }))
        }
    };
    Ok(json!({
        "expectedLoss": shown(tail.expected_loss),
        "shortfall99": shown(tail.shortfall_99),
        "shortfall999": shown(tail.shortfall_999),
        "premium": shown(tail.premium(question.hurdle_rate, question.expense)?),
        "loanToValue": shown(tail.loan_to_value(question.exit_cost, question.oracle_lag_loss)?),
        "optIn": opt_in,
    }))
}

fn as_json(question: &Question, point: &Point) -> Value {
    let weights: Value = question
        .positions
        .iter()
        .zip(&point.certificate.weights)
        .map(|(name, weight)| (name.clone(), json!(weight.to_string())))
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!({
        "required": point.required.to_string(),
        "reward": point.verified.reward.to_string(),
        "cvar": point.verified.risk.to_string(),
        "bound": point.verified.bound.to_string(),
        "gap": point.verified.gap.to_string(),
        "weights": weights,
        "marginalRiskPerYield": point.certificate.reward_price.to_string(),
        "scenarioPrices": texts(&point.certificate.scenario_prices),
        "groupPrices": texts(&point.certificate.group_prices),
        "budgetPrice": point.certificate.budget_price.to_string(),
        "valueAtRisk": point.certificate.at_risk.to_string(),
    })
}

fn texts(ratios: &[Ratio]) -> Vec<String> {
    ratios.iter().map(Ratio::to_string).collect()
}

fn tell(question: &Question, points: &[Point]) {
    let mut lines = table(&["reward", "CVaR", "gap at most", "risk per yield", "weights"]);
    for point in points {
        let held = question.positions.iter().zip(&point.certificate.weights);
        let weights: Vec<String> = held
            .filter(|(_, weight)| **weight > Ratio::ZERO)
            .map(|(name, weight)| format!("{name} {}", percent(*weight)))
            .collect();
        lines.add_row([
            percent(point.verified.reward),
            percent(point.verified.risk),
            percent(point.verified.gap),
            shown(point.certificate.reward_price),
            weights.join(", "),
        ]);
    }
    say(&lines.to_string());
}

fn tell_priced(priced: &Value) {
    let mut lines = table(&["of the portfolio held", "share a year"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for (name, key) in [
        ("expected loss", "expectedLoss"),
        ("expected shortfall 99 %", "shortfall99"),
        ("expected shortfall 99.9 %", "shortfall999"),
        ("underwriting premium", "premium"),
        ("a lender's ceiling", "loanToValue"),
    ] {
        lines.add_row([name.to_owned(), text(&priced[key])]);
    }
    say(&lines.to_string());
    let opt_in = &priced["optIn"];
    if !opt_in.is_null() {
        let verdict = if opt_in["isWorthIt"] == json!(true) { "worth it" } else { "not worth it" };
        say(&format!(
            "{} at {}: earns {}, must earn more than {}: {verdict}",
            text(&opt_in["position"]),
            text(&opt_in["weight"]),
            text(&opt_in["reward"]),
            text(&opt_in["hurdle"]),
        ));
    }
}

fn number(ratio: Ratio) -> f64 {
    let part = |text: String| text.parse::<f64>().unwrap_or(f64::NAN);
    part(ratio.numerator().to_string()) / part(ratio.denominator().to_string())
}

fn shown(ratio: Ratio) -> String {
    format!("{:.6}", number(ratio))
}

fn percent(ratio: Ratio) -> String {
    format!("{:.4} %", 100.0 * number(ratio))
}
