//! Finding shards: which files a recipe means, in which order, and how each is stored.
//!
//! Control plane. It looks at names, sizes and first bytes; the records are the read stage's.

mod codec;
mod paths;

#[cfg(test)]
mod tests;

use crate::error::{Error, Kind, Result, Stage};
use crate::recipe::{Format, Recipe, SourceConfig};
use crate::shard::{Codec, ShardFile, Stamp};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// All sources of a recipe, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corpus {
    /// At least one.
    pub sources: Vec<Source>,
}

/// One named data set and its shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Unique name.
    pub name: String,
    /// Its shards, sorted by path, at least one, together at least one byte.
    pub shards: Vec<ShardFile>,
}

impl Corpus {
    /// Expands the globs of every source and looks at each shard once.
    ///
    /// Refuses a glob that matches nothing, a file that a source names twice, a file that is no text, and
    /// a source without a byte.
    pub fn open(recipe: &Recipe) -> Result<Corpus> {
        let sources = recipe.sources.iter().map(Source::open);
        let sources = sources.collect::<Result<Vec<_>>>()?;
        if sources.is_empty() {
            let error = Error::new(Kind::Recipe, Stage::Corpus, "the recipe has no sources");
            return Err(error.remedy("list at least one under `sources`"));
        }
        Ok(Corpus { sources })
    }

    /// Stored bytes of all shards.
    pub fn size_bytes(&self) -> u64 {
        self.sources.iter().map(Source::size_bytes).sum()
    }
}

impl Source {
    /// Finds one source's shards. See [`Corpus::open`].
    pub fn open(config: &SourceConfig) -> Result<Source> {
        let paths = paths::expand(config)?;
        let common = paths::common_folder(&paths);
        let shards = paths
            .iter()
            .map(|path| open_shard(path, &common))
            .collect::<Result<Vec<_>>>()?;
        refuse_twice(config, &shards)?;
        shards
            .iter()
            .try_for_each(|shard| check_format(config, shard))?;
        if shards.iter().all(|shard| shard.size_bytes() == 0) {
            return Err(Error::new(
                Kind::Recipe,
                Stage::Corpus,
                format!(
                    "source `{}` is empty: its shards have no bytes",
                    config.name
                ),
            )
            .remedy("check sources[].paths, and whether the download was complete"));
        }
        Ok(Source {
            name: config.name.clone(),
            shards,
        })
    }

    /// Stored bytes of all shards.
    pub fn size_bytes(&self) -> u64 {
        self.shards.iter().map(ShardFile::size_bytes).sum()
    }
}

/// One file by itself, under the name that it is given here.
pub fn open_file(path: &Path) -> Result<ShardFile> {
    open_shard(path, Path::new(""))
}

/// Refuses a shard of another format than the recipe says.
fn check_format(config: &SourceConfig, shard: &ShardFile) -> Result<()> {
    let codec = shard.codec;
    let fits = match config.format {
        Format::Auto => true,
        Format::Jsonl => !codec.is_columnar(),
        Format::Parquet => codec == Codec::Parquet,
        Format::Arrow => codec.is_columnar() && codec != Codec::Parquet,
    };
    // A shard without a byte is of no format, and has no record.
    if fits || shard.size_bytes() == 0 {
        return Ok(());
    }
    let message = format!(
        "is {}, and the format of source `{}` is {}",
        codec.name(),
        config.name,
        config.format.key()
    );
    Err(Error::new(Kind::Recipe, Stage::Corpus, message)
        .remedy("set sources[].format: auto, or let the globs match shards of one format")
        .in_shard(&shard.name))
}

fn open_shard(path: &Path, common: &Path) -> Result<ShardFile> {
    let name = path.strip_prefix(common).unwrap_or(path);
    let name = name.display().to_string();
    let failed = |error: std::io::Error| {
        Error::new(Kind::Io, Stage::Corpus, "cannot open the shard")
            .in_shard(&name)
            .caused_by(error)
    };
    // Asked before opening: to open a pipe waits for its writer.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(
            Error::new(Kind::Recipe, Stage::Corpus, "is not a regular file")
                .remedy("pipes and devices cannot be read twice; write them to a file first")
                .in_shard(&name),
        );
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let codec = codec::detect(&file, path).map_err(|error| error.in_shard(&name))?;
    Ok(ShardFile {
        path: path.to_owned(),
        stamp: Stamp::of(&metadata),
        name,
        codec,
    })
}

/// The same file under two names (two globs, a link) would be trained twice an epoch without a word.
fn refuse_twice(config: &SourceConfig, shards: &[ShardFile]) -> Result<()> {
    let mut seen: BTreeMap<(u64, u64), &PathBuf> = BTreeMap::new();
    for shard in shards {
        let id = (shard.stamp.device, shard.stamp.inode);
        if let Some(first) = seen.insert(id, &shard.path) {
            let message = format!(
                "source `{}` names the same file twice: {} and {}",
                config.name,
                first.display(),
                shard.path.display()
            );
            return Err(Error::new(Kind::Recipe, Stage::Corpus, message)
                .remedy("let each file be matched by one glob only"));
        }
    }
    Ok(())
}
