//! What a recipe leaves out: in each case the stream has what a plain loop over the rows keeps, and the account says
//! where the rest is.

mod duplicates; // copies of earlier records
mod filter; // by tokens, turns and fields
mod split; // held out of training, and the eval side

use crate::corpus::{Corpus, Random, merged, refused, zstd_frames};
use packmill::batch::Batch;
use packmill::ledger::{Account, Ledger, Reason};
use packmill::order::lanes::Rank;
use packmill::pipeline::{Loader, Sample, Samples};
use packmill::{Kind, Recipe};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows with fields beside their messages, a third of them without `quality`.
fn rows(n: usize, seed: u64) -> Vec<Value> {
    let mut random = Random(seed);
    let row = |record| {
        let mut messages = vec![json!({"role": "system", "content": format!("{record}")})];
        for turn in 0..1 + random.below(5) {
            let words = "word ".repeat(1 + random.below(20));
            messages.push(json!({"role": "user", "content": format!("{turn} {words}")}));
            messages.push(json!({"role": "assistant", "content": words}));
        }
        if random.below(9) == 0 {
            // Nothing to learn.
            messages.retain(|message| message["role"] != "assistant");
        }
        let mut row =
            json!({"messages": messages, "meta": {"lang": (["en", "de", "ja"])[random.below(3)]}});
        if random.below(3) > 0 {
            row["quality"] = json!(random.below(10) as f64 / 10.0);
        }
        row
    };
    (0..n).map(row).collect()
}

/// Two sources: `a` of two plain shards, `b` of frames of eight lines.
fn corpus() -> (Corpus, Vec<Value>) {
    let all = [rows(30, 1), rows(120, 2)].concat();
    let lines: Vec<String> = all.iter().map(|row| format!("{row}\n")).collect();
    let corpus = Corpus::new();
    corpus.write("a-0.jsonl", lines[..12].concat().as_bytes());
    corpus.write("a-1.jsonl", lines[12..30].concat().as_bytes());
    corpus.write("b.jsonl.zst", &zstd_frames(&lines[30..].concat(), 8));
    (corpus, all)
}

/// How the corpus is streamed.
#[derive(Debug, Clone)]
struct Way {
    global: bool,
    /// Of several, under `plan: global` alone.
    world: u32,
    workers: usize,
    /// Source `b` is streamed, under `plan: lanes` alone.
    streamed: bool,
    shuffle: bool,
}

fn way() -> impl Strategy<Value = Way> {
    (
        any::<bool>(),
        select(vec![1, 2, 3]),
        select(vec![1, 2, 4]),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(global, world, workers, streamed, shuffle)| Way {
            world: if global { world } else { 1 },
            streamed: streamed && !global,
            global,
            workers,
            shuffle,
        })
}

impl Way {
    /// A recipe of both sources; `more` is added at the top level, `of_b` to source `b`.
    fn recipe(&self, corpus: &Corpus, more: &str, of_b: &str) -> Recipe {
        let Way {
            global,
            world,
            workers,
            streamed,
            shuffle,
        } = self;
        let plan = if *global {
            "plan: global\n"
        } else {
            "lanes: 2\n"
        };
        // No record is longer than a row: twins know nothing of `overlong`.
        // `b` has several times this, and `a` half of it.
        let hold = if *streamed { "hold: 40KiB\n" } else { "" };
        let text = format!(
            "version: 1\ntokenizer: tokenizer\nsources:\n  - {{name: a, paths: [\"a-*\"]}}\n  - {{name: b, paths: [b.jsonl.zst]{of_b}}}\n\
             pack: {{sequence_length: 1152, lookahead: 8}}\nbatch: {{rows: 1, step_rows: {world}}}\nepochs: 1\nworkers: {workers}\n\
             shuffle: {shuffle}\n{plan}{hold}{more}\n"
        );
        Recipe::parse(&text, corpus.dir.path()).unwrap_or_else(|faults| panic!("{faults}"))
    }
}

/// Where a segment comes from: source, shard, block, record, example, first and last token.
type Segment = [i64; 7];

