//! Stage 6 of 7: batch. Rows of pieces become tensors of a fixed shape.
//!
//! ```text
//! pieces of a row ─► BatchWriter ─► Batch ─► an adapter's form, where a consumer wants another
//!                      ▲              │
//!                      └─ BufferPool ◄┘ (on drop, from any thread)
//! ```
//!
//! [`BatchWriter`] writes each tensor once, in the width that was asked for, into buffers that earlier batches
//! gave back, and hashes each row while it is still in the cache. [`adapters`] are pure functions from a
//! [`Batch`] to what one attention kernel or framework takes.

#![cfg_attr(
    test,
    allow(
        clippy::single_range_in_vec_init,
        reason = "a list of spans may hold one"
    )
)]

use std::ops::Range;

use crate::recipe::{Labels, LossWeights};

pub mod adapters;

mod buffers;

mod digest;

mod fill;

mod ids;

mod row;

mod spec;

mod writer;

#[cfg(test)]
mod naive;

#[cfg(test)]
mod tests;

pub use buffers::BufferPool;
pub use digest::Digest;
pub use ids::{IdVec, IdWidth, Ids};
pub use row::Row;
pub use spec::BatchSpec;
pub use writer::BatchWriter;

use buffers::BatchBuffers;

/// Names of the columns of [`Batch::provenance`].
///
/// Numbers count from 0: `shard` within the source, `block` within the shard, `record` within the block (held
/// sources: `block` is the record within the shard and `record` 0), `example` within the record. `first_token`
/// and `last_token` are positions within the example, **both inclusive**. `row` is the row within the batch;
/// its number in the stream is in [`Batch::row_numbers`].
pub const PROVENANCE_FIELDS: [&str; 9] = [
    "source",
    "shard",
    "block",
    "record",
    "example",
    "epoch",
    "first_token",
    "last_token",
    "row",
];

/// One micro-batch: `rows × sequence_length` tokens with everything that a trainer needs beside them.
///
/// Every tensor is contiguous, row-major, and begins at a multiple of 64 bytes. A *run* is what lies between
/// two offsets of [`cu_seqlens`](Batch::cu_seqlens): a segment with its own padding, or a row's padding.
/// No attention mask is part of it: an all-ones mask switches segment detection off in the models that know it.
///
/// Dropping a batch gives its buffers back to the writer's pool, from whatever thread.
pub struct Batch {
    spec: BatchSpec,
    pool: BufferPool,
    buffers: BatchBuffers,
    totals: Totals,
    digest: Digest,
}

/// A batch's tensors, to be written to. Shapes are those of the [`Batch`]'s own methods.
#[derive(Debug)]
pub struct TensorsMut<'a> {
    /// The ids.
    pub input_ids: IdsMut<'a>,
    /// The labels in whichever form the batch carries them.
    pub labels: IdsMut<'a>,
    /// Empty where the batch carries none.
    pub loss_weights: &'a mut [f32],
    /// Positions.
    pub position_ids: &'a mut [i32],
    /// Segments.
    pub segment_ids: &'a mut [i32],
    /// Offsets of the runs.
    pub cu_seqlens: &'a mut [i32],
    /// Real tokens of the runs.
    pub segment_lengths: &'a mut [i32],
    /// Where segments come from.
    pub provenance: &'a mut [i64],
}

/// Ids or labels in either width, to be written to.
#[derive(Debug)]
pub enum IdsMut<'a> {
    /// 32 bits.
    I32(&'a mut [i32]),
    /// 64 bits.
    I64(&'a mut [i64]),
}

/// What a writer counts while it fills a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Totals {
    tokens: u64,
    label_tokens: u64,
    max_seqlen: usize,
    filling: usize,
}

impl Batch {
    /// How the batch was asked for.
    pub fn spec(&self) -> &BatchSpec {
        &self.spec
    }

    /// Rows, filling rows included.
    pub fn rows(&self) -> usize {
        self.spec.rows
    }

    /// Tokens a row, padding included.
    pub fn sequence_length(&self) -> usize {
        self.spec.sequence_length
    }

    /// Width of `input_ids` and of the labels; every other tensor is i32.
    pub fn width(&self) -> IdWidth {
        self.spec.width
    }

