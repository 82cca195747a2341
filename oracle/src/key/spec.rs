//! Where a key is, in one line: for command lines and configuration, which never hold the key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy::primitives::Address;
use alloy::transports::http::reqwest::Url;

use super::web3signer::Web3Signer;
use super::{KeyError, Wallet, keystore, seclusion};

/// How a key may be written.
pub const KEY_FORMS: &str = "keystore:FILE#PASSWORD_FILE, web3signer:URL#ADDRESS, \
     aws-kms:KEY_ID, gcp-kms:projects/…/cryptoKeyVersions/N or ledger:m/44'/60'/0'/0/0";

/// Where a key is.
#[derive(Clone)]
pub struct KeySpec(Place);

#[derive(Clone)]
enum Place {
    Keystore { file: PathBuf, password: PathBuf },
    Web3Signer { url: Url, address: Address },
    AwsKms { key_id: String },
    GcpKms { version: GcpVersion },
    Ledger { path: String },
}

/// The parts of `projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/N`.
#[derive(Clone)]
#[cfg_attr(not(feature = "gcp-kms"), expect(dead_code, reason = "read where the key is opened"))]
pub(super) struct GcpVersion {
    pub(super) project: String,
    pub(super) location: String,
    pub(super) ring: String,
    pub(super) key: String,
    pub(super) version: u64,
}

impl KeySpec {
    /// Reads one of the [`KEY_FORMS`]. `password` is the password file of a keystore that is
    /// written without one.
    pub fn parse(text: &str, password: Option<&Path>) -> Result<Self, KeyError> {
        let fault = |fault| KeyError::NotASpec { fault };
        let (scheme, place) = text.split_once(':').ok_or(fault("it has no `:`"))?;
        if place.is_empty() {
            return Err(fault("nothing follows the `:`"));
        }
        let place = match scheme {
            "keystore" => {
                let (file, password) = match place.rsplit_once('#') {
                    Some((file, password)) => (file, Some(Path::new(password))),
                    None => (place, password),
                };
                return Self::keystore(Path::new(file), password);
            }
            "web3signer" => {
                let (url, address) =
                    place.rsplit_once('#').ok_or(fault("the web3signer has no #ADDRESS"))?;
                let url: Url = url.parse().map_err(|_| fault("the URL is none"))?;
                if !matches!(url.scheme(), "http" | "https") {
                    return Err(fault("the URL is neither http nor https"));
                }
                // Every process of the machine can read a command line.
                if !url.username().is_empty() || url.password().is_some() {
                    return Err(fault("the URL holds a password, which every process could read"));
                }
                let address = address.parse().map_err(|_| fault("the address is none"))?;
                Place::Web3Signer { url, address }
            }
            "aws-kms" => Place::AwsKms { key_id: place.to_owned() },
            "gcp-kms" => {
                let version = GcpVersion::parse(place);
                Place::GcpKms { version: version.ok_or(fault("it is no key version of GCP"))? }
            }
            "ledger" => {
                let numbers = place.strip_prefix("m/").ok_or(fault("the path has no `m/`"))?;
                let is_number = |part: &str| part.trim_end_matches('\'').parse::<u32>().is_ok();
                if !numbers.split('/').all(is_number) {
                    return Err(fault("the derivation path is none"));
                }
                Place::Ledger { path: place.to_owned() }
            }
            _ => return Err(fault("its kind is unknown")),
        };
        Ok(Self(place))
    }

    /// An encrypted keystore; without a password file it cannot be opened.
    pub fn keystore(file: &Path, password: Option<&Path>) -> Result<Self, KeyError> {
        let fault = "the keystore has no password file";
        let password = password.ok_or(KeyError::NotASpec { fault })?.to_owned();
        Ok(Self(Place::Keystore { file: file.to_owned(), password }))
    }

    /// Opens the key and asks who it is.
    pub(super) async fn open(&self) -> Result<Arc<dyn Wallet>, KeyError> {
        seclusion::forbid_core_dumps()?;
        Ok(match &self.0 {
            Place::Keystore { file, password } => Arc::new(keystore::decrypt(file, password)?),
            Place::Web3Signer { url, address } => Arc::new(Web3Signer::new(url.clone(), *address)),
            Place::AwsKms { key_id } => aws_kms(key_id).await?,
            Place::GcpKms { version } => gcp_kms(version).await?,
            Place::Ledger { path } => ledger(path).await?,
        })
    }

