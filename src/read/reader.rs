//! One streamed block to runs of records: a state machine without I/O, so that a worker decodes while
//! somebody else fetches.

use super::block::{self, BlockDecoder, Decoded};
use super::blocks::{BlockTable, Bounds};
use super::decode::Fault;
use super::lines::{Emit, Lines, Run};
use super::sidecar::Sidecar;
use super::verify::Verify;
use super::{Bad, Limits, Lost};
use crate::error::{Error, Kind, Result, Stage};
use crate::recipe::LimitsConfig;
use bytes::Bytes;
use memchr::memchr;
use std::ops::Range;
use std::sync::Arc;

/// Reads the records of one block, or of consecutive blocks, of a shard.
///
/// A record belongs to the block that holds the newline before it, and a shard's first record to its first
/// block. So the reader passes over the block's head up to its first newline, unless the block is the first,
/// and reads on into the blocks that follow up to the end of its last record. Blocks of rows in columns hold whole
/// records. Over all blocks of a shard each record is read exactly once.
///
/// What it holds, whatever the block claims to contain: the decoder's window (as large as the block was compressed with,
/// at most what `limits.window_log` says), one chunk of stored bytes (256 KiB), 128 KiB of text, and two runs; a
/// longer record (`limits.line_bytes` at most) takes the place of a run. Frames are never held decoded, and given up
/// where they make more text than `limits.ratio` allows, so a bomb costs little time and no memory. Of rows in columns it holds
/// the block's stored bytes, which are mapped as a rule, and one batch of columns.
pub struct BlockReader {
    table: Arc<BlockTable>,
    limits: Limits,
    /// The blocks whose records are read.
    own: Range<u64>,
    /// The block that is decoded.
    at: u64,
    decoder: BlockDecoder,
    asked: Option<Range<u64>>,
    /// Where the shard has an index.
    verify: Option<Verify>,
    lines: Lines,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Before the first line that belongs here.
    Head,
    Body,
    /// In following blocks, for the last record.
    Tail,
    Finished,
}

/// What a reader wants or has. Everything comes in file order.
#[derive(Debug)]
pub enum Step {
    /// Exactly these stored bytes of the shard, given to [`feed`](BlockReader::feed).
    Need(Range<u64>),
    /// Records.
    Run(Run),
    /// Something in the place of a record. The reader goes on.
    Bad(Bad),
    /// There is no more.
    End,
}

impl BlockReader {
    /// A reader of the records of `blocks`, which must be blocks of the table. Numbers count from the first
    /// line of the first of them.
    pub fn new(table: Arc<BlockTable>, blocks: Range<u64>) -> BlockReader {
        BlockReader::within(table, blocks, Limits::DEFAULT)
    }

    /// The same within the limits of a recipe.
    pub fn limited(
        table: Arc<BlockTable>,
        blocks: Range<u64>,
        limits: &LimitsConfig,
    ) -> BlockReader {
        let limits = Limits::of(limits);
        BlockReader::within(table.believed(&limits), blocks, limits)
    }

    pub(super) fn within(
        table: Arc<BlockTable>,
        blocks: Range<u64>,
        limits: Limits,
    ) -> BlockReader {
        let own = blocks.start..blocks.end.min(table.len());
        let mut reader = BlockReader {
            decoder: BlockDecoder::new(table.codec(), limits),
            limits,
            at: own.start,
            asked: None,
            verify: None,
            lines: Lines::new(limits),
            phase: match (own.start, table.bounds()) {
                _ if own.is_empty() => Phase::Finished,
                (0, _) | (_, Bounds::Rows) => Phase::Body,
                (_, Bounds::Text) => Phase::Head,
            },
            table,
            own,
        };
        reader.open(reader.at);
        reader
    }

    /// The same, with each block held against the shard's index before a record of it is given out; also the block
    /// that the last record runs on into. What is not as indexed is an error of [`feed`](BlockReader::feed).
    pub(super) fn verified(mut self, sidecar: Arc<Sidecar>) -> BlockReader {
        self.verify = Some(Verify::new(sidecar, self.limits.chunk_bytes));
        self.open(self.at);
        self
    }

    /// Goes on until it wants or has something. What it takes is bounded by the text of one chunk.
    pub fn step(&mut self) -> Step {
        loop {
            if let Some(emit) = self.lines.due() {
                return match emit {
                    Emit::Run(run) => Step::Run(run),
                    Emit::Bad(bad) => Step::Bad(bad),
                };
            }
            if self.phase == Phase::Finished {
                return Step::End;
            }
            if let Some(range) = self.verify.as_ref().and_then(Verify::need) {
                self.asked = Some(range.clone());
                return Step::Need(range);
            }
            match self.decoder.step() {
                Decoded::Text => self.take_text(),
                Decoded::Need(range) => {
                    self.asked = Some(range.clone());
                    return Step::Need(range);
                }
                Decoded::End => self.end_of_block(),
                Decoded::Fault(fault) => self.fault(fault),
            }
        }
    }

    /// Gives the bytes that the last [`Step::Need`] asked for.
    pub fn feed(&mut self, bytes: Bytes) -> Result<()> {
        let asked = self.asked.take();
        match asked {
            Some(range) if range.end - range.start == bytes.len() as u64 => {
                self.take_stored(&range, bytes)
            }
            _ => Err(Error::new(
                Kind::Internal,
                Stage::Read,
                format!(
                    "a block reader got {} bytes and wanted {asked:?}",
                    bytes.len()
                ),
            )),
        }
    }

