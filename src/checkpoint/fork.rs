//! A stream carried into a changed recipe: what may change, and where everything stands then.
//!
//! A cursor and a pool's entries are coordinates: the lane's p-th block, a place in it. They go on meaning the same
//! records only as long as the order and a source's files stay what they were; whatever is made of those records may
//! change. Pure: nothing is read. Pools whose examples become others are fitted again by whoever can read them.

use super::differences::{keys, names, shards};
use super::fingerprint::{Fingerprint, SourceFingerprint};
use super::history::Fork;
use super::keys::EXAMPLES;
use super::run::Run;
use super::state::{LaneState, Phase, Pooled, StreamState};
use super::whole::Whole;
use crate::error::{Error, Kind, Result, Stage};
use crate::ledger::{Account, Ledger, Reason};
use crate::recipe::{Overlong, Strategy};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

/// A stream under its new recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Where it stands. Pools hold what they held, as the old recipe fitted it.
    pub whole: Whole,
    /// For each source of the recipe, what became of its records' examples.
    pub encodings: Vec<Encoding>,
    /// How the old recipe fitted examples to rows.
    pub fit_before: Fit,
    /// How the new one does.
    pub fit: Fit,
    /// What pools held of sources that the recipe has no more.
    pub removed: Vec<Removed>,
    /// Sources that an earlier fork removed: they begin anew, and what was delivered of them comes again.
    pub again: Vec<String>,
}

/// What a changed recipe makes of a source's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// The same examples.
    Same,
    /// The same tokens, of which others may be trained.
    Mask,
    /// Other tokens.
    Tokens,
}

/// What decides into which pieces an example is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Rows are cut as they come.
    Concat,
    /// Before they are packed, to rows of so many tokens.
    Rows {
        /// Tokens of a row.
        length: usize,
        /// What becomes of a longer example.
        overlong: Overlong,
    },
}

/// A source that is in the recipe no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Its name.
    pub name: String,
    /// Records of it that were pending.
    pub records: u64,
    /// Their pending tokens.
    pub tokens: u64,
}

/// Carries a stream into the recipe of `recipe`: cursors and pools by source, the account with what it says of sources
/// that are no more, and the old fingerprint, which stays for good.
///
/// # Errors
/// [`Kind::Checkpoint`] naming everything that may not change, and for a stream whose lanes have begun to end.
pub fn carry(from: &Whole, recipe: &Fingerprint) -> Result<Carried> {
    let before = &from.fingerprint;
    let refused = before.fixed_differences(recipe);
    if !refused.is_empty() {
        let message = format!("a fork cannot carry this stream: {}", refused.join("; "));
        return Err(refuse(message).remedy(
            "restore what differs; weights, schedule, pack, mask, template and batch may change",
        ));
    }
    if from.phase != Phase::Lanes || from.lanes.iter().any(|lane| lane.ended) {
        return Err(
            refuse("lanes have ended: the stream is being packed to its end".to_owned())
                .remedy("fork an earlier checkpoint"),
        );
    }
    let (Some(fit_before), Some(fit)) = (before.fit(), recipe.fit()) else {
        return Err(refuse(
            "the fingerprint does not say how rows are packed".to_owned(),
        ));
    };
    let old: Vec<&str> = before.source_names().collect();
    // For each source of the recipe its number before.
    let numbers: Vec<Option<usize>> = recipe
        .source_names()
        .map(|name| old.iter().position(|known| *known == name))
        .collect();
    let map = Map {
        streams: match recipe.has_weights() {
            true => numbers.clone(),
            false => vec![Some(0)],
        },
        draw_goes_on: before.mixture() == recipe.mixture(),
        numbers,
    };
    let mut whole = from.clone();
    whole.history.push(Fork {
        step: from.step,
        rows: from.rows,
        fingerprint: before.clone(),
    });
    whole.fingerprint = recipe.clone();
    whole.lanes = from.lanes.iter().map(|lane| map.lane(lane)).collect();
    let mut removed = Vec::new();
    let again = map.ledger(&mut whole.ledger, recipe, &mut removed);
    Ok(Carried {
        encodings: encodings(before, recipe),
        whole,
        fit_before,
        fit,
        removed,
        again,
    })
}

