//! Every key of `limits`: a record that just meets it passes, one that passes it is refused with the key's name, and
//! another value is another stream.

use super::{refused, skipped, stream};
use crate::corpus::{Corpus, SMALL, TEMPLATE, chats};
use packmill::Kind;
use packmill::pipeline::fingerprint;
use std::fmt::Write as _;
use std::io::Write as _;

/// A chat whose line has so many bytes.
fn chat_of(bytes: usize) -> String {
    let (head, tail) = (
        r#"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": ""#,
        r#""}]}"#,
    );
    format!(
        "{head}{}{tail}",
        "x".repeat(bytes - head.len() - tail.len())
    )
}

/// 50 chats, `record`, and 50 more.
fn corpus_with(record: &str) -> Corpus {
    let corpus = Corpus::new();
    corpus.write(
        "chats.jsonl",
        format!("{}{record}\n{}", chats(50), chats(50)).as_bytes(),
    );
    corpus
}

/// `record` is refused under `limits: {KEY: VALUE}`, by that name, and taken under `enough`.
fn refuses(record: &str, key: &str, value: &str, enough: &str, kind: Kind, more: &str) {
    let corpus = corpus_with(record);
    let limits = |value| format!("limits: {{{key}: {value}}}\n{more}");
    let error = refused(&corpus, "chats.jsonl", &limits(value));
    assert_eq!((error.kind(), error.record()), (kind, Some(50)), "{error}");
    assert!(
        error.to_string().contains(&format!("limits.{key}")),
        "{error}"
    );
    assert_eq!(
        skipped(&corpus, "chats.jsonl", &limits(value)),
        (101, 100, 1),
        "{key}"
    );
    // What is longer than a row may be cut to nothing that is trained; it is not bad.
    let (taken, _, bad) = skipped(&corpus, "chats.jsonl", &limits(enough));
    assert_eq!((taken, bad), (101, 0), "{key}");
}

#[test]
fn of_lines_and_records() {
    let record = chat_of(4096);
    refuses(&record, "line_bytes", "4095", "4096", Kind::Limit, "");
    refuses(&record, "record_bytes", "4095", "4096", Kind::Limit, "");
}

