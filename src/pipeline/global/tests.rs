//! Plans against the packer that has the tokens themselves, and resumed ones against uninterrupted ones.

use super::fit::{Fit, is_overlong};
use super::lengths::Lengths;
use super::plan::{Account, Material, Planned, Planner};
use super::word::{Fate, Words};
use crate::checkpoint::LaneState;
use crate::error::{Kind, Result};
use crate::example::{Example, Origin, Piece, Span};
use crate::ledger::{Intake, Reason};
use crate::order::sequence::Sequence;
use crate::pack::{self, Scratch, overlong};
use crate::pipeline::encode::{Dropped, Encoded};
use crate::pipeline::fit::fit_record;
use crate::read::Joined;
use crate::recipe::{Overlong, PackConfig, Strategy as Packing};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

const EPOCHS: u64 = 3;

/// A record of a made-up corpus.
#[derive(Debug, Clone)]
enum Record {
    /// So many tokens, of which those are trained.
    Example(u32, Span),
    Untrained(u32),
    /// Several examples: such as those above.
    Several(Vec<Record>),
    Bad,
    Unreadable,
    Blank,
}

impl Record {
    /// What is made of it: none of one that cannot be read.
    fn examples(&self) -> Vec<Encoded> {
        match self {
            Record::Example(tokens, trained) => vec![Ok(Example {
                origin: Origin::default(),
                ids: vec![7; *tokens as usize],
                trained: vec![trained.clone()],
                weights: Vec::new(),
                protected: Vec::new(),
            })],
            Record::Untrained(tokens) => vec![Err(Dropped {
                reason: Reason::NoTrainedToken,
                tokens: u64::from(*tokens),
            })],
            Record::Several(records) => {
                let mut examples: Vec<Encoded> =
                    records.iter().flat_map(Record::examples).collect();
                for (number, example) in (0..).zip(&mut examples) {
                    if let Ok(example) = example {
                        example.origin.example = number;
                    }
                }
                examples
            }
            Record::Bad | Record::Unreadable | Record::Blank => Vec::new(),
        }
    }

    fn fate(&self) -> Fate {
        match *self {
            Record::Example(tokens, _) => Fate::Example { tokens },
            Record::Untrained(tokens) => Fate::Dropped {
                reason: Reason::NoTrainedToken,
                tokens,
            },
            Record::Several(_) => unreachable!("it has a fate an example"),
            Record::Bad => Fate::Bad,
            Record::Unreadable => Fate::Unreadable,
            Record::Blank => Fate::Nothing,
        }
    }
}

/// Two sources' records, how they are packed, and whether shuffled.
#[derive(Debug, Clone)]
struct Case {
    sources: [Vec<Record>; 2],
    pack: PackConfig,
    shuffle: bool,
}

impl Case {
    fn material(&self) -> Material {
        let source = |records: &Vec<Record>| {
            let (mut words, mut fits) = (Words::default(), BTreeMap::new());
            for (block, record) in (0..).zip(records) {
                for example in record.examples().into_iter().flatten() {
                    let tokens = u32::try_from(example.len()).unwrap();
                    if is_overlong(tokens, &self.pack) {
                        let at = (block, example.origin.example);
                        fits.insert(
                            at,
                            Fit::of(&overlong::fit(example, &self.pack, None).unwrap()),
                        );
                    }
                }
                match record {
                    Record::Several(records) => {
                        let fates: Vec<Fate> = records.iter().map(Record::fate).collect();
                        words.push_several(&fates).unwrap();
                    }
                    record => words.push(record.fate()),
                }
            }
            (words, fits)
        };
        let blocks = Joined::of(self.sources.iter().map(|records| records.len() as u64));
        Material {
            sequence: Sequence::new(17, "", blocks.len(), self.shuffle, Some(EPOCHS)),
            blocks,
            lengths: Arc::new(Lengths::of(self.sources.iter().map(source).collect())),
            pack: self.pack.clone(),
        }
    }
}

fn example() -> impl Strategy<Value = Record> {
    let span = (2u32..200).prop_flat_map(|tokens| (Just(tokens), 1..tokens, 0..tokens));
    prop_oneof![
        12 => span.prop_map(|(tokens, start, more)| Record::Example(tokens, start..tokens.min(start + more + 1))),
        1 => (1u32..300).prop_map(Record::Untrained),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        12 => example(),
        3 => prop::collection::vec(example(), 2..5).prop_map(Record::Several),
        1 => Just(Record::Bad),
        1 => Just(Record::Unreadable),
        1 => Just(Record::Blank),
    ]
}

