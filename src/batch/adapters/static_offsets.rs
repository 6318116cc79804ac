//! `cu_seqlens` of a size that never changes, for `torch.compile` and CUDA graphs.
//!
//! A length that changes from batch to batch compiles again and again, and a captured graph cannot change at
//! all. So the offsets are as many as a batch can have, and what is left over repeats the last: empty runs at
//! the end. Kernels that fail on empty runs (some FlashAttention 4 backward passes) cannot take this form.

use crate::batch::Batch;
use crate::error::{Error, Kind, Result, Stage};

/// Offsets of static size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticOffsets {
    /// `[rows × (max_segments + 1) + 1]`: each row's segments and its padding, then repeats of the last offset.
    pub cu_seqlens: Vec<i32>,
    /// `sequence_length`, which no run exceeds: as static as the rest, not the longest run of this batch.
    pub max_seqlen: usize,
}

/// The batch's offsets in static size.
///
/// # Errors
///
/// [`Kind::Recipe`] where the batch was packed without `max_segments`, so that no size is fixed, or with more
/// than a row has tokens, so that the size is absurd.
pub fn static_offsets(batch: &Batch) -> Result<StaticOffsets> {
    let Some(most) = batch.spec().max_segments else {
        return Err(Error::new(
            Kind::Recipe,
            Stage::Batch,
            "cu_seqlens of static size for rows of any number of segments",
        )
        .remedy("set pack.max_segments"));
    };
    let length = batch.sequence_length();
    if most > length {
        let message =
            format!("{most} segments a row, where rows of {length} tokens have {length} at most");
        return Err(Error::new(Kind::Recipe, Stage::Batch, message)
            .remedy(format!("set pack.max_segments to {length} or less")));
    }
    let size = batch.rows() * (most + 1) + 1;
    let mut cu_seqlens = Vec::with_capacity(size);
    cu_seqlens.extend_from_slice(batch.cu_seqlens());
    let last = cu_seqlens.last().copied().unwrap_or(0);
    cu_seqlens.resize(size, last);
    Ok(StaticOffsets {
        cu_seqlens,
        max_seqlen: length,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchSpec;
    use crate::batch::tests::{batch, piece, spec, two_rows};

    #[test]
    fn r4_the_static_size_repeats_the_last_offset() {
        let batch = two_rows(BatchSpec {
            max_segments: Some(3),
            ..spec(2, 8)
        });
        let form = static_offsets(&batch).unwrap();
        assert_eq!(form.cu_seqlens, [0, 3, 5, 8, 16, 16, 16, 16, 16]);
        assert_eq!(form.max_seqlen, 8);
    }

    #[test]
    fn the_size_is_enough_for_full_rows_with_padding() {
        let row = vec![piece(1..3, &[]), piece(1..4, &[])];
        let spec = BatchSpec {
            max_segments: Some(2),
            ..spec(2, 8)
        };
        let batch = batch(spec, &[row.clone(), row]);
        let form = static_offsets(&batch).unwrap();
        assert_eq!(form.cu_seqlens, [0, 2, 5, 8, 10, 13, 16]);
    }

    #[test]
    fn a_batch_packed_without_max_segments_is_refused() {
        let batch = two_rows(spec(2, 8));
        let error = static_offsets(&batch).unwrap_err();
        assert_eq!(error.kind(), Kind::Recipe);
        assert!(error.to_string().ends_with("; set pack.max_segments"));
        let batch = two_rows(BatchSpec {
            max_segments: Some(9),
            ..spec(2, 8)
        });
        assert_eq!(static_offsets(&batch).unwrap_err().kind(), Kind::Recipe);
    }
}
