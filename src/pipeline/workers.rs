//! The worker pool: packmill's own named threads, fed by one channel, answering into another.
//!
//! A task always gets exactly one answer, also when the code in it panics: a panic becomes an error in the
//! place of the record that it hit.

use super::duplicates;
use super::encode::{Item, Outcome, Scratch};
use super::sources::{Located, Sources};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::{Cursor, Origin};
use crate::read::{Ahead, Bad, BlockReader, Entry, Lost, Run, Shard, Step};
use crate::stats::{Lap, Stats};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::collections::HashSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

/// A streamed block that is being read.
pub(crate) struct OpenBlock {
    pub(crate) reader: BlockReader,
    pub(crate) shard: Arc<dyn Shard>,
    /// What will be needed next, on its way.
    pub(crate) ahead: Option<Ahead>,
    /// Hashes of the records so far, where copies of them are left out.
    pub(crate) seen: Option<HashSet<u128>>,
}

/// A run of a streamed block.
pub(crate) struct Told {
    pub(crate) run: Run,
    /// Numbers of its records that stood in the block before, rising.
    pub(crate) copies: Vec<u64>,
}

/// A record of a streamed block.
pub(crate) struct Line {
    pub(crate) origin: Origin,
    pub(crate) text: Bytes,
    /// Whether it stood in its block before.
    pub(crate) copy: bool,
}

/// A held record to encode.
pub(crate) struct RecordRef {
    pub(crate) source: u32,
    pub(crate) located: Located,
    pub(crate) epoch: u64,
    /// The lane's block of this index.
    pub(crate) position: u64,
}

/// What a worker is asked for. `stream` says for which of the feed's streams.
pub(crate) enum Task {
    /// Encode held records.
    Held {
        stream: usize,
        slot: u64,
        records: Vec<RecordRef>,
    },
    /// Encode records of streamed blocks, in the order given.
    Records {
        stream: usize,
        slot: u64,
        records: Vec<Line>,
    },
    /// Decode a streamed block up to its next run.
    Advance {
        lent: Lent,
        reader: Box<OpenBlock>,
        bytes: Option<Result<Bytes>>,
    },
}

/// To whom a reader belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lent {
    pub(crate) stream: usize,
    /// How many groups of blocks the stream had opened.
    pub(crate) opened: u64,
    /// The block in the group.
    pub(crate) member: usize,
}

/// What a worker, or the read runtime, answers.
pub(crate) enum Event {
    /// One item a record of the task, in its order.
    Encoded {
        stream: usize,
        slot: u64,
        items: Vec<Item>,
    },
    /// What a reader came to.
    Advanced { lent: Lent, advance: Advance },
    /// Stored bytes that the reader asked for.
    Fetched {
        lent: Lent,
        reader: Box<OpenBlock>,
        bytes: Result<Bytes>,
    },
}

/// What a reader came to.
pub(crate) enum Advance {
    /// It needs these stored bytes of its shard.
    Need(Box<OpenBlock>, Range<u64>),
    /// Its next run.
    Run(Box<OpenBlock>, Told),
    /// A bad record or an unreadable rest; it can go on.
    Bad(Box<OpenBlock>, Outcome),
    /// Its last run, if one was left, and its end; the block held so many lines. The reader is gone, so that of a block
    /// that is a single run no decoder stays open.
    End { run: Option<Told>, lines: u64 },
}

