//! Checkpoints from the command line: ranks, resume, refusals.

use crate::corpus::{self, Corpus, chats};
use serde_json::Value;

const RECIPE: &str = "version: 1\ntokenizer: {path: tokenizer, engine: fast}\nsources:\n  - name: chats\n    paths: [\"chats.jsonl\"]\npack: {sequence_length: 512, lookahead: 8}\nbatch: {rows: 1}\nlanes: 4\nworkers: 2\n";

fn corpus() -> Corpus {
    let corpus = Corpus::new();
    corpus.write("chats.jsonl", chats(200).as_bytes());
    corpus.write("recipe.yaml", RECIPE.as_bytes());
    corpus
}

fn report(corpus: &Corpus, arguments: &str) -> Value {
    corpus::report(&corpus.stream(arguments))
}

fn refused(corpus: &Corpus, arguments: &str) -> String {
    corpus::refused(&corpus.stream(arguments))
}

/// Two ranks stream 21 steps; the newest checkpoint is that of step 20, row 40.
fn ranks(corpus: &Corpus) {
    for rank in [0, 1] {
        report(
            corpus,
            &format!(
                "recipe.yaml --steps 21 --rank {rank} --world-size 2 --checkpoint ck --checkpoint-every 10"
            ),
        );
    }
}

#[test]
fn goes_on_with_another_number_of_ranks() {
    let corpus = corpus();
    let alone = report(&corpus, "recipe.yaml --steps 100");
    ranks(&corpus);
    let one = report(
        &corpus,
        "recipe.yaml --steps 80 --resume ck --checkpoint ck --checkpoint-every 60",
    );
    assert_eq!(
        (one["steps"].as_u64(), one["rows"].as_u64()),
        (Some(60), Some(60))
    );
    assert_eq!(
        one["digest"], alone["digest"],
        "60 steps more are rows 40 to 99"
    );
    // The newest checkpoint is that of step 60, row 80.
    let parts: Vec<Value> = (0..4)
        .map(|rank| {
            report(
                &corpus,
                &format!("recipe.yaml --steps 65 --rank {rank} --world-size 4 --resume ck"),
            )
        })
        .collect();
    assert!(parts.iter().all(|part| part["rows"] == 5));
    let sum = parts.iter().fold(0_u128, |sum, part| {
        let digest = part["digest"].as_str().unwrap();
        sum.wrapping_add(u128::from_str_radix(digest, 16).unwrap())
    });
    assert_eq!(Value::from(format!("{sum:032x}")), alone["digest"]);
}

#[test]
fn another_stream_is_refused_by_name() {
    let corpus = corpus();
    ranks(&corpus);
    for (change, named) in [
        ("seed: 18\n", "seed"),
        ("mask: {train: all}\n", "mask.train"),
        ("shuffle: false\n", "shuffle"),
    ] {
        corpus.write("other.yaml", format!("{RECIPE}{change}").as_bytes());
        let error = refused(&corpus, "other.yaml --steps 80 --resume ck");
        assert!(error.contains(named), "{named}: {error}");
    }
    let template =
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}";
    corpus.write("other.jinja", template.as_bytes());
    corpus.write(
        "other.yaml",
        format!("{RECIPE}template: other.jinja\n").as_bytes(),
    );
    let error = refused(&corpus, "other.yaml --steps 80 --resume ck");
    assert!(error.contains("template"), "{error}");
    // Keys that change no row may change.
    let same = "prefetch: 9\nio: pread\non_bad_record: {skip: {max_fraction: 0.5}}\n";
    corpus.write("same.yaml", format!("{RECIPE}{same}").as_bytes());
    report(&corpus, "same.yaml --steps 41 --resume ck");
    // One character of the corpus.
    corpus.write(
        "chats.jsonl",
        chats(200).replacen("tea", "sea", 1).as_bytes(),
    );
    let error = refused(&corpus, "recipe.yaml --steps 80 --resume ck");
    assert!(error.contains("chats"), "{error}");
}

/// An index says at once that a shard is another, wherever it was edited.
#[test]
fn a_shard_that_is_not_what_its_index_says_is_refused_at_open() {
    let corpus = corpus();
    let indexed = corpus.packmill(&["index", "recipe.yaml"]).output().unwrap();
    assert!(indexed.status.success());
    ranks(&corpus);
    corpus.write(
        "chats.jsonl",
        chats(200).replacen("tea", "sea", 1).as_bytes(),
    );
    let error = refused(&corpus, "recipe.yaml --steps 80 --resume ck");
    assert!(error.contains("since it was indexed"), "{error}");
    // Without a checkpoint it is the data that is wrong.
    let (_, code) = corpus::refusal(&corpus.stream("recipe.yaml --steps 80"));
    assert_eq!(code, Some(1));
}

