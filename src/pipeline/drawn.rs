//! What lanes drew so far, as far as it tells how far ahead of them workers should be. It decides no row.

/// Sums over all lanes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drawn {
    tokens: u64,
    examples: u64,
    /// Records that are at least one example.
    records: u64,
    /// Examples of one record at most.
    most: u64,
}

impl Drawn {
    /// Nothing yet, of records that are `most` examples at most.
    pub(super) fn new(most: u64) -> Self {
        Drawn {
            tokens: 0,
            examples: 0,
            records: 0,
            most: most.max(1),
        }
    }

    /// Adds a record by its examples' lengths.
    pub(super) fn record(&mut self, lengths: impl Iterator<Item = usize>) {
        let before = self.examples;
        for length in lengths {
            self.tokens += length as u64;
            self.examples += 1;
        }
        self.records += u64::from(self.examples > before);
    }

    /// Whether all lanes should be told anew how far ahead to be: now and then, while that becomes known.
    pub(super) fn is_news(&self) -> bool {
        self.most > 1 && self.records.is_power_of_two()
    }

    /// Tokens of an example in the mean, at least 1; none before there was one.
    pub(super) fn mean(&self) -> Option<u64> {
        self.tokens
            .checked_div(self.examples)
            .map(|mean| mean.max(1))
    }

    /// How many records are so many examples, about; before any was drawn, how many are at least.
    pub(super) fn records_of(&self, examples: u64) -> u64 {
        match self.records {
            0 => examples.div_ceil(self.most),
            records => examples.saturating_mul(records).div_ceil(self.examples),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_one_example_each_are_as_many() {
        let mut drawn = Drawn::new(1);
        for examples in [0, 1, 128, 1 << 20] {
            assert_eq!(drawn.records_of(examples), examples);
        }
        drawn.record([7].into_iter());
        // Dropped: nothing of it comes into a pool.
        drawn.record([].into_iter());
        assert_eq!(drawn.mean(), Some(7));
        assert_eq!(drawn.records_of(128), 128);
        assert!(!drawn.is_news());
    }

    #[test]
    fn records_of_several_are_fewer() {
        let mut drawn = Drawn::new(64);
        assert_eq!((drawn.records_of(128), drawn.mean()), (2, None));
        drawn.record([3; 10].into_iter());
        assert!(drawn.is_news());
        assert_eq!(drawn.records_of(128), 13);
        drawn.record([3; 30].into_iter());
        drawn.record([3; 20].into_iter());
        assert!(!drawn.is_news());
        assert_eq!((drawn.records_of(128), drawn.records_of(0)), (7, 0));
    }
}
