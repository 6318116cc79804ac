//! The parts of all ranks put together: the state of the stream, which belongs to no rank.

use super::fingerprint::Fingerprint;
use super::history::Fork;
use super::state::{LaneState, Phase, State};
use crate::batch::Digest;
use crate::error::{Error, Kind, Result, Stage};
use crate::ledger::Ledger;

/// Where a whole stream stands after a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Which stream it is.
    pub fingerprint: Fingerprint,
    /// How many ranks it was delivered to.
    pub world_size: u32,
    /// Steps completed.
    pub step: u64,
    /// Number of the next row.
    pub rows: u64,
    /// Rows of all ranks in the last step, where that was saved.
    pub step_rows: Option<u64>,
    /// Sum of the hashes of all rows so far.
    pub digest: Digest,
    /// The account of all that was taken so far. It balances and nothing pending is below 0.
    pub ledger: Ledger,
    /// Whether the lanes are in turn or the last pool.
    pub phase: Phase,
    /// All lanes, from 0.
    pub lanes: Vec<LaneState>,
    /// What made it, as far as ranks differ one after the other.
    pub engine: String,
    /// The streams that it was before each fork, the oldest first.
    pub history: Vec<Fork>,
    /// Whose part it is.
    pub whose: Whose,
}

/// Whose part of a stream a [`Whole`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// All ranks': any number of them can go on from it.
    All,
    /// This rank's alone, of as many as there were: it alone can go on from it, with its own account.
    Rank(u32),
}

/// One rank's part, for this rank to go on from where all go on alike: as many ranks as before, each from its own part.
pub fn alone(part: State) -> Whole {
    Whole {
        fingerprint: part.fingerprint,
        world_size: part.world_size,
        step: part.step,
        rows: part.rows,
        step_rows: part.step_rows,
        digest: part.digest,
        ledger: part.ledger,
        phase: part.phase,
        lanes: part.lanes,
        engine: part.engine,
        history: part.history,
        whose: Whose::Rank(part.rank),
    }
}

/// Puts the parts of all ranks together, given in any order.
///
/// # Errors
/// [`Kind::Checkpoint`] where a rank is missing or given twice, where parts are of different steps or streams,
/// or where they make no sense together.
pub fn merge(mut parts: Vec<State>) -> Result<Whole> {
    parts.sort_by_key(|part| part.rank);
    belong_together(&parts).map_err(refuse)?;
    let mut parts = parts.into_iter();
    let Some(first) = parts.next() else {
        return Err(refuse("there is no rank's part".to_owned()));
    };
    let mut whole = Whole {
        fingerprint: first.fingerprint,
        world_size: first.world_size,
        step: first.step,
        rows: first.rows,
        step_rows: first.step_rows,
        digest: first.digest,
        ledger: first.ledger,
        phase: first.phase,
        lanes: first.lanes,
        engine: first.engine,
        history: first.history,
        whose: Whose::All,
    };
    let mut engines = vec![whole.engine.clone()];
    for part in parts {
        whole.digest += part.digest;
        whole.ledger.add(&part.ledger);
        whole.lanes.extend(part.lanes);
        if !engines.contains(&part.engine) {
            engines.push(part.engine);
        }
    }
    whole.engine = engines.join("; ");
    whole.lanes.sort_by_key(|lane| lane.lane);
    let pending = |(_, account): &(String, crate::ledger::Account)| {
        let counts = [&account.records, &account.examples, &account.tokens];
        counts.into_iter().all(|count| count.pending >= 0)
    };
    if !whole.ledger.balanced() || !whole.ledger.sources.iter().all(pending) {
        return Err(refuse(
            "the ranks' ledgers do not add up to one that balances".to_owned(),
        ));
    }
    Ok(whole)
}

/// Whether `parts`, by rising rank, are one set; `Err` says why not, as a clause.
pub(super) fn belong_together(parts: &[State]) -> std::result::Result<(), String> {
    let Some(first) = parts.first() else {
        return Err("there is no rank's part".to_owned());
    };
    let world = first.world_size;
    for (expected, part) in (0..).zip(parts) {
        part.check()
            .map_err(|wrong| format!("rank {}: {wrong}", part.rank))?;
        if part.world_size != world {
            return Err(format!(
                "rank {} is of {world} ranks, rank {} of {}",
                first.rank, part.rank, part.world_size
            ));
        }
        if part.rank != expected {
            return Err(match part.rank < expected {
                true => format!("rank {} of {world} is given twice", part.rank),
                false => format!("rank {expected} of {world} is missing"),
            });
        }
        let apart = [
            ("step", first.step, part.step),
            ("row", first.rows, part.rows),
            ("resumed row", first.since, part.since),
        ];
        if let Some((what, zero, own)) = apart.iter().find(|(_, zero, own)| zero != own) {
            return Err(format!(
                "rank 0 stands at {what} {zero}, rank {} at {own}",
                part.rank
            ));
        }
        if let Some(difference) = first.fingerprint.differences(&part.fingerprint).first() {
            return Err(format!(
                "rank {} is of another stream than rank 0: {difference}",
                part.rank
            ));
        }
        if part.phase != first.phase || part.fingerprint != first.fingerprint {
            return Err(format!(
                "rank {} is of another stream than rank 0",
                part.rank
            ));
        }
    }
    match u32::try_from(parts.len()) {
        Ok(ranks) if ranks == world => Ok(()),
        ranks => Err(format!(
            "rank {} of {world} is missing",
            ranks.unwrap_or(u32::MAX)
        )),
    }
}

fn refuse(message: String) -> Error {
    Error::new(Kind::Checkpoint, Stage::Checkpoint, message)
        .remedy("give the files of all ranks of one step, as they were saved")
}
