//! Tokenizers that examples load from a folder of folders.

use packmill::Result;
use packmill::recipe::{TokenizerConfig, TokenizerEngine};
use packmill::tokenize::{HubCache, LoadedTokenizer, load};
use std::path::{Path, PathBuf};

/// The folder, and those in it, that have a tokenizer.json.
pub(crate) fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let inside = entries.map(|entry| entry.path());
    let all = std::iter::once(folder.to_owned()).chain(inside);
    let mut all: Vec<PathBuf> = all
        .filter(|path| path.join("tokenizer.json").is_file())
        .collect();
    all.sort();
    all
}

/// Ready to measure: a fast engine that is made beside the reference is waited for, and one that is not used is told.
pub(crate) fn loaded(path: &Path, engine: TokenizerEngine) -> Result<LoadedTokenizer> {
    let config = TokenizerConfig {
        path: path.to_string_lossy().into_owned(),
        engine,
        ..TokenizerConfig::default()
    };
    let loaded = load(&config, Path::new("/"), &HubCache::at("/nonexistent"))?;
    if let Err(why) = loaded.engine.wait() {
        println!("{}: the fast engine is not used: {why}", path.display());
    }
    Ok(loaded)
}
