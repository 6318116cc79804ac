//! The counting pass: records encoded once, for their lengths alone, by as many threads as there are workers.

use super::fit::{Fit, is_overlong};
use super::word::{Fate, Words, length};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::Cursor;
use crate::pack::overlong;
use crate::pipeline::encode::{Encoded, Outcome, Scratch};
use crate::pipeline::sources::Sources;
use crate::pipeline::workers::read_and_encode;
use crate::recipe::{OnBadRecord, PackConfig};
use crate::stats::Stats;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Blocks that a thread takes at a time.
const A_CHUNK: usize = 64;

/// Is told how many more blocks are counted; its error ends the pass.
pub(super) type Tick<'a> = &'a (dyn Fn(u64) -> Result<()> + Sync);

/// What a counting pass needs to know.
#[derive(Clone, Copy)]
pub(super) struct Counting<'a> {
    pub(super) sources: &'a Sources,
    pub(super) pack: &'a PackConfig,
    pub(super) bos: Option<u32>,
    pub(super) on_bad_record: OnBadRecord,
    pub(super) workers: usize,
    pub(super) stats: &'a Stats,
    pub(super) tick: Tick<'a>,
}

/// What is packed of an example that is longer than a row: its block, its number in the record, the fit.
pub(super) type LongFit = (u64, u32, Fit);

/// What was found of some blocks, in their order.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) words: Words,
    /// Of examples that are longer than a row, by block and number.
    pub(super) fits: Vec<LongFit>,
}

/// Blocks of a source.
pub(super) enum Blocks {
    /// All of them.
    Range(Range<u64>),
    /// These.
    List(Vec<u64>),
}

impl Blocks {
    fn len(&self) -> usize {
        match self {
            Blocks::Range(range) => usize::try_from(range.end - range.start).unwrap_or(0),
            Blocks::List(list) => list.len(),
        }
    }

    fn at(&self, index: usize) -> u64 {
        match self {
            Blocks::Range(range) => range.start + index as u64,
            Blocks::List(list) => list.get(index).copied().unwrap_or(u64::MAX),
        }
    }
}

impl Counting<'_> {
    /// Counts blocks of a held source. Of several errors it gives that of the first block.
    pub(super) fn count(&self, source: u32, blocks: &Blocks) -> Result<Counted> {
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let done: Mutex<Vec<(usize, Result<Counted>)>> = Mutex::new(Vec::new());
        let work = || {
            let mut scratch = Scratch::default();
            while !stop.load(Relaxed) {
                let begin = next.fetch_add(A_CHUNK, Relaxed);
                if begin >= blocks.len() {
                    break;
                }
                let chunk = begin..blocks.len().min(begin + A_CHUNK);
                let counted = self.chunk(source, blocks, chunk, &mut scratch);
                scratch.flush(self.stats);
                stop.fetch_or(counted.is_err(), Relaxed);
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                done.push((begin, counted));
            }
        };
        let threads = self.workers.min(blocks.len().div_ceil(A_CHUNK)).max(1);
        if threads == 1 {
            work();
        } else {
            std::thread::scope(|scope| {
                for n in 0..threads {
                    let thread = std::thread::Builder::new().name(format!("packmill-count-{n}"));
                    thread.spawn_scoped(scope, work).map_err(no_thread)?;
                }
                Ok::<(), Error>(())
            })?;
        }
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(begin, _)| *begin);
        let mut all = Counted::default();
        for (_, counted) in done {
            let counted = counted?;
            all.words.append(counted.words)?;
            all.fits.extend(counted.fits);
        }
        Ok(all)
    }

    fn chunk(
        &self,
        source: u32,
        blocks: &Blocks,
        chunk: Range<usize>,
        scratch: &mut Scratch,
    ) -> Result<Counted> {
        let mut counted = Counted::default();
        let len = chunk.len() as u64;
        for block in chunk.map(|index| blocks.at(index)) {
            self.block(source, block, scratch, &mut counted)?;
        }
        (self.tick)(len)?;
        Ok(counted)
    }

    fn block(
        &self,
        source: u32,
        block: u64,
        scratch: &mut Scratch,
        counted: &mut Counted,
    ) -> Result<()> {
        let Some((_, located)) = self.sources.locate_in(source, block) else {
            let message = format!("there is no block {block}");
            return Err(Error::new(Kind::Internal, Stage::Order, message));
        };
        let origin = located.origin(source, 0, 0, Cursor::default());
        let place = |error| self.sources.place(error, origin);
        let bad = |fate, error| match self.on_bad_record {
            OnBadRecord::Stop => Err(place(error)),
            OnBadRecord::Skip { .. } => Ok(fate),
        };
        let fate = match read_and_encode(self.sources, located, origin, scratch) {
            Outcome::Examples(examples) => {
                return self.record(block, examples, counted).map_err(place);
            }
            Outcome::Nothing => Fate::Nothing,
            Outcome::Bad(error) => bad(Fate::Bad, error)?,
            Outcome::Unreadable { error, .. } => bad(Fate::Unreadable, error)?,
            Outcome::Fatal(error) => return Err(place(error)),
        };
        counted.words.push(fate);
        Ok(())
    }

    fn record(&self, block: u64, examples: Vec<Encoded>, counted: &mut Counted) -> Result<()> {
        let mut fates = Vec::with_capacity(examples.len());
        for (number, example) in (0..).zip(examples) {
            fates.push(match example {
                Ok(example) => {
                    let tokens = length(example.len() as u64)?;
                    if is_overlong(tokens, self.pack) {
                        let fit = Fit::of(&overlong::fit(example, self.pack, self.bos)?);
                        counted.fits.push((block, number, fit));
                    }
                    Fate::Example { tokens }
                }
                Err(dropped) => Fate::Dropped {
                    reason: dropped.reason,
                    tokens: length(dropped.tokens)?,
                },
            });
        }
        match fates.as_slice() {
            [fate] => counted.words.push(*fate),
            fates => counted.words.push_several(fates)?,
        }
        Ok(())
    }
}

fn no_thread(error: std::io::Error) -> Error {
    Error::new(
        Kind::Io,
        Stage::Order,
        "a thread that counts cannot be started",
    )
    .remedy("set `workers` to fewer")
    .caused_by(error)
}
