//! Going on from where another process stood: cursors, pools read again, and whose turn it is.
//!
//! A lane reads the groups of blocks that its cursors lie in and those that its pools' examples come from, and nothing that
//! was consumed. It must not matter how many ranks there were before, or are now.

use super::assemble::Assembler;
use super::encode::{Encoded, Outcome};
use super::progress::{Progress, takes_over};
use super::refit::run_pieces;
use super::stream::{Begin, Dealt};
use crate::checkpoint::{LaneState, Phase, Pooled, Run, StreamState, Whole};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::{Cursor, Piece};
use crate::order::sequence::Sequence;
use crate::places;
use std::collections::BTreeMap;

/// Where the streams of `dealt` begin, in the order of [`Dealt::streams`].
pub(crate) fn begins(from: &Whole, dealt: &Dealt) -> Result<Vec<Begin>> {
    long_enough(from, dealt)?;
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
                ))
                .remedy(ODD));
            }
            if again.last().is_some_and(|last| *last >= cursor) {
                let message = format!("lane {number} holds what it has not read yet");
                return Err(odd(message).remedy(ODD));
            }
            begins.push(Begin::At { cursor, again });
        }
    }
    Ok(begins)
}

/// Refuses a stream that ends elsewhere than the one that was begun: before what was taken already, or, once a lane has
/// ended, at any other place. Until then `epochs` may change.
fn long_enough(from: &Whole, dealt: &Dealt) -> Result<()> {
    let at = |lane: &LaneState, index| dealt.lanes.position(lane.lane, index);
    let epochs_begun = |sequence: &Sequence, lane: &LaneState, stream: &StreamState| {
        // The last block that something was taken of.
        let last = match stream.place {
            0 => stream.position.checked_sub(1)?,
            _ => stream.position,
        };
        Some(at(lane, last) / sequence.blocks().max(1) + 1)
    };
    let mut begun = 0;
    for (stream, sequence) in dealt.sequences.iter().enumerate() {
        let Some(end) = sequence.positions() else {
            continue;
        };
        let epochs = end / sequence.blocks().max(1);
        let all = from.lanes.iter().filter_map(|lane| {
            let state = lane.streams.get(stream)?;
            epochs_begun(sequence, lane, state).filter(|begun| *begun > epochs)
        });
        begun = all.fold(begun, u64::max);
    }
    if begun > 0 {
        let message = format!("epoch {begun} has begun, and the stream would have ended before it");
        return Err(odd(message).remedy(match dealt.by_source {
            true => "use on_exhausted: repeat".to_owned(),
            false => format!("give epochs of at least {begun}, or begin anew"),
        }));
    }
    let goes_on = |lane: &LaneState| {
        let mut streams = dealt.sequences.iter().zip(&lane.streams);
        streams.all(|(sequence, state)| sequence.at(at(lane, state.position)).is_some())
    };
    let ended = from.lanes.iter().find(|lane| lane.ended && goes_on(lane));
    let Some((lane, sequence)) = ended.zip(dealt.sequences.first()) else {
        return Ok(());
    };
    // How many epochs there were is seen from all lanes together: some block of the last one was taken, and no ended
    // lane had one left. Where lanes are more than blocks, a lane's own next block may lie epochs behind the end.
    let states = || {
        let lanes = from.lanes.iter();
        lanes.filter_map(|lane| Some((lane, lane.streams.first()?)))
    };
    let begun = states().filter_map(|(lane, state)| epochs_begun(sequence, lane, state));
    let least = begun.max().unwrap_or(1);
    let next = states().filter(|(lane, _)| lane.ended);
    let most = next.map(|(lane, state)| at(lane, state.position) / sequence.blocks().max(1));
    let most = most.min().unwrap_or(least).max(least);
    let epochs = match least == most {
        true => format!("epochs: {least}"),
        false => format!("epochs as they were, {least} to {most}"),
    };
    let message = format!(
        "lane {} has ended, and would go on: the stream's length may not change any more",
        lane.lane
    );
    Err(odd(message).remedy(format!("give {epochs}, or begin anew")))
}

fn lane<'a>(from: &'a Whole, number: u32, dealt: &Dealt) -> Result<&'a LaneState> {
    // Those of one rank alone have gaps.
    let found = from.lanes.binary_search_by_key(&number, |lane| lane.lane);
    let lane = found.ok().and_then(|at| from.lanes.get(at));
    lane.filter(|lane| lane.streams.len() == dealt.sequences.len())
        .ok_or_else(|| odd(format!("lane {number} is missing or of another recipe")).remedy(ODD))
}

/// Where the records stand that a lane holds of one of its streams: rising, none twice.
pub(super) fn places(lane: &LaneState, stream: u32) -> Vec<Cursor> {
    let all = lane.pool.iter().chain(&lane.waiting);
    let mut places: Vec<Cursor> = all
        .filter(|pooled| pooled.stream == stream)
        .map(place)
        .collect();
    places.sort_unstable();
    places.dedup();
    places
}

pub(super) fn place(pooled: &Pooled) -> Cursor {
    Cursor {
        position: pooled.position,
        place: pooled.place,
    }
}

/// What can be done about a checkpoint that makes no sense.
const ODD: &str = "restore the checkpoint from a copy, resume from another step, or begin anew";

