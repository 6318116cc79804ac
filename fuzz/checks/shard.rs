//! Stored bytes of any kind to records: the reader ends, numbers rise, and what is whole is the same however it is read.
//!
//! Input: one byte that chooses codec and limits, then the shard.

use bytes::Bytes;
use packmill::read::{BlockReader, BlockTable, Step};
use packmill::recipe::LimitsConfig;
use packmill::shard::{Codec, ShardFile, Stamp};
use std::ops::Range;
use std::sync::Arc;

/// Met by shards of a few hundred bytes.
const SMALL: LimitsConfig = LimitsConfig {
    line_bytes: 48,
    window_log: 12,
    ratio: 8,
    ..LimitsConfig::DEFAULT
};

pub(super) fn shard(data: &[u8]) {
    let Some((&choice, stored)) = data.split_first() else {
        return;
    };
    let codec = [Codec::Plain, Codec::Zstd, Codec::Gzip][usize::from(choice % 3)];
    let limits = limits(choice / 3);
    let table = table(codec, stored);
    check_table(&table, stored.len() as u64);
    let whole = read_whole(&table, &limits, stored);
    let alone = read_alone(&table, &limits, stored);
    // Damage may be met by several readers, each of which books what of it is its own.
    if whole.bad == 0 && alone.bad == 0 {
        assert_eq!(whole, alone);
        if codec == Codec::Plain {
            assert_eq!(whole.records, lines(stored));
        }
    }
}

pub(super) fn limits(choice: u8) -> LimitsConfig {
    match choice % 2 {
        0 => LimitsConfig::DEFAULT,
        _ => SMALL,
    }
}

/// A shard in memory and its blocks.
pub(crate) fn table(codec: Codec, stored: &[u8]) -> Arc<BlockTable> {
    let file = file(codec, stored.len() as u64);
    let table = BlockTable::list(&file, |range| Ok(slice(stored, range)));
    Arc::new(table.expect("nothing but reading can fail"))
}

pub(super) fn file(codec: Codec, size_bytes: u64) -> ShardFile {
    ShardFile {
        path: "shard".into(),
        name: "shard".to_owned(),
        stamp: Stamp {
            size_bytes,
            modified_s: 0,
            modified_ns: 0,
            device: 0,
            inode: 0,
        },
        codec,
    }
}

pub(crate) fn slice(stored: &[u8], range: Range<u64>) -> Bytes {
    Bytes::copy_from_slice(&stored[range.start as usize..range.end as usize])
}

/// Blocks rise, do not overlap, and lie within the shard.
fn check_table(table: &BlockTable, size: u64) {
    let mut end = 0;
    for block in 0..table.len() {
        let stored = table.stored(block).expect("a block of the table");
        assert!(end <= stored.start && stored.start < stored.end && stored.end <= size);
        end = stored.end;
    }
    assert!(table.stored(table.len()).is_none());
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    records: Vec<(u64, Vec<u8>)>,
    pub(super) bad: u64,
    lines: u64,
}

/// All blocks by one reader.
pub(super) fn read_whole(table: &Arc<BlockTable>, limits: &LimitsConfig, stored: &[u8]) -> Read {
    read(table, 0..table.len(), limits, stored)
}

/// Each block by a reader of its own, with the numbers that lines have in the shard.
pub(super) fn read_alone(table: &Arc<BlockTable>, limits: &LimitsConfig, stored: &[u8]) -> Read {
    let mut alone = Read::default();
    for block in 0..table.len() {
        let one = read(table, block..block + 1, limits, stored);
        let numbered = one.records.into_iter();
        alone
            .records
            .extend(numbered.map(|(n, text)| (alone.lines + n, text)));
        alone.bad += one.bad;
        alone.lines += one.lines;
    }
    alone
}

fn read(table: &Arc<BlockTable>, blocks: Range<u64>, limits: &LimitsConfig, stored: &[u8]) -> Read {
    let mut reader = BlockReader::limited(Arc::clone(table), blocks, limits);
    let mut read = Read::default();
    let mut last = None;
    let mut rises = |number: u64| {
        assert!(last < Some(number), "line {number} after {last:?}");
        last = Some(number);
    };
    loop {
        match reader.step() {
            Step::Need(range) => reader
                .feed(slice(stored, range))
                .expect("what was asked for"),
            Step::Run(run) => {
                for (number, text) in run.iter() {
                    rises(number);
                    assert!(text.len() as u64 <= limits.line_bytes);
                    read.records.push((number, text.to_vec()));
                }
            }
            Step::Bad(bad) => {
                rises(bad.record);
                read.bad += 1;
            }
            Step::End => break,
        }
    }
    read.lines = reader.lines();
    assert!(last.is_none_or(|last| last < read.lines));
    read
}

/// The obvious way.
fn lines(text: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let lines = text.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    });
    (0..)
        .zip(lines)
        .filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace))
        .map(|(number, line)| (number, line.to_vec()))
        .collect()
}
