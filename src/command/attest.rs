//! `assay attest`: sign a message, or record a signed one.

use std::path::PathBuf;

use alloy::primitives::Bytes;
use anyhow::{Context as _, bail};
use assay::attestation::{DOCUMENT_BYTES_MAX, Document, Recorder, record};
use assay::event_store::Timeliness;
use assay_domain::attestation::Message;
use assay_domain::methodology::Methodology;
use assay_oracle::{AttestationKey, KeySpec};
use clap::Args;
use serde_json::json;

use super::database::DatabaseArgs;

#[derive(Debug, Args)]
pub(super) struct AttestArgs {
    /// The message: {"chainId", "message", "signer", "signature"}.
    file: PathBuf,
    /// Sign it and print it with its signature, instead of recording it.
    #[arg(long, conflicts_with = "typed_data")]
    sign: bool,
    /// Keystore of the key that signs.
    #[arg(long, value_name = "FILE", requires = "password_file")]
    keystore: Option<PathBuf>,
    /// The same, wherever the key is: keystore:…, web3signer:…, aws-kms:…, gcp-kms:… or ledger:….
    #[arg(long, value_name = "KEY", conflicts_with = "keystore")]
    key: Option<String>,
    /// File with the password of the keystore, readable by its owner alone.
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// Print the EIP-712 typed data for another wallet; the file names the signer.
    #[arg(long)]
    typed_data: bool,
    /// Take a message that should have counted already, and make every rating anew.
    #[arg(long, conflicts_with_all = ["sign", "typed_data"])]
    restate: bool,
    /// Say where it was recorded as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(database: &DatabaseArgs, args: AttestArgs) -> anyhow::Result<()> {
    let length = std::fs::metadata(&args.file)
        .with_context(|| format!("cannot read {}", args.file.display()))?
        .len();
    if length > u64::try_from(DOCUMENT_BYTES_MAX).unwrap_or(u64::MAX) {
        bail!("{} has {length} bytes, at most {DOCUMENT_BYTES_MAX} are taken", args.file.display());
    }
    let text = super::read_file(&args.file)?;
    let mut document = Document::parse(text.as_bytes())
        .with_context(|| format!("cannot use {}", args.file.display()))?;
    if args.typed_data {
        let signer = document.signer.context("the file must name the signer")?;
        super::say(&serde_json::to_string_pretty(&document.typed_data(signer))?);
        return Ok(());
    }
    if args.sign {
        let password = args.password_file.as_deref();
        let key = match (&args.keystore, &args.key) {
            (Some(file), _) => KeySpec::keystore(file, password)?,
            (None, Some(key)) => KeySpec::parse(key, password)?,
            (None, None) => bail!("--sign needs --keystore or --key"),
        };
        let key = AttestationKey::open(&key).await?;
        if let Some(fault) = document.message.fault() {
            bail!("{fault}");
        }
        let signer = key.address();
        let signature = key.sign(&document.typed_data(signer), &document.digest(signer)).await?;
        document.signer = Some(signer);
        document.signature = Some(Bytes::from(signature.as_bytes().to_vec()));
        super::say(&serde_json::to_string_pretty(&document)?);
        return Ok(());
    }
    if let Message::MethodologyAdoption(adopted) = &document.message {
        let hash = adopted.methodology;
        let ours = Methodology::version_1().context("the embedded methodology is wrong")?.hash();
        if hash != ours && !database.known()?.iter().any(|known| known.hash() == hash) {
            bail!("no file of methodology {hash} is here: hand it over with --methodology FILE");
        }
    }
    let timeliness = if args.restate { Timeliness::Restates } else { Timeliness::Required };
    let open = database.open().await?;
    let store = open.store().await?;
    let done = record(&store, document, Recorder::Owner, timeliness).await?;
    // A process that follows the chain may be rating at this moment: then it does it.
    if let Err(error) = open.rater().await?.catch_up().await {
        tracing::warn!(error = %error, "recorded; ratings are not up to date yet");
    }
    if args.json {
        super::say(&serde_json::to_string(&json!({
            "position": done.position,
            "digest": done.digest,
            "countsFromBlock": done.counts_from,
        }))?);
    } else {
        super::say(&format!(
            "recorded at position {}, counts from the end of block {}\ndigest {}",
            done.position, done.counts_from, done.digest
        ));
    }
    Ok(())
}
