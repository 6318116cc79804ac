//! JSON objects as Python dicts: keys in the order of the file, a key that comes twice in its first place with
//! its last value.

use super::fault::Result;
use super::json::Cursor;
use super::known::KnownKey;
use super::value::value;
use minijinja::Value;
use minijinja::value::{Enumerator, Object, ObjectExt};
use std::collections::HashMap;
use std::sync::Arc;

/// Most keys of an object that is searched by walking its list. Messages, calls and schemas have fewer: for
/// them a list is built in half the time of a hash table and searched no slower.
const LISTED: usize = 16;

/// The keys and values of one object.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Keys are strings, each one once.
    list: Vec<(Value, Value)>,
}

impl Entries {
    /// Takes one object.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self> {
        let mut entries = Entries {
            // Most are a message's role and content.
            list: Vec::with_capacity(2),
        };
        cursor.object(|cursor, key| {
            let value = value(cursor)?;
            match entries.list.len() {
                0..LISTED => entries.set(&key, value),
                // Put right below, in one pass however many keys there are.
                _ => entries.list.push((Value::from(key), value)),
            }
            Ok(())
        })?;
        if entries.list.len() > LISTED {
            entries.merge_duplicates();
        }
        Ok(entries)
    }

    /// The keys and values, if there are exactly two.
    pub(super) fn pair(&self) -> Option<[(&str, &Value); 2]> {
        let [(first, one), (second, other)] = self.list.as_slice() else {
            return None;
        };
        Some([(first.as_str()?, one), (second.as_str()?, other)])
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.list.iter().find(is(key)).map(|(_, value)| value)
    }

    /// Sets a key, in its place or at the end.
    pub(super) fn set(&mut self, key: &str, value: Value) {
        match self.list.iter().position(|entry| is(key)(&entry)) {
            Some(at) => self.replace(at, value),
            None => self.list.push((Value::from(key), value)),
        }
    }

    /// Removes a key.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        let at = self.list.iter().position(|entry| is(key)(&entry))?;
        Some(self.list.remove(at).1)
    }

    /// Moves the value of one key to another; false if there is none. As TRL moves `from` to `role`, it leaves
    /// its place and goes where the other key is, or else to the end.
    pub(super) fn take_as(&mut self, key: &str, other: &str) -> bool {
        if key == other {
            return self.get(key).is_some();
        }
        match self.take(key) {
            Some(value) => {
                self.set(other, value);
                true
            }
            None => false,
        }
    }

    /// Removes the keys whose value is null.
    pub(super) fn drop_nulls(&mut self) {
        self.list.retain(|(_, value)| !value.is_none());
    }

    /// The names of the keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.list.iter().filter_map(|(key, _)| key.as_str())
    }

    /// The keys and values, in order.
    pub(super) fn into_pairs(self) -> Vec<(String, Value)> {
        let pairs = self.list.into_iter();
        pairs
            .map(|(key, value)| (String::from(key), value))
            .collect()
    }

    /// As a template sees it.
    pub(super) fn into_value(self) -> Value {
        if self.list.len() > LISTED {
            return Value::from_pairs(self.list);
        }
        Value::from_object(Listed::new(self.list))
    }

    fn replace(&mut self, at: usize, value: Value) {
        if let Some((_, old)) = self.list.get_mut(at) {
            *old = value;
        }
    }

    fn merge_duplicates(&mut self) {
        let all = std::mem::take(&mut self.list);
        let mut places: HashMap<Value, usize> = HashMap::with_capacity(all.len());
        for (key, value) in all {
            match places.get(&key) {
                Some(&at) => self.replace(at, value),
                None => {
                    places.insert(key.clone(), self.list.len());
                    self.list.push((key, value));
                }
            }
        }
    }
}

/// A map of at most [`LISTED`] keys.
#[derive(Debug)]
pub(in crate::render) struct Listed {
    /// Of the entries, in order.
    known: [KnownKey; LISTED],
    list: Vec<(Value, Value)>,
}

impl Listed {
    fn new(list: Vec<(Value, Value)>) -> Listed {
        let mut known = [KnownKey::OTHER; LISTED];
        for (known, (key, _)) in known.iter_mut().zip(&list) {
            *known = KnownKey::of(key.as_str().unwrap_or_default());
        }
        Listed { known, list }
    }

    /// The value of a key, whose number is `known`.
    pub(in crate::render) fn get(&self, known: KnownKey, key: &str) -> Option<&Value> {
        let keys = self.known.iter().zip(&self.list);
        let mut found = keys.filter(|(own, _)| **own == known);
        if known == KnownKey::OTHER {
            return found
                .find(|(_, entry)| is(key)(entry))
                .map(|(_, entry)| &entry.1);
        }
        found.next().map(|(_, entry)| &entry.1)
    }

    /// Keys, which are strings and different ones, with their values, in order.
    pub(in crate::render) fn entries(&self) -> &[(Value, Value)] {
        &self.list
    }
}

impl Object for Listed {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.get(KnownKey::of(key), key).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.mapped_rev_key_value_enumerator(|this| Box::new(this.list.iter().cloned()))
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.list.len())
    }
}

fn is(name: &str) -> impl Fn(&&(Value, Value)) -> bool {
    move |(key, _)| key.as_str() == Some(name)
}
