//! A checkpoint carried into a changed recipe: every token once, or a line in the ledger.

use crate::corpus::{Corpus, Random, chats, zstd_frames};
use packmill::batch::PROVENANCE_FIELDS;
use packmill::checkpoint::{State, Whole, merge};
use packmill::ledger::{Ledger, Reason};
use packmill::order::lanes::Rank;
use packmill::pipeline::{Forked, Loader, Model, fork};
use packmill::recipe::PackConfig;
use packmill::{Error, Recipe};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

/// Source, record and epoch.
type Record = (i64, i64, i64);

/// The tokens of each record that came, run by run, as they came.
type Delivered = BTreeMap<Record, Vec<Range<i64>>>;

/// What all ranks deliver from `from` on, up to `steps` since the stream's start, and where the stream stands then.
fn stream(
    corpus: &Corpus,
    recipe: &Recipe,
    from: Option<&Whole>,
    steps: Option<u64>,
    world_size: u32,
    delivered: &mut Delivered,
) -> Whole {
    let mut parts = Vec::new();
    for number in 0..world_size {
        let mut builder = Loader::builder(recipe.clone())
            .cache(corpus.cache())
            .rank(Rank { number, world_size })
            .checkpoints();
        if let Some(steps) = steps {
            builder = builder.steps(steps);
        }
        if let Some(from) = from {
            builder = builder.resume(from.clone());
        }
        let mut loader = builder.build().unwrap();
        let mut last = None;
        while let Some(batch) = loader.next() {
            let batch = batch.unwrap();
            for at in batch.provenance().chunks(PROVENANCE_FIELDS.len()) {
                // Block and record in it; each source has one shard here.
                let record = at[2] * 1_000_000 + at[3];
                let runs = delivered.entry((at[0], record, at[5])).or_default();
                runs.push(at[6]..at[7] + 1);
            }
            last = loader.state();
        }
        parts.extend(last);
    }
    // Through the text, as a process would find it.
    let parts = parts
        .iter()
        .map(|part| State::parse(&part.to_text(), Path::new("part")).unwrap());
    merge(parts.collect()).unwrap()
}

fn carried(corpus: &Corpus, from: &Whole, recipe: &Recipe) -> Result<Forked, Error> {
    let model = Arc::new(Model::load(recipe)?);
    fork(from, recipe, &model, &corpus.cache())
}

/// The forked stream, as a process finds it.
fn forked(corpus: &Corpus, from: &Whole, recipe: &Recipe) -> Whole {
    let state = carried(corpus, from, recipe).unwrap().state;
    whole(&state)
}

fn whole(state: &State) -> Whole {
    let text = state.to_text();
    let back = State::parse(&text, Path::new("fork")).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(back, *state);
    merge(vec![back]).unwrap()
}

/// Nothing twice, and everything that did not come is in the ledger: the whole of every record, whose length is known.
fn nothing_twice_nothing_lost(
    delivered: &Delivered,
    lengths: &BTreeMap<Record, i64>,
    ledger: &Ledger,
    what: &str,
) {
    let mut missing = 0;
    for (record, &length) in lengths {
        let mut runs = delivered.get(record).cloned().unwrap_or_default();
        runs.sort_by_key(|run| run.start);
        for pair in runs.windows(2) {
            assert!(
                pair[0].end <= pair[1].start,
                "{record:?} comes twice: {runs:?}, {what}"
            );
        }
        assert!(
            runs.iter().all(|run| run.end <= length),
            "{record:?}, {what}"
        );
        missing += length - runs.iter().map(|run| run.end - run.start).sum::<i64>();
    }
    assert!(
        delivered.keys().all(|record| lengths.contains_key(record)),
        "{what}"
    );
    let mut left = 0;
    for (name, account) in &ledger.sources {
        let (records, tokens) = (&account.records, &account.tokens);
        assert_eq!((records.pending, tokens.pending), (0, 0), "{name}, {what}");
        left += tokens.truncated + tokens.dropped.values().sum::<u64>();
    }
    assert!(ledger.balanced());
    assert_eq!(missing as u64, left, "{what}");
    let taken =
        |ledger: &Ledger| -> u64 { ledger.sources.iter().map(|(_, a)| a.tokens.taken).sum() };
    assert_eq!(
        taken(ledger) as i64,
        lengths.values().sum::<i64>(),
        "{what}"
    );
}

/// Enough that no lane ends before it is forked.
const RECORDS: usize = 160;

const BASE: &str = "batch: {rows: 1}\nlanes: 4\nworkers: 2\nepochs: 1";

