//! `packmill fork`: a checkpoint carried into a changed recipe.

use crate::Recipe;
use crate::checkpoint::Folder;
use crate::cli::args;
use crate::cli::checkpoints::find;
use crate::cli::show::number::exact;
use crate::cli::stdio;
use crate::pipeline::{Forked, Model, fork};
use crate::read::cache_folder;
use anyhow::{Context, Result};
use serde_json::json;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

pub(crate) fn run(args: &args::Fork) -> Result<()> {
    let recipe = Recipe::load(&args.recipe)?;
    must_be_new(&args.output)?;
    let (_, from) = find(&args.checkpoint)?;
    let model = Arc::new(Model::load(&recipe)?);
    let forked = fork(&from, &recipe, &model, &cache_folder()?)?;
    for removed in &forked.removed {
        stdio::note(format_args!(
            "source {} is in the recipe no more: {} records with {} tokens that pools held are dropped, and stay in the \
             ledger as source_removed",
            removed.name,
            exact(removed.records),
            exact(removed.tokens),
        ));
    }
    for name in &forked.again {
        stdio::note(format_args!(
            "source {name} was removed by an earlier fork: it begins anew, and what was delivered of it comes again"
        ));
    }
    let path = Folder::new(&args.output).save(&forked.state)?;
    report(args, &forked, &path)
}

fn report(args: &args::Fork, forked: &Forked, path: &Path) -> Result<()> {
    let state = &forked.state;
    if args.json {
        let removed = forked.removed.iter().map(|removed| {
            json!({"source": removed.name, "records": removed.records, "tokens": removed.tokens})
        });
        let answer = json!({
            "step": state.step,
            "rows": state.rows,
            "from": state.history.last().map(|fork| fork.fingerprint.id()),
            "to": state.fingerprint.id(),
            "differences": forked.differences,
            "refitted": forked.refitted,
            "removed": removed.collect::<Vec<_>>(),
            "again": forked.again,
            "file": path.display().to_string(),
        });
        return stdio::print(format_args!("{answer}\n"));
    }
    let mut out = stdio::stdout();
    writeln!(
        out,
        "step {}, row {}: the stream goes on under {}",
        exact(state.step),
        exact(state.rows),
        args.recipe.display(),
    )?;
    for difference in &forked.differences {
        writeln!(out, "  {difference}")?;
    }
    if forked.differences.is_empty() {
        writeln!(out, "  which gives the same stream")?;
    }
    if forked.refitted > 0 {
        let refitted = exact(forked.refitted);
        writeln!(out, "{refitted} examples in pools were fitted anew")?;
    }
    writeln!(out, "{}", path.display())?;
    Ok(())
}

/// Refuses a folder that holds steps: those of another run beside the forked one would pass for its own.
fn must_be_new(dir: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", dir.display())),
    };
    for entry in entries {
        let name = entry
            .with_context(|| format!("cannot read {}", dir.display()))?
            .file_name();
        if name.as_encoded_bytes().starts_with(b"step-") {
            return Err(crate::cli::usage(format!(
                "{} holds checkpoints already, {} among them; give another --output",
                dir.display(),
                name.display(),
            )));
        }
    }
    Ok(())
}
