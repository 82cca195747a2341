//! Why ingestion stops.

use alloy::primitives::B256;

use crate::chain::backfill::FetchError;
use crate::chain::decode::DecodeError;
use crate::chain::source::SourceError;
use crate::chain::window::BrokenLink;

/// Ingestion stopped. `E` is the sink's error.
#[derive(Debug, thiserror::Error)]
pub enum IngestError<E: std::error::Error + 'static> {
    /// It was told to stop. What was being appended is appended.
    #[error("ingestion was told to stop")]
    Stopped,
    /// The source did not answer as needed; [`SourceError::is_temporary`] says whether to wait.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A log of a known event is not that event. Nothing of its batch was stored.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The batch was not stored.
    #[error("a batch could not be stored")]
    Sink(#[source] E),
    /// The chain went back behind a block that was final. Either the node is on another chain, or
    /// finality broke: a person must decide.
    #[error(
        "block {number} was final as {expected}, but {endpoint} has {found}: a reorg behind \
         finality. Compare with another node before anything is changed"
    )]
    ReorgBehindFinality {
        /// The source, without its secrets.
        endpoint: String,
        /// The block.
        number: u64,
        /// Its hash in the store.
        expected: B256,
        /// Its hash at the source.
        found: B256,
    },
    /// The headers in the store are not of one chain. Run `assay verify`.
    #[error("the stored headers cannot be used: {0}; run `assay verify`")]
    BrokenWindow(BrokenLink),
}

impl<E: std::error::Error> From<FetchError> for IngestError<E> {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Source(error) => Self::Source(error),
            FetchError::Decode(error) => Self::Decode(error),
        }
    }
}
