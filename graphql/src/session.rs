//! One request's view of the database: one connection, one snapshot, one position.
//!
//! The first statement of a request opens a read-only transaction at repeatable read, so all that
//! a request reads is the same state, whatever is written meanwhile.
//! Resolvers that want the same kind of thing queue their keys; whoever gets the connection first
//! asks for all of them in one statement.
//! The number of statements therefore depends on the shape of a query and not on its rows.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_graphql::Context;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder, Transaction};

use crate::error::ApiError;
use crate::limit::STATEMENT_SECONDS_MAX;
use crate::scope::{Pin, Scope};

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                     SET LOCAL statement_timeout = '2s'";

/// One kind of thing that is fetched for many keys at once.
pub(crate) trait Batch: 'static {
    /// What all keys of one statement share: scope, filter, page.
    type Group: Ord + Clone + Send + Sync + 'static;
    /// What is asked for.
    type Key: Ord + Clone + Send + Sync + 'static;
    /// What is found.
    type Value: Clone + Send + Sync + 'static;

    /// Fetches all keys of a group in a fixed number of statements.
    fn fetch(
        reader: &mut Reader,
        group: &Self::Group,
        keys: &[Self::Key],
    ) -> impl Future<Output = Result<BTreeMap<Self::Key, Self::Value>, ApiError>> + Send;
}

/// The state of one request.
pub(crate) struct Session {
    reader: tokio::sync::Mutex<Reader>,
    queues: Mutex<HashMap<TypeId, Box<dyn Any + Send>>>,
    /// Scopes that fields of this request were answered at.
    scopes: Mutex<BTreeSet<Scope>>,
    /// Whether something was read that no position pins.
    is_live: AtomicBool,
}

struct Queue<B: Batch> {
    waiting: BTreeMap<B::Group, BTreeSet<B::Key>>,
    found: Found<B>,
}

/// What was asked for, with `None` where there is nothing.
type Found<B> = BTreeMap<(<B as Batch>::Group, <B as Batch>::Key), Option<<B as Batch>::Value>>;

impl Session {
    pub(crate) fn new(pool: PgPool) -> Self {
        let reader = Reader { pool, transaction: None, pin: None, statements: 0, failed: None };
        Self {
            reader: tokio::sync::Mutex::new(reader),
            queues: Mutex::default(),
            scopes: Mutex::default(),
            is_live: AtomicBool::new(false),
        }
    }

    /// The session of the running request.
    pub(crate) fn of<'a>(ctx: &Context<'a>) -> Result<&'a Self, ApiError> {
        ctx.data::<std::sync::Arc<Self>>()
            .map(std::convert::AsRef::as_ref)
            .map_err(|_| ApiError::Unavailable("the request has no database"))
    }

    /// The value for one key; `None` when there is none.
    pub(crate) async fn load<B: Batch>(
        &self,
        group: B::Group,
        key: B::Key,
    ) -> Result<Option<B::Value>, ApiError> {
        self.queue(|queue: &mut Queue<B>| {
            if !queue.found.contains_key(&(group.clone(), key.clone())) {
                queue.waiting.entry(group.clone()).or_default().insert(key.clone());
            }
        });
        // Siblings are polled in the same task: let all of them queue before the first one asks.
        tokio::task::yield_now().await;
        let mut reader = self.reader.lock().await;
        let wanted = (group, key);
        if let Some(value) = self.queue(|queue: &mut Queue<B>| queue.found.get(&wanted).cloned()) {
            return Ok(value);
        }
        let keys: Vec<B::Key> = self.queue(|queue: &mut Queue<B>| {
            queue.waiting.get(&wanted.0).into_iter().flatten().cloned().collect()
        });
        let mut values = B::fetch(&mut reader, &wanted.0, &keys).await?;
        Ok(self.queue(|queue: &mut Queue<B>| {
            let waiting = queue.waiting.entry(wanted.0.clone()).or_default();
            for key in keys {
                waiting.remove(&key);
                let value = values.remove(&key);
                queue.found.insert((wanted.0.clone(), key), value);
            }
            queue.found.get(&wanted).cloned().flatten()
        }))
    }

    /// The connection, for what is asked once in a request.
    pub(crate) async fn reader(&self) -> tokio::sync::MutexGuard<'_, Reader> {
        self.reader.lock().await
    }

    /// Notes that a field is answered at `scope`.
    pub(crate) fn used(&self, scope: &Scope) {
        unpoisoned(&self.scopes).insert(scope.clone());
    }

    /// Notes that a field is answered from what no position pins.
    pub(crate) fn used_live(&self) {
        self.is_live.store(true, Ordering::Relaxed);
    }

    /// Whether the same request will be answered alike for ever.
    pub(crate) fn is_settled(&self) -> bool {
        let scopes = unpoisoned(&self.scopes);
        !self.is_live.load(Ordering::Relaxed)
            && !scopes.is_empty()
            && scopes.iter().all(|scope| scope.is_settled)
    }

    /// The scopes that fields were answered at.
    pub(crate) fn scopes(&self) -> Vec<Scope> {
        unpoisoned(&self.scopes).iter().cloned().collect()
    }

    fn queue<B: Batch, T>(&self, act: impl FnOnce(&mut Queue<B>) -> T) -> T {
        let mut queues = unpoisoned(&self.queues);
        let queue = queues.entry(TypeId::of::<B>()).or_insert_with(|| {
            let empty: Queue<B> = Queue { waiting: BTreeMap::new(), found: BTreeMap::new() };
            Box::new(empty)
        });
        match queue.downcast_mut::<Queue<B>>() {
            Some(queue) => act(queue),
            None => unreachable!("the queue of a type is of that type"),
        }
    }
}

