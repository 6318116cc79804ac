//! `packmill demo`: write it, stream it, say what to look at next.

use crate::Recipe;
use crate::cli::{args, stdio, stream};
use anyhow::Result;
use std::time::Instant;

pub(crate) fn run(args: &args::Demo, started: Instant) -> Result<()> {
    let files = super::write(&args.dir)?;
    if !args.json {
        let shards = files.shards.len();
        stdio::print(format_args!(
            "{}: {} records in {shards} compressed shards, a tokenizer of {} tokens, and a recipe\n\n",
            files.folder.display(),
            files.records,
            files.vocabulary,
        ))?;
    }
    let recipe = Recipe::load(&files.recipe)?;
    stream::finish(
        stream::drive(recipe, stream::Plan::to(None), started)?,
        args.json,
    )?;
    if !args.json {
        let recipe = files.recipe.display();
        stdio::print(format_args!(
            "\nNext: `packmill inspect {recipe}` shows what is trained; the recipe explains its own keys.\n"
        ))?;
    }
    Ok(())
}
