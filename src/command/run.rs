//! `assay run`: follow a live chain, rate, serve and publish, for as long as it runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::Address;
use anyhow::{Context as _, bail};
use assay::agreement::LogView;
use assay::event_store::{EventStore, NOTIFY_CHANNEL};
use assay::intake::{self, Door};
use assay::metrics::RATING_RUN_SECONDS;
use assay::projection::publications;
use assay::rater::{Rater, RaterError};
use assay_domain::ChainId;
use assay_oracle::{GasKey, Node, Observer, OracleId, Peer, Policy, Publication, RatingSigner};
use clap::Args;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::database::DatabaseArgs;
use super::ingest::SourceArgs;
use super::oracle::{gas_key, rating_keys};

/// Ratings are brought up to date at least this often, whether or not anybody told us to.
const RATE_INTERVAL: Duration = Duration::from_secs(30);

/// What the publisher wrote down is projected this often: a third of a block.
const PUBLICATIONS_INTERVAL: Duration = Duration::from_secs(4);

/// `/ready` says no when the read model is further behind: two epochs of finality.
const LAG_BLOCKS_MAX: u64 = 64;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Where GraphQL is served.
    #[arg(long, default_value = "127.0.0.1:4747")]
    listen: SocketAddr,
    #[command(flatten)]
    serving: super::serving::ServingArgs,
    #[command(flatten)]
    publish: PublishArgs,
}

#[derive(Debug, Args)]
struct PublishArgs {
    /// Sign for this oracle contract, and publish to it if there is a key that pays. Repeat it,
    /// with its node and chain, for each contract: a worker each.
    #[arg(long, requires = "oracle_rpc_url")]
    oracle: Vec<Address>,
    /// The node that serves the oracle contract's chain.
    #[arg(long, env = "ASSAY_ORACLE_RPC_URL", hide_env_values = true)]
    oracle_rpc_url: Vec<String>,
    /// The oracle contract's chain.
    #[arg(long, default_values_t = [1])]
    oracle_chain_id: Vec<ChainId>,
    /// Keystore of a key that signs ratings; repeat for more keys.
    #[arg(long, requires = "password_file", requires = "oracle")]
    signer_keystore: Vec<PathBuf>,
    /// The same, wherever the key is: keystore:…, web3signer:…, aws-kms:…, gcp-kms:… or ledger:….
    #[arg(long, value_name = "KEY", requires = "oracle")]
    signer_key: Vec<String>,
    /// Keystore of the key that pays; without it the node signs and leaves sending to others.
    #[arg(long, requires = "password_file", requires = "oracle")]
    gas_keystore: Option<PathBuf>,
    /// The same, wherever the key is.
    #[arg(long, value_name = "KEY", requires = "oracle", conflicts_with = "gas_keystore")]
    gas_key: Option<String>,
    /// File with the password of the keystores, readable by its owner alone.
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// Another node, whose signatures are asked for and whose log is compared with this one's;
    /// repeat for each.
    #[arg(long, value_name = "URL")]
    peer: Vec<String>,
}

/// What a node does for an oracle contract.
#[derive(Debug)]
struct Duty {
    rpc_url: String,
    oracle: OracleId,
    signers: Vec<RatingSigner>,
    gas_key: Option<GasKey>,
}

impl PublishArgs {
    async fn duties(&self) -> anyhow::Result<Vec<Duty>> {
        if self.oracle.is_empty() {
            return Ok(Vec::new());
        }
        let expected = self.oracle.len();
        for (name, found) in [
            ("--oracle-rpc-url", self.oracle_rpc_url.len()),
            ("--oracle-chain-id", self.oracle_chain_id.len()),
        ] {
            if found != expected {
                bail!("{expected} oracles and {found} of {name}: give one for each, in order");
            }
        }
        let password = self.password_file.as_deref();
        let signers = rating_keys(&self.signer_keystore, &self.signer_key, password).await?;
        if signers.is_empty() {
            bail!("no key signs: name one with --signer-key or --signer-keystore");
        }
        let (keystore, key) = (self.gas_keystore.as_deref(), self.gas_key.as_deref());
        let gas_key = gas_key(keystore, key, password).await?;
        let places = self.oracle_rpc_url.iter().zip(&self.oracle_chain_id);
        let duties = self.oracle.iter().zip(places).map(|(address, (rpc_url, chain_id))| Duty {
            rpc_url: rpc_url.clone(),
            oracle: OracleId { chain_id: *chain_id, address: *address },
            signers: signers.clone(),
            gas_key: gas_key.clone(),
        });
        Ok(duties.collect())
    }
}

