//! `assay db`: the database itself, be it the private one or another's.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use alloy::transports::http::reqwest::Url;
use anyhow::{Context as _, bail, ensure};
use assay::cluster::{self, Cluster};
use assay::db::{ConnectError, Database, Examined, MIGRATIONS, Role};
use assay::event_store::EventStore;
use clap::{Args, Subcommand};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::database::DatabaseArgs;
use super::progress::during;
use super::read::group;

/// Rows whose hashes are recomputed after a restore; `assay verify` does all.
const TAIL: u64 = 1_000;

/// What libpq would not understand of a URL that sqlx takes.
const NOT_OF_LIBPQ: &str = "statement-cache-capacity";

#[derive(Debug, Subcommand)]
pub(super) enum DbCommand {
    /// Where it is, how large, which schema, and how far the log and the ratings go.
    #[command(before_help = "Example: assay db status --json")]
    Status {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Bring the schema up to date. Every command that writes does so by itself.
    #[command(before_help = "Example: assay db migrate")]
    Migrate,
    /// Open a shell on it: psql, with what follows `--`.
    #[command(before_help = "Example: assay db psql -- -c 'TABLE read_model.webhooks'")]
    Psql {
        /// For psql.
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Print its URL, without a password.
    #[command(before_help = "Example: assay db url")]
    Url,
    /// Write all of it to a file, with pg_dump.
    #[command(before_help = "Example: assay db backup assay.dump")]
    Backup {
        /// A file that is not there yet.
        file: PathBuf,
    },
    /// Read such a file into a database whose log is empty, all or nothing.
    #[command(
        before_help = "Example: assay db restore assay.dump --data-dir /var/lib/assay-restored"
    )]
    Restore {
        /// What `backup` wrote.
        file: PathBuf,
    },
    /// Throw everything away: the log, the ratings, and what keys have signed.
    #[command(before_help = "Example: assay db reset --yes")]
    Reset(ResetArgs),
}

#[derive(Debug, Args)]
pub(super) struct ResetArgs {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// A database that answers.
struct Place {
    database: Database,
    url: String,
    /// Stops the private one when dropped.
    _cluster: Option<Cluster>,
}

pub(super) async fn run(args: &DatabaseArgs, command: DbCommand) -> anyhow::Result<()> {
    let (database, cluster) = args.connect().await?;
    let url = cluster.as_ref().map(Cluster::url).or_else(|| args.url().map(str::to_owned));
    let place = Place { database, url: url.unwrap_or_default(), _cluster: cluster };
    match command {
        DbCommand::Status { json } => place.status(json).await,
        DbCommand::Migrate => {
            let missing = place.database.examine().await?.missing.len();
            place.database.migrate().await.context("cannot bring the schema up to date")?;
            let known = MIGRATIONS.iter().count();
            super::say(&format!("{missing} migrations applied; all {known} are there."));
            Ok(())
        }
        DbCommand::Psql { arguments } => {
            // Ctrl-C is psql's: it calls off a query.
            let _ours = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
            let mut psql = place.client("psql")?;
            let status = finish(psql.args(arguments)).await?;
            ensure!(status.success(), "psql ends with {status}");
            Ok(())
        }
        DbCommand::Url => {
            super::say(place.address()?.0.as_str());
            if args.url().is_none() {
                eprintln!("It answers while an Assay runs on it; `assay db psql` starts it.");
            }
            Ok(())
        }
        DbCommand::Backup { file } => place.backup(&file).await,
        DbCommand::Restore { file } => place.restore(&file).await,
        DbCommand::Reset(args) => place.reset(args.yes).await,
    }
}

impl Place {
    async fn store(&self) -> Result<EventStore, ConnectError> {
        Ok(EventStore::new(self.database.pool(Role::Writer, 2).await?))
    }

    async fn status(&self, is_json: bool) -> anyhow::Result<()> {
        let Examined { version, missing, bytes, others, .. } = self.database.examine().await?;
        let known = MIGRATIONS.iter().count();
        let (head, rated) = match missing.is_empty() {
            true => {
                let store = self.store().await?;
                (Some(store.head().await?), assay::verify::reflected(&store).await?)
            }
            false => (None, None),
        };
        let server = self.database.server().to_string();
        if is_json {
            let log = head.as_ref().map(|it| json!({ "position": it.position, "hash": it.hash }));
            let told = json!({ "server": server, "version": version, "bytes": bytes,
                "connections": others, "migrations": { "known": known, "missing": missing },
                "log": log, "ratedUpTo": rated });
            super::say(&told.to_string());
            return Ok(());
        }
        let mut lines = super::table::table(&["", ""]);
        lines.add_row(["server", &server]);
        lines.add_row(["Postgres", &version]);
        lines.add_row(["size", &format!("{} kB", group(bytes / 1_000))]);
        lines.add_row(["other connections", &others.to_string()]);
        lines.add_row(["migrations", &format!("{} of {known}", known - missing.len())]);
        if let Some(head) = head {
            lines.add_row(["log", &format!("position {}, {}", group(head.position), head.hash)]);
            let rated = rated
                .map_or_else(|| "nothing".to_owned(), |position| group(position.cast_unsigned()));
            lines.add_row(["rated up to position", &rated]);
        }
        super::say(&lines.to_string());
        Ok(())
    }