/// Edits that neither size nor ends show are found when a pool is read again: rows flow by then.
#[test]
fn a_record_that_has_become_another_ends_the_run() {
    let corpus = Corpus::new();
    let text = chats(800);
    corpus.write("chats.jsonl", text.as_bytes());
    corpus.write("recipe.yaml", RECIPE.as_bytes());
    ranks(&corpus);
    // As many letters, and nothing that is trained.
    let line_end = |near: usize| {
        near + text.as_bytes()[near..]
            .iter()
            .position(|b| *b == b'\n')
            .unwrap()
    };
    let (from, to) = (line_end(70_000), line_end(text.len() - 70_000));
    let middle = text[from..to].replace("assistant", "developer");
    assert!(middle.len() > 70_000);
    let edited = [&text[..from], &middle, &text[to..]].concat();
    corpus.write("chats.jsonl", edited.as_bytes());
    let output = corpus.stream("recipe.yaml --steps 80 --resume ck");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("has become another"), "{error}");
    assert!(error.contains("restore it, or begin anew"), "{error}");
    assert_eq!(output.status.code(), Some(1), "{error}");
}

/// A step of another size moves whatever is counted in steps.
#[test]
fn another_size_of_a_step_is_said() {
    let corpus = corpus();
    ranks(&corpus);
    let said = |arguments: &str| {
        let output = corpus.stream(arguments);
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let one = said("recipe.yaml --steps 41 --resume ck");
    assert!(
        one.contains("a step has 1 rows from here on, and had 2 before"),
        "{one}"
    );
    let two = said("recipe.yaml --steps 41 --resume ck --world-size 2 --rank 1");
    assert!(!two.contains("a step has"), "{two}");
}

/// All rows in a folder of batches, by rank and file.
fn written(corpus: &Corpus, folder: &str) -> Vec<String> {
    let mut all = Vec::new();
    for rank in std::fs::read_dir(corpus.path(folder)).unwrap().flatten() {
        for file in std::fs::read_dir(rank.path()).unwrap().flatten() {
            let file = file.path();
            let name = file.strip_prefix(corpus.path(folder)).unwrap();
            all.push(name.display().to_string());
        }
    }
    all.sort();
    all
}

#[test]
fn files_of_steps_that_come_again_do_not_stay() {
    let corpus = corpus();
    let write = "recipe.yaml --output out --checkpoint ck --checkpoint-every 4";
    let small = RECIPE.replace("rows: 1", "rows: 1, step_rows: 2");
    corpus.write("recipe.yaml", small.as_bytes());
    report(&corpus, &format!("{write} --steps 6"));
    assert_eq!(written(&corpus, "out").len(), 12);
    std::fs::write(
        corpus.path("out/rank-00000/step-00000005-01.safetensors.part"),
        "",
    )
    .unwrap();
    // A step of the same rows in one batch: from step 4 on no second one may be left.
    let large = RECIPE.replace("rows: 1", "rows: 2");
    corpus.write("recipe.yaml", large.as_bytes());
    report(&corpus, &format!("{write} --steps 7 --resume ck"));
    let expected = (0..4)
        .flat_map(|step| [(step, 0), (step, 1)])
        .chain((4..7).map(|step| (step, 0)))
        .map(|(step, micro)| format!("rank-00000/step-{step:08}-{micro:02}.safetensors"));
    assert_eq!(written(&corpus, "out"), expected.collect::<Vec<_>>());
    // What is refused removes nothing.
    corpus.write("other.yaml", format!("{large}seed: 18\n").as_bytes());
    refused(&corpus, "other.yaml --output out --steps 9 --resume ck");
    assert_eq!(written(&corpus, "out").len(), 11);
}

#[test]
fn files_of_ranks_that_are_no_more_are_refused() {
    let corpus = corpus();
    for rank in [0, 1] {
        report(
            &corpus,
            &format!(
                "recipe.yaml --steps 21 --rank {rank} --world-size 2 --output out --checkpoint ck --checkpoint-every 10"
            ),
        );
    }
    let error = refused(&corpus, "recipe.yaml --steps 45 --output out --resume ck");
    assert!(
        error.contains("rank-00001") && error.contains("step-00000020"),
        "{error}"
    );
    let rank = |rank| {
        format!("recipe.yaml --steps 22 --rank {rank} --world-size 2 --output out --resume ck")
    };
    report(&corpus, &rank(0));
    std::fs::remove_file(corpus.path("out/rank-00001/step-00000020-00.safetensors")).unwrap();
    report(&corpus, "recipe.yaml --steps 45 --output out --resume ck");
    assert_eq!(written(&corpus, "out").len(), 20 + 45);
}

/// What an earlier run left can make another step the newest while ranks start: so a launcher may name one.
#[test]
fn a_step_may_be_named() {
    let corpus = corpus();
    let alone = report(&corpus, "recipe.yaml --steps 60");
    ranks(&corpus);
    for (resume, step, rows) in [("ck", 20, 20), ("ck/step-00000010", 10, 40)] {
        let steps = step + rows;
        let output = corpus.stream(&format!("recipe.yaml --steps {steps} --resume {resume}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains(&format!("going on from step {step}, row {}", step * 2)),
            "{said}"
        );
        assert_eq!(
            corpus::report(&output)["digest"],
            alone["digest"],
            "{resume}"
        );
    }
    let output = corpus
        .packmill(&["verify", "ck/step-00000010", "--json"])
        .output()
        .unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["step"], 10);
    // It goes on in the same folder.
    report(
        &corpus,
        "recipe.yaml --steps 40 --resume ck/step-00000010 --checkpoint ck --checkpoint-every 10",
    );
    let error = refused(&corpus, "recipe.yaml --steps 60 --resume ck/step-00000011");
    assert!(error.contains("not complete"), "{error}");
}

#[test]
fn verify_says_whether_the_stream_is_still_the_same() {
    let corpus = corpus();
    ranks(&corpus);
    let verify = |recipe: &str| {
        corpus
            .packmill(&["verify", "ck", "--json", "--recipe", recipe])
            .output()
            .unwrap()
    };
    let same = verify("recipe.yaml");
    let answer: Value = serde_json::from_slice(&same.stdout).unwrap();
    assert_eq!((&answer["step"], &answer["rows"]), (&20.into(), &40.into()));
    assert_eq!(answer["differences"], Value::Array(Vec::new()));
    let made_by = answer["made_by"].as_str().unwrap();
    for part in [
        "packmill ",
        "fastokens ",
        "tokenizers ",
        std::env::consts::ARCH,
    ] {
        assert!(made_by.contains(part), "{made_by}");
    }
    assert!(same.status.success());
    corpus.write("other.yaml", format!("{RECIPE}seed: 18\n").as_bytes());
    let other = verify("other.yaml");
    assert_eq!(other.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&other.stderr).contains("seed"));
}

