//! Who may write a spool, who holds it, and who takes it away: several processes of a host share one.
//!
//! In the cache folder a spool is `NAME/`, written as `NAME.partial/` and renamed when it is whole, beside a
//! file `NAME.lock`. Who writes or removes holds that file's lock alone; who reads holds it with others, for as
//! long as it reads. The kernel drops the locks of a process that is killed, so what nobody holds can be told
//! and is removed: by the last holder, else by whoever opens a spool next.
//!
//! The lock file goes away with the spool. Somebody who was waiting for it then holds the lock of a file
//! that is no more, beside somebody else who holds that of its successor. So after each lock the path is
//! looked at again: only the lock of the file that is still there counts.
//!
//! A spool that was left behind is never read again, only one that somebody holds: after a power cut a
//! renamed folder may be there while its pages are not.

use super::cache::failed;
use crate::error::Result;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Every spool's name begins so, with the version of its format.
pub(super) const PREFIX: &str = "spool-1-";

/// What [`claim`] found.
#[derive(Debug)]
pub(super) enum Claim {
    /// Somebody holds a whole one, and now we do too.
    Held(Spool),
    /// There is none, and nobody else may write it now.
    Vacant(Vacancy),
}

/// A spool that is whole, and stays so while this is alive.
#[derive(Debug)]
pub(super) struct Spool(Files);

/// The right to write a spool. If it is dropped unpublished, nothing is left.
#[derive(Debug)]
pub(super) struct Vacancy {
    files: Option<Files>,
}

#[derive(Debug)]
struct Files {
    lock: File,
    lock_path: PathBuf,
    folder: PathBuf,
    partial: PathBuf,
}

