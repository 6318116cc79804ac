//! What an expression of a program is worth: borrowed from the row, the program or what the run holds.
//!
//! Values are read where they lie: a text is a slice, a map a list of entries, and nothing is counted or copied. Only
//! what the row reader, JSON and the engine's own literals are made of is looked into. Anything else is
//! [`Foreign`](Val::Foreign): looking at it could change it, so that the engine would see another value afterwards.

use super::account::{Ask, Result};
use crate::render::number::BigInt;
use crate::render::row::{KnownKey, Listed};
use indexmap::IndexMap;
use minijinja::value::{Tuple, Value, ValueKind};

/// A value, borrowed: small, since each step of a run copies some. What a map or a list is made of is asked when it is
/// looked into.
#[derive(Debug, Clone, Copy)]
pub(super) enum Val<'a> {
    /// A variable that is not set: what is outside of its frame is looked up instead.
    Unset,
    Undefined,
    None,
    Bool(bool),
    Int(i64),
    /// A float, or an integer beyond `i64`.
    Number(&'a Value),
    Str(&'a str),
    Map(Map<'a>),
    /// A list of values.
    Seq(&'a Value),
    /// A slice of one, which the engine keeps lazy.
    Slice {
        items: &'a [Value],
        reversed: bool,
    },
    /// Messages of the conversation, all of them or a slice.
    Messages {
        from: u32,
        to: u32,
        /// Whether it is a slice, which the engine keeps lazy.
        lazy: bool,
        reversed: bool,
    },
    /// `range(…)`.
    Range {
        start: i32,
        step: i32,
        len: u32,
    },
    /// What a filter or method of the engine's gave and no program looks into: a tuple, an iterator.
    Held(&'a Value),
    /// What somebody else made.
    Foreign(&'a Value),
    Namespace(u32),
    Macro(u32),
    /// A function of the environment.
    Function(&'a Value),
}

/// A map, and the message that it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Map<'a> {
    pub(super) value: &'a Value,
    /// What it is made of, if it is one of ours.
    own: Option<Entries<'a>>,
    /// Index in the conversation, or [`NO_MESSAGE`].
    pub(super) message: u32,
}

pub(super) const NO_MESSAGE: u32 = u32::MAX;

/// Keys and values of a map.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entries<'a> {
    Listed(&'a Listed),
    Hashed(&'a IndexMap<Value, Value>),
}

/// Most entries that are looked through one by one.
const WALKED: usize = 16;

/// What a list is made of, if it is one of ours.
pub(super) fn items(list: &Value) -> Option<&[Value]> {
    list.downcast_object_ref::<Vec<Value>>().map(Vec::as_slice)
}

impl<'a> Map<'a> {
    /// What it is made of, if it is one of ours.
    pub(super) fn entries(self) -> Result<Entries<'a>> {
        self.own.ok_or(Ask)
    }
}

impl<'a> Entries<'a> {
    fn of(value: &'a Value) -> Option<Self> {
        if let Some(listed) = value.downcast_object_ref::<Listed>() {
            return Some(Entries::Listed(listed));
        }
        let hashed = value.downcast_object_ref::<IndexMap<Value, Value>>()?;
        Some(Entries::Hashed(hashed))
    }

    pub(super) fn len(self) -> usize {
        match self {
            Entries::Listed(listed) => listed.entries().len(),
            Entries::Hashed(map) => map.len(),
        }
    }

    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.field(KnownKey::of(name), name)
    }

    /// The value of a key whose number is `known`.
    pub(super) fn field(self, known: KnownKey, name: &str) -> Option<&'a Value> {
        let is = |key: &Value| key.as_str() == Some(name);
        match self {
            Entries::Listed(listed) => listed.get(known, name),
            // Keys of maps that are not made here may be bytes, which read as text and are none.
            Entries::Hashed(map) if map.len() <= WALKED => map
                .iter()
                .find(|(key, _)| key.kind() == ValueKind::String && is(key))
                .map(|(_, value)| value),
            Entries::Hashed(map) => map.get(&Value::from(name)),
        }
    }

    pub(super) fn has_any(self, names: &[&str]) -> bool {
        let is = |key: &Value| key.as_str().is_some_and(|key| names.contains(&key));
        match self {
            Entries::Listed(listed) => listed.entries().iter().any(|(key, _)| is(key)),
            Entries::Hashed(map) => map.keys().any(is),
        }
    }

    /// The entry at a place.
    pub(super) fn at(self, index: usize) -> Option<(&'a Value, &'a Value)> {
        match self {
            Entries::Listed(listed) => listed.entries().get(index).map(|(key, value)| (key, value)),
            Entries::Hashed(map) => map.get_index(index),
        }
    }
}

impl<'a> Val<'a> {
    /// A value of the row or of a literal.
    pub(super) fn of(value: &'a Value) -> Self {
        match value.kind() {
            ValueKind::String => Val::Str(value.as_str().unwrap_or_default()),
            ValueKind::Map => Val::Map(Map {
                value,
                own: Entries::of(value),
                message: NO_MESSAGE,
            }),
            ValueKind::Seq => Val::Seq(value),
            ValueKind::None => Val::None,
            ValueKind::Bool => Val::Bool(value.is_true()),
            ValueKind::Number => match value.is_integer().then(|| value.as_i64()).flatten() {
                Some(int) => Val::Int(int),
                None => Val::Number(value),
            },
            ValueKind::Undefined => Val::Undefined,
            _ => Val::Foreign(value),
        }
    }

    /// A value that a function of the engine's gave.
    pub(super) fn held(value: &'a Value) -> Self {
        match Val::of(value) {
            Val::Foreign(value) => Val::Held(value),
            Val::Seq(value) if items(value).is_none() => Val::Held(value),
            Val::Map(map) if map.own.is_none() => Val::Held(value),
            own => own,
        }
    }

    /// A message of the conversation.
    pub(super) fn message(value: &'a Value, index: usize) -> Self {
        match Val::of(value) {
            Val::Map(map) => Val::Map(Map {
                message: u32::try_from(index).unwrap_or(NO_MESSAGE),
                ..map
            }),
            other => other,
        }
    }
}

/// Deepest value that is looked through: more than a row's JSON may nest.
const DEEPEST: usize = 256;

/// Whether a value is made of nothing but what the row reader, JSON and the engine's literals give, so that reading
/// it changes nothing.
pub(super) fn is_plain(value: &Value) -> bool {
    plain(value, DEEPEST)
}

fn plain(value: &Value, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else {
        return false;
    };
    let all = |items: &[Value]| items.iter().all(|item| plain(item, depth));
    match value.kind() {
        ValueKind::String
        | ValueKind::None
        | ValueKind::Bool
        | ValueKind::Number
        | ValueKind::Undefined => true,
        ValueKind::Seq => match value.downcast_object_ref::<Vec<Value>>() {
            Some(items) => all(items),
            None => value
                .downcast_object_ref::<Tuple>()
                .is_some_and(|items| items.iter().all(|item| plain(item, depth))),
        },
        ValueKind::Map => match Entries::of(value) {
            Some(Entries::Listed(listed)) => {
                listed.entries().iter().all(|(_, item)| plain(item, depth))
            }
            Some(Entries::Hashed(map)) => map
                .iter()
                .all(|(key, item)| plain(key, depth) && plain(item, depth)),
            None => false,
        },
        ValueKind::Plain => value.downcast_object_ref::<BigInt>().is_some(),
        _ => false,
    }
}

/// Whether the engine has an iterator where we have a list.
pub(super) fn is_lazy(value: Val<'_>) -> bool {
    matches!(
        value,
        Val::Slice { .. } | Val::Range { .. } | Val::Messages { lazy: true, .. }
    )
}
