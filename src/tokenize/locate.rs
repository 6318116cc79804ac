//! Which files a recipe's tokenizer is: a folder, a tokenizer.json, or a Hub id in the local cache.

use crate::error::{Error, Kind, Result, Stage};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Where Hugging Face's tools keep what they have downloaded. packmill reads it and never downloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubCache {
    root: Option<PathBuf>,
}

impl HubCache {
    /// A cache in a given folder: the one that holds `models--org--name`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        HubCache {
            root: Some(root.into()),
        }
    }

    /// The cache that `huggingface_hub` would use: `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `hub`
    /// in `HF_HOME`, else in `huggingface` of `XDG_CACHE_HOME` or `~/.cache`. The only place of this stage
    /// that reads the environment.
    pub fn from_environment() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// The same from any source of variables.
    fn from_lookup(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = get("HOME").map(PathBuf::from);
        let expand = |value: OsString| {
            let path = PathBuf::from(value);
            match (path.strip_prefix("~"), &home) {
                (Ok(rest), Some(home)) => home.join(rest),
                _ => path,
            }
        };
        let root = get("HF_HUB_CACHE")
            .or_else(|| get("HUGGINGFACE_HUB_CACHE"))
            .map(expand)
            .or_else(|| get("HF_HOME").map(|home| expand(home).join("hub")))
            .or_else(|| get("XDG_CACHE_HOME").map(|cache| expand(cache).join("huggingface/hub")))
            .or_else(|| {
                home.as_ref()
                    .map(|home| home.join(".cache/huggingface/hub"))
            });
        HubCache { root }
    }

    /// The snapshot folder of `id` at `revision` (a branch, a tag or a commit), if it is there.
    fn snapshot(&self, id: &str, revision: &str) -> Option<PathBuf> {
        let repository = self
            .root
            .as_ref()?
            .join(format!("models--{}", id.replace('/', "--")));
        let snapshots = repository.join("snapshots");
        let named = std::fs::read_to_string(repository.join("refs").join(revision));
        let commit = named.unwrap_or_else(|_| revision.to_owned());
        let commit = commit.trim();
        is_inside(commit)
            .then(|| snapshots.join(commit))
            .filter(|folder| folder.is_dir())
    }
}

/// The files of a tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located {
    /// The tokenizer.json.
    pub(super) tokenizer: PathBuf,
    /// The folder that it was found in, unless the file alone was named.
    pub(super) folder: Option<PathBuf>,
    /// What a person calls it.
    pub(super) name: String,
}

/// Finds the files that `path` means. A folder or file that exists (relative to `base`, the recipe's
/// folder) wins over a Hub id of the same name.
pub(super) fn locate(
    path: &str,
    revision: Option<&str>,
    base: &Path,
    cache: &HubCache,
) -> Result<Located> {
    let local = base.join(path);
    if local.is_file() {
        return Ok(Located {
            tokenizer: local,
            folder: None,
            name: path.to_owned(),
        });
    }
    let folder = if local.is_dir() {
        local
    } else if is_hub_id(path) {
        hub_folder(path, revision.unwrap_or("main"), cache)?
    } else {
        return Err(Error::new(
            Kind::Recipe,
            Stage::Tokenize,
            format!("tokenizer: there is no folder, file or Hub id {path:?}"),
        )
        .remedy("give a folder with tokenizer.json, a tokenizer.json, or an id such as org/name"));
    };
    let tokenizer = folder.join("tokenizer.json");
    if !tokenizer.is_file() {
        return Err(Error::new(
            Kind::Recipe,
            Stage::Tokenize,
            format!("tokenizer: {path} has no tokenizer.json"),
        )
        .remedy(
            "make one with Transformers: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
        ));
    }
    Ok(Located {
        tokenizer,
        folder: Some(folder),
        name: path.to_owned(),
    })
}

