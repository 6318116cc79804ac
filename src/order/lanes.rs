//! The sequence dealt to lanes.
//!
//! The p-th block of a sequence belongs to lane p mod L, and row n of the stream is row ⌊n/L⌋ of lane
//! n mod L. A lane is all that moves when the number of ranks changes.

/// How many lanes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lanes(u32);

impl Lanes {
    /// `lanes` of them; 0 counts as 1.
    pub fn new(lanes: u32) -> Self {
        Lanes(lanes.max(1))
    }

    /// Their number L.
    pub fn count(self) -> u32 {
        self.0
    }

    /// Position in the sequence of the `index`-th block of `lane`.
    pub fn position(self, lane: u32, index: u64) -> u64 {
        index * u64::from(self.0) + u64::from(lane)
    }

    /// The index within `lane` of its first block at `position` or behind it.
    pub fn first_from(self, lane: u32, position: u64) -> u64 {
        position
            .saturating_sub(u64::from(lane))
            .div_ceil(u64::from(self.0))
    }

    /// The most blocks of one epoch of `blocks` that a lane can get: ⌈blocks / L⌉.
    pub fn share(self, blocks: u64) -> u64 {
        blocks.div_ceil(u64::from(self.0))
    }
}

/// One rank of a world of ranks, the only key by which a stream is shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rank {
    /// Its number, from 0.
    pub number: u32,
    /// How many there are.
    pub world_size: u32,
}

impl Rank {
    /// The only one there is.
    pub const ALONE: Rank = Rank {
        number: 0,
        world_size: 1,
    };

    /// Its lanes, rising: it delivers the rows with n mod W = r, and W divides L.
    pub fn lanes(self, lanes: Lanes) -> Vec<u32> {
        (self.number..lanes.count())
            .step_by(self.world_size.max(1) as usize)
            .collect()
    }

    /// The first of its rows from row `n` of the stream on.
    pub fn next_row(self, n: u64) -> u64 {
        let (rank, world) = (u64::from(self.number), u64::from(self.world_size.max(1)));
        n + (rank + world - n % world) % world
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_share_lanes_and_rows_out() {
        let lanes = Lanes::new(8);
        for world_size in [1, 2, 4, 8] {
            let ranks = (0..world_size).map(|number| Rank { number, world_size });
            let mut all: Vec<u32> = ranks.clone().flat_map(|rank| rank.lanes(lanes)).collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..8));
            for (n, rank) in (0..40).flat_map(|n| ranks.clone().map(move |rank| (n, rank))) {
                let row = rank.next_row(n);
                assert_eq!(row % u64::from(world_size), u64::from(rank.number));
                assert!((n..n + u64::from(world_size)).contains(&row));
            }
        }
    }

    #[test]
    fn lanes_deal_every_position_once() {
        let lanes = Lanes::new(7);
        let mut all: Vec<u64> = (0..7)
            .flat_map(|lane| (0..13).map(move |k| lanes.position(lane, k)))
            .collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..91));
        for position in 0..91 {
            let first = lanes.first_from(3, position);
            assert!(lanes.position(3, first) >= position);
            assert!(first == 0 || lanes.position(3, first - 1) < position);
        }
        assert_eq!(lanes.share(91), 13);
        assert_eq!(lanes.share(92), 14);
    }
}
