//! The command line: exit codes, `--json`, files written.

use crate::corpus::{Corpus, SMALL, TEMPLATE, holds_no_file};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn command(corpus: &Corpus, args: &[&str]) -> Command {
    corpus.packmill(args)
}

fn packmill(corpus: &Corpus, args: &[&str]) -> Output {
    command(corpus, args).output().unwrap()
}

fn with_recipe(n: usize, more: &str) -> Corpus {
    let corpus = Corpus::with_chats(n);
    let text = format!(
        "version: 1\ntokenizer: tokenizer\nsources:\n  - name: chats\n    paths: [\"chats.jsonl\"]\n{SMALL}\n{more}\n"
    );
    corpus.write("recipe.yaml", text.as_bytes());
    corpus
}

fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn stream_json_has_every_figure() {
    let corpus = with_recipe(200, "");
    let output = packmill(&corpus, &["stream", "recipe.yaml", "--json"]);
    let json: serde_json::Value =
        serde_json::from_str(stdout(&output).lines().last().unwrap()).unwrap();
    assert_eq!(json["ending"], "exhausted");
    for key in [
        "rows",
        "steps",
        "tokens",
        "supervised_tokens",
        "padding_tokens",
        "density",
        "load_s",
        "elapsed_s",
        "tokens_per_s",
        "time_to_first_batch_s",
        "peak_rss_bytes",
        "peak_anon_bytes",
        "digest",
        "ledger",
        "tokenizer",
    ] {
        assert!(!json[key].is_null(), "{key} is missing");
    }
    let number = |key: &str| json[key].as_u64().unwrap();
    assert_eq!(
        number("tokens") + number("padding_tokens"),
        number("rows") * 512
    );
    assert_eq!(json["digest"].as_str().unwrap().len(), 32);
}

#[test]
fn one_record_in_so_many_is_compared_with_the_reference() {
    let corpus = Corpus::with_chats(90);
    let stream = |engine: &str, more: &str| {
        let text = format!(
            "version: 1\ntokenizer: {{path: tokenizer, engine: {engine}}}\nsources:\n  - name: chats\n    paths: [\"chats.jsonl\"]\n{SMALL}\n{more}\n"
        );
        corpus.write("recipe.yaml", text.as_bytes());
        let output = packmill(&corpus, &["stream", "recipe.yaml", "--json"]);
        serde_json::from_str::<serde_json::Value>(&stdout(&output)).unwrap()
    };
    let plain = stream("fast", "");
    for (engine, more, compared) in [
        ("fast", "tokenizer_check: 1", 90),
        ("fast", "tokenizer_check: 3", 30),
        // The reference beside itself.
        ("reference", "tokenizer_check: 1", 0),
    ] {
        let checked = stream(engine, more);
        assert_eq!(
            checked["tokenizer"]["texts_checked"], compared,
            "{engine}, {more}"
        );
        assert_eq!(checked["digest"], plain["digest"]);
    }
    assert_eq!(plain["tokenizer"]["texts_checked"], 0);
    assert_eq!(plain["tokenizer"]["texts_before_ready"], 0);
}

