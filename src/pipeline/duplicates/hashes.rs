//! The pass over the corpus: a hash of each record's bytes, by as many threads as there are workers.

use super::Count;
use super::first::NO_RECORD;
use crate::error::{Error, Kind, Result, Stage};
use crate::order::runs::Bounds;
use crate::pipeline::global::Pass;
use crate::pipeline::sources::Sources;
use crate::read::{Entry, ReadAhead, Step};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError, mpsc};
use xxhash_rust::xxh3::xxh3_128;

/// Blocks of a held source that a thread takes at a time. Of a streamed one it takes one.
const A_CHUNK: u64 = 1_024;

/// The hash of a record, that of no line that is none.
pub(in crate::pipeline) fn hash(record: &[u8]) -> u128 {
    match xxh3_128(record) {
        NO_RECORD => 1,
        hash => hash,
    }
}

/// What is read, and who is told.
pub(super) struct Reading<'a> {
    pub(super) sources: &'a Sources,
    pub(super) io: &'a ReadAhead,
    pub(super) workers: usize,
    pub(super) tick: &'a (dyn Fn(Count) -> Result<()> + Sync),
}

/// Blocks of a source that are read at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) source: u32,
    pub(super) shard: u32,
    pub(super) blocks: Range<u64>,
}

impl Reading<'_> {
    /// The parts of a shard, whose blocks these are, in order.
    pub(super) fn parts(&self, source: u32, shard: u32, blocks: Range<u64>) -> Vec<Part> {
        let a_part = if self.sources.is_held(source) {
            A_CHUNK
        } else {
            1
        };
        let mut parts = Vec::new();
        let mut begin = blocks.start;
        while begin < blocks.end {
            let end = blocks.end.min(begin + a_part);
            parts.push(Part {
                source,
                shard,
                blocks: begin..end,
            });
            begin = end;
        }
        parts
    }

    /// The hashes of every line of some parts, in their order. Of several errors it gives that of the first part.
    pub(super) fn hashes(&self, parts: &[Part]) -> Result<Vec<Vec<u128>>> {
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (read, of) = (AtomicU64::new(0), parts.len() as u64);
        let done: Mutex<Vec<(usize, Result<Vec<u128>>)>> = Mutex::new(Vec::new());
        let work = || {
            while !stop.load(Relaxed) {
                let at = next.fetch_add(1, Relaxed);
                let Some(part) = parts.get(at) else { break };
                let hashes = self.part(part).and_then(|hashes| {
                    let done = read.fetch_add(1, Relaxed) + 1;
                    (self.tick)(Count {
                        pass: Pass::Duplicates,
                        done,
                        of,
                    })?;
                    Ok(hashes)
                });
                stop.fetch_or(hashes.is_err(), Relaxed);
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                done.push((at, hashes));
            }
        };
        std::thread::scope(|scope| {
            for n in 1..self.workers.min(parts.len()) {
                let thread = std::thread::Builder::new().name(format!("packmill-hash-{n}"));
                // Without it the others do its work.
                let _ = thread.spawn_scoped(scope, work);
            }
            work();
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(at, _)| *at);
        done.into_iter().map(|(_, hashes)| hashes).collect()
    }

    fn part(&self, part: &Part) -> Result<Vec<u128>> {
        let Some(held) = self.sources.held(part.source) else {
            return self.block(part.source, part.blocks.start);
        };
        let blocks = part.blocks.clone();
        blocks
            .map(|block| {
                Ok(match held.read(block)? {
                    Entry::Record(line) => hash(&line),
                    Entry::Blank | Entry::Bad(_) => NO_RECORD,
                })
            })
            .collect()
    }

    /// The hashes of a streamed block's lines. What of it cannot be read is left for the stream to say.
    fn block(&self, source: u32, block: u64) -> Result<Vec<u128>> {
        let nowhere = || {
            Error::new(
                Kind::Internal,
                Stage::Order,
                format!("there is no block {block}"),
            )
        };
        let (_, located) = self.sources.locate_in(source, block).ok_or_else(nowhere)?;
        let runs = Bounds::shared_by(1);
        let opened = self.sources.open_block(source, located, runs);
        let (mut reader, shard) = opened.ok_or_else(nowhere)?;
        let mut hashes = Vec::new();
        loop {
            match reader.step() {
                Step::Need(range) => {
                    let (sender, receiver) = mpsc::channel();
                    self.io.fetch(&shard, range, move |bytes| {
                        // The receiver waits for just this.
                        let _ = sender.send(bytes);
                    });
                    let bytes = receiver.recv().map_err(|_| {
                        Error::new(Kind::Internal, Stage::Read, "the read runtime is gone")
                    })?;
                    reader.feed(bytes?)?;
                }
                Step::Run(run) => {
                    for (number, record) in run.iter() {
                        // Lines are numbered in order, and blank ones are passed over.
                        let number = usize::try_from(number).unwrap_or(usize::MAX);
                        hashes.resize(number.max(hashes.len()), NO_RECORD);
                        hashes.push(hash(&record));
                    }
                }
                Step::Bad(_) => {}
                Step::End => break,
            }
        }
        shard.check()?;
        let lines = usize::try_from(reader.lines()).unwrap_or(usize::MAX);
        hashes.resize(lines.max(hashes.len()), NO_RECORD);
        hashes.shrink_to_fit();
        Ok(hashes)
    }
}
