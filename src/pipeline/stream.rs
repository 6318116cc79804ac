//! One lane's part of one sequence: which items of which blocks come, and what was made of them ahead of time.

use super::encode::Item;
use super::group::Group;
use crate::example::Cursor;
use crate::order::lanes::Lanes;
use crate::order::sequence::Sequence;
use std::collections::VecDeque;
use std::ops::Range;

/// What is dealt, and to whom.
pub(crate) struct Dealt {
    /// All sources' blocks as one list, or each source's own.
    pub(crate) sequences: Vec<Sequence>,
    /// Whether they are the sources' own.
    pub(crate) by_source: bool,
    /// All lanes.
    pub(crate) lanes: Lanes,
    /// Those that are fed, rising.
    pub(crate) own: Vec<u32>,
}

impl Dealt {
    /// One list of all blocks, dealt to every lane.
    pub(crate) fn whole(sequence: Sequence, lanes: Lanes) -> Self {
        Dealt {
            sequences: vec![sequence],
            by_source: false,
            lanes,
            own: (0..lanes.count()).collect(),
        }
    }

    /// The streams of the lane at place `lane` of `own`, one a sequence.
    pub(crate) fn streams(&self, lane: usize) -> Range<usize> {
        let count = self.sequences.len();
        lane * count..(lane + 1) * count
    }
}

/// What a stream brings.
#[derive(Debug, Clone)]
pub(crate) enum Begin {
    /// The sequence, from somewhere on.
    At {
        /// The first item that was not taken yet.
        cursor: Cursor,
        /// Items before the cursor that come once more, first: rising, none twice.
        again: Vec<Cursor>,
    },
    /// What is asked for, of held sources, in the order in which it is asked for.
    Asked,
}

impl Begin {
    /// All of the sequence.
    pub(crate) fn first() -> Self {
        Begin::At {
            cursor: Cursor::default(),
            again: Vec::new(),
        }
    }
}

/// What comes of the blocks that are taken together: all items, or only some.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    /// The lane's block of this index, the first of them.
    pub(super) position: u64,
    /// Rising.
    pub(super) places: Vec<u64>,
    /// From here on all.
    pub(super) from: Option<u64>,
}

impl Part {
    pub(super) fn whole(position: u64) -> Self {
        Part {
            position,
            places: Vec::new(),
            from: Some(0),
        }
    }

    pub(super) fn wants(&self, place: u64) -> bool {
        self.from.is_some_and(|from| place >= from) || self.places.binary_search(&place).is_ok()
    }

    /// Whether nothing from `place` on is wanted.
    pub(super) fn is_over(&self, place: u64) -> bool {
        self.from.is_none() && self.places.last().is_none_or(|&last| last < place)
    }
}

/// One lane's place in one sequence and what was made ahead of it.
pub(super) struct Stream {
    /// Parts of blocks to issue before `next`.
    pub(super) parts: VecDeque<Part>,
    /// Index, within the lane, of the next block to issue whole with those that it is taken together with; none where
    /// only what is asked for is.
    pub(super) next: Option<u64>,
    pub(super) slots: VecDeque<Slot>,
    /// Number of the first slot of `slots`.
    pub(super) first_slot: u64,
    /// Records in slots, done or not.
    pub(super) outstanding: usize,
    /// Records that the next row may need.
    pub(super) need: usize,
    /// Records to make beyond that.
    pub(super) reserve: usize,
    pub(super) at: At,
    /// Groups opened so far. What comes back for an earlier one than the last is not wanted any more.
    pub(super) opened: u64,
}

impl Stream {
    pub(super) fn new(begin: Begin) -> Self {
        let mut parts: VecDeque<Part> = VecDeque::new();
        let Begin::At { cursor, again } = begin else {
            return Stream::of(parts, None);
        };
        for Cursor { position, place } in again {
            match parts.back_mut() {
                Some(part) if part.position == position => part.places.push(place),
                _ => parts.push_back(Part {
                    position,
                    places: vec![place],
                    from: None,
                }),
            }
        }
        let Cursor { position, place } = cursor;
        match parts.back_mut() {
            Some(part) if part.position == position => part.from = Some(place),
            _ if place > 0 => parts.push_back(Part {
                position,
                places: Vec::new(),
                from: Some(place),
            }),
            _ => {}
        }
        Stream::of(parts, Some(position))
    }

    fn of(parts: VecDeque<Part>, next: Option<u64>) -> Self {
        Stream {
            parts,
            next,
            slots: VecDeque::new(),
            first_slot: 0,
            outstanding: 0,
            need: 0,
            reserve: 0,
            at: At::Between,
            opened: 0,
        }
    }

    /// Takes the next part to issue; none where nothing more was asked for.
    pub(super) fn part(&mut self) -> Option<Part> {
        self.parts
            .pop_front()
            .or_else(|| self.next.map(Part::whole))
    }

    /// Notes that a part is issued, of blocks behind which the lane's next one is `end`.
    pub(super) fn issued(&mut self, part: &Part, end: u64) {
        if let (Some(next), Some(_)) = (&mut self.next, part.from) {
            *next = end;
        }
    }

    /// Keeps a place for a task's answer of about `records` records, and gives its number.
    pub(super) fn open_slot(&mut self, records: usize) -> u64 {
        self.slots.push_back(Slot::Waiting);
        self.outstanding += records;
        self.first_slot + self.slots.len() as u64 - 1
    }

    /// Files an item that needed no worker.
    pub(super) fn put(&mut self, item: Item) {
        self.slots.push_back(Slot::Done(vec![item].into_iter()));
        self.outstanding += 1;
    }
}

/// A task's answer, or the place kept for it.
pub(super) enum Slot {
    Waiting,
    Done(std::vec::IntoIter<Item>),
}

/// The streamed blocks that a stream lies in.
pub(super) enum At {
    /// None: the next position decides.
    Between,
    /// Some that are taken together.
    Group(Box<Group>),
    /// The sequence has ended.
    Ended,
}
