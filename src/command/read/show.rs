//! `assay show`: one entity on a card.

use clap::Args;
use serde_json::{Value, json};

use super::sheet::Format;
use super::sheet::Sheet;
use super::text::{
    amount, block, blocks_as_time, cause, concerns, group, outlook, percent, percent_of_million,
    recipient, short, strategy, text, time, word,
};
use super::{ReadArgs, Shown};
use crate::command::database::DatabaseArgs;

pub(crate) const DOCUMENT: &str = include_str!("show.graphql");

/// Loss blocks on a card; `explain` has all.
const FACTORS: usize = 4;

#[derive(Debug, Args)]
#[command(before_help = "Example: assay show operator-set-1-0x12b75d5e…-0 --at block:24712915")]
pub(crate) struct ShowArgs {
    /// Its slug, or a part of it that no other has.
    slug: String,
    #[command(flatten)]
    read: ReadArgs,
}

pub(crate) async fn run(database: &DatabaseArgs, args: ShowArgs) -> anyhow::Result<()> {
    let reading = args.read.open(database).await?;
    let found = reading.source.find(&args.slug, &reading.as_of).await?;
    let answer = reading.ask(DOCUMENT, json!({ "slug": found.slug })).await?;
    reading.show(&answer, |data| Shown::Text(card(&data["entity"], &data["governanceChanges"])));
    Ok(())
}

/// Lines of a label and what is under it.
#[derive(Default)]
pub(super) struct Card(Vec<String>);

impl Card {
    pub(super) fn line(&mut self, label: &str, value: impl AsRef<str>) {
        let value = value.as_ref();
        if !value.is_empty() {
            self.0.push(format!("{label:<14}{value}"));
        }
    }

    pub(super) fn text(&mut self, text: impl Into<String>) {
        self.0.push(text.into());
    }

    pub(super) fn finish(self) -> String {
        self.0.join("\n")
    }
}

/// Slug, and what it calls itself.
pub(super) fn heading(entity: &Value) -> String {
    let slug = text(&entity["slug"]);
    match text(&entity["untrustedName"]) {
        own if own.is_empty() => slug,
        // A set's name is that of its AVS.
        own if entity["kind"] == "OPERATOR_SET" => format!("{slug}  of what calls itself “{own}”"),
        own => format!("{slug}  calls itself “{own}”"),
    }
}

/// Label, expected loss, interval; or why there is none.
pub(super) fn rating_line(rating: &Value) -> String {
    if rating.is_null() {
        return "not assessed yet".to_owned();
    }
    if rating["grade"].is_null() {
        return format!("NR: {}", text(&rating["notRatedReason"]));
    }
    let interval = &rating["interval"];
    let mut line = format!(
        "{}  expected loss {} a year",
        text(&rating["label"]),
        percent(&rating["expectedLossPpt"])
    );
    if !interval.is_null() {
        line += &format!(
            ", 90 % interval {} .. {} ({} .. {})",
            percent(&interval["lowPpt"]),
            percent(&interval["highPpt"]),
            text(&interval["bestGrade"]),
            text(&interval["worstGrade"])
        );
    }
    line
}

fn card(entity: &Value, governance: &Value) -> String {
    let mut card = Card::default();
    let rating = &entity["rating"];
    card.text(heading(entity));
    card.line("rating", rating_line(rating));
    if !rating["grade"].is_null() {
        card.line("for lenders", text(&rating["conservativeGrade"]));
        card.line("outlook", outlook(rating));
        card.line("90 days ago", text(&entity["ratingBefore"]["label"]));
        let coverage = percent_of_million(&rating["coveragePpm"]);
        card.line("rests on", format!("{coverage} log and attestations, the rest priors"));
    }
    if !rating.is_null() {
        let assessed = &rating["block"];
        card.line(
            "assessed",
            format!(
                "block {}, {} (position {})",
                block(assessed),
                time(assessed),
                text(&rating["position"])
            ),
        );
    }
    facts(entity, &mut card);
    if let Some(said) = entity["ratingActions"]["nodes"].get(0) {
        card.line("last action", action(said));
    }
    if let Some(published) = entity["publications"]["nodes"].get(0) {
        card.line(
            "published",
            format!(
                "number {} in {} on chain {}, {} (transaction {})",
                text(&published["seq"]),
                text(&published["oracle"]),
                published["oracleChainId"],
                word(&published["status"]),
                text(&published["txHash"])
            ),
        );
    }
    if let Some(change) = governance["nodes"].get(0) {
        let at = &change["block"];
        let summary = text(&change["summary"]);
        card.line("control", format!("{summary} (block {}, {})", block(at), time(at)));
    }
    for warning in rating["rationale"]["warnings"].as_array().into_iter().flatten() {
        card.line("warning", text(warning));
    }
    if let Some(table) = factors(&rating["attribution"], FACTORS) {
        card.text(format!("\n{}", table.write(Format::Text)));
    }
    card.finish()
}

