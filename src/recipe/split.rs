//! Which records are held out for evaluation.

use super::keys::json;
use super::shape::{Section, Shape, at_least, choice, key};
use serde::{Deserialize, Serialize};

/// Which records are held out for evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitConfig {
    /// Share of the records that is held out.
    pub fraction: f64,
    /// What decides.
    pub by: SplitBy,
    /// Key of the hash; none: the recipe's seed.
    pub seed: Option<u64>,
    /// Most records of the eval side. Those held out beyond it are on neither side.
    pub max_records: u64,
}

impl Default for SplitConfig {
    fn default() -> Self {
        SplitConfig {
            fraction: 0.0,
            by: SplitBy::default(),
            seed: None,
            // Some minutes of evaluation, and a mean loss that is known to a percent.
            max_records: 10_000,
        }
    }
}

/// What decides on which side a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum SplitBy {
    /// A hash of its bytes. The default: it stays on its side wherever it lies, and so do its copies.
    #[default]
    Hash,
}

/// The keys.
pub(super) static KEYS: Section = Section {
    defaults: || json(&SplitConfig::default()),
    keys: &[
        key(
            "fraction",
            Shape::Fraction,
            "Share of the records that is held out, about.",
        )
        .required()
        .elsewhere(&[
            "test_size",
            "val_set_size",
            "eval_fraction",
            "validation_fraction",
        ]),
        key(
            "by",
            Shape::Choice(&[choice("hash", "A keyed hash of the record's bytes.")]),
            "What decides on which side a record is.",
        ),
        key(
            "seed",
            Shape::Nullable(&at_least(0)),
            "Key of the hash; null takes the recipe's seed.",
        ),
        key(
            "max_records",
            at_least(1),
            "Most records of a source on the eval side: its first held-out ones.",
        )
        .elsewhere(&["max_eval_samples"]),
    ],
};
