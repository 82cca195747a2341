//! `assay frontier`: the least tail risk for each reward, and what tail risk costs.

use std::path::PathBuf;

use anyhow::Context as _;
use assay::solver::{self, Point};
use assay_domain::assess::When;
use assay_domain::assess::positions::{Book, HeldPosition, PositionId, Subject, book};
use assay_domain::decimal::Ppt;
use assay_domain::frontier::Terms;
use assay_domain::frontier::input::{self, Question};
use assay_domain::frontier::pricing::{OptIn, Tail};
use assay_domain::loss::LossModel;
use assay_domain::methodology::Methodology;
use assay_domain::ratio::Ratio;
use assay_domain::rationale::percent as domain_percent;
use assay_domain::{ChainId, OperatorId};
use clap::Args;
use serde_json::{Value, json};

use super::database::DatabaseArgs;
use super::progress::during;
use super::read::{self, ReadArgs, Source};
use super::say;
use super::stress::{address, chain_of, operator_set, share_of_percent};
use super::table::table;

#[derive(Debug, Args)]
pub(super) struct FrontierArgs {
    /// Positions, blocks, groups and what is asked; see docs/FRONTIER.md.
    #[arg(required_unless_present_any = ["of", "position"], conflicts_with_all = ["of", "position"])]
    file: Option<PathBuf>,
    /// The positions of an operator or a liquid restaking token, from the log, by its slug.
    #[arg(long, value_name = "SLUG", conflicts_with = "position")]
    of: Option<String>,
    /// A position, from the log, with its share of the whole; repeat for more.
    #[arg(long, value_name = "OPERATOR@AVS:ID=PERCENT%", conflicts_with_all = ["url", "at"])]
    position: Vec<String>,
    #[command(flatten)]
    terms: TermsArgs,
    /// The chain, where the log has several.
    #[arg(long)]
    chain_id: Option<ChainId>,
    #[command(flatten)]
    read: ReadArgs,
}

/// What is asked of positions from the log.
#[derive(Debug, Args)]
struct TermsArgs {
    /// One more position to opt in to, with the weight it would have, taken from what is idle.
    #[arg(long, value_name = "OPERATOR@AVS:ID=PERCENT%",
        conflicts_with_all = ["file", "url", "at"])]
    opt_in: Option<String>,
    /// Level of the tail risk.
    #[arg(long, value_name = "PERCENT%", default_value = "95%", conflicts_with = "file")]
    level: String,
    /// Points of the frontier, 2 to 101.
    #[arg(long, default_value_t = 21, conflicts_with = "file",
        value_parser = clap::value_parser!(u16).range(2..=101))]
    points: u16,
    /// Price of a unit of tail risk over the expected loss.
    #[arg(long, value_name = "PERCENT%", default_value = "8%",
        conflicts_with_all = ["file", "url", "at"])]
    hurdle_rate: String,
    /// Share of a premium that expenses take.
    #[arg(long, value_name = "PERCENT%", default_value = "0%",
        conflicts_with_all = ["file", "url", "at"])]
    expense: String,
    /// Loss on selling 1 % of the supply; as attested of a token, or 0%, where it is not given.
    #[arg(long, value_name = "PERCENT%", conflicts_with_all = ["file", "url", "at"])]
    exit_cost: Option<String>,
    /// Loss before a lender's oracle has noticed.
    #[arg(long, value_name = "PERCENT%", default_value = "0%",
        conflicts_with_all = ["file", "url", "at"])]
    oracle_lag_loss: String,
}

impl TermsArgs {
    fn read(&self) -> anyhow::Result<Terms> {
        let share = |text: &str| -> anyhow::Result<Ratio> {
            Ok(Ratio::new(i128::from(share_of_percent(text)?.0), u128::from(Ppt::ONE.0))?)
        };
        Ok(Terms {
            level: share(&self.level)?,
            points: self.points,
            hurdle_rate: share(&self.hurdle_rate)?,
            expense: share(&self.expense)?,
            exit_cost: self.exit_cost.as_deref().map_or(Ok(Ratio::ZERO), share)?,
            oracle_lag_loss: share(&self.oracle_lag_loss)?,
            opt_in: self.opt_in.as_deref().map(position).transpose()?,
        })
    }
}

/// `OPERATOR@AVS:ID=PERCENT%`.
fn position(text: &str) -> anyhow::Result<(PositionId, Ppt)> {
    let parts = text.split_once('=').and_then(|(id, share)| Some((id.split_once('@')?, share)));
    let ((operator, set), share) =
        parts.with_context(|| format!("{text} is no position; write OPERATOR@AVS:ID=PERCENT%"))?;
    let operator = OperatorId(address(operator)?);
    Ok(((operator, operator_set(set)?), share_of_percent(share)?))
}

pub(super) async fn run(database: &DatabaseArgs, args: FrontierArgs) -> anyhow::Result<()> {
    let Some(file) = &args.file else {
        return match &args.of {
            Some(slug) if args.read.is_of_api() => {
                let level = share_of_percent(&args.terms.level)?;
                read::frontier(database, &args.read, slug, level, args.terms.points).await
            }
            _ => run_on_log(database, &args).await,
        };
    };
    let text = super::read_file(file)?;
    let question =
        input::parse(text.as_bytes()).with_context(|| format!("{} is refused", file.display()))?;
    answer(&question, None, &args)
}

