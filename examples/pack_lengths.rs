//! Measures the packers on sets of lengths: how full rows get, how mixed they are, how far records move, how fast.
//!
//! ```text
//! cargo run --release --example pack_lengths                      # the three synthetic sets
//! cargo run --release --example pack_lengths -- chats=lengths.txt # one's own too: a length a line, shuffled here
//! ```
//!
//! `docs/packing.md` shows what came out. `density` is tokens / (rows × sequence length) over all rows that were made
//! while the pool could still be refilled; `lag 1` is the autocorrelation of successive rows' mean segment length,
//! to be compared with 3 / √rows; `moved` is how many places past its own a record is delivered, mean and most.

#![allow(clippy::print_stdout, reason = "the report is what it is for")]

#[path = "../benches/common/lengths.rs"]
mod lengths;

use lengths::{Random, piece};
use packmill::Piece;
use packmill::pack::{Scratch, packer};
use packmill::recipe::{Overlong, PackConfig, Strategy};
use std::time::{Duration, Instant};

/// At least so many tokens a measurement.
const TOKENS: usize = 60_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut sets: Vec<(String, Vec<usize>)> = Vec::new();
    for argument in std::env::args().skip(1) {
        let (name, path) = argument.split_once('=').unwrap_or(("own", &argument));
        let text = std::fs::read_to_string(path)?;
        let lengths = text.lines().filter_map(|line| line.trim().parse().ok());
        sets.push((name.to_owned(), lengths.collect()));
    }
    for (name, draw) in [
        (
            "ln",
            Box::new(|r: &mut Random| r.lognormal(6.0, 1.2)) as Box<dyn Fn(&mut Random) -> usize>,
        ),
        ("mid", Box::new(|r| 1200 + r.below(1400))),
        ("long", Box::new(|r| r.lognormal(7.6, 0.6))),
        (
            "mixed",
            Box::new(|r| {
                if r.below(100) == 0 {
                    20_000 + r.below(80_000)
                } else {
                    r.lognormal(5.5, 0.8)
                }
            }),
        ),
    ] {
        let mut random = Random(7);
        let lengths = (0..40_000).map(|_| draw(&mut random)).collect();
        sets.push((name.to_owned(), lengths));
    }
    println!("\nsequence_length 4096, by look-ahead");
    for lookahead in [32, 64, 128, 256, 512, 1024] {
        for (name, lengths) in sets.iter().filter(|(name, _)| name != "mixed") {
            let report = measure(lengths, &config(4096, lookahead), TOKENS)?;
            print_report(&format!("{name:<6} lookahead {lookahead:>5}"), &report);
        }
    }
    println!("\nlookahead 128, by sequence length");
    for row in [512, 1024, 2048, 4096, 8192, 32_768, 131_072] {
        for (name, lengths) in &sets {
            let tokens = if row > 8192 { 10 * TOKENS } else { TOKENS };
            let report = measure(lengths, &config(row, 128), tokens)?;
            print_report(&format!("{name:<6} length {row:>7}"), &report);
        }
    }
    println!("\nsequence_length 4096, lookahead 128, other keys");
    for (multiple, max_segments) in [
        (16, None),
        (64, None),
        (1, Some(12)),
        (1, Some(8)),
        (1, Some(4)),
    ] {
        for (name, lengths) in sets.iter().filter(|(name, _)| name != "mixed") {
            let config = PackConfig {
                segment_multiple: multiple,
                max_segments,
                ..config(4096, 128)
            };
            let report = measure(lengths, &config, TOKENS)?;
            let most = max_segments.map_or("any".to_owned(), |most| most.to_string());
            print_report(
                &format!("{name:<6} multiple {multiple:>2} most {most:>3}"),
                &report,
            );
        }
    }
    println!("\nbest-fit decreasing over windows, for comparison");
    for window in [1000, 4096] {
        for (name, lengths) in &sets {
            print!("{name:<6} window {window:>5}");
            for row in [512, 1024, 2048, 4096, 8192, 32_768, 131_072] {
                let lengths = stream(lengths, row, TOKENS);
                print!("  {row}: {:.4}", best_fit_decreasing(&lengths, window, row));
            }
            println!();
        }
    }
    Ok(())
}

fn config(sequence_length: usize, lookahead: usize) -> PackConfig {
    PackConfig {
        strategy: Strategy::Knapsack,
        sequence_length,
        overlong: Overlong::Truncate,
        lookahead,
        segment_multiple: 1,
        max_segments: None,
    }
}

