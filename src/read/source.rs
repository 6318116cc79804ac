//! A source, held or streamed: decided by its files and the recipe alone.

use super::blocks::BlockTable;
use super::held::{Held, Opened};
use super::joined::Joined;
use super::local::LocalShard;
use super::lock::Spool;
use super::reader::BlockReader;
use super::runtime::ReadAhead;
use super::shard::Shard;
use super::sidecar::{self, Sidecar};
use super::{Limits, ReadOptions};
use crate::error::{Error, Kind, Result, Stage};
use crate::order::runs::Bounds;
use crate::shard::{Codec, ShardFile};
use std::path::Path;
use std::sync::Arc;

/// Blocks that a lane needs of a streamed source at least.
const BLOCKS_A_LANE: u64 = 4;

/// What the order deals of a source.
#[derive(Debug)]
pub enum SourceBlocks {
    /// Every line is a block.
    Held(Held),
    /// The shards' natural blocks are.
    Streamed(Streamed),
}

/// A source that is too large to be held: its blocks are decoded whenever they are dealt.
pub struct Streamed {
    name: String,
    shards: Vec<Arc<dyn Shard>>,
    tables: Vec<Arc<BlockTable>>,
    /// Of the shards that have one.
    sidecars: Vec<Option<Arc<Sidecar>>>,
    /// The shards' blocks as one list.
    blocks: Joined,
    limits: Limits,
    /// Spares others the decoding by which this source was found too large.
    _verdict: Option<Spool>,
}

/// Opens a source. It is held if it decodes to at most `options.hold` bytes, which takes reading it through;
/// where no header says how large it is, finding out may take decoding `hold` bytes.
///
/// Refuses a source with a `limit` that cannot be held, and one without a record. Whether a streamed one
/// has blocks enough depends on the plan: [`Streamed::check_blocks`].
pub fn open_source(
    name: &str,
    local: &[Arc<LocalShard>],
    options: &ReadOptions,
    io: &ReadAhead,
    cache: &Path,
) -> Result<SourceBlocks> {
    open_source_within(name, local, options, io, cache, Limits::of(&options.limits))
}

pub(super) fn open_source_within(
    name: &str,
    local: &[Arc<LocalShard>],
    options: &ReadOptions,
    io: &ReadAhead,
    cache: &Path,
    limits: Limits,
) -> Result<SourceBlocks> {
    let shards: Vec<Arc<dyn Shard>> = local.iter().map(|shard| Arc::clone(shard) as _).collect();
    let tables = io.list(&shards)?.into_iter();
    let tables: Vec<_> = tables.map(|table| table.believed(&limits)).collect();
    let sidecars = sidecars(local, &tables, cache)?;
    // What is no single shard's fault, a full disk for one, is told of the source.
    let opened = Held::open(local, &tables, options, cache, limits)
        .map_err(|error| error.in_shard(format!("source {name}")))?;
    let verdict = match opened {
        Opened::Held(held) => {
            // Every block was read just now.
            for (shard, sidecar) in local.iter().zip(&sidecars) {
                if let Some(sidecar) = sidecar {
                    sidecar.check_within(shard, limits, &mut |_| Ok(()))?;
                }
            }
            return held_source(name, *held);
        }
        Opened::TooLarge(verdict) => verdict,
    };
    if let Some(limit) = options.limit {
        let message = format!(
            "the first {limit} records of source `{name}` decode to more than hold, {} bytes, \
             and a source with a limit must be held",
            options.hold
        );
        return Err(Error::new(Kind::Recipe, Stage::Read, message)
            .remedy("set a larger hold, or a smaller limit"));
    }
    let blocks = Joined::of(tables.iter().map(|table| table.len()));
    Ok(SourceBlocks::Streamed(Streamed {
        name: name.to_owned(),
        shards,
        tables,
        sidecars,
        blocks,
        limits,
        _verdict: verdict,
    }))
}

/// The shards' indexes. One that is of another state of its shard is refused.
fn sidecars(
    local: &[Arc<LocalShard>],
    tables: &[Arc<BlockTable>],
    cache: &Path,
) -> Result<Vec<Option<Arc<Sidecar>>>> {
    let shards = local.iter().zip(tables);
    let found = shards.map(|(shard, table)| {
        let sidecar = sidecar::find(shard, Some(cache))?;
        if let Some(sidecar) = &sidecar {
            sidecar.check_len(table.len())?;
        }
        Ok(sidecar.map(Arc::new))
    });
    found.collect()
}

