//! How a fact becomes a row, and what its hashes are.
//!
//! The row hash chains every row to the one before it, in storage order. The canonical hash
//! chains the final facts of all chains in the canonical order, and is what two nodes compare.
//! Both are SHA-256 over the fact and the hash before it:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `assay 1` and a zero |
//! | 8, 8, 8 | chain, block number, block time, each big-endian |
//! | 32 | block hash |
//! | 4 | log index, big-endian |
//! | 32, 20 | transaction hash, emitter |
//! | the rest but 32 | payload: the event's canonical bytes |
//! | 32 | previous hash |
//!
//! Every part but the payload has a fixed length, so no two facts share a preimage. What the facts
//! of a block have in common fills SHA-256's first block of 64 bytes, and the previous hash comes
//! last: so most of the work is done once for both chains, and some of it once a block.
//! Nothing here talks to a database; who calls it is in `appender` and `read`.

use std::sync::LazyLock;

use alloy::primitives::{Address, B256};
use assay_domain::{BlockRef, Event, Fact};
use borsh::BorshSerialize;
use sha2::{Digest, Sha256};

use super::appender::Head;
use super::read::Corruption;

/// What the first row is chained to.
pub static STORAGE_GENESIS: LazyLock<B256> = LazyLock::new(|| sha256(b"assay event store 1"));

/// What the first canonical fact is chained to.
pub static CANONICAL_GENESIS: LazyLock<B256> = LazyLock::new(|| sha256(b"assay canonical log 1"));

/// The columns in the order in which rows are written and read.
pub(super) const COLUMNS: &str = "position, chain_id, block_number, block_time, log_index, kind, \
                                  block_hash, tx_hash, emitter, payload, hash";

/// The same without the hash, for who computes it anyway.
pub(super) const COLUMNS_BUT_HASH: &str = "position, chain_id, block_number, block_time, \
                                           log_index, kind, block_hash, tx_hash, emitter, payload";

/// How many columns there are.
const COLUMN_COUNT: i16 = 11;

/// What a binary `COPY` stream starts with: signature, flags, length of the header's extension.
pub(super) const COPY_HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What a binary `COPY` stream ends with, in place of a row's column count.
pub(super) const COPY_TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// What every preimage starts with.
const TAG: [u8; 8] = *b"assay 1\0";

/// Where the parts lie in the preimage. Before `LOG_INDEX` is what a block's facts share.
const CHAIN: usize = TAG.len();
const BLOCK_HASH: usize = CHAIN + 3 * 8;
const LOG_INDEX: usize = BLOCK_HASH + 32;
const TX_HASH: usize = LOG_INDEX + 4;
const EMITTER: usize = TX_HASH + 32;
const PAYLOAD: usize = EMITTER + 20;

/// The bytes of a fact that both hashes run over, in a buffer that is used again for every row.
#[derive(Debug)]
pub struct Preimage {
    bytes: Vec<u8>,
    /// SHA-256 after what the block's facts share.
    block_hasher: Sha256,
    /// SHA-256 after all of `bytes`.
    hasher: Sha256,
}

/// The canonical hash of a log that holds these facts, in order, and nothing else.
pub fn canonical_hash<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> B256 {
    let mut preimage = Preimage::new();
    facts.into_iter().fold(*CANONICAL_GENESIS, |previous, fact| {
        preimage.set_fact(fact);
        preimage.hash_after(&previous)
    })
}

impl Preimage {
    /// An empty buffer.
    pub fn new() -> Self {
        Self { bytes: vec![0; LOG_INDEX], block_hasher: Sha256::new(), hasher: Sha256::new() }
    }

    /// Takes the bytes of a fact, encoding its event.
    pub fn set_fact(&mut self, fact: &Fact) {
        let BlockRef { number, hash, timestamp } = &fact.block;
        self.set_block([fact.chain_id, *number, *timestamp], hash);
        self.set_log(fact.log_index, &fact.tx_hash, &fact.emitter.0);
        // Writing to memory fails only for a collection of more than 2^32 items, and such an
        // event fits in no block.
        let _infallible = fact.event.serialize(&mut self.bytes);
        self.run_on();
    }

