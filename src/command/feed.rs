//! The feed of the demo: a local chain, the oracle contract on it, the ratings in the contract; and
//! the check that contract, GraphQL and Postgres say the same.

use std::path::{Path, PathBuf};
use std::process::Command;

use alloy::primitives::{Address, B256, U256};
use alloy::providers::{Provider as _, ProviderBuilder};
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context as _, bail};
use assay_domain::ChainId;
use assay_domain::word::Word;
use assay_oracle::anvil::Anvil;
use assay_oracle::chain::Chain;
use assay_oracle::compare;
use assay_oracle::contract::{Deployment, deploy};
use assay_oracle::{
    EntityKey, GasKey, Observer, OracleId, Policy, Publication, RatingSigner, publish_once,
};
use clap::Args;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::VerificationFailed;
use super::database::Open;
use super::progress::during;

/// The chain id of development chains.
pub(super) const DEVELOPMENT_CHAIN: ChainId = 31_337;

/// Signers of the demo, and how many must sign.
const SIGNERS: usize = 3;
const THRESHOLD: u8 = 2;

/// What the demo's gas key is given: a thousand ether that are worth nothing.
const GAS_WEI: u128 = 1_000 * 1_000_000_000_000_000_000;

/// Seconds between the newest rating and the local chain's clock: as if it were published at once.
const LAG_SECONDS: u64 = 60;

/// Where to look for the ratings on chain.
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// Also compare the ratings in this oracle contract with the ones in the database.
    #[arg(long, value_name = "ADDRESS", requires = "oracle_rpc_url")]
    oracle: Option<Address>,
    /// The node that serves the oracle contract's chain.
    #[arg(long, value_name = "URL", requires = "oracle")]
    oracle_rpc_url: Option<String>,
    /// The oracle contract's chain.
    #[arg(long, default_value_t = DEVELOPMENT_CHAIN)]
    oracle_chain_id: ChainId,
}

/// An oracle contract and the way to it.
#[derive(Debug)]
pub(super) struct Target {
    rpc_url: String,
    chain_id: ChainId,
    address: Address,
}

impl AuditArgs {
    pub(super) fn target(&self) -> anyhow::Result<Option<Target>> {
        let (Some(address), Some(rpc_url)) = (self.oracle, self.oracle_rpc_url.clone()) else {
            return Ok(None);
        };
        Ok(Some(Target { rpc_url, chain_id: self.oracle_chain_id, address }))
    }
}

/// A local chain with the ratings on it. Dropping it stops the chain.
#[derive(Debug)]
pub(super) struct Feed {
    chain: LocalChain,
    pub(super) oracle: Address,
}

impl Feed {
    pub(super) const fn new(chain: LocalChain, oracle: Address) -> Self {
        Self { chain, oracle }
    }

    pub(super) fn target(&self) -> Target {
        let rpc_url = self.rpc_url().to_owned();
        Target { rpc_url, chain_id: DEVELOPMENT_CHAIN, address: self.oracle }
    }

    pub(super) fn rpc_url(&self) -> &str {
        self.chain.anvil.rpc_url()
    }
}

/// A local chain whose clock stands just after the newest rating, and a key with ether on it.
#[derive(Debug)]
pub(super) struct LocalChain {
    pub(super) anvil: Anvil,
    pub(super) chain: Chain,
    pub(super) gas_key: GasKey,
}

impl LocalChain {
    pub(super) async fn start(pool: &PgPool) -> anyhow::Result<Self> {
        let path = match find_anvil() {
            Ok(path) => path,
            Err(_) => {
                let install = tokio::task::spawn_blocking(install_anvil);
                during("npm ci in oracle, for anvil", install).await??;
                find_anvil()?
            }
        };
        let clock = newest_report_time(pool).await?.saturating_add(LAG_SECONDS).to_string();
        let start = move || Anvil::start(&path, &["--timestamp", &clock]);
        let anvil = tokio::task::spawn_blocking(start).await??;
        let chain = Chain::connect(anvil.rpc_url(), DEVELOPMENT_CHAIN).await?;
        let gas_key = PrivateKeySigner::random();
        fund(anvil.rpc_url(), gas_key.address()).await?;
        Ok(Self { anvil, chain, gas_key: GasKey::from_signer(gas_key) })
    }

