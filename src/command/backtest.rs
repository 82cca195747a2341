//! `assay backtest`: what was said before each slash, and how the forecasts did.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use assay::backtest::{DAYS_BEFORE, Report, Said, Walk, date, grade_name, svg, walk};
use assay_domain::methodology::Methodology;
use assay_domain::rationale::percent;
use clap::Args;
use serde_json::json;

use super::database::DatabaseArgs;
use super::progress::during;
use super::say;
use super::table::table;

/// 1e-18 in a part per trillion.
const WAD_PER_PPT: u64 = 1_000_000;

#[derive(Debug, Args)]
pub(super) struct BacktestArgs {
    /// Print one JSON object with every figure.
    #[arg(long)]
    json: bool,
    /// Draw the population at each month's end into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

pub(super) async fn run(database: &DatabaseArgs, args: BacktestArgs) -> anyhow::Result<()> {
    let methodology = Methodology::version_1().context("the embedded methodology is wrong")?;
    let hash = methodology.hash();
    let open = database.open().await?;
    let store = open.store().await?;
    let walked = during("walking the log", walk(&store, Arc::new(methodology))).await?;
    let report = walked.report();
    if let Some(path) = &args.svg {
        std::fs::write(path, svg::population(&walked.months))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.json {
        say(&serde_json::to_string(&json!({
            "methodologyHash": hash,
            "report": report,
            "slashes": walked.slashes,
            "months": walked.months,
        }))?);
        return Ok(());
    }
    say(&format!("methodology {hash}\n"));
    say_slashes(&walked);
    say_months(&walked);
    say_report(&report);
    Ok(())
}

fn say_slashes(walked: &Walk) {
    say("What was said of the set before each slash (grade, expected loss a year; ! warned):\n");
    let mut header = vec!["date", "block", "operator set", "operator", "took"];
    let days: Vec<String> = DAYS_BEFORE.iter().map(|days| format!("{days} d before")).collect();
    header.extend(days.iter().map(String::as_str));
    let mut lines = table(&header);
    for slash in &walked.slashes {
        let avs = slash.operator_set.avs.to_string();
        let mut row = vec![
            date(slash.time),
            slash.block.to_string(),
            format!("{}…:{}", &avs[..10], slash.operator_set.id),
            format!("{}…", &slash.operator.to_string()[..10]),
            format!("{} %", percent(slash.wad_slashed / WAD_PER_PPT)),
        ];
        row.extend(DAYS_BEFORE.iter().map(|days| told(slash.said.get(days).copied().flatten())));
        lines.add_row(row);
    }
    say(&lines.to_string());
}

fn told(said: Option<Said>) -> String {
    said.map_or("not there yet".to_owned(), |said| match said.grade {
        None => "NR".to_owned(),
        Some(_) => format!(
            "{}{} {} %",
            grade_name(said.grade),
            if said.is_warned { "!" } else { "" },
            percent(said.expected_loss_ppt)
        ),
    })
}

fn say_months(walked: &Walk) {
    say("\nOperator sets by grade at each month's end:\n");
    let mut lines = table(&["month", "sets", "by grade", "AVSs", "operators", "slashes"]);
    for month in &walked.months {
        let counts = month.sets.iter().map(|(grade, count)| format!("{grade} {count}"));
        let total = |counts: &std::collections::BTreeMap<String, u32>| {
            counts.values().sum::<u32>().to_string()
        };
        lines.add_row([
            month.month.clone(),
            total(&month.sets),
            counts.collect::<Vec<_>>().join(", "),
            total(&month.avss),
            total(&month.operators),
            month.slashes.to_string(),
        ]);
    }
    say(&lines.to_string());
}

fn say_report(report: &Report) {
    let mut lines = table(&["measure", "value"]);
    let mut add = |name: &str, value: String| {
        lines.add_row([name.to_owned(), value]);
    };
    add(
        "forecasts, events, AVSs",
        format!("{}, {}, {}", report.forecasts, report.events, report.clusters),
    );
    if let Some(scores) = &report.scores {
        let optional = |value: &Option<String>| value.as_deref().map_or("none".to_owned(), shown);
        add(
            "Brier = REL - RES + UNC",
            format!(
                "{} = {} - {} + {}",
                shown(&scores.brier),
                shown(&scores.reliability),
                shown(&scores.resolution),
                shown(&scores.uncertainty)
            ),
        );
        add("Brier skill", optional(&scores.skill));
        add("log loss", format!("{:.4}", scores.log_loss));
        add("AUC", optional(&scores.auc));
        let interval = scores.accuracy_ratio_95.map_or("no interval".to_owned(), |[low, high]| {
            format!("95 % {low:.2} to {high:.2}, AVSs drawn")
        });
        add("accuracy ratio", format!("{} ({interval})", optional(&scores.accuracy_ratio)));
        add("Hosmer-Lemeshow", format!("{:.3}", scores.hosmer_lemeshow));
    }
    if let Some(found) = &report.calibration {
        let [low, high] = found.interval_95;
        add(
            "observed / expected",
            format!(
                "{} / {:.2} = {:.3} (95 % {low:.3} to {high:.3})",
                report.events, found.expected_events, found.observed_over_expected
            ),
        );
        add("Poisson deviance", format!("{:.3}", found.deviance));
    }
    for (grade, found) in &report.by_grade {
        let [low, high] = found.frequency_95;
        add(
            &format!("{grade}: events / forecasts"),
            format!("{} / {} (95 % {low:.3} to {high:.3})", found.events, found.forecasts),
        );
    }
    let moves = &report.stability;
    add("moves, of three notches and more", format!("{}, {}", moves.moves, moves.large_moves));
    add("notches a rated year", format!("{:.2}", moves.notches_per_rated_year));
    say("\nHow the forecasts did:\n");
    say(&lines.to_string());
    say("\nWhat this can and cannot show:");
    for statement in &report.statements {
        say(&format!("- {statement}"));
    }
}

fn shown(ratio: &str) -> String {
    format!("{:.4}", decimal(ratio))
}

/// A fraction as a decimal for people; `--json` has it exact.
pub(super) fn decimal(ratio: &str) -> f64 {
    let number = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
    let (numerator, denominator) = ratio.split_once('/').unwrap_or((ratio, "1"));
    number(numerator) / number(denominator)
}
