//! What keys ask of each other.

use super::check::Check;
use super::fault::Fault;
use super::hint::{nearest, quoted, short};
use super::keys::join;
use super::paths::looks_like_path;
use super::tree::{Node, Tree};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Names that a fault lists, and faults that look for the nearest one: more would take long, and nobody would
/// read it.
const MOST_NAMES: usize = 8;
const MOST_NEAREST: usize = 100;

/// Every fault between keys that are each right alone.
pub(super) fn check(value: &Value, root: &Node, check: &mut Check) {
    let mut cross = Cross { value, root, check };
    cross.tokenizer();
    cross.mask("mask");
    cross.render();
    cross.filter("filter");
    cross.sources();
    cross.weights();
    cross.schedule();
    cross.pack();
    cross.batch();
}

struct Cross<'a> {
    /// With all defaults.
    value: &'a Value,
    root: &'a Node,
    check: &'a mut Check,
}

impl<'a> Cross<'a> {
    fn tokenizer(&mut self) {
        let (Some(path), Some(revision)) =
            (self.text("tokenizer.path"), self.text("tokenizer.revision"))
        else {
            return;
        };
        if looks_like_path(path) {
            let message = format!(
                "expected null beside a path, found {}: only a Hub id has revisions",
                quoted(revision)
            );
            self.fault("tokenizer.revision", message);
        }
    }

    fn mask(&mut self, path: &str) {
        let (train, markers) = (format!("{path}.train"), format!("{path}.markers"));
        let by_markers = self.text(&train) == Some("markers");
        if by_markers && self.check.sound(&markers) && self.at(&markers).is_none_or(Value::is_null)
        {
            self.fault(
                &markers,
                "missing, expected {response: …} with train: markers",
            );
        }
    }

    /// `per_turn` makes examples of assistants' turns: a policy that knows no turns, or those of others, says nothing
    /// to it.
    fn render(&mut self) {
        let of = |index: usize, key: &str| format!("sources[{index}].{key}");
        let own = |path: &str| self.at(path).is_some_and(|value| !value.is_null());
        let mut wrong = Vec::new();
        for index in 0..self.count("sources") {
            let (render, mask) = (of(index, "render"), of(index, "mask"));
            let render = if own(&render) {
                render
            } else {
                "render".to_owned()
            };
            let mask = if own(&mask) { mask } else { "mask".to_owned() };
            if self.text(&render) != Some("per_turn") {
                continue;
            }
            let (train, roles) = (format!("{mask}.train"), format!("{mask}.roles"));
            if let Some(policy @ ("completion" | "all" | "markers")) = self.text(&train) {
                wrong.push((
                    train,
                    format!(
                        "expected assistant or last_assistant with render: per_turn, found {}",
                        quoted(policy)
                    ),
                ));
            }
            let assistants = |roles: &Value| {
                roles
                    .as_array()
                    .is_some_and(|roles| roles.iter().all(|role| role == "assistant"))
            };
            if self.check.sound(&roles) && !self.at(&roles).is_none_or(assistants) {
                let message = "expected [assistant] with render: per_turn, which makes examples of assistant turns";
                wrong.push((roles, message.to_owned()));
            }
        }
        wrong.sort();
        wrong.dedup();
        for (path, message) in wrong {
            self.fault(&path, message);
        }
    }

    fn filter(&mut self, path: &str) {
        for of in ["tokens", "turns"] {
            let (min, max) = (format!("{path}.{of}.min"), format!("{path}.{of}.max"));
            if let (Some(min), Some(most)) = (self.number(&min), self.number(&max))
                && most < min
            {
                let message = format!("expected at least min ({min}), found {most}");
                self.fault(&max, message);
            }
        }
    }

    fn sources(&mut self) {
        if !self.check.sound("sources") {
            return;
        }
        let count = self.count("sources");
        let mut names = BTreeMap::new();
        for index in 0..count {
            let path = format!("sources[{index}].name");
            if let Some(name) = self.text(&path) {
                if let Some(before) = names.get(name) {
                    let message = format!("{} is also the name of sources[{before}]", quoted(name));
                    self.fault(&path, message);
                } else {
                    names.insert(name, index);
                }
            }
            self.mask(&format!("sources[{index}].mask"));
            self.filter(&format!("sources[{index}].filter"));
        }
    }

    /// All sources have weights or none has, and some keys are only for the one or the other.
    fn weights(&mut self) {
        if !self.check.sound("sources") {
            return;
        }
        let path = |index: usize| format!("sources[{index}].weight");
        let (mut with, mut without, mut at_fault) = (Vec::new(), Vec::new(), false);
        for index in 0..self.count("sources") {
            if !self.check.sound(&path(index)) {
                at_fault = true;
            } else if self.at(&path(index)).is_none_or(Value::is_null) {
                without.push(index);
            } else {
                with.push(index);
            }
        }
        let Some(first) = with.first() else {
            // One that is at fault may have been meant as a weight.
            if !at_fault {
                self.only_with_weights();
            }
            return;
        };
        for index in without {
            let message = format!(
                "missing, expected a number above 0 beside the weight of sources[{first}]: all sources \
                 have weights or none has"
            );
            self.fault(&path(index), message);
        }
        if let Some(epochs) = self.number("epochs") {
            let message = format!(
                "expected null beside weights, found {epochs}: weighted sources end at different \
                 times; end the stream with on_exhausted: stop or --steps"
            );
            self.fault("epochs", message);
        }
        if self.text("plan") == Some("global") {
            let message = "expected lanes beside weights, found \"global\": an epoch has every record once, \
                 whatever the weights";
            self.fault("plan", message);
        }
    }

