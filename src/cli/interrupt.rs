//! Ctrl-C: ends the process while there is nothing to report, and the stream once there is one.

use crate::pipeline::{Loader, StopHandle};
use anyhow::{Context, Result};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

/// Exit code of a process that an interrupt ended, as shells count it.
const INTERRUPTED: i32 = 130;

/// How long to wait for a stopped loader's threads; what they would have tidied up, the next run does.
const PATIENCE: Duration = Duration::from_millis(50);

/// What Ctrl-C did so far.
#[derive(Clone)]
pub(crate) struct Interrupt {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stream: OnceLock<StopHandle>,
    raised: AtomicBool,
}

/// What Ctrl-C is for, of the command that runs, or ran last.
static CURRENT: Mutex<Option<Arc<Shared>>> = Mutex::new(None);

fn raise() {
    let current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    match current
        .as_ref()
        .and_then(|heard| Some((heard, heard.stream.get()?)))
    {
        Some((heard, stream)) if !heard.raised.swap(true, Relaxed) => stream.stop(),
        _ => std::process::exit(INTERRUPTED),
    }
}

impl Interrupt {
    /// Listens. Until there is a stream, Ctrl-C ends the process; a second one does so at any time.
    pub(crate) fn listen() -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        if current.replace(Arc::clone(&shared)).is_none() {
            // A process has one handler, and may run several commands.
            ctrlc::set_handler(raise).context("cannot listen for Ctrl-C")?;
        }
        Ok(Interrupt { shared })
    }

    /// From now on Ctrl-C ends this stream.
    pub(crate) fn stops(&self, loader: &Loader) {
        // The first stream of a process is its only one.
        let _ = self.shared.stream.set(loader.stop_handle());
    }

    /// Whether the stream was interrupted.
    pub(crate) fn is_raised(&self) -> bool {
        self.shared.raised.load(Relaxed)
    }
}

/// Drops a loader that did not come to its end, without waiting for the batch that its threads may be at.
pub(crate) fn leave(loader: Loader) {
    loader.stop_handle().stop();
    let (done, wait) = mpsc::channel();
    let dropping = std::thread::Builder::new().spawn(move || {
        drop(loader);
        let _ = done.send(());
    });
    if dropping.is_ok() {
        let _ = wait.recv_timeout(PATIENCE);
    }
}
