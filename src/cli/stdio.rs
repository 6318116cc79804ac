//! Standard output and standard error: the one place that writes to them.
//!
//! `println!` panics where it cannot write, and a pipe that is closed or a disk that is full is no fault of ours. So
//! results go through [`stdout`], whose errors say what could not be written, and notes through [`note`], which has
//! nowhere to complain.

use anyhow::Result;
use std::fmt;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

/// Held back until there is as much, or until the writer is flushed.
const BUFFER_BYTES: usize = 1 << 16;

/// Standard output, locked and buffered; colours are kept where it is a terminal. Flush it: what is left when it is
/// dropped is written too, but nobody hears that it could not be.
pub(crate) fn stdout() -> impl Write {
    named("stdout".to_owned(), None, anstream::stdout().lock())
}

/// A file of results.
pub(crate) fn create(path: &Path) -> Result<impl Write> {
    let file = std::fs::File::create(path).map_err(|error| {
        let remedy = "give --output a file in a folder that can be written";
        anyhow::anyhow!("cannot create {}: {error}; {remedy}", path.display())
    })?;
    let remedy = "make room there or give another --output";
    Ok(named(path.display().to_string(), Some(remedy), file))
}

/// Prints all of `text`.
pub(crate) fn print(text: impl fmt::Display) -> Result<()> {
    let mut out = stdout();
    write!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// Prints a line to standard error, where that can be written.
pub(crate) fn note(line: impl fmt::Display) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// Whether the reader of our standard output went away (`| head`): no error of ours.
pub(crate) fn is_closed_stdout(error: &anyhow::Error) -> bool {
    let Some(error) = error.downcast_ref::<io::Error>() else {
        return false;
    };
    let unwritten = error.get_ref().and_then(|e| e.downcast_ref::<Unwritten>());
    error.kind() == ErrorKind::BrokenPipe && unwritten.is_some_and(|u| u.remedy.is_none())
}

fn named<W: Write>(to: String, remedy: Option<&'static str>, inner: W) -> BufWriter<Named<W>> {
    BufWriter::with_capacity(BUFFER_BYTES, Named { to, remedy, inner })
}

/// A writer whose errors say where it writes.
struct Named<W> {
    to: String,
    /// None for standard output: what it is joined to is not ours to choose.
    remedy: Option<&'static str>,
    inner: W,
}

impl<W> Named<W> {
    fn name<T>(&self, written: io::Result<T>) -> io::Result<T> {
        written.map_err(|error| match error.kind() {
            // Whoever writes all of something tries again.
            ErrorKind::Interrupted => error,
            kind => {
                let (to, remedy) = (self.to.clone(), self.remedy);
                io::Error::new(kind, Unwritten { to, remedy, error })
            }
        })
    }
}

impl<W: Write> Write for Named<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes);
        self.name(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.inner.flush();
        self.name(flushed)
    }
}

/// What could not be written, inside an [`io::Error`] of the same kind.
#[derive(Debug)]
struct Unwritten {
    to: String,
    remedy: Option<&'static str>,
    error: io::Error,
}

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write to {}: {}", self.to, self.error)?;
        match self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Unwritten {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Refuses every write in the same way.
    struct Refusing(ErrorKind);

    impl Write for Refusing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn refused(kind: ErrorKind, remedy: Option<&'static str>) -> anyhow::Error {
        let mut out = named("here".to_owned(), remedy, Refusing(kind));
        // As JSON lines are written: the error passes through serde_json's.
        let written = serde_json::to_writer(&mut out, "text").map_err(io::Error::from);
        written.and_then(|()| out.flush()).unwrap_err().into()
    }

    #[test]
    fn an_error_says_where_and_what_to_do() {
        let error = refused(ErrorKind::StorageFull, Some("make room"));
        let text = format!("{error:#}");
        assert!(text.starts_with("cannot write to here: "), "{text}");
        assert!(text.ends_with("; make room"), "{text}");
    }

    #[test]
    fn only_a_closed_stdout_is_no_error() {
        assert!(is_closed_stdout(&refused(ErrorKind::BrokenPipe, None)));
        assert!(!is_closed_stdout(&refused(ErrorKind::StorageFull, None)));
        let file = refused(ErrorKind::BrokenPipe, Some("give another"));
        assert!(!is_closed_stdout(&file));
        assert!(!is_closed_stdout(
            &io::Error::from(ErrorKind::BrokenPipe).into()
        ));
    }
}
