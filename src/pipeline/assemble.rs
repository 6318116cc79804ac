//! The sequential part: draw examples into pools, pack rows, write batches, send them.
//!
//! One thread runs it. Everything that it decides follows from the lanes' ordered streams alone. What it knows
//! about itself after a step is a [`Standing`], from which another process goes on ([`resume`](super::resume)).

use super::builder::Checkpoints;
use super::feed::Feed;
use super::lane::Lane;
use super::progress::{Delivery, Progress, Standing};
use crate::batch::BatchWriter;
use crate::channel::Sender;
use crate::checkpoint::Phase;
use crate::error::{Error, Result};
use crate::example::Piece;
use crate::ledger::Ledger;
use crate::order::draw::{Draw, MILLION};
use crate::order::lanes::{Lanes, Rank};
use crate::order::weights::Weights;
use crate::pack::{self, Scratch};
use crate::places;
use crate::recipe::{OnBadRecord, PackConfig};
use crate::stats::{Lap, Stats};
use std::sync::Arc;
use std::time::Duration;

/// What the assembler is made with.
pub(crate) struct Setup {
    pub(crate) feed: Feed,
    pub(crate) lanes: Lanes,
    pub(crate) rank: Rank,
    /// What sources are drawn by; none: all blocks are one list.
    pub(crate) weights: Option<Weights>,
    pub(crate) sources: Vec<String>,
    pub(crate) pack: PackConfig,
    pub(crate) bos: Option<u32>,
    pub(crate) on_bad_record: OnBadRecord,
    pub(crate) writer: BatchWriter,
    /// Rows of all ranks in a step.
    pub(crate) step_rows: u64,
    /// Steps after which to stop, counted from the stream's start.
    pub(crate) steps: Option<u64>,
    pub(super) checkpoints: Checkpoints,
    pub(crate) sender: Sender<Result<Delivery>>,
    pub(crate) stats: Arc<Stats>,
}

/// Why the assembler stopped.
pub(crate) enum Stopped {
    /// The stream has ended, or its steps are made.
    Done,
    /// Nobody receives any more.
    Closed,
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
    pub(super) progress: Progress,
    pub(super) ledger: Ledger,
    /// Number of the next row that this rank makes.
    pub(super) next_row: u64,
    /// Number of the first row of the step that is being made.
    pub(super) step_begins: u64,
    /// The lane whose turn it is: its place among the own ones.
    pub(super) turn: usize,
    /// Rows that the last pool has made; none while the lanes are in turn.
    pub(super) last_pool: Option<u64>,
    /// Rows of the last pool that were made before a resume.
    pub(super) made_before: u64,
    /// This rank's rows in the step that is being made, filling rows included.
    pub(super) in_step: u64,
    /// Whether pools can still be refilled: until the last pool takes its last example.
    pub(super) refillable: bool,
    /// Tokens and examples drawn so far: their mean tells how far ahead workers should be.
    pub(super) drawn: (u64, u64),
    packing: Duration,
    batching: Duration,
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
    pub(crate) fn new(setup: Setup) -> Result<Self> {
        let streams = setup.feed.dealt().sequences.len();
        let mut lanes = Vec::new();
        for (place, &number) in setup.feed.dealt().own.iter().enumerate() {
            let packer = pack::packer(&setup.pack)?;
            let draw = setup.draw(0);
            let sources = setup.sources.len();
            lanes.push(Lane::new(number, place, packer, draw, streams, sources));
        }
        Ok(Assembler {
            ledger: Ledger::new(&setup.sources),
            lanes,
            progress: Progress::default(),
            next_row: setup.rank.next_row(0),
            step_begins: 0,
            turn: 0,
            last_pool: None,
            made_before: 0,
            in_step: 0,
            refillable: true,
            drawn: (0, 0),
            packing: Duration::ZERO,
            batching: Duration::ZERO,
            scratch: Scratch::default(),
            setup,
        })
    }

