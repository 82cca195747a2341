//! What the demo tells: the ratings before and after a slash, and the warning before it.
//!
//! Every figure is asked of the API, as of a block, like anybody would.

use anyhow::Context as _;
use assay_domain::grade::Grade;
use assay_domain::rationale::percent;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::read::{cause, clean, group, short};
use super::say;
use super::table::table;

/// The AVS whose slashes the story is about.
const AVS: &str = "0x12b75d5ed35320b33daf37f90ff0f6d31796cc3d";

/// The block in which it created its set with itself as recipient of what it slashes.
const WARNING_BLOCK: u64 = 24_712_915;

/// The block of its first 100 % slash.
const SLASH_BLOCK: u64 = 24_763_745;

/// Queries to paste into GraphiQL.
pub(super) const QUERIES: [&str; 3] = [
    "{ entities(orderBy: { field: GRADE, direction: DESC }, first: 10) { nodes { slug rating { label \
     expectedLossPpt interval { bestGrade worstGrade } coveragePpm } } } }",
    "{ entity(slug: \"operator-set-1-0x12b75d5ed35320b33daf37f90ff0f6d31796cc3d-0\", \
     asOf: { block: { chainId: 1, number: 24712915 } }) { rating { label attribution { block points \
     expectedLossPpt } rationale { summary drivers raise } } } }",
    "{ slashings(first: 20) { nodes { block { number time } operatorSet { slug } strategies { strategy wadSlashed } untrustedDescription } } }",
];

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) slug: String,
    name: Option<String>,
    pub(super) kind: String,
    pub(super) grade: Option<String>,
    pub(super) expected_loss_ppt: Option<u64>,
    pub(super) position: String,
    pub(super) block: u64,
    label: String,
    reason: Option<String>,
    interval: Option<(u64, u64)>,
    coverage_ppm: u64,
    outlook: String,
    driver: String,
    warnings: Vec<String>,
}

impl Row {
    /// Its address, and behind it what it calls itself.
    fn called(&self) -> String {
        match &self.name {
            Some(name) => format!("{} “{name}”", short(&self.slug)),
            None => short(&self.slug),
        }
    }
}

