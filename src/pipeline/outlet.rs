//! Where the packing thread ends: rows into batches, batches into the channel, and the steps that they make.

use super::progress::{Delivery, Progress, Standing};
use super::signs::Signs;
use crate::batch::{Batch, BatchWriter};
use crate::channel::Sender;
use crate::error::{Error, Kind, Result, Stage};
use crate::example::{Piece, TokenId};
use crate::ledger::Ledger;
use crate::order::lanes::Rank;
use crate::places;
use crate::stats::Stats;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why the packing thread stopped.
pub(crate) enum Stopped {
    /// The stream has ended, or its steps are made.
    Done,
    /// Nobody receives any more.
    Closed,
}

/// What an outlet is made with.
pub(crate) struct Delivering {
    pub(crate) writer: BatchWriter,
    pub(crate) rank: Rank,
    /// Rows of all ranks in a step.
    pub(crate) step_rows: u64,
    /// Steps after which to stop, counted from the stream's start.
    pub(crate) steps: Option<u64>,
    pub(crate) sender: Sender<Result<Delivery>>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) sequence_length: usize,
    pub(crate) bos: Option<TokenId>,
}

/// One rank's rows on their way to the trainer.
pub(super) struct Outlet {
    to: Delivering,
    pub(super) progress: Progress,
    /// Number of the first row of the step that is being made.
    pub(super) step_begins: u64,
    /// This rank's rows in it, filling rows included.
    pub(super) in_step: u64,
    /// By source.
    signs: Vec<Signs>,
    /// Time at work on the batch that is being made.
    packing: Duration,
    batching: Duration,
}

/// A batch that is finished and not sent yet.
pub(super) struct Full {
    batch: Box<Batch>,
    /// Whether it is its step's last one.
    pub(super) ends_step: bool,
}

impl Outlet {
    pub(super) fn new(to: Delivering) -> Self {
        Outlet {
            to,
            progress: Progress::default(),
            step_begins: 0,
            in_step: 0,
            signs: Vec::new(),
            packing: Duration::ZERO,
            batching: Duration::ZERO,
        }
    }

    pub(super) fn rank(&self) -> Rank {
        self.to.rank
    }

    /// Whether nobody receives any more.
    pub(super) fn is_closed(&self) -> bool {
        self.to.sender.is_closed()
    }

    /// Whether the steps asked for are made.
    pub(super) fn done(&self) -> bool {
        self.to
            .steps
            .is_some_and(|steps| self.progress.step >= steps)
    }

    /// Counts time at work before a row came here.
    pub(super) fn packed(&mut self, time: Duration) {
        self.packing += time;
    }

    /// Writes row `n`.
    pub(super) fn push(&mut self, n: u64, segments: &[Piece]) -> Result<()> {
        let began = Instant::now();
        self.to.writer.push_row(n, segments)?;
        for piece in segments {
            self.progress.tokens += piece.len() as u64;
            self.progress.supervised_tokens += piece.num_label_tokens();
            let source = piece.example.origin.source as usize;
            if self.signs.len() <= source {
                self.signs.resize(source + 1, Signs::default());
            }
            self.signs[source].piece(piece, self.to.sequence_length, self.to.bos);
        }
        self.progress.rows += 1;
        self.in_step += 1;
        self.batching += began.elapsed();
        Ok(())
    }

    /// Writes a row that only fills the step.
    pub(super) fn push_filling(&mut self) -> Result<()> {
        self.to.writer.push_filling_row()?;
        self.in_step += 1;
        Ok(())
    }

    /// The batch that is being written, if it is full. The step that it completes is counted.
    pub(super) fn finish(&mut self) -> Result<Option<Full>> {
        if !self.to.writer.is_full() {
            return Ok(None);
        }
        let began = Instant::now();
        let batch = Box::new(self.to.writer.finish()?);
        self.progress.digest += batch.digest();
        self.batching += began.elapsed();
        let ends_step = self.in_step == self.to.step_rows / u64::from(self.to.rank.world_size);
        if ends_step {
            self.in_step = 0;
            self.progress.steps += 1;
            self.progress.step += 1;
            self.step_begins += self.to.step_rows;
        }
        Ok(Some(Full { batch, ends_step }))
    }

    /// Sends a batch, with the account after it and, for a step's last one, where the stream stands.
    pub(super) fn send(
        &mut self,
        full: Full,
        ledger: Arc<Ledger>,
        standing: Option<Arc<Standing>>,
    ) -> Option<Stopped> {
        let Full { batch, ends_step } = full;
        self.progress.ledger = ledger;
        self.progress.standing = standing;
        self.progress.signs = self.signs.as_slice().into();
        let tokens = batch.num_tokens();
        let (packing, batching) = (
            std::mem::take(&mut self.packing),
            std::mem::take(&mut self.batching),
        );
        self.to.stats.pack.add(tokens, 0, packing);
        self.to.stats.batch.add(tokens, 0, batching);
        let delivery = Delivery::Batch(batch, self.progress.clone());
        if self.to.sender.send(Ok(delivery)).is_err() {
            return Some(Stopped::Closed);
        }
        places::reach(places::BATCH_SENT);
        (ends_step && self.done()).then_some(Stopped::Done)
    }

    /// Says that the stream has ended, with the account of all of it.
    pub(super) fn end(&mut self, ledger: Arc<Ledger>) {
        self.progress.ledger = ledger;
        self.progress.signs = self.signs.as_slice().into();
        let end = Delivery::End(self.progress.clone());
        // A receiver that is gone wants no end either.
        let _ = self.to.sender.send(Ok(end));
    }

    /// Hands an error to the receiver, behind the batches that were made before it.
    pub(super) fn fail(&mut self, error: Error) {
        // A receiver that is gone wants no error either.
        let _ = self.to.sender.send(Err(error));
    }
}

/// The error of a finite stream that came to nothing.
pub(super) fn no_row() -> Error {
    Error::new(
        Kind::Row,
        Stage::Pack,
        "the stream has no row: every record was dropped, or the sources hold none",
    )
    .remedy("look at `packmill samples`")
}
