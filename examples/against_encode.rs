//! What the whole way costs beyond tokenizing: the stream of a recipe against the bare `tokenizers` crate's `encode` of
//! the same rendered text, with the same number of threads, in turn and in one process.
//!
//!     cargo run --release --example against_encode [RECIPE] [ROUNDS]
//!
//! Rendering is not timed for the bare crate, nor is reading. Rows must be chats.

#![allow(
    clippy::print_stdout,
    clippy::panic,
    reason = "an example shows what it does"
)]

use packmill::corpus::Corpus;
use packmill::pipeline::{Model, worker_count};
use packmill::read::{Entry, ReadOptions, records_in_order};
use packmill::render::Ending;
use packmill::render::row::{Row, RowReader};
use packmill::{Error, Loader, Recipe, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;
use tokenizers::Tokenizer;

mod common;

/// Texts that a thread takes at a time.
const CHUNK: usize = 32;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let recipe = arguments.next().map_or_else(common::recipe, PathBuf::from);
    let rounds: usize = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(3);
    let mut recipe = Recipe::load(&recipe)?;
    recipe.epochs = Some(1);

    let texts = rendered(&recipe)?;
    let threads = worker_count(&recipe);
    let tokenizer = bare(&recipe.folder.join(&recipe.tokenizer.path));
    println!("{} texts, {threads} threads", texts.len());
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let bare = encode(&tokenizer, &texts, threads);
        let stream = stream(&recipe)?;
        println!(
            "round {round}: encode {bare:.0} tokens/s, stream {stream:.0} tokens/s, {:.2}",
            stream / bare
        );
        ratios.push(stream / bare);
    }
    ratios.sort_by(f64::total_cmp);
    println!("stream / encode, median: {:.2}", ratios[ratios.len() / 2]);
    Ok(())
}

/// The text of every conversation of the recipe.
fn rendered(recipe: &Recipe) -> Result<Vec<String>> {
    let model = Model::load(recipe)?;
    let mut texts = Vec::new();
    for (index, source) in Corpus::open(recipe)?.sources.iter().enumerate() {
        let config = &recipe.sources[index];
        let loaded = &model.sources[index];
        let mut rows = RowReader::new(config, loaded.system.as_deref());
        let options = ReadOptions {
            hold: recipe.hold,
            limit: config.limit,
            io: recipe.io,
            on_bad_record: recipe.on_bad_record,
            limits: recipe.limits,
        };
        for record in records_in_order(&source.shards, &options)? {
            let Entry::Record(line) = record?.entry else {
                continue;
            };
            if rows.shape().is_none() {
                let shape = rows.detect(&line)?;
                rows = rows.with_shape(shape);
            }
            let chat = match rows.read(&line)? {
                Row::Chat(chat) => chat,
                Row::ChatCompletion { conversation, .. } => conversation,
                _ => continue,
            };
            let template = loaded.templates.choose(chat.tools.is_some())?;
            texts.push(template.render(&chat, Ending::Whole)?.text);
        }
    }
    Ok(texts)
}

/// The crate's own tokenizer, as its users load it.
fn bare(path: &Path) -> Tokenizer {
    let file = if path.is_dir() {
        path.join("tokenizer.json")
    } else {
        path.to_owned()
    };
    Tokenizer::from_file(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Tokens a second of the bare crate.
fn encode(tokenizer: &Tokenizer, texts: &[String], threads: usize) -> f64 {
    let (next, tokens) = (AtomicUsize::new(0), AtomicU64::new(0));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for chunk in
                    std::iter::from_fn(|| texts.chunks(CHUNK).nth(next.fetch_add(1, Relaxed)))
                {
                    for text in chunk {
                        let encoding = tokenizer.encode(text.as_str(), false);
                        tokens.fetch_add(encoding.map_or(0, |e| e.len() as u64), Relaxed);
                    }
                }
            });
        }
    });
    tokens.into_inner() as f64 / start.elapsed().as_secs_f64()
}

/// Tokens a second of the stream, from opening the corpus to the last batch.
fn stream(recipe: &Recipe) -> Result<f64, Error> {
    let model = std::sync::Arc::new(Model::load(recipe)?);
    let start = Instant::now();
    let mut tokens = 0;
    for batch in Loader::builder(recipe.clone()).model(model).build()? {
        tokens += batch?.num_tokens();
    }
    Ok(tokens as f64 / start.elapsed().as_secs_f64())
}
