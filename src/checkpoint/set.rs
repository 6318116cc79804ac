//! One step's set: the files of all ranks of one world size, read and found to belong together.

use super::folder::failed;
use super::listing::rank_name;
use super::state::State;
use super::text::{self, Flaw};
use super::whole::belong_together;
use crate::error::Error;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Reasons that an error lists; more are counted.
pub(super) const MOST_LISTED: usize = 4;

/// Why a step cannot be resumed from.
pub(super) enum Gap {
    /// Files are missing, damaged or do not belong together.
    Incomplete(String),
    /// It should not be passed over: a newer version, or the system refuses.
    Refused(Error),
}

impl From<Error> for Gap {
    fn from(error: Error) -> Self {
        Gap::Refused(error)
    }
}

/// The parts of all ranks of one world size.
pub(super) fn set(
    folder: &Path,
    step: u64,
    world: u32,
    ranks: &BTreeSet<u32>,
) -> Result<Vec<State>, Gap> {
    let missing: Vec<String> = (0..world)
        .filter(|rank| !ranks.contains(rank))
        .take(MOST_LISTED + 1)
        .map(|rank| rank.to_string())
        .collect();
    if !missing.is_empty() {
        let listed: Vec<&str> = missing
            .iter()
            .take(MOST_LISTED)
            .map(String::as_str)
            .collect();
        let (noun, verb) = match missing.len() {
            1 => ("rank", "is"),
            _ => ("ranks", "are"),
        };
        let more = if missing.len() > MOST_LISTED {
            ", …"
        } else {
            ""
        };
        let missing = listed.join(", ");
        return Err(Gap::Incomplete(format!(
            "{noun} {missing}{more} of {world} {verb} missing"
        )));
    }
    let mut states = Vec::new();
    for rank in 0..world {
        let path = folder.join(rank_name(rank, world));
        let bytes = fs::read(&path).map_err(|error| failed(&path, "cannot be read", error))?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| Flaw::Damaged(format!("the file is damaged: {error}")));
        let state = match text.and_then(text::read) {
            Ok(state) => state,
            Err(flaw @ Flaw::Newer(_)) => return Err(Gap::Refused(flaw.in_file(&path))),
            Err(Flaw::Damaged(what)) => {
                let name = rank_name(rank, world);
                return Err(Gap::Incomplete(format!("{name}: {what}")));
            }
        };
        let own = (state.step, state.rank, state.world_size);
        if own != (step, rank, world) {
            return Err(Gap::Incomplete(format!(
                "{} is of step {}, rank {} of {}",
                rank_name(rank, world),
                own.0,
                own.1,
                own.2
            )));
        }
        states.push(state);
    }
    belong_together(&states).map_err(Gap::Incomplete)?;
    Ok(states)
}