    /// The ids, `[rows, sequence_length]`; the pad id on padding.
    pub fn input_ids(&self) -> Ids<'_> {
        self.buffers.input_ids.as_ids()
    }

    /// Labels aligned with `input_ids`, `[rows, sequence_length]`: -100 on everything untrained, on padding, and
    /// on the first token of every segment. None where the batch carries shifted ones.
    pub fn labels(&self) -> Option<Ids<'_>> {
        (self.spec.labels == Labels::Aligned).then(|| self.buffers.labels.as_ids())
    }

    /// Labels already shifted, `[rows, sequence_length]`: at t the target of t + 1 inside the segment, -100 on a
    /// segment's last token. None where the batch carries aligned ones.
    pub fn shift_labels(&self) -> Option<Ids<'_>> {
        (self.spec.labels == Labels::Shifted).then(|| self.buffers.labels.as_ids())
    }

    /// How much each label counts, `[rows, sequence_length]`, in the form of the labels that the batch carries: 0
    /// exactly where the label is -100, else above 0 and at most 1. None where the recipe asks for no weights
    /// (`mask.weights`). A weighted mean divides by their sum.
    pub fn loss_weights(&self) -> Option<&[f32]> {
        (self.spec.loss_weights == LossWeights::Use).then(|| self.buffers.loss_weights.as_slice())
    }

    /// Positions, `[rows, sequence_length]`, from 0 in each run.
    pub fn position_ids(&self) -> &[i32] {
        self.buffers.position_ids.as_slice()
    }

    /// Segments, `[rows, sequence_length]`: 1, 2, … in each row; 0 is the row's padding. A segment's own padding
    /// keeps its number.
    pub fn segment_ids(&self) -> &[i32] {
        self.buffers.segment_ids.as_slice()
    }

    /// The tensors to be written to, each as its reading method has it: for who hands their memory on, as DLPack does.
    pub fn tensors_mut(&mut self) -> TensorsMut<'_> {
        let BatchBuffers {
            input_ids,
            labels,
            loss_weights,
            position_ids,
            segment_ids,
            cu_seqlens,
            segment_lengths,
            provenance,
            row_numbers: _,
        } = &mut self.buffers;
        TensorsMut {
            input_ids: input_ids.as_mut_ids(),
            labels: labels.as_mut_ids(),
            loss_weights: loss_weights.as_mut_slice(),
            position_ids: position_ids.as_mut_slice(),
            segment_ids: segment_ids.as_mut_slice(),
            cu_seqlens: cu_seqlens.as_mut_slice(),
            segment_lengths: segment_lengths.as_mut_slice(),
            provenance: provenance.as_mut_slice(),
        }
    }

    /// Offsets of the runs over the flattened batch, `[runs + 1]`: 0 first, rows × sequence_length last, strictly
    /// increasing, every row start a cut, a row's padding a run of its own.
    pub fn cu_seqlens(&self) -> &[i32] {
        self.buffers.cu_seqlens.as_slice()
    }

    /// Length of the longest run, in tokens.
    pub fn max_seqlen(&self) -> usize {
        self.totals.max_seqlen
    }

    /// Real tokens of each run, `[runs]`: shorter than the run where a segment was padded to a multiple, 0 for a
    /// row's padding.
    pub fn segment_lengths(&self) -> &[i32] {
        self.buffers.segment_lengths.as_slice()
    }

    /// The runs, in order, as ranges of tokens of the flattened batch.
    pub fn runs(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        // Offsets are never negative.
        let cuts = self.cu_seqlens().windows(2);
        cuts.map(|cut| cut[0] as usize..cut[1] as usize)
    }

    /// Real tokens, without any padding.
    pub fn num_tokens(&self) -> u64 {
        self.totals.tokens
    }

    /// Targets that count after the shift: what a token mean divides by.
    pub fn num_label_tokens(&self) -> u64 {
        self.totals.label_tokens
    }

    /// Segments, padding not among them.
    pub fn num_segments(&self) -> usize {
        self.provenance().len() / PROVENANCE_FIELDS.len()
    }

    /// Where each segment comes from, `[segments, 9]` in the order of `cu_seqlens`, columns as in
    /// [`PROVENANCE_FIELDS`].
    pub fn provenance(&self) -> &[i64] {
        self.buffers.provenance.as_slice()
    }

    /// Rows at the batch's end that only fill the step: all padding, fully masked, in no figure and no digest.
    pub fn filling(&self) -> usize {
        self.totals.filling
    }

    /// Number in the stream of each row, `[rows - filling]`; filling rows have none.
    pub fn row_numbers(&self) -> &[u64] {
        self.buffers.row_numbers.as_slice()
    }

    /// Sum of the hashes of all rows but the filling ones.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// One row's tensors, filling rows too; none past the last.
    pub fn row(&self, index: usize) -> Option<Row<'_>> {
        self.buffers.row(&self.spec, index)
    }

    /// The labels in whichever form the batch carries them.
    fn any_labels(&self) -> Ids<'_> {
        self.buffers.labels.as_ids()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.buffers));
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("spec", &self.spec)
            .field("segments", &self.num_segments())
            .field("totals", &self.totals)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}
