//! Stage 7 of 7: channel. Finished batches wait here for the trainer, so many and no more.
//!
//! One producer thread, one consumer that waits in whichever way suits it: [`recv`](Receiver::recv) blocks the
//! thread, [`poll_recv`](Receiver::poll_recv) leaves a waker. Batches are large and rare, so a mutex around a
//! queue costs nothing that could be measured. The bound is the backpressure: a full channel makes the producer
//! wait, and so the stages before it. When one side goes, the other hears of it at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

mod stats;

pub use stats::{ChannelStats, Meter};

use stats::Counters;

/// A channel that holds at most `depth` items, at least one.
pub fn bounded<T>(depth: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        depth: depth.max(1),
        state: Mutex::new(State {
            queue: VecDeque::new(),
            parked: None,
            sender: Side::Open,
            receiver: Side::Open,
        }),
        not_empty: Condvar::new(),
        not_full: Condvar::new(),
        receiver_is_gone: AtomicBool::new(false),
        counters: Arc::default(),
    });
    (
        Sender {
            shared: Arc::clone(&shared),
        },
        Receiver { shared },
    )
}

/// The receiver is gone: nothing that is sent will be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receiving end of the channel is closed")]
pub struct Closed;

/// What a channel has for one who does not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryRecv<T> {
    /// The oldest item.
    Item(T),
    /// Nothing yet.
    Empty,
    /// Nothing any more.
    Ended,
}

/// The producer's end. Dropping it ends the stream after what is queued, also when its thread panics: whoever
/// must tell an end from a failure sends the failure.
#[derive(Debug)]
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The consumer's end. Dropping it drops what is queued and refuses what comes.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

/// Closes the consumer's end from any thread, also while the consumer waits. A clone closes the same channel.
#[derive(Debug)]
pub struct Closer<T> {
    shared: Arc<Shared<T>>,
}

/// Sees from any thread whether the receiver is gone.
#[derive(Debug)]
pub struct Watch<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    depth: usize,
    state: Mutex<State<T>>,
    not_empty: Condvar,
    not_full: Condvar,
    /// What the state says of the receiver, for those who ask often.
    receiver_is_gone: AtomicBool,
    counters: Arc<Counters>,
}

/// Nobody else's code runs while this is locked, but a waker's clone; wakers and items are dropped outside.
#[derive(Debug)]
struct State<T> {
    queue: VecDeque<T>,
    parked: Option<Parked>,
    sender: Side,
    receiver: Side,
}

/// A consumer that polled in vain.
#[derive(Debug)]
struct Parked {
    waker: Waker,
    since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Open,
    Closed,
}

impl<T> State<T> {
    /// Whether the consumer has to wait: there is neither an item nor the end.
    fn is_pending(&self) -> bool {
        self.queue.is_empty() && self.sender == Side::Open && self.receiver == Side::Open
    }

    /// Whether the producer has to wait for room; a receiver that leaves empties the queue.
    fn is_full(&self, depth: usize) -> bool {
        self.queue.len() >= depth
    }
}

impl<T> Shared<T> {
    /// A panic cannot leave the state half changed, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the oldest item, if there is one.
    fn take(&self, state: &mut State<T>) -> Option<T> {
        let found = state.queue.len() as u64;
        let item = state.queue.pop_front()?;
        self.counters.received.fetch_add(1, Ordering::Relaxed);
        self.counters.found.fetch_add(found, Ordering::Relaxed);
        self.counters.queued.store(found - 1, Ordering::Relaxed);
        self.not_full.notify_one();
        Some(item)
    }

    /// Lets the consumer know that something changed, however it waits.
    fn wake(&self, mut state: MutexGuard<'_, State<T>>) {
        let parked = state.parked.take();
        drop(state);
        self.not_empty.notify_one();
        if let Some(Parked { waker, since }) = parked {
            self.counters.blocked_in.add(since.elapsed());
            waker.wake();
        }
    }

    /// Closes the consumer's end; gives what was parked there, to be woken or dropped.
    fn close(&self) -> Option<Parked> {
        let mut state = self.lock();
        state.receiver = Side::Closed;
        self.receiver_is_gone.store(true, Ordering::Relaxed);
        let queue = std::mem::take(&mut state.queue);
        let parked = state.parked.take();
        self.counters.queued.store(0, Ordering::Relaxed);
        drop(state);
        self.not_full.notify_all();
        self.not_empty.notify_all();
        drop(queue);
        parked
    }
}

