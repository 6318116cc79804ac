//! `scaled_dot_product_attention`, and Hugging Face models with SDPA or eager attention: a dense mask.
//!
//! The mask costs rows × sequence_length² bytes. Hugging Face models build the same one by themselves from
//! `position_ids`, where no mask is given; it is for consumers that do not.

use super::{LabelTensor, aligned_labels, without_weights};
use crate::batch::{Batch, Ids};
use crate::error::{Error, Kind, Result, Stage};

/// Keyword arguments of a model's `forward`; `[rows, sequence_length]` where nothing else is said.
#[derive(Debug, Clone)]
pub struct Sdpa<'a> {
    /// The ids.
    pub input_ids: Ids<'a>,
    /// Aligned labels, also for a batch of shifted ones.
    pub labels: LabelTensor<'a>,
    /// Shifted labels, for a batch that holds them.
    pub shift_labels: Option<Ids<'a>>,
    /// Positions from 0 in each run.
    pub position_ids: &'a [i32],
    /// `[rows, 1, sequence_length, sequence_length]`, true where the query (third axis) attends to the key
    /// (fourth): itself and what is before it in its run. A row's padding attends to itself alone, so that no
    /// query has nothing to attend to, whose softmax would be NaN.
    pub attention_mask: Vec<bool>,
}

/// The batch with a block-diagonal causal mask.
///
/// # Errors
///
/// [`Kind::Limit`] where the mask has more bytes than memory can be asked for; [`Kind::Recipe`] for a batch with
/// `loss_weights`: the models' own loss takes none.
pub fn sdpa(batch: &Batch) -> Result<Sdpa<'_>> {
    without_weights(batch, "the loss of Hugging Face models")?;
    let (tokens, length) = (batch.position_ids().len(), batch.sequence_length());
    let mut attention_mask = Vec::new();
    let room = tokens
        .checked_mul(length)
        .map(|bytes| attention_mask.try_reserve_exact(bytes));
    if !matches!(room, Some(Ok(()))) {
        let message = format!("a dense mask of {tokens} × {length} bytes does not fit in memory");
        return Err(Error::new(Kind::Limit, Stage::Batch, message)
            .remedy("use the FlashAttention, FlexAttention or varlen form, or shorter rows"));
    }
    attention_mask.resize(tokens * length, false);
    let mut queries = attention_mask.chunks_exact_mut(length);
    for run in batch.runs() {
        let start = run.start % length;
        for (end, query) in (start + 1..).zip(queries.by_ref().take(run.len())) {
            query[start..end].fill(true);
        }
    }
    Ok(Sdpa {
        input_ids: batch.input_ids(),
        labels: aligned_labels(batch),
        shift_labels: batch.shift_labels(),
        position_ids: batch.position_ids(),
        attention_mask,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::{batch, piece, spec};

    fn drawn(mask: &[bool], length: usize) -> Vec<String> {
        let line = |query: &[bool]| query.iter().map(|&on| if on { 'x' } else { '.' }).collect();
        mask.chunks(length).map(line).collect()
    }

    #[test]
    fn segments_and_padding_attend_to_themselves_alone() {
        let rows = [
            vec![piece(1..3, &[0..2]), piece(5..6, &[])],
            vec![piece(1..6, &[1..5])],
            vec![],
        ];
        let batch = batch(spec(3, 5), &rows);
        let mask = sdpa(&batch).unwrap().attention_mask;
        let expected = [
            "x....", "xx...", "..x..", "...x.", "...xx", //
            "x....", "xx...", "xxx..", "xxxx.", "xxxxx", //
            "x....", "xx...", "xxx..", "xxxx.", "xxxxx",
        ];
        assert_eq!(drawn(&mask, 5), expected);
    }

    #[test]
    fn r6_no_query_sees_everything_and_none_sees_nothing() {
        let spec = crate::batch::BatchSpec {
            segment_multiple: 2,
            ..spec(1, 6)
        };
        let batch = batch(spec, &[vec![piece(1..4, &[1..3])]]);
        let mask = sdpa(&batch).unwrap().attention_mask;
        assert_eq!(
            drawn(&mask, 6),
            ["x.....", "xx....", "xxx...", "xxxx..", "....x.", "....xx"]
        );
    }
}