/// Records left out and their tokens, by reason.
type Lost = BTreeMap<Reason, (u64, u64)>;

fn segments(batch: &Batch) -> impl Iterator<Item = Segment> {
    let all = batch.provenance().chunks(9);
    all.map(|s| [s[0], s[1], s[2], s[3], s[4], s[6], s[7]])
}

/// What all ranks deliver, sorted, and their common account.
fn streamed(corpus: &Corpus, recipe: &Recipe, world: u32) -> (Vec<Segment>, Ledger) {
    let mut all = Vec::new();
    let mut ledger: Option<Ledger> = None;
    for number in 0..world {
        let rank = Rank {
            number,
            world_size: world,
        };
        let builder = Loader::builder(recipe.clone()).cache(corpus.cache());
        let mut loader = builder.rank(rank).build().unwrap();
        for batch in loader.by_ref() {
            all.extend(segments(&batch.unwrap()));
        }
        let part = loader.progress().ledger.as_ref().clone();
        match &mut ledger {
            Some(ledger) => ledger.add(&part),
            None => ledger = Some(part),
        }
    }
    all.sort_unstable();
    (all, ledger.unwrap())
}

fn samples(corpus: &Corpus, recipe: &Recipe) -> Vec<Sample> {
    let model = crate::corpus::model(recipe);
    let samples = Samples::open(recipe, &model, &corpus.cache()).unwrap();
    samples.map(|sample| sample.unwrap()).collect()
}

/// A record as the plain loop sees it: its row, and the sample that it is when nothing is left out.
struct Seen<'a> {
    row: &'a Value,
    sample: &'a Sample,
}

impl Seen<'_> {
    /// Messages that are turns.
    fn turns(&self) -> usize {
        let messages = self.row["messages"].as_array().unwrap();
        messages.iter().filter(|m| m["role"] != "system").count()
    }
}

/// The naive twin: what is delivered when `left_out` says why a record is not, and how many are left out for which
/// reason, with their tokens.
fn kept(
    rows: &[Value],
    samples: &[Sample],
    mut left_out: impl FnMut(&Seen<'_>) -> Option<(Reason, u64)>,
) -> (Vec<Segment>, [Lost; 2]) {
    let (mut segments, mut dropped) = (Vec::new(), [BTreeMap::new(), BTreeMap::new()]);
    assert_eq!(rows.len(), samples.len());
    for (row, sample) in rows.iter().zip(samples) {
        let lost = match (left_out(&Seen { row, sample }), &sample.content) {
            (Some(lost), _) => lost,
            (None, Ok(example)) => {
                let origin = &example.origin;
                segments.push([
                    i64::from(origin.source),
                    i64::from(origin.shard),
                    origin.block as i64,
                    origin.record as i64,
                    0,
                    0,
                    example.len() as i64 - 1,
                ]);
                continue;
            }
            (None, Err(reason)) => (*reason, u64::MAX),
        };
        let count = dropped[sample.source as usize]
            .entry(lost.0)
            .or_insert((0, 0));
        *count = (count.0 + 1, lost.1.saturating_add(count.1));
    }
    segments.sort_unstable();
    (segments, dropped)
}

/// Holds the account against what the twin left out.
fn assert_accounted(ledger: &Ledger, dropped: &[Lost; 2], records: [u64; 2]) {
    assert!(ledger.balanced(), "{ledger:?}");
    for (((_, account), dropped), records) in ledger.sources.iter().zip(dropped).zip(records) {
        let Account {
            records: count,
            tokens,
            ..
        } = account;
        assert_eq!((count.taken, count.pending), (records, 0));
        let counts: BTreeMap<Reason, u64> = dropped.iter().map(|(r, (n, _))| (*r, *n)).collect();
        assert_eq!(count.dropped, counts);
        for (reason, (_, lost)) in dropped.iter().filter(|(_, (_, lost))| *lost < u64::MAX) {
            assert_eq!(
                tokens.dropped.get(reason).copied().unwrap_or(0),
                *lost,
                "{reason}"
            );
        }
    }
}
