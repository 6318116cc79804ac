//! `recompress` and `index`: the same records in small frames, and what every block held.

use crate::corpus::{Corpus, SMALL, chats, gzip, zstd_frames};
use packmill::pipeline::Loader;
use std::process::{Command, Output};

fn packmill(corpus: &Corpus, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_packmill"))
        .args(args)
        .current_dir(corpus.dir.path())
        .env("PACKMILL_CACHE", corpus.cache())
        .output()
        .unwrap()
}

fn done(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn refused(output: &Output, code: i32, said: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(said), "{text}");
}

fn digest(corpus: &Corpus, paths: &str, more: &str) -> String {
    let recipe = corpus.recipe(paths, &format!("{SMALL}\n{more}"));
    let mut loader = Loader::builder(recipe)
        .cache(corpus.cache())
        .build()
        .unwrap();
    loader.by_ref().for_each(|batch| drop(batch.unwrap()));
    loader.progress().digest.to_string()
}

#[test]
fn recompressed_shards_give_the_same_held_stream() {
    let text = chats(300);
    let corpus = Corpus::new();
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    let (first, second) = (ends[99], ends[199]);
    corpus.write("a.jsonl", &text.as_bytes()[..first]);
    corpus.write("b.jsonl.gz", &gzip(&text[first..second]));
    corpus.write("c.jsonl.zst", &zstd_frames(text[second..].trim_end(), 1000));
    let shards = ["a.jsonl", "b.jsonl.gz", "c.jsonl.zst"];
    let args = ["--output", "small", "--frame-bytes", "4KiB", "--level", "5"];
    let said = done(&packmill(
        &corpus,
        &[&["recompress"], &shards[..], &args].concat(),
    ));
    for part in [
        "small/a.jsonl.zst: ",
        "small/b.jsonl.zst: ",
        "small/c.jsonl.zst: ",
        "small/*.zst",
    ] {
        assert!(said.contains(part), "{part} is missing in: {said}");
    }
    let texts = ["a", "b", "c"].map(|name| {
        let stored = std::fs::read(corpus.path(&format!("small/{name}.jsonl.zst"))).unwrap();
        zstd::decode_all(&stored[..]).unwrap()
    });
    assert_eq!(texts.concat(), text.trim_end().as_bytes());
    assert_eq!(std::fs::read_dir(corpus.path("small")).unwrap().count(), 3);
    let before = digest(&corpus, "?.jsonl*", "");
    assert_eq!(digest(&corpus, "small/*", ""), before);
    // What could not be streamed as it was can be now, and with an index is the same stream.
    let streamed = digest(&corpus, "small/*", "hold: 0");
    corpus.write(
        "recipe.yaml",
        b"tokenizer: tokenizer\nsources:\n  - {name: chats, paths: [\"small/*\"]}\n",
    );
    done(&packmill(&corpus, &["index", "recipe.yaml"]));
    assert_eq!(std::fs::read_dir(corpus.path("small")).unwrap().count(), 6);
    assert_eq!(digest(&corpus, "small/*", "hold: 0"), streamed);
    assert_eq!(digest(&corpus, "small/*", ""), before);
}

#[test]
fn recompress_refuses_to_overwrite() {
    let corpus = Corpus::with_chats(20);
    std::fs::create_dir(corpus.path("sub")).unwrap();
    std::fs::copy(corpus.path("chats.jsonl"), corpus.path("sub/chats.jsonl")).unwrap();
    let run = |args: &[&str]| packmill(&corpus, &[&["recompress"], args].concat());
    done(&run(&["chats.jsonl"]));
    refused(&run(&["chats.jsonl"]), 2, "--force");
    done(&run(&["chats.jsonl", "--force"]));
    refused(&run(&["chats.jsonl.zst"]), 2, "--output");
    refused(
        &run(&["chats.jsonl.zst", "--output", ".", "--force"]),
        2,
        "shard that is read",
    );
    // Another shard of the same call is no more to be overwritten.
    let both = ["chats.jsonl", "chats.jsonl.zst", "--output", ".", "--force"];
    refused(&run(&both), 2, "both be written");
    corpus.write("raw.jsonl", b"{}\n");
    std::os::unix::fs::symlink("../raw.jsonl", corpus.path("sub/chats.jsonl.zst")).unwrap();
    let both = ["chats.jsonl", "raw.jsonl", "--output", "sub", "--force"];
    refused(&run(&both), 2, "shard that is read");
    refused(
        &run(&["chats.jsonl", "sub/chats.jsonl", "--output", "new"]),
        2,
        "both be written",
    );
    assert!(!corpus.path("new").exists());
    for wrong in [
        ["--frame-bytes", "0"],
        ["--frame-bytes", "many"],
        ["--level", "40"],
    ] {
        refused(
            &run(&[&["chats.jsonl", "--output", "new"], &wrong[..]].concat()),
            2,
            "",
        );
    }
    refused(&run(&["nowhere.jsonl"]), 1, "nowhere.jsonl");
    assert_eq!(
        std::fs::read(corpus.path("chats.jsonl")).unwrap(),
        chats(20).as_bytes()
    );
}

