//! What a stream was before its recipe was changed: kept for good, so that a checkpoint says how its rows came about.

use super::fingerprint::Fingerprint;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

/// A fork: up to its row the stream was that of this fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// Steps completed when it was forked.
    pub step: u64,
    /// Number of the first row of the recipe that came after.
    pub rows: u64,
    /// Which stream it was before.
    pub fingerprint: Fingerprint,
}

impl Fingerprint {
    /// A short name of it for people and logs: XXH3-128 of its text, in hexadecimal.
    pub fn id(&self) -> String {
        // Plain maps of texts and numbers: they have no way to fail.
        let text = serde_json::to_string(self).unwrap_or_default();
        format!("{:032x}", xxh3_128(text.as_bytes()))
    }
}
