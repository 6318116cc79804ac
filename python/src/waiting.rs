//! Work that may take long, on a thread of its own, while Ctrl-C is listened for.

use crate::errors::{guarded, raise};
use packmill::{Error, Kind, Result, Stage};
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long to wait before the interpreter is asked whether somebody pressed Ctrl-C.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// Whether the work is still wanted.
#[derive(Clone, Default)]
pub(crate) struct Wanted(Arc<AtomicBool>);

impl Wanted {
    /// From now on it is not.
    pub(crate) fn end(&self) {
        self.0.store(true, Relaxed);
    }

    /// An error once it is not.
    pub(crate) fn check(&self) -> Result<()> {
        match self.0.load(Relaxed) {
            false => Ok(()),
            true => Err(Error::new(
                Kind::Internal,
                Stage::Recipe,
                "it was interrupted, or closed",
            )),
        }
    }
}

/// Drops what has threads that may be waiting for the interpreter, in a function over records: without it.
pub(crate) fn drop_detached<T: Send>(value: T) {
    let mut value = Some(value);
    if Python::try_attach(|py| py.detach(|| drop(value.take()))).is_none() {
        drop(value.take());
    }
}

/// Does `work`, which asks [`Wanted`] where it can end early. What it gives after an interrupt is dropped on its thread.
pub(crate) fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(Wanted) -> Result<T> + Send + 'static,
) -> PyResult<T> {
    let wanted = Wanted::default();
    let (done, waited) = channel();
    // What is waited on without the interpreter must be shareable; this thread alone takes it.
    let waited = Mutex::new(waited);
    let own = wanted.clone();
    let thread = std::thread::Builder::new().name("packmill-open".to_owned());
    let spawned = thread.spawn(move || {
        let made = guarded(|| work(own));
        // Nobody waits any more where it was interrupted.
        let _ = done.send(made);
    });
    if let Err(error) = spawned {
        let clause = "the thread that opens a corpus cannot be started";
        let error = Error::new(Kind::Io, Stage::Corpus, clause).caused_by(error);
        return Err(raise(py, &error));
    }
    loop {
        let found = py.detach(|| {
            let waited = waited.lock().unwrap_or_else(PoisonError::into_inner);
            waited.recv_timeout(PATIENCE)
        });
        match found {
            Ok(made) => return made.map_err(|error| raise(py, &error)),
            Err(RecvTimeoutError::Timeout) => {
                if let Err(interrupt) = py.check_signals() {
                    wanted.end();
                    // It may have been made by now, and its threads may be waiting for the interpreter.
                    py.detach(move || drop(waited));
                    return Err(interrupt);
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                let error = Error::new(Kind::Internal, Stage::Corpus, "the opening thread is gone");
                return Err(raise(py, &error));
            }
        }
    }
}
