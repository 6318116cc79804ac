//! How shards are read, and what a bad record does.

use super::shape::{Section, Shape, key};
use serde::{Deserialize, Serialize};

/// What a bad record does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRecord {
    /// Ends the run. The default: nothing is lost unless somebody allowed it.
    #[default]
    Stop,
    /// Is skipped and counted, within a limit.
    Skip {
        /// Share of the records read so far that may be bad, beside the first 8.
        max_fraction: f64,
    },
}

/// Bad records that are always forgiven with `skip`, so that a small corpus does not stop at its first.
const FORGIVEN: u64 = 8;

impl OnBadRecord {
    /// Whether `bad` bad ones among `read` records may pass.
    pub(crate) fn forgives(self, read: u64, bad: u64) -> bool {
        match self {
            OnBadRecord::Stop => bad == 0,
            // Counts of records are far below 2^53, so that both sides are exact enough to agree on every machine.
            OnBadRecord::Skip { max_fraction } => {
                bad as f64 <= FORGIVEN as f64 + max_fraction * (read as f64)
            }
        }
    }
}

/// How local shards are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Io {
    /// Mapped on local file systems, read elsewhere. The default: a map is the fastest where it is safe.
    #[default]
    Auto,
    /// Mapped.
    Mmap,
    /// Read with `pread`.
    Pread,
}

/// The keys.
pub(super) static SKIP: Section = Section {
    defaults: || serde_json::Value::Null,
    keys: &[key(
        "max_fraction",
        Shape::Fraction,
        "Share of the records read so far that may be bad, beside the first 8.",
    )
    .required()],
};
