//! Tells others of rating actions, watch changes, slashes and feeds that grow stale: signed by
//! Standard Webhooks, at least once, in order for each entity.
//!
//! A webhook walks the read model's feed and keeps its place in it, so whatever goes down, nothing
//! is lost. Several lines are told at once if no entity is in two of them; a receiver that refuses
//! is asked again, ever more slowly and for ever, and what comes later waits behind it.

mod message;
mod target;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use alloy::transports::http::reqwest::header::CONTENT_TYPE;
use futures_util::future;
use jiff::Timestamp;
use serde_json::json;
use sqlx::postgres::PgListener;
use sqlx::{Connection as _, PgConnection, PgPool};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP};

pub use message::Kind;
use message::{Line, Message};
pub use target::{BadWebhook, Webhook};

use crate::metrics::WEBHOOK_DELIVERIES;
use crate::projection::feed::CHANNEL;

/// The feed is looked at this often, told or not.
const POLL: Duration = Duration::from_secs(10);

/// A receiver has so long to say that it has it.
const RECEIVER_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// Lines told at once.
const WINDOW: i64 = 16;

/// Tells one webhook for ever. A database that is away is asked again.
pub async fn tell(pool: PgPool, webhook: Arc<Webhook>, first_wait: Duration) {
    loop {
        if let Err(error) = Teller::start(&pool, &webhook, first_wait).await {
            tracing::warn!(webhook = webhook.name, %error, "a webhook waits for the database");
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Where the telling of a webhook stands.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Place {
    /// The webhook's name.
    pub name: String,
    /// Lines of the feed that wait for it.
    pub waiting: i64,
    /// When it last took something, in UTC.
    pub delivered_at: Option<String>,
    /// Since when it takes nothing, in UTC.
    pub failing_since: Option<String>,
}

/// Where every webhook that was ever told stands.
pub async fn places(pool: &PgPool) -> sqlx::Result<Vec<Place>> {
    sqlx::query_as(
        "SELECT name, (SELECT count(*) FROM read_model.feed f WHERE f.position > w.position)
                    AS waiting,
                to_char(delivered_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
                    AS delivered_at,
                to_char(failing_since AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
                    AS failing_since
           FROM read_model.webhooks w ORDER BY name",
    )
    .fetch_all(pool)
    .await
}

struct Teller<'a> {
    webhook: &'a Webhook,
    /// Holds the webhook's lock: who has lost this connection can move its place no more.
    connection: PgConnection,
    first_wait: Duration,
}

impl Teller<'_> {
    /// Works until the database fails or another process has the webhook.
    async fn start(pool: &PgPool, webhook: &Webhook, first_wait: Duration) -> sqlx::Result<()> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        let mut connection = pool.acquire().await?.detach();
        let is_ours: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
                .bind(format!("assay webhook {}", webhook.name))
                .fetch_one(&mut connection)
                .await?;
        if !is_ours {
            return connection.close().await;
        }
        // A new webhook begins now.
        sqlx::query(
            "INSERT INTO read_model.webhooks (name, position)
             SELECT $1, coalesce(max(position), 0) FROM read_model.feed ON CONFLICT DO NOTHING",
        )
        .bind(&webhook.name)
        .execute(&mut connection)
        .await?;
        let mut teller = Teller { webhook, connection, first_wait };
        loop {
            while teller.step().await? {}
            // Told or not, look again: a notification can be lost with its connection.
            let _timed_out = tokio::time::timeout(POLL, listener.recv()).await;
        }
    }

    /// Tells the next few lines; whether there were any.
    async fn step(&mut self) -> sqlx::Result<bool> {
        let lines: Vec<Line> = sqlx::query_as(
            "SELECT position, kind, subject, status,
                    to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
                        AS recorded_at
               FROM read_model.feed WHERE position >
                    (SELECT position FROM read_model.webhooks WHERE name = $1)
              ORDER BY position LIMIT $2",
        )
        .bind(&self.webhook.name)
        .bind(WINDOW)
        .fetch_all(&mut self.connection)
        .await?;
        let (mut messages, mut entities, mut told) = (Vec::new(), BTreeSet::new(), None);
        for line in &lines {
            let message = Message::of(line, &mut self.connection).await?;
            if let Some(message) = message.filter(|one| self.webhook.kinds.contains(&one.kind)) {
                if !entities.insert(message.entity.clone()) {
                    break;
                }
                messages.push(message);
            }
            told = Some(line.position);
        }
        let Some(told) = told else { return Ok(false) };
        self.deliver_all(messages).await?;
        sqlx::query(
            "UPDATE read_model.webhooks
                SET position = $2, delivered_at = now(), failing_since = NULL WHERE name = $1",
        )
        .bind(&self.webhook.name)
        .bind(told)
        .execute(&mut self.connection)
        .await?;
        Ok(true)
    }

    /// Returns when the receiver has taken every message.
    async fn deliver_all(&mut self, mut messages: Vec<Message>) -> sqlx::Result<()> {
        let mut wait = self.first_wait;
        loop {
            let tries = messages.iter().map(|message| self.webhook.deliver(message));
            let outcomes = future::join_all(tries).await;
            let mut reason = None;
            let mut outcomes = outcomes.into_iter();
            messages.retain(|_| match outcomes.next() {
                Some(Err(refusal)) => {
                    reason = Some(refusal);
                    true
                }
                _ => false,
            });
            let Some(reason) = reason else { return Ok(()) };
            let name = &self.webhook.name;
            let left = messages.len();
            tracing::warn!(webhook = name, left, ?wait, reason, "a webhook is tried again");
            sqlx::query(
                "UPDATE read_model.webhooks SET failing_since = coalesce(failing_since, now())
                  WHERE name = $1",
            )
            .bind(name)
            .execute(&mut self.connection)
            .await?;
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    }
}

impl Webhook {
    /// The host that is told. The rest of its URL may hold a token.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Sends a signed message of type `test`, once; why it was not taken.
    pub async fn test(&self) -> Result<(), String> {
        let now = Timestamp::now();
        let body = json!({ "type": "test", "timestamp": now.to_string(), "data": {} });
        self.send(&format!("test-{}", now.as_millisecond()), &body.to_string()).await
    }

    /// Sends a message once; why it was not taken.
    async fn deliver(&self, message: &Message) -> Result<(), String> {
        let sent = self.send(&message.id, &message.body).await;
        let status = if sent.is_ok() { "delivered" } else { "failed" };
        WEBHOOK_DELIVERIES.with_label_values(&[status]).inc();
        sent
    }

    async fn send(&self, id: &str, body: &str) -> Result<(), String> {
        let now = Timestamp::now().as_second();
        let signed = self.signer.sign(id, now, body.as_bytes());
        let signature = signed.map_err(|_| "the message cannot be signed".to_owned())?;
        let request = self
            .client
            .post(self.url.clone())
            .timeout(RECEIVER_TIMEOUT)
            .header(CONTENT_TYPE, "application/json")
            .header(HEADER_WEBHOOK_ID, id)
            .header(HEADER_WEBHOOK_TIMESTAMP, now)
            .header(HEADER_WEBHOOK_SIGNATURE, signature)
            .body(body.to_owned());
        // A URL may hold a token of the receiver's.
        let response = request.send().await.map_err(|error| target::explain(&error))?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("the receiver answers {status}")),
        }
    }
}
