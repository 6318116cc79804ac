//! Parquet and Arrow IPC: the stream of their rows is that of the same rows as JSON lines.

use crate::corpus::{Corpus, SMALL, chats, merged, refused, zstd_frames};
use arrow_array::{ArrayRef, Int64Array, ListArray, RecordBatch, StringArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{DataType, Field, Fields, Schema};
use packmill::checkpoint::Whole;
use packmill::order::lanes::Rank;
use packmill::pipeline::{Loader, Progress, Samples};
use packmill::recipe::Io;
use packmill::{Error, Kind, Recipe};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use std::sync::Arc;

/// How a table is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Store {
    Parquet,
    ArrowFile,
    ArrowStream,
}

const ALL: [Store; 3] = [Store::Parquet, Store::ArrowFile, Store::ArrowStream];

/// How messages are typed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Typed {
    /// Each field, with a null where a message has none.
    Structs,
    /// A message as a string of JSON, as `datasets` writes what has no one type.
    Json,
}

/// Writes rows, `rows` of them a row group or record batch.
fn table(store: Store, typed: Typed, lines: &str, rows: usize) -> Vec<u8> {
    let lines: Vec<Value> = lines
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let batches: Vec<RecordBatch> = lines.chunks(rows).map(|part| batch(typed, part)).collect();
    let schema = batches[0].schema();
    let mut bytes = Vec::new();
    match store {
        Store::Parquet => {
            let mut writer = ArrowWriter::try_new(&mut bytes, schema, None).unwrap();
            for batch in &batches {
                writer.write(batch).unwrap();
                writer.flush().unwrap();
            }
            writer.close().unwrap();
        }
        Store::ArrowFile => {
            let mut writer = FileWriter::try_new(&mut bytes, &schema).unwrap();
            batches
                .iter()
                .for_each(|batch| writer.write(batch).unwrap());
            writer.finish().unwrap();
        }
        Store::ArrowStream => {
            let mut writer = StreamWriter::try_new(&mut bytes, &schema).unwrap();
            batches
                .iter()
                .for_each(|batch| writer.write(batch).unwrap());
            writer.finish().unwrap();
        }
    }
    bytes
}

fn batch(typed: Typed, lines: &[Value]) -> RecordBatch {
    let message = match typed {
        Typed::Json => Field::new("item", DataType::Utf8, true).with_metadata([
            ("ARROW:extension:name", "arrow.json"),
            ("ARROW:extension:metadata", ""),
        ]),
        Typed::Structs => Field::new("item", message_type(), true),
    };
    let list = DataType::List(Arc::new(message));
    let messages: Vec<Option<&Value>> = lines.iter().map(|line| line.get("messages")).collect();
    let schema = Schema::new(vec![Field::new("messages", list.clone(), true)]);
    RecordBatch::try_new(Arc::new(schema), vec![array(&messages, &list)]).unwrap()
}

fn message_type() -> DataType {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let arguments = Fields::from(vec![
        text("city"),
        text("day"),
        Field::new("seats", DataType::Int64, true),
    ]);
    let call = Fields::from(vec![
        text("name"),
        Field::new("arguments", DataType::Struct(arguments), true),
    ]);
    let calls = Field::new("item", DataType::Struct(call), true);
    DataType::Struct(Fields::from(vec![
        text("role"),
        text("content"),
        Field::new("tool_calls", DataType::List(Arc::new(calls)), true),
    ]))
}

