//! One row of a batch, as a view.

use super::ids::Ids;
use crate::recipe::Labels;

/// One row's tensors, `[sequence_length]` each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'a> {
    /// The ids.
    pub input_ids: Ids<'a>,
    /// The labels, in the form that `form` says.
    pub labels: Ids<'a>,
    /// Whether `labels` are aligned with `input_ids` or shifted.
    pub form: Labels,
    /// How much each label counts, in the labels' form; none where the batch carries no weights.
    pub loss_weights: Option<&'a [f32]>,
    /// Positions from 0 in each run.
    pub position_ids: &'a [i32],
    /// 1, 2, …; 0 is padding.
    pub segment_ids: &'a [i32],
}
