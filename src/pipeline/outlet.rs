//! Where the packing thread ends: rows are gathered to batches, and batches to steps, for the
//! [batching](super::batching) thread to write.

use super::batching::{Batching, PackedBatch, PackedRow, Work};
use super::progress::{Delivery, Progress, Standing};
use crate::batch::BatchWriter;
use crate::channel;
use crate::error::{Error, Kind, Result, Stage};
use crate::example::{Piece, TokenId};
use crate::ledger::Ledger;
use crate::order::lanes::Rank;
use crate::stats::{Lap, Stats};
use crossbeam_channel::TrySendError;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Packed batches that wait for the batching thread: with one at work, neither thread waits for the other's swings.
const PACKED_AHEAD: usize = 1;

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
    /// Rows of a batch.
    pub(crate) rows: usize,
    /// Rows of all ranks in a step.
    pub(crate) step_rows: u64,
    /// Steps after which to stop, counted from the stream's start.
    pub(crate) steps: Option<u64>,
    pub(crate) sender: channel::Sender<Result<Delivery>>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) sequence_length: usize,
    pub(crate) bos: Option<TokenId>,
}

/// One rank's rows on their way to the trainer. Dropping it waits for the batching thread, which ends when all that it
/// was given is sent, or nobody receives any more.
pub(super) struct Outlet {
    rank: Rank,
    rows_a_batch: usize,
    step_rows: u64,
    steps: Option<u64>,
    /// Steps made since the stream's start.
    step: u64,
    /// Number of the first row of the step that is being made.
    pub(super) step_begins: u64,
    /// This rank's rows in it, filling rows included.
    pub(super) in_step: u64,
    /// Of the batch that is being gathered.
    rows: Vec<PackedRow>,
    filling: usize,
    /// Time at work on it.
    packing: Duration,
    stats: Arc<Stats>,
    receiver: channel::Watch<Result<Delivery>>,
    work: Option<crossbeam_channel::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

/// A batch that has all its rows and is not sent yet.
pub(super) struct Full {
    rows: Vec<PackedRow>,
    filling: usize,
    /// Whether it is its step's last one.
    pub(super) ends_step: bool,
}

impl Outlet {
    /// Starts the batching thread.
    ///
    /// # Errors
    /// [`Kind::Io`] where that cannot be started.
    pub(super) fn new(to: Delivering) -> Result<Self> {
        let (sender, work) = crossbeam_channel::bounded(PACKED_AHEAD);
        let mut outlet = Outlet {
            rank: to.rank,
            rows_a_batch: to.rows,
            step_rows: to.step_rows,
            steps: to.steps,
            step: 0,
            step_begins: 0,
            in_step: 0,
            rows: Vec::with_capacity(to.rows),
            filling: 0,
            packing: Duration::ZERO,
            stats: Arc::clone(&to.stats),
            receiver: to.sender.watch(),
            work: Some(sender),
            thread: None,
        };
        let batching = Batching::new(to);
        let thread = std::thread::Builder::new()
            .name("packmill-batch".to_owned())
            .spawn(move || batching.run(&work))
            .map_err(|error| {
                let message = "the batching thread cannot be started";
                Error::new(Kind::Io, Stage::Batch, message).caused_by(error)
            })?;
        outlet.thread = Some(thread);
        Ok(outlet)
    }

    /// Goes on from where another process stood, before the first row.
    pub(super) fn go_on(&mut self, progress: Progress, step_begins: u64) {
        self.step = progress.step;
        self.step_begins = step_begins;
        self.give(Work::GoOn(progress));
    }

    pub(super) fn rank(&self) -> Rank {
        self.rank
    }

    /// Whether nobody receives any more, or the batching thread has told the receiver why it ended.
    pub(super) fn is_closed(&self) -> bool {
        self.work.is_none() || self.receiver.is_closed()
    }

    /// Whether the steps asked for are made.
    pub(super) fn done(&self) -> bool {
        self.steps.is_some_and(|steps| self.step >= steps)
    }

    /// Counts time at work.
    pub(super) fn packed(&mut self, time: Duration) {
        self.packing += time;
    }

    /// Takes row `number`.
    pub(super) fn push(&mut self, number: u64, segments: Vec<Piece>, refillable: bool) {
        self.rows.push(PackedRow {
            number,
            segments,
            refillable,
        });
        self.in_step += 1;
    }

    /// Takes a row that only fills the step.
    pub(super) fn push_filling(&mut self) {
        self.filling += 1;
        self.in_step += 1;
    }

    /// The batch that is being gathered, if it is full. The step that it completes is counted.
    pub(super) fn finish(&mut self) -> Option<Full> {
        if self.rows.len() + self.filling < self.rows_a_batch {
            return None;
        }
        let ends_step = self.in_step == self.step_rows / u64::from(self.rank.world_size);
        if ends_step {
            self.in_step = 0;
            self.step += 1;
            self.step_begins += self.step_rows;
        }
        let next = Vec::with_capacity(self.rows_a_batch);
        Some(Full {
            rows: std::mem::replace(&mut self.rows, next),
            filling: std::mem::take(&mut self.filling),
            ends_step,
        })
    }

    /// Sends a batch, with the account after it and, for a step's last one, where the stream stands.
    pub(super) fn send(
        &mut self,
        full: Full,
        ledger: Arc<Ledger>,
        standing: Option<Arc<Standing>>,
    ) -> Option<Stopped> {
        let ends_step = full.ends_step;
        let packed = PackedBatch {
            rows: full.rows,
            filling: full.filling,
            ends_step,
            ledger,
            standing,
            packing: std::mem::take(&mut self.packing),
        };
        self.give(Work::Batch(packed));
        if self.is_closed() {
            return Some(Stopped::Closed);
        }
        (ends_step && self.done()).then_some(Stopped::Done)
    }

    /// Says that the stream has ended, with the account of all of it.
    pub(super) fn end(&mut self, ledger: Arc<Ledger>) {
        self.give(Work::End(ledger));
    }

    /// Hands an error to the receiver, behind the batches that were made before it.
    pub(super) fn fail(&mut self, error: Error) {
        self.give(Work::Fail(error));
    }

    /// Gives the batching thread something to do, waiting while it has enough.
    fn give(&mut self, work: Work) {
        let Some(queue) = &self.work else { return };
        match queue.try_send(work) {
            Ok(()) => {}
            Err(TrySendError::Full(work)) => {
                let mut lap = Lap::start();
                let given = queue.send(work);
                self.stats.pack.blocked_out(lap.lap());
                if given.is_err() {
                    self.work = None;
                }
            }
            Err(TrySendError::Disconnected(_)) => self.work = None,
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            // It catches its panics; one that dies all the same has nothing left to say.
            let _ = thread.join();
        }
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