/// The array of JSON values of a type; a string stands for whatever is none.
fn array(values: &[Option<&Value>], data_type: &DataType) -> ArrayRef {
    let there = || NullBuffer::from_iter(values.iter().map(Option::is_some));
    match data_type {
        DataType::Utf8 => Arc::new(StringArray::from_iter(values.iter().map(|value| {
            value.map(|value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
        }))),
        DataType::Int64 => Arc::new(Int64Array::from_iter(
            values
                .iter()
                .map(|value| value.map(|v| v.as_i64().unwrap())),
        )),
        DataType::List(item) => {
            let lists = values
                .iter()
                .map(|v| v.map_or(&[][..], |v| v.as_array().unwrap()));
            let items: Vec<Option<&Value>> = lists.clone().flatten().map(Some).collect();
            let offsets = OffsetBuffer::from_lengths(lists.map(<[Value]>::len));
            let items = array(&items, item.data_type());
            Arc::new(ListArray::new(
                Arc::clone(item),
                offsets,
                items,
                Some(there()),
            ))
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().map(|field| {
                let values: Vec<Option<&Value>> = values
                    .iter()
                    .map(|v| v.and_then(|v| v.get(field.name())))
                    .collect();
                array(&values, field.data_type())
            });
            Arc::new(StructArray::new(
                fields.clone(),
                columns.collect(),
                Some(there()),
            ))
        }
        other => panic!("{other}"),
    }
}

/// Chats whose assistants call tools, no two with the same arguments.
fn calls(n: usize) -> String {
    let lines = (0..n).map(|record| {
        let mut arguments = serde_json::Map::new();
        if record % 2 == 0 {
            arguments.insert("city".to_owned(), json!(format!("city \"{record}\"\n")));
        }
        if record % 3 == 0 {
            arguments.insert("day".to_owned(), json!("grüße 日本"));
        }
        if record % 5 == 0 {
            arguments.insert("seats".to_owned(), json!(record));
        }
        let call = json!([{"name": format!("call_{record}"), "arguments": arguments}]);
        let mut messages = vec![
            json!({"role": "user", "content": format!("Ask {record}.")}),
            json!({"role": "assistant", "content": "", "tool_calls": call}),
        ];
        if record % 4 > 0 {
            messages.push(json!({"role": "tool", "content": "{\"a\": [1, 2]}"}));
            messages.push(json!({"role": "assistant", "content": "Done."}));
        }
        format!("{}\n", json!({"messages": messages}))
    });
    lines.collect()
}

const TEMPLATE_WITH_CALLS: &str = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}\
{% if message.role == 'assistant' %}{% generation %}{{ message.content }}{% if message.tool_calls %}{{ message.tool_calls | tojson }}{% endif %}{{ '<|im_end|>' }}{% endgeneration %}{% else %}{{ message.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}";

fn load(corpus: &Corpus, recipe: Recipe) -> Result<Progress, Error> {
    let mut loader = Loader::builder(recipe).cache(corpus.cache()).build()?;
    for batch in loader.by_ref() {
        batch?;
    }
    assert!(loader.progress().ledger.balanced());
    Ok(loader.progress().clone())
}

/// Each record's ids and labels, or why it was dropped.
fn samples(corpus: &Corpus, paths: &str, more: &str) -> Vec<String> {
    let recipe = corpus.recipe(paths, more);
    let model = crate::corpus::model(&recipe);
    let samples = Samples::open(&recipe, &model, &corpus.cache()).unwrap();
    samples
        .map(|sample| {
            let sample = sample.unwrap();
            match sample.content {
                Ok(example) => format!("{} {:?} {:?}", sample.record, example.ids, example.trained),
                Err(reason) => format!("{} {reason:?}", sample.record),
            }
        })
        .collect()
}

#[test]
fn samples_are_those_of_the_json_lines() {
    let corpus = Corpus::new();
    corpus.write(
        "tokenizer/chat_template.jinja",
        TEMPLATE_WITH_CALLS.as_bytes(),
    );
    let lines = calls(120);
    corpus.write("calls.jsonl", lines.as_bytes());
    let expected = samples(&corpus, "calls.jsonl", "");
    assert_eq!(expected.len(), 120);
    for store in ALL {
        for typed in [Typed::Structs, Typed::Json] {
            for rows in [7, 1000] {
                corpus.write("calls", &table(store, typed, &lines, rows));
                assert_eq!(
                    samples(&corpus, "calls", ""),
                    expected,
                    "{store:?} {typed:?} {rows}"
                );
            }
        }
    }
}

#[test]
fn held_tables_give_the_stream_of_the_json_lines() {
    let corpus = Corpus::new();
    let lines = chats(300);
    corpus.write("chats", lines.as_bytes());
    let base = load(&corpus, corpus.recipe("chats", SMALL)).unwrap();
    for store in ALL {
        corpus.write("chats", &table(store, Typed::Structs, &lines, 40));
        for io in [Io::Mmap, Io::Pread] {
            let mut recipe = corpus.recipe("chats", SMALL);
            recipe.io = io;
            let other = load(&corpus, recipe).unwrap();
            assert_eq!(
                (other.digest, other.ledger),
                (base.digest, base.ledger.clone())
            );
        }
    }
}

/// The same rows in zstd frames are blocks of the same records; so the order is one.
#[test]
fn row_groups_are_streamed_as_frames_of_the_same_rows_are() {
    let corpus = Corpus::new();
    let lines = chats(300);
    let more = format!("{SMALL}\nhold: 0");
    // Frames that begin behind a newline would give their first record to the frame before.
    let frames = {
        let all: Vec<&str> = lines.trim_end().split('\n').collect();
        let parts = all.chunks(7).enumerate().map(|(n, part)| {
            let begin = if n == 0 { "" } else { "\n" };
            let text = format!("{begin}{}", part.join("\n"));
            zstd_frames(&text, usize::MAX)
        });
        parts.collect::<Vec<_>>().concat()
    };
    corpus.write("chats", &frames);
    let base = load(&corpus, corpus.recipe("chats", &more)).unwrap();
    for store in ALL {
        for typed in [Typed::Structs, Typed::Json] {
            corpus.write("chats", &table(store, typed, &lines, 7));
            for (workers, io) in [(1, Io::Mmap), (4, Io::Pread), (4, Io::Mmap)] {
                let mut recipe = corpus.recipe("chats", &more);
                (recipe.workers, recipe.io) = (Some(workers), io);
                let other = load(&corpus, recipe).unwrap();
                assert_eq!(
                    other.digest, base.digest,
                    "{store:?} {typed:?} {workers} {io:?}"
                );
                assert_eq!(other.ledger, base.ledger);
            }
        }
    }
}

#[test]
fn held_and_streamed_are_the_same_where_nothing_is_shuffled() {
    let corpus = Corpus::new();
    let lines = chats(100);
    let more =
        "pack: {sequence_length: 512}\nbatch: {rows: 4}\nlanes: 1\nshuffle: false\nepochs: 2";
    for store in ALL {
        corpus.write("chats", &table(store, Typed::Structs, &lines, 9));
        let held = load(&corpus, corpus.recipe("chats", more)).unwrap();
        let streamed = format!("{more}\nhold: 1KiB");
        let streamed = load(&corpus, corpus.recipe("chats", &streamed)).unwrap();
        assert_eq!(streamed.digest, held.digest, "{store:?}");
        assert_eq!(streamed.ledger, held.ledger);
    }
}

#[test]
fn a_stream_goes_on_in_the_middle_of_a_row_group() {
    let corpus = Corpus::new();
    let lines = chats(300);
    let more = "pack: {sequence_length: 256, lookahead: 6}\nbatch: {rows: 1}\nlanes: 4\nhold: 0\nepochs: 1";
    for store in ALL {
        corpus.write("chats", &table(store, Typed::Structs, &lines, 17));
        let recipe = corpus.recipe("chats", more);
        let rows = |from: Option<&Whole>, steps| {
            let rank = Rank {
                number: 0,
                world_size: 1,
            };
            let mut loader = corpus.loader(&recipe, rank, from, steps).unwrap();
            let rows: Vec<_> = loader
                .by_ref()
                .map(|batch| batch.unwrap().digest())
                .collect();
            (rows, loader.state())
        };
        let (all, _) = rows(None, None);
        for steps in [1, 30, 77] {
            let (mut begun, state) = rows(None, Some(steps));
            let whole = merged(&[state.unwrap()]);
            begun.extend(rows(Some(&whole), None).0);
            assert_eq!(begun, all, "{store:?} after {steps}");
        }
    }
}

#[test]
fn a_limit_counts_rows_and_hold_counts_their_share_of_the_columns() {
    let corpus = Corpus::new();
    let lines = chats(100);
    corpus.write("chats", lines.as_bytes());
    let recipe = |more: &str| {
        let mut recipe = corpus.recipe("chats", &format!("{SMALL}\n{more}"));
        recipe.sources[0].limit = Some(30);
        recipe
    };
    let base = load(&corpus, recipe("")).unwrap();
    for store in ALL {
        corpus.write("chats", &table(store, Typed::Structs, &lines, 60));
        let other = load(&corpus, recipe("")).unwrap();
        assert_eq!(other.digest, base.digest, "{store:?}");
        // A third of the bytes of all rows is enough for these; a tenth is not.
        let bytes = std::fs::metadata(corpus.path("chats")).unwrap().len();
        if store != Store::Parquet {
            load(&corpus, recipe(&format!("hold: {}", bytes * 2 / 5))).unwrap();
            let error = load(&corpus, recipe(&format!("hold: {}", bytes / 10))).unwrap_err();
            assert!(
                error.to_string().contains("decode to more than hold"),
                "{error}"
            );
        }
    }
}

#[test]
fn a_damaged_row_group_is_one_error_or_one_counted_rest() {
    let lines = chats(100);
    for store in ALL {
        let corpus = Corpus::new();
        let mut bytes = table(store, Typed::Structs, &lines, 10);
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].fill(0xff);
        corpus.write("chats", &bytes);
        for hold in ["hold: 1GiB", "hold: 0"] {
            let more = format!("{SMALL}\nlanes: 1\n{hold}").replace("lanes: 4\n", "");
            let error = load(&corpus, corpus.recipe("chats", &more)).unwrap_err();
            assert!(
                matches!(error.kind(), Kind::Corrupt | Kind::Row),
                "{store:?}: {error:?}"
            );
            assert!(
                error.shard().is_some_and(|s| s.contains("chats")),
                "{error}"
            );
            let skip = format!("{more}\non_bad_record: {{skip: {{max_fraction: 0.5}}}}");
            let progress = load(&corpus, corpus.recipe("chats", &skip)).unwrap();
            let account = &progress.ledger.sources[0].1;
            assert!(
                account.unreadable.blocks >= 1,
                "{store:?} {hold}: {account:?}"
            );
            assert!(account.unreadable.bytes > 0 && account.records.delivered < 100);
        }
    }
}

