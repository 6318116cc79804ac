//! `concat`: pieces joined in order of arrival and cut where the row ends.

use super::{Packable, Packer, Row, Scratch};
use crate::example::Span;
use crate::recipe::PackConfig;

/// Holds one row's worth of tokens. What a cut leaves stays first in the pool.
#[derive(Debug)]
pub(super) struct Concat<P> {
    row: usize,
    multiple: usize,
    max_segments: usize,
    pool: Vec<P>,
    /// Tokens in the pool, each piece rounded up to `multiple`.
    total: usize,
}

impl<P: Packable> Concat<P> {
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

    fn padded(&self, piece: &P) -> usize {
        piece.tokens().next_multiple_of(self.multiple)
    }
}

impl<P: Packable> Packer<P> for Concat<P> {
    fn lacks(&self, mean: u64) -> usize {
        super::examples(self.row.saturating_sub(self.total), mean)
    }

    fn push(&mut self, piece: P) {
        self.total += self.padded(&piece);
        self.pool.push(piece);
    }

    fn row(&mut self, _: &mut Scratch) -> Option<Row<P>> {
        let mut room = self.row;
        let mut whole = 0;
        let mut cut = false;
        for piece in &self.pool {
            if whole == self.max_segments {
                break;
            }
            let length = self.padded(piece);
            if length > room {
                cut = true;
                break;
            }
            room -= length;
            whole += 1;
        }
        let mut segments: Vec<P> = self.pool.drain(..whole).collect();
        self.total -= self.row - room;
        if cut && let Some(first) = self.pool.first_mut() {
            let before = first.tokens().next_multiple_of(self.multiple);
            if let Some(beginning) = first.cut(room) {
                let after = first.tokens().next_multiple_of(self.multiple);
                self.total -= before - after;
                segments.push(beginning);
            }
        }
        (!segments.is_empty()).then_some(Row { segments })
    }

    fn pool(&self) -> &[P] {
        &self.pool
    }

    fn drain(&mut self) -> Vec<P> {
        self.total = 0;
        std::mem::take(&mut self.pool)
    }
}

/// `cut`, or the start of the protected span that it would fall into.
pub(super) fn cut_before(protected: &[Span], cut: u32) -> u32 {
    let inside = protected.iter().find(|p| p.start < cut && cut < p.end);
    inside.map_or(cut, |p| p.start)
}
