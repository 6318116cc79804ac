//! A checkpoint carried into a changed recipe: every token once, or a line in the ledger.

mod command_line; // `packmill fork`: what it answers, refuses and writes
mod mixtures; // weights change, sources come and go
mod packings; // rows of another length, another strategy, mask or template

use crate::corpus::{Corpus, Random, chats, merged, zstd_frames};
use packmill::batch::PROVENANCE_FIELDS;
use packmill::checkpoint::{State, Whole, merge};
use packmill::ledger::{Ledger, Reason};
use packmill::order::lanes::Rank;
use packmill::pipeline::{Forked, Model, fork};
use packmill::recipe::PackConfig;
use packmill::{Error, Recipe};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

/// Source, record and its example, and epoch.
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
        let rank = Rank { number, world_size };
        let mut loader = corpus.loader(recipe, rank, from, steps).unwrap();
        let mut last = None;
        while let Some(batch) = loader.next() {
            let batch = batch.unwrap();
            for at in batch.provenance().chunks(PROVENANCE_FIELDS.len()) {
                // Block, record in it, example of it; each source has one shard here.
                let record = (at[2] * 1_000_000 + at[3]) * 64 + at[4];
                let runs = delivered.entry((at[0], record, at[5])).or_default();
                runs.push(at[6]..at[7] + 1);
            }
            last = loader.state();
        }
        parts.extend(last);
    }
    merged(&parts)
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
