//! Ordered streams of encoded records, made ahead of time by workers: one for each lane and sequence.
//!
//! One thread owns a [`Feed`]. It cuts each lane's part of a sequence into tasks, hands them to workers and
//! files their answers into slots, one stream's slots in the stream's order. So the number of workers and their
//! timing decide when an answer is there, never which one is next.
//!
//! A stream begins at a [`Begin`]: at its sequence's first block, or, at a resume, with the records that a pool
//! holds, read again out of the blocks before the cursor, and nothing else of these.
//!
//! Memory: a stream never has more records in slots than its lane needs for its next row plus its reserve,
//! rounded up to a task; one that is streamed holds one open block and one run beside them.

use super::encode::{Item, Outcome};
use super::sources::Sources;
use super::stream::{Begin, Block, Dealt, Open, Part, Slot, Stream};
use super::workers::{Advance, Event, OpenBlock, RecordRef, Task, Workers};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::Origin;
use crate::read::{ReadAhead, Run};
use crate::stats::{Lap, Stats};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of records that one task should hold: large enough that hand-over costs nothing, small
/// enough that a lane's next row does not wait for more than it needs.
const TASK_BYTES: u64 = 48 << 10;

/// Most records of one task.
const TASK_RECORDS: u64 = 32;

/// Tasks with workers at a time, for each worker: one at work, the others so that it never waits.
const TASKS_PER_WORKER: usize = 4;

/// The ordered streams of all own lanes.
pub(crate) struct Feed {
    sources: Arc<Sources>,
    dealt: Dealt,
    streams: Vec<Stream>,
    workers: Workers,
    read_ahead: ReadAhead,
    in_flight: usize,
    stats: Arc<Stats>,
}

impl Feed {
    /// The streams of `dealt`, each from where `begin` says, in the order of [`Dealt::streams`].
    pub(crate) fn new(
        sources: Arc<Sources>,
        dealt: Dealt,
        begin: Vec<Begin>,
        workers: Workers,
        read_ahead: ReadAhead,
        stats: Arc<Stats>,
    ) -> Self {
        Feed {
            sources,
            dealt,
            streams: begin.into_iter().map(Stream::new).collect(),
            workers,
            read_ahead,
            in_flight: 0,
            stats,
        }
    }

    /// What is dealt.
    pub(crate) fn dealt(&self) -> &Dealt {
        &self.dealt
    }

    /// Adds shard and record to an error.
    pub(crate) fn place(&self, error: Error, origin: Origin) -> Error {
        self.sources.place(error, origin)
    }

    /// Says how many records `stream` may need for its lane's next row, and how many to make beyond every need.
    pub(crate) fn need(&mut self, stream: usize, records: usize, reserve: usize) {
        let stream = &mut self.streams[stream];
        (stream.need, stream.reserve) = (records, reserve);
    }

    /// Asks for the block at a place of the sequence, after all that was asked for before. For a stream that brings
    /// nothing else.
    pub(crate) fn ask(&mut self, stream: usize, position: u64) {
        self.streams[stream].parts.push_back(Part::whole(position));
    }

    /// Files what workers have answered and hands out what is needed next, without waiting: for `stream` first.
    pub(crate) fn turn(&mut self, stream: usize) -> Result<()> {
        while let Some(event) = self.workers.try_event() {
            self.file(event)?;
        }
        self.issue_ahead(stream)
    }

    /// The next item of `stream`, waiting for it if need be; none at its end.
    pub(crate) fn next(&mut self, id: usize) -> Result<Option<Item>> {
        loop {
            let stream = &mut self.streams[id];
            match stream.slots.front_mut() {
                Some(Slot::Done(items)) => match items.next() {
                    Some(item) => {
                        stream.outstanding = stream.outstanding.saturating_sub(1);
                        return Ok(Some(item));
                    }
                    None => {
                        stream.slots.pop_front();
                        stream.first_slot += 1;
                        continue;
                    }
                },
                None if matches!(stream.block, Block::Ended) => return Ok(None),
                _ => {}
            }
            stream.need = stream.need.max(1);
            self.turn(id)?;
            if self.ready(id) {
                continue;
            }
            if self.in_flight == 0 {
                if matches!(self.streams[id].block, Block::Ended) {
                    continue;
                }
                return Err(Error::new(
                    Kind::Internal,
                    Stage::Order,
                    format!("stream {id} waits for nothing"),
                ));
            }
            let mut lap = Lap::start();
            let event = self.workers.event()?;
            self.stats.pack.blocked_in(lap.lap());
            self.file(event)?;
        }
    }

