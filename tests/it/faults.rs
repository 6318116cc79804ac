//! Damaged inputs: one clear error that names shard and record, or a counted drop where the recipe says skip;
//! never a panic, a hang, or a silently shorter stream.

use crate::corpus::{Corpus, SMALL, chats, holds_no_file, zstd_frames};
use packmill::ledger::Reason;
use packmill::pipeline::{Loader, Progress};
use packmill::{Error, Kind, Recipe};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The error that the stream ends with, and where it stood then.
fn run(corpus: &Corpus, recipe: Recipe) -> Result<Progress, (Error, u64)> {
    let mut loader = Loader::builder(recipe)
        .cache(corpus.cache())
        .build()
        .map_err(|error| (error, 0))?;
    while let Some(batch) = loader.next() {
        batch.map_err(|error| (error, loader.progress().rows))?;
    }
    assert!(loader.progress().ledger.balanced());
    Ok(loader.progress().clone())
}

fn fails(corpus: &Corpus, paths: &str, more: &str) -> Error {
    let recipe = corpus.recipe(paths, &format!("{SMALL}\n{more}"));
    run(corpus, recipe).expect_err("should fail").0
}

const SKIP: &str = "on_bad_record: {skip: {max_fraction: 0.05}}";

/// `chats` with line `at` replaced.
fn with_line(n: usize, at: usize, line: &[u8]) -> Vec<u8> {
    let text = chats(n);
    let mut out = Vec::new();
    for (i, original) in text.split_inclusive('\n').enumerate() {
        if i == at {
            out.extend_from_slice(line);
            out.push(b'\n');
        } else {
            out.extend_from_slice(original.as_bytes());
        }
    }
    out
}

#[test]
fn a_bad_line_names_shard_and_record_or_is_counted() {
    let cases: [(&str, &[u8], Kind); 4] = [
        ("not json", b"{\"messages\": [", Kind::Corrupt),
        (
            "utf8",
            b"{\"messages\": [{\"role\": \"user\", \"content\": \"\xff\xfe\"}]}",
            Kind::Corrupt,
        ),
        (
            "shape",
            b"{\"text\": \"a row of another shape\"}",
            Kind::Row,
        ),
        (
            "role",
            b"{\"messages\": [{\"content\": \"nobody\"}]}",
            Kind::Row,
        ),
    ];
    for (name, line, kind) in cases {
        let corpus = Corpus::new();
        corpus.write("chats.jsonl", &with_line(200, 123, line));
        let error = fails(&corpus, "chats.jsonl", "");
        assert_eq!(error.record(), Some(123), "{name}: {error}");
        assert!(
            error.shard().is_some_and(|s| s.contains("chats.jsonl")),
            "{name}: {error}"
        );
        assert!(
            error.kind() == kind || error.kind() == Kind::Row,
            "{name}: {error:?}"
        );
        let progress = run(
            &corpus,
            corpus.recipe("chats.jsonl", &format!("{SMALL}\n{SKIP}")),
        )
        .unwrap();
        let records = &progress.ledger.sources[0].1.records;
        assert_eq!((records.taken, records.delivered), (200, 199), "{name}");
        assert_eq!(records.dropped.get(&Reason::BadRecord), Some(&1), "{name}");
    }
}

/// What is read, and dropped, after the last full batch is in the account too.
#[test]
fn the_ledger_is_complete_at_the_end() {
    let good = r#"{"input_ids": [65, 66, 67], "labels": [-100, 66, 67]}"#;
    let untrained = r#"{"input_ids": [65, 66], "labels": [-100, -100]}"#;
    for strategy in ["none", "concat", "knapsack"] {
        let corpus = Corpus::new();
        let lines = [good, good, untrained, untrained, "{bad"].join("\n");
        corpus.write("rows.jsonl", lines.as_bytes());
        let more = format!(
            "pack: {{sequence_length: 3, strategy: {strategy}}}\nbatch: {{rows: 2}}\nlanes: 1\nshuffle: false\nepochs: 1\n{SKIP}"
        );
        let progress = run(&corpus, corpus.recipe("rows.jsonl", &more)).unwrap();
        let records = &progress.ledger.sources[0].1.records;
        assert_eq!((records.taken, records.delivered), (5, 2), "{strategy}");
        assert_eq!(
            records.dropped.get(&Reason::NoTrainedToken),
            Some(&2),
            "{strategy}"
        );
        assert_eq!(
            records.dropped.get(&Reason::BadRecord),
            Some(&1),
            "{strategy}"
        );
    }
}