/// The pool. Dropping it ends the threads and waits for them.
pub(crate) struct Workers {
    tasks: Option<Sender<Task>>,
    events: Receiver<Event>,
    answers: Sender<Event>,
    cancelled: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads.
    pub(crate) fn start(
        count: usize,
        sources: &Arc<Sources>,
        stats: &Arc<Stats>,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<Self> {
        let (tasks, queue) = unbounded();
        let (answers, events) = unbounded();
        let mut threads = Vec::with_capacity(count);
        for number in 0..count {
            let worker = Worker {
                queue: queue.clone(),
                answers: answers.clone(),
                sources: Arc::clone(sources),
                stats: Arc::clone(stats),
                cancelled: Arc::clone(cancelled),
            };
            let thread = std::thread::Builder::new()
                .name(format!("packmill-worker-{number}"))
                .spawn(move || worker.run())
                .map_err(|e| {
                    Error::new(
                        Kind::Io,
                        Stage::Tokenize,
                        "a worker thread cannot be started",
                    )
                    .remedy("set `workers` to fewer")
                    .caused_by(e)
                })?;
            threads.push(thread);
        }
        Ok(Workers {
            tasks: Some(tasks),
            events,
            answers,
            cancelled: Arc::clone(cancelled),
            threads,
        })
    }

    /// Number of threads.
    pub(crate) fn count(&self) -> usize {
        self.threads.len()
    }

    /// Hands out a task. Never waits: the feed bounds what is out.
    pub(crate) fn send(&self, task: Task) -> Result<()> {
        self.tasks
            .as_ref()
            .and_then(|tasks| tasks.send(task).ok())
            .ok_or_else(gone)
    }

    /// The next answer, waiting for it.
    pub(crate) fn event(&self) -> Result<Event> {
        self.events.recv().map_err(|_| gone())
    }

    /// The next answer, if there is one.
    pub(crate) fn try_event(&self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Where others than workers may answer.
    pub(crate) fn events(&self) -> Sender<Event> {
        self.answers.clone()
    }
}

fn gone() -> Error {
    Error::new(Kind::Internal, Stage::Tokenize, "the workers are gone")
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.cancelled.store(true, Relaxed);
        self.tasks = None;
        for thread in self.threads.drain(..) {
            // A worker catches its tasks' panics; one that dies all the same has nothing left to say.
            let _ = thread.join();
        }
    }
}

struct Worker {
    queue: Receiver<Task>,
    answers: Sender<Event>,
    sources: Arc<Sources>,
    stats: Arc<Stats>,
    cancelled: Arc<AtomicBool>,
}

impl Worker {
    fn run(self) {
        let mut scratch = Scratch::default();
        let mut lap = Lap::start();
        while let Ok(task) = self.queue.recv() {
            self.stats.read.blocked_in(lap.lap());
            if self.cancelled.load(Relaxed) {
                return;
            }
            let event = match task {
                Task::Held {
                    stream,
                    slot,
                    records,
                } => Event::Encoded {
                    stream,
                    slot,
                    items: self.held(records, &mut scratch),
                },
                Task::Records {
                    stream,
                    slot,
                    records,
                } => Event::Encoded {
                    stream,
                    slot,
                    items: self.records(records, &mut scratch),
                },
                Task::Advance {
                    lent,
                    reader,
                    bytes,
                } => Event::Advanced {
                    lent,
                    advance: self.advance(reader, bytes),
                },
            };
            scratch.flush(&self.stats);
            if self.answers.send(event).is_err() {
                return;
            }
            lap = Lap::start();
        }
    }

    fn held(&self, records: Vec<RecordRef>, scratch: &mut Scratch) -> Vec<Item> {
        let mut items = Vec::with_capacity(records.len());
        for record in records {
            let at = Cursor {
                position: record.position,
                place: 0,
            };
            let origin = record.located.origin(record.source, record.epoch, 0, at);
            let outcome = if self.cancelled.load(Relaxed) {
                Outcome::Nothing
            } else {
                read_and_encode(&self.sources, record.located, origin, scratch)
                    .placed(|error| self.sources.place(error, origin))
            };
            items.push(Item {
                origin,
                outcome,
                ends_block: Some(1),
                ends_group: Some(record.position + 1),
            });
        }
        items
    }

    fn records(&self, records: Vec<Line>, scratch: &mut Scratch) -> Vec<Item> {
        let mut items = Vec::with_capacity(records.len());
        for Line { origin, text, copy } in records {
            let outcome = if self.cancelled.load(Relaxed) {
                Outcome::Nothing
            } else {
                guarded(|| self.sources.encode(&text, origin, copy, scratch))
                    .placed(|error| self.sources.place(error, origin))
            };
            items.push(Item {
                origin,
                outcome,
                ends_block: None,
                ends_group: None,
            });
        }
        items
    }

