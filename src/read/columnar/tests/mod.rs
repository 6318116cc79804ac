//! Shards that the crates of arrow-rs write, read block by block; and the same shards damaged.

mod damage;
mod types;

use super::*;
use crate::error::Kind;
use crate::read::blocks::BlockTable;
use crate::read::reader::{BlockReader, Step};
use crate::read::tests::{in_memory, slice};
use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::Compression;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use arrow_array::builder::{ListBuilder, StringBuilder, StructBuilder};
use arrow_array::{ArrayRef, Int64Array, StringArray};
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field, Fields};

const ALL: [Codec; 3] = [Codec::Parquet, Codec::ArrowFile, Codec::ArrowStream];

/// A table in memory, by the blocks that it is written in.
fn write(codec: Codec, batches: &[RecordBatch]) -> Vec<u8> {
    let schema = batches[0].schema();
    let mut bytes = Vec::new();
    match codec {
        Codec::Parquet => {
            let properties = WriterProperties::builder()
                .set_compression(Compression::SNAPPY)
                .set_statistics_enabled(EnabledStatistics::None)
                .build();
            let mut writer = ArrowWriter::try_new(&mut bytes, schema, Some(properties)).unwrap();
            for batch in batches {
                writer.write(batch).unwrap();
                writer.flush().unwrap();
            }
            writer.close().unwrap();
        }
        Codec::ArrowFile => {
            let mut writer = FileWriter::try_new(&mut bytes, &schema).unwrap();
            batches
                .iter()
                .for_each(|batch| writer.write(batch).unwrap());
            writer.finish().unwrap();
        }
        _ => {
            let mut writer = StreamWriter::try_new(&mut bytes, &schema).unwrap();
            batches
                .iter()
                .for_each(|batch| writer.write(batch).unwrap());
            writer.finish().unwrap();
        }
    }
    bytes
}

fn list(codec: Codec, stored: &[u8]) -> Result<Arc<BlockTable>> {
    let file = in_memory(codec, stored);
    let read = |range: Range<u64>| Ok(slice(stored, range));
    BlockTable::list(&file, read).map(Arc::new)
}

/// What a reader of some blocks gives: records by their numbers, or what is wrong in their place.
fn read(
    table: &Arc<BlockTable>,
    stored: &[u8],
    blocks: Range<u64>,
) -> Vec<(u64, std::result::Result<String, String>)> {
    let mut reader = BlockReader::new(Arc::clone(table), blocks);
    let mut out = Vec::new();
    loop {
        match reader.step() {
            Step::Need(range) => reader.feed(slice(stored, range)).unwrap(),
            Step::Run(run) => out.extend(
                run.iter()
                    .map(|(number, text)| (number, Ok(String::from_utf8(text.to_vec()).unwrap()))),
            ),
            Step::Bad(bad) => out.push((bad.record, Err(bad.error.to_string()))),
            Step::End => return out,
        }
    }
}

/// All lines of a shard that is whole.
fn lines(codec: Codec, stored: &[u8]) -> Vec<String> {
    let table = list(codec, stored).unwrap();
    let read = read(&table, stored, 0..table.len());
    assert!(
        read.iter()
            .map(|(number, _)| *number)
            .eq(0..read.len() as u64)
    );
    read.into_iter().map(|(_, line)| line.unwrap()).collect()
}

/// `n` chats: `{"id": 0, "messages": [{"role": …, "content": …}, …]}`, every third without an id.
fn chats(n: i64) -> RecordBatch {
    let fields = Fields::from(vec![
        Field::new("role", DataType::Utf8, true),
        Field::new("content", DataType::Utf8, true),
        Field::new("name", DataType::Utf8, true),
    ]);
    let mut messages = ListBuilder::new(StructBuilder::from_fields(fields, 0));
    for at in 0..n {
        for turn in 0..=at % 3 {
            let message = messages.values();
            let content = format!("turn \"{turn}\" of {at}");
            for (field, text) in [(0, Some("user")), (1, Some(&*content)), (2, None)] {
                let builder = message.field_builder::<StringBuilder>(field).unwrap();
                builder.append_option(text);
            }
            message.append(true);
        }
        messages.append(true);
    }
    let ids = Int64Array::from_iter((0..n).map(|at| (at % 3 != 2).then_some(at)));
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(ids) as ArrayRef, true),
        ("messages", Arc::new(messages.finish()) as ArrayRef, true),
    ])
    .unwrap()
}