    /// Takes the bytes of a stored row. The upper half of a log index, which is always zero, has
    /// no place here: [`Row::check`] looks at it.
    #[inline]
    pub(super) fn set_row(&mut self, row: &Row<'_>) {
        self.set_block([row.chain_id, row.block_number, row.block_time], row.block_hash);
        let [.., a, b, c, d] = row.log_index.to_be_bytes();
        self.set_log(u32::from_be_bytes([a, b, c, d]), row.tx_hash, row.emitter);
        self.bytes.extend_from_slice(row.payload);
        self.run_on();
    }

    /// The hash of these bytes after `previous`.
    #[inline]
    pub fn hash_after(&self, previous: &B256) -> B256 {
        B256::new(self.hasher.clone().chain_update(previous).finalize().into())
    }

    /// Takes the bytes of a row that must follow `head`: its fact and the head with it.
    pub(super) fn follow(&mut self, head: Head, row: &Row<'_>) -> Result<(Fact, Head), Corruption> {
        let position = head.position.saturating_add(1);
        let bad = |column, reason| Corruption { position, column, reason };
        if row.position != position {
            return Err(bad(Some("position"), format!("it is {}", row.position)));
        }
        row.check()?;
        let fact = row.to_fact()?;
        self.set_row(row);
        let hash = self.hash_after(&head.hash);
        if row.hash != Some(hash) {
            return Err(bad(None, format!("its columns hash to {hash}, its hash is another")));
        }
        Ok((fact, Head { position, hash }))
    }

    #[inline]
    fn set_block(&mut self, integers: [u64; 3], hash: &[u8; 32]) {
        let mut shared = [0; LOG_INDEX];
        shared[..CHAIN].copy_from_slice(&TAG);
        for (at, integer) in shared[CHAIN..BLOCK_HASH].chunks_exact_mut(8).zip(integers) {
            at.copy_from_slice(&integer.to_be_bytes());
        }
        shared[BLOCK_HASH..].copy_from_slice(hash);
        if self.bytes[..LOG_INDEX] != shared {
            self.bytes[..LOG_INDEX].copy_from_slice(&shared);
            self.block_hasher = Sha256::new_with_prefix(shared);
        }
    }

    #[inline]
    fn set_log(&mut self, log_index: u32, tx_hash: &[u8; 32], emitter: &[u8; 20]) {
        self.bytes.truncate(LOG_INDEX);
        self.bytes.extend_from_slice(&log_index.to_be_bytes());
        self.bytes.extend_from_slice(tx_hash);
        self.bytes.extend_from_slice(emitter);
    }

    #[inline]
    fn run_on(&mut self) {
        self.hasher = self.block_hasher.clone().chain_update(&self.bytes[LOG_INDEX..]);
    }

    /// Appends the row of the fact last set to a binary `COPY` stream.
    pub(super) fn write_row(&self, position: u64, hash: &B256, out: &mut Vec<u8>) {
        out.extend_from_slice(&COLUMN_COUNT.to_be_bytes());
        write_column(out, &position.to_be_bytes());
        for at in (CHAIN..BLOCK_HASH).step_by(8) {
            write_column(out, &self.bytes[at..at + 8]);
        }
        let mut log_index = [0; 8];
        log_index[4..].copy_from_slice(&self.bytes[LOG_INDEX..TX_HASH]);
        write_column(out, &log_index);
        write_column(out, &[0, self.kind()]);
        write_column(out, &self.bytes[BLOCK_HASH..LOG_INDEX]);
        write_column(out, &self.bytes[TX_HASH..EMITTER]);
        write_column(out, &self.bytes[EMITTER..PAYLOAD]);
        write_column(out, &self.bytes[PAYLOAD..]);
        write_column(out, hash.as_slice());
    }

    /// The event's tag: the first byte of its payload.
    pub(super) fn kind(&self) -> u8 {
        self.bytes.get(PAYLOAD).copied().unwrap_or(0)
    }
}

impl Default for Preimage {
    fn default() -> Self {
        Self::new()
    }
}

fn sha256(bytes: &[u8]) -> B256 {
    B256::new(Sha256::digest(bytes).into())
}

