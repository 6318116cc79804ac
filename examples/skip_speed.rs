//! How fast reading goes on where bad records are skipped, beside plain decoding of the same bytes.
//!
//!     cargo run --release --example skip_speed [-- SIZE]
//!
//! SIZE bytes of chats (512MiB) in each format: sound; with a long line in the middle that is as long as all chats; with
//! a bad record (no JSON, not UTF-8, too deep) in every hundred; and with damaged frames. Plain decoding is the codec's own
//! decoder, or a copy for plain text, with every byte looked at once for line ends. Reading is what `samples`, `check` and
//! every open of a corpus go through, with each row parsed. One thread; the files are in the page cache; the best of three.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "an example shows what it does, and a measurement ends where something is wrong"
)]

use packmill::corpus::open_file;
use packmill::read::{Entry, ReadOptions, records_in_order};
use packmill::recipe::{Io, LimitsConfig, OnBadRecord, SourceConfig};
use packmill::render::row::{RowReader, Shape};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 3;

const FRAME_BYTES: usize = 256 << 10;

/// What is put between the chats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoiled {
    Sound,
    LongLine,
    BadRecords,
    DamagedFrames,
}

fn main() {
    let size = std::env::args().nth(1).map_or(512 << 20, |size| {
        packmill::recipe::parse_size(&size).expect("a size")
    });
    let folder = std::env::temp_dir().join(format!("packmill-skip-speed-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    println!(
        "| format | input | text MiB | plain decoding, MiB/s | records, MiB/s | records and rows, MiB/s | good, bad |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for format in ["plain", "gzip", "zstd frames"] {
        for spoiled in [
            Spoiled::Sound,
            Spoiled::LongLine,
            Spoiled::BadRecords,
            Spoiled::DamagedFrames,
        ] {
            if spoiled == Spoiled::DamagedFrames && format != "zstd frames" {
                continue;
            }
            let (path, text_bytes) = write(&folder, format, spoiled, size as usize);
            let mib = text_bytes as f64 / f64::from(1 << 20);
            // Damaged frames have no plain decoding: what is left of them after the damage is not decoded either.
            let plain = (spoiled != Spoiled::DamagedFrames).then(|| best(|| decode(&path, format)));
            let records = best(|| {
                read(&path, false);
            });
            let rows = best(|| {
                read(&path, true);
            });
            let (good, bad) = read(&path, true);
            let speed = |seconds: f64| format!("{:.0}", mib / seconds);
            println!(
                "| {format} | {spoiled:?} | {mib:.0} | {} | {} | {} | {good}, {bad} |",
                plain.map_or("-".to_owned(), speed),
                speed(records),
                speed(rows),
            );
            std::fs::remove_file(&path).unwrap();
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Seconds of the fastest round.
fn best(mut work: impl FnMut()) -> f64 {
    let rounds = (0..ROUNDS).map(|_| {
        let started = Instant::now();
        work();
        started.elapsed().as_secs_f64()
    });
    rounds.fold(f64::INFINITY, f64::min)
}

/// Good and bad records.
fn read(path: &Path, parse: bool) -> (u64, u64) {
    let options = ReadOptions {
        hold: 0,
        limit: None,
        io: Io::Auto,
        on_bad_record: OnBadRecord::Skip { max_fraction: 1.0 },
        limits: LimitsConfig::DEFAULT,
    };
    let rows = RowReader::new(&SourceConfig::default(), None).with_shape(Shape::Messages);
    let (mut good, mut bad) = (0, 0);
    for record in records_in_order(&[open_file(path).unwrap()], &options).unwrap() {
        match record.unwrap().entry {
            Entry::Record(text) if !parse || rows.read(&text).is_ok() => good += 1,
            _ => bad += 1,
        }
    }
    (good, bad)
}

/// The codec's own decoder, and a look at every byte.
fn decode(path: &Path, format: &str) {
    let file = std::fs::File::open(path).unwrap();
    let mut from: Box<dyn Read> = match format {
        "gzip" => Box::new(flate2::read::MultiGzDecoder::new(file)),
        "plain" => Box::new(file),
        _ => Box::new(zstd::Decoder::new(file).unwrap()),
    };
    let (mut buffer, mut lines) = (vec![0; 256 << 10], 0);
    loop {
        match from.read(&mut buffer).unwrap() {
            0 => break,
            read => lines += memchr::memchr_iter(b'\n', &buffer[..read]).count(),
        }
    }
    assert!(lines > 0);
}

/// The shard, and bytes of its text.
fn write(folder: &Path, format: &str, spoiled: Spoiled, size: usize) -> (PathBuf, usize) {
    let path = folder.join("shard");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let (mut text_bytes, mut record, mut frames) = (0, 0, 0);
    let mut text = String::new();
    let mut long_line = spoiled == Spoiled::LongLine;
    while text_bytes < size {
        text.clear();
        while text.len() < FRAME_BYTES {
            chat(&mut text, record);
            record += 1;
            if spoiled == Spoiled::BadRecords && record % 100 == 0 {
                match record / 100 % 3 {
                    0 => text.push_str("{\"messages\": [{\"role\":\n"),
                    1 => text.push_str("{\"messages\": \"\\ud800\", \"a\": \"no end\n"),
                    _ => text.push_str(&("[".repeat(500) + "\n")),
                }
            }
        }
        if long_line && text_bytes > size / 2 {
            long_line = false;
            let piece = "no end of line ".repeat(FRAME_BYTES / 15);
            for _ in 0..size / piece.len() {
                store(&mut out, format, piece.as_bytes(), false);
                text_bytes += piece.len();
            }
            text.insert(0, '\n');
        }
        frames += 1;
        let damage = spoiled == Spoiled::DamagedFrames && frames % 20 == 0;
        store(&mut out, format, text.as_bytes(), damage);
        text_bytes += text.len();
    }
    out.flush().unwrap();
    (path, text_bytes)
}

fn store(out: &mut impl Write, format: &str, text: &[u8], damage: bool) {
    let mut stored = match format {
        "plain" => text.to_vec(),
        "gzip" => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(text).unwrap();
            writer.finish().unwrap()
        }
        _ => zstd::bulk::compress(text, 1).unwrap(),
    };
    if damage {
        let middle = stored.len() / 2;
        stored[middle..middle + 8].fill(0x5a);
    }
    out.write_all(&stored).unwrap();
}

fn chat(text: &mut String, record: usize) {
    let mut state = record as u64 | 1;
    let mut word = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        [
            "tea", "boat", "snow", "harbour", "lantern", "why", "seven", "grüße", "日本",
        ][(state >> 33) as usize % 9]
    };
    let mut said = |n: usize| (0..n).map(|_| word()).collect::<Vec<_>>().join(" ");
    let (question, answer) = (said(20), said(120));
    let _ = writeln!(
        text,
        r#"{{"messages": [{{"role": "user", "content": "{record}: {question}"}}, {{"role": "assistant", "content": "{answer}"}}]}}"#
    );
}
