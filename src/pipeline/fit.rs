//! What is packed of one record: of each of its examples, whole or cut, as the recipe's rows ask.

use super::encode::{Dropped, Encoded};
use crate::error::Result;
use crate::example::{Ends, Piece, TokenId};
use crate::ledger::Intake;
use crate::pack::overlong::{self, Fitted};
use crate::recipe::PackConfig;

/// A record's pieces, in order, and its part of the ledger.
#[derive(Debug, Default)]
pub(super) struct FittedRecord {
    pub(super) pieces: Vec<Piece>,
    pub(super) intake: Intake,
}

/// Fits a record's examples to rows. The last piece of all ends the record, the last piece of each other example
/// that example alone.
pub(super) fn fit_record(
    examples: Vec<Encoded>,
    pack: &PackConfig,
    bos: Option<TokenId>,
) -> Result<FittedRecord> {
    let mut record = FittedRecord::default();
    for example in examples {
        match example {
            Ok(example) => record.add(overlong::fit(example, pack, bos)?),
            Err(Dropped { reason, tokens }) => {
                record.intake.example(0, 0, Some((reason, tokens)));
            }
        }
    }
    Ok(record)
}

impl FittedRecord {
    fn add(&mut self, fitted: Fitted) {
        let kept = fitted.pieces.iter().map(|piece| piece.len() as u64).sum();
        let dropped = fitted.loss();
        if !self.intake.example(kept, fitted.truncated_tokens, dropped) {
            return;
        }
        if let Some(piece) = self.pieces.last_mut() {
            piece.ends = Ends::Example;
        }
        self.pieces.extend(fitted.pieces);
    }
}
