//! A shard on a file system: ranged bytes of it, mapped or read, and always of the file that was found.

use super::map::{Map, is_local};
use crate::error::{Error, Kind, Result, Stage};
use crate::recipe::Io;
use crate::shard::ShardFile;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Files that a source keeps open under `pread`. Enough for the blocks that are read at a time, and far from
/// the 1,024 descriptors that a process has by default.
const OPEN_FILES: usize = 64;

/// One local shard. Cheap to share; every method may be called from any thread.
#[derive(Debug)]
pub struct LocalShard {
    file: ShardFile,
    access: Access,
}

#[derive(Debug)]
enum Access {
    Mapped(Map),
    Pread { id: usize, open: Arc<OpenFiles> },
}

/// The most recently used files of a source, so that a source of many shards needs few descriptors.
#[derive(Debug, Default)]
struct OpenFiles(Mutex<VecDeque<(usize, Arc<File>)>>);

/// Opens a source's shards, each mapped or read as `io` says. A file that is not the one that was found is
/// refused.
pub fn open_shards(files: &[ShardFile], io: Io) -> Result<Vec<Arc<LocalShard>>> {
    let open = Arc::new(OpenFiles::default());
    let shards = files.iter().enumerate();
    shards
        .map(|(id, file)| LocalShard::open(file, io, id, &open).map(Arc::new))
        .collect()
}

impl LocalShard {
    fn open(file: &ShardFile, io: Io, id: usize, open: &Arc<OpenFiles>) -> Result<LocalShard> {
        let opened = open_checked(file)?;
        let access = match map(&opened, file.size_bytes(), io) {
            Some(Ok(map)) => Access::Mapped(map),
            None => Access::Pread {
                id,
                open: Arc::clone(open),
            },
            Some(Err(error)) => {
                return Err(failed(file, "cannot map the shard", error).remedy("set io: pread"));
            }
        };
        Ok(LocalShard {
            file: file.clone(),
            access,
        })
    }

    /// The file as it was found.
    pub fn file(&self) -> &ShardFile {
        &self.file
    }

    /// Whether its bytes are mapped, so that reading them never waits on this thread's account.
    pub fn is_mapped(&self) -> bool {
        matches!(self.access, Access::Mapped(_))
    }

    /// Exactly the bytes of `range`, read on this thread.
    pub fn read_now(&self, range: Range<u64>) -> Result<Bytes> {
        match &self.access {
            Access::Mapped(map) => {
                // The stat that comes before the bytes makes a truncated file an error rather than a
                // signal, unless it is truncated in between.
                self.check()?;
                self.slice(map, range)
            }
            Access::Pread { id, open } => {
                let opened = open.get(*id, || open_checked(&self.file))?;
                let len = range.end.saturating_sub(range.start);
                let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
                match opened.read_exact_at(&mut bytes, range.start) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        return Err(self.file.changed("it ended early"));
                    }
                    Err(error) => return Err(failed(&self.file, "cannot read the shard", error)),
                }
                let now = opened.metadata();
                let now =
                    now.map_err(|error| failed(&self.file, "cannot read the shard", error))?;
                self.file.check(&now)?;
                Ok(Bytes::from(bytes))
            }
        }
    }

    /// The same without looking whether the file changed: for records picked one by one, where the look
    /// would cost more than the record. The caller looks now and then ([`check`](LocalShard::check)).
    pub(super) fn read_unchecked(&self, range: Range<u64>) -> Result<Bytes> {
        match &self.access {
            Access::Mapped(map) => self.slice(map, range),
            Access::Pread { .. } => self.read_now(range),
        }
    }

    /// Hints that `range` is needed soon, and from front to back.
    pub fn will_need(&self, range: Range<u64>) {
        if let Access::Mapped(map) = &self.access {
            map.will_need(range);
        }
    }

    /// Hints that the whole file is read from front to back.
    pub(super) fn sequential(&self) {
        if let Access::Mapped(map) = &self.access {
            map.sequential(0..self.file.size_bytes());
        }
    }

    /// Refuses a path that no longer leads to the file that was found. One `stat`.
    pub fn check(&self) -> Result<()> {
        match std::fs::metadata(&self.file.path) {
            Ok(now) => self.file.check(&now),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(self.file.changed("it was removed"))
            }
            Err(error) => Err(failed(&self.file, "cannot look at the shard", error)),
        }
    }

    fn slice(&self, map: &Map, range: Range<u64>) -> Result<Bytes> {
        map.slice(range.clone()).ok_or_else(|| {
            let message = format!(
                "bytes {}..{} lie outside of the shard",
                range.start, range.end
            );
            Error::new(Kind::Internal, Stage::Read, message).in_shard(&self.file.name)
        })
    }
}

impl OpenFiles {
    fn get(&self, id: usize, open: impl FnOnce() -> Result<File>) -> Result<Arc<File>> {
        if let Some(file) = self.find(id) {
            return Ok(file);
        }
        // Opened outside of the lock: on a network file system it takes a while.
        let file = Arc::new(open()?);
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.push_front((id, Arc::clone(&file)));
        files.truncate(OPEN_FILES);
        Ok(file)
    }

