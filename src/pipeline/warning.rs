//! Warnings that teach: what was seen, why it matters, what to try. `docs/warnings.md` has them all.

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
    /// The token that ends a trained text is the padding token too.
    PadEqualsEos {
        /// The source whose texts it ends.
        source: String,
        /// The token.
        token: String,
    },
    /// What the template prints depends on the date.
    TemplatePrintsDate {
        /// The source whose template it is.
        source: String,
    },
    /// The template writes special tokens that the tokenizer takes apart.
    SpecialTokenSplit {
        /// The source whose template it is.
        source: String,
        /// The first few of them.
        tokens: Vec<String>,
    },
    /// Examples begin with two BOS tokens.
    DoubleBos {
        /// The source whose examples they are.
        source: String,
        /// BOS.
        token: String,
        /// Examples that begin so.
        doubled: u64,
        /// Examples looked at.
        examples: u64,
    },
    /// More than half of the examples are cut, or dropped, because they are longer than a row.
    MostRowsTruncated {
        /// The source whose examples they are.
        source: String,
        /// Tokens a row.
        sequence_length: u64,
        /// Examples that take a whole row.
        cut: u64,
        /// Examples that were dropped.
        dropped: u64,
        /// Examples looked at.
        examples: u64,
        /// Tokens cut off.
        tokens: u64,
    },
    /// A tenth of the records and more train nothing.
    ManyRecordsUntrained {
        /// The source whose records they are.
        source: String,
        /// Records without a trained token or a marker.
        untrained: u64,
        /// Records looked at.
        records: u64,
    },
    /// A tenth of the rows and more is padding.
    DensityLow {
        /// Real tokens in the rows looked at.
        tokens: u64,
        /// Tokens that they have place for.
        slots: u64,
        /// Rows looked at: those that were packed while pools could still be refilled.
        rows: u64,
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

/// Rows from which on density is judged while the stream goes on, and at its end.
pub(crate) const ROWS_SETTLED: u64 = 64;
pub(crate) const ROWS_FEW: u64 = 16;

impl Warning {
    /// The names of all.
    pub const NAMES: [&str; 10] = [
        "pools_hold_much",
        "stop_token_untrained",
        "pad_equals_eos",
        "template_prints_date",
        "special_token_split",
        "double_bos",
        "most_rows_truncated",
        "many_records_untrained",
        "density_low",
        "step_rows_changed",
    ];

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

    /// Density's warning, where it applies to so many tokens in rows of `row` tokens. A packer that has examples to
    /// choose from leaves less than a hundredth empty.
    pub(crate) fn density(tokens: u64, rows: u64, row: usize, least: u64) -> Option<Self> {
        let slots = rows.saturating_mul(row as u64);
        let low = tokens.saturating_mul(10) < slots.saturating_mul(9);
        (rows >= least && low).then_some(Warning::DensityLow {
            tokens,
            slots,
            rows,
        })
    }

    /// What programs call it. Never changes.
    pub fn name(&self) -> &'static str {
        match self {
            Warning::PoolsHoldMuch { .. } => "pools_hold_much",
            Warning::StopTokenUntrained { .. } => "stop_token_untrained",
            Warning::PadEqualsEos { .. } => "pad_equals_eos",
            Warning::TemplatePrintsDate { .. } => "template_prints_date",
            Warning::SpecialTokenSplit { .. } => "special_token_split",
            Warning::DoubleBos { .. } => "double_bos",
            Warning::MostRowsTruncated { .. } => "most_rows_truncated",
            Warning::ManyRecordsUntrained { .. } => "many_records_untrained",
            Warning::DensityLow { .. } => "density_low",
            Warning::StepRowsChanged { .. } => "step_rows_changed",
        }
    }

    /// The source that it is about; none where it is about the stream.
    pub fn source(&self) -> Option<&str> {
        match self {
            Warning::PoolsHoldMuch { .. }
            | Warning::DensityLow { .. }
            | Warning::StepRowsChanged { .. } => None,
            Warning::StopTokenUntrained { source }
            | Warning::PadEqualsEos { source, .. }
            | Warning::TemplatePrintsDate { source }
            | Warning::SpecialTokenSplit { source, .. }
            | Warning::DoubleBos { source, .. }
            | Warning::MostRowsTruncated { source, .. }
            | Warning::ManyRecordsUntrained { source, .. } => Some(source),
        }
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
            Warning::PadEqualsEos { source, token } => {
                format!(
                    "source `{source}`: {token:?} ends what is trained, and is the padding token too"
                )
            }
            Warning::TemplatePrintsDate { source } => format!(
                "source `{source}`: the template prints the date, which is `template.now` in every example"
            ),
            Warning::SpecialTokenSplit { source, tokens } => format!(
                "source `{source}`: the template writes {}, which the tokenizer takes apart like any text",
                tokens.join(", ")
            ),
            Warning::DoubleBos {
                source,
                token,
                doubled,
                examples,
            } => format!(
                "source `{source}`: {doubled} of {examples} examples begin with {token:?} twice"
            ),
            Warning::MostRowsTruncated {
                source,
                sequence_length,
                cut,
                dropped,
                examples,
                tokens,
            } => format!(
                "source `{source}`: of {examples} examples {cut} take a whole row of {sequence_length} tokens and \
                 {dropped} were dropped as longer than that; {tokens} tokens were cut off"
            ),
            Warning::ManyRecordsUntrained {
                source,
                untrained,
                records,
            } => format!(
                "source `{source}`: {untrained} of {records} records have nothing that is trained, and are dropped"
            ),
            Warning::DensityLow {
                tokens,
                slots,
                rows,
            } => format!(
                "{rows} rows are {:.1}% full, and the rest is padding",
                *tokens as f64 * 100.0 / *slots as f64
            ),
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
            Warning::PadEqualsEos { .. } => {
                "packmill tells padding by its position, so the end keeps its label; a trainer that masks labels by the \
                 padding id takes it away again, and the model does not learn to stop"
            }
            Warning::TemplatePrintsDate { .. } => {
                "the model sees one day only, and another one when it is used"
            }
            Warning::SpecialTokenSplit { .. } => {
                "the model learns to spell them, and a program that stops or cuts at the token never sees it"
            }
            Warning::DoubleBos { .. } => "models were trained with one, and answer worse after two",
            Warning::MostRowsTruncated { .. } => {
                "answers are cut before their end, so the model sees few of them whole and may not learn to stop"
            }
            Warning::ManyRecordsUntrained { .. } => {
                "the mask may not fit the rows: another role name, marker or template than it expects"
            }
            Warning::DensityLow { .. } => "the rest of every step is spent on padding",
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
            Warning::PadEqualsEos { .. } => {
                "`tokenizer.pad` with another token, or a trainer that takes labels as they come"
            }
            Warning::TemplatePrintsDate { .. } => {
                "`template.kwargs` with a date of your own where the template takes one, or a template without"
            }
            Warning::SpecialTokenSplit { .. } => {
                "the tokenizer that belongs to the template, or add the tokens to tokenizer.json"
            }
            Warning::DoubleBos { .. } => {
                "take BOS out of the rows, or out of the template: `packmill inspect` shows which of them writes it"
            }
            Warning::MostRowsTruncated { .. } => {
                "a longer `pack.sequence_length`, or `overlong: split` or `drop`"
            }
            Warning::ManyRecordsUntrained { .. } => {
                "`packmill samples`, which names the reason of each; `mask.train`, `mask.roles` or `sources[].roles`"
            }
            Warning::DensityLow { .. } => {
                "`strategy: knapsack`, a larger `lookahead`, a longer `sequence_length` or a larger `max_segments`"
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