fn pack_config() -> impl Strategy<Value = PackConfig> {
    let packing = prop_oneof![
        3 => Just(Packing::Knapsack),
        1 => Just(Packing::Concat),
        1 => Just(Packing::None)
    ];
    let overlong = prop_oneof![
        Just(Overlong::Truncate),
        Just(Overlong::TruncateLeft),
        Just(Overlong::Split),
        Just(Overlong::Drop)
    ];
    let limit = prop::option::weighted(0.2, 1usize..4);
    let sizes = (1usize..20, prop_oneof![Just(1usize), Just(4)], 1usize..30);
    (packing, overlong, limit, sizes).prop_map(|(strategy, overlong, max_segments, sizes)| {
        let (multiples, segment_multiple, lookahead) = sizes;
        PackConfig {
            strategy,
            overlong,
            sequence_length: 8 * multiples,
            segment_multiple,
            lookahead,
            max_segments,
        }
    })
}

fn case() -> impl Strategy<Value = Case> {
    let records = || prop::collection::vec(record(), 0..25);
    (records(), records(), pack_config(), any::<bool>())
        .prop_filter("a list of blocks", |case| case.0.len() + case.1.len() > 0)
        .prop_map(|(a, b, pack, shuffle)| Case {
            sources: [a, b],
            pack,
            shuffle,
        })
}

/// What was booked, in order.
#[derive(Debug, Clone, PartialEq)]
enum Booked {
    Took(u32, Intake),
    Unreadable(u32, u64),
}

#[derive(Default)]
struct Book(Vec<Booked>);

impl Account for Book {
    fn took(&mut self, source: u32, intake: &Intake) {
        self.0.push(Booked::Took(source, intake.clone()));
    }

    fn unreadable(&mut self, source: u32, block: u64) -> Result<()> {
        self.0.push(Booked::Unreadable(source, block));
        Ok(())
    }
}

/// A row, and where the planner stood after it.
struct Planning {
    epoch: u64,
    segments: Vec<Planned>,
    state: LaneState,
    /// Entries in the book by then.
    booked: usize,
}

/// All rows that are left.
fn rest(planner: &mut Planner, book: &mut Book) -> Vec<Planning> {
    let mut rows = Vec::new();
    while planner.epoch() < EPOCHS {
        match planner.row(book).unwrap() {
            Some(row) => rows.push(Planning {
                epoch: planner.epoch(),
                segments: row.segments,
                state: planner.state(rows.len() as u64 + 1),
                booked: book.0.len(),
            }),
            None => planner.begin_next(),
        }
    }
    rows
}

fn contents(rows: &[Planning]) -> Vec<(u64, &[Planned])> {
    rows.iter()
        .map(|row| (row.epoch, row.segments.as_slice()))
        .collect()
}

/// The rows that the packer makes of the tokens themselves.
fn naive(case: &Case) -> Vec<(u64, Vec<Planned>)> {
    let all: Vec<(u32, &Record)> = (0..)
        .zip(&case.sources)
        .flat_map(|(source, records)| records.iter().map(move |record| (source, record)))
        .collect();
    let sequence = Sequence::new(17, "", all.len() as u64, case.shuffle, Some(EPOCHS));
    let mut rows = Vec::new();
    for epoch in 0..EPOCHS {
        let mut pieces = VecDeque::new();
        for position in epoch * all.len() as u64..(epoch + 1) * all.len() as u64 {
            let (source, record) = all[sequence.at(position).unwrap().block as usize];
            let mut examples = record.examples();
            for example in examples.iter_mut().flatten() {
                example.origin.source = source;
                example.origin.at.position = position;
            }
            pieces.extend(fit_record(examples, &case.pack, None).unwrap().pieces);
        }
        let mut packer = pack::packer::<Piece>(&case.pack).unwrap();
        let mut scratch = Scratch::default();
        loop {
            while packer.wants()
                && let Some(piece) = pieces.pop_front()
            {
                packer.push(piece);
            }
            let Some(row) = packer.row(&mut scratch) else {
                break;
            };
            let planned = row.segments.iter().map(|piece| Planned {
                position: piece.example.origin.at.position,
                source: piece.example.origin.source,
                example: piece.example.origin.example,
                tokens: piece.tokens.clone(),
                ends: piece.ends,
            });
            rows.push((epoch, planned.collect()));
        }
    }
    rows
}

