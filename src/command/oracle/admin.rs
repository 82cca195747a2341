//! What owner and guardian do: deploy, rotate the signers, stop and let go.

use alloy::primitives::{Address, Bytes, hex};
use alloy::sol_types::SolCall;
use anyhow::bail;
use assay_oracle::Council;
use assay_oracle::contract::{Deployment, IRatingOracle, administer, deploy as deploy_contract};
use clap::Args;
use serde_json::json;

use super::args::{ChainArgs, ContractArgs, PayerArgs, gas_key};
use crate::command::say;

#[derive(Debug, Args)]
pub(in crate::command) struct DeployArgs {
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    payer: PayerArgs,
    #[command(flatten)]
    signers: CouncilArgs,
    /// Who rotates signers and lifts pauses: a timelock [default: the key that pays].
    #[arg(long, value_name = "ADDRESS")]
    owner: Option<Address>,
    /// Who may stop updates at once [default: the owner].
    #[arg(long, value_name = "ADDRESS")]
    guardian: Option<Address>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Who signs.
#[derive(Debug, Args)]
struct CouncilArgs {
    /// Address of a key that signs ratings; repeat for each.
    #[arg(long = "signer", value_name = "ADDRESS", required = true)]
    signers: Vec<Address>,
    /// How many of them must sign: more than half.
    #[arg(long)]
    threshold: u8,
}

impl CouncilArgs {
    /// The signers as the contract wants them, or what is wrong with them.
    fn sorted(&self) -> anyhow::Result<Vec<Address>> {
        let mut signers = self.signers.clone();
        signers.sort();
        signers.dedup();
        let count = signers.len();
        if count < self.signers.len() {
            bail!("a signer is named twice: each key signs once");
        }
        if signers.first() == Some(&Address::ZERO) {
            bail!("the zero address is nobody's key");
        }
        if usize::from(self.threshold) > count || usize::from(self.threshold) * 2 <= count {
            bail!("a threshold of {} of {count} is no majority", self.threshold);
        }
        Ok(signers)
    }
}

#[derive(Debug, Args)]
pub(in crate::command) struct RotateArgs {
    #[command(flatten)]
    contract: ContractArgs,
    #[command(flatten)]
    signers: CouncilArgs,
    #[command(flatten)]
    sender: SenderArgs,
}

#[derive(Debug, Args)]
pub(in crate::command) struct PauseArgs {
    #[command(flatten)]
    contract: ContractArgs,
    #[command(flatten)]
    sender: SenderArgs,
}

/// Who sends, or that nobody does.
#[derive(Debug, Args)]
struct SenderArgs {
    /// Keystore of the owner's (pause: the guardian's) key.
    #[arg(long, value_name = "FILE", requires = "password_file")]
    keystore: Option<std::path::PathBuf>,
    /// The same, wherever the key is: keystore:…, web3signer:…, aws-kms:…, gcp-kms:… or ledger:….
    #[arg(long, value_name = "KEY", conflicts_with = "keystore")]
    key: Option<String>,
    /// File with the password of the keystore, readable by its owner alone.
    #[arg(long, value_name = "FILE")]
    password_file: Option<std::path::PathBuf>,
    /// Send nothing; print the call for a timelock or a multisig to make.
    #[arg(long, conflicts_with_all = ["keystore", "key"])]
    #[arg(required_unless_present_any = ["keystore", "key"])]
    calldata: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn deploy(args: DeployArgs) -> anyhow::Result<()> {
    let signers = args.signers.sorted()?;
    let key = args.payer.key().await?;
    if signers.contains(&key.address()) {
        bail!("{} pays and would sign ratings: use two keys", key.address());
    }
    let chain = args.chain.connect().await?;
    let owner = args.owner.unwrap_or(key.address());
    let threshold = args.signers.threshold;
    let deployment = Deployment {
        owner,
        guardian: args.guardian.unwrap_or(owner),
        signers: signers.clone(),
        threshold,
    };
    let deployed = deploy_contract(&chain, &key, &deployment).await?;
    if args.json {
        let told = json!({
            "oracle": deployed.address,
            "chain_id": chain.chain_id(),
            "block": deployed.block_number,
            "tx_hash": deployed.tx_hash,
            "owner": deployment.owner,
            "guardian": deployment.guardian,
            "signers": signers,
            "threshold": threshold,
        });
        say(&told.to_string());
    } else {
        say(&format!(
            "oracle    {} on chain {}, block {}\nowner     {}\nguardian  {}\nsigners   {threshold} \
             of {}: {}",
            deployed.address,
            chain.chain_id(),
            deployed.block_number,
            deployment.owner,
            deployment.guardian,
            signers.len(),
            signers.iter().map(Address::to_string).collect::<Vec<_>>().join(", ")
        ));
    }
    Ok(())
}

pub(super) async fn rotate(args: RotateArgs) -> anyhow::Result<()> {
    let (signers, threshold) = (args.signers.sorted()?, args.signers.threshold);
    let call = IRatingOracle::rotateSignersCall { signers, threshold };
    act(&args.contract, &args.sender, Office::Owner, &call).await
}

pub(super) async fn pause(args: PauseArgs) -> anyhow::Result<()> {
    act(&args.contract, &args.sender, Office::Guardian, &IRatingOracle::pauseCall {}).await
}

pub(super) async fn unpause(args: PauseArgs) -> anyhow::Result<()> {
    act(&args.contract, &args.sender, Office::Owner, &IRatingOracle::unpauseCall {}).await
}

#[derive(Debug, Clone, Copy)]
enum Office {
    Owner,
    Guardian,
}

/// Makes a call that only one account may make, or prints it.
async fn act(
    contract: &ContractArgs,
    sender: &SenderArgs,
    office: Office,
    call: &impl SolCall,
) -> anyhow::Result<()> {
    let chain = contract.connect().await?;
    let oracle = contract.oracle;
    let (name, holder) = match office {
        Office::Owner => ("owner", chain.call(oracle, &IRatingOracle::ownerCall {}).await?),
        Office::Guardian => {
            ("guardian", chain.call(oracle, &IRatingOracle::guardianCall {}).await?)
        }
    };
    let password = sender.password_file.as_deref();
    let key = gas_key(sender.keystore.as_deref(), sender.key.as_deref(), password).await?;
    let Some(key) = key else {
        let data = Bytes::from(call.abi_encode());
        if sender.json {
            say(&json!({ "from": holder, "to": oracle, "data": data }).to_string());
        } else {
            say(&format!("from {holder}\nto   {oracle}\ndata {}", hex::encode_prefixed(data)));
        }
        return Ok(());
    };
    if key.address() != holder {
        bail!(
            "the {name} of {oracle} is {holder}, the key is {}: use the {name}'s key, or --calldata",
            key.address()
        );
    }
    let receipt = administer(&chain, &key, oracle, call).await?;
    let council = Council::read(&chain, oracle).await?;
    let (epoch, threshold, count) = (council.epoch, council.threshold, council.signers.len());
    if sender.json {
        let told = json!({
            "block": receipt.block_number,
            "epoch": epoch,
            "threshold": threshold,
            "signers": council.signers,
            "paused": council.is_paused,
        });
        say(&told.to_string());
    } else {
        let paused = if council.is_paused { "updates are stopped" } else { "updates are taken" };
        say(&format!(
            "block {}: epoch {epoch}, {threshold} of {count} must sign, {paused}",
            receipt.block_number
        ));
    }
    Ok(())
}