    fn ready(&self, stream: usize) -> bool {
        matches!(self.streams[stream].slots.front(), Some(Slot::Done(_)))
    }

    /// Hands out tasks while workers have room: first for the next row of each lane in turn, from
    /// `first` on, then for the reserves.
    fn issue_ahead(&mut self, first: usize) -> Result<()> {
        let room = self.workers.count() * TASKS_PER_WORKER;
        let count = self.streams.len();
        for reserves in [false, true] {
            for step in 0..count {
                let id = (first + step) % count;
                loop {
                    if self.in_flight >= room {
                        return Ok(());
                    }
                    let stream = &self.streams[id];
                    let most = stream.need + if reserves { stream.reserve } else { 0 };
                    if stream.outstanding >= most || !self.issue(id)? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Hands out one task of a stream; false where it has none to hand out now.
    fn issue(&mut self, id: usize) -> Result<bool> {
        let stream = &mut self.streams[id];
        match std::mem::replace(&mut stream.block, Block::Between) {
            Block::Ended => {
                stream.block = Block::Ended;
                Ok(false)
            }
            Block::Away(open) => {
                stream.block = Block::Away(open);
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
                let slot = stream.open_slot(until - issued);
                self.in_flight += 1;
                self.workers.send(Task::Records {
                    stream: id,
                    slot,
                    source: open.source,
                    located: open.located,
                    epoch: open.place.epoch,
                    position: open.part.position,
                    run: Arc::clone(&run),
                    order: order[issued..until].to_vec(),
                })?;
                stream.block = Block::Run {
                    open,
                    reader,
                    run,
                    order,
                    issued: until,
                };
                Ok(true)
            }
            // Nothing more is wanted of this block.
            Block::Run { open, .. } if open.part.is_over(open.items) => self.issue_block(id),
            Block::Run { open, reader, .. } => {
                stream.block = Block::Away(open);
                self.advance(id, reader, None)?;
                Ok(true)
            }
            Block::Between => self.issue_block(id),
        }
    }

    /// Hands out the stream's next block: some held records, or a streamed block's reader.
    fn issue_block(&mut self, id: usize) -> Result<bool> {
        let count = self.dealt.sequences.len();
        let (lane, sequence) = (self.dealt.own[id / count], id % count);
        let mut records = Vec::new();
        let mut bytes = 0;
        loop {
            let stream = &mut self.streams[id];
            let Some(part) = stream.part() else { break };
            let at = self.dealt.lanes.position(lane, part.position);
            let Some(place) = self.dealt.sequences[sequence].at(at) else {
                stream.block = Block::Ended;
                break;
            };
            let located = match u32::try_from(sequence) {
                Ok(source) if self.dealt.by_source => self.sources.locate_in(source, place.block),
                _ => self.sources.locate(place.block),
            };
            let Some((source, located)) = located else {
                return Err(nowhere(place.block));
            };
            if let Some(held) = self.sources.held(source) {
                records.push(RecordRef {
                    source,
                    located,
                    epoch: place.epoch,
                    position: part.position,
                });
                bytes += held.decoded_bytes() / held.records().max(1);
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
                stream.block = Block::Away(Open {
                    source,
                    place,
                    located,
                    part,
                    runs: 0,
                    items: 0,
                });
                self.advance(id, reader, None)?;
                return Ok(true);
            } else {
                // It opens the next task.
                stream.parts.push_front(part);
                break;
            }
        }
        if records.is_empty() {
            return Ok(false);
        }
        let slot = self.streams[id].open_slot(records.len());
        self.in_flight += 1;
        self.workers.send(Task::Held {
            stream: id,
            slot,
            records,
        })?;
        Ok(true)
    }

    fn advance(
        &mut self,
        stream: usize,
        reader: Box<OpenBlock>,
        bytes: Option<Result<bytes::Bytes>>,
    ) -> Result<()> {
        self.in_flight += 1;
        self.workers.send(Task::Advance {
            stream,
            reader,
            bytes,
        })
    }

    /// Puts an answer where it belongs.
    fn file(&mut self, event: Event) -> Result<()> {
        self.in_flight -= 1;
        match event {
            Event::Encoded {
                stream,
                slot,
                items,
            } => {
                let stream = &mut self.streams[stream];
                let index = usize::try_from(slot - stream.first_slot).unwrap_or(usize::MAX);
                if let Some(place) = stream.slots.get_mut(index) {
                    *place = Slot::Done(items.into_iter());
                }
                Ok(())
            }
            Event::Fetched {
                stream,
                reader,
                bytes,
            } => self.advance(stream, reader, Some(bytes)),
            Event::Advanced {
                stream,
                reader,
                advance,
            } => self.advanced(stream, reader, advance),
        }
    }

    /// Gets the stored bytes that a reader needs, and begins to get those that it will need next.
    fn fetch(&mut self, stream: usize, mut block: Box<OpenBlock>, span: Range<u64>) {
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
                stream,
                reader: block,
                bytes,
            });
        };
        match begun {
            Some(ahead) => ahead.take(done),
            None => self.read_ahead.fetch(&shard, span, done),
        }
    }

    fn advanced(&mut self, id: usize, reader: Box<OpenBlock>, advance: Advance) -> Result<()> {
        let count = self.dealt.sequences.len();
        let stream = &mut self.streams[id];
        let Block::Away(mut open) = std::mem::replace(&mut stream.block, Block::Between) else {
            return Err(Error::new(
                Kind::Internal,
                Stage::Read,
                "a reader came back to a stream that lent none",
            ));
        };
        match advance {
            Advance::Need(span) => {
                stream.block = Block::Away(open);
                self.fetch(id, reader, span);
            }
            Advance::Run(run) => {
                let records = run.records.len() as u64;
                let order =
                    self.dealt.sequences[id % count].run_order(open.place, open.runs, records);
                let places = order.into_iter().zip(open.items..);
                let order = places
                    .filter(|(_, place)| open.part.wants(*place))
                    .collect();
                open.runs += 1;
                open.items += records;
                stream.block = Block::Run {
                    open,
                    reader,
                    run: Arc::new(run),
                    order,
                    issued: 0,
                };
            }
            Advance::Bad(outcome) => {
                let origin = open.origin();
                open.items += 1;
                if open.part.wants(origin.at.place) || matches!(outcome, Outcome::Fatal(_)) {
                    let outcome = outcome.placed(|error| self.sources.place(error, origin));
                    stream.put(Item {
                        origin,
                        outcome,
                        ends_block: None,
                    });
                }
                stream.block = Block::Away(open);
                self.advance(id, reader, None)?;
            }
            Advance::End { lines } => {
                let origin = open.origin();
                if open.part.wants(origin.at.place) {
                    stream.put(Item {
                        origin,
                        outcome: Outcome::Nothing,
                        ends_block: Some(lines),
                    });
                }
            }
        }
        Ok(())
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
fn task_end(run: &Run, order: &[(u64, u64)], from: usize) -> usize {
    let mut bytes = 0;
    let mut until = from;
    while until < order.len() && (until - from) < TASK_RECORDS as usize && bytes < TASK_BYTES {
        if let Some(record) = usize::try_from(order[until].0)
            .ok()
            .and_then(|i| run.records.get(i))
        {
            bytes += u64::from(record.end - record.start);
        }
        until += 1;
    }
    until.max(from + 1).min(order.len())
}
