//! How two streams differ, in words for a person.

use super::fingerprint::{Fingerprint, SourceFingerprint, members};
use super::keys::EXAMPLES;
use std::collections::{BTreeMap, BTreeSet};

/// Keys whose value is a hash, and what is said where it differs.
const HASHES: &[(&str, &str)] = &[
    ("tokenizer files", "tokenizer files differ"),
    (
        "tokenizer's special tokens",
        "the tokenizer's special tokens differ",
    ),
    ("template", "the chat template's text differs"),
];

impl Fingerprint {
    /// Each difference between the stream of a checkpoint and that of a recipe, one a clause; none where they are
    /// the same stream.
    pub fn differences(&self, recipe: &Fingerprint) -> Vec<String> {
        let mut found = keys(&self.keys, &recipe.keys);
        if !self.source_names().eq(recipe.source_names()) {
            found.push(names(self, recipe));
        }
        for source in &self.sources {
            let same = |other: &&SourceFingerprint| other.name == source.name;
            let Some(now) = recipe.sources.iter().find(same) else {
                continue;
            };
            let differ = keys(&source.keys, &now.keys).into_iter();
            found.extend(
                differ
                    .chain(shards(source, now))
                    .map(|difference| format!("source {}: {difference}", source.name)),
            );
        }
        found
    }
}

pub(super) fn keys(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let all: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    all.into_iter()
        .filter(|key| then.get(*key) != now.get(*key))
        .map(|key| {
            if let Some((_, differ)) = HASHES.iter().find(|(name, _)| name == key)
                && then.contains_key(key)
                && now.contains_key(key)
            {
                return (*differ).to_owned();
            }
            let value = |side: &BTreeMap<String, String>| match side.get(key) {
                None if key == EXAMPLES => "1".to_owned(),
                None => "not set".to_owned(),
                Some(value) if value.is_empty() => "empty".to_owned(),
                Some(value) => value.clone(),
            };
            // What is found in files and in packmill itself stands in no recipe.
            let is_found = key.contains("version")
                || key.starts_with("tokenizer")
                || matches!(key.as_str(), "form" | "blocks");
            let place = if is_found { "here" } else { "in the recipe" };
            format!(
                "{key}: {} in the checkpoint, {} {place}",
                value(then),
                value(now)
            )
        })
        .collect()
}

pub(super) fn names(then: &Fingerprint, now: &Fingerprint) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) =
        (then.source_names().collect(), now.source_names().collect());
    let missing = |from: &[&str], of: &[&str]| {
        let gone: Vec<&str> = of
            .iter()
            .copied()
            .filter(|name| !from.contains(name))
            .collect();
        gone.join(", ")
    };
    let (gone, new) = (missing(&b, &a), missing(&a, &b));
    match (gone.is_empty(), new.is_empty()) {
        (true, true) => format!(
            "sources come in another order: {} in the checkpoint, {} in the recipe",
            a.join(", "),
            b.join(", ")
        ),
        (true, false) => format!("sources only in the recipe: {new}"),
        (false, true) => format!("sources only in the checkpoint: {gone}"),
        (false, false) => {
            format!("sources only in the checkpoint: {gone}, only in the recipe: {new}")
        }
    }
}

pub(super) fn shards(then: &SourceFingerprint, now: &SourceFingerprint) -> Vec<String> {
    if then.shards != now.shards {
        return vec![format!(
            "{} shards in the checkpoint, {} here",
            then.shards, now.shards
        )];
    }
    let groups = then.groups.iter().zip(&now.groups).enumerate();
    groups
        .filter(|(_, (then, now))| then != now)
        .map(|(group, (was, is))| {
            let members = members(now.shards, group);
            let which = match members.len() {
                0 | 1 => format!("shard {} differs", members.start),
                _ => format!(
                    "one or more of the shards {} to {} differ",
                    members.start,
                    members.end - 1
                ),
            };
            let first = now.names.get(group).or_else(|| then.names.get(group));
            let first = match first {
                Some(name) if members.len() > 1 => format!(" ({name}, …)"),
                Some(name) => format!(" ({name})"),
                None => String::new(),
            };
            let size = match was.bytes == is.bytes {
                true => String::new(),
                false => format!(": {} bytes in the checkpoint, {} here", was.bytes, is.bytes),
            };
            format!("{which}{first}{size}")
        })
        .collect()
}