const PACKS: [&str; 7] = [
    "{sequence_length: 512, lookahead: 6}",
    "{sequence_length: 96, lookahead: 5, overlong: split}",
    "{sequence_length: 130, lookahead: 9, overlong: split}",
    "{sequence_length: 200, strategy: concat}",
    "{sequence_length: 160, strategy: none, overlong: truncate_left}",
    "{sequence_length: 300, lookahead: 4, overlong: drop}",
    "{sequence_length: 64, strategy: none, overlong: split}",
];

fn packed_as(pack: &str) -> PackConfig {
    packed(&Corpus::with_chats(1), pack, "").pack
}

fn packed(corpus: &Corpus, pack: &str, more: &str) -> Recipe {
    corpus.recipe("chats.jsonl", &format!("{BASE}\npack: {pack}\n{more}"))
}

/// How long every record is, by a stream that cuts nothing off.
fn lengths(corpus: &Corpus, more: &str) -> BTreeMap<Record, i64> {
    let mut delivered = Delivered::new();
    let recipe = packed(corpus, PACKS[3], more);
    stream(corpus, &recipe, None, None, 1, &mut delivered);
    let lengths = delivered.into_iter().map(|(record, runs)| {
        let end = runs.iter().map(|run| run.end).max().unwrap();
        (record, end)
    });
    lengths.collect()
}

#[test]
fn any_packing_into_any_other() {
    let corpus = Corpus::with_chats(RECORDS);
    let lengths = lengths(&corpus, "");
    for (before, first) in PACKS.iter().enumerate() {
        for (after, second) in PACKS.iter().enumerate() {
            for rows in [9, 14] {
                let what = format!("{first} to {second} at row {rows}");
                let mut delivered = Delivered::new();
                let recipe = packed(&corpus, first, "");
                let at = stream(&corpus, &recipe, None, Some(rows), 1, &mut delivered);
                let recipe = packed(&corpus, second, "");
                let from = forked(&corpus, &at, &recipe);
                assert_eq!((from.rows, from.digest), (at.rows, at.digest));
                assert_eq!(from.history.len(), 1);
                if before == after {
                    assert_eq!((&from.lanes, &from.ledger), (&at.lanes, &at.ledger));
                }
                // A checkpoint soon after holds what was carried over too.
                let next = stream(
                    &corpus,
                    &recipe,
                    Some(&from),
                    Some(rows + 5),
                    1,
                    &mut delivered,
                );
                assert_eq!(next.history, from.history);
                let end = stream(&corpus, &recipe, Some(&next), None, 1, &mut delivered);
                nothing_twice_nothing_lost(&delivered, &lengths, &end.ledger, &what);
            }
        }
    }
}

/// Chats in which questions are so long that whole pieces of a split one have nothing to learn from, and are dropped
/// between others.
fn with_long_questions() -> Corpus {
    let plain = chats(RECORDS);
    let longer = plain.lines().map(|line| {
        let mut chat: Value = serde_json::from_str(line).unwrap();
        for message in chat["messages"].as_array_mut().unwrap() {
            if message["role"] == "user" {
                message["content"] = "Why is that? ".repeat(18).into();
            }
        }
        format!("{chat}\n")
    });
    let corpus = Corpus::new();
    corpus.write("chats.jsonl", longer.collect::<String>().as_bytes());
    corpus
}

#[test]
fn forks_of_forks() {
    let streamed = Corpus::new();
    streamed.write("chats.jsonl", &zstd_frames(&chats(RECORDS), 7));
    let corpora = [
        (Corpus::with_chats(RECORDS), ""),
        (with_long_questions(), ""),
        (streamed, "hold: 0"),
    ];
    let mut random = Random(7);
    for round in 0..45 {
        let (corpus, more) = &corpora[round % 3];
        let lengths = lengths(corpus, more);
        // Nearly all long chats would be dropped, and lanes end.
        let long = round % 3 == 1;
        let packs: Vec<&str> = PACKS
            .into_iter()
            .filter(|pack| !long || !pack.contains("drop"))
            .collect();
        let chain: Vec<&str> = (0..4).map(|_| packs[random.below(packs.len())]).collect();
        let mut delivered = Delivered::new();
        let mut from: Option<Whole> = None;
        for (place, pack) in chain.iter().enumerate() {
            let recipe = packed(corpus, pack, more);
            let begun = from.map(|from| forked(corpus, &from, &recipe));
            let steps = begun.as_ref().map_or(0, |whole| whole.step) + 2 + random.below(5) as u64;
            let steps = (place < 3).then_some(steps);
            from = Some(stream(
                corpus,
                &recipe,
                begun.as_ref(),
                steps,
                1,
                &mut delivered,
            ));
        }
        let end = from.unwrap();
        assert_eq!(end.history.len(), 3);
        nothing_twice_nothing_lost(&delivered, &lengths, &end.ledger, &format!("{chain:?}"));
    }
}

