//! A keyed bijection on `0..n`: the shuffle without a stored permutation.
//!
//! A balanced Feistel network over the smallest even number of bits that holds `n`, with cycle walking
//! back into `0..n` (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). Eight rounds of
//! a 64-bit mixer; this is about spread, not secrecy.

use xxhash_rust::xxh3::xxh3_64_with_seed;

const ROUNDS: usize = 8;

/// What a bijection is for: keys of different uses never coincide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// The blocks of a list within one epoch.
    Blocks,
    /// The records of one run of a streamed block.
    Records {
        /// Index of the block in its list.
        block: u64,
        /// Number of the run within the block.
        run: u64,
    },
    /// The turns of blocks that a lane takes from together.
    Turns {
        /// Place in the epoch's order of the first of them.
        first: u64,
    },
}

/// The round keys of one bijection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key([u64; ROUNDS]);

impl Key {
    /// The key of (seed, name, epoch) for one use. `name` is the source's, or empty for the one list
    /// of all sources without weights.
    ///
    /// Round key r is XXH3-64, seeded with r, of: the 8 bytes `packmill`, one byte for the use (0 blocks, 1 records, 2 turns),
    /// then seed, epoch, block and run as little-endian u64, then the name in UTF-8.
    pub fn new(seed: u64, name: &str, epoch: u64, purpose: Use) -> Self {
        let (tag, block, run) = match purpose {
            Use::Blocks => (0, 0, 0),
            Use::Records { block, run } => (1, block, run),
            Use::Turns { first } => (2, first, 0),
        };
        let mut bytes = Vec::with_capacity(41 + name.len());
        bytes.extend_from_slice(b"packmill");
        bytes.push(tag);
        for number in [seed, epoch, block, run] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(name.as_bytes());
        let mut keys = [0; ROUNDS];
        for (round, key) in keys.iter_mut().enumerate() {
            *key = xxh3_64_with_seed(&bytes, round as u64);
        }
        Key(keys)
    }

    /// Its first round key.
    pub(super) fn first_word(&self) -> u64 {
        self.0[0]
    }
}

/// A bijection on `0..n`.
#[derive(Debug, Clone, Copy)]
pub struct Shuffle {
    n: u64,
    half: u32,
    key: Key,
}

impl Shuffle {
    /// The bijection of `key` on `0..n`; `n` up to 2^62.
    pub fn new(n: u64, key: Key) -> Self {
        let bits = 64 - n.saturating_sub(1).leading_zeros();
        Shuffle {
            n,
            half: bits.div_ceil(2).max(1),
            key,
        }
    }

    /// Where `index` goes. `index` must be below `n`; others are answered, but mean nothing.
    pub fn at(&self, index: u64) -> u64 {
        if self.n <= 1 {
            return 0;
        }
        let mut x = index;
        loop {
            x = self.once(x);
            if x < self.n {
                return x;
            }
        }
    }

    fn once(&self, x: u64) -> u64 {
        let mask = (1u64 << self.half) - 1;
        let (mut left, mut right) = (x >> self.half, x & mask);
        for key in self.key.0 {
            (left, right) = (right, left ^ (mix(right.wrapping_add(key)) & mask));
        }
        left << self.half | right
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
pub(super) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shuffle(n: u64, seed: u64) -> Shuffle {
        Shuffle::new(n, Key::new(seed, "", 0, Use::Blocks))
    }

    proptest! {
        #[test]
        fn is_a_bijection(n in 1u64..3000, seed: u64) {
            let s = shuffle(n, seed);
            let mut seen: Vec<u64> = (0..n).map(|i| s.at(i)).collect();
            seen.sort_unstable();
            prop_assert!(seen.into_iter().eq(0..n));
        }

        #[test]
        fn stays_in_a_large_domain(n in 1u64..1 << 62, seed: u64, index: u64) {
            prop_assert!(shuffle(n, seed).at(index % n) < n);
        }
    }

    /// Each of n records should be equally likely at each place. Chi-square over 20,000 keys; the limit
    /// is far out in the tail, so that only a real bias fails.
    #[test]
    fn every_place_is_equally_likely() {
        for n in [3u64, 5, 8, 13] {
            let keys = 20_000u64;
            let mut counts = vec![0u64; (n * n) as usize];
            for seed in 0..keys {
                let s = shuffle(n, seed);
                for i in 0..n {
                    counts[(i * n + s.at(i)) as usize] += 1;
                }
            }
            let expected = keys as f64 / n as f64;
            let chi: f64 = counts
                .iter()
                .map(|&c| (c as f64 - expected).powi(2) / expected)
                .sum();
            let freedom = ((n - 1) * (n - 1)) as f64;
            assert!(
                chi < freedom + 6.0 * (2.0 * freedom).sqrt(),
                "n {n}: chi-square {chi}"
            );
        }
    }

    #[test]
    fn uses_names_epochs_and_seeds_differ() {
        let at = |seed, name, epoch, purpose| -> Vec<u64> {
            let s = Shuffle::new(1000, Key::new(seed, name, epoch, purpose));
            (0..1000).map(|i| s.at(i)).collect()
        };
        let base = at(17, "", 0, Use::Blocks);
        for other in [
            at(18, "", 0, Use::Blocks),
            at(17, "sgd", 0, Use::Blocks),
            at(17, "", 1, Use::Blocks),
            at(17, "", 0, Use::Records { block: 0, run: 0 }),
            at(17, "", 0, Use::Records { block: 0, run: 1 }),
            at(17, "", 0, Use::Records { block: 1, run: 0 }),
            at(17, "", 0, Use::Turns { first: 0 }),
        ] {
            let same = base.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(same < 12, "{same} of 1000 in the same place");
        }
    }

    /// The order is a specification: these numbers may never change.
    #[test]
    fn golden() {
        let s = shuffle(10, 17);
        let order: Vec<u64> = (0..10).map(|i| s.at(i)).collect();
        assert_eq!(order, [4, 0, 7, 9, 1, 3, 2, 5, 6, 8]);
        let s = Shuffle::new(
            1 << 40,
            Key::new(1, "sgd", 3, Use::Records { block: 5, run: 2 }),
        );
        assert_eq!(
            [s.at(0), s.at(1), s.at(1 << 39)],
            [652_208_587_301, 490_618_271_086, 584_664_970_634]
        );
    }
}
