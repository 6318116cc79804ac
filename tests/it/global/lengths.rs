//! Lengths are counted once, by whoever comes first, and again where they could be others.

use super::*;

/// Files in the cache folder whose names begin so.
fn kept(corpus: &Corpus, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(corpus.cache()).unwrap().flatten();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with(prefix)
        })
        .collect();
    paths.sort();
    paths
}

fn counted(corpus: &Corpus, recipe: &Recipe) -> (u64, Digest) {
    let one = alone(corpus, recipe);
    (one.parts[0].outlook.counted_records, one.digest)
}

#[test]
fn lengths_are_counted_once() {
    let corpus = corpus();
    let base = recipe(&corpus, &format!("{SMALL}\nepochs: 1"));
    let (all, digest) = counted(&corpus, &base);
    assert_eq!(all, RECORDS);
    assert_eq!(counted(&corpus, &base), (0, digest));
    assert_eq!(kept(&corpus, "lengths-").len(), 3, "one a shard");
    // Another row: only what is longer is read again, and once.
    let model = crate::corpus::model(&base);
    let samples = Samples::open(&base, &model, &corpus.cache()).unwrap();
    let examples = samples.filter_map(|sample| sample.unwrap().content.ok());
    let long = examples.filter(|example| example.len() > 200).count() as u64;
    assert!(long > 10 && long < 120);
    let short = recipe(
        &corpus,
        "pack: {sequence_length: 200, lookahead: 16}\nepochs: 1",
    );
    let (again, cut) = counted(&corpus, &short);
    assert_eq!(again, long);
    assert_eq!(counted(&corpus, &short), (0, cut));
    // Nothing is cut by concat, whatever the row.
    let concat = recipe(
        &corpus,
        "pack: {sequence_length: 100, strategy: concat}\nepochs: 1",
    );
    assert_eq!(counted(&corpus, &concat).0, 0);
    // What else decides no length.
    let other = recipe(
        &corpus,
        &format!("{SMALL}\nepochs: 2\nshuffle: false\nio: pread\nprefetch: 1"),
    );
    assert_eq!(counted(&corpus, &other).0, 0);
    let other = recipe(
        &corpus,
        &format!("{SMALL}\nepochs: 1\nmask: {{train: all}}"),
    );
    assert_eq!(counted(&corpus, &other).0, RECORDS);
    let template = crate::corpus::TEMPLATE.replace("<|im_start|>", "<|im_start|><|im_start|>");
    corpus.write("other.jinja", template.as_bytes());
    let other = recipe(
        &corpus,
        &format!("{SMALL}\nepochs: 1\ntemplate: other.jinja"),
    );
    assert_eq!(counted(&corpus, &other).0, RECORDS);
}

/// How a shard's rows are read is told by its source's first one, which may be another shard's.
#[test]
fn rows_read_in_another_way_are_counted_again() {
    let corpus = Corpus::new();
    let chat = |n: usize| {
        let answer = "yes ".repeat(n);
        let turns = [("user", "human", "Well?"), ("assistant", "gpt", &answer)];
        let messages = turns.map(|(role, _, text)| json!({"role": role, "content": text}));
        let shared = turns.map(|(_, from, text)| json!({"from": from, "value": text.repeat(2)}));
        (messages, shared)
    };
    let (messages, shared) = chat(1);
    corpus.write(
        "0-m.jsonl",
        json!({"messages": messages}).to_string().as_bytes(),
    );
    corpus.write(
        "0-c.jsonl",
        json!({"conversations": shared}).to_string().as_bytes(),
    );
    let both = (1..9).map(chat).map(|(messages, shared)| {
        json!({"messages": messages, "conversations": shared}).to_string() + "\n"
    });
    corpus.write("1.jsonl", both.collect::<String>().as_bytes());
    for first in ["0-m.jsonl", "0-c.jsonl"] {
        let more = format!("{BASE}\n{SMALL}\nepochs: 1");
        let text = format!(
            "version: 1\ntokenizer: tokenizer\nsources:\n  - {{name: a, paths: [{first}, 1.jsonl]}}\n{more}\n"
        );
        assert_eq!(counted(&corpus, &parse(&corpus, &text)).0, 9, "{first}");
    }
}

#[test]
fn damaged_lengths_are_made_again() {
    let corpus = corpus();
    let recipe = recipe(
        &corpus,
        "pack: {sequence_length: 200, lookahead: 16}\nepochs: 1",
    );
    let (_, digest) = counted(&corpus, &recipe);
    let (lengths, fits) = (kept(&corpus, "lengths-"), kept(&corpus, "fits-"));
    assert_eq!((lengths.len(), fits.len()), (3, 3));
    let mut shards = Vec::new();
    for path in &lengths {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() - 4]).unwrap();
        let (again, same) = counted(&corpus, &recipe);
        assert_eq!(same, digest);
        assert_eq!(std::fs::read(path).unwrap(), bytes, "as it was");
        shards.push(again);
    }
    shards.sort_unstable();
    assert_eq!(shards, [32, 47, 50], "the records of each shard");
    let mut long = 0;
    for path in &fits {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[0] ^= 1;
        std::fs::write(path, &bytes).unwrap();
        let (again, same) = counted(&corpus, &recipe);
        assert!(again > 0 && again < 47 && same == digest, "{again}");
        long += again;
    }
    std::fs::write(&kept(&corpus, "rows-")[0], b"").unwrap();
    assert_eq!(counted(&corpus, &recipe), (0, digest));
    for path in kept(&corpus, "") {
        let _ = std::fs::remove_file(path);
    }
    assert_eq!(counted(&corpus, &recipe), (RECORDS, digest));
    assert!(long > 10);
}

