//! What is wrong with a record and at which field, before it becomes the crate's error.

use crate::error::{Error, Kind, Stage};
use std::fmt::Display;

/// Result of everything that looks inside a record.
pub(super) type Result<T> = std::result::Result<T, Fault>;

/// A fault of a record. Whoever knows the enclosing field adds it with [`within`](Fault::within).
#[derive(Debug)]
pub(super) struct Fault(Box<Detail>);

#[derive(Debug)]
struct Detail {
    kind: Kind,
    path: String,
    clause: String,
    remedy: Option<String>,
}

impl Fault {
    /// `clause` is a predicate: its subject is the field, or the record where no field is named.
    #[cold]
    pub(super) fn new(kind: Kind, clause: impl Into<String>) -> Self {
        Fault(Box::new(Detail {
            kind,
            path: String::new(),
            clause: clause.into(),
            remedy: None,
        }))
    }

    /// The record does not have the shape that it should.
    #[cold]
    pub(super) fn row(clause: impl Into<String>) -> Self {
        Fault::new(Kind::Row, clause)
    }

    /// What to do about it.
    #[cold]
    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// What to do about it, where nothing closer to the fault has said so.
    #[cold]
    pub(super) fn or_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy.get_or_insert_with(|| remedy.into());
        self
    }

    /// Puts the enclosing field, `messages` or `[3]`, before the path.
    #[cold]
    pub(super) fn within(mut self, place: impl Display) -> Self {
        let path = &mut self.0.path;
        *path = match path.as_bytes().first() {
            None => place.to_string(),
            Some(b'[') => format!("{place}{path}"),
            Some(_) => format!("{place}.{path}"),
        };
        self
    }
}

/// The names of an object's keys for a sentence, the first few of them and none at full length if it is long.
#[cold]
pub(super) fn name_keys<'k>(keys: impl Iterator<Item = &'k str>) -> String {
    const SHOWN: usize = 8;
    let mut keys = keys.map(|key| match key.char_indices().nth(40) {
        Some((end, _)) => format!("`{}…`", key.get(..end).unwrap_or_default()),
        None => format!("`{key}`"),
    });
    let mut shown: Vec<String> = keys.by_ref().take(SHOWN).collect();
    match keys.count() {
        0 => {}
        more => shown.push(format!("{more} more")),
    }
    if shown.is_empty() {
        return "no key at all".to_owned();
    }
    shown.join(", ")
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        let detail = *fault.0;
        let message = match detail.path.as_str() {
            "" => format!("the record {}", detail.clause),
            path => format!("`{path}` {}", detail.clause),
        };
        let error = Error::new(detail.kind, Stage::Render, message);
        match detail.remedy {
            Some(remedy) => error.remedy(remedy),
            None => error,
        }
    }
}
