//! `assay config`: what a command would run with, and where each value comes from.

use clap::{Arg, Args, Command, Subcommand};
use serde_json::{Value, json};

use super::database::DatabaseArgs;
use super::failure::Failure;
use super::settings::{self, Settings};
use super::table::table;

/// What the log of the program itself is told by.
const LOG_VARIABLE: &str = "ASSAY_LOG";

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// What a command takes: flags go before the environment, that before the file of settings, and
    /// that before the default.
    Show(ShowArgs),
    /// Print the path of the file of settings that is read, or where one would be.
    Path,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Of this command [default: what all commands share].
    command: Option<String>,
    /// Also say where each value comes from.
    #[arg(long)]
    origin: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A value and where it comes from. Nothing that may hold a password is shown.
struct Setting {
    name: String,
    value: Option<String>,
    origin: String,
}

pub(super) fn run(database: &DatabaseArgs, command: ConfigCommand) -> anyhow::Result<()> {
    let file = Settings::read()?;
    let args = match command {
        ConfigCommand::Show(args) => args,
        ConfigCommand::Path => {
            let path = file.map(|file| file.path).or_else(|| settings::places().into_iter().next());
            super::say(&std::path::absolute(path.unwrap_or_default())?.display().to_string());
            return Ok(());
        }
    };
    let mut all = settings::command()?;
    all.build();
    let of = match &args.command {
        None => &all,
        Some(name) => all.find_subcommand(name).ok_or_else(|| {
            Failure::NotFound(format!("there is no command {name}; `assay --help` lists them"))
        })?,
    };
    let settings = found(of, args.command.as_deref(), file.as_ref(), database)?;
    if args.json {
        let shown = settings
            .iter()
            .map(|one| json!({ "name": one.name, "value": one.value, "origin": one.origin }));
        super::say(&shown.collect::<Value>().to_string());
        return Ok(());
    }
    let mut lines = match args.origin {
        true => table(&["setting", "value", "from"]),
        false => table(&["setting", "value"]),
    };
    for Setting { name, value, origin } in settings {
        let mut row = vec![name, value.unwrap_or_else(|| "–".to_owned())];
        row.extend(args.origin.then_some(origin));
        lines.add_row(row);
    }
    super::say(&lines.to_string());
    Ok(())
}

fn found(
    of: &Command,
    name: Option<&str>,
    file: Option<&Settings>,
    database: &DatabaseArgs,
) -> anyhow::Result<Vec<Setting>> {
    let is_shown =
        |arg: &&Arg| arg.get_long().is_some_and(|name| !matches!(name, "help" | "version"));
    let mut found = Vec::new();
    for arg in of.get_arguments().filter(is_shown) {
        found.push(match arg.get_id().as_str() {
            "data_dir" => data_dir(database)?,
            "database_url" => database_url(database),
            _ => setting(arg),
        });
        // A flag that says the same as the file might as well be left out.
        let section = name.filter(|_| !arg.is_global_set());
        let long = arg.get_long().unwrap_or_default();
        let of_file = file.and_then(|file| Some((file, file.get(section, long)?.join(" "))));
        if let (Some((file, value)), Some(last)) = (of_file, found.last_mut())
            && !last.origin.starts_with("environment")
            && (last.origin == "default"
                || last.value.as_ref() == Some(&value)
                || database.url() == Some(&value))
        {
            last.origin = format!("file {}", file.path.display());
        }
    }
    let told = std::env::var(LOG_VARIABLE).ok();
    let origin = match told {
        Some(_) => format!("environment {LOG_VARIABLE}"),
        None => "default".to_owned(),
    };
    let value = Some(told.unwrap_or_else(|| crate::TOLD.to_owned()));
    found.push(Setting { name: "log".to_owned(), value, origin });
    Ok(found)
}

fn setting(arg: &Arg) -> Setting {
    let name = format!("--{}", arg.get_long().unwrap_or_default());
    if let Some(variable) = arg.get_env()
        && let Some(given) = std::env::var_os(variable)
    {
        let value = match arg.is_hide_env_values_set() {
            true => "(set, not shown)".to_owned(),
            false => given.to_string_lossy().into_owned(),
        };
        let origin = format!("environment {}", variable.to_string_lossy());
        return Setting { name, value: Some(value), origin };
    }
    // A switch is off unless given.
    let takes_value = arg.get_action().takes_values();
    let defaults: Vec<_> =
        arg.get_default_values().iter().map(|one| one.to_string_lossy()).collect();
    let value = (takes_value && !defaults.is_empty()).then(|| match arg.is_hide_env_values_set() {
        true => "(set, not shown)".to_owned(),
        false => defaults.join(" "),
    });
    let origin = if value.is_some() || !takes_value { "default" } else { "not set" };
    let value = value.or_else(|| (!takes_value).then(|| "off".to_owned()));
    Setting { name, value, origin: origin.to_owned() }
}

fn database_url(database: &DatabaseArgs) -> Setting {
    let name = "--database-url".to_owned();
    let Some(url) = database.url() else {
        return Setting { name, value: None, origin: "not set: a private Postgres".to_owned() };
    };
    let is_environment = std::env::var("DATABASE_URL").is_ok_and(|found| found == url);
    let origin = if is_environment { "environment DATABASE_URL" } else { "flag" };
    Setting { name, value: Some("(set, not shown)".to_owned()), origin: origin.to_owned() }
}

fn data_dir(database: &DatabaseArgs) -> anyhow::Result<Setting> {
    let dir = database.data_dir().transpose()?;
    let origin = match (&dir, database.is_placed()) {
        (None, _) => "not used: the database is elsewhere",
        (Some(_), true) => "flag",
        (Some(_), false) if std::env::var_os("XDG_DATA_HOME").is_some() => {
            "environment XDG_DATA_HOME"
        }
        (Some(_), false) => "default",
    };
    let value = dir.map(|dir| dir.display().to_string());
    Ok(Setting { name: "--data-dir".to_owned(), value, origin: origin.to_owned() })
}
