#![allow(
    clippy::single_range_in_vec_init,
    reason = "an example may well have one span"
)]

use super::{Packer, Row, Scratch, packer};
use crate::example::{Example, Origin, Piece};
use crate::recipe::{Overlong, PackConfig, Strategy};

/// What becomes of examples that are too long.
mod fit;

/// Rows, by example.
mod rows;

/// Full and mixed rows, and rows that never change.
mod specification;

/// Everything against its naive twin.
mod twins;

pub(super) fn config(strategy: Strategy, sequence_length: usize) -> PackConfig {
    PackConfig {
        strategy,
        sequence_length,
        overlong: Overlong::Truncate,
        lookahead: 4,
        segment_multiple: 1,
        max_segments: None,
    }
}

pub(super) fn overlong(strategy: Overlong, sequence_length: usize) -> PackConfig {
    PackConfig {
        overlong: strategy,
        ..config(Strategy::Knapsack, sequence_length)
    }
}

/// Ids count from 100, everything is trained.
pub(super) fn example(record: u64, length: usize) -> Example {
    Example {
        origin: Origin {
            record,
            ..Origin::default()
        },
        ids: (100..).take(length).collect(),
        trained: vec![0..u32::try_from(length).unwrap()],
        weights: Vec::new(),
        protected: Vec::new(),
    }
}

pub(super) fn piece(record: u64, length: usize) -> Piece {
    Piece::whole(example(record, length))
}

pub(super) fn lengths(row: &Row) -> Vec<usize> {
    row.segments.iter().map(Piece::len).collect()
}

pub(super) fn records(row: &Row) -> Vec<u64> {
    row.segments
        .iter()
        .map(|s| s.example.origin.record)
        .collect()
}

/// All rows of a finite stream, the pool emptied at the end.
pub(super) fn rows(config: &PackConfig, stream: &[usize]) -> Vec<Row> {
    let mut packer = packer(config).unwrap();
    let mut scratch = Scratch::default();
    let mut stream = (0..).zip(stream);
    let mut rows = Vec::new();
    loop {
        while packer.wants() {
            let Some((record, &length)) = stream.next() else {
                break;
            };
            packer.push(piece(record, length));
        }
        match packer.row(&mut scratch) {
            Some(row) => rows.push(row),
            None => return rows,
        }
    }
}

pub(super) fn all_lengths(rows: &[Row]) -> Vec<Vec<usize>> {
    rows.iter().map(lengths).collect()
}
