//! A source's records as they lie, for looking at them: no spool, no threads, bounded memory.

use super::blocks::BlockTable;
use super::held::Entry;
use super::local::{LocalShard, open_shards};
use super::reader::{BlockReader, Step};
use super::{ReadOptions, RecordSpan};
use crate::error::Result;
use crate::recipe::LimitsConfig;
use crate::shard::ShardFile;
use bytes::Bytes;
use std::sync::Arc;

/// One record, or what stands in its place.
#[derive(Debug, Clone)]
pub struct Numbered {
    /// Shard within the source.
    pub shard: u32,
    /// Line within the shard, blank ones counted.
    pub record: u64,
    /// What is there; never [`Entry::Blank`].
    pub entry: Entry,
}

/// All records of a source in file order, numbered as in a held source. See [`records_in_order`].
pub struct RecordsInOrder {
    shards: Vec<Arc<LocalShard>>,
    /// The shard that is read.
    at: usize,
    reader: Option<BlockReader>,
    limits: LimitsConfig,
    /// Records of the run that are still to come.
    run: (Bytes, std::vec::IntoIter<RecordSpan>),
    left: u64,
}

/// Reads a source from front to back on the caller's thread, up to `options.limit` records. After an error
/// of reading it ends; what is wrong with one record is an [`Entry::Bad`] and it goes on.
pub fn records_in_order(files: &[ShardFile], options: &ReadOptions) -> Result<RecordsInOrder> {
    Ok(RecordsInOrder {
        shards: open_shards(files, options.io)?,
        at: 0,
        reader: None,
        limits: options.limits,
        run: (Bytes::new(), Vec::new().into_iter()),
        left: options.limit.unwrap_or(u64::MAX),
    })
}

impl Iterator for RecordsInOrder {
    type Item = Result<Numbered>;

    fn next(&mut self) -> Option<Result<Numbered>> {
        if self.left == 0 {
            return None;
        }
        let next = self.read().transpose();
        match &next {
            Some(Ok(_)) => self.left -= 1,
            Some(Err(_)) | None => self.left = 0,
        }
        next
    }
}

impl RecordsInOrder {
    fn read(&mut self) -> Result<Option<Numbered>> {
        while let Some(shard) = self.shards.get(self.at) {
            let numbered = |record, entry| Numbered {
                shard: u32::try_from(self.at).unwrap_or(u32::MAX),
                record,
                entry,
            };
            if let Some(span) = self.run.1.next() {
                let text = self.run.0.slice(span.start as usize..span.end as usize);
                return Ok(Some(numbered(span.number, Entry::Record(text))));
            }
            let reader = match &mut self.reader {
                Some(reader) => reader,
                none => none.insert(reader(shard, &self.limits)?),
            };
            match reader.step() {
                Step::Need(range) => {
                    if let Some(ahead) = reader.ahead() {
                        shard.will_need(ahead);
                    }
                    reader.feed(shard.read_now(range)?)?;
                }
                Step::Run(run) => self.run = (run.text, run.records.into_iter()),
                Step::Bad(mut bad) => {
                    bad.error = bad.error.in_shard(&shard.file().name).at_record(bad.record);
                    return Ok(Some(numbered(bad.record, Entry::Bad(bad))));
                }
                Step::End => {
                    shard.check()?;
                    self.reader = None;
                    self.at += 1;
                }
            }
        }
        Ok(None)
    }
}

fn reader(shard: &LocalShard, limits: &LimitsConfig) -> Result<BlockReader> {
    let table = BlockTable::list(shard.file(), |range| shard.read_now(range))?;
    let all = 0..table.len();
    Ok(BlockReader::limited(Arc::new(table), all, limits))
}
