//! What a channel counts: who waited for whom, and how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) queued: AtomicU64,
    /// Items that were queued at each taking, summed.
    pub(super) found: AtomicU64,
    pub(super) blocked_in: Nanoseconds,
    pub(super) blocked_out: Nanoseconds,
}

#[derive(Debug, Default)]
pub(super) struct Nanoseconds(AtomicU64);

impl Nanoseconds {
    pub(super) fn add(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// Reads a channel's counters; outlives both ends.
#[derive(Debug, Clone)]
pub struct Meter {
    pub(super) counters: Arc<Counters>,
}

impl Meter {
    /// The counters now. Each is exact; together they may be an item apart while the channel is in use.
    pub fn read(&self) -> ChannelStats {
        let counters = &*self.counters;
        ChannelStats {
            sent: counters.sent.load(Ordering::Relaxed),
            received: counters.received.load(Ordering::Relaxed),
            queued: counters.queued.load(Ordering::Relaxed),
            found: counters.found.load(Ordering::Relaxed),
            blocked_in: counters.blocked_in.get(),
            blocked_out: counters.blocked_out.get(),
        }
    }
}

/// What a channel counted so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChannelStats {
    /// Items sent.
    pub sent: u64,
    /// Items taken.
    pub received: u64,
    /// Items in the channel now.
    pub queued: u64,
    /// Items that were in the channel when one was taken, that one among them, summed over the takings.
    pub found: u64,
    /// How long the consumer waited for an item: the pipeline is what limits.
    pub blocked_in: Duration,
    /// How long the producer waited for room: the trainer is what limits.
    pub blocked_out: Duration,
}

impl ChannelStats {
    /// Items in the channel at a taking, on average: near the depth, the pipeline keeps up; near 1, just so.
    pub fn occupancy(&self) -> f64 {
        if self.received == 0 {
            0.0
        } else {
            self.found as f64 / self.received as f64
        }
    }
}
