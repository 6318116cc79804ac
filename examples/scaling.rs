//! How throughput grows with workers, beside a control that does all that workers do and nothing else.
//!
//!     cargo run --release --example scaling -- RECIPE [WORKERS…]
//!
//! One epoch of RECIPE for each number of workers (1, 2, 4, … up to the machine's cores), the better of two: as batches, and
//! as the control, which reads, renders, tokenizes and masks the same records with the same workers and drops them, without
//! draw, pack, batch and channel. What the stream gains beside what the control gains is what these four cost; what the
//! control does not gain is the machine's (memory, clock, cores that share one core's units). The last two columns are what
//! the packing and the batching thread make of their own time, all of it but waiting: the sequential part's own speed.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use packmill::pipeline::{Model, Samples};
use packmill::{Loader, Recipe, Result, Stage};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// The binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 2;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(recipe) = arguments.next().map(PathBuf::from) else {
        println!("scaling RECIPE [WORKERS…]");
        return Ok(());
    };
    let mut recipe = Recipe::load(&recipe)?;
    recipe.epochs = Some(1);
    let mut numbers: Vec<usize> = arguments.filter_map(|n| n.parse().ok()).collect();
    if numbers.is_empty() {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        numbers = std::iter::successors(Some(1), |n| Some(2 * n))
            .take_while(|n| *n <= cores)
            .collect();
    }
    let model = Arc::new(Model::load(&recipe)?);
    if let Err(why) = model.tokenizer.engine.wait() {
        println!("the fast engine is not used: {why}");
    }
    let cache = std::env::temp_dir().join("packmill-scaling");
    println!(
        "| workers | control, M tokens/s | gain | stream, M tokens/s | gain | of the control's | packing thread, M tokens/s | batching thread |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut first = None;
    for workers in numbers {
        recipe.workers = Some(workers);
        let control = best(|| samples(&recipe, &model, &cache))?;
        let mut alone = [0.0; 2];
        let stream = best(|| batches(&recipe, &model, &cache, &mut alone))?;
        let (one, other) = *first.get_or_insert((control, stream));
        let (gain, own) = (control / one, stream / other);
        println!(
            "| {workers} | {control:.2} | {gain:.2} | {stream:.2} | {own:.2} | {:.0}% | {:.0} | {:.0} |",
            100.0 * own / gain,
            alone[0],
            alone[1]
        );
    }
    Ok(())
}

/// Millions of tokens a second, in the fastest round.
fn best(mut work: impl FnMut() -> Result<u64>) -> Result<f64> {
    let mut best: f64 = 0.0;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let tokens = work()?;
        best = best.max(tokens as f64 / 1e6 / started.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn samples(recipe: &Recipe, model: &Arc<Model>, cache: &Path) -> Result<u64> {
    let mut tokens = 0;
    for sample in Samples::open(recipe, model, cache)? {
        tokens += sample?
            .content
            .map_or(0, |example| example.ids.len() as u64);
    }
    Ok(tokens)
}

/// The tokens of an epoch of batches. `alone`: millions of tokens for each second that the packing and the batching thread
/// were busy, the best so far.
fn batches(recipe: &Recipe, model: &Arc<Model>, cache: &Path, alone: &mut [f64; 2]) -> Result<u64> {
    let builder = Loader::builder(recipe.clone()).model(Arc::clone(model));
    let mut loader = builder.cache(cache.to_owned()).build()?;
    for batch in loader.by_ref() {
        batch?;
    }
    for stage in loader.stats() {
        let speed = stage.items as f64 / 1e6 / stage.busy.as_secs_f64();
        match stage.stage {
            Stage::Pack => alone[0] = speed.max(alone[0]),
            Stage::Batch => alone[1] = speed.max(alone[1]),
            _ => {}
        }
    }
    Ok(loader.progress().tokens)
}
