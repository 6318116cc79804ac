//! `none`: every piece is a row.

use super::{Packer, Row, Scratch};
use crate::example::Piece;

/// Holds one example and makes a row of each piece.
#[derive(Debug, Default)]
pub(super) struct None {
    pool: Vec<Piece>,
}

impl Packer for None {
    fn lacks(&self, _: u64) -> usize {
        usize::from(self.pool.is_empty())
    }

    fn push(&mut self, piece: Piece) {
        self.pool.push(piece);
    }

    fn row(&mut self, _: &mut Scratch) -> Option<Row> {
        if self.pool.is_empty() {
            return Option::None;
        }
        let segments = vec![self.pool.remove(0)];
        Some(Row { segments })
    }

    fn pool(&self) -> &[Piece] {
        &self.pool
    }

    fn drain(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.pool)
    }
}
