//! The folder for what can be made again: spools.

use crate::error::{Error, Kind, Result, Stage};
use std::path::{Path, PathBuf};

/// Where spools go: `PACKMILL_CACHE`, else `packmill` in the user's cache folder (`XDG_CACHE_HOME`, else
/// `~/.cache`). The one look that reading takes at the environment; everything else is given the folder.
pub fn cache_folder() -> Result<PathBuf> {
    let named = |name| std::env::var_os(name).map(PathBuf::from);
    // By the XDG specification a relative path there is none.
    let absolute = |path: &PathBuf| path.is_absolute();
    let set = named("PACKMILL_CACHE").filter(|path| !path.as_os_str().is_empty());
    let user = || named("XDG_CACHE_HOME").filter(absolute);
    let home = || {
        named("HOME")
            .filter(absolute)
            .map(|home| home.join(".cache"))
    };
    set.or_else(|| user().or_else(home).map(|cache| cache.join("packmill")))
        .ok_or_else(|| {
            Error::new(
                Kind::Recipe,
                Stage::Read,
                "there is no cache folder for spools",
            )
            .remedy("set PACKMILL_CACHE to a folder on a local disk")
        })
}

/// An error of writing or reading in the cache folder.
pub(super) fn failed(cache: &Path, what: &str, error: std::io::Error) -> Error {
    let message = format!("{what} in the cache folder {}", cache.display());
    Error::new(Kind::Io, Stage::Read, message)
        .remedy("set PACKMILL_CACHE to a local folder with more room, or set a smaller hold")
        .caused_by(error)
}
