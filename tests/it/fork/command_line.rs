//! From the command line.

use super::*;
use crate::corpus::{refused, report};

const RECIPE: &str = "version: 1\ntokenizer: tokenizer\nsources:\n  - name: chats\n    paths: [\"chats.jsonl\"]\npack: {sequence_length: 256, lookahead: 8, overlong: split}\nbatch: {rows: 1}\nlanes: 4\nworkers: 2\n";

/// Twenty steps of two ranks, saved in `ck`.
fn saved() -> Corpus {
    let corpus = Corpus::with_chats(200);
    corpus.write("recipe.yaml", RECIPE.as_bytes());
    for rank in ["0", "1"] {
        let arguments = format!(
            "stream recipe.yaml --json --steps 20 --rank {rank} --world-size 2 --checkpoint ck --checkpoint-every 10"
        );
        report(&run(&corpus, &arguments));
    }
    corpus
}

fn run(corpus: &Corpus, arguments: &str) -> Output {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    corpus.packmill(&arguments).output().unwrap()
}

#[test]
fn an_unchanged_recipe_gives_the_uninterrupted_stream() {
    let corpus = saved();
    let alone = report(&run(&corpus, "stream recipe.yaml --json --steps 100"));
    let answer = report(&run(
        &corpus,
        "fork ck --recipe recipe.yaml --output new --json",
    ));
    assert_eq!((&answer["step"], &answer["rows"]), (&20.into(), &40.into()));
    assert_eq!(answer["differences"], Value::Array(Vec::new()));
    assert_eq!(answer["from"], answer["to"]);
    assert!(
        corpus
            .path("new/step-00000020/rank-00000-of-00001.json")
            .is_file()
    );
    let on = report(&run(
        &corpus,
        "stream recipe.yaml --json --steps 80 --resume new",
    ));
    assert_eq!(
        (&on["digest"], &on["ledger"]),
        (&alone["digest"], &alone["ledger"])
    );
    let error = refused(&run(&corpus, "fork ck --recipe recipe.yaml --output new"));
    assert!(error.contains("holds checkpoints already"), "{error}");
}

#[test]
fn both_fingerprints_stay_for_good() {
    let corpus = saved();
    corpus.write("longer.yaml", RECIPE.replace("256", "512").as_bytes());
    let answer = report(&run(
        &corpus,
        "fork ck --recipe longer.yaml --output new --json",
    ));
    assert!(answer["refitted"].as_u64().unwrap() > 0);
    // The old recipe is another stream now, and the new one goes on, on any number of ranks.
    let error = refused(&run(
        &corpus,
        "stream recipe.yaml --json --steps 30 --resume new",
    ));
    assert!(error.contains("pack.sequence_length"), "{error}");
    for rank in 0..4 {
        let arguments = format!(
            "stream longer.yaml --json --steps 30 --rank {rank} --world-size 4 --resume new --checkpoint new --checkpoint-every 10"
        );
        report(&run(&corpus, &arguments));
    }
    let verify = report(&run(&corpus, "verify new --json --recipe longer.yaml"));
    assert_eq!(verify["step"], 30);
    assert_eq!(verify["fingerprint"], answer["to"]);
    let [fork] = verify["history"].as_array().unwrap().as_slice() else {
        panic!("{verify}")
    };
    assert_eq!((&fork["step"], &fork["rows"]), (&20.into(), &40.into()));
    assert_eq!(fork["fingerprint"], answer["from"]);
    assert_eq!(fork["changes"], answer["differences"]);
    let said = run(&corpus, "verify new");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains("forked at step 20") && said.contains("256"),
        "{said}"
    );
}

