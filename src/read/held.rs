//! A held source: every record can be had alone, in any order.

use super::blocks::BlockTable;
use super::cache::failed;
use super::joined::Joined;
use super::local::{LocalShard, OwnFile};
use super::lock::{self, Claim, Spool};
use super::spool::{Contents, Input};
use super::{Bad, Limits, Lost, ReadOptions, lines};
use crate::error::{Error, Kind, Result, Stage};
use crate::places;
use crate::recipe::OnBadRecord;
use crate::shard::Codec;
use bytes::Bytes;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use xxhash_rust::xxh3::xxh3_128;

/// How many records are read of plain shards between two looks whether they changed.
const LOOK_EVERY: u32 = 256;

/// A source that was read through once. Its blocks are its lines, blank ones included, and an unreadable rest
/// is a block in its place.
///
/// Text and index are files (plain shards are their own text), mapped or read as `io` says: nothing is in
/// memory but 8 bytes a shard. The spool in the cache folder stays as long as somebody on this host holds it.
#[derive(Debug)]
pub struct Held {
    shards: Vec<Arc<LocalShard>>,
    contents: Contents,
    /// The shards' blocks as one list.
    blocks: Joined,
    text: OwnFile,
    index: OwnFile,
    cache: PathBuf,
    limits: Limits,
    plain_reads: AtomicU32,
    _spool: Spool,
}

/// What a block of a held source is.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A record, without its line end.
    Record(Bytes),
    /// A line of white space.
    Blank,
    /// Something in the place of a record; [`Bad::record`] is the record within its shard.
    Bad(Bad),
}

/// What became of opening a source.
#[derive(Debug)]
pub(super) enum Opened {
    /// It is held.
    Held(Box<Held>),
    /// It decodes to more than `hold`. If finding out took decoding, that is what the spool says for others.
    TooLarge(Option<Spool>),
}

impl Held {
    /// Reads a source through into a spool in the folder `cache`, or takes hold of the spool that another
    /// process made of the same files. With `on_bad_record: stop` the first thing that cannot be read, a
    /// line that is too long among them, is an error.
    pub(super) fn open(
        shards: &[Arc<LocalShard>],
        tables: &[Arc<BlockTable>],
        options: &ReadOptions,
        cache: &Path,
        limits: Limits,
    ) -> Result<Opened> {
        let input = Input {
            shards,
            tables,
            options,
            limits,
            cache,
        };
        if input.is_too_large_by_its_headers() {
            return Ok(Opened::TooLarge(None));
        }
        let name = name(shards, options, &limits)?;
        let opened = loop {
            let spool = match lock::claim(cache, &name)? {
                Claim::Held(spool) => Some(spool),
                Claim::Vacant(vacancy) => {
                    let contents = input.write(vacancy.folder())?;
                    let published = write_contents(vacancy.folder(), &contents).and_then(|()| {
                        places::reach(places::SPOOL_WRITTEN);
                        vacancy.publish()
                    });
                    places::reach(places::SPOOL_PUBLISHED);
                    published.map_err(|error| failed(cache, "cannot write a spool", error))?
                }
            };
            // None: it was swept away between writing and holding.
            if let Some(spool) = spool {
                break Held::hold(&input, spool)?;
            }
        };
        lock::sweep(cache);
        Ok(opened)
    }

    fn hold(input: &Input<'_>, spool: Spool) -> Result<Opened> {
        let opened = (|| {
            let contents = fs::read(spool.folder().join("contents.json"))?;
            let contents: Contents = serde_json::from_slice(&contents)?;
            let text = OwnFile::open(&spool.folder().join("text"), input.options.io)?;
            let index = OwnFile::open(&spool.folder().join("index"), input.options.io)?;
            Ok((contents, text, index))
        })();
        let (contents, text, index) =
            opened.map_err(|error: io::Error| failed(input.cache, "cannot open a spool", error))?;
        if contents.decoded_bytes > input.options.hold {
            return Ok(Opened::TooLarge(Some(spool)));
        }
        if let (OnBadRecord::Stop, Some(error)) =
            (input.options.on_bad_record, contents.first_error(input))
        {
            return Err(error);
        }
        let blocks = Joined::of(contents.entries.iter().copied());
        Ok(Opened::Held(Box::new(Held {
            shards: input.shards.to_vec(),
            contents,
            blocks,
            text,
            index,
            cache: input.cache.to_owned(),
            limits: input.limits,
            plain_reads: AtomicU32::new(0),
            _spool: spool,
        })))
    }

    /// Number of blocks: lines of all shards, blank ones included, and unreadable rests.
    pub fn blocks(&self) -> u64 {
        self.blocks.len()
    }

    /// Number of records, bad ones included.
    pub fn records(&self) -> u64 {
        self.contents.records
    }