fn chat_lines(n: i64) -> Vec<String> {
    let line = |at: i64| {
        let turns = (0..=at % 3)
            .map(|turn| format!(r#"{{"role":"user","content":"turn \"{turn}\" of {at}"}}"#));
        let messages = turns.collect::<Vec<_>>().join(",");
        match at % 3 {
            2 => format!(r#"{{"messages":[{messages}]}}"#),
            _ => format!(r#"{{"id":{at},"messages":[{messages}]}}"#),
        }
    };
    (0..n).map(line).collect()
}

#[test]
fn a_row_is_a_line_without_the_nulls_that_its_type_adds() {
    for codec in ALL {
        assert_eq!(
            lines(codec, &write(codec, &[chats(7)])),
            chat_lines(7),
            "{codec:?}"
        );
    }
}

#[test]
fn row_groups_and_record_batches_are_blocks_of_whole_rows() {
    let all = chats(10);
    let parts = [
        all.slice(0, 4),
        all.slice(4, 0),
        all.slice(4, 5),
        all.slice(9, 1),
    ];
    for codec in ALL {
        let stored = write(codec, &parts);
        let table = list(codec, &stored).unwrap();
        // None of them is empty.
        assert_eq!(table.len(), 3, "{codec:?}");
        let mut found = Vec::new();
        let mut end = 0;
        for (block, rows) in [4, 5, 1].into_iter().enumerate() {
            let block = block as u64;
            assert_eq!(table.records_of(block), Some(rows));
            assert!(table.decoded_bytes_of(block).unwrap() > 0);
            let range = table.stored(block).unwrap();
            assert!(range.start >= end && range.end <= stored.len() as u64);
            end = range.end;
            let read = read(&table, &stored, block..block + 1);
            assert!(read.iter().map(|(number, _)| *number).eq(0..rows));
            found.extend(read.into_iter().map(|(_, line)| line.unwrap()));
        }
        assert_eq!(found, chat_lines(10));
        assert_eq!(lines(codec, &stored), chat_lines(10));
    }
}

#[test]
fn compressed_buffers_and_pages_are_read() {
    use arrow_ipc::CompressionType;
    let batch = chats(300);
    for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let options = IpcWriteOptions::default()
            .try_with_compression(Some(codec))
            .unwrap();
        let mut stored = Vec::new();
        let mut writer =
            StreamWriter::try_new_with_options(&mut stored, &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        assert_eq!(lines(Codec::ArrowStream, &stored), chat_lines(300));
        // As much as without compression, but for padding.
        let plain = list(
            Codec::ArrowStream,
            &write(Codec::ArrowStream, &[chats(300)]),
        )
        .unwrap();
        let packed = list(Codec::ArrowStream, &stored).unwrap();
        assert!(packed.stored_bytes() < plain.stored_bytes());
        assert!(
            packed
                .decoded_bytes()
                .unwrap()
                .abs_diff(plain.decoded_bytes().unwrap())
                < 1024
        );
    }
    for codec in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::ZSTD(Default::default()),
        Compression::LZ4_RAW,
    ] {
        for version in [1, 2] {
            use ::parquet::file::properties::WriterVersion;
            let version = match version {
                1 => WriterVersion::PARQUET_1_0,
                _ => WriterVersion::PARQUET_2_0,
            };
            let properties = WriterProperties::builder()
                .set_compression(codec)
                .set_writer_version(version)
                .build();
            let mut stored = Vec::new();
            let mut writer =
                ArrowWriter::try_new(&mut stored, batch.schema(), Some(properties)).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
            assert_eq!(lines(Codec::Parquet, &stored), chat_lines(300), "{codec:?}");
        }
    }
}

#[test]
fn the_first_rows_have_their_share_of_the_decoded_bytes() {
    let unit = Unit {
        start: 0,
        end: 9,
        decoded: 100,
        rows: 3,
    };
    assert_eq!(
        [0, 1, 2, 3, 4].map(|rows| unit.decoded_of(rows)),
        [0, 34, 67, 100, 100]
    );
}

#[test]
fn what_is_no_row_is_refused_with_the_reason() {
    let refused = |batch: RecordBatch| {
        let errors = ALL.map(|codec| {
            let stored = write(codec, std::slice::from_ref(&batch));
            let error = list(codec, &stored).unwrap_err();
            assert_eq!(error.kind(), Kind::Recipe);
            assert_eq!(error.shard(), Some("x"));
            error.to_string()
        });
        assert!(errors.iter().all(|error| *error == errors[0]));
        errors[0].clone()
    };
    let column = |array: ArrayRef| RecordBatch::try_from_iter([("blob", array)]).unwrap();
    let binary = arrow_array::BinaryArray::from_vec(vec![b"\0"]);
    assert!(refused(column(Arc::new(binary))).contains("the column blob is binary"));
    let decimal = arrow_array::Decimal128Array::from(vec![1]);
    assert!(refused(column(Arc::new(decimal))).contains("Decimal128"));
}

#[test]
fn a_dictionary_that_is_replaced_is_refused_and_one_that_stays_is_read() {
    use arrow_array::DictionaryArray;
    use arrow_array::types::Int32Type;
    let batch = |texts: &[&str]| {
        let array = DictionaryArray::<Int32Type>::from_iter(texts.iter().copied());
        RecordBatch::try_from_iter([("text", Arc::new(array) as ArrayRef)]).unwrap()
    };
    let same = [batch(&["a", "b", "a"]), batch(&["a", "b"])];
    let expected: Vec<String> = ["a", "b", "a", "a", "b"]
        .iter()
        .map(|text| format!(r#"{{"text":"{text}"}}"#))
        .collect();
    for codec in ALL {
        assert_eq!(lines(codec, &write(codec, &same)), expected, "{codec:?}");
    }
    let other = [batch(&["a", "b"]), batch(&["c", "d"])];
    let stored = write(Codec::ArrowStream, &other);
    let error = list(Codec::ArrowStream, &stored).unwrap_err().to_string();
    assert!(error.contains("replaces a dictionary"), "{error}");
}

#[test]
fn encrypted_files_and_brotli_are_refused_with_the_reason() {
    let mut stored = write(Codec::Parquet, &[chats(3)]);
    let len = stored.len();
    stored[len - 4..].copy_from_slice(b"PARE");
    let error = list(Codec::Parquet, &stored).unwrap_err().to_string();
    assert!(error.contains("encrypted"), "{error}");
}

#[test]
fn strings_that_hold_the_same_text_cost_it_once() {
    // Stored once, and read as views of the one text.
    let text = "x".repeat(100 << 10);
    let texts = StringArray::from_iter_values(std::iter::repeat_n(&text, 40));
    let batch = RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]).unwrap();
    let stored = write(Codec::Parquet, &[batch]);
    let table = list(Codec::Parquet, &stored).unwrap();
    assert!(
        table.decoded_bytes().unwrap() < 200 << 10,
        "it has a dictionary"
    );
    let read = read(&table, &stored, 0..1);
    assert_eq!(read.len(), 40);
    assert!(
        read.iter()
            .all(|(_, line)| line.as_ref().unwrap().len() == text.len() + 11)
    );
}
