//! The sequential part: draw examples into pools, pack rows, write batches, send them.
//!
//! One thread runs it. Everything that it decides follows from the lanes' ordered streams alone.

use super::encode::{Item, Outcome};
use super::feed::Feed;
use super::progress::{Delivery, Progress};
use crate::batch::BatchWriter;
use crate::channel::Sender;
use crate::error::{Error, Kind, Result, Stage};
use crate::example::Piece;
use crate::ledger::{Ledger, Reason};
use crate::order::lanes::Lanes;
use crate::pack::overlong;
use crate::pack::{self, Packer, Scratch};
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
    /// The most blocks of one epoch that a lane can get.
    pub(crate) blocks_a_lane: u64,
    pub(crate) sources: Vec<String>,
    pub(crate) pack: PackConfig,
    pub(crate) bos: Option<u32>,
    pub(crate) on_bad_record: OnBadRecord,
    pub(crate) writer: BatchWriter,
    pub(crate) rows_a_step: u64,
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

struct Lane {
    packer: Box<dyn Packer>,
    /// Pieces of the last record that the pool had no place for yet.
    waiting: VecDeque<Piece>,
    ended: bool,
    /// Records, and blocks, since the last example.
    barren: (u64, u64),
    /// Records read and bad ones met, by source.
    read: Vec<(u64, u64)>,
}

pub(crate) struct Assembler {
    setup: Setup,
    lanes: Vec<Lane>,
    progress: Progress,
    ledger: Ledger,
    /// Rows in the step that is being made, filling rows included.
    in_step: u64,
    /// Whether pools can still be refilled: until the last pool takes its last example.
    refillable: bool,
    /// Tokens and examples drawn so far: their mean tells how far ahead workers should be.
    drawn: (u64, u64),
    packing: Duration,
    batching: Duration,
    scratch: Scratch,
}

