//! Limits that somebody sets for a token, checked against what stands behind it.
//!
//! What is not known breaks a limit that needs it: silence is no reason to be calm.

use std::path::Path;

use anyhow::Context as _;
use assay_domain::grade::Grade;
use serde::Deserialize;
use serde_json::{Value, json};

use super::look_through::{By, Part, added_up};
use super::sheet::{Format, Sheet};
use super::text::{percent, text};

/// The limits of a file. Percentages are of the net asset value.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    /// The token's own grade, at worst.
    worst_grade: Option<String>,
    /// The grade of every operator that holds a part, at worst.
    worst_operator_grade: Option<String>,
    /// The grade of every operator set that can slash a part, at worst.
    worst_set_grade: Option<String>,
    /// With one operator, at most.
    operator_percent_max: Option<f64>,
    /// Slashable by one AVS, at most.
    avs_percent_max: Option<f64>,
    /// Slashable by one operator set, at most.
    set_percent_max: Option<f64>,
    /// Slashable by sets that hand over what they slash, at most.
    redistributable_percent_max: Option<f64>,
    /// Stated by the protocol and not seen in the log, at most.
    unseen_percent_max: Option<f64>,
    /// Assets over liabilities, at least.
    reserve_percent_min: Option<f64>,
    /// Blocks between an allocation and its effect, for every operator that holds a part.
    allocation_delay_blocks_min: Option<u64>,
}