    /// Keys that say nothing where no source has a weight.
    fn only_with_weights(&mut self) {
        if self.text("on_exhausted") == Some("stop") {
            let message = "expected null or repeat without weights, found \"stop\": epochs ends a stream of \
                 sources without weights, or give each source a weight";
            self.fault("on_exhausted", message);
        }
        if self.check.sound("schedule") && self.at("schedule").is_some_and(Value::is_array) {
            let message = "expected null without weights, found a list: give each source a weight, which \
                 holds until the first row of the schedule";
            self.fault("schedule", message);
        }
    }

    fn schedule(&mut self) {
        if !self.check.sound("schedule") {
            return;
        }
        let names = self.source_names();
        for index in 0..self.count("schedule") {
            let entry = format!("schedule[{index}]");
            if let (Some(before), Some(row)) = (
                index
                    .checked_sub(1)
                    .and_then(|before| self.number(&format!("schedule[{before}].row"))),
                self.number(&format!("{entry}.row")),
            ) && row <= before
            {
                let message = format!(
                    "expected a row after that of the entry before ({before}), found {row}"
                );
                self.fault(&format!("{entry}.row"), message);
            }
            let weights = format!("{entry}.weights");
            if !self.check.sound(&weights) {
                continue;
            }
            if let Some(names) = &names {
                self.named(&weights, names);
            }
            // A weight that is at fault stands as null, and may have been meant to be more than 0.
            let nothing = |weight: &Value| weight.as_f64() == Some(0.0);
            if let Some(Value::Object(of)) = self.at(&weights)
                && of.values().all(nothing)
            {
                self.fault(
                    &weights,
                    "expected a weight above 0 for at least one source, found none",
                );
            }
        }
    }

    /// The sources' names; none where one of them is not known.
    fn source_names(&self) -> Option<BTreeSet<&'a str>> {
        if !self.check.sound("sources") {
            return None;
        }
        let sources = 0..self.count("sources");
        sources
            .map(|index| self.text(&format!("sources[{index}].name")))
            .collect()
    }

    /// Whether each key of the mapping at `path` is the name of a source. Names may hold what paths are made
    /// of, so the lines are those of the entries.
    fn named(&mut self, path: &str, names: &BTreeSet<&str>) {
        let Some(Tree::Map(entries)) = self.root.at(path).map(|node| &node.tree) else {
            return;
        };
        for entry in entries
            .iter()
            .filter(|entry| !names.contains(entry.key.as_str()))
        {
            let message = if names.len() <= MOST_NAMES {
                let known: Vec<String> = names.iter().map(|name| short(name)).collect();
                format!("expected the name of a source, one of {}", known.join(", "))
            } else {
                "expected the name of a source".to_owned()
            };
            let near = (self.check.count() < MOST_NEAREST)
                .then(|| nearest(&entry.key, names.iter().copied()))
                .flatten();
            let fault = Fault::new(entry.line, join(path, &short(&entry.key)), message);
            self.check.fault(fault.near(near));
        }
    }

    fn pack(&mut self) {
        let (multiple, length) = ("pack.segment_multiple", "pack.sequence_length");
        if let (Some(multiple_of), Some(tokens)) = (self.number(multiple), self.number(length))
            && !tokens.is_multiple_of(multiple_of)
        {
            let message =
                format!("expected a divisor of sequence_length ({tokens}), found {multiple_of}");
            self.fault(multiple, message);
        }
    }

    fn batch(&mut self) {
        let rows = self.number("batch.rows");
        if let (Some(rows), Some(step_rows)) = (rows, self.number("batch.step_rows"))
            && !step_rows.is_multiple_of(rows)
        {
            let message = format!("expected a multiple of rows ({rows}), found {step_rows}");
            self.fault("batch.step_rows", message);
        }
        if let (Some(rows), Some(tokens)) = (rows, self.number("pack.sequence_length"))
            && rows.saturating_mul(tokens) > i32::MAX as u64
        {
            let message = format!(
                "expected rows × sequence_length ({tokens}) below 2^31, found {rows} rows: \
                 cu_seqlens count in 32 bits"
            );
            self.fault("batch.rows", message);
        }
    }

    fn fault(&mut self, path: &str, message: impl Into<String>) {
        let line = self.root.line_of(path);
        self.check.fault(Fault::new(line, path, message));
    }

    /// Items of the list at `path`.
    fn count(&self, path: &str) -> usize {
        self.at(path).and_then(Value::as_array).map_or(0, Vec::len)
    }

    fn number(&self, path: &str) -> Option<u64> {
        self.at(path).filter(|_| self.check.sound(path))?.as_u64()
    }

    fn text(&self, path: &str) -> Option<&'a str> {
        self.at(path).filter(|_| self.check.sound(path))?.as_str()
    }

    fn at(&self, path: &str) -> Option<&'a Value> {
        path.split(['.', '['])
            .try_fold(self.value, |value, step| match step.strip_suffix(']') {
                Some(index) => value.get(index.parse::<usize>().ok()?),
                None => value.get(step),
            })
    }
}
