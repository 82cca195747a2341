//! Subscriptions over `graphql-transport-ws`: who listens, when a turn is due, and how many may.
//!
//! One task listens to Postgres for all subscribers and looks by itself now and then, because a
//! notification can be lost with its connection. While nobody subscribes it holds no connection.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_graphql::parser::types::{ExecutableDocument, OperationType};
use async_graphql::{Data, Executor, Request, Response};
use async_graphql_axum::{GraphQLProtocol, GraphQLWebSocket};
use axum::extract::ws::WebSocketUpgrade;
use futures_util::stream::{self, BoxStream, StreamExt};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::error::{ApiError, annotate};
use crate::execute::schema;
use crate::limit::{
    self, BODY_BYTES_MAX, REQUEST_SECONDS_MAX, SOCKETS_MAX, SUBSCRIPTIONS_PER_SOCKET_MAX, TURNS_MAX,
};
use crate::quota::{Client, Quotas};
use crate::session::Session;
use crate::stress::Simulator;
use crate::subscription::{Turn, feed_end};

/// What Postgres calls the feed's news: see `migrations/0002_read_model.sql`.
const CHANNEL: &str = "assay_feed";

/// The feed is looked at this often, told or not.
const POLL: Duration = Duration::from_secs(2);

/// A socket that says nothing for so long is closed. Clients ping: the dashboard every 30 s.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// The subscribers of one server.
#[derive(Clone)]
pub(crate) struct Live(Arc<Shared>);

struct Shared {
    pool: PgPool,
    simulator: Option<Arc<dyn Simulator>>,
    sockets: Arc<Semaphore>,
    turns: Semaphore,
    /// The end of the feed, as last seen.
    end: watch::Sender<i64>,
    is_watched: Mutex<bool>,
}

impl Live {
    pub(crate) fn new(pool: PgPool, simulator: Option<Arc<dyn Simulator>>) -> Self {
        Self(Arc::new(Shared {
            pool,
            simulator,
            sockets: Arc::new(Semaphore::new(SOCKETS_MAX)),
            turns: Semaphore::new(TURNS_MAX),
            end: watch::Sender::new(0),
            is_watched: Mutex::new(false),
        }))
    }

    /// A place for one more socket, if there is one.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.0.sockets.clone().try_acquire_owned().ok()
    }

    /// Sockets open now.
    pub(crate) fn sockets(&self) -> usize {
        SOCKETS_MAX.saturating_sub(self.0.sockets.available_permits())
    }

    /// Answers an upgrade; the place is given back when the socket closes.
    pub(crate) fn upgrade(
        &self,
        upgrade: WebSocketUpgrade,
        protocol: GraphQLProtocol,
        place: OwnedSemaphorePermit,
        payer: Payer,
    ) -> axum::response::Response {
        let socket = Socket { live: self.clone(), open: Arc::default(), payer };
        upgrade.protocols(["graphql-transport-ws"]).max_message_size(BODY_BYTES_MAX).on_upgrade(
            async move |stream| {
                let served = GraphQLWebSocket::new(stream, socket, protocol)
                    .keepalive_timeout(SILENCE_MAX)
                    .serve();
                served.await;
                drop(place);
            },
        )
    }

    /// The end of the feed, kept up to date as long as the receiver lives.
    fn watch(&self) -> watch::Receiver<i64> {
        let receiver = self.0.end.subscribe();
        let mut is_watched = self.0.is_watched.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *is_watched, true) {
            tokio::spawn(keep_watch(self.0.clone()));
        }
        receiver
    }
}

/// Looks at the feed until nobody wants to know any more.
async fn keep_watch(shared: Arc<Shared>) {
    let mut listener = None;
    loop {
        {
            let mut is_watched = shared.is_watched.lock().unwrap_or_else(PoisonError::into_inner);
            if shared.end.receiver_count() == 0 {
                *is_watched = false;
                return;
            }
        }
        if listener.is_none() {
            listener = listen(&shared.pool).await;
        }
        let session = Session::new(shared.pool.clone());
        let end = feed_end(&mut *session.reader().await).await;
        drop(session);
        if let Ok(end) = end {
            shared.end.send_if_modified(|seen| std::mem::replace(seen, end) != end);
        }
        match &mut listener {
            Some(heard) => {
                if let Ok(Err(_)) = tokio::time::timeout(POLL, heard.recv()).await {
                    listener = None;
                    tokio::time::sleep(POLL).await;
                }
            }
            None => tokio::time::sleep(POLL).await,
        }
    }
}

async fn listen(pool: &PgPool) -> Option<PgListener> {
    let mut listener = PgListener::connect_with(pool).await.ok()?;
    listener.listen(CHANNEL).await.ok()?;
    Some(listener)
}

/// Who pays for what is asked over a socket.
#[derive(Clone)]
pub(crate) struct Payer {
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) client: Client,
}

impl Payer {
    /// Checks a request and takes its points.
    fn admit(&self, request: &Request) -> Result<limit::Admitted, ApiError> {
        let admitted = admit(request)?;
        self.quotas.charge(self.client, admitted.cost)?;
        Ok(admitted)
    }
}

/// One socket: runs what is asked over it.
#[derive(Clone)]
struct Socket {
    live: Live,
    /// Subscriptions open on it.
    open: Arc<AtomicUsize>,
    payer: Payer,
}

