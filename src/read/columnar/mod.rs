//! Shards whose rows lie in columns: Parquet and Arrow IPC.
//!
//! ```text
//! footer or headers ─► units: row groups, record batches ─► batches of columns ─► rows as JSON lines
//! ```
//!
//! A row becomes one line of JSON, and goes on as every other line does. So row shapes, faults and the order are those
//! of JSON lines; what is different is that a block holds whole rows, and that no row runs on into the next.
//!
//! The crates of arrow-rs decode. What they would believe of a damaged or hostile shard (counts, sizes, nesting) is
//! checked before they see it, because a failed allocation or an overflown stack cannot be caught; a panic can, and
//! becomes a fault of the block.

mod arrow;
mod batch;
mod column;
mod messages;
mod pages;
mod parquet;
mod quote;
mod schema;
mod thrift;
mod time;

#[cfg(test)]
mod tests;

use super::Limits;
use super::decode::Fault;
use crate::error::Result;
use crate::shard::{Codec, ShardFile};
use arrow_array::RecordBatch;
use batch::Rows;
use bytes::Bytes;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Deepest nesting of types. The row parser reads no deeper JSON.
const MAX_DEPTH: usize = 128;

/// Most rows of a block. Rows of nothing but nulls take no bytes, so that their number alone must be bounded.
const MAX_ROWS: u64 = 1 << 26;

/// Most bytes that a block's buffers or one of its pages may have, decompressed: they are in memory at once.
const MAX_BUFFER_BYTES: u64 = 1 << 30;

/// Text of rows that is made at a time, unless one row has more.
const TEXT_BYTES: usize = 128 << 10;

/// A row group or a record batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    /// First stored byte.
    pub(super) start: u64,
    /// One past the last stored byte.
    pub(super) end: u64,
    /// Bytes of its columns, decompressed, as footer or headers say.
    pub(super) decoded: u64,
    /// Its rows, at least one.
    pub(super) rows: u64,
}

impl Unit {
    /// The share that its first rows have of its decoded bytes, rounded up.
    pub(super) fn decoded_of(&self, rows: u64) -> u64 {
        let share = u128::from(self.decoded) * u128::from(rows.min(self.rows));
        let share = share.div_ceil(u128::from(self.rows.max(1)));
        u64::try_from(share).unwrap_or(self.decoded)
    }
}

/// What a columnar shard's footer or headers say of it.
#[derive(Debug)]
pub(super) struct Columnar {
    /// In file order.
    units: Vec<Unit>,
    /// Why the last unit, which holds no row, cannot be read.
    rest: Option<Fault>,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Parquet(parquet::Footer),
    Arrow(arrow::Head),
    /// Nothing of it could be made out.
    Unknown,
}

impl PartialEq for Columnar {
    fn eq(&self, other: &Self) -> bool {
        (&self.units, &self.rest) == (&other.units, &other.rest)
    }
}

impl Eq for Columnar {}

impl Columnar {
    /// Reads footer or headers. `read` gives exactly the bytes that it is asked for.
    ///
    /// What is whole and not read (a type, a codec, encryption) is an error; what cannot be made out is the last unit.
    pub(super) fn list(
        file: &ShardFile,
        mut read: impl FnMut(Range<u64>) -> Result<Bytes>,
    ) -> Result<Columnar> {
        let listed = match file.codec {
            Codec::Parquet => parquet::list(file.size_bytes(), &mut read),
            _ => arrow::list(file.codec, file.size_bytes(), &mut read),
        };
        let mut columnar = listed.map_err(|error| error.in_shard(&file.name))?;
        columnar.units.shrink_to_fit();
        Ok(columnar)
    }

    /// Of which nothing could be made out.
    fn unreadable(size: u64, fault: Fault) -> Columnar {
        let mut columnar = Columnar {
            units: Vec::new(),
            rest: None,
            format: Format::Unknown,
        };
        columnar.end_with(0..size, fault);
        columnar
    }

    /// Makes what lies in `stored` the last unit.
    fn end_with(&mut self, stored: Range<u64>, fault: Fault) {
        self.units.push(Unit {
            start: stored.start,
            end: stored.end,
            decoded: 0,
            rows: 0,
        });
        self.rest = Some(fault);
    }

    /// Row groups or record batches.
    pub(super) fn units(&self) -> &[Unit] {
        &self.units
    }

