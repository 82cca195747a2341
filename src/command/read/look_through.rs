//! `assay look-through`: who holds a token's assets, and who can slash them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use alloy::primitives::U256;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::policy::Policy;
use super::sheet::{Format, Sheet, name};
use super::show::{Card, heading, rating_line};
use super::text::{amount, blocks_as_time, percent, recipient, strategy, text, word};
use super::{CsvArgs, ReadArgs, Shown};
use crate::command::database::DatabaseArgs;
use crate::command::failure::Failure;

pub(crate) const DOCUMENT: &str = include_str!("look_through.graphql");

/// Positions of a token at most; the largest has some hundreds.
pub(crate) const POSITIONS_MAX: usize = 5_000;

#[derive(Debug, Args)]
#[command(
    before_help = "Example: assay look-through lrt-1-0xbf5495ef… --by operator --policy policy.toml"
)]
pub(crate) struct LookThroughArgs {
    /// The token's slug, or a part of it that no other has.
    token: String,
    /// What the parts are added up by.
    #[arg(long, value_enum, default_value_t = By::Position)]
    by: By,
    /// Check the limits in this file (docs/OPERATIONS.md); exit with code 8 if one is broken.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    csv: CsvArgs,
    #[command(flatten)]
    read: ReadArgs,
}

/// What the parts of a token are added up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum By {
    Position,
    Operator,
    Avs,
    Set,
    /// The published ruleset, which names what a set does.
    Standard,
    Strategy,
    Place,
}

pub(crate) async fn run(database: &DatabaseArgs, args: LookThroughArgs) -> anyhow::Result<()> {
    let policy = args.policy.as_ref().map(|path| Policy::read(path)).transpose()?;
    let reading = args.read.open(database).await?;
    let found = reading.source.find(&args.token, &reading.as_of).await?;
    if found.kind != "LRT" {
        anyhow::bail!(
            "{} is no token: `assay show` tells what an operator or a set is exposed to",
            found.slug
        );
    }
    let variables = json!({ "slug": found.slug, "asOf": reading.as_of });
    let list = "/entity/backing/positions";
    let answer = reading.source.ask_list(DOCUMENT, variables, list, POSITIONS_MAX).await?;
    let entity = &answer.data["entity"];
    let Some(parts) = parts(entity) else {
        return Err(Failure::NotFound(format!(
            "what stands behind {} was not known then",
            found.slug
        ))
        .into());
    };
    let checked = policy.as_ref().map(|policy| policy.check(entity, &parts));
    reading.show(&answer, |data| match args.csv.format() {
        Format::Text => Shown::Text(tell(&data["entity"], &parts, args.by)),
        format => Shown::Sheet(table(&parts, args.by), format),
    });
    match checked {
        None => Ok(()),
        Some(checks) => {
            let broken = checks.broken();
            // The answer is on standard output, whatever its format; this is about it.
            eprintln!("{}", checks.table());
            match broken {
                0 => Ok(()),
                _ => {
                    Err(Failure::Policy(format!("{broken} of the policy's limits are broken"))
                        .into())
                }
            }
        }
    }
}

/// A part of a token's net asset value.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) node: Value,
    pub(super) value: U256,
    /// 1e-12 of the net asset value.
    pub(super) share_ppt: u64,
}

/// The parts, the largest first. Nothing where there is no assessment.
pub(super) fn parts(entity: &Value) -> Option<Vec<Part>> {
    let backing = entity.get("backing").filter(|backing| !backing.is_null())?;
    let wei = |value: &Value| value.as_str().and_then(|wei| wei.parse::<U256>().ok());
    let nav = wei(&backing["nav"])?;
    let part = |node: &Value| {
        let value = wei(&node["value"])?;
        Some(Part { node: node.clone(), value, share_ppt: share(value, nav) })
    };
    let mut parts: Vec<Part> =
        backing["positions"]["nodes"].as_array()?.iter().filter_map(part).collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.value));
    Some(parts)
}

fn share(value: U256, whole: U256) -> u64 {
    let parts =
        value.checked_mul(U256::from(10_u64.pow(12))).and_then(|value| value.checked_div(whole));
    parts.and_then(|parts| u64::try_from(parts).ok()).unwrap_or_default()
}

impl By {
    /// What a part is added up under; empty where there is nothing of the kind.
    pub(super) fn key(self, node: &Value) -> String {
        let address = |value: &Value| text(value).to_lowercase();
        match self {
            Self::Operator => address(&node["operatorAddress"]),
            Self::Avs => address(&node["avsAddress"]),
            Self::Set if node["avsAddress"].is_null() => String::new(),
            Self::Set => {
                format!("{}-{}", address(&node["avsAddress"]), text(&node["operatorSetId"]))
            }
            Self::Standard => text(&node["operatorSet"]["rulesetStandard"]),
            Self::Strategy => address(&node["strategy"]),
            Self::Place | Self::Position => text(&node["place"]),
        }
    }

