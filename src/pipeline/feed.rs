//! Lanes' ordered streams of encoded records, made ahead of time by workers.
//!
//! One thread owns a [`Feed`]. It cuts each lane's part of the sequence into tasks, hands them to workers and
//! files their answers into slots, one lane's slots in the lane's order. So the number of workers and their
//! timing decide when an answer is there, never which one is next.
//!
//! Memory: a lane never has more records in slots than it needs for its next row plus [`Feed::reserve`],
//! rounded up to a task; a streamed lane holds one open block and one run beside them.

use super::encode::{Item, Outcome};
use super::workers::{Advance, Event, OpenBlock, RecordRef, Task, Workers};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::Origin;
use crate::order::lanes::Lanes;
use crate::order::sequence::{Place, Sequence};
use crate::pipeline::sources::{Located, Sources};
use crate::read::{ReadAhead, Run};
use crate::stats::{Lap, Stats};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of records that one task should hold: large enough that hand-over costs nothing, small
/// enough that a lane's next row does not wait for more than it needs.
const TASK_BYTES: u64 = 48 << 10;

/// Most records of one task.
const TASK_RECORDS: u64 = 32;

/// Tasks with workers at a time, for each worker: one at work, the others so that it never waits.
const TASKS_PER_WORKER: usize = 4;

/// One lane's place in the sequence and what was made ahead of it.
struct Lane {
    /// Index, within the lane, of the next block to issue.
    next: u64,
    slots: VecDeque<Slot>,
    /// Number of the first slot of `slots`.
    first_slot: u64,
    /// Records in slots, done or not.
    outstanding: usize,
    /// Records that the next row may need.
    need: usize,
    block: Block,
}

/// A task's answer, or the place kept for it.
enum Slot {
    Waiting,
    Done(std::vec::IntoIter<Item>),
}

/// The streamed block that a lane lies in.
enum Block {
    /// None: the next position decides.
    Between,
    /// A worker or the read runtime has the reader.
    Away(Open),
    /// A run, partly issued; the reader waits.
    Run {
        open: Open,
        reader: Box<OpenBlock>,
        run: Arc<Run>,
        order: Vec<u64>,
        issued: usize,
    },
    /// The lane's sequence has ended.
    Ended,
}

#[derive(Clone, Copy)]
struct Open {
    source: u32,
    place: Place,
    located: Located,
    /// Runs seen so far.
    runs: u64,
}

impl Open {
    fn origin(&self) -> Origin {
        self.located.origin(self.source, self.place.epoch, 0)
    }
}

/// The ordered streams of all lanes.
pub(crate) struct Feed {
    sources: Arc<Sources>,
    sequence: Sequence,
    lanes: Lanes,
    state: Vec<Lane>,
    workers: Workers,
    read_ahead: ReadAhead,
    in_flight: usize,
    reserve: usize,
    stats: Arc<Stats>,
}

impl Feed {
    pub(crate) fn new(
        sources: Arc<Sources>,
        sequence: Sequence,
        lanes: Lanes,
        workers: Workers,
        read_ahead: ReadAhead,
        stats: Arc<Stats>,
    ) -> Self {
        let state = (0..lanes.count())
            .map(|_| Lane {
                next: 0,
                slots: VecDeque::new(),
                first_slot: 0,
                outstanding: 0,
                need: 0,
                block: Block::Between,
            })
            .collect();
        Feed {
            sources,
            sequence,
            lanes,
            state,
            workers,
            read_ahead,
            in_flight: 0,
            reserve: 32,
            stats,
        }
    }

    /// Adds shard and record to an error.
    pub(crate) fn place(&self, error: Error, origin: Origin) -> Error {
        self.sources.place(error, origin)
    }

    /// Says how many records `lane` may need for its next row: such lanes are served first.
    pub(crate) fn need(&mut self, lane: u32, records: usize) {
        self.state[lane as usize].need = records;
    }

    /// Says how many records to make beyond every lane's need.
    pub(crate) fn reserve(&mut self, records: usize) {
        self.reserve = records;
    }

    /// Files what workers have answered and hands out what is needed next, without waiting.
    pub(crate) fn turn(&mut self, lane: u32) -> Result<()> {
        while let Some(event) = self.workers.try_event() {
            self.file(event)?;
        }
        self.issue_ahead(lane)
    }