/// Counts a subscription as long as it is open.
struct Opened(Arc<AtomicUsize>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Executor for Socket {
    async fn execute(&self, request: Request) -> Response {
        match self.payer.admit(&request) {
            Ok(asked) => self.query(request, asked).await,
            Err(cause) => refused(cause),
        }
    }

    fn execute_stream(
        &self,
        request: Request,
        _: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        let asked = match self.payer.admit(&request) {
            Ok(asked) => asked,
            Err(cause) => return stream::iter([refused(cause)]).boxed(),
        };
        let socket = self.clone();
        if asked.kind == OperationType::Query {
            return stream::once(async move { socket.query(request, asked).await }).boxed();
        }
        let opened = Opened(self.open.clone());
        if self.open.fetch_add(1, Ordering::Relaxed) >= SUBSCRIPTIONS_PER_SOCKET_MAX {
            let limit = SUBSCRIPTIONS_PER_SOCKET_MAX as u64;
            let what = "the number of subscriptions of one socket";
            let dearest = String::new();
            let cause = ApiError::CostExceeded { what, found: limit + 1, limit, dearest };
            return stream::iter([refused(cause)]).boxed();
        }
        let ends = self.live.watch();
        let subscribed = Subscribed {
            live: self.live.clone(),
            request: (request.query, request.operation_name, request.variables),
            document: asked.document,
            turn: Arc::default(),
            ends,
            _opened: opened,
        };
        subscribed.turns()
    }
}

impl Socket {
    async fn query(&self, request: Request, asked: limit::Admitted) -> Response {
        let Ok(_place) = self.live.0.turns.acquire().await else {
            return refused(ApiError::Unavailable("the server is going down"));
        };
        let session = Arc::new(Session::new(self.live.0.pool.clone()));
        let mut request = request.data(session);
        if let Some(simulator) = &self.live.0.simulator {
            request = request.data(simulator.clone());
        }
        request.set_parsed_query(asked.document);
        let allowed = Duration::from_secs(REQUEST_SECONDS_MAX);
        match tokio::time::timeout(allowed, schema().execute(request)).await {
            Ok(mut response) => {
                response.errors.iter_mut().for_each(annotate);
                asked.shape.arrange(&mut response.data);
                response
            }
            Err(_) => refused(ApiError::Timeout { seconds: REQUEST_SECONDS_MAX }),
        }
    }
}

fn admit(request: &Request) -> Result<limit::Admitted, ApiError> {
    let admitted =
        limit::admit(&request.query, request.operation_name.as_deref(), &request.variables)?;
    if admitted.kind == OperationType::Mutation {
        return Err(ApiError::ValidationFailed("mutations go by POST".to_owned()));
    }
    Ok(admitted)
}

fn refused(cause: ApiError) -> Response {
    Response::from_errors(vec![cause.into_server_error()])
}

/// One subscription.
struct Subscribed {
    live: Live,
    request: (String, Option<String>, async_graphql::Variables),
    document: ExecutableDocument,
    turn: Arc<Turn>,
    ends: watch::Receiver<i64>,
    _opened: Opened,
}

/// What became of a turn.
enum Told {
    /// Something to send, and more may follow.
    Messages(Vec<Response>),
    /// The subscription cannot go on.
    Ended(Response),
}

impl Subscribed {
    fn turns(self) -> BoxStream<'static, Response> {
        stream::unfold(Some(self), async |state| {
            let mut subscribed = state?;
            loop {
                match subscribed.next_turn().await {
                    Told::Messages(messages) if messages.is_empty() => {}
                    Told::Messages(messages) => {
                        return Some((stream::iter(messages), Some(subscribed)));
                    }
                    Told::Ended(last) => return Some((stream::iter(vec![last]), None)),
                }
            }
        })
        .flatten()
        .boxed()
    }

    /// Waits until there may be something, and runs the document once.
    async fn next_turn(&mut self) -> Told {
        if let Some(seen) = self.turn.place().seen
            && self.ends.wait_for(|end| *end > seen).await.is_err()
        {
            return Told::Ended(refused(ApiError::Unavailable("the server is going down")));
        }
        let Ok(place) = self.live.0.turns.acquire().await else {
            return Told::Ended(refused(ApiError::Unavailable("the server is going down")));
        };
        let before = self.turn.place();
        let session = Arc::new(Session::new(self.live.0.pool.clone()));
        let (query, name, variables) = self.request.clone();
        let mut request = Request::new(query).variables(variables).data(session);
        request = request.data(self.turn.clone());
        if let Some(name) = name {
            request = request.operation_name(name);
        }
        request.set_parsed_query(self.document.clone());
        let stream: Pin<Box<_>> = schema().execute_stream(request);
        let allowed = Duration::from_secs(REQUEST_SECONDS_MAX);
        let ran = tokio::time::timeout(allowed, stream.collect::<Vec<Response>>()).await;
        drop(place);
        let mut responses = ran
            .unwrap_or_else(|_| vec![refused(ApiError::Timeout { seconds: REQUEST_SECONDS_MAX })]);
        for response in &mut responses {
            response.errors.iter_mut().for_each(annotate);
        }
        if responses.iter().any(is_passing) {
            // The database was away: the turn is taken again, from where it began.
            self.turn.go_back(before);
            tokio::time::sleep(POLL).await;
            return Told::Messages(Vec::new());
        }
        // A stream that never began has one answer without data and without a place in it.
        match responses.pop() {
            Some(last) if self.turn.place().seen.is_none() => Told::Ended(last),
            Some(last) => {
                responses.push(last);
                Told::Messages(responses)
            }
            None => Told::Messages(Vec::new()),
        }
    }
}

/// Whether a turn failed for a reason that will pass.
fn is_passing(response: &Response) -> bool {
    response.errors.iter().any(|error| {
        let code = error.extensions.as_ref().and_then(|values| values.get("code"));
        code.is_some_and(|code| {
            ["TIMEOUT", "UNAVAILABLE"]
                .iter()
                .any(|known| *code == async_graphql::Value::from(*known))
        })
    })
}
