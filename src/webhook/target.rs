//! Whom to tell: the operator's file, the secret, and where a request may go.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use alloy::transports::http::reqwest::dns::{Addrs, Name, Resolve, Resolving};
use alloy::transports::http::reqwest::{self, Client, Url, redirect};
use serde::Deserialize;

use super::message::Kind;

/// A receiver that is told.
pub struct Webhook {
    /// What its place in the feed is kept under.
    pub name: String,
    pub(super) url: Url,
    pub(super) kinds: BTreeSet<Kind>,
    pub(super) signer: standardwebhooks::Webhook,
    pub(super) client: Client,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a file of webhooks is refused.
#[derive(Debug, thiserror::Error)]
pub enum BadWebhook {
    /// A file cannot be read.
    #[error("cannot read {}: {reason}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// Not the TOML that is wanted.
    #[error("{}: {reason}", .path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: toml::de::Error,
    },
    /// Others can read the secret.
    #[error("{} can be read by others; chmod 600 it", .0.display())]
    Exposed(PathBuf),
    /// One of the webhooks cannot be used.
    #[error("webhook {name}: {reason}")]
    Unusable {
        /// Its name.
        name: String,
        /// What is wrong and what to do.
        reason: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    webhook: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    url: String,
    secret_file: PathBuf,
    kinds: Option<BTreeSet<Kind>>,
    #[serde(default)]
    allow_private: bool,
}

impl Webhook {
    /// Reads a file of webhooks; secrets are files beside it.
    pub fn read(path: &Path) -> Result<Vec<Self>, BadWebhook> {
        let file: File = toml::from_str(&read(path)?)
            .map_err(|reason| BadWebhook::NotToml { path: path.to_owned(), reason })?;
        let mut names = BTreeSet::new();
        let folder = path.parent().unwrap_or(Path::new("."));
        let webhook = |entry: Entry| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            let name = entry.name.clone();
            let unusable = move |reason| BadWebhook::Unusable { name, reason };
            if entry.name.is_empty() || !entry.name.chars().all(is_plain) {
                return Err(unusable("name it with letters, digits, - and _"));
            }
            if !names.insert(entry.name.clone()) {
                return Err(unusable("two have this name; its place in the feed is kept under it"));
            }
            entry.open(folder)
        };
        file.webhook.into_iter().map(webhook).collect()
    }
}

impl Entry {
    fn open(self, folder: &Path) -> Result<Webhook, BadWebhook> {
        let unusable = |reason| BadWebhook::Unusable { name: self.name.clone(), reason };
        let url = Url::parse(&self.url).map_err(|_| unusable("the url is none"))?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(unusable("the url must begin with https:// or http://"));
        }
        // Addresses are not resolved, so the resolver does not see them.
        let host = url.host_str().unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        if !self.allow_private && address.is_ok_and(|address| !is_public(address)) {
            return Err(unusable(
                "the url is a private address; say allow_private = true if that is meant",
            ));
        }
        let path = folder.join(&self.secret_file);
        let secret = read(&path)?;
        let mode = std::fs::metadata(&path).map(|found| found.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o077 != 0) {
            return Err(BadWebhook::Exposed(path));
        }
        let signer = standardwebhooks::Webhook::new(secret.trim())
            .map_err(|_| unusable("the secret is not whsec_ and base64"))?;
        if secret.trim().len() < "whsec_".len() + SECRET_CHARS_MIN {
            return Err(unusable("the secret is short; 24 random bytes in base64 are the least"));
        }
        let mut client = Client::builder()
            .user_agent(concat!("assay/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy();
        if !self.allow_private {
            client = client.dns_resolver(PublicOnly);
        }
        let client = client.build().map_err(|_| unusable("no TLS could be set up"))?;
        let kinds = self.kinds.clone().unwrap_or_else(|| Kind::ALL.into_iter().collect());
        Ok(Webhook { name: self.name, url, kinds, signer, client })
    }
}

/// Standard Webhooks wants 24 bytes: 32 characters of base64.
const SECRET_CHARS_MIN: usize = 32;

fn read(path: &Path) -> Result<String, BadWebhook> {
    let unreadable = |reason| BadWebhook::Unreadable { path: path.to_owned(), reason };
    std::fs::read_to_string(path).map_err(unreadable)
}

/// The innermost reason why a request failed, without its URL.
pub(super) fn explain(error: &reqwest::Error) -> String {
    let mut reason = error.source();
    while let Some(inner) = reason.and_then(std::error::Error::source) {
        reason = Some(inner);
    }
    match reason {
        Some(reason) => reason.to_string(),
        None if error.is_timeout() => "the receiver does not answer in time".to_owned(),
        None => "the receiver cannot be reached".to_owned(),
    }
}

/// Resolves names to public addresses alone, at each connection: a name may be moved later.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                let reason = "the name has private addresses alone; say allow_private = true if \
                              that is meant";
                return Err(reason.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public internet (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_documentation()
                || matches!((a, b, c), (0 | 240..=255, ..) | (100, 64..=127, _))
                || matches!((a, b, c), (198, 18 | 19, _) | (192, 0, 0)))
        }
        IpAddr::V6(address) => {
            let segments = address.segments();
            match segments {
                // Through a translator or a tunnel: what counts is where it comes out.
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                    is_public(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into())
                }
                [0x2002, high, low, ..] => {
                    is_public(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into())
                }
                // Only this eighth of the space is given out; the rest is local or reserved.
                [first, second, ..] => {
                    first & 0xe000 == 0x2000 && (first, second) != (0x2001, 0x0db8)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for (address, expected) in [
            ("1.1.1.1", true),
            ("172.32.0.1", true),
            ("2606:4700::1111", true),
            ("64:ff9b::101:101", true),
            ("0.0.0.0", false),
            ("10.0.0.1", false),
            ("100.64.0.1", false),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("172.31.255.255", false),
            ("192.168.1.1", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::1", false),
            ("::", false),
            ("::ffff:10.0.0.1", false),
            ("64:ff9b::a00:1", false),
            ("2002:a00:1::", false),
            ("2001:db8::1", false),
            ("fd00::1", false),
            ("fe80::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        }
    }
}
