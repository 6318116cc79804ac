//! Hugging Face models with FlashAttention 2 or 3: the batch as one flattened row with its offsets.
//!
//! Detection from `position_ids` alone works for a batch of one row only, so that several rows would attend
//! across their segments; with the four `cu_seq_lens` and `max_length` keywords nothing is detected. Layers
//! without attention (Mamba, gated delta nets, convolutions) ignore positions and need `seq_idx`.

use super::{LabelTensor, aligned_labels, without_weights};
use crate::batch::{Batch, Ids};
use crate::error::Result;

/// Keyword arguments of a model's `forward`. Every tensor has shape `[1, rows × sequence_length]` but the two
/// `cu_seq_lens`, `[runs + 1]`. There is no `attention_mask`, on purpose.
#[derive(Debug, Clone)]
pub struct HfFlash<'a> {
    /// The ids.
    pub input_ids: Ids<'a>,
    /// Aligned labels, also for a batch of shifted ones: the trainer counts targets only where it finds them.
    pub labels: LabelTensor<'a>,
    /// Shifted labels, for a batch that holds them; the model's loss prefers them to `labels`.
    pub shift_labels: Option<Ids<'a>>,
    /// Positions from 0 in each run.
    pub position_ids: &'a [i32],
    /// Offsets of the runs, padding among them.
    pub cu_seq_lens_q: &'a [i32],
    /// The same.
    pub cu_seq_lens_k: &'a [i32],
    /// The longest run, in tokens.
    pub max_length_q: usize,
    /// The same.
    pub max_length_k: usize,
    /// The run that each token belongs to, from 0, over the whole batch.
    pub seq_idx: Vec<i32>,
}

/// The batch for a Hugging Face model with FlashAttention.
///
/// # Errors
///
/// [`Kind::Recipe`](crate::Kind::Recipe) for a batch with `loss_weights`: the models' own loss takes none.
pub fn hf_flash(batch: &Batch) -> Result<HfFlash<'_>> {
    without_weights(batch, "the loss of Hugging Face models")?;
    let mut seq_idx = Vec::with_capacity(batch.position_ids().len());
    for (index, run) in (0..).zip(batch.runs()) {
        seq_idx.resize(run.end, index);
    }
    Ok(HfFlash {
        input_ids: batch.input_ids(),
        labels: aligned_labels(batch),
        shift_labels: batch.shift_labels(),
        position_ids: batch.position_ids(),
        cu_seq_lens_q: batch.cu_seqlens(),
        cu_seq_lens_k: batch.cu_seqlens(),
        max_length_q: batch.max_seqlen(),
        max_length_k: batch.max_seqlen(),
        seq_idx,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchSpec;
    use crate::batch::tests::{spec, two_rows};
    use crate::recipe::Labels;

    #[test]
    fn r7_rows_are_flattened_with_offsets_over_all_of_them() {
        let batch = two_rows(spec(2, 8));
        let form = hf_flash(&batch).unwrap();
        let ids = [11, 12, 13, 21, 22, 0, 0, 0, 31, 32, 33, 34, 35, 36, 37, 38];
        assert_eq!(form.input_ids, Ids::I32(&ids));
        assert_eq!(
            form.position_ids,
            [0, 1, 2, 0, 1, 0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7]
        );
        assert_eq!(form.cu_seq_lens_q, [0, 3, 5, 8, 16]);
        assert_eq!(form.cu_seq_lens_k, form.cu_seq_lens_q);
        assert_eq!((form.max_length_q, form.max_length_k), (8, 8));
        assert!(form.shift_labels.is_none());
    }

    #[test]
    fn r30_layers_without_attention_see_the_segments() {
        let batch = two_rows(spec(2, 8));
        let expected = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3];
        assert_eq!(hf_flash(&batch).unwrap().seq_idx, expected);
    }

    #[test]
    fn a_shifted_batch_brings_aligned_labels_too() {
        let aligned = two_rows(spec(2, 8));
        let batch = two_rows(BatchSpec {
            labels: Labels::Shifted,
            ..spec(2, 8)
        });
        let form = hf_flash(&batch).unwrap();
        assert_eq!(form.shift_labels, batch.shift_labels());
        assert_eq!(Some(form.labels.ids()), aligned.labels());
    }
}
