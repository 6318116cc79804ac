//! What becomes of records that are copies of others.

use super::shape::{Shape, choice};
use serde::{Deserialize, Serialize};

/// What becomes of records whose bytes stood in the corpus before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// They are records like others. The default: copies may be meant, as weights are, and nothing is lost unless
    /// somebody asked for it.
    #[default]
    Keep,
    /// The first of a block stays. Streamed sources take no pass over the corpus for it.
    DropInBlock,
    /// The first of the corpus stays.
    Drop,
}

/// The choice.
pub(super) const CHOICE: Shape = Shape::Choice(&[
    choice("keep", "They are records like others."),
    choice(
        "drop_in_block",
        "The first in a block stays: in a zstd frame, a gzip file or a MiB of a streamed source, in a shard of a held one.",
    ),
    choice("drop", "The first in the corpus stays."),
]);
