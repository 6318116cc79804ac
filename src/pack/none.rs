//! `none`: every piece is a row.

use super::{Packable, Packer, Row, Scratch};

/// Holds one example and makes a row of each piece.
#[derive(Debug)]
pub(super) struct None<P> {
    pool: Vec<P>,
}

impl<P> Default for None<P> {
    fn default() -> Self {
        None { pool: Vec::new() }
    }
}

impl<P: Packable> Packer<P> for None<P> {
    fn lacks(&self, _: u64) -> usize {
        usize::from(self.pool.is_empty())
    }

    fn push(&mut self, piece: P) {
        self.pool.push(piece);
    }

    fn row(&mut self, _: &mut Scratch) -> Option<Row<P>> {
        if self.pool.is_empty() {
            return Option::None;
        }
        let segments = vec![self.pool.remove(0)];
        Some(Row { segments })
    }

    fn pool(&self) -> &[P] {
        &self.pool
    }

    fn drain(&mut self) -> Vec<P> {
        std::mem::take(&mut self.pool)
    }
}
