//! Mappings whose keys are the user's own: role names, weights of sources, and what a template is given.

use super::check::{Check, leaf};
use super::fault::Fault;
use super::hint::short;
use super::keys::join;
use super::shape::Shape;
use super::tree::{Entry, Node, Tree};
use serde_json::{Map, Number, Value};

/// Characters that a free key may have: YAML wants a key and its escapes within 1,024 characters of a line.
const MOST_KEY_LENGTH: usize = 100;

impl Check {
    /// Texts to values of one shape, that have no keys of their own.
    pub(super) fn named(&mut self, entries: &[Entry], of: &Shape, path: &str) -> Value {
        self.free(entries, path, |check, node, line, path| {
            leaf(of, &node.tree).unwrap_or_else(|fault| {
                check.fault(fault.at(line, path));
                Value::Null
            })
        })
    }

    /// Texts to anything that JSON has, in the order written.
    pub(super) fn values(&mut self, entries: &[Entry], path: &str) -> Value {
        self.free(entries, path, Check::anything)
    }

    fn free(
        &mut self,
        entries: &[Entry],
        path: &str,
        value: impl Fn(&mut Check, &Node, Option<usize>, &str) -> Value,
    ) -> Value {
        self.once(entries, path);
        let mut values = Map::new();
        for entry in entries {
            let path = join(path, &short(&entry.key));
            if entry.key.is_empty() || entry.key.chars().count() > MOST_KEY_LENGTH {
                let message = format!("expected a key of 1 to {MOST_KEY_LENGTH} characters");
                self.fault(Fault::new(entry.line, &path, message));
            }
            let value = value(self, &entry.node, entry.line, &path);
            values.insert(entry.key.clone(), value);
        }
        Value::Object(values)
    }

    /// Recurses no deeper than the tree may nest.
    fn anything(&mut self, node: &Node, line: Option<usize>, path: &str) -> Value {
        match &node.tree {
            Tree::Null => Value::Null,
            Tree::Flag(flag) => Value::Bool(*flag),
            Tree::Text(text) => Value::String(text.clone()),
            Tree::Integer(integer) => number(*integer),
            Tree::Float(float) => match Number::from_f64(*float) {
                Some(number) => Value::Number(number),
                None => {
                    let message = format!("expected a value that JSON has, found {float}");
                    self.fault(Fault::new(line, path, message));
                    Value::Null
                }
            },
            Tree::List(items) => {
                let mut values = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    values.push(self.anything(item, item.line, &format!("{path}[{index}]")));
                }
                Value::Array(values)
            }
            Tree::Map(entries) => self.values(entries, path),
        }
    }
}

/// 64 bits as they are; a wider integer as the nearest float, as JSON readers take it.
fn number(integer: i128) -> Value {
    match (u64::try_from(integer), i64::try_from(integer)) {
        (Ok(integer), _) => Value::from(integer),
        (Err(_), Ok(integer)) => Value::from(integer),
        (Err(_), Err(_)) => Value::from(integer as f64),
    }
}