    /// The next item of `lane`, waiting for it if need be; none at the lane's end.
    pub(crate) fn next(&mut self, lane: u32) -> Result<Option<Item>> {
        loop {
            let state = &mut self.state[lane as usize];
            match state.slots.front_mut() {
                Some(Slot::Done(items)) => match items.next() {
                    Some(item) => {
                        state.outstanding = state.outstanding.saturating_sub(1);
                        return Ok(Some(item));
                    }
                    None => {
                        state.slots.pop_front();
                        state.first_slot += 1;
                        continue;
                    }
                },
                None if matches!(state.block, Block::Ended) => return Ok(None),
                _ => {}
            }
            state.need = state.need.max(1);
            self.turn(lane)?;
            if self.ready(lane) {
                continue;
            }
            if self.in_flight == 0 {
                if matches!(self.state[lane as usize].block, Block::Ended) {
                    continue;
                }
                return Err(Error::new(
                    Kind::Internal,
                    Stage::Order,
                    format!("lane {lane} waits for nothing"),
                ));
            }
            let mut lap = Lap::start();
            let event = self.workers.event()?;
            self.stats.pack.blocked_in(lap.lap());
            self.file(event)?;
        }
    }

    fn ready(&self, lane: u32) -> bool {
        matches!(self.state[lane as usize].slots.front(), Some(Slot::Done(_)))
    }