/// What is known of an entity of its kind.
fn facts(entity: &Value, card: &mut Card) {
    let count = |list: &str| entity[list]["totalCount"].as_u64();
    let profile = &entity["profile"];
    if let Some(blocks) = profile["allocationDelayBlocks"].as_u64() {
        card.line("delay", delay(blocks));
    }
    if let Some(blocks) = profile["pendingAllocationDelay"]["blocks"].as_u64() {
        let from = profile["pendingAllocationDelay"]["effectBlock"].as_u64().unwrap_or_default();
        card.line("then", format!("{} from block {}", delay(blocks), group(from)));
    }
    let shares = entity["shares"]["nodes"].as_array().into_iter().flatten();
    let shares: Vec<String> = shares
        .map(|one| format!("{} of {}", amount(&one["shares"]), strategy(&one["strategy"])))
        .collect();
    card.line("delegated", shares.join(", "));
    if let Some(terms) = entity.get("terms").filter(|terms| !terms.is_null()) {
        card.line("slasher", text(&terms["slasher"]));
        let goes = recipient(&terms["redistributionRecipient"], &entity["address"]);
        card.line("slashed goes", goes);
    }
    let backing = &entity["backing"];
    if !backing.is_null() {
        let (reserve, liquidity) = (&backing["reserve"], &backing["liquidity"]);
        let seen = format!(
            "{} ETH, of which {} is seen",
            amount(&backing["nav"]),
            amount(&backing["seen"])
        );
        card.line("net assets", seen);
        card.line(
            "reserve",
            format!(
                "{} ({} of the liabilities{})",
                word(&reserve["status"]),
                percent(&reserve["coveragePpt"]),
                match reserve["level"].as_str() {
                    None => "",
                    Some("SELF_CLAIM") => ", as claimed",
                    Some(_) => ", attested",
                },
            ),
        );
        let days = liquidity["days"].as_u64();
        let days = days.map_or_else(|| "not known".to_owned(), |days| format!("{days} days"));
        let sale = &liquidity["sale"];
        let cost = match (sale.is_null(), sale["level"].as_str()) {
            (true, _) => "what a sale of 1 % costs is not known".to_owned(),
            (false, Some(_)) => format!("{} to sell 1 %, attested", percent(&sale["costPpt"])),
            (false, None) => format!("{} to sell 1 %, as claimed", percent(&sale["costPpt"])),
        };
        card.line(
            "liquidity",
            format!("{} of 5: {days} for 5 % of the supply; {cost}", liquidity["grade"]),
        );
    }
    for (list, label) in [
        ("operatorSets", "sets"),
        ("members", "members"),
        ("allocations", "allocations"),
        ("slashings", "slashes"),
    ] {
        if let Some(count) = count(list) {
            card.line(label, group(count));
        }
    }
}

fn delay(blocks: u64) -> String {
    match blocks {
        0 => "none: risk can change without notice".to_owned(),
        _ => format!("{} before an allocation takes effect", blocks_as_time(blocks)),
    }
}

/// What was said, in a line.
pub(super) fn action(said: &Value) -> String {
    let grade = |grade: &Value| grade.as_str().map_or_else(|| "NR".to_owned(), super::clean);
    let moved = match (said["fromGrade"].as_str(), said["toGrade"].as_str()) {
        (from, to) if from == to => grade(&said["toGrade"]),
        (None, _) => grade(&said["toGrade"]),
        _ => format!("{} → {}", grade(&said["fromGrade"]), grade(&said["toGrade"])),
    };
    let at = &said["block"];
    format!("{} {moved}, block {}, {}", word(&said["kind"]), block(at), time(at))
}

/// The largest parts of a score.
pub(super) fn factors(attribution: &Value, most: usize) -> Option<Sheet> {
    let mut blocks: Vec<&Value> = attribution.as_array()?.iter().collect();
    blocks.retain(|one| one["points"].as_i64() != Some(0));
    blocks.sort_by_key(|one| std::cmp::Reverse(one["points"].as_i64()));
    let mut sheet = Sheet::new(&["factor", "of", "points", "expected loss"]);
    for one in blocks.iter().take(most) {
        sheet.row([
            cause(&one["block"]),
            concerns(&one["block"]),
            one["points"].to_string(),
            percent(&one["expectedLossPpt"]),
        ]);
    }
    let left: i64 = blocks.iter().skip(most).filter_map(|one| one["points"].as_i64()).sum();
    if left != 0 {
        let rest = format!("{} more", blocks.len() - most);
        sheet.row([rest, String::new(), left.to_string(), String::new()]);
    }
    (!blocks.is_empty()).then(|| sheet.without_empty_columns())
}

/// A shortened slug for a table of two entities.
pub(super) fn column_name(entity: &Value) -> String {
    short(entity["slug"].as_str().unwrap_or_default())
}
