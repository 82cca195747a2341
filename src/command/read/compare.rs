//! `assay compare`: entities side by side.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};

use super::ReadArgs;
use super::sheet::{Format, Sheet};
use super::show::column_name;
use super::text::{
    blocks_as_time, cause, clean_json, grades, outlook, percent, percent_of_million, recipient,
    text,
};
use crate::command::database::DatabaseArgs;
use crate::command::say;

pub(crate) const DOCUMENT: &str = include_str!("compare.graphql");

#[derive(Debug, Args)]
#[command(before_help = "Example: assay compare avs-1-0x12b75d5e… avs-1-0x870679e1…")]
pub(crate) struct CompareArgs {
    /// Slugs, or parts that no other has.
    #[arg(num_args = 2..=6, required = true)]
    slugs: Vec<String>,
    #[command(flatten)]
    read: ReadArgs,
}

pub(crate) async fn run(database: &DatabaseArgs, args: CompareArgs) -> anyhow::Result<()> {
    let mut reading = args.read.open(database).await?;
    let mut entities = Vec::new();
    let mut last = None;
    for name in &args.slugs {
        let found = reading.source.find(name, &reading.as_of).await?;
        let answer = reading.ask(DOCUMENT, json!({ "slug": found.slug })).await?;
        if reading.as_of.is_null() {
            // All columns are of one position.
            reading.as_of = json!({ "position": answer.position() });
        }
        entities.push(answer.data["entity"].clone());
        last = Some(answer);
    }
    if args.read.json {
        let place = last.map(|answer| answer.place).unwrap_or_default();
        let told = json!({ "data": { "entities": entities }, "extensions": { "assay": place } });
        say(&clean_json(&told.to_string()));
        return Ok(());
    }
    say(&table(&entities).write(Format::Text));
    if let Some(answer) = last {
        answer.say_when();
    }
    Ok(())
}

fn table(entities: &[Value]) -> Sheet {
    let names: Vec<String> = entities.iter().map(column_name).collect();
    let header: Vec<&str> = std::iter::once("").chain(names.iter().map(String::as_str)).collect();
    let mut sheet = Sheet::new(&header);
    let mut row = |name: &str, write: &dyn Fn(&Value) -> String| {
        let cells: Vec<String> = entities.iter().map(write).collect();
        if cells.iter().any(|cell| !cell.is_empty() && cell != "–") {
            sheet.line(std::iter::once(name.to_owned()).chain(cells).collect());
        }
    };
    row("rating", &|entity| text(&entity["rating"]["label"]));
    row("not rated", &|entity| text(&entity["rating"]["notRatedReason"]));
    row("expected loss", &|entity| percent(&entity["rating"]["expectedLossPpt"]));
    row("90 % interval", &|entity| grades(&entity["rating"]["interval"]));
    row("for lenders", &|entity| text(&entity["rating"]["conservativeGrade"]));
    row("outlook", &|entity| outlook(&entity["rating"]));
    row("90 days ago", &|entity| text(&entity["ratingBefore"]["label"]));
    row("coverage", &|entity| percent_of_million(&entity["rating"]["coveragePpm"]));
    row("delay", &|entity| {
        entity["profile"]["allocationDelayBlocks"].as_u64().map_or_else(String::new, blocks_as_time)
    });
    row("slashed goes", &|entity| match &entity["terms"] {
        Value::Object(terms) => recipient(&terms["redistributionRecipient"], &entity["address"]),
        _ => String::new(),
    });
    row("slashes", &|entity| {
        entity["slashings"]["totalCount"]
            .as_u64()
            .map_or_else(String::new, |count| count.to_string())
    });
    // Points by cause, the largest over all columns first.
    let points = |entity: &Value| {
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        for one in entity["rating"]["attribution"].as_array().into_iter().flatten() {
            *sums.entry(cause(&one["block"])).or_default() +=
                one["points"].as_i64().unwrap_or_default();
        }
        sums
    };
    let columns: Vec<BTreeMap<String, i64>> = entities.iter().map(points).collect();
    let mut causes: BTreeMap<&String, i64> = BTreeMap::new();
    for (cause, points) in columns.iter().flatten() {
        *causes.entry(cause).or_default() += points;
    }
    let mut causes: Vec<(&String, i64)> = causes.into_iter().filter(|(_, sum)| *sum != 0).collect();
    causes.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
    for (cause, _) in causes {
        let cells =
            columns.iter().map(|column| column.get(cause).map_or(String::new(), i64::to_string));
        sheet.line(std::iter::once(format!("points: {cause}")).chain(cells).collect());
    }
    sheet
}
