//! `packmill check`: what a recipe means, and about how long an epoch is.

use crate::Recipe;
use crate::cli::args;
use crate::cli::show::number::{bytes, percent, short};
use crate::cli::{show, stdio};
use crate::pipeline::{Estimate, Model};
use anyhow::Result;
use serde_json::json;
use std::io::Write;

pub(crate) fn run(args: &args::Check) -> Result<()> {
    if args.schema {
        return stdio::print(format_args!("{:#}\n", crate::recipe::schema()));
    }
    let Some(path) = &args.recipe else {
        return Err(crate::cli::usage("check needs a recipe"));
    };
    let recipe = Recipe::load(path)?;
    let model = Model::load(&recipe)?;
    let estimate = Estimate::of(&recipe, &model)?;
    if args.json {
        let warnings = show::warnings_json(&estimate.warnings(&recipe));
        let answer = json!({ "recipe": recipe, "estimate": estimate, "warnings": warnings });
        return stdio::print(format_args!("{answer}\n"));
    }
    let mut out = stdio::stdout();
    writeln!(out, "{recipe}")?;
    let (engine, refused) = show::engine(model.tokenizer.engine.as_ref());
    writeln!(out, "tokenizer  {engine}")?;
    if let Some(refused) = refused {
        writeln!(out, "           {refused}")?;
    }
    for source in &estimate.sources {
        writeln!(
            out,
            "source     {}: {} rows, {} shards ({}), {} stored, about {} records",
            source.name,
            source.shape,
            source.shards,
            source.formats.join(", "),
            bytes(source.stored_bytes),
            short(source.records),
        )?;
        if let Some(error) = &source.first_error {
            writeln!(
                out,
                "           {} of {} sampled records are bad: {error}",
                source.bad, source.sampled
            )?;
        }
    }
    writeln!(
        out,
        "estimate   an epoch is about {} tokens ({} trained), {} rows, {} steps; {} of {} records dropped",
        short(estimate.tokens),
        percent(estimate.supervised_tokens as f64, estimate.tokens as f64),
        short(estimate.rows),
        short(estimate.steps),
        short(estimate.dropped),
        short(estimate.records),
    )?;
    writeln!(
        out,
        "           from {} records spread over the shards",
        estimate.sampled
    )?;
    if estimate.held_out > 0 {
        writeln!(
            out,
            "split      about {} records are held out, of which the eval side has {}",
            short(estimate.held_out),
            short(estimate.eval_records),
        )?;
    }
    out.flush()?;
    for warning in estimate.warnings(&recipe) {
        show::warning(&warning);
    }
    Ok(())
}
