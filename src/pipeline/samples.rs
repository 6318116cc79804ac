//! What each record becomes before overlong, weights, shuffle, epochs and packing, in corpus order.

use super::builder::{READ_AHEAD_BYTES, worker_count};
use super::duplicates::{Duplicates, Search};
use super::encode::Outcome;
use super::in_order::InOrder;
use super::model::Model;
use super::sources::{Purpose, Sources};
use super::split::Side;
use crate::error::{Error, Result};
use crate::example::Example;
use crate::ledger::Reason;
use crate::read::ReadAhead;
use crate::recipe::{OnBadRecord, Recipe};
use crate::stats::Stats;
use std::path::Path;
use std::sync::Arc;

/// One record, or one of the examples made of it.
#[derive(Debug)]
pub struct Sample {
    /// Source, in the recipe's order.
    pub source: u32,
    /// Shard within the source, sorted by name.
    pub shard: u32,
    /// Record (line) within its shard, from 0.
    pub record: u64,
    /// Example within its record, from 0.
    pub example: u32,
    /// The example, or why there is none.
    pub content: Result<Example, Reason>,
}

/// All samples of a recipe, in corpus order. Made by the same workers in the same way as a stream's.
pub struct Samples {
    records: InOrder,
    sources: Arc<Sources>,
    on_bad_record: OnBadRecord,
    ready: std::collections::VecDeque<Sample>,
    /// Shard that is being read, and its first line not yet counted.
    shard: (u32, u32),
    lines_before: u64,
    failed: bool,
}

impl Samples {
    /// Opens a recipe's corpus for reading in order. `cache` is where spools go.
    ///
    /// # Errors
    /// As [`LoaderBuilder::build`](super::LoaderBuilder::build).
    pub fn open(recipe: &Recipe, model: &Arc<Model>, cache: &Path) -> Result<Self> {
        Self::open_side(recipe, model, cache, Side::Train)
    }

    /// The same, of one side: what is held out is dropped from the one, and is all of the other.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_side(
        recipe: &Recipe,
        model: &Arc<Model>,
        cache: &Path,
        side: Side,
    ) -> Result<Self> {
        let io = ReadAhead::new(READ_AHEAD_BYTES)?;
        let sources = Sources::open(recipe, model, &io, cache, Purpose::Samples)?;
        let workers = worker_count(recipe);
        let search = Search {
            recipe,
            model,
            sources: &sources,
            io: &io,
            cache,
            workers,
            tick: &|_| Ok(()),
        };
        let duplicates = Duplicates::find(&search)?;
        let sources = Arc::new(sources.of_side(side).without(duplicates));
        let stats = Arc::new(Stats::default());
        let records = InOrder::open(recipe, &sources, workers, &stats)?;
        Ok(Samples {
            records,
            sources,
            on_bad_record: recipe.on_bad_record,
            ready: std::collections::VecDeque::new(),
            shard: (0, 0),
            lines_before: 0,
            failed: false,
        })
    }

    /// The sources as they were opened.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    fn advance(&mut self) -> Result<bool> {
        let Some(item) = self.records.next()? else {
            return Ok(false);
        };
        let origin = item.origin;
        if self.shard != (origin.source, origin.shard) {
            self.shard = (origin.source, origin.shard);
            self.lines_before = 0;
        }
        let record = if self.sources.is_held(origin.source) {
            origin.block
        } else {
            self.lines_before + origin.record
        };
        let mut push = |example, content| {
            let (source, shard) = (origin.source, origin.shard);
            self.ready.push_back(Sample {
                source,
                shard,
                record,
                example,
                content,
            });
        };
        match item.outcome {
            Outcome::Examples(examples) => {
                for (number, example) in (0..).zip(examples) {
                    push(number, example.map_err(|dropped| dropped.reason));
                }
            }
            Outcome::Bad(error) | Outcome::Unreadable { error, .. } => match self.on_bad_record {
                OnBadRecord::Stop => return Err(error),
                OnBadRecord::Skip { .. } => push(0, Err(Reason::BadRecord)),
            },
            Outcome::Fatal(error) => return Err(error),
            Outcome::Nothing => {}
        }
        if !self.sources.is_held(origin.source) {
            self.lines_before += item.ends_block.unwrap_or(0);
        }
        Ok(true)
    }
}

impl Iterator for Samples {
    type Item = Result<Sample, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(sample) = self.ready.pop_front() {
                return Some(Ok(sample));
            }
            if self.failed {
                return None;
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}
