//! The rows of each step that a rank delivers, and the account after them.

use super::plan::{Account, Planned, Planner};
use crate::checkpoint::Phase;
use crate::error::Result;
use crate::ledger::{Intake, Ledger};
use crate::order::lanes::Rank;
use crate::pipeline::builder::Checkpoints;
use crate::pipeline::progress::Standing;
use crate::pipeline::sources::Sources;
use crate::read::{Entry, Lost};
use std::collections::VecDeque;
use std::sync::Arc;

/// One rank's part of a step.
pub(super) struct Step {
    pub(super) rows: VecDeque<OwnRow>,
    /// Rows at its end that only fill the step: an epoch's last.
    pub(super) filling: u64,
    /// The account after the step.
    pub(super) ledger: Arc<Ledger>,
    pub(super) standing: Option<Arc<Standing>>,
}

/// A row that this rank delivers.
pub(super) struct OwnRow {
    pub(super) n: u64,
    pub(super) segments: Vec<Planned>,
    /// Whether its pool could still be refilled.
    pub(super) refillable: bool,
    /// The account after it.
    pub(super) ledger: Arc<Ledger>,
}

/// Plans step after step. All ranks plan the same rows.
pub(super) struct Steps {
    pub(super) planner: Planner,
    pub(super) books: Books,
    pub(super) rank: Rank,
    pub(super) step_rows: u64,
    /// Number of the next row, of all ranks.
    pub(super) next_row: u64,
    /// Epochs in all; none: without end.
    pub(super) epochs: Option<u64>,
    pub(super) checkpoints: Checkpoints,
}

impl Steps {
    /// The next step; none at the stream's end. An epoch's last step is filled, so that none spans two epochs.
    pub(super) fn next_step(&mut self) -> Result<Option<Step>> {
        let world = u64::from(self.rank.world_size);
        let mut rows = VecDeque::new();
        loop {
            if self
                .epochs
                .is_some_and(|epochs| self.planner.epoch() >= epochs)
            {
                return Ok(None);
            }
            let begins = self.next_row;
            while self.next_row - begins < self.step_rows {
                let Some(row) = self.planner.row(&mut self.books)? else {
                    break;
                };
                let n = self.next_row;
                self.next_row += 1;
                let own = n % world == u64::from(self.rank.number);
                self.books.row(&row.segments, own);
                if own {
                    rows.push_back(OwnRow {
                        n,
                        segments: row.segments,
                        refillable: self.planner.is_refillable(),
                        ledger: self.books.ledger(),
                    });
                }
            }
            if self.next_row > begins {
                break;
            }
            self.planner.begin_next();
        }
        let filling = (self.step_rows / world).saturating_sub(rows.len() as u64);
        let wanted = self.checkpoints == Checkpoints::Wanted;
        Ok(Some(Step {
            rows,
            filling,
            ledger: self.books.ledger(),
            standing: wanted.then(|| self.standing()),
        }))
    }

    /// All ranks stand at the same place, and the first says it for all.
    fn standing(&self) -> Arc<Standing> {
        let lanes = match self.rank.number {
            0 => vec![Arc::new(self.planner.state(self.next_row))],
            _ => Vec::new(),
        };
        Arc::new(Standing {
            rows: self.next_row,
            phase: Phase::Lanes,
            lanes,
        })
    }

    /// The account of all that was planned.
    pub(super) fn ledger(&self) -> Arc<Ledger> {
        self.books.ledger()
    }
}

/// One rank's part of the ledger. Every rank books the tokens of its rows, and the records whose last kept piece
/// they hold; what is dropped and what is pending is rank 0's.
pub(super) struct Books {
    ledger: Ledger,
    first: bool,
    sources: Arc<Sources>,
}

impl Books {
    /// Beginning with what was booked before.
    pub(super) fn new(ledger: Ledger, rank: Rank, sources: Arc<Sources>) -> Books {
        Books {
            ledger,
            first: rank.number == 0,
            sources,
        }
    }

    fn row(&mut self, segments: &[Planned], own: bool) {
        for piece in segments {
            let (source, ends) = (piece.source, piece.ends);
            let tokens = u64::from(piece.tokens.end - piece.tokens.start);
            match (self.first, own) {
                (true, true) => self.ledger.delivered(source, tokens, ends),
                (true, false) => self.ledger.left(source, tokens, ends),
                (false, true) => self.ledger.passed(source, tokens, ends),
                (false, false) => {}
            }
        }
    }

    fn ledger(&self) -> Arc<Ledger> {
        Arc::new(self.ledger.clone())
    }
}

impl Account for Books {
    fn took(&mut self, source: u32, intake: &Intake) {
        if self.first {
            self.ledger.took(source, intake);
        }
    }

    fn unreadable(&mut self, source: u32, block: u64) -> Result<()> {
        let (true, Some(held)) = (self.first, self.sources.held(source)) else {
            return Ok(());
        };
        if let Entry::Bad(bad) = held.read(block)?
            && let Lost::Rest { compressed_bytes } = bad.lost
        {
            self.ledger.unreadable(source, compressed_bytes);
        }
        Ok(())
    }
}
