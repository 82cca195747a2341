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
#[command(before_help = "Example: assay history avs-1-0x12b75d5e… --actions")]
pub(crate) struct HistoryArgs {
    /// Its slug, or a part of it that no other has.
    slug: String,
    /// Only what was said: the rating actions.
    #[arg(long)]
    actions: bool,
    /// How many at most.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    csv: CsvArgs,
    #[command(flatten)]
    read: ReadArgs,
}

pub(crate) async fn run(database: &DatabaseArgs, args: HistoryArgs) -> anyhow::Result<()> {
    let reading = args.read.open(database).await?;
    let found = reading.source.find(&args.slug, &reading.as_of).await?;
    let variables = json!({ "slug": found.slug, "asOf": reading.as_of });
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
