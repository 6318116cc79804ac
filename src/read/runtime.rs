//! Packmill's own runtime: where bytes are waited for, and never anything decoded.
//!
//! It has two named threads, and others for reads that block, and is nobody else's: the caller's runtime is
//! never used, and no thread of the caller's is ever blocked in a future. Results come by callback, so that
//! workers can be woken through whatever they wait on.

use super::blocks::BlockTable;
use super::shard::Shard;
use crate::error::{Error, Kind, Result, Stage};
use bytes::Bytes;
use futures_util::future::{Either, select};
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

/// Threads that run futures. They only pass requests on.
const THREADS: usize = 2;

/// Most reads that block at a time. Enough to keep a network file system or an SSD's queues busy.
const BLOCKING_THREADS: usize = 32;

/// Bytes that one permit stands for: the semaphore counts in u32.
const PERMIT_BYTES: u64 = 4096;

/// Reads shards in the background, so many bytes ahead and no more.
///
/// Bytes that were read [`ahead`](ReadAhead::ahead) count until the last slice of them is dropped. A
/// [`fetch`](ReadAhead::fetch) is for bytes that somebody waits for: it never waits for the budget, so
/// read-ahead that nobody has come to yet cannot hold up what is needed now.
///
/// Dropping it ends its threads without waiting for them, also from async code; callbacks that have not been
/// called then are dropped.
#[derive(Debug)]
pub struct ReadAhead {
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    budget: Arc<Semaphore>,
    permits: u32,
}

/// Bytes on their way. Dropping it breaks the reading off.
pub struct Ahead {
    shard: Arc<dyn Shard>,
    range: Range<u64>,
    /// None where the bytes are at hand and only a hint was given.
    task: Option<(Arc<Slot>, JoinHandle<()>)>,
}

type OnDone = Box<dyn FnOnce(Result<Bytes>) + Send>;

/// Where a read and the one who wants it meet.
struct Slot {
    state: Mutex<State>,
    wanted: Notify,
}

enum State {
    Pending,
    Wanted(OnDone),
    Done(Result<Bytes>),
    Taken,
}

