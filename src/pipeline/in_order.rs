//! One side's records in corpus order: source by source, shard by shard, line by line, each once.

use super::builder::{READ_AHEAD_BYTES, open_feed};
use super::encode::{Item, Outcome};
use super::feed::Feed;
use super::sources::Sources;
use super::split::Side;
use super::stream::{Begin, Dealt};
use crate::error::{Error, Result, Stage};
use crate::example::Origin;
use crate::order::lanes::Lanes;
use crate::order::sequence::Sequence;
use crate::read::ReadAhead;
use crate::recipe::{OnBadRecord, Recipe};
use crate::stats::Stats;
use std::sync::Arc;

/// Records made ahead for each worker: a task's worth at work and one waiting, and the same beyond.
const AHEAD_A_WORKER: usize = 64;
const RESERVE_A_WORKER: usize = 256;

/// Every record's outcome, in corpus order. Each source is a stream of its own, so that one can be left before its end.
pub(super) struct InOrder {
    feed: Feed,
    /// The source that is being read.
    source: usize,
    /// By source, how many records of the eval side may still come; none on the other side.
    left: Option<Vec<u64>>,
    workers: usize,
    on_bad_record: OnBadRecord,
}

impl InOrder {
    /// Begins with the first record.
    pub(super) fn open(
        recipe: &Recipe,
        sources: &Arc<Sources>,
        workers: usize,
        stats: &Arc<Stats>,
    ) -> Result<Self> {
        let io = ReadAhead::new(READ_AHEAD_BYTES)?;
        let summaries = sources.summaries();
        let sequences: Vec<Sequence> = summaries
            .iter()
            .map(|source| Sequence::new(recipe.seed, &source.name, source.blocks, false, Some(1)))
            .collect();
        let begin = vec![Begin::first(); sequences.len()];
        let dealt = Dealt {
            by_source: true,
            sequences,
            lanes: Lanes::new(1),
            own: vec![0],
        };
        let left = match sources.side() {
            Side::Train => None,
            Side::Eval => Some(sources.most_held_out()),
        };
        Ok(InOrder {
            feed: open_feed(sources, dealt, begin, workers, io, stats)?,
            source: 0,
            left,
            workers,
            on_bad_record: recipe.on_bad_record,
        })
    }

    /// The next line, or block's end; none behind the last.
    pub(super) fn next(&mut self) -> Result<Option<Item>> {
        while self.source < self.feed.dealt().sequences.len() {
            let left = self
                .left
                .as_mut()
                .and_then(|left| left.get_mut(self.source));
            if left.as_ref().is_none_or(|left| **left > 0) {
                let (need, reserve) = (
                    AHEAD_A_WORKER * self.workers,
                    RESERVE_A_WORKER * self.workers,
                );
                self.feed.need(self.source, need, reserve);
                self.feed.turn(self.source)?;
                if let Some(mut item) = self.feed.next(self.source)? {
                    if let Some(left) = left {
                        *left -= u64::from(is_held_out(&mut item.outcome, self.on_bad_record));
                    }
                    return Ok(Some(item));
                }
            }
            self.feed.need(self.source, 0, 0);
            self.source += 1;
        }
        Ok(None)
    }

    /// Adds shard and record to an error.
    pub(super) fn place(&self, error: Error, origin: Origin) -> Error {
        self.feed.place(error, origin)
    }
}

/// Whether a line of the eval side is one of its records. What cannot be read has no bytes that could be held out: it
/// is booked on the other side.
fn is_held_out(outcome: &mut Outcome, on_bad_record: OnBadRecord) -> bool {
    let unread = match outcome {
        Outcome::Nothing => return false,
        Outcome::Bad(error) => error.stage() == Stage::Read,
        Outcome::Unreadable { .. } => true,
        Outcome::Examples(_) | Outcome::Fatal(_) => false,
    };
    if unread && on_bad_record != OnBadRecord::Stop {
        *outcome = Outcome::Nothing;
    }
    !unread
}
