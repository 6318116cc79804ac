//! What a fingerprint is made of besides the recipe: files, as whoever opens them knows them.

use crate::example::TokenId;
use crate::shard::{Codec, ShardFile};
use std::fmt;
use std::ops::Range;
use xxhash_rust::xxh3::Xxh3;

/// Bytes of a shard's beginning and end that [`shard_print`] wants, or all of a shorter one.
pub const ENDS_BYTES: u64 = 64 << 10;

/// One source as it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePrint {
    /// Held or streamed.
    pub form: Form,
    /// Blocks that the order deals.
    pub blocks: u64,
    /// Its files, in the order in which they are read.
    pub shards: Vec<ShardPrint>,
    /// [`hash_of_texts`] of the templates that its records may be rendered with; none where none is used.
    pub template: Option<u64>,
    /// Identity of the function over its records; none where there is none.
    pub function: Option<String>,
}

/// What a source's blocks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Single records.
    Held,
    /// The files' natural blocks.
    Streamed,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Held => "held",
            Form::Streamed => "streamed",
        })
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardPrint {
    /// What people call it. Not compared.
    pub name: String,
    /// Stored bytes.
    pub bytes: u64,
    /// Its [`shard_print`].
    pub hash: u64,
}

/// What decides ids and padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizerPrint {
    /// Name and version of the reference engine, whichever engine runs.
    pub version: String,
    /// Hash of the files and of what was changed in them.
    pub files: u128,
    /// Special tokens as templates see them: name and content.
    pub special_tokens: Vec<(String, String)>,
    /// Beginning of sequence.
    pub bos: Option<TokenId>,
    /// End of sequence.
    pub eos: Option<TokenId>,
    /// Padding.
    pub pad: TokenId,
}

/// Hash of a shard without reading it through: of its size, how it is stored, where its frames lie, and its
/// beginning and end.
///
/// `head` and `tail` are the first and the last [`ENDS_BYTES`] bytes, all of a shorter shard; `frames` gives the stored
/// bytes of each block, and its decoded size where a header says it. An edit in the middle that changes neither shows only in an index or in a frame's checksum.
pub fn shard_print(
    file: &ShardFile,
    head: &[u8],
    tail: &[u8],
    frames: impl IntoIterator<Item = (Range<u64>, Option<u64>)>,
) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&file.size_bytes().to_le_bytes());
    hash.update(match file.codec {
        Codec::Plain => b"plain",
        Codec::Zstd => b"zstd ",
        Codec::Gzip => b"gzip ",
        Codec::Parquet => b"parquet",
        Codec::ArrowFile => b"arrow file",
        Codec::ArrowStream => b"arrow stream",
    });
    for end in [head, tail] {
        hash.update(&(end.len() as u64).to_le_bytes());
        hash.update(end);
    }
    for (stored, decoded) in frames {
        // No frame decodes to so much: it stands for a header that does not say.
        for number in [stored.start, stored.end, decoded.unwrap_or(u64::MAX)] {
            hash.update(&number.to_le_bytes());
        }
    }
    hash.digest()
}

/// Hash of named texts, such as the templates of a tokenizer's folder, in this order.
pub fn hash_of_texts<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> u64 {
    let mut hash = Xxh3::new();
    for (name, text) in texts {
        for part in [name, text] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    hash.digest()
}
