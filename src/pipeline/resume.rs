//! Going on from where another process stood: cursors, pools read again, and whose turn it is.
//!
//! A lane reads the groups of blocks that its cursors lie in and those that its pools' examples come from, and nothing that
//! was consumed. It must not matter how many ranks there were before, or are now.

use super::assemble::Assembler;
use super::encode::Outcome;
use super::progress::Progress;
use super::stream::{Begin, Dealt};
use crate::checkpoint::{LaneState, Phase, Pooled, Whole};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::{Cursor, Piece};
use crate::places;
use std::collections::BTreeMap;

/// Where the streams of `dealt` begin, in the order of [`Dealt::streams`].
pub(crate) fn begins(from: &Whole, dealt: &Dealt) -> Result<Vec<Begin>> {
    let mut begins = Vec::new();
    for &number in &dealt.own {
        let lane = lane(from, number, dealt)?;
        for (stream, state) in (0..).zip(&lane.streams) {
            let cursor = Cursor {
                position: state.position,
                place: state.place,
            };
            let again = places(lane, stream);
            let all = again.iter().chain([&cursor]);
            if let Some(within) = all.map(|at| at.position).find(|&at| {
                let sequence = dealt.sequences.get(stream as usize);
                sequence.is_none_or(|s| s.group(dealt.lanes, number, at).first != at)
            }) {
                return Err(odd(format!(
                    "lane {number}: block {within} is not the first of those that are taken together"
                )));
            }
            if again.last().is_some_and(|last| *last >= cursor) {
                return Err(odd(format!("lane {number} holds what it has not read yet")));
            }
            begins.push(Begin::At { cursor, again });
        }
    }
    Ok(begins)
}

fn lane<'a>(from: &'a Whole, number: u32, dealt: &Dealt) -> Result<&'a LaneState> {
    let lane = from.lanes.get(number as usize);
    lane.filter(|lane| lane.lane == number && lane.streams.len() == dealt.sequences.len())
        .ok_or_else(|| odd(format!("lane {number} is missing or of another recipe")))
}

/// Where the records stand that a lane holds of one of its streams: rising, none twice.
fn places(lane: &LaneState, stream: u32) -> Vec<Cursor> {
    let all = lane.pool.iter().chain(&lane.waiting);
    let mut places: Vec<Cursor> = all
        .filter(|pooled| pooled.stream == stream)
        .map(place)
        .collect();
    places.sort_unstable();
    places.dedup();
    places
}

fn place(pooled: &Pooled) -> Cursor {
    Cursor {
        position: pooled.position,
        place: pooled.place,
    }
}

fn odd(message: String) -> Error {
    Error::new(Kind::Checkpoint, Stage::Checkpoint, message)
}

impl Assembler {
    /// Goes on from `from`. Its feed begins there too.
    pub(crate) fn resume(&mut self, from: &Whole) -> Result<()> {
        let dealt = self.setup.feed.dealt();
        let own: Vec<LaneState> = dealt
            .own
            .iter()
            .map(|&number| self::lane(from, number, dealt).cloned())
            .collect::<Result<_>>()?;
        // Every lane's records are asked for at once, so that all workers have something to do.
        for (place, lane) in own.iter().enumerate() {
            for (stream, id) in (0..).zip(self.setup.feed.dealt().streams(place)) {
                let count = places(lane, stream).len();
                self.setup.feed.need(id, count, 0);
            }
        }
        for (lane, state) in self.lanes.iter_mut().zip(own) {
            let draw = self.setup.draw(state.weights);
            lane.go_on(state, draw);
        }
        let rank = self.outlet.rank();
        self.next_row = rank.next_row(from.rows);
        if rank.number == 0 {
            self.ledger = from.ledger.clone();
        }
        self.outlet.step_begins = from.rows;
        self.outlet.progress = Progress::resumed(from, rank);
        if let Phase::LastPool { rows } = from.phase {
            self.made_before = rows;
        }
        self.turn = self.next_turn();
        Ok(())
    }

    /// Reads a lane's pool again, where it went on and its turn has come for the first time: so the first row waits for
    /// one lane's pool and not for all.
    pub(super) fn reread(&mut self, lane: usize) -> Result<()> {
        let Some(state) = self.lanes[lane].unread.take() else {
            return Ok(());
        };
        let streams = self.setup.feed.dealt().sequences.len();
        let pieces = (0..streams)
            .map(|stream| self.read_again(lane, stream, &state))
            .collect::<Result<Vec<_>>>()?;
        self.restore(lane, &state, &pieces)?;
        places::reach(places::LANE_RESTORED);
        Ok(())
    }

    /// The pieces of the records that a lane holds of one stream, by where they stand.
    fn read_again(
        &mut self,
        lane: usize,
        stream: usize,
        state: &LaneState,
    ) -> Result<BTreeMap<Cursor, Vec<Piece>>> {
        let id = self.setup.feed.dealt().streams(lane).start + stream;
        let number = u32::try_from(stream).unwrap_or(u32::MAX);
        let wanted = places(state, number);
        let mut read = BTreeMap::new();
        self.setup.feed.turn(id)?;
        for cursor in wanted {
            let item = self.setup.feed.next(id)?;
            let changed = || {
                odd(format!(
                    "lane {}: the checkpoint holds an example of a record that is not there any more",
                    state.lane
                ))
                .remedy("the corpus has changed: restore it, or begin anew")
            };
            let item = item
                .filter(|item| item.origin.at == cursor)
                .ok_or_else(changed)?;
            let examples = match item.outcome {
                Outcome::Examples(examples) => examples,
                Outcome::Fatal(error) | Outcome::Bad(error) => return Err(error),
                _ => return Err(changed()),
            };
            let mut pieces = Vec::new();
            for example in examples {
                pieces.extend(self.fit(example)?.pieces);
            }
            read.insert(cursor, pieces);
        }
        Ok(read)
    }

    fn restore(
        &mut self,
        place_of_lane: usize,
        state: &LaneState,
        read: &[BTreeMap<Cursor, Vec<Piece>>],
    ) -> Result<()> {
        let find = |wanted: &Pooled| -> Result<Piece> {
            let pieces = read
                .get(wanted.stream as usize)
                .and_then(|read| read.get(&place(wanted)));
            let piece = pieces.into_iter().flatten().find(|piece| {
                piece.example.origin.example == wanted.example
                    && piece.tokens.contains(&wanted.first)
            });
            let mut piece = piece.cloned().ok_or_else(|| {
                odd(format!(
                    "lane {}: the checkpoint holds a piece of an example that has become another",
                    state.lane
                ))
            })?;
            // What `concat` has cut off already.
            piece.tokens.start = wanted.first;
            Ok(piece)
        };
        let lane = &mut self.lanes[place_of_lane];
        for pooled in &state.pool {
            lane.packer.push(find(pooled)?);
        }
        for pooled in &state.waiting {
            let piece = find(pooled)?;
            if let Some(stream) = lane.streams.get_mut(pooled.stream as usize) {
                stream.waiting.push_back(piece);
            }
        }
        Ok(())
    }

    /// The lane that makes the next row, by its place among the own ones.
    fn next_turn(&self) -> usize {
        if self.lanes.iter().any(|lane| lane.ended) {
            // Alone: the first of those that have gone round least often.
            let going = self.lanes.iter().filter(|lane| !lane.ended);
            let least = going.min_by_key(|lane| lane.rows);
            return least.map_or(0, |lane| lane.place);
        }
        let lane = self.next_row % u64::from(self.setup.lanes.count());
        let place = lane / u64::from(self.outlet.rank().world_size);
        usize::try_from(place).unwrap_or(0)
    }
}
