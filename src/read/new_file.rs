//! A file that is there whole or not at all.

use crate::error::{Error, Kind, Result, Stage};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file on its way: written under a hidden temporary name in the folder that it will lie in. If it is dropped
/// unpublished, nothing is left.
#[derive(Debug)]
pub(super) struct NewFile {
    file: File,
    partial: PathBuf,
    target: PathBuf,
    published: bool,
}

impl NewFile {
    /// Begins a file that will be `target`. Globs of a recipe do not match the temporary name, which begins with
    /// a dot.
    pub(super) fn create(target: &Path) -> Result<NewFile> {
        let name = target.file_name().unwrap_or_default().display();
        let partial = target.with_file_name(format!(".{name}.{}.partial", std::process::id()));
        let file = File::options().write(true).create_new(true).open(&partial);
        Ok(NewFile {
            file: file.map_err(|error| failed(&partial, error))?,
            partial,
            target: target.to_owned(),
            published: false,
        })
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
            let folder = self
                .target
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
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

fn failed(path: &Path, error: io::Error) -> Error {
    let message = format!("cannot write {}", path.display());
    Error::new(Kind::Io, Stage::Read, message).caused_by(error)
}
