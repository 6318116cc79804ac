//! `plan: global`: exact epochs on any number of ranks, the same rows wherever they are planned.

mod bad_records; // judged once, booked in their place in every epoch
mod by_hand; // the same rows from a plan made by hand
mod lengths; // counted once, and again where they could be others
mod refusals; // what cannot be planned, and other plans' checkpoints
mod resume; // in mid-epoch, at an epoch's end, after the last one

use crate::corpus::{Corpus, chats, merged, refusal, report, zstd_frames};
use packmill::batch::{Batch, BatchSpec, BatchWriter, BufferPool, Digest, IdWidth};
use packmill::checkpoint::{State, Whole};
use packmill::ledger::{Account, Ledger, Reason};
use packmill::order::lanes::Rank;
use packmill::order::sequence::Sequence;
use packmill::pack::{Scratch, overlong, packer};
use packmill::pipeline::{Loader, Outlook, Progress, Samples};
use packmill::recipe::Plan;
use packmill::{Error, Example, Kind, Piece, Recipe};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

const SMALL: &str = "pack: {sequence_length: 512, lookahead: 16}";
const BASE: &str = "batch: {rows: 1}\nplan: global\nworkers: 2";

/// What is trained nowhere, a blank line, and records that fill several rows: beside the chats.
const ODD: &str = concat!(
    "{\"messages\": [{\"role\": \"user\", \"content\": \"nobody answers\"}]}\n",
    "\n",
    "{\"messages\": [{\"role\": \"user\", \"content\": \"alone\"}]}\n",
);

/// A row by its number: its hash and where its segments come from.
type Rows = BTreeMap<u64, (Digest, Vec<i64>)>;

/// Two sources of three shards and 130 lines, a blank one among them, in several codecs.
fn corpus() -> Corpus {
    let corpus = Corpus::new();
    let text = chats(127);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    corpus.write("a-0.jsonl", lines[..50].concat().as_bytes());
    let a_1 = lines[50..80].concat() + ODD;
    corpus.write("a-1.jsonl.zst", &zstd_frames(&a_1, 7));
    corpus.write("b.jsonl", lines[80..].concat().as_bytes());
    corpus
}

/// Lines before each shard of [`corpus`], by source and shard.
fn lines_before(source: u32, shard: u32) -> u64 {
    match (source, shard) {
        (0, 0) => 0,
        (0, _) => 50,
        _ => 83,
    }
}

const RECORDS: u64 = 129;
const LINES: u64 = 130;

fn yaml(more: &str) -> String {
    format!(
        "version: 1\nseed: 17\ntokenizer: tokenizer\nsources:\n  - {{name: a, paths: [\"a-*\"]}}\n  - {{name: b, paths: [b.jsonl]}}\n{BASE}\n{more}\n"
    )
}

fn parse(corpus: &Corpus, text: &str) -> Recipe {
    Recipe::parse(text, corpus.dir.path()).unwrap_or_else(|faults| panic!("{faults}"))
}

fn recipe(corpus: &Corpus, more: &str) -> Recipe {
    parse(corpus, &yaml(more))
}

/// What one rank delivered.
struct Part {
    rows: Rows,
    /// Of each micro-batch: step, filling rows, epochs of its segments.
    batches: Vec<(u64, usize, Vec<i64>)>,
    progress: Progress,
    state: Option<State>,
    outlook: Outlook,
}

fn try_rank(
    corpus: &Corpus,
    recipe: &Recipe,
    rank: Rank,
    from: Option<&Whole>,
    steps: Option<u64>,
) -> Result<Part, Error> {
    let mut loader = corpus.loader(recipe, rank, from, steps)?;
    let outlook = loader.outlook().unwrap().clone();
    let (mut rows, mut batches, mut state) = (Rows::new(), Vec::new(), None);
    let mut step = from.map_or(0, |whole| whole.step);
    while let Some(batch) = loader.next() {
        let batch = batch?;
        let epochs = column(&batch, 5).collect();
        batches.push((step, batch.filling(), epochs));
        for (index, number) in batch.row_numbers().iter().enumerate() {
            let before = rows.insert(*number, row(&batch, index));
            assert!(before.is_none(), "row {number} came twice");
        }
        step = loader.progress().step;
        state = loader.state().or(state);
    }
    let progress = loader.progress().clone();
    assert!(progress.ledger.balanced(), "{:?}", progress.ledger);
    Ok(Part {
        rows,
        batches,
        progress,
        state,
        outlook,
    })
}

