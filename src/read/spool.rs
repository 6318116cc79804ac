//! A held source, read through once: its text decoded into one file, and the index of its lines.
//!
//! Plain shards stay where they lie and are only indexed. Where every frame says how long its text is, frames
//! are decoded on several threads, each to its place in the file; else one after the other, as rows in columns are,
//! whose text is as long as it turns out.

use super::block::{BlockDecoder, Decoded};
use super::blocks::{BlockTable, Bounds};
use super::cache::failed;
use super::decode::Fault;
use super::index::{LineIndex, Wanted};
use super::local::LocalShard;
use super::{Limits, ReadOptions, lines};
use crate::error::{Error, Kind, Result, Stage};
use crate::recipe::OnBadRecord;
use crate::shard::Codec;
use memchr::memrchr;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Threads that decode frames. The disk's and the page cache's share of the work does not grow with more.
const THREADS: usize = 4;

/// How much text is decoded in parallel before it is indexed: what is wrong with a line is known not long after it was
/// decoded.
const GROUP_BYTES: u64 = 64 << 20;

/// How much text is indexed at a time.
const INDEX_CHUNK_BYTES: u64 = 1 << 20;

/// How many times `hold` the JSON lines of rows in columns may be. Names of fields stand in every line, and a value that
/// is stored once for a thousand rows stands in all of them; so text of some times the columns' bytes is usual, and a
/// bound must be.
const TEXT_A_COLUMN_BYTE: u64 = 8;

/// What is in a spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    /// Decoded bytes as they count for `hold`.
    pub(super) decoded_bytes: u64,
    /// Lines that hold a record, bad ones included.
    pub(super) records: u64,
    /// Entries of each shard: lines, blank ones included, and unreadable rests.
    pub(super) entries: Vec<u64>,
    /// Unreadable rests, in file order.
    pub(super) faults: Vec<Unreadable>,
    /// The first line that is too long, if no unreadable rest stands before it.
    pub(super) long: Option<Long>,
}

/// A line that is longer than a record may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Long {
    /// Shard within the source.
    pub(super) shard: usize,
    /// The entry of the shard that it is.
    pub(super) entry: u64,
}

impl Contents {
    /// Of a source that decodes to more than `hold`: how far it was decoded, and no more.
    fn too_large(decoded_bytes: u64) -> Contents {
        Contents {
            decoded_bytes,
            records: 0,
            entries: Vec::new(),
            faults: Vec::new(),
            long: None,
        }
    }

    /// What a run that stops at the first thing that cannot be read stops at.
    pub(super) fn first_error(&self, input: &Input<'_>) -> Option<Error> {
        let fault = self.faults.first();
        match self.long {
            Some(long) if fault.is_none_or(|f| long < f.place()) => Some(long.error(input)),
            _ => fault.map(|fault| fault.error(input.shards)),
        }
    }
}

/// The rest of a block that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unreadable {
    /// Shard within the source.
    pub(super) shard: usize,
    /// The entry of the shard that stands for it.
    pub(super) entry: u64,
    /// What is wrong.
    pub(super) fault: Fault,
    /// First stored byte of the block.
    pub(super) block_start: u64,
    /// Stored bytes of which no text came.
    pub(super) compressed_bytes: u64,
}

/// A source's shards and how to read them.
pub(super) struct Input<'a> {
    pub(super) shards: &'a [Arc<LocalShard>],
    pub(super) tables: &'a [Arc<BlockTable>],
    pub(super) options: &'a ReadOptions,
    pub(super) limits: Limits,
    /// For errors.
    pub(super) cache: &'a Path,
}

/// A fault and where it stands in the text.
struct Gap {
    shard: usize,
    /// First byte of text that is missing.
    at: u64,
    /// First byte of text of the next block.
    resume: u64,
    fault: Fault,
    block_start: u64,
    compressed_bytes: u64,
}

