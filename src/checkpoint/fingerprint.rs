//! Which stream it is: everything that decides its rows, in words where a person can read them and in
//! hashes where the thing itself is large.
//!
//! Only what changes rows counts. Paths, threads, batches, how many epochs and how bad records are treated may
//! change at a resume.

use super::keys::{EXAMPLES, Keys, word};
use super::print::{ShardPrint, SourcePrint, TokenizerPrint};
use crate::example::EXAMPLES_VERSION;
use crate::order::ORDER_VERSION;
use crate::pack::PACKER_VERSION;
use crate::recipe::{Duplicates, Plan, Recipe};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

/// Groups of shards that a source is told by at most: enough to say where a difference lies, and with 30 bytes each
/// a source still has room for its ledger in 1 KiB.
const MOST_GROUPS: usize = 8;

/// Everything that decides a stream's rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// What holds for the whole stream: versions, the tokenizer, and keys of the recipe.
    pub(super) keys: BTreeMap<String, String>,
    /// In the recipe's order.
    pub(super) sources: Vec<SourceFingerprint>,
}

/// What decides one source's examples.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceFingerprint {
    pub(super) name: String,
    /// Keys of the recipe, resolved, and the hash of the template.
    pub(super) keys: BTreeMap<String, String>,
    /// How many files it has.
    pub(super) shards: usize,
    /// The files in a few groups of neighbours.
    #[serde(with = "groups")]
    pub(super) groups: Vec<Group>,
    /// Name of each group's first shard, where it is known: a checkpoint does not keep them.
    #[serde(skip)]
    pub(super) names: Vec<String>,
}

/// Names are for people: the same files may lie elsewhere.
impl PartialEq for SourceFingerprint {
    fn eq(&self, other: &Self) -> bool {
        let SourceFingerprint {
            name,
            keys,
            shards,
            groups,
            names: _,
        } = self;
        (name, keys, shards, groups) == (&other.name, &other.keys, &other.shards, &other.groups)
    }
}

impl Eq for SourceFingerprint {}

/// Some shards in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    /// Stored bytes.
    pub(super) bytes: u64,
    /// Over the shards' hashes.
    pub(super) hash: u64,
}

impl Fingerprint {
    /// The fingerprint of what `recipe` streams. `sources` are as they were opened, in the recipe's order.
    pub fn of(recipe: &Recipe, sources: &[SourcePrint], tokenizer: &TokenizerPrint) -> Fingerprint {
        // Every key is named, so that a new one cannot be forgotten here.
        let Recipe {
            version: _,
            seed,
            tokenizer: _,
            tokenizer_check: _,
            template,
            render,
            special_tokens_in_text,
            filter,
            split,
            duplicates,
            sources: configs,
            mask,
            pack,
            batch: _,
            plan,
            lanes,
            shuffle,
            hold: _,
            epochs: _,
            on_exhausted,
            schedule,
            on_bad_record: _,
            limits,
            workers: _,
            prefetch: _,
            io: _,
            folder: _,
        } = recipe;
        let mut keys = Keys::default();
        keys.add("order version", ORDER_VERSION);
        keys.add("packer version", PACKER_VERSION);
        keys.examples_version(EXAMPLES_VERSION);
        keys.tokenizer(tokenizer);
        keys.add("plan", word(plan));
        if *plan == Plan::Lanes {
            keys.add("lanes", lanes);
        }
        keys.add("shuffle", shuffle);
        if *shuffle {
            keys.add("seed", seed);
        }
        // Named where copies are left out: checkpoints of earlier versions have none.
        if *duplicates != Duplicates::Keep {
            keys.add("duplicates", word(duplicates));
        }
        keys.pack(pack);
        keys.limits(limits);
        if recipe.weights().is_some() {
            keys.mixture(*on_exhausted, schedule);
        }
        let sources = configs.iter().zip(sources).map(|(config, print)| {
            let mut keys = Keys::default();
            keys.source(config, print);
            keys.mask(config.mask.as_ref().unwrap_or(mask));
            let spelled = config.special_tokens_in_text;
            keys.special_tokens_in_text(spelled.unwrap_or(*special_tokens_in_text));
            if let Some(filter) = config.filter.as_ref().or(filter.as_ref()) {
                keys.filter(filter);
            }
            if let Some(split) = config.split.as_ref().or(split.as_ref()) {
                keys.split(split, *seed);
            }
            if let Some(text) = print.template {
                keys.template(config.template.as_ref().unwrap_or(template), text);
                keys.render(config.render.unwrap_or(*render));
            }
            SourceFingerprint::of(&config.name, keys, &print.shards)
        });
        Fingerprint {
            sources: sources.collect(),
            keys: keys.0,
        }
    }