#[test]
fn of_nesting() {
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    let record = format!(
        r#"{{"messages": [{{"role": "user", "content": "Hi"}}, {{"role": "assistant", "content": "Yes."}}], "beside": {deep}}}"#
    );
    refuses(&record, "nesting", "40", "41", Kind::Limit, "");
    // The most that a recipe may say breaks no worker's stack, in a value that the template sees and prints or not.
    let most = format!("{}{}", r#"{"a":"#.repeat(506) + "1", "}".repeat(506));
    let record = format!(
        r#"{{"messages": [{{"role": "user", "content": "Hi"}}, {{"role": "assistant", "content": "Yes.", "beside": {most}}}]}}"#
    );
    let corpus = corpus_with(&record);
    assert_eq!(
        skipped(&corpus, "chats.jsonl", "limits: {nesting: 512}"),
        (101, 101, 0)
    );
    corpus.write(
        "own.jinja",
        format!("{{{{ messages|tojson }}}}{TEMPLATE}").as_bytes(),
    );
    let more = "limits: {nesting: 512}\ntemplate: own.jinja";
    let (taken, _, bad) = skipped(&corpus, "chats.jsonl", more);
    assert_eq!((taken, bad), (101, 1));
}

#[test]
fn of_templates() {
    let record = chat_of(100_000);
    refuses(
        &record,
        "template_output_bytes",
        "90KiB",
        "1MiB",
        Kind::Template,
        "",
    );
    refuses(
        &record,
        "template_fuel",
        "2000",
        "100000",
        Kind::Template,
        "",
    );
}

#[test]
fn of_runs() {
    // The answer stands between a line's end and a sign.
    let record = chat_of(chat_of(100).len() + 1400);
    let run = record.matches('x').count();
    let (less, just) = ((run - 1).to_string(), run.to_string());
    refuses(&record, "run_bytes", &less, &just, Kind::Limit, "");
}

#[test]
fn of_examples() {
    let mut turns = String::new();
    for turn in 0..6 {
        let comma = if turn > 0 { ", " } else { "" };
        let _ = write!(
            turns,
            r#"{comma}{{"role": "user", "content": "q{turn}"}}, {{"role": "assistant", "content": "a{turn}"}}"#
        );
    }
    let record = format!(r#"{{"messages": [{turns}]}}"#);
    refuses(
        &record,
        "examples_per_record",
        "5",
        "6",
        Kind::Limit,
        "render: per_turn",
    );
    // A conversation's texts together, which grow with the square of its turns.
    let long = "x".repeat(20_000);
    let record = record.replace("\"q", &format!("\"{long}q"));
    refuses(
        &record,
        "template_output_bytes",
        "300KiB",
        "1MiB",
        Kind::Limit,
        "render: per_turn",
    );
}

/// A frame that claims nothing, of so many newlines-free bytes.
fn bomb(mebibytes: usize, log: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(log).unwrap();
    for _ in 0..mebibytes {
        encoder.write_all(&vec![b'x'; 1 << 20]).unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn of_text_for_stored_bytes() {
    let good = zstd::bulk::compress(chats(200).as_bytes(), 3).unwrap();
    for hold in ["", "hold: 1MiB"] {
        let corpus = Corpus::new();
        // One frame says how much it holds, the other does not.
        let honest = zstd::bulk::compress(&vec![b'x'; 64 << 20], 1).unwrap();
        for bomb in [bomb(64, 20), honest] {
            // Frames enough for a streamed source, of which one is the bomb.
            let frames = [good.repeat(3), bomb, good.repeat(30)].concat();
            corpus.write("chats.jsonl.zst", &frames);
            let error = refused(&corpus, "chats.jsonl.zst", hold);
            assert_eq!(error.kind(), Kind::Limit, "{error}");
            assert!(error.to_string().contains("limits.ratio"), "{error}");
            assert!(
                error.shard().is_some() && error.record().is_some(),
                "{error}"
            );
            let (taken, delivered, bad) = skipped(&corpus, "chats.jsonl.zst", hold);
            // What runs on into the next frame is lost with its end; streamed, the bomb is also the frame before's last line.
            assert!(
                (1..=2).contains(&bad) && taken >= 33 * 200 - 1 && delivered >= 33 * 200 - 1,
                "{taken} {delivered} {bad}"
            );
            // Where it is allowed, it is a line that is too long.
            let error = refused(&corpus, "chats.jsonl.zst", "limits: {ratio: 100000}");
            assert!(error.to_string().contains("limits.line_bytes"), "{error}");
        }
    }
}

#[test]
fn of_windows() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(24).unwrap();
    encoder.write_all(chats(200).as_bytes()).unwrap();
    let corpus = Corpus::new();
    corpus.write("chats.jsonl.zst", &encoder.finish().unwrap());
    let error = refused(&corpus, "chats.jsonl.zst", "limits: {window_log: 23}");
    assert_eq!(error.kind(), Kind::Limit, "{error}");
    assert!(error.to_string().contains("limits.window_log"), "{error}");
    assert_eq!(
        skipped(&corpus, "chats.jsonl.zst", "limits: {window_log: 24}"),
        (200, 200, 0)
    );
}

/// Defaults are in no fingerprint, so that earlier checkpoints stay what they were; everything else is.
#[test]
fn that_differ_make_another_stream() {
    let corpus = Corpus::with_chats(20);
    let print = |limits: &str| {
        let recipe = corpus.recipe("chats.jsonl", &format!("{SMALL}\n{limits}"));
        let model = crate::corpus::model(&recipe);
        fingerprint(&recipe, &model, &corpus.cache()).unwrap()
    };
    let plain = print("");
    assert_eq!(
        plain,
        print("limits: {nesting: 128, line_bytes: 16MiB, ratio: 1000}")
    );
    for key in [
        "line_bytes: 2MiB",
        "record_bytes: 2MiB",
        "nesting: 64",
        "window_log: 26",
        "ratio: 999",
        "template_fuel: 999999",
        "template_output_bytes: 2MiB",
        "run_bytes: 300KiB",
        "examples_per_record: 63",
    ] {
        let differences = plain.differences(&print(&format!("limits: {{{key}}}")));
        let name = key.split(':').next().unwrap();
        assert_eq!(differences.len(), 1, "{differences:?}");
        assert!(
            differences[0].starts_with(&format!("limits.{name}: not set")),
            "{differences:?}"
        );
    }
    assert!(stream(&corpus, corpus.recipe("chats.jsonl", SMALL)).is_ok());
}