/// A first record that is bad is skipped like any other, and told where it stands.
#[test]
fn a_first_record_that_is_bad() {
    for bad in ["{\"messages\": broken", "\u{1}", "[1]"] {
        let corpus = Corpus::new();
        let text = format!("\n{bad}\n{}", chats(100));
        corpus.write("chats.jsonl", text.as_bytes());
        let error = fails(&corpus, "chats.jsonl", "");
        assert_eq!(error.record(), Some(1), "{error}");
        assert!(
            error.shard().is_some_and(|s| s.contains("chats.jsonl")),
            "{error}"
        );
        let progress = run(
            &corpus,
            corpus.recipe("chats.jsonl", &format!("{SMALL}\n{SKIP}")),
        )
        .unwrap();
        let records = &progress.ledger.sources[0].1.records;
        assert_eq!((records.taken, records.delivered), (101, 100), "{bad}");
        assert_eq!(records.dropped.get(&Reason::BadRecord), Some(&1), "{bad}");
    }
}

#[test]
fn rows_before_an_error_are_delivered_first() {
    let corpus = Corpus::new();
    corpus.write("chats.jsonl", &with_line(400, 399, b"{}"));
    let more = format!("{}\nshuffle: false", SMALL.replace("lanes: 4", "lanes: 1"));
    let (error, rows) = run(&corpus, corpus.recipe("chats.jsonl", &more)).unwrap_err();
    assert_eq!(error.record(), Some(399));
    assert!(rows > 20, "only {rows} rows before the last record's error");
}

#[test]
fn more_bad_records_than_allowed_stop_the_run() {
    let corpus = Corpus::new();
    let mut text = chats(100);
    text.push_str(&"{}\n".repeat(60));
    corpus.write("chats.jsonl", text.as_bytes());
    let error = fails(&corpus, "chats.jsonl", SKIP);
    assert!(
        error.to_string().contains("more than on_bad_record allows"),
        "{error}"
    );
}

#[test]
fn a_cut_zstd_shard() {
    let bytes = zstd_frames(&chats(400), 50);
    let corpus = Corpus::new();
    corpus.write("chats.jsonl.zst", &bytes[..bytes.len() - 100]);
    let error = fails(&corpus, "chats.jsonl.zst", "");
    assert_eq!(error.kind(), Kind::Corrupt, "{error:?}");
    assert!(
        error.shard().is_some_and(|s| s.contains("chats.jsonl.zst")),
        "{error}"
    );
    // The record is the entry that stands for the lost rest: behind the whole frames' lines.
    assert!(error.record().is_some_and(|r| r >= 350), "{error}");
    assert!(error.to_string().contains("cut short"), "{error}");
    let progress = run(
        &corpus,
        corpus.recipe("chats.jsonl.zst", &format!("{SMALL}\n{SKIP}")),
    )
    .unwrap();
    let account = &progress.ledger.sources[0].1;
    assert_eq!(account.unreadable.blocks, 1);
    assert!(account.unreadable.bytes > 0);
    assert!(account.records.delivered >= 350, "{account:?}");
}

#[test]
fn a_flipped_byte_in_a_streamed_frame() {
    let mut bytes = zstd_frames(&chats(400), 10);
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40].fill(0xA5);
    let corpus = Corpus::new();
    corpus.write("chats.jsonl.zst", &bytes);
    let error = fails(&corpus, "chats.jsonl.zst", "hold: 0");
    assert!(
        matches!(error.kind(), Kind::Corrupt | Kind::Row),
        "{error:?}"
    );
    assert!(error.shard().is_some(), "{error}");
}

