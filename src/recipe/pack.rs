//! How examples become rows.

use super::keys::{MOST_TOKENS, json};
use super::shape::{Section, Shape, between, choice, key};
use serde::{Deserialize, Serialize};

/// Examples that a lane packs from unless the recipe says otherwise: to be settled by measurement.
pub const DEFAULT_LOOKAHEAD: usize = 128;

/// Examples that a pool can reasonably hold; every lane has one.
const MOST_LOOKAHEAD: u64 = 1 << 20;

/// How examples become rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackConfig {
    /// The packer.
    pub strategy: Strategy,
    /// Tokens a row.
    pub sequence_length: usize,
    /// What happens to an example longer than a row.
    pub overlong: Overlong,
    /// Examples that a lane packs from.
    pub lookahead: usize,
    /// Segments are padded to a multiple of this.
    pub segment_multiple: usize,
    /// A row's most segments.
    pub max_segments: Option<usize>,
}

impl Default for PackConfig {
    fn default() -> Self {
        PackConfig {
            strategy: Strategy::default(),
            // Longer than nearly all conversations, and a row still fits beside any model that is trained.
            sequence_length: 4096,
            overlong: Overlong::default(),
            lookahead: DEFAULT_LOOKAHEAD,
            // No padding inside a row: only context parallelism and some kernels ask for it.
            segment_multiple: 1,
            // A limit costs density; only a static cu_seqlens needs one.
            max_segments: None,
        }
    }
}

/// The packer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The oldest example and the best subset of the others. The default: nearly no padding, nothing cut.
    #[default]
    Knapsack,
    /// Joined and cut.
    Concat,
    /// One example a row.
    None,
}

/// What happens to an example longer than a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Overlong {
    /// Its beginning is kept. The default: what the ecosystem does, and what is cut is in the ledger.
    #[default]
    Truncate,
    /// Its end is kept, after BOS where it begins with one.
    TruncateLeft,
    /// It becomes several pieces; pieces without a target are dropped.
    Split,
    /// It is dropped and counted.
    Drop,
    /// It ends the run.
    Error,
}

/// The keys.
pub(super) static KEYS: Section = Section {
    defaults: || json(&PackConfig::default()),
    keys: &[
        key(
            "strategy",
            Shape::Choice(&[
                choice(
                    "knapsack",
                    "The oldest example and the best subset of the others.",
                ),
                choice("concat", "Examples joined and cut at the row's end."),
                choice("none", "One example a row."),
            ]),
            "How rows are filled.",
        )
        .elsewhere(&["packing_strategy"]),
        key("sequence_length", between(2, MOST_TOKENS), "Tokens a row.").elsewhere(&[
            "max_length",
            "max_seq_length",
            "max_seq_len",
            "seq_length",
            "seq_len",
            "cutoff_len",
        ]),
        key(
            "overlong",
            Shape::Choice(&[
                choice("truncate", "Its beginning is kept."),
                choice("truncate_left", "Its end is kept."),
                choice(
                    "split",
                    "It becomes several pieces; pieces without a target are dropped.",
                ),
                choice("drop", "It is dropped."),
                choice("error", "It ends the run."),
            ]),
            "What happens to an example longer than a row; all but error are counted in \
             the ledger.",
        )
        .elsewhere(&["truncation"]),
        key(
            "lookahead",
            between(1, MOST_LOOKAHEAD),
            "Examples that a lane packs from, for knapsack.",
        ),
        key(
            "segment_multiple",
            between(1, MOST_TOKENS),
            "Segments are padded to a multiple of this, for context parallelism; divides \
             sequence_length.",
        )
        .elsewhere(&["pad_to_multiple_of"]),
        key(
            "max_segments",
            Shape::Nullable(&between(1, MOST_TOKENS)),
            "A row's most segments, for a cu_seqlens of one size; null has no limit.",
        ),
    ],
};
