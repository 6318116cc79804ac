//! A shard's sidecar index: what every block held when somebody looked, so that an edit can be told and named.
//!
//! Beside the shard as `SHARD.packmill.json`, or in the cache folder under the shard's identity. The stream is the
//! same with and without: a sidecar can stop it and never change it.

mod format;
mod make;

#[cfg(test)]
mod tests;

use super::local::LocalShard;
use super::new_file::NewFile;
use crate::error::{Error, Kind, Result, Stage};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

pub use format::Hash;

/// What a sidecar's name ends with. Globs of a recipe leave such files alone.
pub const SUFFIX: &str = ".packmill.json";

/// How much of a shard's head and tail is hashed whenever it is opened.
const ENDS_BYTES: u64 = 64 << 10;

/// What a sidecar says of a shard. In memory 32 bytes a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// The shard's name, for errors.
    shard: String,
    size_bytes: u64,
    ends: Ends,
    blocks: Vec<Block>,
}

/// What tells most edits of a shard without reading it through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// Hash of the first 64 KiB, or of all there is.
    pub head: Hash,
    /// Hash of the last 64 KiB, or of all there is.
    pub tail: Hash,
}

/// What a sidecar says of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Hash of its stored bytes.
    pub hash: Hash,
    /// Lines that hold a record and belong to it: those whose newline before lies in it. Too long ones count.
    pub records: u64,
    /// Lines that belong to it, blank ones included: a block's first line has the sum of those before as its number.
    pub lines: u64,
}

/// Where a sidecar is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// Beside the shard.
    Beside,
    /// In this cache folder, under a name made of the shard's path and of size, time and inode as they are now. One
    /// that was edited since has another name there, and so no sidecar.
    Cache(&'a Path),
}

impl Ends {
    /// Reads a shard's head and tail.
    pub fn of(shard: &LocalShard) -> Result<Ends> {
        let size = shard.file().size_bytes();
        let head = shard.read_now(0..size.min(ENDS_BYTES))?;
        let tail = shard.read_now(size.saturating_sub(ENDS_BYTES)..size)?;
        Ok(Ends {
            head: Hash::of(&head),
            tail: Hash::of(&tail),
        })
    }
}

/// Finds a shard's sidecar, beside it or else in the folder `cache`, and holds it against the shard's size,
/// head and tail. Reads at most 128 KiB of the shard.
///
/// Refuses a sidecar of a shard that is not this one (any more), one of a later version, and one that is damaged: whoever
/// wrote it wanted to be told.
pub fn find(shard: &LocalShard, cache: Option<&Path>) -> Result<Option<Sidecar>> {
    let mut places = vec![Place::Beside];
    places.extend(cache.map(Place::Cache));
    for place in places {
        let path = path(shard, place)?;
        let Some(text) = read(shard, &path)? else {
            continue;
        };
        let sidecar = format::parse(&text, &shard.file().name)
            .map_err(|error| error.in_shard(path.display()))?;
        sidecar.check_ends(shard)?;
        return Ok(Some(sidecar));
    }
    Ok(None)
}

/// Where a shard's sidecar is kept in a place.
pub fn path(shard: &LocalShard, place: Place<'_>) -> Result<PathBuf> {
    let file = shard.file();
    match place {
        Place::Beside => {
            let mut name = file.path.file_name().unwrap_or_default().to_owned();
            name.push(SUFFIX);
            Ok(file.path.with_file_name(name))
        }
        Place::Cache(folder) => {
            let canonical = fs::canonicalize(&file.path).map_err(|error| {
                Error::new(Kind::Io, Stage::Read, "cannot find the shard")
                    .in_shard(&file.name)
                    .caused_by(error)
            })?;
            let stamp = file.stamp;
            let mut key = canonical.as_os_str().as_bytes().to_vec();
            for number in [stamp.size_bytes, stamp.device, stamp.inode] {
                key.extend(number.to_le_bytes());
            }
            key.extend(stamp.modified_s.to_le_bytes());
            key.extend(stamp.modified_ns.to_le_bytes());
            Ok(folder.join(format!("index-{:032x}.json", xxh3_128(&key))))
        }
    }
}

