//! The tree against the keys: unknown, duplicate and missing keys, wrong types and impossible values, all of
//! them, and the tree with every default filled in.

use super::fault::{Fault, MOST_LISTED};
use super::hint::{chosen, nearest, short, wrong};
use super::keys::{RECIPE, anywhere, join};
use super::shape::{Choice, Need, Section, Shape};
use super::tree::{Entry, Node, Tree};
use super::{Recipe, cross, paths, size, weight};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A tree to the recipe that it means.
pub(super) fn recipe(root: &Node, folder: &Path) -> Result<Recipe, Vec<Fault>> {
    let Tree::Map(entries) = &root.tree else {
        return Err(vec![
            wrong(&Shape::Section(&RECIPE), &root.tree).at(root.line, ""),
        ]);
    };
    let mut check = Check::default();
    let value = check.section(entries, root.line, &RECIPE, "");
    cross::check(&value, root, &mut check);
    if !check.faults.is_empty() {
        return Err(check.faults);
    }
    let recipe = serde_json::from_value(value).map_err(|error| {
        vec![Fault::new(
            None,
            "",
            format!("keys and structs differ: {error}"),
        )]
    })?;
    Ok(paths::settle(recipe, folder))
}

/// What has been found so far.
#[derive(Default)]
pub(super) struct Check {
    faults: Vec<Fault>,
    /// Paths whose value is a stand-in, so that nothing is concluded from them.
    unsound: BTreeSet<String>,
}

impl Check {
    pub(super) fn fault(&mut self, fault: Fault) {
        self.unsound.insert(fault.path.clone());
        self.faults.push(fault);
    }

    pub(super) fn count(&self) -> usize {
        self.faults.len()
    }

    /// Whether neither `path` nor anything that it lies in is at fault.
    pub(super) fn sound(&self, path: &str) -> bool {
        let mut above = path
            .match_indices(['.', '['])
            .filter_map(|(end, _)| path.get(..end));
        !self.unsound.contains(path) && above.all(|above| !self.unsound.contains(above))
    }

    /// The section with every key, in the table's order.
    fn section(
        &mut self,
        entries: &[Entry],
        line: Option<usize>,
        section: &Section,
        path: &str,
    ) -> Value {
        let written = self.once(entries, path);
        for entry in entries {
            if section.key(&entry.key).is_none() {
                self.unknown(entry, section, path);
            }
        }
        let defaults = (section.defaults)();
        let mut values = Map::new();
        for key in section.keys {
            let path = join(path, key.name);
            let default = defaults.get(key.name).unwrap_or(&Value::Null);
            let value = match written.get(key.name) {
                Some(entry) => self.value(&entry.node, entry.line, &key.shape, &path, default),
                None if key.need == Need::Required => {
                    let message = format!("missing, expected {}", key.shape.expected());
                    self.fault(Fault::new(line, path, message));
                    Value::Null
                }
                None => default.clone(),
            };
            values.insert(key.name.to_owned(), value);
        }
        Value::Object(values)
    }

