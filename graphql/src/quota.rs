//! How much one client may ask for in an hour: points of cost, by address or by API key.
//!
//! Clients on this machine are not counted unless a proxy names the client in a header.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::state::keyed::DefaultKeyedStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{NotUntil, Quota, RateLimiter};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use crate::error::ApiError;
use crate::execute::{Answer, Outcome};
use crate::http::Shared;
use crate::limit::{EXPORT_POINTS, FEED_POINTS, POINTS_AN_HOUR, RATING_POINTS};
use crate::transport::Media;

/// A key that may ask for more than a stranger. The key itself is kept nowhere.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Whose it is, for people.
    pub name: String,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// Points it may spend in an hour.
    pub points_an_hour: NonZeroU32,
}

type One = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;
type Many =
    RateLimiter<IpAddr, DefaultKeyedStateStore<IpAddr>, DefaultClock, StateInformationMiddleware>;

/// What is left to everyone.
pub(crate) struct Quotas {
    keys: Vec<(ApiKey, One)>,
    strangers: Many,
    anonymous: NonZeroU32,
    /// Where a proxy says whom it speaks for.
    client_header: Option<HeaderName>,
    charges: AtomicU32,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// This machine, or this process.
    Local,
    /// A stranger.
    Address(IpAddr),
    /// The holder of the key at this place.
    Key(usize),
}

/// Addresses that have their whole quota again are forgotten after so many charges.
const CHARGES_BETWEEN_SWEEPS: u32 = 1_024;

impl Quotas {
    pub(crate) fn new(
        keys: Vec<ApiKey>,
        anonymous: Option<NonZeroU32>,
        client_header: Option<HeaderName>,
    ) -> Self {
        let one = |key: ApiKey| {
            let quota = Quota::per_hour(key.points_an_hour);
            (key, RateLimiter::direct(quota).with_middleware())
        };
        let anonymous = anonymous.unwrap_or(POINTS_AN_HOUR);
        Self {
            keys: keys.into_iter().map(one).collect(),
            strangers: RateLimiter::keyed(Quota::per_hour(anonymous)).with_middleware(),
            anonymous,
            client_header,
            charges: AtomicU32::new(0),
        }
    }

    /// Who sent these headers from this address. A key that nobody has is refused.
    pub(crate) fn client(
        &self,
        headers: &HeaderMap,
        peer: Option<SocketAddr>,
    ) -> Result<Client, ApiError> {
        let address = self.address(headers, peer);
        let Some(given) = headers.get(AUTHORIZATION) else { return Ok(address) };
        let key = given.as_bytes().strip_prefix(b"Bearer ").unwrap_or_default();
        let hash = Sha256::digest(key);
        // Every key is compared, and in constant time.
        let found = (0..).zip(&self.keys).fold(None, |found, (place, (key, _))| {
            if bool::from(key.sha256.ct_eq(&hash)) { Some(place) } else { found }
        });
        match found {
            Some(place) => Ok(Client::Key(place)),
            None => {
                // Guessing costs what asking costs.
                let _left = self.charge(address, 1)?;
                Err(ApiError::UnknownKey)
            }
        }
    }

    fn address(&self, headers: &HeaderMap, peer: Option<SocketAddr>) -> Client {
        let said = self.client_header.as_ref().and_then(|name| {
            // The last entry is the one that the proxy before us has added.
            let text = headers.get_all(name).iter().next_back()?.to_str().ok()?;
            text.rsplit(',').next()?.trim().parse::<IpAddr>().ok()
        });
        match said.or(peer.map(|peer| peer.ip())).map(|address| address.to_canonical()) {
            None => Client::Local,
            Some(address) if address.is_loopback() => Client::Local,
            // Whoever has one address of IPv6 has all of its /64.
            Some(IpAddr::V6(address)) => {
                let bits = address.to_bits() & !u128::from(u64::MAX);
                Client::Address(Ipv6Addr::from_bits(bits).into())
            }
            Some(address) => Client::Address(address),
        }
    }

    /// Takes points from what is left to a client, and says how much that is now; `None` where
    /// nobody counts.
    pub(crate) fn charge(&self, client: Client, points: u64) -> Result<Option<Left>, ApiError> {
        let points = u32::try_from(points).unwrap_or(u32::MAX);
        let points = NonZeroU32::new(points).unwrap_or(NonZeroU32::MIN);
        let (outcome, limit) = match client {
            Client::Local => return Ok(None),
            Client::Key(place) => match self.keys.get(place) {
                Some((key, limiter)) => (limiter.check_n(points), key.points_an_hour),
                None => return Err(ApiError::UnknownKey),
            },
            Client::Address(address) => {
                let before = self.charges.fetch_add(1, Ordering::Relaxed);
                if before.is_multiple_of(CHARGES_BETWEEN_SWEEPS) {
                    self.strangers.retain_recent();
                }
                (self.strangers.check_key_n(&address, points), self.anonymous)
            }
        };
        match outcome {
            Ok(Ok(state)) => Ok(Some(Left::of(&state))),
            Ok(Err(wait)) => Err(ApiError::RateLimited { seconds: seconds(&wait) }),
            Err(_) => {
                let (what, found) = ("the cost in points", u64::from(points.get()));
                let limit = u64::from(limit.get());
                Err(ApiError::CostExceeded { what, found, limit, dearest: String::new() })
            }
        }
    }
}

