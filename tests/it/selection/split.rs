//! `split`: what is held out is in no training row, and all of the eval side.

use super::*;
use packmill::pack::{Scratch, overlong, packer};
use packmill::pipeline::Side;
use packmill::{Piece, batch::Digest};
use std::collections::VecDeque;
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(super) fn is_held_out(row: &Value, fraction: f64, seed: u64) -> bool {
    let hash = xxh3_64_with_seed(row.to_string().as_bytes(), seed) >> 11;
    (hash as f64) < fraction * (1_u64 << 53) as f64
}

/// What one rank of the eval side delivered.
struct Part {
    /// By number: hash (of batches of one row) and segments.
    rows: BTreeMap<u64, (Digest, Vec<Segment>)>,
    filling: usize,
    steps: u64,
    digest: Digest,
    ledger: Ledger,
}

fn eval(corpus: &Corpus, recipe: &Recipe, rank: Rank) -> Result<Part, packmill::Error> {
    let builder = Loader::builder(recipe.clone()).cache(corpus.cache());
    let mut loader = builder.rank(rank).side(Side::Eval).build()?;
    let mut rows = BTreeMap::new();
    let mut filling = 0;
    for batch in loader.by_ref() {
        let batch = batch?;
        filling += batch.filling();
        assert!(
            batch.filling() == 0 || batch.num_tokens() == 0,
            "rows of one"
        );
        for number in batch.row_numbers() {
            let before = rows.insert(*number, (batch.digest(), segments(&batch).collect()));
            assert!(before.is_none(), "row {number} came twice");
        }
    }
    let progress = loader.progress();
    Ok(Part {
        rows,
        filling,
        steps: progress.steps,
        digest: progress.digest,
        ledger: progress.ledger.as_ref().clone(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn both_sides_have_what_a_plain_loop_says(
        way in way(),
        world in select(vec![1_u32, 2, 3, 5]),
        fraction in prop_oneof![0.02_f64..0.6, Just(1.0)],
        seed in prop::option::of(0..5_u64),
        of_b in prop::option::of((0.0_f64..0.5, 1..20_u64)),
        max_records in 1..40_u64,
        filtered: bool,
    ) {
        let (corpus, rows) = corpus();
        let plain = samples(&corpus, &way.recipe(&corpus, "", ""));
        let key = seed.map_or(String::new(), |seed| format!(", seed: {seed}"));
        let filter = if filtered { "filter: {turns: {min: 4}}\n" } else { "" };
        let more = format!("{filter}split: {{fraction: {fraction}, max_records: {max_records}{key}}}");
        let own = of_b.map_or(String::new(), |(fraction, most)| format!(", split: {{fraction: {fraction}, max_records: {most}}}"));
        let recipe = way.recipe(&corpus, &more, &own);
        let too_short = |seen: &Seen<'_>| (filtered && seen.turns() < 4).then_some((Reason::FilteredTurns, 0));
        let held_out = |seen: &Seen<'_>| match (seen.sample.source, of_b) {
            (1, Some((fraction, _))) => is_held_out(seen.row, fraction, 17),
            _ => is_held_out(seen.row, fraction, seed.unwrap_or(17)),
        };

        let (expected, dropped) = kept(&rows, &plain, |seen| match held_out(seen) {
            true => Some((Reason::HeldOut, 0)),
            false => too_short(seen),
        });
        if expected.is_empty() {
            let builder = Loader::builder(recipe.clone()).cache(corpus.cache()).build();
            prop_assert!(builder.and_then(|mut loader| loader.try_for_each(|batch| batch.map(drop))).is_err());
        } else {
            let (delivered, ledger) = streamed(&corpus, &recipe, way.world);
            prop_assert_eq!(delivered, expected);
            assert_accounted(&ledger, &dropped, [30, 120]);
        }

        // The other side: the first of each source, in corpus order, through one pool.
        let most = [max_records, of_b.map_or(max_records, |(_, most)| most)];
        let mut records = [0_u64; 2];
        let (mut pieces, mut lost) = (VecDeque::new(), [BTreeMap::new(), BTreeMap::new()]);
        for (row, sample) in rows.iter().zip(&plain) {
            let (seen, source) = (Seen { row, sample }, sample.source as usize);
            if !held_out(&seen) || records[source] == most[source] {
                continue;
            }
            records[source] += 1;
            let why = too_short(&seen).map(|(reason, _)| reason).or(sample.content.as_ref().err().copied());
            match (why, &sample.content) {
                (Some(reason), _) => lost[source].entry(reason).or_insert((0, u64::MAX)).0 += 1,
                (None, Ok(example)) => pieces.extend(overlong::fit(example.clone(), &recipe.pack, None).unwrap().pieces),
                (None, Err(_)) => unreachable!(),
            }
        }
        let mut by_hand: Vec<Vec<Segment>> = Vec::new();
        let (mut packer, mut scratch) = (packer::<Piece>(&recipe.pack).unwrap(), Scratch::default());
        loop {
            while packer.wants() && let Some(piece) = pieces.pop_front() {
                packer.push(piece);
            }
            let Some(row) = packer.row(&mut scratch) else { break };
            by_hand.push(row.segments.iter().map(|piece| {
                let o = &piece.example.origin;
                [i64::from(o.source), i64::from(o.shard), o.block as i64, o.record as i64, 0, i64::from(piece.tokens.start), i64::from(piece.tokens.end) - 1]
            }).collect());
        }
        let mut recipe = recipe;
        recipe.batch.step_rows = Some(2 * world as usize);
        let parts = (0..world).map(|number| eval(&corpus, &recipe, Rank { number, world_size: world }));
        let parts: Result<Vec<Part>, _> = parts.collect();
        if by_hand.is_empty() {
            let error = parts.err().map(|error| error.to_string());
            prop_assert!(error.is_some_and(|said| said.contains("nothing out") || said.contains("no row")));
            return Ok(());
        }
        let parts = parts.unwrap();
        let mut ledger = parts[0].ledger.clone();
        let mut all = BTreeMap::new();
        for (number, part) in parts.iter().enumerate() {
            if number > 0 {
                ledger.add(&part.ledger);
            }
            let own = part.rows.keys().all(|n| n % u64::from(world) == number as u64);
            prop_assert!(own, "another rank's row");
            prop_assert_eq!(part.steps, (by_hand.len() as u64).div_ceil(2 * u64::from(world)));
            prop_assert_eq!(part.rows.len() + part.filling, 2 * part.steps as usize);
            all.extend(part.rows.clone());
        }
        let segments: Vec<_> = all.values().map(|(_, segments)| segments.clone()).collect();
        prop_assert_eq!(segments, by_hand);
        assert_accounted(&ledger, &lost, records);
        // The same rows, and hashes, for one rank and another number of workers.
        recipe.workers = Some(3);
        let alone = eval(&corpus, &recipe, Rank::ALONE).unwrap();
        prop_assert_eq!(&alone.rows, &all);
        prop_assert_eq!(&alone.ledger, &ledger);
        let mut sum = Digest::default();
        parts.iter().for_each(|part| sum += part.digest);
        prop_assert_eq!(sum, alone.digest);
    }
}

const ONE: Way = Way {
    global: false,
    world: 1,
    workers: 2,
    streamed: true,
    shuffle: true,
};

#[test]
fn copies_fall_on_the_same_side() {
    let (corpus, rows) = corpus();
    let twice: String = rows
        .iter()
        .chain(&rows)
        .map(|row| format!("{row}\n"))
        .collect();
    corpus.write("b.jsonl.zst", &zstd_frames(&twice, 5));
    let recipe = ONE.recipe(&corpus, "split: {fraction: 0.3}", "");
    let model = crate::corpus::model(&recipe);
    let held = Samples::open_side(&recipe, &model, &corpus.cache(), Side::Eval).unwrap();
    let held: Vec<Sample> = held
        .map(|sample| sample.unwrap())
        .filter(|s| s.source == 1)
        .collect();
    let expected = rows.iter().filter(|row| is_held_out(row, 0.3, 17)).count();
    assert_eq!(held.len(), 2 * expected);
}

#[test]
fn another_split_is_another_stream_but_not_another_length_of_its_eval_side() {
    let (corpus, _) = corpus();
    let with = |split: &str| ONE.recipe(&corpus, &format!("split: {split}"), "");
    let state = |recipe: &Recipe| {
        let mut loader = corpus.loader(recipe, Rank::ALONE, None, Some(2)).unwrap();
        loader.by_ref().for_each(|batch| drop(batch.unwrap()));
        loader.state().unwrap()
    };
    assert_eq!(state(&with("{fraction: 0}")), state(&with("null")));
    let held = state(&with("{fraction: 0.2}"));
    let from = merged([&held]);
    for (split, name) in [
        (
            "{fraction: 0.25}",
            "split.fraction: 0.2 in the checkpoint, 0.25 in the recipe",
        ),
        (
            "{fraction: 0.2, seed: 3}",
            "split.seed: 17 in the checkpoint, 3 in the recipe",
        ),
        ("null", "split.fraction"),
    ] {
        let refused = corpus
            .loader(&with(split), Rank::ALONE, Some(&from), None)
            .unwrap_err();
        assert_eq!(refused.kind(), Kind::Checkpoint);
        assert!(refused.to_string().contains(name), "{refused}");
    }
    for same in [
        "{fraction: 0.2, max_records: 5}",
        "{fraction: 0.2, seed: 17}",
    ] {
        assert!(
            corpus
                .loader(&with(same), Rank::ALONE, Some(&from), None)
                .is_ok(),
            "{same}"
        );
    }
}

#[test]
fn the_eval_side_is_whole_every_time() {
    let (corpus, _) = corpus();
    let recipe = ONE.recipe(&corpus, "split: {fraction: 0.2}", "");
    let build = |recipe: &Recipe| {
        Loader::builder(recipe.clone())
            .cache(corpus.cache())
            .side(Side::Eval)
    };
    let refused = build(&recipe).checkpoints().build().unwrap_err();
    assert!(refused.to_string().contains("no checkpoints"), "{refused}");
    let refused = build(&ONE.recipe(&corpus, "", "")).build().unwrap_err();
    assert_eq!(refused.kind(), Kind::Recipe);
    assert!(
        refused.to_string().contains("set split: {fraction: 0.01}"),
        "{refused}"
    );
    // Ended early, and dropped at once.
    let loader = build(&recipe).steps(2).build().unwrap();
    assert_eq!(loader.count(), 2);
    drop(build(&recipe).build().unwrap());
}

/// A bad record is on the side that its bytes are on; what cannot be read at all is training's to book.
#[test]
fn bad_records_are_on_one_side_only() {
    let (corpus, _) = corpus();
    let bad: Vec<Value> = (0..40).map(|n| json!({"messages": n})).collect();
    let mut text: String = bad.iter().map(|row| format!("{row}\n")).collect();
    text += &rows(20, 9)
        .iter()
        .map(|row| format!("{row}\n"))
        .collect::<String>();
    corpus.write("a-2.jsonl", text.as_bytes());
    let more = "split: {fraction: 0.5}\non_bad_record: {skip: {max_fraction: 1}}";
    let recipe = ONE.recipe(&corpus, more, "");
    let out = bad.iter().filter(|row| is_held_out(row, 0.5, 17)).count() as u64;
    let (_, train) = streamed(&corpus, &recipe, 1);
    let eval = eval(&corpus, &recipe, Rank::ALONE).unwrap();
    let bad_of = |ledger: &Ledger| ledger.sources[0].1.records.dropped[&Reason::BadRecord];
    assert_eq!((bad_of(&train), bad_of(&eval.ledger)), (40 - out, out));
    let held = train.sources[0].1.records.dropped[&Reason::HeldOut];
    assert_eq!(held, eval.ledger.sources[0].1.records.taken);
}

#[test]
fn the_command_line_has_both_sides() {
    let (corpus, _) = corpus();
    corpus.write("r.yaml", b"tokenizer: tokenizer\nsources:\n  - {name: a, paths: [\"a-*\"]}\nsplit: {fraction: 0.5, max_records: 5}\n");
    let run = |arguments: &[&str]| corpus.packmill(arguments).output().unwrap();
    let report = |arguments: &[&str]| crate::corpus::report(&run(arguments));
    let train = report(&["stream", "--json", "r.yaml"]);
    let held = train["ledger"]["a"]["records"]["dropped"]["held_out"]
        .as_u64()
        .unwrap();
    assert!((6..25).contains(&held), "{held}");
    let eval = report(&["stream", "--json", "r.yaml", "--side", "eval"]);
    assert_eq!(eval["ledger"]["a"]["records"]["in"], 5);
    let lines = String::from_utf8(run(&["samples", "r.yaml", "--side", "eval"]).stdout).unwrap();
    assert_eq!(lines.lines().count(), 5);
    let lines = String::from_utf8(run(&["samples", "r.yaml"]).stdout).unwrap();
    assert_eq!(
        lines.matches("\"dropped\":\"held_out\"").count() as u64,
        held
    );
    let check = String::from_utf8(run(&["check", "r.yaml"]).stdout).unwrap();
    assert!(
        check.contains("about 15 records are held out, of which the eval side has 5"),
        "{check}"
    );
    for more in [
        &["--checkpoint", "c", "--checkpoint-every", "1"][..],
        &["--resume", "c"],
        &["--epochs", "2"],
    ] {
        let said = refused(&run(
            &[&["stream", "r.yaml", "--side", "eval"], more].concat()
        ));
        assert!(said.contains("--side eval takes no"), "{said}");
    }
}
