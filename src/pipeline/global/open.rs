//! Setting up `plan: global`: what it refuses, counting, and the first step's plan.

use super::assemble::Epochs;
use super::count::Counting;
use super::lengths::Lengths;
use super::outlook::{self, Outlook, Streamed};
use super::plan::{Material, Planner};
use super::steps::{Books, Steps};
use crate::checkpoint::{Fingerprint, SourcePrint, Whole};
use crate::error::{Error, Kind, Result, Stage};
use crate::ledger::Ledger;
use crate::order::lanes::Lanes;
use crate::order::sequence::Sequence;
use crate::pipeline::builder::{Checkpoints, open_feed};
use crate::pipeline::outlet::{Delivering, Outlet};
use crate::pipeline::progress::{Progress, takes_over};
use crate::pipeline::sources::Sources;
use crate::pipeline::stream::{Begin, Dealt};
use crate::read::ReadAhead;
use crate::recipe::Recipe;
use crate::stats::Stats;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a stream of `plan: global` is opened with.
pub(in crate::pipeline) struct Opening<'a> {
    pub(in crate::pipeline) recipe: &'a Recipe,
    pub(in crate::pipeline) sources: &'a Arc<Sources>,
    pub(in crate::pipeline) bos: Option<u32>,
    pub(in crate::pipeline) fingerprint: &'a Fingerprint,
    pub(in crate::pipeline) prints: &'a [SourcePrint],
    pub(in crate::pipeline) cache: &'a Path,
    pub(in crate::pipeline) workers: usize,
    pub(in crate::pipeline) checkpoints: Checkpoints,
    pub(in crate::pipeline) resume: Option<&'a Whole>,
    /// Is told how far counting has come; its error ends the opening.
    pub(in crate::pipeline) tick: &'a (dyn Fn(Count) -> Result<()> + Sync),
}

/// How far a pass over the corpus has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Which.
    pub pass: Pass,
    /// Parts that are done: lines, blank ones included, or whatever the pass takes at a time.
    pub done: u64,
    /// Parts in all.
    pub of: u64,
}

/// What a stream may have to know of all records before its first row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pass {
    /// Which of them are copies, for `duplicates`.
    Duplicates,
    /// How long they are, for `plan: global`. Its parts are lines.
    Lengths,
    /// What rows their lengths make, for `plan: global`. Its parts are epochs.
    Epochs,
}

/// Epochs of one stream at most: the rows of each are counted before the first, and kept.
const MOST_EPOCHS: u64 = 1 << 16;

/// Refuses more epochs than are counted beforehand.
pub(in crate::pipeline) fn check_epochs(epochs: Option<u64>) -> Result<()> {
    let Some(epochs) = epochs.filter(|epochs| *epochs > MOST_EPOCHS) else {
        return Ok(());
    };
    let message = format!(
        "{epochs} epochs, and plan: global counts the rows of at most {MOST_EPOCHS} before the first"
    );
    Err(Error::new(Kind::Recipe, Stage::Order, message)
        .remedy("leave epochs out and count steps: the stream is then without end"))
}

/// Refuses sources that are too large to be held: their lengths are not known without reading them through.
pub(in crate::pipeline) fn check(sources: &Sources) -> Result<()> {
    let streamed = (0..)
        .zip(sources.summaries())
        .find(|(source, _)| !sources.is_held(*source));
    let Some((_, source)) = streamed else {
        return Ok(());
    };
    let message = format!(
        "source `{}` decodes to more than hold, and plan: global needs every record's length beforehand",
        source.name
    );
    Err(Error::new(Kind::Recipe, Stage::Order, message)
        .remedy("set a larger hold, or use plan: lanes"))
}

