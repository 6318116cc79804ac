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

    /// The most blocks of one epoch of `blocks` that a lane can get: ⌈blocks / L⌉.
    pub fn share(self, blocks: u64) -> u64 {
        blocks.div_ceil(u64::from(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_deal_every_position_once() {
        let lanes = Lanes::new(7);
        let mut all: Vec<u64> = (0..7)
            .flat_map(|lane| (0..13).map(move |k| lanes.position(lane, k)))
            .collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..91));
        assert_eq!(lanes.share(91), 13);
        assert_eq!(lanes.share(92), 14);
    }
}