/// What a key of a fingerprint decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decides {
    /// Which record a coordinate means, and whatever is not known.
    Order,
    /// An example's tokens.
    Tokens,
    /// Which of them are trained.
    Mask,
    /// Nothing that a coordinate hangs on.
    Rows,
}

fn of_stream(key: &str) -> Decides {
    match key {
        "on_exhausted" | "schedule in millionths" | "tokenizer.pad" => Decides::Rows,
        key if key.starts_with("pack.") => Decides::Rows,
        EXAMPLES => Decides::Tokens,
        key if key.starts_with("tokenizer") => Decides::Tokens,
        // What these refuse keeps its place; others decide where runs and blocks end.
        "limits.record_bytes"
        | "limits.nesting"
        | "limits.template_fuel"
        | "limits.template_output_bytes"
        | "limits.run_bytes"
        | "limits.examples_per_record" => Decides::Tokens,
        _ => Decides::Order,
    }
}

fn of_source(key: &str) -> Decides {
    match key {
        WEIGHT => Decides::Rows,
        "kind" | "roles" | "template" => Decides::Tokens,
        key if key.starts_with("fields.") || key.starts_with("template.") => Decides::Tokens,
        key if key.starts_with("mask.") => Decides::Mask,
        _ => Decides::Order,
    }
}

const WEIGHT: &str = "weight in millionths";

type KeyMap = BTreeMap<String, String>;

/// The keys that decide one thing.
fn only(all: &KeyMap, of: fn(&str) -> Decides, what: Decides) -> KeyMap {
    let chosen = all.iter().filter(|(key, _)| of(key) == what);
    chosen.map(|(k, v)| (k.clone(), v.clone())).collect()
}

impl Fingerprint {
    /// What differs though it may not, one a clause.
    fn fixed_differences(&self, recipe: &Fingerprint) -> Vec<String> {
        let fixed = |side: &Fingerprint| only(&side.keys, of_stream, Decides::Order);
        let mut found = keys(&fixed(self), &fixed(recipe));
        if found.is_empty() && recipe.keys.get("plan").is_none_or(|plan| plan != "lanes") {
            found.push("plan: only lanes are carried over".to_owned());
        }
        match (self.has_weights(), recipe.has_weights()) {
            (true, false) => found.push(
                "sources have weights in the checkpoint and none in the recipe: their blocks would be one list"
                    .to_owned(),
            ),
            (false, true) => found.push(
                "sources have weights in the recipe and none in the checkpoint: their blocks were one list"
                    .to_owned(),
            ),
            // One list of all blocks.
            (false, false) if !self.source_names().eq(recipe.source_names()) => {
                found.push(names(self, recipe));
            }
            _ if self.keys.contains_key("duplicates") && !self.source_names().eq(recipe.source_names()) => {
                // A pool may hold a record that became a copy.
                found.push(format!(
                    "{}: which of several copies stays depends on all sources",
                    names(self, recipe)
                ));
            }
            _ => {}
        }
        for now in &recipe.sources {
            let Some(then) = self.source(&now.name) else {
                continue;
            };
            let fixed = |side: &SourceFingerprint| only(&side.keys, of_source, Decides::Order);
            let differ = keys(&fixed(then), &fixed(now)).into_iter();
            found.extend(
                differ
                    .chain(shards(then, now))
                    .map(|difference| format!("source {}: {difference}", now.name)),
            );
        }
        found
    }

    fn source(&self, name: &str) -> Option<&SourceFingerprint> {
        self.sources.iter().find(|source| source.name == name)
    }

    fn has_weights(&self) -> bool {
        let mut sources = self.sources.iter();
        sources.any(|source| source.keys.contains_key(WEIGHT))
    }

    /// What a lane's account of what it drew belongs to.
    fn mixture(&self) -> (Option<&String>, Vec<(&str, Option<&String>)>) {
        let sources = self.sources.iter();
        let weights = sources.map(|source| (source.name.as_str(), source.keys.get(WEIGHT)));
        (self.keys.get("schedule in millionths"), weights.collect())
    }

    fn fit(&self) -> Option<Fit> {
        match read(self.keys.get("pack.strategy"))? {
            Strategy::Concat => Some(Fit::Concat),
            Strategy::Knapsack | Strategy::None => Some(Fit::Rows {
                length: self.keys.get("pack.sequence_length")?.parse().ok()?,
                overlong: read(self.keys.get("pack.overlong"))?,
            }),
        }
    }
}

