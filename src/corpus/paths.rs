//! Globs to paths, in an order that depends on names alone.

use crate::error::{Error, Kind, Result, Stage};
use crate::recipe::SourceConfig;
use std::path::{Path, PathBuf};

/// As a shell matches: `*` stops at a slash and leaves hidden files alone.
const OPTIONS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// What the names of shards' indexes end with.
pub(super) const SIDECAR: &str = ".packmill.json";

/// Every file that a source's globs match, sorted by path, component by component. A file that two
/// globs match is there twice.
pub(super) fn expand(config: &SourceConfig) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for pattern in &config.paths {
        let before = paths.len();
        expand_one(config, pattern, &mut paths)?;
        if paths.len() == before {
            return Err(wrong(config, pattern, "matches no file").remedy(
                "paths are relative to the recipe's folder; check the spelling, or quote a literal [ as [[]",
            ));
        }
    }
    if paths.is_empty() {
        let message = format!("source `{}` has no paths", config.name);
        return Err(Error::new(Kind::Recipe, Stage::Corpus, message)
            .remedy("name files or globs under sources[].paths"));
    }
    paths.sort();
    Ok(paths)
}

fn expand_one(config: &SourceConfig, pattern: &str, paths: &mut Vec<PathBuf>) -> Result<()> {
    if let Some((scheme, _)) = pattern.split_once("://") {
        return Err(wrong(
            config,
            pattern,
            "is a URL, and shards are read from files only",
        )
        .remedy(format!(
            "copy or mount the {scheme} store and name the files"
        )));
    }
    // A file whose name has glob characters in it is meant, not the pattern.
    if Path::new(pattern).is_file() {
        paths.push(PathBuf::from(pattern));
        return Ok(());
    }
    let matches = glob::glob_with(pattern, OPTIONS)
        .map_err(|error| wrong(config, pattern, "is not a glob").caused_by(error))?;
    for path in matches {
        let path = path.map_err(|error| {
            Error::new(Kind::Io, Stage::Corpus, format!("cannot list `{pattern}`")).caused_by(error)
        })?;
        if !path.is_dir() && !is_sidecar(&path) {
            paths.push(path);
        }
    }
    Ok(())
}

/// Whether a file is a shard's index, which lies beside the shard. One that is named in full is meant.
fn is_sidecar(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().ends_with(SIDECAR.as_bytes()))
}

/// The deepest folder that holds all of them.
pub(super) fn common_folder(paths: &[PathBuf]) -> PathBuf {
    let mut parents = paths.iter().filter_map(|path| path.parent());
    let mut common = parents.next().unwrap_or(Path::new("")).to_owned();
    for parent in parents {
        while !parent.starts_with(&common) && common.pop() {}
    }
    common
}

fn wrong(config: &SourceConfig, pattern: &str, what: &str) -> Error {
    let message = format!("source `{}`: `{pattern}` {what}", config.name);
    Error::new(Kind::Recipe, Stage::Corpus, message)
}
