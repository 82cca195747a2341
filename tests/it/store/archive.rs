//! The log in a Parquet file: out, in, and what is refused.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use alloy::primitives::B256;
use assay::event_store::{Batch, EventStore, LogArchiveError, Revert};
use parquet::basic::Type as PhysicalType;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, FixedLenByteArrayType, Int32Type, Int64Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};

use super::{batch_of, canonical, headers, read_all};
use crate::support::synthetic::{Random, block, facts, facts_of_block};
use crate::support::{self, TestDatabase, synthetic};

/// The columns, as the file has them.
const COLUMNS: [&str; 11] = [
    "position",
    "chain_id",
    "block_number",
    "block_time",
    "log_index",
    "kind",
    "block_hash",
    "tx_hash",
    "emitter",
    "payload",
    "hash",
];

/// Twelve blocks, of which the newest is taken back and all but the last two are final.
async fn filled() -> (TestDatabase, EventStore) {
    let database = support::database().await;
    let store = database.store().await;
    let facts = (1..=12).flat_map(|number| facts_of_block(number, 0, 9)).collect();
    let batch = Batch { headers: headers(1..=12, 0), ..batch_of(facts) };
    store.append(&batch).await.unwrap();
    let batch = Batch {
        revert: Some(Revert { to: block(11, 0), orphaned: vec![block(12, 0).hash] }),
        finalized: Some(block(9, 0)),
        next_block: Some(12),
        ..batch_of(Vec::new())
    };
    store.append(&batch).await.unwrap();
    (database, store)
}

async fn import(path: &Path) -> (TestDatabase, EventStore, Result<(), LogArchiveError>) {
    let database = support::database().await;
    let store = database.store().await;
    let imported = store.import_log(path, None).await.map(drop);
    (database, store, imported)
}

#[tokio::test]
async fn a_large_log_is_read_back_row_by_row() {
    let (database, dir) = (support::database().await, tempfile::tempdir().unwrap());
    let store = database.store().await;
    let facts = facts(7, 40_000);
    let last = facts.last().unwrap().block;
    let batch =
        Batch { finalized: Some(last), next_block: Some(last.number + 1), ..batch_of(facts) };
    store.append(&batch).await.unwrap();
    let path = dir.path().join("log.parquet");
    let head = store.export_log(&path).await.unwrap();
    assert_eq!(head, store.head().await.unwrap());

    let (_database, copy, imported) = import(&path).await;
    imported.unwrap();
    assert_eq!(copy.head().await.unwrap(), head);
    assert_eq!(copy.cursor(1).await.unwrap(), store.cursor(1).await.unwrap());
    assert_eq!(copy.verify().await.unwrap().head, head);
    assert_eq!(read_all(&copy).await, read_all(&store).await);
    // The same log packs to the same file.
    let again = dir.path().join("again.parquet");
    copy.export_log(&again).await.unwrap();
    assert!(std::fs::read(&path).unwrap() == std::fs::read(&again).unwrap());

    let error = copy.import_log(&path, None).await.unwrap_err();
    assert!(matches!(error, LogArchiveError::NotEmpty { events: 40_001 }), "{error}");
    let error = copy.import_log(&path, Some(B256::ZERO)).await.unwrap_err();
    assert!(matches!(error, LogArchiveError::OtherLog { .. }), "{error}");
}

#[tokio::test]
async fn what_was_not_final_is_taken_back_until_the_chain_says_it_again() {
    let (_database, store) = filled().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.parquet");
    let head = store.export_log(&path).await.unwrap();
    let (_copied, copy, imported) = import(&path).await;
    imported.unwrap();
    assert_eq!(copy.head().await.unwrap().position, head.position + 1);
    copy.verify().await.unwrap();
    assert_eq!(canonical(&copy, None).await.0, canonical(&store, None).await.0);
    let cursor = copy.cursor(1).await.unwrap().unwrap();
    assert_eq!((cursor.next_block, cursor.finalized), (10, Some(block(9, 0))));
    let expected = (10..=12).map(|number| block(number, 0).hash).collect();
    assert_eq!(copy.orphans(1).await.unwrap(), expected);

    // Block 10 comes back, block 11 is another now.
    let batch = Batch {
        restored: vec![block(10, 0).hash],
        restored_head: Some(block(10, 0)),
        facts: [facts_of_block(10, 0, 9), facts_of_block(11, 1, 3)].concat(),
        headers: headers(10..=10, 0),
        next_block: Some(12),
        finalized: Some(block(11, 1)),
        ..batch_of(Vec::new())
    };
    let appended = copy.append(&batch).await.unwrap();
    assert_eq!((appended.appended, appended.skipped), (3, 9));
    copy.verify().await.unwrap();
}

/// Reads a column whole, lets it be changed, and writes it.
fn copy_column<T: DataType>(
    mut from: ColumnReaderImpl<T>,
    mut to: SerializedColumnWriter<'_>,
    change: impl FnOnce(&mut Vec<T::T>),
) {
    let mut values = Vec::new();
    from.read_records(usize::MAX, None, None, &mut values).unwrap();
    change(&mut values);
    to.typed::<T>().write_batch(&values, None, None).unwrap();
    to.close().unwrap();
}

