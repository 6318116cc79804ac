//! Streamed blocks that a lane takes from together: what of them is decoded, and whose turn it is.
//!
//! Whose turn it is depends on which blocks have ended, which only their readers can tell. So a stream waits for
//! the block whose turn it is, whatever the others have ready.

use super::encode::{Item, Outcome};
use super::sources::Located;
use super::stream::Part;
use super::workers::{Line, OpenBlock, Told};
use crate::error::Error;
use crate::example::{Cursor, Origin};
use crate::order::sequence::{Place, Sequence};
use crate::order::turns::Turns;
use crate::read::Run;
use bytes::Bytes;

/// The blocks that a stream lies in. At most one run of each is held.
pub(super) struct Group {
    part: Part,
    /// The lane's block behind them.
    end: u64,
    turns: Turns,
    /// Items passed so far: the place of the next one.
    items: u64,
    blocks: Vec<Block>,
}

/// One of a group's blocks.
pub(super) struct Block {
    pub(super) source: u32,
    pub(super) place: Place,
    pub(super) located: Located,
    /// Runs seen so far.
    runs: u64,
    reader: Reader,
    due: Due,
}

enum Reader {
    /// Not opened yet.
    Unopened,
    /// A worker or the read runtime has it.
    Away,
    Here(Box<OpenBlock>),
    /// It came to the block's end.
    Spent,
}

/// What was decoded of a block and not passed: the rest of a run, then what stands behind it.
#[derive(Default)]
struct Due {
    run: Option<Ordered>,
    bad: Option<Outcome>,
    /// Lines of the block, where its end is next.
    end: Option<u64>,
}

/// A run's records in their order.
struct Ordered {
    run: Run,
    /// Numbers of its records that stood in the block before, rising.
    copies: Vec<u64>,
    order: std::vec::IntoIter<u64>,
}

/// What comes next of a block.
enum Next {
    Record {
        number: u64,
        text: Bytes,
        copy: bool,
    },
    Bad(Outcome),
    End {
        lines: u64,
    },
}

/// What comes next of a group.
pub(super) enum Turn {
    /// A record.
    Record(Line),
    /// What needs no encoding.
    Item(Item),
    /// The block whose turn it is has nothing decoded.
    Wait,
    /// Nothing more is wanted.
    Over,
}

/// What has to be done for a block to have something due.
pub(super) enum Wanted {
    /// It must be opened.
    Open { source: u32, located: Located },
    /// Its reader must go on.
    GoOn(Box<OpenBlock>),
}

impl Block {
    pub(super) fn new(source: u32, place: Place, located: Located) -> Self {
        Block {
            source,
            place,
            located,
            runs: 0,
            reader: Reader::Unopened,
            due: Due::default(),
        }
    }
}

impl Due {
    fn is_none(&self) -> bool {
        self.run.is_none() && self.bad.is_none() && self.end.is_none()
    }

    fn next(&mut self) -> Option<Next> {
        if let Some(ordered) = &mut self.run {
            let index = ordered.order.next().and_then(|i| usize::try_from(i).ok());
            let span = index.and_then(|index| ordered.run.records.get(index));
            let record = span.map(|span| {
                let text = span.start as usize..span.end as usize;
                Next::Record {
                    number: span.number,
                    text: ordered.run.text.slice(text),
                    copy: ordered.copies.binary_search(&span.number).is_ok(),
                }
            });
            if ordered.order.as_slice().is_empty() {
                self.run = None;
            }
            return record;
        }
        let bad = self.bad.take().map(Next::Bad);
        bad.or_else(|| self.end.take().map(|lines| Next::End { lines }))
    }
}

impl Group {
    /// Blocks of which `part` is wanted, in their order; the first of them is at `position` of the sequence, and
    /// behind them comes the lane's block `end`.
    pub(super) fn new(
        sequence: &Sequence,
        position: u64,
        part: Part,
        end: u64,
        blocks: Vec<Block>,
    ) -> Self {
        Group {
            part,
            end,
            turns: sequence.turns(position, blocks.len()),
            items: 0,
            blocks,
        }
    }

