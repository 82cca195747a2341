//! `assay run`: follow a live chain, rate, serve and publish, for as long as it runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use alloy::primitives::Address;
use anyhow::Context as _;
use assay::agreement::LogView;
use assay::event_store::NOTIFY_CHANNEL;
use assay::rater::{Rater, RaterError};
use assay_domain::ChainId;
use assay_oracle::node::connect_to_oracle;
use assay_oracle::{GasKey, Node, Observer, OracleId, Peer, Policy, Publication, RatingSigner};
use clap::Args;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio_util::sync::CancellationToken;

use super::database::DatabaseArgs;
use super::ingest::SourceArgs;

/// Ratings are brought up to date at least this often, whether or not anybody told us to.
const RATE_INTERVAL: Duration = Duration::from_secs(30);

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
    publish: PublishArgs,
}

#[derive(Debug, Args)]
struct PublishArgs {
    /// Sign for this oracle contract, and publish to it if there is a key that pays.
    #[arg(long, requires = "oracle_rpc_url", requires = "signer_keystore")]
    oracle: Option<Address>,
    /// The node that serves the oracle contract's chain.
    #[arg(long, env = "ASSAY_ORACLE_RPC_URL", hide_env_values = true)]
    oracle_rpc_url: Option<String>,
    /// The oracle contract's chain.
    #[arg(long, default_value_t = 1)]
    oracle_chain_id: ChainId,
    /// Keystore of a key that signs ratings; repeat for more keys.
    #[arg(long, requires = "password_file", requires = "oracle")]
    signer_keystore: Vec<PathBuf>,
    /// Keystore of the key that pays; without it the node signs and leaves sending to others.
    #[arg(long, requires = "password_file", requires = "oracle")]
    gas_keystore: Option<PathBuf>,
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
    fn duty(&self) -> anyhow::Result<Option<Duty>> {
        let (Some(address), Some(rpc_url), Some(password)) =
            (self.oracle, &self.oracle_rpc_url, &self.password_file)
        else {
            return Ok(None);
        };
        let signers = self
            .signer_keystore
            .iter()
            .map(|keystore| RatingSigner::from_keystore(keystore, password))
            .collect::<Result<Vec<_>, _>>()?;
        let gas_key = self.gas_keystore.as_ref();
        let gas_key = gas_key.map(|path| GasKey::from_keystore(path, password)).transpose()?;
        let oracle = OracleId { chain_id: self.oracle_chain_id, address };
        Ok(Some(Duty { rpc_url: rpc_url.clone(), oracle, signers, gas_key }))
    }
}

impl Duty {
    /// The node that signs, once the contract has shown that it is one of ours.
    async fn node(&self, pool: PgPool) -> anyhow::Result<Node> {
        let chain = connect_to_oracle(&self.rpc_url, self.oracle).await?;
        Ok(Node::new(pool, chain, self.oracle, self.signers.clone(), Policy::mainnet()))
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
    let duty = args.publish.duty()?;
    let peers = super::oracle::parse_peers(&args.publish.peer)?;
    let publication = duty.as_ref().and_then(|duty| duty.publication(&peers));
    let follower = args.source.connect().await?;
    let open = database.open().await?;
    let stop = CancellationToken::new();
    let store = open.store().await?;
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
    let view = LogView::new(store.clone());
    let signing = match &duty {
        Some(duty) => Some((duty.node(oracle.clone()).await?, oracle.clone())),
        None => None,
    };
    let router = router.merge(super::oracle::routes(view.clone(), signing));
    let serving = {
        let stop = stop.clone();
        axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await })
    };
    let publishing = async {
        match &publication {
            Some(publication) => assay_oracle::run(&oracle, publication, stop.clone())
                .await
                .context("publishing stopped"),
            None => {
                stop.cancelled().await;
                Ok(())
            }
        }
    };
    let result = tokio::select! {
        () = super::stopped() => Ok(()),
        ended = follower.follow(&store, &stop) => ended,
        ended = rate(open.rater().await?, store.pool().clone()) => ended,
        ended = serving => ended.context("the server failed"),
        ended = publishing => ended,
        () = super::oracle::watch(view, peers) => Ok(()),
    };
    // What is under way is a transaction: it is either committed or never was.
    stop.cancel();
    result
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
