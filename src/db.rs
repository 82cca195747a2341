//! Connections to Postgres: one pool a role, the migrations, and every advisory lock.
//!
//! No SQL on the tables is here. Messages name the server and the database, never the password.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgPool};

/// The migrations, embedded in the binary.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Every advisory lock this crate takes (the publisher takes its own, see `outbox.rs`). The number's high bytes spell `assay`, so that it meets no
/// one else's; the migrator of sqlx takes one of its own, derived from the database's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdvisoryLock {
    /// Held by a transaction that appends to the event store, from reading the head to commit.
    Append,
}

impl AdvisoryLock {
    /// The number Postgres knows the lock by.
    pub const fn id(self) -> i64 {
        let number = match self {
            Self::Append => 1,
        };
        // "assay" and 24 bits.
        (0x61_73_73_61_79 << 24) | number
    }
}

/// What a pool may do. Kept by the database, not by our good intentions: see
/// `migrations/0004_roles.sql`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Appends events, writes the read model and the outbox's reports.
    Writer,
    /// Reads the read model, nothing else.
    Reader,
    /// Reads and writes the outbox, nothing else.
    Oracle,
}

impl Role {
    /// The role's name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Writer => "assay_writer",
            Self::Reader => "assay_reader",
            Self::Oracle => "assay_oracle",
        }
    }

    const fn set_role(self) -> &'static str {
        match self {
            Self::Writer => "SET ROLE assay_writer",
            Self::Reader => "SET ROLE assay_reader",
            Self::Oracle => "SET ROLE assay_oracle",
        }
    }
}

/// The database could not be reached or used. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not a URL of Postgres.
    #[error(
        "the database URL is not of the form postgres://user:password@host:port/database; \
         correct it (the URL is not shown because it may hold a password)"
    )]
    BadUrl,
    /// Nobody answers.
    #[error("no Postgres answers at {server}; start it, or correct the host and port ({reason})")]
    NoServer {
        /// Where.
        server: Server,
        /// What the system said.
        reason: String,
    },
    /// The password or the login is wrong.
    #[error("Postgres at {server} refuses the login; correct the user or the password")]
    LoginRefused {
        /// Where.
        server: Server,
    },
    /// The database is not there.
    #[error("Postgres at {server} has no such database; create it with `createdb {database}`")]
    NoSuchDatabase {
        /// Where.
        server: Server,
        /// The database asked for.
        database: String,
    },
    /// Too old for what the schema uses.
    #[error("Postgres at {server} is version {found}; Assay needs 14 or newer")]
    TooOld {
        /// Where.
        server: Server,
        /// Its version, as it says.
        found: String,
    },
    /// The server answered with something else.
    #[error("Postgres at {server} refused: {reason}")]
    Refused {
        /// Where.
        server: Server,
        /// What it said.
        reason: String,
    },
}

/// Where a database is, without the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server(String);

impl Server {
    fn of(options: &PgConnectOptions) -> Self {
        let place = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let database = options.get_database().unwrap_or(options.get_username());
        Self(format!("{}@{place}/{database}", options.get_username()))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A database that answered. Pools are made from it.
#[derive(Clone)]
pub struct Database {
    options: PgConnectOptions,
    server: Server,
    major: u32,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("server", &self.server).finish_non_exhaustive()
    }
}

/// The database of this URL, once it has answered.
pub async fn connect(url: &str) -> Result<Database, ConnectError> {
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(ConnectError::BadUrl);
    }
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| ConnectError::BadUrl)?
        .application_name("assay")
        // A statement is logged where it is handled, if it fails.
        .disable_statement_logging();
    let server = Server::of(&options);
    let mut database = Database { options, server, major: 0 };
    let connection = database.options.connect().await.map_err(|error| database.explain(&error))?;
    let version = connection.server_version_num().unwrap_or(0);
    if version < OLDEST_VERSION {
        let found = format!("{}", version / 10_000);
        return Err(ConnectError::TooOld { server: database.server, found });
    }
    database.major = version / 10_000;
    // An error on saying goodbye changes nothing.
    let _closed = connection.close().await;
    Ok(database)
}

/// A server, examined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// Its version, as it says.
    pub version: String,
    /// Its clock, seconds since 1970.
    pub clock: i64,
    /// Versions of the migrations that are not applied.
    pub missing: Vec<i64>,
    /// What the database takes on disk.
    pub bytes: u64,
    /// Connections of others to it.
    pub others: u64,
    /// How it stores text: `UTF8`, unless somebody chose otherwise.
    pub encoding: String,
    /// How it orders text.
    pub collation: String,
}

/// 14.0: the oldest major version that its makers still mended when this was written.
const OLDEST_VERSION: u32 = 140_000;

/// How long a connection that was used is taken to be alive.
const CONNECTION_TRUSTED: Duration = Duration::from_secs(1);

impl Database {
    /// Where it is, for messages.
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// The server's major version.
    pub const fn major(&self) -> u32 {
        self.major
    }

