//! Documents that clients name instead of sending: the saved operations, and what clients have
//! registered by Apollo's protocol.
//!
//! A document's id is the SHA-256 of its text, so that nobody can register one under the name of
//! another.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use alloy_primitives::hex;
use lru::LruCache;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::ApiError;
use crate::execute::Question;
use crate::graphiql::OPERATIONS;
use crate::limit::{REGISTERED_BYTES_MAX, REGISTERED_MAX};

type Id = [u8; 32];

static SAVED: LazyLock<HashMap<Id, &'static str>> =
    LazyLock::new(|| OPERATIONS.iter().map(|(_, text)| (id(text), *text)).collect());

static NAMES: LazyLock<HashMap<&'static str, &'static str>> =
    LazyLock::new(|| OPERATIONS.iter().map(|(name, text)| (*text, *name)).collect());

fn id(text: &str) -> Id {
    Sha256::digest(text).into()
}

/// The name of a saved operation with this text; `other` for everything else.
pub(crate) fn name_of(text: &str) -> &'static str {
    NAMES.get(text).copied().unwrap_or("other")
}

/// The saved operations with their ids: `GET /v1/operations`.
pub(crate) fn saved() -> Value {
    let operations = OPERATIONS.iter().map(|(name, text)| {
        let id = format!("sha256:{}", hex::encode(id(text)));
        json!({ "name": name, "documentId": id, "query": text })
    });
    operations.collect()
}

/// What clients have registered, the least used forgotten first.
pub(crate) struct Registered(Mutex<LruCache<Id, Arc<str>>>);

/// A document to be remembered once it has proved good.
#[derive(Debug)]
pub(crate) struct Candidate(Id);

impl Registered {
    pub(crate) fn new() -> Self {
        let size = NonZeroUsize::new(REGISTERED_MAX).unwrap_or(NonZeroUsize::MIN);
        Self(Mutex::new(LruCache::new(size)))
    }

    /// Puts in the text of a document that is only named.
    pub(crate) fn fill_in(&self, question: &mut Question) -> Result<Option<Candidate>, ApiError> {
        let Some(named) = question.document_id.take() else { return Ok(None) };
        let text = named.strip_prefix("sha256:").unwrap_or(&named);
        let Ok(named) = hex::decode_to_array::<_, 32>(text) else {
            let message = "the id of a document is the SHA-256 of its text in hexadecimal digits";
            return Err(ApiError::ValidationFailed(message.to_owned()));
        };
        if !question.query.is_empty() {
            if id(&question.query) != named {
                let message = "the id is not the SHA-256 of the document beside it";
                return Err(ApiError::ValidationFailed(message.to_owned()));
            }
            let is_new = question.query.len() <= REGISTERED_BYTES_MAX;
            return Ok((is_new && !SAVED.contains_key(&named)).then_some(Candidate(named)));
        }
        question.query = match SAVED.get(&named) {
            Some(text) => (*text).to_owned(),
            None => self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&named)
                .map(|text| text.to_string())
                .ok_or(ApiError::UnknownDocument)?,
        };
        Ok(None)
    }

    /// Remembers a document that may be run.
    pub(crate) fn register(&self, candidate: Candidate, text: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.put(candidate.0, text.into());
    }
}
