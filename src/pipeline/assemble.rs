//! The sequential part: draw examples into pools, pack rows, write batches, send them.
//!
//! One thread runs it. Everything that it decides follows from the lanes' ordered streams alone. What it knows
//! about itself after a step is a [`Standing`], from which another process goes on ([`resume`](super::resume)).

use super::encode::{Item, Outcome};
use super::feed::Feed;
use super::lane::Lane;
use super::progress::{Delivery, Progress, Standing};
use crate::batch::BatchWriter;
use crate::channel::Sender;
use crate::checkpoint::Phase;
use crate::error::{Error, Kind, Result, Stage};
use crate::example::{Example, Piece};
use crate::ledger::{Ledger, Reason};
use crate::order::draw::{Draw, MILLION};
use crate::order::lanes::{Lanes, Rank};
use crate::order::weights::Weights;
use crate::pack::overlong::{self, Fitted};
use crate::pack::{self, Scratch};
use crate::places;
use crate::recipe::{OnBadRecord, PackConfig};
use crate::stats::{Lap, Stats};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Records that a lane may read without finding an example before it gives up, at least.
const BARREN_RECORDS: u64 = 4_096;

/// Bad records that are always forgiven with `skip`, so that a small corpus does not stop at its first.
const FORGIVEN: u64 = 8;

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
    in_step: u64,
    /// Whether pools can still be refilled: until the last pool takes its last example.
    refillable: bool,
    /// Tokens and examples drawn so far: their mean tells how far ahead workers should be.
    drawn: (u64, u64),
    packing: Duration,
    batching: Duration,
    scratch: Scratch,
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

    /// Books an item and keeps what is to be pooled of it.
    fn take(&mut self, lane: usize, stream: usize, item: Item) -> Result<()> {
        self.lanes[lane].took(stream, &item);
        let Item {
            origin,
            outcome,
            ends_block,
        } = item;
        let source = origin.source;
        let blank = matches!(outcome, Outcome::Nothing);
        if let (false, Some(read)) = (blank, self.lanes[lane].bad.get_mut(source as usize)) {
            read.0 += 1;
        }
        let mut found = false;
        match outcome {
            Outcome::Examples(examples) => found = self.keep(lane, stream, source, examples)?,
            Outcome::Dropped { reason, tokens } => self.ledger.dropped(source, reason, tokens),
            Outcome::Nothing => {}
            Outcome::Fatal(error) => return Err(error),
            Outcome::Bad(error) => {
                self.forgive(lane, source, error)?;
                self.ledger.dropped(source, Reason::BadRecord, 0);
            }
            Outcome::Unreadable { error, bytes } => {
                self.forgive(lane, source, error)?;
                self.ledger.unreadable(source, bytes);
            }
        }
        let blocks = self.setup.feed.dealt().sequences[stream].blocks();
        let Lane {
            number, streams, ..
        } = &mut self.lanes[lane];
        let barren = &mut streams[stream].barren;
        if found {
            *barren = (0, 0);
            return Ok(());
        }
        barren.0 += u64::from(!blank);
        barren.1 += u64::from(ends_block.is_some());
        if barren.0 >= BARREN_RECORDS && barren.1 >= self.setup.lanes.share(blocks) {
            return Err(Error::new(
                Kind::Mask,
                Stage::Order,
                format!("a whole epoch of lane {number}, {} records, gave no example: all were dropped", barren.0),
            )
            .remedy("look at the ledger's reasons and at `packmill samples`: the mask may not fit the rows"));
        }
        Ok(())
    }

    /// Fits a record's examples to rows, for the pool to take piece by piece; whether any of it is kept.
    fn keep(
        &mut self,
        lane: usize,
        stream: usize,
        source: u32,
        examples: Vec<Example>,
    ) -> Result<bool> {
        let (mut pending, mut truncated, mut dropped) = (0, 0, Vec::new());
        for example in examples {
            self.drawn.0 += example.len() as u64;
            self.drawn.1 += 1;
            let fitted = self.fit(example)?;
            truncated += fitted.truncated_tokens;
            if fitted.dropped_tokens > 0 {
                // Pieces of a split example are dropped for want of a target.
                let reason = fitted.dropped.unwrap_or(Reason::NoTrainedToken);
                dropped.push((reason, fitted.dropped_tokens));
            }
            for piece in fitted.pieces {
                pending += piece.len() as u64;
                self.lanes[lane].streams[stream].waiting.push_back(piece);
            }
        }
        if pending > 0 {
            self.ledger.kept(source, pending, truncated, &dropped);
        } else {
            let (reason, tokens) = dropped
                .first()
                .copied()
                .unwrap_or((Reason::NoTrainedToken, 0));
            self.ledger.dropped(source, reason, tokens);
        }
        Ok(pending > 0)
    }

    /// What is packed of an example.
    pub(super) fn fit(&self, example: Example) -> Result<Fitted> {
        let origin = example.origin;
        overlong::fit(example, &self.setup.pack, self.setup.bos)
            .map_err(|error| self.setup.feed.place(error, origin))
    }

    /// Lets a bad record pass within the recipe's limit.
    fn forgive(&mut self, lane: usize, source: u32, error: Error) -> Result<()> {
        let OnBadRecord::Skip { max_fraction } = self.setup.on_bad_record else {
            return Err(error);
        };
        let Some((read, bad)) = self.lanes[lane].bad.get_mut(source as usize) else {
            return Err(error);
        };
        *bad += 1;
        let (read, bad) = (*read, *bad);
        // Counts of records are far below 2^53, so that both sides are exact enough to agree on every machine.
        if (bad as f64) > FORGIVEN as f64 + max_fraction * (read as f64) {
            let message = format!(
                "{bad} of {read} records of source `{}` in lane {} are bad, more than on_bad_record allows; the last: {error}",
                self.setup
                    .sources
                    .get(source as usize)
                    .map_or("", String::as_str),
                self.lanes[lane].number,
            );
            return Err(Error::new(error.kind(), error.stage(), message)
                .remedy("mend the source or raise max_fraction"));
        }
        Ok(())
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

    fn emit(&mut self, segments: &[Piece]) -> Result<Option<Stopped>> {
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
    fn row_done(&mut self) -> Result<Option<Stopped>> {
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
            self.progress.standing = Some(self.standing());
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

    /// What the lanes' pools still hold, one example of each lane in turn, through one last pool; then the
    /// last step is filled.
    fn pack_last(&mut self) -> Result<Stopped> {
        // Their states stay as they are: a resume packs the last pool anew, up to where it was.
        let by_source = self.setup.feed.dealt().by_source;
        for lane in &mut self.lanes {
            lane.state(by_source);
        }
        self.last_pool = Some(0);
        let mut pools: Vec<VecDeque<Piece>> = self
            .lanes
            .iter_mut()
            .map(|lane| lane.packer.drain().into())
            .collect();
        let mut packer = pack::packer(&self.setup.pack)?;
        loop {
            let mut empty = true;
            for pool in &mut pools {
                let Some(piece) = pool.pop_front() else {
                    continue;
                };
                empty = false;
                while !packer.wants() {
                    let Some(row) = packer.row(&mut self.scratch) else {
                        break;
                    };
                    if let Some(stopped) = self.emit_last(&row.segments)? {
                        return Ok(stopped);
                    }
                }
                packer.push(piece);
            }
            if empty {
                break;
            }
        }
        self.refillable = false;
        while let Some(row) = packer.row(&mut self.scratch) {
            if let Some(stopped) = self.emit_last(&row.segments)? {
                return Ok(stopped);
            }
        }
        if self.next_row == 0 {
            return Err(Error::new(
                Kind::Row,
                Stage::Pack,
                "the stream has no row: every record was dropped, or the sources hold none",
            )
            .remedy("look at `packmill samples`"));
        }
        while self.in_step > 0 {
            self.setup.writer.push_filling_row()?;
            if let Some(stopped) = self.row_done()? {
                return Ok(stopped);
            }
        }
        Ok(Stopped::Done)
    }

    /// Sends a row of the last pool, unless it was sent before a resume.
    fn emit_last(&mut self, segments: &[Piece]) -> Result<Option<Stopped>> {
        let made = self.last_pool.get_or_insert(0);
        *made += 1;
        if *made <= self.made_before {
            return Ok(None);
        }
        self.emit(segments)
    }

    /// Hands an error to the receiver, behind the batches that were made before it.
    pub(crate) fn fail(&mut self, error: Error) {
        // A receiver that is gone wants no error either.
        let _ = self.setup.sender.send(Err(error));
    }
}
