//! How long the epochs are, before the first batch: their rows, counted by planning each without keeping any.

use super::lengths::name;
use super::plan::{Material, Planner};
use crate::checkpoint::Fingerprint;
use crate::error::Result;
use crate::pipeline::kept::{self, Claim, Wait};
use crate::pipeline::outlet::no_row;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// How long a stream of `plan: global` is, known before its first batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// Rows of each epoch from the first on: of all, or of the first where the recipe names no number.
    pub rows: Vec<u64>,
    /// Steps of each of these epochs, when all of it is streamed with the present step size.
    pub steps: Vec<u64>,
    /// The step after which the stream ends, counted from its start; none for a stream without end.
    pub last_step: Option<u64>,
    /// Records that were encoded to count their tokens; 0 where all lengths were in the cache.
    pub counted_records: u64,
}

/// What has been streamed already.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Streamed {
    pub(super) rows: u64,
    pub(super) step: u64,
}

impl Outlook {
    /// Of `rows` by epoch, when `streamed` is done and every step has `step_rows`.
    pub(super) fn new(
        rows: Vec<u64>,
        step_rows: u64,
        endless: bool,
        streamed: Streamed,
        counted_records: u64,
    ) -> Outlook {
        let steps = rows.iter().map(|rows| rows.div_ceil(step_rows)).collect();
        let mut ends = 0_u64;
        let left = rows.iter().map(|rows| {
            ends += rows;
            // Of an epoch that was begun, what is left of it.
            ends.saturating_sub(streamed.rows)
                .min(*rows)
                .div_ceil(step_rows)
        });
        let left: u64 = left.sum();
        Outlook {
            steps,
            last_step: (!endless).then(|| streamed.step + left),
            rows,
            counted_records,
        }
    }
}

/// Rows that are planned between two calls of a tick.
const A_TICK: u64 = 1_024;

/// Is told, again and again, how many epochs are planned; its error ends the planning.
pub(super) type Tick<'a> = &'a (dyn Fn(u64) -> Result<()> + Sync);

/// The rows of each of the first `epochs` epochs, from the cache where they are there.
pub(super) fn rows(
    material: &Material,
    fingerprint: &Fingerprint,
    epochs: u64,
    workers: usize,
    cache: &Path,
    tick: Tick<'_>,
) -> Result<Vec<u64>> {
    let key = format!("{} {:016x}", fingerprint.to_json(), material.lengths.hash());
    let name = name("rows", &key);
    let wanted = usize::try_from(epochs).unwrap_or(usize::MAX);
    let parse = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or_default();
    let mut known: Vec<u64> = kept::load(cache, &name).map_or(Vec::new(), |bytes| parse(&bytes));
    if known.len() < wanted {
        let more = count(material, known.len() as u64, epochs, workers, tick)?;
        known.extend(more);
        // Of two that find the file too short, both count the rest, and the first writes it.
        let long_enough = |bytes: &[u8]| parse(bytes).len() >= wanted;
        if let Claim::Ours(pen) = kept::claim_unless(cache, &name, Wait::Until, long_enough)? {
            pen.write(serde_json::to_vec(&known).unwrap_or_default())?;
        }
    }
    known.truncate(wanted);
    if known.first() == Some(&0) {
        return Err(no_row());
    }
    Ok(known)
}

/// Epochs are planned side by side: none depends on another.
fn count(
    material: &Material,
    from: u64,
    to: u64,
    workers: usize,
    tick: Tick<'_>,
) -> Result<Vec<u64>> {
    let (next, done, stop) = (
        AtomicU64::new(from),
        AtomicU64::new(from),
        AtomicBool::new(false),
    );
    let found: Mutex<Vec<(u64, Result<u64>)>> = Mutex::new(Vec::new());
    let work = || {
        while !stop.load(Relaxed) {
            let epoch = next.fetch_add(1, Relaxed);
            if epoch >= to {
                break;
            }
            let rows = rows_of(material, epoch, &|| tick(done.load(Relaxed)));
            let rows = rows.and_then(|rows| {
                tick(done.fetch_add(1, Relaxed) + 1)?;
                Ok(rows)
            });
            stop.fetch_or(rows.is_err(), Relaxed);
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.push((epoch, rows));
        }
    };
    let threads = usize::try_from(to - from)
        .unwrap_or(usize::MAX)
        .min(workers);
    std::thread::scope(|scope| {
        for n in 1..threads {
            let thread = std::thread::Builder::new().name(format!("packmill-plan-{n}"));
            // Without it the others do its work.
            let _ = thread.spawn_scoped(scope, work);
        }
        work();
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(epoch, _)| *epoch);
    found.into_iter().map(|(_, rows)| rows).collect()
}

fn rows_of(material: &Material, epoch: u64, tick: &dyn Fn() -> Result<()>) -> Result<u64> {
    let mut planner = Planner::new(material.clone(), epoch)?;
    let mut rows = 0_u64;
    while planner.row(&mut ())?.is_some() {
        rows += 1;
        if rows.is_multiple_of(A_TICK) {
            tick()?;
        }
    }
    Ok(rows)
}
