//! The address of a node. It holds an API key more often than not, so it is never shown whole.

use alloy::transports::http::reqwest::Url;

/// How a node is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// One request, one answer.
    Http,
    /// A connection that also tells of new blocks.
    WebSocket,
}

/// A node's URL. `Display` and `Debug` show scheme and host alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    scheme: Scheme,
}

/// A URL that is no node's. The text is not repeated: it may hold a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is no URL.
    #[error("the RPC address is not a URL: {reason}; expected http, https, ws or wss")]
    NotAUrl {
        /// What the parser said.
        reason: String,
    },
    /// It is a URL of another kind.
    #[error("the RPC address begins with {found}://; expected http, https, ws or wss")]
    Scheme {
        /// The scheme found.
        found: String,
    },
    /// It names no host.
    #[error("the RPC address names no host")]
    NoHost,
}

impl Endpoint {
    /// Reads a URL.
    pub fn parse(url: &str) -> Result<Self, EndpointError> {
        let url = Url::parse(url.trim())
            .map_err(|error| EndpointError::NotAUrl { reason: error.to_string() })?;
        let scheme = match url.scheme() {
            "http" | "https" => Scheme::Http,
            "ws" | "wss" => Scheme::WebSocket,
            other => return Err(EndpointError::Scheme { found: other.to_owned() }),
        };
        if url.host_str().is_none_or(str::is_empty) {
            return Err(EndpointError::NoHost);
        }
        Ok(Self { url, scheme })
    }

    /// How to speak to it.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The whole URL, secrets included: for the connection, never for a message.
    pub(crate) const fn secret_url(&self) -> &Url {
        &self.url
    }

    /// Takes whatever is secret in the URL out of somebody else's message.
    pub(crate) fn scrub(&self, message: &str) -> String {
        let mut clean = message.replace(self.url.as_str(), &self.to_string());
        let secrets = [
            self.url.query().unwrap_or_default(),
            self.url.path().trim_matches('/'),
            self.url.password().unwrap_or_default(),
            self.url.username(),
        ];
        for secret in secrets {
            // A short path such as `rpc` is no secret, and may be part of any word.
            if secret.len() >= 6 {
                clean = clean.replace(secret, "…");
            }
        }
        clean
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.url.scheme(), self.url.host_str().unwrap_or_default())?;
        if let Some(port) = self.url.port() {
            write!(f, ":{port}")?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_path_query_or_user_is_never_shown() {
        let url = "https://someone:pass-word@eth.example:8443/v3/0123456789abcdef?key=abcdefgh";
        let endpoint = Endpoint::parse(url).unwrap();
        assert_eq!(endpoint.to_string(), "https://eth.example:8443");
        assert_eq!(format!("{endpoint:?}"), "Endpoint(https://eth.example:8443)");
        let message = format!("cannot reach {url}: /v3/0123456789abcdef key=abcdefgh pass-word");
        let clean = endpoint.scrub(&message);
        for secret in ["0123456789abcdef", "abcdefgh", "pass-word"] {
            assert!(!clean.contains(secret), "{clean}");
        }
        let refused = Endpoint::parse("file:///etc/passwd").unwrap_err();
        assert_eq!(refused, EndpointError::Scheme { found: "file".to_owned() });
    }
}
