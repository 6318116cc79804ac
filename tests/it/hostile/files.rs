//! What is no shard, no tokenizer and no recipe.

use super::{refused, stream};
use crate::corpus::{Corpus, SMALL, refused as refuses};
use packmill::{Kind, Recipe};
use std::path::Path;
use std::process::Command;

#[test]
fn a_pipe_or_a_folder_in_a_glob() {
    let corpus = Corpus::with_chats(50);
    // A folder is no shard: what lies in it was not asked for.
    std::fs::create_dir(corpus.path("folder.jsonl")).unwrap();
    let progress = stream(&corpus, corpus.recipe("*.jsonl", SMALL)).unwrap();
    assert_eq!(progress.ledger.sources[0].1.records.taken, 50);
    let error = refused(&corpus, "folder.jsonl", "");
    assert!(error.to_string().contains("folder.jsonl"), "{error}");
    // To open a pipe would wait for its writer.
    let made = Command::new("mkfifo")
        .arg(corpus.path("pipe.jsonl"))
        .status()
        .unwrap();
    assert!(made.success());
    for paths in ["*.jsonl", "pipe.jsonl"] {
        let error = refused(&corpus, paths, "");
        assert_eq!(error.kind(), Kind::Recipe, "{error}");
        assert_eq!(error.shard(), Some("pipe.jsonl"), "{error}");
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
}

#[test]
fn a_tokenizer_that_is_none() {
    let corpus = Corpus::with_chats(5);
    let path = corpus.path("tokenizer/tokenizer.json");
    let good = std::fs::read(&path).unwrap();
    let mut broken: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"\x80\x03not a tokenizer\xff".to_vec(),
        b"{}".to_vec(),
        b"[]".to_vec(),
        b"null".to_vec(),
        br#"{"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": ["a b"]}}"#.to_vec(),
        br#"{"version": "1.0", "model": {"type": "none of these"}}"#.to_vec(),
        "[".repeat(100_000).into_bytes(),
    ];
    broken.extend((1..8).map(|part| good[..good.len() * part / 8].to_vec()));
    for file in broken {
        std::fs::write(&path, &file).unwrap();
        let error = refused(&corpus, "chats.jsonl", "");
        let shown = String::from_utf8_lossy(&file[..file.len().min(40)]).into_owned();
        assert_eq!(error.kind(), Kind::Tokenizer, "{shown}: {error}");
        assert!(
            error.to_string().contains("tokenizer.json"),
            "{shown}: {error}"
        );
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let error = refused(&corpus, "chats.jsonl", "");
    assert!(error.to_string().contains("tokenizer"), "{error}");
}

/// To open a pipe would wait for its writer, whatever it is named for.
#[test]
fn a_pipe_in_the_place_of_a_tokenizer_or_a_template() {
    for name in [
        "tokenizer/tokenizer_config.json",
        "tokenizer/chat_template.jinja",
        "own.jinja",
    ] {
        let corpus = Corpus::with_chats(5);
        let _ = std::fs::remove_file(corpus.path(name));
        let made = Command::new("mkfifo").arg(corpus.path(name)).status();
        assert!(made.unwrap().success());
        let own = if name.starts_with("own") {
            "template: own.jinja"
        } else {
            ""
        };
        let error = refused(&corpus, "chats.jsonl", own).to_string();
        assert!(
            error.contains("not a regular file") && error.contains(name),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_recipe_with_ten_faults_names_all_ten() {
    let text = "version: 2
seed: -1
tokenizer: \"\"
sources:
  - name: a
    paths: []
  - name: a
    paths: [b.jsonl]
    limit: 0
pack: {sequence_lenght: 4096, overlong: cut}
batch: {rows: none}
lanes: 0
limits: {line_bytes: 1, nesting: 1000000}
shuffle: yes
";
    let faults = Recipe::parse(text, Path::new("")).unwrap_err();
    let said = faults.to_string();
    for path in [
        "version",
        "seed",
        "tokenizer.path",
        "sources[0].paths",
        "sources[1].limit",
        "pack.sequence_lenght",
        "pack.overlong",
        "batch.rows",
        "lanes",
        "limits.line_bytes",
        "limits.nesting",
        "shuffle",
    ] {
        let lines = said
            .lines()
            .filter(|line| line.contains(&format!("{path}: ")));
        assert!(lines.count() >= 1, "{path} is missing in:\n{said}");
    }
    let corpus = Corpus::new();
    corpus.write("recipe.yaml", text.as_bytes());
    let from_file = refuses(&corpus.packmill(&["check", "recipe.yaml"]).output().unwrap());
    assert!(from_file.lines().count() >= 12, "{from_file}");
}
