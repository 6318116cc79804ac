//! Stage 5 of 7: pack. Examples become rows of one fixed length.
//!
//! An example is first [fitted](overlong::fit): one that is longer than a row is cut, split or dropped, as the
//! recipe says. Its pieces then pass through a lane's [`Packer`], which holds a pool of them and makes rows.
//! `docs/packing.md` gives the rules so that another language could follow them, and what they were chosen by.

use crate::example::{Ends, Piece};
use crate::recipe::{PackConfig, Strategy};
use crate::{Error, Kind, Result, Stage};

mod concat;
mod knapsack;
#[cfg(test)]
mod naive;
mod none;
pub mod overlong;
pub mod run;
mod subset;
#[cfg(test)]
mod tests;

pub use knapsack::Scratch;

/// Version of everything that decides which pieces a row holds and where they stand. Part of every fingerprint.
pub const PACKER_VERSION: u32 = 1;

/// The longest row: positions and `cu_seqlens` are i32.
const LONGEST_ROW: usize = i32::MAX as usize;

/// What rows are made of: a [`Piece`], or what stands for one where only lengths are known. Nothing else of it
/// decides which row it comes into.
pub trait Packable: Clone + Send {
    /// Length in tokens, at least 1.
    fn tokens(&self) -> usize;

    /// Takes off a beginning of at most `room` tokens, the longest that may stand alone; none where even one token
    /// may not be cut off. For `concat`, of a piece that is longer than `room`.
    fn cut(&mut self, room: usize) -> Option<Self>;
}

impl Packable for Piece {
    fn tokens(&self) -> usize {
        self.len()
    }

    fn cut(&mut self, room: usize) -> Option<Piece> {
        let start = self.tokens.start;
        let wanted = start.saturating_add(u32::try_from(room).unwrap_or(u32::MAX));
        let cut = concat::cut_before(&self.example.protected, wanted);
        if cut <= start {
            return None;
        }
        let mut beginning = self.clone();
        beginning.tokens.end = cut;
        beginning.ends = Ends::Nothing;
        self.tokens.start = cut;
        Some(beginning)
    }
}

/// One packed row.
#[derive(Debug, Clone)]
pub struct Row<P = Piece> {
    /// Its segments in order of arrival, at least one. Their lengths, each rounded up to `segment_multiple`, add up
    /// to at most `sequence_length`.
    pub segments: Vec<P>,
}

/// Makes rows of pieces, one packer a lane.
///
/// A row must be a pure function of the configuration and of the pieces pushed so far, in their order: no clock,
/// no threads, no randomness, nothing left in a [`Scratch`]. So a packer that is given the pieces of another's
/// [`pool`](Packer::pool), in that order, goes on exactly as the other would. Every piece that is pushed comes
/// out once, in a row or by [`drain`](Packer::drain); only `concat` cuts it further. Nothing blocks or fails.
///
/// ```text
/// while packer.wants() and the lane has an example: fit it, push its pieces
/// packer.row(scratch)
/// ```
pub trait Packer<P: Packable = Piece>: Send {
    /// How many examples of `mean` tokens (at least 1) the pool lacks for the next row, so that they can be made
    /// ahead of time. An estimate, except that it is 0 exactly where the pool wants none, whatever the mean.
    fn lacks(&self, mean: u64) -> usize;

    /// Whether the pool must take another example before the next row, if the lane has one.
    fn wants(&self) -> bool {
        self.lacks(1) > 0
    }

    /// Takes the next piece in order of arrival. It is not longer than a row, except for `concat`.
    fn push(&mut self, piece: P);

    /// The next row, `None` where the pool is empty. May be called while the packer [wants](Packer::wants) more:
    /// so a pool is emptied at the end of a stream.
    fn row(&mut self, scratch: &mut Scratch) -> Option<Row<P>>;

    /// The pieces held, oldest first: with the configuration, all of a packer's state.
    fn pool(&self) -> &[P];

    /// Takes all pieces out, oldest first: at the end of a finite stream they go to one last pool.
    fn drain(&mut self) -> Vec<P>;
}

/// An empty packer for one lane.
///
/// # Errors
/// [`Kind::Recipe`] where no row could be made: a length, multiple, look-ahead or number of segments of 0, or a
/// `segment_multiple` that does not divide `sequence_length`.
pub fn packer<P: Packable + 'static>(config: &PackConfig) -> Result<Box<dyn Packer<P>>> {
    check(config)?;
    Ok(match config.strategy {
        Strategy::Knapsack => Box::new(knapsack::Knapsack::new(config)),
        Strategy::Concat => Box::new(concat::Concat::new(config)),
        Strategy::None => Box::new(none::None::default()),
    })
}

/// How many examples of `mean` tokens make up `tokens`.
fn examples(tokens: usize, mean: u64) -> usize {
    usize::try_from((tokens as u64).div_ceil(mean.max(1))).unwrap_or(usize::MAX)
}

fn check(config: &PackConfig) -> Result<()> {
    let refuse = |message: String, remedy: &str| {
        Err(Error::new(Kind::Recipe, Stage::Pack, message).remedy(remedy))
    };
    let (length, multiple) = (config.sequence_length, config.segment_multiple);
    if length == 0 || length > LONGEST_ROW {
        return refuse(
            format!("sequence_length is {length}"),
            "give it 1 to 2147483647 tokens",
        );
    }
    if multiple == 0 || !length.is_multiple_of(multiple) {
        return refuse(
            format!("segment_multiple {multiple} does not divide sequence_length {length}"),
            "give a multiple that does",
        );
    }
    if config.lookahead == 0 {
        return refuse("lookahead is 0".into(), "give it at least 1 example");
    }
    if config.max_segments == Some(0) {
        return refuse(
            "max_segments is 0".into(),
            "give it at least 1, or null for no limit",
        );
    }
    Ok(())
}
