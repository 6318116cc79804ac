//! `plan: global`: exact epochs on any number of ranks, the same rows wherever they are planned.

use crate::corpus::{Corpus, chats, zstd_frames};
use packmill::batch::{Batch, BatchSpec, BatchWriter, BufferPool, Digest, IdWidth};
use packmill::checkpoint::{State, Whole, merge};
use packmill::ledger::{Account, Ledger, Reason};
use packmill::order::lanes::Rank;
use packmill::order::sequence::Sequence;
use packmill::pack::{Scratch, overlong, packer};
use packmill::pipeline::{Loader, Model, Outlook, Progress, Samples};
use packmill::recipe::Plan;
use packmill::{Error, Example, Kind, Piece, Recipe};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Output;
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
    let mut loader = builder.build()?;
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
    // Through the text, as a process would find it.
    let states: Vec<State> = all
        .parts
        .iter()
        .filter_map(|part| part.state.as_ref())
        .map(|state| State::parse(&state.to_text(), Path::new("part")).unwrap())
        .collect();
    all.whole = (!states.is_empty()).then(|| merge(states).unwrap());
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
    let model = Arc::new(Model::load(recipe).unwrap());
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

/// The rows of a plan made by hand: all encoded in corpus order, put in order, pushed through a packer.
fn naive(corpus: &Corpus, recipe: &Recipe) -> Rows {
    let model = Arc::new(Model::load(recipe).unwrap());
    let mut by_block: BTreeMap<u64, Example> = BTreeMap::new();
    for sample in Samples::open(recipe, &model, &corpus.cache()).unwrap() {
        let sample = sample.unwrap();
        if let Ok(example) = sample.content {
            let block = lines_before(sample.source, sample.shard) + sample.record;
            by_block.insert(block, example);
        }
    }
    let sequence = Sequence::new(recipe.seed, "", LINES, recipe.shuffle, recipe.epochs);
    let spec = BatchSpec {
        rows: 1,
        sequence_length: recipe.pack.sequence_length,
        pad_id: model.tokenizer.pad,
        labels: recipe.batch.labels,
        width: IdWidth::I32,
        segment_multiple: recipe.pack.segment_multiple,
        max_segments: recipe.pack.max_segments,
    };
    let mut writer = BatchWriter::new(spec, BufferPool::new(2)).unwrap();
    let mut rows = Rows::new();
    for epoch in 0..recipe.epochs.unwrap() {
        let mut queue: VecDeque<Piece> = VecDeque::new();
        for position in epoch * LINES..(epoch + 1) * LINES {
            let place = sequence.at(position).unwrap();
            assert_eq!(place.epoch, epoch);
            let Some(example) = by_block.get(&place.block) else {
                continue;
            };
            let mut example = example.clone();
            example.origin.epoch = epoch;
            queue.extend(overlong::fit(example, &recipe.pack, None).unwrap().pieces);
        }
        let mut packer = packer::<Piece>(&recipe.pack).unwrap();
        let mut scratch = Scratch::default();
        loop {
            while packer.wants()
                && let Some(piece) = queue.pop_front()
            {
                packer.push(piece);
            }
            let Some(packed) = packer.row(&mut scratch) else {
                break;
            };
            let number = rows.len() as u64;
            writer.push_row(number, &packed.segments).unwrap();
            rows.insert(number, row(&writer.finish().unwrap(), 0));
        }
        assert!(queue.is_empty());
    }
    rows
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

#[test]
fn every_plan_is_the_one_made_by_hand() {
    let corpus = corpus();
    for pack in PACKS {
        let recipe = recipe(&corpus, &format!("{pack}\nepochs: 2"));
        let expected = naive(&corpus, &recipe);
        let one = alone(&corpus, &recipe);
        assert_eq!(one.rows.len(), expected.len(), "{pack}");
        assert_eq!(one.rows, expected, "{pack}");
        let three = world(&corpus, &recipe, 3, None, None);
        assert_eq!(three.rows, expected, "{pack}");
        assert_eq!(three.ledger, one.ledger, "{pack}");
        // Another plan of the same epochs drops and cuts the same.
        let mut lanes = recipe.clone();
        (lanes.plan, lanes.lanes) = (Plan::Lanes, 4);
        let mut loader = Loader::builder(lanes)
            .cache(corpus.cache())
            .build()
            .unwrap();
        loader.by_ref().for_each(|batch| drop(batch.unwrap()));
        assert_eq!(*loader.progress().ledger, one.ledger, "{pack}");
    }
}

#[test]
fn an_overlong_example_is_refused_before_the_first_row() {
    let corpus = corpus();
    let recipe = recipe(
        &corpus,
        "pack: {sequence_length: 400, overlong: error}\nepochs: 1",
    );
    let error = try_rank(&corpus, &recipe, Rank::ALONE, None, None)
        .err()
        .unwrap();
    assert_eq!(error.kind(), Kind::Pack, "{error}");
    assert!(
        error.shard().is_some() && error.record().is_some(),
        "{error}"
    );
    assert!(
        error.to_string().contains("longer than a row of 400"),
        "{error}"
    );
}

/// Where a stream is left: in mid-epoch, a step before an epoch's end, at it, a step after it.
#[test]
fn resumes_in_and_between_epochs_at_another_size() {
    let corpus = corpus();
    for pack in [PACKS[0], PACKS[7], PACKS[9], PACKS[10]] {
        let base = recipe(&corpus, &format!("{pack}\nepochs: 3"));
        let one = alone(&corpus, &base);
        let sizes = [(1, 1), (3, 6), (2, 2), (5, 10), (8, 8)];
        for (turn, &(before, step_rows)) in sizes.iter().enumerate() {
            let mut first = base.clone();
            first.batch.step_rows = Some(step_rows);
            let (after, step_rows_after) = sizes[(turn + 1) % sizes.len()];
            let mut second = base.clone();
            second.batch.step_rows = Some(step_rows_after);
            let epoch = one.parts[0].outlook.rows[0].div_ceil(step_rows as u64);
            let stops = [epoch / 2, epoch - 1, epoch, epoch + 1];
            // Each size leaves off at two of these places.
            for stop in [stops[turn % 4], stops[(turn + 2) % 4]] {
                let name = format!("{pack}: {before} ranks to step {stop}, {after} go on");
                let begun = world(&corpus, &first, before, None, Some(stop));
                let from = begun.whole.unwrap();
                assert_eq!(from.step, stop, "{name}");
                let end = world(&corpus, &second, after, Some(&from), None);
                let mut rows = begun.rows.clone();
                for (number, row) in &end.rows {
                    assert!(
                        rows.insert(*number, row.clone()).is_none(),
                        "{name}: {number}"
                    );
                }
                assert_eq!(rows, one.rows, "{name}");
                assert_eq!(
                    (end.digest, &end.ledger),
                    (one.digest, &one.ledger),
                    "{name}"
                );
                let last = &end.parts[0];
                assert_eq!(Some(last.progress.step), last.outlook.last_step, "{name}");
                assert_eq!(last.outlook.counted_records, 0, "{name}");
            }
        }
    }
}

#[test]
fn after_the_end_there_is_nothing_until_epochs_is_raised() {
    let corpus = corpus();
    let more = |epochs| format!("{SMALL}\nepochs: {epochs}");
    let two = recipe(&corpus, &more(2));
    let end = world(&corpus, &two, 3, None, None);
    let from = end.whole.unwrap();
    let nothing = world(&corpus, &two, 2, Some(&from), None);
    assert!(nothing.rows.is_empty() && nothing.parts[0].batches.is_empty());
    assert_eq!((nothing.digest, &nothing.ledger), (end.digest, &end.ledger));
    assert_eq!(nothing.parts[0].outlook.last_step, Some(from.step));
    let four = recipe(&corpus, &more(4));
    let all = alone(&corpus, &four);
    let rest = world(&corpus, &four, 2, Some(&from), None);
    let both: Rows = end.rows.into_iter().chain(rest.rows).collect();
    assert_eq!(both, all.rows);
    assert_eq!((rest.digest, rest.ledger), (all.digest, all.ledger));
    let one = recipe(&corpus, &more(1));
    let error = try_rank(&corpus, &one, Rank::ALONE, Some(&from), None)
        .err()
        .unwrap();
    assert_eq!(error.kind(), Kind::Checkpoint, "{error}");
    assert!(error.to_string().contains("epoch 2"), "{error}");
    // Whoever stands exactly at an epoch's end has begun no other.
    let whole = world(&corpus, &two, 1, None, Some(end.parts[0].outlook.rows[0])).whole;
    assert!(alone_from(&corpus, &one, &whole.unwrap()).rows.is_empty());
}

fn alone_from(corpus: &Corpus, recipe: &Recipe, from: &Whole) -> World {
    world(corpus, recipe, 1, Some(from), None)
}

/// An endless stream goes through epoch after epoch; what it announces is the first.
#[test]
fn without_epochs_it_has_no_end() {
    let corpus = corpus();
    let endless = world(&corpus, &recipe(&corpus, SMALL), 2, None, Some(100));
    let outlook = &endless.parts[0].outlook;
    assert_eq!((outlook.last_step, outlook.rows.len()), (None, 1));
    let nine = alone(&corpus, &recipe(&corpus, &format!("{SMALL}\nepochs: 9")));
    let expected: Rows = nine
        .rows
        .into_iter()
        .filter(|row| endless.rows.contains_key(&row.0))
        .collect();
    assert!(endless.parts[0].progress.step == 100 && endless.rows.len() > 150);
    assert_eq!(endless.rows, expected);
}

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
    let model = Arc::new(Model::load(&base).unwrap());
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

fn stream(corpus: &Corpus, arguments: &str) -> Output {
    let mut command = corpus.packmill(&["stream", "--json"]);
    command.args(arguments.split(' ')).output().unwrap()
}

fn report(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What it says, and its exit code; it printed no report.
fn refusal(output: &Output) -> (String, Option<i32>) {
    assert!(output.stdout.is_empty());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (error, output.status.code())
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
    let one = report(&stream(&corpus, "recipe.yaml"));
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

#[test]
fn what_cannot_be_planned_is_refused_with_the_remedy() {
    let corpus = corpus();
    let write = |text: &str| corpus.write("recipe.yaml", text.as_bytes());
    let base = yaml(&format!("{SMALL}\nepochs: 1"));
    write(
        &base
            .replace("name: a,", "name: a, weight: 1,")
            .replace("name: b,", "name: b, weight: 1,"),
    );
    let (error, code) = refusal(&stream(&corpus, "recipe.yaml --steps 3"));
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("plan") && error.contains("weights"),
        "{error}"
    );
    write(&format!("{base}hold: 0\n"));
    let (error, code) = refusal(&stream(&corpus, "recipe.yaml"));
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("larger hold") && error.contains("plan: lanes"),
        "{error}"
    );
    write(&base.replace("rows: 1", "rows: 2, step_rows: 8"));
    let (error, code) = refusal(&stream(&corpus, "recipe.yaml --world-size 3 --rank 0"));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("multiple of 6"), "{error}");
    corpus.write("b.jsonl", ODD.as_bytes());
    let sources = "  - {name: a, paths: [\"a-*\"]}\n";
    write(&base.replace(sources, ""));
    let (error, code) = refusal(&stream(&corpus, "recipe.yaml"));
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("no row"), "{error}");
}

