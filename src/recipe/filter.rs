//! Which records and examples are left out.

use super::keys::json;
use super::shape::{Section, Shape, Text, at_least, key};
use serde::{Deserialize, Serialize};

/// Which records and examples are left out. What is not said leaves nothing out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct FilterConfig {
    /// Tokens of an example, before `overlong`.
    pub tokens: Option<Bounds>,
    /// Messages of a conversation, without system and developer messages.
    pub turns: Option<Bounds>,
    /// An expression over the row's fields, true of the records that stay.
    pub r#where: Option<String>,
}

/// The least and the most that stays; none: no such bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Bounds {
    /// The least that stays.
    pub min: Option<u64>,
    /// The most that stays.
    pub max: Option<u64>,
}

impl Bounds {
    /// Whether a count lies within them.
    pub fn contains(&self, count: u64) -> bool {
        self.min.is_none_or(|min| min <= count) && self.max.is_none_or(|max| count <= max)
    }
}

/// The keys.
pub(super) static KEYS: Section = Section {
    defaults: || json(&FilterConfig::default()),
    keys: &[
        key(
            "tokens",
            BOUNDS,
            "Tokens that an example may have, before overlong.",
        )
        .elsewhere(&["length", "lengths", "max_length", "min_length"]),
        key(
            "turns",
            BOUNDS,
            "Messages that a conversation may have, system and developer messages not counted.",
        ),
        key(
            "where",
            Shape::Nullable(&Shape::Text(Text::Condition)),
            "A Jinja expression over the row's own fields; records of which it is true stay.",
        )
        .elsewhere(&["filter_fn", "expression", "condition"]),
    ],
};

const BOUNDS: Shape = Shape::Nullable(&Shape::Section(&BOUNDS_KEYS));

static BOUNDS_KEYS: Section = Section {
    defaults: || json(&Bounds::default()),
    keys: &[
        key(
            "min",
            Shape::Nullable(&at_least(0)),
            "The least that stays.",
        ),
        key("max", Shape::Nullable(&at_least(0)), "The most that stays."),
    ],
};