fn held_source(name: &str, held: Held) -> Result<SourceBlocks> {
    if held.records() == 0 {
        let message = format!("source `{name}` is empty: it has no records");
        return Err(Error::new(Kind::Recipe, Stage::Read, message)
            .remedy("check sources[].paths and sources[].limit"));
    }
    Ok(SourceBlocks::Held(held))
}

impl SourceBlocks {
    /// Number of blocks.
    pub fn blocks(&self) -> u64 {
        match self {
            SourceBlocks::Held(held) => held.blocks(),
            SourceBlocks::Streamed(streamed) => streamed.blocks(),
        }
    }

    /// The shard of a block, and the block within it: for a held source the record within its shard. None past
    /// the last block.
    pub fn locate(&self, block: u64) -> Option<(u32, u64)> {
        match self {
            SourceBlocks::Held(held) => held.locate(block),
            SourceBlocks::Streamed(streamed) => streamed.locate(block),
        }
    }

    /// A shard as it was found; none past the last.
    pub fn shard(&self, shard: u32) -> Option<&ShardFile> {
        let at = usize::try_from(shard).ok()?;
        match self {
            SourceBlocks::Held(held) => held.shards().get(at).map(|shard| shard.file()),
            SourceBlocks::Streamed(streamed) => streamed.shards.get(at).map(|shard| shard.file()),
        }
    }
}

impl Streamed {
    /// Number of blocks of all shards.
    pub fn blocks(&self) -> u64 {
        self.blocks.len()
    }

    /// Stored bytes of all blocks.
    pub fn stored_bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.stored_bytes()).sum()
    }

    /// How many of the blocks are compressed, and their stored bytes.
    pub fn compressed(&self) -> (u64, u64) {
        let compressed = self.tables.iter().filter(|t| t.codec() != Codec::Plain);
        compressed.fold((0, 0), |(blocks, bytes), table| {
            (blocks + table.len(), bytes + table.stored_bytes())
        })
    }

    /// The shard of a block and the block within it; none past the last block.
    pub fn locate(&self, block: u64) -> Option<(u32, u64)> {
        self.blocks.locate(block)
    }

    /// A shard, to fetch what its readers need; none past the last.
    pub fn shard(&self, shard: u32) -> Option<&Arc<dyn Shard>> {
        self.shards.get(usize::try_from(shard).ok()?)
    }

    /// A reader of a block's records in runs of these bounds, numbered within the block; none past the last block.
    pub fn reader(&self, block: u64, runs: Bounds) -> Option<BlockReader> {
        let (shard, within) = self.locate(block)?;
        let at = usize::try_from(shard).ok()?;
        let own = within..within + 1;
        let limits = Limits {
            run_records: runs.records,
            run_bytes: runs.bytes,
            ..self.limits
        };
        let reader = BlockReader::within(Arc::clone(self.tables.get(at)?), own, limits);
        Some(match self.sidecars.get(at)? {
            Some(sidecar) => reader.verified(Arc::clone(sidecar)),
            None => reader,
        })
    }

    /// Refuses a source that cannot be dealt fairly: it needs four blocks a lane, and none with more than a
    /// lane's share of the stored bytes.
    pub fn check_blocks(&self, lanes: u32) -> Result<()> {
        let (blocks, stored) = (self.blocks(), self.stored_bytes());
        let largest = self.tables.iter().map(|table| table.largest_stored_bytes());
        let largest = largest.max().unwrap_or(0);
        let needed = BLOCKS_A_LANE * u64::from(lanes);
        // The most lanes that both bounds allow.
        let most = (blocks / BLOCKS_A_LANE).min(stored.checked_div(largest).unwrap_or(0));
        if u64::from(lanes) <= most {
            return Ok(());
        }
        let name = &self.name;
        let what = if blocks < needed {
            format!("has {blocks} blocks, and {lanes} lanes need {needed}")
        } else {
            format!(
                "has a block of {largest} of its {stored} stored bytes, \
                 more than the share of one of {lanes} lanes"
            )
        };
        let fewer = match most {
            0 => String::new(),
            most => format!(", or set lanes to {most} or less"),
        };
        Err(Error::new(
            Kind::Recipe,
            Stage::Read,
            format!("source `{name}` decodes to more than hold and {what}"),
        )
        .remedy(format!(
            "write it in smaller blocks with `packmill recompress`, set a larger hold{fewer}"
        )))
    }
}

impl std::fmt::Debug for Streamed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = f.debug_struct("Streamed");
        text.field("name", &self.name)
            .field("shards", &self.shards.len())
            .field("blocks", &self.blocks())
            .finish_non_exhaustive()
    }
}
