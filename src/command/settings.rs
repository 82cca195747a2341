//! The file of settings: what stands in it takes the place of a default, so that flags and the
//! environment go before it. `assay init` writes one from the commands' own definitions.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::builder::{OsStr, StyledStr};
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, CommandFactory as _};
use etcetera::BaseStrategy as _;
use toml::{Table, Value};

/// In the working directory.
const FILE: &str = "assay.toml";

/// The commands that run or look after a node. No other takes settings: a file that lies in some
/// directory must not say what a question runs, nor whom it is put to.
const SECTIONS: [&str; 4] = ["run", "serve", "ingest", "doctor"];

#[derive(Debug, Args)]
#[command(before_help = "Example: assay init && assay config show run --origin")]
pub(super) struct InitArgs {
    /// Write over the file that is there.
    #[arg(long)]
    force: bool,
}

/// The file that is read, and what it says.
pub(super) struct Settings {
    pub(super) path: PathBuf,
    table: Table,
}

/// Where a file is looked for, best first; the first that is there is read.
pub(super) fn places() -> Vec<PathBuf> {
    let home = etcetera::choose_base_strategy().ok();
    let home = home.map(|home| home.config_dir().join("assay/config.toml"));
    std::iter::once(PathBuf::from(FILE)).chain(home).collect()
}

impl Settings {
    /// The file, if there is one.
    pub(super) fn read() -> anyhow::Result<Option<Self>> {
        let Some(path) = places().into_iter().find(|path| path.is_file()) else { return Ok(None) };
        let table = super::read_file(&path)?
            .parse()
            .with_context(|| format!("{} is no TOML", path.display()))?;
        Ok(Some(Self { path, table }))
    }

    /// What the file says of an option of a command, or of what all commands share.
    pub(super) fn get(&self, section: Option<&str>, long: &str) -> Option<Vec<String>> {
        let table = match section {
            None => &self.table,
            Some(section) => self.table.get(section)?.as_table()?,
        };
        texts(table.get(long)?)
    }

    /// The commands with what the file says in the place of defaults.
    pub(super) fn apply(&self, mut command: Command) -> anyhow::Result<Command> {
        for (key, value) in &self.table {
            command = match value.as_table() {
                Some(section) if SECTIONS.contains(&key.as_str()) => {
                    let fit = |command| fit(command, section, &format!("[{key}] "));
                    let fitted = fit(command.find_subcommand(key).context("it is there")?.clone());
                    let fitted = fitted.with_context(|| self.path.display().to_string())?;
                    command.mut_subcommand(key, |_| fitted)
                }
                Some(_) => {
                    let path = self.path.display();
                    bail!("{path}: there is no section [{key}]; there are {}", SECTIONS.join(", "))
                }
                None => {
                    let one = Table::from_iter([(key.clone(), value.clone())]);
                    let fitted = fit(command, &one, "");
                    fitted.with_context(|| self.path.display().to_string())?
                }
            };
        }
        Ok(command)
    }
}

/// A command with values in the place of its defaults.
fn fit(mut command: Command, values: &Table, place: &str) -> anyhow::Result<Command> {
    for (long, value) in values {
        let Some(arg) = options(&command).find(|arg| arg.get_long() == Some(long)) else {
            let names = options(&command).filter_map(Arg::get_long);
            let nearest = names.min_by_key(|name| strsim::damerau_levenshtein(name, long));
            bail!("{place}{long} is unknown; the nearest is {}", nearest.unwrap_or_default());
        };
        let given = texts(value)
            .with_context(|| format!("{place}{long} wants a text, a number, true, or a list"))?;
        let id = arg.get_id().clone();
        // Tried as a flag first: what is wrong with it is then said as clap says it.
        let tried = given.iter().map(|text| match arg.get_action().takes_values() {
            true => format!("--{long}={text}"),
            false => format!("--{long}"),
        });
        let tried = std::iter::once(String::new()).chain(tried);
        if let Err(error) = command.clone().try_get_matches_from(tried)
            && matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue)
        {
            bail!("{place}{}", error.to_string().trim_start_matches("error: ").trim());
        }
        let given: Vec<OsStr> = given.into_iter().map(OsStr::from).collect();
        command = command.mut_arg(id, |arg| {
            // What may hold a token or a password is not for the help either.
            let is_hidden = arg.is_hide_env_values_set();
            arg.required(false).hide_default_value(is_hidden).default_values(given)
        });
    }
    Ok(command)
}

/// What can be set.
fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    let is_one = |arg: &&Arg| {
        // What is asked, of whom, and whether something is mended is for whoever types.
        let is_typed = |long| matches!(long, "help" | "version" | "json" | "url" | "fix");
        arg.get_long().is_some_and(|long| !is_typed(long))
    };
    command.get_arguments().filter(is_one)
}

/// A value as it would be typed.
fn texts(value: &Value) -> Option<Vec<String>> {
    Some(match value {
        Value::String(text) => vec![text.clone()],
        Value::Integer(number) => vec![number.to_string()],
        Value::Boolean(is_so) => vec![is_so.to_string()],
        Value::Array(all) => all.iter().map(texts).collect::<Option<Vec<_>>>()?.concat(),
        _ => return None,
    })
}

/// The commands as they are defined, with what the file says.
pub(super) fn command() -> anyhow::Result<Command> {
    let command = super::Args::command();
    Settings::read()?.map_or(Ok(command.clone()), |settings| settings.apply(command))
}

/// What was typed. A file that is wrong is told of as clap tells of a wrong flag: exit code 2.
pub(super) fn matches() -> ArgMatches {
    match command() {
        Ok(command) => command.get_matches(),
        Err(error) => {
            super::Args::command().error(ErrorKind::InvalidValue, format!("{error:#}")).exit()
        }
    }
}

/// `assay init`: a file that says what holds without it.
pub(super) fn init(args: &InitArgs) -> anyhow::Result<()> {
    let mut all = super::Args::command();
    all.build();
    let mut text = format!(
        "# Settings of Assay {}: flags and the environment go before them. What is left out, or\n\
         # stands behind a #, has its default.\n",
        env!("CARGO_PKG_VERSION")
    );
    text += &section(&all, |_| true);
    for name in SECTIONS {
        let command = all.find_subcommand(name).context("it is there")?;
        text += &format!("\n[{name}]\n{}", section(command, |arg| !arg.is_global_set()));
    }
    let mut options = OpenOptions::new();
    // An address may hold a token.
    options.write(true).mode(0o600);
    match args.force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    let hint = format!("cannot make {FILE}; --force writes over one that is there");
    options.open(FILE).context(hint)?.write_all(text.as_bytes())?;
    let path = std::path::absolute(FILE)?;
    super::say(&path.display().to_string());
    Ok(())
}

/// Each option of a command with its help and its default, all behind a #.
fn section(command: &Command, is_shown: impl Fn(&Arg) -> bool) -> String {
    let mut text = String::new();
    for arg in options(command).filter(|arg| is_shown(arg)) {
        let Some(long) = arg.get_long() else { continue };
        let help = arg.get_help().map(StyledStr::to_string).unwrap_or_default();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let defaults: Vec<Value> = arg
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy().into_owned())
            .map(|value| value.parse().map_or_else(|_| Value::String(value), Value::Integer))
            .collect();
        let value = match (arg.get_action(), defaults.as_slice()) {
            (clap::ArgAction::SetTrue, _) => Value::Boolean(false),
            (clap::ArgAction::Append, _) => Value::Array(defaults),
            (_, [default]) => default.clone(),
            _ => Value::String(String::new()),
        };
        text += &format!("\n# {help}\n#{long} = {value}\n");
    }
    text
}
