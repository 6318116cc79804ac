//! The same rules again, slowly and by definition, for the tests to compare with. Stands alone, as `fuzz/` takes it too.

use std::cmp::Reverse;
use std::ops::Range;

/// Tokens from and up to a position.
type Span = Range<u32>;

/// Positions of the best subset, of all that there are: largest worth, then fewest, then oldest.
/// A segment costs `cost` where a token is worth `gain`.
pub(super) fn best(lengths: &[u64], room: u64, most: usize, cost: u64, gain: u64) -> Vec<usize> {
    (0..1_u32 << lengths.len())
        .map(|mask| {
            (0..lengths.len())
                .filter(|j| mask >> j & 1 == 1)
                .collect::<Vec<_>>()
        })
        .filter(|subset| subset.len() <= most)
        .filter(|subset| subset.iter().map(|&j| lengths[j]).sum::<u64>() <= room)
        .max_by_key(|subset| {
            let total: u64 = subset.iter().map(|&j| lengths[j]).sum();
            let worth = i128::from(total * gain) - i128::from(cost) * subset.len() as i128;
            (worth, Reverse(subset.len()), Reverse(subset.clone()))
        })
        .unwrap_or_default()
}

/// Positions in the pool of the next row's pieces, word for word as `docs/packing.md` has it.
pub(super) fn knapsack(pool: &[u64], row: u64, choice: usize, max_segments: usize) -> Vec<usize> {
    let mut taken = vec![0];
    loop {
        let room = row - taken.iter().map(|&i| pool[i]).sum::<u64>();
        let fitting: Vec<usize> = (0..pool.len())
            .filter(|i| !taken.contains(i) && pool[*i] <= room)
            .collect();
        let left = max_segments - taken.len();
        if fitting.is_empty() || left == 0 {
            break;
        }
        let sum: u64 = fitting.iter().map(|&i| pool[i]).sum();
        let squares: u64 = fitting.iter().map(|&i| pool[i] * pool[i]).sum();
        let much = 4 * room * sum > 11 * squares || room * fitting.len() as u64 > 8 * sum;
        if left > 8 && much {
            taken.push(fitting[0]);
            continue;
        }
        let candidates: Vec<usize> = fitting.into_iter().take(choice).collect();
        let lengths: Vec<u64> = candidates.iter().map(|&i| pool[i]).collect();
        let found = best(&lengths, room, left.min(8), squares, 48 * sum);
        taken.extend(found.iter().map(|&j| candidates[j]));
        if found.len() < 8 {
            break;
        }
    }
    taken.sort_unstable();
    taken
}

/// Length of the longest beginning of `length` tokens that may be cut off within `room`.
pub(super) fn beginning(length: u32, room: u32, protected: &[Span]) -> u32 {
    let may_cut = |at: u32| {
        !protected
            .iter()
            .any(|span| span.start < at && at < span.end)
    };
    (0..=room.min(length))
        .rev()
        .find(|&at| at == length || may_cut(at))
        .unwrap_or(0)
}

/// `concat`: how many tokens of the joined pieces go into the next row. Pieces are `(length, protected spans)`.
pub(super) fn concat(
    pieces: &[(u32, Vec<Span>)],
    row: u32,
    multiple: u32,
    max_segments: usize,
) -> u32 {
    // What the first `tokens` cost: every piece begun is a segment of its own.
    let parts = |tokens: u32| {
        let mut rest = tokens;
        let mut parts = Vec::new();
        for (length, _) in pieces {
            if rest > 0 {
                parts.push(rest.min(*length));
                rest -= rest.min(*length);
            }
        }
        parts
    };
    let fits = |tokens: u32| {
        let parts = parts(tokens);
        parts.len() <= max_segments
            && parts
                .iter()
                .map(|p| p.next_multiple_of(multiple))
                .sum::<u32>()
                <= row
    };
    let may_cut = |tokens: u32| {
        let parts = parts(tokens);
        let Some((end, (_, protected))) =
            parts.last().zip(pieces.get(parts.len().saturating_sub(1)))
        else {
            return true;
        };
        !protected
            .iter()
            .any(|span| span.start < *end && *end < span.end)
    };
    let all: u32 = pieces.iter().map(|(length, _)| length).sum();
    (0..=all)
        .rev()
        .find(|&tokens| fits(tokens) && may_cut(tokens))
        .unwrap_or(0)
}
