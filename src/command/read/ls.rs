//! `assay ls`: who is rated how.

use assay_domain::grade::Grade;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::sheet::{Sheet, name};
use super::text::{
    blocks_as_time, grades, group, main_driver, outlook, percent, percent_of_million, text,
};
use super::{CsvArgs, ReadArgs, Shown};
use crate::command::database::DatabaseArgs;
use crate::command::failure::Failure;

pub(crate) const DOCUMENT: &str = include_str!("ls.graphql");

#[derive(Debug, Args)]
#[command(before_help = "Example: assay ls operators --grade '>=BBB-' --sort loss")]
pub(crate) struct LsArgs {
    /// Of these kinds [default: all].
    kind: Vec<Kind>,
    /// With a grade in a range: '>=BBB-' is BBB- and better, '<=BB+' is BB+ and worse.
    #[arg(long, value_name = "RANGE")]
    grade: Option<GradeRange>,
    /// Whose slug contains this text.
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,
    /// On watch only.
    #[arg(long)]
    watch: bool,
    /// In which order.
    #[arg(long, value_enum, default_value_t = Sort::Grade)]
    sort: Sort,
    /// How many at most.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Exit with code 8 if one of those listed is worse than this grade, or not rated.
    #[arg(long, value_name = "GRADE")]
    fail_below: Option<Grade>,
    #[command(flatten)]
    csv: CsvArgs,
    #[command(flatten)]
    read: ReadArgs,
}

/// What is rated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Operators,
    Avs,
    Sets,
    #[value(alias = "lrts")]
    Tokens,
}

impl Kind {
    /// As the API writes it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Operators => "OPERATOR",
            Self::Avs => "AVS",
            Self::Sets => "OPERATOR_SET",
            Self::Tokens => "LRT",
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sort {
    /// Safest grade first.
    Grade,
    /// Riskiest grade first.
    Riskiest,
    /// Smallest expected loss first.
    Loss,
    /// Newest first.
    New,
}

/// Grades from one end of the scale to a grade, or one grade.
#[derive(Debug, Clone)]
struct GradeRange(Value);

impl std::str::FromStr for GradeRange {
    type Err = String;

    fn from_str(range: &str) -> Result<Self, String> {
        let ends: &[&str] = match range.as_bytes() {
            [b'>', ..] => &["worst"],
            [b'<', ..] => &["best"],
            _ => &["best", "worst"],
        };
        let letters = range.trim_start_matches(['>', '<', '=']).trim();
        let grade: Grade = letters
            .parse()
            .map_err(|_| format!("{letters} is no grade: AAA, AA+ … CCC-, D, after >= or <="))?;
        let range = ends.iter().map(|end| ((*end).to_owned(), json!(grade.letters())));
        Ok(Self(Value::Object(range.collect())))
    }
}

pub(crate) async fn run(database: &DatabaseArgs, args: LsArgs) -> anyhow::Result<()> {
    let mut filter = json!({});
    if !args.kind.is_empty() {
        filter["kind"] = args.kind.iter().map(|kind| kind.word()).collect();
    }
    if let Some(GradeRange(range)) = &args.grade {
        filter["grade"] = range.clone();
    }
    if let Some(part) = &args.contains {
        filter["slugContains"] = json!(part);
    }
    if args.watch {
        filter["isWatchNegative"] = json!(true);
    }
    let (field, direction) = match args.sort {
        Sort::Grade => ("GRADE", "ASC"),
        Sort::Riskiest => ("GRADE", "DESC"),
        Sort::Loss => ("EXPECTED_LOSS", "ASC"),
        Sort::New => ("POSITION", "DESC"),
    };
    let order = json!({ "field": field, "direction": direction });
    let reading = args.read.open(database).await?;
    let variables = json!({ "where": filter, "orderBy": order, "asOf": reading.as_of });
    let limit = args.limit.max(1);
    let answer = reading.source.ask_list(DOCUMENT, variables, "/entities", limit).await?;
    reading.show(&answer, |data| Shown::Sheet(table(data), args.csv.format()));
    let page = &answer.data["entities"];
    let nodes = page["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let total = page["totalCount"].as_u64().unwrap_or_default();
    if usize::try_from(total).is_ok_and(|total| total > nodes.len()) && !args.read.json {
        eprintln!("{} of {}; --limit shows more.", nodes.len(), group(total));
    }
    let Some(floor) = args.fail_below else { return Ok(()) };
    let is_below = |node: &&Value| {
        let grade = node["rating"]["grade"].as_str().and_then(|grade| grade.parse::<Grade>().ok());
        grade.is_none_or(|grade| grade > floor)
    };
    match nodes.iter().filter(is_below).count() {
        0 => Ok(()),
        count => {
            let message = format!("{count} of {} are below {floor} or not rated", nodes.len());
            Err(Failure::Policy(message).into())
        }
    }
}

fn table(data: &Value) -> Sheet {
    let mut sheet = Sheet::new(&[
        "entity",
        "rating",
        "expected loss",
        "outlook",
        "calls itself",
        "90 % interval",
        "90 days ago",
        "delay",
        "coverage",
        "main driver",
    ]);
    for node in data["entities"]["nodes"].as_array().into_iter().flatten() {
        let rating = &node["rating"];
        let is_rated = !rating["grade"].is_null();
        sheet.row([
            name(&text(&node["slug"])),
            if rating.is_null() { "–".to_owned() } else { text(&rating["label"]) },
            percent(&rating["expectedLossPpt"]),
            if is_rated { outlook(rating) } else { "–".to_owned() },
            text(&node["untrustedName"]),
            grades(&rating["interval"]),
            text(&node["ratingBefore"]["label"]),
            match node["profile"]["allocationDelayBlocks"].as_u64() {
                Some(0) => "none".to_owned(),
                Some(blocks) => blocks_as_time(blocks),
                None => String::new(),
            },
            percent_of_million(&rating["coveragePpm"]),
            match is_rated {
                true => main_driver(&rating["attribution"]),
                false => text(&rating["notRatedReason"]),
            },
        ]);
    }
    sheet.without_empty_columns().narrowing()
}
