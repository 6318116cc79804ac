//! Shards of every shape, read by every way and compared with the naive reader; and shards that are damaged.

mod held;
mod source;
mod streamed;

use super::naive;
use super::*;
use crate::error::Kind;
use crate::shard::{Codec, ShardFile, Stamp};
use bytes::Bytes;
use proptest::prelude::*;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Bounds that are met by texts of a few hundred bytes.
pub(super) const SMALL: Limits = Limits {
    run_records: 3,
    run_bytes: 24,
    line_bytes: 48,
    window_log: 27,
    ratio: 1000,
    free_bytes: 1 << 20,
    plain_block_bytes: 16,
    chunk_bytes: 9,
    tail_chunk_bytes: 4,
    scratch_bytes: 7,
};

pub(super) fn shard_file(path: &Path, codec: Codec) -> ShardFile {
    ShardFile {
        path: path.to_owned(),
        name: path.file_name().unwrap().display().to_string(),
        stamp: Stamp::of(&std::fs::metadata(path).unwrap()),
        codec,
    }
}

pub(super) fn write_shard(folder: &Path, name: &str, codec: Codec, stored: &[u8]) -> ShardFile {
    let path = folder.join(name);
    std::fs::write(&path, stored).unwrap();
    shard_file(&path, codec)
}

pub(super) fn frame(text: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder
        .set_pledged_src_size(Some(text.len() as u64))
        .unwrap();
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn unsized_frame(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).unwrap()
}

pub(super) fn member(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// The file that a shard in memory would be.
pub(super) fn in_memory(codec: Codec, stored: &[u8]) -> ShardFile {
    ShardFile {
        path: "x".into(),
        name: "x".to_owned(),
        stamp: Stamp {
            size_bytes: stored.len() as u64,
            modified_s: 0,
            modified_ns: 0,
            device: 0,
            inode: 0,
        },
        codec,
    }
}

/// A shard in memory and its blocks.
fn table(codec: Codec, stored: &[u8], limits: &Limits) -> Arc<BlockTable> {
    let file = in_memory(codec, stored);
    let read = |range: Range<u64>| Ok(slice(stored, range));
    Arc::new(BlockTable::list_within(&file, limits, read).unwrap())
}

pub(super) fn slice(stored: &[u8], range: Range<u64>) -> Bytes {
    Bytes::copy_from_slice(&stored[range.start as usize..range.end as usize])
}

/// All that a reader gives, and how many lines it counted.
fn drive(mut reader: BlockReader, stored: &[u8]) -> (Vec<Run>, Vec<Bad>, u64) {
    let (mut runs, mut bad) = (Vec::new(), Vec::new());
    let mut hint = None;
    loop {
        match reader.step() {
            Step::Need(range) => {
                // A fault leads elsewhere than anybody could expect.
                if let Some(hint) = hint.filter(|_| bad.is_empty()) {
                    assert_eq!(range, hint, "the hint was wrong");
                }
                hint = reader.ahead();
                reader.feed(slice(stored, range)).unwrap();
            }
            Step::Run(run) => runs.push(run),
            Step::Bad(one) => bad.push(one),
            Step::End => return (runs, bad, reader.lines()),
        }
    }
}

/// Records with their numbers.
type Records = Vec<(u64, Vec<u8>)>;

/// Records of a shard with their numbers, block by block, and the bad ones likewise.
fn streamed(codec: Codec, stored: &[u8], limits: Limits) -> (Records, Vec<(u64, Bad)>) {
    let table = table(codec, stored, &limits);
    let (mut records, mut bad, mut base) = (Vec::new(), Vec::new(), 0);
    for block in 0..table.len() {
        let reader = BlockReader::within(Arc::clone(&table), block..block + 1, limits);
        let (runs, faults, lines) = drive(reader, stored);
        check_runs(&runs, &limits);
        let numbered = runs.iter().flat_map(Run::iter);
        records.extend(numbered.map(|(number, text)| (base + number, text.to_vec())));
        bad.extend(faults.into_iter().map(|one| (base + one.record, one)));
        base += lines;
    }
    (records, bad)
}

/// No run exceeds a bound, and none could have taken the first record of the next as well, but where a bad
/// line stood between them.
fn check_runs(runs: &[Run], limits: &Limits) {
    for run in runs {
        assert!(run.records.len() <= limits.run_records);
        assert!(run.record_bytes() <= limits.run_bytes || run.records.len() == 1);
    }
    for pair in runs.windows(2) {
        let first = pair[1].records[0];
        let last = pair[0].records.last().unwrap();
        let joined = pair[0].record_bytes() + (first.end - first.start) as usize;
        assert!(
            pair[0].records.len() == limits.run_records
                || joined > limits.run_bytes
                || last.number + 1 < first.number
        );
    }
}

/// Lines of all kinds, at least one record among them, with or without an end of the last.
pub(super) fn texts() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        5 => "[a-z]{1,12}",
        2 => "[ \t]{0,5}",
        2 => "[ a-z]{12,40}",
        1 => "[a-z]{0,3}\r{1,2}[a-z]{0,2}",
    ];
    let end = prop_oneof![3 => Just("\n"), 1 => Just("\r\n")];
    (
        proptest::collection::vec((line, end), 0..24),
        prop_oneof!["", "tail", " ", "\r"],
    )
        .prop_map(|(lines, last)| {
            let mut text: String = lines.into_iter().map(|(line, end)| line + end).collect();
            text.push_str(&last);
            text.into_bytes()
        })
}

/// A text stored as a shard of a codec, cut into frames or members at any place, empty ones included.
pub(super) fn shards() -> impl Strategy<Value = (Codec, Vec<u8>, Vec<u8>)> {
    let codec = prop_oneof![Just(Codec::Plain), Just(Codec::Gzip), Just(Codec::Zstd)];
    let cuts = proptest::collection::vec(any::<prop::sample::Index>(), 0..8);
    (texts(), codec, cuts, any::<u64>()).prop_map(|(text, codec, cuts, shape)| {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]);
        let stored: Vec<u8> = match codec {
            Codec::Gzip => parts.flat_map(member).collect(),
            Codec::Zstd => {
                let mut stored = Vec::new();
                for (at, part) in parts.enumerate() {
                    if shape >> (2 * at) & 1 == 1 {
                        stored.extend_from_slice(b"\x53\x2a\x4d\x18\x05\0\0\0skip!");
                    }
                    match shape >> (2 * at + 1) & 1 {
                        0 => stored.extend(frame(part)),
                        _ => stored.extend(unsized_frame(part)),
                    }
                }
                if shape >> 63 == 1 {
                    stored
                        .extend_from_slice(b"\x5e\x2a\x4d\x18\x09\0\0\0\0\0\0\0\0\xb1\xea\x92\x8f");
                }
                stored
            }
            _ => text.clone(),
        };
        (codec, text, stored)
    })
}
