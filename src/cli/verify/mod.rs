//! `packmill verify`: what is wrong with a corpus, a shard or a folder of checkpoints, and where.

mod checkpoint;
mod corpus;

use crate::cli::args;
use crate::{Error, Kind, Stage};
use anyhow::Result;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What the names of shards end with, in a folder that may hold other files too.
const SHARDS: [&str; 8] = [
    ".jsonl", ".ndjson", ".zst", ".zstd", ".gz", ".parquet", ".arrow", ".feather",
];

/// What is to be verified.
enum Target {
    Checkpoints,
    Recipe,
    /// At least one.
    Shards(Vec<PathBuf>),
}

pub(crate) fn run(args: &args::Verify) -> Result<()> {
    match target(args)? {
        Target::Checkpoints => checkpoint::run(args),
        Target::Recipe => corpus::recipe(&args.path, args.json),
        Target::Shards(paths) => corpus::shards(&args.path, &paths, args.json),
    }
}

/// Tells by the path's kind and name, and of a folder by what lies in it.
fn target(args: &args::Verify) -> Result<Target> {
    let path = &args.path;
    if args.recipe.is_some() {
        return match path.is_file() {
            true => Err(crate::cli::usage(
                "--recipe is for a folder of checkpoints; to verify a recipe's corpus, name the recipe alone",
            )),
            false => Ok(Target::Checkpoints),
        };
    }
    if is_step(path.file_name()) {
        return Ok(Target::Checkpoints);
    }
    if !path.is_dir() {
        let ending = path.extension().and_then(|ending| ending.to_str());
        return Ok(match ending {
            Some("yaml" | "yml") => Target::Recipe,
            _ => Target::Shards(vec![path.clone()]),
        });
    }
    if has_steps(path) {
        return Ok(Target::Checkpoints);
    }
    let mut shards = Vec::new();
    collect(path, &mut shards)?;
    shards.sort();
    match shards.is_empty() {
        // Which says that there is no checkpoint either.
        true => Ok(Target::Checkpoints),
        false => Ok(Target::Shards(shards)),
    }
}

/// Whether a folder holds checkpoints: `step-NNNNNNNN`.
fn has_steps(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut entries = entries;
    entries.any(|entry| is_step(Some(&entry.file_name())))
}

/// Whether a name is that of one step's checkpoint, there or not.
fn is_step(name: Option<&OsStr>) -> bool {
    name.is_some_and(|name| name.as_encoded_bytes().starts_with(b"step-"))
}

/// All shards below a folder, by their names; indexes and hidden files are none.
fn collect(folder: &Path, shards: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |error| {
        let message = format!("cannot list {}", folder.display());
        Error::new(Kind::Io, Stage::Corpus, message).caused_by(error)
    };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_shard = SHARDS.iter().any(|ending| name.ends_with(ending))
            && !name.ends_with(crate::read::sidecar::SUFFIX);
        if name.starts_with('.') {
            continue;
        }
        // Links to folders are not followed: they may lead in circles.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), shards)?;
        } else if is_shard {
            shards.push(entry.path());
        }
    }
    Ok(())
}
