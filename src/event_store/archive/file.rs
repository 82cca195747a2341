//! The file: Parquet, written a row group at a time, and read with a limit on all that it claims.

use std::fs::File;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy::primitives::B256;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, Int32Type,
    Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader as _, RowGroupReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::LogArchiveError;
use crate::event_store::appender::Head;
use crate::event_store::codec::Row;
use crate::event_store::page_sizes;
use crate::event_store::read::Corruption;

/// The format and its version, in the file's metadata.
const FORMAT: &str = "assay-log 1";

const SCHEMA: &str = "message assay_log {
    REQUIRED INT64 position; REQUIRED INT64 chain_id; REQUIRED INT64 block_number;
    REQUIRED INT64 block_time; REQUIRED INT64 log_index; REQUIRED INT32 kind;
    REQUIRED FIXED_LEN_BYTE_ARRAY (32) block_hash; REQUIRED FIXED_LEN_BYTE_ARRAY (32) tx_hash;
    REQUIRED FIXED_LEN_BYTE_ARRAY (20) emitter; REQUIRED BYTE_ARRAY payload;
    REQUIRED FIXED_LEN_BYTE_ARRAY (32) hash; }";

/// A row group ends after this many rows, or this many bytes of payload.
const GROUP_ROWS: usize = 16_384;
const GROUP_PAYLOAD_BYTES: usize = 8 << 20;

/// A column of a row group that says it unpacks to more is not one that was written here. The
/// largest payload is one log, which fits into a block.
const COLUMN_BYTES_MAX: i64 = 64 << 20;

/// A page that says it unpacks to more is not one that was written here either: the writer ends a
/// page with the rows that pass a megabyte.
const PAGE_BYTES_MAX: u64 = 32 << 20;

/// Rows read at once.
const READ_ROWS: usize = 1_024;

pub(super) fn to_io(error: ParquetError) -> io::Error {
    io::Error::other(error)
}

/// Runs what reads a file. The library panics on some pages that were damaged (fuzzing found a
/// dictionary that is missing); nothing that it left half-done is used again.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    std::panic::catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(ParquetError::General("its pages make no sense".to_owned())))
}

/// The rows of a row group, or of a part of it, column by column.
#[derive(Default)]
pub(super) struct Columns {
    integers: [Vec<i64>; 5],
    kinds: Vec<i32>,
    block_hashes: Vec<FixedLenByteArray>,
    tx_hashes: Vec<FixedLenByteArray>,
    emitters: Vec<FixedLenByteArray>,
    payloads: Vec<ByteArray>,
    hashes: Vec<FixedLenByteArray>,
}

impl Columns {
    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    fn clear(&mut self) {
        self.integers.iter_mut().for_each(Vec::clear);
        self.kinds.clear();
        self.payloads.clear();
        for column in
            [&mut self.block_hashes, &mut self.tx_hashes, &mut self.emitters, &mut self.hashes]
        {
            column.clear();
        }
    }

    fn push(&mut self, row: &Row<'_>) {
        let integers =
            [row.position, row.chain_id, row.block_number, row.block_time, row.log_index];
        for (column, integer) in self.integers.iter_mut().zip(integers) {
            column.push(integer.cast_signed());
        }
        self.kinds.push(row.kind.into());
        self.block_hashes.push(row.block_hash.to_vec().into());
        self.tx_hashes.push(row.tx_hash.to_vec().into());
        self.emitters.push(row.emitter.to_vec().into());
        self.payloads.push(row.payload.to_vec().into());
        self.hashes.push(row.hash.unwrap_or_default().to_vec().into());
    }

    /// The row at `index`, which should be number `number` of the log.
    pub(super) fn row(&self, index: usize, number: u64) -> Result<Row<'_>, Corruption> {
        let bad = |column, reason: &str| Corruption {
            position: number,
            column: Some(column),
            reason: reason.to_owned(),
        };
        let names = ["position", "chain_id", "block_number", "block_time", "log_index"];
        let mut integers = [0; 5];
        for ((integer, column), name) in integers.iter_mut().zip(&self.integers).zip(names) {
            let value = column.get(index).copied().unwrap_or(-1);
            *integer = u64::try_from(value).map_err(|_| bad(name, "it is below zero"))?;
        }
        let [position, chain_id, block_number, block_time, log_index] = integers;
        let kind = self.kinds.get(index).and_then(|kind| i16::try_from(*kind).ok());
        Ok(Row {
            position,
            chain_id,
            block_number,
            block_time,
            log_index,
            kind: kind.ok_or_else(|| bad("kind", "it is no tag"))?,
            block_hash: fixed(&self.block_hashes, index)
                .ok_or_else(|| bad("block_hash", "it is no hash"))?,
            tx_hash: fixed(&self.tx_hashes, index)
                .ok_or_else(|| bad("tx_hash", "it is no hash"))?,
            emitter: fixed(&self.emitters, index)
                .ok_or_else(|| bad("emitter", "it is no address"))?,
            payload: self.payloads.get(index).map(ByteArray::data).unwrap_or_default(),
            hash: fixed(&self.hashes, index).map(|hash| B256::new(*hash)),
        })
    }
}

