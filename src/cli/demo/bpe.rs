//! Learns the merges of a byte-pair encoding (Sennrich, Haddow and Birch, 2016) from counted words.
//!
//! The order of the merges depends on the counts alone: equal counts go to the smaller pair, and no step asks a hash
//! map for an order, so the same corpus gives the same tokenizer on every machine.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Two neighbouring tokens. Tokens 0 to 255 are the bytes, token 256 + i is what merge i makes.
pub(crate) type Pair = (u32, u32);

/// Bytes are tokens from the start.
const BYTES: usize = 256;

/// The merges, first to last, that bring the vocabulary to `vocabulary` tokens, or fewer where no pair is left that
/// stands in the words twice.
pub(crate) fn train(words: &BTreeMap<Vec<u8>, u64>, vocabulary: usize) -> Vec<Pair> {
    let mut words: Vec<(Vec<u32>, u64)> = words
        .iter()
        .map(|(bytes, count)| (bytes.iter().map(|&b| u32::from(b)).collect(), *count))
        .collect();
    let mut counts: BTreeMap<Pair, u64> = BTreeMap::new();
    let mut places: BTreeMap<Pair, BTreeSet<usize>> = BTreeMap::new();
    for (place, (word, count)) in words.iter().enumerate() {
        for pair in pairs(word) {
            *counts.entry(pair).or_default() += count;
            places.entry(pair).or_default().insert(place);
        }
    }
    let mut queue: BinaryHeap<(u64, Reverse<Pair>)> = counts
        .iter()
        .map(|(pair, count)| (*count, Reverse(*pair)))
        .collect();

    let mut merges = Vec::new();
    while BYTES + merges.len() < vocabulary {
        let Some((count, Reverse(pair))) = queue.pop() else {
            break;
        };
        // An entry whose count has changed since is stale; the right one is in the queue too.
        if counts.get(&pair) != Some(&count) {
            continue;
        }
        if count < 2 {
            break;
        }
        let merged = (BYTES + merges.len()) as u32;
        merges.push(pair);

        let mut touched = BTreeSet::new();
        for place in places.remove(&pair).unwrap_or_default() {
            let (word, count) = &mut words[place];
            for old in pairs(word) {
                if let Some(total) = counts.get_mut(&old) {
                    *total = total.saturating_sub(*count);
                }
                touched.insert(old);
            }
            *word = merge(word, pair, merged);
            for new in pairs(word) {
                *counts.entry(new).or_default() += *count;
                places.entry(new).or_default().insert(place);
                touched.insert(new);
            }
        }
        for pair in touched {
            match counts.get(&pair) {
                Some(0) | None => {
                    counts.remove(&pair);
                }
                Some(&count) => queue.push((count, Reverse(pair))),
            }
        }
    }
    merges
}

/// The bytes of every token, by id.
pub(crate) fn tokens(merges: &[Pair]) -> Vec<Vec<u8>> {
    let mut tokens: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    for &(left, right) in merges {
        let mut bytes = tokens[left as usize].clone();
        bytes.extend_from_slice(&tokens[right as usize]);
        tokens.push(bytes);
    }
    tokens
}

fn pairs(word: &[u32]) -> impl Iterator<Item = Pair> {
    word.windows(2).map(|two| (two[0], two[1]))
}

/// Replaces the pair in a word, from the left.
fn merge(word: &[u32], pair: Pair, merged: u32) -> Vec<u32> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, tail @ ..] = rest {
        if tail.first().is_some_and(|&second| (*first, second) == pair) {
            out.push(merged);
            rest = &tail[1..];
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Counts everything again before each merge.
    fn naive(words: &BTreeMap<Vec<u8>, u64>, vocabulary: usize) -> Vec<Pair> {
        let mut words: Vec<(Vec<u32>, u64)> = words
            .iter()
            .map(|(bytes, count)| (bytes.iter().map(|&b| u32::from(b)).collect(), *count))
            .collect();
        let mut merges = Vec::new();
        while 256 + merges.len() < vocabulary {
            let mut counts: BTreeMap<Pair, u64> = BTreeMap::new();
            for (word, count) in &words {
                for two in word.windows(2) {
                    *counts.entry((two[0], two[1])).or_default() += count;
                }
            }
            let best = counts
                .iter()
                .max_by_key(|(pair, count)| (**count, Reverse(**pair)));
            let Some((&pair, _)) = best.filter(|(_, count)| **count >= 2) else {
                break;
            };
            let merged = 256 + merges.len() as u32;
            merges.push(pair);
            for (word, _) in &mut words {
                *word = merge(word, pair, merged);
            }
        }
        merges
    }

    proptest! {
        #[test]
        fn learns_what_counting_again_would_learn(
            words in prop::collection::btree_map(prop::collection::vec(97u8..101, 1..12), 1u64..5, 0..20),
            more in 0usize..40,
        ) {
            prop_assert_eq!(train(&words, 256 + more), naive(&words, 256 + more));
        }
    }

    #[test]
    fn joins_the_most_frequent_pair_first() {
        let words = BTreeMap::from([
            (b"low".to_vec(), 5),
            (b"lower".to_vec(), 2),
            (b"new".to_vec(), 6),
        ]);
        let merges = train(&words, 260);
        let tokens = tokens(&merges);
        let learned: Vec<&[u8]> = tokens[256..].iter().map(Vec::as_slice).collect();
        assert_eq!(learned, [b"lo".as_slice(), b"low", b"ew", b"new"]);
    }

    #[test]
    fn overlapping_pairs_are_joined_from_the_left() {
        assert_eq!(merge(&[1, 1, 1], (1, 1), 9), [9, 1]);
        assert_eq!(train(&BTreeMap::from([(b"ab".to_vec(), 1)]), 300), []);
    }
}
