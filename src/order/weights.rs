//! Sources' weights, and the rows from which other weights hold.

/// Weights in millionths, one a source, and what the schedule makes of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    /// Each with the row from which it holds, rising; the first from row 0.
    entries: Vec<(u64, Vec<u64>)>,
}

impl Weights {
    /// Weights that hold from the stream's start.
    pub fn new(weights: Vec<u64>) -> Self {
        Weights {
            entries: vec![(0, weights)],
        }
    }

    /// From `row` on, later than all rows so far, other weights.
    #[must_use]
    pub fn then(mut self, row: u64, weights: Vec<u64>) -> Self {
        self.entries.push((row, weights));
        self
    }

    /// Which entry holds for row `row` of the stream, from 1.
    pub fn entry_at(&self, row: u64) -> u32 {
        let entry = self.entries.partition_point(|(from, _)| *from <= row);
        u32::try_from(entry).unwrap_or(u32::MAX).max(1)
    }

    /// The weights of an entry; 0, none yet, has those of the first.
    pub fn at(&self, entry: u32) -> &[u64] {
        let index = (entry as usize).saturating_sub(1);
        let entry = self.entries.get(index).or(self.entries.last());
        entry.map_or(&[], |(_, weights)| weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rows_entry_is_the_last_that_began() {
        let weights = Weights::new(vec![1, 2])
            .then(10, vec![3, 4])
            .then(20, vec![5, 6]);
        let entries = [0, 9, 10, 19, 20, 1 << 40].map(|row| weights.entry_at(row));
        assert_eq!(entries, [1, 1, 2, 2, 3, 3]);
        assert_eq!(weights.at(0), [1, 2]);
        assert_eq!(weights.at(3), [5, 6]);
    }
}
