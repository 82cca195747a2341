//! Fetches a metadata document from wherever a stranger says it is, and gives nothing away by it.
//!
//! Only HTTPS to port 443, only public addresses, checked after the name was resolved and pinned to
//! what was checked, so that a name cannot mean another host a moment later. Redirects are followed
//! a few times, each checked like the first. Time and size are limited while the answer comes in.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use alloy::transports::http::reqwest::{self, Url, header, redirect};

use super::{DOCUMENT_BYTES_MAX, Document, DocumentError};

/// What may be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For one document, redirects and all.
    pub time: Duration,
    /// Redirects followed.
    pub redirects_max: usize,
    /// Whether plain HTTP, other ports and hosts that are not public may be asked: for tests.
    pub is_lax: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_secs(10), redirects_max: 3, is_lax: false }
    }
}

/// A document was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is none that is asked.
    #[error("{0} is not asked: only https, port 443, no user")]
    Address(String),
    /// The name leads into somebody's own network.
    #[error("{host} is at {address}, which is not public")]
    NotPublic {
        /// The name.
        host: String,
        /// Where it leads.
        address: IpAddr,
    },
    /// The name leads nowhere.
    #[error("{0} is no known host")]
    NoHost(String),
    /// The server did not answer as needed.
    #[error("no answer: {0}")]
    Http(String),
    /// It took too long.
    #[error("no whole answer within {} seconds", .0.as_secs_f32())]
    Slow(Duration),
    /// One redirect after the other.
    #[error("more than {0} redirects")]
    Redirects(usize),
    /// The answer is no document.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// Fetches a document.
pub async fn fetch(uri: &str, limits: Limits) -> Result<Document, FetchError> {
    let asked = tokio::time::timeout(limits.time, follow(uri, limits)).await;
    let bytes = asked.map_err(|_| FetchError::Slow(limits.time))??;
    Ok(Document::parse(uri, &bytes)?)
}

async fn follow(uri: &str, limits: Limits) -> Result<Vec<u8>, FetchError> {
    let mut url = Url::parse(uri).map_err(|_| FetchError::Address(uri.to_owned()))?;
    for _ in 0..=limits.redirects_max {
        let mut answer = ask(&url, limits).await?;
        if answer.status().is_redirection() {
            let location = answer.headers().get(header::LOCATION);
            let next = location.and_then(|location| url.join(location.to_str().ok()?).ok());
            url = next.ok_or_else(|| FetchError::Http("a redirect to nowhere".to_owned()))?;
            continue;
        }
        if !answer.status().is_success() {
            return Err(FetchError::Http(format!("status {}", answer.status().as_u16())));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| http(&error))? {
            if bytes.len() + chunk.len() > DOCUMENT_BYTES_MAX {
                return Err(DocumentError::TooLong.into());
            }
            bytes.extend_from_slice(&chunk);
        }
        return Ok(bytes);
    }
    Err(FetchError::Redirects(limits.redirects_max))
}

async fn ask(url: &Url, limits: Limits) -> Result<reqwest::Response, FetchError> {
    let is_plain_address = url.scheme() == "https" && url.port().is_none();
    let has_user = !url.username().is_empty() || url.password().is_some();
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(FetchError::Address(url.to_string()));
    };
    if has_user || !(is_plain_address || limits.is_lax) {
        return Err(FetchError::Address(url.to_string()));
    }
    let bare = host.trim_matches(['[', ']']);
    let found = tokio::net::lookup_host((bare, port)).await;
    let addresses: Vec<SocketAddr> =
        found.map_err(|_| FetchError::NoHost(host.to_owned()))?.collect();
    if addresses.is_empty() {
        return Err(FetchError::NoHost(host.to_owned()));
    }
    let hidden = addresses.iter().find(|address| !is_public(address.ip()));
    if let Some(address) = hidden.filter(|_| !limits.is_lax) {
        return Err(FetchError::NotPublic { host: host.to_owned(), address: address.ip() });
    }
    let client = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .resolve_to_addrs(host, &addresses)
        .timeout(limits.time)
        .user_agent(concat!("assay/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| http(&error))?;
    client.get(url.clone()).send().await.map_err(|error| http(&error))
}

fn http(error: &reqwest::Error) -> FetchError {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        message = inner.to_string();
        source = inner.source();
    }
    FetchError::Http(message)
}

/// Whether an address is one of the public internet: none of the special-purpose registries of
/// IANA (RFC 6890), in either family.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_documentation()
                || address.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 192 && b == 88 && c == 99)
                || (a == 198 && (18..20).contains(&b)))
        }
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Global unicast alone, without what tunnels or documents: 6to4 and Teredo carry any IPv4
    // address, and a mapped one lies outside.
    (0x2000..0x4000).contains(&a)
        && a != 0x2002
        && !(a == 0x2001 && (b < 0x200 || b == 0x0db8))
        && !(a == 0x3fff && b < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_public_is_known() {
        for hidden in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2002:7f00:1::",
            "2001:0:7f00:1::",
            "2001:db8::1",
            "64:ff9b::a00:1",
        ] {
            assert!(!is_public(hidden.parse().unwrap()), "{hidden}");
        }
        for public in ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001::1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