#[test]
fn what_is_not_complete_is_passed_over_or_refused() {
    let corpus = corpus();
    let error = refused(&corpus, "recipe.yaml --steps 80 --resume nowhere");
    assert!(error.contains("nowhere"), "{error}");
    ranks(&corpus);
    let newest = corpus.path("ck/step-00000020/rank-00001-of-00002.json");
    let text = std::fs::read_to_string(&newest).unwrap();
    std::fs::write(&newest, &text[..text.len() / 2]).unwrap();
    let output = corpus.stream("recipe.yaml --steps 41 --resume ck");
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("step 20"), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["rows"], 31, "from step 10 of two ranks, row 20, on");
    std::fs::remove_dir_all(corpus.path("ck/step-00000020")).unwrap();
    std::fs::remove_file(corpus.path("ck/step-00000010/rank-00000-of-00002.json")).unwrap();
    let error = refused(&corpus, "recipe.yaml --steps 80 --resume ck");
    assert!(error.contains("rank 0 of 2 is missing"), "{error}");
}

#[test]
fn what_cannot_be_shared_out_is_refused_with_what_can() {
    let corpus = corpus();
    let error = refused(&corpus, "recipe.yaml --steps 9 --rank 0 --world-size 3");
    assert!(
        error.contains("1, 2, 4") && error.contains("lanes"),
        "{error}"
    );
    let error = refused(&corpus, "recipe.yaml --steps 9 --rank 2 --world-size 2");
    assert!(error.contains("rank 2 of 2"), "{error}");
    let error = refused(&corpus, "recipe.yaml --epochs 1 --rank 0 --world-size 2");
    assert!(error.contains("steps"), "{error}");
    corpus.write(
        "odd.yaml",
        format!(
            "{}batch: {{rows: 2, step_rows: 6}}\n",
            RECIPE.replace("batch: {rows: 1}\n", "")
        )
        .as_bytes(),
    );
    let error = refused(&corpus, "odd.yaml --steps 9 --rank 0 --world-size 2");
    assert!(error.contains("multiple of 4"), "{error}");
    ranks(&corpus);
    let error = refused(
        &corpus,
        "recipe.yaml --steps 9 --rank 1 --world-size 4 --checkpoint ck --checkpoint-every 3",
    );
    assert!(error.contains("earlier run"), "{error}");
}