#[test]
fn an_empty_corpus_and_a_glob_without_a_match() {
    let corpus = Corpus::new();
    corpus.write("empty.jsonl", b"");
    corpus.write("blank.jsonl", b"\n  \n\n");
    // Skipping is for records: a source without one is an error all the same.
    for more in ["", SKIP] {
        for shard in ["empty.jsonl", "blank.jsonl"] {
            let error = fails(&corpus, shard, more);
            assert!(error.to_string().contains("empty"), "{shard}: {error}");
        }
    }
    let error = fails(&corpus, "nothing-*.jsonl", "");
    assert_eq!(error.kind(), Kind::Recipe);
    assert!(error.to_string().contains("nothing-*.jsonl"), "{error}");
}

#[test]
fn a_template_that_raises() {
    let corpus = Corpus::with_chats(20);
    let template = "{% if messages|length > 3 %}{{ raise_exception('too many turns') }}{% endif %}{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}";
    corpus.write("raising.jinja", template.as_bytes());
    let error = fails(&corpus, "chats.jsonl", "template: raising.jinja");
    assert_eq!(error.kind(), Kind::Template, "{error:?}");
    assert!(error.to_string().contains("too many turns"), "{error}");
    assert!(
        error.record().is_some() && error.shard().is_some(),
        "{error}"
    );
}

#[test]
fn a_template_that_raises_for_some_records_is_counted_with_skip() {
    let corpus = Corpus::with_chats(200);
    let raising =
        "{% if messages[0].content == 'Record 7.' %}{{ raise_exception('not seven') }}{% endif %}";
    corpus.write(
        "raising.jinja",
        format!("{raising}{}", crate::corpus::TEMPLATE).as_bytes(),
    );
    let error = fails(&corpus, "chats.jsonl", "template: raising.jinja");
    assert_eq!(error.record(), Some(7), "{error}");
    assert!(error.to_string().contains("not seven"), "{error}");
    let more = format!("{SMALL}\n{SKIP}\ntemplate: raising.jinja");
    let progress = run(&corpus, corpus.recipe("chats.jsonl", &more)).unwrap();
    let records = &progress.ledger.sources[0].1.records;
    assert_eq!((records.taken, records.delivered), (200, 199));
    assert_eq!(records.dropped.get(&Reason::BadRecord), Some(&1));
}

#[test]
fn bad_lines_and_a_cut_shard_of_a_streamed_source() {
    let mut line = String::from_utf8(with_line(400, 123, b"{\"messages\": 3}")).unwrap();
    let corpus = Corpus::new();
    corpus.write("bad.jsonl.zst", &zstd_frames(&line, 10));
    let error = fails(&corpus, "bad.jsonl.zst", "hold: 0");
    assert!(
        error.shard().is_some_and(|s| s.contains("bad.jsonl.zst")),
        "{error}"
    );
    assert!(error.record().is_some(), "{error}");
    let more = format!("{SMALL}\nhold: 0\n{SKIP}");
    let progress = run(&corpus, corpus.recipe("bad.jsonl.zst", &more)).unwrap();
    let records = &progress.ledger.sources[0].1.records;
    assert_eq!((records.taken, records.delivered), (400, 399));

    line = chats(400);
    let bytes = zstd_frames(&line, 10);
    corpus.write("cut.jsonl.zst", &bytes[..bytes.len() - 100]);
    let error = fails(&corpus, "cut.jsonl.zst", "hold: 0");
    assert!(
        error.shard().is_some_and(|s| s.contains("cut.jsonl.zst")) && error.record().is_some(),
        "{error}"
    );
    let progress = run(&corpus, corpus.recipe("cut.jsonl.zst", &more)).unwrap();
    let account = &progress.ledger.sources[0].1;
    assert_eq!(account.unreadable.blocks, 1, "{account:?}");
    assert!(account.records.delivered >= 389, "{account:?}");
}

fn packmill(corpus: &Corpus, args: &[&str]) -> Command {
    corpus.packmill(args)
}