    /// A further key with ether.
    pub(super) async fn another_gas_key(&self) -> anyhow::Result<GasKey> {
        let key = PrivateKeySigner::random();
        fund(self.anvil.rpc_url(), key.address()).await?;
        Ok(GasKey::from_signer(key))
    }

    /// A contract for keys that end with this process, and what publishing to it needs.
    pub(super) async fn publication(&self) -> anyhow::Result<Publication> {
        let signers: Vec<RatingSigner> = (0..SIGNERS).map(|_| RatingSigner::random()).collect();
        Ok(Publication {
            rpc_url: self.anvil.rpc_url().to_owned(),
            oracle: self.deploy(&signers, THRESHOLD).await?,
            signers,
            peers: Vec::new(),
            gas_key: self.another_gas_key().await?,
            policy: Policy::development(),
            observer: Observer::silent(),
        })
    }

    /// Deploys the contract for these signers.
    pub(super) async fn deploy(
        &self,
        signers: &[RatingSigner],
        threshold: u8,
    ) -> anyhow::Result<OracleId> {
        let payer = self.gas_key.address();
        let deployment = Deployment {
            owner: payer,
            guardian: payer,
            signers: signers.iter().map(RatingSigner::address).collect(),
            threshold,
        };
        let deployed = deploy(&self.chain, &self.gas_key, &deployment).await?;
        Ok(OracleId { chain_id: DEVELOPMENT_CHAIN, address: deployed.address })
    }
}

/// Starts a local chain, deploys the contract, and publishes whatever is due.
pub(super) async fn publish(open: &Open) -> anyhow::Result<Feed> {
    let pool = open.oracle().await?;
    let local = LocalChain::start(&pool).await?;
    let publication = local.publication().await?;
    during("publishing the ratings", publish_once(&pool, &publication)).await?;
    Ok(Feed::new(local, publication.oracle.address))
}

fn npm_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle")
}

fn find_anvil() -> anyhow::Result<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    Ok(Anvil::find(&[npm_folder().join("node_modules")], &path)?)
}

