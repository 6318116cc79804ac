//! A folder of checkpoints: `step-NNNNNNNN/rank-RRRRR-of-WWWWW.json`, each file there whole or not at all.
//!
//! A rank writes its file under another name, syncs it, renames it and syncs the folder, so that neither a kill
//! nor a power cut leaves half a file. A step is complete when all ranks of one world size have their files in it; the
//! files say which belong together.

use super::listing::{self, partial_name, rank_name, step_name};
use super::set::{Gap, MOST_LISTED, set};
use super::state::State;
use super::text;
use crate::error::{Error, Kind, Result, Stage};
use crate::places;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A folder of checkpoints.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    /// The step that was read last, while no later set is complete: it stays.
    resumed: Option<u64>,
    /// Steps of which this process has saved a part since.
    saved: BTreeSet<u64>,
}

/// A complete checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its step.
    pub step: u64,
    /// All ranks' parts, by rising rank: what [`merge`](super::merge) puts together.
    pub states: Vec<State>,
    /// Newer steps that were passed over, each with what is missing or wrong, a clause.
    pub skipped: Vec<String>,
}

impl Folder {
    /// The folder `dir`, which need not be there yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Folder {
            dir: dir.into(),
            resumed: None,
            saved: BTreeSet::new(),
        }
    }

    /// What `path` names: a folder of checkpoints, or in one the folder of a step, `DIR/step-NNNNNNNN`.
    pub fn named(path: &Path) -> (Folder, Option<u64>) {
        let name = path.file_name().and_then(OsStr::to_str);
        match (name.and_then(listing::step_of), path.parent()) {
            (Some(step), Some(dir)) => (Folder::new(dir), Some(step)),
            _ => (Folder::new(path), None),
        }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The checkpoint of a step, or the newest complete one.
    ///
    /// # Errors
    /// As [`at`](Folder::at) and [`newest`](Folder::newest).
    pub fn find(&mut self, step: Option<u64>) -> Result<Found> {
        match step {
            Some(step) => self.at(step),
            None => self.newest(),
        }
    }

    /// Saves one rank's part. When this returns it is on the disk, or a set that makes it needless is there whole: after
    /// a resume, parts that an earlier run left can complete a step before every rank has come to it again.
    ///
    /// # Errors
    /// [`Kind::Io`] where the system refuses, [`Kind::Internal`] for a state that would not be read back: nothing is
    /// written then.
    pub fn save(&mut self, state: &State) -> Result<PathBuf> {
        let folder = self.dir.join(step_name(state.step));
        let path = folder.join(rank_name(state.rank, state.world_size));
        let text = state.to_text();
        match text::read(&text) {
            Ok(back) if back == *state => {}
            Ok(_) => return Err(unreadable("it reads back as another").in_shard(path.display())),
            Err(flaw) => {
                return Err(unreadable("it does not read back").caused_by(flaw.in_file(&path)));
            }
        }
        let partial = folder.join(partial_name(state.rank, state.world_size));
        let write = || {
            create(&folder)?;
            let mut file = File::create(&partial)?;
            let (half, rest) = text.as_bytes().split_at(text.len() / 2);
            file.write_all(half)?;
            places::reach(places::CHECKPOINT_BEGUN);
            file.write_all(rest)?;
            file.sync_all()?;
            places::reach(places::CHECKPOINT_SYNCED);
            fs::rename(&partial, &path)?;
            places::reach(places::CHECKPOINT_RENAMED);
            sync(&folder)?;
            // Another rank may have made the step's folder and not have come to this yet.
            sync(&self.dir)
        };
        let written = match write() {
            // Another rank pruned an older step of this name, or made the folder at the same time.
            Err(error) if error.kind() == io::ErrorKind::NotFound => write(),
            written => written,
        };
        match written {
            // It pruned again: this rank is behind, and what an earlier run left makes a newer set whole without it.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && self.is_passed(state.step)? => {}
            written => written.map_err(|error| failed(&path, "cannot be saved", error))?,
        }
        self.saved.insert(state.step);
        Ok(path)
    }

    /// Whether the set of `step` or a newer one is complete: nobody needs another part of `step`.
    fn is_passed(&self, step: u64) -> Result<bool> {
        let mut steps = listing::steps(&self.dir)?.into_iter().rev();
        Ok(steps.any(|newer| newer >= step && self.complete(newer).is_ok()))
    }

    /// The newest complete checkpoint.
    ///
    /// # Errors
    /// [`Kind::Checkpoint`] where there is none, naming what is missing, or where a newer one was written by a
    /// newer packmill; [`Kind::Io`] where the system refuses.
    pub fn newest(&mut self) -> Result<Found> {
        let mut skipped = Vec::new();
        for step in listing::steps(&self.dir)?.into_iter().rev() {
            match self.complete(step) {
                Ok(states) => return Ok(self.found(step, states, skipped)),
                Err(Gap::Incomplete(what)) => skipped.push(what),
                Err(Gap::Refused(error)) => return Err(error),
            }
        }
        let found = match skipped.len() {
            0 => "it has no steps".to_owned(),
            steps => {
                let more = match steps.saturating_sub(MOST_LISTED) {
                    0 => String::new(),
                    more => format!(", and {more} more"),
                };
                skipped.truncate(MOST_LISTED);
                format!("{}{more}", skipped.join(", "))
            }
        };
        Err(self.none(format!("there is no complete checkpoint: {found}")))
    }

    /// The checkpoint of one step.
    ///
    /// # Errors
    /// As [`newest`](Folder::newest), where this step is not complete.
    pub fn at(&mut self, step: u64) -> Result<Found> {
        match self.complete(step) {
            Ok(states) => Ok(self.found(step, states, Vec::new())),
            Err(Gap::Incomplete(what)) => {
                Err(self.none(format!("the checkpoint is not complete: {what}")))
            }
            Err(Gap::Refused(error)) => Err(error),
        }
    }

    /// Keeps the newest `keep` complete checkpoints, at least one, and removes what is older, complete or not, and
    /// files that were never finished. For one process of a run, after it saved.
    ///
    /// Nothing is removed unless a newer set is there whole. The step that was read last stays until a set saved since
    /// is complete; steps past the last one saved, of a run that went further before, are left alone.
    ///
    /// # Errors
    /// [`Kind::Io`] where the system refuses.
    pub fn prune(&mut self, keep: usize) -> Result<()> {
        let horizon = self.saved.last().copied().unwrap_or(u64::MAX);
        let mut steps = listing::steps(&self.dir)?;
        steps.retain(|step| *step <= horizon);
        let mut kept = BTreeSet::new();
        for &step in steps.iter().rev() {
            if kept.len() == keep.max(1) {
                break;
            }
            match self.complete(step) {
                Ok(_) => kept.insert(step),
                Err(Gap::Incomplete(_)) => false,
                Err(Gap::Refused(error)) => return Err(error),
            };
        }
        let Some(&newest) = kept.last() else {
            return Ok(());
        };
        if self.saved.iter().any(|step| kept.contains(step)) {
            self.resumed = None;
        }
        for &step in steps.iter().filter(|step| **step <= newest) {
            if kept.contains(&step) || self.resumed == Some(step) {
                self.sweep(step)?;
            } else {
                self.remove(step)?;
            }
        }
        self.saved = self.saved.split_off(&newest);
        Ok(())
    }

    fn found(&mut self, step: u64, states: Vec<State>, skipped: Vec<String>) -> Found {
        self.resumed = Some(step);
        self.saved.clear();
        Found {
            step,
            states,
            skipped,
        }
    }

    /// All parts of a step's complete set. Of several, made with different numbers of ranks, the one with most
    /// rows, which only differs where the rows a step were changed.
    fn complete(&self, step: u64) -> Result<Vec<State>, Gap> {
        let folder = self.dir.join(step_name(step));
        let mut complete: Option<Vec<State>> = None;
        let mut gaps = Vec::new();
        for (world, ranks) in listing::ranks(&folder)? {
            match set(&folder, step, world, &ranks) {
                Ok(states) => {
                    let rows = |set: &[State]| set.first().map(|state| state.rows);
                    let best = complete.as_deref().and_then(rows);
                    if best < rows(&states) {
                        complete = Some(states);
                    }
                }
                Err(Gap::Incomplete(gap)) => gaps.push(gap),
                Err(refused) => return Err(refused),
            }
        }
        complete.ok_or_else(|| {
            let what = match gaps.is_empty() {
                true => "no rank's file is there".to_owned(),
                false => gaps.join(" and "),
            };
            Gap::Incomplete(format!("step {step}: {what}"))
        })
    }

    /// Removes a step: what is left after a kill in the middle is no complete set, and is removed another time.
    fn remove(&self, step: u64) -> Result<()> {
        let folder = self.dir.join(step_name(step));
        places::reach(places::CHECKPOINT_PRUNED);
        match fs::remove_dir_all(&folder) {
            Ok(()) => Ok(()),
            // Somebody else removed it, or a rank that lags behind is saving into it.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(failed(&folder, "cannot be removed", error)),
        }
    }

    /// Removes what was never finished in a complete step: left by a kill, or just being written again by a rank that is
    /// behind and needs it no more.
    fn sweep(&self, step: u64) -> Result<()> {
        let folder = self.dir.join(step_name(step));
        for name in listing::partials(&folder)? {
            let partial = folder.join(name);
            match fs::remove_file(&partial) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(&partial, "cannot be removed", error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn none(&self, message: String) -> Error {
        Error::new(Kind::Checkpoint, Stage::Checkpoint, message)
            .remedy("name the folder that checkpoints were saved to, or start without resuming")
            .in_shard(self.dir.display())
    }
}

/// Makes a folder and those above it, each on the disk before this returns.
fn create(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent();
    if let Some(above) = above {
        create(above)?;
    }
    match fs::create_dir(folder) {
        // Another rank was first: it may not have synced yet, so we do.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    match above {
        Some(above) => sync(above),
        None => Ok(()),
    }
}

/// Makes a folder's names outlive a power cut.
fn sync(folder: &Path) -> io::Result<()> {
    let named = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    File::open(named)?.sync_all()
}

pub(super) fn failed(path: &Path, what: &str, error: io::Error) -> Error {
    Error::new(Kind::Io, Stage::Checkpoint, what)
        .caused_by(error)
        .in_shard(path.display())
}

fn unreadable(what: &str) -> Error {
    Error::new(
        Kind::Internal,
        Stage::Checkpoint,
        format!("the state makes no sense and was not saved: {what}"),
    )
}