#[test]
fn verify_names_the_row_group_that_is_damaged() {
    let lines = chats(100);
    for store in ALL {
        let corpus = Corpus::new();
        let sound = table(store, Typed::Structs, &lines, 10);
        let mut damaged = sound.clone();
        let middle = damaged.len() / 2;
        damaged[middle..middle + 64].fill(0xff);
        corpus.write("a", &sound);
        corpus.write("b", &damaged);
        let recipe =
            format!("tokenizer: tokenizer\nsources: [{{name: chats, paths: [a, b]}}]\n{SMALL}\n");
        corpus.write("recipe.yaml", recipe.as_bytes());
        let mut command = corpus.packmill(&["verify", "recipe.yaml", "--json"]);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{store:?}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let [a, b] = answer["shards"].as_array().unwrap().as_slice() else {
            panic!("{answer}");
        };
        assert_eq!((&a["records"], &a["bad"]), (&100.into(), &0.into()));
        assert!(a["findings"].as_array().unwrap().is_empty(), "{a}");
        assert_eq!(b["bad"], 1, "{store:?}: {b}");
        let records = b["records"].as_u64().unwrap();
        assert!((50..=100).contains(&records), "{store:?}: {b}");
        let finding = &b["findings"][0];
        let record = finding["record"].as_u64().unwrap();
        assert!((30..70).contains(&record), "{store:?}: {b}");
    }
}