    fn advance(&self, mut block: Box<OpenBlock>, bytes: Option<Result<Bytes>>) -> Advance {
        let mut lap = Lap::start();
        let stepped = catch_unwind(AssertUnwindSafe(|| step(&mut block, bytes)));
        let stepped = stepped.unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
        let (mut records, mut text) = (0, 0);
        if let Ok(Step::Run(run)) = &stepped {
            (records, text) = (run.records.len() as u64, run.record_bytes() as u64);
        }
        let lines = block.reader.lines();
        let advance = match stepped {
            Ok(Step::Need(span)) => Advance::Need(block, span),
            Ok(Step::Run(run)) if block.reader.is_finished() && block.shard.check().is_ok() => {
                let run = Some(told(&mut block, run));
                Advance::End { run, lines }
            }
            Ok(Step::Run(run)) => {
                let run = told(&mut block, run);
                Advance::Run(block, run)
            }
            Ok(Step::Bad(bad)) => Advance::Bad(block, unread(bad)),
            Ok(Step::End) => Advance::End { run: None, lines },
            Err(error) => Advance::Bad(block, Outcome::Fatal(error)),
        };
        self.stats.read.add(records, text, lap.lap());
        advance
    }
}

/// Goes on with a block, whose shard must still be as it was found when it ends.
fn step(block: &mut OpenBlock, bytes: Option<Result<Bytes>>) -> Result<Step> {
    if let Some(bytes) = bytes {
        block.reader.feed(bytes?)?;
    }
    let step = block.reader.step();
    if matches!(step, Step::End) {
        block.shard.check()?;
    }
    Ok(step)
}

/// A run, and which of its records stood in the block before, where that is asked.
fn told(block: &mut OpenBlock, run: Run) -> Told {
    let copies = block.seen.as_mut().map(|seen| {
        let records = run.iter();
        let copies = records.filter(|(_, record)| !seen.insert(duplicates::hash(record)));
        copies.map(|(number, _)| number).collect()
    });
    Told {
        copies: copies.unwrap_or_default(),
        run,
    }
}

/// Reads a record of a held source and encodes it.
pub(super) fn read_and_encode(
    sources: &Sources,
    located: Located,
    origin: Origin,
    scratch: &mut Scratch,
) -> Outcome {
    let mut lap = Lap::start();
    let held = sources.held(origin.source);
    match held.map(|held| held.read(located.block)) {
        Some(Ok(Entry::Record(line))) => {
            scratch.read(line.len(), lap.lap());
            guarded(|| sources.encode(&line, origin, false, scratch))
        }
        Some(Ok(Entry::Blank)) => Outcome::Nothing,
        Some(Ok(Entry::Bad(bad))) => unread(bad),
        Some(Err(error)) => Outcome::Fatal(error),
        None => Outcome::Fatal(Error::new(Kind::Internal, Stage::Read, "not a held source")),
    }
}

/// The outcome of what could not be read.
fn unread(bad: Bad) -> Outcome {
    match bad.lost {
        Lost::Record => Outcome::Bad(bad.error.at_record(bad.record)),
        Lost::Rest { compressed_bytes } => Outcome::Unreadable {
            error: bad.error.at_record(bad.record),
            bytes: compressed_bytes,
        },
    }
}

/// Runs one record's work; a panic becomes an error.
pub(super) fn guarded(work: impl FnOnce() -> Outcome) -> Outcome {
    // What a panic may leave half-written is the scratch, which the next record overwrites.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Outcome::Fatal(panicked(panic.as_ref())))
}

/// The error of a panic.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let message = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    Error::new(
        Kind::Internal,
        Stage::Tokenize,
        format!("panicked: {message}"),
    )
    .remedy("this is a fault of packmill: please report it with the record")
}
