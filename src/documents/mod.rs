//! Names: metadata documents of operators and AVSs, recorded by hash.
//!
//! A document belongs to whoever's metadata URI names it on chain, and says what a stranger wrote:
//! anybody may name any document, so a name is shown, and decides nothing. What a document said and
//! when it was recorded is an event of Assay's own, outside of the canonical log: two nodes that
//! fetch at different times still rate alike.

pub mod fetch;

use alloy::primitives::B256;
use assay_domain::{BlockRef, ChainId, Event, UntrustedText};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use crate::event_store::{AppendError, EventStore, FoldError, own_fact};

/// Longest document read. Real ones have less than two kilobytes.
pub const DOCUMENT_BYTES_MAX: usize = 256 << 10;

/// Longest name or address of a website kept, bytes.
const FIELD_BYTES_MAX: usize = 1 << 10;

/// The tag of [`Event::MetadataDocumentRecorded`].
const RECORDED: u8 = 230;

/// A metadata document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where it was found.
    pub uri: String,
    /// SHA-256 of its bytes.
    pub hash: B256,
    /// What it calls itself.
    pub name: String,
    /// Its website, if it names one.
    pub website: Option<String>,
}

/// A document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is too long.
    #[error("it has more than {DOCUMENT_BYTES_MAX} bytes")]
    TooLong,
    /// It is no JSON object with a name.
    #[error("it is no JSON object with a name: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// A field is too long.
    #[error("its {0} has more than {FIELD_BYTES_MAX} bytes")]
    LongField(&'static str),
}

impl Document {
    /// Reads the bytes that were found at an address.
    pub fn parse(uri: &str, bytes: &[u8]) -> Result<Self, DocumentError> {
        #[derive(Deserialize)]
        struct Json {
            name: String,
            #[serde(default)]
            website: Option<String>,
        }
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooLong);
        }
        let read: Json = serde_json::from_slice(bytes)?;
        let website = read.website.filter(|website| !website.is_empty());
        if read.name.len() > FIELD_BYTES_MAX {
            return Err(DocumentError::LongField("name"));
        }
        if website.as_ref().is_some_and(|website| website.len() > FIELD_BYTES_MAX) {
            return Err(DocumentError::LongField("website"));
        }
        let hash = B256::new(Sha256::digest(bytes).into());
        Ok(Self { uri: uri.to_owned(), hash, name: read.name, website })
    }

    /// Reads a line `{"document": "…", "metadata": {…}}`; `base` goes before a document's path. The
    /// document is the text of `metadata` as it stands in the line.
    pub fn parse_line(base: &str, line: &str) -> Result<Self, DocumentError> {
        #[derive(Deserialize)]
        struct Line<'a> {
            document: String,
            #[serde(borrow)]
            metadata: &'a RawValue,
        }
        let read: Line<'_> = serde_json::from_str(line)?;
        Self::parse(&format!("{base}{}", read.document), read.metadata.get().as_bytes())
    }

    fn event(&self) -> Event {
        let text = |text: &str| UntrustedText(text.as_bytes().to_vec());
        Event::MetadataDocumentRecorded {
            uri: text(&self.uri),
            hash: self.hash,
            name: text(&self.name),
            website: self.website.as_deref().map(text),
        }
    }
}

/// Records documents that are new or say something else than when they were last recorded; returns
/// how many were.
pub async fn record(
    store: &EventStore,
    chain_id: ChainId,
    documents: &[Document],
) -> Result<usize, AppendError> {
    let known = store.cursor(chain_id).await?.and_then(|cursor| cursor.finalized);
    let block = known.unwrap_or(BlockRef { number: 0, hash: B256::ZERO, timestamp: 0 });
    let mut appender = store.begin_append().await?;
    let mut count = 0;
    for document in documents {
        let position = appender.head().position.saturating_add(1);
        let event = document.event();
        if write(appender.connection(), position, &event).await? {
            appender.push(&own_fact(chain_id, block, event)).await?;
            count += 1;
        }
    }
    if count > 0 {
        appender.commit().await?;
    }
    Ok(count)
}

/// Writes the rows of documents that are in the log and not in the read model: after a log was
/// imported from a file.
pub async fn project(store: &EventStore) -> Result<(), FoldError<sqlx::Error>> {
    let last: Option<i64> = sqlx::query_scalar("SELECT max(position) FROM read_model.documents")
        .fetch_one(store.pool())
        .await?;
    let mut recorded = Vec::new();
    let after = last.map_or(0, i64::cast_unsigned);
    let keep = |one: crate::event_store::Recorded| {
        recorded.push((one.position, one.fact.event));
        Ok::<_, sqlx::Error>(())
    };
    store.read_own(&[RECORDED], after, keep).await?;
    let mut connection = store.pool().acquire().await?;
    for (position, event) in recorded {
        write(&mut connection, position, &event).await?;
    }
    Ok(())
}

/// Writes the row of a document; `false` where it says what is known already.
async fn write(connection: &mut PgConnection, position: u64, event: &Event) -> sqlx::Result<bool> {
    let Event::MetadataDocumentRecorded { uri, hash, name, website } = event else {
        return Ok(false);
    };
    let written = sqlx::query(
        "INSERT INTO read_model.documents AS d (uri, position, hash, name, website)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (uri) DO UPDATE SET position = excluded.position, hash = excluded.hash,
             name = excluded.name, website = excluded.website
          WHERE d.hash <> excluded.hash",
    )
    .bind(uri.to_string())
    .bind(position.cast_signed())
    .bind(hash.as_slice())
    .bind(name.to_string())
    .bind(website.as_ref().map(ToString::to_string))
    .execute(connection)
    .await?;
    Ok(written.rows_affected() > 0)
}

/// The metadata URIs that operators and AVSs of a chain name at present, and that can be asked for:
/// one that was cut or escaped for display cannot.
pub async fn wanted(store: &EventStore, chain_id: ChainId) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT DISTINCT metadata_uri FROM read_model.metadata_uris
         WHERE chain_id = $1 AND metadata_uri LIKE 'https://%' AND metadata_uri !~ '[\\\\…]'
         ORDER BY metadata_uri",
    )
    .bind(chain_id.cast_signed())
    .fetch_all(store.pool())
    .await
}
