//! Rows of JSON as Parquet, a row group at a time.

use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use serde_json::Value;

/// Rows that wait in memory at most: some megabytes of the widest table.
const GROUP_ROWS: usize = 10_000;

/// Columns that are integers, whether JSON carries them as numbers or, being large, as text.
const INTEGERS: [&str; 17] = [
    "block_number",
    "chain_id",
    "coverage_ppm",
    "expected_loss_ppt",
    "high_ppt",
    "incident",
    "log_index",
    "low_ppt",
    "notches",
    "operator_set_id",
    "oracle_chain_id",
    "position",
    "release_block",
    "revision",
    "score_millinotch",
    "seq",
    "sufficiency_ppm",
];

/// A file under way. What is written waits in `file` until it is taken.
pub(crate) struct Rows {
    file: SerializedFileWriter<Vec<u8>>,
    columns: Vec<Column>,
    rows: usize,
}

/// The values of a column of the group, and which rows have one.
struct Column {
    levels: Vec<i16>,
    values: Values,
}

enum Values {
    Integers(Vec<i64>),
    Flags(Vec<bool>),
    Texts(Vec<ByteArray>),
}

impl Rows {
    /// An empty file with these columns; each may be null.
    pub(crate) fn new(names: impl Iterator<Item = &'static str>) -> Result<Self, ParquetError> {
        let (mut schema, mut columns) = (String::from("message assay {\n"), Vec::new());
        for name in names {
            let (written, values) = if INTEGERS.contains(&name) {
                (format!("OPTIONAL INT64 {name};\n"), Values::Integers(Vec::new()))
            } else if name.starts_with("is_") {
                (format!("OPTIONAL BOOLEAN {name};\n"), Values::Flags(Vec::new()))
            } else {
                (format!("OPTIONAL BYTE_ARRAY {name} (STRING);\n"), Values::Texts(Vec::new()))
            };
            schema += &written;
            columns.push(Column { levels: Vec::new(), values });
        }
        schema.push('}');
        let packed = Compression::ZSTD(ZstdLevel::try_new(3)?);
        let properties = WriterProperties::builder().set_compression(packed).build();
        let schema = Arc::new(parse_message_type(&schema)?);
        let file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
        Ok(Self { file, columns, rows: 0 })
    }

    /// Adds a row: a value or null for each column.
    pub(crate) fn push<'a>(
        &mut self,
        cells: impl Iterator<Item = Option<&'a Value>>,
    ) -> Result<(), ParquetError> {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell.filter(|value| !value.is_null()))?;
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS { self.end_group() } else { Ok(()) }
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            match &mut column.values {
                Values::Integers(values) => write::<Int64Type>(&mut group, values, &column.levels)?,
                Values::Flags(values) => write::<BoolType>(&mut group, values, &column.levels)?,
                Values::Texts(values) => {
                    write::<ByteArrayType>(&mut group, values, &column.levels)?
                }
            }
            column.levels.clear();
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    /// What was written since.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.file.inner_mut())
    }

    /// The rest of the file.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, ParquetError> {
        if self.rows > 0 {
            self.end_group()?;
        }
        self.file.into_inner()
    }
}

impl Column {
    fn push(&mut self, cell: Option<&Value>) -> Result<(), ParquetError> {
        self.levels.push(i16::from(cell.is_some()));
        let Some(value) = cell else { return Ok(()) };
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let unfit = |what| Err(ParquetError::General(format!("{text} is not {what}")));
        match &mut self.values {
            Values::Integers(values) => match text.parse() {
                Ok(number) => values.push(number),
                Err(_) => return unfit("an integer"),
            },
            Values::Flags(values) => match text.parse() {
                Ok(flag) => values.push(flag),
                Err(_) => return unfit("true or false"),
            },
            Values::Texts(values) => values.push(text.into_bytes().into()),
        }
        Ok(())
    }
}

fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &mut Vec<T::T>,
    levels: &[i16],
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("the schema has fewer columns".to_owned()));
    };
    column.typed::<T>().write_batch(values, Some(levels), None)?;
    values.clear();
    column.close()
}
