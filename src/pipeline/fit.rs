//! What is packed of one record: of each of its examples, whole or cut, as the recipe's rows ask.

use super::encode::Encoded;
use crate::error::Result;
use crate::example::{Ends, Piece, TokenId};
use crate::ledger::{Intake, Loss, Reason};
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
            Err(dropped) => record.intake.dropped.push(Loss {
                reason: dropped.reason,
                examples: 1,
                tokens: dropped.tokens,
            }),
        }
    }
    Ok(record)
}

impl FittedRecord {
    fn add(&mut self, fitted: Fitted) {
        let intake = &mut self.intake;
        intake.truncated_tokens += fitted.truncated_tokens;
        let kept = !fitted.pieces.is_empty();
        if fitted.dropped_tokens > 0 {
            intake.dropped.push(Loss {
                // Pieces of a split example are dropped for want of a target.
                reason: fitted.dropped.unwrap_or(Reason::NoTrainedToken),
                examples: u64::from(!kept),
                tokens: fitted.dropped_tokens,
            });
        }
        if !kept {
            return;
        }
        intake.pending_examples += 1;
        intake.pending_tokens += fitted.pieces.iter().map(|p| p.len() as u64).sum::<u64>();
        if let Some(piece) = self.pieces.last_mut() {
            piece.ends = Ends::Example;
        }
        self.pieces.extend(fitted.pieces);
    }
}
