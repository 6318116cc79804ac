//! `duplicates`: the first of several copies stays, whatever the order of training.

use super::*;
use packmill::pipeline::{Pass, Side};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Rows of which many are copies, in their shard, in another, in the other source.
fn corpus_of_copies(seed: u64) -> (Corpus, Vec<Value>) {
    let mut random = Random(seed);
    let (some, corpus) = (rows(50, seed), Corpus::new());
    let all: Vec<Value> = (0..150).map(|_| some[random.below(50)].clone()).collect();
    let lines: Vec<String> = all.iter().map(|row| format!("{row}\n")).collect();
    corpus.write("a-0.jsonl", lines[..12].concat().as_bytes());
    corpus.write("a-1.jsonl", lines[12..30].concat().as_bytes());
    corpus.write("b.jsonl.zst", &zstd_frames(&lines[30..].concat(), 8));
    (corpus, all)
}

/// The block of a record, in which copies are looked for: of a streamed source the frame, of a held one the shard.
fn block(way: &Way, source: usize, line: usize) -> usize {
    match (source, way.streamed) {
        (0, _) => usize::from(line >= 12),
        // A frame's records begin behind its first newline, which ends the frame before.
        (_, true) => 10 + (line - 30).saturating_sub(1) / 8,
        (_, false) => 10,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn keeps_the_first_of_several_copies(
        way in way(),
        seed in 0..1_000_u64,
        in_block: bool,
        fraction in prop::option::of(0.1..0.5),
    ) {
        let (corpus, rows) = corpus_of_copies(seed);
        let plain = samples(&corpus, &way.recipe(&corpus, "", ""));
        let policy = if in_block { "drop_in_block" } else { "drop" };
        let split = fraction.map_or(String::new(), |fraction| format!("split: {{fraction: {fraction}}}\n"));
        let recipe = way.recipe(&corpus, &format!("{split}duplicates: {policy}"), "");
        let held_out = |row: &Value| fraction.is_some_and(|fraction| super::split::is_held_out(row, fraction, 17));
        let mut seen = BTreeSet::new();
        let mut line = 0;
        let mut copies = Vec::new();
        let (expected, dropped) = kept(&rows, &plain, |of| {
            let within = if in_block { block(&way, of.sample.source as usize, line) } else { 0 };
            line += 1;
            let copy = !seen.insert((within, of.row.to_string()));
            copies.push(copy);
            match (held_out(of.row), copy) {
                (true, _) => Some((Reason::HeldOut, 0)),
                (false, true) => Some((Reason::Duplicate, 0)),
                (false, false) => None,
            }
        });
        let (delivered, ledger) = streamed(&corpus, &recipe, way.world);
        prop_assert_eq!(delivered, expected);
        assert_accounted(&ledger, &dropped, [30, 120]);
        if fraction.is_some() {
            let model = crate::corpus::model(&recipe);
            let eval = Samples::open_side(&recipe, &model, &corpus.cache(), Side::Eval).unwrap();
            let eval: Vec<bool> = eval.map(|s| s.unwrap().content.err() == Some(Reason::Duplicate)).collect();
            let held = rows.iter().zip(&copies).filter(|(row, _)| held_out(row));
            let held: Vec<bool> = held.map(|(_, copy)| *copy).collect();
            prop_assert_eq!(eval, held);
        }
    }
}

const ONE: Way = Way {
    global: false,
    world: 1,
    workers: 2,
    streamed: true,
    shuffle: true,
};

/// The parts of the corpus that a loader looked through for copies.
fn looked_through(corpus: &Corpus, recipe: &Recipe) -> u64 {
    let parts = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&parts);
    let builder = Loader::builder(recipe.clone()).cache(corpus.cache());
    let builder = builder.counting(move |count| {
        told.fetch_add(u64::from(count.pass == Pass::Duplicates), Relaxed);
        assert!(count.done <= count.of);
        Ok(())
    });
    drop(builder.build().unwrap());
    parts.load(Relaxed)
}