/// A panic in another resolver leaves nothing half done here: every change is one insert.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The request's transaction. Every statement of the crate goes through [`Reader::rows`].
pub(crate) struct Reader {
    pool: PgPool,
    transaction: Option<Transaction<'static, Postgres>>,
    pin: Option<Pin>,
    /// Statements run so far, without BEGIN.
    pub(crate) statements: u64,
    /// The first failure: Postgres refuses all that comes after it in a transaction.
    failed: Option<ApiError>,
}

impl Reader {
    /// Runs one statement and decodes its rows.
    pub(crate) async fn rows<T>(
        &mut self,
        mut query: QueryBuilder<Postgres>,
    ) -> Result<Vec<T>, ApiError>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.run(&mut query).await;
        result.map_err(|error| {
            let error = classify(&error);
            self.failed = Some(error.clone());
            error
        })
    }

    /// The newest position; everything without `asOf` is answered there.
    pub(crate) async fn pin(&mut self) -> Result<Pin, ApiError> {
        if let Some(pin) = &self.pin {
            return Ok(pin.clone());
        }
        let pin = Pin::read(self).await?;
        self.pin = Some(pin.clone());
        Ok(pin)
    }

    /// The newest position, if this request has asked for it.
    pub(crate) fn known_pin(&self) -> Option<&Pin> {
        self.pin.as_ref()
    }

    async fn run<T>(&mut self, query: &mut QueryBuilder<Postgres>) -> Result<Vec<T>, sqlx::Error>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let mut transaction = match self.transaction.take() {
            Some(transaction) => transaction,
            None => begin(self.pool.clone()).await?,
        };
        self.statements += 1;
        let rows = query.build_query_as().fetch_all(&mut *transaction).await;
        self.transaction = Some(transaction);
        rows
    }
}

/// Begins a transaction, whole even if the request goes away meanwhile: sqlx gives a connection
/// whose BEGIN was abandoned back to the pool with the transaction open, and the next request
/// would answer from its old snapshot.
async fn begin(pool: PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let begun = tokio::spawn(async move { pool.begin_with(BEGIN).await });
    begun.await.map_err(|_| sqlx::Error::WorkerCrashed)?
}

/// What a database error means to the caller. The details are for the log.
fn classify(error: &sqlx::Error) -> ApiError {
    /// SQLSTATE `query_canceled`: the statement timeout.
    const QUERY_CANCELED: &str = "57014";
    if let sqlx::Error::Database(database) = error
        && database.code().as_deref() == Some(QUERY_CANCELED)
    {
        return ApiError::Timeout { seconds: STATEMENT_SECONDS_MAX };
    }
    tracing::warn!(error = %error, "The read model could not be read.");
    match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            ApiError::Corrupt("a column does not hold what it should")
        }
        sqlx::Error::Database(_) => ApiError::Unavailable("the database refused the statement"),
        _ => ApiError::Unavailable("the database cannot be reached"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_statement_timeout_is_the_one_that_is_announced() {
        let announced = format!("statement_timeout = '{}s'", super::STATEMENT_SECONDS_MAX);
        assert!(super::BEGIN.contains(&announced));
    }
}
