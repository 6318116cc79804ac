//! One lane: its pool, what it draws from, and where it stands.

use super::encode::Item;
use crate::checkpoint::{LaneState, Pooled, Run, StreamState};
use crate::example::{Cursor, Piece};
use crate::order::draw::Draw;
use crate::pack::Packer;
use std::collections::VecDeque;
use std::sync::Arc;

/// A lane in the making of rows.
pub(crate) struct Lane {
    /// Its number.
    pub(crate) number: u32,
    /// Its place among the lanes that this rank feeds.
    pub(crate) place: usize,
    pub(crate) packer: Box<dyn Packer>,
    /// Whose turn it is to give an example.
    pub(crate) draw: Draw,
    /// One a sequence.
    pub(crate) streams: Vec<LaneStream>,
    /// Rows made.
    pub(crate) rows: u64,
    pub(crate) ended: bool,
    /// Index of the schedule's entry in force, from 1; 0: none yet.
    pub(crate) weights: u32,
    /// Records read and bad ones met, by source.
    pub(crate) bad: Vec<(u64, u64)>,
    /// What it may still hold of examples that were partly delivered at a fork.
    carried: Vec<Run>,
    /// What was last saved of it, while that is true.
    saved: Option<Arc<LaneState>>,
    /// Where it goes on from, while its pool is not read again.
    pub(crate) unread: Option<Arc<LaneState>>,
}

/// What a lane has of one sequence.
#[derive(Debug, Default)]
pub(crate) struct LaneStream {
    /// The first item that was not taken.
    pub(crate) cursor: Cursor,
    /// Pieces of the last record that the pool had no place for yet.
    pub(crate) waiting: VecDeque<Piece>,
    /// Records, and blocks, since the last example.
    pub(crate) barren: (u64, u64),
}

impl Lane {
    /// A lane at its beginning.
    pub(crate) fn new(
        number: u32,
        place: usize,
        packer: Box<dyn Packer>,
        draw: Draw,
        streams: usize,
        sources: usize,
    ) -> Self {
        Lane {
            number,
            place,
            packer,
            draw,
            streams: (0..streams).map(|_| LaneStream::default()).collect(),
            rows: 0,
            ended: false,
            weights: 0,
            bad: vec![(0, 0); sources],
            carried: Vec::new(),
            saved: None,
            unread: None,
        }
    }

    /// Goes on from `state`; its pool is read again when its turn comes.
    pub(crate) fn go_on(&mut self, state: LaneState, draw: Draw) {
        self.weights = state.weights;
        self.draw = draw.with_drawn(state.streams.iter().map(|stream| stream.drawn));
        (self.rows, self.ended) = (state.rows, state.ended);
        self.bad.clone_from(&state.bad);
        self.carried.clone_from(&state.carried);
        for (stream, state) in self.streams.iter_mut().zip(&state.streams) {
            stream.cursor = Cursor {
                position: state.position,
                place: state.place,
            };
            stream.barren = state.barren;
        }
        let state = Arc::new(state);
        self.saved = Some(Arc::clone(&state));
        self.unread = Some(state);
    }

    /// Notes that it is about to change.
    pub(crate) fn touch(&mut self) {
        self.saved = None;
    }

    /// Notes that an item was taken from a stream.
    pub(crate) fn took(&mut self, stream: usize, item: &Item) {
        let Cursor { position, place } = item.origin.at;
        self.streams[stream].cursor = match item.ends_group {
            Some(next) => Cursor {
                position: next,
                place: 0,
            },
            None => Cursor {
                position,
                place: place + 1,
            },
        };
    }

    /// Takes out what it holds when it has ended: its pool, then what other sources than the one that ended it had
    /// ready for it, in the recipe's order.
    pub(crate) fn rest(&mut self) -> VecDeque<Piece> {
        let mut rest = VecDeque::from(self.packer.drain());
        for stream in &mut self.streams {
            rest.append(&mut stream.waiting);
        }
        rest
    }

    /// Where it stands. Made anew only where something changed.
    pub(crate) fn state(&mut self, by_source: bool) -> Arc<LaneState> {
        if let Some(saved) = &self.saved {
            return Arc::clone(saved);
        }
        let pooled = |piece: &Piece| {
            let origin = &piece.example.origin;
            Pooled {
                stream: if by_source { origin.source } else { 0 },
                position: origin.at.position,
                place: origin.at.place,
                example: origin.example,
                first: piece.tokens.start,
            }
        };
        let pool: Vec<Pooled> = self.packer.pool().iter().map(pooled).collect();
        let waiting = self.streams.iter().flat_map(|stream| &stream.waiting);
        let waiting: Vec<Pooled> = waiting.map(pooled).collect();
        self.carried
            .retain(|run| pool.iter().chain(&waiting).any(|piece| run.holds(piece)));
        let streams = self.streams.iter().enumerate();
        let state = Arc::new(LaneState {
            lane: self.number,
            rows: self.rows,
            ended: self.ended,
            weights: self.weights,
            streams: streams
                .map(|(index, stream)| StreamState {
                    position: stream.cursor.position,
                    place: stream.cursor.place,
                    drawn: self.draw.drawn(index),
                    barren: stream.barren,
                })
                .collect(),
            pool,
            waiting,
            carried: self.carried.clone(),
            bad: self.bad.clone(),
        });
        self.saved = Some(Arc::clone(&state));
        state
    }
}
