//! Records become rows: one packer a lane, rows taken from the lanes in turn.

use crate::corpus::Corpus;
use crate::lengths::piece;
use packmill::pack::{Packer, Scratch, packer};
use packmill::recipe::PackConfig;

/// Rows of records in the order of the stream.
pub(crate) struct Rows {
    pub(crate) rows: Vec<Vec<u32>>,
    /// So many from the first on were made while every lane could refill its pool.
    pub(crate) steady: usize,
}

/// Rows of what each lane is given, as the pipeline makes them; a lane that ends empties its own pool.
pub(crate) fn pack(
    corpus: &Corpus,
    lanes: &[Vec<u32>],
    lookahead: usize,
) -> packmill::Result<Rows> {
    let config = PackConfig {
        lookahead,
        ..PackConfig::default()
    };
    let mut made = Vec::new();
    let mut refilled = usize::MAX;
    for records in lanes {
        let mut packer = packer(&config)?;
        let (rows, whole) = lane(corpus, packer.as_mut(), records);
        refilled = refilled.min(whole);
        made.push(rows.into_iter());
    }
    let mut rows = Vec::new();
    loop {
        let before = rows.len();
        rows.extend(made.iter_mut().filter_map(Iterator::next));
        if rows.len() == before {
            break;
        }
    }
    Ok(Rows {
        rows,
        steady: refilled * lanes.len(),
    })
}

/// Rows packed in the corpus' order, in windows of `window` records with a pool each: what packing before the shuffle
/// comes to. The first window is half as long, so that windows are not topics.
pub(crate) fn pack_windows(
    corpus: &Corpus,
    window: usize,
    lookahead: usize,
) -> packmill::Result<Vec<Vec<u32>>> {
    let config = PackConfig {
        lookahead,
        ..PackConfig::default()
    };
    let mut packer = packer(&config)?;
    let all: Vec<u32> = (0..corpus.records() as u32).collect();
    let (first, others) = all.split_at(window.min(all.len()) / 2);
    let mut rows = Vec::new();
    for records in std::iter::once(first).chain(others.chunks(window)) {
        rows.extend(lane(corpus, packer.as_mut(), records).0);
    }
    Ok(rows)
}

/// A lane's rows, and how many of them were made before its records ended.
fn lane(corpus: &Corpus, packer: &mut dyn Packer, records: &[u32]) -> (Vec<Vec<u32>>, usize) {
    let mut scratch = Scratch::default();
    let mut records = records.iter();
    let (mut rows, mut whole) = (Vec::new(), None);
    loop {
        while packer.wants() {
            let Some(&record) = records.next() else {
                whole.get_or_insert(rows.len());
                break;
            };
            let length = corpus.lengths[record as usize] as usize;
            packer.push(piece(u64::from(record), length));
        }
        let Some(row) = packer.row(&mut scratch) else {
            let whole = whole.unwrap_or(rows.len());
            return (rows, whole);
        };
        let record = |piece: &packmill::Piece| piece.example.origin.record as u32;
        rows.push(row.segments.iter().map(record).collect());
    }
}
