//! `assay alerts`: who is told of what happens, how far, and whether a message arrives.

use std::path::PathBuf;

use assay::webhook::{Place, Webhook, places};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::database::DatabaseArgs;
use super::failure::Failure;
use super::progress::during;
use super::read::clean;
use super::table::table;

#[derive(Debug, Subcommand)]
pub(super) enum AlertsCommand {
    /// Each webhook: how much waits for it, when it last took something, since when it fails.
    #[command(before_help = "Example: assay alerts ls --webhooks webhooks.toml")]
    Ls(AlertsArgs),
    /// Send each a signed message of type `test`; exit code 6 if one does not take it.
    #[command(before_help = "Example: assay alerts test --webhooks webhooks.toml --name desk")]
    Test {
        #[command(flatten)]
        alerts: AlertsArgs,
        /// This one alone.
        #[arg(long)]
        name: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct AlertsArgs {
    /// The file that `assay run` is given (docs/OPERATIONS.md).
    #[arg(long, value_name = "FILE")]
    webhooks: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(database: &DatabaseArgs, command: AlertsCommand) -> anyhow::Result<()> {
    match command {
        AlertsCommand::Ls(args) => ls(database, &args).await,
        AlertsCommand::Test { alerts, name } => test(&alerts, name.as_deref()).await,
    }
}

async fn ls(database: &DatabaseArgs, args: &AlertsArgs) -> anyhow::Result<()> {
    let webhooks = Webhook::read(&args.webhooks)?;
    let open = database.open().await?;
    let places = places(&open.reader().await?).await?;
    let mut lines = table(&["webhook", "host", "waiting", "took something", "fails since"]);
    let mut told = Vec::new();
    for webhook in &webhooks {
        let place = places.iter().find(|place| place.name == webhook.name);
        let time = |of: fn(&Place) -> &Option<String>| place.and_then(|place| of(place).clone());
        let delivered_at = time(|place| &place.delivered_at);
        let failing_since = time(|place| &place.failing_since);
        let waiting = place.map(|place| place.waiting);
        told.push(json!({ "name": webhook.name, "host": webhook.host(), "waiting": waiting,
            "deliveredAt": delivered_at, "failingSince": failing_since }));
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        lines.add_row([
            webhook.name.clone(),
            clean(webhook.host()),
            waiting.map_or_else(|| "not begun".to_owned(), |count| count.to_string()),
            or_none(delivered_at),
            or_none(failing_since),
        ]);
    }
    super::say(&if args.json { Value::from(told).to_string() } else { lines.to_string() });
    Ok(())
}

async fn test(args: &AlertsArgs, name: Option<&str>) -> anyhow::Result<()> {
    let mut webhooks = Webhook::read(&args.webhooks)?;
    webhooks.retain(|webhook| name.is_none_or(|name| webhook.name == name));
    if webhooks.is_empty() {
        let which = name.map_or_else(String::new, |name| format!(" {}", clean(name)));
        let message = format!("{} names no webhook{which}", args.webhooks.display());
        return Err(Failure::NotFound(message).into());
    }
    let (mut told, mut failed) = (Vec::new(), 0);
    let mut lines = table(&["webhook", "host", "says"]);
    for webhook in &webhooks {
        let outcome = during("telling a webhook", webhook.test()).await;
        failed += usize::from(outcome.is_err());
        let refusal = outcome.err();
        told.push(json!({ "name": webhook.name, "host": webhook.host(), "refusal": refusal }));
        let said = refusal.map_or_else(|| "✔ taken".to_owned(), |reason| clean(&reason));
        lines.add_row([webhook.name.clone(), clean(webhook.host()), said]);
    }
    super::say(&if args.json { Value::from(told).to_string() } else { lines.to_string() });
    match failed {
        0 => Ok(()),
        failed => {
            let message = format!("{failed} of {} do not take it", webhooks.len());
            Err(Failure::Network(message).into())
        }
    }
}
