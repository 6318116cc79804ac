//! What packmill does: blocks dealt to lanes, records in keyed order within runs, blocks taken from together in keyed
//! turns; and the variants that were weighed.

use crate::corpus::Corpus;
use crate::lengths::Random;
use packmill::order::lanes::Lanes;
use packmill::order::runs::Bounds;
use packmill::order::sequence::{Place, Sequence};
use std::ops::Range;

/// The seed of a recipe that gives none is 0.
const SEED: u64 = 0;

/// From how many blocks a lane takes at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Open {
    /// From so many together, what packmill does: the next ones open when all have ended, so that one cursor says where
    /// a lane stands.
    Together(u64),
    /// The same with runs as long as where blocks are taken from alone.
    Longer(u64),
    /// From so many: one record of each in turn, in another keyed order each time round; where one ends the next opens.
    Sliding(usize),
}

impl Open {
    fn together(self) -> u64 {
        match self {
            Open::Together(blocks) | Open::Longer(blocks) => blocks,
            Open::Sliding(_) => 1,
        }
    }

    fn runs(self) -> Bounds {
        Bounds::shared_by(match self {
            Open::Together(blocks) => blocks,
            Open::Longer(_) => 1,
            Open::Sliding(open) => open as u64,
        })
    }
}

impl std::fmt::Display for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Open::Together(1) => write!(f, "1 open"),
            Open::Together(blocks) => write!(f, "{blocks} together"),
            Open::Longer(blocks) => write!(f, "{blocks} together, long runs"),
            Open::Sliding(open) => write!(f, "{open} open"),
        }
    }
}

/// Each lane's records of one epoch of a held source: every record is a block.
pub(crate) fn held(corpus: &Corpus, lanes: Lanes) -> Vec<Vec<u32>> {
    let sequence = Sequence::new(SEED, "", corpus.records() as u64, true, Some(1));
    each_lane(lanes, &sequence, |place| place.block as u32)
}

/// Each lane's records of one epoch of a streamed source of these blocks.
pub(crate) fn streamed(
    corpus: &Corpus,
    blocks: &[Range<u32>],
    lanes: Lanes,
    open: Open,
) -> Vec<Vec<u32>> {
    let sequence = Sequence::new(SEED, "", blocks.len() as u64, true, Some(1));
    let sequence = sequence.taken_together(open.together());
    let in_block = |place: Place| {
        let block = &blocks[place.block as usize];
        in_block(corpus, &sequence, place, block, open.runs())
    };
    let mut order = Vec::new();
    for (lane, blocks) in (0_u32..).zip(each_lane(lanes, &sequence, in_block)) {
        order.push(match open {
            Open::Sliding(open) => in_turns(&blocks, open, &mut Random(lane.into())),
            _ => together(&sequence, lanes, lane, &blocks),
        });
    }
    order
}

/// A lane's records, group after group, in keyed turns.
fn together(sequence: &Sequence, lanes: Lanes, lane: u32, blocks: &[Vec<u32>]) -> Vec<u32> {
    let (mut order, mut first) = (Vec::new(), 0);
    while first < blocks.len() {
        let group = sequence.group(lanes, lane, first as u64);
        let mut left: Vec<_> = blocks[first..group.end as usize]
            .iter()
            .map(|block| block.iter())
            .collect();
        let mut turns = sequence.turns(lanes.position(lane, group.first), left.len());
        while let Some(member) = turns.next() {
            let record = left[member].next();
            order.extend(record);
            turns.pass(record.is_none());
        }
        first = group.end as usize;
    }
    order
}

fn each_lane<T>(lanes: Lanes, sequence: &Sequence, what: impl Fn(Place) -> T) -> Vec<Vec<T>> {
    let places = |lane| {
        (0..)
            .map_while(|index| sequence.at(lanes.position(lane, index)))
            .map(&what)
            .collect()
    };
    (0..lanes.count()).map(places).collect()
}

/// The records of a block in order: runs as they lie, keyed within.
fn in_block(
    corpus: &Corpus,
    sequence: &Sequence,
    place: Place,
    block: &Range<u32>,
    bounds: Bounds,
) -> Vec<u32> {
    let mut order = Vec::with_capacity(block.len());
    for (run, records) in runs(corpus, block, bounds).into_iter().enumerate() {
        let places = sequence.run_order(place, run as u64, records.len() as u64);
        order.extend(places.into_iter().map(|at| records.start + at as u32));
    }
    order
}

fn runs(corpus: &Corpus, block: &Range<u32>, bounds: Bounds) -> Vec<Range<u32>> {
    let mut runs = Vec::new();
    let (mut start, mut held) = (block.start, 0);
    for record in block.clone() {
        let more = corpus.bytes(record);
        let full = (record - start) as usize == bounds.records || held + more > bounds.bytes as u64;
        if record > start && full {
            runs.push(start..record);
            (start, held) = (record, 0);
        }
        held += more;
    }
    runs.push(start..block.end);
    runs
}

/// One record of each of `open` blocks in turn.
pub(crate) fn in_turns(blocks: &[Vec<u32>], open: usize, random: &mut Random) -> Vec<u32> {
    let mut waiting = blocks.iter().map(|block| block.iter());
    let mut slots: Vec<_> = waiting.by_ref().take(open).collect();
    let mut order = Vec::new();
    while !slots.is_empty() {
        for last in (1..slots.len()).rev() {
            slots.swap(last, random.below(last + 1));
        }
        slots.retain_mut(|slot| {
            loop {
                if let Some(&record) = slot.next() {
                    order.push(record);
                    return true;
                }
                match waiting.next() {
                    Some(block) => *slot = block,
                    None => return false,
                }
            }
        });
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_take_turns() {
        let blocks = [vec![0, 1, 2], vec![10], vec![20, 21]];
        let order = in_turns(&blocks, 2, &mut Random(1));
        let of = |first: u32| order.iter().copied().filter(move |r| r / 10 == first / 10);
        assert!(of(0).eq([0, 1, 2]) && of(10).eq([10]) && of(20).eq([20, 21]));
        // The first turn has one record of each open block, the second opens the third block.
        assert!(order[..2].contains(&0) && order[..2].contains(&10));
        assert!(order[2..4].contains(&1) && order[2..4].contains(&20));
        assert_eq!(in_turns(&blocks, 1, &mut Random(1)), blocks.concat());
    }

    #[test]
    fn every_record_once() {
        let corpus = Corpus::new(20);
        let blocks = corpus.pieces(1 << 18);
        assert!(blocks.iter().cloned().flatten().eq(0..20_000));
        for open in [
            Open::Together(1),
            Open::Longer(2),
            Open::Sliding(3),
            Open::Together(3),
        ] {
            let order = streamed(&corpus, &blocks, Lanes::new(8), open);
            let mut all: Vec<u32> = order.into_iter().flatten().collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..20_000));
        }
    }
}
