//! Blocks that a lane takes from together: a group of streamed blocks gives its items in keyed turns.
//!
//! A block of a corpus that lies sorted holds one kind of record. A lane that goes through one block at a time
//! brings these in company; one that takes from eight mixes them, and still stands at one place: item so many of
//! the group. `docs/shuffle.md` has the measurement that the number rests on.

use super::shuffle::{Key, mix};

/// Most blocks of a group.
pub const TOGETHER: u64 = 8;

/// Stored bytes that the compressed blocks of a group have in the mean at most, unless it is one block: for each of
/// them a decoder is open, whose window is never more than its text, and at a resume all of them are decoded again.
pub const TOGETHER_BYTES: u64 = 1 << 20;

/// From how many blocks a lane takes together, of a list of streamed blocks of which `compressed` are zstd frames or
/// gzip files, of `stored_bytes` in all.
pub fn together(compressed: u64, stored_bytes: u64) -> u64 {
    let most = u128::from(compressed) * u128::from(TOGETHER_BYTES);
    match most.checked_div(u128::from(stored_bytes)) {
        Some(most) => u64::try_from(most).unwrap_or(TOGETHER).clamp(1, TOGETHER),
        None => TOGETHER,
    }
}

/// A lane's blocks, by their index within the lane, that it takes from together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// The first one.
    pub first: u64,
    /// One past the last: the first of the next group.
    pub end: u64,
}

impl Group {
    /// The group that holds block `index` of those in `first..end`, which are cut into as few groups of at most
    /// `together` as can be, as equal as can be. `index` must be one of them.
    pub(super) fn holding(index: u64, first: u64, end: u64, together: u64) -> Group {
        let blocks = u128::from(end.saturating_sub(first)).max(1);
        let groups = blocks.div_ceil(u128::from(together.max(1)));
        let within = u128::from(index.saturating_sub(first));
        let number = ((within + 1) * groups).div_ceil(blocks) - 1;
        let begin = |number: u128| {
            let before = number * blocks / groups;
            first.saturating_add(u64::try_from(before).unwrap_or(u64::MAX))
        };
        Group {
            first: begin(number),
            end: begin(number + 1),
        }
    }
}

/// Whose turn it is, of the blocks of one group.
///
/// In each round every block that has not ended when it begins has one turn, in another keyed order each time.
/// The end of a block is an item in its turn.
#[derive(Debug, Clone)]
pub struct Turns {
    key: u64,
    /// Number of the round.
    round: u64,
    /// Which blocks have not ended.
    going: Vec<bool>,
    /// The round's order.
    order: Vec<usize>,
    /// Turns of the round that are over.
    taken: usize,
}

impl Turns {
    /// Those of `members` blocks. Of its key only the first word is used.
    pub fn new(key: Key, members: usize) -> Turns {
        let mut turns = Turns {
            key: key.first_word(),
            round: 0,
            going: vec![true; members],
            order: Vec::with_capacity(members),
            taken: 0,
        };
        turns.begin();
        turns
    }

    /// The block whose turn it is; none where all have ended.
    pub fn next(&self) -> Option<usize> {
        self.order.get(self.taken).copied()
    }

    /// The blocks that have not ended, those first whose turn comes first as far as that is known.
    pub fn coming(&self) -> impl Iterator<Item = usize> + '_ {
        let (before, rest) = self.order.split_at(self.taken.min(self.order.len()));
        let before = before.iter().filter(|&&member| self.going[member]);
        rest.iter().chain(before).copied()
    }

    /// Notes that the item whose turn it was has been taken, and whether it was its block's end.
    pub fn pass(&mut self, ended: bool) {
        if let (true, Some(member)) = (ended, self.next()) {
            self.going[member] = false;
        }
        self.taken += 1;
        if self.taken >= self.order.len() {
            self.round += 1;
            self.begin();
        }
    }

    fn begin(&mut self) {
        let from = self.key.wrapping_add(self.round.wrapping_mul(TOGETHER));
        self.order.clear();
        self.order
            .extend((0..self.going.len()).filter(|&member| self.going[member]));
        // The mixer is a bijection, so that no two are equal.
        self.order
            .sort_unstable_by_key(|&member| mix(from.wrapping_add(member as u64)));
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::shuffle::Use;
    use proptest::prelude::*;

    fn key(seed: u64) -> Key {
        Key::new(seed, "", 0, Use::Turns { first: 0 })
    }

    /// The turns of blocks of so many items, ends included, told from all of them beforehand.
    fn naive(key: u64, items: &[u64]) -> Vec<usize> {
        let rounds = 0..items.iter().copied().max().unwrap_or(0);
        rounds
            .flat_map(|round| {
                let mut in_it: Vec<(u64, usize)> = (0..items.len())
                    .filter(|&m| items[m] > round)
                    .map(|m| (mix(key.wrapping_add(8 * round + m as u64)), m))
                    .collect();
                in_it.sort_unstable();
                in_it.into_iter().map(|(_, m)| m)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn turns_are_as_the_naive_twin_tells(seed: u64, items in prop::collection::vec(1u64..40, 1..9)) {
            let mut turns = Turns::new(key(seed), items.len());
            let mut left = items.clone();
            let mut found = Vec::new();
            while let Some(member) = turns.next() {
                let coming: Vec<usize> = turns.coming().collect();
                prop_assert_eq!(coming[0], member);
                prop_assert_eq!(coming.len(), left.iter().filter(|&&left| left > 0).count());
                found.push(member);
                left[member] -= 1;
                turns.pass(left[member] == 0);
            }
            prop_assert_eq!(found, naive(key(seed).first_word(), &items));
            prop_assert!(left.iter().all(|&left| left == 0));
        }

        #[test]
        fn groups_are_few_and_equal(first in 0u64..1 << 50, blocks in 1u64..300, together in 1u64..9) {
            let end = first + blocks;
            let (mut at, mut sizes) = (first, Vec::new());
            while at < end {
                let group = Group::holding(at, first, end, together);
                prop_assert_eq!(group.first, at);
                prop_assert!((at..group.end).all(|index| Group::holding(index, first, end, together) == group));
                sizes.push(group.end - group.first);
                at = group.end;
            }
            prop_assert_eq!(at, end);
            prop_assert_eq!(sizes.len() as u64, blocks.div_ceil(together));
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            prop_assert!(most - least <= 1 && *most <= together);
        }
    }

    #[test]
    fn large_compressed_blocks_are_taken_one_by_one() {
        let mib = 1 << 20;
        assert_eq!(together(0, 0), 8, "plain text alone");
        assert_eq!(together(1_000, 1_000 * mib / 8), 8);
        assert_eq!(together(1_000, 1_000 * mib / 8 + 1), 7);
        assert_eq!(together(1_000, 1_000 * mib / 2), 2);
        assert_eq!(together(1_000, 1_000 * mib * 100), 1);
        assert_eq!(together(u64::MAX, 1), 8);
        assert_eq!(together(1, u64::MAX), 1);
    }

    /// The order is a specification: these turns may never change.
    #[test]
    fn golden() {
        let key = Key::new(17, "sgd", 3, Use::Turns { first: 40 });
        let mut turns = Turns::new(key, 5);
        let mut found = Vec::new();
        for turn in 0..15 {
            found.push(turns.next().unwrap());
            turns.pass(turn == 6);
        }
        assert_eq!(found, [4, 3, 1, 2, 0, 2, 4, 0, 1, 3, 1, 2, 3, 0, 3]);
    }
}
