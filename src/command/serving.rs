//! How the API meets strangers: keys and quotas, and who is told by webhook.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy::hex;
use anyhow::Context as _;
use assay::event_store::EventStore;
use assay::projection::feed;
use assay::webhook::{self, Webhook};
use assay_graphql::{ApiConfig, ApiKey};
use axum::http::HeaderName;
use clap::Args;
use futures_util::future;
use serde::Deserialize;
use sqlx::PgPool;
use tokio::net::TcpListener;

/// A receiver that refuses is asked again after this, then after twice as long, up to an hour.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Feeds are looked at for staleness this often.
const STALE_INTERVAL: Duration = Duration::from_secs(300);

#[derive(Debug, Args)]
pub(super) struct QuotaArgs {
    /// TOML with the hashes of API keys and what each may ask for (docs/OPERATIONS.md).
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// The header in which the proxy before this node names the client, such as X-Forwarded-For.
    /// Give it only if every request comes through that proxy.
    #[arg(long, value_name = "NAME")]
    client_header: Option<HeaderName>,
}

#[derive(Debug, Args)]
pub(super) struct ServingArgs {
    #[command(flatten)]
    pub(super) quotas: QuotaArgs,
    /// TOML with those who are told of rating actions, slashes and stale feeds
    /// (docs/OPERATIONS.md).
    #[arg(long, value_name = "FILE")]
    webhooks: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    anonymous_points_per_hour: Option<NonZeroU32>,
    #[serde(default)]
    key: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    name: String,
    sha256: String,
    points_per_hour: NonZeroU32,
}

impl QuotaArgs {
    /// What the API is told of itself.
    pub(super) fn api(&self) -> anyhow::Result<ApiConfig> {
        let file = match &self.api_keys {
            None => KeyFile::default(),
            Some(path) => toml::from_str::<KeyFile>(&super::read_file(path)?)
                .with_context(|| format!("{} is refused", path.display()))?,
        };
        let key = |key: Key| {
            let sha256 = hex::decode_to_array(&key.sha256).with_context(|| {
                format!("key {}: sha256 is not 64 hexadecimal digits; see sha256sum", key.name)
            })?;
            Ok(ApiKey { name: key.name, sha256, points_an_hour: key.points_per_hour })
        };
        Ok(ApiConfig {
            api_keys: file.key.into_iter().map(key).collect::<anyhow::Result<_>>()?,
            points_an_hour: file.anonymous_points_per_hour,
            client_header: self.client_header.clone(),
            ..ApiConfig::default()
        })
    }
}

impl ServingArgs {
    /// Who is told.
    pub(super) fn webhooks(&self) -> anyhow::Result<Vec<Arc<Webhook>>> {
        let Some(path) = &self.webhooks else { return Ok(Vec::new()) };
        Ok(Webhook::read(path)?.into_iter().map(Arc::new).collect())
    }
}

/// Tells everybody, for ever.
pub(super) async fn tell(pool: PgPool, webhooks: Vec<Arc<Webhook>>, store: &EventStore) {
    if webhooks.is_empty() {
        return future::pending().await;
    }
    let tellers = webhooks.into_iter().map(|one| webhook::tell(pool.clone(), one, FIRST_WAIT));
    let stale = async {
        loop {
            if let Err(error) = feed::tell_stale(store).await {
                tracing::warn!(%error, "stale feeds cannot be told; it is tried again");
            }
            tokio::time::sleep(STALE_INTERVAL).await;
        }
    };
    future::join(future::join_all(tellers), stale).await;
}

/// Listens where the API is served.
pub(super) async fn listen(at: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(at)
        .await
        .with_context(|| format!("cannot listen on {at}: choose another address with --listen"))
}