/// A row's hash, of a batch that is that row alone, and where its segments come from.
fn row(batch: &Batch, index: usize) -> (Digest, Vec<i64>) {
    let alone = batch.rows() == 1;
    let digest = if alone {
        batch.digest()
    } else {
        Digest::default()
    };
    let segments = batch.provenance().chunks(9);
    let own = segments.filter(|segment| segment[8] == index as i64);
    (
        digest,
        own.flat_map(|segment| segment[..8].to_vec()).collect(),
    )
}

fn column(batch: &Batch, column: usize) -> impl Iterator<Item = i64> + '_ {
    batch
        .provenance()
        .chunks(9)
        .map(move |segment| segment[column])
}

/// What all ranks delivered together.
struct World {
    rows: Rows,
    parts: Vec<Part>,
    digest: Digest,
    ledger: Ledger,
    whole: Option<Whole>,
}

fn world(
    corpus: &Corpus,
    recipe: &Recipe,
    world_size: u32,
    from: Option<&Whole>,
    steps: Option<u64>,
) -> World {
    let rank = |number| Rank { number, world_size };
    let parts: Vec<Part> = (0..world_size)
        .map(|number| try_rank(corpus, recipe, rank(number), from, steps).unwrap())
        .collect();
    let mut all = World {
        rows: Rows::new(),
        digest: Digest::default(),
        ledger: parts[0].progress.ledger.as_ref().clone(),
        whole: None,
        parts,
    };
    for (number, part) in all.parts.iter().enumerate() {
        for (row, content) in &part.rows {
            assert_eq!(row % u64::from(world_size), number as u64, "another rank's");
            assert!(all.rows.insert(*row, content.clone()).is_none());
        }
        all.digest += part.progress.digest;
        if number > 0 {
            all.ledger.add(&part.progress.ledger);
        }
        assert_eq!(part.progress.step, all.parts[0].progress.step);
        assert_eq!(part.progress.steps, all.parts[0].progress.steps);
        assert_eq!(part.outlook.last_step, all.parts[0].outlook.last_step);
    }
    let states = || all.parts.iter().filter_map(|part| part.state.as_ref());
    all.whole = states().next().is_some().then(|| merged(states()));
    all
}

fn alone(corpus: &Corpus, recipe: &Recipe) -> World {
    world(corpus, recipe, 1, None, None)
}

/// Filling rows stand only in an epoch's last step, and no step has rows of two epochs.
fn steps_end_with_their_epochs(world: &World) {
    let steps = &world.parts[0].outlook.steps;
    let mut last = 0;
    let ends: Vec<u64> = steps
        .iter()
        .map(|steps| {
            last += steps;
            last - 1
        })
        .collect();
    for (step, filling, epochs) in world.parts.iter().flat_map(|part| &part.batches) {
        assert!(
            *filling == 0 || ends.contains(step),
            "step {step} is filled"
        );
        let epoch = ends.iter().filter(|end| *end < step).count() as i64;
        assert!(
            epochs.iter().all(|own| *own == epoch),
            "step {step}: {epochs:?}"
        );
    }
}

/// Every line that is a record with something to learn, once in each epoch, all its tokens in order.
fn every_record_once_an_epoch(corpus: &Corpus, recipe: &Recipe, rows: &Rows) {
    let model = crate::corpus::model(recipe);
    let samples = Samples::open(recipe, &model, &corpus.cache()).unwrap();
    let mut expected = BTreeMap::new();
    for sample in samples.map(|sample| sample.unwrap()) {
        if let Ok(example) = sample.content {
            for epoch in 0..recipe.epochs.unwrap() {
                let place = (epoch, sample.source, sample.shard, sample.record);
                expected.insert(place.map_to_i64(), vec![(0, example.len() as i64 - 1)]);
            }
        }
    }
    let mut found: BTreeMap<[i64; 4], Vec<(i64, i64)>> = BTreeMap::new();
    for (_, provenance) in rows.values() {
        for s in provenance.chunks(8) {
            assert_eq!(
                (s[3], s[4]),
                (0, 0),
                "a held record is a block, one example"
            );
            found
                .entry([s[5], s[0], s[1], s[2]])
                .or_default()
                .push((s[6], s[7]));
        }
    }
    assert_eq!(found, expected);
}

trait MapToI64 {
    fn map_to_i64(self) -> [i64; 4];
}

impl MapToI64 for (u64, u32, u32, u64) {
    fn map_to_i64(self) -> [i64; 4] {
        [self.0 as i64, self.1.into(), self.2.into(), self.3 as i64]
    }
}

