//! `assay ingest`: record a chain, and neither rate nor serve.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use assay::chain::beacon::Beacon;
use assay::chain::decode::Decoder;
use assay::chain::deployment::Contracts;
use assay::chain::endpoint::Endpoint;
use assay::chain::ingest::{Ingest, IngestError, IngestOptions, Step};
use assay::chain::nodes::Nodes;
use assay::chain::source::Patience;
use assay::event_store::{AppendError, EventStore};
use assay_domain::ChainId;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::database::DatabaseArgs;

/// How long to wait for a database that does not answer.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// The nodes that tell of a chain.
#[derive(Debug, Args)]
pub(super) struct RpcArgs {
    /// The node to ask: http, https, ws or wss. Repeat it, and answers are compared, and the next
    /// is asked where one fails.
    #[arg(
        long,
        required = true,
        env = "ASSAY_RPC_URL",
        hide_env_values = true,
        value_delimiter = ' '
    )]
    rpc_url: Vec<String>,
}

/// Which chain, and who tells of it.
#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    #[command(flatten)]
    rpc: RpcArgs,
    /// Prove every block that may hold a log of ours complete, by its receipts.
    #[arg(long)]
    verify_receipts: bool,
    /// The chain it must serve.
    #[arg(long, default_value_t = 1)]
    chain_id: ChainId,
    /// First block to read when the database is empty [default: EigenLayer's deployment].
    #[arg(long)]
    start_block: Option<u64>,
    /// A beacon node: slashings of validators are recorded, and a block is final when both say so.
    #[arg(long, env = "ASSAY_BEACON_URL", hide_env_values = true)]
    beacon_url: Option<String>,
    /// First block whose beacon block is read; the same on all nodes that sign together [default:
    /// the first block].
    #[arg(long, requires = "beacon_url")]
    beacon_start_block: Option<u64>,
    /// For a node without the `finalized` tag: blocks after which a block is final.
    #[arg(long)]
    finality_depth: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct IngestArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Stop when everything up to the newest block is recorded.
    #[arg(long)]
    once: bool,
}

/// A chain, and how to read it.
pub(super) struct Follower {
    source: Arc<Nodes>,
    beacon: Option<Arc<Beacon>>,
    decoder: Arc<Decoder>,
    options: IngestOptions,
}

impl RpcArgs {
    /// Connects; a node that answers for another chain is refused.
    pub(super) async fn connect(
        &self,
        chain_id: ChainId,
        verify_receipts: bool,
    ) -> anyhow::Result<Nodes> {
        let endpoints = self.rpc_url.iter().map(|url| Endpoint::parse(url));
        let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
        Ok(Nodes::connect(endpoints, chain_id, Patience::default(), verify_receipts).await?)
    }
}

impl SourceArgs {
    /// Connects; a node that answers for another chain is refused.
    pub(super) async fn connect(&self) -> anyhow::Result<Follower> {
        let contracts = Contracts::of_chain(self.chain_id)?;
        let options = IngestOptions {
            start_block: self.start_block.unwrap_or(contracts.start_block()),
            finality_depth: self.finality_depth,
            ..IngestOptions::default()
        };
        let source = self.rpc.connect(self.chain_id, self.verify_receipts).await?;
        let beacon = match &self.beacon_url {
            None => None,
            Some(url) => {
                let start_block = self.beacon_start_block.unwrap_or(options.start_block);
                let endpoint = Endpoint::parse(url)?;
                let patience = Patience::default();
                let beacon = Beacon::connect(endpoint, self.chain_id, start_block, patience);
                Some(Arc::new(beacon.await?))
            }
        };
        Ok(Follower {
            source: Arc::new(source),
            beacon,
            decoder: Arc::new(Decoder::new(contracts)),
            options,
        })
    }
}

impl Follower {
    async fn resume(
        &self,
        store: &EventStore,
        stop: &CancellationToken,
    ) -> Result<Ingest<Nodes, EventStore>, IngestError<AppendError>> {
        let (source, decoder) = (self.source.clone(), self.decoder.clone());
        let options = self.options.clone();
        let ingest = Ingest::resume(source, decoder, store.clone(), options, stop.clone()).await?;
        Ok(ingest.with_beacon(self.beacon.clone()))
    }

    /// Records the chain until told to stop. The database may be away for a while: whatever was
    /// not committed is read again.
    pub(super) async fn follow(
        &self,
        store: &EventStore,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        loop {
            let ended = match self.resume(store, stop).await {
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
    }

    /// Records the chain up to its newest block. Returns how many facts were new.
    async fn catch_up(&self, store: &EventStore, stop: &CancellationToken) -> anyhow::Result<u64> {
        let mut ingest = self.resume(store, stop).await?;
        while ingest.step().await? == Step::Advanced {}
        let appended = ingest.status().borrow().facts_appended;
        Ok(appended)
    }
}

pub(super) async fn run(database: &DatabaseArgs, args: IngestArgs) -> anyhow::Result<()> {
    let follower = args.source.connect().await?;
    let open = database.open().await?;
    let store = open.store().await?;
    let stop = CancellationToken::new();
    let ingesting = async {
        if !args.once {
            return follower.follow(&store, &stop).await;
        }
        let catching_up = follower.catch_up(&store, &stop);
        let appended = super::progress::during("recording the chain", catching_up).await?;
        super::say(&format!("{appended} events recorded"));
        Ok(())
    };
    let result = tokio::select! {
        () = super::stopped() => Ok(()),
        ended = ingesting => ended,
    };
    // What is under way is a transaction: it is either committed or never was.
    stop.cancel();
    result
}
