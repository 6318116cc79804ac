//! The sidecar's text: JSON, version 1.
//!
//! ```text
//! {"packmill_index":1,"size_bytes":123,"head":"<32 hex digits>","tail":"…","blocks":[["<hash>",records,lines],…]}
//! ```
//!
//! Hashes are XXH3-128 of stored bytes. There is no time, path or machine in it: the same shard gives the same text
//! everywhere.

use super::{Block, Ends, Sidecar};
use crate::error::{Error, Kind, Result, Stage};
use serde::{Deserialize, Serialize};
use std::fmt;
use xxhash_rust::xxh3::xxh3_128;

const VERSION: u64 = 1;

/// A hash of stored bytes: XXH3 of 128 bits, printed as 32 hexadecimal digits. It tells accidents and edits, not
/// forgeries.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hash(u128);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    packmill_index: u64,
    size_bytes: u64,
    head: Hash,
    tail: Hash,
    blocks: Vec<(Hash, u64, u64)>,
}

/// The one field that every version has.
#[derive(Deserialize)]
struct Version {
    packmill_index: u64,
}

pub(super) fn print(sidecar: &Sidecar) -> Result<Vec<u8>> {
    let blocks = sidecar.blocks.iter();
    let text = Text {
        packmill_index: VERSION,
        size_bytes: sidecar.size_bytes,
        head: sidecar.ends.head,
        tail: sidecar.ends.tail,
        blocks: blocks.map(|b| (b.hash, b.records, b.lines)).collect(),
    };
    let mut bytes = serde_json::to_vec(&text).map_err(|error| {
        Error::new(Kind::Internal, Stage::Read, "cannot print an index").caused_by(error)
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

pub(super) fn parse(text: &[u8], shard: &str) -> Result<Sidecar> {
    let remedy = "delete it, or run `packmill index` again";
    let damaged = |error: serde_json::Error| {
        Error::new(Kind::Corrupt, Stage::Read, "is no index of a shard")
            .remedy(remedy)
            .caused_by(error)
    };
    let version: Version = serde_json::from_slice(text).map_err(damaged)?;
    if version.packmill_index != VERSION {
        let message = format!(
            "is an index of version {}, and this packmill reads version {VERSION}",
            version.packmill_index
        );
        return Err(Error::new(Kind::Corrupt, Stage::Read, message).remedy(remedy));
    }
    let text: Text = serde_json::from_slice(text).map_err(damaged)?;
    let blocks = text.blocks.into_iter();
    Ok(Sidecar {
        shard: shard.to_owned(),
        size_bytes: text.size_bytes,
        ends: Ends {
            head: text.head,
            tail: text.tail,
        },
        blocks: blocks
            .map(|(hash, records, lines)| Block {
                hash,
                records,
                lines,
            })
            .collect(),
    })
}

impl Hash {
    /// The hash of bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash(xxh3_128(bytes))
    }
}

impl From<u128> for Hash {
    fn from(hash: u128) -> Self {
        Hash(hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for Hash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(digits) {
            return Err("a hash has 32 hexadecimal digits".to_owned());
        }
        let hash = u128::from_str_radix(&text, 16).map_err(|error| error.to_string())?;
        Ok(Hash(hash))
    }
}