    /// Whether rows are planned as one sequence, for ranks to take in turn.
    pub(super) fn is_global(&self) -> bool {
        self.keys
            .get("plan")
            .is_some_and(|plan| plan == &word(&Plan::Global))
    }

    /// What decides one source's examples, apart from which records there are, as one text.
    pub(crate) fn examples_of(&self, source: u32) -> String {
        /// Which records there are, and how often.
        const RECORDS: [&str; 4] = ["form", "blocks", "limit", "weight in millionths"];
        let own = self
            .sources
            .get(source as usize)
            .into_iter()
            .flat_map(|source| &source.keys);
        let own = own.filter(|(key, _)| !RECORDS.contains(&key.as_str()));
        let of_all = self.keys.iter().filter(|(key, _)| {
            key.starts_with("tokenizer") || key.starts_with("limits.") || *key == EXAMPLES
        });
        let keys: Vec<_> = of_all.chain(own).collect();
        // Texts have no way to fail.
        serde_json::to_string(&keys).unwrap_or_default()
    }

    /// All of it as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// How many lanes the stream has; none where it does not say, or says no number from 1.
    pub(super) fn lanes(&self) -> Option<u32> {
        let lanes = self.keys.get("lanes")?.parse().ok();
        lanes.filter(|lanes| *lanes > 0)
    }

    /// Whether each source has as many groups as so many shards make.
    pub(super) fn is_sound(&self) -> bool {
        let sound = |source: &SourceFingerprint| source.groups.len() == groups_of(source.shards);
        self.sources.iter().all(sound)
    }

    /// The sources' names, in the recipe's order.
    pub(super) fn source_names(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|source| source.name.as_str())
    }
}

impl SourceFingerprint {
    fn of(name: &str, keys: Keys, shards: &[ShardPrint]) -> Self {
        let mut source = SourceFingerprint {
            name: name.to_owned(),
            keys: keys.0,
            shards: shards.len(),
            ..SourceFingerprint::default()
        };
        for index in 0..groups_of(shards.len()) {
            let members = shards.get(members(shards.len(), index)).unwrap_or_default();
            let hashes: Vec<u8> = members.iter().flat_map(|s| s.hash.to_le_bytes()).collect();
            source.groups.push(Group {
                bytes: members.iter().map(|shard| shard.bytes).sum(),
                hash: xxh3_64(&hashes),
            });
            let first = members.first().map(|shard| shard.name.clone());
            source.names.push(first.unwrap_or_default());
        }
        source
    }
}

/// How many groups a source of `shards` shards has.
fn groups_of(shards: usize) -> usize {
    shards.min(MOST_GROUPS)
}

/// The shards of a group.
pub(super) fn members(shards: usize, group: usize) -> std::ops::Range<usize> {
    let groups = groups_of(shards).max(1);
    // Files of one source: their number times 9 is far from overflow, and saturates to an empty range.
    let bound = |group: usize| group.saturating_mul(shards) / groups;
    bound(group)..bound(group + 1)
}

/// Groups as one text, `bytes:hash bytes:hash`.
mod groups {
    use super::Group;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(groups: &[Group], to: S) -> Result<S::Ok, S::Error> {
        let groups: Vec<String> = groups
            .iter()
            .map(|group| format!("{}:{:016x}", group.bytes, group.hash))
            .collect();
        to.serialize_str(&groups.join(" "))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Group>, D::Error> {
        let text = String::deserialize(from)?;
        text.split_terminator(' ')
            .map(|group| {
                let (bytes, hash) = group.split_once(':')?;
                Some(Group {
                    bytes: bytes.parse().ok()?,
                    hash: u64::from_str_radix(hash, 16).ok()?,
                })
            })
            .collect::<Option<_>>()
            .ok_or_else(|| D::Error::custom("groups of shards are not `bytes:hash`"))
    }
}
