//! What lies in a checkpoint folder, by its names.

use super::folder::failed;
use crate::error::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

/// Name of a step's folder.
pub(super) fn step_name(step: u64) -> String {
    format!("step-{step:08}")
}

/// The step whose folder has this name.
pub(super) fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok();
    step.filter(|step| step_name(*step) == name)
}

/// Name of a rank's file.
pub(super) fn rank_name(rank: u32, world: u32) -> String {
    format!("rank-{rank:05}-of-{world:05}.json")
}

/// Name that a rank's file is written under. Always the same, so that what a kill leaves behind is overwritten
/// by the next try.
pub(super) fn partial_name(rank: u32, world: u32) -> String {
    format!(".{}.partial", rank_name(rank, world))
}

/// The steps that have a folder in `dir`, rising; none where `dir` is not there.
pub(super) fn steps(dir: &Path) -> Result<Vec<u64>> {
    let mut steps = BTreeSet::new();
    for_each_name(dir, |name| steps.extend(step_of(name)))?;
    Ok(steps.into_iter().collect())
}

/// The ranks that have a file in a step's folder, by world size.
pub(super) fn ranks(step: &Path) -> Result<BTreeMap<u32, BTreeSet<u32>>> {
    let mut sets: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for_each_name(step, |name| {
        if let Some((rank, world)) = rank_of(name) {
            sets.entry(world).or_default().insert(rank);
        }
    })?;
    Ok(sets)
}

fn rank_of(name: &str) -> Option<(u32, u32)> {
    let numbers = name.strip_prefix("rank-")?.strip_suffix(".json")?;
    let (rank, world) = numbers.split_once("-of-")?;
    let (rank, world) = (rank.parse().ok()?, world.parse().ok()?);
    (rank_name(rank, world) == name).then_some((rank, world))
}

/// A step's files that were being written.
pub(super) fn partials(step: &Path) -> Result<Vec<String>> {
    let mut partials = Vec::new();
    for_each_name(step, |name| {
        if name.starts_with(".rank-") && name.ends_with(".partial") {
            partials.push(name.to_owned());
        }
    })?;
    Ok(partials)
}

fn for_each_name(dir: &Path, mut each: impl FnMut(&str)) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(dir, "cannot be listed", error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| failed(dir, "cannot be listed", error))?;
        let name = entry.file_name();
        // A name that is not UTF-8 is none of ours.
        if let Some(name) = OsStr::to_str(&name) {
            each(name);
        }
    }
    Ok(())
}