/// Every entity's rating as of a block of mainnet, or now.
pub(super) async fn rows(pool: &PgPool, block: Option<u64>) -> anyhow::Result<Vec<Row>> {
    const QUERY: &str = "query ($asOf: AsOf, $after: String) {
        entities(asOf: $asOf, first: 100, after: $after) {
            nodes { slug kind untrustedName rating { grade label notRatedReason expectedLossPpt
                interval { lowPpt highPpt } coveragePpm outlook position block { number }
                attribution { block points } rationale { warnings } } }
            pageInfo { hasNextPage endCursor } } }";
    let as_of =
        block.map_or(Value::Null, |number| json!({ "block": { "chainId": 1, "number": number } }));
    let mut rows = Vec::new();
    let mut after = Value::Null;
    loop {
        let variables = json!({ "asOf": as_of, "after": after });
        let data = super::query::ask(pool, QUERY, variables).await?;
        let page = &data["entities"];
        rows.extend(page["nodes"].as_array().into_iter().flatten().filter_map(row));
        if page["pageInfo"]["hasNextPage"] != json!(true) {
            return Ok(rows);
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

fn row(node: &Value) -> Option<Row> {
    let rating = node.get("rating").filter(|rating| !rating.is_null())?;
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let interval = &rating["interval"];
    let driver = rating["attribution"]
        .as_array()
        .into_iter()
        .flatten()
        .max_by_key(|line| line["points"].as_i64())
        .map_or_else(String::new, |line| cause(&line["block"]));
    Some(Row {
        slug: text(&node["slug"]),
        name: node["untrustedName"].as_str().map(clean),
        kind: text(&node["kind"]),
        grade: rating["grade"].as_str().map(str::to_owned),
        expected_loss_ppt: number(&rating["expectedLossPpt"]),
        position: text(&rating["position"]),
        block: rating["block"]["number"].as_u64().unwrap_or_default(),
        label: text(&rating["label"]),
        reason: rating["notRatedReason"].as_str().map(str::to_owned),
        interval: number(&interval["lowPpt"]).zip(number(&interval["highPpt"])),
        coverage_ppm: rating["coveragePpm"].as_u64().unwrap_or_default(),
        outlook: text(&rating["outlook"]).to_lowercase(),
        driver,
        warnings: rating["rationale"]["warnings"]
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect(),
    })
}

/// Prints the ratings around the slash, and the warning before it.
pub(super) async fn tell(pool: &PgPool) -> anyhow::Result<()> {
    let before = rows(pool, Some(SLASH_BLOCK - 1)).await?;
    let after = rows(pool, Some(SLASH_BLOCK)).await?;
    let title = format!("Before the slash, block {}:", group(SLASH_BLOCK - 1));
    say(&format!("\n{title}\n{}", ratings_table(&before)));
    say(&not_rated(&before));
    let changed: Vec<Row> =
        after.iter().filter(|row| !before.iter().any(|old| is_same(old, row))).cloned().collect();
    say(&format!(
        "\nAfter it, block {}: {} ratings changed, {} did not.\n{}",
        group(SLASH_BLOCK),
        changed.len(),
        after.len() - changed.len(),
        ratings_table(&changed)
    ));
    say(&not_rated(&changed));
    say(&warning(pool).await?);
    Ok(())
}

fn is_same(old: &Row, new: &Row) -> bool {
    (&old.slug, &old.label, old.expected_loss_ppt) == (&new.slug, &new.label, new.expected_loss_ppt)
        && old.outlook == new.outlook
}

fn ratings_table(rows: &[Row]) -> String {
    let mut rated: Vec<&Row> = rows.iter().filter(|row| row.grade.is_some()).collect();
    rated.sort_by_key(|row| (row.kind.clone(), std::cmp::Reverse(row.expected_loss_ppt)));
    let mut table = table(&[
        "entity",
        "grade",
        "expected loss",
        "90 % interval",
        "coverage",
        "outlook",
        "main driver",
    ]);
    for row in rated {
        let share = |ppt: u64| format!("{} %", percent(ppt));
        let interval = row
            .interval
            .map_or_else(String::new, |(low, high)| format!("{} .. {}", share(low), share(high)));
        table.add_row([
            row.called(),
            row.label.clone(),
            row.expected_loss_ppt.map_or_else(String::new, share),
            interval,
            format!("{} %", row.coverage_ppm / 10_000),
            row.outlook.clone(),
            row.driver.clone(),
        ]);
    }
    table.to_string()
}

fn not_rated(rows: &[Row]) -> String {
    let mut lines = vec![
        "The ledger holds no memberships, no prices and no magnitudes: a set has its intrinsic \
         rating, an AVS that of its worst set. (p): hardly any data of its own."
            .to_owned(),
    ];
    for row in rows.iter().filter(|row| row.grade.is_none()) {
        let reason = row.reason.as_deref().unwrap_or("no reason is recorded");
        lines.push(format!("NR {}: {reason}", row.called()));
    }
    lines.join("\n")
}

/// What the log itself told, 50,830 blocks before the slash.
async fn warning(pool: &PgPool) -> anyhow::Result<String> {
    let then = rows(pool, Some(WARNING_BLOCK)).await?;
    let sets: Vec<&Row> = then.iter().filter(|row| row.kind == "OPERATOR_SET").collect();
    let subject = sets
        .iter()
        .find(|row| row.slug.contains(AVS))
        .context("the ledger does not hold the set of the story")?;
    let (plain, warned): (Vec<&Row>, Vec<&Row>) =
        sets.iter().copied().partition(|row| row.warnings.is_empty());
    let mut grades: Vec<u8> = plain.iter().filter_map(|row| number(row)).collect();
    grades.sort_unstable();
    let median = grades.get(grades.len() / 2).copied().context("no set is rated")?;
    let notches = number(subject).unwrap_or(median).saturating_sub(median);
    let mut lines = vec![
        format!(
            "\nThe warning, block {}, {} blocks before the slash:",
            group(WARNING_BLOCK),
            group(SLASH_BLOCK - WARNING_BLOCK)
        ),
        format!(
            "{} is {}, {notches} notches below the median of the {} unattested sets without that \
             warning, {}.",
            subject.called(),
            subject.label,
            plain.len(),
            Grade::from_number(median).map_or("NR", Grade::letters)
        ),
    ];
    lines.extend(subject.warnings.iter().cloned());
    let slashed = slashed_later(pool).await?;
    lines.push(format!("{} other sets carried the same warning at that block:", warned.len() - 1));
    for row in warned.iter().filter(|row| row.slug != subject.slug) {
        lines.push(format!("  {} {}: {}", row.called(), row.label, fate(row, &slashed)));
    }
    let now = rows(pool, None).await?;
    let since = now.iter().filter(|row| {
        row.kind == "OPERATOR_SET"
            && !row.warnings.is_empty()
            && !then.iter().any(|old| old.slug == row.slug)
    });
    for row in since {
        lines.push(format!(
            "  {} {} (created later): {}",
            row.called(),
            row.label,
            fate(row, &slashed)
        ));
    }
    Ok(lines.join("\n"))
}

fn number(row: &Row) -> Option<u8> {
    row.grade.as_deref()?.parse::<Grade>().ok().map(Grade::number)
}

fn fate(row: &Row, slashed: &[(String, u64)]) -> String {
    let blocks: Vec<u64> =
        slashed.iter().filter(|(slug, _)| *slug == row.slug).map(|(_, block)| *block).collect();
    match (blocks.first(), blocks.len()) {
        (None, _) => "never slashed in the ledger".to_owned(),
        (Some(block), count) => {
            let side = if *block < WARNING_BLOCK { "slashed before" } else { "slashed later" };
            format!("{side}, first in block {} ({count} times)", group(*block))
        }
    }
}

/// Sets that slashed, and when.
async fn slashed_later(pool: &PgPool) -> anyhow::Result<Vec<(String, u64)>> {
    const QUERY: &str =
        "{ slashings(first: 100) { nodes { operatorSet { slug } block { number } } } }";
    let data = super::query::ask(pool, QUERY, Value::Null).await?;
    let mut slashed: Vec<(String, u64)> = data["slashings"]["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|node| {
            let slug = node["operatorSet"]["slug"].as_str()?.to_owned();
            Some((slug, node["block"]["number"].as_u64()?))
        })
        .collect();
    slashed.sort_by_key(|(_, block)| *block);
    Ok(slashed)
}
