//! Lists one after the other, numbered as one: shards' blocks in a source, sources' blocks in a corpus.

/// The lengths of lists that stand one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Where each list begins in the one list, and the end of the last.
    starts: Vec<u64>,
}

impl Joined {
    /// Joins lists of these lengths.
    pub fn of(lengths: impl IntoIterator<Item = u64>) -> Self {
        let mut end = 0;
        let ends = lengths.into_iter().map(|length| {
            end += length;
            end
        });
        let starts = std::iter::once(0).chain(ends).collect();
        Joined { starts }
    }

    /// The length of the one list.
    pub fn len(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Whether all lists are empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The list that an item is in, and its place there; none past the end.
    pub fn locate(&self, item: u64) -> Option<(u32, u64)> {
        if item >= self.len() {
            return None;
        }
        let list = self.starts.partition_point(|start| *start <= item) - 1;
        Some((u32::try_from(list).ok()?, item - self.starts[list]))
    }

    /// The items of a list; none past the last list.
    pub fn list(&self, list: u32) -> Option<std::ops::Range<u64>> {
        let at = usize::try_from(list).ok()?;
        Some(*self.starts.get(at)?..*self.starts.get(at + 1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::Joined;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn items_are_found_where_walking_finds_them(lengths in prop::collection::vec(0_u64..5, 0..8)) {
            let walked: Vec<(u32, u64)> = (0_u32..)
                .zip(&lengths)
                .flat_map(|(list, &length)| (0..length).map(move |at| (list, at)))
                .collect();
            let joined = Joined::of(lengths.iter().copied());
            prop_assert_eq!(joined.len(), walked.len() as u64);
            for (item, place) in (0..).zip(&walked) {
                prop_assert_eq!(joined.locate(item), Some(*place));
            }
            prop_assert_eq!(joined.locate(joined.len()), None);
            let lists: Vec<u64> = (0..).map_while(|list| joined.list(list)).map(|l| l.end - l.start).collect();
            prop_assert_eq!(lists, lengths);
        }
    }
}
