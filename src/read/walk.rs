//! A shard from front to back, block by block, for those who read all of it once: recompressing and indexing.

use super::Limits;
use super::block::{BlockDecoder, Decoded};
use super::blocks::BlockTable;
use super::decode::Fault;
use super::local::LocalShard;
use crate::error::Result;

/// Sees everything that a shard's blocks hold, in file order. An error ends the walk.
pub(super) trait Visitor {
    /// Stored bytes of a block, all of them over all calls.
    fn stored(&mut self, bytes: &[u8]) -> Result<()> {
        let _ = bytes;
        Ok(())
    }

    /// Text of a block.
    fn text(&mut self, text: &[u8]) -> Result<()> {
        let _ = text;
        Ok(())
    }

    /// The block is whole.
    fn end_of_block(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Whether a walk decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Stored bytes alone.
    Stored,
    /// Stored bytes and their text.
    Text,
}

/// Walks through all blocks of a shard on this thread, in bounded memory. `progress` is told how many stored
/// bytes each step took, and may end the walk. The first thing that cannot be decoded is an error.
pub(super) fn walk(
    shard: &LocalShard,
    table: &BlockTable,
    limits: Limits,
    depth: Depth,
    visitor: &mut impl Visitor,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    shard.sequential();
    let mut decoder = BlockDecoder::new(table.codec(), limits);
    for block in 0..table.len() {
        decoder.begin(table, block, limits.chunk_bytes);
        loop {
            let step = match depth {
                Depth::Text => decoder.step(),
                Depth::Stored => decoder
                    .chunk(decoder.next())
                    .map_or(Decoded::End, Decoded::Need),
            };
            match step {
                Decoded::Need(range) => {
                    let len = range.end - range.start;
                    let bytes = shard.read_now(range)?;
                    visitor.stored(&bytes)?;
                    decoder.feed(bytes);
                    progress(len)?;
                }
                Decoded::Text => {
                    visitor.text(decoder.text())?;
                    decoder.take(decoder.text().len());
                }
                Decoded::End => break visitor.end_of_block()?,
                Decoded::Fault(fault) => {
                    let bytes_are_wrong = matches!(fault, Fault::Cut | Fault::Corrupt(_));
                    let error = fault.into_error(table.codec(), decoder.start());
                    return Err(match bytes_are_wrong {
                        true => error.remedy("fetch the shard again"),
                        false => error,
                    }
                    .in_shard(&shard.file().name));
                }
            }
        }
    }
    shard.check()
}
