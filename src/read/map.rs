//! Memory maps of files: the crate's only `unsafe`, and its contract.
//!
//! # Contract
//!
//! A mapped file is handed out as `&[u8]` while other processes may write to it. Two things can go wrong,
//! and nothing in a process can rule them out:
//!
//! - **The file is truncated.** Touching a page that no longer exists raises SIGBUS, and the kernel ends the
//!   process. So does a medium that cannot be read, and a network file system that lost its server.
//! - **The file is overwritten in place.** Bytes change under a slice that Rust takes to be constant. All that
//!   packmill does with mapped bytes is to search, copy and decode them, with checked lengths; it trusts no
//!   value that it read twice. Formally it is undefined behaviour all the same.
//!
//! Who maps a file therefore promises that nobody writes to it: shards are written under another name and
//! renamed, which leaves a live map whole. `io: auto` maps on file systems of this machine only
//! ([`is_local`]), where a writer is at least a neighbour; `io: pread` copies every byte with a checked read
//! and turns a shrinking file into an error. Both check size, time of modification and inode as they go, so
//! that a file that changed between two looks is refused; with a map that is a diagnosis, not a protection.

use bytes::Bytes;
use memmap2::{Advice, Mmap, MmapOptions};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// A file, mapped whole and for reading.
#[derive(Debug, Clone)]
pub(super) struct Map {
    bytes: Bytes,
    /// None for an empty file, which cannot be mapped.
    map: Option<Arc<Mmap>>,
}

/// Keeps a map alive for as long as a slice of it is.
struct Owner(Arc<Mmap>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Map {
    /// Maps the first `len` bytes. The file may be closed afterwards. See the contract above.
    pub(super) fn open(file: &File, len: u64) -> io::Result<Map> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        if len == 0 {
            return Ok(Map {
                bytes: Bytes::new(),
                map: None,
            });
        }
        // SAFETY: the promise of this file's contract: nobody writes to a shard or a spool while it is
        // mapped. The map is private to this type, never written, and unmapped after its last slice.
        let map = Arc::new(unsafe { MmapOptions::new().len(len).map(file)? });
        Ok(Map {
            bytes: Bytes::from_owner(Owner(Arc::clone(&map))),
            map: Some(map),
        })
    }

    /// A slice that shares the map; none outside of the file.
    pub(super) fn slice(&self, range: Range<u64>) -> Option<Bytes> {
        let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        self.bytes.get(range.clone())?;
        Some(self.bytes.slice(range))
    }

    /// Asks the kernel to fetch the pages of `range`. A hint: nothing fails.
    pub(super) fn will_need(&self, range: Range<u64>) {
        self.advise(Advice::WillNeed, range);
    }

    /// Tells the kernel that `range` is read from front to back. A hint: nothing fails.
    pub(super) fn sequential(&self, range: Range<u64>) {
        self.advise(Advice::Sequential, range);
    }

    fn advise(&self, advice: Advice, range: Range<u64>) {
        let (Some(map), Ok(start), Ok(end)) = (
            &self.map,
            usize::try_from(range.start),
            usize::try_from(range.end),
        ) else {
            return;
        };
        let end = end.min(map.len());
        if start < end {
            // A kernel that does not know the advice is as good as one that ignores it.
            let _ = map.advise_range(advice, start, end - start);
        }
    }
}

/// Whether a file lies on a file system of this machine's own, by a list of those that are known: what is
/// not known (FUSE, NFS, Lustre, 9p, …) may lose its server or truncate under a reader, and is not mapped.
#[cfg(target_os = "linux")]
pub(super) fn is_local(file: &File) -> bool {
    const LOCAL: &[u32] = &[
        0x0000_ef53, // ext2, ext3, ext4
        0x5846_5342, // xfs
        0x9123_683e, // btrfs
        0x2fc1_2fc1, // zfs
        0xf2f5_2010, // f2fs
        0xca45_1a4e, // bcachefs
        0x0102_1994, // tmpfs
        0x8584_58f6, // ramfs
        0x794c_7630, // overlayfs: a container's root
        0x7371_7368, // squashfs
        0xe0f5_e1e2, // erofs
    ];
    // The kernel's field is a signed word of the machine's width; the magic is its lower 32 bits.
    rustix::fs::fstatfs(file).is_ok_and(|fs| LOCAL.contains(&(fs.f_type as u32)))
}

/// Elsewhere nothing is known to be local.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_local(_file: &File) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_outlive_the_map_and_stay_inside_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "hello").unwrap();
        let map = Map::open(&File::open(&path).unwrap(), 5).unwrap();
        map.will_need(0..5);
        map.sequential(3..u64::MAX);
        assert_eq!(map.slice(3..6), None);
        assert_eq!(map.slice(6..u64::MAX), None);
        let slice = map.slice(1..5).unwrap();
        drop(map);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(slice, "ello");
    }

    #[test]
    fn an_empty_file_is_an_empty_map() {
        let file = tempfile::tempfile().unwrap();
        let map = Map::open(&file, 0).unwrap();
        map.will_need(0..1);
        assert_eq!(map.slice(0..0).unwrap(), "");
        assert_eq!(map.slice(0..1), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn proc_is_not_local() {
        assert!(!is_local(&File::open("/proc/self/stat").unwrap()));
    }
}
