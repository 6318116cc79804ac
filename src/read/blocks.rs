//! A shard's blocks: the parts that can be reached alone, found without decoding.

use super::Limits;
use super::columnar::{Columnar, Unit};
use super::frames;
use crate::error::Result;
use crate::shard::{Codec, ShardFile};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// Where a shard's blocks lie, in file order.
///
/// A zstd shard has one for each frame that is not skippable, a gzip shard is one, plain text has one for
/// each MiB, Parquet one for each row group and Arrow IPC one for each record batch with rows. What cannot be made out (a shard cut in its middle, bytes that begin no frame) is part of the last
/// block, whose reader will say what is wrong with it. An empty shard has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockTable {
    codec: Codec,
    size_bytes: u64,
    layout: Layout,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Layout {
    /// Blocks of so many bytes, the last one shorter.
    Fixed(u64),
    Whole,
    Frames(Vec<Frame>),
    Rows(Arc<Columnar>),
}

/// What a block's bounds mean for the records at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bounds {
    /// Nothing: a record runs on into the next block, and belongs to the one that holds the newline before it.
    Text,
    /// A block holds whole records.
    Rows,
}

/// One zstd frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// First stored byte.
    pub(super) start: u64,
    /// One past the last stored byte.
    pub(super) end: u64,
    /// Decoded size as the header gives it, or `UNKNOWN`.
    pub(super) content: u64,
}

impl Frame {
    /// The content size of a header that has none. No frame can be this long.
    pub(super) const UNKNOWN: u64 = u64::MAX;
}

impl BlockTable {
    /// Lists the blocks of a shard. `read` gives exactly the bytes that it is asked for.
    pub fn list(
        file: &ShardFile,
        read: impl FnMut(Range<u64>) -> Result<Bytes>,
    ) -> Result<BlockTable> {
        BlockTable::list_within(file, &Limits::DEFAULT, read)
    }

    pub(super) fn list_within(
        file: &ShardFile,
        limits: &Limits,
        read: impl FnMut(Range<u64>) -> Result<Bytes>,
    ) -> Result<BlockTable> {
        let size_bytes = file.size_bytes();
        let layout = match file.codec {
            Codec::Plain => Layout::Fixed(limits.plain_block_bytes),
            Codec::Gzip => Layout::Whole,
            Codec::Zstd => {
                let mut frames = frames::walk(size_bytes, read)?;
                // A corpus may have millions of them, and the list stays.
                frames.shrink_to_fit();
                Layout::Frames(frames)
            }
            Codec::Parquet | Codec::ArrowFile | Codec::ArrowStream if size_bytes > 0 => {
                Layout::Rows(Arc::new(Columnar::list(file, read)?))
            }
            Codec::Parquet | Codec::ArrowFile | Codec::ArrowStream => Layout::Whole,
        };
        Ok(BlockTable {
            codec: file.codec,
            size_bytes,
            layout,
        })
    }

    /// The same, without what headers say that no honest block says: more text than `ratio` allows for all of its
    /// stored bytes. Such a block is decoded to find out.
    pub(super) fn believed(self: Arc<Self>, limits: &Limits) -> Arc<BlockTable> {
        let Layout::Frames(frames) = &self.layout else {
            return self;
        };
        let boasts = |frame: &Frame| {
            frame.content != Frame::UNKNOWN
                && frame.content > limits.most_text(frame.end - frame.start)
        };
        if !frames.iter().any(boasts) {
            return self;
        }
        let believed = frames.iter().map(|frame| Frame {
            content: match boasts(frame) {
                true => Frame::UNKNOWN,
                false => frame.content,
            },
            ..*frame
        });
        Arc::new(BlockTable {
            layout: Layout::Frames(believed.collect()),
            codec: self.codec,
            size_bytes: self.size_bytes,
        })
    }

    /// How the blocks are stored.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// What its blocks' bounds mean.
    pub(super) fn bounds(&self) -> Bounds {
        match self.columnar() {
            Some(_) => Bounds::Rows,
            None => Bounds::Text,
        }
    }

