//! Hostile input, each kind by itself: one clear error that names shard and record, or a counted drop where the recipe
//! says skip; never a panic, a hang or a silently shorter stream. What it costs is measured by `examples/hostile_cost`.

mod damage; // small shards of each format, cut at every byte and with every bit flipped
mod files; // pipes and folders in a glob, tokenizers that are none, recipes of faults alone
mod limits; // every key of `limits`, met and passed
mod lines; // lines without end, bad UTF-8, half surrogates, rows of another shape
mod seeds; // what fuzzing began with, on every test run
mod templates; // templates that do not end, print without end, or raise

use crate::corpus::{Corpus, SMALL};
use packmill::ledger::Reason;
use packmill::pipeline::{Loader, Progress};
use packmill::{Error, Recipe};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Forgives eight bad records, and one in twenty.
const SKIP: &str = "on_bad_record: {skip: {max_fraction: 0.05}}";

/// Far longer than anything here takes: whoever is not done then hangs.
const HANGS: Duration = Duration::from_secs(120);

/// Runs `work`, which must end.
fn ends<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, end) = channel();
    let worker = std::thread::spawn(move || {
        // Nobody listens any more where it came too late.
        let _ = done.send(work());
    });
    match end.recv_timeout(HANGS) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(worker.join().unwrap_err())
        }
    }
}

/// All of a recipe's stream: where it stood at its end, or its one error.
fn stream(corpus: &Corpus, recipe: Recipe) -> Result<Progress, Error> {
    let cache = corpus.cache();
    ends(move || {
        let mut loader = Loader::builder(recipe).cache(cache).build()?;
        let mut failed = None;
        for batch in &mut loader {
            assert!(failed.is_none(), "more after {failed:?}");
            failed = batch.err();
        }
        assert!(loader.progress().ledger.balanced());
        failed.map_or_else(|| Ok(loader.progress().clone()), Err)
    })
}

/// The error that a stream of `paths` ends with, which names the shard.
fn refused(corpus: &Corpus, paths: &str, more: &str) -> Error {
    let recipe = corpus.recipe(paths, &format!("{SMALL}\n{more}"));
    let error = stream(corpus, recipe).expect_err("it should be refused");
    let said = error.to_string();
    assert!(!said.contains("panicked") && !said.contains('\n'), "{said}");
    error
}

/// Of a stream that skips: records read, delivered, and bad.
fn skipped(corpus: &Corpus, paths: &str, more: &str) -> (u64, u64, u64) {
    let recipe = corpus.recipe(paths, &format!("{SMALL}\n{SKIP}\n{more}"));
    let progress = stream(corpus, recipe).unwrap_or_else(|error| panic!("{error}"));
    let account = &progress.ledger.sources[0].1;
    let bad = account.records.dropped.get(&Reason::BadRecord);
    (
        account.records.taken,
        account.records.delivered,
        bad.copied().unwrap_or(0) + account.unreadable.blocks,
    )
}