/// A compressed block and where its text belongs.
#[derive(Debug, Clone, Copy)]
struct Place {
    shard: usize,
    block: u64,
    /// First byte of its text.
    start: u64,
    /// One past the last.
    end: u64,
}

/// What is found beside records.
#[derive(Debug, Default)]
struct Findings {
    faults: Vec<Unreadable>,
    long: Option<Long>,
}

impl Input<'_> {
    /// Decoded bytes of all shards, where all headers say it.
    fn decoded_bytes(&self) -> Option<u64> {
        let mut tables = self.tables.iter();
        tables.try_fold(0u64, |sum, table| {
            Some(sum.saturating_add(table.decoded_bytes()?))
        })
    }

    /// Whether the source is larger than `hold` by what its headers say alone.
    pub(super) fn is_too_large_by_its_headers(&self) -> bool {
        let known = self.tables.iter().flat_map(|table| {
            // A table that says all of it need not be gone through.
            let blocks = if table.decoded_bytes().is_some() {
                0
            } else {
                table.len()
            };
            let whole = table.decoded_bytes().into_iter();
            whole.chain((0..blocks).filter_map(|block| table.decoded_bytes_of(block)))
        });
        let known = known.fold(0u64, u64::saturating_add);
        self.options.limit.is_none() && known > self.options.hold
    }

    /// Writes the spool into `folder`. If the source decodes to more than `hold`, that is all that the spool
    /// says, so that of many processes one alone has to find out.
    pub(super) fn write(&self, folder: &Path) -> Result<Contents> {
        let index = self.create(folder, "index")?;
        let text = self.create(folder, "text")?;
        let index = LineIndex::new(BufWriter::new(index), self.options.limit, self.limits);
        for shard in self.shards {
            shard.sequential();
        }
        let contents = match self.decoded_bytes() {
            Some(bytes)
                if bytes <= self.options.hold
                    && self.options.limit.is_none()
                    && self.tables.iter().all(|t| t.bounds() == Bounds::Text) =>
            {
                self.write_at_known_places(&text, index, bytes)?
            }
            _ => self.write_in_turn(&text, index)?,
        };
        if contents.decoded_bytes > self.options.hold {
            self.spooled(text.set_len(0))?;
        }
        for shard in self.shards {
            shard.check()?;
        }
        Ok(contents)
    }

    /// Decodes and indexes block after block, and stops where `limit` or `hold` is reached.
    fn write_in_turn(&self, text: &File, mut index: LineIndex<impl Write>) -> Result<Contents> {
        let (mut found, mut entries) = (Findings::default(), Vec::new());
        // The text file's length, and what the shards before decode to, up to `limit`.
        let (mut spooled, mut before) = (0, 0);
        let most_text = self.options.hold.saturating_mul(TEXT_A_COLUMN_BYTE);
        let mut text_of_rows = 0u64;
        for (at, (shard, table)) in self.shards.iter().zip(self.tables).enumerate() {
            let plain = table.codec() == Codec::Plain;
            self.indexed(index.begin_shard(if plain { 0 } else { spooled }))?;
            let mut decoder = BlockDecoder::new(table.codec(), self.limits);
            // Of rows in columns: what those before the block decode to.
            let mut columns = 0u64;
            for block in 0..table.len() {
                if index.wanted() == Wanted::Enough {
                    break;
                }
                let first = index.entries();
                decoder.begin(table, block, self.limits.chunk_bytes);
                loop {
                    match decoder.step() {
                        Decoded::Need(range) => decoder.feed(shard.read_now(range)?),
                        Decoded::End => break,
                        Decoded::Text => {
                            let len = decoder.text().len();
                            let wanted = self.index(&mut index, decoder.text(), at, &mut found)?;
                            let decoded = match table.unit(block) {
                                Some(unit) => {
                                    text_of_rows += len as u64;
                                    columns + unit.decoded_of(index.entries() - first)
                                }
                                None => index.shard_bytes(),
                            };
                            let decoded = before + decoded;
                            if decoded > self.options.hold || text_of_rows > most_text {
                                let beyond = self.options.hold.saturating_add(1);
                                return Ok(Contents::too_large(decoded.max(beyond)));
                            }
                            if !plain {
                                self.spooled(text.write_all_at(decoder.text(), spooled))?;
                                spooled += len as u64;
                            }
                            if wanted == Wanted::Enough {
                                break;
                            }
                            decoder.take(len);
                        }
                        Decoded::Fault(fault) => {
                            let gap = Gap {
                                shard: at,
                                at: spooled,
                                resume: spooled,
                                fault,
                                block_start: decoder.start(),
                                compressed_bytes: decoder.rest_bytes(),
                            };
                            self.book(gap, &mut index, &mut found)?;
                            if table.bounds() == Bounds::Rows {
                                self.indexed(index.end_of_rest())?;
                            }
                            break;
                        }
                    }
                }
                if let Some(unit) = table.unit(block) {
                    columns += unit.decoded_of(index.entries() - first);
                }
            }
            entries.push(self.end_shard(&mut index, at, &mut found)?);
            before += match table.bounds() {
                Bounds::Text => index.shard_bytes(),
                Bounds::Rows => columns,
            };
        }
        Ok(Contents {
            decoded_bytes: before,
            records: self.indexed(index.finish())?,
            entries,
            faults: found.faults,
            long: found.long,
        })
    }

    /// Decodes frames in parallel, each to where the sizes before it put it, and indexes the text behind them.
    fn write_at_known_places(
        &self,
        text: &File,
        mut index: LineIndex<impl Write>,
        decoded_bytes: u64,
    ) -> Result<Contents> {
        let places = self.places();
        // The first place that is not decoded yet, and what those before lack.
        let (mut next_place, mut gaps) = (0, VecDeque::new());
        let (mut found, mut entries, mut start) = (Findings::default(), Vec::new(), 0);
        // A frame that is given up in its middle has its room all the same.
        let spooled_bytes = places.last().map_or(0, |place| place.end);
        self.spooled(text.set_len(spooled_bytes))?;
        let mut buffer = Vec::new();
        for (at, (shard, table)) in self.shards.iter().zip(self.tables).enumerate() {
            let plain = table.codec() == Codec::Plain;
            let mut next = if plain { 0 } else { start };
            let end = next + table.decoded_bytes().unwrap_or(0);
            self.indexed(index.begin_shard(next))?;
            loop {
                let waiting = places.get(next_place).filter(|place| place.shard == at);
                let gap_at = gaps
                    .front()
                    .filter(|gap: &&Gap| gap.shard == at)
                    .map(|gap| gap.at);
                let stop = gap_at.unwrap_or(waiting.map_or(end, |place| place.start));
                let chunk = next..stop.min(next + INDEX_CHUNK_BYTES);
                if !chunk.is_empty() {
                    next = chunk.end;
                    if plain {
                        self.index(&mut index, &shard.read_now(chunk)?, at, &mut found)?;
                    } else {
                        buffer.resize((chunk.end - chunk.start) as usize, 0);
                        self.spooled(text.read_exact_at(&mut buffer, chunk.start))?;
                        self.index(&mut index, &buffer, at, &mut found)?;
                    }
                } else if gap_at.is_some()
                    && let Some(gap) = gaps.pop_front()
                {
                    next = gap.resume;
                    self.book(gap, &mut index, &mut found)?;
                } else if let Some(place) = waiting {
                    let rest = places.get(next_place..).unwrap_or_default();
                    let within = |p: &&Place| p.end - place.start <= GROUP_BYTES;
                    let group = rest.iter().take_while(within).count().max(1);
                    let group = rest.get(..group).unwrap_or_default();
                    gaps.extend(self.decode_in_parallel(text, group)?);
                    next_place += group.len();
                } else {
                    break;
                }
            }
            entries.push(self.end_shard(&mut index, at, &mut found)?);
            if !plain {
                start = end;
            }
        }
        Ok(Contents {
            decoded_bytes,
            records: self.indexed(index.finish())?,
            entries,
            faults: found.faults,
            long: found.long,
        })
    }

    /// Where the text of every compressed block belongs, by the sizes that their headers say.
    fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        let mut start = 0u64;
        for (shard, table) in self.tables.iter().enumerate() {
            let blocks = if table.codec() == Codec::Plain {
                0
            } else {
                table.len()
            };
            for block in 0..blocks {
                let end = start + table.decoded_bytes_of(block).unwrap_or(0);
                places.push(Place {
                    shard,
                    block,
                    start,
                    end,
                });
                start = end;
            }
        }
        places
    }

    /// Writes every frame's text to its place. Gives the gaps, in file order.
    fn decode_in_parallel(&self, text: &File, places: &[Place]) -> Result<Vec<Gap>> {
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = || {
            let mut gaps = Vec::new();
            // gzip says no sizes, and is not decoded here.
            let mut decoder = BlockDecoder::new(Codec::Zstd, self.limits);
            while !stop.load(Ordering::Relaxed)
                && let Some(place) = places.get(next.fetch_add(1, Ordering::Relaxed))
            {
                match self.decode_to(text, *place, &mut decoder) {
                    Ok(Decoding::Whole) => {}
                    Ok(Decoding::Gap(gap)) => gaps.push(gap),
                    Ok(Decoding::GivenUp) => stop.store(true, Ordering::Relaxed),
                    Err(error) => {
                        stop.store(true, Ordering::Relaxed);
                        return Err(error);
                    }
                }
            }
            Ok(gaps)
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(THREADS).min(places.len());
        if threads < 2 {
            return work();
        }
        let mut gaps = Vec::new();
        std::thread::scope(|scope| {
            let mut running = Vec::new();
            for n in 0..threads {
                let thread = std::thread::Builder::new().name(format!("packmill-spool-{n}"));
                let thread = thread.spawn_scoped(scope, work);
                let refused =
                    |error| failed(self.cache, "cannot start a thread for a spool", error);
                running.push(thread.map_err(refused)?);
            }
            for thread in running {
                gaps.extend(thread.join().unwrap_or_else(|_| Err(crashed()))?);
            }
            Ok::<(), Error>(())
        })?;
        gaps.sort_by_key(|gap: &Gap| (gap.shard, gap.block_start));
        Ok(gaps)
    }

    /// Decodes one frame to where its text belongs.
    fn decode_to(&self, text: &File, place: Place, decoder: &mut BlockDecoder) -> Result<Decoding> {
        let at = place.shard;
        let (Some(shard), Some(table)) = (self.shards.get(at), self.tables.get(at)) else {
            return Ok(Decoding::Whole);
        };
        decoder.begin(table, place.block, self.limits.chunk_bytes);
        let mut next = place.start;
        // Text since the last line end, as far as this frame knows.
        let mut line_bytes = 0;
        let fault = loop {
            match decoder.step() {
                Decoded::Need(range) => decoder.feed(shard.read_now(range)?),
                Decoded::Text => {
                    let len = decoder.text().len();
                    self.spooled(text.write_all_at(decoder.text(), next))?;
                    next += len as u64;
                    line_bytes = match memrchr(b'\n', decoder.text()) {
                        Some(end) => len - end - 1,
                        None => line_bytes + len,
                    };
                    decoder.take(len);
                    let too_long = line_bytes > self.limits.line_bytes + 1;
                    if too_long && self.options.on_bad_record == OnBadRecord::Stop {
                        return Ok(Decoding::GivenUp);
                    }
                }
                // The decoder has seen to it that the text has the size that its place has.
                Decoded::End => return Ok(Decoding::Whole),
                Decoded::Fault(fault) => break fault,
            }
        };
        Ok(Decoding::Gap(Gap {
            shard: at,
            at: next,
            resume: place.end,
            fault,
            block_start: decoder.start(),
            compressed_bytes: decoder.rest_bytes(),
        }))
    }

    /// Indexes text. A run that stops at what cannot be read stops at a line as soon as it is too long.
    fn index(
        &self,
        index: &mut LineIndex<impl Write>,
        text: &[u8],
        shard: usize,
        found: &mut Findings,
    ) -> Result<Wanted> {
        let wanted = self.indexed(index.text(text))?;
        self.note_long(index.long(), shard, found)?;
        Ok(wanted)
    }

    /// Ends a shard's index. Gives the number of its entries.
    fn end_shard(
        &self,
        index: &mut LineIndex<impl Write>,
        shard: usize,
        found: &mut Findings,
    ) -> Result<u64> {
        let entries = self.indexed(index.end_shard())?;
        self.note_long(index.long(), shard, found)?;
        Ok(entries)
    }

    fn note_long(&self, entry: Option<u64>, shard: usize, found: &mut Findings) -> Result<()> {
        let Some(entry) = entry.filter(|_| found.long.is_none()) else {
            return Ok(());
        };
        let long = Long { shard, entry };
        if self.options.on_bad_record == OnBadRecord::Stop {
            return Err(long.error(self));
        }
        found.long = Some(long);
        Ok(())
    }

    /// Gives a fault its entry, or ends the run with it.
    fn book(
        &self,
        gap: Gap,
        index: &mut LineIndex<impl Write>,
        found: &mut Findings,
    ) -> Result<()> {
        let Some(entry) = self.indexed(index.fault(gap.resume))? else {
            return Ok(());
        };
        let unreadable = Unreadable {
            shard: gap.shard,
            entry,
            fault: gap.fault,
            block_start: gap.block_start,
            compressed_bytes: gap.compressed_bytes,
        };
        if self.options.on_bad_record == OnBadRecord::Stop {
            return Err(unreadable.error(self.shards));
        }
        found.faults.push(unreadable);
        Ok(())
    }

    fn create(&self, folder: &Path, name: &str) -> Result<File> {
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        self.spooled(options.open(folder.join(name)))
    }

    fn spooled<T>(&self, done: std::io::Result<T>) -> Result<T> {
        done.map_err(|error| failed(self.cache, "cannot write a spool", error))
    }

    fn indexed<T>(&self, done: std::io::Result<T>) -> Result<T> {
        done.map_err(|error| failed(self.cache, "cannot write a spool's index", error))
    }
}

