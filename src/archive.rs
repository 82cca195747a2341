//! Assay's own archives: a slice of a chain in a file that says what it holds and cannot be cut
//! or altered unnoticed.
//!
//! Zstandard over lines of JSON: a header, one line a chain log exactly as `eth_getLogs` returns
//! it (with `blockTimestamp`), and a trailer with the count and the SHA-256 of every line before
//! it. An archive is read to its end once before the first log is handed out, so that a damaged
//! one changes nothing. What the logs mean, `chain` says; nothing here decodes them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use alloy::primitives::B256;
use alloy::rpc::types::Log;
use assay_domain::ChainId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The only format there is.
const FORMAT: &str = "assay-archive";

/// The only version there is. Another shape of header, line or trailer gets another number.
const VERSION: u32 = 1;

/// The longest line that is read: twice what fits into a block as the data of one log in hex.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Written once and shipped for years, but also in tests.
const ZSTD_LEVEL: i32 = 12;

/// The first line: what the archive holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// `assay-archive`.
    format: String,
    /// 1.
    version: u32,
    /// The chain.
    pub chain_id: ChainId,
    /// Where the logs are from, for people.
    pub source: String,
    /// How many logs follow.
    pub facts: u64,
    /// First block that was asked about, with or without logs.
    pub first_block: u64,
    /// Last block that was asked about.
    pub last_block: u64,
    /// Canonical hash after all of them in an empty store that is final at the last block.
    pub canonical_hash: B256,
    /// Anything else a person should know.
    pub note: String,
}

impl Header {
    /// A header of the present version.
    pub fn new(chain_id: ChainId, blocks: std::ops::RangeInclusive<u64>, facts: u64) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            chain_id,
            source: String::new(),
            facts,
            first_block: *blocks.start(),
            last_block: *blocks.end(),
            canonical_hash: B256::ZERO,
            note: String::new(),
        }
    }
}

/// The last line: that nothing is missing and nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    /// How many logs there were.
    facts: u64,
    /// SHA-256 of all lines before this one, each with its line feed.
    sha256: B256,
}

/// An archive can not be written or read. Whatever the variant: nothing of it was used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file system refused, or what is there is no Zstandard.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is something else.
    #[error(
        "{}, line 1: not an Assay archive of version {VERSION} ({reason}); import a plain file of \
         eth_getLogs objects instead, or use a newer Assay", .path.display()
    )]
    NotAnArchive {
        /// The file.
        path: PathBuf,
        /// What is wrong with its first line.
        reason: String,
    },
    /// The archive stops in the middle.
    #[error("{}, line {line}: the archive is cut off here; fetch it again", .path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The last line that is there.
        line: u64,
    },
    /// The archive is not as it was written.
    #[error("{}, line {line}: {reason}; the archive was altered, fetch it again", .path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// The logs to write are not what the header says, or not in order.
    #[error("{}: log {number} can not be archived: {reason}", .path.display())]
    Unfit {
        /// The file that was not written.
        path: PathBuf,
        /// Which log, 1 first.
        number: u64,
        /// What is wrong.
        reason: String,
    },
}

/// Whether a first line is that of an archive, of whatever version.
pub fn is_header(line: &str) -> bool {
    #[derive(Deserialize)]
    struct Any {
        format: String,
    }
    serde_json::from_str::<Any>(line).is_ok_and(|any| any.format == FORMAT)
}

/// Writes an archive. The file appears when it is whole.
pub fn write(
    path: &Path,
    header: &Header,
    logs: impl IntoIterator<Item = Log>,
) -> Result<(), ArchiveError> {
    let io_error = |source| ArchiveError::Io { path: path.to_owned(), source };
    let unfit = |number, reason| ArchiveError::Unfit { path: path.to_owned(), number, reason };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let file =
        tempfile::NamedTempFile::new_in(parent.unwrap_or(Path::new("."))).map_err(io_error)?;
    let encoder = zstd::Encoder::new(BufWriter::new(file), ZSTD_LEVEL).map_err(io_error)?;
    let mut out = Hashing { out: encoder, sha256: Sha256::new() };
    out.line(header).map_err(io_error)?;
    let mut order = Order::new(header);
    for log in logs {
        order.check(&log).map_err(|reason| unfit(order.count + 1, reason))?;
        out.line(&log).map_err(io_error)?;
    }
    if order.count != header.facts {
        let reason = format!("the header says there are {}", header.facts);
        return Err(unfit(order.count, reason));
    }
    let sha256 = B256::new(out.sha256.clone().finalize().into());
    out.line(&Trailer { facts: order.count, sha256 }).map_err(io_error)?;
    let file = out.out.finish().map_err(io_error)?;
    let file = file.into_inner().map_err(|error| io_error(error.into_error()))?;
    file.as_file().sync_all().map_err(io_error)?;
    file.persist(path).map_err(|error| io_error(error.error))?;
    Ok(())
}

