//! How rows become batches.

use super::keys::{MOST_TOKENS, json};
use super::shape::{Section, Shape, at_least, between, choice, key};
use serde::{Deserialize, Serialize};

/// How rows become batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchConfig {
    /// Rows a micro-batch.
    pub rows: usize,
    /// Rows of all ranks a step; none: rows × world size.
    pub step_rows: Option<usize>,
    /// Which labels a batch carries.
    pub labels: Labels,
}

impl Default for BatchConfig {
    fn default() -> Self {
        BatchConfig {
            // 8 × 4096 tokens: enough to fill a GPU with a small model, few enough to hold several batches.
            rows: 8,
            step_rows: None,
            labels: Labels::default(),
        }
    }
}

/// Which labels a batch carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// `labels`, aligned with `input_ids`; the model shifts. The default: what Hugging Face models expect.
    #[default]
    Aligned,
    /// `shift_labels`: at t the target of t + 1.
    Shifted,
}

/// The keys.
pub(super) static KEYS: Section = Section {
    defaults: || json(&BatchConfig::default()),
    keys: &[
        key("rows", between(1, MOST_TOKENS), "Rows a micro-batch.").elsewhere(&[
            "batch_size",
            "micro_batch_size",
            "per_device_train_batch_size",
        ]),
        key(
            "step_rows",
            Shape::Nullable(&at_least(1)),
            "Rows of all ranks a step, a multiple of rows; null is rows × world size.",
        )
        .elsewhere(&["global_batch_size"]),
        key(
            "labels",
            Shape::Choice(&[
                choice("aligned", "labels: at t the token at t; the model shifts."),
                choice("shifted", "shift_labels: at t the target of t + 1."),
            ]),
            "Which labels a batch carries.",
        ),
    ],
};