/// Takes hold of the spool `name`, waiting for whoever is writing it.
pub(super) fn claim(cache: &Path, name: &str) -> Result<Claim> {
    fs::create_dir_all(cache).map_err(|error| failed(cache, "cannot make a spool", error))?;
    let claimed = (|| {
        loop {
            let files = Files::open(cache, name)?;
            match files.lock.try_lock() {
                Ok(()) if files.is_current() => {
                    files.remove_data()?;
                    fs::create_dir(&files.partial)?;
                    return Ok(Claim::Vacant(Vacancy { files: Some(files) }));
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    if let Some(spool) = files.share()? {
                        return Ok(Claim::Held(spool));
                    }
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    })();
    claimed.map_err(|error| failed(cache, "cannot lock a spool", error))
}

/// Removes every spool that nobody holds. What cannot be removed (another user's) is left alone.
pub(super) fn sweep(cache: &Path) {
    let Ok(entries) = fs::read_dir(cache) else {
        return;
    };
    let names = entries.filter_map(|entry| name_of(&entry.ok()?.file_name()));
    for name in names {
        if let Ok(files) = Files::open(cache, &name)
            && files.lock.try_lock().is_ok()
            && files.is_current()
        {
            files.remove();
        }
    }
}

/// The spool that an entry of the cache folder belongs to.
fn name_of(entry: &OsStr) -> Option<String> {
    let entry = entry.to_str()?;
    let name = entry.split('.').next()?;
    name.starts_with(PREFIX).then(|| name.to_owned())
}

impl Spool {
    /// Where its files are.
    pub(super) fn folder(&self) -> &Path {
        &self.0.folder
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // In two steps, as what becomes of a lock that is converted is the platform's business. Who gets
        // in between finds a whole spool, or removes it for us.
        if self.0.lock.unlock().is_ok() && self.0.lock.try_lock().is_ok() && self.0.is_current() {
            self.0.remove();
        }
    }
}

impl Vacancy {
    /// Where to write. The folder is there and empty.
    pub(super) fn folder(&self) -> &Path {
        self.files
            .as_ref()
            .map_or(Path::new(""), |files| &files.partial)
    }

    /// The spool is whole: others may read it. None: it was swept away before anybody held it; claim again.
    pub(super) fn publish(mut self) -> io::Result<Option<Spool>> {
        let Some(files) = &self.files else {
            return Ok(None);
        };
        fs::rename(&files.partial, &files.folder)?;
        files.lock.unlock()?;
        match self.files.take() {
            Some(files) => files.share(),
            None => Ok(None),
        }
    }
}

impl Drop for Vacancy {
    fn drop(&mut self) {
        if let Some(files) = &self.files {
            files.remove();
        }
    }
}

impl Files {
    fn open(cache: &Path, name: &str) -> io::Result<Files> {
        let lock_path = cache.join(format!("{name}.lock"));
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        Ok(Files {
            lock: options.open(&lock_path)?,
            lock_path,
            folder: cache.join(name),
            partial: cache.join(format!("{name}.partial")),
        })
    }

    /// Waits for the lock that is held with others; none if there is no spool behind it.
    fn share(self) -> io::Result<Option<Spool>> {
        self.lock.lock_shared()?;
        Ok((self.is_current() && self.folder.is_dir()).then_some(Spool(self)))
    }

    /// Whether the file that is locked is the one that others find.
    fn is_current(&self) -> bool {
        is_current(&self.lock, &self.lock_path)
    }

    /// For whoever holds the lock alone. The lock file goes last: without it nobody would look for the rest.
    fn remove(&self) {
        if self.remove_data().is_ok() {
            let _ = fs::remove_file(&self.lock_path);
        }
    }

    fn remove_data(&self) -> io::Result<()> {
        for folder in [&self.folder, &self.partial] {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether an open file is the one that others find at `path`.
pub(crate) fn is_current(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(theirs)) => (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const NAME: &str = "spool-1-test";

    fn entries(cache: &Path) -> usize {
        fs::read_dir(cache).unwrap().count()
    }

    fn write(vacancy: Vacancy) -> Spool {
        fs::write(vacancy.folder().join("text"), "whole").unwrap();
        vacancy.publish().unwrap().unwrap()
    }

    fn vacancy(cache: &Path) -> Vacancy {
        match claim(cache, NAME).unwrap() {
            Claim::Vacant(vacancy) => vacancy,
            Claim::Held(_) => panic!("nobody wrote it"),
        }
    }

    #[test]
    fn the_last_holder_removes_it() {
        let cache = tempfile::tempdir().unwrap();
        let first = write(vacancy(cache.path()));
        let Claim::Held(second) = claim(cache.path(), NAME).unwrap() else {
            panic!("it is there")
        };
        drop(first);
        sweep(cache.path());
        assert_eq!(
            fs::read_to_string(second.folder().join("text")).unwrap(),
            "whole"
        );
        drop(second);
        assert_eq!(entries(cache.path()), 0);
    }

    #[test]
    fn what_is_not_published_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let vacancy = vacancy(cache.path());
        fs::write(vacancy.folder().join("text"), "ha").unwrap();
        drop(vacancy);
        assert_eq!(entries(cache.path()), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_never_read() {
        let cache = tempfile::tempdir().unwrap();
        for left in ["spool-1-a", "spool-1-b.partial", NAME] {
            fs::create_dir(cache.path().join(left)).unwrap();
            fs::write(cache.path().join(left).join("text"), "stale").unwrap();
        }
        fs::write(cache.path().join("spool-1-a.lock"), "").unwrap();
        fs::write(cache.path().join("somebody-else's"), "").unwrap();
        let spool = write(vacancy(cache.path()));
        sweep(cache.path());
        assert_eq!(
            fs::read_to_string(spool.folder().join("text")).unwrap(),
            "whole"
        );
        assert_eq!(entries(cache.path()), 3);
    }

    #[test]
    fn the_lock_of_a_file_that_is_gone_counts_for_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let first = write(vacancy(cache.path()));
        // Two that found the lock file just before its last holder took it away.
        let late = Files::open(cache.path(), NAME).unwrap();
        let sweeper = Files::open(cache.path(), NAME).unwrap();
        drop(first);
        let second = write(vacancy(cache.path()));
        assert!(late.share().unwrap().is_none());
        assert!(sweeper.lock.try_lock().is_ok() && !sweeper.is_current());
        assert!(second.folder().join("text").is_file());
    }

    #[test]
    fn of_many_at_once_one_writes_and_all_read_the_whole() {
        let cache = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let (written, barrier) = (AtomicUsize::new(0), Barrier::new(8));
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        barrier.wait();
                        let spool = loop {
                            match claim(cache.path(), NAME).unwrap() {
                                Claim::Held(spool) => break spool,
                                Claim::Vacant(vacancy) => {
                                    written.fetch_add(1, Ordering::Relaxed);
                                    fs::write(vacancy.folder().join("text"), "whole").unwrap();
                                    if let Some(spool) = vacancy.publish().unwrap() {
                                        break spool;
                                    }
                                }
                            }
                        };
                        sweep(cache.path());
                        let text = fs::read_to_string(spool.folder().join("text"));
                        assert_eq!(text.unwrap(), "whole");
                        barrier.wait();
                        drop(spool);
                    });
                }
            });
            assert!(written.into_inner() >= 1);
            assert_eq!(entries(cache.path()), 0, "round {round}");
        }
    }
}