    fn title(self, node: &Value) -> String {
        let slug = |entity: &Value, other: String| match entity["slug"].as_str() {
            Some(slug) => name(slug),
            None => other,
        };
        let none = || word(&node["place"]);
        match self {
            Self::Operator if node["operatorAddress"].is_null() => none(),
            Self::Operator => slug(&node["operator"], name(&text(&node["operatorAddress"]))),
            Self::Avs | Self::Set | Self::Standard if node["avsAddress"].is_null() => none(),
            Self::Standard => match node["operatorSet"]["rulesetStandard"].as_str() {
                Some(standard) => standard.to_owned(),
                None => "no published rules".to_owned(),
            },
            Self::Avs => name(&text(&node["avsAddress"])),
            Self::Set => {
                let other = format!(
                    "{} set {}",
                    name(&text(&node["avsAddress"])),
                    text(&node["operatorSetId"])
                );
                slug(&node["operatorSet"], other)
            }
            Self::Strategy if node["strategy"].is_null() => none(),
            Self::Strategy => strategy(&node["strategy"]),
            Self::Place | Self::Position => word(&node["place"]),
        }
    }
}

/// Shares of the net asset value by what is asked for, the largest first.
pub(super) fn added_up(parts: &[Part], by: By) -> Vec<(Part, usize)> {
    let mut sums: BTreeMap<(String, String), (Part, usize)> = BTreeMap::new();
    for part in parts {
        let key = by.key(&part.node);
        // What is with nobody is told apart by where it is.
        let place = if key.is_empty() { text(&part.node["place"]) } else { String::new() };
        sums.entry((key, place))
            .and_modify(|(sum, count)| {
                sum.value += part.value;
                sum.share_ppt += part.share_ppt;
                *count += 1;
            })
            .or_insert_with(|| (part.clone(), 1));
    }
    let mut sums: Vec<(Part, usize)> = sums.into_values().collect();
    sums.sort_by_key(|(part, _)| std::cmp::Reverse(part.value));
    sums
}

fn table(parts: &[Part], by: By) -> Sheet {
    let ppt = |share: u64| percent(&json!(share.to_string()));
    if by == By::Position {
        let mut sheet = Sheet::new(&[
            "place",
            "ETH",
            "share",
            "operator",
            "calls itself",
            "rating",
            "delay",
            "set",
            "rating of the set",
            "standard",
            "slashed goes",
            "strategy",
        ]);
        for part in parts {
            let node = &part.node;
            let profile = &node["operator"]["profile"];
            let can_slash = !node["avsAddress"].is_null();
            sheet.row([
                word(&node["place"]),
                amount(&node["value"]),
                ppt(part.share_ppt),
                if node["operatorAddress"].is_null() {
                    String::new()
                } else {
                    By::Operator.title(node)
                },
                text(&node["operator"]["untrustedName"]),
                text(&node["operator"]["rating"]["label"]),
                profile["allocationDelayBlocks"].as_u64().map_or_else(String::new, blocks_as_time),
                if can_slash { By::Set.title(node) } else { String::new() },
                text(&node["operatorSet"]["rating"]["label"]),
                text(&node["operatorSet"]["rulesetStandard"]),
                match can_slash && !node["operatorSet"]["terms"].is_null() {
                    true => recipient(
                        &node["operatorSet"]["terms"]["redistributionRecipient"],
                        &node["avsAddress"],
                    ),
                    false => String::new(),
                },
                if node["strategy"].is_null() {
                    String::new()
                } else {
                    strategy(&node["strategy"])
                },
            ]);
        }
        return sheet.without_empty_columns().narrowing();
    }
    let title =
        by.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let mut sheet = Sheet::new(&[&title, "ETH", "share", "parts"]);
    for (part, count) in added_up(parts, by) {
        sheet.row([
            by.title(&part.node),
            amount(&json!(part.value.to_string())),
            ppt(part.share_ppt),
            count.to_string(),
        ]);
    }
    sheet
}

fn tell(entity: &Value, parts: &[Part], by: By) -> String {
    let backing = &entity["backing"];
    let mut card = Card::default();
    card.text(heading(entity));
    card.line("rating", rating_line(&entity["rating"]));
    card.line(
        "net assets",
        format!("{} ETH, of which {} is seen", amount(&backing["nav"]), amount(&backing["seen"])),
    );
    let levels = backing["lossDistribution"]["levels"].as_array().into_iter().flatten();
    let levels: Vec<String> = levels
        .map(|level| {
            let loss = level["valueAtRiskBp"].as_u64().unwrap_or_default() * 100;
            let share = super::text::percent_of_million(&json!(loss));
            format!("{share} at {}", text(&level["level"]))
        })
        .collect();
    card.line("value at risk", levels.join(", "));
    card.text(format!("\n{}", table(parts, by).write(Format::Text)));
    card.finish()
}
