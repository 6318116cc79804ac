//! Going on: whatever the number of ranks was and is, the rows are those of the uninterrupted stream.

use crate::corpus::{Corpus, chats, merged, zstd_frames};
use packmill::Recipe;
use packmill::batch::Digest;
use packmill::checkpoint::{State, Whole, alone};
use packmill::order::lanes::Rank;
use packmill::pipeline::Loader;

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
    let mut loader = corpus.loader(recipe, rank, from, steps).unwrap();
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
    let whole = (!parts.is_empty()).then(|| merged(&parts));
    (rows, whole)
}

/// The rows of worlds that follow one another, and where the last of them stands; each goes on from the one before, up to
/// a row.
fn through(corpus: &Corpus, recipe: &Recipe, worlds: &[(u32, u64)]) -> (Vec<(u64, Digest)>, Whole) {
    let mut from: Option<Whole> = None;
    let mut rows = Vec::new();
    for &(world_size, until) in worlds {
        let before = from
            .as_ref()
            .map_or((0, 0), |whole| (whole.step, whole.rows));
        let steps = before.0 + (until - before.1).div_ceil(u64::from(world_size));
        let (more, whole) = world(corpus, recipe, world_size, from.as_ref(), Some(steps));
        rows.extend(more);
        from = whole;
    }
    (rows, from.unwrap())
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
fn a_rank_goes_on_from_its_own_part_alone() {
    let corpus = Corpus::new();
    for (name, recipe) in recipes(&corpus, "") {
        for number in 0..2 {
            let own = Rank {
                number,
                world_size: 2,
            };
            let (rows, end) = rank(&corpus, &recipe, own, None, Some(60));
            let (first, part) = rank(&corpus, &recipe, own, None, Some(25));
            let from = alone(part.unwrap());
            let (rest, last) = rank(&corpus, &recipe, own, Some(&from), Some(60));
            assert_eq!([first, rest].concat(), rows, "rank {number}, {name}");
            // Its account goes on too, where a stream of all ranks' has it with rank 0.
            let (last, end) = (last.unwrap(), end.unwrap());
            assert_eq!(
                (last.digest, last.ledger, last.lanes),
                (end.digest, end.ledger, end.lanes)
            );
            for other in [
                Rank::ALONE,
                Rank {
                    number: 1 - number,
                    world_size: 2,
                },
            ] {
                let refused = corpus.loader(&recipe, other, Some(&from), None);
                let said = refused.unwrap_err().to_string();
                assert!(
                    said.contains(&format!("rank {number} of 2 alone")),
                    "{said}"
                );
            }
        }
    }
}

#[test]
fn resumes_at_any_world_size() {
    let corpus = Corpus::new();
    for (name, recipe) in recipes(&corpus, "") {
        let (alone, end) = world(&corpus, &recipe, 1, None, Some(160));
        let end = end.unwrap();
        let (rows, last) = through(
            &corpus,
            &recipe,
            &[
                (2, 6),
                (4, 42),
                (1, 49),
                (1, 50),
                (4, 90),
                (2, 132),
                (1, 160),
            ],
        );
        assert_eq!(rows.len(), alone.len(), "{name}");
        assert_eq!(rows, alone, "{name}");
        assert_eq!((last.digest, last.rows), (end.digest, end.rows), "{name}");
        assert_eq!(last.ledger, end.ledger, "{name}");
        assert_eq!(last.lanes, end.lanes, "{name}");
    }
}

/// A place that no stream of the recipe stands at, though every number in it could be.
#[test]
fn a_cursor_within_blocks_that_are_taken_together_is_refused() {
    let corpus = Corpus::new();
    let (_, recipe) = recipes(&corpus, "").swap_remove(4);
    let (_, whole) = world(&corpus, &recipe, 1, None, Some(40));
    let mut whole = whole.unwrap();
    whole.lanes[1].streams[0].position += 1;
    let builder = Loader::builder(recipe).cache(corpus.cache()).resume(whole);
    let error = builder.build().map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), packmill::Kind::Checkpoint);
    assert!(error.to_string().contains("lane 1: block"), "{error}");
}

/// Three sources of short, middling and long chats, drawn 5:2:3, and 1:1:0 from row 60 on.
fn mixed(corpus: &Corpus, more: &str) -> Recipe {
    mixed_and_packed(
        corpus,
        &format!("pack: {{sequence_length: 512, lookahead: 6}}\n{more}"),
    )
}