/// Bytes that count in the budget while they live.
struct Counted {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl ReadAhead {
    /// Starts the threads. `budget_bytes` is how much may be read ahead and not yet used.
    pub fn new(budget_bytes: u64) -> Result<ReadAhead> {
        let count = std::sync::atomic::AtomicUsize::new(0);
        let name = move || {
            let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            format!("packmill-io-{n}")
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name_fn(name)
            .build()
            .map_err(|error| {
                Error::new(Kind::Io, Stage::Read, "cannot start the I/O threads").caused_by(error)
            })?;
        let permits = u32::try_from(budget_bytes / PERMIT_BYTES)
            .unwrap_or(u32::MAX)
            .max(1);
        Ok(ReadAhead {
            runtime: Some(runtime),
            budget: Arc::new(Semaphore::new(permits as usize)),
            permits,
        })
    }

    /// Reads what is needed now. `on_done` is called on an I/O thread, or at once on this one where the bytes are
    /// at hand; it should be short.
    pub fn fetch(
        &self,
        shard: &Arc<dyn Shard>,
        range: Range<u64>,
        on_done: impl FnOnce(Result<Bytes>) + Send + 'static,
    ) {
        if let Some(bytes) = shard.at_hand(range.clone()) {
            return on_done(bytes);
        }
        let reading = Arc::clone(shard).read(range);
        self.spawn(async move { on_done(reading.await) });
    }

    /// Begins to read what will be needed, as soon as the budget has room.
    pub fn ahead(&self, shard: &Arc<dyn Shard>, range: Range<u64>) -> Ahead {
        shard.will_need(range.clone());
        let mut ahead = Ahead {
            shard: Arc::clone(shard),
            range: range.clone(),
            task: None,
        };
        // Looked at with an empty range: it must not touch what was only just asked for.
        if shard.at_hand(range.start..range.start).is_some() {
            return ahead;
        }
        let slot = Arc::new(Slot {
            state: Mutex::new(State::Pending),
            wanted: Notify::new(),
        });
        let reading = read_within(
            Arc::clone(&self.budget),
            self.permits,
            Arc::clone(shard),
            range,
            Arc::clone(&slot),
        );
        ahead.task = self.spawn(reading).map(|task| (slot, task));
        ahead
    }

    /// Lists the blocks of shards, many at a time. Waits for all of them.
    pub fn list(&self, shards: &[Arc<dyn Shard>]) -> Result<Vec<Arc<BlockTable>>> {
        let (sender, receiver) = mpsc::channel();
        for (at, shard) in shards.iter().enumerate() {
            let listing = Arc::clone(shard).blocks();
            let sender = sender.clone();
            self.spawn(async move {
                // Nobody listens any more if another shard failed.
                let _ = sender.send((at, listing.await));
            });
        }
        drop(sender);
        let mut tables = Vec::with_capacity(shards.len());
        for (at, table) in receiver {
            tables.push((at, Arc::new(table?)));
        }
        if tables.len() != shards.len() {
            return Err(Error::new(
                Kind::Internal,
                Stage::Read,
                "a shard was not listed",
            ));
        }
        tables.sort_by_key(|(at, _)| *at);
        Ok(tables.into_iter().map(|(_, table)| table).collect())
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Option<JoinHandle<()>> {
        self.runtime.as_ref().map(|runtime| runtime.spawn(future))
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, and panics in async code.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Ahead {
    /// The bytes that were asked for.
    pub fn range(&self) -> &Range<u64> {
        &self.range
    }

    /// Now they are needed: what waits for the budget waits no longer. `on_done` is called at once if they are
    /// there, else on an I/O thread.
    pub fn take(mut self, on_done: impl FnOnce(Result<Bytes>) + Send + 'static) {
        let Some((slot, _running)) = self.task.take() else {
            // Only hinted at, and so at hand.
            let bytes = self.shard.at_hand(self.range.clone());
            return on_done(bytes.unwrap_or_else(|| {
                Err(Error::new(
                    Kind::Internal,
                    Stage::Read,
                    "bytes at hand are gone",
                ))
            }));
        };
        let mut state = slot.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(result) => {
                drop(state);
                on_done(result);
            }
            _ => {
                *state = State::Wanted(Box::new(on_done));
                drop(state);
                slot.wanted.notify_one();
            }
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.task {
            task.abort();
        }
    }
}

impl Slot {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read_within(
    budget: Arc<Semaphore>,
    most: u32,
    shard: Arc<dyn Shard>,
    range: Range<u64>,
    slot: Arc<Slot>,
) {
    let permits = (range.end - range.start).div_ceil(PERMIT_BYTES);
    // More than the whole budget is read when nothing else is.
    let permits = u32::try_from(permits).unwrap_or(u32::MAX).min(most);
    let permit = match select(
        pin!(budget.acquire_many_owned(permits)),
        pin!(slot.wanted.notified()),
    )
    .await
    {
        Either::Left((permit, _)) => permit.ok(),
        Either::Right(((), _)) => None,
    };
    let mut result = shard.read(range).await;
    if let Some(permit) = permit {
        result = result.map(|bytes| {
            Bytes::from_owner(Counted {
                bytes,
                _permit: permit,
            })
        });
    }
    let mut state = slot.lock();
    match std::mem::replace(&mut *state, State::Taken) {
        State::Wanted(on_done) => {
            drop(state);
            on_done(result);
        }
        _ => *state = State::Done(result),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::local::open_shards;
    use crate::read::tests::write_shard;
    use crate::recipe::Io;
    use crate::shard::{Codec, ShardFile};
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(10);
    const A_WHILE: Duration = Duration::from_millis(50);

    fn shard(io: Io) -> (tempfile::TempDir, Arc<dyn Shard>) {
        let dir = tempfile::tempdir().unwrap();
        let file = write_shard(dir.path(), "a", Codec::Plain, &[b'x'; 100_000]);
        let shard = open_shards(&[file], io).unwrap().remove(0);
        (dir, shard)
    }

    fn result() -> (
        impl FnOnce(Result<Bytes>) + Send + 'static,
        mpsc::Receiver<Result<Bytes>>,
    ) {
        let (sender, receiver) = mpsc::channel();
        (move |result| sender.send(result).unwrap(), receiver)
    }

    #[test]
    fn mapped_bytes_come_at_once_and_others_from_a_named_thread() {
        for io in [Io::Mmap, Io::Pread] {
            let (_dir, shard) = shard(io);
            let io_threads = ReadAhead::new(1 << 20).unwrap();
            let (sender, receiver) = mpsc::channel();
            io_threads.fetch(&shard, 10..20, move |bytes| {
                let thread = std::thread::current().name().map(str::to_owned);
                sender.send((thread, bytes.unwrap())).unwrap();
            });
            let (thread, bytes) = receiver.recv_timeout(SOON).unwrap();
            assert_eq!(bytes, "xxxxxxxxxx");
            let own = std::thread::current().name().map(str::to_owned);
            match io {
                Io::Mmap => assert_eq!(thread, own),
                _ => assert!(thread.unwrap().starts_with("packmill-io-")),
            }
        }
    }

    #[test]
    fn read_ahead_stays_within_its_budget_until_the_bytes_are_dropped() {
        let (_dir, shard) = shard(Io::Pread);
        let io = ReadAhead::new(3 * 4096).unwrap();
        let (first, second) = (io.ahead(&shard, 0..8192), io.ahead(&shard, 8192..16_384));
        let (done, first_bytes) = result();
        first.take(done);
        let bytes = first_bytes.recv_timeout(SOON).unwrap().unwrap();
        std::thread::sleep(A_WHILE);
        let done = |ahead: &Ahead| matches!(*ahead.task.as_ref().unwrap().0.lock(), State::Done(_));
        assert!(!done(&second), "two would be 16 KiB");
        let slice = bytes.slice(5..6);
        drop(bytes);
        std::thread::sleep(A_WHILE);
        assert!(!done(&second), "a slice keeps the whole alive");
        drop(slice);
        let (on_done, second_bytes) = result();
        second.take(on_done);
        assert_eq!(
            second_bytes.recv_timeout(SOON).unwrap().unwrap().len(),
            8192
        );
    }

    #[test]
    fn what_is_needed_now_never_waits_for_the_budget() {
        let (_dir, shard) = shard(Io::Pread);
        let io = ReadAhead::new(4096).unwrap();
        let unused = io.ahead(&shard, 0..4096);
        let waiting = io.ahead(&shard, 4096..90_000);
        let (done, bytes) = result();
        waiting.take(done);
        assert_eq!(
            bytes.recv_timeout(SOON).unwrap().unwrap().len(),
            90_000 - 4096
        );
        let (done, bytes) = result();
        io.fetch(&shard, 0..99_000, done);
        assert_eq!(bytes.recv_timeout(SOON).unwrap().unwrap().len(), 99_000);
        drop(unused);
    }

    #[test]
    fn dropped_read_ahead_gives_its_room_back() {
        let (_dir, shard) = shard(Io::Pread);
        let io = ReadAhead::new(4096).unwrap();
        for at in 0..50 {
            let (first, second) = (
                io.ahead(&shard, at..at + 4096),
                io.ahead(&shard, at..at + 4096),
            );
            drop((second, first));
        }
        let ahead = io.ahead(&shard, 0..4096);
        let deadline = std::time::Instant::now() + SOON;
        while !matches!(*ahead.task.as_ref().unwrap().0.lock(), State::Done(_)) {
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn hints_alone_suffice_for_mapped_bytes() {
        let (_dir, shard) = shard(Io::Mmap);
        let io = ReadAhead::new(0).unwrap();
        let ahead = io.ahead(&shard, 7..9);
        assert_eq!(*ahead.range(), 7..9);
        let (done, bytes) = result();
        ahead.take(done);
        assert_eq!(bytes.try_recv().unwrap().unwrap(), "xx");
    }

    #[tokio::test]
    async fn lives_and_is_dropped_inside_of_somebody_elses_runtime() {
        let (_dir, shard) = shard(Io::Pread);
        let io = ReadAhead::new(1 << 20).unwrap();
        let (done, bytes) = result();
        io.fetch(&shard, 0..5, done);
        assert_eq!(bytes.recv_timeout(SOON).unwrap().unwrap(), "xxxxx");
        assert_eq!(io.list(&[shard]).unwrap()[0].len(), 1);
        drop(io);
    }

    /// A shard whose reads never end.
    struct Stuck(ShardFile, Arc<AtomicUsize>);

    impl Shard for Stuck {
        fn file(&self) -> &ShardFile {
            &self.0
        }

        fn blocks(self: Arc<Self>) -> BoxFuture<'static, Result<BlockTable>> {
            std::future::pending().boxed()
        }

        fn read(self: Arc<Self>, _: Range<u64>) -> BoxFuture<'static, Result<Bytes>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            std::future::pending().boxed()
        }
    }

    #[test]
    fn dropping_it_drops_the_callbacks_of_what_never_came() {
        let dir = tempfile::tempdir().unwrap();
        let file = write_shard(dir.path(), "a", Codec::Plain, b"x");
        let shard: Arc<dyn Shard> = Arc::new(Stuck(file, Arc::new(AtomicUsize::new(0))));
        let io = ReadAhead::new(1 << 20).unwrap();
        let (done, bytes) = result();
        io.fetch(&shard, 0..1, done);
        drop(io);
        assert_eq!(
            bytes.recv_timeout(SOON).unwrap_err(),
            mpsc::RecvTimeoutError::Disconnected
        );
    }
}
