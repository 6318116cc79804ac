//! A shard from front to back, whatever is wrong with it: every record with the byte where it begins.

use super::block::{BlockDecoder, Decoded};
use super::blocks::{BlockTable, Bounds};
use super::lines::{Emit, Lines, is_blank};
use super::local::LocalShard;
use super::{Bad, Limits, Lost};
use crate::error::Result;
use crate::recipe::LimitsConfig;
use bytes::Bytes;
use memchr::memchr;
use std::collections::VecDeque;
use std::sync::Arc;

/// What stands in a shard.
#[derive(Debug)]
pub enum Met {
    /// A record.
    Record {
        /// Its line, counted from 0, blank ones included.
        line: u64,
        /// Where it begins: byte of the shard's decoded text; of a shard in columns, of the JSON lines that its rows are.
        byte: u64,
        /// Without its line end.
        text: Bytes,
    },
    /// Something in the place of a record, its error with shard and record; and where it begins.
    Bad(Bad, u64),
}

/// Reads a shard through on this thread, in bounded memory, and gives everything that stands in it to `each`, in file
/// order. What cannot be read is met like everything else, and reading goes on as in a stream. `progress` is told of
/// stored bytes as they are read. Gives the bytes of text.
///
/// # Errors
/// A shard that cannot be opened or that changes meanwhile, and what `each` or `progress` breaks off with.
pub fn read_through(
    shard: &LocalShard,
    limits: &LimitsConfig,
    each: &mut dyn FnMut(Met) -> Result<()>,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<u64> {
    read_through_within(shard, Limits::of(limits), each, progress)
}

pub(super) fn read_through_within(
    shard: &LocalShard,
    limits: Limits,
    each: &mut dyn FnMut(Met) -> Result<()>,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<u64> {
    let table = BlockTable::list_within(shard.file(), &limits, |range| shard.read_now(range))?;
    let table = Arc::new(table).believed(&limits);
    shard.sequential();
    let mut decoder = BlockDecoder::new(table.codec(), limits);
    let mut walk = Walk {
        shard,
        lines: Lines::new(limits),
        starts: VecDeque::new(),
        at: 0,
        begun: None,
        lost: false,
        each,
    };
    for block in 0..table.len() {
        decoder.begin(&table, block, limits.chunk_bytes);
        loop {
            match decoder.step() {
                Decoded::Need(range) => {
                    let len = range.end - range.start;
                    decoder.feed(shard.read_now(range)?);
                    progress(len)?;
                }
                Decoded::Text => {
                    let used = walk.text(decoder.text())?;
                    decoder.take(used);
                }
                Decoded::End => break,
                Decoded::Fault(fault) => {
                    let error = fault.into_error(table.codec(), decoder.start());
                    let compressed_bytes = decoder.rest_bytes();
                    walk.lines
                        .abandon_line(error, Lost::Rest { compressed_bytes });
                    walk.begun = None;
                    // Blocks of rows hold whole records.
                    walk.lost = table.bounds() == Bounds::Text;
                    walk.meet()?;
                    break;
                }
            }
        }
    }
    walk.lines.end_of_shard();
    walk.meet()?;
    shard.check()?;
    Ok(walk.at)
}

struct Walk<'a> {
    shard: &'a LocalShard,
    lines: Lines,
    /// Numbers of the lines that were not met yet and may be, and where they begin.
    starts: VecDeque<(u64, u64)>,
    /// Byte of text that comes next.
    at: u64,
    /// Whether the line that has begun is blank so far; none: the next byte begins one.
    begun: Option<bool>,
    /// Whether the text is the end of a line whose beginning is lost.
    lost: bool,
    each: &'a mut dyn FnMut(Met) -> Result<()>,
}

impl Walk<'_> {
    /// Takes text up to the next line end, or all of it; how much it took.
    fn text(&mut self, text: &[u8]) -> Result<usize> {
        if self.lost {
            let end = memchr(b'\n', text);
            self.lost = end.is_none();
            let used = end.map_or(text.len(), |end| end + 1);
            self.at += used as u64;
            return Ok(used);
        }
        let number = self.lines.number();
        let blank = match self.begun {
            Some(blank) => blank,
            None => {
                self.starts.push_back((number, self.at));
                true
            }
        };
        let taken = self.lines.take(text);
        let blank = blank && text.get(..taken.used).is_none_or(is_blank);
        self.at += taken.used as u64;
        self.begun = (!taken.line_ended).then_some(blank);
        let is_own = self
            .starts
            .back()
            .is_some_and(|(start, _)| *start == number);
        if taken.line_ended && blank && is_own && self.lines.nothing_due() {
            // Nobody will ask where it began.
            self.starts.pop_back();
        }
        self.meet()?;
        Ok(taken.used)
    }

    /// Gives on what is complete.
    fn meet(&mut self) -> Result<()> {
        while let Some(emit) = self.lines.due() {
            match emit {
                Emit::Run(run) => {
                    for (line, text) in run.iter() {
                        let byte = self.start(line);
                        (self.each)(Met::Record { line, byte, text })?;
                    }
                }
                Emit::Bad(mut bad) => {
                    let byte = self.start(bad.record);
                    let name = &self.shard.file().name;
                    bad.error = bad.error.in_shard(name).at_record(bad.record);
                    (self.each)(Met::Bad(bad, byte))?;
                }
            }
        }
        Ok(())
    }

    /// Where a line begins; of one that has no byte, where the text stands.
    fn start(&mut self, line: u64) -> u64 {
        while let Some((number, byte)) = self.starts.front().copied() {
            if number > line {
                break;
            }
            self.starts.pop_front();
            if number == line {
                return byte;
            }
        }
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::local::open_shards;
    use crate::read::naive;
    use crate::read::tests::{SMALL, frame, shards, write_shard};
    use crate::recipe::Io;
    use crate::shard::Codec;
    use proptest::prelude::*;

    /// Line, first byte, and text, or none of what is wrong.
    type Seen = (u64, u64, Option<Vec<u8>>);

    fn all(codec: Codec, stored: &[u8]) -> (Vec<Seen>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let file = write_shard(folder.path(), "shard", codec, stored);
        let shard = open_shards(&[file], Io::Pread).unwrap().remove(0);
        let mut met = Vec::new();
        let mut each = |one: Met| {
            met.push(match one {
                Met::Record { line, byte, text } => (line, byte, Some(text.to_vec())),
                Met::Bad(bad, byte) => (bad.record, byte, None),
            });
            Ok(())
        };
        let bytes = read_through_within(&shard, SMALL, &mut each, &mut |_| Ok(())).unwrap();
        (met, bytes)
    }

    proptest! {
        #[test]
        fn records_begin_where_the_naive_reader_finds_them((codec, text, stored) in shards()) {
            let (met, bytes) = all(codec, &stored);
            prop_assert_eq!(bytes, text.len() as u64);
            let starts: Vec<u64> = std::iter::once(0)
                .chain((0..).zip(&text).filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1))
                .collect();
            let expected: Vec<_> = naive::records(codec, &stored)
                .into_iter()
                .map(|(line, text)| (line, starts[line as usize], Some(text)))
                .collect();
            prop_assert_eq!(met, expected);
        }
    }

    #[test]
    fn what_is_wrong_is_met_in_its_place() {
        let mut damaged = frame(b"b\nccc");
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        let long = [b"d\n".as_slice(), &[b'x'; 60], b"\n\n \ne\n"].concat();
        let stored = [frame(b"a\n"), damaged, frame(&long)].concat();
        let (met, _) = all(Codec::Zstd, &stored);
        let text = |text: &[u8]| Some(text.to_vec());
        assert_eq!(
            met,
            [
                (0, 0, text(b"a")),
                // The checksum is read with the text, so nothing of the block is believed. The rest begins with its
                // first line, and swallows `d`.
                (1, 2, None),
                // Too long.
                (2, 4, None),
                (5, 68, text(b"e")),
            ]
        );
    }
}
