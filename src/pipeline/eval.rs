//! The eval side: what is held out, in corpus order through one pool, read whole by every rank.
//!
//! Every rank packs all rows and delivers its own, n mod W. There is one epoch, and no state to go on from: it is short,
//! and made anew in every process.

use super::encode::Outcome;
use super::fit::{FittedRecord, fit_record};
use super::in_order::InOrder;
use super::outlet::{Delivering, Outlet, Stopped};
use super::take::too_many_bad;
use crate::error::{Error, Kind, Result, Stage};
use crate::example::Piece;
use crate::ledger::{Intake, Ledger, Reason};
use crate::pack::{self, Packer, Scratch};
use crate::recipe::{OnBadRecord, PackConfig, Recipe};
use crate::stats::Lap;
use std::collections::VecDeque;
use std::sync::Arc;

/// The sequential part of the eval side.
pub(super) struct EvalSide {
    records: InOrder,
    outlet: Outlet,
    packer: Box<dyn Packer<Piece>>,
    scratch: Scratch,
    pack: PackConfig,
    bos: Option<u32>,
    on_bad_record: OnBadRecord,
    /// Pieces that the pool had no place for yet.
    waiting: VecDeque<Piece>,
    /// By source, records and bad ones among them.
    bad: Vec<(u64, u64)>,
    ledger: Ledger,
    step_rows: u64,
    /// Number of the next row, of all ranks.
    next_row: u64,
}

impl EvalSide {
    pub(super) fn new(
        recipe: &Recipe,
        bos: Option<u32>,
        records: InOrder,
        delivering: Delivering,
    ) -> Result<Self> {
        Ok(EvalSide {
            records,
            packer: pack::packer(&recipe.pack)?,
            scratch: Scratch::default(),
            pack: recipe.pack.clone(),
            bos,
            on_bad_record: recipe.on_bad_record,
            waiting: VecDeque::new(),
            bad: vec![(0, 0); recipe.sources.len()],
            ledger: Ledger::new(recipe.sources.iter().map(|source| &source.name)),
            step_rows: delivering.step_rows,
            next_row: 0,
            outlet: Outlet::new(delivering)?,
        })
    }

    /// Makes rows until no record is left, the steps asked for are made, or nobody receives any more.
    pub(super) fn run(&mut self) -> Result<Stopped> {
        if self.outlet.done() {
            return Ok(Stopped::Done);
        }
        while self.fill()? {
            if self.outlet.is_closed() {
                return Ok(Stopped::Closed);
            }
            let mut lap = Lap::start();
            let Some(row) = self.packer.row(&mut self.scratch) else {
                break;
            };
            self.outlet.packed(lap.lap());
            if let Some(stopped) = self.row(row.segments) {
                return Ok(stopped);
            }
        }
        if self.outlet.is_closed() {
            return Ok(Stopped::Closed);
        }
        if self.next_row == 0 {
            return Err(nothing_held_out());
        }
        for _ in 0..self.filling() {
            self.outlet.push_filling();
            if let Some(stopped) = self.send() {
                return Ok(stopped);
            }
        }
        self.outlet.end(Arc::new(self.ledger.clone()));
        Ok(Stopped::Done)
    }

    /// Rows that this rank lacks in the last step.
    fn filling(&self) -> u64 {
        let rank = self.outlet.rank();
        let (number, world) = (u64::from(rank.number), u64::from(rank.world_size));
        match self.next_row % self.step_rows {
            0 => 0,
            // A step begins with a row of rank 0.
            rows => self.step_rows / world - (rows + world - 1 - number) / world,
        }
    }

    /// Hands an error to the receiver.
    pub(super) fn fail(&mut self, error: Error) {
        self.outlet.fail(error);
    }

    /// Refills the pool; false where nobody receives any more.
    fn fill(&mut self) -> Result<bool> {
        let mut lap = Lap::start();
        while self.packer.wants() {
            if let Some(piece) = self.waiting.pop_front() {
                self.packer.push(piece);
                continue;
            }
            if self.outlet.is_closed() {
                return Ok(false);
            }
            self.outlet.packed(lap.lap());
            let item = self.records.next()?;
            lap.lap();
            let Some(item) = item else { break };
            let (source, origin) = (item.origin.source, item.origin);
            let counts = self.bad.get_mut(source as usize);
            if let (Some((records, _)), false) = (counts, matches!(item.outcome, Outcome::Nothing))
            {
                *records += 1;
            }
            match item.outcome {
                Outcome::Examples(examples) => {
                    let fitted = fit_record(examples, &self.pack, self.bos);
                    let FittedRecord { pieces, intake } =
                        fitted.map_err(|error| self.records.place(error, origin))?;
                    self.took(source, &intake);
                    self.waiting.extend(pieces);
                }
                Outcome::Bad(error) => {
                    self.forgive(source, error)?;
                    self.took(source, &Intake::none(Reason::BadRecord));
                }
                Outcome::Fatal(error) | Outcome::Unreadable { error, .. } => return Err(error),
                Outcome::Nothing => {}
            }
        }
        self.outlet.packed(lap.lap());
        Ok(true)
    }

    /// What comes in is rank 0's to book.
    fn took(&mut self, source: u32, intake: &Intake) {
        if self.outlet.rank().number == 0 {
            self.ledger.took(source, intake);
        }
    }

    fn row(&mut self, segments: Vec<Piece>) -> Option<Stopped> {
        let n = self.next_row;
        self.next_row += 1;
        let rank = self.outlet.rank();
        let own = n % u64::from(rank.world_size) == u64::from(rank.number);
        for piece in &segments {
            let (source, tokens) = (piece.example.origin.source, piece.len() as u64);
            match (rank.number, own) {
                (0, true) => self.ledger.delivered(source, tokens, piece.ends),
                (0, false) => self.ledger.left(source, tokens, piece.ends),
                (_, true) => self.ledger.passed(source, tokens, piece.ends),
                (_, false) => {}
            }
        }
        if !own {
            return None;
        }
        self.outlet.push(n, segments, false);
        self.send()
    }

    /// Sends the batch that the last row completed, if it did.
    fn send(&mut self) -> Option<Stopped> {
        let full = self.outlet.finish()?;
        let ledger = Arc::new(self.ledger.clone());
        self.outlet.send(full, ledger, None)
    }

    fn forgive(&mut self, source: u32, error: Error) -> Result<()> {
        let counts = self.bad.get_mut(source as usize);
        let (OnBadRecord::Skip { .. }, Some((records, bad))) = (self.on_bad_record, counts) else {
            return Err(error);
        };
        *bad += 1;
        if self.on_bad_record.forgives(*records, *bad) {
            return Ok(());
        }
        let name = self.ledger.sources.get(source as usize);
        let name = name.map_or("", |(name, _)| name);
        let of = format!("the held-out part of source `{name}`");
        Err(too_many_bad(*bad, *records, &of, &error))
    }
}

/// The error of an eval side that came to nothing.
pub(super) fn nothing_held_out() -> Error {
    Error::new(
        Kind::Row,
        Stage::Pack,
        "the eval side has no row: no record is held out, or every one that is was dropped",
    )
    .remedy("set a larger split.fraction, or look at `packmill samples --side eval`")
}
