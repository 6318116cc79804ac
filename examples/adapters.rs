//! One batch in the forms that attention kernels take.
//!
//!     cargo run --example adapters [RECIPE]

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use packmill::batch::adapters;
use packmill::{Loader, Recipe};
use std::path::PathBuf;

mod common;

fn main() -> packmill::Result<()> {
    let recipe = std::env::args()
        .nth(1)
        .map_or_else(common::recipe, PathBuf::from);
    let mut loader = Loader::builder(Recipe::load(&recipe)?).steps(1).build()?;
    let Some(batch) = loader.next().transpose()? else {
        return Ok(());
    };
    println!(
        "{}",
        std::any::type_name_of_val(&adapters::hf_flash::hf_flash(&batch)?)
    );
    Ok(())
}
