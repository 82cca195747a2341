//! `assay query`: GraphQL from the database, without a server, or from one.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;
use assay_graphql::{COST_MAX, DEPTH_MAX, FIELDS_MAX, POINTS_AN_HOUR};
use clap::Args;
use serde_json::{Map, Value, json};
use sqlx::PgPool;

use super::database::DatabaseArgs;
use super::failure::Failure;
use super::read::{ServerArgs, clean, clean_json, group};

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    /// The document; `-` reads standard input.
    file: PathBuf,
    /// A variable; the value is JSON, or else a string.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, Value)>,
    /// Say what the document costs and how deep it is, and whether a server would refuse it for
    /// that, without running it or looking whether its fields exist. Needs no database.
    #[arg(long, conflicts_with = "url")]
    dry_run: bool,
    /// Print that as one JSON object; an answer always is one.
    #[arg(long, requires = "dry_run")]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(database: &DatabaseArgs, args: QueryArgs) -> anyhow::Result<()> {
    let document = if args.file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        text
    } else {
        super::read_file(&args.file)?
    };
    let variables: Map<String, Value> = args.variables.into_iter().collect();
    if args.dry_run {
        return dry_run(&document, variables, args.json);
    }
    let source = args.server.open(database).await?.with_scenarios().await?;
    let answer = source.execute(&document, Value::Object(variables)).await?;
    super::say(&clean_json(&answer));
    let answer: Value = serde_json::from_str(&answer)?;
    match answer.get("errors") {
        Some(_) => anyhow::bail!("the query has errors; they are in the answer"),
        None => Ok(()),
    }
}

/// What a server would make of a document before it runs it.
fn dry_run(document: &str, variables: Map<String, Value>, is_json: bool) -> anyhow::Result<()> {
    let (weight, admitted) = assay_graphql::weigh(document, variables);
    let weight = weight.as_ref();
    let measures = [
        ("cost", "points", weight.map(|weight| weight.cost), COST_MAX),
        ("depth", "fields in one another", weight.map(|weight| weight.depth), DEPTH_MAX),
        ("fields", "fields in all", weight.map(|weight| weight.fields), FIELDS_MAX),
    ];
    if is_json {
        let mut told = json!({ "refusal": admitted.as_ref().err().map(
            |error| json!({ "code": error.code(), "message": error.to_string() })) });
        for (name, _, found, most) in measures {
            told[name] = json!({ "found": found, "max": most });
        }
        super::say(&told.to_string());
    } else {
        for (name, unit, found, most) in measures {
            let found = found.map_or_else(|| "–".to_owned(), group);
            super::say(&format!("{name:<8}{found} {unit}, at most {}", group(most)));
        }
        if let (Some(weight), Ok(())) = (weight, &admitted) {
            let times = u64::from(POINTS_AN_HOUR.get()) / weight.cost.max(1);
            super::say(&format!("quota   {} times an hour without a key", group(times)));
        }
    }
    admitted.map_err(|error| Failure::Refused(clean(&error.to_string())).into())
}

/// The data of an answer that must have no errors: what the other commands ask of the API.
pub(super) async fn ask(pool: &PgPool, query: &str, variables: Value) -> anyhow::Result<Value> {
    let answer = assay_graphql::execute(pool, query, variables).await;
    let mut answer: Value = serde_json::from_str(&answer)?;
    match answer.get("errors") {
        Some(errors) => anyhow::bail!("the API does not answer: {errors}"),
        None => Ok(answer["data"].take()),
    }
}

fn variable(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}
