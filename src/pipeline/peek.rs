//! A few records of a shard without reading it through, to estimate an epoch.

use crate::error::Result;
use crate::read::{BlockReader, BlockTable, LocalShard, Lost, Step};
use crate::recipe::LimitsConfig;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// Blocks that a shard is sampled from, at most: its beginning alone may not be like the rest.
const BLOCKS: u64 = 8;

/// What a look into a shard gave.
#[derive(Debug, Default)]
pub(crate) struct Peek {
    /// Some records, in file order.
    pub(crate) records: Vec<Bytes>,
    /// Records that were passed on the way, those kept among them.
    pub(crate) passed: u64,
    /// Stored bytes that these records came from, about.
    pub(crate) stored_bytes: u64,
    /// Records of the shard, where its footer or headers say it.
    pub(crate) total: Option<u64>,
}

/// Looks at about `wanted` records, spread over the shard's blocks.
pub(crate) fn peek(shard: &LocalShard, wanted: usize, limits: &LimitsConfig) -> Result<Peek> {
    let table = Arc::new(BlockTable::list(shard.file(), |range| {
        shard.read_now(range)
    })?);
    let blocks = table.len().min(BLOCKS).min(wanted as u64).max(1);
    let mut seen = Peek {
        total: (0..table.len()).map(|block| table.records_of(block)).sum(),
        ..Peek::default()
    };
    for index in 0..blocks {
        let block = index * table.len() / blocks;
        let quota = (wanted as u64 / blocks).max(1);
        look(
            shard,
            &table,
            block,
            usize::try_from(quota).unwrap_or(1),
            limits,
            &mut seen,
        )?;
    }
    Ok(seen)
}

/// Reads a block up to the end of the chunk in which `quota` is reached. What cannot be decoded is left for
/// the stream to report in its place.
fn look(
    shard: &LocalShard,
    table: &Arc<BlockTable>,
    block: u64,
    quota: usize,
    limits: &LimitsConfig,
    seen: &mut Peek,
) -> Result<()> {
    let Some(stored) = table.stored(block) else {
        return Ok(());
    };
    let mut reader = BlockReader::limited(Arc::clone(table), block..block + 1, limits);
    let (mut fed, mut passed) = (0, 0);
    let enough = seen.records.len() + quota;
    loop {
        match reader.step() {
            Step::Need(range) => {
                if seen.records.len() >= enough {
                    break;
                }
                fed += overlap(&range, &stored);
                reader.feed(shard.read_now(range)?)?;
            }
            Step::Run(run) => {
                passed += run.records.len() as u64;
                // Of a block of rows, all are fetched before the first comes.
                if let Some(rows) = table.records_of(block).filter(|_| passed >= quota as u64) {
                    passed = rows;
                    let room = enough.saturating_sub(seen.records.len());
                    seen.records
                        .extend(run.iter().take(room).map(|(_, record)| record));
                    break;
                }
                let room = enough - seen.records.len().min(enough);
                seen.records
                    .extend(run.iter().take(room).map(|(_, record)| record));
            }
            Step::Bad(bad) => {
                if matches!(bad.lost, Lost::Rest { .. }) {
                    break;
                }
            }
            Step::End => break,
        }
    }
    seen.passed += passed;
    seen.stored_bytes += fed;
    Ok(())
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> u64 {
    a.end.min(b.end).saturating_sub(a.start.max(b.start))
}