    /// Hands out tasks while workers have room: first for the next row of each lane in turn, from
    /// `first` on, then for the reserve.
    fn issue_ahead(&mut self, first: u32) -> Result<()> {
        let room = self.workers.count() * TASKS_PER_WORKER;
        let lanes = self.lanes.count();
        for reserve in [0, self.reserve] {
            for step in 0..lanes {
                let lane = (first + step) % lanes;
                loop {
                    if self.in_flight >= room {
                        return Ok(());
                    }
                    let state = &self.state[lane as usize];
                    if state.outstanding >= state.need + reserve || !self.issue(lane)? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Hands out one task of `lane`; false where it has none to hand out now.
    fn issue(&mut self, lane: u32) -> Result<bool> {
        let state = &mut self.state[lane as usize];
        match std::mem::replace(&mut state.block, Block::Between) {
            Block::Ended => {
                state.block = Block::Ended;
                Ok(false)
            }
            Block::Away(open) => {
                state.block = Block::Away(open);
                Ok(false)
            }
            Block::Run {
                open,
                reader,
                run,
                order,
                issued,
            } if issued < order.len() => {
                let until = task_end(&run, &order, issued);
                let slot = state.open_slot(until - issued);
                self.in_flight += 1;
                self.workers.send(Task::Records {
                    lane,
                    slot,
                    source: open.source,
                    located: open.located,
                    epoch: open.place.epoch,
                    run: Arc::clone(&run),
                    order: order[issued..until].to_vec(),
                })?;
                state.block = Block::Run {
                    open,
                    reader,
                    run,
                    order,
                    issued: until,
                };
                Ok(true)
            }
            Block::Run { open, reader, .. } => {
                state.block = Block::Away(open);
                self.advance(lane, reader, None)?;
                Ok(true)
            }
            Block::Between => self.issue_block(lane),
        }
    }

    /// Hands out the lane's next block: some held records, or a streamed block's reader.
    fn issue_block(&mut self, lane: u32) -> Result<bool> {
        let mut records = Vec::new();
        let mut bytes = 0;
        loop {
            let state = &mut self.state[lane as usize];
            let Some(place) = self.sequence.at(self.lanes.position(lane, state.next)) else {
                state.block = Block::Ended;
                break;
            };
            let Some((source, located)) = self.sources.locate(place.block) else {
                return Err(nowhere(place.block));
            };
            if let Some(held) = self.sources.held(source) {
                records.push(RecordRef {
                    source,
                    located,
                    epoch: place.epoch,
                });
                bytes += held.decoded_bytes() / held.records().max(1);
                state.next += 1;
                if bytes >= TASK_BYTES || records.len() as u64 >= TASK_RECORDS {
                    break;
                }
            } else if records.is_empty() {
                let Some((reader, shard)) = self.sources.open_block(source, located) else {
                    return Err(nowhere(place.block));
                };
                let reader = Box::new(OpenBlock {
                    reader,
                    shard,
                    ahead: None,
                });
                state.next += 1;
                state.block = Block::Away(Open {
                    source,
                    place,
                    located,
                    runs: 0,
                });
                self.advance(lane, reader, None)?;
                return Ok(true);
            } else {
                break;
            }
        }
        if records.is_empty() {
            return Ok(false);
        }
        let slot = self.state[lane as usize].open_slot(records.len());
        self.in_flight += 1;
        self.workers.send(Task::Held {
            lane,
            slot,
            records,
        })?;
        Ok(true)
    }

    fn advance(
        &mut self,
        lane: u32,
        reader: Box<OpenBlock>,
        bytes: Option<Result<bytes::Bytes>>,
    ) -> Result<()> {
        self.in_flight += 1;
        self.workers.send(Task::Advance {
            lane,
            reader,
            bytes,
        })
    }

    /// Puts an answer where it belongs.
    fn file(&mut self, event: Event) -> Result<()> {
        self.in_flight -= 1;
        match event {
            Event::Encoded { lane, slot, items } => {
                let state = &mut self.state[lane as usize];
                let index = usize::try_from(slot - state.first_slot).unwrap_or(usize::MAX);
                if let Some(place) = state.slots.get_mut(index) {
                    *place = Slot::Done(items.into_iter());
                }
                Ok(())
            }
            Event::Fetched {
                lane,
                reader,
                bytes,
            } => self.advance(lane, reader, Some(bytes)),
            Event::Advanced {
                lane,
                reader,
                advance,
            } => self.advanced(lane, reader, advance),
        }
    }

    /// Gets the stored bytes that a reader needs, and begins to get those that it will need next.
    fn fetch(&mut self, lane: u32, mut block: Box<OpenBlock>, span: Range<u64>) {
        self.in_flight += 1;
        let begun = block.ahead.take().filter(|ahead| *ahead.range() == span);
        block.ahead = block
            .reader
            .ahead()
            .map(|next| self.read_ahead.ahead(&block.shard, next));
        let shard = Arc::clone(&block.shard);
        let events = self.workers.events();
        let done = move |bytes| {
            // The receiver is gone only when the loader is; then nobody waits for the answer.
            let _ = events.send(Event::Fetched {
                lane,
                reader: block,
                bytes,
            });
        };
        match begun {
            Some(ahead) => ahead.take(done),
            None => self.read_ahead.fetch(&shard, span, done),
        }
    }

    fn advanced(&mut self, lane: u32, reader: Box<OpenBlock>, advance: Advance) -> Result<()> {
        let state = &mut self.state[lane as usize];
        let Block::Away(mut open) = std::mem::replace(&mut state.block, Block::Between) else {
            return Err(Error::new(
                Kind::Internal,
                Stage::Read,
                "a reader came back to a lane that lent none",
            ));
        };
        match advance {
            Advance::Need(span) => {
                state.block = Block::Away(open);
                self.fetch(lane, reader, span);
            }
            Advance::Run(run) => {
                let order =
                    self.sequence
                        .run_order(open.place, open.runs, run.records.len() as u64);
                open.runs += 1;
                state.block = Block::Run {
                    open,
                    reader,
                    run: Arc::new(run),
                    order,
                    issued: 0,
                };
            }
            Advance::Bad(outcome) => {
                let origin = open.origin();
                let outcome = outcome.placed(|error| self.sources.place(error, origin));
                state.put(Item {
                    origin,
                    outcome,
                    ends_block: None,
                });
                state.block = Block::Away(open);
                self.advance(lane, reader, None)?;
            }
            Advance::End { lines } => {
                state.put(Item {
                    origin: open.origin(),
                    outcome: Outcome::Nothing,
                    ends_block: Some(lines),
                });
            }
        }
        Ok(())
    }
}

impl Lane {
    /// Keeps a place for a task's answer of about `records` records, and gives its number.
    fn open_slot(&mut self, records: usize) -> u64 {
        self.slots.push_back(Slot::Waiting);
        self.outstanding += records;
        self.first_slot + self.slots.len() as u64 - 1
    }

    /// Files an item that needed no worker.
    fn put(&mut self, item: Item) {
        self.slots.push_back(Slot::Done(vec![item].into_iter()));
        self.outstanding += 1;
    }
}

fn nowhere(block: u64) -> Error {
    Error::new(
        Kind::Internal,
        Stage::Order,
        format!("there is no block {block}"),
    )
}

/// Where a task that begins at place `from` of `order` ends.
fn task_end(run: &Run, order: &[u64], from: usize) -> usize {
    let mut bytes = 0;
    let mut until = from;
    while until < order.len() && (until - from) < TASK_RECORDS as usize && bytes < TASK_BYTES {
        if let Some(record) = usize::try_from(order[until])
            .ok()
            .and_then(|i| run.records.get(i))
        {
            bytes += u64::from(record.end - record.start);
        }
        until += 1;
    }
    until.max(from + 1).min(order.len())
}