    fn find(&self, id: usize) -> Option<Arc<File>> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = files.iter().position(|(of, _)| *of == id)?;
        let found = files.remove(at)?;
        let file = Arc::clone(&found.1);
        files.push_front(found);
        Some(file)
    }
}

/// Maps a file where `io` wants it so; none: read it.
fn map(file: &File, len: u64, io: Io) -> Option<io::Result<Map>> {
    match io {
        Io::Pread => None,
        Io::Mmap => Some(Map::open(file, len)),
        // A map that cannot be had (too many maps, too little address space) is no reason to stop.
        Io::Auto if is_local(file) => Map::open(file, len).ok().map(Ok),
        Io::Auto => None,
    }
}

fn open_checked(file: &ShardFile) -> Result<File> {
    let opened =
        File::open(&file.path).map_err(|error| failed(file, "cannot open the shard", error))?;
    let now = opened.metadata();
    file.check(&now.map_err(|error| failed(file, "cannot open the shard", error))?)?;
    Ok(opened)
}

fn failed(file: &ShardFile, what: &str, error: io::Error) -> Error {
    Error::new(Kind::Io, Stage::Read, what)
        .in_shard(&file.name)
        .caused_by(error)
}

/// A file of packmill's own making, which nobody else writes to: a spool's text or index.
#[derive(Debug)]
pub(super) enum OwnFile {
    /// Mapped.
    Mapped(Map),
    /// Read with `pread`.
    Pread(File),
}

impl OwnFile {
    /// Opens it as `io` says.
    pub(super) fn open(path: &Path, io: Io) -> io::Result<OwnFile> {
        let file = File::open(path)?;
        match map(&file, file.metadata()?.len(), io) {
            Some(map) => Ok(OwnFile::Mapped(map?)),
            None => Ok(OwnFile::Pread(file)),
        }
    }

    /// Exactly the bytes of `range`.
    pub(super) fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        match self {
            OwnFile::Mapped(map) => map.slice(range).ok_or(io::ErrorKind::UnexpectedEof.into()),
            OwnFile::Pread(file) => {
                let len = range.end.saturating_sub(range.start);
                let mut bytes =
                    vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?];
                file.read_exact_at(&mut bytes, range.start)?;
                Ok(Bytes::from(bytes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{Codec, Stamp};
    use std::path::PathBuf;

    fn shard(path: PathBuf, io: Io) -> Arc<LocalShard> {
        let file = ShardFile {
            stamp: Stamp::of(&std::fs::metadata(&path).unwrap()),
            path,
            name: "a.jsonl".to_owned(),
            codec: Codec::Plain,
        };
        open_shards(&[file], io).unwrap().remove(0)
    }

    #[test]
    fn mapped_and_read_bytes_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        std::fs::write(&path, "0123456789").unwrap();
        let (mapped, read) = (shard(path.clone(), Io::Mmap), shard(path, Io::Pread));
        assert!(mapped.is_mapped() && !read.is_mapped());
        for range in [0..10, 3..7, 4..4] {
            assert_eq!(
                mapped.read_now(range.clone()).unwrap(),
                read.read_now(range).unwrap()
            );
        }
        assert_eq!(mapped.read_now(5..11).unwrap_err().kind(), Kind::Internal);
    }

    #[test]
    fn a_shard_that_shrinks_under_pread_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        std::fs::write(&path, "0123456789").unwrap();
        let shard = shard(path.clone(), Io::Pread);
        shard.read_now(0..10).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(5)
            .unwrap();
        assert_eq!(shard.read_now(0..10).unwrap_err().kind(), Kind::Changed);
        assert_eq!(shard.read_now(0..2).unwrap_err().kind(), Kind::Changed);
        assert_eq!(shard.check().unwrap_err().kind(), Kind::Changed);
    }

    #[test]
    fn a_shard_that_is_replaced_or_removed_is_told() {
        for io in [Io::Mmap, Io::Pread] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.jsonl");
            std::fs::write(&path, "0123456789").unwrap();
            let shard = shard(path.clone(), io);
            std::fs::write(dir.path().join("b"), "0123456789").unwrap();
            std::fs::rename(dir.path().join("b"), &path).unwrap();
            let error = shard.check().unwrap_err();
            assert!(error.message().contains("took its place"), "{error}");
            std::fs::remove_file(&path).unwrap();
            assert!(shard.check().unwrap_err().message().contains("removed"));
        }
    }

    #[test]
    fn a_source_of_many_shards_needs_few_descriptors() {
        let open = OpenFiles::default();
        for id in 0..200 {
            open.get(id, || Ok(tempfile::tempfile().unwrap())).unwrap();
            open.get(0, || Ok(tempfile::tempfile().unwrap())).unwrap();
        }
        let files = open.0.lock().unwrap();
        assert_eq!(files.len(), OPEN_FILES);
        assert_eq!(files.iter().filter(|(id, _)| *id == 0).count(), 1);
    }
}
