//! What a render writes: text with a limit, where in it `{% generation %}` blocks were printed, and what was
//! printed for which message.

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use minijinja::{Error, State};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The function that an instrumented template calls at the head of each loop's body.
pub(super) const TURN: &str = "packmill_turn";

/// The function that an instrumented template calls behind each loop.
pub(super) const TURNS_END: &str = "packmill_turns_end";

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
    /// No blocks, but what is printed, statement by statement, and for which message. Needs an
    /// instrumented template and messages that are [`Numbered`].
    Turns,
}

/// What one statement printed: a piece of literal text or one `{{ … }}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Bytes of the page.
    pub(super) at: Range<usize>,
    /// The message that the innermost loop over messages stood at.
    pub(super) turn: Option<usize>,
}

/// A message that knows its place in the conversation, whatever list or variable a template puts it in.
#[derive(Debug)]
pub(super) struct Numbered {
    message: Value,
    index: usize,
}

impl Numbered {
    /// `message` as it is if it is no map.
    pub(super) fn value(message: Value, index: usize) -> Value {
        if message
            .as_object()
            .is_some_and(|o| o.repr() == ObjectRepr::Map)
        {
            Value::from_object(Numbered { message, index })
        } else {
            message
        }
    }
}

impl Object for Numbered {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.message.as_object()?.get_value(key)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.message.as_object()?.get_value_by_str(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let object = self.message.as_object();
        object.map_or(Enumerator::NonEnumerable, |object| object.enumerate())
    }
}

/// Loops that are being gone through, and what was printed meanwhile.
#[derive(Debug, Default)]
struct Turns {
    /// Number of the loop in the source, and the message that it stands at. Loops over other things are
    /// not listed.
    open: Vec<(usize, usize)>,
    pieces: Vec<Piece>,
}

/// Follows the generation blocks of one render.
#[derive(Debug)]
pub(super) struct Recorder {
    tracking: Tracking,
    /// Bytes on the page so far.
    written: AtomicUsize,
    spans: Mutex<Vec<Range<usize>>>,
    turns: Mutex<Turns>,
}

impl Recorder {
    pub(super) fn new(tracking: Tracking) -> Arc<Recorder> {
        Arc::new(Recorder {
            tracking,
            written: AtomicUsize::new(0),
            spans: Mutex::new(Vec::new()),
            turns: Mutex::new(Turns::default()),
        })
    }

    /// The pieces of [`Tracking::Turns`], in order; together they are the page.
    pub(super) fn take_pieces(&self) -> Vec<Piece> {
        std::mem::take(&mut self.turns().pieces)
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
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
        Tracking::Off | Tracking::Turns => Ok(body.clone()),
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

/// The function [`TURN`]: loop number `id` goes on with `item`.
pub(super) fn turn(state: &State, id: usize, item: &Value) {
    let message = item.downcast_object_ref::<Numbered>();
    with_turns(state, |turns| {
        leave(turns, id);
        turns
            .open
            .extend(message.map(|message| (id, message.index)));
    });
}

/// The function [`TURNS_END`]: loop number `id` is over.
pub(super) fn turns_end(state: &State, id: usize) {
    with_turns(state, |turns| leave(turns, id));
}

/// Closes the loop, and those inside it that were left by a jump.
fn leave(turns: &mut Turns, id: usize) {
    if let Some(depth) = turns.open.iter().rposition(|(open, _)| *open == id) {
        turns.open.truncate(depth);
    }
}

fn with_turns(state: &State, change: impl FnOnce(&mut Turns)) {
    let recorder = state.lookup(RECORDER);
    let recorder = recorder
        .as_ref()
        .and_then(|r| r.downcast_object_ref::<Recorder>());
    if let Some(recorder) = recorder.filter(|r| r.tracking == Tracking::Turns) {
        change(&mut recorder.turns());
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
        if self.recorder.tracking == Tracking::Turns {
            let mut turns = self.recorder.turns();
            let turn = turns.open.last().map(|(_, message)| *message);
            let at = self.text.len()..self.text.len() + bytes.len();
            turns.pieces.push(Piece { at, turn });
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
