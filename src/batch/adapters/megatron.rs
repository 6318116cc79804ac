//! Megatron and Transformer Engine with packed sequences (`qkv_format = "thd"`): a micro-batch of one
//! flattened row, with logical and padded offsets.
//!
//! Context parallelism cuts every segment into 2 × size chunks, so each must be padded to a multiple of that
//! when it is packed, and of context × tensor where sequence parallelism splits the tokens once more.

use super::{LabelTensor, shifted_labels};
use crate::batch::{Batch, Ids};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::IGNORE_INDEX;
use crate::recipe::Labels;

/// How the trainer splits a micro-batch's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenParallel {
    /// Context-parallel size, 1 without.
    pub context: usize,
    /// Tensor-parallel size where sequence parallelism is on, else 1.
    pub sequence: usize,
}

impl TokenParallel {
    /// What each segment's length must be a multiple of: 1, or lcm(2 × context, context × sequence).
    /// None where that is more than can be counted, or a size is 0.
    pub fn segment_multiple(&self) -> Option<usize> {
        if self.context == 1 && self.sequence > 0 {
            return Some(1);
        }
        let chunks = self.context.checked_mul(2)?;
        let split = self.context.checked_mul(self.sequence)?;
        chunks
            .checked_div(greatest_common_divisor(chunks, split))?
            .checked_mul(split)
            .filter(|&m| m > 0)
    }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// A micro-batch of one row and the fields of `PackedSeqParams`. Tensors have shape
/// `[1, rows × sequence_length]`, offsets `[runs + 1]`.
#[derive(Debug, Clone)]
pub struct MegatronThd<'a> {
    /// The ids.
    pub tokens: Ids<'a>,
    /// Shifted labels, as the next token may lie on another rank; -100 where `loss_mask` is 0.
    pub labels: LabelTensor<'a>,
    /// How much the label counts: its loss weight, 1 in a batch without weights; 0 where it is -100.
    pub loss_mask: Vec<f32>,
    /// Positions from 0 in each run.
    pub position_ids: &'a [i32],
    /// True on padding, a row's and a segment's own: known from lengths, never from ids.
    pub padding_mask: Vec<bool>,
    /// Offsets as if there were no padding; a row's padding is an empty run. Also `cu_seqlens_kv`.
    pub cu_seqlens_q: Vec<i32>,
    /// Offsets of the runs as they lie in memory. Also `cu_seqlens_kv_padded`.
    pub cu_seqlens_q_padded: &'a [i32],
    /// The longest run as it lies in memory, in tokens. Also `max_seqlen_kv`.
    pub max_seqlen_q: usize,
    /// Tokens as they lie in memory.
    pub total_tokens: usize,
}

/// The batch for Megatron.
///
/// # Errors
///
/// [`Kind::Recipe`] where segments or rows do not divide as `parallel` asks, with the key to set.
pub fn megatron_thd(batch: &Batch, parallel: TokenParallel) -> Result<MegatronThd<'_>> {
    check(batch, parallel)?;
    let labels = shifted_labels(batch);
    let counts = |label: i64| f32::from(label != i64::from(IGNORE_INDEX));
    let loss_mask = match (batch.loss_weights(), batch.spec().labels) {
        (None, _) => labels.ids().iter().map(counts).collect(),
        (Some(weights), Labels::Shifted) => weights.to_vec(),
        // A segment's first token has weight 0, so none comes from another segment.
        (Some(weights), Labels::Aligned) => weights.iter().skip(1).copied().chain([0.0]).collect(),
    };
    let total_tokens = batch.position_ids().len();
    let mut padding_mask = Vec::with_capacity(total_tokens);
    let mut cu_seqlens_q = Vec::with_capacity(batch.cu_seqlens().len());
    let mut logical = 0;
    cu_seqlens_q.push(logical);
    for (run, &length) in batch.runs().zip(batch.segment_lengths()) {
        padding_mask.resize(run.start + length as usize, false);
        padding_mask.resize(run.end, true);
        logical += length;
        cu_seqlens_q.push(logical);
    }
    Ok(MegatronThd {
        tokens: batch.input_ids(),
        labels,
        loss_mask,
        position_ids: batch.position_ids(),
        padding_mask,
        cu_seqlens_q,
        cu_seqlens_q_padded: batch.cu_seqlens(),
        max_seqlen_q: batch.max_seqlen(),
        total_tokens,
    })
}

