//! How far the stream has come: belongs to the batch that was delivered, never to what was made ahead.

use super::signs::Signs;
use crate::batch::{Batch, Digest};
use crate::checkpoint::{LaneState, Phase, Whole, Whose};
use crate::ledger::Ledger;
use crate::order::lanes::Rank;
use std::sync::Arc;

/// Where the stream stands after a batch.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Rows that this process has made so far; filling rows do not count.
    pub rows: u64,
    /// Steps that it has completed.
    pub steps: u64,
    /// Steps completed since the stream's start.
    pub step: u64,
    /// Real tokens that it has made, without padding.
    pub tokens: u64,
    /// Targets among them that count after the shift.
    pub supervised_tokens: u64,
    /// Sum of the rows' hashes.
    pub digest: Digest,
    /// The account of every record and token.
    pub ledger: Arc<Ledger>,
    /// The rows, and their tokens, that were made while a pool could still be refilled: what the
    /// packer reaches where it is not at the stream's end.
    pub refilled: Refilled,
    /// What the examples show that this process has delivered, by source.
    pub(crate) signs: Arc<[Signs]>,
    /// Where to go on after this batch, where it is the last one of a step.
    pub(crate) standing: Option<Arc<Standing>>,
}

/// Where a rank's lanes stand after a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Number of the stream's next row, of all ranks.
    pub(crate) rows: u64,
    pub(crate) phase: Phase,
    pub(crate) lanes: Vec<Arc<LaneState>>,
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
    /// Rows that all ranks have had by now, where a stream can go on from here: after a step's last batch, where
    /// checkpoints were asked for.
    pub fn stream_rows(&self) -> Option<u64> {
        self.standing.as_ref().map(|standing| standing.rows)
    }

    /// Where a rank begins that goes on from `whole`.
    pub(crate) fn resumed(whole: &Whole, rank: Rank) -> Self {
        let mut progress = Progress {
            step: whole.step,
            ..Progress::default()
        };
        if takes_over(whole, rank) {
            progress.digest = whole.digest;
            progress.ledger = Arc::new(whole.ledger.clone());
        }
        progress
    }

    /// Notes that all rows so far were made while a pool could still be refilled.
    pub(crate) fn refilled(&mut self) {
        self.refilled = Refilled {
            rows: self.rows,
            tokens: self.tokens,
        };
    }
}

/// Whether a rank takes over digest and ledger of what it goes on from: of all ranks' sums rank 0 does, of its own part
/// each.
pub(in crate::pipeline) fn takes_over(whole: &Whole, rank: Rank) -> bool {
    match whole.whose {
        Whose::All => rank.number == 0,
        Whose::Rank(number) => rank.number == number,
    }
}

/// What the batching thread sends.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// A batch and where the stream stands after it.
    Batch(Box<Batch>, Progress),
    /// The stream's end: what was read, and dropped, after the last batch is in the account too.
    End(Progress),
}