impl Assembler {
    pub(crate) fn new(setup: Setup) -> Result<Self> {
        let mut lanes = Vec::with_capacity(setup.lanes.count() as usize);
        for _ in 0..setup.lanes.count() {
            lanes.push(Lane {
                packer: pack::packer(&setup.pack)?,
                waiting: VecDeque::new(),
                ended: false,
                barren: (0, 0),
                read: vec![(0, 0); setup.sources.len()],
            });
        }
        Ok(Assembler {
            ledger: Ledger::new(&setup.sources),
            lanes,
            progress: Progress::default(),
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
        let lanes = self.setup.lanes.count();
        let mut lane = 0;
        while self.lanes.iter().any(|l| !l.ended) {
            if !self.lanes[lane as usize].ended {
                match self.fill(lane)? {
                    Filled::Full => {
                        if let Some(stopped) = self.row(lane)? {
                            return Ok(stopped);
                        }
                    }
                    Filled::Ended => self.lanes[lane as usize].ended = true,
                    Filled::Closed => return Ok(Stopped::Closed),
                }
            }
            lane = (lane + 1) % lanes;
        }
        let stopped = self.last_pool()?;
        if matches!(stopped, Stopped::Done) {
            self.progress.ledger = Arc::new(self.ledger.clone());
            let end = Delivery::End(self.progress.clone());
            // A receiver that is gone wants no end either.
            let _ = self.setup.sender.send(Ok(end));
        }
        Ok(stopped)
    }

    /// Refills a lane's pool.
    fn fill(&mut self, lane: u32) -> Result<Filled> {
        self.setup.feed.turn(lane)?;
        let mut lap = Lap::start();
        while self.lanes[lane as usize].packer.wants() {
            if self.setup.sender.is_closed() {
                return Ok(Filled::Closed);
            }
            let Lane {
                packer, waiting, ..
            } = &mut self.lanes[lane as usize];
            if let Some(piece) = waiting.pop_front() {
                packer.push(piece);
                continue;
            }
            self.want(lane);
            let waited = lap.lap();
            let item = self.setup.feed.next(lane)?;
            self.packing += waited;
            lap.lap();
            let Some(item) = item else {
                self.setup.feed.need(lane, 0);
                return Ok(Filled::Ended);
            };
            self.take(lane, item)?;
        }
        self.want(lane);
        self.packing += lap.lap();
        Ok(Filled::Full)
    }

    /// Tells the feed how many records the lane's next row may need.
    fn want(&mut self, lane: u32) {
        let (tokens, examples) = self.drawn;
        let mean = (tokens / examples.max(1)).max(1);
        let row = self.setup.pack.sequence_length as u64 / mean + 1;
        let need = self.lanes[lane as usize].packer.lacks(mean);
        self.setup
            .feed
            .need(lane, need.max(usize::try_from(row).unwrap_or(usize::MAX)));
        self.setup
            .feed
            .reserve(usize::try_from((row * 2).clamp(16, 512)).unwrap_or(512));
    }

    /// Books an item and keeps what is to be pooled of it.
    fn take(&mut self, lane: u32, item: Item) -> Result<()> {
        let Item {
            origin,
            outcome,
            ends_block,
        } = item;
        let source = origin.source;
        let state = &mut self.lanes[lane as usize];
        let blank = matches!(outcome, Outcome::Nothing);
        if let (false, Some(read)) = (blank, state.read.get_mut(source as usize)) {
            read.0 += 1;
        }
        let mut found = false;
        match outcome {
            Outcome::Examples(examples) => found = self.keep(lane, source, examples)?,
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
        let state = &mut self.lanes[lane as usize];
        if found {
            state.barren = (0, 0);
        } else {
            state.barren.0 += u64::from(!blank);
            state.barren.1 += u64::from(ends_block.is_some());
            if state.barren.0 >= BARREN_RECORDS && state.barren.1 >= self.setup.blocks_a_lane {
                return Err(Error::new(
                    Kind::Mask,
                    Stage::Order,
                    format!("a whole epoch of lane {lane}, {} records, gave no example: all were dropped", state.barren.0),
                )
                .remedy("look at the ledger's reasons and at `packmill samples`: the mask may not fit the rows"));
            }
        }
        Ok(())
    }

    /// Fits a record's examples to rows, for the pool to take piece by piece; whether any of it is kept.
    fn keep(
        &mut self,
        lane: u32,
        source: u32,
        examples: Vec<crate::example::Example>,
    ) -> Result<bool> {
        let (mut pending, mut truncated, mut dropped) = (0, 0, Vec::new());
        for example in examples {
            self.drawn.0 += example.len() as u64;
            self.drawn.1 += 1;
            let origin = example.origin;
            let fitted = overlong::fit(example, &self.setup.pack, self.setup.bos)
                .map_err(|error| self.setup.feed.place(error, origin))?;
            truncated += fitted.truncated_tokens;
            if fitted.dropped_tokens > 0 {
                // Pieces of a split example are dropped for want of a target.
                let reason = fitted.dropped.unwrap_or(Reason::NoTrainedToken);
                dropped.push((reason, fitted.dropped_tokens));
            }
            for piece in fitted.pieces {
                pending += piece.len() as u64;
                self.lanes[lane as usize].waiting.push_back(piece);
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

    /// Lets a bad record pass within the recipe's limit.
    fn forgive(&mut self, lane: u32, source: u32, error: Error) -> Result<()> {
        let OnBadRecord::Skip { max_fraction } = self.setup.on_bad_record else {
            return Err(error);
        };
        let Some((read, bad)) = self.lanes[lane as usize].read.get_mut(source as usize) else {
            return Err(error);
        };
        *bad += 1;
        // Counts of records are far below 2^53, so that both sides are exact enough to agree on every machine.
        if (*bad as f64) > FORGIVEN as f64 + max_fraction * (*read as f64) {
            let message = format!(
                "{bad} of {read} records of source `{}` in lane {lane} are bad, more than on_bad_record allows; the last: {error}",
                self.setup
                    .sources
                    .get(source as usize)
                    .map_or("", String::as_str),
            );
            return Err(Error::new(error.kind(), error.stage(), message)
                .remedy("mend the source or raise max_fraction"));
        }
        Ok(())
    }

    /// Packs the next row of a pool and sends what it completes.
    fn row(&mut self, lane: u32) -> Result<Option<Stopped>> {
        let mut lap = Lap::start();
        let row = self.lanes[lane as usize].packer.row(&mut self.scratch);
        self.packing += lap.lap();
        let Some(row) = row else { return Ok(None) };
        self.emit(&row.segments)
    }

    fn emit(&mut self, segments: &[Piece]) -> Result<Option<Stopped>> {
        let mut lap = Lap::start();
        self.setup.writer.push_row(self.progress.rows, segments)?;
        for piece in segments {
            self.ledger.delivered(piece);
            self.progress.tokens += piece.len() as u64;
            self.progress.supervised_tokens += piece.num_label_tokens();
        }
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
        if self.in_step == self.setup.rows_a_step {
            self.in_step = 0;
            self.progress.steps += 1;
        }
        self.progress.ledger = Arc::new(self.ledger.clone());
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
        if self.in_step == 0
            && self
                .setup
                .steps
                .is_some_and(|steps| self.progress.steps >= steps)
        {
            return Ok(Some(Stopped::Done));
        }
        Ok(None)
    }

    /// What the lanes' pools still hold, one example of each lane in turn, through one last pool; then the
    /// last step is filled.
    fn last_pool(&mut self) -> Result<Stopped> {
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
                    if let Some(stopped) = self.emit(&row.segments)? {
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
            if let Some(stopped) = self.emit(&row.segments)? {
                return Ok(stopped);
            }
        }
        if self.progress.rows == 0 {
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

    /// Hands an error to the receiver, behind the batches that were made before it.
    pub(crate) fn fail(&mut self, error: Error) {
        // A receiver that is gone wants no error either.
        let _ = self.setup.sender.send(Err(error));
    }
}
