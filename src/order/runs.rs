//! The order of records inside a streamed block: keyed, within short runs.
//!
//! A block is decoded front to back, so its records can only be reordered within what is held of it:
//! a run of at most [`RUN_RECORDS`] records and [`RUN_BYTES`] of text, closed before the record that would
//! exceed either; a longer record is a run of its own. Runs are short because a lane holds one of each block that
//! it takes from together, which mixes more than longer ones would.

use super::shuffle::{Key, Shuffle};

/// Most records of a run.
pub const RUN_RECORDS: usize = 128;

/// Most bytes of text of a run, newlines left out of the count.
pub const RUN_BYTES: usize = 128 << 10;

/// What stands at each place of a run of `records` records.
pub fn order(key: Key, records: u64) -> Vec<u64> {
    let shuffle = Shuffle::new(records, key);
    (0..records).map(|place| shuffle.at(place)).collect()
}