fn mixed_and_packed(corpus: &Corpus, more: &str) -> Recipe {
    let chats = chats(360);
    let lines: Vec<&str> = chats.split_inclusive('\n').collect();
    for (name, part) in [
        ("a", &lines[..200]),
        ("b", &lines[200..260]),
        ("c", &lines[260..]),
    ] {
        corpus.write(&format!("{name}.jsonl"), part.concat().as_bytes());
    }
    let text = format!(
        "version: 1\ntokenizer: tokenizer\nsources:\n  - {{name: a, paths: [a.jsonl], weight: 5}}\n  - {{name: b, paths: [b.jsonl], weight: 2}}\n  - {{name: c, paths: [c.jsonl], weight: 3}}\n{BASE}\n{more}\n"
    );
    Recipe::parse(&text, corpus.dir.path()).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn weights_are_shares_of_delivered_tokens() {
    let corpus = Corpus::new();
    let recipe = mixed(&corpus, "");
    let (_, whole) = world(&corpus, &recipe, 1, None, Some(2_000));
    let ledger = whole.unwrap().ledger;
    let tokens: Vec<f64> = ledger
        .sources
        .iter()
        .map(|(_, account)| account.tokens.delivered as f64)
        .collect();
    let all: f64 = tokens.iter().sum();
    for (tokens, share) in tokens.iter().zip([0.5, 0.2, 0.3]) {
        assert!(
            (tokens / all - share).abs() < 0.005,
            "{tokens} of {all}, {share}"
        );
    }
}

#[test]
fn a_mixture_resumes_at_any_world_size_and_through_its_schedule() {
    let corpus = Corpus::new();
    let recipe = mixed(&corpus, "schedule: [{row: 60, weights: {a: 1, b: 1}}]");
    let (alone, end) = world(&corpus, &recipe, 1, None, Some(160));
    let end = end.unwrap();
    let (rows, last) = through(
        &corpus,
        &recipe,
        &[
            (2, 6),
            (4, 42),
            (1, 59),
            (1, 61),
            (4, 97),
            (2, 131),
            (1, 160),
        ],
    );
    assert_eq!(rows, alone);
    assert_eq!((&last.lanes, &last.ledger), (&end.lanes, &end.ledger));
    // A source of weight 0 is not drawn any more: what was pooled of it is delivered, no more is taken.
    let taken = |whole: &Whole| whole.ledger.sources[2].1.records.taken;
    let (_, at_60) = world(&corpus, &recipe, 1, None, Some(64));
    assert_eq!(taken(&at_60.unwrap()), taken(&end));
}

#[test]
fn a_mixture_stops_with_the_first_source_that_ends() {
    let corpus = Corpus::new();
    let recipe = mixed(&corpus, "on_exhausted: stop");
    let (rows, end) = world(&corpus, &recipe, 1, None, None);
    let ledger = end.unwrap().ledger;
    assert!(ledger.balanced() && rows.len() > 20);
    for (name, account) in &ledger.sources {
        assert_eq!(account.records.pending, 0, "{name}");
    }
    // b has 60 records and a fifth of the tokens: nearly all of them came, none twice.
    let taken = ledger.sources[1].1.records.taken;
    assert!((50..=60).contains(&taken), "{taken}");
}

/// A lane ends with pieces of other sources' records that its pool had no place for: they come behind the pool.
#[test]
fn what_waited_when_a_lane_ended_comes_too() {
    let corpus = Corpus::new();
    for more in [
        "pack: {sequence_length: 96, lookahead: 3, overlong: split}",
        "pack: {sequence_length: 512, lookahead: 3}\nrender: per_turn",
    ] {
        let more = format!("{more}\non_exhausted: stop");
        let recipe = mixed_and_packed(&corpus, &more);
        let end = resumes_at_every_step(&corpus, &more, &recipe);
        let waited: usize = end.lanes.iter().map(|lane| lane.waiting.len()).sum();
        assert!(waited > 0, "nothing to see here with {more}");
        assert!(end.ledger.balanced());
        for (name, account) in &end.ledger.sources {
            let counts = [&account.records, &account.examples, &account.tokens];
            assert!(
                counts.iter().all(|count| count.pending == 0),
                "{name}, {more}: {account:?}"
            );
        }
    }
}

/// Every step of a finite stream, through lanes that end one after the other and the last pool.
#[test]
fn resumes_at_every_step_of_a_finite_stream() {
    let corpus = Corpus::new();
    for (name, recipe) in recipes(&corpus, "epochs: 1") {
        resumes_at_every_step(&corpus, &name, &recipe);
    }
}

/// Every third step, and all of the last ones; where the stream ends.
fn resumes_at_every_step(corpus: &Corpus, name: &str, recipe: &Recipe) -> Whole {
    let (alone, end) = world(corpus, recipe, 1, None, None);
    let end = end.unwrap();
    let mut from = None;
    for step in 1..=alone.len() as u64 {
        if step % 3 != 0 && step + 12 < alone.len() as u64 {
            continue;
        }
        let (rows, whole) = world(corpus, recipe, 1, from.as_ref(), Some(step));
        let begin = rows.first().map_or(0, |(number, _)| *number);
        let expected = &alone[begin as usize..step as usize];
        assert_eq!(rows, expected, "step {step}, {name}");
        from = whole;
    }
    let last = from.unwrap();
    assert_eq!(
        (last.digest, &last.ledger),
        (end.digest, &end.ledger),
        "{name}"
    );
    end
}