/// Writes the file anew with one column of one row changed, as somebody would who wants us to
/// believe another log; without a column, the row is left out.
fn forge(path: &Path, forged: &Path, column: Option<usize>, row: usize) {
    let file = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let metadata = file.metadata().file_metadata();
    let properties = WriterProperties::builder()
        .set_key_value_metadata(metadata.key_value_metadata().cloned())
        .build();
    let schema = Arc::new(metadata.schema().clone());
    let mut out =
        SerializedFileWriter::new(File::create(forged).unwrap(), schema, Arc::new(properties));
    let out = out.as_mut().unwrap();
    assert_eq!(file.num_row_groups(), 1);
    let group = file.get_row_group(0).unwrap();
    let mut to = out.next_row_group().unwrap();
    for at in 0..COLUMNS.len() {
        let (is_it, is_left_out) = (column == Some(at), column.is_none());
        let to = to.next_column().unwrap().unwrap();
        macro_rules! copy {
            ($from:expr, $type:ty, $change:expr) => {
                copy_column::<$type>($from, to, |values| {
                    if is_left_out {
                        values.remove(row);
                    } else if is_it {
                        $change(&mut values[row]);
                    }
                })
            };
        }
        match group.get_column_reader(at).unwrap() {
            ColumnReader::Int32ColumnReader(from) => copy!(from, Int32Type, |v: &mut i32| *v ^= 1),
            ColumnReader::Int64ColumnReader(from) => copy!(from, Int64Type, |v: &mut i64| *v ^= 1),
            ColumnReader::FixedLenByteArrayColumnReader(from) => {
                copy!(
                    from,
                    FixedLenByteArrayType,
                    |value: &mut parquet::data_type::FixedLenByteArray| {
                        let mut bytes = value.data().to_vec();
                        bytes[3] ^= 1;
                        *value = bytes.into();
                    }
                )
            }
            ColumnReader::ByteArrayColumnReader(from) => {
                copy!(from, ByteArrayType, |value: &mut ByteArray| {
                    let mut bytes = value.data().to_vec();
                    *bytes.last_mut().unwrap() ^= 1;
                    *value = bytes.into();
                })
            }
            _ => panic!("a column of {:?}", PhysicalType::BOOLEAN),
        }
    }
    to.close().unwrap();
    out.finish().unwrap();
}

#[tokio::test]
async fn an_edited_row_is_refused_by_its_number_and_nothing_is_kept() {
    let (_database, store) = filled().await;
    let dir = tempfile::tempdir().unwrap();
    let (path, forged) = (dir.path().join("log.parquet"), dir.path().join("forged.parquet"));
    store.export_log(&path).await.unwrap();
    let (_copied, copy, imported) = import(&path).await;
    imported.unwrap();
    drop(copy);

    let database = support::database().await;
    let store = database.store().await;
    for (column, row) in (0..COLUMNS.len()).flat_map(|column| [(column, 0), (column, 57)]) {
        forge(&path, &forged, Some(column), row);
        let error = store.import_log(&forged, None).await.unwrap_err();
        let LogArchiveError::Altered { row: found, .. } = &error else { panic!("{error}") };
        assert_eq!(*found, row as u64 + 1, "{}: {error}", COLUMNS[column]);
        assert!(error.to_string().contains("nothing was imported"), "{error}");
        assert_eq!(store.head().await.unwrap().position, 0);
    }
    for row in [0, 57, 109] {
        forge(&path, &forged, None, row);
        let error = store.import_log(&forged, None).await.unwrap_err();
        let LogArchiveError::Altered { row: found, .. } = &error else { panic!("{error}") };
        // Of a log cut off at its end the last row that is there is named.
        assert_eq!(*found, (row as u64 + 1).min(109), "{error}");
    }
    store.import_log(&path, None).await.unwrap();
}

#[tokio::test]
async fn a_truncated_or_damaged_file_is_refused_and_nothing_is_kept() {
    let (_database, store) = filled().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.parquet");
    let head = store.export_log(&path).await.unwrap();
    let whole = std::fs::read(&path).unwrap();
    let database = support::database().await;
    let store = database.store().await;
    let mut random = Random(11);
    for _ in 0..40 {
        let length = random.below(whole.len() as u64) as usize;
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = store.import_log(&path, None).await.unwrap_err();
        assert!(matches!(error, LogArchiveError::NotALog { .. }), "{length} bytes: {error}");
    }
    let mut accepted = 0;
    for _ in 0..150 {
        let mut damaged = whole.clone();
        let at = random.below(whole.len() as u64) as usize;
        damaged[at] ^= 1 << random.below(8);
        std::fs::write(&path, &damaged).unwrap();
        let database = support::database().await;
        let store = database.store().await;
        // A bit that no reader looks at changes nothing: then it is the very log.
        match store.import_log(&path, None).await {
            Ok(_) => {
                accepted += 1;
                let facts = read_all(&store).await.len() as u64;
                assert_eq!(facts, head.position + 1);
                store.verify().await.unwrap();
            }
            Err(_) => assert_eq!(store.head().await.unwrap().position, 0, "byte {at}"),
        }
    }
    assert!(accepted < 75, "{accepted} of 150 damaged files were accepted");
    assert_eq!(synthetic::CHAIN_ID, 1);
}
