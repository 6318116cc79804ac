//! Kernels that take offsets: `torch.nn.attention.varlen.varlen_attn`, `flash_attn_varlen_func`.

use crate::batch::Batch;

/// Offsets over queries of shape `[rows × sequence_length, heads, dim]`.
///
/// They cover all tokens, padding included: a query beyond the last offset passes forward unharmed and has
/// NaN gradients.
#[derive(Debug, Clone, Copy)]
pub struct TorchVarlen<'a> {
    /// `[runs + 1]`, without empty runs.
    pub cu_seq_q: &'a [i32],
    /// The same.
    pub cu_seq_k: &'a [i32],
    /// The longest run, in tokens.
    pub max_q: usize,
    /// The same.
    pub max_k: usize,
}

/// The batch's offsets for a varlen kernel; ids and labels go along as they are, flattened.
pub fn torch_varlen(batch: &Batch) -> TorchVarlen<'_> {
    TorchVarlen {
        cu_seq_q: batch.cu_seqlens(),
        cu_seq_k: batch.cu_seqlens(),
        max_q: batch.max_seqlen(),
        max_k: batch.max_seqlen(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::{batch, piece, spec};

    #[test]
    fn offsets_cover_every_token() {
        let batch = batch(
            spec(2, 6),
            &[vec![piece(1..3, &[]), piece(1..4, &[])], vec![]],
        );
        let form = torch_varlen(&batch);
        assert_eq!(form.cu_seq_q, [0, 2, 5, 6, 12]);
        assert_eq!(form.cu_seq_k, [0, 2, 5, 6, 12]);
        assert_eq!((form.max_q, form.max_k), (6, 6));
    }
}
