//! `assay network`: how safe the stake of a chain is together.

use clap::Args;
use serde_json::{Value, json};

use super::sheet::{Format, Sheet, name};
use super::show::Card;
use super::text::{amount, group, percent, text, word};
use super::{ReadArgs, Shown};
use crate::command::database::DatabaseArgs;

pub(crate) const DOCUMENT: &str = include_str!("network.graphql");

#[derive(Debug, Args)]
#[command(before_help = "Example: assay network --at 2026-03-29")]
pub(crate) struct NetworkArgs {
    /// The chain, where the log has several.
    #[arg(long)]
    chain_id: Option<u64>,
    #[command(flatten)]
    read: ReadArgs,
}

pub(crate) async fn run(database: &DatabaseArgs, args: NetworkArgs) -> anyhow::Result<()> {
    let reading = args.read.open_with_scenarios(database).await?;
    let answer = reading.ask(DOCUMENT, json!({ "chainId": args.chain_id })).await?;
    reading.show(&answer, |data| Shown::Text(tell(&data["network"])));
    Ok(())
}

fn tell(network: &Value) -> String {
    let mut card = Card::default();
    card.line(
        "slack",
        match network["slackPpt"].is_null() {
            true => "unknown".to_owned(),
            false => slack(network),
        },
    );
    card.line(
        "shock",
        format!("{} of the stake in the worst year of a thousand", percent(&network["shockPpt"]),),
    );
    card.line(
        "contagion",
        match network["worstLossPpt"].is_null() {
            false => loss(network),
            true => format!("no bound: {}", text(&network["unboundedReason"])),
        },
    );
    let count = |field: &str| group(network[field].as_u64().unwrap_or_default());
    card.line("stake", format!("{} ETH in all operator sets", amount(&network["stakeWei"])));
    card.line(
        "covered",
        format!(
            "{} ETH in {} sets whose gain from corruption is attested; {} are not covered",
            amount(&network["coveredStakeWei"]),
            count("coveredCount"),
            count("uncoveredCount"),
        ),
    );
    let covered = sets(&network["covered"]);
    if let Some(covered) = covered {
        card.text(format!("\nCovered, the least slack first:\n{covered}"));
    }
    if let Some(uncovered) = others(&network["uncovered"]) {
        card.text(format!("\nNot covered, as if attacking them gained nothing:\n{uncovered}"));
    }
    card.finish()
}

/// γ as a percentage, and whether it is exact.
fn slack(found: &Value) -> String {
    let how = if found["isSlackExact"] == json!(true) { "exact" } else { "at least" };
    format!("{} ({how})", percent(&found["slackPpt"]))
}

/// The worst-case loss, and whether every attack was tried.
fn loss(network: &Value) -> String {
    let most = percent(&network["worstLossPpt"]);
    match network["isWorstLossExact"] == json!(true) {
        true => format!("takes {most} of the stake at worst (exact)"),
        false => format!("takes at most {most} of the stake"),
    }
}

fn sets(covered: &Value) -> Option<String> {
    let mut sheet = Sheet::new(&[
        "set",
        "slack",
        "stake, ETH",
        "gain, ETH",
        "attack takes",
        "operators",
        "rests on",
    ]);
    let covered = covered.as_array().filter(|covered| !covered.is_empty())?;
    for one in covered {
        let assumed = if one["isThresholdAssumed"] == json!(true) { " (assumed)" } else { "" };
        sheet.row([
            name(&text(&one["slug"])),
            slack(one),
            amount(&one["stakeWei"]),
            amount(&one["profitWei"]),
            format!("{}{assumed}", percent(&one["thresholdPpt"])),
            group(one["operators"].as_u64().unwrap_or_default()),
            word(&one["level"]),
        ]);
    }
    Some(sheet.narrowing().write(Format::Text))
}

fn others(uncovered: &Value) -> Option<String> {
    let mut sheet = Sheet::new(&["service", "stake, ETH", "why"]);
    let uncovered = uncovered.as_array().filter(|uncovered| !uncovered.is_empty())?;
    for one in uncovered {
        let service = match one["slug"].as_str() {
            Some(slug) => name(slug),
            None => "Ethereum's consensus".to_owned(),
        };
        sheet.row([service, amount(&one["stakeWei"]), text(&one["reason"])]);
    }
    Some(sheet.narrowing().write(Format::Text))
}
