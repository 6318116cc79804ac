//! The whole pipeline: an epoch of the demo's corpus from opening it to the last batch, in real tokens a second.
//!
//! Tokenizer and template are loaded beforehand. `held` spools the corpus and shuffles it record by record,
//! `streamed` decodes its blocks as they are dealt; each with one worker, which compares machines and commits, and
//! with one a core. The corpus is small, so opening it and starting threads weigh more than in a real run.

#![allow(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

mod common;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use packmill::pipeline::{Model, worker_count};
use packmill::{Loader, Recipe};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

/// Streams an epoch; its real tokens.
fn epoch(recipe: &Recipe, model: &Arc<Model>, cache: &Path) -> u64 {
    let loader = Loader::builder(recipe.clone())
        .model(Arc::clone(model))
        .cache(cache)
        .build()
        .expect("the corpus opens");
    assert_eq!(loader.sources().is_held(0), recipe.hold > 1);
    loader
        .map(|batch| black_box(batch.expect("the corpus is sound")).num_tokens())
        .sum()
}

fn epochs(criterion: &mut Criterion) {
    let demo = common::Demo::write();
    let cache = demo.cache();
    let mut recipe = demo.recipe.clone();
    // Only the chats have blocks enough to be streamed.
    recipe.sources.truncate(1);
    let model = Arc::new(Model::load(&recipe).expect("tokenizer and template load"));
    model.tokenizer.engine.wait().expect("its engine is fast");
    let cores = worker_count(&recipe);
    let mut group = criterion.benchmark_group("pipeline");
    group.sample_size(10);
    for (name, hold) in [("held", recipe.hold), ("streamed", 1)] {
        for (threads, workers) in [("one_worker", 1), ("worker_a_core", cores)] {
            let recipe = Recipe {
                hold,
                workers: Some(workers),
                ..recipe.clone()
            };
            group.throughput(Throughput::Elements(epoch(&recipe, &model, &cache)));
            group.bench_function(BenchmarkId::new(name, threads), |bencher| {
                bencher.iter(|| epoch(&recipe, &model, &cache));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, epochs);
criterion_main!(benches);
