//! What going on from a checkpoint costs after few and after many steps: time to the first batch, and text read for it.
//!
//!     cargo run --release --example resume_cost [-- STEPS [TOKENIZER]]
//!
//! Generated chats, streamed (zstd frames of 64 KiB) and held (256 MiB of text), and planned as exact epochs. A stream runs to STEPS steps
//! (100,000) of one row of 256 tokens, 64 lanes; where it stood after 10, after 1,000 and at its end is gone on from ten times each. The tokenizer,
//! the demo's unless another folder is given, is loaded anew each time, and the corpus opened.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "an example shows what it does, and a measurement ends where something is wrong"
)]

use packmill::checkpoint::{Whole, merge};
use packmill::corpus::open_file;
use packmill::read::open_shards;
use packmill::read::recompress::{Existing, Frames, recompress};
use packmill::recipe::Io;
use packmill::{Loader, Recipe, Result, Stage};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod common;

/// Resumes of which the median is taken.
const ROUNDS: usize = 10;

/// Text of the held corpus; the streamed one has a quarter of it.
const TEXT_BYTES: usize = 256 << 20;

const FRAME_BYTES: u64 = 64 << 10;

/// What becomes of the corpus.
const FORMS: [(&str, &str); 3] = [
    ("streamed", "paths: [streamed.jsonl.zst]}]\nhold: 0\n"),
    ("held", "paths: [held.jsonl.zst]}]\n"),
    (
        "held, plan: global",
        "paths: [held.jsonl.zst]}]\nplan: global\n",
    ),
];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let steps: u64 = arguments
        .next()
        .map_or(100_000, |n| n.parse().expect("a number of steps"));
    let demo = common::recipe();
    let tokenizer = arguments
        .next()
        .map_or_else(|| demo.parent().unwrap().join("tokenizer"), PathBuf::from);
    let folder = std::env::temp_dir().join(format!("packmill-resume-cost-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    write("held", TEXT_BYTES, &folder);
    write("streamed", TEXT_BYTES / 4, &folder);
    println!(
        "| corpus | after step | first batch, median of {ROUNDS} | fastest to slowest | text read | blocks of pools and cursors |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for (form, rest) in FORMS {
        let recipe = recipe(&folder, &tokenizer, rest);
        for whole in stream(&recipe, &folder, &[10, 1_000.min(steps), steps]) {
            let mut rounds: Vec<(Duration, u64)> = (0..ROUNDS)
                .map(|_| go_on(&recipe, &folder, &whole))
                .collect();
            rounds.sort_unstable();
            let read = rounds.iter().map(|(_, read)| *read).max().unwrap_or(0);
            println!(
                "| {form} | {} | {} ms | {} to {} | {} KiB | {} |",
                whole.step,
                rounds[ROUNDS / 2].0.as_millis(),
                rounds[0].0.as_millis(),
                rounds[ROUNDS - 1].0.as_millis(),
                read >> 10,
                blocks(&whole),
            );
        }
    }
    fs::remove_dir_all(&folder).unwrap();
    Ok(())
}

/// Blocks that must be read again, at most: those of pooled records, and those that cursors lie in.
fn blocks(whole: &Whole) -> usize {
    let mut blocks = BTreeSet::new();
    for lane in &whole.lanes {
        let pooled = lane.pool.iter().chain(&lane.waiting);
        blocks.extend(pooled.map(|pooled| (lane.lane, pooled.stream, pooled.position)));
        let cursors = (0..).zip(&lane.streams);
        blocks.extend(cursors.map(|(stream, cursor)| (lane.lane, stream, cursor.position)));
    }
    blocks.len()
}

fn recipe(folder: &Path, tokenizer: &Path, rest: &str) -> Recipe {
    let text = format!(
        "version: 1\ntokenizer: {{path: {}}}\ntemplate: {{path: chat.jinja}}\n\
         pack: {{sequence_length: 256}}\nbatch: {{rows: 1}}\nprefetch: 1\nsources: [{{name: chats, {rest}",
        tokenizer.display(),
    );
    fs::write(
        folder.join("chat.jinja"),
        "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' %}{% generation %}{{ m.content }}\n\
         {% endgeneration %}{% else %}{{ m.content }}\n{% endif %}{% endfor %}",
    )
    .unwrap();
    let path = folder.join("recipe.yaml");
    fs::write(&path, text).unwrap();
    match Recipe::load(&path) {
        Ok(recipe) => recipe,
        Err(faults) => panic!("{faults}"),
    }
}

/// Where the stream stood after each of `at`, rising.
fn stream(recipe: &Recipe, folder: &Path, at: &[u64]) -> Vec<Whole> {
    let loader = Loader::builder(recipe.clone()).cache(folder.join("cache"));
    let last = at.last().copied().unwrap_or(0);
    let mut loader = loader.checkpoints().steps(last).build().unwrap();
    let mut stood = Vec::new();
    while let Some(batch) = loader.next() {
        batch.unwrap();
        if at.contains(&loader.progress().step) {
            stood.push(merge(vec![loader.state().unwrap()]).unwrap());
        }
    }
    stood
}

/// Time from nothing to the first batch, and bytes of text that were read until then.
fn go_on(recipe: &Recipe, folder: &Path, whole: &Whole) -> (Duration, u64) {
    let began = Instant::now();
    let loader = Loader::builder(recipe.clone()).cache(folder.join("cache"));
    let mut loader = loader.resume(whole.clone()).build().unwrap();
    loader.next().expect("a batch").unwrap();
    let took = began.elapsed();
    let read = loader
        .stats()
        .into_iter()
        .find(|stage| stage.stage == Stage::Read);
    (took, read.map_or(0, |read| read.bytes))
}

/// Chats of 10 to 60 words, `bytes` of them, in small frames.
fn write(name: &str, bytes: usize, folder: &Path) {
    const WORDS: [&str; 16] = [
        "rain", "map", "seven", "answer", "the", "of", "garden", "why", "light", "count", "north",
        "paper", "is", "late", "train", "stone",
    ];
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = |below: u64| {
        // Xorshift (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut text = String::with_capacity(bytes + 1024);
    while text.len() < bytes {
        for (role, end) in [
            (
                "{\"messages\":[{\"role\":\"user\"",
                "},{\"role\":\"assistant\"",
            ),
            ("", "}]}\n"),
        ] {
            let _ = write!(text, "{role},\"content\":\"");
            for _ in 0..5 + random(26) {
                text.push_str(WORDS[random(16) as usize]);
                text.push(' ');
            }
            let _ = write!(text, "\"{end}");
        }
    }
    let plain = folder.join(format!("{name}.jsonl"));
    fs::write(&plain, text).unwrap();
    let shard = open_shards(&[open_file(&plain).unwrap()], Io::Pread).unwrap();
    let frames = Frames::new(FRAME_BYTES, 3).unwrap();
    let target = folder.join(format!("{name}.jsonl.zst"));
    recompress(
        &shard[0],
        &target,
        frames,
        Existing::Refuse,
        &mut |_| Ok(()),
    )
    .unwrap();
    fs::remove_file(&plain).unwrap();
}
