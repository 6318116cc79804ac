//! The command line: exit codes, `--json`, files written.

use crate::corpus::{Corpus, SMALL};
use std::process::{Command, Output};

fn packmill(corpus: &Corpus, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_packmill"))
        .args(args)
        .current_dir(corpus.dir.path())
        .env("PACKMILL_CACHE", corpus.cache())
        .output()
        .unwrap()
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