/// One of a choice, by the recipe's word for it.
fn read<T: DeserializeOwned>(word: Option<&String>) -> Option<T> {
    serde_json::from_value(Value::String(word?.clone())).ok()
}

fn encodings(before: &Fingerprint, recipe: &Fingerprint) -> Vec<Encoding> {
    let tokens = |side: &Fingerprint| only(&side.keys, of_stream, Decides::Tokens);
    let same_tokenizer = tokens(before) == tokens(recipe);
    let sources = recipe.sources.iter().map(|now| {
        let Some(then) = before.source(&now.name) else {
            // Nothing was made of it yet.
            return Encoding::Same;
        };
        let same = |what| only(&then.keys, of_source, what) == only(&now.keys, of_source, what);
        match (same_tokenizer && same(Decides::Tokens), same(Decides::Mask)) {
            (false, _) => Encoding::Tokens,
            (true, false) => Encoding::Mask,
            (true, true) => Encoding::Same,
        }
    });
    sources.collect()
}

/// From numbers of the recipe to those of the checkpoint.
struct Map {
    numbers: Vec<Option<usize>>,
    streams: Vec<Option<usize>>,
    draw_goes_on: bool,
}

impl Map {
    fn lane(&self, from: &LaneState) -> LaneState {
        let stream = |old: &Option<usize>| {
            let state = old.and_then(|old| from.streams.get(old).copied());
            let mut state = state.unwrap_or_default();
            if !self.draw_goes_on {
                state.drawn = 0;
            }
            state
        };
        let streams: Vec<StreamState> = self.streams.iter().map(stream).collect();
        let bad = self.numbers.iter().map(|old| {
            let counted = old.and_then(|old| from.bad.get(old).copied());
            counted.unwrap_or_default()
        });
        let pooled = |pooled: &Pooled| {
            let old = Some(pooled.stream as usize);
            let new = self.streams.iter().position(|stream| *stream == old)?;
            Some(Pooled {
                stream: u32::try_from(new).ok()?,
                ..*pooled
            })
        };
        let mut waiting: Vec<Pooled> = from.waiting.iter().filter_map(pooled).collect();
        // Stream by stream; the sort is stable.
        waiting.sort_by_key(|pooled| pooled.stream);
        let carried = from.carried.iter().filter_map(|run| {
            let of = pooled(&run.of)?;
            Some(Run { of, ..*run })
        });
        LaneState {
            lane: from.lane,
            rows: from.rows,
            ended: from.ended,
            weights: if self.draw_goes_on { from.weights } else { 0 },
            streams,
            pool: from.pool.iter().filter_map(pooled).collect(),
            waiting,
            carried: carried.collect(),
            bad: bad.collect(),
        }
    }

    /// The recipe's sources first, then those that it has no more; which of its sources were away.
    fn ledger(
        &self,
        ledger: &mut Ledger,
        recipe: &Fingerprint,
        removed: &mut Vec<Removed>,
    ) -> Vec<String> {
        let mut old = std::mem::take(&mut ledger.sources);
        let mut again = Vec::new();
        for (name, number) in recipe.source_names().zip(&self.numbers) {
            let account = match old.iter().position(|(known, _)| known == name) {
                Some(place) => {
                    if number.is_none() {
                        again.push(name.to_owned());
                    }
                    old.remove(place).1
                }
                None => Account::default(),
            };
            ledger.sources.push((name.to_owned(), account));
        }
        for (name, mut account) in old {
            let counts = [
                &mut account.records,
                &mut account.examples,
                &mut account.tokens,
            ];
            let [records, _, tokens] = counts.map(|count| {
                let pending = u64::try_from(count.pending).unwrap_or(0);
                count.pending = 0;
                if pending > 0 {
                    *count.dropped.entry(Reason::SourceRemoved).or_default() += pending;
                }
                pending
            });
            if records > 0 || tokens > 0 {
                removed.push(Removed {
                    name: name.clone(),
                    records,
                    tokens,
                });
            }
            ledger.sources.push((name, account));
        }
        again
    }
}

fn refuse(message: String) -> Error {
    Error::new(Kind::Checkpoint, Stage::Checkpoint, message)
}