/// Passes over the set, each shuffled anew, truncated to a row.
fn stream(lengths: &[usize], row: usize, tokens: usize) -> Vec<usize> {
    let mut random = Random(42);
    let mut stream: Vec<usize> = Vec::new();
    let mut held = 0;
    while held < tokens {
        let from = stream.len();
        stream.extend(lengths.iter().map(|&length| length.clamp(1, row)));
        for i in (from + 1..stream.len()).rev() {
            stream.swap(i, from + random.below(i + 1 - from));
        }
        held += stream[from..].iter().sum::<usize>();
    }
    stream
}

struct Report {
    rows: usize,
    tokens: usize,
    padded: usize,
    row: usize,
    lag: f64,
    moved: f64,
    most_moved: usize,
    segments: usize,
    time: Duration,
}

fn print_report(what: &str, report: &Report) {
    println!(
        "{what}  density {:.5}  with padding {:.5}  lag 1 {:+.3} of {:.3}  moved {:>5.1} {:>5}  segments {:>5.1}  {:>6.0} M tokens/s",
        report.tokens as f64 / (report.rows * report.row) as f64,
        report.padded as f64 / (report.rows * report.row) as f64,
        report.lag,
        3.0 / (report.rows as f64).sqrt(),
        report.moved,
        report.most_moved,
        report.segments as f64 / report.rows as f64,
        report.tokens as f64 / report.time.as_secs_f64() / 1e6,
    );
}

/// One lane. Only the packer's own calls are timed.
fn measure(lengths: &[usize], config: &PackConfig, tokens: usize) -> packmill::Result<Report> {
    let mut packer = packer(config)?;
    let mut scratch = Scratch::default();
    let mut pieces = (0..).zip(stream(lengths, config.sequence_length, tokens));
    let (mut moved, mut most_moved, mut segments) = (0.0, 0, 0);
    let (mut delivered, mut padded, mut time) = (0, 0, Duration::ZERO);
    let mut means = Vec::new();
    'rows: loop {
        while packer.wants() {
            let Some((record, length)) = pieces.next() else {
                break 'rows;
            };
            let piece = piece(record, length);
            let start = Instant::now();
            packer.push(piece);
            time += start.elapsed();
        }
        let start = Instant::now();
        let Some(row) = packer.row(&mut scratch) else {
            break;
        };
        time += start.elapsed();
        let length: usize = row.segments.iter().map(Piece::len).sum();
        padded += row
            .segments
            .iter()
            .map(|s| s.len().next_multiple_of(config.segment_multiple))
            .sum::<usize>();
        for segment in &row.segments {
            let past = segments_past(delivered, segment.example.origin.record);
            moved += past as f64;
            most_moved = most_moved.max(past);
        }
        delivered += row.segments.len() as u64;
        segments += row.segments.len();
        means.push((length, row.segments.len()));
    }
    let tokens = means.iter().map(|(length, _)| length).sum();
    Ok(Report {
        rows: means.len(),
        tokens,
        padded,
        row: config.sequence_length,
        lag: autocorrelation(&means),
        moved: moved / segments as f64,
        most_moved,
        segments,
        time,
    })
}

fn segments_past(delivered: u64, record: u64) -> usize {
    usize::try_from(delivered.saturating_sub(record)).unwrap_or(usize::MAX)
}

fn autocorrelation(rows: &[(usize, usize)]) -> f64 {
    let means: Vec<f64> = rows
        .iter()
        .map(|&(length, segments)| length as f64 / segments as f64)
        .collect();
    let mean = means.iter().sum::<f64>() / means.len() as f64;
    let variance: f64 = means.iter().map(|m| (m - mean).powi(2)).sum();
    let next: f64 = means
        .windows(2)
        .map(|m| (m[0] - mean) * (m[1] - mean))
        .sum();
    if variance == 0.0 {
        0.0
    } else {
        next / variance
    }
}

/// Density of the packing that is usual elsewhere: whole windows sorted by falling length, each record into the
/// fullest row that it fits in, or else a new one.
fn best_fit_decreasing(lengths: &[usize], window: usize, row: usize) -> f64 {
    let (mut rows, mut tokens) = (0, 0);
    for window in lengths.chunks_exact(window) {
        let mut sorted = window.to_vec();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        let mut rooms: std::collections::BTreeMap<usize, usize> = std::collections::BTreeMap::new();
        for length in sorted {
            tokens += length;
            let room = match rooms.range(length..).next() {
                Some((&room, _)) => {
                    let same = rooms.entry(room).or_default();
                    *same -= 1;
                    if *same == 0 {
                        rooms.remove(&room);
                    }
                    room
                }
                None => {
                    rows += 1;
                    row
                }
            };
            *rooms.entry(room - length).or_default() += 1;
        }
    }
    tokens as f64 / (rows * row) as f64
}
