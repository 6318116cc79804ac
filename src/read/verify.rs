//! Holding a block's stored bytes against its index before the first of its records is given out.

use super::block::chunk;
use super::sidecar::Sidecar;
use crate::error::Result;
use std::ops::Range;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// Hashes one block after the other. A block that is longer than a chunk is fetched for this, and again to be decoded:
/// holding it would take the memory that chunks are there to save.
pub(super) struct Verify {
    sidecar: Arc<Sidecar>,
    block: u64,
    /// Stored bytes that were not hashed yet.
    left: Range<u64>,
    chunk_bytes: u64,
    hasher: Box<Xxh3>,
}

impl Verify {
    pub(super) fn new(sidecar: Arc<Sidecar>, chunk_bytes: u64) -> Verify {
        Verify {
            sidecar,
            block: 0,
            left: 0..0,
            chunk_bytes,
            hasher: Box::new(Xxh3::new()),
        }
    }

    /// Begins a block and its stored bytes.
    pub(super) fn begin(&mut self, block: u64, stored: Range<u64>) {
        self.block = block;
        self.left = stored;
        self.hasher.reset();
    }

    /// The stored bytes that it wants; none once the block is found as indexed.
    pub(super) fn need(&self) -> Option<Range<u64>> {
        self.after(self.left.start)
    }

    /// What it will want from stored byte `start` on.
    pub(super) fn after(&self, start: u64) -> Option<Range<u64>> {
        chunk(start, self.left.end, self.chunk_bytes)
    }

    /// Takes what it wanted. With the last of it, refuses a block that is not as indexed.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.left.start += bytes.len() as u64;
        match self.left.is_empty() {
            true => self
                .sidecar
                .check_hash(self.block, self.hasher.digest128().into()),
            false => Ok(()),
        }
    }
}