#[test]
fn another_mask_leaves_what_was_cut_where_it_was() {
    let corpus = Corpus::with_chats(RECORDS);
    let lengths = lengths(&corpus, "mask: {train: all}");
    let mut refused = 0;
    for pack in PACKS {
        for rows in [9, 14] {
            let mut delivered = Delivered::new();
            let recipe = packed(&corpus, pack, "mask: {train: all}");
            let at = stream(&corpus, &recipe, None, Some(rows), 1, &mut delivered);
            let recipe = packed(&corpus, PACKS[1], "mask: {train: last_assistant}");
            let from = match carried(&corpus, &at, &recipe) {
                Ok(forked) => whole(&forked.state),
                Err(error) => {
                    assert!(error.to_string().contains("another mask"), "{error}");
                    refused += 1;
                    continue;
                }
            };
            let end = stream(&corpus, &recipe, Some(&from), None, 1, &mut delivered);
            nothing_twice_nothing_lost(&delivered, &lengths, &end.ledger, pack);
        }
    }
    assert!(refused < 7, "{refused} of 14 refused");
}

#[test]
fn another_template_takes_whole_examples_anew_and_refuses_cut_ones() {
    let corpus = Corpus::with_chats(RECORDS);
    let short = "{% for m in messages %}{{ m.role }}:{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}";
    corpus.write("short.jinja", short.as_bytes());
    let mut delivered = Delivered::new();
    let recipe = packed(&corpus, PACKS[0], "");
    let at = stream(&corpus, &recipe, None, Some(9), 1, &mut delivered);
    let recipe = packed(&corpus, PACKS[0], "template: short.jinja");
    let from = forked(&corpus, &at, &recipe);
    let end = stream(&corpus, &recipe, Some(&from), None, 1, &mut delivered);
    assert_eq!(delivered.len(), RECORDS, "every record came");
    assert!(
        delivered.values().all(|runs| runs.len() == 1),
        "and none twice"
    );
    let account = &end.ledger.sources[0].1;
    assert_eq!(
        (account.records.delivered, account.tokens.pending),
        (RECORDS as u64, 0)
    );
    assert!(end.ledger.balanced());
    // Which tokens of a split example were delivered cannot be told in other tokens.
    let recipe = packed(&corpus, PACKS[1], "");
    let at = stream(&corpus, &recipe, None, Some(9), 1, &mut Delivered::new());
    let recipe = packed(&corpus, PACKS[1], "template: short.jinja");
    let error = carried(&corpus, &at, &recipe).unwrap_err().to_string();
    assert!(
        error.contains("delivered in part") && error.contains("keep tokenizer"),
        "{error}"
    );
}

/// Three sources with weights, or two of them.
fn mixed(corpus: &Corpus, weights: &[(&str, u32)], more: &str) -> Recipe {
    let chats = chats(300);
    let lines: Vec<&str> = chats.split_inclusive('\n').collect();
    for (name, part) in [
        ("a", &lines[..160]),
        ("b", &lines[160..220]),
        ("c", &lines[220..]),
    ] {
        corpus.write(&format!("{name}.jsonl"), part.concat().as_bytes());
    }
    let sources: String = weights
        .iter()
        .map(|(name, weight)| {
            format!("  - {{name: {name}, paths: [{name}.jsonl], weight: {weight}}}\n")
        })
        .collect();
    let text = format!(
        "version: 1\ntokenizer: tokenizer\nsources:\n{sources}pack: {{sequence_length: 512, lookahead: 6}}\nbatch: {{rows: 1}}\nlanes: 4\nworkers: 2\n{more}\n"
    );
    Recipe::parse(&text, corpus.dir.path()).unwrap_or_else(|faults| panic!("{faults}"))
}

/// Records delivered of each source by name: none twice an epoch, and as many as the ledger says.
fn once_an_epoch(parts: &[(&Delivered, &Recipe)], end: &Ledger) -> BTreeMap<String, u64> {
    let mut all: BTreeMap<(String, i64, i64), u64> = BTreeMap::new();
    for (delivered, recipe) in parts {
        for (&(source, record, epoch), runs) in *delivered {
            assert_eq!(runs.len(), 1);
            let name = recipe.sources[source as usize].name.clone();
            *all.entry((name, record, epoch)).or_default() += 1;
        }
    }
    assert!(all.values().all(|&times| times == 1), "a record came twice");
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (name, _, _) in all.into_keys() {
        *counts.entry(name).or_default() += 1;
    }
    for (name, account) in &end.sources {
        let records = &account.records;
        assert_eq!(
            counts.get(name).copied().unwrap_or(0),
            records.delivered,
            "{name}"
        );
        assert_eq!(
            records.taken,
            records.delivered + records.dropped.values().sum::<u64>() + records.pending as u64
        );
    }
    counts
}