    /// Of a shard whose rows lie in columns.
    pub(super) fn columnar(&self) -> Option<&Arc<Columnar>> {
        match &self.layout {
            Layout::Rows(columnar) => Some(columnar),
            _ => None,
        }
    }

    /// Records of a block, where footer or headers say it.
    pub fn records_of(&self, block: u64) -> Option<u64> {
        self.unit(block).map(|unit| unit.rows)
    }

    /// Row group or record batch.
    pub(super) fn unit(&self, block: u64) -> Option<&Unit> {
        let units = self.columnar()?.units();
        units.get(usize::try_from(block).ok()?)
    }

    /// Number of blocks.
    pub fn len(&self) -> u64 {
        match &self.layout {
            Layout::Fixed(bytes) => self.size_bytes.div_ceil(*bytes),
            Layout::Whole => u64::from(self.size_bytes > 0),
            Layout::Frames(frames) => frames.len() as u64,
            Layout::Rows(columnar) => columnar.units().len() as u64,
        }
    }

    /// Whether there is no block.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stored bytes of a block; none past the last.
    pub fn stored(&self, block: u64) -> Option<Range<u64>> {
        if block >= self.len() {
            return None;
        }
        match &self.layout {
            Layout::Fixed(bytes) => {
                let start = block * bytes;
                Some(start..self.size_bytes.min(start.saturating_add(*bytes)))
            }
            Layout::Whole => Some(0..self.size_bytes),
            Layout::Frames(frames) => {
                let frame = frames.get(usize::try_from(block).ok()?)?;
                Some(frame.start..frame.end)
            }
            Layout::Rows(_) => self.unit(block).map(|unit| unit.start..unit.end),
        }
    }

    /// Stored bytes of all blocks, without the skippable frames between them.
    pub fn stored_bytes(&self) -> u64 {
        match &self.layout {
            Layout::Fixed(_) | Layout::Whole => self.size_bytes,
            Layout::Frames(frames) => frames.iter().map(|frame| frame.end - frame.start).sum(),
            Layout::Rows(columnar) => {
                let units = columnar.units().iter();
                units.map(|unit| unit.end - unit.start).sum()
            }
        }
    }

    /// Stored bytes of the largest block.
    pub fn largest_stored_bytes(&self) -> u64 {
        match &self.layout {
            Layout::Fixed(bytes) => self.size_bytes.min(*bytes),
            Layout::Whole => self.size_bytes,
            Layout::Frames(frames) => {
                let sizes = frames.iter().map(|frame| frame.end - frame.start);
                sizes.max().unwrap_or(0)
            }
            Layout::Rows(columnar) => {
                let sizes = columnar.units().iter().map(|unit| unit.end - unit.start);
                sizes.max().unwrap_or(0)
            }
        }
    }

    /// Decoded bytes of a block, where its header says it: of its text, or of its columns.
    pub fn decoded_bytes_of(&self, block: u64) -> Option<u64> {
        match &self.layout {
            Layout::Fixed(_) => self.stored(block).map(|stored| stored.end - stored.start),
            Layout::Whole => None,
            Layout::Frames(frames) => {
                let frame = frames.get(usize::try_from(block).ok()?)?;
                (frame.content != Frame::UNKNOWN).then_some(frame.content)
            }
            Layout::Rows(_) => self.unit(block).map(|unit| unit.decoded),
        }
    }

    /// Decoded bytes of all blocks, where every header says it.
    pub fn decoded_bytes(&self) -> Option<u64> {
        match &self.layout {
            Layout::Fixed(_) => Some(self.size_bytes),
            Layout::Whole => (self.size_bytes == 0).then_some(0),
            Layout::Frames(frames) => frames.iter().try_fold(0u64, |sum, frame| {
                (frame.content != Frame::UNKNOWN).then(|| sum.saturating_add(frame.content))
            }),
            Layout::Rows(columnar) => {
                let sizes = columnar.units().iter().map(|unit| unit.decoded);
                Some(sizes.fold(0, u64::saturating_add))
            }
        }
    }
}
