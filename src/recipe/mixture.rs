//! Mixtures by weight: which weights hold from which row, and what the end of a source does.

use super::shape::{Section, Shape, at_least, key};
use super::{Recipe, weight};
use crate::order::weights::Weights;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// What the end of a source does, where sources have weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum OnExhausted {
    /// It begins its next epoch. The default: weights then hold for as long as the stream goes on.
    #[default]
    Repeat,
    /// The stream ends with it.
    Stop,
}

/// Weights that hold from a row of the stream on, until the next entry's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleEntry {
    /// The first row that they hold for, at least 1.
    pub row: u64,
    /// In millionths, by the sources' names, at least one above 0; a source that is not named has 0.
    #[serde(with = "weight::named")]
    pub weights: BTreeMap<String, u64>,
}

impl Recipe {
    /// What each source weighs in millionths, in the recipe's order, from which row on; none where they have no
    /// weights.
    pub fn weights(&self) -> Option<Weights> {
        let sources = self.sources.iter();
        let first: Vec<u64> = sources.map(|source| source.weight).collect::<Option<_>>()?;
        if first.is_empty() {
            return None;
        }
        let schedule = self.schedule.iter();
        Some(schedule.fold(Weights::new(first), |weights, entry| {
            let of = |name: &String| entry.weights.get(name).copied().unwrap_or(0);
            let later = self.sources.iter().map(|source| of(&source.name));
            weights.then(entry.row, later.collect())
        }))
    }
}

/// A schedule without entries is null where it is written.
pub(super) mod schedule {
    use super::{Deserialize, Deserializer, ScheduleEntry, Serialize, Serializer};

    pub(in crate::recipe) fn serialize<S: Serializer>(
        schedule: &[ScheduleEntry],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        (!schedule.is_empty()).then_some(schedule).serialize(to)
    }

    pub(in crate::recipe) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<ScheduleEntry>, D::Error> {
        Ok(Option::deserialize(from)?.unwrap_or_default())
    }
}

/// The keys.
pub(super) static SCHEDULE: Section = Section {
    defaults: || serde_json::Value::Null,
    keys: &[
        key(
            "row",
            at_least(1),
            "The first row of the stream that these weights hold for; rows rise.",
        )
        .required(),
        key(
            "weights",
            Shape::Named {
                of: &Shape::Weight { least: 0 },
                what: "weights",
            },
            "Weights by the sources' names, at least one above 0; a source that is not \
             named has 0.",
        )
        .required(),
    ],
};