struct Hashing<W> {
    out: W,
    sha256: Sha256,
}

impl<W: Write> Hashing<W> {
    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.sha256.update(&line);
        self.out.write_all(&line)
    }
}

/// What must hold of the logs of an archive.
struct Order {
    blocks: std::ops::RangeInclusive<u64>,
    count: u64,
    last: Option<(u64, u64)>,
}

impl Order {
    fn new(header: &Header) -> Self {
        Self { blocks: header.first_block..=header.last_block, count: 0, last: None }
    }

    fn check(&mut self, log: &Log) -> Result<(), String> {
        let (Some(number), Some(log_index)) = (log.block_number, log.log_index) else {
            return Err("it is pending".to_owned());
        };
        if log.removed {
            return Err("the chain took it back".to_owned());
        }
        if log.block_hash.is_none() || log.transaction_hash.is_none() {
            return Err("it has no block or transaction hash".to_owned());
        }
        if log.block_timestamp.is_none() {
            return Err("it has no blockTimestamp".to_owned());
        }
        if !self.blocks.contains(&number) {
            return Err(format!("block {number} is outside of {:?}", self.blocks));
        }
        let place = (number, log_index);
        if self.last.is_some_and(|last| place <= last) {
            return Err(format!("block {number}, log {log_index} is not in order"));
        }
        self.last = Some(place);
        self.count += 1;
        Ok(())
    }
}

/// An archive that was found whole.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    header: Header,
}

impl Archive {
    /// Opens an archive and reads all of it once, so that what comes out of it later is sound.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let mut lines = Lines::open(path)?;
        let header = lines.header()?;
        let mut order = Order::new(&header);
        while let Some(log) = lines.log()? {
            order.check(&log).map_err(|reason| lines.altered(reason))?;
        }
        if order.count != header.facts {
            let reason = format!("{} logs, the header says {}", order.count, header.facts);
            return Err(lines.altered(reason));
        }
        Ok(Self { path: path.to_owned(), header })
    }

    /// What the archive says it holds.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The logs, in order. An error means that the file was changed since it was opened.
    pub fn logs(
        &self,
    ) -> Result<impl Iterator<Item = Result<Log, ArchiveError>> + use<>, ArchiveError> {
        let mut lines = Lines::open(&self.path)?;
        lines.header()?;
        let mut is_over = false;
        Ok(std::iter::from_fn(move || {
            if is_over {
                return None;
            }
            let next = lines.log().transpose();
            is_over = !matches!(next, Some(Ok(_)));
            next
        }))
    }
}

