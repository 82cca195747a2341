//! `assay explain`: why the grade is what it is, and what would change it.

use clap::Args;
use serde_json::{Value, json};

use super::diff::changes;
use super::sheet::{Format, Sheet};
use super::show::{Card, action, heading, rating_line};
use super::source::Answer;
use super::text::{
    block, cause, clean, concerns, group, moment, percent, percent_of_million, text, time, word,
};
use super::{CsvArgs, ReadArgs, Reading, Shown};
use crate::command::database::DatabaseArgs;
use crate::command::failure::Failure;

pub(crate) const DOCUMENT: &str =
    concat!(include_str!("explain.graphql"), include_str!("working.graphql"));
const ACTION: &str =
    concat!(include_str!("explain_action.graphql"), include_str!("working.graphql"));

/// Characters of the longest bar of the waterfall.
const BAR: i64 = 24;

#[derive(Debug, Args)]
#[command(
    before_help = "Example: assay explain operator-set-1-0x12b75d5e…-0 --at 2026-03-28\n         \
                   assay explain --action ID"
)]
pub(crate) struct ExplainArgs {
    /// Its slug, or a part of it that no other has.
    #[arg(required_unless_present = "action")]
    slug: Option<String>,
    /// This rating action instead, as it was said, beside the one before: an `id` of
    /// `assay history SLUG --actions --json`.
    #[arg(long, value_name = "ID", conflicts_with_all = ["slug", "at"])]
    action: Option<String>,
    #[command(flatten)]
    csv: CsvArgs,
    #[command(flatten)]
    read: ReadArgs,
}

pub(crate) async fn run(database: &DatabaseArgs, args: ExplainArgs) -> anyhow::Result<()> {
    let reading = args.read.open(database).await?;
    let name = args.slug.as_deref().unwrap_or_default();
    let (answer, place, tell): (_, _, fn(&Value) -> String) = match args.action {
        Some(id) => (action_of(&reading, &id).await?, "node", story_of_action),
        None => {
            let found = reading.source.find(name, &reading.as_of).await?;
            (reading.ask(DOCUMENT, json!({ "slug": found.slug })).await?, "entity", story)
        }
    };
    reading.show(&answer, |data| match args.csv.format() {
        Format::Text => Shown::Text(tell(&data[place])),
        format => Shown::Sheet(waterfall(&data[place]["rating"]), format),
    });
    Ok(())
}

async fn action_of(reading: &Reading, id: &str) -> anyhow::Result<Answer> {
    let unknown = || {
        Failure::NotFound(format!(
            "{} is the id of no rating action: `assay history SLUG --actions --json` has them",
            clean(id)
        ))
    };
    match reading.ask(ACTION, json!({ "id": id })).await {
        Ok(answer) if answer.data["node"]["id"].is_null() => Err(unknown().into()),
        Err(error) => match error.downcast_ref() {
            // What this server could not have given as an id.
            Some(Failure::Refused(_)) => Err(unknown().into()),
            _ => Err(error),
        },
        answered => answered,
    }
}

/// An action with its working, and what moved since the one before.
fn story_of_action(said: &Value) -> String {
    let mut card = Card::default();
    let line = |of: &Value| format!("{}, said {}", action(of), moment(&text(&of["recordedAt"])));
    card.text(format!("{}\n", line(said)));
    let mut entity = said["entity"].clone();
    entity["rating"] = said["rating"].clone();
    if entity["rating"].is_null() {
        card.text(heading(&entity));
        card.text(
            "Older facts came late and ratings were made anew since: what was said is kept, how \
             it was worked out then is not.",
        );
    } else {
        card.text(story(&entity));
    }
    let previous = &said["previous"];
    match (previous.is_null(), said["rating"].is_null() || previous["rating"].is_null()) {
        (true, _) => card.text("\nNothing was said about it before."),
        (_, true) => card.text(format!("\nThe action before: {}", line(previous))),
        _ => card.text(format!(
            "\nSince the action before ({}):\n{}",
            line(previous),
            changes(&previous["rating"], &said["rating"])
        )),
    }
    card.finish()
}

