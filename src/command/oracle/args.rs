//! What several of the commands are told: the contract, the keys, the peers.

use std::path::{Path, PathBuf};

use alloy::primitives::Address;
use anyhow::Context as _;
use assay_domain::ChainId;
use assay_oracle::chain::Chain;
use assay_oracle::node::connect_to_oracle;
use assay_oracle::{GasKey, KeySpec, OracleId, Peer, RatingSigner};
use clap::Args;

/// The node of the oracle's chain.
#[derive(Debug, Args)]
pub(super) struct ChainArgs {
    /// The node that serves the oracle contract's chain.
    #[arg(long, value_name = "URL", env = "ASSAY_ORACLE_RPC_URL", hide_env_values = true)]
    pub(super) oracle_rpc_url: String,
    /// The oracle contract's chain.
    #[arg(long, default_value_t = 1)]
    pub(super) oracle_chain_id: ChainId,
}

/// The oracle contract and the way to it.
#[derive(Debug, Args)]
pub(super) struct ContractArgs {
    /// The oracle contract.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) oracle: Address,
    #[command(flatten)]
    pub(super) chain: ChainArgs,
}

/// The key that pays for a transaction.
#[derive(Debug, Args)]
pub(super) struct PayerArgs {
    /// Keystore of the key that sends the transaction.
    #[arg(long, value_name = "FILE", requires = "password_file", required_unless_present = "key")]
    keystore: Option<PathBuf>,
    /// The same, wherever the key is: keystore:…, web3signer:…, aws-kms:…, gcp-kms:… or ledger:….
    #[arg(long, value_name = "KEY", conflicts_with = "keystore")]
    key: Option<String>,
    /// File with the password of the keystore, readable by its owner alone.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// The keys that sign ratings.
#[derive(Debug, Args)]
pub(super) struct SignerArgs {
    /// Keystore of a key that signs ratings; repeat for more keys.
    #[arg(long, value_name = "FILE", requires = "password_file")]
    #[arg(required_unless_present = "signer_key")]
    signer_keystore: Vec<PathBuf>,
    /// The same, wherever the key is: keystore:…, web3signer:…, aws-kms:…, gcp-kms:… or ledger:….
    #[arg(long, value_name = "KEY")]
    signer_key: Vec<String>,
    /// File with the password of the keystores, readable by its owner alone.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl ContractArgs {
    pub(super) const fn id(&self) -> OracleId {
        OracleId { chain_id: self.chain.oracle_chain_id, address: self.oracle }
    }

    /// Connects, and checks that the contract is an oracle of ours.
    pub(super) async fn connect(&self) -> anyhow::Result<Chain> {
        Ok(connect_to_oracle(&self.chain.oracle_rpc_url, self.id()).await?)
    }
}

impl ChainArgs {
    pub(super) async fn connect(&self) -> anyhow::Result<Chain> {
        Ok(Chain::connect(&self.oracle_rpc_url, self.oracle_chain_id).await?)
    }
}

impl PayerArgs {
    pub(super) async fn key(&self) -> anyhow::Result<GasKey> {
        let password = self.password_file.as_deref();
        let key = gas_key(self.keystore.as_deref(), self.key.as_deref(), password).await?;
        key.context("no key pays: name one with --key or --keystore")
    }
}

impl SignerArgs {
    pub(super) async fn keys(&self) -> anyhow::Result<Vec<RatingSigner>> {
        let password = self.password_file.as_deref();
        rating_keys(&self.signer_keystore, &self.signer_key, password).await
    }
}

/// Opens keys that sign ratings: keystores, then whatever else was named.
pub(in crate::command) async fn rating_keys(
    keystores: &[PathBuf],
    keys: &[String],
    password: Option<&Path>,
) -> anyhow::Result<Vec<RatingSigner>> {
    let mut opened = Vec::with_capacity(keystores.len() + keys.len());
    for file in keystores {
        opened.push(RatingSigner::open(&KeySpec::keystore(file, password)?).await?);
    }
    for key in keys {
        opened.push(RatingSigner::open(&KeySpec::parse(key, password)?).await?);
    }
    Ok(opened)
}

/// Opens the key that pays, if one was named.
pub(in crate::command) async fn gas_key(
    keystore: Option<&Path>,
    key: Option<&str>,
    password: Option<&Path>,
) -> anyhow::Result<Option<GasKey>> {
    let spec = match (keystore, key) {
        (Some(file), _) => KeySpec::keystore(file, password)?,
        (None, Some(key)) => KeySpec::parse(key, password)?,
        (None, None) => return Ok(None),
    };
    Ok(Some(GasKey::open(&spec).await?))
}

/// The nodes at these addresses.
pub(in crate::command) fn parse_peers(urls: &[String]) -> anyhow::Result<Vec<Peer>> {
    Ok(urls.iter().map(|url| url.parse()).collect::<Result<_, _>>()?)
}
