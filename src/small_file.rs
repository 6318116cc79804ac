//! Whole files that a recipe names: tokenizers, templates and what lies beside them. Never a pipe, to open which would
//! wait for its writer, and never without an end.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// Largest file that is read whole. The largest tokenizers have some 35 MB.
const MOST_BYTES: u64 = 512 << 20;

/// The bytes of a regular file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MOST_BYTES {
        true => Err(Error::new(ErrorKind::FileTooLarge, "larger than 512 MiB")),
        false => Ok(bytes),
    }
}

/// The text of a regular file in UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let text = String::from_utf8(read(path)?);
    text.map_err(|error| Error::new(ErrorKind::InvalidData, error.utf8_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_files_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "grüße").unwrap();
        assert_eq!(read_text(&path).unwrap(), "grüße");
        assert_eq!(
            read(folder.path()).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        let missing = read(&folder.path().join("b")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        std::fs::write(&path, b"\xff").unwrap();
        assert_eq!(read_text(&path).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
