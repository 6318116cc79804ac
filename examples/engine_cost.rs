//! What the tokenizer engines cost: seconds to load, megabytes a second of one thread, and time and memory for single
//! texts of many megabytes.
//!
//!     cargo run --release --example engine_cost -- FOLDER [FILE] [MIB]
//!
//! For each folder in FOLDER that has a tokenizer.json. FILE is UTF-8 text, encoded in pieces of some 2,000 bytes (this
//! file by default, which is code and English); MIB is the size of the large texts (15; 0 leaves them out). Memory is
//! what the process needs beyond what it had before, on Linux.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

#[path = "common/tokenizers.rs"]
mod tokenizers;

use packmill::Result;
use packmill::recipe::TokenizerEngine;
use packmill::tokenize::{Encoding, SpecialTokens, Tokenizer};
use std::path::PathBuf;
use std::time::Instant;
use tokenizers::{folders, loaded};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| ".".to_owned()));
    let file = arguments.next().filter(|file| file != "-");
    let text = file.and_then(|file| std::fs::read_to_string(file).ok());
    let text = text.unwrap_or_else(|| include_str!("engine_cost.rs").repeat(200));
    let mib: usize = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(15);
    for path in folders(&folder) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        for engine in [TokenizerEngine::Auto, TokenizerEngine::Reference] {
            let start = Instant::now();
            let loaded = loaded(&path, engine)?;
            let seconds = start.elapsed().as_secs_f64();
            let speed = speed(loaded.engine.as_ref(), &text)?;
            let engine = loaded.engine.name();
            println!("{name}: {engine}: loaded in {seconds:.2} s, {speed:.1} MB/s");
            if mib > 0 {
                large(loaded.engine.as_ref(), mib << 20)?;
            }
        }
    }
    Ok(())
}

/// Megabytes a second on the text's second half, after its first.
fn speed(engine: &dyn Tokenizer, text: &str) -> Result<f64> {
    let mut pieces: Vec<&str> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = (rest.len().min(2000)..=rest.len()).find(|&at| rest.is_char_boundary(at));
        let (piece, behind) = rest.split_at(end.unwrap_or(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    let (first, second) = pieces.split_at(pieces.len() / 2);
    let mut out = Encoding::default();
    for piece in first {
        engine.encode(piece, SpecialTokens::Leave, &mut out)?;
    }
    let start = Instant::now();
    for piece in second {
        engine.encode(piece, SpecialTokens::Leave, &mut out)?;
    }
    let bytes: usize = second.iter().map(|piece| piece.len()).sum();
    Ok(bytes as f64 / 1e6 / start.elapsed().as_secs_f64())
}

/// Texts of one letter, of blanks, and of letters at random.
fn large(engine: &dyn Tokenizer, bytes: usize) -> Result<()> {
    let mut state = 1_u64;
    let random = std::iter::from_fn(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        Some((state >> 33) as u8)
    });
    let random: Vec<u8> = random.take(bytes).collect();
    let texts = [
        ("of 'a'", "a".repeat(bytes)),
        ("of 'é'", "é".repeat(bytes / 2)),
        ("of blanks", " ".repeat(bytes)),
        (
            "of random bytes",
            String::from_utf8_lossy(&random).into_owned(),
        ),
    ];
    for (what, text) in texts {
        let before = memory("VmRSS:");
        // Starts the peak anew; where that is refused the figure is too high.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let start = Instant::now();
        let mut out = Encoding::default();
        let before_reference = engine.counts().by_reference;
        engine.encode(&text, SpecialTokens::Leave, &mut out)?;
        let seconds = start.elapsed().as_secs_f64();
        let by = match engine.counts().by_reference > before_reference {
            true => ", by the reference",
            false => "",
        };
        println!(
            "  {} MiB {what}: {seconds:.2} s, {} tokens, {} MiB{by}",
            text.len() >> 20,
            out.ids.len(),
            memory("VmHWM:").saturating_sub(before) >> 10,
        );
    }
    Ok(())
}

/// A figure of this process in KiB; 0 where the system has none.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}
