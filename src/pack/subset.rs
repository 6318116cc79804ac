//! The best subset: which few of a list of lengths fill a room best, with one answer for everybody.
//!
//! `reach[k][j]` holds the totals that exactly `k` of the candidates from `j` on can have, one bit a total. From
//! the newest candidate to the oldest, `reach[k][j] = reach[k][j + 1] | reach[k - 1][j + 1] << length[j]`: a shift
//! and an or over a few dozen words. Counts are tried from one upwards and end as soon as one segment more could
//! not pay for itself even in a full room, so most rows need one or two of these tables.

/// What is subtracted from a subset's total for each of its segments: `tokens / scale`, an exact fraction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Price {
    /// Numerator.
    pub(super) tokens: u128,
    /// Denominator, at least 1.
    pub(super) scale: u128,
}

impl Price {
    /// Worth of `count` segments that hold `total`, times `scale`.
    fn worth(self, total: usize, count: usize) -> i128 {
        let gain = (total as u128).saturating_mul(self.scale);
        let cost = (count as u128).saturating_mul(self.tokens);
        i128::try_from(gain).unwrap_or(i128::MAX) - i128::try_from(cost).unwrap_or(i128::MAX)
    }
}

/// Work space of [`best`]: grows to what the largest question needed and is used again.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// `tables[k - 1]`: for every candidate `j`, and one past the last, `width` words.
    tables: Vec<Vec<u64>>,
    width: usize,
}

impl Reach {
    /// The totals that `count` of the candidates from `from` on can have.
    fn row(&self, count: usize, from: usize) -> &[u64] {
        &self.tables[count - 1][from * self.width..][..self.width]
    }

    /// Fills the table for `count`; the one for `count - 1` is there.
    fn build(&mut self, count: usize, lengths: &[usize]) {
        let width = self.width;
        if self.tables.len() < count {
            self.tables.resize_with(count, Vec::new);
        }
        let (fewer, table) = self.tables.split_at_mut(count - 1);
        let (fewer, table) = (fewer.last(), &mut table[0]);
        let size = (lengths.len() + 1) * width;
        if table.len() < size {
            table.reserve_exact(size - table.len());
            table.resize(size, 0);
        }
        table[lengths.len() * width..size].fill(0);
        for (j, &length) in lengths.iter().enumerate().rev() {
            let (row, newer) = table[j * width..].split_at_mut(width);
            let newer = &newer[..width];
            match fewer {
                Some(fewer) => or_shifted(row, newer, &fewer[(j + 1) * width..][..width], length),
                None => {
                    row.copy_from_slice(newer);
                    row[length / 64] |= 1 << (length % 64);
                }
            }
        }
    }
}

/// Puts into `chosen` the candidates, by rising position, of the subset with the largest
/// `total − count × price` among those of at most `most` candidates and a total of at most `room`; among equals
/// the fewest candidates; among those the one that holds the first candidate which not all of them hold.
/// The empty subset is worth 0. Every length is in `1..=room`.
pub(super) fn best(
    lengths: &[usize],
    room: usize,
    most: usize,
    price: Price,
    reach: &mut Reach,
    chosen: &mut Vec<usize>,
) {
    chosen.clear();
    reach.width = room / 64 + 1;
    let (mut count, mut total, mut worth) = (0, 0, 0);
    for k in 1..=most.min(lengths.len()) {
        if price.worth(room, k) <= worth {
            break;
        }
        let fullest = if k == 1 {
            lengths.iter().copied().max()
        } else {
            reach.build(k - 1, lengths);
            fullest(lengths, room, k, reach)
        };
        let Some(fullest) = fullest else { break };
        if price.worth(fullest, k) > worth {
            (count, total, worth) = (k, fullest, price.worth(fullest, k));
        }
    }
    for (j, &length) in lengths.iter().enumerate() {
        let rest_is_reached = match count {
            0 => break,
            1 => total == length,
            _ => length <= total && is_set(reach.row(count - 1, j + 1), total - length),
        };
        if rest_is_reached {
            chosen.push(j);
            count -= 1;
            total -= length;
        }
    }
}

/// The largest total of exactly `count` ≥ 2 candidates within `room`. Each subset is looked for where its first
/// candidate is, so the table for `count` itself is not needed.
fn fullest(lengths: &[usize], room: usize, count: usize, reach: &Reach) -> Option<usize> {
    let mut best = None;
    for (j, &length) in lengths.iter().enumerate() {
        let above = best.map_or(0, |best: usize| (best + 1).saturating_sub(length));
        if let Some(rest) = highest_within(reach.row(count - 1, j + 1), above, room - length) {
            best = Some(length + rest);
            if best == Some(room) {
                break;
            }
        }
    }
    best
}

fn is_set(bits: &[u64], at: usize) -> bool {
    bits[at / 64] >> (at % 64) & 1 == 1
}

/// The highest bit that is set in `low..=high`.
fn highest_within(bits: &[u64], low: usize, high: usize) -> Option<usize> {
    if low > high {
        return None;
    }
    let mut word = high / 64;
    let mut present = bits[word] & (u64::MAX >> (63 - high % 64));
    while present == 0 {
        if word <= low / 64 {
            return None;
        }
        word -= 1;
        present = bits[word];
    }
    let found = word * 64 + 63 - present.leading_zeros() as usize;
    (found >= low).then_some(found)
}

/// `out = keep | from << by`, all of the same width; what is shifted past the end is lost.
fn or_shifted(out: &mut [u64], keep: &[u64], from: &[u64], by: usize) {
    let (skip, bits) = (by / 64, by % 64);
    let width = out.len();
    let low = skip.min(width);
    out[..low].copy_from_slice(&keep[..low]);
    let (out, keep, from) = (&mut out[low..], &keep[low..], &from[..width - low]);
    if bits == 0 {
        for ((out, keep), from) in out.iter_mut().zip(keep).zip(from) {
            *out = keep | from;
        }
        return;
    }
    if let (Some(out), Some(keep), Some(from)) = (out.first_mut(), keep.first(), from.first()) {
        *out = keep | from << bits;
    }
    let Some(neighbours) = from.get(1..) else {
        return;
    };
    let neighbours = neighbours.iter().zip(from);
    for ((out, keep), (high, low)) in out[1..].iter_mut().zip(&keep[1..]).zip(neighbours) {
        *out = keep | high << bits | low >> (64 - bits);
    }
}
