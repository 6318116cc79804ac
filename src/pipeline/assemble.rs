//! The sequential part of `plan: lanes`: draw examples into pools, pack rows, hand them to the outlet.
//!
//! One thread runs it. Everything that it decides follows from the lanes' ordered streams alone. What it knows
//! about itself after a step is a [`Standing`], from which another process goes on ([`resume`](super::resume)).

use super::builder::Checkpoints;
use super::drawn::Drawn;
use super::feed::Feed;
use super::lane::Lane;
use super::outlet::{Delivering, Outlet, Stopped};
use super::progress::Standing;
use crate::checkpoint::Phase;
use crate::error::{Error, Result};
use crate::example::Piece;
use crate::ledger::Ledger;
use crate::order::draw::{Draw, MILLION};
use crate::order::lanes::Lanes;
use crate::order::weights::Weights;
use crate::pack::{self, Scratch};
use crate::places;
use crate::recipe::{OnBadRecord, PackConfig};
use crate::stats::Lap;
use std::sync::Arc;

/// What the assembler is made with.
pub(crate) struct Setup {
    pub(crate) feed: Feed,
    pub(crate) lanes: Lanes,
    /// What sources are drawn by; none: all blocks are one list.
    pub(crate) weights: Option<Weights>,
    pub(crate) sources: Vec<String>,
    pub(crate) pack: PackConfig,
    pub(crate) bos: Option<u32>,
    /// Examples of one record at most.
    pub(crate) most_examples: u64,
    pub(crate) on_bad_record: OnBadRecord,
    pub(super) checkpoints: Checkpoints,
}

/// What became of refilling a pool.
enum Filled {
    /// It wants no more.
    Full,
    /// The lane's stream ended first.
    Ended,
    /// Nobody receives any more.
    Closed,
}

pub(crate) struct Assembler {
    pub(super) setup: Setup,
    /// This rank's, rising.
    pub(super) lanes: Vec<Lane>,
    pub(super) outlet: Outlet,
    pub(super) ledger: Ledger,
    /// Number of the next row that this rank makes.
    pub(super) next_row: u64,
    /// The lane whose turn it is: its place among the own ones.
    pub(super) turn: usize,
    /// Rows that the last pool has made; none while the lanes are in turn.
    pub(super) last_pool: Option<u64>,
    /// Rows of the last pool that were made before a resume.
    pub(super) made_before: u64,
    /// Whether pools can still be refilled: until the last pool takes its last example.
    pub(super) refillable: bool,
    pub(super) drawn: Drawn,
    pub(super) scratch: Scratch,
}

impl Setup {
    /// A lane's account under the schedule's entry.
    pub(super) fn draw(&self, entry: u32) -> Draw {
        match &self.weights {
            Some(weights) => Draw::new(weights.at(entry).to_vec()),
            None => Draw::new(vec![MILLION]),
        }
    }
}

impl Assembler {
    pub(crate) fn new(setup: Setup, delivering: Delivering) -> Result<Self> {
        let streams = setup.feed.dealt().sequences.len();
        let mut lanes = Vec::new();
        for (place, &number) in setup.feed.dealt().own.iter().enumerate() {
            let packer = pack::packer(&setup.pack)?;
            let draw = setup.draw(0);
            let sources = setup.sources.len();
            lanes.push(Lane::new(number, place, packer, draw, streams, sources));
        }
        let mut assembler = Assembler {
            ledger: Ledger::new(&setup.sources),
            lanes,
            next_row: delivering.rank.next_row(0),
            outlet: Outlet::new(delivering)?,
            turn: 0,
            last_pool: None,
            made_before: 0,
            refillable: true,
            drawn: Drawn::new(setup.most_examples),
            scratch: Scratch::default(),
            setup,
        };
        // Each lane's pool, so that workers make the first lanes' before they make more than these need.
        assembler.want_all();
        Ok(assembler)
    }

    /// Makes rows until the stream ends, its steps are made, or nobody receives any more.
    pub(crate) fn run(&mut self) -> Result<Stopped> {
        if self.outlet.done() {
            return Ok(Stopped::Done);
        }
        while self.lanes.iter().any(|lane| !lane.ended) {
            let lane = self.turn;
            if !self.lanes[lane].ended {
                match self.fill(lane)? {
                    Filled::Full => {
                        self.turn = (lane + 1) % self.lanes.len();
                        if let Some(stopped) = self.row(lane) {
                            return Ok(stopped);
                        }
                        continue;
                    }
                    Filled::Ended => {
                        self.lanes[lane].touch();
                        self.lanes[lane].ended = true;
                    }
                    Filled::Closed => return Ok(Stopped::Closed),
                }
            }
            self.turn = (lane + 1) % self.lanes.len();
        }
        let stopped = self.pack_last()?;
        if matches!(stopped, Stopped::Done) {
            self.outlet.end(Arc::new(self.ledger.clone()));
        }
        Ok(stopped)
    }

    /// Refills a lane's pool under the weights of the row that it is for.
    fn fill(&mut self, lane: usize) -> Result<Filled> {
        let mut lap = Lap::start();
        let filled = self.refill(lane);
        let waited = self.setup.feed.waited();
        self.outlet.packed(lap.lap().saturating_sub(waited));
        filled
    }

