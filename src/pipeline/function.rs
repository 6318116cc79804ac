//! Functions of whoever embeds packmill, over records: before a record is understood it may be rewritten or left out.

use crate::error::Result;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A function over the records of a source.
///
/// # Contract
///
/// - It is **pure**: a record's answer depends on the record alone. It is asked again for a record that it has answered, in
///   any order, on any thread, in other processes and after a resume, and its answers decide the stream.
/// - It is called by workers, several at a time, and may keep them waiting. It must not use the loader that it is in.
/// - It must not panic; a panic ends the stream with an error that names the record.
/// - What `split` and `duplicates` look at is the record as it stands in its shard, before the function.
pub trait RowFunction: Send + Sync {
    /// What tells it from others, and from itself before a change: a name and a version. Part of the stream's fingerprint,
    /// and of the names of counted lengths.
    fn identity(&self) -> String;

    /// The record, a JSON object without its line end, as it is to be read; none where it is left out, which the ledger
    /// counts as `filtered_function`.
    ///
    /// # Errors
    /// What makes the record a bad one: it is subject to `on_bad_record`, shard and record are added.
    fn apply(&self, record: &[u8]) -> Result<Option<Vec<u8>>>;
}

impl fmt::Debug for dyn RowFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.identity())
    }
}

/// Functions by the name of the source that they are over; those of no source are over all that have none of their own.
#[derive(Debug, Clone, Default)]
pub struct RowFunctions {
    common: Option<Arc<dyn RowFunction>>,
    own: BTreeMap<String, Arc<dyn RowFunction>>,
}

impl RowFunctions {
    /// One over all sources.
    #[must_use]
    pub fn over_all(mut self, function: Arc<dyn RowFunction>) -> Self {
        self.common = Some(function);
        self
    }

    /// One over the source of this name, in place of that over all.
    #[must_use]
    pub fn over(mut self, source: impl Into<String>, function: Arc<dyn RowFunction>) -> Self {
        self.own.insert(source.into(), function);
        self
    }

    /// Names that functions were given for.
    pub(super) fn named(&self) -> impl Iterator<Item = &str> {
        self.own.keys().map(String::as_str)
    }

    /// The one over a source.
    pub(super) fn of(&self, source: &str) -> Option<Arc<dyn RowFunction>> {
        self.own
            .get(source)
            .or(self.common.as_ref())
            .map(Arc::clone)
    }
}