    fn unit(&self, block: u64) -> Option<&Unit> {
        self.units.get(usize::try_from(block).ok()?)
    }

    fn open(&self, block: u64, bytes: Bytes) -> Result<Batches, Fault> {
        let is_rest = block + 1 == self.units.len() as u64;
        if let (true, Some(fault)) = (is_rest, &self.rest) {
            return Err(fault.clone());
        }
        let Some(unit) = self.unit(block) else {
            return Err(corrupt("there is no such block"));
        };
        match &self.format {
            Format::Parquet(footer) => footer.open(block, unit, bytes),
            Format::Arrow(head) => head.open(unit, bytes),
            Format::Unknown => Err(corrupt("nothing of it can be made out")),
        }
    }
}

/// Decodes one block to JSON lines, a piece at a time.
pub(super) struct BlockRows {
    columnar: Arc<Columnar>,
    block: u64,
    limits: Limits,
    batches: Option<Batches>,
    rows: Option<Rows>,
    /// Rows that came out.
    done: u64,
}

/// The batches of columns of a block.
enum Batches {
    One(Box<RecordBatch>),
    Many(Box<parquet::RowGroup>),
    Done,
}

impl BlockRows {
    pub(super) fn new(columnar: Arc<Columnar>, block: u64, limits: Limits) -> BlockRows {
        BlockRows {
            columnar,
            block,
            limits,
            batches: None,
            rows: None,
            done: 0,
        }
    }

    /// Takes all stored bytes of the block. Not called where there are none.
    pub(super) fn feed(&mut self, bytes: Bytes) -> Result<(), Fault> {
        let opened = guard(|| self.columnar.open(self.block, bytes));
        self.batches = Some(opened?);
        Ok(())
    }

    /// Writes the lines of the next rows over `text`; false: there are none.
    pub(super) fn next(&mut self, text: &mut Vec<u8>) -> Result<bool, Fault> {
        if self.batches.is_none() {
            // Nothing was fed: it is a rest without a byte, where only the end mark is missing.
            self.feed(Bytes::new())?;
        }
        text.clear();
        // A row's text may have been long.
        text.shrink_to(2 * TEXT_BYTES);
        loop {
            if let Some(rows) = &mut self.rows {
                let most = self.limits.line_bytes;
                let more = guard(|| rows.write(text, TEXT_BYTES, most))?;
                self.done += more;
                if more > 0 {
                    return Ok(true);
                }
                self.rows = None;
            }
            let Some(batch) = self.batch()? else {
                return self.all_came().map(|()| false);
            };
            self.rows = Some(guard(|| Rows::of(&batch))?);
        }
    }

    /// Stored bytes of which no rows came, about.
    pub(super) fn rest_bytes(&self) -> u64 {
        let Some(unit) = self.columnar.unit(self.block) else {
            return 0;
        };
        let stored = unit.end - unit.start;
        let came = u128::from(stored) * u128::from(self.done.min(unit.rows));
        let came = came.checked_div(u128::from(unit.rows)).unwrap_or(0);
        stored - u64::try_from(came).unwrap_or(stored)
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>, Fault> {
        match self.batches.as_mut() {
            Some(Batches::Many(group)) => match guard(|| group.next())? {
                Some(batch) => Ok(Some(batch)),
                None => {
                    self.batches = Some(Batches::Done);
                    Ok(None)
                }
            },
            Some(Batches::One(_)) => match self.batches.replace(Batches::Done) {
                Some(Batches::One(batch)) => Ok(Some(*batch)),
                _ => Ok(None),
            },
            Some(Batches::Done) | None => Ok(None),
        }
    }

    /// Columns that end early must not make a source shorter.
    fn all_came(&self) -> Result<(), Fault> {
        let rows = self.columnar.unit(self.block).map_or(0, |unit| unit.rows);
        match self.done == rows {
            true => Ok(()),
            false => {
                let done = self.done;
                Err(corrupt(format!(
                    "it has {done} rows, and should have {rows}"
                )))
            }
        }
    }
}

/// Calls into the crates that decode: a panic of theirs is the block's fault.
fn guard<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    // What was half changed when it panicked is not looked at again.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(corrupt("its decoder gave up (a panic)")))
}

fn corrupt(what: impl Into<String>) -> Fault {
    Fault::Corrupt(what.into())
}
