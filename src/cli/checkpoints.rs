//! `packmill stream --checkpoint DIR`, and `--resume DIR`.

use crate::checkpoint::{Folder, Whole, merge};
use crate::cli::stdio;
use crate::pipeline::Loader;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// Complete checkpoints that stay: the newest, and two for when it turns out to be of no use.
const KEPT: usize = 3;

/// Where a run saves its states, and how often.
pub(crate) struct Checkpoints {
    folder: Folder,
    every: u64,
}

impl Checkpoints {
    /// Refuses a folder that holds this rank's checkpoints of another run: they would be taken for this one's. Those of
    /// other ranks may be of this run.
    pub(crate) fn new(dir: &Path, every: u64, rank: u32) -> Result<Self> {
        if let Some(file) = earlier(dir, rank) {
            return Err(crate::cli::usage(format!(
                "{} is of an earlier run; go on with --resume, or give another --checkpoint",
                file.display(),
            )));
        }
        Ok(Checkpoints::going_on(Folder::new(dir), every))
    }

    /// In the folder that was resumed from: it knows which checkpoint must stay until another is complete.
    pub(crate) fn going_on(folder: Folder, every: u64) -> Self {
        Checkpoints { folder, every }
    }

    /// Saves where the stream stands, if it is time.
    pub(crate) fn save(&mut self, loader: &Loader) -> Result<()> {
        if !loader.progress().step.is_multiple_of(self.every) {
            return Ok(());
        }
        let Some(state) = loader.state() else {
            return Ok(());
        };
        self.folder.save(&state)?;
        if state.rank == 0 {
            self.folder.prune(KEPT)?;
        }
        Ok(())
    }
}

/// A checkpoint that a rank has saved in `dir`.
fn earlier(dir: &Path, rank: u32) -> Option<PathBuf> {
    let own = format!("rank-{rank:05}-of-");
    let steps = std::fs::read_dir(dir).ok()?.flatten();
    let files = steps.flat_map(|step| {
        std::fs::read_dir(step.path())
            .into_iter()
            .flatten()
            .flatten()
    });
    files.map(|file| file.path()).find(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(&own))
    })
}

/// The newest complete checkpoint in a folder, or that of the step whose folder `path` is; newer ones that are not
/// complete are said.
pub(crate) fn find(path: &Path) -> Result<(Folder, Whole)> {
    let (mut folder, step) = Folder::named(path);
    let found = folder.find(step)?;
    for skipped in &found.skipped {
        stdio::note(format_args!("passed over {skipped}"));
    }
    Ok((folder, merge(found.states)?))
}
