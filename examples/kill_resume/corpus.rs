//! The demo's corpus in the forms that the configurations ask for.

use arrow_array::{ArrayRef, ListArray, RecordBatch, StringArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field};
use packmill::corpus::open_file;
use packmill::read::recompress::{Existing, Frames, recompress, recompressed_path};
use packmill::read::{Entry, ReadOptions, open_shards, records_in_order};
use packmill::recipe::{Io, LimitsConfig, OnBadRecord};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Records in a row group or record batch.
const TABLE_ROWS: usize = 24;

/// Writes the tokenizer, and the demo's corpora as they are, in `chats` and `sums`; and the chats in small frames
/// twice, in `frames` and `more`; and `chosen`: chats with weights and copies, as lines and, in `tables`, as tables.
pub(crate) fn write(folder: &Path) {
    let recipe = crate::common::recipe();
    let demo = recipe.parent().unwrap();
    for name in [
        "tokenizer",
        "chats",
        "sums",
        "frames",
        "more",
        "chosen",
        "tables",
    ] {
        std::fs::create_dir(folder.join(name)).unwrap();
    }
    for file in std::fs::read_dir(demo.join("tokenizer")).unwrap().flatten() {
        std::fs::copy(file.path(), folder.join("tokenizer").join(file.file_name())).unwrap();
    }
    let shards = std::fs::read_dir(demo.join("corpora")).unwrap().flatten();
    for shard in shards.map(|shard| shard.path()) {
        let name = shard.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("sums-") {
            std::fs::copy(&shard, folder.join("sums").join(&name)).unwrap();
            continue;
        }
        std::fs::copy(&shard, folder.join("chats").join(&name)).unwrap();
        let shard = open_shards(&[open_file(&shard).unwrap()], Io::Pread).unwrap();
        for (form, frame_bytes) in [("frames", 16 << 10), ("more", 24 << 10)] {
            let frames = Frames::new(frame_bytes, 3).unwrap();
            let target = recompressed_path(Path::new(&name), Some(&folder.join(form))).unwrap();
            recompress(
                &shard[0],
                &target,
                frames,
                Existing::Refuse,
                &mut |_| Ok(()),
            )
            .unwrap();
        }
    }
    let chosen = chosen(&folder.join("chats"));
    std::fs::write(folder.join("chosen/chats.jsonl.zst"), frames(&chosen)).unwrap();
    let (some, others) = chosen.split_at(chosen.len() / 2);
    std::fs::write(folder.join("tables/a.parquet"), parquet(some)).unwrap();
    std::fs::write(folder.join("tables/b.arrow"), arrow(others)).unwrap();
}

/// Chats some of whose answers count for less, with a number each, and one in nine a second time.
fn chosen(chats: &Path) -> Vec<Value> {
    let options = ReadOptions {
        hold: 0,
        limit: None,
        io: Io::Pread,
        on_bad_record: OnBadRecord::Stop,
        limits: LimitsConfig::DEFAULT,
    };
    let mut shards: Vec<PathBuf> = std::fs::read_dir(chats)
        .unwrap()
        .map(|shard| shard.unwrap().path())
        .collect();
    shards.sort();
    let shards: Vec<_> = shards
        .iter()
        .map(|shard| open_file(shard).unwrap())
        .collect();
    let mut rows = Vec::new();
    for record in records_in_order(&shards, &options).unwrap() {
        let Entry::Record(line) = record.unwrap().entry else {
            continue;
        };
        let mut row: Value = serde_json::from_slice(&line).unwrap();
        let number = rows.len();
        for (at, message) in row["messages"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .enumerate()
        {
            if message["role"] == "assistant"
                && message["train"].is_null()
                && (number + at) % 3 == 0
            {
                message["weight"] = json!([0.0, 0.25, 0.5][number % 7 % 3]);
            }
        }
        let row = json!({"messages": row["messages"]});
        rows.push(row.clone());
        if number % 9 == 8 {
            rows.push(row);
        }
    }
    rows
}

/// Lines in frames of some 16 KiB.
fn frames(rows: &[Value]) -> Vec<u8> {
    let (mut stored, mut text) = (Vec::new(), String::new());
    for row in rows {
        text.push_str(&format!("{row}\n"));
        if text.len() > 16 << 10 {
            stored.extend(zstd::bulk::compress(text.as_bytes(), 3).unwrap());
            text.clear();
        }
    }
    stored.extend(zstd::bulk::compress(text.as_bytes(), 3).unwrap());
    stored
}

/// Messages as lists of JSON, as `datasets` writes what has no one type.
fn batches(rows: &[Value]) -> Vec<RecordBatch> {
    let batch = |rows: &[Value]| {
        let messages = rows.iter().map(|row| row["messages"].as_array().unwrap());
        let lengths = OffsetBuffer::from_lengths(messages.clone().map(Vec::len));
        let texts = StringArray::from_iter_values(messages.flatten().map(Value::to_string));
        let item = Field::new("item", DataType::Utf8, true).with_metadata([
            ("ARROW:extension:name", "arrow.json"),
            ("ARROW:extension:metadata", ""),
        ]);
        let lists = ListArray::new(Arc::new(item), lengths, Arc::new(texts), None);
        RecordBatch::try_from_iter([("messages", Arc::new(lists) as ArrayRef)]).unwrap()
    };
    rows.chunks(TABLE_ROWS).map(batch).collect()
}

fn parquet(rows: &[Value]) -> Vec<u8> {
    let (mut bytes, batches) = (Vec::new(), batches(rows));
    let mut writer = ArrowWriter::try_new(&mut bytes, batches[0].schema(), None).unwrap();
    for batch in &batches {
        writer.write(batch).unwrap();
        writer.flush().unwrap();
    }
    writer.close().unwrap();
    bytes
}

fn arrow(rows: &[Value]) -> Vec<u8> {
    let (mut bytes, batches) = (Vec::new(), batches(rows));
    let schema = batches[0].schema();
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(&mut bytes, &schema).unwrap();
    batches
        .iter()
        .for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    bytes
}
