//! The order of records inside a streamed block: keyed, within short runs.
//!
//! A block is decoded front to back, so its records can only be reordered within what is held of it:
//! a run, closed before the record that would exceed its [`Bounds`]; a longer record is a run of its own. Where a lane
//! takes from several blocks together it holds a run of each, and they share what one block alone would have.

use super::shuffle::{Key, Shuffle};

/// Most records of a run of a block that is taken from alone.
pub const RUN_RECORDS: usize = 1_024;

/// Most bytes of text of such a run, newlines left out of the count.
pub const RUN_BYTES: usize = 1 << 20;

/// How long runs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most records.
    pub records: usize,
    /// Most bytes of text, newlines left out of the count.
    pub bytes: usize,
}

impl Bounds {
    /// Of blocks of which up to so many are taken from together.
    pub fn shared_by(together: u64) -> Bounds {
        let blocks = usize::try_from(together).unwrap_or(usize::MAX).max(1);
        Bounds {
            records: (RUN_RECORDS / blocks).max(1),
            bytes: (RUN_BYTES / blocks).max(1),
        }
    }
}

/// What stands at each place of a run of `records` records.
pub fn order(key: Key, records: u64) -> Vec<u64> {
    let shuffle = Shuffle::new(records, key);
    (0..records).map(|place| shuffle.at(place)).collect()
}