#[test]
fn another_plan_is_refused_by_name() {
    let corpus = corpus();
    let global = yaml(&format!("{SMALL}\nepochs: 1"));
    let lanes = global.replace("plan: global", "lanes: 4");
    corpus.write("global.yaml", global.as_bytes());
    corpus.write("lanes.yaml", lanes.as_bytes());
    for (begun, other) in [("lanes", "global"), ("global", "lanes")] {
        let arguments = format!("{begun}.yaml --steps 5 --checkpoint {begun} --checkpoint-every 5");
        report(&stream(&corpus, &arguments));
        let arguments = format!("{other}.yaml --resume {begun}");
        let (error, code) = refusal(&stream(&corpus, &arguments));
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains("plan"), "{error}");
    }
    // From the command line, with ranks: 8 steps of one, then all of three.
    report(&stream(
        &corpus,
        "global.yaml --steps 8 --checkpoint ck --checkpoint-every 4",
    ));
    let one = report(&stream(&corpus, "global.yaml --output out"));
    let three: Vec<Value> = (0..3)
        .map(|rank| {
            let arguments = format!("global.yaml --resume ck --world-size 3 --rank {rank}");
            report(&stream(&corpus, &arguments))
        })
        .collect();
    assert_eq!(sum(&three), one["digest"]);
    let (error, code) = refusal(&stream(
        &corpus,
        "global.yaml --resume ck --rank 1 --world-size 1",
    ));
    assert_eq!(code, Some(2), "{error}");
    // Begun: the second epoch.
    let steps = one["steps"].as_u64().unwrap() + 1;
    let arguments = format!(
        "global.yaml --epochs 2 --steps {steps} --checkpoint two --checkpoint-every {steps}"
    );
    report(&stream(&corpus, &arguments));
    let (error, code) = refusal(&stream(&corpus, "global.yaml --resume two"));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("set epochs to 2 or more"), "{error}");
}

