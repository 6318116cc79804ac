//! Planned rows become batches: their records are encoded ahead of time, and put where the plan has them.

use super::plan::Planned;
use super::steps::{OwnRow, Step, Steps};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::Piece;
use crate::pipeline::encode::{Item, Outcome};
use crate::pipeline::feed::Feed;
use crate::pipeline::fit::fit_record;
use crate::pipeline::outlet::{Full, Outlet, Stopped};
use crate::pipeline::progress::Standing;
use crate::places;
use crate::recipe::{PackConfig, Strategy};
use crate::stats::Lap;
use std::collections::VecDeque;
use std::sync::Arc;

/// Records that are asked for ahead of the row that is being made: enough that no worker waits for the plan.
const AHEAD: usize = 1_024;

/// Records that are encoded ahead, for each worker: two tasks' worth at work, two waiting.
const AHEAD_A_WORKER: usize = 128;

/// The stream that all records asked for come in.
const STREAM: usize = 0;

/// The sequential part of `plan: global`.
pub(crate) struct Epochs {
    pub(super) steps: Steps,
    pub(super) feed: Feed,
    pub(super) outlet: Outlet,
    pub(super) pack: PackConfig,
    pub(super) bos: Option<u32>,
    /// Planned and not made yet.
    pub(super) ahead: VecDeque<Step>,
    /// Records asked for that have not come yet.
    pub(super) asked: usize,
    /// Whether all is planned.
    pub(super) ended: bool,
}

impl Epochs {
    /// Makes rows until the stream ends, its steps are made, or nobody receives any more.
    pub(crate) fn run(&mut self, workers: usize) -> Result<Stopped> {
        if self.outlet.done() {
            return Ok(Stopped::Done);
        }
        self.feed.need(STREAM, workers * AHEAD_A_WORKER, 0);
        loop {
            self.plan_ahead()?;
            let Some(step) = self.ahead.pop_front() else {
                self.outlet.end(self.steps.ledger());
                return Ok(Stopped::Done);
            };
            if let Some(stopped) = self.step(step)? {
                return Ok(stopped);
            }
        }
    }

    /// Hands an error to the receiver.
    pub(crate) fn fail(&mut self, error: Error) {
        self.outlet.fail(error);
    }

    /// Plans until enough records are asked for.
    fn plan_ahead(&mut self) -> Result<()> {
        let mut lap = Lap::start();
        while !self.ended && (self.asked < AHEAD || self.ahead.is_empty()) {
            let Some(step) = self.steps.next_step()? else {
                self.ended = true;
                break;
            };
            for row in &step.rows {
                let mut last = None;
                for piece in &row.segments {
                    if last != Some(piece.position) {
                        self.feed.ask(STREAM, piece.position);
                        self.asked += 1;
                        last = Some(piece.position);
                    }
                }
            }
            self.ahead.push_back(step);
        }
        self.outlet.packed(lap.lap());
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<Option<Stopped>> {
        let Step {
            rows,
            filling,
            ledger,
            standing,
        } = step;
        for row in rows {
            if self.outlet.is_closed() {
                return Ok(Some(Stopped::Closed));
            }
            let segments = self.segments(&row)?;
            places::reach(places::ROW_PACKED);
            self.outlet.push(row.n, segments, row.refillable);
            if let Some(full) = self.outlet.finish() {
                let stopped = match full.ends_step {
                    true => self.send_last(full, &ledger, &standing),
                    false => self.outlet.send(full, row.ledger, None),
                };
                if stopped.is_some() {
                    return Ok(stopped);
                }
            }
        }
        for _ in 0..filling {
            self.outlet.push_filling();
            if let Some(full) = self.outlet.finish()
                && let Some(stopped) = self.send_last(full, &ledger, &standing)
            {
                return Ok(Some(stopped));
            }
        }
        Ok(None)
    }

    fn send_last(
        &mut self,
        full: Full,
        ledger: &Arc<crate::ledger::Ledger>,
        standing: &Option<Arc<Standing>>,
    ) -> Option<Stopped> {
        let standing = standing.clone().filter(|_| full.ends_step);
        self.outlet.send(full, Arc::clone(ledger), standing)
    }

    /// The tokens of a planned row.
    fn segments(&mut self, row: &OwnRow) -> Result<Vec<Piece>> {
        let mut segments = Vec::with_capacity(row.segments.len());
        let mut last: Option<(u64, Vec<Piece>)> = None;
        for planned in &row.segments {
            let pieces = match last {
                Some((position, pieces)) if position == planned.position => pieces,
                _ => self.pieces(planned)?,
            };
            segments.push(self.piece(planned, &pieces)?);
            last = Some((planned.position, pieces));
        }
        Ok(segments)
    }

    /// The pieces of the record that was asked for next.
    fn pieces(&mut self, planned: &Planned) -> Result<Vec<Piece>> {
        let item = self.feed.next(STREAM)?;
        self.asked = self.asked.saturating_sub(1);
        let mut lap = Lap::start();
        let item = item.filter(|item| item.origin.at.position == planned.position);
        let Item {
            origin, outcome, ..
        } = item.ok_or_else(|| {
            let message = format!("what was asked for at {} did not come", planned.position);
            Error::new(Kind::Internal, Stage::Order, message)
        })?;
        let pieces = match outcome {
            Outcome::Examples(examples) => {
                fit_record(examples, &self.pack, self.bos)
                    .map_err(|error| self.feed.place(error, origin))?
                    .pieces
            }
            Outcome::Fatal(error) | Outcome::Bad(error) | Outcome::Unreadable { error, .. } => {
                return Err(error);
            }
            Outcome::Nothing => Vec::new(),
        };
        self.outlet.packed(lap.lap());
        Ok(pieces)
    }

    /// The piece that the plan means.
    fn piece(&self, planned: &Planned, pieces: &[Piece]) -> Result<Piece> {
        let Planned { tokens, ends, .. } = planned;
        let concat = self.pack.strategy == Strategy::Concat;
        let own = |piece: &&Piece| piece.example.origin.example == planned.example;
        let fits = |piece: &&Piece| match concat {
            true => piece.tokens.start <= tokens.start && tokens.end <= piece.tokens.end,
            false => piece.tokens.start <= tokens.start && tokens.end == piece.tokens.end,
        };
        let found = pieces.iter().filter(own).find(fits).ok_or_else(|| {
            let origin = pieces.first().map(|piece| piece.example.origin);
            let message = "a record has become another since it was counted";
            let error = Error::new(Kind::Changed, Stage::Pack, message).remedy(
                "restore the corpus, or remove the lengths- and fits- files from the cache folder and begin anew",
            );
            match origin {
                Some(origin) => self.feed.place(error, origin),
                None => error,
            }
        })?;
        let mut piece = found.clone();
        piece.tokens = tokens.clone();
        piece.ends = *ends;
        Ok(piece)
    }
}
