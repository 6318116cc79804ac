//! Files: what is there, what is newest, what goes.

use super::super::folder::{Folder, Found};
use super::{any_state, state};
use crate::checkpoint::State;
use crate::error::{Error, Kind};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

fn part(step: u64, rank: u32, world: u32) -> State {
    let mut state = state(&["sgd"], 8, rank, world, 8 * step);
    state.step = step;
    state
}

/// Saves the parts of some ranks as one run after the other would.
fn save(dir: &Path, step: u64, ranks: impl IntoIterator<Item = u32>, world: u32) {
    let mut folder = Folder::new(dir);
    for rank in ranks {
        folder.save(&part(step, rank, world)).unwrap();
    }
}

fn newest(dir: &Path) -> Result<Found, Error> {
    Folder::new(dir).newest()
}

fn file(dir: &Path, step: u64, rank: u32, world: u32) -> PathBuf {
    dir.join(format!("step-{step:08}/rank-{rank:05}-of-{world:05}.json"))
}

fn steps(dir: &Path) -> BTreeSet<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| name(entry.unwrap())).collect()
}

fn step_set<const N: usize>(steps: [u64; N]) -> BTreeSet<String> {
    steps
        .into_iter()
        .map(|step| format!("step-{step:08}"))
        .collect()
}

#[test]
fn what_was_saved_is_found_and_nothing_else_is_left() {
    let dir = TempDir::new().unwrap();
    let below = dir.path().join("a/b");
    save(&below, 20, 0..4, 4);
    let found = newest(&below).unwrap();
    assert_eq!(found.step, 20);
    assert_eq!(
        found.states,
        (0..4).map(|rank| part(20, rank, 4)).collect::<Vec<_>>()
    );
    assert!(found.skipped.is_empty());
    let names = steps(&below.join("step-00000020"));
    assert_eq!(names.len(), 4);
    assert!(names.contains("rank-00002-of-00004.json"), "{names:?}");
}

#[test]
fn incomplete_newer_steps_are_passed_over_and_said() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    save(dir, 10, 0..2, 2);
    save(dir, 20, [0, 2], 4);
    save(dir, 30, 0..2, 2);
    fs::write(file(dir, 30, 1, 2), "{\"version\": 1,").unwrap();
    fs::create_dir(dir.join("step-00000040")).unwrap();
    fs::write(dir.join("notes.txt"), "mine").unwrap();
    let found = newest(dir).unwrap();
    assert_eq!(found.step, 10);
    let said = found.skipped.join("\n");
    for expected in [
        "step 40: no rank's file is there",
        "step 30: rank-00001-of-00002.json: the file is cut short",
        "step 20: ranks 1, 3 of 4 are missing",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    let at = Folder::new(dir).at(20).unwrap_err().to_string();
    assert!(at.contains("ranks 1, 3 of 4 are missing"), "{at}");
    assert_eq!(Folder::new(dir).at(10).unwrap().step, 10);
}

#[test]
fn where_there_is_none_the_error_says_what_is_missing() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    let error = newest(&dir.join("nowhere")).unwrap_err();
    assert_eq!(error.kind(), Kind::Checkpoint);
    assert!(error.to_string().contains("it has no steps"), "{error}");
    save(dir, 20, 1..4, 4);
    let error = newest(dir).unwrap_err();
    assert_eq!(error.kind(), Kind::Checkpoint);
    assert!(
        error
            .to_string()
            .contains("step 20: rank 0 of 4 is missing"),
        "{error}"
    );
}

#[test]
fn a_newer_version_is_refused_and_not_passed_over() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    save(dir, 10, 0..1, 1);
    save(dir, 20, 0..1, 1);
    let text = part(20, 0, 1).to_text();
    let end = text.find("\"hash\"").unwrap();
    let body = text[..end].replace("\"version\": 1", "\"version\": 2");
    let hash = xxhash_rust::xxh3::xxh3_128(body.as_bytes());
    let path = file(dir, 20, 0, 1);
    fs::write(&path, format!("{body}\"hash\": \"{hash:032x}\"}}\n")).unwrap();
    let error = newest(dir).unwrap_err();
    assert_eq!(error.kind(), Kind::Checkpoint);
    assert!(error.to_string().contains("of version 2"), "{error}");
    assert_eq!(error.shard(), path.to_str());
}

#[test]
fn a_file_under_another_name_is_no_part() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    save(dir, 20, 0..2, 2);
    fs::copy(file(dir, 20, 0, 2), file(dir, 20, 1, 2)).unwrap();
    let error = newest(dir).unwrap_err().to_string();
    assert!(
        error.contains("rank-00001-of-00002.json is of step 20, rank 0 of 2"),
        "{error}"
    );
}