fn story(entity: &Value) -> String {
    let rating = &entity["rating"];
    let why = &rating["rationale"];
    let mut card = Card::default();
    card.text(heading(entity));
    card.text(rating_line(rating));
    if let Some(summary) = why["summary"].as_str() {
        card.text(clean(summary));
    }
    for warning in why["warnings"].as_array().into_iter().flatten() {
        card.text(format!("WARNING: {}", text(warning)));
    }
    if !rating["score"].is_null() {
        card.text(format!(
            "\nThe score, {} milli-notches (0 is AAA, 18,000 CCC-), is the sum of:\n{}",
            group(rating["score"].as_u64().unwrap_or_default()),
            waterfall(rating).write(Format::Text)
        ));
    }
    for (title, list) in [
        ("What drives it", "drivers"),
        ("What would raise it", "raise"),
        ("What would lower it", "lower"),
        ("What it rests on", "restsOn"),
    ] {
        let lines = why[list].as_array().into_iter().flatten();
        let lines: Vec<String> =
            lines.map(|line| format!("- {}", in_words(line, rating))).collect();
        if !lines.is_empty() {
            card.text(format!("\n{title}:\n{}", lines.join("\n")));
        }
    }
    let slashes = entity["slashings"]["nodes"].as_array().into_iter().flatten();
    let slashes: Vec<String> = slashes
        .map(|slash| {
            let at = &slash["block"];
            format!(
                "- slash in block {}, {}, transaction {}",
                block(at),
                time(at),
                text(&slash["txHash"])
            )
        })
        .collect();
    if let Some(count) = entity["slashings"]["totalCount"].as_u64().filter(|count| *count > 0) {
        card.text(format!(
            "\nEvidence ({} of {count} slashes):\n{}",
            slashes.len(),
            slashes.join("\n")
        ));
    }
    let said = entity["ratingActions"]["nodes"].as_array().into_iter().flatten();
    let said: Vec<String> = said.map(|said| format!("- {}", action(said))).collect();
    if !said.is_empty() {
        card.text(format!("\nWhat was said last:\n{}", said.join("\n")));
    }
    if !rating.is_null() {
        card.text("");
        card.line("coverage", percent_of_million(&rating["coveragePpm"]));
        card.line(
            "assessed",
            format!("block {}, {}", block(&rating["block"]), time(&rating["block"])),
        );
        card.line("methodology", text(&rating["methodologyHash"]));
        card.line("assessment", text(&rating["assessmentHash"]));
    }
    card.finish()
}

/// A sentence with the names of loss blocks in words.
fn in_words(line: &Value, rating: &Value) -> String {
    let mut line = text(line);
    for one in rating["attribution"].as_array().into_iter().flatten() {
        let id = text(&one["block"]);
        let words = format!("{} {}", cause(&one["block"]), concerns(&one["block"]));
        line = line.replace(&id, words.trim_end());
    }
    line
}

/// The loss blocks, the largest first; their points add up to the score.
fn waterfall(rating: &Value) -> Sheet {
    let mut sheet = Sheet::new(&[
        "factor",
        "of",
        "points",
        "expected loss",
        "",
        "hazard",
        "severity",
        "exposure",
        "rests on",
    ]);
    let mut blocks: Vec<&Value> = rating["attribution"].as_array().into_iter().flatten().collect();
    // A ceiling that does not bind adds nothing.
    blocks.retain(|one| one["points"].as_i64() != Some(0) || !one["hazardPpt"].is_null());
    blocks.sort_by_key(|one| std::cmp::Reverse(one["points"].as_i64()));
    let points = |one: &Value| one["points"].as_i64().unwrap_or_default();
    let most = blocks.first().map_or(0, |one| points(one)).max(1);
    for one in &blocks {
        let length = usize::try_from(points(one).saturating_mul(BAR) / most).unwrap_or(0);
        sheet.row([
            cause(&one["block"]),
            concerns(&one["block"]),
            points(one).to_string(),
            percent(&one["expectedLossPpt"]),
            "█".repeat(length),
            percent(&one["hazardPpt"]),
            percent(&one["severityPpt"]),
            percent(&one["exposurePpt"]),
            word(&one["provenance"]),
        ]);
    }
    let sum: i64 = blocks.iter().map(|one| points(one)).sum();
    let none = String::new;
    let loss = percent(&rating["expectedLossPpt"]);
    sheet.row([
        "sum".to_owned(),
        none(),
        sum.to_string(),
        loss,
        none(),
        none(),
        none(),
        none(),
        none(),
    ]);
    sheet.without_empty_columns().narrowing()
}
