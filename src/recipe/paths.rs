//! Texts with a meaning: paths, globs, Hub ids, times and expressions; and joining paths to the recipe's folder.

use super::Recipe;
use super::hint::quoted;
use super::shape::{Shape, Text};
use crate::render::Condition;
use chrono::NaiveDateTime;
use std::path::{Path, PathBuf, absolute};

/// What is wrong with a text of this kind.
pub(super) fn objection(kind: Text, text: &str) -> Option<String> {
    let expected = || format!("expected {}", Shape::Text(kind).expected());
    if kind != Text::Any && text.is_empty() {
        return Some(format!("{}, found an empty text", expected()));
    }
    let found = || format!("{}, found {}", expected(), quoted(text));
    match kind {
        Text::Any | Text::Filled => None,
        Text::Name => text.chars().any(char::is_control).then(found),
        Text::Moment => (!is_moment(text)).then(found),
        Text::Condition => Condition::compile(text)
            .err()
            .map(|why| format!("{}; {why}", found())),
        Text::Path => unreadable(text, "copy the file beside the recipe")
            .map(|why| format!("{}; {why}", found())),
        Text::Tokenizer => unreadable(text, "write the Hub id alone, org/name")
            .map(|why| format!("{}; {why}", found())),
        Text::Pattern => unreadable(
            text,
            "object stores are not built yet: copy or mount the shards and name that folder",
        )
        .or_else(|| {
            glob::Pattern::new(text)
                .err()
                .map(|error| format!("not a glob: {}", error.msg))
        })
        .map(|why| format!("{}; {why}", found())),
    }
}

/// What to do about a path that cannot be one, `url` if it is a URL.
fn unreadable(text: &str, url: &str) -> Option<String> {
    if let Some((scheme, _)) = text.split_once("://")
        && !scheme.is_empty()
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    {
        return Some(match scheme {
            "file" => "write the path without file://".to_owned(),
            _ => url.to_owned(),
        });
    }
    let home = text == "~" || text.starts_with("~/");
    home.then(|| "~ is a shell's: write the path whole, or ./~".to_owned())
}

/// `YYYY-MM-DDTHH:MM:SS`, each digit there, and a time that exists.
fn is_moment(text: &str) -> bool {
    const FORM: &str = "%Y-%m-%dT%H:%M:%S";
    // The parser forgives signs, spaces and missing zeros; what it prints does not. It knows leap seconds,
    // which Python's datetime, the reference for strftime_now, does not.
    NaiveDateTime::parse_from_str(text, FORM).is_ok_and(|time| {
        text.len() == 19 && time.format(FORM).to_string() == text && !text.ends_with("60")
    })
}

/// Whether a tokenizer is named as a place on disk: a Hub id is `name` or `org/name`.
pub(super) fn looks_like_path(text: &str) -> bool {
    text.starts_with(['/', '.'])
        || text.ends_with(['/', '.'])
        || text.ends_with(".json")
        || text.matches('/').count() > 1
}

/// Joins the recipe's relative paths to its folder, made absolute, so that it means the same wherever the
/// process goes and prints as something that reads back.
///
/// A tokenizer is a path where it looks like one or is there; with a revision it is a Hub id.
pub(super) fn settle(mut recipe: Recipe, folder: &Path) -> Recipe {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let folder = absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let tokenizer = &mut recipe.tokenizer;
    let joined = join(&folder, &tokenizer.path);
    if tokenizer.revision.is_none() && (looks_like_path(&tokenizer.path) || joined.exists()) {
        tokenizer.path = joined.to_string_lossy().into_owned();
    }
    let own = recipe
        .sources
        .iter_mut()
        .filter_map(|source| source.template.as_mut());
    for template in own.chain([&mut recipe.template]) {
        template.path = template.path.take().map(|path| folder.join(strip(&path)));
    }
    for path in recipe
        .sources
        .iter_mut()
        .flat_map(|source| &mut source.paths)
    {
        if !Path::new(path).is_absolute() {
            // The folder is a name, not a pattern, whatever characters it has.
            let folder = glob::Pattern::escape(&folder.to_string_lossy());
            *path = join(Path::new(&folder), path)
                .to_string_lossy()
                .into_owned();
        }
    }
    recipe.folder = folder;
    recipe
}

fn join(folder: &Path, path: &str) -> PathBuf {
    folder.join(strip(Path::new(path)))
}

/// Without a leading `./`.
fn strip(path: &Path) -> &Path {
    path.strip_prefix(".").unwrap_or(path)
}
