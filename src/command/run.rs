//! `assay run`: follow a live chain, rate, serve and publish, for as long as it runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::Address;
use anyhow::Context as _;
use assay::chain::decode::Decoder;
use assay::chain::deployment::Contracts;
use assay::chain::endpoint::Endpoint;
use assay::chain::ingest::{Ingest, IngestError, IngestOptions};
use assay::chain::rpc_source::RpcSource;
use assay::chain::source::Patience;
use assay::event_store::{AppendError, EventStore, NOTIFY_CHANNEL};
use assay::projection::publications;
use assay::rater::{Rater, RaterError};
use assay_domain::ChainId;
use assay_oracle::{GasKey, Observer, OracleId, Policy, Publication, RatingSigner};
use clap::Args;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio_util::sync::CancellationToken;

use super::database::DatabaseArgs;

/// Ratings are brought up to date at least this often, whether or not anybody told us to.
const RATE_INTERVAL: Duration = Duration::from_secs(30);

/// How long to wait for a database that does not answer.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// What the publisher wrote down is projected this often: a third of a block.
const PUBLICATIONS_INTERVAL: Duration = Duration::from_secs(4);

/// `/ready` says no when the read model is further behind: two epochs of finality.
const LAG_BLOCKS_MAX: u64 = 64;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The node to follow: http, https, ws or wss.
    #[arg(long, env = "ASSAY_RPC_URL", hide_env_values = true)]
    rpc_url: String,
    /// The chain it must serve.
    #[arg(long, default_value_t = 1)]
    chain_id: ChainId,
    /// First block to read when the database is empty [default: EigenLayer's deployment].
    #[arg(long)]
    start_block: Option<u64>,
    /// For a node without the `finalized` tag: blocks after which a block is final.
    #[arg(long)]
    finality_depth: Option<u64>,
    /// Where GraphQL is served.
    #[arg(long, default_value = "127.0.0.1:4747")]
    listen: SocketAddr,
    #[command(flatten)]
    publish: PublishArgs,
}

#[derive(Debug, Args)]
struct PublishArgs {
    /// Publish to this oracle contract.
    #[arg(
        long,
        requires = "oracle_rpc_url",
        requires = "signer_keystore",
        requires = "gas_keystore"
    )]
    oracle: Option<Address>,
    /// The node that serves the oracle contract's chain.
    #[arg(long, env = "ASSAY_ORACLE_RPC_URL", hide_env_values = true)]
    oracle_rpc_url: Option<String>,
    /// The oracle contract's chain.
    #[arg(long, default_value_t = 1)]
    oracle_chain_id: ChainId,
    /// Keystore of a key that signs ratings; repeat for more keys.
    #[arg(long, requires = "password_file")]
    signer_keystore: Vec<PathBuf>,
    /// Keystore of the key that pays.
    #[arg(long, requires = "password_file")]
    gas_keystore: Option<PathBuf>,
    /// File with the password of the keystores, readable by its owner alone.
    #[arg(long)]
    password_file: Option<PathBuf>,
}

impl PublishArgs {
    fn publication(&self) -> anyhow::Result<Option<Publication>> {
        let (Some(address), Some(rpc_url), Some(gas), Some(password)) =
            (self.oracle, &self.oracle_rpc_url, &self.gas_keystore, &self.password_file)
        else {
            return Ok(None);
        };
        let signers = self
            .signer_keystore
            .iter()
            .map(|keystore| RatingSigner::from_keystore(keystore, password))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Publication {
            rpc_url: rpc_url.clone(),
            oracle: OracleId { chain_id: self.oracle_chain_id, address },
            signers,
            gas_key: GasKey::from_keystore(gas, password)?,
            policy: Policy::mainnet(),
            observer: Observer::silent(),
        }))
    }
}

pub(super) async fn run(database: &DatabaseArgs, args: RunArgs) -> anyhow::Result<()> {
    let endpoint = Endpoint::parse(&args.rpc_url)?;
    let publication = args.publish.publication()?;
    let contracts = Contracts::of_chain(args.chain_id)?;
    let source = RpcSource::connect(endpoint, args.chain_id, Patience::default()).await?;
    let open = database.open().await?;
    let stop = CancellationToken::new();
    let store = open.store().await?;
    let options = IngestOptions {
        start_block: args.start_block.unwrap_or(contracts.start_block()),
        finality_depth: args.finality_depth,
        ..IngestOptions::default()
    };
    let source = Arc::new(source);
    let decoder = Arc::new(Decoder::new(contracts));
    // The database may be away for a while; whatever was not committed is read again.
    let ingesting = async {
        loop {
            let sink = store.clone();
            let resumed = Ingest::resume(
                source.clone(),
                decoder.clone(),
                sink,
                options.clone(),
                stop.clone(),
            );
            let ended = match resumed.await {
                Ok(mut ingest) => ingest.run().await,
                Err(error) => Err(error),
            };
            match ended {
                Err(IngestError::Sink(AppendError::Unavailable(error))) => {
                    tracing::warn!(error = %error, "the database is away; ingestion begins again");
                    tokio::time::sleep(DATABASE_PAUSE).await;
                }
                ended => return ended.context("ingestion stopped"),
            }
        }
    };
    let reader = open.reader().await?;
    let listener = tokio::net::TcpListener::bind(args.listen).await.with_context(|| {
        format!("cannot listen on {}: choose another address with --listen", args.listen)
    })?;
    super::say(&format!("GraphQL: http://{}/graphql", listener.local_addr()?));
    let router = assay_graphql::router(
        reader,
        assay_graphql::ApiConfig { lag_blocks_max: Some(LAG_BLOCKS_MAX) },
    );
    let oracle = open.oracle().await?;
    let serving = {
        let stop = stop.clone();
        axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await })
    };
    let publishing = async {
        match &publication {
            Some(publication) => tokio::select! {
                ended = assay_oracle::run(&oracle, publication, stop.clone()) =>
                    ended.context("publishing stopped"),
                () = project_publications(&store) => Ok(()),
            },
            None => {
                stop.cancelled().await;
                Ok(())
            }
        }
    };
    let result = tokio::select! {
        () = super::stopped() => Ok(()),
        ended = ingesting => ended,
        ended = rate(open.rater().await?, store.pool().clone()) => ended,
        ended = serving => ended.context("the server failed"),
        ended = publishing => ended,
    };
    // What is under way is a transaction: it is either committed or never was.
    stop.cancel();
    result
}

/// Shows what was published, for ever.
async fn project_publications(store: &EventStore) {
    loop {
        if let Err(error) = publications::project(store).await {
            tracing::warn!(error = %error, "publications cannot be shown yet; it is tried again");
        }
        tokio::time::sleep(PUBLICATIONS_INTERVAL).await;
    }
}

/// Rates whenever the log grows. Another process may rate the same log: then it is tried again.
async fn rate(mut rater: Rater, pool: PgPool) -> anyhow::Result<()> {
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(NOTIFY_CHANNEL).await?;
    loop {
        match rater.catch_up().await {
            Ok(done) if done.actions > 0 => {
                tracing::info!(
                    canonical.position = done.head.position,
                    rating.actions = done.actions,
                    "rated"
                );
            }
            Ok(_) => {}
            Err(error @ (RaterError::Database(_) | RaterError::Append(_))) => {
                tracing::warn!(error = %error, "rating interrupted; it is tried again");
            }
            Err(error) => return Err(error.into()),
        }
        // Told or not, look again: a notification can be lost with its connection.
        let _timed_out = tokio::time::timeout(RATE_INTERVAL, listener.recv()).await;
    }
}
