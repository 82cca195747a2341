//! `assay whatif`, and `assay stress` asked of a server: what a scenario does to whom, and why.

use assay_domain::ChainId;
use clap::Args;
use serde_json::{Value, json};

use super::sheet::{Format, Sheet, name};
use super::text::{cause, concerns, percent, percent_change, text};
use super::{ReadArgs, Reading, Shown, Source};
use crate::command::database::DatabaseArgs;
use crate::command::failure::Failure;
use crate::command::stress::ShockArgs;

pub(crate) const WHAT_IF: &str = include_str!("what_if.graphql");
pub(crate) const STRESS: &str = include_str!("stress.graphql");

/// Lines of a table; `--json` has all that the API gives.
const LINES_MAX: usize = 40;

#[derive(Debug, Args)]
#[command(
    before_help = "Example: assay whatif --slash 0x79de04b2…=50% --exits-stop 14\n         assay whatif lrt-1-0xbf5495ef… --client-bug 20%"
)]
pub(crate) struct WhatIfArgs {
    /// Only this entity, and why it moves: its slug, or a part of it that no other has.
    slug: Option<String>,
    #[command(flatten)]
    shocks: ShockArgs,
    #[command(flatten)]
    read: ReadArgs,
}

pub(crate) async fn run(database: &DatabaseArgs, args: WhatIfArgs) -> anyhow::Result<()> {
    let shocks = args.shocks.input()?;
    if shocks.is_null() {
        anyhow::bail!("say what happens: --slash, --compromise, --client-bug or --exits-stop");
    }
    let reading = args.read.open_with_scenarios(database).await?;
    let found = match &args.slug {
        Some(slug) => Some(reading.source.find(slug, &reading.as_of).await?),
        None => None,
    };
    let variables = json!({ "shocks": shocks, "chainId": args.shocks.chain_id });
    let answer = reading.ask(WHAT_IF, variables).await?;
    let Some(found) = found else {
        reading.show(&answer, |data| Shown::Text(tell(&data["played"])));
        return Ok(());
    };
    let effects = &answer.data["played"]["scenarios"][0]["effects"];
    let mut nodes = effects["nodes"].as_array().into_iter().flatten();
    let Some(effect) = nodes.find(|one| one["slug"] == json!(found.slug)) else {
        let count = effects["totalCount"].as_u64().unwrap_or_default();
        let message = format!("{} is not among the {count} that this moves", found.slug);
        return Err(Failure::NotFound(message).into());
    };
    reading.show(&answer, |_| Shown::Text(explain(effect)));
    Ok(())
}

/// `assay stress`, of a server.
pub(crate) async fn stress(
    source: Source,
    chain_id: Option<ChainId>,
    scenarios: &[String],
    shocks: Value,
    is_json: bool,
) -> anyhow::Result<()> {
    let reading = Reading { source, as_of: Value::Null, is_json };
    let answer = if shocks.is_null() {
        let named = (!scenarios.is_empty()).then_some(scenarios);
        reading.ask(STRESS, json!({ "scenarios": named, "chainId": chain_id })).await?
    } else {
        reading.ask(WHAT_IF, json!({ "shocks": shocks, "chainId": chain_id })).await?
    };
    reading.show(&answer, |data| Shown::Text(tell(&data["played"])));
    Ok(())
}

fn tell(played: &Value) -> String {
    let mut parts = Vec::new();
    for scenario in played["scenarios"].as_array().into_iter().flatten() {
        parts.push(format!("{}: {}", text(&scenario["name"]), text(&scenario["title"])));
        let effects = &scenario["effects"];
        let nodes: Vec<&Value> = effects["nodes"].as_array().into_iter().flatten().collect();
        if nodes.is_empty() {
            parts.push("moves nothing that the log knows\n".to_owned());
            continue;
        }
        let mut sheet = Sheet::new(&[
            "entity",
            "lost",
            "before",
            "after",
            "EL before",
            "EL after",
            "mostly by",
        ]);
        let shown = nodes.len().min(LINES_MAX);
        for effect in &nodes[..shown] {
            let driver = &effect["drivers"][0]["block"];
            let mostly = match driver.is_null() {
                true => String::new(),
                false => format!("{} {}", cause(driver), concerns(driver)),
            };
            sheet.row([
                name(&text(&effect["slug"])),
                lost(effect),
                grade(&effect["gradeBefore"]),
                grade(&effect["gradeAfter"]),
                percent(&effect["expectedLossBeforePpt"]),
                percent(&effect["expectedLossAfterPpt"]),
                mostly,
            ]);
        }
        parts.push(sheet.without_empty_columns().narrowing().write(Format::Text));
        let all = effects["totalCount"].as_u64().unwrap_or_default();
        let more = all.saturating_sub(u64::try_from(shown).unwrap_or(u64::MAX));
        parts.push(if more > 0 { format!("and {more} more\n") } else { String::new() });
    }
    parts.join("\n")
}

/// One entity before and after, and the loss blocks between them.
fn explain(effect: &Value) -> String {
    let (before, after) = (&effect["expectedLossBeforePpt"], &effect["expectedLossAfterPpt"]);
    let mut sheet = Sheet::new(&["", "before", "after", "change"]);
    let grades = (grade(&effect["gradeBefore"]), grade(&effect["gradeAfter"]));
    sheet.row(["rating".to_owned(), grades.0, grades.1, String::new()]);
    sheet.row([
        "expected loss".to_owned(),
        percent(before),
        percent(after),
        percent_change(before, after),
    ]);
    sheet.row(["lost at once".to_owned(), String::new(), lost(effect), String::new()]);
    let mut drivers = Sheet::new(&["factor", "of", "before", "after", "change"]);
    for one in effect["drivers"].as_array().into_iter().flatten() {
        drivers.row([
            cause(&one["block"]),
            concerns(&one["block"]),
            percent(&one["beforePpt"]),
            percent(&one["afterPpt"]),
            percent_change(&one["beforePpt"], &one["afterPpt"]),
        ]);
    }
    let (sheet, drivers) = (sheet.write(Format::Text), drivers.write(Format::Text));
    format!("{}\n{sheet}\nWhat moves the expected loss:\n{drivers}", text(&effect["slug"]))
}

fn grade(grade: &Value) -> String {
    if grade.is_null() { "NR".to_owned() } else { text(grade) }
}

fn lost(effect: &Value) -> String {
    if effect["lostPpt"].is_null() { "unknown".to_owned() } else { percent(&effect["lostPpt"]) }
}
