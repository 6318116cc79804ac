//! The loader: what a trainer iterates.

use super::builder::LoaderBuilder;
use super::global::Outlook;
use super::made_by::made_by;
use super::model::Model;
use super::progress::{Delivery, Progress};
use super::signs::{FEW, SETTLED, Seen};
use super::sources::Sources;
use super::warning::{ROWS_FEW, ROWS_SETTLED, Warning};
use crate::batch::Batch;
use crate::channel::{Closer, Receiver, TryRecv};
use crate::checkpoint::{Fingerprint, Fork, State};
use crate::error::{Result, Stage};
use crate::order::lanes::Rank;
use crate::recipe::Recipe;
use crate::stats::{StageStats, Stats};
use futures_core::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

/// Packed, masked, fixed-shape batches, in the one order that corpus, recipe and seed give.
///
/// A [`Stream`] (woken by a waker) and an [`Iterator`] (waits on the channel): both work inside somebody
/// else's runtime, though the iterator blocks its thread. After an error, or the end, nothing follows.
/// Dropping it ends its threads and waits for them.
///
/// ```no_run
/// let recipe = packmill::Recipe::load("recipe.yaml")?;
/// for batch in packmill::Loader::builder(recipe).build()? {
///     let batch = batch?;
///     println!("{} tokens, {} trained", batch.num_tokens(), batch.num_label_tokens());
/// }
/// # Ok::<(), packmill::Error>(())
/// ```
#[derive(Debug)]
pub struct Loader {
    pub(super) receiver: Receiver<Result<Delivery>>,
    pub(super) thread: Option<JoinHandle<()>>,
    pub(super) progress: Progress,
    pub(super) rank: Rank,
    /// Rows of all ranks in a step.
    pub(super) step_rows: u64,
    pub(super) fingerprint: Arc<Fingerprint>,
    /// Rows of the stream when this process went on with it.
    pub(super) since: u64,
    /// The streams that it was before each fork.
    pub(super) history: Vec<Fork>,
    pub(super) ended: bool,
    pub(super) stats: Arc<Stats>,
    pub(super) sources: Arc<Sources>,
    pub(super) model: Arc<Model>,
    pub(super) warnings: Vec<Warning>,
    pub(super) sequence_length: usize,
    pub(super) outlook: Option<Outlook>,
}

impl Loader {
    /// Begins to set up a loader for `recipe`.
    pub fn builder(recipe: Recipe) -> LoaderBuilder {
        LoaderBuilder::new(recipe)
    }

    /// Where the stream stands after the last batch that was delivered.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Where to go on after the last batch that was delivered, if it is the last one of a step and
    /// [`LoaderBuilder::checkpoints`] asked for it: what a checkpoint holds.
    pub fn state(&self) -> Option<State> {
        self.state_after(&self.progress)
    }

    /// The same, of a batch that was delivered before: `progress` is what [`progress`](Loader::progress) was after it. For
    /// trainers that fetch ahead of the step that they save.
    pub fn state_after(&self, progress: &Progress) -> Option<State> {
        let standing = progress.standing.as_ref()?;
        Some(State {
            fingerprint: self.fingerprint.as_ref().clone(),
            rank: self.rank.number,
            world_size: self.rank.world_size,
            step: progress.step,
            rows: standing.rows,
            digest: progress.digest,
            ledger: progress.ledger.as_ref().clone(),
            phase: standing.phase,
            lanes: standing
                .lanes
                .iter()
                .map(|lane| lane.as_ref().clone())
                .collect(),
            engine: made_by(&self.model),
            since: self.since,
            step_rows: Some(self.step_rows),
            history: match self.rank.number {
                0 => self.history.clone(),
                _ => Vec::new(),
            },
        })
    }

