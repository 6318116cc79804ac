//! Lines: without end, not UTF-8, half a surrogate, of another shape; and shards and corpora without any.

use super::{refused, skipped};
use crate::corpus::{Corpus, chats, gzip, zstd_frames};
use packmill::Kind;
use std::io::{Seek, SeekFrom, Write};

/// A shard of chats with `line` at `at`.
fn chats_with(line: &[u8], at: usize) -> Vec<u8> {
    let text = chats(200);
    let mut lines: Vec<&[u8]> = text.lines().map(str::as_bytes).collect();
    lines.insert(at, line);
    lines.join(&b'\n')
}

#[test]
fn a_line_of_a_gibibyte() {
    let corpus = Corpus::new();
    // Text at its beginning, so that it is taken for text, and then nothing on the disk.
    let mut file = std::fs::File::create(corpus.path("long.jsonl")).unwrap();
    file.write_all(&[b'x'; 8 << 10]).unwrap();
    file.seek(SeekFrom::Start(1 << 30)).unwrap();
    file.write_all(format!("\n{}", chats(200)).as_bytes())
        .unwrap();
    drop(file);
    for more in ["", "io: pread"] {
        let error = refused(&corpus, "long.jsonl", more);
        assert_eq!(error.kind(), Kind::Limit, "{error}");
        assert_eq!(
            (error.shard(), error.record()),
            (Some("long.jsonl"), Some(0))
        );
        assert!(error.to_string().contains("longer than 16MiB"), "{error}");
        assert!(error.to_string().contains("limits.line_bytes"), "{error}");
        assert_eq!(skipped(&corpus, "long.jsonl", more), (201, 200, 1));
    }
    // Streamed: the blocks that it fills hold nothing, and the last one the chats.
    let error = refused(&corpus, "long.jsonl", "hold: 1MiB");
    assert_eq!(error.kind(), Kind::Limit, "{error}");
    assert!(error.to_string().contains("longer than 16MiB"), "{error}");
    assert_eq!(skipped(&corpus, "long.jsonl", "hold: 1MiB"), (201, 200, 1));
}

#[test]
fn a_long_line_in_every_format_held_and_streamed() {
    let long = vec![b'x'; 3000];
    let text = String::from_utf8(chats_with(&long, 123)).unwrap();
    let plain = text.clone().into_bytes();
    for (name, stored) in [
        ("plain.jsonl", plain),
        ("gzip.jsonl.gz", gzip(&text)),
        ("frames.jsonl.zst", zstd_frames(&text, 5)),
    ] {
        let corpus = Corpus::new();
        corpus.write(name, &stored);
        let limits = "limits: {line_bytes: 2KiB}";
        let error = refused(&corpus, name, limits);
        assert_eq!(
            (error.kind(), error.record()),
            (Kind::Limit, Some(123)),
            "{error}"
        );
        assert!(error.to_string().contains("longer than 2KiB"), "{error}");
        assert_eq!(skipped(&corpus, name, limits), (201, 200, 1), "{name}");
        if name.starts_with("frames") {
            let streamed = format!("{limits}\nhold: 0");
            let error = refused(&corpus, name, &streamed);
            assert_eq!(error.kind(), Kind::Limit, "{error}");
            assert_eq!(skipped(&corpus, name, &streamed), (201, 200, 1));
        }
    }
}

/// A run that stops says so when the source is opened, whoever made the spool, and names what comes first.
#[test]
fn a_long_line_and_damage_are_told_in_their_order() {
    let long = vec![b'x'; 3000];
    let text = String::from_utf8(chats_with(&long, 23)).unwrap();
    let mut stored = zstd_frames(&text, 10);
    stored.truncate(stored.len() - 20);
    let corpus = Corpus::new();
    corpus.write("chats.jsonl.zst", &stored);
    let limits = "limits: {line_bytes: 2KiB}";
    let first = refused(&corpus, "chats.jsonl.zst", limits);
    assert_eq!(
        (first.kind(), first.record()),
        (Kind::Limit, Some(23)),
        "{first}"
    );
    // The same recipe that skips holds the spool while one that stops opens it.
    let recipe = corpus.recipe(
        "chats.jsonl.zst",
        &format!("{}\n{}\n{limits}", crate::corpus::SMALL, super::SKIP),
    );
    let held = packmill::Loader::builder(recipe)
        .cache(corpus.cache())
        .build()
        .unwrap();
    let again = refused(&corpus, "chats.jsonl.zst", limits);
    assert_eq!(again.to_string(), first.to_string());
    drop(held);
    let (_, _, bad) = skipped(&corpus, "chats.jsonl.zst", limits);
    assert_eq!(bad, 2);
}

#[test]
fn records_that_are_no_text_or_of_another_shape() {
    let deep = format!("{{\"beside\": {}", "[".repeat(100_000));
    let deep_objects = format!("{{\"messages\": [{}", "{\"a\":".repeat(100_000));
    let cases: [(&[u8], Kind); 8] = [
        (
            b"{\"messages\": [{\"role\": \"user\", \"content\": \"\xc3\x28\"}]}",
            Kind::Corrupt,
        ),
        (b"\xff\xfe{\"messages\": []}", Kind::Corrupt),
        (
            br#"{"messages": [{"role": "user", "content": "\ud83d"}]}"#,
            Kind::Corrupt,
        ),
        (
            br#"{"messages": [{"role": "user", "content": "\ude00 first"}]}"#,
            Kind::Corrupt,
        ),
        (br#"{"text": "a row of another shape"}"#, Kind::Row),
        (br#"{"messages": {"role": "user"}}"#, Kind::Row),
        (deep.as_bytes(), Kind::Limit),
        (deep_objects.as_bytes(), Kind::Limit),
    ];
    for (line, kind) in cases {
        let corpus = Corpus::new();
        corpus.write("chats.jsonl", &chats_with(line, 77));
        let error = refused(&corpus, "chats.jsonl", "");
        let shown = String::from_utf8_lossy(&line[..line.len().min(60)]);
        assert_eq!(
            (error.kind(), error.record()),
            (kind, Some(77)),
            "{shown}: {error}"
        );
        assert_eq!(error.shard(), Some("chats.jsonl"), "{shown}");
        assert_eq!(
            skipped(&corpus, "chats.jsonl", ""),
            (201, 200, 1),
            "{shown}"
        );
        // As the first record, unless that tells that the file is UTF-16, or plain text.
        if !line.starts_with(b"\xff\xfe") && !line.starts_with(b"{\"text\"") {
            corpus.write("chats.jsonl", &chats_with(line, 0));
            assert_eq!(
                skipped(&corpus, "chats.jsonl", ""),
                (201, 200, 1),
                "{shown}"
            );
        }
    }
}

#[test]
fn empty_shards_and_an_empty_corpus() {
    let corpus = Corpus::with_chats(50);
    corpus.write("empty.jsonl", b"");
    // Beside others a shard without a byte holds no record, and nothing is lost.
    assert_eq!(skipped(&corpus, "*.jsonl", "").0, 50);
    let error = refused(&corpus, "empty.jsonl", "");
    assert!(error.to_string().contains("is empty"), "{error}");
    // By its name it was compressed, so its bytes are missing.
    corpus.write("cut.jsonl.zst", b"");
    let error = refused(&corpus, "*.jsonl*", "");
    assert_eq!(
        (error.kind(), error.shard()),
        (Kind::Corrupt, Some("cut.jsonl.zst")),
        "{error}"
    );
    let error = refused(&corpus, "nothing-*.jsonl", "");
    assert!(error.to_string().contains("matches no file"), "{error}");
}
