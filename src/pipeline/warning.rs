//! Warnings that teach: what was seen, why it matters, what to try.

use super::encode::Encoder;
use super::stop_token;
use crate::checkpoint::Whole;
use crate::recipe::{Plan, Recipe, Strategy};
use std::fmt;

/// Something that is allowed, but that the user may not want.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// The lanes' pools together hold more than a quarter of an epoch.
    PoolsHoldMuch {
        /// Records that the pools may hold, about.
        pooled: u64,
        /// Records of an epoch.
        records: u64,
        /// Lanes of the recipe.
        lanes: u32,
    },
    /// The stop token of an assistant turn is not trained.
    StopTokenUntrained {
        /// The source whose template it is.
        source: String,
    },
    /// A stream goes on with steps of another size.
    StepRowsChanged {
        /// Rows of all ranks in a step before.
        before: u64,
        /// And from here on.
        now: u64,
    },
}

/// Examples that a pool takes at most to reach two rows' worth of tokens.
const MOST_POOLED: u64 = 4_096;

impl Warning {
    /// The pools' warning, where it applies to an epoch of `records` records of `mean` tokens, about.
    pub(crate) fn pools(recipe: &Recipe, records: u64, mean: u64) -> Option<Self> {
        if recipe.plan == Plan::Global {
            return None;
        }
        let rows_of = |rows: u64| (rows * recipe.pack.sequence_length as u64).div_ceil(mean.max(1));
        let a_lane = match recipe.pack.strategy {
            Strategy::Knapsack => (recipe.pack.lookahead as u64).max(rows_of(2).min(MOST_POOLED)),
            Strategy::Concat => rows_of(1),
            Strategy::None => 1,
        };
        let pooled = a_lane.saturating_mul(u64::from(recipe.lanes)).min(records);
        let much = pooled.saturating_mul(4) > records;
        much.then_some(Warning::PoolsHoldMuch {
            pooled,
            records,
            lanes: recipe.lanes,
        })
    }

    /// The stop token's warning for a source's encoder, where it applies.
    pub(crate) fn stop_token(source: &str, encoder: &Encoder) -> Option<Self> {
        (stop_token::is_trained(encoder) == Some(false)).then(|| Warning::StopTokenUntrained {
            source: source.to_owned(),
        })
    }

    /// What a stream that goes on from `from` says of its steps' size.
    pub(crate) fn step_rows(from: Option<&Whole>, now: u64) -> Option<Self> {
        let before = from?.step_rows.filter(|before| *before != now)?;
        Some(Warning::StepRowsChanged { before, now })
    }

    /// What was seen.
    pub fn seen(&self) -> String {
        match self {
            Warning::PoolsHoldMuch {
                pooled,
                records,
                lanes,
            } => format!(
                "the pools of {lanes} {} hold about {pooled} records, of {records} in an epoch",
                if *lanes == 1 { "lane" } else { "lanes" }
            ),
            Warning::StopTokenUntrained { source } => {
                format!("source `{source}`: no stop token is trained after an assistant turn")
            }
            Warning::StepRowsChanged { before, now } => {
                format!("a step has {now} rows from here on, and had {before} before")
            }
        }
    }

    /// Why it matters.
    pub fn why(&self) -> &'static str {
        match self {
            Warning::PoolsHoldMuch { .. } => {
                "much of an epoch is packed by the last pool, or from what earlier epochs left, so epochs blur"
            }
            Warning::StopTokenUntrained { .. } => "the model may not learn to stop",
            Warning::StepRowsChanged { .. } => {
                "rows stay what they are, but whatever is counted in steps, such as the learning rate, moves against them"
            }
        }
    }

    /// What to try.
    pub fn remedy(&self) -> &'static str {
        match self {
            Warning::PoolsHoldMuch { .. } => {
                "plan: global, which has one pool, or fewer `lanes`, or a smaller `lookahead`"
            }
            Warning::StopTokenUntrained { .. } => {
                "put the end-of-turn token inside the template's generation tags, or set end_of_turn: true"
            }
            Warning::StepRowsChanged { .. } => {
                "batch.step_rows, which keeps steps the same on another number of ranks, unless the change is meant"
            }
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.seen(), self.why(), self.remedy())
    }
}