fn write_column(out: &mut Vec<u8>, bytes: &[u8]) {
    // A column is an event of one chain log at most, and that fits in a block.
    let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A stored row, as it lies in the bytes that Postgres sent. Integers are as stored: what was
/// tampered with may not fit the types of a [`Fact`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) position: u64,
    pub(super) chain_id: u64,
    pub(super) block_number: u64,
    pub(super) block_time: u64,
    pub(super) log_index: u64,
    pub(super) kind: i16,
    pub(super) block_hash: &'a [u8; 32],
    pub(super) tx_hash: &'a [u8; 32],
    pub(super) emitter: &'a [u8; 20],
    pub(super) payload: &'a [u8],
    /// `None` if it was not asked for.
    pub(super) hash: Option<B256>,
}

/// A column that holds what no writer of ours puts there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadColumn {
    pub(super) position: u64,
    pub(super) column: &'static str,
    pub(super) reason: String,
}

/// What a stretch of a binary `COPY` stream starts with.
#[derive(Debug)]
pub(super) enum Parsed<'a> {
    /// A row, and how many bytes it takes up.
    Row(Row<'a>, usize),
    /// A row whose columns have the wrong shape.
    Bad(BadColumn),
    /// The end of the stream.
    End,
    /// Less than a whole row: read on.
    Incomplete,
}

/// Reads one row of a binary `COPY` stream whose header is already behind.
pub(super) fn parse_row(bytes: &[u8]) -> Parsed<'_> {
    const BUT_HASH: i16 = COLUMN_COUNT - 1;
    let mut columns = Columns { rest: bytes };
    match columns.row_start() {
        None => Parsed::Incomplete,
        Some(count @ (COLUMN_COUNT | BUT_HASH)) => {
            let Some(raw) = columns.all(count == COLUMN_COUNT) else { return Parsed::Incomplete };
            match shape(raw) {
                Ok(row) => Parsed::Row(row, bytes.len() - columns.rest.len()),
                Err(bad) => Parsed::Bad(bad),
            }
        }
        Some(_) => Parsed::End,
    }
}

struct Columns<'a> {
    rest: &'a [u8],
}

impl<'a> Columns<'a> {
    fn row_start(&mut self) -> Option<i16> {
        let (count, rest) = self.rest.split_first_chunk::<2>()?;
        self.rest = rest;
        Some(i16::from_be_bytes(*count))
    }

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        // -1 is NULL, which no column allows.
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let (column, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(column)
    }

    #[inline]
    fn all(&mut self, with_hash: bool) -> Option<RawRow<'a>> {
        let mut columns: [&[u8]; 10] = [&[]; 10];
        for column in &mut columns {
            *column = self.next()?;
        }
        Some((columns, if with_hash { Some(self.next()?) } else { None }))
    }
}

/// The columns, and the hash if it was asked for.
type RawRow<'a> = ([&'a [u8]; 10], Option<&'a [u8]>);

#[inline]
fn shape<'a>((columns, hash): RawRow<'a>) -> Result<Row<'a>, BadColumn> {
    let [
        position,
        chain_id,
        block_number,
        block_time,
        log_index,
        kind,
        block_hash,
        tx_hash,
        emitter,
        payload,
    ] = columns;
    let position = u64::from_be_bytes(*sized(0, "position", position)?);
    Ok(Row {
        position,
        chain_id: u64::from_be_bytes(*sized(position, "chain_id", chain_id)?),
        block_number: u64::from_be_bytes(*sized(position, "block_number", block_number)?),
        block_time: u64::from_be_bytes(*sized(position, "block_time", block_time)?),
        log_index: u64::from_be_bytes(*sized(position, "log_index", log_index)?),
        kind: i16::from_be_bytes(*sized(position, "kind", kind)?),
        block_hash: sized(position, "block_hash", block_hash)?,
        tx_hash: sized(position, "tx_hash", tx_hash)?,
        emitter: sized(position, "emitter", emitter)?,
        payload,
        hash: match hash {
            Some(hash) => Some(B256::new(*sized(position, "hash", hash)?)),
            None => None,
        },
    })
}

