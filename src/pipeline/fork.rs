//! A checkpoint carried into a changed recipe, as one rank's part from which any number of ranks goes on.

use super::builder::{READ_AHEAD_BYTES, deal, open_feed, worker_count};
use super::identity::{self, of_another_stream};
use super::model::Model;
use super::refit::Refit;
use super::resume::begins;
use super::sources::{Purpose, Sources};
use crate::checkpoint::{Removed, State, Whole, carry};
use crate::error::Result;
use crate::order::lanes::{Lanes, Rank};
use crate::read::ReadAhead;
use crate::recipe::Recipe;
use crate::stats::Stats;
use std::path::Path;
use std::sync::Arc;

/// A stream carried into a changed recipe.
#[derive(Debug, Clone)]
pub struct Forked {
    /// Where it stands, as the only rank's part.
    pub state: State,
    /// How the two streams differ, one a clause; none where the recipe gives the same stream.
    pub differences: Vec<String>,
    /// What pools held of sources that the recipe has no more: the account says that it was dropped.
    pub removed: Vec<Removed>,
    /// Sources that an earlier fork removed: they begin anew, and what was delivered of them comes again.
    pub again: Vec<String>,
    /// Examples in pools that were fitted to rows anew.
    pub refitted: u64,
}

/// Carries the stream that stands at `from` into `recipe`: each source goes on where it was, what pools hold is fitted
/// anew where the recipe fits it otherwise, and the account goes on. `cache` is where spools go.
///
/// # Errors
/// [`Kind::Checkpoint`](crate::Kind::Checkpoint) naming everything that may not change, and where what a pool holds
/// cannot be carried exactly; whatever keeps the corpus from being opened.
pub fn fork(from: &Whole, recipe: &Recipe, model: &Arc<Model>, cache: &Path) -> Result<Forked> {
    let io = ReadAhead::new(READ_AHEAD_BYTES)?;
    let lanes = Lanes::new(recipe.lanes);
    let purpose = Purpose::Stream(lanes);
    let sources = Sources::open(recipe, model, &io, cache, purpose);
    let sources = Arc::new(sources.map_err(of_another_stream)?);
    let prints = identity::prints(recipe, model, &sources)?;
    let fingerprint = identity::of_opened(recipe, model, &prints);
    let carried = carry(from, &fingerprint)?;
    let dealt = deal(recipe, &sources, lanes, Rank::ALONE);
    let begin = begins(&carried.whole, &dealt)?;
    let mut whole = carried.whole;
    let mut refitted = 0;
    let mut refit = Refit::new(
        carried.fit_before,
        carried.fit,
        carried.encodings,
        recipe,
        model.tokenizer.bos.as_ref().map(|token| token.id),
    );
    if refit.is_needed() {
        let stats = Arc::new(Stats::default());
        let mut feed = open_feed(&sources, dealt, begin, worker_count(recipe), io, &stats)?;
        refitted = refit.pools(&mut feed, &mut whole)?;
    }
    Ok(Forked {
        differences: from.fingerprint.differences(&fingerprint),
        removed: carried.removed,
        again: carried.again,
        refitted,
        state: State {
            fingerprint: whole.fingerprint,
            rank: 0,
            world_size: 1,
            step: whole.step,
            rows: whole.rows,
            since: whole.rows,
            step_rows: whole.step_rows,
            digest: whole.digest,
            ledger: whole.ledger,
            phase: whole.phase,
            lanes: whole.lanes,
            engine: whole.engine,
            history: whole.history,
        },
    })
}
