//! Which database: the one whose URL is given, or a private cluster in the data directory.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use assay::cluster::{Cluster, ClusterConfig, ClusterError, Durability, Install, default_data_dir};
use assay::db::{self, Database, Role};
use assay::event_store::EventStore;
use assay::rater::Rater;
use assay::simulation::LogSimulator;
use assay_domain::methodology::Methodology;
use assay_graphql::Simulator;
use clap::Args;
use sqlx::PgPool;

/// Connections of a pool: more than one command ever uses at once.
const POOL_SIZE: u32 = 8;

#[derive(Debug, Args)]
pub(super) struct DatabaseArgs {
    /// Postgres to use; without it Assay runs its own private one in the data directory.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    database_url: Option<String>,
    /// Where the private Postgres lives [default: assay in the XDG data home].
    #[arg(long, global = true)]
    data_dir: Option<PathBuf>,
    /// File of a methodology that the log has adopted or will; repeat for more.
    #[arg(long, value_name = "FILE", global = true)]
    methodology: Vec<PathBuf>,
}

/// An open database, its schema up to date. Dropping it stops a private cluster.
#[derive(Debug)]
pub(super) struct Open {
    database: Database,
    known: Vec<Arc<Methodology>>,
    /// Dropped last: fields are dropped in order.
    _cluster: Option<Cluster>,
}

impl DatabaseArgs {
    /// The methodologies whose files were handed over.
    pub(super) fn known(&self) -> anyhow::Result<Vec<Arc<Methodology>>> {
        let read = |path: &PathBuf| {
            let found = Methodology::parse(&super::read_file(path)?)
                .with_context(|| format!("{} is refused", path.display()))?;
            Ok(Arc::new(found))
        };
        self.methodology.iter().map(read).collect()
    }

    /// Finds or starts the server, connects, and applies missing migrations.
    pub(super) async fn open(&self) -> anyhow::Result<Open> {
        self.open_with(Durability::Durable).await
    }

    /// The same, but without a place given nothing is kept: a private cluster goes away again.
    pub(super) async fn open_apart(&self) -> anyhow::Result<Open> {
        let is_placed = self.data_dir.is_some();
        self.open_with(if is_placed { Durability::Durable } else { Durability::Throwaway }).await
    }

    /// Connects, and leaves the schema as it is.
    pub(super) async fn connect(&self) -> anyhow::Result<(Database, Option<Cluster>)> {
        self.connect_with(Durability::Durable).await
    }

    /// The database that was given.
    pub(super) fn url(&self) -> Option<&str> {
        self.database_url.as_deref()
    }

    /// Whether the directory was given.
    pub(super) const fn is_placed(&self) -> bool {
        self.data_dir.is_some()
    }

    /// The directory of the private Postgres; nothing if the database is elsewhere.
    pub(super) fn data_dir(&self) -> Option<Result<PathBuf, ClusterError>> {
        match (&self.database_url, &self.data_dir) {
            (Some(_), _) => None,
            (None, Some(dir)) => Some(Ok(dir.clone())),
            (None, None) => Some(default_data_dir()),
        }
    }

    async fn open_with(&self, durability: Durability) -> anyhow::Result<Open> {
        let (database, cluster) = self.connect_with(durability).await?;
        database.migrate().await.context("cannot bring the database schema up to date")?;
        let known = self.known()?;
        Ok(Open { database, known, _cluster: cluster })
    }

    async fn connect_with(
        &self,
        durability: Durability,
    ) -> anyhow::Result<(Database, Option<Cluster>)> {
        let (url, cluster) = match &self.database_url {
            Some(url) => (url.clone(), None),
            None => {
                let config = ClusterConfig {
                    data_dir: self.data_dir.clone(),
                    binaries: None,
                    durability,
                    install: Install::Allowed,
                };
                let cluster = super::progress::during(
                    "starting the private Postgres",
                    tokio::task::spawn_blocking(move || Cluster::start(&config)),
                )
                .await??;
                (cluster.url(), Some(cluster))
            }
        };
        Ok((db::connect(&url).await?, cluster))
    }
}

impl Open {
    /// Another database on the same server, its schema up to date. Keep `self` at least as long.
    pub(super) async fn sibling(&self, suffix: &str) -> anyhow::Result<Self> {
        let database = self.database.sibling(suffix).await?;
        database.migrate().await.context("cannot bring the database schema up to date")?;
        Ok(Self { database, known: self.known.clone(), _cluster: None })
    }

    /// The event store, with the rights to append.
    pub(super) async fn store(&self) -> anyhow::Result<EventStore> {
        Ok(EventStore::new(self.database.pool(Role::Writer, POOL_SIZE).await?))
    }

    /// What keeps ratings in step with the log.
    pub(super) async fn rater(&self) -> anyhow::Result<Rater> {
        let methodology = Methodology::version_1().context("the embedded methodology is wrong")?;
        let rater = Rater::new(self.store().await?, Arc::new(methodology));
        Ok(rater.knowing(self.known.clone()))
    }

    /// What plays scenarios on the log.
    pub(super) async fn simulator(&self) -> anyhow::Result<Arc<dyn Simulator>> {
        let methodology = Methodology::version_1().context("the embedded methodology is wrong")?;
        let (methodology, known) = (Arc::new(methodology), self.known.clone());
        Ok(Arc::new(LogSimulator::new(self.store().await?, methodology, known)))
    }

    /// A pool that may read the read model and nothing else.
    pub(super) async fn reader(&self) -> anyhow::Result<PgPool> {
        Ok(self.database.pool(Role::Reader, POOL_SIZE).await?)
    }

    /// A pool for so many webhooks: each keeps a connection and listens on another.
    pub(super) async fn webhooks(&self, count: usize) -> anyhow::Result<PgPool> {
        let size = u32::try_from(2 * count)?.max(1);
        Ok(self.database.pool(Role::Writer, size).await?)
    }

    /// A pool that may use the outbox and nothing else.
    pub(super) async fn oracle(&self) -> anyhow::Result<PgPool> {
        Ok(self.database.pool(Role::Oracle, POOL_SIZE).await?)
    }
}
