//! What each stage did and what it waited for: packmill itself says what limits it.

use crate::error::Stage;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Counters of one stage; all threads add to them.
#[derive(Debug, Default)]
pub struct Counters {
    items: AtomicU64,
    bytes: AtomicU64,
    busy: AtomicU64,
    blocked_in: AtomicU64,
    blocked_out: AtomicU64,
}

impl Counters {
    /// Adds work done: `items` of them, `bytes` big, in `busy`.
    pub fn add(&self, items: u64, bytes: u64, busy: Duration) {
        self.items.fetch_add(items, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        self.busy.fetch_add(nanos(busy), Relaxed);
    }

    /// Adds time spent waiting for the stage before.
    pub fn blocked_in(&self, time: Duration) {
        self.blocked_in.fetch_add(nanos(time), Relaxed);
    }

    /// Adds time spent waiting for the stage behind.
    pub fn blocked_out(&self, time: Duration) {
        self.blocked_out.fetch_add(nanos(time), Relaxed);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Counters of all stages.
#[derive(Debug, Default)]
pub struct Stats {
    /// Bytes to records. Bytes are decoded text; blocked in is workers waiting for something to do.
    pub read: Counters,
    /// Records to text. Bytes are those of the records.
    pub render: Counters,
    /// Text to ids. Items are tokens, bytes those of the text.
    pub tokenize: Counters,
    /// Ids to labels. Items are tokens.
    pub mask: Counters,
    /// Examples to rows; under `plan: lanes` with all else that the packing thread does. Items are tokens; blocked in is
    /// waiting for workers, blocked out for the batching thread.
    pub pack: Counters,
    /// Rows to tensors. Items are tokens; blocked in is waiting for rows.
    pub batch: Counters,
}

/// A reading of one stage's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageStats {
    /// Which stage.
    pub stage: Stage,
    /// Items done: records (read, render), tokens (tokenize to batch), batches (channel).
    pub items: u64,
    /// Bytes done, where a stage counts them.
    pub bytes: u64,
    /// Time at work, summed over threads.
    pub busy: Duration,
    /// Time spent waiting for input.
    pub blocked_in: Duration,
    /// Time spent waiting for room behind.
    pub blocked_out: Duration,
}

impl Stats {
    /// A reading of all stages but the channel, which counts for itself, in the order of the flow.
    pub fn read_all(&self) -> Vec<StageStats> {
        [
            (Stage::Read, &self.read),
            (Stage::Render, &self.render),
            (Stage::Tokenize, &self.tokenize),
            (Stage::Mask, &self.mask),
            (Stage::Pack, &self.pack),
            (Stage::Batch, &self.batch),
        ]
        .into_iter()
        .map(|(stage, c)| StageStats {
            stage,
            items: c.items.load(Relaxed),
            bytes: c.bytes.load(Relaxed),
            busy: Duration::from_nanos(c.busy.load(Relaxed)),
            blocked_in: Duration::from_nanos(c.blocked_in.load(Relaxed)),
            blocked_out: Duration::from_nanos(c.blocked_out.load(Relaxed)),
        })
        .collect()
    }
}

/// A stopwatch for one thread's work on one record after the other: laps are added up without locks and
/// written to shared counters once a chunk.
#[derive(Debug)]
pub(crate) struct Lap(Instant);

impl Lap {
    pub(crate) fn start() -> Self {
        Lap(Instant::now())
    }

    /// Time since the start or the last lap.
    pub(crate) fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let time = now - self.0;
        self.0 = now;
        time
    }
}
