//! Going on: whatever the number of ranks was and is, the rows are those of the uninterrupted stream.

use crate::corpus::{Corpus, chats, zstd_frames};
use packmill::Recipe;
use packmill::batch::Digest;
use packmill::checkpoint::{State, Whole, merge};
use packmill::order::lanes::Rank;
use packmill::pipeline::Loader;
use std::path::Path;

/// One row a micro-batch, so that a batch's digest is its row's hash.
const BASE: &str = "batch: {rows: 1}\nlanes: 4\nworkers: 2";

/// What one rank delivers of `steps` steps since the stream's start, and where it stands then.
fn rank(
    corpus: &Corpus,
    recipe: &Recipe,
    rank: Rank,
    from: Option<&Whole>,
    steps: Option<u64>,
) -> (Vec<(u64, Digest)>, Option<State>) {
    let mut builder = Loader::builder(recipe.clone())
        .cache(corpus.cache())
        .rank(rank)
        .checkpoints();
    if let Some(steps) = steps {
        builder = builder.steps(steps);
    }
    if let Some(from) = from {
        builder = builder.resume(from.clone());
    }
    let mut loader = builder.build().unwrap();
    let mut number = rank.next_row(from.map_or(0, |whole| whole.rows));
    let (mut rows, mut state) = (Vec::new(), None);
    while let Some(batch) = loader.next() {
        rows.push((number, batch.unwrap().digest()));
        number += u64::from(rank.world_size);
        state = loader.state();
    }
    (rows, state)
}

/// All ranks' rows in order, and the state of the stream.
fn world(
    corpus: &Corpus,
    recipe: &Recipe,
    world_size: u32,
    from: Option<&Whole>,
    steps: Option<u64>,
) -> (Vec<(u64, Digest)>, Option<Whole>) {
    let (mut rows, mut parts) = (Vec::new(), Vec::new());
    for number in 0..world_size {
        let (more, state) = rank(corpus, recipe, Rank { number, world_size }, from, steps);
        rows.extend(more);
        parts.extend(state);
    }
    rows.sort_unstable_by_key(|(number, _)| *number);
    // Through the text, as a process would find it.
    let parts = parts
        .iter()
        .map(|part| State::parse(&part.to_text(), Path::new("part")).unwrap())
        .collect::<Vec<_>>();
    let whole = (!parts.is_empty()).then(|| merge(parts).unwrap());
    (rows, whole)
}

fn recipes(corpus: &Corpus, more: &str) -> Vec<(String, Recipe)> {
    corpus.write("chats.jsonl", chats(300).as_bytes());
    corpus.write("chats.jsonl.zst", &zstd_frames(&chats(300), 7));
    let mut all = Vec::new();
    for (paths, hold) in [
        ("chats.jsonl", "hold: 1GiB"),
        ("chats.jsonl.zst", "hold: 0"),
    ] {
        for pack in [
            "pack: {sequence_length: 512, lookahead: 6}",
            "pack: {sequence_length: 512, lookahead: 6, strategy: concat}",
            "pack: {sequence_length: 512, strategy: none}",
            "pack: {sequence_length: 96, lookahead: 3, overlong: split}",
        ] {
            let text = format!("{BASE}\n{hold}\n{pack}\n{more}");
            all.push((text.clone(), corpus.recipe(paths, &text)));
        }
    }
    all
}

#[test]
fn ranks_share_out_the_same_rows() {
    let corpus = Corpus::new();
    for (name, recipe) in recipes(&corpus, "") {
        let (alone, _) = world(&corpus, &recipe, 1, None, Some(120));
        for world_size in [2, 4] {
            let steps = 120 / u64::from(world_size);
            let (rows, _) = world(&corpus, &recipe, world_size, None, Some(steps));
            assert_eq!(rows, alone, "{world_size} ranks, {name}");
        }
    }
}

#[test]
fn resumes_at_any_world_size() {
    let corpus = Corpus::new();
    for (name, recipe) in recipes(&corpus, "") {
        let (alone, end) = world(&corpus, &recipe, 1, None, Some(160));
        let end = end.unwrap();
        // Sizes that follow one another, and rows that each delivers.
        let mut from: Option<Whole> = None;
        let mut rows = Vec::new();
        for (world_size, until) in [
            (2, 6),
            (4, 42),
            (1, 49),
            (1, 50),
            (4, 90),
            (2, 132),
            (1, 160),
        ] {
            let before = from
                .as_ref()
                .map_or((0, 0), |whole| (whole.step, whole.rows));
            let steps = before.0 + (until - before.1).div_ceil(u64::from(world_size));
            let (more, whole) = world(&corpus, &recipe, world_size, from.as_ref(), Some(steps));
            rows.extend(more);
            from = whole;
        }
        assert_eq!(rows.len(), alone.len(), "{name}");
        assert_eq!(rows, alone, "{name}");
        let last = from.unwrap();
        assert_eq!((last.digest, last.rows), (end.digest, end.rows), "{name}");
        assert_eq!(last.ledger, end.ledger, "{name}");
        assert_eq!(last.lanes, end.lanes, "{name}");
    }
}

/// Every step of a finite stream, through lanes that end one after the other and the last pool.
#[test]
fn resumes_at_every_step_of_a_finite_stream() {
    let corpus = Corpus::new();
    for (name, recipe) in recipes(&corpus, "epochs: 1") {
        let (alone, end) = world(&corpus, &recipe, 1, None, None);
        let end = end.unwrap();
        let mut from = None;
        for step in 1..=alone.len() as u64 {
            if step % 3 != 0 && step + 12 < alone.len() as u64 {
                continue;
            }
            let (rows, whole) = world(&corpus, &recipe, 1, from.as_ref(), Some(step));
            let begin = rows.first().map_or(0, |(number, _)| *number);
            let expected = &alone[begin as usize..step as usize];
            assert_eq!(rows, expected, "step {step}, {name}");
            from = whole;
        }
        let last = from.unwrap();
        assert_eq!(
            (last.digest, last.ledger),
            (end.digest, end.ledger),
            "{name}"
        );
    }
}
