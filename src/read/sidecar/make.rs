//! Reading a shard through, to make its sidecar or to hold it against one.

use super::{Block, BlockCheck, Ends, Hash, Sidecar};
use crate::error::{Error, Result};
use crate::read::Limits;
use crate::read::blocks::{BlockTable, Bounds};
use crate::read::line_count::LineCount;
use crate::read::local::LocalShard;
use crate::read::walk::{Depth, Visitor, walk};
use crate::recipe::LimitsConfig;
use xxhash_rust::xxh3::Xxh3;

impl Sidecar {
    /// Reads a shard through and says what is in it. A block that cannot be decoded is an error. In memory is one
    /// chunk of it, the decoder's window, and 48 bytes a block.
    ///
    /// `progress` is told of stored bytes as they are read; its error breaks off.
    pub fn of(
        shard: &LocalShard,
        limits: &LimitsConfig,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<Sidecar> {
        Sidecar::of_within(shard, Limits::of(limits), progress)
    }

    pub(in crate::read) fn of_within(
        shard: &LocalShard,
        limits: Limits,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<Sidecar> {
        let table = list(shard, &limits)?;
        let mut index = Index {
            hasher: Box::new(Xxh3::new()),
            hashes: Vec::new(),
            lines: LineCount::default(),
            bounds: table.bounds(),
        };
        walk(shard, &table, limits, Depth::Text, &mut index, progress)?;
        let counts = index.lines.finish();
        let blocks = index.hashes.into_iter().zip(counts);
        Ok(Sidecar {
            shard: shard.file().name.clone(),
            size_bytes: shard.file().size_bytes(),
            ends: Ends::of(shard)?,
            blocks: blocks
                .map(|(hash, count)| Block {
                    hash,
                    records: count.records,
                    lines: count.lines,
                })
                .collect(),
        })
    }

    /// Reads a shard through and refuses it where it is not what it was, naming the first block that is
    /// different. Nothing is decoded.
    pub fn check(
        &self,
        shard: &LocalShard,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        self.check_within(shard, Limits::DEFAULT, progress)
    }

    pub(in crate::read) fn check_within(
        &self,
        shard: &LocalShard,
        limits: Limits,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let table = list(shard, &limits)?;
        let mut check = Check {
            sidecar: self,
            next: 0,
            block: None,
        };
        walk(shard, &table, limits, Depth::Stored, &mut check, progress)?;
        self.check_len(table.len())?;
        // Skippable frames at its ends are in no block.
        self.check_ends(shard)
    }
}

fn list(shard: &LocalShard, limits: &Limits) -> Result<BlockTable, Error> {
    BlockTable::list_within(shard.file(), limits, |range| shard.read_now(range))
}

struct Index {
    hasher: Box<Xxh3>,
    hashes: Vec<Hash>,
    lines: LineCount,
    bounds: Bounds,
}

impl Visitor for Index {
    fn stored(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<()> {
        self.lines.text(text);
        Ok(())
    }

    fn end_of_block(&mut self) -> Result<()> {
        self.hashes.push(Hash::from(self.hasher.digest128()));
        self.hasher.reset();
        self.lines.end_of_block(self.bounds);
        Ok(())
    }
}

struct Check<'a> {
    sidecar: &'a Sidecar,
    next: u64,
    block: Option<BlockCheck<'a>>,
}

impl Visitor for Check<'_> {
    fn stored(&mut self, bytes: &[u8]) -> Result<()> {
        let block = self
            .block
            .get_or_insert_with(|| self.sidecar.begin_block(self.next));
        block.update(bytes);
        Ok(())
    }

    fn end_of_block(&mut self) -> Result<()> {
        self.next += 1;
        self.block.take().map_or(Ok(()), BlockCheck::finish)
    }
}
