//! `packmill index`: writes every shard's sidecar, or holds shards against theirs.

use crate::cli::args;
use crate::cli::byte_bar::ByteBar;
use crate::cli::show::number::exact;
use crate::corpus::Corpus;
use crate::read::sidecar::{self, Place, Sidecar};
use crate::read::{LocalShard, cache_folder, open_shards};
use crate::{Error, Kind, Recipe, Stage};
use anyhow::Result;
use std::path::Path;

pub(crate) fn run(args: &args::Index) -> Result<()> {
    let recipe = Recipe::load(&args.recipe)?;
    let corpus = Corpus::open(&recipe)?;
    let cache = cache_folder()?;
    // Checking reads each shard twice: its bytes, so that an edited block is named, then its lines.
    let passes = if args.check { 2 } else { 1 };
    let bar = ByteBar::new(corpus.size_bytes() * passes)?;
    let (mut shards, mut wrong) = (0, 0);
    for source in &corpus.sources {
        for shard in open_shards(&source.shards, recipe.io)? {
            shards += 1;
            bar.name(&shard.file().name);
            if !args.check {
                let place = match args.cache {
                    true => Place::Cache(&cache),
                    false => Place::Beside,
                };
                let sidecar = Sidecar::of(&shard, &recipe.limits, &mut |bytes| bar.advance(bytes))?;
                let path = sidecar.write(&shard, place)?;
                bar.line(&format!("{}: {}", path.display(), figures(&sidecar)))?;
                continue;
            }
            match check(&shard, &recipe, &cache, &bar) {
                Ok(sidecar) => {
                    bar.line(&format!(
                        "{}: {}, as indexed",
                        shard.file().path.display(),
                        figures(&sidecar)
                    ))?;
                }
                // Ctrl-C is no finding.
                Err(error) if error.message() == "interrupted" => return Err(error.into()),
                Err(error) => {
                    wrong += 1;
                    bar.line(&error.to_string())?;
                }
            }
        }
    }
    match wrong {
        0 => Ok(()),
        wrong => anyhow::bail!("{wrong} of {shards} shards are not as indexed"),
    }
}

/// Holds one shard against its sidecar, wherever that is.
fn check(
    shard: &LocalShard,
    recipe: &Recipe,
    cache: &Path,
    bar: &ByteBar,
) -> crate::Result<Sidecar> {
    let progress = &mut |bytes| bar.advance(bytes);
    let Some(sidecar) = sidecar::find(shard, Some(cache))? else {
        return Err(Error::new(Kind::Io, Stage::Read, "has no index")
            .remedy("run `packmill index` without --check")
            .in_shard(&shard.file().name));
    };
    sidecar.check(shard, progress)?;
    // The bytes are the same, so what is counted in them can only be wrong in the sidecar.
    if Sidecar::of(shard, &recipe.limits, progress)? != sidecar {
        let message = "its index counts other records than it holds";
        return Err(Error::new(Kind::Corrupt, Stage::Read, message)
            .remedy("run `packmill index` again")
            .in_shard(&shard.file().name));
    }
    Ok(sidecar)
}

fn figures(sidecar: &Sidecar) -> String {
    format!(
        "{} records in {} blocks",
        exact(sidecar.records()),
        exact(sidecar.blocks().len() as u64)
    )
}
