//! The same records as a zstd shard of many small frames, each a block that the order can deal alone.

mod cutter;
mod seek_table;

#[cfg(test)]
mod tests;

use self::cutter::Cutter;
use self::seek_table::SeekTable;
use super::Limits;
use super::blocks::BlockTable;
use super::line_count::LineCount;
use super::local::LocalShard;
use super::new_file::NewFile;
use super::walk::{Depth, Visitor, walk};
use crate::error::{Error, Kind, Result, Stage};
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, compress_bound};

/// Whoever names a shard means its text, however small it is stored, and lines up to the largest frame.
const LIMITS: Limits = Limits {
    line_bytes: 64 << 20,
    ratio: u64::MAX,
    ..Limits::DEFAULT
};

/// How a shard is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frames {
    frame_bytes: usize,
    level: i32,
}

impl Frames {
    /// Sizes that a frame's text may have, in bytes. A larger frame would be larger than the longest record.
    pub const SIZES: RangeInclusive<u64> = 1..=64 << 20;

    /// zstd's levels. All of them write windows that are read unasked.
    pub const LEVELS: RangeInclusive<i32> = 1..=22;

    /// Frames of at most `frame_bytes` of text, but for longer records, compressed at zstd's `level`.
    pub fn new(frame_bytes: u64, level: i32) -> Result<Frames> {
        let refused = |message: String| Err(Error::new(Kind::Recipe, Stage::Read, message));
        if !Frames::SIZES.contains(&frame_bytes) {
            return refused(format!("a frame cannot have {frame_bytes} bytes of text"))
                .map_err(|error| error.remedy("take a size from 1 to 64MiB; 256KiB is usual"));
        }
        if !Frames::LEVELS.contains(&level) {
            return refused(format!("zstd has no level {level}"))
                .map_err(|error| error.remedy("take one from 1 to 22; 3 is usual"));
        }
        let frame_bytes = usize::try_from(frame_bytes).unwrap_or(usize::MAX);
        Ok(Frames { frame_bytes, level })
    }
}

impl Default for Frames {
    /// 256 KiB at level 3: small enough for 64 lanes to deal fairly from 64 MiB of text, at the cost of
    /// some percent of size (7 on chats that have little in common, 9 on ones that repeat each other).
    fn default() -> Self {
        Frames {
            frame_bytes: 256 << 10,
            level: 3,
        }
    }
}

/// What becomes of a file that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and writing is refused.
    Refuse,
    /// The new one takes its place.
    Replace,
}

/// Figures of a shard that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recompressed {
    /// Lines that hold a record.
    pub records: u64,
    /// Frames with text; the seek table is one more.
    pub frames: u64,
    /// Bytes of text.
    pub text_bytes: u64,
    /// Stored bytes before.
    pub stored_bytes: u64,
    /// Stored bytes after.
    pub written_bytes: u64,
}

/// The name of what [`recompress`] makes of a shard: without `.gz` or `.zst`, with `.zst`, and `.jsonl.zst` instead of
/// `.parquet` or `.arrow`; in `folder`, else beside the shard.
///
/// Refuses a name that would be the shard's own.
pub fn recompressed_path(shard: &Path, folder: Option<&Path>) -> Result<PathBuf> {
    let Some(name) = shard.file_name() else {
        let message = format!("{} is no file's name", shard.display());
        return Err(Error::new(Kind::Recipe, Stage::Read, message));
    };
    let compressed = [Some("gz".as_ref()), Some("zst".as_ref())].contains(&shard.extension());
    let mut name = match compressed {
        true => shard.file_stem().unwrap_or(name).to_owned(),
        false => name.to_owned(),
    };
    let columnar = [Some("parquet".as_ref()), Some("arrow".as_ref())].contains(&shard.extension());
    if columnar {
        name = shard.file_stem().map_or(name, ToOwned::to_owned);
        name.push(".jsonl");
    }
    name.push(".zst");
    let path = match folder {
        Some(folder) => folder.join(&name),
        None => shard.with_file_name(&name),
    };
    if path == shard {
        let message = format!("{} would be written over itself", shard.display());
        return Err(Error::new(Kind::Recipe, Stage::Read, message)
            .remedy("name another folder with --output DIR"));
    }
    Ok(path)
}