/// Whole seconds until as much is there again, at least one.
fn seconds<I: governor::clock::Reference>(wait: &NotUntil<I>) -> u64
where
    DefaultClock: Clock<Instant = I>,
{
    wait.wait_time_from(DefaultClock::default().now()).as_secs().saturating_add(1)
}

/// What a client may still spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    limit: u32,
    remaining: u32,
}

impl Left {
    fn of(state: &StateSnapshot) -> Self {
        let limit = state.quota().burst_size().get();
        Self { limit, remaining: state.remaining_burst_capacity() }
    }

    /// Says so in an answer that is not kept.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        headers.insert("x-ratelimit-limit", HeaderValue::from(self.limit));
        headers.insert("x-ratelimit-remaining", HeaderValue::from(self.remaining));
    }
}

/// Where a request came from; `None` within a process.
pub(crate) fn peer(request: &Request) -> Option<SocketAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}

/// Charges for what is not GraphQL.
pub(crate) async fn meter(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let points = match request.uri().path() {
        path if path.starts_with("/v1/export/") => EXPORT_POINTS,
        path if path.starts_with("/v1/ratings/") => RATING_POINTS,
        path if path.starts_with("/feeds/") => FEED_POINTS,
        _ => return next.run(request).await,
    };
    let quotas = &shared.quotas;
    let paid = quotas
        .client(request.headers(), peer(&request))
        .and_then(|client| quotas.charge(client, points));
    match paid {
        Ok(_) => next.run(request).await,
        Err(cause) => refusal(cause, Media::Json),
    }
}

/// A request that is not answered because of who asked.
pub(crate) fn refusal(cause: ApiError, media: Media) -> Response {
    use axum::http::StatusCode;
    use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media.content_type()));
    let status = match cause {
        ApiError::RateLimited { seconds } => {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            StatusCode::TOO_MANY_REQUESTS
        }
        ApiError::UnknownKey => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            StatusCode::UNAUTHORIZED
        }
        _ => StatusCode::BAD_REQUEST,
    };
    (status, headers, Answer::refused(cause, Outcome::Refused).body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(header: Option<&'static str>) -> Quotas {
        let key = ApiKey {
            name: "desk".to_owned(),
            sha256: Sha256::digest(b"open sesame").into(),
            points_an_hour: NonZeroU32::new(20).unwrap(),
        };
        Quotas::new(vec![key], NonZeroU32::new(10), header.map(HeaderName::from_static))
    }

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    fn from(address: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(address.parse().unwrap(), 1))
    }

    #[test]
    fn a_client_is_its_key_or_its_network_and_this_machine_is_nobody() {
        let (none, plain) = (HeaderMap::new(), quotas(None));
        let client = |address| plain.client(&none, from(address)).unwrap();
        assert_eq!(plain.client(&none, None), Ok(Client::Local));
        assert_eq!(client("127.0.0.1"), Client::Local);
        assert_eq!(client("::ffff:127.0.0.1"), Client::Local);
        assert_eq!(client("203.0.113.9"), Client::Address("203.0.113.9".parse().unwrap()));
        assert_eq!(client("2001:db8::1"), client("2001:db8::2:3"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        let key = headers("authorization", "Bearer open sesame");
        assert_eq!(plain.client(&key, from("203.0.113.9")), Ok(Client::Key(0)));
        for wrong in ["Bearer open sesam", "open sesame", "Bearer ", "Basic b3Blbg=="] {
            let wrong = headers("authorization", wrong);
            assert_eq!(plain.client(&wrong, from("127.0.0.1")), Err(ApiError::UnknownKey));
        }
        // A header counts only where a proxy was announced, and then its last word.
        let said = headers("x-forwarded-for", "127.0.0.1, 203.0.113.9");
        assert_eq!(plain.client(&said, from("127.0.0.1")), Ok(Client::Local));
        let behind = quotas(Some("x-forwarded-for")).client(&said, from("127.0.0.1")).unwrap();
        assert_eq!(behind, client("203.0.113.9"));
    }

    #[test]
    fn points_run_out_for_one_and_not_for_another() {
        let quotas = quotas(None);
        let (a, b) = ("203.0.113.9".parse().unwrap(), "203.0.113.10".parse().unwrap());
        let left = quotas.charge(Client::Address(a), 6).unwrap().unwrap();
        assert_eq!((left.limit, left.remaining), (10, 4));
        // One point comes back every six minutes; two are missing.
        let refused = quotas.charge(Client::Address(a), 6).unwrap_err();
        assert_eq!(refused, ApiError::RateLimited { seconds: 720 });
        assert!(quotas.charge(Client::Address(b), 6).is_ok());
        assert!(quotas.charge(Client::Key(0), 20).is_ok());
        assert!(quotas.charge(Client::Local, 1_000_000).unwrap().is_none());
        let never = quotas.charge(Client::Address(b), 11).unwrap_err();
        assert_eq!(never.code(), "COST_EXCEEDED");
    }

    #[test]
    fn guessing_keys_costs_points() {
        let (quotas, wrong) = (quotas(None), headers("authorization", "Bearer x"));
        let guesses: Vec<_> =
            (0..11).map(|_| quotas.client(&wrong, from("203.0.113.9")).unwrap_err()).collect();
        assert_eq!(guesses[9], ApiError::UnknownKey);
        assert_eq!(guesses[10].code(), "RATE_LIMITED");
    }
}
