//! Where each line of a held source begins: 8 bytes a line, written as the text goes by.

use super::{Limits, lines};
use memchr::memchr;
use std::io::{self, Write};

/// Writes, for each shard, the offset of its first line and the end of every line (one past its `\n`), as
/// little-endian u64. So line `i` of a shard lies between the shard's numbers `i` and `i + 1`.
pub(super) struct LineIndex<W> {
    out: W,
    limits: Limits,
    /// Records that are still wanted.
    wanted: u64,
    records: u64,
    /// Of the shard.
    entries: u64,
    shard_start: u64,
    /// Offset of the next byte of text.
    at: u64,
    line_start: u64,
    line: Line,
    /// Whether the byte before was a `\r`.
    after_cr: bool,
    /// The shard's first entry that is longer than a line may be.
    long: Option<u64>,
}

/// What the line that is not complete holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Blank,
    Record,
    /// An unreadable rest, and behind it the end of a line whose beginning is lost.
    Rest,
}

/// Whether more text is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It is.
    More,
    /// The first records that were asked for are complete.
    Enough,
}

impl<W: Write> LineIndex<W> {
    /// `limit`: how many records to index, over all shards; none: all.
    pub(super) fn new(out: W, limit: Option<u64>, limits: Limits) -> Self {
        LineIndex {
            out,
            limits,
            wanted: limit.unwrap_or(u64::MAX),
            records: 0,
            entries: 0,
            shard_start: 0,
            at: 0,
            line_start: 0,
            line: Line::Blank,
            after_cr: false,
            long: None,
        }
    }

    /// Begins a shard whose text begins at offset `at`.
    pub(super) fn begin_shard(&mut self, at: u64) -> io::Result<()> {
        self.shard_start = at;
        self.at = at;
        self.line_start = at;
        self.line = Line::Blank;
        self.entries = 0;
        self.after_cr = false;
        self.long = None;
        self.out.write_all(&at.to_le_bytes())
    }

    /// The text goes on.
    pub(super) fn text(&mut self, mut text: &[u8]) -> io::Result<Wanted> {
        while !text.is_empty() && self.wanted > 0 {
            let (part, rest, ended) = match memchr(b'\n', text) {
                Some(at) => (text.get(..at), text.get(at + 1..), true),
                None => (Some(text), None, false),
            };
            let part = part.unwrap_or_default();
            if self.line == Line::Blank && !lines::is_blank(part) {
                self.line = Line::Record;
            }
            self.at += part.len() as u64 + u64::from(ended);
            if ended {
                let cr = part.last().map_or(self.after_cr, |last| *last == b'\r');
                self.end_line(1 + u64::from(cr))?;
            } else {
                self.after_cr = part.last() == Some(&b'\r');
                if self.is_long() {
                    self.long.get_or_insert(self.entries);
                }
            }
            text = rest.unwrap_or_default();
        }
        Ok(self.wanted())
    }

    /// The text from here on is lost, up to offset `resume`, where the next block begins. Gives the number of
    /// the entry that stands for it; none if no more records are wanted.
    pub(super) fn fault(&mut self, resume: u64) -> io::Result<Option<u64>> {
        if self.line == Line::Rest || self.is_long() {
            // Nothing but the end of a lost line lies between two rests, and a line that is too long was told already.
            self.end_line(0)?;
        }
        if self.wanted == 0 {
            return Ok(None);
        }
        self.line = Line::Rest;
        self.at = resume;
        Ok(Some(self.entries))
    }

    /// The rest that was lost last ends here, and the next line is whole: between blocks of rows.
    pub(super) fn end_of_rest(&mut self) -> io::Result<()> {
        match self.line {
            Line::Rest => self.end_line(0),
            Line::Blank | Line::Record => Ok(()),
        }
    }

    /// The shard ends here: a last line without a line end counts. Gives the number of its entries.
    pub(super) fn end_shard(&mut self) -> io::Result<u64> {
        if self.wanted > 0 && (self.at > self.line_start || self.line == Line::Rest) {
            self.end_line(u64::from(self.after_cr))?;
        }
        Ok(self.entries)
    }

    /// Lines of the shard so far, unreadable rests included.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// The first entry of the shard that is longer than a line may be, known as soon as it is.
    pub(super) fn long(&self) -> Option<u64> {
        self.long
    }

    /// Whether the line that is not complete is too long whatever its last byte turns out to be.
    fn is_long(&self) -> bool {
        self.line != Line::Rest && self.at - self.line_start > self.limits.line_bytes as u64 + 1
    }

    /// Bytes of the shard's text so far, up to the last record that is wanted.
    pub(super) fn shard_bytes(&self) -> u64 {
        self.at - self.shard_start
    }

    /// Whether more text is wanted.
    pub(super) fn wanted(&self) -> Wanted {
        match self.wanted {
            0 => Wanted::Enough,
            _ => Wanted::More,
        }
    }

    /// Records so far, bad ones included. Writes what is buffered.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.out.flush()?;
        Ok(self.records)
    }

    fn end_line(&mut self, end_bytes: u64) -> io::Result<()> {
        let len = (self.at - self.line_start).saturating_sub(end_bytes);
        // A line that is too long is a bad record even if it is blank, as for the readers of streamed blocks.
        let long = len > self.limits.line_bytes as u64;
        if long && self.line != Line::Rest {
            self.long.get_or_insert(self.entries);
        }
        if self.line != Line::Blank || long {
            self.records += 1;
            self.wanted -= 1;
        }
        self.out.write_all(&self.at.to_le_bytes())?;
        self.entries += 1;
        self.line_start = self.at;
        self.line = Line::Blank;
        self.after_cr = false;
        Ok(())
    }
}