/// The positions as the log has them, and what each earned.
async fn run_on_log(database: &DatabaseArgs, args: &FrontierArgs) -> anyhow::Result<()> {
    let methodology = Methodology::version_1().context("the embedded methodology is wrong")?;
    let mut terms = args.terms.read()?;
    let open = database.open().await?;
    let mut rater = open.rater().await?;
    during("folding the log", rater.catch_up()).await?;
    let state = rater.state().context("nothing was folded")?;
    let (chain_id, chain) = chain_of(state, args.chain_id)?;
    let positions: Vec<_> =
        args.position.iter().map(|text| position(text)).collect::<anyhow::Result<_>>()?;
    // Kept to the end: with it a private Postgres stops.
    let source = Source::over(open).await?;
    let entity = match &args.of {
        None => None,
        Some(slug) => {
            let slug = source.find(slug, &Value::Null).await?.slug;
            let found = chain.entities(chain_id).into_iter().find(|one| one.to_string() == slug);
            Some(found.with_context(|| format!("{slug} is not on chain {chain_id}"))?)
        }
    };
    let subject = entity.as_ref().map_or(Subject::Positions(&positions), Subject::Entity);
    let opt_in = terms.opt_in.map(|(id, _)| id);
    let book = book(chain, subject, opt_in, When::newest(chain), &methodology)?;
    if let (None, Some(cost)) = (&args.terms.exit_cost, book.sale_cost) {
        terms.exit_cost = Ratio::new(i128::from(cost.0), u128::from(Ppt::ONE.0))?;
    }
    let question = book.question(&terms)?;
    let from_log = FromLog { book: &book };
    if !args.read.is_json() {
        from_log.tell();
    }
    answer(&question, Some(&from_log), args)
}

/// Where a question comes from, if from the log.
struct FromLog<'a> {
    book: &'a Book,
}

impl FromLog<'_> {
    fn tell(&self) {
        if let Some(window) = self.book.window {
            say(&format!("rewards of the last {} days, a year", window.days));
        }
        let mut lines = table(&["position", "held", "at most", "earns", "of it unpriced"]);
        for position in &self.book.positions {
            let (operator, set) = position.id;
            let unpriced = position.reward.unpriced.iter().map(ToString::to_string);
            lines.add_row([
                format!("{operator}@{set}"),
                format!("{} %", domain_percent(position.weight.0)),
                format!("{} %", domain_percent(position.limit.0)),
                format!("{} %", domain_percent(position.reward.yearly.0)),
                unpriced.collect::<Vec<_>>().join(", "),
            ]);
        }
        say(&lines.to_string());
    }

    fn as_json(&self) -> Value {
        let position = |held: &HeldPosition| {
            let (operator, set) = held.id;
            json!({
                "operator": operator.to_string(),
                "operatorSet": set.to_string(),
                "weightPpt": held.weight.0,
                "limitPpt": held.limit.0,
                "yearlyRewardPpt": held.reward.yearly.0,
                "rewardWei": held.reward.wei.to_string(),
                "stakeDaysWei": held.reward.stake_days.to_string(),
                "isOfSet": held.reward.is_of_set,
                "unpricedTokens": held.reward.unpriced,
                "realisedPpt": held.reward.realised.iter()
                    .map(|(token, share)| (token.to_string(), json!(share.0)))
                    .collect::<serde_json::Map<_, _>>(),
            })
        };
        let window = self.book.window;
        json!({
            "window": window.map(|it| json!({ "days": it.days, "from": it.from, "to": it.to })),
            "positions": self.book.positions.iter().map(position).collect::<Vec<_>>(),
        })
    }
}

fn answer(
    question: &Question,
    from_log: Option<&FromLog<'_>>,
    args: &FrontierArgs,
) -> anyhow::Result<()> {
    let points = solver::sweep(question)?;
    let rated = from_log.and_then(|from| from.book.rated.as_ref());
    let priced = question.held.as_ref().map(|held| price(question, held, rated)).transpose()?;
    if args.read.is_json() {
        let found: Vec<Value> = points.iter().map(|point| as_json(question, point)).collect();
        let log = from_log.map(FromLog::as_json);
        say(&json!({ "positions": question.positions, "frontier": found, "portfolio": priced,
            "log": log })
        .to_string());
        return Ok(());
    }
    tell(question, &points);
    if let Some(priced) = priced {
        tell_priced(&priced);
    }
    Ok(())
}

/// What the portfolio held costs, and one more position. A token costs what its rated distribution
/// says.
fn price(question: &Question, held: &[Ratio], rated: Option<&LossModel>) -> anyhow::Result<Value> {
    let before = Tail::of(&question.portfolio(held)?)?;
    let tail = rated.map_or(Ok(before), Tail::of)?;
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
            let found = OptIn::new(&before, &after, reward.times(weight)?, question.hurdle_rate)?;
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
        "cvar": point.risk.to_string(),
        "bound": point.verified.bound.to_string(),
        "gap": point.gap.to_string(),
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
            percent(point.risk),
            percent(point.gap),
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
