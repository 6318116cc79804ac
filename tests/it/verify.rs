//! `packmill verify` of a corpus: what is wrong, where, and the exit code.

use crate::corpus::{Corpus, SMALL, chats, gzip, report, zstd_frames};
use serde_json::Value;
use std::process::Output;

fn verify(corpus: &Corpus, arguments: &[&str]) -> Output {
    let mut command = corpus.packmill(&["verify"]);
    command.args(arguments).output().unwrap()
}

/// The answer of one that found something.
fn wrong(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("have something wrong"), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Three shards: plain with two bad lines, gzip cut short, zstd as it should be.
fn corpus() -> Corpus {
    let corpus = Corpus::new();
    let mut lines: Vec<String> = chats(30).lines().map(str::to_owned).collect();
    lines.insert(7, "{\"messages\": [".to_owned());
    lines.insert(9, String::new());
    lines.insert(20, "{\"text\": \"another shape\"}".to_owned());
    std::fs::create_dir(corpus.path("data")).unwrap();
    corpus.write("data/a.jsonl", lines.join("\n").as_bytes());
    let cut = gzip(&chats(40));
    corpus.write("data/b.jsonl.gz", &cut[..cut.len() - 9]);
    corpus.write("data/c.jsonl.zst", &zstd_frames(&chats(50), 10));
    corpus.write("data/notes.txt", b"no shard");
    let recipe = format!(
        "tokenizer: tokenizer\nsources:\n  - name: chats\n    paths: [\"data/*.jsonl*\"]\n{SMALL}\n"
    );
    corpus.write("recipe.yaml", recipe.as_bytes());
    corpus
}

#[test]
fn of_a_recipe_and_of_a_folder_finds_everything_with_its_place() {
    let corpus = corpus();
    let text = std::fs::read_to_string(corpus.path("data/a.jsonl")).unwrap();
    let seventh: usize = text.split_inclusive('\n').take(7).map(str::len).sum();
    for path in ["recipe.yaml", "data"] {
        let answer = wrong(&verify(&corpus, &[path, "--json"]));
        assert_eq!(answer["wrong_shards"], 2, "{answer}");
        let shards = answer["shards"].as_array().unwrap();
        let figures: Vec<(&str, u64, u64)> = shards
            .iter()
            .map(|shard| {
                let number = |key: &str| shard[key].as_u64().unwrap();
                (
                    shard["shard"].as_str().unwrap(),
                    number("records"),
                    number("bad"),
                )
            })
            .collect();
        assert_eq!(figures[0], ("a.jsonl", 32, 2), "{path}");
        assert_eq!((figures[1].0, figures[1].2), ("b.jsonl.gz", 1), "{path}");
        assert_eq!(figures[2], ("c.jsonl.zst", 50, 0), "{path}");
        let first = &shards[0]["findings"][0];
        assert_eq!(
            (&first["record"], &first["byte"]),
            (&7.into(), &seventh.into())
        );
        assert_eq!(shards[0]["findings"][1]["record"], 20);
        let cut = &shards[1]["findings"][0];
        assert!(
            cut["error"].as_str().unwrap().contains("cut short"),
            "{cut}"
        );
        assert_eq!(cut["kind"], "corrupt");
    }
    let said = verify(&corpus, &["recipe.yaml"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("a.jsonl: record 7: "), "{said}");
    assert!(said.contains(" of the text)"), "{said}");
    assert!(said.contains("c.jsonl.zst: 50 records\n"), "{said}");
}

#[test]
fn of_what_is_sound_says_how_much_there_is() {
    let corpus = corpus();
    std::fs::remove_file(corpus.path("data/a.jsonl")).unwrap();
    std::fs::remove_file(corpus.path("data/b.jsonl.gz")).unwrap();
    for path in ["recipe.yaml", "data", "data/c.jsonl.zst"] {
        let answer = report(&verify(&corpus, &[path, "--json"]));
        assert_eq!(
            (&answer["records"], &answer["wrong_shards"]),
            (&50.into(), &0.into())
        );
        let bytes = &answer["shards"][0]["text_bytes"];
        assert_eq!(bytes, &Value::from(chats(50).len()), "{path}");
    }
}

/// With a recipe a record is rendered and masked too, within the recipe's limits; and each source's faults are its own.
#[test]
fn of_a_recipe_goes_as_far_as_a_stream_does() {
    let corpus = Corpus::with_chats(30);
    let raising =
        "{% if messages[0].content == 'Record 7.' %}{{ raise_exception('not seven') }}{% endif %}";
    let template = format!("{raising}{}", crate::corpus::TEMPLATE);
    corpus.write("raising.jinja", template.as_bytes());
    let recipe = "tokenizer: tokenizer
template: raising.jinja
sources:
  - {name: none, paths: [nothing.jsonl]}
  - {name: chats, paths: [chats.jsonl]}
limits: {line_bytes: 1KiB}
";
    corpus.write("recipe.yaml", recipe.as_bytes());
    let answer = wrong(&verify(&corpus, &["recipe.yaml", "--json"]));
    let missing = answer["shards"][0]["findings"][0]["error"]
        .as_str()
        .unwrap();
    assert!(missing.contains("nothing.jsonl"), "{answer}");
    let findings = answer["shards"][1]["findings"].as_array().unwrap();
    let said: Vec<&str> = findings
        .iter()
        .map(|f| f["error"].as_str().unwrap())
        .collect();
    assert!(
        said.iter()
            .any(|said| said.contains("record 7: ") && said.contains("not seven")),
        "{said:?}"
    );
    assert_eq!(answer["shards"][1]["records"], 30);
    // The shard alone is sound.
    report(&verify(&corpus, &["chats.jsonl", "--json"]));
}

#[test]
fn of_an_edited_shard_names_its_index() {
    let corpus = corpus();
    let index = corpus.packmill(&["index", "only.yaml"]);
    let recipe = std::fs::read_to_string(corpus.path("recipe.yaml")).unwrap();
    corpus.write(
        "only.yaml",
        recipe.replace("*.jsonl*", "c.jsonl.zst").as_bytes(),
    );
    let mut index = index;
    assert!(index.output().unwrap().status.success());
    report(&verify(&corpus, &["data/c.jsonl.zst", "--json"]));
    corpus.write("data/c.jsonl.zst", &zstd_frames(&chats(51), 10));
    let answer = wrong(&verify(&corpus, &["data/c.jsonl.zst", "--json"]));
    let said = answer["shards"][0]["findings"][0]["error"]
        .as_str()
        .unwrap();
    assert!(said.contains("changed since it was indexed"), "{said}");
}

#[test]
fn of_what_is_not_there() {
    let corpus = corpus();
    for (path, says) in [
        ("nothing.jsonl", "nothing.jsonl"),
        ("nothing.yaml", "nothing.yaml"),
        ("tokenizer", "checkpoint"),
    ] {
        let output = verify(&corpus, &[path]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && error.contains(says),
            "{path}: {error}"
        );
    }
    let output = verify(&corpus, &["recipe.yaml", "--recipe", "recipe.yaml"]);
    assert_eq!(output.status.code(), Some(2));
}