    /// Whether nothing more is wanted of it.
    pub(super) fn is_over(&self) -> bool {
        self.part.is_over(self.items) || self.turns.next().is_none()
    }

    /// Items passed so far, wanted or not.
    pub(super) fn passed(&self) -> u64 {
        self.items
    }

    /// A block that has nothing due and whose reader nobody has, the one whose turn comes first: what is to
    /// be done for it. It counts as being done.
    pub(super) fn wanted(&mut self) -> Option<(usize, Wanted)> {
        let blocks = &mut self.blocks;
        let member = self.turns.coming().find(|&member| {
            let idle = |b: &Block| matches!(b.reader, Reader::Unopened | Reader::Here(_));
            blocks
                .get(member)
                .is_some_and(|b| b.due.is_none() && idle(b))
        })?;
        let block = blocks.get_mut(member)?;
        let wanted = match std::mem::replace(&mut block.reader, Reader::Away) {
            Reader::Here(reader) => Wanted::GoOn(reader),
            _ => Wanted::Open {
                source: block.source,
                located: block.located,
            },
        };
        Some((member, wanted))
    }

    /// Files what a block's reader came to.
    pub(super) fn run(&mut self, sequence: &Sequence, member: usize, told: Told) {
        if let Some(block) = self.blocks.get_mut(member) {
            let Told { run, copies } = told;
            let records = run.records.len() as u64;
            let order = sequence.run_order(block.place, block.runs, records);
            block.runs += 1;
            block.due.run = Some(Ordered {
                run,
                copies,
                order: order.into_iter(),
            });
        }
    }

    /// Files what stands in the place of a record.
    pub(super) fn bad(&mut self, member: usize, outcome: Outcome) {
        if let Some(block) = self.blocks.get_mut(member) {
            block.due.bad = Some(outcome);
        }
    }

    /// Takes a block's reader back.
    pub(super) fn back(&mut self, member: usize, reader: Box<OpenBlock>) {
        if let Some(block) = self.blocks.get_mut(member) {
            block.reader = Reader::Here(reader);
        }
    }

    /// Notes that a block of `lines` lines has come to its end.
    pub(super) fn end(&mut self, member: usize, lines: u64) {
        if let Some(block) = self.blocks.get_mut(member) {
            block.reader = Reader::Spent;
            block.due.end = Some(lines);
        }
    }

    /// Passes what comes next of what is wanted. `place` completes errors.
    pub(super) fn turn(&mut self, place: impl Fn(Error, Origin) -> Error) -> Turn {
        while !self.part.is_over(self.items) {
            let member = self.turns.next();
            let Some(block) = member.and_then(|member| self.blocks.get_mut(member)) else {
                return Turn::Over;
            };
            let Some(next) = block.due.next() else {
                return Turn::Wait;
            };
            let at = Cursor {
                position: self.part.position,
                place: self.items,
            };
            let record = match &next {
                Next::Record { number, .. } => *number,
                Next::Bad(_) | Next::End { .. } => 0,
            };
            let epoch = block.place.epoch;
            let origin = block.located.origin(block.source, epoch, record, at);
            self.items += 1;
            self.turns.pass(matches!(next, Next::End { .. }));
            // An error that ends the stream ends it wherever it is met.
            let fatal = matches!(next, Next::Bad(Outcome::Fatal(_)));
            if !fatal && !self.part.wants(at.place) {
                continue;
            }
            let (outcome, ends_block) = match next {
                Next::Record { text, copy, .. } => {
                    return Turn::Record(Line { origin, text, copy });
                }
                Next::Bad(outcome) => (outcome.placed(|error| place(error, origin)), None),
                Next::End { lines } => (Outcome::Nothing, Some(lines)),
            };
            let all_ended = self.turns.next().is_none();
            return Turn::Item(Item {
                origin,
                outcome,
                ends_block,
                ends_group: all_ended.then_some(self.end),
            });
        }
        Turn::Over
    }
}