const SKIP: &str = "on_bad_record: {skip: {max_fraction: 0.01}}";

/// The corpus with bad lines behind the first of source `b`.
fn with_bad(lines: usize) -> Corpus {
    let corpus = corpus();
    let text = std::fs::read_to_string(corpus.path("b.jsonl")).unwrap();
    let first = text.find('\n').unwrap() + 1;
    let bad = "{\"messages\": [\n".repeat(lines);
    corpus.write(
        "b.jsonl",
        format!("{}{bad}{}", &text[..first], &text[first..]).as_bytes(),
    );
    corpus
}

fn account(world: &World, source: usize) -> &Account {
    &world.ledger.sources[source].1
}

#[test]
fn bad_records_are_judged_before_the_first_row_and_booked_in_every_epoch() {
    let corpus = with_bad(3);
    let base = yaml(&format!("{SMALL}\nepochs: 3"));
    corpus.write("stop.yaml", base.as_bytes());
    corpus.write("skip.yaml", format!("{base}{SKIP}\n").as_bytes());
    let stop = || {
        let (error, code) = refusal(&stream(&corpus, "stop.yaml"));
        assert_eq!(code, Some(1), "{error}");
        assert!(
            error.contains("b.jsonl") && error.contains("record 1:"),
            "{error}"
        );
    };
    stop();
    report(&stream(&corpus, "skip.yaml"));
    // What is in the cache by now holds bad records.
    stop();
    let skip = parse(&corpus, &format!("{base}{SKIP}\n"));
    let (one, two) = (alone(&corpus, &skip), world(&corpus, &skip, 2, None, None));
    assert_eq!((one.digest, &one.ledger), (two.digest, &two.ledger));
    assert_eq!(one.parts[0].outlook.counted_records, 0);
    let records = &account(&one, 1).records;
    assert_eq!(records.dropped.get(&Reason::BadRecord), Some(&9));
    assert_eq!((records.taken, records.delivered), (3 * 50, 3 * 47));
    // At each step, in their places: none is booked ahead of its epoch.
    let epoch = one.parts[0].outlook.rows[0];
    let first = world(&corpus, &skip, 1, None, Some(epoch));
    let records = &account(&first, 1).records;
    assert_eq!(records.dropped.get(&Reason::BadRecord), Some(&3));

    let corpus = with_bad(9);
    corpus.write("skip.yaml", format!("{base}{SKIP}\n").as_bytes());
    let (error, code) = refusal(&stream(&corpus, "skip.yaml"));
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("9 of 56 records of source `b`"), "{error}");
    assert!(error.contains("b.jsonl"), "{error}");
    // What one forgives, another need not, whoever counted.
    let more = SKIP.replace("0.01", "0.02");
    corpus.write("more.yaml", format!("{base}{more}\n").as_bytes());
    report(&stream(&corpus, "more.yaml"));
    let (error, _) = refusal(&stream(&corpus, "skip.yaml"));
    assert!(error.contains("9 of 56 records of source `b`"), "{error}");
}

