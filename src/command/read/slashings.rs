//! `assay slashings`: who was slashed, of what, and how long it is still there.

use alloy::primitives::Address;
use clap::Args;
use serde_json::{Value, json};

use super::sheet::{Sheet, name};
use super::text::{amount, block, blocks_as_time, percent_of_wad, recipient, strategy, text, time};
use super::{CsvArgs, ReadArgs, Shown};
use crate::command::database::DatabaseArgs;

pub(crate) const DOCUMENT: &str = include_str!("slashings.graphql");

/// Characters of a stranger's text in a table.
const WORDS_MAX: usize = 60;

#[derive(Debug, Args)]
#[command(before_help = "Example: assay slashings --open --url http://127.0.0.1:4747")]
pub(crate) struct SlashingsArgs {
    /// Only those of which something is still there: neither burnt nor handed over.
    #[arg(long)]
    open: bool,
    /// By this AVS.
    #[arg(long, value_name = "ADDRESS")]
    avs: Option<Address>,
    /// Of this operator.
    #[arg(long, value_name = "ADDRESS")]
    operator: Option<Address>,
    /// How many at most.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    csv: CsvArgs,
    #[command(flatten)]
    read: ReadArgs,
}

pub(crate) async fn run(database: &DatabaseArgs, args: SlashingsArgs) -> anyhow::Result<()> {
    let mut filter = json!({});
    if args.open {
        filter["isOpen"] = json!(true);
    }
    for (field, address) in [("avs", args.avs), ("operator", args.operator)] {
        if let Some(address) = address {
            filter[field] = json!(address.to_string());
        }
    }
    let reading = args.read.open(database).await?;
    let variables = json!({ "where": filter, "asOf": reading.as_of });
    let answer =
        reading.source.ask_list(DOCUMENT, variables, "/slashings", args.limit.max(1)).await?;
    let is_none = answer.data["slashings"]["totalCount"] == json!(0);
    reading.show(&answer, |data| match is_none && args.csv.is_for_people() {
        true => Shown::Text("No slash.".to_owned()),
        false => Shown::Sheet(table(data), args.csv.format()),
    });
    Ok(())
}

fn table(data: &Value) -> Sheet {
    let mut sheet = Sheet::new(&[
        "when",
        "operator",
        "time left",
        "rating",
        "taken",
        "goes",
        "calls itself",
        "set",
        "slasher's words (untrusted)",
        "block",
        "transaction",
    ]);
    for slash in data["slashings"]["nodes"].as_array().into_iter().flatten() {
        let operator = &slash["operator"];
        let set = &slash["operatorSet"];
        let words: String = text(&slash["untrustedDescription"]).chars().take(WORDS_MAX).collect();
        sheet.row([
            match slash["isProvisional"].as_bool() {
                Some(true) => format!("{} (not final)", time(&slash["block"])),
                _ => time(&slash["block"]),
            },
            name(operator["slug"].as_str().unwrap_or(&text(&slash["operatorAddress"]))),
            left(slash),
            text(&operator["rating"]["label"]),
            taken(slash),
            recipient(&slash["redistributionRecipient"], &slash["avsAddress"]),
            text(&operator["untrustedName"]),
            match set["slug"].as_str() {
                Some(slug) => name(slug),
                None => {
                    let avs = name(&text(&slash["avsAddress"]));
                    format!("{avs} set {}", text(&slash["operatorSetId"]))
                }
            },
            words,
            block(&slash["block"]),
            name(&text(&slash["txHash"])),
        ]);
    }
    sheet.without_empty_columns().narrowing()
}

/// How long what was slashed is still there.
fn left(slash: &Value) -> String {
    match (slash["isOpen"].as_bool(), slash["blocksLeft"].as_u64()) {
        (Some(true), Some(0) | None) => "may leave now".to_owned(),
        (Some(true), Some(blocks)) => blocks_as_time(blocks),
        _ => "gone".to_owned(),
    }
}

/// What a slash took, strategy by strategy.
fn taken(slash: &Value) -> String {
    let shares = |strategy: &Value| {
        let all = slash["slashedShares"].as_array().into_iter().flatten();
        all.filter(|one| one["strategy"] == *strategy).map(|one| amount(&one["shares"])).next()
    };
    let one = |taken: &Value| {
        let of = strategy(&taken["strategy"]);
        let share = match taken["allocationSlashedWad"].is_null() {
            true => format!("≥ {} of the stake", percent_of_wad(&taken["wadSlashed"])),
            false => {
                format!("{} of the allocation", percent_of_wad(&taken["allocationSlashedWad"]))
            }
        };
        match shares(&taken["strategy"]) {
            Some(shares) => format!("{shares} {of} ({share})"),
            None => format!("{share} in {of}"),
        }
    };
    let all = slash["strategies"].as_array().into_iter().flatten();
    all.map(one).collect::<Vec<_>>().join("; ")
}
