//! A list of blocks as one endless sequence: epoch 0 in the order of its bijection, then epoch 1, and so on.

use super::lanes::Lanes;
use super::runs::Bounds;
use super::shuffle::{Key, Shuffle, Use};
use super::turns::{Group, Turns};

/// One place of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Pass over the list.
    pub epoch: u64,
    /// Index of the block in the list.
    pub block: u64,
}

/// The sequence of one list of blocks.
#[derive(Debug, Clone)]
pub struct Sequence {
    seed: u64,
    name: String,
    blocks: u64,
    shuffled: bool,
    epochs: Option<u64>,
    together: u64,
}

impl Sequence {
    /// A list of `blocks` blocks, keyed with `name` (empty for all sources' blocks as one list), as they
    /// lie where `shuffled` is false, ended after `epochs` passes if given.
    pub fn new(seed: u64, name: &str, blocks: u64, shuffled: bool, epochs: Option<u64>) -> Self {
        Sequence {
            seed,
            name: name.to_owned(),
            blocks,
            shuffled,
            epochs,
            together: 1,
        }
    }

    /// The same, with so many blocks of a lane taken from together, unless they come as they lie.
    #[must_use]
    pub fn taken_together(mut self, blocks: u64) -> Self {
        self.together = if self.shuffled { blocks.max(1) } else { 1 };
        self
    }

    /// Blocks in the list.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Positions in all; none: without end.
    pub fn positions(&self) -> Option<u64> {
        if self.blocks == 0 {
            return Some(0);
        }
        self.epochs.map(|epochs| epochs.saturating_mul(self.blocks))
    }

    /// What stands at `position`; none past the end.
    pub fn at(&self, position: u64) -> Option<Place> {
        if self.positions().is_some_and(|len| position >= len) {
            return None;
        }
        let (epoch, index) = (position / self.blocks, position % self.blocks);
        let block = if self.shuffled {
            self.shuffle(epoch).at(index)
        } else {
            index
        };
        Some(Place { epoch, block })
    }

    /// The group of blocks that block `index` of a lane is taken with. None reaches over the end of an epoch.
    pub fn group(&self, lanes: Lanes, lane: u32, index: u64) -> Group {
        if self.together == 1 || self.blocks == 0 {
            return Group {
                first: index,
                end: index.saturating_add(1),
            };
        }
        let epoch = lanes.position(lane, index) / self.blocks;
        let first = |epoch: u64| lanes.first_from(lane, epoch.saturating_mul(self.blocks));
        Group::holding(index, first(epoch), first(epoch + 1), self.together)
    }

    /// The turns of a group of `members` blocks of which the first is at `position`.
    pub fn turns(&self, position: u64, members: usize) -> Turns {
        let blocks = self.blocks.max(1);
        let first = position % blocks;
        let epoch = position / blocks;
        let key = Key::new(self.seed, &self.name, epoch, Use::Turns { first });
        Turns::new(key, members)
    }

    /// The order of one pass over the list, for whoever goes through all of it.
    pub fn pass(&self, epoch: u64) -> Pass {
        Pass(self.shuffled.then(|| self.shuffle(epoch)))
    }

    fn shuffle(&self, epoch: u64) -> Shuffle {
        Shuffle::new(
            self.blocks,
            Key::new(self.seed, &self.name, epoch, Use::Blocks),
        )
    }

    /// How long the runs of its streamed blocks are.
    pub fn run_bounds(&self) -> Bounds {
        Bounds::shared_by(self.together)
    }

    /// The order of `records` records of one run of a streamed block: what stands at each place.
    pub fn run_order(&self, place: Place, run: u64, records: u64) -> Vec<u64> {
        if !self.shuffled {
            return (0..records).collect();
        }
        let key = Key::new(
            self.seed,
            &self.name,
            place.epoch,
            Use::Records {
                block: place.block,
                run,
            },
        );
        super::runs::order(key, records)
    }
}

/// One pass over a list of blocks.
#[derive(Debug, Clone)]
pub struct Pass(Option<Shuffle>);

impl Pass {
    /// The block at place `index` of the pass; `index` must be below the number of blocks.
    pub fn at(&self, index: u64) -> u64 {
        match &self.0 {
            Some(shuffle) => shuffle.at(index),
            None => index,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_block_once_an_epoch(blocks in 1u64..300, seed: u64, epochs in 1u64..4, shuffled: bool) {
            let s = Sequence::new(seed, "", blocks, shuffled, Some(epochs));
            let all: Vec<Place> = (0..).map_while(|p| s.at(p)).collect();
            prop_assert_eq!(all.len() as u64, blocks * epochs);
            for (epoch, pass) in all.chunks(blocks as usize).enumerate() {
                let alone = s.pass(epoch as u64);
                prop_assert!((0..).zip(pass).all(|(index, place)| alone.at(index) == place.block));
                let mut seen: Vec<u64> = pass.iter().map(|p| p.block).collect();
                if shuffled { seen.sort_unstable(); }
                prop_assert!(seen.into_iter().eq(0..blocks));
                prop_assert!(pass.iter().all(|p| p.epoch == epoch as u64));
            }
        }
    }

    proptest! {
        #[test]
        fn groups_cover_a_lane_and_keep_to_epochs(blocks in 1u64..200, lanes in 1u32..12, together in 1u64..9) {
            let s = Sequence::new(1, "", blocks, true, None).taken_together(together);
            let lanes = Lanes::new(lanes);
            for lane in 0..lanes.count() {
                let mut at = 0;
                while at < 300 {
                    let group = s.group(lanes, lane, at);
                    prop_assert_eq!(group.first, at);
                    prop_assert!(group.end > at && group.end - at <= together);
                    let epoch = |index| s.at(lanes.position(lane, index)).unwrap().epoch;
                    prop_assert_eq!(epoch(at), epoch(group.end - 1));
                    at = group.end;
                }
            }
        }
    }

    #[test]
    fn what_comes_as_it_lies_comes_block_by_block() {
        let s = Sequence::new(1, "", 100, false, None).taken_together(8);
        assert_eq!(s.group(Lanes::new(2), 1, 7), Group { first: 7, end: 8 });
    }

    #[test]
    fn without_end_and_empty() {
        let s = Sequence::new(1, "", 3, true, None);
        assert_eq!(s.at(3 * 1_000_000).map(|p| p.epoch), Some(1_000_000));
        assert_eq!(Sequence::new(1, "", 0, true, None).at(0), None);
    }
}