fn hub_folder(id: &str, revision: &str, cache: &HubCache) -> Result<PathBuf> {
    if !is_inside(revision) {
        return Err(Error::new(
            Kind::Recipe,
            Stage::Tokenize,
            format!("tokenizer.revision: {revision:?} is not a branch, tag or commit"),
        ));
    }
    let at = match revision {
        "main" => String::new(),
        other => format!(" --revision {other}"),
    };
    let bring = format!(
        "hf download {id}{at} tokenizer.json tokenizer_config.json special_tokens_map.json config.json \
         chat_template.jinja"
    );
    match cache.snapshot(id, revision) {
        Some(folder) if folder.join("tokenizer.json").is_file() => Ok(folder),
        Some(_) => Err(Error::new(
            Kind::Recipe,
            Stage::Tokenize,
            format!("tokenizer: the cached snapshot of {id} has no tokenizer.json"),
        )
        .remedy(format!("bring it with `{bring}`"))),
        None => Err(Error::new(
            Kind::Recipe,
            Stage::Tokenize,
            format!("tokenizer: there is no folder {id}, and no such Hub id in the local cache at {revision}"),
        )
        .remedy(format!("bring it with `{bring}`"))),
    }
}

/// Whether `path` is written as a Hub id: `name` or `org/name`.
fn is_hub_id(path: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['-', '.'])
            && !part.contains("..")
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    path.split('/').count() <= 2 && path.split('/').all(part)
}

/// Whether a relative path stays in the folder that it is joined to.
fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache_with(id: &str, revision: &str, commit: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let repository = root
            .path()
            .join(format!("models--{}", id.replace('/', "--")));
        std::fs::create_dir_all(repository.join("refs")).unwrap();
        std::fs::create_dir_all(repository.join("snapshots").join(commit)).unwrap();
        std::fs::write(repository.join("refs").join(revision), commit).unwrap();
        std::fs::write(
            repository
                .join("snapshots")
                .join(commit)
                .join("tokenizer.json"),
            "{}",
        )
        .unwrap();
        root
    }

    #[test]
    fn finds_a_hub_id_by_branch_and_by_commit() {
        let root = cache_with("org/name", "main", "abc123");
        let cache = HubCache::at(root.path());
        let nowhere = Path::new("/nonexistent");
        for revision in [None, Some("main"), Some("abc123")] {
            let found = locate("org/name", revision, nowhere, &cache).unwrap();
            assert!(found.tokenizer.ends_with("snapshots/abc123/tokenizer.json"));
            assert!(found.folder.unwrap().ends_with("snapshots/abc123"));
        }
    }

    #[test]
    fn refuses_what_is_not_cached_with_the_command_that_brings_it() {
        let root = cache_with("org/name", "main", "abc123");
        let cache = HubCache::at(root.path());
        let nowhere = Path::new("/nonexistent");
        let error = locate("org/other", Some("v2"), nowhere, &cache).unwrap_err();
        assert_eq!(error.kind(), Kind::Recipe);
        assert!(
            error
                .to_string()
                .contains("hf download org/other --revision v2 tokenizer.json"),
            "{error}"
        );
        for escape in ["../../etc", "..", "/etc"] {
            assert!(locate("org/name", Some(escape), nowhere, &cache).is_err());
        }
        assert!(locate("a/b/c", None, nowhere, &cache).is_err());
        assert!(locate("../x", None, nowhere, &cache).is_err());
    }

    #[test]
    fn a_folder_or_a_file_wins_over_an_id() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tok")).unwrap();
        let empty = locate("tok", None, folder.path(), &HubCache::at("/nonexistent"));
        assert!(empty.unwrap_err().to_string().contains("no tokenizer.json"));
        std::fs::write(folder.path().join("tok/tokenizer.json"), "{}").unwrap();
        let found = locate("tok", None, folder.path(), &HubCache::at("/nonexistent")).unwrap();
        assert_eq!(found.folder, Some(folder.path().join("tok")));
        let file = locate(
            "tok/tokenizer.json",
            None,
            folder.path(),
            &HubCache::at("/nonexistent"),
        )
        .unwrap();
        assert_eq!(file.folder, None);
    }

    #[test]
    fn the_cache_is_where_the_hub_tools_look() {
        let at = |pairs: &'static [(&str, &str)]| {
            HubCache::from_lookup(|name| {
                pairs
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| OsString::from(value))
            })
        };
        assert_eq!(at(&[]), HubCache { root: None });
        assert_eq!(
            at(&[("HOME", "/u")]),
            HubCache::at("/u/.cache/huggingface/hub")
        );
        assert_eq!(
            at(&[("HOME", "/u"), ("HF_HOME", "~/hf")]),
            HubCache::at("/u/hf/hub")
        );
        assert_eq!(
            at(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c")]),
            HubCache::at("/c")
        );
    }
}
