//! The fast engine against the reference on rows of hostile Unicode: ids and offsets must be the same, row for row.
//!
//!     cargo run --release --example engines_agree -- FOLDER [ROWS] [SEED] [THREADS]
//!
//! Each folder in FOLDER that has a tokenizer.json is loaded twice, and ROWS rows (1,000,000) are encoded with both; every
//! eighth with the tokenizer's own special tokens around it. Prints a line a tokenizer and up to three rows that differ; the
//! exit code is 1 where one does.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod hostile;
#[path = "../common/tokenizers.rs"]
mod tokenizers;

use hostile::{Numbers, row};
use packmill::Result;
use packmill::recipe::TokenizerEngine;
use packmill::tokenize::{Encoding, LoadedTokenizer, SpecialTokens};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tokenizers::{folders, loaded};

/// Rows that a thread takes at a time, all from one seed.
const CHUNK: u64 = 500;

/// Rows that differ and are shown.
const SHOWN: usize = 3;

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let Some(folder) = arguments.next().map(PathBuf::from) else {
        println!("engines_agree FOLDER [ROWS] [SEED] [THREADS]");
        return Ok(ExitCode::from(2));
    };
    let mut number = |default: u64| {
        let given = arguments.next();
        given.and_then(|n| n.parse().ok()).unwrap_or(default)
    };
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let (rows, seed, threads) = (number(1_000_000), number(1), number(cores));
    let mut differ = false;
    for path in folders(&folder) {
        differ |= compare(&path, rows, seed, threads)? > 0;
    }
    Ok(ExitCode::from(u8::from(differ)))
}

/// Rows that differ.
fn compare(path: &Path, rows: u64, seed: u64, threads: u64) -> Result<usize> {
    let fast = loaded(path, TokenizerEngine::Auto)?;
    let reference = loaded(path, TokenizerEngine::Reference)?;
    let special: Vec<String> = fast
        .added
        .iter()
        .map(|token| token.content.clone())
        .collect();
    let (next, tokens, bytes) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let differ: Mutex<Vec<(u64, String)>> = Mutex::default();
    let start = Instant::now();
    let work = || -> Result<()> {
        let (mut own, mut theirs) = (Encoding::default(), Encoding::default());
        loop {
            let chunk = next.fetch_add(1, Relaxed);
            let numbers = chunk * CHUNK..rows.min((chunk + 1) * CHUNK);
            if numbers.is_empty() {
                return Ok(());
            }
            let mut source = Numbers::new(seed.wrapping_mul(0x9e37_79b9) ^ chunk << 20);
            for number in numbers {
                let text = row(&mut source, &special);
                let around = match number % 8 {
                    0 => SpecialTokens::Add,
                    _ => SpecialTokens::Leave,
                };
                fast.engine.encode(&text, around, &mut own)?;
                reference.engine.encode(&text, around, &mut theirs)?;
                tokens.fetch_add(theirs.ids.len() as u64, Relaxed);
                bytes.fetch_add(text.len() as u64, Relaxed);
                if own != theirs
                    && let Ok(mut differ) = differ.lock()
                {
                    differ.push((number, text));
                }
            }
        }
    };
    let ended: Vec<Result<()>> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        all.into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    });
    let whole = ended.len() as u64 == threads;
    ended.into_iter().collect::<Result<Vec<()>>>()?;
    let differ = differ.into_inner().unwrap_or_default();
    println!(
        "{}: {}, {rows} rows, {:.1} MB, {} tokens, {} differ, {} by the reference, {:.0} s{}",
        path.file_name().unwrap_or_default().to_string_lossy(),
        fast.engine.name(),
        bytes.into_inner() as f64 / 1e6,
        tokens.into_inner(),
        differ.len(),
        fast.engine.counts().by_reference,
        start.elapsed().as_secs_f64(),
        if whole { "" } else { ", A THREAD DIED" },
    );
    for (number, text) in differ.iter().take(SHOWN) {
        let (text, theirs, own) = smallest(text, &fast, &reference)?;
        println!("  row {number}: {text:?} is {theirs:?}, not {own:?}");
    }
    Ok(differ.len() + usize::from(!whole))
}

/// What is left of a text without the characters that it differs without, and its ids by the reference and by the fast engine.
fn smallest(
    text: &str,
    fast: &LoadedTokenizer,
    reference: &LoadedTokenizer,
) -> Result<(String, Vec<u32>, Vec<u32>)> {
    let (mut own, mut theirs) = (Encoding::default(), Encoding::default());
    let mut both = |text: &str| -> Result<(Vec<u32>, Vec<u32>)> {
        fast.engine.encode(text, SpecialTokens::Leave, &mut own)?;
        reference
            .engine
            .encode(text, SpecialTokens::Leave, &mut theirs)?;
        Ok((theirs.ids.clone(), own.ids.clone()))
    };
    let mut chars: Vec<char> = text.chars().collect();
    let mut size = chars.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < chars.len() {
            let mut fewer = chars.clone();
            fewer.drain(at..(at + size).min(chars.len()));
            let (theirs, own) = both(&fewer.iter().collect::<String>())?;
            match theirs == own {
                true => at += size,
                false => chars = fewer,
            }
        }
        size /= 2;
    }
    let text: String = chars.into_iter().collect();
    let (theirs, own) = both(&text)?;
    Ok((text, theirs, own))
}
