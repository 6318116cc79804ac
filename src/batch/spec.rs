//! What a batch looks like: fixed for a run, carried by every batch so that adapters know how it was packed.

use super::ids::IdWidth;
use crate::error::{Error, Kind, Result, Stage};
use crate::example::TokenId;
use crate::recipe::{Labels, LossWeights};

/// The shape and form of every batch of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSpec {
    /// Rows a micro-batch.
    pub rows: usize,
    /// Tokens a row.
    pub sequence_length: usize,
    /// The id that padding carries. Padding is known by position, so it may be a real token's id too.
    pub pad_id: TokenId,
    /// Which labels the batch carries.
    pub labels: Labels,
    /// Whether the batch carries `loss_weights`.
    pub loss_weights: LossWeights,
    /// Width of ids and labels.
    pub width: IdWidth,
    /// Each segment is padded to a multiple of this many tokens, which divides `sequence_length`; 1 pads none.
    pub segment_multiple: usize,
    /// A row's most segments, where the recipe bounds them.
    pub max_segments: Option<usize>,
}

impl BatchSpec {
    /// Refuses what no batch can look like.
    ///
    /// # Errors
    ///
    /// [`Kind::Recipe`] for a size of 0, a multiple that does not divide the row, a batch of more tokens than
    /// the i32 offsets of `cu_seqlens` can count, and a pad id above `i32::MAX`.
    pub fn validate(&self) -> Result<()> {
        let wrong = |message: String| Error::new(Kind::Recipe, Stage::Batch, message);
        if self.rows == 0 {
            return Err(wrong("a batch of 0 rows".to_owned()).remedy("set batch.rows to 1 or more"));
        }
        if self.sequence_length == 0 {
            return Err(wrong("rows of 0 tokens".to_owned())
                .remedy("set pack.sequence_length to 1 or more"));
        }
        if self.max_segments == Some(0) {
            return Err(wrong("rows of 0 segments".to_owned())
                .remedy("set pack.max_segments to 1 or more, or to null"));
        }
        if self.segment_multiple == 0 || !self.sequence_length.is_multiple_of(self.segment_multiple)
        {
            let (multiple, length) = (self.segment_multiple, self.sequence_length);
            return Err(wrong(format!(
                "segments padded to a multiple of {multiple} cannot fill rows of {length} tokens"
            ))
            .remedy("set pack.segment_multiple to a divisor of pack.sequence_length"));
        }
        let tokens = self.rows.checked_mul(self.sequence_length);
        if tokens.is_none_or(|tokens| i32::try_from(tokens).is_err()) {
            let (rows, length) = (self.rows, self.sequence_length);
            return Err(wrong(format!(
                "{rows} rows of {length} tokens are more than the 32-bit offsets of cu_seqlens can count"
            ))
            .remedy("lower batch.rows or pack.sequence_length"));
        }
        if i32::try_from(self.pad_id).is_err() {
            let id = self.pad_id;
            return Err(wrong(format!("the pad id {id} does not fit in 31 bits"))
                .remedy("set tokenizer.pad"));
        }
        Ok(())
    }

    /// Tokens a batch, padding included; in range once validated.
    pub(super) fn tokens(&self) -> usize {
        self.rows * self.sequence_length
    }

    /// Elements of `loss_weights`.
    pub(super) fn weights(&self) -> usize {
        match self.loss_weights {
            LossWeights::Refuse => 0,
            LossWeights::Use => self.tokens(),
        }
    }
}