    /// The URL without a password, and the password.
    fn address(&self) -> anyhow::Result<(Url, Option<String>)> {
        let mut url: Url = self.url.parse().context("the URL of the database is no URL")?;
        let mut password =
            url.password().map(|text| percent_decode_str(text).decode_utf8_lossy().into_owned());
        let mut kept = Vec::new();
        for (name, value) in url.query_pairs().into_owned() {
            match name.as_str() {
                "password" => password = Some(value),
                NOT_OF_LIBPQ => {}
                _ => kept.push((name, value)),
            }
        }
        let _has_host = url.set_password(None);
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
        // libpq reads no plus sign as a space.
        let query = url.query().map(|query| query.replace('+', "%20"));
        url.set_query(query.as_deref());
        Ok((url, password))
    }

    /// A program of Postgres that is to talk to this database. The password goes by its
    /// environment, which others cannot read.
    fn client(&self, program: &'static str) -> anyhow::Result<Command> {
        let (url, password) = self.address()?;
        let mut command = Command::new(cluster::client(program, self.database.major())?);
        command.arg("--dbname").arg(url.as_str());
        if let Some(password) = password {
            command.env("PGPASSWORD", password);
        }
        Ok(command)
    }

    async fn backup(&self, file: &Path) -> anyhow::Result<()> {
        let mut dump = self.client("pg_dump")?;
        dump.args(["--format=custom", "--no-owner", "--no-privileges"]);
        // What keys have signed is nobody else's business.
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
        let out = opened.with_context(|| format!("cannot make {}", file.display()))?;
        let status = during("writing the backup", finish(dump.stdout(out.try_clone()?))).await;
        if !status.as_ref().is_ok_and(ExitStatus::success) {
            // Half a backup is worse than none.
            let _removed = fs::remove_file(file);
            bail!("pg_dump ends with {}: nothing is written", status?);
        }
        out.sync_all()?;
        let bytes = group(out.metadata()?.len() / 1_000);
        super::say(&format!("{bytes} kB in {}.", file.display()));
        Ok(())
    }

    async fn restore(&self, file: &Path) -> anyhow::Result<()> {
        ensure!(file.is_file(), "there is no file {}", file.display());
        self.check_unused().await?;
        if self.database.examine().await?.missing.is_empty() {
            let position = self.store().await?.head().await?.position;
            ensure!(
                position == 0,
                "the log here has {} events already: choose an empty database, or empty this one \
                 with `assay db reset`",
                group(position)
            );
        }
        let mut restore = self.client("pg_restore")?;
        restore.args(["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]);
        self.database.clear().await?;
        let status = during("restoring", finish(restore.arg(file))).await?;
        ensure!(status.success(), "pg_restore ends with {status}: nothing is restored");
        self.database.grant().await.context("cannot give the roles their rights")?;
        self.database.migrate().await.context("cannot bring the schema up to date")?;
        let (head, checked) = self.store().await?.verify_tail(TAIL).await?;
        super::say(&format!(
            "{} events; the last {} hash to {}. `assay verify` recomputes all.",
            group(head.position),
            group(checked),
            head.hash
        ));
        eprintln!(
            "What was signed after the backup is not in it: no key that has signed since may sign \
             again here (docs/OPERATIONS.md, Keys)."
        );
        Ok(())
    }

    async fn reset(&self, is_sure: bool) -> anyhow::Result<()> {
        self.check_unused().await?;
        if !is_sure {
            ensure!(
                std::io::stdin().is_terminal(),
                "nothing is thrown away without --yes where nobody can be asked"
            );
            eprint!(
                "Log, ratings and signatures at {} will be gone. Type yes to go on: ",
                self.database.server()
            );
            std::io::stderr().flush()?;
            let mut answer = String::new();
            std::io::stdin().read_line(&mut answer)?;
            ensure!(answer.trim() == "yes", "nothing is thrown away");
        }
        self.database.clear().await?;
        self.database.migrate().await.context("cannot make the schema anew")?;
        super::say("Everything is gone, and the schema is there anew.");
        eprintln!("No key that has signed here may sign here again (docs/OPERATIONS.md, Keys).");
        Ok(())
    }

    /// Nobody else works here.
    async fn check_unused(&self) -> anyhow::Result<()> {
        let others = self.database.examine().await?.others;
        let server = self.database.server();
        ensure!(others == 0, "{others} others are connected to {server}: stop them first");
        Ok(())
    }
}

/// Runs a program to its end.
async fn finish(command: &mut Command) -> anyhow::Result<ExitStatus> {
    let mut child = command.stdin(Stdio::inherit()).spawn().context("cannot start it")?;
    Ok(tokio::task::spawn_blocking(move || child.wait()).await??)
}