/// Counts, plans, and starts the workers.
pub(in crate::pipeline) fn open(
    opening: Opening<'_>,
    delivering: Delivering,
    io: ReadAhead,
) -> Result<(Epochs, Outlook)> {
    let Opening {
        recipe,
        sources,
        bos,
        fingerprint,
        prints,
        cache,
        workers,
        checkpoints,
        resume,
        tick,
    } = opening;
    let rank = delivering.rank;
    // Not the stream's own: what is counted once more would be counted twice there.
    let stats = Stats::default();
    let (done, of) = (AtomicU64::new(0), sources.blocks());
    let counted = |more| {
        let done = done.fetch_add(more, Relaxed) + more;
        tick(Count {
            pass: Pass::Lengths,
            done,
            of,
        })
    };
    let counting = Counting {
        sources,
        pack: &recipe.pack,
        bos,
        on_bad_record: recipe.on_bad_record,
        workers,
        stats: &stats,
        tick: &counted,
    };
    let turn = (rank.number, rank.world_size);
    let lengths = Lengths::open(counting, fingerprint, prints, cache, turn)?;
    let counted = lengths.counted;
    let material = Material {
        blocks: sources.joined().clone(),
        lengths: Arc::new(lengths),
        sequence: Sequence::new(
            recipe.seed,
            "",
            sources.blocks(),
            recipe.shuffle,
            recipe.epochs,
        ),
        pack: recipe.pack.clone(),
    };
    let epochs = recipe.epochs.unwrap_or(1);
    let planned = |done| {
        let pass = Pass::Epochs;
        tick(Count {
            pass,
            done,
            of: epochs,
        })
    };
    let rows = outlook::rows(&material, fingerprint, epochs, workers, cache, &planned)?;
    let streamed = resume.map_or(Streamed::default(), |whole| Streamed {
        rows: whole.rows,
        step: whole.step,
    });
    let endless = recipe.epochs.is_none();
    let outlook = Outlook::new(rows, delivering.step_rows, endless, streamed, counted);
    let dealt = Dealt::whole(material.sequence.clone(), Lanes::new(1));
    let feed = open_feed(
        sources,
        dealt,
        vec![Begin::Asked],
        workers,
        io,
        &delivering.stats,
    )?;
    let names = recipe.sources.iter().map(|source| &source.name);
    let (planner, ledger) = match resume {
        None => (Planner::new(material, 0)?, Ledger::new(names)),
        Some(whole) => {
            let state = whole.lanes.first().ok_or_else(|| {
                let message = "the checkpoint does not say where the plan stood";
                Error::new(Kind::Checkpoint, Stage::Checkpoint, message)
                    .remedy("rank 0's part alone says it: give the parts of all ranks")
            })?;
            let ledger = match takes_over(whole, rank) {
                true => whole.ledger.clone(),
                false => Ledger::new(names),
            };
            let planner = Planner::resumed(material, state)?;
            not_below_what_has_begun(recipe.epochs, &planner)?;
            (planner, ledger)
        }
    };
    let steps = Steps {
        planner,
        books: Books::new(ledger, rank, Arc::clone(sources)),
        rank,
        step_rows: delivering.step_rows,
        next_row: streamed.rows,
        epochs: recipe.epochs,
        checkpoints,
    };
    let mut outlet = Outlet::new(delivering)?;
    if let Some(whole) = resume {
        outlet.go_on(Progress::resumed(whole, rank), whole.rows);
    }
    let epochs = Epochs {
        steps,
        feed,
        outlet,
        pack: recipe.pack.clone(),
        bos,
        ahead: VecDeque::new(),
        asked: 0,
        ended: false,
    };
    Ok((epochs, outlook))
}

/// Refuses fewer epochs than the stream has come to.
fn not_below_what_has_begun(epochs: Option<u64>, planner: &Planner) -> Result<()> {
    let (Some(epochs), begun) = (epochs, planner.begun()) else {
        return Ok(());
    };
    if begun <= epochs {
        return Ok(());
    }
    let message = format!("epochs is {epochs}, and the stream is in its epoch {begun} already");
    Err(Error::new(Kind::Checkpoint, Stage::Checkpoint, message)
        .remedy(format!("set epochs to {begun} or more")))
}
