//! `assay query`: GraphQL from the database, without a server, or from one.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value};
use sqlx::PgPool;

use super::database::DatabaseArgs;
use super::read::{ServerArgs, clean_json};

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    /// The document; `-` reads standard input.
    file: PathBuf,
    /// A variable; the value is JSON, or else a string.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, Value)>,
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
    let source = args.server.open(database).await?.with_scenarios().await?;
    let variables: Map<String, Value> = args.variables.into_iter().collect();
    let answer = source.execute(&document, Value::Object(variables)).await?;
    super::say(&clean_json(&answer));
    let answer: Value = serde_json::from_str(&answer)?;
    match answer.get("errors") {
        Some(_) => anyhow::bail!("the query has errors; they are in the answer"),
        None => Ok(()),
    }
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