fn fixed<const N: usize>(column: &[FixedLenByteArray], index: usize) -> Option<&[u8; N]> {
    column.get(index)?.data().try_into().ok()
}

/// Writes row groups as they fill.
pub(super) struct Writer<W: io::Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Columns,
    payload_bytes: usize,
}

impl<W: io::Write + Send> Writer<W> {
    pub(super) fn new(out: W) -> Result<Self, ParquetError> {
        let column = |name: &str| ColumnPath::from(name);
        let packed = Compression::ZSTD(ZstdLevel::try_new(3)?);
        let mut properties = WriterProperties::builder()
            .set_compression(packed)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true);
        // Of no use where every value is another.
        for name in ["position", "payload", "hash"] {
            properties = properties.set_column_dictionary_enabled(column(name), false);
        }
        properties =
            properties.set_column_encoding(column("position"), Encoding::DELTA_BINARY_PACKED);
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let file = SerializedFileWriter::new(out, schema, Arc::new(properties.build()))?;
        Ok(Self { file, columns: Columns::default(), payload_bytes: 0 })
    }

    pub(super) fn push(&mut self, row: &Row<'_>) -> Result<(), ParquetError> {
        self.columns.push(row);
        self.payload_bytes += row.payload.len();
        if self.columns.len() >= GROUP_ROWS || self.payload_bytes >= GROUP_PAYLOAD_BYTES {
            self.end_group()?;
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        let columns = &self.columns;
        let mut group = self.file.next_row_group()?;
        for integers in &columns.integers {
            write::<Int64Type, W>(&mut group, integers)?;
        }
        write::<Int32Type, W>(&mut group, &columns.kinds)?;
        for fixed in [&columns.block_hashes, &columns.tx_hashes, &columns.emitters] {
            write::<FixedLenByteArrayType, W>(&mut group, fixed)?;
        }
        write::<ByteArrayType, W>(&mut group, &columns.payloads)?;
        write::<FixedLenByteArrayType, W>(&mut group, &columns.hashes)?;
        group.close()?;
        self.columns.clear();
        self.payload_bytes = 0;
        Ok(())
    }

    pub(super) fn finish(mut self, head: Head) -> Result<W, ParquetError> {
        if self.columns.len() > 0 {
            self.end_group()?;
        }
        for (key, value) in [
            ("format", FORMAT.to_owned()),
            ("rows", head.position.to_string()),
            ("hash", head.hash.to_string()),
        ] {
            self.file.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
        }
        self.file.into_inner()
    }
}

fn write<T: DataType, W: io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("the schema has fewer columns".to_owned()));
    };
    column.typed::<T>().write_batch(values, None, None)?;
    column.close()
}

/// Reads a file a part of a row group at a time.
pub(super) struct Rows {
    path: PathBuf,
    file: SerializedFileReader<File>,
    /// The same file, for what the library does not look at.
    raw: File,
    /// Where the file says the log ends.
    pub(super) said: Head,
    next_group: usize,
    group: Option<Group>,
    pub(super) columns: Columns,
    /// Rows found good.
    pub(super) taken: u64,
}

/// The columns of a row group while they are read.
struct Group {
    integers: Vec<ColumnReaderImpl<Int64Type>>,
    kinds: ColumnReaderImpl<Int32Type>,
    fixed: Vec<ColumnReaderImpl<FixedLenByteArrayType>>,
    payloads: ColumnReaderImpl<ByteArrayType>,
}