    fn refill(&mut self, lane: usize) -> Result<Filled> {
        self.reread(lane)?;
        let streams = self.setup.feed.dealt().streams(lane);
        self.setup.feed.turn(streams.start)?;
        self.reweigh(lane);
        while self.lanes[lane].packer.wants() {
            if self.outlet.is_closed() {
                return Ok(Filled::Closed);
            }
            let state = &mut self.lanes[lane];
            state.touch();
            let stream = state.draw.pick();
            if let Some(piece) = state.streams[stream].waiting.pop_front() {
                state.draw.book(stream, piece.len() as u64);
                state.packer.push(piece);
                continue;
            }
            self.want(lane);
            let Some(item) = self.setup.feed.next(streams.start + stream)? else {
                for stream in streams {
                    self.setup.feed.need(stream, 0, 0);
                }
                return Ok(Filled::Ended);
            };
            self.take(lane, stream, item)?;
        }
        self.want(lane);
        Ok(Filled::Full)
    }

    /// Begins a new account of what a lane draws where the schedule has new weights for its next row.
    fn reweigh(&mut self, lane: usize) {
        let entry = match &self.setup.weights {
            Some(weights) => weights.entry_at(self.next_row),
            None => return,
        };
        if self.lanes[lane].weights != entry {
            let draw = self.setup.draw(entry);
            let lane = &mut self.lanes[lane];
            lane.touch();
            (lane.weights, lane.draw) = (entry, draw);
        }
    }

    /// Tells the feed what all lanes' next rows may need, but for those that end and those whose pools are read again.
    pub(super) fn want_all(&mut self) {
        for lane in 0..self.lanes.len() {
            let Lane { ended, unread, .. } = &self.lanes[lane];
            if !ended && unread.is_none() {
                self.want(lane);
            }
        }
    }

    /// Tells the feed how many records the lane's next row may need, of each stream its share.
    fn want(&mut self, lane: usize) {
        let length = self.setup.pack.sequence_length as u64;
        // Before anything is drawn: the least that a row may need.
        let mean = self.drawn.mean().unwrap_or(length).max(1);
        let row = length / mean + 1;
        let Lane { packer, draw, .. } = &self.lanes[lane];
        let need = (packer.lacks(mean) as u64).max(row);
        let reserve = (row * 2).clamp(16, 512);
        let [need, reserve] = [need, reserve].map(|examples| self.drawn.records_of(examples));
        let part = |of: u64, stream| {
            let share = u128::from(of) * u128::from(draw.share(stream));
            usize::try_from(share.div_ceil(u128::from(MILLION))).unwrap_or(usize::MAX)
        };
        for (stream, id) in self.setup.feed.dealt().streams(lane).enumerate() {
            let (need, reserve) = (part(need, stream), part(reserve, stream));
            self.setup.feed.need(id, need, reserve);
        }
    }

    /// Packs the next row of a pool and sends what it completes.
    fn row(&mut self, lane: usize) -> Option<Stopped> {
        let mut lap = Lap::start();
        let state = &mut self.lanes[lane];
        state.touch();
        let row = state.packer.row(&mut self.scratch);
        state.rows += u64::from(row.is_some());
        places::reach(places::ROW_PACKED);
        self.outlet.packed(lap.lap());
        self.emit(row?.segments)
    }

    pub(super) fn emit(&mut self, segments: Vec<Piece>) -> Option<Stopped> {
        let mut lap = Lap::start();
        for piece in &segments {
            let source = piece.example.origin.source;
            self.ledger
                .delivered(source, piece.len() as u64, piece.ends);
        }
        self.outlet.push(self.next_row, segments, self.refillable);
        self.next_row += u64::from(self.outlet.rank().world_size);
        self.outlet.packed(lap.lap());
        self.row_done()
    }

    /// Sends the batch that the last row completed, if it did.
    pub(super) fn row_done(&mut self) -> Option<Stopped> {
        let full = self.outlet.finish()?;
        let mut lap = Lap::start();
        let wanted = full.ends_step && self.setup.checkpoints == Checkpoints::Wanted;
        let standing = wanted.then(|| self.standing());
        let ledger = Arc::new(self.ledger.clone());
        self.outlet.packed(lap.lap());
        self.outlet.send(full, ledger, standing)
    }

    /// Where the stream stands after the step that was just made.
    fn standing(&mut self) -> Arc<Standing> {
        let by_source = self.setup.feed.dealt().by_source;
        // A finite stream has one rank, whose rows have no gaps, and its last step may be filled.
        let next_row = match self.outlet.rank().world_size {
            1 => self.next_row,
            _ => self.outlet.step_begins,
        };
        let phase = match self.last_pool {
            Some(rows) => Phase::LastPool { rows },
            None => Phase::Lanes,
        };
        let lanes = self.lanes.iter_mut();
        Arc::new(Standing {
            rows: next_row,
            phase,
            lanes: lanes.map(|lane| lane.state(by_source)).collect(),
        })
    }

    pub(crate) fn fail(&mut self, error: Error) {
        self.outlet.fail(error);
    }
}