/// Installs the pinned anvil from the lock file beside the contracts.
fn install_anvil() -> anyhow::Result<()> {
    let output = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund"])
        .current_dir(npm_folder())
        .output()
        .context(
            "anvil is not there and npm cannot be started: install Node, or put anvil on PATH",
        )?;
    if !output.status.success() {
        bail!("npm ci in oracle failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

async fn fund(rpc_url: &str, account: Address) -> anyhow::Result<()> {
    let provider = ProviderBuilder::new().connect_http(rpc_url.parse()?);
    let answer: Result<Value, _> =
        provider.raw_request("anvil_setBalance".into(), (account, U256::from(GAS_WEI))).await;
    answer.context("the local chain is not anvil")?;
    Ok(())
}

/// The newest report of each entity.
pub(super) async fn newest_reports(pool: &PgPool) -> anyhow::Result<Vec<(EntityKey, U256)>> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "SELECT DISTINCT ON (entity_key) entity_key, word FROM outbox.reports
         ORDER BY entity_key, seq DESC",
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|(key, word)| {
            let key =
                B256::try_from(key.as_slice()).context("a key in the outbox is not 32 bytes")?;
            let word = B256::try_from(word.as_slice()).context("a word is not 32 bytes")?;
            Ok((EntityKey(key), word.into()))
        })
        .collect()
}

pub(super) async fn newest_report_time(pool: &PgPool) -> anyhow::Result<u64> {
    let reports = newest_reports(pool).await?;
    let times = reports
        .iter()
        .map(|(_, word)| Ok(Word::unpack(*word)?.fields().as_of))
        .collect::<anyhow::Result<Vec<u64>>>()?;
    times.into_iter().max().context("nothing is rated, so there is nothing to publish")
}

/// Compares contract, GraphQL and Postgres for every rating; the number compared, or the first
/// entity that differs.
pub(super) async fn audit(open: &Open, target: &Target) -> anyhow::Result<usize> {
    let reports = newest_reports(&open.oracle().await?).await?;
    let chain = Chain::connect(&target.rpc_url, target.chain_id).await?;
    let audit = compare::audit(&chain, target.address, &reports, 0).await?;
    let said = ratings_of_the_api(&open.reader().await?).await?;
    if let Some(difference) = audit.first_difference {
        let entity = difference.entity();
        let slug = said
            .iter()
            .find(|rating| rating.key == entity.0)
            .map_or_else(|| entity.to_string(), |rating| rating.slug.clone());
        return Err(VerificationFailed(format!("{slug}: {difference}")).into());
    }
    for (entity, word) in &reports {
        let Some(rating) = said.iter().find(|rating| rating.key == entity.0) else {
            let message = format!("{entity}: the API does not know the entity");
            return Err(VerificationFailed(message).into());
        };
        rating.compare(*word)?;
    }
    Ok(reports.len())
}

/// A rating as the API says it.
#[derive(Debug)]
struct Said {
    slug: String,
    key: B256,
    rating: Value,
}

impl Said {
    /// Compares with the word that Postgres and the contract hold.
    fn compare(&self, word: U256) -> anyhow::Result<()> {
        let fields = Word::unpack(word)?.fields();
        let said = &self.rating;
        let grade = assay_domain::grade::Grade::from_number(fields.grade)
            .map_or(Value::Null, |grade| json!(grade.letters()));
        let loss_ppt: Option<u64> =
            said["expectedLossPpt"].as_str().and_then(|text| text.parse().ok());
        let loss_ppb = loss_ppt.map(|ppt| ppt.div_ceil(1_000));
        let is_withdrawn = fields.flags.contains(assay_domain::word::Flags::WITHDRAWN);
        let checks = [
            ("word", said["word"] == json!(format!("{:#x}", B256::from(word)))),
            ("seq", said["seq"].to_string().trim_matches('"') == fields.seq.to_string()),
            ("grade", is_withdrawn || said["grade"] == grade),
            ("score", is_withdrawn || said["score"] == json!(fields.score)),
            ("expectedLossPpt", is_withdrawn || loss_ppb == Some(u64::from(fields.el))),
            ("position", said["position"] == json!(fields.log_pos.to_string())),
        ];
        match checks.iter().find(|(_, is_equal)| !is_equal) {
            None => Ok(()),
            Some((field, _)) => Err(VerificationFailed(format!(
                "{}: GraphQL's {field} is not the one in the contract and in the outbox",
                self.slug
            ))
            .into()),
        }
    }
}

/// Every entity's rating, page by page, as any client would ask for it.
async fn ratings_of_the_api(pool: &PgPool) -> anyhow::Result<Vec<Said>> {
    const QUERY: &str = "query ($after: String) { entities(first: 100, after: $after) {
        nodes { slug key rating { grade score expectedLossPpt seq word position } }
        pageInfo { hasNextPage endCursor } } }";
    let mut said = Vec::new();
    let mut after = Value::Null;
    loop {
        let data = super::query::ask(pool, QUERY, json!({ "after": after })).await?;
        let page = &data["entities"];
        for node in page["nodes"].as_array().into_iter().flatten() {
            let slug = node["slug"].as_str().unwrap_or_default().to_owned();
            let key: B256 = node["key"].as_str().unwrap_or_default().parse()?;
            said.push(Said { slug, key, rating: node["rating"].clone() });
        }
        if page["pageInfo"]["hasNextPage"] != json!(true) {
            return Ok(said);
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}