#[test]
fn stream_output_writes_safetensors_and_no_partial_file() {
    let corpus = with_recipe(60, "");
    stdout(&packmill(
        &corpus,
        &["stream", "recipe.yaml", "--output", "out", "--json"],
    ));
    let folder = corpus.path("out/rank-00000");
    let first = std::fs::read(folder.join("step-00000000-00.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&first).unwrap();
    assert_eq!(tensors.tensor("input_ids").unwrap().shape(), [4, 512]);
    assert_eq!(tensors.tensor("labels").unwrap().shape(), [4, 512]);
    for name in [
        "position_ids",
        "segment_ids",
        "cu_seqlens",
        "segment_lengths",
        "provenance",
    ] {
        tensors.tensor(name).unwrap();
    }
    // R6: a mask of ones beside packed rows would switch the models' own segment detection off.
    assert!(
        !tensors
            .names()
            .iter()
            .any(|name| name.contains("attention_mask"))
    );
    let (_, header) = safetensors::SafeTensors::read_metadata(&first).unwrap();
    let metadata = header.metadata().clone().unwrap();
    assert!(metadata["num_label_tokens"].parse::<u64>().unwrap() > 0);
    for entry in std::fs::read_dir(&folder).unwrap() {
        assert!(
            entry
                .unwrap()
                .file_name()
                .to_string_lossy()
                .ends_with(".safetensors")
        );
    }
}

#[test]
fn stream_output_refuses_a_folder_with_steps_of_another_run() {
    let corpus = with_recipe(60, "");
    let arguments = ["stream", "recipe.yaml", "--output", "out", "--steps", "1"];
    stdout(&packmill(&corpus, &arguments));
    let again = packmill(&corpus, &arguments);
    assert_eq!(again.status.code(), Some(2));
    let text = stderr(&again);
    assert!(
        text.contains("rank-00000") && text.contains("another --output"),
        "{text}"
    );
    std::fs::remove_dir_all(corpus.path("out/rank-00000")).unwrap();
    std::fs::write(corpus.path("out/notes.txt"), "kept").unwrap();
    stdout(&packmill(&corpus, &arguments));
}

#[test]
fn a_batch_that_no_machine_has_memory_for_is_an_error_before_streaming() {
    let corpus = with_recipe(5, "prefetch: 65536");
    let recipe = std::fs::read_to_string(corpus.path("recipe.yaml")).unwrap();
    let recipe = recipe
        .replace("rows: 4", "rows: 500000")
        .replace("sequence_length: 512", "sequence_length: 4096");
    corpus.write("recipe.yaml", recipe.as_bytes());
    let output = packmill(&corpus, &["stream", "recipe.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    for part in ["batch.rows", "sequence_length", "32768000000 bytes"] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    assert!(output.stdout.is_empty());
}

/// Every way to make the binary write to standard output.
const WRITING: [&[&str]; 15] = [
    &["check", "recipe.yaml"],
    &["check", "recipe.yaml", "--json"],
    &["check", "--schema"],
    &["stream", "recipe.yaml"],
    &["stream", "recipe.yaml", "--json"],
    &["samples", "recipe.yaml"],
    &["inspect", "recipe.yaml"],
    &["bench", "recipe.yaml"],
    &["bench", "recipe.yaml", "--json"],
    &["demo"],
    &["demo", "--json"],
    &["completions", "bash"],
    &["--help"],
    &["stream", "--help"],
    &["--version"],
];

#[test]
fn a_reader_that_went_away_ends_every_command_quietly() {
    let corpus = with_recipe(200, "");
    for arguments in WRITING {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(&corpus, arguments).stdout(writer).output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {text}");
        assert!(!text.contains("error"), "{arguments:?}: {text}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_under_standard_output_is_an_error_of_every_command() {
    let corpus = with_recipe(200, "");
    for arguments in WRITING {
        let full = std::fs::File::create("/dev/full").unwrap();
        let output = command(&corpus, arguments).stdout(full).output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(
            text.contains("error: cannot write to stdout: No space left"),
            "{arguments:?}: {text}"
        );
    }
}

#[test]
#[cfg(target_os = "linux")]
fn standard_error_that_cannot_be_written_changes_no_exit_code() {
    let corpus = with_recipe(60, "");
    for (arguments, code) in [
        (["stream", "recipe.yaml"], 0),
        (["stream", "nowhere.yaml"], 2),
        (["stream", "--fast"], 2),
    ] {
        let full = std::fs::File::create("/dev/full").unwrap();
        let output = command(&corpus, &arguments).stderr(full).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn samples_names_the_file_that_it_cannot_write() {
    let corpus = with_recipe(60, "");
    for (file, verb) in [("/dev/full", "write to"), ("no/such/folder/x", "create")] {
        let output = packmill(&corpus, &["samples", "recipe.yaml", "--output", file]);
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(
            text.contains(&format!("cannot {verb} {file}: ")) && text.contains("--output"),
            "{text}"
        );
    }
}

/// A corpus whose records take some 20 ms each.
#[cfg(unix)]
fn slow(rows: usize) -> Corpus {
    let corpus = with_recipe(200, "");
    let recipe = std::fs::read_to_string(corpus.path("recipe.yaml")).unwrap();
    let recipe = recipe.replace("rows: 4", &format!("rows: {rows}"));
    corpus.write("recipe.yaml", recipe.as_bytes());
    let template = format!("{{% for i in range(40000) %}}{{% endfor %}}{TEMPLATE}");
    corpus.write("tokenizer/chat_template.jinja", template.as_bytes());
    corpus
}

#[cfg(unix)]
fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
}

/// Exit code and standard output of a process that must be gone at once: it has a quarter of a second, and
/// the machine that runs tests has much else to do.
#[cfg(unix)]
fn gone_at_once(mut child: Child) -> (Option<i32>, String) {
    let since = Instant::now();
    let mut text = String::new();
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if since.elapsed() > Duration::from_secs(2) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("still there two seconds after the interrupt");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    if let Some(mut out) = child.stdout {
        out.read_to_string(&mut text).unwrap();
    }
    (code, text)
}

#[test]
#[cfg(unix)]
fn an_interrupt_does_not_wait_for_the_next_batch() {
    // A batch takes some 80 s.
    let corpus = slow(4096);
    let mut child = command(
        &corpus,
        &["stream", "recipe.yaml", "--json", "--epochs", "1000"],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    // The pools are large for this corpus, which is said as soon as it is open.
    let mut line = String::new();
    let mut notes = BufReader::new(child.stderr.take().unwrap());
    notes.read_line(&mut line).unwrap();
    assert!(line.contains("warning"), "{line}");
    std::thread::sleep(Duration::from_millis(100));
    interrupt(&child);
    let (code, text) = gone_at_once(child);
    assert_eq!(code, Some(0));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["ending"], "interrupted");
    assert_eq!(report["rows"], 0);
}

#[test]
#[cfg(unix)]
fn an_interrupted_stream_reports_what_it_delivered() {
    let corpus = slow(1);
    let arguments = [
        "stream",
        "recipe.yaml",
        "--json",
        "--epochs",
        "1000",
        "--output",
        "out",
    ];
    let child = command(&corpus, &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let folder = corpus.path("out/rank-00000");
    let written = || std::fs::read_dir(&folder).map_or(0, Iterator::count);
    let since = Instant::now();
    while written() < 3 {
        assert!(since.elapsed() < Duration::from_secs(60), "nothing comes");
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&child);
    let (code, text) = gone_at_once(child);
    assert_eq!(code, Some(0));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["ending"], "interrupted");
    assert_eq!(report["rows"], written());
    let delivered = report["tokens"].as_u64().unwrap();
    assert!(delivered > 0 && delivered <= 512 * written() as u64);
}

#[test]
#[cfg(target_os = "linux")]
fn an_interrupt_before_the_stream_ends_the_process() {
    // Lengths are counted first, and of so many for longer than the test waits.
    let corpus = with_recipe(20_000, "plan: global");
    let child = command(&corpus, &["stream", "recipe.yaml"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let since = Instant::now();
    while holds_no_file(&corpus.cache()) {
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "nothing is counted"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    interrupt(&child);
    assert_eq!(gone_at_once(child), (Some(130), String::new()));
}

#[test]
fn samples_are_json_lines_in_corpus_order() {
    let corpus = with_recipe(30, "");
    let text = stdout(&packmill(
        &corpus,
        &["samples", "recipe.yaml", "--limit", "20"],
    ));
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 20);
    for (i, line) in lines.iter().enumerate() {
        assert_eq!(line["source"], "chats");
        assert_eq!(line["record"], i);
        assert_eq!(line["example"], 0);
        assert_eq!(
            line["input_ids"].as_array().unwrap().len(),
            line["labels"].as_array().unwrap().len()
        );
    }
}

#[test]
fn a_recipe_with_faults_reports_all_of_them_and_exits_with_2() {
    let corpus = with_recipe(5, "sed: 3\nprefetch: 0\nio: fast");
    let output = packmill(&corpus, &["stream", "recipe.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    for part in ["sed", "seed", "prefetch", "io"] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
}

#[test]
fn ten_faults_of_a_recipe_are_all_reported_at_once() {
    let corpus = with_recipe(5, "");
    corpus.write(
        "recipe.yaml",
        b"version: 2
seed: -1
tokenizer: tokenizer
sources:
  - name: chats
    pahts: [\"chats.jsonl\"]
    kind: chatty
mask: {train: asistant}
pack: {sequence_length: 0, overlong: cut}
batch: {rows: many}
lanes: 0
shuffle: yes
",
    );
    let output = packmill(&corpus, &["stream", "recipe.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    for fault in [
        "recipe.yaml:1: version",
        "recipe.yaml:2: seed",
        "recipe.yaml:6: sources[0].pahts",
        "recipe.yaml:7: sources[0].kind",
        "recipe.yaml:8: mask.train",
        "recipe.yaml:9: pack.sequence_length",
        "recipe.yaml:9: pack.overlong",
        "recipe.yaml:10: batch.rows",
        "recipe.yaml:11: lanes",
        "recipe.yaml:12: shuffle",
    ] {
        assert!(text.contains(fault), "{fault} is missing in: {text}");
    }
}

#[test]
fn a_bad_record_exits_with_1() {
    let corpus = with_recipe(5, "");
    corpus.write("chats.jsonl", b"{\"messages\": 3}\n");
    let output = packmill(&corpus, &["stream", "recipe.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("record 0"), "{}", stderr(&output));
}

#[test]
fn a_missing_recipe_and_a_wrong_flag_exit_with_2() {
    let corpus = Corpus::new();
    assert_eq!(
        packmill(&corpus, &["stream", "nowhere.yaml"]).status.code(),
        Some(2)
    );
    assert_eq!(
        packmill(&corpus, &["stream", "--fast"]).status.code(),
        Some(2)
    );
}

#[test]
fn check_estimates_and_prints_a_schema() {
    let corpus = with_recipe(200, "");
    let json: serde_json::Value = serde_json::from_str(&stdout(&packmill(
        &corpus,
        &["check", "recipe.yaml", "--json"],
    )))
    .unwrap();
    let estimate = &json["estimate"];
    let tokens = estimate["tokens"].as_f64().unwrap();
    let streamed: serde_json::Value = serde_json::from_str(
        stdout(&packmill(&corpus, &["stream", "recipe.yaml", "--json"])).trim(),
    )
    .unwrap();
    let real = streamed["tokens"].as_f64().unwrap();
    assert!(
        (tokens / real - 1.0).abs() < 0.1,
        "estimated {tokens}, streamed {real}"
    );
    let schema: serde_json::Value =
        serde_json::from_str(&stdout(&packmill(&corpus, &["check", "--schema"]))).unwrap();
    assert!(schema["properties"]["pack"].is_object());
}

#[test]
fn inspect_shows_what_is_trained() {
    let corpus = with_recipe(60, "");
    let text = stdout(&packmill(&corpus, &["inspect", "recipe.yaml"]));
    assert!(text.contains("segment"), "{text}");
    assert!(!text.contains('\u{1b}'), "colours where no terminal is");
}

#[test]
fn bench_names_the_slowest_stage() {
    let corpus = with_recipe(100, "");
    let text = stdout(&packmill(&corpus, &["bench", "recipe.yaml"]));
    assert!(
        text.contains("tokenize") && text.contains("slowest"),
        "{text}"
    );
}

#[test]
fn demo_streams_what_it_wrote() {
    let corpus = Corpus::new();
    let output = packmill(&corpus, &["demo", "here", "--json"]);
    let json: serde_json::Value =
        serde_json::from_str(stdout(&output).lines().last().unwrap()).unwrap();
    assert!(json["rows"].as_u64().unwrap() > 10);
    packmill::Recipe::load(corpus.path("here/recipe.yaml")).unwrap();
    let checked = packmill(&corpus, &["check", "here/recipe.yaml", "--json"]);
    let checked: serde_json::Value = serde_json::from_str(&stdout(&checked)).unwrap();
    let tokens = checked["estimate"]["tokens"].as_f64().unwrap();
    let real = json["tokens"].as_f64().unwrap();
    assert!(
        (tokens / real - 1.0).abs() < 0.2,
        "estimated {tokens}, streamed {real}"
    );
}

#[test]
fn completions_for_shells() {
    let corpus = Corpus::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&packmill(&corpus, &["completions", shell])).contains("packmill"));
    }
}