#[test]
fn what_may_not_change_is_refused_by_name() {
    let corpus = saved();
    let weighted = RECIPE.replace("[\"chats.jsonl\"]", "[\"chats.jsonl\"]\n    weight: 1");
    let another = RECIPE.replace(
        "pack:",
        "  - name: more\n    paths: [\"chats.jsonl\"]\npack:",
    );
    for (text, named) in [
        (RECIPE.replace("lanes: 4", "lanes: 8"), "lanes"),
        (format!("{RECIPE}seed: 18\n"), "seed"),
        (format!("{RECIPE}shuffle: false\n"), "shuffle"),
        (format!("{RECIPE}seed: 18\nshuffle: false\n"), "seed"),
        (weighted, "weights in the recipe and none in the checkpoint"),
        (another, "sources only in the recipe: more"),
        (
            RECIPE.replace("name: chats", "name: talks"),
            "sources only in the checkpoint: chats",
        ),
        (RECIPE.replace("paths:", "limit: 150\n    paths:"), "limit"),
    ] {
        corpus.write("other.yaml", text.as_bytes());
        let error = refused(&run(&corpus, "fork ck --recipe other.yaml --output new"));
        assert!(error.contains(named), "{named}: {error}");
        assert!(!corpus.path("new").exists());
    }
    corpus.write(
        "chats.jsonl",
        chats(200).replacen("tea", "sea", 1).as_bytes(),
    );
    let error = refused(&run(&corpus, "fork ck --recipe recipe.yaml --output new"));
    assert!(error.contains("source chats: shard 0 differs"), "{error}");
}

#[test]
fn epochs_may_change_until_a_lane_has_ended_and_never_below_what_has_begun() {
    let corpus = Corpus::with_chats(40);
    corpus.write("recipe.yaml", RECIPE.as_bytes());
    let go = |arguments: &str| run(&corpus, &format!("stream recipe.yaml --json {arguments}"));
    let begun = report(&go(
        "--steps 60 --epochs 9 --checkpoint ck --checkpoint-every 60",
    ));
    assert_eq!(begun["rows"], 60);
    let error = refused(&go("--epochs 1 --resume ck"));
    assert!(
        error.contains("has begun") && error.contains("epochs of at least"),
        "{error}"
    );
    let alone = report(&go("--epochs 3"));
    let rows = alone["rows"].as_u64().unwrap();
    let on = report(&go("--epochs 3 --resume ck"));
    assert_eq!(
        (&on["digest"], &on["ledger"]),
        (&alone["digest"], &alone["ledger"])
    );
    // Once lanes have ended the length stays.
    let near = format!(
        "--epochs 3 --steps {} --checkpoint late --checkpoint-every 1",
        rows - 1
    );
    report(&go(&near));
    let error = refused(&go("--epochs 4 --resume late"));
    assert!(error.contains("give epochs: 3"), "{error}");
    let error = refused(&go(&format!("--steps {} --resume late", rows + 9)));
    assert!(error.contains("has ended"), "{error}");
    let end = report(&go("--epochs 3 --resume late"));
    assert_eq!(end["digest"], alone["digest"]);
    let error = refused(&run(&corpus, "fork late --recipe recipe.yaml --output new"));
    assert!(error.contains("lanes have ended"), "{error}");
}

#[test]
fn peers_of_a_layout_get_the_same_rows_and_one_of_them_writes() {
    let corpus = Corpus::with_chats(200);
    corpus.write("recipe.yaml", RECIPE.as_bytes());
    let go = |rank: u32, more: &str| {
        run(
            &corpus,
            &format!(
                "stream recipe.yaml --json --steps 5 --layout pp=2,dp=2,tp=2 --rank {rank}{more}"
            ),
        )
    };
    let digests: Vec<Value> = (0..8)
        .map(|rank| {
            report(&go(
                rank,
                " --output out --checkpoint ck --checkpoint-every 5",
            ))["digest"]
                .clone()
        })
        .collect();
    for number in [0, 1] {
        let own = run(
            &corpus,
            &format!("stream recipe.yaml --json --steps 5 --rank {number} --world-size 2"),
        );
        let own = report(&own)["digest"].clone();
        // Coordinates: pp, dp, tp.
        for peer in [0, 1, 4, 5] {
            assert_eq!(digests[peer + 2 * number], own, "peer {peer} of {number}");
        }
    }
    let files = std::fs::read_dir(corpus.path("ck/step-00000005")).unwrap();
    assert_eq!(files.count(), 2);
    assert_eq!(std::fs::read_dir(corpus.path("out")).unwrap().count(), 2);
    report(&go(3, " --world-size 8"));
    for (more, named) in [
        (" --world-size 2", "has 8 ranks"),
        (" --world-size 0", "has 8 ranks"),
    ] {
        let error = refused(&go(3, more));
        assert!(error.contains(named), "{error}");
    }
    assert!(refused(&go(8, "")).contains("from 0 to 7"));
    let error = refused(&run(
        &corpus,
        "stream recipe.yaml --rank 0 --layout dp=2,ttp=2",
    ));
    assert!(error.contains("did you mean tp"), "{error}");
}