#[test]
fn weights_change_at_a_row_and_every_record_comes_once_an_epoch() {
    let corpus = Corpus::new();
    let before = mixed(&corpus, &[("a", 5), ("b", 2), ("c", 3)], "");
    let (mut first, mut second) = (Delivered::new(), Delivered::new());
    let at = stream(&corpus, &before, None, Some(20), 2, &mut first);
    // In another order, and b nearly alone.
    let after = mixed(
        &corpus,
        &[("c", 1), ("b", 30), ("a", 1)],
        "schedule: [{row: 30, weights: {b: 30, c: 1}}, {row: 90, weights: {a: 1, c: 1}}]",
    );
    let from = forked(&corpus, &at, &after);
    assert!(
        from.lanes
            .iter()
            .all(|lane| lane.streams.iter().all(|stream| stream.drawn == 0))
    );
    let end = stream(&corpus, &after, Some(&from), Some(80), 4, &mut second);
    once_an_epoch(&[(&first, &before), (&second, &after)], &end.ledger);
    // Each source's records came without a gap: what the lanes took is what the ledger counts.
    for (stream, (name, account)) in end.ledger.sources.iter().enumerate() {
        let cursors = end.lanes.iter().map(|lane| lane.streams[stream].position);
        assert_eq!(cursors.sum::<u64>(), account.records.taken, "{name}");
    }
    let taken = |whole: &Whole, name: &str| {
        let account = whole.ledger.sources.iter().find(|(known, _)| known == name);
        account.unwrap().1.records.taken
    };
    let at_90 = stream(
        &corpus,
        &after,
        Some(&from),
        Some(30),
        4,
        &mut Delivered::new(),
    );
    assert_eq!(taken(&at_90, "a"), taken(&at, "a"), "a weighs nothing");
    assert!(taken(&end, "a") > taken(&at, "a"));
    assert!(taken(&at_90, "b") - taken(&at, "b") > 10 * (taken(&at_90, "c") - taken(&at, "c")));
}

/// Pools of several sources, cut anew twice; the account of each follows token by token.
#[test]
fn a_mixture_is_cut_anew_source_by_source() {
    let corpus = Corpus::new();
    let recipe = |pack: &str| {
        let weights = [("a", 5), ("b", 2), ("c", 3)];
        let mut recipe = mixed(&corpus, &weights, "on_exhausted: stop");
        recipe.pack = packed_as(pack);
        recipe
    };
    let mut delivered = Delivered::new();
    let chain = [PACKS[0], PACKS[1], PACKS[6], PACKS[0]].map(recipe);
    let mut from: Option<Whole> = None;
    for (place, recipe) in chain.iter().enumerate() {
        let begun = from.map(|from| forked(&corpus, &from, recipe));
        let steps = (place < 3).then_some(12 * (place as u64 + 1));
        from = Some(stream(
            &corpus,
            recipe,
            begun.as_ref(),
            steps,
            1,
            &mut delivered,
        ));
    }
    let end = from.unwrap().ledger;
    for (source, (name, account)) in (0..).zip(&end.sources) {
        let mut tokens = 0;
        for (record, runs) in delivered.iter().filter(|(record, _)| record.0 == source) {
            let mut runs = runs.clone();
            runs.sort_by_key(|run| run.start);
            let apart = runs.windows(2).all(|pair| pair[0].end <= pair[1].start);
            assert!(apart, "{name}: {record:?} comes twice: {runs:?}");
            tokens += runs.iter().map(|run| run.end - run.start).sum::<i64>();
        }
        assert_eq!(account.tokens.delivered as i64, tokens, "{name}");
        assert_eq!(
            (account.records.pending, account.tokens.pending),
            (0, 0),
            "{name}"
        );
    }
    assert!(end.balanced());
}

