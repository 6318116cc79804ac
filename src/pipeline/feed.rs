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
//! rounded up to a task; one that is streamed holds the blocks that are taken together beside them, one run of each
//! and a reader where more is to come.

use super::encode::Item;
use super::group::{Block, Group, Turn, Wanted};
use super::sources::{Located, Sources};
use super::stream::{At, Begin, Dealt, Part, Slot, Stream};
use super::workers::{Advance, Event, Lent, OpenBlock, RecordRef, Task, Workers};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::Origin;
use crate::order::sequence::Place;
use crate::read::ReadAhead;
use crate::stats::{Lap, Stats};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of records that one task should hold: large enough that hand-over costs nothing, small
/// enough that a lane's next row does not wait for more than it needs.
const TASK_BYTES: u64 = 48 << 10;

/// Most records of one task.
const TASK_RECORDS: usize = 32;

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
    /// Time spent waiting for workers that nobody has asked for.
    waited: Duration,
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
            waited: Duration::ZERO,
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
                None if matches!(stream.at, At::Ended) => return Ok(None),
                _ => {}
            }
            stream.need = stream.need.max(1);
            self.turn(id)?;
            if self.ready(id) {
                continue;
            }
            if self.in_flight == 0 {
                if matches!(self.streams[id].at, At::Ended) {
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
            let waited = lap.lap();
            self.stats.pack.blocked_in(waited);
            self.waited += waited;
            self.file(event)?;
        }
    }

    /// Time spent waiting for workers since the last time that this was asked.
    pub(crate) fn waited(&mut self) -> Duration {
        std::mem::take(&mut self.waited)
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

    /// Hands out one task of a stream, or files what needs none; false where it has nothing to hand out now.
    fn issue(&mut self, id: usize) -> Result<bool> {
        let stream = &mut self.streams[id];
        let At::Group(group) = &mut stream.at else {
            return match stream.at {
                At::Ended => Ok(false),
                _ => self.issue_blocks(id),
            };
        };
        if group.is_over() {
            return self.issue_blocks(id);
        }
        // First what takes longest.
        if let Some((member, wanted)) = group.wanted() {
            let lent = Lent {
                stream: id,
                opened: stream.opened,
                member,
            };
            let reader = match wanted {
                Wanted::GoOn(reader) => reader,
                Wanted::Open { source, located } => {
                    let sequence = id % self.dealt.sequences.len();
                    let runs = self.dealt.sequences[sequence].run_bounds();
                    let opened = self.sources.open_block(source, located, runs);
                    let (reader, shard) = opened.ok_or_else(|| nowhere(located.block))?;
                    Box::new(OpenBlock {
                        reader,
                        shard,
                        ahead: None,
                        seen: self.sources.looks_through_blocks().then(Default::default),
                    })
                }
            };
            self.advance(lent, reader, None)?;
            return Ok(true);
        }
        let before = group.passed();
        let (mut records, mut bytes, mut item) = (Vec::new(), 0, None);
        while records.len() < TASK_RECORDS && bytes < TASK_BYTES {
            match group.turn(|error, origin| self.sources.place(error, origin)) {
                Turn::Record(line) => {
                    bytes += line.text.len() as u64;
                    records.push(line);
                }
                Turn::Item(next) => {
                    item = Some(next);
                    break;
                }
                Turn::Wait | Turn::Over => break,
            }
        }
        let issued = !records.is_empty() || item.is_some();
        if !issued {
            // What was passed over as not wanted may have used up a run.
            return match group.passed() > before || group.is_over() {
                true => self.issue(id),
                false => Ok(false),
            };
        }
        if !records.is_empty() {
            let slot = stream.open_slot(records.len());
            self.in_flight += 1;
            self.workers.send(Task::Records {
                stream: id,
                slot,
                records,
            })?;
        }
        if let Some(item) = item {
            stream.put(item);
        }
        Ok(true)
    }

    /// Hands out the stream's next blocks: some held records, or opens streamed ones.
    fn issue_blocks(&mut self, id: usize) -> Result<bool> {
        let count = self.dealt.sequences.len();
        let (lane, sequence) = (self.dealt.own[id / count], id % count);
        self.streams[id].at = At::Between;
        let mut records = Vec::new();
        let mut bytes = 0;
        loop {
            let stream = &mut self.streams[id];
            let Some(part) = stream.part() else { break };
            let Some((source, place, located)) = self.block(lane, sequence, part.position)? else {
                self.streams[id].at = At::Ended;
                break;
            };
            let dealt = &self.dealt.sequences[sequence];
            let taken = dealt.group(self.dealt.lanes, lane, part.position);
            let stream = &mut self.streams[id];
            if let Some(held) = self.sources.held(source) {
                stream.issued(&part, taken.end);
                records.push(RecordRef {
                    source,
                    located,
                    epoch: place.epoch,
                    position: part.position,
                });
                bytes += held.decoded_bytes() / held.records().max(1);
                if bytes >= TASK_BYTES || records.len() >= TASK_RECORDS {
                    break;
                }
            } else if records.is_empty() {
                stream.issued(&part, taken.end);
                let mut blocks = vec![Block::new(source, place, located)];
                for index in taken.first + 1..taken.end {
                    if let Some((source, place, located)) = self.block(lane, sequence, index)? {
                        blocks.push(Block::new(source, place, located));
                    }
                }
                let position = self.dealt.lanes.position(lane, taken.first);
                let group = Group::new(dealt, position, part, taken.end, blocks);
                let stream = &mut self.streams[id];
                stream.at = At::Group(Box::new(group));
                stream.opened += 1;
                return self.issue(id);
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

    /// What a lane's block of this index is, and in which source; none past the sequence's end.
    fn block(
        &self,
        lane: u32,
        sequence: usize,
        index: u64,
    ) -> Result<Option<(u32, Place, Located)>> {
        let at = self.dealt.lanes.position(lane, index);
        let Some(place) = self.dealt.sequences[sequence].at(at) else {
            return Ok(None);
        };
        let located = match u32::try_from(sequence) {
            Ok(source) if self.dealt.by_source => self.sources.locate_in(source, place.block),
            _ => self.sources.locate(place.block),
        };
        let (source, located) = located.ok_or_else(|| nowhere(place.block))?;
        Ok(Some((source, place, located)))
    }

    fn advance(
        &mut self,
        lent: Lent,
        reader: Box<OpenBlock>,
        bytes: Option<Result<bytes::Bytes>>,
    ) -> Result<()> {
        self.in_flight += 1;
        self.workers.send(Task::Advance {
            lent,
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
                lent,
                reader,
                bytes,
            } => match lender(&mut self.streams, lent) {
                Some(_) => self.advance(lent, reader, Some(bytes)),
                None => Ok(()),
            },
            Event::Advanced { lent, advance } => {
                self.advanced(lent, advance);
                Ok(())
            }
        }
    }

    /// Gets the stored bytes that a reader needs, and begins to get those that it will need next.
    fn fetch(&mut self, lent: Lent, mut block: Box<OpenBlock>, span: Range<u64>) {
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
                lent,
                reader: block,
                bytes,
            });
        };
        match begun {
            Some(ahead) => ahead.take(done),
            None => self.read_ahead.fetch(&shard, span, done),
        }
    }

    fn advanced(&mut self, lent: Lent, advance: Advance) {
        let Some(group) = lender(&mut self.streams, lent) else {
            return;
        };
        let count = self.dealt.sequences.len();
        let (sequence, member) = (&self.dealt.sequences[lent.stream % count], lent.member);
        match advance {
            Advance::Need(reader, span) => self.fetch(lent, reader, span),
            Advance::Run(reader, run) => {
                group.run(sequence, member, run);
                group.back(member, reader);
            }
            Advance::Bad(reader, outcome) => {
                group.bad(member, outcome);
                group.back(member, reader);
            }
            Advance::End { run, lines } => {
                if let Some(run) = run {
                    group.run(sequence, member, run);
                }
                group.end(member, lines);
            }
        }
    }
}

/// The group that a reader was lent by; none where nothing more was wanted of it.
fn lender(streams: &mut [Stream], lent: Lent) -> Option<&mut Group> {
    let stream = streams.get_mut(lent.stream)?;
    match &mut stream.at {
        At::Group(group) if stream.opened == lent.opened => Some(group),
        _ => None,
    }
}

fn nowhere(block: u64) -> Error {
    Error::new(
        Kind::Internal,
        Stage::Order,
        format!("there is no block {block}"),
    )
}
