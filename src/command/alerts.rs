//! `assay alerts`: who is told of what happens, how far, and whether a message arrives; and the
//! file that says so, edited with its comments kept.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use assay::webhook::{Place, Webhook, places};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

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
    /// Write one more into the file, which is made if it is not there; read when a node starts.
    #[command(
        before_help = "Example: assay alerts add desk https://example.org/assay --webhooks webhooks.toml --secret-file desk.secret --kinds slash,stale_feed"
    )]
    Add(AddArgs),
    /// Take one out of the file. Its place in the feed is kept: added again, it goes on there.
    #[command(before_help = "Example: assay alerts rm desk --webhooks webhooks.toml")]
    Rm {
        /// Its name.
        name: String,
        /// The file that `assay run` is given.
        #[arg(long, value_name = "FILE")]
        webhooks: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// Its name: letters, digits, - and _.
    name: String,
    /// Where messages are sent to.
    url: String,
    /// The file that `assay run` is given.
    #[arg(long, value_name = "FILE")]
    webhooks: PathBuf,
    /// The file with its secret, as seen from the folder of the other one; mode 600.
    #[arg(long, value_name = "FILE")]
    secret_file: String,
    /// What it is told [default: everything].
    #[arg(long, value_delimiter = ',')]
    #[arg(value_parser = PossibleValuesParser::new(["rating_action", "watch_change", "slash", "stale_feed"]))]
    kinds: Vec<String>,
    /// It is in a network of one's own.
    #[arg(long)]
    allow_private: bool,
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
        AlertsCommand::Add(args) => add(&args),
        AlertsCommand::Rm { name, webhooks } => rm(&name, &webhooks),
    }
}

fn add(args: &AddArgs) -> anyhow::Result<()> {
    let mut entry = Table::new();
    entry["name"] = value(&args.name);
    entry["url"] = value(&args.url);
    entry["secret_file"] = value(&args.secret_file);
    if !args.kinds.is_empty() {
        entry["kinds"] = value(args.kinds.iter().collect::<Array>());
    }
    if args.allow_private {
        entry["allow_private"] = value(true);
    }
    edit(&args.webhooks, |all| {
        all.push(entry);
        Ok(())
    })?;
    super::say(&format!("{} is told once assay run reads the file again.", args.name));
    Ok(())
}

fn rm(name: &str, webhooks: &Path) -> anyhow::Result<()> {
    edit(webhooks, |all| {
        let count = all.len();
        all.retain(|entry| entry.get("name").and_then(Item::as_str) != Some(name));
        if all.len() == count {
            let message = format!("{} names no webhook {}", webhooks.display(), clean(name));
            return Err(Failure::NotFound(message).into());
        }
        Ok(())
    })?;
    super::say(&format!("{} is told no more once assay run reads the file again.", clean(name)));
    Ok(())
}

/// Changes the file's webhooks. What a node would refuse is not written.
fn edit(
    path: &Path,
    change: impl FnOnce(&mut ArrayOfTables) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let mut file: DocumentMut =
        text.parse().with_context(|| format!("{} is no TOML", path.display()))?;
    let all = file.entry("webhook").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    match all.as_array_of_tables_mut() {
        Some(all) => change(all)?,
        None => bail!("{} has webhooks that are not [[webhook]]: edit it by hand", path.display()),
    }
    let folder = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let cannot = || format!("cannot write {}", path.display());
    let mut new =
        tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).with_context(cannot)?;
    new.write_all(file.to_string().as_bytes()).with_context(cannot)?;
    if let Ok(old) = path.metadata() {
        new.as_file().set_permissions(old.permissions()).with_context(cannot)?;
    }
    Webhook::read(new.path()).context("a node would refuse the file, so it is not changed")?;
    new.persist(path).with_context(cannot)?;
    Ok(())
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
