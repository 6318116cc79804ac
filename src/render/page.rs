//! What a render writes: text with a limit, and where in it `{% generation %}` blocks were printed.

use minijinja::value::{Object, ObjectRepr, Value};
use minijinja::{Error, State};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The name under which a render's [`Recorder`] lies in the template's scope. No identifier can be
/// spelt so.
pub(super) const RECORDER: &str = "<recorder>";

/// How generation blocks are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tracking {
    /// Not at all.
    Off,
    /// By position: right where every block prints straight to the page, since nothing can change it on
    /// the way.
    Position,
    /// By sentinels around the block's text, for blocks that are printed into a capture (a macro, a set
    /// block) first.
    Sentinels {
        /// Printed before the block.
        open: char,
        /// Printed after it.
        close: char,
    },
}

/// Follows the generation blocks of one render.
#[derive(Debug)]
pub(super) struct Recorder {
    tracking: Tracking,
    /// Bytes on the page so far.
    written: AtomicUsize,
    spans: Mutex<Vec<Range<usize>>>,
}

impl Recorder {
    pub(super) fn new(tracking: Tracking) -> Arc<Recorder> {
        Arc::new(Recorder {
            tracking,
            written: AtomicUsize::new(0),
            spans: Mutex::new(Vec::new()),
        })
    }

    /// The spans of [`Tracking::Position`], in the order in which they were printed.
    pub(super) fn take_spans(&self) -> Vec<Range<usize>> {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *spans)
    }
}

impl Object for Recorder {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

/// The filter that a `{% generation %}` block is rewritten to: `body` is what the block printed, and
/// what it returns is printed in its place.
pub(super) fn generation(state: &State, body: &Value) -> Result<Value, Error> {
    let recorder = state.lookup(RECORDER);
    let Some(recorder) = recorder
        .as_ref()
        .and_then(|r| r.downcast_object_ref::<Recorder>())
    else {
        return Ok(body.clone());
    };
    let text = body.as_str().unwrap_or_default();
    match recorder.tracking {
        Tracking::Off => Ok(body.clone()),
        Tracking::Position => {
            let start = recorder.written.load(Ordering::Relaxed);
            let mut spans = recorder
                .spans
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            spans.push(start..start + text.len());
            Ok(body.clone())
        }
        Tracking::Sentinels { open, close } => Ok(Value::from(format!("{open}{text}{close}"))),
    }
}

/// The page that a render prints on.
pub(super) struct Page {
    text: Vec<u8>,
    limit: usize,
    recorder: Arc<Recorder>,
}

impl Page {
    pub(super) fn new(limit: usize, recorder: Arc<Recorder>) -> Page {
        Page {
            text: Vec::new(),
            limit,
            recorder,
        }
    }

    /// The text; none if it is not UTF-8, which the engine never writes.
    pub(super) fn into_text(self) -> Option<String> {
        String::from_utf8(self.text).ok()
    }
}

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit - self.text.len() {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.text.extend_from_slice(bytes);
        self.recorder
            .written
            .store(self.text.len(), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_page_takes_no_more_than_its_limit() {
        let mut page = Page::new(5, Recorder::new(Tracking::Off));
        page.write_all(b"abc").unwrap();
        assert!(page.write_all(b"def").is_err());
        page.write_all(b"de").unwrap();
        assert!(page.write_all(b"f").is_err());
        assert_eq!(page.into_text().unwrap(), "abcde");
    }
}
