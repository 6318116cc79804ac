//! `knapsack`: the oldest piece and what fills the rest of the row best.

use super::subset::{self, Price, Reach};
use super::{Packable, Packer, Row};
use crate::recipe::PackConfig;

/// A pool takes no more pieces than this to reach two rows' worth of tokens.
const ENOUGH: usize = 4096;
/// The end of a row is chosen with at most this many segments at a time.
const AT_A_TIME: usize = 8;
/// It is chosen from the oldest pieces that fit: so many of them, or `lookahead` if that is more.
const CHOICE: usize = 128;
/// There is much room while more than 11/4 typical segments fit, typical being the token-weighted mean length,
/// Σ length² / Σ length. With fewer, long pieces that do not fit wait for the next row, and long rows follow short
/// ones; with more, rows are chosen for long pieces, and the pool drifts. At 11/4 both cancel out.
const TYPICAL: (u128, u128) = (11, 4);
/// There is also much room while more than this many average segments fit: a few very long pieces among many short
/// ones would otherwise have whole rows searched for.
const AVERAGE: u128 = 8;
/// A segment's price is this part of a typical one.
const PRICE: u128 = 48;

/// Work space of the knapsack packer, for all lanes of a thread: it holds nothing between two rows. It grows to at
/// most `(max(lookahead, 128) + 1) × (sequence_length / segment_multiple + 64) × 7 / 8` bytes and 40 a pooled piece; to
/// far less in practice, since only the end of a row is searched for.
#[derive(Debug, Default)]
pub struct Scratch {
    fitting: Fitting,
    reach: Reach,
    lengths: Vec<usize>,
    found: Vec<usize>,
    taken: Vec<usize>,
}

/// A lane's pool. Lengths are in units of `segment_multiple` tokens, rounded up.
#[derive(Debug)]
pub(super) struct Knapsack<P> {
    row: usize,
    multiple: usize,
    lookahead: usize,
    /// Most pieces that the end of a row is chosen from.
    choice: usize,
    max_segments: usize,
    pieces: Vec<P>,
    lengths: Vec<u32>,
    total: usize,
}

