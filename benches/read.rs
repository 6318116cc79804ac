//! The read stage: stored bytes to records, in bytes of text a second of one thread.
//!
//! `in_order` reads the same text, in one shard, however it may be stored. `held` is what a source of small shards
//! takes at open, and then each record at a random place.

#![allow(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

mod common;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use packmill::corpus;
use packmill::read::{
    Held, ReadAhead, ReadOptions, SourceBlocks, open_shards, open_source, records_in_order,
};
use packmill::recipe::{Io, LimitsConfig, OnBadRecord, SourceConfig};
use packmill::shard::ShardFile;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;

/// Text of a frame where there are many: as `packmill recompress` would write them, but smaller, as the corpus is.
const FRAME_BYTES: usize = 128 << 10;

const OPTIONS: ReadOptions = ReadOptions {
    hold: 2 << 30,
    limit: None,
    io: Io::Auto,
    on_bad_record: OnBadRecord::Stop,
    limits: LimitsConfig::DEFAULT,
};

/// The text in frames that each end with a record.
fn zstd_frames(lines: &[String]) -> Vec<u8> {
    let (mut stored, mut frame) = (Vec::new(), String::new());
    for (number, line) in (1..).zip(lines) {
        frame.push_str(line);
        frame.push('\n');
        if frame.len() >= FRAME_BYTES || number == lines.len() {
            stored.extend(zstd::bulk::compress(frame.as_bytes(), 3).expect("text compresses"));
            frame.clear();
        }
    }
    stored
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(text).expect("text compresses");
    encoder.finish().expect("text compresses")
}

/// A source of one shard with these bytes.
fn shard(folder: &Path, name: &str, stored: &[u8]) -> Vec<ShardFile> {
    let path = folder.join(name);
    std::fs::write(&path, stored).expect("the shard can be written");
    let config = SourceConfig {
        name: name.to_owned(),
        paths: vec![path.display().to_string()],
        ..SourceConfig::default()
    };
    let source = corpus::Source::open(&config).expect("the shard is there");
    source.shards
}

fn in_order(criterion: &mut Criterion) {
    let lines = common::Demo::write().lines();
    let text = lines.join("\n") + "\n";
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut group = criterion.benchmark_group("read/in_order");
    group.throughput(Throughput::ElementsAndBytes {
        elements: lines.len() as u64,
        bytes: text.len() as u64,
    });
    for (name, stored) in [
        ("zstd_many_frames", zstd_frames(&lines)),
        (
            "zstd_one_frame",
            zstd::bulk::compress(text.as_bytes(), 3).expect("text compresses"),
        ),
        ("gzip", gzip(text.as_bytes())),
        ("plain", text.clone().into_bytes()),
    ] {
        let files = shard(folder.path(), name, &stored);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let records = records_in_order(&files, &OPTIONS).expect("the shard opens");
                let read = records
                    .inspect(|record| assert!(black_box(record).is_ok()))
                    .count();
                assert_eq!(read, lines.len());
            });
        });
    }
    group.finish();
}

fn open(files: &[ShardFile], io: &ReadAhead, cache: &Path) -> Held {
    let shards = open_shards(files, OPTIONS.io).expect("the shards open");
    match open_source("bench", &shards, &OPTIONS, io, cache) {
        Ok(SourceBlocks::Held(held)) => held,
        _ => unreachable!("the source is small and sound"),
    }
}

fn held(criterion: &mut Criterion) {
    let lines = common::Demo::write().lines();
    let text_bytes = lines.iter().map(|line| line.len() as u64 + 1).sum();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let files = shard(folder.path(), "shard", &zstd_frames(&lines));
    let io = ReadAhead::new(64 << 20).expect("threads start");
    let mut group = criterion.benchmark_group("read/held");
    group.throughput(Throughput::ElementsAndBytes {
        elements: lines.len() as u64,
        bytes: text_bytes,
    });
    // A cache of its own each time, so that no spool is found.
    group.bench_function("open", |bencher| {
        bencher.iter_batched(
            || tempfile::tempdir_in(&folder).expect("a temporary folder can be made"),
            |cache| (black_box(open(&files, &io, cache.path())), cache),
            BatchSize::PerIteration,
        );
    });
    let held = open(&files, &io, &folder.path().join("cache"));
    // Steps that are coprime to the number of blocks come to each of them once.
    let blocks = held.blocks();
    let step = (blocks * 5 / 8..)
        .find(|step| coprime(*step, blocks))
        .unwrap_or(1);
    group.bench_function("any_order", |bencher| {
        bencher.iter(|| {
            for n in 0..blocks {
                black_box(held.read(n * step % blocks).expect("no fault"));
            }
        });
    });
    group.finish();
}

fn coprime(a: u64, b: u64) -> bool {
    if b == 0 { a == 1 } else { coprime(b, a % b) }
}

criterion_group!(benches, in_order, held);
criterion_main!(benches);