impl Sidecar {
    /// What all blocks say, in file order.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Records of the shard.
    pub fn records(&self) -> u64 {
        self.blocks.iter().map(|block| block.records).sum()
    }

    /// Refuses stored bytes that are not the block's, by its number.
    pub fn check_block(&self, block: u64, bytes: &[u8]) -> Result<()> {
        self.check_hash(block, Hash::of(bytes))
    }

    /// The same for bytes that come in pieces, and need not be held together.
    pub fn begin_block(&self, block: u64) -> BlockCheck<'_> {
        BlockCheck {
            sidecar: self,
            block,
            hasher: Box::new(Xxh3::new()),
        }
    }

    /// Writes it to its place. The same sidecar gives the same bytes. Returns where it is.
    pub fn write(&self, shard: &LocalShard, place: Place<'_>) -> Result<PathBuf> {
        let path = path(shard, place)?;
        if let Place::Cache(folder) = place {
            fs::create_dir_all(folder)
                .map_err(|error| super::cache::failed(folder, "cannot make room", error))?;
        }
        let mut file = NewFile::create(&path)?;
        file.write(&format::print(self)?)?;
        file.publish()?;
        Ok(path)
    }

    pub(super) fn check_hash(&self, block: u64, hash: Hash) -> Result<()> {
        let at = usize::try_from(block).ok();
        match at.and_then(|at| self.blocks.get(at)) {
            Some(indexed) if indexed.hash == hash => Ok(()),
            Some(_) => Err(self.changed(&format!("block {block} holds other bytes"))),
            None => {
                let blocks = self.blocks.len();
                Err(self.changed(&format!(
                    "block {block} is there, after all {blocks} of then"
                )))
            }
        }
    }

    /// Refuses a shard of another number of blocks.
    pub(super) fn check_len(&self, now: u64) -> Result<()> {
        match self.blocks.len() as u64 {
            then if then == now => Ok(()),
            then => Err(self.changed(&format!("it has {now} blocks, and had {then}"))),
        }
    }

    fn check_ends(&self, shard: &LocalShard) -> Result<()> {
        let size = shard.file().size_bytes();
        if size != self.size_bytes {
            let then = self.size_bytes;
            return Err(self.changed(&format!("it went from {then} to {size} bytes")));
        }
        let ends = Ends::of(shard)?;
        if ends.head != self.ends.head {
            return Err(self.changed("its first 64 KiB hold other bytes"));
        }
        if ends.tail != self.ends.tail {
            return Err(self.changed("its last 64 KiB hold other bytes"));
        }
        Ok(())
    }

    fn changed(&self, what: &str) -> Error {
        let message = format!("the shard changed since it was indexed: {what}");
        Error::new(Kind::Changed, Stage::Read, message)
            .remedy("fetch it again; if the change was meant, run `packmill index` again")
            .in_shard(&self.shard)
    }
}

/// A block whose stored bytes go by.
pub struct BlockCheck<'a> {
    sidecar: &'a Sidecar,
    block: u64,
    hasher: Box<Xxh3>,
}

impl BlockCheck<'_> {
    /// Takes the next bytes of the block.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// After the last byte: refuses them if they are not the block's.
    pub fn finish(self) -> Result<()> {
        let hash = Hash::from(self.hasher.digest128());
        self.sidecar.check_hash(self.block, hash)
    }
}

/// A sidecar's text; none where there is no such file.
fn read(shard: &LocalShard, path: &Path) -> Result<Option<Vec<u8>>> {
    let text = (|| {
        let file = File::open(path)?;
        // No block is shorter than five bytes, no entry longer than 80: what is longer is no sidecar of this shard.
        let most = 4096 + 16 * shard.file().size_bytes();
        let mut text = Vec::new();
        file.take(most).read_to_end(&mut text)?;
        Ok(text)
    })();
    match text {
        Ok(text) => Ok(Some(text)),
        Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let message = format!("cannot read the index {}", path.display());
            Err(Error::new(Kind::Io, Stage::Read, message).caused_by(error))
        }
    }
}
