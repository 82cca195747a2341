//! What the tests share: a database for each, and a made-up chain.
//!
//! With `DATABASE_URL` set, databases are made on that server and dropped again. Without it, one
//! throwaway cluster serves the whole test process and goes away with it.

pub(crate) mod node;
pub(crate) mod synthetic;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use assay::cluster::{Cluster, ClusterConfig, Durability, Install};
use assay::db;
use assay::event_store::EventStore;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};

/// An empty database with all migrations applied, for one test.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    /// Its URL; the login may do everything.
    pub(crate) url: String,
    name: String,
}

/// The server all tests of this process use.
struct Server {
    /// Kept so that it is not stopped; its watcher stops it when this process ends.
    cluster: Option<Cluster>,
    url: String,
    /// What to copy instead of migrating anew. On a server of others nothing is left behind.
    template: Option<&'static str>,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A database of one's own.
pub(crate) async fn database() -> TestDatabase {
    let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(start)).await.expect("a server");
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("assay_test_{}_{number}", std::process::id());
    let url = with_database(&server.url, &name);
    match &server.template {
        Some(template) => {
            admin(&server.url, &format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        }
        None => {
            admin(&server.url, &format!("CREATE DATABASE {name}")).await;
            migrate(&url).await;
        }
    }
    TestDatabase { url, name }
}

/// Whether the server is one that others own: then it may ask for passwords.
pub(crate) fn is_external() -> bool {
    SERVER.get().is_some_and(|server| server.cluster.is_none())
}

impl TestDatabase {
    /// A pool of the all-powerful login.
    pub(crate) async fn pool(&self) -> PgPool {
        PgPool::connect(&self.url).await.expect("the database answers")
    }

    /// The event store in this database, with the rights of the writer.
    pub(crate) async fn store(&self) -> EventStore {
        Self::store_at(&self.url).await
    }

    /// The event store of a database that another process made.
    pub(crate) async fn store_at(url: &str) -> EventStore {
        let database = db::connect(url).await.expect("the database answers");
        EventStore::new(database.pool(db::Role::Writer, 4).await.expect("a pool"))
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Some(server) = SERVER.get().filter(|server| server.cluster.is_none()) else { return };
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        // The test's own runtime may be going down.
        let dropped = std::thread::spawn(move || block_on(admin(&server.url, &drop))).join();
        assert!(dropped.is_ok() || std::thread::panicking(), "{} is left behind", self.name);
    }
}

fn start() -> Server {
    if let Ok(url) = std::env::var("DATABASE_URL") {
        return Server { cluster: None, url, template: None };
    }
    let config = ClusterConfig {
        data_dir: None,
        binaries: None,
        durability: Durability::Throwaway,
        install: Install::Refused,
    };
    let cluster = Cluster::start(&config).expect("a Postgres for the tests");
    let (url, template) = (cluster.url(), "assay_template");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            block_on(async {
                admin(&url, &format!("CREATE DATABASE {template}")).await;
                migrate(&with_database(&url, template)).await;
            });
        });
    });
    Server { cluster: Some(cluster), url, template: Some(template) }
}

async fn migrate(url: &str) {
    db::connect(url).await.expect("the database answers").migrate().await.expect("migrations");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// Runs one statement as the all-powerful login. A template that is still being let go of is
/// tried again.
async fn admin(url: &str, statement: &str) {
    let mut connection = PgConnection::connect(url).await.expect("the server answers");
    for attempt in 0.. {
        match connection.execute(AssertSqlSafe(statement)).await {
            Ok(_) => break,
            Err(sqlx::Error::Database(error))
                if error.code().as_deref() == Some("55006") && attempt < 100 =>
            {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{statement}: {error}"),
        }
    }
    connection.close().await.expect("goodbye");
}

/// The same server, another database.
fn with_database(url: &str, name: &str) -> String {
    let (before, query) = url.split_once('?').map_or((url, None), |(b, q)| (b, Some(q)));
    let scheme = before.find("://").map_or(0, |at| at + 3);
    let end = before[scheme..].find('/').map_or(before.len(), |at| scheme + at);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}/{name}{query}", &before[..end])
}
