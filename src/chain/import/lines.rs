//! Lines of a possibly compressed input, one chain log each, with a limit on their length.

use std::io::{self, BufRead, BufReader, Read};

use super::{ImportError, OpenInput};
use crate::chain::chain_log::ChainLog;

/// Longest line read. The largest log a block can hold has about 4 MB of hex; nothing real comes
/// near, and a file without line ends must not fill the memory.
pub const LINE_BYTES_MAX: u64 = 4 << 20;

/// First bytes of a gzip file.
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// First bytes of a zstd file.
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

pub(super) struct Lines {
    input: Box<dyn BufRead + Send>,
    line: u64,
    buffer: Vec<u8>,
}

impl Lines {
    pub(super) fn open(open: &OpenInput) -> Result<Self, ImportError> {
        let input = open()
            .and_then(decompress)
            .map_err(|source| ImportError::Unreadable { line: 1, source })?;
        Ok(Self { input, line: 0, buffer: Vec::new() })
    }

    /// The next log with the number of its line. Empty lines are skipped.
    pub(super) fn next_log(&mut self) -> Result<Option<(u64, ChainLog)>, ImportError> {
        while self.read_line()? {
            let text = self.buffer.trim_ascii();
            if text.is_empty() {
                continue;
            }
            let line = self.line;
            let log = serde_json::from_slice(text)
                .map_err(|error| ImportError::NotALog { line, reason: error.to_string() })?;
            return Ok(Some((line, log)));
        }
        Ok(None)
    }

    fn read_line(&mut self) -> Result<bool, ImportError> {
        self.line += 1;
        self.buffer.clear();
        let mut limited = (&mut self.input).take(LINE_BYTES_MAX + 1);
        let read = limited
            .read_until(b'\n', &mut self.buffer)
            .map_err(|source| ImportError::Unreadable { line: self.line, source })?;
        if self.buffer.len() as u64 > LINE_BYTES_MAX {
            return Err(ImportError::LineTooLong { line: self.line, limit: LINE_BYTES_MAX });
        }
        Ok(read > 0)
    }
}

fn decompress(input: Box<dyn Read + Send>) -> io::Result<Box<dyn BufRead + Send>> {
    let mut start = Vec::new();
    let mut input = input;
    (&mut input).take(4).read_to_end(&mut start)?;
    let is = |magic: &[u8]| start.starts_with(magic);
    let (gzip, zstd) = (is(GZIP_MAGIC), is(ZSTD_MAGIC));
    let whole = io::Cursor::new(start).chain(input);
    Ok(if gzip {
        Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(whole)))
    } else if zstd {
        Box::new(BufReader::new(zstd::stream::read::Decoder::new(whole)?))
    } else {
        Box::new(BufReader::new(whole))
    })
}