impl Rows {
    pub(super) fn open(path: &Path) -> Result<Self, LogArchiveError> {
        let not_a_log = |reason: String| LogArchiveError::NotALog { path: path.to_owned(), reason };
        let file = File::open(path)
            .map_err(|source| LogArchiveError::Io { path: path.to_owned(), source })?;
        let raw = file
            .try_clone()
            .map_err(|source| LogArchiveError::Io { path: path.to_owned(), source })?;
        let file = guarded(|| SerializedFileReader::new(file))
            .map_err(|error| not_a_log(error.to_string()))?;
        let metadata = file.metadata().file_metadata();
        let schema = parse_message_type(SCHEMA).map_err(|error| not_a_log(error.to_string()))?;
        let value = |key: &str| {
            let pairs = metadata.key_value_metadata()?;
            pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
        };
        let (Some(FORMAT), Some(rows), Some(hash)) = (
            value("format"),
            value("rows").and_then(|rows| rows.parse().ok()),
            value("hash").and_then(|hash| hash.parse().ok()),
        ) else {
            return Err(not_a_log(format!("its metadata does not say {FORMAT}, rows and hash")));
        };
        if *metadata.schema() != schema {
            return Err(not_a_log("its columns are others".to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            said: Head { position: rows, hash },
            file,
            raw,
            next_group: 0,
            group: None,
            columns: Columns::default(),
            taken: 0,
        })
    }

    pub(super) const fn next_row(&self) -> u64 {
        self.taken + 1
    }

    /// Reads the next rows into `columns`; false at the end.
    pub(super) fn read_some(&mut self) -> Result<bool, LogArchiveError> {
        loop {
            self.columns.clear();
            if let Some(group) = &mut self.group {
                let read = guarded(|| group.read(&mut self.columns));
                if read.map_err(|error| self.unreadable(&error))? {
                    return Ok(true);
                }
            }
            if self.next_group == self.file.num_row_groups() {
                return Ok(false);
            }
            let group = guarded(|| {
                let group = self.file.get_row_group(self.next_group)?;
                for column in group.metadata().columns() {
                    page_sizes::check(&self.raw, page_sizes::range(column)?, PAGE_BYTES_MAX)?;
                }
                Group::open(&*group)
            });
            self.group = Some(group.map_err(|error| self.unreadable(&error))?);
            self.next_group += 1;
        }
    }

    /// The log must end where the file says.
    pub(super) fn check_end(&self, head: Head) -> Result<(), LogArchiveError> {
        if head == self.said {
            return Ok(());
        }
        let reason = format!("the log ends here, the file says at row {}", self.said.position);
        Err(self.altered(Corruption { position: self.taken, column: None, reason }))
    }

    fn unreadable(&self, error: &ParquetError) -> LogArchiveError {
        let reason = format!("it or one of the next rows cannot be unpacked ({error})");
        self.altered(Corruption { position: self.next_row(), column: None, reason })
    }

    pub(super) fn altered(&self, corruption: Corruption) -> LogArchiveError {
        let Corruption { position: row, column, reason } = corruption;
        LogArchiveError::Altered { path: self.path.clone(), row, column, reason }
    }
}

impl Group {
    fn open(group: &dyn RowGroupReader) -> Result<Self, ParquetError> {
        let sizes = group.metadata().columns().iter().map(|column| column.uncompressed_size());
        if let Some(size) = sizes.into_iter().find(|size| *size > COLUMN_BYTES_MAX) {
            return Err(ParquetError::General(format!("a column of {size} bytes")));
        }
        let integers = (0..5).map(|at| open(group, at)).collect::<Result<_, _>>()?;
        let fixed =
            [6, 7, 8, 10].map(|at| open(group, at)).into_iter().collect::<Result<_, _>>()?;
        Ok(Self { integers, kinds: open(group, 5)?, fixed, payloads: open(group, 9)? })
    }

    /// Whether there were any rows left. All columns must be of one length.
    fn read(&mut self, columns: &mut Columns) -> Result<bool, ParquetError> {
        let (kinds, ..) = self.kinds.read_records(READ_ROWS, None, None, &mut columns.kinds)?;
        let (payloads, ..) =
            self.payloads.read_records(READ_ROWS, None, None, &mut columns.payloads)?;
        let mut is_even = kinds == payloads;
        for (reader, column) in self.integers.iter_mut().zip(&mut columns.integers) {
            is_even &= reader.read_records(READ_ROWS, None, None, column)?.0 == kinds;
        }
        let fixed = [
            &mut columns.block_hashes,
            &mut columns.tx_hashes,
            &mut columns.emitters,
            &mut columns.hashes,
        ];
        for (reader, column) in self.fixed.iter_mut().zip(fixed) {
            is_even &= reader.read_records(READ_ROWS, None, None, column)?.0 == kinds;
        }
        if !is_even {
            return Err(ParquetError::General("its columns differ in length".to_owned()));
        }
        Ok(kinds > 0)
    }
}

fn open<T: DataType>(
    group: &dyn RowGroupReader,
    column: usize,
) -> Result<ColumnReaderImpl<T>, ParquetError> {
    Ok(get_typed_column_reader(group.get_column_reader(column)?))
}
