//! `assay methodology`: which methodology this is, and what another would have said.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use assay::backtest::{Report, Walk, grade_name, walk};
use assay_domain::grade::ExpectedLossPpt;
use assay_domain::methodology::Methodology;
use assay_domain::rationale::percent;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::database::DatabaseArgs;
use super::progress::during;
use super::say;
use super::table::table;

#[derive(Debug, Args)]
pub(super) struct MethodologyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print version and hash of the methodology in this binary.
    Show,
    /// Rate the whole log with this binary's methodology and with a file, side by side.
    Compare(CompareArgs),
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// The other methodology, in the form of `src/domain/methodology/assay-1.json`.
    file: PathBuf,
    /// Print one JSON object with every figure.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(database: &DatabaseArgs, args: MethodologyArgs) -> anyhow::Result<()> {
    let ours = Methodology::version_1().context("the embedded methodology is wrong")?;
    match args.command {
        Command::Show => {
            say(&format!("version {}, sha256 {}", ours.version, ours.hash()));
            Ok(())
        }
        Command::Compare(args) => compare(database, ours, args).await,
    }
}

/// One methodology over the log.
struct Side {
    version: String,
    hash: String,
    walked: Walk,
    report: Report,
}

async fn compare(
    database: &DatabaseArgs,
    ours: Methodology,
    args: CompareArgs,
) -> anyhow::Result<()> {
    let text = super::read_file(&args.file)?;
    let other =
        Methodology::parse(&text).with_context(|| format!("{} is refused", args.file.display()))?;
    let open = database.open().await?;
    let store = open.store().await?;
    let mut sides = Vec::new();
    for methodology in [ours, other] {
        let (version, hash) = (methodology.version.clone(), methodology.hash().to_string());
        let walked = during("rating the log", walk(&store, Arc::new(methodology))).await?;
        let report = walked.report();
        sides.push(Side { version, hash, walked, report });
    }
    let [ours, other] = sides.as_slice() else { return Ok(()) };
    let is_better = promotes(&ours.report, &other.report);
    if args.json {
        say(&as_json(ours, other, is_better).to_string());
    } else {
        tell(ours, other, is_better);
    }
    Ok(())
}

/// The promotion rule of §2.13: lower log loss and Brier on walk-forward, and no calibration
/// rejection. `None`: there is nothing to measure.
fn promotes(ours: &Report, other: &Report) -> Option<bool> {
    let (a, b) = (ours.scores.as_ref()?, other.scores.as_ref()?);
    let brier = |text: &str| super::backtest::decimal(text);
    let found = other.calibration.as_ref()?;
    let [low, high] = found.interval_99;
    let is_rejected = !(low..=high).contains(&1.0);
    Some(b.log_loss < a.log_loss && brier(&b.brier) < brier(&a.brier) && !is_rejected)
}

fn differing(ours: &Side, other: &Side) -> Vec<(String, [(String, u64); 2])> {
    let said = |side: &Side| -> BTreeMap<String, (String, u64)> {
        let current = side.walked.current().iter();
        current
            .map(|(entity, said)| {
                (entity.to_string(), (grade_name(said.grade), said.expected_loss_ppt))
            })
            .collect()
    };
    let (ours, other) = (said(ours), said(other));
    let missing = || ("NR".to_owned(), 0);
    ours.keys()
        .map(|slug| {
            let found = |side: &BTreeMap<String, (String, u64)>| {
                side.get(slug).cloned().unwrap_or_else(missing)
            };
            (slug.clone(), [found(&ours), found(&other)])
        })
        .filter(|(_, [a, b])| a != b)
        .collect()
}

fn as_json(ours: &Side, other: &Side, is_better: Option<bool>) -> Value {
    let side =
        |side: &Side| json!({ "version": side.version, "hash": side.hash, "report": side.report });
    let entities: Vec<Value> = differing(ours, other)
        .into_iter()
        .map(|(slug, [(a, a_loss), (b, b_loss)])| {
            json!({ "entity": slug,
                "ours": { "grade": a, "expectedLossPpt": a_loss },
                "other": { "grade": b, "expectedLossPpt": b_loss } })
        })
        .collect();
    json!({ "ours": side(ours), "other": side(other), "differing": entities,
        "rated": ours.walked.current().len(), "isPromoted": is_better })
}

fn tell(ours: &Side, other: &Side, is_better: Option<bool>) {
    for (name, side) in [("ours", ours), ("other", other)] {
        say(&format!("{name}: version {}, sha256 {}", side.version, side.hash));
    }
    let found = differing(ours, other);
    let total = ours.walked.current().len();
    say(&format!(
        "\n{} of {total} entities are rated otherwise at the end of the log:",
        found.len()
    ));
    let mut lines = table(&["entity", "ours", "other", "EL ours", "EL other"]);
    for (slug, [(a, a_loss), (b, b_loss)]) in &found {
        let loss = |loss: &u64| format!("{} %", percent(ExpectedLossPpt(*loss).0));
        lines.add_row([slug.clone(), a.clone(), b.clone(), loss(a_loss), loss(b_loss)]);
    }
    if !found.is_empty() {
        say(&lines.to_string());
    }
    for (name, side) in [("ours", ours), ("other", other)] {
        if let Some(scores) = &side.report.scores {
            let brier = super::backtest::decimal(&scores.brier);
            say(&format!("{name}: log loss {:.4}, Brier {brier:.4}", scores.log_loss));
        }
    }
    say(match is_better {
        Some(true) => "By the rule of §2.13 the other would be promoted.",
        Some(false) => "By the rule of §2.13 the other would not be promoted.",
        None => "No forecast of this log has its year behind it: nothing decides between them.",
    });
    for statement in &other.report.statements {
        say(&format!("- {statement}"));
    }
}
