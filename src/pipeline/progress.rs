//! How far the stream has come: belongs to the batch that was delivered, never to what was made ahead.

use crate::batch::{Batch, Digest};
use crate::ledger::Ledger;
use std::sync::Arc;

/// Where the stream stands after a batch.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Rows made so far; filling rows do not count.
    pub rows: u64,
    /// Steps completed.
    pub steps: u64,
    /// Real tokens, without padding.
    pub tokens: u64,
    /// Targets that count after the shift.
    pub supervised_tokens: u64,
    /// Sum of the rows' hashes.
    pub digest: Digest,
    /// The account of every record and token.
    pub ledger: Arc<Ledger>,
    /// The rows, and their tokens, that were made while a pool could still be refilled: what the
    /// packer reaches where it is not at the stream's end.
    pub refilled: Refilled,
}

/// Rows made while a pool could still be refilled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refilled {
    /// Rows.
    pub rows: u64,
    /// Real tokens in them.
    pub tokens: u64,
}

impl Progress {
    /// Notes that all rows so far were made while a pool could still be refilled.
    pub(crate) fn refilled(&mut self) {
        self.refilled = Refilled {
            rows: self.rows,
            tokens: self.tokens,
        };
    }
}

/// What the packing thread sends.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// A batch and where the stream stands after it.
    Batch(Box<Batch>, Progress),
    /// The stream's end: what was read, and dropped, after the last batch is in the account too.
    End(Progress),
}
