//! What is packed of an example that is longer than a row.

use crate::example::Span;
use crate::ledger::Reason;
use crate::pack::overlong::Fitted;
use crate::recipe::{PackConfig, Strategy};
use serde::{Deserialize, Serialize};

/// What is packed of an example, and what is not: [`Fitted`] without the tokens themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fit {
    /// First token and end of each piece, in order.
    pieces: Vec<(u32, u32)>,
    /// Tokens cut off.
    pub(super) truncated: u64,
    /// Tokens dropped, and why.
    pub(super) dropped: Option<(Reason, u64)>,
}

impl Fit {
    pub(super) fn of(fitted: &Fitted) -> Fit {
        let reason = fitted.dropped.unwrap_or(Reason::NoTrainedToken);
        let tokens = fitted.dropped_tokens;
        Fit {
            pieces: fitted
                .pieces
                .iter()
                .map(|piece| (piece.tokens.start, piece.tokens.end))
                .collect(),
            truncated: fitted.truncated_tokens,
            dropped: (tokens > 0).then_some((reason, tokens)),
        }
    }

    /// All of an example that fits.
    pub(super) fn whole(tokens: u32) -> Fit {
        Fit {
            pieces: vec![(0, tokens)],
            ..Fit::default()
        }
    }

    /// The pieces, and whether each is the last.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (Span, bool)> {
        let last = self.pieces.len().saturating_sub(1);
        let pieces = self.pieces.iter().enumerate();
        pieces.map(move |(index, &(start, end))| (start..end, index == last))
    }

    /// Tokens of all pieces.
    pub(super) fn kept(&self) -> u64 {
        let lengths = self
            .pieces
            .iter()
            .map(|&(start, end)| u64::from(end.saturating_sub(start)));
        lengths.sum()
    }
}

/// Whether an example of so many tokens is packed otherwise than whole.
pub(super) fn is_overlong(tokens: u32, pack: &PackConfig) -> bool {
    pack.strategy != Strategy::Concat && tokens as usize > pack.sequence_length
}
