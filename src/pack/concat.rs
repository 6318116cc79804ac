//! `concat`: pieces joined in order of arrival and cut where the row ends.

use super::{Packer, Row, Scratch};
use crate::example::{Piece, Span};
use crate::recipe::PackConfig;

/// Holds one row's worth of tokens. What a cut leaves stays first in the pool.
#[derive(Debug)]
pub(super) struct Concat {
    row: usize,
    multiple: usize,
    max_segments: usize,
    pool: Vec<Piece>,
    /// Tokens in the pool, each piece rounded up to `multiple`.
    total: usize,
}

impl Concat {
    /// Of a configuration that was checked.
    pub(super) fn new(config: &PackConfig) -> Self {
        Concat {
            row: config.sequence_length,
            multiple: config.segment_multiple,
            max_segments: config.max_segments.unwrap_or(usize::MAX),
            pool: Vec::new(),
            total: 0,
        }
    }

    fn padded(&self, piece: &Piece) -> usize {
        piece.len().next_multiple_of(self.multiple)
    }
}

impl Packer for Concat {
    fn lacks(&self, mean: u64) -> usize {
        super::examples(self.row.saturating_sub(self.total), mean)
    }

    fn push(&mut self, piece: Piece) {
        self.total += self.padded(&piece);
        self.pool.push(piece);
    }

    fn row(&mut self, _: &mut Scratch) -> Option<Row> {
        let mut room = self.row;
        let mut whole = 0;
        let mut cut = None;
        for piece in &self.pool {
            if whole == self.max_segments {
                break;
            }
            let length = self.padded(piece);
            if length > room {
                cut = beginning(piece, room);
                break;
            }
            room -= length;
            whole += 1;
        }
        let mut segments: Vec<Piece> = self.pool.drain(..whole).collect();
        self.total -= self.row - room;
        if let (Some(cut), Some(first)) = (cut, self.pool.first_mut()) {
            let before = first.len().next_multiple_of(self.multiple);
            let mut segment = first.clone();
            segment.tokens.end = cut;
            segment.last = false;
            first.tokens.start = cut;
            let after = first.len().next_multiple_of(self.multiple);
            self.total -= before - after;
            segments.push(segment);
        }
        (!segments.is_empty()).then_some(Row { segments })
    }

    fn pool(&self) -> &[Piece] {
        &self.pool
    }

    fn drain(&mut self) -> Vec<Piece> {
        self.total = 0;
        std::mem::take(&mut self.pool)
    }
}

/// Where a piece is cut so that its beginning fits into `room` tokens, if there is such a place.
fn beginning(piece: &Piece, room: usize) -> Option<u32> {
    let start = piece.tokens.start;
    let wanted = start.saturating_add(u32::try_from(room).unwrap_or(u32::MAX));
    let cut = cut_before(&piece.example.protected, wanted);
    (cut > start).then_some(cut)
}

/// `cut`, or the start of the protected span that it would fall into.
pub(super) fn cut_before(protected: &[Span], cut: u32) -> u32 {
    let inside = protected.iter().find(|p| p.start < cut && cut < p.end);
    inside.map_or(cut, |p| p.start)
}