#[test]
fn the_corpus_is_looked_through_once() {
    let (corpus, rows) = corpus_of_copies(3);
    let with = |policy: &str| ONE.recipe(&corpus, &format!("duplicates: {policy}"), "");
    // Two shards of `a`, fifteen frames of `b`.
    assert_eq!(looked_through(&corpus, &with("drop")), 2 + 15);
    assert_eq!(looked_through(&corpus, &with("drop")), 0);
    assert_eq!(looked_through(&corpus, &with("drop_in_block")), 2);
    assert_eq!(looked_through(&corpus, &with("drop_in_block")), 0);
    assert_eq!(looked_through(&corpus, &with("keep")), 0);
    // Another tokenizer, split or seed is the same corpus; another file is not.
    let other = ONE.recipe(
        &corpus,
        "seed: 4\nsplit: {fraction: 0.1}\nduplicates: drop",
        "",
    );
    assert_eq!(looked_through(&corpus, &other), 0);
    corpus.write("a-0.jsonl", format!("{}\n", rows[0]).repeat(4).as_bytes());
    assert_eq!(looked_through(&corpus, &with("drop")), 2 + 15);
    // What cannot be read back is found anew.
    for file in std::fs::read_dir(corpus.cache()).unwrap() {
        let path = file.unwrap().path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("copies-"))
        {
            std::fs::write(path, b"cut").unwrap();
        }
    }
    assert_eq!(looked_through(&corpus, &with("drop")), 2 + 15);
}

/// Counted lengths of a shard are not those of the same shard beside another one.
#[test]
fn counted_lengths_go_with_what_is_a_copy() {
    let (corpus, rows) = corpus_of_copies(5);
    let text = |order: &str| {
        format!(
            "version: 1\ntokenizer: tokenizer\nsources:\n{order}pack: {{sequence_length: 1024}}\nbatch: {{rows: 1}}\nepochs: 1\nplan: global\nduplicates: drop\n"
        )
    };
    let (a, b) = (
        "  - {name: a, paths: [\"a-*\"]}\n",
        "  - {name: b, paths: [b.jsonl.zst]}\n",
    );
    let distinct = rows
        .iter()
        .map(Value::to_string)
        .collect::<BTreeSet<_>>()
        .len() as u64;
    for order in [
        [a, b].concat(),
        [b, a].concat(),
        a.to_owned(),
        [a, b].concat(),
    ] {
        let recipe = Recipe::parse(&text(&order), corpus.dir.path()).unwrap();
        let (_, ledger) = streamed(&corpus, &recipe, 1);
        assert!(ledger.balanced());
        let stays = |account: &Account| {
            account.records.taken
                - account
                    .records
                    .dropped
                    .get(&Reason::Duplicate)
                    .copied()
                    .unwrap_or(0)
        };
        let stay: Vec<u64> = ledger
            .sources
            .iter()
            .map(|(_, account)| stays(account))
            .collect();
        match stay.as_slice() {
            [alone] => assert!(*alone < 30),
            both => {
                assert_eq!(both.iter().sum::<u64>(), distinct);
                // The first source keeps what both have.
                assert!(both.iter().all(|stay| *stay > 0), "{both:?}");
            }
        }
    }
}

#[test]
fn another_policy_is_another_stream() {
    let (corpus, _) = corpus_of_copies(7);
    let with = |policy: &str| ONE.recipe(&corpus, &format!("duplicates: {policy}"), "");
    let mut loader = corpus
        .loader(&with("drop"), Rank::ALONE, None, Some(3))
        .unwrap();
    loader.by_ref().for_each(|batch| drop(batch.unwrap()));
    let from = merged([&loader.state().unwrap()]);
    for policy in ["keep", "drop_in_block"] {
        let refused = corpus
            .loader(&with(policy), Rank::ALONE, Some(&from), None)
            .unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("duplicates: drop in the checkpoint"),
            "{refused}"
        );
    }
}

/// A resume in the middle of a block knows what the block had before.
#[test]
fn goes_on_as_if_nothing_had_been() {
    let (corpus, _) = corpus_of_copies(11);
    for policy in ["drop", "drop_in_block"] {
        let recipe = ONE.recipe(&corpus, &format!("duplicates: {policy}"), "");
        let run = |from: Option<&packmill::checkpoint::Whole>, steps| {
            let mut loader = corpus.loader(&recipe, Rank::ALONE, from, steps).unwrap();
            let mut all: Vec<Segment> = Vec::new();
            let mut state = None;
            while let Some(batch) = loader.next() {
                all.extend(segments(&batch.unwrap()));
                state = loader.state().or(state);
            }
            (
                all,
                loader.progress().ledger.as_ref().clone(),
                state.unwrap(),
            )
        };
        let (whole, ledger, _) = run(None, None);
        for steps in 1..12 {
            let (begun, _, state) = run(None, Some(steps));
            let (rest, after, _) = run(Some(&merged([&state])), None);
            assert_eq!([begun, rest].concat(), whole, "{policy} after {steps}");
            assert_eq!(after, ledger);
        }
    }
}