    /// Makes rows until the stream ends, its steps are made, or nobody receives any more.
    pub(crate) fn run(&mut self) -> Result<Stopped> {
        if self.done() {
            return Ok(Stopped::Done);
        }
        while self.lanes.iter().any(|lane| !lane.ended) {
            let lane = self.turn;
            if !self.lanes[lane].ended {
                match self.fill(lane)? {
                    Filled::Full => {
                        self.turn = (lane + 1) % self.lanes.len();
                        if let Some(stopped) = self.row(lane)? {
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
            self.progress.ledger = Arc::new(self.ledger.clone());
            let end = Delivery::End(self.progress.clone());
            // A receiver that is gone wants no end either.
            let _ = self.setup.sender.send(Ok(end));
        }
        Ok(stopped)
    }

    /// Refills a lane's pool under the weights of the row that it is for.
    fn fill(&mut self, lane: usize) -> Result<Filled> {
        self.reread(lane)?;
        let streams = self.setup.feed.dealt().streams(lane);
        self.setup.feed.turn(streams.start)?;
        let mut lap = Lap::start();
        self.reweigh(lane);
        while self.lanes[lane].packer.wants() {
            if self.setup.sender.is_closed() {
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
            let waited = lap.lap();
            let item = self.setup.feed.next(streams.start + stream)?;
            self.packing += waited;
            lap.lap();
            let Some(item) = item else {
                for stream in streams {
                    self.setup.feed.need(stream, 0, 0);
                }
                return Ok(Filled::Ended);
            };
            self.take(lane, stream, item)?;
        }
        self.want(lane);
        self.packing += lap.lap();
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

    /// Tells the feed how many records the lane's next row may need, of each stream its share.
    fn want(&mut self, lane: usize) {
        let (tokens, examples) = self.drawn;
        let mean = (tokens / examples.max(1)).max(1);
        let row = self.setup.pack.sequence_length as u64 / mean + 1;
        let Lane { packer, draw, .. } = &self.lanes[lane];
        let need = (packer.lacks(mean) as u64).max(row);
        let reserve = (row * 2).clamp(16, 512);
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
    fn row(&mut self, lane: usize) -> Result<Option<Stopped>> {
        let mut lap = Lap::start();
        let state = &mut self.lanes[lane];
        state.touch();
        let row = state.packer.row(&mut self.scratch);
        state.rows += u64::from(row.is_some());
        places::reach(places::ROW_PACKED);
        self.packing += lap.lap();
        match row {
            Some(row) => self.emit(&row.segments),
            None => Ok(None),
        }
    }

    pub(super) fn emit(&mut self, segments: &[Piece]) -> Result<Option<Stopped>> {
        let mut lap = Lap::start();
        self.setup.writer.push_row(self.next_row, segments)?;
        for piece in segments {
            self.ledger.delivered(piece);
            self.progress.tokens += piece.len() as u64;
            self.progress.supervised_tokens += piece.num_label_tokens();
        }
        self.next_row += u64::from(self.setup.rank.world_size);
        self.progress.rows += 1;
        if self.refillable {
            self.progress.refilled();
        }
        self.batching += lap.lap();
        self.row_done()
    }

    /// Counts a row of the step, and sends the batch that it completes.
    pub(super) fn row_done(&mut self) -> Result<Option<Stopped>> {
        self.in_step += 1;
        if !self.setup.writer.is_full() {
            return Ok(None);
        }
        let mut lap = Lap::start();
        let batch = self.setup.writer.finish()?;
        self.progress.digest += batch.digest();
        self.batching += lap.lap();
        self.progress.ledger = Arc::new(self.ledger.clone());
        self.progress.standing = None;
        let ends_step =
            self.in_step == self.setup.step_rows / u64::from(self.setup.rank.world_size);
        if ends_step {
            self.in_step = 0;
            self.progress.steps += 1;
            self.progress.step += 1;
            self.step_begins += self.setup.step_rows;
            if self.setup.checkpoints == Checkpoints::Wanted {
                self.progress.standing = Some(self.standing());
            }
        }
        let tokens = batch.num_tokens();
        self.setup
            .stats
            .pack
            .add(tokens, 0, std::mem::take(&mut self.packing));
        self.setup
            .stats
            .batch
            .add(tokens, 0, std::mem::take(&mut self.batching));
        let delivery = Delivery::Batch(Box::new(batch), self.progress.clone());
        if self.setup.sender.send(Ok(delivery)).is_err() {
            return Ok(Some(Stopped::Closed));
        }
        places::reach(places::BATCH_SENT);
        Ok((ends_step && self.done()).then_some(Stopped::Done))
    }

    /// Whether the steps asked for are made.
    fn done(&self) -> bool {
        self.setup
            .steps
            .is_some_and(|steps| self.progress.step >= steps)
    }

    /// Where the stream stands after the step that was just made.
    fn standing(&mut self) -> Arc<Standing> {
        let by_source = self.setup.feed.dealt().by_source;
        // A finite stream has one rank, whose rows have no gaps, and its last step may be filled.
        let next_row = match self.setup.rank.world_size {
            1 => self.next_row,
            _ => self.step_begins,
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

    /// Hands an error to the receiver, behind the batches that were made before it.
    pub(crate) fn fail(&mut self, error: Error) {
        // A receiver that is gone wants no error either.
        let _ = self.setup.sender.send(Err(error));
    }
}