/// The lines of an archive while they are read.
struct Lines {
    path: PathBuf,
    input: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    number: u64,
    logs: u64,
    sha256: Sha256,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, ArchiveError> {
        let io_error = |source| ArchiveError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io_error)?;
        let decoder = zstd::Decoder::new(file).map_err(io_error)?;
        Ok(Self {
            path: path.to_owned(),
            input: Box::new(BufReader::new(decoder)),
            line: Vec::new(),
            number: 0,
            logs: 0,
            sha256: Sha256::new(),
        })
    }

    fn header(&mut self) -> Result<Header, ArchiveError> {
        self.next()?;
        let header: Result<Header, _> = serde_json::from_slice(&self.line);
        let reason = match header {
            Ok(header) if header.format == FORMAT && header.version == VERSION => {
                self.sha256.update(&self.line);
                return Ok(header);
            }
            Ok(header) => format!("it is {} {}", header.format, header.version),
            Err(error) => error.to_string(),
        };
        Err(ArchiveError::NotAnArchive { path: self.path.clone(), reason })
    }

    /// The next log; `None` after a trailer that agrees with everything before it.
    fn log(&mut self) -> Result<Option<Log>, ArchiveError> {
        self.next()?;
        if let Ok(trailer) = serde_json::from_slice::<Trailer>(&self.line) {
            let sha256 = B256::new(self.sha256.clone().finalize().into());
            if trailer != (Trailer { facts: self.logs, sha256 }) {
                return Err(self.altered("the lines before do not hash to what it says".to_owned()));
            }
            return match self.input.fill_buf().map(<[u8]>::is_empty) {
                Ok(true) => Ok(None),
                Ok(false) => Err(self.altered("something follows after the end".to_owned())),
                Err(error) => Err(self.broken(error)),
            };
        }
        self.sha256.update(&self.line);
        self.logs += 1;
        let log = serde_json::from_slice(&self.line);
        log.map(Some).map_err(|error| self.altered(format!("not a chain log ({error})")))
    }

    fn next(&mut self) -> Result<(), ArchiveError> {
        self.line.clear();
        let mut limited = (&mut self.input).take(LINE_BYTES_MAX);
        let read = limited.read_until(b'\n', &mut self.line);
        if let Err(error) = read {
            return Err(self.broken(error));
        }
        if self.line.last() != Some(&b'\n') {
            return Err(ArchiveError::Truncated { path: self.path.clone(), line: self.number });
        }
        self.number += 1;
        Ok(())
    }

    fn broken(&self, error: io::Error) -> ArchiveError {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return ArchiveError::Truncated { path: self.path.clone(), line: self.number };
        }
        self.altered(format!("can not be unpacked ({error})"))
    }

    fn altered(&self, reason: String) -> ArchiveError {
        ArchiveError::Altered { path: self.path.clone(), line: self.number, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(count: u64) -> Vec<Log> {
        let log = |number: u64| Log {
            block_hash: Some(B256::repeat_byte(1)),
            block_number: Some(number / 2),
            block_timestamp: Some(1_700_000_000 + number),
            transaction_hash: Some(B256::repeat_byte(2)),
            transaction_index: Some(0),
            log_index: Some(number),
            ..Log::default()
        };
        (2..2 + count).map(log).collect()
    }

    fn archive(dir: &Path) -> PathBuf {
        let path = dir.join("slice.jsonl.zst");
        let header = Header { source: "a node".to_owned(), ..Header::new(1, 1..=9, 12) };
        write(&path, &header, logs(12)).expect("an archive");
        path
    }

    #[test]
    fn what_is_written_reads_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let archive = Archive::open(&archive(dir.path())).expect("an archive");
        assert_eq!((archive.header().facts, archive.header().source.as_str()), (12, "a node"));
        let read: Result<Vec<Log>, _> = archive.logs().expect("logs").collect();
        assert_eq!(read.expect("logs"), logs(12));
        let header = serde_json::to_string(archive.header()).expect("JSON");
        assert!(is_header(&header) && !is_header("{\"address\":\"0x\"}"));
    }

    #[test]
    fn whatever_is_changed_or_cut_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = archive(dir.path());
        let packed = std::fs::read(&path).expect("the archive");
        let text = zstd::decode_all(packed.as_slice()).expect("Zstandard");
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let refusal = |bytes: &[u8]| {
            std::fs::write(&path, zstd::encode_all(bytes, 1).expect("Zstandard")).expect("a file");
            Archive::open(&path).expect_err("refused")
        };
        for at in (0..text.len()).step_by(7) {
            let mut altered = text.clone();
            altered[at] ^= 1;
            refusal(&altered);
            refusal(&text[..at]);
        }
        let cut = refusal(&text[..text.len() - lines.last().map_or(0, |line| line.len())]);
        assert!(matches!(cut, ArchiveError::Truncated { line: 13, .. }), "{cut}");
        let without_fifth = [&lines[..5], &lines[6..]].concat().concat();
        let altered = refusal(&without_fifth);
        assert!(matches!(altered, ArchiveError::Altered { line: 13, .. }), "{altered}");
        assert!(altered.to_string().contains("fetch it again"));
        refusal(&[&text[..], b"{}\n"].concat());
        // The file itself cut off.
        std::fs::write(&path, &packed[..packed.len() / 2]).expect("a file");
        let cut = Archive::open(&path).expect_err("refused");
        assert!(matches!(cut, ArchiveError::Truncated { .. }), "{cut}");
    }

    #[test]
    fn what_does_not_fit_the_header_is_not_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("slice.jsonl.zst");
        let mut backwards = logs(12);
        backwards.reverse();
        let mut timeless = logs(12);
        timeless[3].block_timestamp = None;
        for unfit in [logs(11), backwards, timeless, logs(40)] {
            let error = write(&path, &Header::new(1, 1..=9, 12), unfit).expect_err("unfit");
            assert!(matches!(error, ArchiveError::Unfit { .. }), "{error}");
            assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 0);
        }
    }
}
