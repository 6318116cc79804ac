//! Which of many hashes came before.

/// In how many parts the hashes are sorted: what that takes beside the hashes is two to four bytes each.
const PARTS: u128 = 16;

/// Stands for a line that is no record.
pub(super) const NO_RECORD: u128 = 0;

/// Sets a bit for each hash that stood in the list before. `lists` are the list in pieces, and the bits of its lines begin
/// with `begin`, in each word with the lowest.
pub(super) fn mark(lists: &[Vec<u128>], begin: u64, bits: &mut [u64]) {
    let mut part: Vec<(u128, u64)> = Vec::new();
    for number in 0..PARTS {
        part.clear();
        let all = (begin..).zip(lists.iter().flatten());
        let own = all.filter(|(_, hash)| **hash != NO_RECORD && **hash >> 124 == number);
        part.extend(own.map(|(line, hash)| (*hash, line)));
        // Of equal hashes the first is the one that stood first.
        part.sort_unstable();
        for pair in part.windows(2) {
            if let [(before, _), (hash, line)] = pair
                && before == hash
                && let Some(word) = bits.get_mut((line / 64) as usize)
            {
                *word |= 1 << (line % 64);
            }
        }
    }
}

/// Whether a bit is set; false past the end.
pub(super) fn is_set(bits: &[u64], index: u64) -> bool {
    let word = usize::try_from(index / 64).ok().and_then(|at| bits.get(at));
    word.is_some_and(|word| (word >> (index % 64)) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// The naive twin: a set that is asked one by one.
        #[test]
        fn is_what_a_set_says(begin in 0..100_u64, lists in prop::collection::vec(prop::collection::vec((0..4_u128, 0..5_u128), 0..40), 0..5)) {
            let lists: Vec<Vec<u128>> = lists
                .into_iter()
                .map(|list| list.into_iter().map(|(high, low)| high << 125 | low).collect())
                .collect();
            let lines: usize = lists.iter().map(Vec::len).sum();
            let mut bits = vec![0; (begin as usize + lines).div_ceil(64)];
            mark(&lists, begin, &mut bits);
            let mut seen = BTreeSet::new();
            prop_assert!((0..begin).all(|line| !is_set(&bits, line)));
            for (line, hash) in (begin..).zip(lists.iter().flatten()) {
                let copy = *hash != NO_RECORD && !seen.insert(*hash);
                prop_assert_eq!(is_set(&bits, line), copy, "{}", line);
            }
            prop_assert!(!is_set(&bits, begin + lines as u64 + 64));
        }
    }
}
