//! `packmill recompress`: the same records as zstd shards of many small frames.

use crate::cli::args;
use crate::cli::byte_bar::ByteBar;
use crate::cli::show::number::{bytes, exact};
use crate::read::recompress::{Existing, Frames, check_target, recompress, recompressed_path};
use crate::recipe::Io;
use crate::{Error, Kind, Stage, corpus, read};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub(crate) fn run(args: &args::Recompress) -> Result<()> {
    let frames = Frames::new(args.frame_bytes, args.level)?;
    let existing = match args.force {
        true => Existing::Replace,
        false => Existing::Refuse,
    };
    let files = args.shards.iter().map(|path| corpus::open_file(path));
    let files = files.collect::<crate::Result<Vec<_>>>()?;
    let shards = read::open_shards(&files, Io::Auto)?;
    let targets = args.shards.iter();
    let targets = targets
        .map(|shard| recompressed_path(shard, args.output.as_deref()))
        .collect::<crate::Result<Vec<_>>>()?;
    // All that can be refused is, before the first byte is written.
    refuse_clashes(&args.shards, &targets)?;
    for target in &targets {
        for shard in &shards {
            check_target(shard, target, existing)?;
        }
    }
    if let Some(folder) = &args.output {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let bar = ByteBar::new(files.iter().map(|file| file.size_bytes()).sum())?;
    for (shard, target) in shards.iter().zip(&targets) {
        bar.name(&shard.file().name);
        let progress = &mut |bytes| bar.advance(bytes);
        let done = recompress(shard, target, frames, existing, progress)?;
        bar.line(&format!(
            "{}: {} records in {} frames, {} of text, {} before, {} now",
            target.display(),
            exact(done.records),
            exact(done.frames),
            bytes(done.text_bytes),
            bytes(done.stored_bytes),
            bytes(done.written_bytes),
        ))?;
    }
    bar.line(&hint(&targets))
}

/// Two shards of one name would be written over each other.
fn refuse_clashes(shards: &[PathBuf], targets: &[PathBuf]) -> crate::Result<()> {
    let mut seen = BTreeMap::new();
    for (shard, target) in shards.iter().zip(targets) {
        if let Some(other) = seen.insert(target, shard) {
            let message = format!(
                "{} and {} would both be written to {}",
                other.display(),
                shard.display(),
                target.display()
            );
            return Err(Error::new(Kind::Recipe, Stage::Read, message)
                .remedy("recompress them in two calls, with different --output"));
        }
    }
    Ok(())
}

/// What to put in the recipe.
fn hint(targets: &[PathBuf]) -> String {
    let paths: BTreeSet<PathBuf> = match targets {
        [one] => [one.clone()].into(),
        many => {
            let folders = many
                .iter()
                .map(|path| path.parent().unwrap_or(Path::new("")));
            folders.map(|folder| folder.join("*.zst")).collect()
        }
    };
    let paths: Vec<String> = paths.iter().map(|path| format!("{path:?}")).collect();
    format!(
        "\nIn the recipe, relative to its folder and instead of the shards before (a glob that matches both reads \
         every record twice):\n\n    paths: [{}]",
        paths.join(", ")
    )
}