#[test]
fn any_number_of_ranks_delivers_the_same_epochs() {
    let corpus = corpus();
    let more = "pack: {sequence_length: 1024, lookahead: 16}\nepochs: 2";
    let base = recipe(&corpus, more);
    let one = alone(&corpus, &base);
    every_record_once_an_epoch(&corpus, &base, &one.rows);
    let outlook = &one.parts[0].outlook;
    assert_eq!(outlook.counted_records, RECORDS);
    assert_eq!(outlook.rows.iter().sum::<u64>(), one.rows.len() as u64);
    for (world_size, step_rows) in [
        (1, 7),
        (2, 2),
        (3, 3),
        (3, 6),
        (5, 15),
        (8, 8),
        (24, 24),
        (24, 48),
    ] {
        let mut recipe = base.clone();
        recipe.batch.step_rows = Some(step_rows);
        let many = world(&corpus, &recipe, world_size, None, None);
        let name = format!("{world_size} ranks, {step_rows} rows a step");
        assert_eq!(many.rows, one.rows, "{name}");
        assert_eq!(many.digest, one.digest, "{name}");
        assert_eq!(many.ledger, one.ledger, "{name}");
        let outlook = &many.parts[0].outlook;
        assert_eq!(outlook.counted_records, 0, "{name}");
        assert_eq!(
            Some(many.parts[0].progress.steps),
            outlook.last_step,
            "{name}"
        );
        let steps = outlook
            .rows
            .iter()
            .map(|rows| rows.div_ceil(step_rows as u64));
        assert!(steps.eq(outlook.steps.iter().copied()), "{name}");
        let delivered = |part: &Part| part.rows.len() as u64 == part.progress.rows;
        assert!(many.parts.iter().all(delivered), "filling rows are no rows");
        steps_end_with_their_epochs(&many);
    }
    // Several rows a batch, several batches a step.
    let mut recipe = base.clone();
    (recipe.batch.rows, recipe.batch.step_rows) = (2, Some(12));
    let many = world(&corpus, &recipe, 3, None, None);
    assert_eq!((many.digest, &many.ledger), (one.digest, &one.ledger));
    let provenance = |rows: &Rows| rows.values().map(|row| row.1.clone()).collect::<Vec<_>>();
    assert_eq!(provenance(&many.rows), provenance(&one.rows));
    steps_end_with_their_epochs(&many);
    let batches: Vec<usize> = many.parts.iter().map(|part| part.batches.len()).collect();
    let steps = many.parts[0].progress.steps as usize;
    assert_eq!(batches, [2 * steps; 3]);
}

/// The account of the same epochs under `plan: lanes`.
fn ledger_of_lanes(corpus: &Corpus, recipe: &Recipe) -> Ledger {
    let mut lanes = recipe.clone();
    (lanes.plan, lanes.lanes) = (Plan::Lanes, 4);
    let mut loader = Loader::builder(lanes)
        .cache(corpus.cache())
        .build()
        .unwrap();
    loader.by_ref().for_each(|batch| drop(batch.unwrap()));
    loader.progress().ledger.as_ref().clone()
}

fn sum<'a>(reports: impl IntoIterator<Item = &'a Value>) -> Value {
    let digests = reports
        .into_iter()
        .map(|report| report["digest"].as_str().unwrap());
    let sum = digests.fold(0_u128, |sum, digest| {
        sum.wrapping_add(u128::from_str_radix(digest, 16).unwrap())
    });
    Value::from(format!("{sum:032x}"))
}

/// Ways of packing, each with rows that several records do not fit.
const PACKS: [&str; 12] = [
    SMALL,
    "pack: {sequence_length: 512, lookahead: 1}",
    "pack: {sequence_length: 512, lookahead: 1000000}",
    "pack: {sequence_length: 512, lookahead: 16, segment_multiple: 64}",
    "pack: {sequence_length: 512, lookahead: 16, max_segments: 2}",
    "pack: {sequence_length: 96, lookahead: 8, overlong: truncate}",
    "pack: {sequence_length: 96, lookahead: 8, overlong: truncate_left}",
    "pack: {sequence_length: 96, lookahead: 8, overlong: split}",
    "pack: {sequence_length: 200, lookahead: 8, overlong: drop}",
    "pack: {sequence_length: 512, strategy: concat}",
    "pack: {sequence_length: 160, strategy: none, overlong: split}",
    "pack: {sequence_length: 512, lookahead: 16}\nshuffle: false",
];
