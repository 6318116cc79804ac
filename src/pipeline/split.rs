//! The two sides of a corpus: what is trained on, and what is held out for evaluation.

use crate::recipe::{Recipe, SplitBy, SplitConfig};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A side of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Side {
    /// What is not held out.
    #[default]
    Train,
    /// What is: of each source the first `split.max_records`, in corpus order, once.
    Eval,
}

/// A source's split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Split {
    fraction: f64,
    key: u64,
    /// Most records of the eval side.
    pub(crate) max_records: u64,
}

impl Split {
    /// The split of a recipe's source; none where it holds nothing out.
    pub(crate) fn of(recipe: &Recipe, source: usize) -> Option<Split> {
        let SplitConfig {
            fraction,
            by: SplitBy::Hash,
            seed,
            max_records,
        } = config(recipe, source)?;
        Some(Split {
            fraction: *fraction,
            key: seed.unwrap_or(recipe.seed),
            max_records: *max_records,
        })
    }

    /// The share of records that is held out.
    pub(crate) fn fraction(&self) -> f64 {
        self.fraction
    }

    /// Whether a record is held out: where the first 53 bits of the XXH3-64 of its bytes, seeded with the key, are
    /// below `fraction` × 2^53. Every such number is an exact double.
    pub(crate) fn holds_out(&self, record: &[u8]) -> bool {
        const ONE: f64 = (1_u64 << 53) as f64;
        ((xxh3_64_with_seed(record, self.key) >> 11) as f64) < self.fraction * ONE
    }
}

/// The source's own split, else the recipe's, if it holds anything out.
pub(crate) fn config(recipe: &Recipe, source: usize) -> Option<&SplitConfig> {
    let own = recipe.sources.get(source)?.split.as_ref();
    own.or(recipe.split.as_ref())
        .filter(|split| split.fraction > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(fraction: f64, key: u64) -> Split {
        Split {
            fraction,
            key,
            max_records: 1,
        }
    }

    #[test]
    fn a_larger_fraction_holds_out_more_of_the_same() {
        let records: Vec<String> = (0..10_000)
            .map(|n| format!("{{\"text\": \"{n}\"}}"))
            .collect();
        let held = |split: Split| -> Vec<&String> {
            let held = records.iter().filter(|r| split.holds_out(r.as_bytes()));
            held.collect()
        };
        let (few, more) = (held(split(0.1, 17)), held(split(0.2, 17)));
        // Three standard deviations.
        assert!((910..1_090).contains(&few.len()), "{}", few.len());
        assert!((1_880..2_120).contains(&more.len()), "{}", more.len());
        assert!(few.iter().all(|record| more.contains(record)));
        assert_ne!(few, held(split(0.1, 18)));
        assert_eq!(held(split(1.0, 17)).len(), records.len());
        assert!(held(split(0.0, 17)).is_empty());
    }

    /// Frozen, and found by another implementation of the hash: another answer is another split.
    #[test]
    fn holds_out_what_the_specification_says() {
        let held = (0..100).filter(|n| {
            let record = format!("{{\"text\": \"{n}\"}}");
            split(0.1, 17).holds_out(record.as_bytes())
        });
        assert_eq!(held.collect::<Vec<_>>(), [10, 11, 37, 59, 64, 88, 89, 90]);
    }
}