impl Duty {
    /// The node that signs. A provider that is away is asked again later; one of another chain, or
    /// a contract that is none of ours, is refused.
    async fn node(&self, pool: PgPool) -> anyhow::Result<Node> {
        let (rpc_url, signers) = (self.rpc_url.clone(), self.signers.clone());
        let node = Node::new(pool, rpc_url, self.oracle, signers, Policy::mainnet());
        match node.chain().await {
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "the oracle's chain is away; it is asked again");
            }
            connected => drop(connected?),
        }
        Ok(node)
    }

    fn publication(&self, peers: &[Peer]) -> Option<Publication> {
        Some(Publication {
            rpc_url: self.rpc_url.clone(),
            oracle: self.oracle,
            signers: self.signers.clone(),
            peers: peers.to_vec(),
            gas_key: self.gas_key.clone()?,
            policy: Policy::mainnet(),
            observer: Observer::silent(),
        })
    }
}

pub(super) async fn run(database: &DatabaseArgs, args: RunArgs) -> anyhow::Result<()> {
    let duties = args.publish.duties().await?;
    let peers = super::oracle::parse_peers(&args.publish.peer)?;
    let publications: Vec<Publication> =
        duties.iter().filter_map(|duty| duty.publication(&peers)).collect();
    let is_publishing = !publications.is_empty();
    let api = args.serving.quotas.api()?;
    let webhooks = args.serving.webhooks()?;
    let follower = args.source.connect().await?;
    let open = database.open().await?;
    let stop = CancellationToken::new();
    let store = open.store().await?;
    let reader = open.reader().await?;
    let listener = super::serving::listen(args.listen).await?;
    super::say(&format!("GraphQL: http://{}/graphql", listener.local_addr()?));
    let door = Door::new(store.clone());
    let router = assay_graphql::router(
        reader,
        assay_graphql::ApiConfig {
            lag_blocks_max: Some(LAG_BLOCKS_MAX),
            simulator: Some(open.simulator().await?),
            recorder: Some(Arc::new(door.clone())),
            ..api
        },
    )
    .merge(intake::routes(door));
    let oracle = open.oracle().await?;
    let view = LogView::new(store.clone());
    let mut nodes = Vec::new();
    for duty in &duties {
        nodes.push(duty.node(oracle.clone()).await?);
    }
    let router = router.merge(super::oracle::routes(view.clone(), nodes.clone(), oracle.clone()));
    let serving = {
        let stop = stop.clone();
        assay_graphql::serve(listener, router, async move { stop.cancelled().await })
    };
    assay::metrics::show();
    let told = super::serving::tell(open.webhooks(webhooks.len()).await?, webhooks, &store);
    let result = tokio::select! {
        () = super::stopped() => Ok(()),
        ended = follower.follow(&store, &stop) => ended,
        ended = rate(open.rater().await?, store.pool().clone()) => ended,
        () = serving => Ok(()),
        () = told => Ok(()),
        ended = publish(oracle, publications, stop.clone()) => ended,
        () = super::oracle::watch(view, peers) => Ok(()),
        () = super::oracle::feed_back(store.clone(), nodes) => Ok(()),
        () = project_publications(&store), if is_publishing => Ok(()),
    };
    // What is under way is a transaction: it is either committed or never was.
    stop.cancel();
    result
}

/// A worker for each contract. One that must stop leaves the others at work; when none is left,
/// that is an error.
async fn publish(
    pool: PgPool,
    publications: Vec<Publication>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    if publications.is_empty() {
        stop.cancelled().await;
        return Ok(());
    }
    let mut workers = JoinSet::new();
    for publication in publications {
        let (pool, stop) = (pool.clone(), stop.clone());
        workers.spawn(async move {
            let ended = assay_oracle::run(&pool, &publication, stop).await;
            let OracleId { chain_id, address } = publication.oracle;
            ended.with_context(|| format!("publishing to {address} on chain {chain_id} stopped"))
        });
    }
    let mut result = Ok(());
    while let Some(ended) = workers.join_next().await {
        if let Err(error) = ended.context("a publisher panicked").flatten() {
            tracing::error!(error = format!("{error:#}"), "a publisher stopped");
            result = Err(error);
        }
    }
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
        let took = RATING_RUN_SECONDS.start_timer();
        let caught_up = rater.catch_up().await;
        drop(took);
        match caught_up {
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