    /// Another database on the same server, made if it is not there: this one's name with a suffix.
    pub async fn sibling(&self, suffix: &str) -> Result<Self, ConnectError> {
        let here = self.options.get_database().unwrap_or(self.options.get_username());
        let name = format!("{here}_{suffix}");
        let mut connection = self.options.connect().await.map_err(|error| self.explain(&error))?;
        let is_there =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
                .bind(&name)
                .fetch_one(&mut connection)
                .await;
        if !is_there.map_err(|error| self.explain(&error))? {
            let create = format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\""));
            let made = connection.execute(AssertSqlSafe(create)).await;
            made.map_err(|error| self.explain(&error))?;
        }
        let _closed = connection.close().await;
        let options = self.options.clone().database(&name);
        Ok(Self { server: Server::of(&options), options, major: self.major })
    }

    /// Applies the migrations that are missing.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        let mut connection = self.options.connect().await?;
        // Not `run`, whose future cannot be spawned.
        MIGRATIONS.run_direct(None, &mut connection, false).await?;
        connection.close().await?;
        Ok(())
    }

    /// What the server says of itself, its clock in seconds since 1970, and the migrations that
    /// are not applied yet.
    pub async fn examine(&self) -> Result<Examined, ConnectError> {
        let mut connection = self.options.connect().await.map_err(|error| self.explain(&error))?;
        let said: (String, i64, Option<String>, i64, i64, String, String) = sqlx::query_as(
            "SELECT current_setting('server_version'), extract(epoch FROM now())::bigint,
                    to_regclass('_sqlx_migrations')::text, pg_database_size(current_database()),
                    (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                        AND pid <> pg_backend_pid() AND backend_type = 'client backend'),
                    pg_encoding_to_char(encoding)::text, datcollate::text
               FROM pg_database WHERE datname = current_database()",
        )
        .fetch_one(&mut connection)
        .await
        .map_err(|error| self.explain(&error))?;
        let (version, clock, table, bytes, others, encoding, collation) = said;
        let applied: Vec<i64> = match table {
            None => Vec::new(),
            Some(_) => sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
                .fetch_all(&mut connection)
                .await
                .map_err(|error| self.explain(&error))?,
        };
        let _closed = connection.close().await;
        let missing = MIGRATIONS.iter().map(|one| one.version);
        let missing = missing.filter(|version| !applied.contains(version)).collect();
        let (bytes, others) = (bytes.cast_unsigned(), others.cast_unsigned());
        Ok(Examined { version, clock, missing, bytes, others, encoding, collation })
    }

    /// Drops all that the migrations made, with what is in it. The roles stay: other databases
    /// of the server may use them.
    pub async fn clear(&self) -> Result<(), sqlx::Error> {
        let mut connection = self.options.connect().await?;
        // One transaction: all of it or nothing.
        connection
            .execute(
                "DROP SCHEMA IF EXISTS event_store, read_model, outbox CASCADE;
                 DROP TABLE IF EXISTS _sqlx_migrations",
            )
            .await?;
        connection.close().await
    }

    /// Gives the roles their rights again, in a schema that came without.
    pub async fn grant(&self) -> Result<(), MigrateError> {
        let mut connection = self.options.connect().await?;
        for roles in MIGRATIONS.iter().filter(|one| one.description == "roles") {
            connection.execute(AssertSqlSafe(roles.sql.as_str().to_owned())).await?;
        }
        connection.close().await?;
        Ok(())
    }

    /// A pool whose every connection has the rights of `role` and no more.
    ///
    /// Where the roles could not be made (a managed Postgres whose login may not), the pool keeps
    /// the rights of the login, and a warning says so.
    pub async fn pool(&self, role: Role, size_max: u32) -> Result<PgPool, ConnectError> {
        let is_role_usable = self.try_role(role).await?;
        if !is_role_usable {
            tracing::warn!(
                role.name = role.name(),
                "the login may not take the role; its own rights are used instead"
            );
        }
        PgPoolOptions::new()
            .max_connections(size_max)
            .test_before_acquire(false)
            .before_acquire(|connection, told| {
                Box::pin(async move {
                    // What answered a moment ago is asked nothing but what is to be asked.
                    if told.idle_for >= CONNECTION_TRUSTED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if is_role_usable {
                        connection.execute(role.set_role()).await?;
                    }
                    Ok(())
                })
            })
            .connect_with(self.options.clone())
            .await
            .map_err(|error| self.explain(&error))
    }

    async fn try_role(&self, role: Role) -> Result<bool, ConnectError> {
        let mut connection = self.options.connect().await.map_err(|error| self.explain(&error))?;
        let answer = connection.execute(role.set_role()).await;
        let is_usable = match answer {
            Ok(_) => true,
            Err(sqlx::Error::Database(error)) if is_role_refused(error.code().as_deref()) => false,
            Err(error) => return Err(self.explain(&error)),
        };
        let _closed = connection.close().await;
        Ok(is_usable)
    }

    fn explain(&self, error: &sqlx::Error) -> ConnectError {
        let server = self.server.clone();
        match error {
            sqlx::Error::Database(error) => match error.code().as_deref() {
                // invalid_authorization_specification, invalid_password
                Some("28000" | "28P01") => ConnectError::LoginRefused { server },
                // invalid_catalog_name
                Some("3D000") => ConnectError::NoSuchDatabase {
                    server,
                    database: self
                        .options
                        .get_database()
                        .unwrap_or(self.options.get_username())
                        .to_owned(),
                },
                _ => ConnectError::Refused { server, reason: error.message().to_owned() },
            },
            sqlx::Error::Io(error) => ConnectError::NoServer { server, reason: error.to_string() },
            other => ConnectError::Refused { server, reason: other.to_string() },
        }
    }
}

/// insufficient_privilege, undefined_object (there is no such role), and
/// invalid_parameter_value, which `SET ROLE` uses for the latter.
fn is_role_refused(code: Option<&str>) -> bool {
    matches!(code, Some("42501" | "42704" | "22023"))
}