#[test]
fn a_cut_frame_is_booked_in_every_epoch() {
    let corpus = corpus();
    let bytes = std::fs::read(corpus.path("a-1.jsonl.zst")).unwrap();
    corpus.write("a-1.jsonl.zst", &bytes[..bytes.len() - 30]);
    let base = yaml(&format!("{SMALL}\nepochs: 3"));
    corpus.write("stop.yaml", base.as_bytes());
    let (error, code) = refusal(&stream(&corpus, "stop.yaml"));
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("a-1.jsonl.zst"), "{error}");
    let recipe = parse(&corpus, &format!("{base}{SKIP}\n"));
    let one = alone(&corpus, &recipe);
    let lost = &account(&one, 0).unreadable;
    assert_eq!(lost.blocks, 3);
    assert!(lost.bytes > 0 && lost.bytes.is_multiple_of(3), "{lost:?}");
    let three = world(&corpus, &recipe, 3, None, None);
    assert_eq!(
        (three.digest, three.ledger),
        (one.digest, one.ledger.clone())
    );
    let mut lanes = recipe.clone();
    (lanes.plan, lanes.lanes) = (Plan::Lanes, 4);
    let mut loader = Loader::builder(lanes)
        .cache(corpus.cache())
        .build()
        .unwrap();
    loader.by_ref().for_each(|batch| drop(batch.unwrap()));
    assert_eq!(*loader.progress().ledger, one.ledger);
}
