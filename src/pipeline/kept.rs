//! Files in the cache folder that outlive a run: whole or not there, made by one process while the others wait.
//!
//! Each ends with a hash of its bytes, so that what a power cut or a full disk left of one is made again. They are
//! small (four bytes a record) and may be removed at any time.

use crate::error::{Error, Kind, Result, Stage};
use crate::places;
use crate::read::is_current;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_128;

const HASH_BYTES: usize = 16;

/// What [`claim`] found.
pub(super) enum Claim {
    /// The file's bytes.
    There(Vec<u8>),
    /// It is not there, and nobody else makes it now.
    Ours(Pen),
    /// Somebody else is making it.
    Busy,
}

/// Whether to wait for somebody else who makes the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Until,
    Not,
}

/// The right to make a file.
pub(super) struct Pen {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

/// The bytes of the file `name`, if it is there and whole.
pub(super) fn load(cache: &Path, name: &str) -> Option<Vec<u8>> {
    let mut bytes = fs::read(cache.join(name)).ok()?;
    let end = bytes.len().checked_sub(HASH_BYTES)?;
    let hash = xxh3_128(bytes.get(..end)?).to_le_bytes();
    if bytes.get(end..)? != hash {
        return None;
    }
    bytes.truncate(end);
    Some(bytes)
}

/// The file `name`, or the right to make it.
pub(super) fn claim(cache: &Path, name: &str, wait: Wait) -> Result<Claim> {
    claim_unless(cache, name, wait, |_| true)
}

/// The file `name` if it will do, else the right to make it, or to replace one that will not. Nobody takes a file
/// away: a reader finds the one or the other.
pub(super) fn claim_unless(
    cache: &Path,
    name: &str,
    wait: Wait,
    will_do: impl Fn(&[u8]) -> bool,
) -> Result<Claim> {
    let load = || load(cache, name).filter(|bytes| will_do(bytes));
    if let Some(bytes) = load() {
        return Ok(Claim::There(bytes));
    }
    let path = cache.join(name);
    let lock_path = cache.join(format!("{name}.lock"));
    let locked = (|| {
        fs::create_dir_all(cache)?;
        loop {
            let mut options = File::options();
            let lock = options.read(true).write(true).create(true).truncate(false);
            let lock = lock.open(&lock_path)?;
            match (wait, lock.try_lock()) {
                (_, Ok(())) => {}
                (Wait::Not, Err(TryLockError::WouldBlock)) => return Ok(None),
                (Wait::Until, Err(TryLockError::WouldBlock)) => lock.lock()?,
                (_, Err(TryLockError::Error(error))) => return Err(error),
            }
            // Whoever had the lock before took the lock file away: then this is the lock of no file, and
            // somebody else may hold that of its successor.
            if is_current(&lock, &lock_path) {
                return Ok(Some(lock));
            }
        }
    })();
    let Some(lock) = locked.map_err(|error| failed(&path, error))? else {
        return Ok(Claim::Busy);
    };
    let pen = Pen {
        path,
        lock_path,
        _lock: lock,
    };
    // Whoever had the lock before may have made it. Then the pen goes, and takes the lock file with it.
    Ok(match load() {
        Some(bytes) => Claim::There(bytes),
        None => Claim::Ours(pen),
    })
}

impl Pen {
    /// Makes the file.
    pub(super) fn write(self, mut bytes: Vec<u8>) -> Result<()> {
        let hash = xxh3_128(&bytes).to_le_bytes();
        bytes.extend_from_slice(&hash);
        let name = self.path.file_name().unwrap_or_default().display();
        // Of one name, as one has the right: what a killed process left of it is written over.
        let partial = self.path.with_file_name(format!(".{name}.partial"));
        let written = fs::write(&partial, &bytes).and_then(|()| {
            places::reach(places::LENGTHS_WRITTEN);
            fs::rename(&partial, &self.path)
        });
        places::reach(places::LENGTHS_PUBLISHED);
        written.map_err(|error| {
            // What is left of it is of no use; the error says why it is there.
            let _ = fs::remove_file(&partial);
            failed(&self.path, error)
        })
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.lock_path);
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    let message = format!("cannot keep what was found in {}", path.display());
    Error::new(Kind::Io, Stage::Order, message)
        .remedy("set PACKMILL_CACHE to a local folder with more room")
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(cache: &Path) -> Pen {
        match claim(cache, "a", Wait::Not).unwrap() {
            Claim::Ours(pen) => pen,
            _ => panic!("it should be ours"),
        }
    }

    #[test]
    fn one_makes_it_and_the_others_find_it() {
        let cache = tempfile::tempdir().unwrap();
        let pen = ours(cache.path());
        assert!(matches!(
            claim(cache.path(), "a", Wait::Not).unwrap(),
            Claim::Busy
        ));
        let waiting = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| claim(cache.path(), "a", Wait::Until).unwrap());
            pen.write(b"lengths".to_vec()).unwrap();
            waiting.join().unwrap()
        });
        let Claim::There(bytes) = waiting else {
            panic!("it is there")
        };
        assert_eq!(bytes, b"lengths");
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_not_whole_is_made_again() {
        let cache = tempfile::tempdir().unwrap();
        ours(cache.path()).write(b"lengths".to_vec()).unwrap();
        let path = cache.path().join("a");
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(load(cache.path(), "a").is_none(), "cut at {cut}");
        }
        let mut edited = whole.clone();
        edited[3] ^= 1;
        fs::write(&path, &edited).unwrap();
        assert!(load(cache.path(), "a").is_none());
        ours(cache.path()).write(b"lengths".to_vec()).unwrap();
        assert_eq!(load(cache.path(), "a").unwrap(), b"lengths");
    }
}