/// What can be done about records that are others than they were.
const CHANGED: &str = "the corpus has changed: restore it, or begin anew";

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
        if takes_over(from, rank) {
            self.ledger = from.ledger.clone();
        }
        self.outlet.go_on(Progress::resumed(from, rank), from.rows);
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
            .collect::<Result<Vec<_>>>();
        let restored = pieces.and_then(|pieces| self.restore(lane, &state, &pieces));
        // The checkpoint was found to fit when the stream was opened: it is the records that are others.
        restored.map_err(|error| match error.kind() {
            Kind::Checkpoint => error.of_kind(Kind::Changed),
            _ => error,
        })?;
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
                .remedy(CHANGED)
            };
            let item = item
                .filter(|item| item.origin.at == cursor)
                .ok_or_else(changed)?;
            let examples = match item.outcome {
                Outcome::Examples(examples) => examples,
                Outcome::Fatal(error) | Outcome::Bad(error) => return Err(error),
                _ => return Err(changed()),
            };
            let own = |run: &&Run| run.of.stream == number && place(&run.of) == cursor;
            let carried: Vec<&Run> = state.carried.iter().filter(own).collect();
            let pieces = match carried.is_empty() {
                true => self.fit(item.origin, examples)?.pieces,
                false => self.fit_runs(&examples, &carried)?,
            };
            read.insert(cursor, pieces);
        }
        Ok(read)
    }

    /// The pieces of what a fork carried over of a record.
    fn fit_runs(&self, examples: &[Encoded], runs: &[&Run]) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        for run in runs {
            let example = examples.get(run.of.example as usize);
            if let Some(Ok(example)) = example {
                pieces.extend(run_pieces(example, run, &self.setup.pack)?);
            }
        }
        Ok(pieces)
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
                .remedy(CHANGED)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Digest;
    use crate::checkpoint::{Fingerprint, Whose};
    use crate::ledger::Ledger;
    use crate::order::lanes::Lanes;

    /// Lanes of a stream of `blocks` held records, each with its cursor and whether it has ended.
    fn check(blocks: u64, epochs: Option<u64>, lanes: &[(u64, bool)]) -> Option<String> {
        let states = (0..)
            .zip(lanes)
            .map(|(lane, &(position, ended))| LaneState {
                lane,
                rows: 0,
                ended,
                weights: 0,
                streams: vec![StreamState {
                    position,
                    ..StreamState::default()
                }],
                pool: Vec::new(),
                waiting: Vec::new(),
                carried: Vec::new(),
                bad: Vec::new(),
            });
        let from = Whole {
            fingerprint: Fingerprint::default(),
            world_size: 1,
            step: 0,
            rows: 0,
            step_rows: None,
            digest: Digest::default(),
            ledger: Ledger::default(),
            phase: Phase::Lanes,
            lanes: states.collect(),
            engine: String::new(),
            history: Vec::new(),
            whose: Whose::All,
        };
        let sequence = Sequence::new(17, "", blocks, true, epochs);
        let count = u32::try_from(lanes.len()).unwrap();
        let dealt = Dealt::whole(sequence, Lanes::new(count));
        let refused = long_enough(&from, &dealt).err()?;
        assert_eq!(refused.kind(), Kind::Checkpoint);
        Some(refused.to_string())
    }

    #[test]
    fn epochs_may_change_but_not_below_what_has_begun() {
        // Two lanes of 10 blocks: each has 5 an epoch. Both have taken just those of the first.
        let at_the_end = [(5, false), (5, false)];
        for epochs in [Some(1), Some(2), None] {
            assert_eq!(check(10, epochs, &at_the_end), None, "{epochs:?}");
        }
        // Lane 1 has taken one of the third.
        let further = [(10, false), (11, false)];
        for epochs in [1, 2] {
            let refused = check(10, Some(epochs), &further).unwrap();
            assert!(refused.contains("epochs of at least 3"), "{refused}");
        }
        assert_eq!(check(10, Some(3), &further), None);
        assert_eq!(check(10, None, &[(0, false), (0, false)]), None);
    }

    #[test]
    fn epochs_may_not_change_once_a_lane_has_ended() {
        let ended = [(10, true), (9, false)];
        assert_eq!(check(10, Some(2), &ended), None);
        for epochs in [Some(3), None] {
            let refused = check(10, epochs, &ended).unwrap();
            assert!(refused.contains("give epochs: 2"), "{refused}");
        }
        assert!(check(10, Some(1), &ended).unwrap().contains("has begun"));
        // A lane without a block in the first epoch ends at once, and would go on with a second.
        let idle = [(1, true), (1, true), (0, true), (0, true)];
        assert_eq!(check(2, Some(1), &idle), None);
        let refused = check(2, Some(2), &idle).unwrap();
        assert!(refused.contains("give epochs: 1,"), "{refused}");
        // Two epochs of ten blocks: a block each for lanes 0 to 19, none for the others.
        let few: Vec<(u64, bool)> = (0..64).map(|lane| (u64::from(lane < 20), true)).collect();
        assert_eq!(check(10, Some(2), &few), None);
        let refused = check(10, None, &few).unwrap();
        assert!(refused.contains("give epochs: 2,"), "{refused}");
    }
}