#[test]
fn index_is_the_same_twice_and_names_an_edited_block() {
    let corpus = Corpus::new();
    let text = chats(200);
    // Larger than what is looked at when a shard is found.
    let more = format!("{text}{text}{text}");
    corpus.write("x.jsonl.zst", &zstd_frames(&more, 50));
    corpus.write("y.jsonl", more.as_bytes());
    corpus.write(
        "recipe.yaml",
        b"tokenizer: tokenizer\nsources:\n  - {name: chats, paths: [\"?.jsonl*\"]}\n",
    );
    let index = |args: &[&str]| packmill(&corpus, &[&["index", "recipe.yaml"], args].concat());
    let read = || {
        ["x.jsonl.zst", "y.jsonl"]
            .map(|name| std::fs::read(corpus.path(&format!("{name}.packmill.json"))).unwrap())
    };
    let said = String::from_utf8(index(&["--check"]).stdout).unwrap();
    assert!(said.contains("has no index"), "{said}");
    let said = done(&index(&[]));
    assert!(
        said.contains("x.jsonl.zst.packmill.json: 600 records in 12 blocks"),
        "{said}"
    );
    let first = read();
    done(&index(&[]));
    assert_eq!(read(), first);
    done(&index(&["--check"]));

    let size = more.len();
    assert!(size > 140_000, "{size}");
    let mut edited = more.into_bytes();
    edited[70_000] ^= 1;
    corpus.write("y.jsonl", &edited);
    let output = index(&["--check"]);
    refused(&output, 1, "1 of 2 shards");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("y.jsonl: read: the shard changed since it was indexed: block 0 "),
        "{said}"
    );

    // In the cache it is found by what the file is now.
    for name in ["x.jsonl.zst", "y.jsonl"] {
        std::fs::remove_file(corpus.path(&format!("{name}.packmill.json"))).unwrap();
    }
    done(&index(&["--cache"]));
    done(&index(&["--check"]));
    assert!(!corpus.path("y.jsonl.packmill.json").exists());
}

#[test]
fn a_stream_stops_at_an_edited_block() {
    let corpus = Corpus::new();
    let mut text = chats(200).repeat(120).into_bytes();
    assert!(text.len() > 5 << 20, "{}", text.len());
    corpus.write("x.jsonl", &text);
    let recipe = |hold: &str| {
        let small = SMALL.replace("lanes: 4", "lanes: 1");
        let text = format!(
            "tokenizer: tokenizer\nshuffle: false\nhold: {hold}\nsources:\n  - {{name: chats, paths: [\"*.jsonl*\"]}}\n{small}\n"
        );
        corpus.write("recipe.yaml", text.as_bytes());
    };
    recipe("0");
    done(&packmill(&corpus, &["index", "recipe.yaml"]));
    // In the second MiB, in the middle of a word of an answer.
    let at = (5 << 18)
        + text[5 << 18..]
            .windows(4)
            .position(|word| word == b"snow")
            .unwrap();
    text[at] = b'S';
    corpus.write("x.jsonl", &text);
    let stream = || packmill(&corpus, &["stream", "recipe.yaml", "--json"]);
    let named = "the shard changed since it was indexed: block 1 ";
    let streamed = stream();
    refused(&streamed, 1, named);
    let figures: serde_json::Value = serde_json::from_slice(&streamed.stdout).unwrap();
    let rows = figures["rows"].as_u64().unwrap();
    assert!(rows > 0 && rows * 512 < 1 << 20, "{rows}");
    recipe("1GiB");
    let held = stream();
    refused(&held, 1, named);
    assert!(held.stdout.is_empty());
    // Without the index nobody could know.
    std::fs::remove_file(corpus.path("x.jsonl.packmill.json")).unwrap();
    recipe("0");
    done(&packmill(
        &corpus,
        &["stream", "recipe.yaml", "--json", "--steps", "3"],
    ));
}
