//! `assay frontier --of`, of a server or as of a point of the record.

use assay_domain::decimal::Ppt;
use serde_json::{Value, json};

use super::sheet::{Format, Sheet, name};
use super::text::{percent, text, time};
use super::{ReadArgs, Shown};
use crate::command::database::DatabaseArgs;
use crate::command::failure::Failure;

pub(crate) const DOCUMENT: &str = include_str!("frontier.graphql");

/// The frontier of an operator or a token.
pub(crate) async fn run(
    database: &DatabaseArgs,
    read: &ReadArgs,
    slug: &str,
    level: Ppt,
    points: u16,
) -> anyhow::Result<()> {
    let reading = read.open_with_scenarios(database).await?;
    let found = reading.source.find(slug, &reading.as_of).await?;
    let variables =
        json!({ "slug": found.slug, "levelPpt": level.0.to_string(), "points": points });
    let answer = reading.ask(DOCUMENT, variables).await?;
    if answer.data["frontier"].is_null() {
        let message = format!("{} was not known at {}", found.slug, read.at);
        return Err(Failure::NotFound(message).into());
    }
    reading.show(&answer, |data| Shown::Text(tell(&data["frontier"])));
    Ok(())
}

fn tell(frontier: &Value) -> String {
    let mut parts = Vec::new();
    if !frontier["rewardsFrom"].is_null() {
        let day = |field: &str| time(&json!({ "time": frontier[field] }));
        let window = format!("{} to {}", day("rewardsFrom"), day("rewardsTo"));
        parts.push(format!("rewards from {window}, a year"));
    }
    let all = |field: &str| frontier[field].as_array().map_or(&[][..], Vec::as_slice);
    let positions = all("positions");
    let label = |position: &Value| {
        let set = match position["operatorSet"]["slug"].as_str() {
            Some(slug) => name(slug),
            None => "a set that is gone".to_owned(),
        };
        format!("{}@{set}", name(&text(&position["operatorAddress"])))
    };
    let mut sheet = Sheet::new(&["position", "held", "at most", "earns", "of it unpriced"]);
    for position in positions {
        let unpriced = position["unpricedTokens"].as_array().into_iter().flatten();
        sheet.row([
            label(position),
            percent(&position["weightPpt"]),
            percent(&position["limitPpt"]),
            percent(&position["yearlyRewardPpt"]),
            unpriced.map(text).collect::<Vec<_>>().join(", "),
        ]);
    }
    parts.push(sheet.without_empty_columns().write(Format::Text));
    let risk = format!("CVaR {}", percent(&frontier["levelPpt"]));
    let mut sheet = Sheet::new(&["reward", &risk, "gap at most", "weights"]);
    for point in all("points") {
        let weights = point["weightsPpt"].as_array().into_iter().flatten();
        let held = positions.iter().zip(weights).filter(|(_, weight)| **weight != json!("0"));
        let held =
            held.map(|(position, weight)| format!("{} {}", label(position), percent(weight)));
        sheet.row([
            percent(&point["rewardPpt"]),
            percent(&point["riskPpt"]),
            percent(&point["gapPpt"]),
            held.collect::<Vec<_>>().join(", "),
        ]);
    }
    parts.push(sheet.write(Format::Text));
    let held = &frontier["held"];
    if !held.is_null() {
        let (reward, risk) = (percent(&held["rewardPpt"]), percent(&held["riskPpt"]));
        parts.push(format!("What is held earns {reward} and has a tail risk of {risk}."));
    }
    parts.join("\n")
}