/// What became of a frame.
enum Decoding {
    Whole,
    Gap(Gap),
    /// A line of it is too long, and the run stops there: indexing will say at which.
    GivenUp,
}

impl Long {
    /// The error, with the shard and the entry.
    fn error(self, input: &Input<'_>) -> Error {
        let error = lines::too_long(&input.limits).at_record(self.entry);
        match input.shards.get(self.shard) {
            Some(shard) => error.in_shard(&shard.file().name),
            None => error,
        }
    }
}

impl Unreadable {
    /// Where it stands among the source's entries.
    fn place(&self) -> Long {
        Long {
            shard: self.shard,
            entry: self.entry,
        }
    }

    /// The error, with the shard and the entry.
    pub(super) fn error(&self, shards: &[Arc<LocalShard>]) -> Error {
        let shard = shards.get(self.shard).map(|shard| shard.file());
        let codec = shard.map_or(Codec::Plain, |shard| shard.codec);
        let error = self.fault.clone().into_error(codec, self.block_start);
        let error = error.at_record(self.entry);
        match shard {
            Some(shard) => error.in_shard(&shard.name),
            None => error,
        }
    }
}

fn crashed() -> Error {
    Error::new(
        Kind::Internal,
        Stage::Read,
        "a thread that writes a spool panicked",
    )
}
