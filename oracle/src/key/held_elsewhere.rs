//! Keys that never leave the machine that made them: AWS KMS, Google Cloud KMS, a Ledger.
//! The wallets are alloy's; each is behind a cargo feature of its own.

use std::sync::Arc;

use super::{KeyError, Wallet};

/// A key of AWS KMS (`ECC_SECG_P256K1`, `SIGN_VERIFY`). Region and credentials come from the
/// environment, the profile or the instance, as AWS's own tools find them.
#[cfg(feature = "aws-kms")]
pub(super) async fn aws_kms(key_id: &str) -> Result<Arc<dyn Wallet>, KeyError> {
    use alloy::signers::aws::aws_config::{BehaviorVersion, load_defaults};
    open_aws_kms(key_id, &load_defaults(BehaviorVersion::latest()).await).await
}

#[cfg(feature = "aws-kms")]
pub(super) async fn open_aws_kms(
    key_id: &str,
    config: &alloy::signers::aws::aws_config::SdkConfig,
) -> Result<Arc<dyn Wallet>, KeyError> {
    use alloy::signers::aws::AwsSigner;
    use alloy::signers::aws::aws_sdk_kms::Client;
    let opened = AwsSigner::new(Client::new(config), key_id.to_owned(), None).await;
    Ok(Arc::new(opened.map_err(|error| closed("aws-kms", &error))?))
}

/// A key version of Google Cloud KMS (`EC_SIGN_SECP256K1_SHA256`). Credentials come from the
/// environment or the instance, as Google's own tools find them.
#[cfg(feature = "gcp-kms")]
pub(super) async fn gcp_kms(
    version: &super::spec::GcpVersion,
) -> Result<Arc<dyn Wallet>, KeyError> {
    use alloy::signers::gcp::gcloud_sdk::TokenSourceType;
    open_gcp_kms(version, "https://cloudkms.googleapis.com", TokenSourceType::Default).await
}

#[cfg(feature = "gcp-kms")]
pub(super) async fn open_gcp_kms(
    version: &super::spec::GcpVersion,
    url: &str,
    token: alloy::signers::gcp::gcloud_sdk::TokenSourceType,
) -> Result<Arc<dyn Wallet>, KeyError> {
    use alloy::signers::gcp::gcloud_sdk::google::cloud::kms::v1::key_management_service_client::KeyManagementServiceClient;
    use alloy::signers::gcp::gcloud_sdk::{GCP_DEFAULT_SCOPES, GoogleApi};
    use alloy::signers::gcp::{GcpKeyRingRef, GcpSigner, KeySpecifier};
    let client = GoogleApi::from_function_with_token_source(
        KeyManagementServiceClient::new,
        url,
        None,
        GCP_DEFAULT_SCOPES.clone(),
        token,
    )
    .await
    .map_err(|error| closed("gcp-kms", &error))?;
    let ring = GcpKeyRingRef::new(&version.project, &version.location, &version.ring);
    let key = KeySpecifier::new(ring, &version.key, version.version);
    let opened = GcpSigner::new(client, key, None).await;
    Ok(Arc::new(opened.map_err(|error| closed("gcp-kms", &error))?))
}

/// A key of the first Ledger found: unlocked, its Ethereum app open.
#[cfg(feature = "ledger")]
pub(super) async fn ledger(path: &str) -> Result<Arc<dyn Wallet>, KeyError> {
    use alloy::signers::ledger::{HDPath, LedgerSigner};
    let path = HDPath::Other(path.to_owned());
    // Without a USB subsystem coins-ledger panics.
    let opened = tokio::spawn(async { LedgerSigner::new(path, None).await }).await;
    let opened = opened.map_err(|error| closed("ledger", &error))?;
    Ok(Arc::new(opened.map_err(|error| closed("ledger", &error))?))
}

/// The whole chain of causes: these crates say "service error" and keep the reason for themselves.
fn closed(scheme: &'static str, error: &dyn std::error::Error) -> KeyError {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    KeyError::Closed { scheme, reason }
}