    /// What will most likely be needed after the bytes that are asked for, or that were fed last.
    pub fn ahead(&self) -> Option<Range<u64>> {
        if self.phase == Phase::Finished {
            return None;
        }
        let next = match (&self.asked, &self.verify) {
            (None, Some(verify)) if verify.need().is_some() => return verify.need(),
            (None, _) => self.decoder.next(),
            (Some(asked), Some(verify)) if verify.need().is_some() => {
                match verify.after(asked.end) {
                    Some(more) => return Some(more),
                    None if asked.start == self.decoder.start() => self.first_chunk().end,
                    None => self.decoder.start(),
                }
            }
            (Some(asked), _) => asked.end,
        };
        self.decoder.chunk(next).or_else(|| {
            // The block's last record most likely ends in the next block.
            let next = self.table.stored(self.at + 1)?;
            let wanted = match self.table.bounds() {
                Bounds::Text => self.phase != Phase::Tail,
                Bounds::Rows => self.own.contains(&(self.at + 1)),
            };
            let chunk_bytes = match self.verify {
                Some(_) => self.limits.chunk_bytes,
                None => self.chunk_bytes(self.at + 1),
            };
            wanted.then(|| block::chunk(next.start, next.end, chunk_bytes))?
        })
    }

    /// Whether nothing but [`Step::End`] is to come.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished && self.lines.nothing_due()
    }

    /// Lines so far, blank and bad ones included: after [`Step::End`] all that belong to the blocks.
    pub fn lines(&self) -> u64 {
        self.lines.number()
    }

    fn chunk_bytes(&self, block: u64) -> u64 {
        match self.own.contains(&block) {
            true => self.limits.chunk_bytes,
            false => self.limits.tail_chunk_bytes,
        }
    }

    /// Bytes to verify, to decode, or both where they are the whole block.
    fn take_stored(&mut self, range: &Range<u64>, bytes: Bytes) -> Result<()> {
        let first = self.first_chunk();
        match &mut self.verify {
            Some(verify) if verify.need().is_some() => {
                verify.take(&bytes)?;
                if verify.need().is_none() && range.start == first.start {
                    // Decoders are fed the same pieces with and without an index.
                    let len = (first.end - first.start) as usize;
                    self.decoder.feed(bytes.slice(..len.min(bytes.len())));
                }
            }
            _ => self.decoder.feed(bytes),
        }
        Ok(())
    }

    /// What the decoder asks for first of its block.
    fn first_chunk(&self) -> Range<u64> {
        let start = self.decoder.start();
        self.decoder.chunk(start).unwrap_or(start..start)
    }

    fn open(&mut self, block: u64) {
        self.at = block;
        if let Some(verify) = &mut self.verify {
            verify.begin(block, self.table.stored(block).unwrap_or_default());
        }
        self.decoder
            .begin(&self.table, block, self.chunk_bytes(block));
    }

    fn take_text(&mut self) {
        let text = self.decoder.text();
        let used = match self.phase {
            Phase::Head => match memchr(b'\n', text) {
                Some(at) => {
                    self.phase = Phase::Body;
                    at + 1
                }
                None => text.len(),
            },
            // Nobody asks here where a line ends.
            Phase::Body => self.lines.take_many(text),
            _ => {
                let taken = self.lines.take(text);
                // Of a record that is too long nobody here needs the end: the blocks that it lies in have readers of
                // their own.
                if self.phase == Phase::Tail && (taken.line_ended || self.lines.passes_over()) {
                    self.finish();
                }
                taken.used
            }
        };
        self.decoder.take(used);
    }

    fn end_of_block(&mut self) {
        let next = self.at + 1;
        if self.table.bounds() == Bounds::Rows {
            return match next >= self.own.end {
                true => self.finish(),
                false => self.open(next),
            };
        }
        match self.phase {
            Phase::Head if next >= self.own.end => self.finish(),
            Phase::Body | Phase::Tail if next >= self.table.len() => {
                self.lines.end_of_shard();
                self.finish();
            }
            Phase::Body if next >= self.own.end => {
                self.phase = Phase::Tail;
                self.open(next);
            }
            _ => self.open(next),
        }
    }

    /// The rest of the block that is decoded cannot be: what begins in it is lost.
    fn fault(&mut self, fault: Fault) {
        let error = fault.into_error(self.table.codec(), self.decoder.start());
        let lost = match self.phase {
            // The block's own reader books its rest; here only the record that runs into it is missing.
            Phase::Tail => Lost::Record,
            _ => Lost::Rest {
                compressed_bytes: self.decoder.rest_bytes(),
            },
        };
        self.lines.abandon_line(error, lost);
        if self.phase == Phase::Tail || self.at + 1 >= self.own.end {
            self.finish();
        } else {
            self.phase = match self.table.bounds() {
                Bounds::Text => Phase::Head,
                Bounds::Rows => Phase::Body,
            };
            self.open(self.at + 1);
        }
    }

    fn finish(&mut self) {
        self.lines.close_run();
        self.phase = Phase::Finished;
    }
}