#[inline]
fn sized<'a, const N: usize>(
    position: u64,
    column: &'static str,
    bytes: &'a [u8],
) -> Result<&'a [u8; N], BadColumn> {
    bytes.try_into().map_err(|_| BadColumn {
        position,
        column,
        reason: format!("{} bytes where {N} belong", bytes.len()),
    })
}

impl Row<'_> {
    /// The fact in the row.
    #[inline]
    pub(super) fn to_fact(self) -> Result<Fact, BadColumn> {
        let log_index = u32::try_from(self.log_index)
            .map_err(|_| self.bad("log_index", format!("{} is no log index", self.log_index)))?;
        let event = Event::from_canonical_bytes(self.payload)
            .map_err(|error| self.bad("payload", error.to_string()))?;
        Ok(Fact {
            chain_id: self.chain_id,
            block: BlockRef {
                number: self.block_number,
                hash: B256::new(*self.block_hash),
                timestamp: self.block_time,
            },
            tx_hash: B256::new(*self.tx_hash),
            log_index,
            emitter: Address::new(*self.emitter),
            event,
        })
    }

    /// Looks at what no hash covers: the tag beside the payload, the upper half of a log index.
    #[inline]
    pub(super) fn check(&self) -> Result<(), BadColumn> {
        let (tag, log_index) = (self.payload.first(), self.log_index);
        if tag.is_none_or(|tag| i16::from(*tag) != self.kind) {
            return Err(self.bad("kind", format!("{} beside the tag {tag:?}", self.kind)));
        }
        if log_index > u64::from(u32::MAX) {
            return Err(self.bad("log_index", format!("{log_index} is no log index")));
        }
        Ok(())
    }

    #[cold]
    fn bad(&self, column: &'static str, reason: String) -> BadColumn {
        BadColumn { position: self.position, column, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact() -> Fact {
        Fact {
            chain_id: 1,
            block: BlockRef { number: 7, hash: B256::repeat_byte(2), timestamp: 9 },
            tx_hash: B256::repeat_byte(3),
            log_index: 4,
            emitter: Address::repeat_byte(5),
            event: Event::Unmapped {
                topics: vec![B256::repeat_byte(6)],
                data: vec![1, 2, 3].into(),
            },
        }
    }

    #[test]
    fn a_row_reads_back_as_the_fact_that_was_written() {
        let (mut preimage, mut out) = (Preimage::new(), Vec::new());
        preimage.set_fact(&fact());
        let hash = preimage.hash_after(&STORAGE_GENESIS);
        preimage.write_row(11, &hash, &mut out);
        let length = out.len();
        for short in 0..length {
            assert!(matches!(parse_row(&out[..short]), Parsed::Incomplete), "{short} bytes");
        }
        out.extend_from_slice(&COPY_TRAILER);
        let Parsed::Row(row, taken) = parse_row(&out) else { unreachable!("a whole row") };
        assert_eq!((row.position, row.kind, row.hash, taken), (11, 190, Some(hash), length));
        assert_eq!(row.to_fact(), Ok(fact()));
        assert_eq!(row.check(), Ok(()));
        let mut again = Preimage::new();
        again.set_row(&row);
        assert_eq!(again.hash_after(&STORAGE_GENESIS), hash);
        assert!(matches!(parse_row(&out[taken..]), Parsed::End));
    }

    #[test]
    fn the_hash_is_the_documented_one() {
        let mut bytes = b"assay 1\0".to_vec();
        for integer in [1_u64, 7, 9] {
            bytes.extend_from_slice(&integer.to_be_bytes());
        }
        bytes.extend_from_slice(&[2; 32]);
        bytes.extend_from_slice(&4_u32.to_be_bytes());
        bytes.extend_from_slice(&[3; 32]);
        bytes.extend_from_slice(&[5; 20]);
        bytes.extend_from_slice(&fact().event.to_canonical_bytes());
        bytes.extend_from_slice(&Sha256::digest(b"assay event store 1"));
        let mut preimage = Preimage::new();
        preimage.set_fact(&fact());
        assert_eq!(preimage.hash_after(&STORAGE_GENESIS), B256::from_slice(&Sha256::digest(bytes)));
    }
}