    /// Decoded size of the text, in bytes.
    pub fn decoded_bytes(&self) -> u64 {
        self.contents.decoded_bytes
    }

    /// The shards.
    pub fn shards(&self) -> &[Arc<LocalShard>] {
        &self.shards
    }

    /// The shard of a block and the record within it; none past the last block.
    pub fn locate(&self, block: u64) -> Option<(u32, u64)> {
        self.blocks.locate(block)
    }

    /// The blocks of a shard; none past the last shard.
    pub fn blocks_of(&self, shard: u32) -> Option<Range<u64>> {
        self.blocks.list(shard)
    }

    /// Reads one block. An error is one of reading; what is wrong with the record alone is an [`Entry::Bad`].
    pub fn read(&self, block: u64) -> Result<Entry> {
        let located = self.locate(block);
        let shard = located.and_then(|(shard, record)| {
            let at = usize::try_from(shard).ok()?;
            Some((at, record, self.shards.get(at)?))
        });
        let Some((at, record, shard)) = shard else {
            let message = format!("block {block} of {}", self.blocks());
            return Err(Error::new(Kind::Internal, Stage::Read, message));
        };
        let bad = |error: Error, lost| {
            let error = error.in_shard(&shard.file().name).at_record(record);
            Ok(Entry::Bad(Bad {
                error,
                record,
                lost,
            }))
        };
        let faults = &self.contents.faults;
        if let Ok(found) =
            faults.binary_search_by_key(&(at, record), |fault| (fault.shard, fault.entry))
            && let Some(fault) = faults.get(found)
        {
            let compressed_bytes = fault.compressed_bytes;
            return bad(fault.error(&self.shards), Lost::Rest { compressed_bytes });
        }
        // Each shard before has one number more than lines.
        let line = self
            .line(block + at as u64)
            .map_err(|error| self.failed(error))?;
        let most = self.limits.line_bytes as u64 + 2;
        if line.end.saturating_sub(line.start) > most {
            return bad(lines::too_long(&self.limits), Lost::Record);
        }
        let stored = self.text_of(shard, line)?;
        let text = lines::strip_end(&stored);
        if text.len() > self.limits.line_bytes {
            return bad(lines::too_long(&self.limits), Lost::Record);
        }
        if lines::is_blank(text) {
            return Ok(Entry::Blank);
        }
        Ok(Entry::Record(stored.slice(..text.len())))
    }

    /// The line between two consecutive numbers of the index.
    fn line(&self, number: u64) -> io::Result<Range<u64>> {
        let pair = self.index.read(number * 8..number * 8 + 16)?;
        let (Some(start), Some(end)) = (pair.first_chunk(), pair.last_chunk()) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        Ok(u64::from_le_bytes(*start)..u64::from_le_bytes(*end))
    }

    fn text_of(&self, shard: &LocalShard, line: Range<u64>) -> Result<Bytes> {
        if shard.file().codec != Codec::Plain {
            return self.text.read(line).map_err(|error| self.failed(error));
        }
        let reads = self.plain_reads.fetch_add(1, Ordering::Relaxed);
        if reads.is_multiple_of(LOOK_EVERY) {
            return shard.read_now(line);
        }
        shard.read_unchecked(line)
    }

    fn failed(&self, error: io::Error) -> Error {
        failed(&self.cache, "cannot read a spool", error)
    }
}

fn write_contents(folder: &Path, contents: &Contents) -> io::Result<()> {
    fs::write(folder.join("contents.json"), serde_json::to_vec(contents)?)
}

/// The spool's name: a hash of the files as they are and of what decides its contents.
fn name(shards: &[Arc<LocalShard>], options: &ReadOptions, limits: &Limits) -> Result<String> {
    let mut key = Vec::new();
    // `hold` too: what exceeds one says nothing about a larger one.
    key.extend(options.hold.to_le_bytes());
    key.extend(options.limit.unwrap_or(u64::MAX).to_le_bytes());
    for limit in [
        limits.line_bytes as u64,
        u64::from(limits.window_log),
        limits.ratio,
    ] {
        key.extend(limit.to_le_bytes());
    }
    for shard in shards {
        let file = shard.file();
        let path = fs::canonicalize(&file.path).map_err(|error| {
            Error::new(Kind::Io, Stage::Read, "cannot find the shard")
                .in_shard(&file.name)
                .caused_by(error)
        })?;
        let path = path.as_os_str().as_bytes();
        let stamp = file.stamp;
        key.extend((path.len() as u64).to_le_bytes());
        key.extend(path);
        for number in [stamp.size_bytes, stamp.device, stamp.inode] {
            key.extend(number.to_le_bytes());
        }
        key.extend(stamp.modified_s.to_le_bytes());
        key.extend(stamp.modified_ns.to_le_bytes());
    }
    Ok(format!("{}{:032x}", lock::PREFIX, xxh3_128(&key)))
}
