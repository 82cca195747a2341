//! How large the pages of a Parquet file say they are, looked at before the library believes it: it
//! takes as much memory as a page's header asks for, up to two gigabytes.
//!
//! A header is a struct in Thrift's compact protocol. Of its fields only the two sizes matter here;
//! the others are skipped.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;

/// Longest header: statistics are not written, so real ones have some twenty bytes.
const HEADER_BYTES_MAX: u64 = 4 << 10;

/// Structs within structs: a header holds one with statistics in it.
const DEPTH_MAX: u8 = 4;

/// Fields of a page header.
const UNCOMPRESSED_SIZE: i16 = 2;
const COMPRESSED_SIZE: i16 = 3;

/// The type of both.
const INTEGER: u8 = 5;

/// Where a column begins, and its length: `byte_range` panics where one of them is negative.
pub(super) fn range(column: &ColumnChunkMetaData) -> Result<(u64, u64), ParquetError> {
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    match (u64::try_from(start), u64::try_from(column.compressed_size())) {
        (Ok(start), Ok(length)) => Ok((start, length)),
        _ => Err(senseless()),
    }
}

/// Checks that no page of a column, which begins at `start`, says it unpacks to more than
/// `bytes_max`.
pub(super) fn check(
    file: impl Read + Seek,
    (start, length): (u64, u64),
    bytes_max: u64,
) -> Result<(), ParquetError> {
    let end = start.saturating_add(length);
    let mut input = BufReader::new(file);
    let mut at = start;
    while at < end {
        input.seek(SeekFrom::Start(at))?;
        let limited = (&mut input).take(HEADER_BYTES_MAX);
        let mut header = Header { input: limited, unpacked: 0, packed: 0 };
        header.strukt(0)?;
        let read = HEADER_BYTES_MAX - header.input.limit();
        if header.unpacked > bytes_max {
            let size = header.unpacked;
            return Err(ParquetError::General(format!("a page of {size} bytes")));
        }
        at = at.saturating_add(read).saturating_add(header.packed);
    }
    Ok(())
}

struct Header<R> {
    input: io::Take<R>,
    /// Bytes.
    unpacked: u64,
    packed: u64,
}

impl<R: Read> Header<R> {
    /// Reads a struct to its end; at depth 0 it is the header itself.
    fn strukt(&mut self, depth: u8) -> Result<(), ParquetError> {
        if depth > DEPTH_MAX {
            return Err(senseless());
        }
        let mut field = 0_i16;
        loop {
            let byte = self.byte()?;
            if byte == 0 {
                return Ok(());
            }
            field = match i16::from(byte >> 4) {
                0 => i16::try_from(self.integer()?).map_err(|_| senseless())?,
                step => field.checked_add(step).ok_or_else(senseless)?,
            };
            match (depth, field, byte & 0x0f) {
                (0, UNCOMPRESSED_SIZE, INTEGER) => self.unpacked = self.size()?,
                (0, COMPRESSED_SIZE, INTEGER) => self.packed = self.size()?,
                (_, _, kind) => self.skip(kind, depth)?,
            }
        }
    }

    fn size(&mut self) -> Result<u64, ParquetError> {
        u64::try_from(self.integer()?).map_err(|_| senseless())
    }

    fn skip(&mut self, kind: u8, depth: u8) -> Result<(), ParquetError> {
        match kind {
            // A truth value is in the field's own byte.
            1 | 2 => Ok(()),
            3 => self.byte().map(drop),
            4..=6 => self.integer().map(drop),
            7 => self.skip_bytes(8),
            8 => {
                let length = self.varint()?;
                self.skip_bytes(length)
            }
            12 => self.strukt(depth + 1),
            // A header has neither lists nor maps.
            _ => Err(senseless()),
        }
    }

    fn skip_bytes(&mut self, count: u64) -> Result<(), ParquetError> {
        let skipped = io::copy(&mut (&mut self.input).take(count), &mut io::sink())?;
        if skipped == count { Ok(()) } else { Err(senseless()) }
    }

    fn byte(&mut self) -> Result<u8, ParquetError> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn varint(&mut self) -> Result<u64, ParquetError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(senseless())
    }

    /// A signed integer, zigzag.
    fn integer(&mut self) -> Result<i64, ParquetError> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }
}

fn senseless() -> ParquetError {
    ParquetError::General("a page header that makes no sense".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header: type, unpacked size, packed size, and a data page's own struct.
    fn header(unpacked: &[u8], packed: u8) -> Vec<u8> {
        let own = [0x2c, 0x15, 0x02, 0x15, 0x00, 0x15, 0x06, 0x15, 0x06, 0x1c, 0x18, 0x01, 7, 0, 0];
        [&[0x15, 0x00, 0x15], unpacked, &[0x15, packed << 1], &own[..], &[0]].concat()
    }

    fn said(pages: &[u8]) -> Result<(), String> {
        let file = io::Cursor::new([&[9; 4], pages].concat());
        check(file, (4, pages.len() as u64), 1_000).map_err(|error| error.to_string())
    }

    #[test]
    fn a_page_that_claims_two_gigabytes_is_refused_wherever_it_stands() {
        let good = [header(&[0x80, 0x01], 3), vec![1, 2, 3]].concat();
        assert_eq!(said(&[&good[..], &good].concat()), Ok(()));
        let claims = header(&[0xfe, 0xff, 0xff, 0xff, 0x0f], 3);
        let refusal = said(&[&good[..], &claims].concat()).unwrap_err();
        assert!(refusal.contains("a page of 2147483647 bytes"), "{refusal}");
        // Below zero, cut off, and structs without end.
        assert!(said(&header(&[0x01], 3)).is_err());
        assert!(said(&good[..6]).is_err());
        assert!(said(&[0x1c; 64]).is_err());
    }
}
