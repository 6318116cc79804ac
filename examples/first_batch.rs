//! The shortest program: a corpus, a tokenizer and a recipe on disk, and the first batch of their stream.
//!
//!     cargo run --example first_batch [RECIPE]

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use packmill::{Loader, Recipe};
use std::path::PathBuf;

mod common;

fn main() -> packmill::Result<()> {
    let recipe = std::env::args()
        .nth(1)
        .map_or_else(common::recipe, PathBuf::from);
    let mut loader = Loader::builder(Recipe::load(&recipe)?).build()?;
    let Some(batch) = loader.next().transpose()? else {
        return Ok(());
    };
    println!(
        "{} rows of {} tokens",
        batch.rows(),
        batch.sequence_length()
    );
    println!(
        "{} real tokens, {} of them targets",
        batch.num_tokens(),
        batch.num_label_tokens()
    );
    println!(
        "{} segments, the longest {}",
        batch.num_segments(),
        batch.max_seqlen()
    );
    println!("cu_seqlens {:?} …", &batch.cu_seqlens()[..4]);
    Ok(())
}
