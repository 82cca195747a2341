//! Another node, asked over HTTP. What it answers is checked by whoever asks.

use std::time::Duration;

use alloy::transports::http::reqwest::{Client, StatusCode, Url, redirect};
use assay_domain::UntrustedText;
use serde::de::DeserializeOwned;

use crate::batch::OracleId;
use crate::share::Share;

/// A peer that has not answered by then is asked again at the next turn.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer at most: ten batches of a hundred ratings with a signature each are a tenth.
const ANSWER_BYTES_MAX: usize = 2 << 20;

/// Another node.
#[derive(Clone)]
pub struct Peer {
    url: Url,
    client: Client,
}

/// Why a peer's answer is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Not an address. Correct it.
    #[error("the address of a peer is no http address")]
    BadUrl,
    /// It is out of reach.
    #[error("{peer} does not answer: {reason}")]
    Unavailable {
        /// Host and port.
        peer: String,
        /// What the network said.
        reason: String,
    },
    /// It refuses.
    #[error("{peer} refuses ({status}): {reason}")]
    Refused {
        /// Host and port.
        peer: String,
        /// HTTP status.
        status: u16,
        /// What it said.
        reason: UntrustedText,
    },
    /// It answers with something else.
    #[error("{peer} answers with something else than was asked for")]
    Malformed {
        /// Host and port.
        peer: String,
    },
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Peer({self})")
    }
}

/// Host and port: the rest of the address may hold a token.
impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let port = self.url.port_or_known_default().unwrap_or_default();
        write!(f, "{}:{port}", self.url.host_str().unwrap_or_default())
    }
}

impl std::str::FromStr for Peer {
    type Err = PeerError;

    fn from_str(text: &str) -> Result<Self, PeerError> {
        let mut url: Url = text.parse().map_err(|_| PeerError::BadUrl)?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(PeerError::BadUrl);
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let client = Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|_| PeerError::BadUrl)?;
        Ok(Self { url, client })
    }
}

impl Peer {
    /// Its signatures for a contract over the batches of a position under a deadline, as it says.
    pub async fn shares(
        &self,
        oracle: OracleId,
        position: u64,
        deadline: Option<u64>,
    ) -> Result<Vec<Share>, PeerError> {
        let OracleId { chain_id, address } = oracle;
        let mut path =
            format!("v1/oracle/signatures/{position}?chain_id={chain_id}&oracle={address}");
        if let Some(deadline) = deadline {
            path = format!("{path}&deadline={deadline}");
        }
        self.get(&path).await
    }

    /// Asks for a JSON document below its address.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, PeerError> {
        let malformed = || PeerError::Malformed { peer: self.to_string() };
        // The error of the network may show the whole address.
        let unavailable = |error: alloy::transports::http::reqwest::Error| {
            let error = error.without_url();
            let mut reason = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                reason = format!("{reason}: {cause}");
                source = cause.source();
            }
            PeerError::Unavailable { peer: self.to_string(), reason }
        };
        let url = self.url.join(path).map_err(|_| malformed())?;
        let mut response = self.client.get(url).send().await.map_err(unavailable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(malformed());
            }
            body.extend_from_slice(&chunk);
        }
        if status != StatusCode::OK {
            let (peer, status) = (self.to_string(), status.as_u16());
            return Err(PeerError::Refused { peer, status, reason: UntrustedText(body) });
        }
        serde_json::from_slice(&body).map_err(|_| malformed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_is_named_by_host_and_port_and_nothing_else() {
        let peer: Peer = "http://user:s3cret@127.0.0.1:1/t0ken".parse().unwrap();
        assert_eq!(peer.to_string(), "127.0.0.1:1");
        let failed = peer
            .shares(OracleId { chain_id: 1, address: Default::default() }, 1, None)
            .await
            .unwrap_err();
        let shown = format!("{peer:?} {failed} {failed:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("t0ken"), "{shown}");
        assert!("ftp://x".parse::<Peer>().is_err() && "nonsense".parse::<Peer>().is_err());
    }
}