/// What became of each limit.
#[derive(Debug)]
pub(super) struct Checks(Vec<(&'static str, String, String, bool)>);

impl Checks {
    pub(super) fn broken(&self) -> usize {
        self.0.iter().filter(|(.., holds)| !holds).count()
    }

    pub(super) fn table(&self) -> String {
        let mut sheet = Sheet::new(&["limit", "asked", "found", "holds"]);
        for (limit, asked, found, holds) in &self.0 {
            let holds = if *holds { "✔" } else { "✘" };
            sheet.row([(*limit).to_owned(), asked.clone(), found.clone(), holds.to_owned()]);
        }
        sheet.write(Format::Text)
    }
}

impl Policy {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = crate::command::read_file(&path.to_owned())?;
        let policy: Self =
            toml::from_str(&text).with_context(|| format!("{} is no policy", path.display()))?;
        for grade in [&policy.worst_grade, &policy.worst_operator_grade, &policy.worst_set_grade] {
            let Some(letters) = grade else { continue };
            let read: Result<Grade, _> = letters.parse();
            read.map_err(|_| anyhow::anyhow!("{}: {letters} is no grade", path.display()))?;
        }
        Ok(policy)
    }

    pub(super) fn check(&self, entity: &Value, parts: &[Part]) -> Checks {
        let mut checks = Checks(Vec::new());
        let operators: Vec<&Value> = parts
            .iter()
            .map(|part| &part.node)
            .filter(|node| !node["operatorAddress"].is_null())
            .collect();
        let sets: Vec<&Value> =
            operators.iter().copied().filter(|node| !node["avsAddress"].is_null()).collect();
        checks.grade("worst_grade", self.worst_grade.as_deref(), [&entity["rating"]]);
        let rated = operators.iter().map(|node| &node["operator"]["rating"]);
        checks.grade("worst_operator_grade", self.worst_operator_grade.as_deref(), rated);
        let rated = sets.iter().map(|node| &node["operatorSet"]["rating"]);
        checks.grade("worst_set_grade", self.worst_set_grade.as_deref(), rated);
        for (limit, most, by) in [
            ("operator_percent_max", self.operator_percent_max, By::Operator),
            ("avs_percent_max", self.avs_percent_max, By::Avs),
            ("set_percent_max", self.set_percent_max, By::Set),
        ] {
            let found = added_up(parts, by)
                .into_iter()
                .filter(|(part, _)| !by.key(&part.node).is_empty())
                .map(|(part, _)| part.share_ppt)
                .max();
            checks.at_most(limit, most, found.unwrap_or_default());
        }
        let sum = |holds: &dyn Fn(&Value) -> bool| -> u64 {
            parts.iter().filter(|part| holds(&part.node)).map(|part| part.share_ppt).sum()
        };
        let handed_over = sum(&|node| {
            // Without terms nobody knows that it is burnt.
            !node["avsAddress"].is_null()
                && (node["operatorSet"]["terms"].is_null()
                    || !node["operatorSet"]["terms"]["redistributionRecipient"].is_null())
        });
        checks.at_most(
            "redistributable_percent_max",
            self.redistributable_percent_max,
            handed_over,
        );
        let unseen = sum(&|node| node["place"] == json!("UNSEEN"));
        checks.at_most("unseen_percent_max", self.unseen_percent_max, unseen);
        if let Some(least) = self.reserve_percent_min {
            let found = &entity["backing"]["reserve"]["coveragePpt"];
            let holds = found
                .as_str()
                .and_then(|ppt| ppt.parse::<u64>().ok())
                .is_some_and(|ppt| ppt >= ppt_of(least));
            checks.0.push(("reserve_percent_min", format!("{least} %"), percent(found), holds));
        }
        if let Some(least) = self.allocation_delay_blocks_min {
            let delay =
                |node: &&Value| node["operator"]["profile"]["allocationDelayBlocks"].as_u64();
            let delays: Vec<Option<u64>> = operators.iter().map(delay).collect();
            let holds = delays.iter().all(|delay| delay.is_some_and(|delay| delay >= least));
            let found = match delays.iter().min() {
                Some(Some(least)) => least.to_string(),
                Some(None) => "not known of one".to_owned(),
                None => "no operator".to_owned(),
            };
            checks.0.push(("allocation_delay_blocks_min", least.to_string(), found, holds));
        }
        checks
    }
}

/// A percentage of a policy in 1e-12; limits are coarse, so a rounded one will do.
fn ppt_of(percent: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
    let ppt = (percent.clamp(0.0, 1e6) * 1e10).round() as u64;
    ppt
}

impl Checks {
    fn at_most(&mut self, limit: &'static str, most: Option<f64>, found: u64) {
        if let Some(most) = most {
            let share = percent(&json!(found.to_string()));
            self.0.push((limit, format!("{most} %"), share, found <= ppt_of(most)));
        }
    }

    fn grade<'a>(
        &mut self,
        limit: &'static str,
        worst: Option<&str>,
        ratings: impl IntoIterator<Item = &'a Value>,
    ) {
        let Some(worst) = worst.and_then(|letters| letters.parse::<Grade>().ok()) else { return };
        let grade = |rating: &Value| {
            rating["grade"].as_str().and_then(|letters| letters.parse::<Grade>().ok())
        };
        let found: Vec<(Option<Grade>, String)> =
            ratings.into_iter().map(|rating| (grade(rating), text(&rating["label"]))).collect();
        let holds = found.iter().all(|(grade, _)| grade.is_some_and(|grade| grade <= worst));
        // Without a grade is worse than any grade.
        let worst_found =
            found.iter().max_by_key(|(grade, _)| grade.map_or(u8::MAX, Grade::number));
        let label = match worst_found {
            Some((Some(_), label)) => label.clone(),
            Some((None, _)) => "NR".to_owned(),
            None => "nobody".to_owned(),
        };
        self.0.push((limit, worst.to_string(), label, holds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::read::look_through::parts;

    #[test]
    fn a_limit_holds_only_where_what_it_needs_is_known() {
        let operator = |grade: &str| {
            json!({ "rating": { "label": grade, "grade": grade },
                    "profile": { "allocationDelayBlocks": 50_400 } })
        };
        let entity = json!({
            "rating": { "label": "A-", "grade": "A-" },
            "backing": { "nav": "100", "reserve": { "coveragePpt": "1000000000000" }, "positions": { "nodes": [
                { "place": "SLASHABLE", "value": "40", "operatorAddress": "0xaa", "operator": operator("A"),
                  "avsAddress": "0xcc", "operatorSetId": "0", "operatorSet": null },
                { "place": "UNALLOCATED", "value": "20", "operatorAddress": "0xaa", "operator": operator("A") },
                { "place": "UNALLOCATED", "value": "30", "operatorAddress": "0xbb", "operator": null },
                { "place": "UNSEEN", "value": "10" } ] } } });
        let parts = parts(&entity).unwrap();
        let holds = |line: &str| {
            let policy: Policy = toml::from_str(line).unwrap();
            policy.check(&entity, &parts).broken() == 0
        };
        for (line, expected) in [
            ("worst_grade = 'A-'", true),
            ("worst_grade = 'A'", false),
            ("worst_operator_grade = 'D'", false),
            ("worst_set_grade = 'D'", false),
            ("operator_percent_max = 60", true),
            ("operator_percent_max = 59.9", false),
            ("avs_percent_max = 40", true),
            ("set_percent_max = 39", false),
            ("redistributable_percent_max = 39", false),
            ("unseen_percent_max = 10", true),
            ("unseen_percent_max = 9.99", false),
            ("reserve_percent_min = 100", true),
            ("reserve_percent_min = 100.1", false),
            ("allocation_delay_blocks_min = 1", false),
        ] {
            assert_eq!(holds(line), expected, "{line}");
        }
        assert!(toml::from_str::<Policy>("operator_percent = 5").is_err());
    }
}
