//! The batching thread: packed rows become tensors, and these go into the channel.
//!
//! It writes one batch while the packing thread chooses the rows of the next. What it does follows from what it is
//! given alone, in that order, and so does what it sends.

use super::outlet::Delivering;
use super::progress::{Delivery, Progress, Standing};
use super::signs::Signs;
use super::workers::panicked;
use crate::channel::Closed;
use crate::error::{Error, Result};
use crate::example::Piece;
use crate::ledger::Ledger;
use crate::places;
use crate::stats::Lap;
use crossbeam_channel::Receiver;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// What the packing thread gives it.
pub(super) enum Work {
    /// Where the stream goes on, before anything else.
    GoOn(Progress),
    /// The rows of one batch.
    Batch(PackedBatch),
    /// The stream has ended, with the account of all of it.
    End(Arc<Ledger>),
    /// The stream ends here, for this reason.
    Fail(Error),
}

/// The rows of one batch, and where the stream stands behind them.
pub(super) struct PackedBatch {
    pub(super) rows: Vec<PackedRow>,
    /// Rows behind them that only fill the step.
    pub(super) filling: usize,
    pub(super) ends_step: bool,
    pub(super) ledger: Arc<Ledger>,
    /// Of a step's last batch, where its checkpoints are wanted.
    pub(super) standing: Option<Arc<Standing>>,
    /// Time that the packing thread was at work on it.
    pub(super) packing: Duration,
}

/// A packed row.
pub(super) struct PackedRow {
    pub(super) number: u64,
    pub(super) segments: Vec<Piece>,
    /// Whether pools could still be refilled when it was packed.
    pub(super) refillable: bool,
}

/// What the thread owns.
pub(super) struct Batching {
    to: Delivering,
    progress: Progress,
    /// By source.
    signs: Vec<Signs>,
}

impl Batching {
    pub(super) fn new(to: Delivering) -> Self {
        Batching {
            to,
            progress: Progress::default(),
            signs: Vec::new(),
        }
    }

    /// Does what is given until there is no more, or nobody receives any more. An error, or a panic, is the last thing
    /// that the receiver gets.
    pub(super) fn run(mut self, work: &Receiver<Work>) {
        let done = catch_unwind(AssertUnwindSafe(|| self.work(work)));
        let error = match done {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(panic) => panicked(panic.as_ref()),
        };
        // A receiver that is gone wants no error either.
        let _ = self.to.sender.send(Err(error));
    }

    fn work(&mut self, work: &Receiver<Work>) -> Result<()> {
        let mut lap = Lap::start();
        while let Ok(work) = work.recv() {
            self.to.stats.batch.blocked_in(lap.lap());
            let sent = match work {
                Work::GoOn(progress) => {
                    self.progress = progress;
                    Ok(())
                }
                Work::Batch(packed) => self.batch(packed, &mut lap)?,
                Work::End(ledger) => {
                    self.progress.ledger = ledger;
                    self.progress.signs = self.signs.as_slice().into();
                    let end = Delivery::End(self.progress.clone());
                    self.to.sender.send(Ok(end))
                }
                Work::Fail(error) => return Err(error),
            };
            if sent.is_err() {
                break;
            }
            // What the channel made it wait the channel counts.
            lap = Lap::start();
        }
        Ok(())
    }

    /// Writes a batch and sends it, with the account behind it.
    fn batch(
        &mut self,
        packed: PackedBatch,
        lap: &mut Lap,
    ) -> Result<std::result::Result<(), Closed>> {
        for row in packed.rows {
            self.row(&row)?;
        }
        for _ in 0..packed.filling {
            self.to.writer.push_filling_row()?;
        }
        let batch = Box::new(self.to.writer.finish()?);
        let progress = &mut self.progress;
        progress.digest += batch.digest();
        if packed.ends_step {
            progress.steps += 1;
            progress.step += 1;
        }
        progress.ledger = packed.ledger;
        progress.standing = packed.standing;
        progress.signs = self.signs.as_slice().into();
        let tokens = batch.num_tokens();
        let delivery = Delivery::Batch(batch, progress.clone());
        self.to.stats.pack.add(tokens, 0, packed.packing);
        self.to.stats.batch.add(tokens, 0, lap.lap());
        let sent = self.to.sender.send(Ok(delivery));
        if sent.is_ok() {
            places::reach(places::BATCH_SENT);
        }
        Ok(sent)
    }

    fn row(&mut self, row: &PackedRow) -> Result<()> {
        self.to.writer.push_row(row.number, &row.segments)?;
        for piece in &row.segments {
            self.progress.tokens += piece.len() as u64;
            self.progress.supervised_tokens += piece.num_label_tokens();
            let source = piece.example.origin.source as usize;
            if self.signs.len() <= source {
                self.signs.resize(source + 1, Signs::default());
            }
            self.signs[source].piece(piece, self.to.sequence_length, self.to.bos);
        }
        self.progress.rows += 1;
        if row.refillable {
            self.progress.refilled();
        }
        Ok(())
    }
}