/// Writes a shard's text, byte for byte, or the JSON lines of its rows to `target` as zstd frames with content size and checksum.
///
/// Frames are cut before the newline in front of a record, so that each holds exactly the records that belong
/// to it. A line that is longer than a record may be (64 MiB) is in several frames, and as unreadable as it was.
/// Behind the frames a skippable one holds the seek table of zstd's seekable format, for other tools.
///
/// The same shard text and `frames` give the same bytes, whatever the shard was compressed with. The file appears
/// under its name when it is whole and on the disk. It never takes the shard's own place. In memory is one frame,
/// stored and as text (twice 64 MiB at most), the input's window, and 8 bytes a frame.
///
/// `progress` is told of stored bytes as they are read; its error breaks off and leaves nothing.
pub fn recompress(
    shard: &LocalShard,
    target: &Path,
    frames: Frames,
    existing: Existing,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Recompressed> {
    check_target(shard, target, existing)?;
    let mut file = NewFile::create(target)?;
    let done = write(shard, frames, &LIMITS, &mut file, progress)?;
    check_target(shard, target, existing)?;
    file.publish()?;
    Ok(done)
}

/// Refuses a target that is the shard itself, and one that is there already unless it may be replaced.
pub fn check_target(shard: &LocalShard, target: &Path, existing: Existing) -> Result<()> {
    let Ok(found) = target.metadata() else {
        return Ok(());
    };
    let stamp = shard.file().stamp;
    let message = format!("{} is there already", target.display());
    if (found.dev(), found.ino()) == (stamp.device, stamp.inode) {
        return Err(Error::new(
            Kind::Recipe,
            Stage::Read,
            format!("{message}: it is the shard that is read"),
        )
        .remedy("name another folder with --output DIR"));
    }
    match existing {
        Existing::Replace if found.is_file() => Ok(()),
        Existing::Replace => Err(Error::new(Kind::Recipe, Stage::Read, message)
            .remedy("it is no file and is not replaced")),
        Existing::Refuse => {
            Err(Error::new(Kind::Recipe, Stage::Read, message).remedy("--force replaces it"))
        }
    }
}

/// Where frames go.
trait Out {
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
}

impl Out for NewFile {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        NewFile::write(self, bytes)
    }
}

fn write(
    shard: &LocalShard,
    frames: Frames,
    limits: &Limits,
    out: &mut impl Out,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Recompressed> {
    let read = |range| shard.read_now(range);
    let table = BlockTable::list_within(shard.file(), limits, read)?;
    // The newlines around it and a `\r` do not count in a record's length.
    let record_bytes = limits.line_bytes + 3;
    let mut rewrite = Rewrite {
        cutter: Cutter::new(frames.frame_bytes, record_bytes),
        lines: LineCount::default(),
        frames: FrameWriter::new(frames.level, out)?,
    };
    walk(shard, &table, *limits, Depth::Text, &mut rewrite, progress)?;
    let Rewrite {
        cutter,
        mut lines,
        mut frames,
    } = rewrite;
    cutter.finish(&mut |part| frames.write(part))?;
    lines.end_of_block(table.bounds());
    let done = frames.finish()?;
    Ok(Recompressed {
        records: lines.finish().iter().map(|count| count.records).sum(),
        stored_bytes: shard.file().size_bytes(),
        ..done
    })
}

struct Rewrite<'a, O> {
    cutter: Cutter,
    lines: LineCount,
    frames: FrameWriter<'a, O>,
}

impl<O: Out> Visitor for Rewrite<'_, O> {
    fn text(&mut self, text: &[u8]) -> Result<()> {
        self.lines.text(text);
        let frames = &mut self.frames;
        self.cutter.take(text, &mut |part| frames.write(part))
    }
}

/// Compresses parts of text and writes them.
struct FrameWriter<'a, O> {
    compressor: Compressor<'static>,
    frame: Vec<u8>,
    seek_table: SeekTable,
    done: Recompressed,
    out: &'a mut O,
}

impl<'a, O: Out> FrameWriter<'a, O> {
    fn new(level: i32, out: &'a mut O) -> Result<Self> {
        let mut compressor = Compressor::new(level).map_err(refused)?;
        for parameter in [
            CParameter::ChecksumFlag(true),
            CParameter::ContentSizeFlag(true),
        ] {
            compressor.set_parameter(parameter).map_err(refused)?;
        }
        Ok(FrameWriter {
            compressor,
            frame: Vec::new(),
            seek_table: SeekTable::default(),
            done: Recompressed::default(),
            out,
        })
    }

    fn write(&mut self, text: &[u8]) -> Result<()> {
        self.frame.clear();
        self.frame.reserve(compress_bound(text.len()));
        let written = self.compressor.compress_to_buffer(text, &mut self.frame);
        let written = written.map_err(refused)?;
        self.seek_table.push(written, text.len());
        self.done.frames += 1;
        self.done.text_bytes += text.len() as u64;
        self.done.written_bytes += written as u64;
        self.out.write(&self.frame)
    }

    fn finish(mut self) -> Result<Recompressed> {
        if self.done.frames == 0 {
            // No byte at all would be a file that was cut: zstd and packmill refuse it.
            self.write(b"")?;
        }
        if let Some(table) = self.seek_table.encode() {
            self.done.written_bytes += table.len() as u64;
            self.out.write(&table)?;
        }
        Ok(self.done)
    }
}

fn refused(error: std::io::Error) -> Error {
    Error::new(Kind::Internal, Stage::Read, "zstd did not compress a frame").caused_by(error)
}
