//! The one thing that can be changed: signed messages are recorded.
//!
//! This crate only reads, so the binary brings a [`Recorder`] that may write to the log.

use std::sync::Arc;

use alloy_primitives::B256;
use async_graphql::{Context, Object, SimpleObject};

use crate::error::ApiError;
use crate::scalar::{BlockNumber, Bytes32, LogPosition};
use crate::stress::BoxFuture;

/// Records signed messages in the log.
pub trait Recorder: std::fmt::Debug + Send + Sync {
    /// Records a document, or says why not.
    fn record(&self, document: String) -> BoxFuture<'static, Result<Recorded, NotRecorded>>;
}

/// Where a message was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Storage position.
    pub position: u64,
    /// What was signed.
    pub digest: B256,
    /// It counts from the end of this block.
    pub counts_from_block: u64,
}

/// Why a message was not recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRecorded {
    /// For programs, such as BAD_SIGNATURE.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// What can be changed. Only by POST.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mutation;

/// What can be changed. Only by POST.
#[Object]
impl Mutation {
    /// Records a signed message: a claim, a revocation, a registration. Whoever sends it does not
    /// matter, only who signed. One that is refused is an error whose code says why:
    /// BAD_SIGNATURE, NOT_ENTITLED, EXPIRED, REPLAYED, TOO_LATE and others.
    async fn record_attestation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The document as JSON text, as `assay attest --sign` prints it.")]
        document: String,
    ) -> Result<RecordedAttestation, ApiError> {
        let recorder = ctx.data::<Arc<dyn Recorder>>().map_err(|_| {
            let message = "nothing is recorded here: send it to a node that writes its log";
            ApiError::NotRecorded { code: "READ_ONLY", message: message.to_owned() }
        })?;
        let done = recorder.record(document).await.map_err(|refused| {
            let NotRecorded { code, message } = refused;
            ApiError::NotRecorded { code, message }
        })?;
        Ok(RecordedAttestation {
            storage_position: LogPosition(done.position.cast_signed()),
            digest: done.digest.into(),
            counts_from_block: BlockNumber(done.counts_from_block.cast_signed()),
        })
    }
}

/// A message that was recorded.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct RecordedAttestation {
    /// Where it stands in the log as stored, which is not a position that `asOf` takes.
    pub storage_position: LogPosition,
    /// What was signed: the message's name.
    pub digest: Bytes32,
    /// It counts from the end of this block on.
    pub counts_from_block: BlockNumber,
}
