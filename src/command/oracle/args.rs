//! What several of the commands are told: the contract, the keys, the peers.

use std::path::PathBuf;

use alloy::primitives::Address;
use assay_domain::ChainId;
use assay_oracle::chain::Chain;
use assay_oracle::node::connect_to_oracle;
use assay_oracle::{GasKey, OracleId, Peer, RatingSigner};
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
    #[arg(long, value_name = "FILE")]
    keystore: PathBuf,
    /// File with the password of the keystore, readable by its owner alone.
    #[arg(long, value_name = "FILE")]
    password_file: PathBuf,
}

/// The keys that sign ratings.
#[derive(Debug, Args)]
pub(super) struct SignerArgs {
    /// Keystore of a key that signs ratings; repeat for more keys.
    #[arg(long, value_name = "FILE", required = true)]
    signer_keystore: Vec<PathBuf>,
    /// File with the password of the keystores, readable by its owner alone.
    #[arg(long, value_name = "FILE")]
    password_file: PathBuf,
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
    pub(super) fn key(&self) -> anyhow::Result<GasKey> {
        Ok(GasKey::from_keystore(&self.keystore, &self.password_file)?)
    }
}

impl SignerArgs {
    pub(super) fn keys(&self) -> anyhow::Result<Vec<RatingSigner>> {
        let open = |path: &PathBuf| RatingSigner::from_keystore(path, &self.password_file);
        Ok(self.signer_keystore.iter().map(open).collect::<Result<_, _>>()?)
    }
}

/// The nodes at these addresses.
pub(in crate::command) fn parse_peers(urls: &[String]) -> anyhow::Result<Vec<Peer>> {
    Ok(urls.iter().map(|url| url.parse()).collect::<Result<_, _>>()?)
}
