//! Stage 4 of 7: mask. Which tokens are trained.
//!
//! Masks are lists of token spans, sorted, disjoint and not empty. They are made of text spans and byte
//! offsets ([`spans_to_tokens`], [`marked_answers`]) or of two tokenizations ([`completion()`]); rows of tokens bring
//! theirs along. Padding does not exist here yet and is later found by position, so no mask ever depends on which
//! id pads.
//!
//! | policy | from |
//! | --- | --- |
//! | `assistant`, `last_assistant` | the template's spans, [`select()`] and [`without_end_of_turn`] |
//! | `completion` | [`completion()`] |
//! | `all` | [`all`] |
//! | `markers` | [`marked_tokens`] |

mod completion;

mod end_of_turn;

mod markers;

mod overlap;

mod select;

mod spans;

mod weigh;

use crate::example::TokenId;

pub use completion::{completion, completion_start};
pub use end_of_turn::{end_of_turn, stop_token, without_end_of_turn};
pub use markers::{MissingMarker, marked_answers, marked_tokens};
pub use overlap::{Offsets, spans_to_tokens};
pub use select::{Turn, last_owner, select, trained_turns};
pub use spans::{all, has_target, merge, num_targets};
pub use weigh::weigh;

/// A tokenized text. `ids` and `offsets` have the same length.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a> {
    /// The text.
    pub text: &'a str,
    /// Its tokens.
    pub ids: &'a [TokenId],
    /// The bytes of `text` that each token stands for; empty for tokens that stand for none.
    pub offsets: &'a [(u32, u32)],
}

impl Tokens<'_> {
    /// Whether the token at `position` shows nothing but white space, or nothing at all.
    fn is_blank(&self, position: u32) -> bool {
        self.offsets
            .get(position as usize)
            .and_then(|&(start, end)| self.text.get(start as usize..end as usize))
            .is_none_or(|shown| shown.trim().is_empty())
    }
}