    /// Which stream it is: empty where neither checkpoints nor a resume asked for it.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// What each stage did and waited for so far, in the order of the flow.
    pub fn stats(&self) -> Vec<StageStats> {
        let channel = self.receiver.meter().read();
        let mut stages = self.stats.read_all();
        stages.push(StageStats {
            stage: Stage::Channel,
            items: channel.received,
            bytes: 0,
            busy: Duration::ZERO,
            blocked_in: channel.blocked_in,
            blocked_out: channel.blocked_out,
        });
        stages
    }

    /// The sources as they were opened.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The tokenizer and templates.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// What is allowed, but perhaps not wanted: what showed at open, then what the stream showed so far. A source is
    /// judged from 1,000 records on, or at the stream's end; each warning comes once for each source.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// How long the stream is, which `plan: global` knows before its first batch.
    pub fn outlook(&self) -> Option<&Outlook> {
        self.outlook.as_ref()
    }

    /// What ends the stream from another thread.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle {
            closer: self.receiver.closer(),
        }
    }

    /// The next batch, waited for at most so long: for who must look after something else now and then.
    pub fn next_within(&mut self, time: Duration) -> TryRecv<Result<Batch>> {
        if self.ended {
            return TryRecv::Ended;
        }
        let received = match self.receiver.recv_within(time) {
            TryRecv::Empty => return TryRecv::Empty,
            TryRecv::Item(item) => Some(item),
            TryRecv::Ended => None,
        };
        match self.deliver(received) {
            Some(batch) => TryRecv::Item(batch),
            None => TryRecv::Ended,
        }
    }

    fn deliver(&mut self, received: Option<Result<Delivery>>) -> Option<Result<Batch>> {
        match received {
            Some(Ok(Delivery::Batch(batch, progress))) => {
                self.progress = progress;
                self.judge(SETTLED, ROWS_SETTLED);
                Some(Ok(*batch))
            }
            Some(Ok(Delivery::End(progress))) => {
                self.progress = progress;
                self.ended = true;
                self.judge(FEW, ROWS_FEW);
                None
            }
            Some(Err(error)) => {
                self.ended = true;
                Some(Err(error))
            }
            None => {
                self.ended = true;
                self.judge(FEW, ROWS_FEW);
                None
            }
        }
    }

    /// Adds what the stream gives cause for by now, if so many records or rows were seen.
    fn judge(&mut self, records: u64, rows: u64) {
        let Progress {
            ledger,
            signs,
            refilled,
            ..
        } = &self.progress;
        let bos = self.model.tokenizer.bos.as_ref();
        let bos = bos.map_or("", |token| token.content.as_str());
        let mut found = Vec::new();
        for (index, (name, account)) in ledger.sources.iter().enumerate() {
            let seen = Seen::new(signs.get(index).copied().unwrap_or_default(), account);
            found.extend(seen.warnings(name, self.sequence_length, bos, records));
        }
        let row = self.sequence_length;
        found.extend(Warning::density(refilled.tokens, refilled.rows, row, rows));
        for warning in found {
            let about = |w: &Warning| (w.name(), w.source().map(str::to_owned));
            if !self.warnings.iter().any(|w| about(w) == about(&warning)) {
                self.warnings.push(warning);
            }
        }
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let received = self.receiver.recv();
        self.deliver(received)
    }
}

impl std::iter::FusedIterator for Loader {}

impl Stream for Loader {
    type Item = Result<Batch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.receiver
            .poll_recv(cx)
            .map(|received| self.deliver(received))
    }
}

/// Ends a [`Loader`]'s stream from any thread, also while the loader waits for a batch. Cheap to clone, and
/// outlives the loader.
#[derive(Debug, Clone)]
pub struct StopHandle {
    closer: Closer<Result<Delivery>>,
}

impl StopHandle {
    /// Drops what was made ahead: the loader's next answer, or the one that it waits for, is the end. Its
    /// progress stays that of the last batch delivered.
    ///
    /// The threads hear of it before their next record or batch, so that dropping the loader waits for little.
    pub fn stop(&self) {
        self.closer.close();
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.receiver.close();
        if let Some(thread) = self.thread.take() {
            // The thread catches its own panics and has reported them.
            let _ = thread.join();
        }
    }
}
