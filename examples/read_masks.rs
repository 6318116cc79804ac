//! What each record becomes before packing: which of its text is trained.
//!
//!     cargo run --example read_masks [RECIPE]

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use packmill::Recipe;
use packmill::pipeline::{Model, Samples};
use std::path::PathBuf;
use std::sync::Arc;

mod common;

fn main() -> packmill::Result<()> {
    let recipe = std::env::args()
        .nth(1)
        .map_or_else(common::recipe, PathBuf::from);
    let recipe = Recipe::load(&recipe)?;
    let model = Arc::new(Model::load(&recipe)?);
    let cache = packmill::read::cache_folder()?;
    for sample in Samples::open(&recipe, &model, &cache)?.take(3) {
        let sample = sample?;
        match sample.content {
            Ok(example) => {
                println!("record {}: {} tokens", sample.record, example.len());
                for span in &example.trained {
                    let ids = &example.ids[span.start as usize..span.end as usize];
                    println!("  trained: {:?}", model.tokenizer.engine.decode(ids)?);
                }
            }
            Err(reason) => println!("record {}: dropped, {reason}", sample.record),
        }
    }
    Ok(())
}