fn check(batch: &Batch, parallel: TokenParallel) -> Result<()> {
    let TokenParallel { context, sequence } = parallel;
    let wrong = |message: String| Error::new(Kind::Recipe, Stage::Batch, message);
    let Some(needed) = parallel.segment_multiple() else {
        return Err(wrong(format!(
            "context parallelism {context} with sequence parallelism {sequence}"
        ))
        .remedy("give sizes of 1 or more"));
    };
    let packed = batch.spec().segment_multiple;
    if !packed.is_multiple_of(needed) {
        return Err(wrong(format!(
            "segments are padded to a multiple of {packed}, and context parallelism {context} with sequence \
             parallelism {sequence} needs {needed}"
        ))
        .remedy(format!("set pack.segment_multiple: {needed}")));
    }
    let tokens = batch.position_ids().len();
    if !tokens.is_multiple_of(sequence) {
        return Err(wrong(format!(
            "{tokens} tokens do not divide among {sequence} ranks"
        ))
        .remedy(format!(
            "set pack.sequence_length to a multiple of {sequence}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::{batch, piece, spec, two_rows};
    use crate::batch::{BatchSpec, IdWidth};
    use crate::recipe::Labels;

    const ALONE: TokenParallel = TokenParallel {
        context: 1,
        sequence: 1,
    };

    #[test]
    fn r29_logical_and_padded_offsets_come_from_lengths() {
        let spec = BatchSpec {
            segment_multiple: 4,
            pad_id: 12,
            ..spec(2, 12)
        };
        // The pad id is a real token too, and ends each segment.
        let rows = [
            vec![piece(10..13, &[0..3]), piece(12..13, &[])],
            vec![piece(3..13, &[1..9])],
        ];
        let batch = batch(spec, &rows);
        let form = megatron_thd(
            &batch,
            TokenParallel {
                context: 2,
                sequence: 1,
            },
        )
        .unwrap();
        assert_eq!(form.cu_seqlens_q_padded, [0, 4, 8, 12, 24]);
        assert_eq!(form.cu_seqlens_q, [0, 3, 4, 4, 14]);
        assert_eq!((form.max_seqlen_q, form.total_tokens), (12, 24));
        let padding: String = form
            .padding_mask
            .iter()
            .map(|&p| if p { 'x' } else { '.' })
            .collect();
        assert_eq!(padding, "...x.xxxxxxx..........xx");
        let labels: Vec<i64> = form.labels.ids().iter().collect();
        assert_eq!(labels[..4], [11, 12, -100, -100]);
        assert_eq!(form.loss_mask[..4], [1.0, 1.0, 0.0, 0.0]);
        assert_eq!(
            form.loss_mask.iter().sum::<f32>() as u64,
            batch.num_label_tokens()
        );
    }

    #[test]
    fn both_label_forms_give_the_same_targets() {
        for width in [IdWidth::I32, IdWidth::I64] {
            let aligned = two_rows(BatchSpec {
                width,
                ..spec(2, 8)
            });
            let shifted = two_rows(BatchSpec {
                width,
                labels: Labels::Shifted,
                ..spec(2, 8)
            });
            let (one, other) = (
                megatron_thd(&aligned, ALONE).unwrap(),
                megatron_thd(&shifted, ALONE).unwrap(),
            );
            assert_eq!(one.labels.ids(), other.labels.ids());
            assert_eq!(one.loss_mask, other.loss_mask);
        }
    }

    #[test]
    fn the_multiple_is_what_both_parallelisms_ask() {
        let multiple = |context, sequence| TokenParallel { context, sequence }.segment_multiple();
        assert_eq!(multiple(1, 8), Some(1));
        assert_eq!(multiple(2, 1), Some(4));
        assert_eq!(multiple(4, 8), Some(32));
        assert_eq!(multiple(2, 3), Some(12));
        assert_eq!(multiple(0, 1), None);
        assert_eq!(multiple(1, 0), None);
        assert_eq!(multiple(2, 0), None);
        assert_eq!(multiple(usize::MAX, 2), None);
    }

    #[test]
    fn a_batch_packed_without_the_multiple_is_refused() {
        let batch = two_rows(spec(2, 8));
        let error = megatron_thd(
            &batch,
            TokenParallel {
                context: 2,
                sequence: 2,
            },
        )
        .unwrap_err();
        assert_eq!(error.kind(), Kind::Recipe);
        assert!(
            error
                .to_string()
                .ends_with("; set pack.segment_multiple: 4"),
            "{error}"
        );
        assert!(
            megatron_thd(
                &batch,
                TokenParallel {
                    context: 1,
                    sequence: 4
                }
            )
            .is_ok()
        );
        assert!(
            megatron_thd(
                &batch,
                TokenParallel {
                    context: 1,
                    sequence: 3
                }
            )
            .is_err()
        );
        assert!(
            megatron_thd(
                &batch,
                TokenParallel {
                    context: 0,
                    sequence: 1
                }
            )
            .is_err()
        );
    }
}
