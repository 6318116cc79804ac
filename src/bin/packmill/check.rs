//! `packmill check`: what a recipe means, and about how long an epoch is.

use crate::args;
use crate::show::number::{bytes, percent, short};
use anyhow::Result;
use packmill::Recipe;
use packmill::pipeline::{Estimate, Model};
use serde_json::json;

pub(crate) fn run(args: &args::Check) -> Result<()> {
    if args.schema {
        println!("{:#}", packmill::recipe::schema());
        return Ok(());
    }
    let Some(path) = &args.recipe else {
        return Err(crate::usage("check needs a recipe"));
    };
    let recipe = Recipe::load(path)?;
    let model = Model::load(&recipe)?;
    let estimate = Estimate::of(&recipe, &model)?;
    if args.json {
        println!("{}", json!({ "recipe": recipe, "estimate": estimate }));
        return Ok(());
    }
    print!("{recipe}");
    println!();
    println!(
        "tokenizer  {}, {} ids",
        model.tokenizer.engine.name(),
        model.tokenizer.engine.vocab_len()
    );
    for source in &estimate.sources {
        println!(
            "source     {}: {} rows, {} shards, {} stored, about {} records",
            source.name,
            source.shape,
            source.shards,
            bytes(source.stored_bytes),
            short(source.records),
        );
        if let Some(error) = &source.first_error {
            println!(
                "           {} of {} sampled records are bad: {error}",
                source.bad, source.sampled
            );
        }
    }
    println!(
        "estimate   an epoch is about {} tokens ({} trained), {} rows, {} steps; {} of {} records dropped",
        short(estimate.tokens),
        percent(estimate.supervised_tokens as f64, estimate.tokens as f64),
        short(estimate.rows),
        short(estimate.steps),
        short(estimate.dropped),
        short(estimate.records),
    );
    println!(
        "           from {} records spread over the shards",
        estimate.sampled
    );
    for warning in estimate.warnings(&recipe) {
        crate::show::warning(&warning);
    }
    Ok(())
}
