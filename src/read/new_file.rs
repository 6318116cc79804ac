//! A file that is there whole or not at all.

use super::lock::is_current;
use crate::error::{Error, Kind, Result, Stage};
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What the names of files on their way end with.
const PARTIAL: &str = ".partial";

/// A file on its way: written under a hidden temporary name in the folder that it will lie in, and locked as long as it
/// is. If it is dropped unpublished, nothing is left. What a killed process leaves, nobody holds, and whoever writes the
/// same file next removes it.
#[derive(Debug)]
pub(super) struct NewFile {
    file: File,
    partial: PathBuf,
    target: PathBuf,
    published: bool,
}

impl NewFile {
    /// Begins a file that will be `target`. Globs of a recipe do not match the temporary name, which begins with
    /// a dot. It is no other process' either, also where all have the same number, as in containers.
    pub(super) fn create(target: &Path) -> Result<NewFile> {
        sweep(target);
        loop {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let (process, now) = (std::process::id(), now.unwrap_or_default().as_nanos());
            let name = format!("{}{process}-{now}{PARTIAL}", beginning(target));
            let partial = target.with_file_name(name);
            let file = match File::options().write(true).create_new(true).open(&partial) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                file => file.map_err(|error| failed(&partial, error))?,
            };
            match file.try_lock() {
                // Somebody who sweeps was faster than the lock, and removes it or has done so.
                Err(TryLockError::WouldBlock) => continue,
                Ok(()) if !is_current(&file, &partial) => continue,
                // Where nothing can be locked, nobody sweeps.
                Ok(()) | Err(TryLockError::Error(_)) => {}
            }
            return Ok(NewFile {
                file,
                partial,
                target: target.to_owned(),
                published: false,
            });
        }
    }

    /// Adds bytes at its end.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| failed(&self.target, error))
    }

    /// Gives the file its name, in the place of what has it now, once its bytes are on the disk.
    pub(super) fn publish(mut self) -> Result<()> {
        let published = (|| {
            self.file.sync_all()?;
            fs::rename(&self.partial, &self.target)?;
            self.published = true;
            let folder = folder(&self.target);
            File::open(folder)?.sync_all()
        })();
        published.map_err(|error| failed(&self.target, error))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.published {
            // Nobody is there to be told; the name says what it is.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// What the names begin with that `target` is written under.
fn beginning(target: &Path) -> String {
    format!(".{}.", target.file_name().unwrap_or_default().display())
}

fn folder(target: &Path) -> &Path {
    let folder = target.parent();
    let named = folder.filter(|folder| !folder.as_os_str().is_empty());
    named.unwrap_or(Path::new("."))
}

/// Removes what killed processes left of `target`. What cannot be removed does no harm but for the room that it takes.
fn sweep(target: &Path) {
    let Ok(entries) = fs::read_dir(folder(target)) else {
        return;
    };
    let beginning = beginning(target);
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(number) = OsStr::to_str(&name)
            .and_then(|name| name.strip_prefix(&beginning)?.strip_suffix(PARTIAL))
        else {
            continue;
        };
        // Of another target, whose name goes on after a dot.
        if !number.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
            continue;
        }
        let path = entry.path();
        if let Ok(file) = File::open(&path)
            && file.try_lock().is_ok()
            && is_current(&file, &path)
        {
            let _ = fs::remove_file(&path);
        }
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    let message = format!("cannot write {}", path.display());
    Error::new(Kind::Io, Stage::Read, message)
        .remedy("give a folder that can be written to and has room")
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_another_writes_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.zst");
        // As it would be of a process of this one's number, and of earlier versions; then of other files.
        let own = std::process::id();
        for left in [
            format!(".a.zst.{own}.partial"),
            ".a.zst.1-17.partial".to_owned(),
        ] {
            fs::write(dir.path().join(left), "half").unwrap();
        }
        let others = [
            ".a.zst.b.1.partial",
            ".a.zst.partial.json",
            "a.zst.1.partial",
        ];
        for other in others {
            fs::write(dir.path().join(other), "other").unwrap();
        }
        let mut first = NewFile::create(&target).unwrap();
        let mut second = NewFile::create(&target).unwrap();
        assert_eq!(names(dir.path()).len(), 3 + 2);
        first.write(b"one").unwrap();
        second.write(b"two").unwrap();
        second.publish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"two");
        first.publish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"one");
        drop(NewFile::create(&target).unwrap());
        let mut expected: Vec<&str> = others.to_vec();
        expected.push("a.zst");
        expected.sort_unstable();
        assert_eq!(names(dir.path()), expected);
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_named_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let error = NewFile::create(&dir.path().join("none/a")).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("none") && error.contains("has room"),
            "{error}"
        );
    }
}