#[test]
fn every_cut_through_the_loader_is_an_error() {
    let lines = chats(9);
    for store in ALL {
        let corpus = Corpus::new();
        let bytes = table(store, Typed::Structs, &lines, 3);
        let more = "pack: {sequence_length: 512}\nlanes: 1\nepochs: 1\nworkers: 1";
        for cut in (1..bytes.len()).step_by(97) {
            corpus.write("chats", &bytes[..cut]);
            let error = load(&corpus, corpus.recipe("chats", more)).unwrap_err();
            assert!(error.shard().is_some(), "{store:?} cut at {cut}: {error}");
        }
    }
}

#[test]
fn tables_are_indexed_and_recompressed() {
    let corpus = Corpus::new();
    let lines = chats(200);
    corpus.write("chats.jsonl", lines.as_bytes());
    let plain = load(&corpus, corpus.recipe("chats.jsonl", SMALL))
        .unwrap()
        .digest;
    let run = |args: &[&str]| {
        let output = corpus.packmill(args).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    for (store, name) in [
        (Store::Parquet, "chats.parquet"),
        (Store::ArrowFile, "chats.arrow"),
        (Store::ArrowStream, "chats.stream.arrow"),
    ] {
        let bytes = table(store, Typed::Structs, &lines, 10);
        corpus.write(name, &bytes);
        let streamed = || load(&corpus, corpus.recipe(name, &format!("{SMALL}\nhold: 0")));
        let base = streamed().unwrap().digest;
        let recipe =
            format!("tokenizer: tokenizer\nsources:\n  - {{name: chats, paths: [\"{name}\"]}}\n");
        corpus.write("recipe.yaml", recipe.as_bytes());
        assert!(run(&["index", "recipe.yaml"]).contains("200 records"));
        assert_eq!(streamed().unwrap().digest, base);
        // An edit is named, by its block.
        let mut edited = bytes.clone();
        let at = edited.len() / 2;
        edited[at] ^= 1;
        corpus.write(name, &edited);
        let error = streamed().unwrap_err();
        assert_eq!(error.kind(), Kind::Changed, "{error}");
        corpus.write(name, &bytes);
        run(&["recompress", name, "--output", "small"]);
        let small = format!("small/{}.jsonl.zst", name.rsplit_once('.').unwrap().0);
        let small = load(&corpus, corpus.recipe(&small, SMALL)).unwrap().digest;
        assert_eq!(small, plain, "{store:?}");
        std::fs::remove_dir_all(corpus.path("small")).unwrap();
    }
}

#[test]
fn a_format_that_is_named_refuses_the_others() {
    let corpus = Corpus::with_chats(20);
    let lines = chats(20);
    corpus.write(
        "chats.parquet",
        &table(Store::Parquet, Typed::Structs, &lines, 10),
    );
    corpus.write(
        "chats.file",
        &table(Store::ArrowFile, Typed::Structs, &lines, 10),
    );
    corpus.write(
        "chats.stream",
        &table(Store::ArrowStream, Typed::Structs, &lines, 10),
    );
    for (name, format, is) in [
        ("chats.jsonl", "jsonl", "JSON lines"),
        ("chats.parquet", "parquet", "Parquet"),
        ("chats.file", "arrow", "an Arrow file"),
        ("chats.stream", "arrow", "an Arrow stream"),
    ] {
        for named in ["auto", "jsonl", "parquet", "arrow"] {
            let text = format!(
                "tokenizer: tokenizer\nsources:\n  - {{name: chats, paths: [{name}], format: {named}}}\n"
            );
            corpus.write("recipe.yaml", text.as_bytes());
            let output = corpus.packmill(&["check", "recipe.yaml"]).output().unwrap();
            if named == "auto" || named == format {
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(said.contains(is), "{said}");
                assert!(said.contains("about 20 records"), "{said}");
            } else {
                assert!(refused(&output).contains(&format!("{name}: corpus: is {is}")));
            }
        }
    }
}
