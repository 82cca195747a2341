//! `assay history`: how a rating moved, or what was said about it.

use clap::Args;
use serde_json::{Value, json};

use super::sheet::Sheet;
use super::text::{
    block, grades, main_driver, outlook, percent, percent_change, signed, text, time, word,
};
use super::{CsvArgs, ReadArgs, Shown};
use crate::command::database::DatabaseArgs;

pub(crate) const DOCUMENT: &str = include_str!("history.graphql");
pub(crate) const ACTIONS: &str = include_str!("actions.graphql");

#[derive(Debug, Args)]
#[command(before_help = "Example: assay history avs-1-0x12b75d5e… --actions\n         \
                   assay history avs-1-0x12b75d5e… --from 2026-03-01 --to block:24763745")]
pub(crate) struct HistoryArgs {
    /// Its slug, or a part of it that no other has.
    slug: String,
    /// Only what was said: the rating actions.
    #[arg(long)]
    actions: bool,
    /// From this block:N, day or time of the chain's clock on, itself included.
    #[arg(long, value_name = "WHEN", value_parser = |text: &str| bound(text, "T00:00:00Z"))]
    from: Option<Bound>,
    /// Up to this one, itself included.
    #[arg(long, value_name = "WHEN", value_parser = |text: &str| bound(text, "T23:59:59Z"))]
    to: Option<Bound>,
    /// How many at most.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    csv: CsvArgs,
    #[command(flatten)]
    read: ReadArgs,
}

/// The last word of a field of `HistoryPeriod`, and its value.
type Bound = (&'static str, Value);

fn bound(text: &str, of_day: &str) -> Result<Bound, String> {
    if let Some(block) = text.strip_prefix("block:") {
        let number: u64 = block.parse().map_err(|_| format!("{block} is no number"))?;
        return Ok(("Block", json!(number)));
    }
    let time = super::time_of(text, of_day)
        .map_err(|_| format!("{text} is no block:N, day (2026-03-29) or time (RFC 3339)"))?;
    Ok(("Time", json!(time)))
}

pub(crate) async fn run(database: &DatabaseArgs, args: HistoryArgs) -> anyhow::Result<()> {
    let reading = args.read.open(database).await?;
    let found = reading.source.find(&args.slug, &reading.as_of).await?;
    let mut period = json!({});
    for (side, bound) in [("from", args.from), ("to", args.to)] {
        if let Some((kind, value)) = bound {
            period[format!("{side}{kind}")] = value;
        }
    }
    let variables = json!({ "slug": found.slug, "period": period, "asOf": reading.as_of });
    let (document, list) = match args.actions {
        true => (ACTIONS, "/entity/ratingActions"),
        false => (DOCUMENT, "/entity/ratingHistory"),
    };
    let answer = reading.source.ask_list(document, variables, list, args.limit.max(1)).await?;
    reading.show(&answer, |data| {
        let page = data.pointer(list).unwrap_or(&Value::Null);
        let sheet = if args.actions { actions(page) } else { assessments(page) };
        Shown::Sheet(sheet, args.csv.format())
    });
    Ok(())
}

fn assessments(page: &Value) -> Sheet {
    let mut sheet = Sheet::new(&[
        "when",
        "rating",
        "expected loss",
        "change",
        "outlook",
        "90 % interval",
        "main driver",
        "block",
        "position",
    ]);
    let nodes = page["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    for (index, rating) in nodes.iter().enumerate() {
        let before = nodes.get(index + 1).map(|before| &before["expectedLossPpt"]);
        sheet.row([
            time(&rating["block"]),
            text(&rating["label"]),
            percent(&rating["expectedLossPpt"]),
            before.map_or_else(String::new, |before| {
                percent_change(before, &rating["expectedLossPpt"])
            }),
            outlook(rating),
            grades(&rating["interval"]),
            main_driver(&rating["attribution"]),
            block(&rating["block"]),
            text(&rating["position"]),
        ]);
    }
    sheet.narrowing()
}

fn actions(page: &Value) -> Sheet {
    let mut sheet = Sheet::new(&[
        "when",
        "block",
        "action",
        "from",
        "to",
        "notches",
        "expected loss",
        "said at",
        "number",
    ]);
    let grade = |grade: &Value| grade.as_str().map_or_else(|| "–".to_owned(), super::clean);
    for said in page["nodes"].as_array().into_iter().flatten() {
        sheet.row([
            time(&said["block"]),
            block(&said["block"]),
            word(&said["kind"]),
            grade(&said["fromGrade"]),
            grade(&said["toGrade"]),
            said["notches"].as_i64().map_or_else(|| "–".to_owned(), signed),
            percent(&said["expectedLossPpt"]),
            super::text::moment(&text(&said["recordedAt"])),
            text(&said["seq"]),
        ]);
    }
    sheet.narrowing()
}
