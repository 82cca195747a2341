//! `assay diff`: what changed between two points of the record.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};

use super::sheet::{Format, Sheet};
use super::text::{
    block, cause, concerns, grades, outlook, percent, percent_change, percent_of_million, text,
    time,
};
use super::{At, ServerArgs, Shown};
use crate::command::database::DatabaseArgs;
use crate::command::failure::Failure;

pub(crate) const DOCUMENT: &str = include_str!("diff.graphql");

#[derive(Debug, Args)]
#[command(
    before_help = "Example: assay diff operator-set-1-0x12b75d5e…-0 block:24763744 block:24763745"
)]
pub(crate) struct DiffArgs {
    /// Its slug, or a part of it that no other has.
    slug: String,
    /// The earlier point: a position, block:N, a day, a time.
    before: At,
    /// The later point.
    #[arg(default_value = "head")]
    after: At,
    /// Print the API's answer as one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) async fn run(database: &DatabaseArgs, args: DiffArgs) -> anyhow::Result<()> {
    let source = args.server.open(database).await?;
    let (before, after) = (source.as_of(&args.before).await?, source.as_of(&args.after).await?);
    let found = source.find(&args.slug, &after).await?;
    let variables = json!({ "slug": found.slug, "before": before, "after": after });
    let answer = source.ask(DOCUMENT, variables).await?;
    let reading = super::Reading { source, as_of: Value::Null, is_json: args.json };
    if answer.data["before"].is_null() {
        let message = format!("{} was not known at {}", found.slug, args.before);
        return Err(Failure::NotFound(message).into());
    }
    reading.show(&answer, |data| {
        Shown::Text(changes(&data["before"]["rating"], &data["after"]["rating"]))
    });
    Ok(())
}

/// What differs between two ratings, and the loss blocks that moved the score.
pub(super) fn changes(before: &Value, after: &Value) -> String {
    let label = |rating: &Value| match rating.is_null() {
        true => "–".to_owned(),
        false => text(&rating["label"]),
    };
    let at =
        |rating: &Value| format!("block {}, {}", block(&rating["block"]), time(&rating["block"]));
    let interval = |rating: &Value| grades(&rating["interval"]);
    let score = |rating: &Value| {
        rating["score"].as_i64().map_or("–".to_owned(), |score| score.to_string())
    };
    let mut sheet = Sheet::new(&["", "before", "after", "change"]);
    let mut row = |name: &str, write: &dyn Fn(&Value) -> String, change: String| {
        sheet.row([name.to_owned(), write(before), write(after), change]);
    };
    row("rating", &label, String::new());
    let moved = before["score"].as_i64().zip(after["score"].as_i64());
    row("score", &score, moved.map_or_else(String::new, |(a, b)| format!("{:+}", b - a)));
    let loss = percent_change(&before["expectedLossPpt"], &after["expectedLossPpt"]);
    row("expected loss", &|rating| percent(&rating["expectedLossPpt"]), loss);
    row("90 % interval", &interval, String::new());
    row("for lenders", &|rating| text(&rating["conservativeGrade"]), String::new());
    row("outlook", &outlook, String::new());
    row("coverage", &|rating| percent_of_million(&rating["coveragePpm"]), String::new());
    row("assessed", &at, String::new());
    let mut parts = vec![sheet.write(Format::Text)];
    parts.extend(blocks(before, after));
    if before["methodologyHash"] != after["methodologyHash"] {
        parts.push("\nThe methodology is another one.".to_owned());
    }
    let warnings =
        |rating: &Value| rating["rationale"]["warnings"].as_array().cloned().unwrap_or_default();
    let (old, new) = (warnings(before), warnings(after));
    parts.extend(
        new.iter()
            .filter(|one| !old.contains(one))
            .map(|one| format!("new warning: {}", text(one))),
    );
    parts.extend(
        old.iter().filter(|one| !new.contains(one)).map(|one| format!("no more: {}", text(one))),
    );
    parts.join("\n")
}

/// The loss blocks that moved, the largest move first.
fn blocks(before: &Value, after: &Value) -> Option<String> {
    let mut points: BTreeMap<&str, [i64; 2]> = BTreeMap::new();
    for (side, rating) in [before, after].into_iter().enumerate() {
        for one in rating["attribution"].as_array().into_iter().flatten() {
            let name = one["block"].as_str().unwrap_or_default();
            points.entry(name).or_default()[side] += one["points"].as_i64().unwrap_or_default();
        }
    }
    let mut moved: Vec<(&str, [i64; 2])> =
        points.into_iter().filter(|(_, [a, b])| a != b).collect();
    if moved.is_empty() {
        return None;
    }
    moved.sort_by_key(|(_, [a, b])| std::cmp::Reverse((b - a).abs()));
    let mut sheet = Sheet::new(&["factor", "of", "points before", "points after", "change"]);
    for (name, [a, b]) in &moved {
        let name = json!(name);
        sheet.row([
            cause(&name),
            concerns(&name),
            a.to_string(),
            b.to_string(),
            format!("{:+}", b - a),
        ]);
    }
    let sum: i64 = moved.iter().map(|(_, [a, b])| b - a).sum();
    sheet.row(["sum".to_owned(), String::new(), String::new(), String::new(), format!("{sum:+}")]);
    Some(format!("\nWhat moved the score:\n{}", sheet.write(Format::Text)))
}
