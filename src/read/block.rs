//! One block to text, a bounded piece at a time and without I/O.

use super::Limits;
use super::blocks::BlockTable;
use super::columnar::BlockRows;
use super::decode::{Decoder, Fault};
use crate::shard::Codec;
use bytes::{Buf, Bytes};
use std::ops::Range;
use std::sync::Arc;

/// Decodes one block after the other of a shard. The stored bytes are asked for in pieces that depend on the
/// block alone, so that a damaged one gives the same text at every reading.
pub(super) struct BlockDecoder {
    limits: Limits,
    stored: Range<u64>,
    /// Text that is still to come, where the table says it.
    left: Option<u64>,
    chunk_bytes: u64,
    /// Stored bytes that the decoder took, and text that it made of them.
    spent: (u64, u64),
    /// Next stored byte to ask for.
    next: u64,
    /// Up to which stored byte all text came out.
    decoded: u64,
    input: Bytes,
    decoder: Decoder,
    /// Of a block of rows in columns; then the decoder is not used.
    rows: Option<BlockRows>,
    /// Plain text is its own decoding: `input` is the text, and neither the decoder nor `scratch` is used.
    plain: bool,
    /// Whether the decoder may hold text that found no room.
    more: bool,
    scratch: Vec<u8>,
    /// How much of `scratch` is text that is not taken yet.
    text: Range<usize>,
}

/// What a decoder wants or has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// Exactly these stored bytes.
    Need(Range<u64>),
    /// Text, in [`text`](BlockDecoder::text).
    Text,
    /// The block is whole.
    End,
    /// Its rest cannot be decoded.
    Fault(Fault),
}

impl BlockDecoder {
    pub(super) fn new(codec: Codec, limits: Limits) -> BlockDecoder {
        let plain = codec == Codec::Plain;
        BlockDecoder {
            stored: 0..0,
            left: None,
            spent: (0, 0),
            chunk_bytes: limits.chunk_bytes,
            next: 0,
            decoded: 0,
            input: Bytes::new(),
            decoder: Decoder::new(codec, limits.window_log),
            rows: None,
            plain,
            more: false,
            scratch: match plain {
                true => Vec::new(),
                false => vec![0; limits.scratch_bytes],
            },
            text: 0..0,
            limits,
        }
    }

    /// Begins a block of the table, whatever became of the one before. `chunk_bytes` is how much is asked
    /// for at a time.
    pub(super) fn begin(&mut self, table: &BlockTable, block: u64, chunk_bytes: u64) {
        self.stored = table.stored(block).unwrap_or_default();
        self.left = match self.plain {
            true => None,
            false => table.decoded_bytes_of(block),
        };
        self.spent = (0, 0);
        // Columns lie one behind the other: no row can be had before all of them are there.
        let columnar = table.columnar();
        self.chunk_bytes = columnar.map_or(chunk_bytes, |_| u64::MAX);
        self.rows =
            columnar.map(|columnar| BlockRows::new(Arc::clone(columnar), block, self.limits));
        self.next = self.stored.start;
        self.decoded = self.stored.start;
        self.input = Bytes::new();
        self.more = false;
        self.text = 0..0;
        self.decoder.begin();
    }

    /// Goes on until it wants or has something.
    pub(super) fn step(&mut self) -> Decoded {
        loop {
            if !self.text().is_empty() {
                return Decoded::Text;
            }
            if let Some(rows) = &mut self.rows {
                if let Some(range) = chunk(self.next, self.stored.end, self.chunk_bytes) {
                    return Decoded::Need(range);
                }
                return match step_rows(rows, &mut self.input, &mut self.scratch) {
                    Ok(true) => {
                        let stored = self.stored.end - self.stored.start;
                        self.spent = (stored, self.spent.1 + self.scratch.len() as u64);
                        if self.spent.1 > self.limits.most_text(stored) {
                            return Decoded::Fault(Fault::Ratio(self.limits.ratio));
                        }
                        self.text = 0..self.scratch.len();
                        Decoded::Text
                    }
                    Ok(false) => Decoded::End,
                    Err(fault) => Decoded::Fault(fault),
                };
            }
            if !self.more && self.input.is_empty() {
                if let Some(range) = self.chunk(self.next) {
                    return Decoded::Need(range);
                }
                return match self.decoder.finish() {
                    Ok(()) if self.left.is_none_or(|left| left == 0) => Decoded::End,
                    Ok(()) => {
                        Decoded::Fault(Fault::Corrupt("less text than its header says".to_owned()))
                    }
                    Err(fault) => Decoded::Fault(fault),
                };
            }
            if let Err(fault) = self.decode() {
                return Decoded::Fault(fault);
            }
        }
    }

    fn decode(&mut self) -> Result<(), Fault> {
        let progress = self.decoder.decode(&self.input, &mut self.scratch)?;
        self.input.advance(progress.used.min(self.input.len()));
        self.more = progress.made == self.limits.scratch_bytes;
        let (stored, text) = &mut self.spent;
        *stored += progress.used as u64;
        *text += progress.made as u64;
        if *text > self.limits.most_text(*stored) {
            return Err(Fault::Ratio(self.limits.ratio));
        }
        if let Some(left) = &mut self.left {
            let more = || Fault::Corrupt("more text than its header says".to_owned());
            *left = left.checked_sub(progress.made as u64).ok_or_else(more)?;
        }
        self.text = 0..progress.made;
        if progress.made > 0 {
            self.decoded = self.next - self.input.len() as u64;
        }
        Ok(())
    }

    /// Gives the bytes that the last [`Decoded::Need`] asked for.
    pub(super) fn feed(&mut self, bytes: Bytes) {
        self.next += bytes.len() as u64;
        if self.plain {
            self.decoded = self.next;
        }
        self.input = bytes;
    }

    /// The text that is there.
    pub(super) fn text(&self) -> &[u8] {
        if self.plain {
            return &self.input;
        }
        self.scratch.get(self.text.clone()).unwrap_or_default()
    }

    /// Takes the first bytes of the text.
    pub(super) fn take(&mut self, bytes: usize) {
        if self.plain {
            return self.input.advance(bytes.min(self.input.len()));
        }
        self.text.start = self.text.end.min(self.text.start + bytes);
    }

    /// What it will ask for at stored byte `start`; none at the block's end.
    pub(super) fn chunk(&self, start: u64) -> Option<Range<u64>> {
        chunk(start, self.stored.end, self.chunk_bytes)
    }

    /// First stored byte that was not asked for yet.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// First stored byte of the block.
    pub(super) fn start(&self) -> u64 {
        self.stored.start
    }

    /// Stored bytes of which no text came.
    pub(super) fn rest_bytes(&self) -> u64 {
        match &self.rows {
            Some(rows) => rows.rest_bytes(),
            None => self.stored.end - self.decoded,
        }
    }
}

/// Writes the lines of the next rows over `text`; false at the block's end. `input` is taken at the first call.
fn step_rows(rows: &mut BlockRows, input: &mut Bytes, text: &mut Vec<u8>) -> Result<bool, Fault> {
    if !input.is_empty() {
        rows.feed(std::mem::take(input))?;
    }
    rows.next(text)
}

/// The next piece of stored bytes from `start` on.
pub(super) fn chunk(start: u64, end: u64, bytes: u64) -> Option<Range<u64>> {
    (start < end).then(|| start..end.min(start.saturating_add(bytes)))
}
