//! Stage 1 of 7: read. Stored bytes to records.
//!
//! ```text
//! shard ─► blocks ─► fetch ──────────► decode ─► lines ─► runs of records     streamed: BlockReader
//!          headers   map, or pread      zstd      records
//!          only      on I/O threads     gzip      numbered
//!                    (async)            (on workers)
//! shard ─► decode once, at open ─► spool: text, index of lines ─► any record  held: Held
//! ```
//!
//! [`open_source`] decides between the two. Nothing here knows the order in which blocks are dealt.
//!
//! The rows of Parquet and Arrow IPC become lines of JSON as they are decoded. Records are lines, numbered from 0 within their shard. `\r\n` ends a line as `\n` does, a last line needs no
//! end, and a line of white space holds no record but keeps its number.

mod bad;
mod block;
mod blocks;
mod cache;
#[cfg(feature = "columnar")]
mod columnar;
#[cfg(not(feature = "columnar"))]
#[path = "columnar/absent.rs"]
mod columnar;
mod corpus_order;
mod decode;
mod frames;
mod held;
mod index;
mod joined;
mod line_count;
mod lines;
mod local;
mod lock;
mod map;
mod new_file;
mod reader;
pub mod recompress;
mod runtime;
mod shard;
pub mod sidecar;
mod source;
mod spool;
mod through;
mod verify;
mod walk;

#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;

pub use bad::{Bad, Lost};
pub use blocks::BlockTable;
pub use cache::cache_folder;
pub use corpus_order::{Numbered, RecordsInOrder, records_in_order};
pub use held::{Entry, Held};
pub use joined::Joined;
pub use lines::{RecordSpan, Run};
pub use local::{LocalShard, open_shards};
pub(crate) use lock::is_current;
pub use reader::{BlockReader, Step};
pub use runtime::{Ahead, ReadAhead};
pub use shard::Shard;
pub use source::{SourceBlocks, Streamed, open_source};
pub use through::{Met, read_through};

use crate::order::runs::{RUN_BYTES, RUN_RECORDS};
use crate::recipe::{Io, LimitsConfig, OnBadRecord};

/// How a source is read: the recipe's keys of these names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReadOptions {
    /// Largest decoded size in bytes of a source that is held.
    pub hold: u64,
    /// First so many records of the source.
    pub limit: Option<u64>,
    /// How files are read.
    pub io: Io,
    /// Whether a source with something unreadable is refused at open.
    pub on_bad_record: OnBadRecord,
    /// What input may use up: `line_bytes`, `window_log` and `ratio` are looked at here.
    pub limits: LimitsConfig,
}

/// Bounds of everything that the stage holds or cuts. The recipe says the longest line, the largest window and the
/// ratio; all others are fixed, since they decide the order or the text that precedes a fault. Tests make them small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    /// Most records of a run.
    run_records: usize,
    /// Most bytes of a run, unless it is one record.
    run_bytes: usize,
    /// Longest line.
    line_bytes: usize,
    /// Largest zstd window, as a power of two.
    window_log: u32,
    /// Most text for each stored byte of a block, behind its first `free_bytes`.
    ratio: u64,
    /// Text of a block that is not held against its stored bytes: even a bomb has this much, and costs no more.
    free_bytes: u64,
    /// A block of plain text.
    plain_block_bytes: u64,
    /// Stored bytes that a block is read in: large enough for a read to be worth it, small enough for
    /// many blocks to be open.
    chunk_bytes: u64,
    /// The same in the blocks that a block's last record runs on into, where a few KiB are needed as a rule.
    tail_chunk_bytes: u64,
    /// Text that is decoded at a time: one zstd block.
    scratch_bytes: usize,
}

impl Limits {
    const DEFAULT: Limits = Limits {
        run_records: RUN_RECORDS,
        run_bytes: RUN_BYTES,
        line_bytes: 16 << 20,
        window_log: 27,
        ratio: 1000,
        free_bytes: 1 << 20,
        plain_block_bytes: 1 << 20,
        chunk_bytes: 256 << 10,
        tail_chunk_bytes: 64 << 10,
        scratch_bytes: 128 << 10,
    };

    /// The bounds that a recipe gives.
    fn of(config: &LimitsConfig) -> Limits {
        Limits {
            line_bytes: usize::try_from(config.line_bytes).unwrap_or(usize::MAX),
            window_log: config.window_log,
            ratio: config.ratio,
            ..Limits::DEFAULT
        }
    }

    /// Most text that a block may have given when so many of its stored bytes are decoded.
    fn most_text(&self, stored: u64) -> u64 {
        self.ratio
            .saturating_mul(stored)
            .saturating_add(self.free_bytes)
    }
}
