//! FlexAttention: which document each token belongs to, for a mask function.

use crate::batch::Batch;

/// What `torch.nn.attention.flex_attention.create_block_mask` needs.
///
/// In Python, with `document_ids` as a tensor of shape `[rows, sequence_length]`:
///
/// ```python
/// def same_document(b, h, q, kv):
///     return (document_ids[b, q] == document_ids[b, kv]) & (q >= kv)
///
/// create_block_mask(same_document, B=rows, H=None, Q_LEN=S, KV_LEN=S)
/// ```
///
/// Ids are numbers of segments, never found by searching for an end-of-sequence token: chat templates end every
/// turn with one. Padding is a document of its own, 0, so that no query is left without a key.
#[derive(Debug, Clone, Copy)]
pub struct Flex<'a> {
    /// `[rows, sequence_length]`: 1, 2, … in each row, 0 is padding.
    pub document_ids: &'a [i32],
    /// Rows.
    pub rows: usize,
    /// Tokens a row.
    pub sequence_length: usize,
}

impl Flex<'_> {
    /// Whether in `row` the query at `q` attends to the key at `kv`; false outside the batch.
    pub fn same_document(&self, row: usize, q: usize, kv: usize) -> bool {
        let mut rows = self.document_ids.chunks_exact(self.sequence_length);
        let Some(row) = rows.nth(row) else {
            return false;
        };
        match (row.get(q), row.get(kv)) {
            (Some(query), Some(key)) => query == key && q >= kv,
            _ => false,
        }
    }
}

/// The batch for FlexAttention; its ids and labels go along as they are.
pub fn flex(batch: &Batch) -> Flex<'_> {
    Flex {
        document_ids: batch.segment_ids(),
        rows: batch.rows(),
        sequence_length: batch.sequence_length(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::adapters::sdpa::sdpa;
    use crate::batch::tests::{spec, two_rows};

    #[test]
    fn documents_are_segments_and_the_padding() {
        let batch = two_rows(spec(2, 8));
        let form = flex(&batch);
        let expected = [1, 1, 1, 2, 2, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1];
        assert_eq!(form.document_ids, expected);
        assert!(form.same_document(0, 4, 3));
        assert!(!form.same_document(0, 3, 4));
        assert!(!form.same_document(0, 3, 2));
        assert!(!form.same_document(2, 0, 0));
        assert!(!form.same_document(0, 8, 8));
    }

    #[test]
    fn the_mask_function_says_what_the_dense_mask_says() {
        let batch = two_rows(spec(2, 8));
        let (form, dense) = (flex(&batch), sdpa(&batch).unwrap().attention_mask);
        for (at, &attends) in dense.iter().enumerate() {
            assert_eq!(
                form.same_document(at / 64, at / 8 % 8, at % 8),
                attends,
                "{at}"
            );
        }
    }
}