#[test]
fn a_shard_that_was_edited_in_place_is_counted_again() {
    let corpus = corpus();
    let recipe = recipe(&corpus, &format!("{SMALL}\nepochs: 1"));
    let (_, before) = counted(&corpus, &recipe);
    // As many bytes, neither at the shard's beginning nor at its end.
    let text = std::fs::read_to_string(corpus.path("b.jsonl")).unwrap();
    let at = text.len() / 2;
    let at = at + text[at..].find("tea").unwrap();
    let edited = format!("{}sea{}", &text[..at], &text[at + 3..]);
    std::thread::sleep(std::time::Duration::from_millis(20));
    corpus.write("b.jsonl", edited.as_bytes());
    let (again, after) = counted(&corpus, &recipe);
    assert_eq!(again, 47, "the other shards are as they were");
    assert_ne!(before, after);
    assert_eq!(counted(&corpus, &recipe), (0, after));
}

/// What is kept of a shard is the shard's own: wherever it lies in its source, and in whichever source.
#[test]
fn a_shard_may_come_to_lie_elsewhere() {
    let corpus = corpus();
    let small = format!("{BASE}\npack: {{sequence_length: 200, lookahead: 8}}\nepochs: 1\n");
    let with = |sources: &[&str]| {
        let sources: String = (0..)
            .zip(sources)
            .map(|(n, paths)| format!("  - {{name: s{n}, paths: [{paths}]}}\n"))
            .collect();
        let text = format!("version: 1\ntokenizer: tokenizer\nsources:\n{sources}{small}");
        let recipe = parse(&corpus, &text);
        let found = alone(&corpus, &recipe);
        (
            found.parts[0].outlook.counted_records,
            found.digest,
            found.ledger,
        )
    };
    // The copy has the time of the shard that it is of, as `cp -p` gives it.
    let original = std::fs::File::open(corpus.path("b.jsonl")).unwrap();
    std::fs::copy(corpus.path("b.jsonl"), corpus.path("c.jsonl")).unwrap();
    let copy = std::fs::File::options()
        .append(true)
        .open(corpus.path("c.jsonl"));
    let copy = copy.unwrap();
    copy.set_modified(original.metadata().unwrap().modified().unwrap())
        .unwrap();
    let orders: [&[&str]; 5] = [
        &["a-0.jsonl, b.jsonl"],
        &["b.jsonl"],
        &["a-0.jsonl, a-1.jsonl.zst, b.jsonl"],
        &["a-0.jsonl, b.jsonl", "b.jsonl"],
        &["b.jsonl, c.jsonl"],
    ];
    let found: Vec<_> = orders.iter().map(|sources| with(sources)).collect();
    let counted: Vec<u64> = found.iter().map(|(counted, ..)| *counted).collect();
    assert_eq!(counted, [97, 0, 32, 0, 0], "no shard is counted twice");
    for (sources, (_, digest, ledger)) in orders.iter().zip(found) {
        for path in kept(&corpus, "") {
            let _ = std::fs::remove_file(path);
        }
        let (_, anew, account) = with(sources);
        assert_eq!((digest, ledger), (anew, account), "{sources:?}");
    }
}

#[test]
fn ranks_that_start_together_share_the_counting() {
    let corpus = corpus();
    corpus.write(
        "recipe.yaml",
        yaml(&format!("{SMALL}\nepochs: 2")).as_bytes(),
    );
    let children: Vec<_> = (0..3)
        .map(|rank| {
            let rank = rank.to_string();
            let arguments = [
                "stream",
                "--json",
                "recipe.yaml",
                "--world-size",
                "3",
                "--rank",
                &rank,
            ];
            let mut command = corpus.packmill(&arguments);
            command
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    let reports: Vec<Value> = children
        .into_iter()
        .map(|child| report(&child.wait_with_output().unwrap()))
        .collect();
    let counted = |report: &Value| report["outlook"]["counted_records"].as_u64().unwrap();
    let together: u64 = reports.iter().map(counted).sum();
    assert_eq!(together, RECORDS, "each record once between them");
    let one = report(&corpus.stream("recipe.yaml"));
    assert_eq!(counted(&one), 0);
    assert_eq!(sum(&reports), one["digest"]);
    for rank in &reports {
        assert_eq!(rank["outlook"]["last_step"], rank["steps"]);
        assert_eq!(rank["steps"], reports[0]["steps"]);
        assert_eq!(rank["outlook"]["rows"], one["outlook"]["rows"]);
    }
    assert!(
        kept(&corpus, ".").is_empty(),
        "nothing half-written is left"
    );
    assert!(
        kept(&corpus, "")
            .iter()
            .all(|path| path.extension().is_none()),
        "no lock is left"
    );
}