proptest! {
    #[test]
    fn lengths_make_the_rows_that_tokens_make(case in case()) {
        let mut planner = Planner::new(case.material(), 0).unwrap();
        let rows = rest(&mut planner, &mut Book::default());
        let expected = naive(&case);
        let expected: Vec<_> = expected.iter().map(|(epoch, row)| (*epoch, row.as_slice())).collect();
        prop_assert_eq!(contents(&rows), expected);
        // No epoch depends on another: each can be planned alone.
        for epoch in 0..EPOCHS {
            let mut planner = Planner::new(case.material(), epoch).unwrap();
            let own = rows.iter().filter(|row| row.epoch == epoch);
            for row in own {
                let planned = planner.row(&mut ()).unwrap().unwrap();
                prop_assert_eq!(&planned.segments, &row.segments);
            }
            prop_assert!(planner.row(&mut ()).unwrap().is_none());
        }
    }

    #[test]
    fn goes_on_after_every_row_as_if_nothing_had_been(case in case()) {
        let mut book = Book::default();
        let rows = rest(&mut Planner::new(case.material(), 0).unwrap(), &mut book);
        for (index, row) in rows.iter().enumerate() {
            let mut again = Planner::resumed(case.material(), &row.state).unwrap();
            prop_assert_eq!(&again.state(row.state.rows), &row.state);
            let mut rebooked = Book::default();
            let left = rest(&mut again, &mut rebooked);
            prop_assert_eq!(contents(&left), contents(&rows[index + 1..]));
            prop_assert_eq!(&rebooked.0[..], &book.0[row.booked..]);
        }
    }

    /// In every epoch each record is booked once, in its place, with what its tokens would have become.
    #[test]
    fn every_record_is_booked_once_an_epoch(case in case()) {
        let case = Case { shuffle: false, ..case };
        let mut book = Book::default();
        rest(&mut Planner::new(case.material(), 0).unwrap(), &mut book);
        let mut expected = Vec::new();
        for (source, records) in (0..).zip(&case.sources) {
            expected.extend((0..).zip(records).filter_map(|(block, record)| match record {
                Record::Blank => None,
                Record::Unreadable => Some(Booked::Unreadable(source, block)),
                Record::Bad => Some(Booked::Took(source, Intake::none(Reason::BadRecord))),
                record => {
                    let fitted = fit_record(record.examples(), &case.pack, None).unwrap();
                    Some(Booked::Took(source, fitted.intake))
                }
            }));
        }
        for epoch in book.0.chunks(expected.len().max(1)) {
            prop_assert_eq!(epoch, expected.as_slice());
        }
        prop_assert_eq!(book.0.len(), expected.len() * EPOCHS as usize);
    }
}

/// Three records of 10 tokens in one source, rows of 16: the pool holds two after the first row.
fn standing() -> (Case, LaneState) {
    let case = Case {
        sources: [vec![Record::Example(10, 1..10); 3], Vec::new()],
        pack: PackConfig {
            sequence_length: 16,
            lookahead: 8,
            ..PackConfig::default()
        },
        shuffle: false,
    };
    let mut planner = Planner::new(case.material(), 0).unwrap();
    planner.row(&mut ()).unwrap().unwrap();
    let state = planner.state(1);
    assert_eq!(state.pool.len(), 2);
    (case, state)
}

#[test]
fn a_checkpoint_of_other_records_is_refused() {
    let (case, state) = standing();
    let refused = |state: &LaneState, case: &Case| {
        let error = Planner::resumed(case.material(), state).err().unwrap();
        assert_eq!(error.kind(), Kind::Checkpoint, "{error}");
    };
    assert!(Planner::resumed(case.material(), &state).is_ok());
    let mut past = state.clone();
    past.pool[0].first = 10;
    refused(&past, &case);
    let mut another_epoch = state.clone();
    another_epoch.pool[0].position += 3;
    refused(&another_epoch, &case);
    let mut edited = case.clone();
    edited.sources[0][2] = Record::Bad;
    refused(&state, &edited);
    // An epoch whose last record was taken is over when the pool is empty, and not before.
    let mut empty = state.clone();
    empty.pool.clear();
    let next = Planner::resumed(case.material(), &empty).unwrap();
    assert_eq!((next.epoch(), next.begun()), (1, 1));
    let same = Planner::resumed(case.material(), &state).unwrap();
    assert_eq!((same.epoch(), same.begun()), (0, 1));
    assert!(!same.is_refillable() && next.is_refillable());
}
