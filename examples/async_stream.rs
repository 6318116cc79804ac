//! The same pipeline as a futures `Stream`, inside somebody else's runtime.
//!
//!     cargo run --example async_stream [RECIPE]

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use futures::StreamExt;
use packmill::{Loader, Recipe};
use std::path::PathBuf;

mod common;

#[tokio::main(flavor = "current_thread")]
async fn main() -> packmill::Result<()> {
    let recipe = std::env::args()
        .nth(1)
        .map_or_else(common::recipe, PathBuf::from);
    let mut loader = Loader::builder(Recipe::load(&recipe)?).steps(10).build()?;
    while let Some(batch) = StreamExt::next(&mut loader).await {
        let batch = batch?;
        println!(
            "{} tokens, {} targets",
            batch.num_tokens(),
            batch.num_label_tokens()
        );
    }
    let progress = loader.progress();
    println!("{} rows, digest {}", progress.rows, progress.digest);
    Ok(())
}
