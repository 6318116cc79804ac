//! How many lines and records belong to each block, counted as the text goes by.

use super::blocks::Bounds;
use super::lines::is_blank;
use memchr::memchr;

/// What belongs to one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Count {
    /// Lines that hold a record, too long ones included.
    pub(super) records: u64,
    /// Lines, blank ones included.
    pub(super) lines: u64,
}

/// Counts the lines of a shard by the block that they belong to: the one that holds the newline before them.
#[derive(Debug, Default)]
pub(super) struct LineCount {
    /// Of the blocks that are through; a line that has begun is not counted yet.
    blocks: Vec<Count>,
    /// Of the block that goes by, without the line that has begun.
    count: Count,
    /// The block that the line which has begun belongs to.
    owner: usize,
    line: Line,
}

/// What is known of the line that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Line {
    /// It has no byte yet.
    #[default]
    Empty,
    Blank,
    Record,
}

impl LineCount {
    /// Takes text of the block that goes by.
    pub(super) fn text(&mut self, mut text: &[u8]) {
        while let Some(at) = memchr(b'\n', text) {
            self.extend(text.get(..at).unwrap_or_default());
            self.end_line();
            self.owner = self.blocks.len();
            text = text.get(at + 1..).unwrap_or_default();
        }
        self.extend(text);
    }

    /// What follows belongs to the next block; a line that has begun does where blocks hold whole lines.
    pub(super) fn end_of_block(&mut self, bounds: Bounds) {
        self.blocks.push(std::mem::take(&mut self.count));
        if bounds == Bounds::Rows {
            self.owner = self.blocks.len();
        }
    }

    /// The counts of all blocks; a last line without a newline counts.
    pub(super) fn finish(mut self) -> Vec<Count> {
        if self.line != Line::Empty {
            self.end_line();
        }
        self.blocks
    }

    fn extend(&mut self, part: &[u8]) {
        if !part.is_empty() && self.line != Line::Record {
            self.line = match is_blank(part) {
                true => Line::Blank,
                false => Line::Record,
            };
        }
    }

    fn end_line(&mut self) {
        let count = match self.blocks.get_mut(self.owner) {
            Some(count) => count,
            None => &mut self.count,
        };
        count.lines += 1;
        count.records += u64::from(self.line == Line::Record);
        self.line = Line::Empty;
    }
}