    const fn scheme(&self) -> &'static str {
        match self.0 {
            Place::Keystore { .. } => "keystore",
            Place::Web3Signer { .. } => "web3signer",
            Place::AwsKms { .. } => "aws-kms",
            Place::GcpKms { .. } => "gcp-kms",
            Place::Ledger { .. } => "ledger",
        }
    }
}

/// The kind and no more: an address may hold a token.
impl std::fmt::Debug for KeySpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeySpec({}:…)", self.scheme())
    }
}

impl GcpVersion {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.split('/').collect();
        let [
            "projects",
            project,
            "locations",
            location,
            "keyRings",
            ring,
            "cryptoKeys",
            key,
            "cryptoKeyVersions",
            version,
        ] = parts.as_slice()
        else {
            return None;
        };
        let [project, location, ring, key] = [*project, *location, *ring, *key].map(str::to_owned);
        Some(Self { project, location, ring, key, version: version.parse().ok()? })
    }
}

#[cfg(feature = "aws-kms")]
use super::held_elsewhere::aws_kms;
#[cfg(feature = "gcp-kms")]
use super::held_elsewhere::gcp_kms;
#[cfg(feature = "ledger")]
use super::held_elsewhere::ledger;

#[cfg(not(feature = "aws-kms"))]
async fn aws_kms(_: &str) -> Result<Arc<dyn Wallet>, KeyError> {
    Err(KeyError::NotBuiltIn { scheme: "aws-kms" })
}

#[cfg(not(feature = "gcp-kms"))]
async fn gcp_kms(_: &GcpVersion) -> Result<Arc<dyn Wallet>, KeyError> {
    Err(KeyError::NotBuiltIn { scheme: "gcp-kms" })
}

#[cfg(not(feature = "ledger"))]
async fn ledger(_: &str) -> Result<Arc<dyn Wallet>, KeyError> {
    Err(KeyError::NotBuiltIn { scheme: "ledger" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_nothing_else() {
        let gcp = "gcp-kms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/3";
        for (text, scheme) in [
            ("keystore:/keys/a.json#/keys/password", "keystore"),
            ("web3signer:https://h:9/a#0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "web3signer"),
            ("aws-kms:alias/rating", "aws-kms"),
            (gcp, "gcp-kms"),
            ("ledger:m/44'/60'/0'/0/0", "ledger"),
        ] {
            let spec = KeySpec::parse(text, None).unwrap();
            assert_eq!(spec.scheme(), scheme);
            // A wallet's address may hold a token.
            assert_eq!(format!("{spec:?}"), format!("KeySpec({scheme}:…)"));
        }
        let KeySpec(place) = KeySpec::parse("keystore:a.json", Some(Path::new("pw"))).unwrap();
        assert!(matches!(place, Place::Keystore { password, .. } if password == Path::new("pw")));

        let secret = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
        for text in [
            secret,
            &format!("private-key:{secret}"),
            &format!("keystore:{secret}"),
            "aws-kms:",
            "web3signer:http://127.0.0.1:9",
            &format!(
                "web3signer:http://user:{secret}@h#0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
            ),
            &format!("web3signer:ftp://{secret}#0x70997970C51812dc3A010C7d01b50e0d17dc79C8"),
            &format!("gcp-kms:projects/{secret}"),
            &gcp.replace("/3", "/three"),
            "ledger:44'/60'",
            &format!("ledger:m/{secret}"),
        ] {
            let refused = KeySpec::parse(text, None).unwrap_err();
            assert!(matches!(refused, KeyError::NotASpec { .. }), "{text}");
            assert!(!format!("{refused} {refused:?}").contains(&secret[2..]), "{refused}");
        }
    }

    #[cfg(not(feature = "aws-kms"))]
    #[tokio::test]
    async fn a_kind_that_was_not_built_in_says_how_to_build_it() {
        let spec = KeySpec::parse("aws-kms:alias/rating", None).unwrap();
        let refused = crate::RatingSigner::open(&spec).await.unwrap_err();
        let expected = "this build knows no aws-kms keys: build it with --features aws-kms";
        assert_eq!(refused.to_string(), expected);
    }
}