/// A recipe over `chats.jsonl.zst`, whose text has to be spooled.
fn spooled(frames: &[u8]) -> Corpus {
    let corpus = Corpus::new();
    corpus.write("chats.jsonl.zst", frames);
    let recipe = format!(
        "tokenizer: tokenizer\nsources:\n  - name: chats\n    paths: [chats.jsonl.zst]\n{SMALL}\n"
    );
    corpus.write("recipe.yaml", recipe.as_bytes());
    corpus
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A limit on the size of files gives a spool's writer the error that a full disk gives it, without one.
#[test]
fn a_full_disk_under_the_spool() {
    let corpus = spooled(&zstd_frames(&chats(1000), 100));
    // 40 or 80 KiB, as the shell counts; the text has more than 400 KiB.
    let limited = Command::new("sh")
        .arg("-c")
        .arg("trap '' XFSZ; ulimit -f 80; exec \"$0\" \"$@\"")
        .arg(env!("CARGO_BIN_EXE_packmill"))
        .args(["stream", "recipe.yaml", "--json"])
        .current_dir(corpus.dir.path())
        .env("PACKMILL_CACHE", corpus.cache())
        .output()
        .unwrap();
    let text = stderr(&limited);
    assert_eq!(limited.status.code(), Some(1), "{text}");
    assert_eq!(text.matches("error: ").count(), 1, "{text}");
    assert!(!text.contains("panicked"), "{text}");
    for part in ["source chats", "spool", "PACKMILL_CACHE", "hold"] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    assert!(
        text.contains(&corpus.cache().display().to_string()),
        "the cache folder is not named: {text}"
    );
    assert!(limited.stdout.is_empty());
    assert!(holds_no_file(&corpus.cache()), "half a spool stayed behind");
    let again = packmill(&corpus, &["stream", "recipe.yaml", "--json"])
        .output()
        .unwrap();
    assert!(again.status.success(), "{}", stderr(&again));
    assert!(holds_no_file(&corpus.cache()));
}

#[test]
fn a_spool_of_a_killed_process_is_swept_and_never_read() {
    // Much text in few bytes, so that writing the spool takes a while.
    let frame = zstd_frames(&chats(2000), 2000);
    let corpus = spooled(&frame.repeat(80));
    let mut killed = packmill(&corpus, &["stream", "recipe.yaml"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while holds_no_file(&corpus.cache()) {
        assert!(Instant::now() < deadline, "no spool is written");
        std::thread::sleep(Duration::from_millis(1));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(
        !holds_no_file(&corpus.cache()),
        "it was killed before it could clean up"
    );
    let again = packmill(&corpus, &["samples", "recipe.yaml", "--limit", "3"])
        .output()
        .unwrap();
    assert!(again.status.success(), "{}", stderr(&again));
    assert_eq!(
        again.stdout.iter().filter(|byte| **byte == b'\n').count(),
        3
    );
    assert!(
        holds_no_file(&corpus.cache()),
        "what was left is still there"
    );
}

#[test]
fn a_template_without_end() {
    let corpus = Corpus::with_chats(20);
    let template = "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}{% generation %}{% endgeneration %}";
    corpus.write("endless.jinja", template.as_bytes());
    let error = fails(&corpus, "chats.jsonl", "template: endless.jinja");
    assert!(
        matches!(error.kind(), Kind::Template | Kind::Limit),
        "{error:?}"
    );
}

#[test]
fn nothing_trained_anywhere_is_an_error_not_silence() {
    let corpus = Corpus::with_chats(50);
    let template =
        "{% for m in messages %}{{ m.content }}{% endfor %}{% generation %}{% endgeneration %}";
    corpus.write("untrained.jinja", template.as_bytes());
    let error = fails(&corpus, "chats.jsonl", "template: untrained.jinja");
    assert!(error.to_string().contains("no row"), "{error}");
}

#[test]
fn nothing_trained_in_an_endless_stream_stops_too() {
    let corpus = Corpus::with_chats(50);
    corpus.write(
        "untrained.jinja",
        b"{% for m in messages %}{{ m.content }}{% endfor %}{% generation %}{% endgeneration %}",
    );
    let more = SMALL.replace("epochs: 1", "epochs: null");
    let recipe = corpus.recipe("chats.jsonl", &format!("{more}\ntemplate: untrained.jinja"));
    let (error, _) = run(&corpus, recipe).unwrap_err();
    assert!(error.to_string().contains("gave no example"), "{error}");
}

/// Every second line is blank, so that with shuffle: false every second lane has no record in any epoch.
#[test]
fn a_lane_of_blank_lines_stops_an_endless_stream_and_no_finite_one() {
    let corpus = Corpus::new();
    corpus.write("chats.jsonl", chats(200).replace('\n', "\n\n").as_bytes());
    let endless = SMALL.replace("\nepochs: 1", "\nshuffle: false");
    let (error, _) = run(&corpus, corpus.recipe("chats.jsonl", &endless)).unwrap_err();
    assert!(
        error.to_string().contains("lane 1 has no record"),
        "{error}"
    );
    // Lanes 1 and 3 meet 4,500 blank lines and nothing else: more than stop an endless stream.
    let finite = format!("{endless}\nepochs: 45");
    let progress = run(&corpus, corpus.recipe("chats.jsonl", &finite)).unwrap();
    assert_eq!(progress.ledger.sources[0].1.records.delivered, 9_000);
}

/// A lane that ends has met nothing but blank lines, as many as would stop an endless one.
#[test]
fn a_long_shard_of_blank_lines_ends_where_its_epoch_does() {
    let corpus = Corpus::new();
    let blank = "\n".repeat(20_000);
    corpus.write("chats.jsonl", (chats(20) + &blank).as_bytes());
    let finite = format!("{SMALL}\nshuffle: false");
    let progress = run(&corpus, corpus.recipe("chats.jsonl", &finite)).unwrap();
    assert_eq!(progress.ledger.sources[0].1.records.delivered, 20);
}

#[test]
fn a_template_whose_turns_cannot_be_shown_is_refused_with_the_remedy() {
    let corpus = Corpus::with_chats(5);
    corpus.write(
        "plain.jinja",
        b"{% for i in range(messages|length) %}<{{ messages[i].role }}>{{ messages[i].content ~ loop.length }}{% endfor %}{{ '<assistant>' if add_generation_prompt }}",
    );
    let error = fails(&corpus, "chats.jsonl", "template: plain.jinja");
    assert_eq!(error.kind(), Kind::Mask, "{error}");
    assert!(error.to_string().contains("generation"), "{error}");
    assert!(error.to_string().contains("template.path"), "{error}");
    // Rows of prompt and completion are rendered with it too.
    let row = r#"{"prompt": [{"role": "user", "content": "Hi"}], "completion": [{"role": "assistant", "content": "Yes."}]}"#;
    corpus.write("pairs.jsonl", format!("{row}\n").repeat(30).as_bytes());
    let error = fails(&corpus, "pairs.jsonl", "template: plain.jinja");
    assert_eq!(error.kind(), Kind::Mask, "{error}");
    assert!(error.record().is_some(), "{error}");
}

#[test]
fn a_streamed_source_with_too_few_blocks_is_refused() {
    let corpus = Corpus::with_chats(50);
    let error = fails(&corpus, "chats.jsonl", "hold: 0");
    assert_eq!(error.kind(), Kind::Recipe, "{error:?}");
    for remedy in ["recompress", "hold", "lanes"] {
        assert!(error.to_string().contains(remedy), "{error}");
    }
}

#[test]
fn an_overlong_example_with_error() {
    let corpus = Corpus::with_chats(50);
    let more = SMALL.replace(
        "sequence_length: 512",
        "sequence_length: 64, overlong: error",
    );
    let (error, _) = run(&corpus, corpus.recipe("chats.jsonl", &more)).unwrap_err();
    assert_eq!(error.kind(), Kind::Pack, "{error:?}");
    assert!(
        error.record().is_some() && error.shard().is_some(),
        "{error}"
    );
}
