//! A bar for commands that read shards through, and what Ctrl-C does to them.

use crate::{Error, Kind, Stage};
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Counts bytes, on stderr and only where a person looks at it.
pub(crate) struct ByteBar {
    bar: ProgressBar,
    interrupted: Arc<AtomicBool>,
}

impl ByteBar {
    pub(crate) fn new(total_bytes: u64) -> Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        let raised = Arc::clone(&interrupted);
        ctrlc::set_handler(move || raised.store(true, Relaxed))
            .context("cannot listen for Ctrl-C")?;
        let bar = ProgressBar::new(total_bytes);
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let style =
            "{bar:30.green} {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}  {msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Ok(ByteBar { bar, interrupted })
    }

    /// Names what is read now.
    pub(crate) fn name(&self, shard: &str) {
        self.bar.set_message(shard.to_owned());
    }

    /// Counts bytes; an error after Ctrl-C.
    pub(crate) fn advance(&self, bytes: u64) -> crate::Result<()> {
        self.bar.inc(bytes);
        match self.interrupted.load(Relaxed) {
            false => Ok(()),
            true => Err(Error::new(Kind::Io, Stage::Read, "interrupted")),
        }
    }

    /// Prints a line of results, above the bar where one is shown.
    pub(crate) fn line(&self, text: &str) -> Result<()> {
        Ok(self.bar.suspend(|| writeln!(std::io::stdout(), "{text}"))?)
    }
}

impl Drop for ByteBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