#[test]
fn sets_of_several_world_sizes_lie_side_by_side() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    save(dir, 20, [0, 1, 3], 4);
    save(dir, 20, 0..2, 2);
    assert_eq!(newest(dir).unwrap().states.len(), 2);
    save(dir, 20, 0..8, 8);
    assert_eq!(newest(dir).unwrap().states.len(), 2);
}

/// A run is killed between two ranks' saves, resumed from the step before, and killed between them again: the two
/// files are of two runs, and their digests and ledgers do not add up.
#[test]
fn a_part_left_over_from_a_run_that_began_elsewhere_makes_no_set() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    save(dir, 10, 0..2, 2);
    save(dir, 20, [1], 2);
    let mut resumed = part(20, 0, 2);
    resumed.since = 80;
    Folder::new(dir).save(&resumed).unwrap();
    let found = newest(dir).unwrap();
    assert_eq!(found.step, 10);
    assert!(
        found.skipped[0].contains("resumed row 80"),
        "{:?}",
        found.skipped
    );
}

#[test]
fn a_state_that_would_not_read_back_is_not_saved() {
    let dir = TempDir::new().unwrap();
    let mut wrong = part(20, 0, 2);
    wrong.lanes[0].rows = 7;
    let error = Folder::new(dir.path()).save(&wrong).unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
    assert!(steps(dir.path()).is_empty());
}

#[test]
fn pruning_keeps_the_newest_complete_ones() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    let mut folder = Folder::new(dir);
    for step in [10, 20, 30, 50] {
        folder.save(&part(step, 0, 2)).unwrap();
        if step != 20 {
            folder.save(&part(step, 1, 2)).unwrap();
        }
    }
    folder.save(&part(60, 0, 2)).unwrap();
    folder.prune(2).unwrap();
    assert_eq!(steps(dir), step_set([30, 50, 60]));
    folder.prune(2).unwrap();
    folder.prune(0).unwrap();
    assert_eq!(steps(dir), step_set([50, 60]));
}

#[test]
fn nothing_goes_before_a_newer_set_is_complete() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    let mut folder = Folder::new(dir);
    for step in [10, 20] {
        folder.save(&part(step, 0, 2)).unwrap();
    }
    folder.prune(1).unwrap();
    assert_eq!(steps(dir), step_set([10, 20]));
}

#[test]
fn the_step_resumed_from_stays_until_another_is_complete() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    for step in [10, 20, 30] {
        save(dir, step, 0..2, 2);
    }
    let mut folder = Folder::new(dir);
    folder.at(10).unwrap();
    folder.prune(1).unwrap();
    assert_eq!(steps(dir), step_set([10, 30]));
    // What went further before does not count as newer than what this run saves.
    folder.save(&part(15, 0, 2)).unwrap();
    folder.prune(1).unwrap();
    assert_eq!(steps(dir), step_set([10, 15, 30]));
    folder.save(&part(15, 1, 2)).unwrap();
    folder.prune(1).unwrap();
    assert_eq!(steps(dir), step_set([15, 30]));
}

#[test]
fn a_rank_behind_saves_while_another_prunes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // What an earlier run left of rank 1 makes sets whole that it has not come to again.
    save(dir, 9, [1], 2);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut folder = Folder::new(dir);
            folder.save(&part(9, 0, 2)).unwrap();
            while !done.load(Ordering::Relaxed) {
                folder.prune(1).unwrap();
            }
        });
        let mut folder = Folder::new(dir);
        let saved: Vec<_> = (0..200)
            .map(|turn| folder.save(&part(8 + turn % 2, 1, 2)))
            .collect();
        done.store(true, Ordering::Relaxed);
        for saved in saved {
            saved.unwrap();
        }
    });
    assert_eq!(newest(dir).unwrap().step, 9);
}

#[test]
fn what_a_kill_left_unfinished_is_no_file_and_goes() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    let mut folder = Folder::new(dir);
    for rank in 0..2 {
        folder.save(&part(20, rank, 2)).unwrap();
    }
    let partial = |step: u64| {
        let folder = dir.join(format!("step-{step:08}"));
        fs::create_dir_all(&folder).unwrap();
        let partial = folder.join(".rank-00000-of-00002.json.partial");
        fs::write(&partial, "{\"ver").unwrap();
        partial
    };
    let (passed, ahead) = (partial(20), partial(30));
    assert_eq!(newest(dir).unwrap().step, 20);
    folder.prune(3).unwrap();
    assert!(!passed.exists() && ahead.exists());
    for rank in 0..2 {
        folder.save(&part(30, rank, 2)).unwrap();
    }
    assert!(!ahead.exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_state_is_saved_and_read(state in any_state()) {
        let dir = TempDir::new().unwrap();
        let path = Folder::new(dir.path()).save(&state).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        prop_assert_eq!(State::parse(&text, &path).unwrap(), state);
    }
}
