//! What flows from corpus to read: one shard file, as it was found.

use crate::error::{Error, Kind, Result, Stage};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// One file of a source. It is read on the understanding that it stays as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardFile {
    /// Where it is.
    pub path: PathBuf,
    /// The name that errors, `samples` and checkpoints use: the path below the folder that all of the
    /// source's shards have in common.
    pub name: String,
    /// What it was when it was found.
    pub stamp: Stamp,
    /// How its text is stored.
    pub codec: Codec,
}

/// How a shard's text is stored, told by its first bytes and never by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Text as it is.
    Plain,
    /// zstd frames, skippable ones among them.
    Zstd,
    /// gzip members.
    Gzip,
    /// Parquet: rows in columns, group by group.
    Parquet,
    /// Arrow IPC as a file: a stream of record batches, and a footer.
    ArrowFile,
    /// Arrow IPC as a stream of record batches.
    ArrowStream,
}

impl Codec {
    /// Whether its rows lie in columns, so that they are rows of values before they are text.
    pub fn is_columnar(self) -> bool {
        matches!(self, Codec::Parquet | Codec::ArrowFile | Codec::ArrowStream)
    }

    /// What it is called in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Plain => "JSON lines",
            Codec::Zstd => "JSON lines in zstd",
            Codec::Gzip => "JSON lines in gzip",
            Codec::Parquet => "Parquet",
            Codec::ArrowFile => "an Arrow file",
            Codec::ArrowStream => "an Arrow stream",
        }
    }
}

/// What tells whether a file is still the one that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Size in bytes.
    pub size_bytes: u64,
    /// Seconds of the time of the last modification.
    pub modified_s: i64,
    /// Nanoseconds of the same.
    pub modified_ns: i64,
    /// Device that holds the file.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

impl Stamp {
    /// The stamp of a file by what the operating system says of it.
    pub fn of(metadata: &Metadata) -> Self {
        Stamp {
            size_bytes: metadata.len(),
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

impl ShardFile {
    /// Size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.stamp.size_bytes
    }

    /// Refuses a file that is no longer the one that was found, naming what is different.
    pub fn check(&self, now: &Metadata) -> Result<()> {
        let now = Stamp::of(now);
        if now == self.stamp {
            return Ok(());
        }
        let what = if now.size_bytes != self.stamp.size_bytes {
            format!(
                "its size went from {} to {} bytes",
                self.stamp.size_bytes, now.size_bytes
            )
        } else if (now.device, now.inode) != (self.stamp.device, self.stamp.inode) {
            "another file took its place".to_owned()
        } else {
            "it was modified".to_owned()
        };
        Err(self.changed(&what))
    }

    /// The error of a file that changed while it was read. `what` is a clause.
    pub fn changed(&self, what: &str) -> Error {
        Error::new(
            Kind::Changed,
            Stage::Read,
            format!("the shard changed while it was read: {what}"),
        )
        .remedy("write shards under another name and rename them, and start again")
        .in_shard(&self.name)
    }
}
