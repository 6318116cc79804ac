//! What is packed of an example that is longer than a row, and of a record of such and others.

use crate::example::{Ends, Span};
use crate::ledger::{Intake, Reason};
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
        Fit {
            pieces: fitted
                .pieces
                .iter()
                .map(|piece| (piece.tokens.start, piece.tokens.end))
                .collect(),
            truncated: fitted.truncated_tokens,
            dropped: fitted.loss(),
        }
    }

    /// All of an example that fits.
    pub(super) fn whole(tokens: u32) -> Fit {
        Fit {
            pieces: vec![(0, tokens)],
            ..Fit::default()
        }
    }

    /// The pieces.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Span> {
        self.pieces.iter().map(|&(start, end)| start..end)
    }

    /// Tokens of all pieces.
    fn kept(&self) -> u64 {
        self.pieces().map(|span| span.len() as u64).sum()
    }
}

/// What is packed of a record: [`FittedRecord`](crate::pipeline::fit::FittedRecord) without the tokens themselves.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RecordFit {
    pub(super) pieces: Vec<PieceFit>,
    pub(super) intake: Intake,
}

/// One piece of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PieceFit {
    pub(super) example: u32,
    pub(super) tokens: Span,
    pub(super) ends: Ends,
}

impl RecordFit {
    /// Adds what is packed of the next example.
    pub(super) fn add(&mut self, example: u32, fit: &Fit) {
        let intake = &mut self.intake;
        if !intake.example(fit.kept(), fit.truncated, fit.dropped) {
            return;
        }
        if let Some(piece) = self.pieces.last_mut() {
            piece.ends = Ends::Example;
        }
        self.pieces.extend(fit.pieces().map(|tokens| PieceFit {
            example,
            tokens,
            ends: Ends::Nothing,
        }));
        if let Some(piece) = self.pieces.last_mut() {
            piece.ends = Ends::Record;
        }
    }

    /// Adds an example of so many tokens that has nothing to learn from.
    pub(super) fn add_dropped(&mut self, reason: Reason, tokens: u64) {
        self.intake.example(0, 0, Some((reason, tokens)));
    }
}

/// Whether an example of so many tokens is packed otherwise than whole.
pub(super) fn is_overlong(tokens: u32, pack: &PackConfig) -> bool {
    pack.strategy != Strategy::Concat && tokens as usize > pack.sequence_length
}
