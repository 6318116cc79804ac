//! `packmill verify`: whether the newest checkpoint is whole, and of the stream that a recipe gives.

use crate::args;
use crate::show::number::exact;
use crate::stdio;
use anyhow::Result;
use packmill::checkpoint::{Folder, Whole, merge};
use packmill::pipeline::{Model, fingerprint};
use packmill::read::cache_folder;
use packmill::{Error, Kind, Recipe, Stage};
use serde_json::json;
use std::io::Write;
use std::sync::Arc;

pub(crate) fn run(args: &args::Verify) -> Result<()> {
    let found = Folder::new(&args.path).newest()?;
    let whole = merge(found.states)?;
    let differences = args.recipe.as_deref().map(|path| {
        let recipe = Recipe::load(path)?;
        let model = Arc::new(Model::load(&recipe)?);
        let own = fingerprint(&recipe, &model, &cache_folder()?)?;
        Ok::<_, anyhow::Error>(whole.fingerprint.differences(&own))
    });
    let differences = differences.transpose()?;
    if args.json {
        let answer = json!({
            "step": whole.step,
            "rows": whole.rows,
            "world_size": whole.world_size,
            "lanes": whole.lanes.len(),
            "pooled": pooled(&whole),
            "digest": whole.digest,
            "ledger": whole.ledger,
            "passed_over": found.skipped,
            "differences": differences,
        });
        stdio::print(format_args!("{answer}\n"))?;
    } else {
        let mut out = stdio::stdout();
        writeln!(
            out,
            "step {}: {} rows, saved by {} ranks; {} lanes hold {} pieces",
            exact(whole.step),
            exact(whole.rows),
            whole.world_size,
            whole.lanes.len(),
            exact(pooled(&whole)),
        )?;
        writeln!(out, "digest  {}", whole.digest)?;
        writeln!(out, "made by {}", whole.engine)?;
        for skipped in &found.skipped {
            writeln!(out, "passed over {skipped}")?;
        }
        match &differences {
            Some(none) if none.is_empty() => writeln!(out, "the recipe's stream is this one")?,
            _ => {}
        }
    }
    match differences {
        Some(differences) if !differences.is_empty() => {
            let message = format!(
                "the recipe gives another stream: {}",
                differences.join("; ")
            );
            Err(Error::new(Kind::Checkpoint, Stage::Checkpoint, message).into())
        }
        _ => Ok(()),
    }
}

/// Pieces that wait in pools and before them.
fn pooled(whole: &Whole) -> u64 {
    let lanes = whole.lanes.iter();
    lanes
        .map(|lane| (lane.pool.len() + lane.waiting.len()) as u64)
        .sum()
}
