//! MaxText and trainers of its family (T5X, grain): inputs and targets, each with segmentation and position.
//!
//! There the loss counts where `targets_segmentation` is not 0, and -100 means nothing.

use super::{shifted_labels, without_weights};
use crate::batch::{Batch, IdWidth};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::IGNORE_INDEX;

/// Arrays of i32, each `[rows, sequence_length]`.
#[derive(Debug, Clone)]
pub struct MaxText<'a> {
    /// The ids.
    pub inputs: &'a [i32],
    /// 1, 2, … in each row, 0 is padding; a segment's own padding keeps its number.
    pub inputs_segmentation: &'a [i32],
    /// Positions from 0 in each segment, 0 on a row's padding.
    pub inputs_position: Vec<i32>,
    /// At t the target of t + 1; the pad id where none counts.
    pub targets: Vec<i32>,
    /// The segment where the target counts, else 0: what the loss is masked by.
    pub targets_segmentation: Vec<i32>,
}

impl MaxText<'_> {
    /// `targets_position`: a target is asked for at its input's position.
    pub fn targets_position(&self) -> &[i32] {
        &self.inputs_position
    }
}

/// The batch for MaxText.
///
/// # Errors
///
/// [`Kind::Recipe`] for a batch of i64 ids: nothing is converted behind the writer's back; and for one with
/// `loss_weights`: the loss counts a target or not.
pub fn maxtext(batch: &Batch) -> Result<MaxText<'_>> {
    without_weights(batch, "MaxText")?;
    let labels = shifted_labels(batch);
    let (Some(inputs), Some(labels)) = (batch.input_ids().as_i32(), labels.ids().as_i32()) else {
        return Err(Error::new(
            Kind::Recipe,
            Stage::Batch,
            "MaxText takes 32-bit ids, and these are 64",
        )
        .remedy(format!("ask for batches of width {:?}", IdWidth::I32)));
    };
    let segments = batch.segment_ids();
    // The pad id was checked to fit when the batch was specified.
    let pad = batch.spec().pad_id as i32;
    let counts = |label: i32| label != IGNORE_INDEX;
    Ok(MaxText {
        inputs,
        inputs_segmentation: segments,
        inputs_position: segments
            .iter()
            .zip(batch.position_ids())
            .map(|(&segment, &position)| if segment == 0 { 0 } else { position })
            .collect(),
        targets: labels
            .iter()
            .map(|&label| if counts(label) { label } else { pad })
            .collect(),
        targets_segmentation: segments
            .iter()
            .zip(labels)
            .map(|(&segment, &label)| if counts(label) { segment } else { 0 })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchSpec;
    use crate::batch::tests::{spec, two_rows};
    use crate::recipe::Labels;

    #[test]
    fn the_loss_is_masked_by_the_targets_segmentation() {
        for labels in [Labels::Aligned, Labels::Shifted] {
            let batch = two_rows(BatchSpec {
                labels,
                pad_id: 9,
                ..spec(2, 8)
            });
            let form = maxtext(&batch).unwrap();
            assert_eq!(form.inputs[..8], [11, 12, 13, 21, 22, 9, 9, 9]);
            assert_eq!(form.inputs_segmentation[..8], [1, 1, 1, 2, 2, 0, 0, 0]);
            assert_eq!(form.inputs_position[..8], [0, 1, 2, 0, 1, 0, 0, 0]);
            assert_eq!(form.targets[..8], [12, 13, 9, 22, 9, 9, 9, 9]);
            assert_eq!(form.targets_segmentation[..8], [1, 1, 0, 2, 0, 0, 0, 0]);
            assert_eq!(form.targets[8..], [9, 33, 34, 9, 9, 37, 38, 9]);
            assert_eq!(form.targets_segmentation[8..], [0, 1, 1, 0, 0, 1, 1, 0]);
            assert_eq!(form.targets_position(), form.inputs_position);
        }
    }

    #[test]
    fn wide_ids_are_refused() {
        let batch = two_rows(BatchSpec {
            width: IdWidth::I64,
            ..spec(2, 8)
        });
        let error = maxtext(&batch).unwrap_err();
        assert_eq!(error.kind(), Kind::Recipe);
        assert!(error.to_string().contains("width I32"), "{error}");
    }
}
