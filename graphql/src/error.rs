//! Why a request, or one field of it, was refused: a code for programs, a sentence for people and
//! a hint that says what to do.
//!
//! Resolvers return [`ApiError`]; the code and the hint are written into `errors[].extensions`
//! in one place, [`annotate`].

use async_graphql::{ErrorExtensionValues, ServerError};

use crate::limit::MESSAGE_CHARS_MAX;

/// What can go wrong between a request and its answer. `extensions.code` names the variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The document is not GraphQL. Nothing was run.
    #[error("{0}")]
    ParseFailed(String),
    /// The document is GraphQL but does not fit the schema. Nothing was run.
    #[error("{0}")]
    ValidationFailed(String),
    /// The document asks for more than one request may. Nothing was run; ask for less at a time.
    #[error("{what} is {found}, the limit is {limit}")]
    CostExceeded {
        /// What was counted.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// How much there may be.
        limit: u64,
        /// The dearest root fields, when points were counted.
        dearest: String,
    },
    /// Fields are nested too deeply. Nothing was run.
    #[error("the document is {found} fields deep, the limit is {limit}")]
    DepthExceeded {
        /// Its depth.
        found: u64,
        /// How deep it may be.
        limit: u64,
    },
    /// `first` or `last` is above the maximum; the page is refused rather than cut.
    #[error("a page of {asked} was asked for, the maximum is {limit}")]
    PageTooLarge {
        /// What was asked for.
        asked: i64,
        /// What may be asked for.
        limit: i64,
    },
    /// A cursor that this list, in this order and at this position, did not give.
    #[error("bad cursor: {0}")]
    BadCursor(&'static str),
    /// An argument that no answer fits.
    #[error("{0}")]
    BadArgument(String),
    /// Nothing of that name.
    #[error("{0}")]
    NotFound(String),
    /// `asOf` lies after what Assay knows.
    #[error("{asked} lies ahead of what is known; the last is {last}")]
    PositionInFuture {
        /// What was asked for.
        asked: String,
        /// The last point that can be asked for.
        last: String,
    },
    /// `asOf` lies before the first fact.
    #[error("nothing is known as of {0}")]
    BeforeFirstPosition(String),
    /// The database or the whole request took too long. Ask for less.
    #[error("the answer took longer than {seconds} s")]
    Timeout {
        /// The time allowed, in seconds.
        seconds: u64,
    },
    /// The database cannot be reached or too many requests run at once. Retry with back-off.
    #[error("{0}")]
    Unavailable(&'static str),
    /// A client has spent its points. Wait, ask for less, or use an API key.
    #[error("the points of this hour are spent; the next ones come in {seconds} s")]
    RateLimited {
        /// Seconds until as much as was asked for can be asked for again.
        seconds: u64,
    },
    /// An Authorization header with a key that nobody has.
    #[error("the API key is unknown")]
    UnknownKey,
    /// A document was named by an id that nobody has registered. Send it with its id once.
    #[error("PersistedQueryNotFound")]
    UnknownDocument,
    /// A message was not recorded, with the reason.
    #[error("{message}")]
    NotRecorded {
        /// The value of `extensions.code`.
        code: &'static str,
        /// The reason.
        message: String,
    },
    /// A row says what it cannot say. A bug: the read model has to be rebuilt.
    #[error("the read model is corrupt: {0}")]
    Corrupt(&'static str),
}

impl ApiError {
    /// The value of `extensions.code`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ParseFailed(_) => "GRAPHQL_PARSE_FAILED",
            Self::ValidationFailed(_) => "GRAPHQL_VALIDATION_FAILED",
            Self::CostExceeded { .. } => "COST_EXCEEDED",
            Self::DepthExceeded { .. } => "DEPTH_EXCEEDED",
            Self::PageTooLarge { .. } => "PAGE_TOO_LARGE",
            Self::BadCursor(_) => "BAD_CURSOR",
            Self::BadArgument(_) => "BAD_ARGUMENT",
            Self::NotFound(_) => "NOT_FOUND",
            Self::PositionInFuture { .. } => "POSITION_IN_FUTURE",
            Self::BeforeFirstPosition(_) => "BEFORE_FIRST_POSITION",
            Self::Timeout { .. } => "TIMEOUT",
            Self::Unavailable(_) => "UNAVAILABLE",
            Self::RateLimited { .. } => "RATE_LIMITED",
            Self::UnknownKey => "UNAUTHENTICATED",
            Self::UnknownDocument => "PERSISTED_QUERY_NOT_FOUND",
            Self::NotRecorded { code, .. } => code,
            Self::Corrupt(_) => "INTERNAL",
        }
    }

    /// The value of `extensions.hint`: what the caller can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::CostExceeded { dearest, .. } if !dearest.is_empty() => {
                format!("the dearest fields: {dearest}; ask for smaller pages or fewer fields")
            }
            Self::CostExceeded { .. } => "send several smaller requests".to_owned(),
            Self::DepthExceeded { .. } => "ask for the inner objects by their id".to_owned(),
            Self::PageTooLarge { limit, .. } => {
                format!("ask for {limit} and follow pageInfo.endCursor")
            }
            Self::BadCursor(_) => {
                "use a cursor of the same list, filter, order and asOf, or start over".to_owned()
            }
            Self::NotFound(_) => "entities(where:) lists what there is".to_owned(),
            Self::PositionInFuture { .. } => {
                "leave asOf out for the newest; status tells how far each chain is".to_owned()
            }
            Self::BeforeFirstPosition(_) => {
                "snapshot(asOf: { position: \"1\" }) tells where the record begins".to_owned()
            }
            Self::Timeout { .. } => "ask for smaller pages".to_owned(),
            Self::RateLimited { .. } => {
                "an API key in the header Authorization: Bearer has points of its own".to_owned()
            }
            Self::UnknownKey => {
                "send Authorization: Bearer and the key, or leave the header out".to_owned()
            }
            Self::UnknownDocument => {
                "send the document and its id once; /v1/operations lists what is saved".to_owned()
            }
            Self::Unavailable(_) => "retry in a few seconds".to_owned(),
            Self::ValidationFailed(_) => "the schema is at /schema.graphql".to_owned(),
            Self::ParseFailed(_)
            | Self::BadArgument(_)
            | Self::NotRecorded { .. }
            | Self::Corrupt(_) => return None,
        })
    }

    /// This error as the only one of a request that was never run.
    pub(crate) fn into_server_error(self) -> ServerError {
        let mut error = ServerError::new(self.to_string(), None);
        write_extensions(&mut error, &self);
        error
    }
}

/// Gives an error that async-graphql collected its code and its hint.
pub(crate) fn annotate(error: &mut ServerError) {
    let found = error.source::<ApiError>().cloned();
    match found {
        Some(cause) => write_extensions(error, &cause),
        // Everything else that async-graphql refuses by itself is the document's or the
        // variables' fault.
        None => {
            let cause = ApiError::ValidationFailed(error.message.clone());
            write_extensions(error, &cause);
        }
    }
}

fn write_extensions(error: &mut ServerError, cause: &ApiError) {
    // What is wrong may quote what was asked, which may be as long as a body.
    if let Some((cut, _)) = error.message.char_indices().nth(MESSAGE_CHARS_MAX) {
        error.message.truncate(cut);
        error.message.push('…');
    }
    let values = error.extensions.get_or_insert_with(ErrorExtensionValues::default);
    values.set("code", cause.code());
    if let Some(hint) = cause.hint() {
        values.set("hint", hint);
    }
}