impl<T> Sender<T> {
    /// Sends `item`, waiting while the channel is full.
    ///
    /// # Errors
    ///
    /// [`Closed`] when the receiver is gone, or goes while this waits; `item` is dropped.
    pub fn send(&self, item: T) -> Result<(), Closed> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        if state.is_full(shared.depth) {
            let since = Instant::now();
            state = shared
                .not_full
                .wait_while(state, |state| state.is_full(shared.depth))
                .unwrap_or_else(PoisonError::into_inner);
            shared.counters.blocked_out.add(since.elapsed());
        }
        if state.receiver == Side::Closed {
            drop(state);
            return Err(Closed);
        }
        state.queue.push_back(item);
        shared.counters.sent.fetch_add(1, Ordering::Relaxed);
        shared
            .counters
            .queued
            .store(state.queue.len() as u64, Ordering::Relaxed);
        shared.wake(state);
        Ok(())
    }

    /// What sees from any thread whether the receiver is gone.
    pub fn watch(&self) -> Watch<T> {
        Watch {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Reads the channel's counters at any time, from any thread.
    pub fn meter(&self) -> Meter {
        Meter {
            counters: Arc::clone(&self.shared.counters),
        }
    }
}

impl<T> Watch<T> {
    /// Whether the receiver is gone, so that making more is in vain. Costs a look at a number.
    pub fn is_closed(&self) -> bool {
        self.shared.receiver_is_gone.load(Ordering::Relaxed)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.sender = Side::Closed;
        self.shared.wake(state);
    }
}

impl<T> Receiver<T> {
    /// The oldest item, waited for; none when the sender is gone and nothing is left. Blocks the thread: not
    /// for use in a future.
    pub fn recv(&mut self) -> Option<T> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        // A poll that was given up waits no longer; this does.
        let given_up = state.parked.take();
        if state.is_pending() {
            let since = Instant::now();
            state = shared
                .not_empty
                .wait_while(state, |state| state.is_pending())
                .unwrap_or_else(PoisonError::into_inner);
            shared.counters.blocked_in.add(since.elapsed());
        }
        let item = shared.take(&mut state);
        drop(state);
        drop(given_up);
        item
    }

    /// The oldest item, waited for at most so long: for who must look after something else now and then.
    pub fn recv_within(&mut self, time: Duration) -> TryRecv<T> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        // A poll that was given up waits no longer; this does.
        let given_up = state.parked.take();
        if state.is_pending() {
            let since = Instant::now();
            (state, _) = shared
                .not_empty
                .wait_timeout_while(state, time, |state| state.is_pending())
                .unwrap_or_else(PoisonError::into_inner);
            shared.counters.blocked_in.add(since.elapsed());
        }
        let taken = match shared.take(&mut state) {
            Some(item) => TryRecv::Item(item),
            None if state.is_pending() => TryRecv::Empty,
            None => TryRecv::Ended,
        };
        drop(state);
        drop(given_up);
        taken
    }

    /// The oldest item, if there is one now.
    pub fn try_recv(&mut self) -> TryRecv<T> {
        let mut state = self.shared.lock();
        match self.shared.take(&mut state) {
            Some(item) => TryRecv::Item(item),
            None if state.is_pending() => TryRecv::Empty,
            None => TryRecv::Ended,
        }
    }

    /// The oldest item, or a promise to wake the task when there is one; `Ready(None)` when the sender is gone
    /// and nothing is left. The waker of the last poll counts, as for every future.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.shared.lock();
        if let Some(item) = self.shared.take(&mut state) {
            return Poll::Ready(Some(item));
        }
        if !state.is_pending() {
            return Poll::Ready(None);
        }
        match &mut state.parked {
            Some(parked) if parked.waker.will_wake(context.waker()) => {}
            Some(parked) => {
                let replaced = std::mem::replace(&mut parked.waker, context.waker().clone());
                // Dropping a waker may drop its task, and what that holds: not under the lock.
                drop(state);
                drop(replaced);
            }
            none => {
                let (waker, since) = (context.waker().clone(), Instant::now());
                *none = Some(Parked { waker, since });
            }
        }
        Poll::Pending
    }

    /// Takes nothing more: drops what is queued and lets the sender know. What follows is the end.
    pub fn close(&mut self) {
        drop(self.shared.close());
    }

    /// What closes this end from another thread.
    pub fn closer(&self) -> Closer<T> {
        Closer {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Reads the channel's counters at any time, from any thread.
    pub fn meter(&self) -> Meter {
        Meter {
            counters: Arc::clone(&self.shared.counters),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T> Closer<T> {
    /// As [`Receiver::close`]; a consumer that waits gets the end at once.
    pub fn close(&self) {
        if let Some(Parked { waker, since }) = self.shared.close() {
            self.shared.counters.blocked_in.add(since.elapsed());
            waker.wake();
        }
    }
}

// Derived, it would ask that items can be cloned.
impl<T> Clone for Closer<T> {
    fn clone(&self) -> Self {
        Closer {
            shared: Arc::clone(&self.shared),
        }
    }
}

#[cfg(test)]
mod tests;