    /// The first entry of each key; all others are faults.
    pub(super) fn once<'a>(
        &mut self,
        entries: &'a [Entry],
        path: &str,
    ) -> BTreeMap<&'a str, &'a Entry> {
        let mut first: BTreeMap<&str, &Entry> = BTreeMap::new();
        for entry in entries {
            let Some(before) = first.get(entry.key.as_str()) else {
                first.insert(&entry.key, entry);
                continue;
            };
            let message = match before.line {
                Some(line) => format!("given twice, first in line {line}"),
                None => "given twice".to_owned(),
            };
            self.fault(Fault::new(
                entry.line,
                join(path, &short(&entry.key)),
                message,
            ));
        }
        first
    }

    fn unknown(&mut self, entry: &Entry, section: &Section, path: &str) {
        let names = || section.keys.iter().map(|key| key.name);
        if self.faults.len() > MOST_LISTED {
            // Looking for what was meant is the dear part, and nobody will read it.
            let path = join(path, &short(&entry.key));
            return self.fault(Fault::new(entry.line, path, "unknown key"));
        }
        let here = section
            .keys
            .iter()
            .find(|key| key.elsewhere.contains(&entry.key.as_str()));
        let near = here
            .map(|key| key.name.to_owned())
            .or_else(|| anywhere(&entry.key))
            .or_else(|| nearest(&entry.key, names()).map(str::to_owned));
        let message = match near {
            Some(_) => "unknown key".to_owned(),
            None => {
                let known: Vec<&str> = names().collect();
                format!("unknown key, expected one of {}", known.join(", "))
            }
        };
        self.fault(Fault::new(entry.line, join(path, &short(&entry.key)), message).near(near));
    }

    /// The value as the struct takes it; `default` where it is at fault.
    fn value(
        &mut self,
        node: &Node,
        line: Option<usize>,
        shape: &Shape,
        path: &str,
        default: &Value,
    ) -> Value {
        match (shape, &node.tree) {
            (Shape::Nullable(_), Tree::Null) => default.clone(),
            (Shape::Nullable(inner), _) => self.value(node, line, inner, path, default),
            (Shape::Section(section) | Shape::Located(section), Tree::Map(entries)) => {
                self.section(entries, line, section, path)
            }
            (Shape::Located(section), Tree::Text(_)) => {
                let entry = Entry {
                    key: "path".to_owned(),
                    line,
                    node: node.clone(),
                };
                self.section(&[entry], line, section, path)
            }
            (Shape::List { of, .. }, Tree::List(items)) if !items.is_empty() => {
                let mut values = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    values.push(self.value(item, item.line, of, &path, &Value::Null));
                }
                Value::Array(values)
            }
            (Shape::Choice(choices), Tree::Map(entries)) => match with_body(choices, entries) {
                Some((entry, body, section)) => {
                    let body = self.section(body, entry.line, section, &join(path, &entry.key));
                    Value::Object(Map::from_iter([(entry.key.clone(), body)]))
                }
                None => self.stand_in(wrong(shape, &node.tree), line, path, default),
            },
            (Shape::Named { of, .. }, Tree::Map(entries)) => self.named(entries, of, path),
            (Shape::Values, Tree::Map(entries)) => self.values(entries, path),
            (_, tree) => match leaf(shape, tree) {
                Ok(value) => value,
                Err(fault) => self.stand_in(fault, line, path, default),
            },
        }
    }

    fn stand_in(
        &mut self,
        fault: Fault,
        line: Option<usize>,
        path: &str,
        default: &Value,
    ) -> Value {
        self.fault(fault.at(line, path));
        default.clone()
    }
}

/// A value without keys or items of its own.
pub(super) fn leaf(shape: &Shape, tree: &Tree) -> Result<Value, Fault> {
    let value = match (shape, tree) {
        (Shape::Flag, Tree::Flag(flag)) => Some(Value::Bool(*flag)),
        (Shape::Integer { least, most }, Tree::Integer(integer)) => u64::try_from(*integer)
            .ok()
            .filter(|integer| (least..=most).contains(&integer))
            .map(Value::from),
        (Shape::Fraction, Tree::Integer(0)) => Some(Value::from(0.0)),
        (Shape::Fraction, Tree::Integer(1)) => Some(Value::from(1.0)),
        (Shape::Fraction, Tree::Float(float)) => {
            (0.0..=1.0).contains(float).then(|| Value::from(*float))
        }
        (Shape::Weight { least }, Tree::Integer(integer)) => weight(*integer as f64, *least),
        (Shape::Weight { least }, Tree::Float(float)) => weight(*float, *least),
        (Shape::Size { least, most }, Tree::Integer(_) | Tree::Text(_)) => {
            let bytes = match tree {
                Tree::Integer(integer) => u64::try_from(*integer).ok(),
                Tree::Text(text) => size::parse(text),
                _ => None,
            };
            bytes
                .filter(|bytes| (least..=most).contains(&bytes))
                .map(Value::from)
        }
        (Shape::Text(kind), Tree::Text(text)) => match paths::objection(*kind, text) {
            None => Some(Value::String(text.clone())),
            Some(objection) => return Err(Fault::new(None, "", objection)),
        },
        (Shape::Choice(choices), Tree::Text(text)) => {
            return chosen(choices, text).map(Value::from);
        }
        _ => None,
    };
    value.ok_or_else(|| wrong(shape, tree))
}

/// A weight as a number of whole millionths.
fn weight(number: f64, least: u64) -> Option<Value> {
    let millionths = weight::millionths(number).filter(|weight| *weight >= least);
    millionths.map(weight::number)
}

/// `{name: {…}}` of a choice that is written so.
fn with_body<'a>(
    choices: &[Choice],
    entries: &'a [Entry],
) -> Option<(&'a Entry, &'a [Entry], &'static Section)> {
    let [entry] = entries else { return None };
    let choice = choices.iter().find(|choice| choice.name == entry.key)?;
    match (&entry.node.tree, choice.body) {
        (Tree::Map(body), Some(section)) => Some((entry, body, section)),
        _ => None,
    }
}