#[test]
fn sources_come_and_go_and_stay_in_the_ledger() {
    let corpus = Corpus::new();
    let before = mixed(&corpus, &[("a", 5), ("b", 2)], "");
    let (mut first, mut second) = (Delivered::new(), Delivered::new());
    let at = stream(&corpus, &before, None, Some(20), 2, &mut first);
    let after = mixed(&corpus, &[("c", 3), ("a", 1)], "");
    let forked = carried(&corpus, &at, &after).unwrap();
    let pending = &at.ledger.sources[1].1;
    assert!(pending.records.pending > 0);
    let [removed] = forked.removed.as_slice() else {
        panic!("{:?}", forked.removed)
    };
    assert_eq!(removed.name, "b");
    assert_eq!(
        (removed.records as i64, removed.tokens as i64),
        (pending.records.pending, pending.tokens.pending)
    );
    let from = whole(&forked.state);
    let end = stream(&corpus, &after, Some(&from), Some(40), 2, &mut second);
    let names: Vec<&str> = end
        .ledger
        .sources
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["c", "a", "b"]);
    let b = &end.ledger.sources[2].1;
    assert_eq!(b.records.dropped[&Reason::SourceRemoved], removed.records);
    assert_eq!(b.tokens.dropped[&Reason::SourceRemoved], removed.tokens);
    assert_eq!((b.records.pending, b.tokens.pending), (0, 0));
    once_an_epoch(&[(&first, &before), (&second, &after)], &end.ledger);
    assert!(end.ledger.sources[0].1.records.delivered > 0, "c came");
    // It comes back, from its beginning.
    let back = carried(&corpus, &end, &before).unwrap();
    assert_eq!(back.again, ["b"]);
    assert_eq!(back.state.history.len(), 2);
}

const RECIPE: &str = "version: 1\ntokenizer: tokenizer\nsources:\n  - name: chats\n    paths: [\"chats.jsonl\"]\npack: {sequence_length: 256, lookahead: 8, overlong: split}\nbatch: {rows: 1}\nlanes: 4\nworkers: 2\n";

/// Twenty steps of two ranks, saved in `ck`.
fn saved() -> Corpus {
    let corpus = Corpus::with_chats(200);
    corpus.write("recipe.yaml", RECIPE.as_bytes());
    for rank in ["0", "1"] {
        let arguments = format!(
            "stream recipe.yaml --json --steps 20 --rank {rank} --world-size 2 --checkpoint ck --checkpoint-every 10"
        );
        succeeded(&run(&corpus, &arguments));
    }
    corpus
}

fn run(corpus: &Corpus, arguments: &str) -> Output {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    corpus.packmill(&arguments).output().unwrap()
}

fn succeeded(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

fn refused(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    error
}

#[test]
fn an_unchanged_recipe_gives_the_uninterrupted_stream() {
    let corpus = saved();
    let alone = succeeded(&run(&corpus, "stream recipe.yaml --json --steps 100"));
    let answer = succeeded(&run(
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
    let on = succeeded(&run(
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
    let answer = succeeded(&run(
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
        succeeded(&run(&corpus, &arguments));
    }
    let verify = succeeded(&run(&corpus, "verify new --json --recipe longer.yaml"));
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
    let begun = succeeded(&go(
        "--steps 60 --epochs 9 --checkpoint ck --checkpoint-every 60",
    ));
    assert_eq!(begun["rows"], 60);
    let error = refused(&go("--epochs 1 --resume ck"));
    assert!(
        error.contains("has begun") && error.contains("epochs of at least"),
        "{error}"
    );
    let alone = succeeded(&go("--epochs 3"));
    let rows = alone["rows"].as_u64().unwrap();
    let on = succeeded(&go("--epochs 3 --resume ck"));
    assert_eq!(
        (&on["digest"], &on["ledger"]),
        (&alone["digest"], &alone["ledger"])
    );
    // Once lanes have ended the length stays.
    let near = format!(
        "--epochs 3 --steps {} --checkpoint late --checkpoint-every 1",
        rows - 1
    );
    succeeded(&go(&near));
    let error = refused(&go("--epochs 4 --resume late"));
    assert!(error.contains("give epochs: 3"), "{error}");
    let error = refused(&go(&format!("--steps {} --resume late", rows + 9)));
    assert!(error.contains("has ended"), "{error}");
    let end = succeeded(&go("--epochs 3 --resume late"));
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
            succeeded(&go(
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
        let own = succeeded(&own)["digest"].clone();
        // Coordinates: pp, dp, tp.
        for peer in [0, 1, 4, 5] {
            assert_eq!(digests[peer + 2 * number], own, "peer {peer} of {number}");
        }
    }
    let files = std::fs::read_dir(corpus.path("ck/step-00000005")).unwrap();
    assert_eq!(files.count(), 2);
    assert_eq!(std::fs::read_dir(corpus.path("out")).unwrap().count(), 2);
    succeeded(&go(3, " --world-size 8"));
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
