//! A folder of checkpoints: whether the newest checkpoint is whole, and of the stream that a recipe gives.

use crate::checkpoint::{Folder, Fork, Whole, merge};
use crate::cli::args;
use crate::cli::show::number::exact;
use crate::cli::stdio;
use crate::pipeline::{Model, fingerprint};
use crate::read::cache_folder;
use crate::{Error, Kind, Recipe, Stage};
use anyhow::Result;
use serde_json::json;
use std::io::Write;
use std::sync::Arc;

pub(super) fn run(args: &args::Verify) -> Result<()> {
    let (mut folder, step) = Folder::named(&args.path);
    let found = folder.find(step)?;
    let whole = merge(found.states)?;
    let differences = args.recipe.as_deref().map(|path| {
        let recipe = Recipe::load(path)?;
        let model = Arc::new(Model::load(&recipe)?);
        let own = fingerprint(&recipe, &model, &cache_folder()?)?;
        Ok::<_, anyhow::Error>(whole.fingerprint.differences(&own))
    });
    let differences = differences.transpose()?;
    let forks = forks(&whole);
    if args.json {
        let history = forks.iter().map(|(fork, changes)| {
            json!({
                "step": fork.step,
                "rows": fork.rows,
                "fingerprint": fork.fingerprint.id(),
                "changes": changes,
            })
        });
        let history: Vec<_> = history.collect();
        let answer = json!({
            "step": whole.step,
            "rows": whole.rows,
            "world_size": whole.world_size,
            "lanes": whole.lanes.len(),
            "pooled": pooled(&whole),
            "digest": whole.digest,
            "made_by": whole.engine,
            "ledger": whole.ledger,
            "fingerprint": whole.fingerprint.id(),
            "history": history,
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
        for (fork, changes) in &forks {
            let (step, row) = (exact(fork.step), exact(fork.rows));
            writeln!(
                out,
                "forked at step {step}, row {row}, from {}",
                fork.fingerprint.id()
            )?;
            for change in changes {
                writeln!(out, "  {change}")?;
            }
        }
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
            let error = Error::new(Kind::Checkpoint, Stage::Checkpoint, message);
            Err(error
                .remedy("restore what differs, or carry the checkpoint into the recipe with `packmill fork`")
                .into())
        }
        _ => Ok(()),
    }
}

/// Where the stream was forked, and what changed there.
fn forks(whole: &Whole) -> Vec<(&Fork, Vec<String>)> {
    let forks = whole.history.iter();
    let after = whole.history.iter().map(|fork| &fork.fingerprint);
    let after = after.skip(1).chain([&whole.fingerprint]);
    forks
        .zip(after)
        .map(|(fork, after)| (fork, fork.fingerprint.differences(after)))
        .collect()
}

/// Pieces that wait in pools and before them.
fn pooled(whole: &Whole) -> u64 {
    let lanes = whole.lanes.iter();
    lanes
        .map(|lane| (lane.pool.len() + lane.waiting.len()) as u64)
        .sum()
}