impl<P: Packable> Knapsack<P> {
    /// Of a configuration that was checked.
    pub(super) fn new(config: &PackConfig) -> Self {
        Knapsack {
            row: config.sequence_length / config.segment_multiple,
            multiple: config.segment_multiple,
            lookahead: config.lookahead,
            choice: config.lookahead.max(CHOICE),
            max_segments: config.max_segments.unwrap_or(usize::MAX),
            pieces: Vec::new(),
            lengths: Vec::new(),
            total: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn limit_choice(&mut self, choice: usize) {
        self.choice = choice;
    }

    /// Positions in the pool of the next row's pieces, rising, into `scratch.taken`. The pool is not empty.
    fn choose(&self, scratch: &mut Scratch) {
        let Scratch {
            fitting,
            reach,
            lengths,
            found,
            taken,
        } = scratch;
        taken.clear();
        taken.push(0);
        let mut room = self.row.saturating_sub(self.lengths[0] as usize);
        fitting.start(&self.lengths);
        loop {
            fitting.narrow(&self.lengths, room);
            let left = self.max_segments - taken.len();
            if fitting.is_empty() || left == 0 {
                break;
            }
            if left > AT_A_TIME && fitting.leaves_much(room) {
                let oldest = fitting.take_oldest(&self.lengths);
                room -= self.lengths[oldest] as usize;
                taken.push(oldest);
                continue;
            }
            let choice = fitting.oldest(self.choice);
            lengths.clear();
            lengths.extend(choice.iter().map(|&i| self.lengths[i as usize] as usize));
            let most = left.min(AT_A_TIME);
            subset::best(lengths, room, most, fitting.price(), reach, found);
            room -= found.iter().map(|&j| lengths[j]).sum::<usize>();
            taken.extend(found.iter().map(|&j| choice[j] as usize));
            if found.len() < AT_A_TIME {
                break;
            }
            fitting.remove(&self.lengths, found);
        }
        taken.sort_unstable();
    }

    fn take(&mut self, taken: &[usize]) -> Row<P> {
        let mut segments = Vec::with_capacity(taken.len());
        let end = taken.last().map_or(0, |last| last + 1);
        let mut position = 0;
        let mut next = taken.iter().copied().peekable();
        segments.extend(self.pieces.extract_if(..end, |_| {
            position += 1;
            next.next_if_eq(&(position - 1)).is_some()
        }));
        let mut position = 0;
        let mut next = taken.iter().copied().peekable();
        let lengths = self.lengths.extract_if(..end, |_| {
            position += 1;
            next.next_if_eq(&(position - 1)).is_some()
        });
        self.total -= lengths.map(|length| length as usize).sum::<usize>();
        Row { segments }
    }
}

impl<P: Packable> Packer<P> for Knapsack<P> {
    fn lacks(&self, mean: u64) -> usize {
        let held = self.pieces.len();
        let short = self.row.saturating_mul(2).saturating_sub(self.total);
        let by_tokens = super::examples(short.saturating_mul(self.multiple), mean);
        let by_count = self.lookahead.saturating_sub(held);
        by_count.max(by_tokens.min(ENOUGH.saturating_sub(held)))
    }

    fn push(&mut self, piece: P) {
        let length = piece.tokens().div_ceil(self.multiple);
        debug_assert!((1..=self.row).contains(&length), "pieces are fitted first");
        self.total += length;
        self.lengths.push(u32::try_from(length).unwrap_or(u32::MAX));
        self.pieces.push(piece);
    }

    fn row(&mut self, scratch: &mut Scratch) -> Option<Row<P>> {
        if self.pieces.is_empty() {
            return None;
        }
        self.choose(scratch);
        Some(self.take(&scratch.taken))
    }

    fn pool(&self) -> &[P] {
        &self.pieces
    }

    fn drain(&mut self) -> Vec<P> {
        self.lengths.clear();
        self.total = 0;
        std::mem::take(&mut self.pieces)
    }
}

/// The pieces that still fit into the row that is being made, oldest first, and what is typical of them.
#[derive(Debug, Default)]
struct Fitting {
    /// Positions in the pool; those before `head` are taken.
    positions: Vec<u32>,
    head: usize,
    sum: u64,
    squares: u128,
    /// No piece is longer; it may be more than the longest piece's length after some were taken.
    longest: u32,
}

impl Fitting {
    /// All of the pool but its oldest piece.
    fn start(&mut self, lengths: &[u32]) {
        self.positions.clear();
        self.positions
            .extend((1..).take(lengths.len().saturating_sub(1)));
        self.head = 0;
        self.count(lengths);
    }

    fn count(&mut self, lengths: &[u32]) {
        (self.sum, self.squares, self.longest) = (0, 0, 0);
        for &position in &self.positions {
            let length = lengths[position as usize];
            self.sum += u64::from(length);
            self.squares += u128::from(u64::from(length).pow(2));
            self.longest = self.longest.max(length);
        }
    }

    /// Drops what no longer fits.
    fn narrow(&mut self, lengths: &[u32], room: usize) {
        if (self.longest as usize) <= room {
            return;
        }
        self.positions.drain(..self.head);
        self.head = 0;
        self.positions
            .retain(|&position| lengths[position as usize] as usize <= room);
        self.count(lengths);
    }

    fn is_empty(&self) -> bool {
        self.head == self.positions.len()
    }

    /// Whether so much room is left that the next piece may just be the oldest one.
    fn leaves_much(&self, room: usize) -> bool {
        let (room, sum) = (room as u128, u128::from(self.sum));
        let pieces = (self.positions.len() - self.head) as u128;
        TYPICAL.1 * room * sum > TYPICAL.0 * self.squares || room * pieces > AVERAGE * sum
    }

    /// What a segment costs: a part of the token-weighted mean length, Σ length² / Σ length.
    fn price(&self) -> Price {
        Price {
            tokens: self.squares,
            scale: PRICE * u128::from(self.sum),
        }
    }

    fn oldest(&self, most: usize) -> &[u32] {
        let pieces = &self.positions[self.head..];
        &pieces[..most.min(pieces.len())]
    }

    fn take_oldest(&mut self, lengths: &[u32]) -> usize {
        let position = self.positions[self.head] as usize;
        let length = u64::from(lengths[position]);
        self.head += 1;
        self.sum -= length;
        self.squares -= u128::from(length.pow(2));
        position
    }

    /// Takes out those that stand at `found` places, rising, after the head.
    fn remove(&mut self, lengths: &[u32], found: &[usize]) {
        for &place in found.iter().rev() {
            self.positions.remove(self.head + place);
        }
        self.positions.drain(..self.head);
        self.head = 0;
        self.count(lengths);
    }
}
