//! Ids and labels in the width that the consumer takes.

use bytemuck::Pod;
use serde::{Deserialize, Serialize};
use std::ops::Range;

use crate::example::{IGNORE_INDEX, TokenId};

/// Width of `input_ids` and of the labels. Every other tensor is i32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdWidth {
    /// What JAX and embeddings take, at half the bytes.
    #[default]
    I32,
    /// What PyTorch's cross-entropy asks of its targets.
    I64,
}

/// A tensor of ids or labels, borrowed from a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids<'a> {
    /// 32 bits wide.
    I32(&'a [i32]),
    /// 64 bits wide.
    I64(&'a [i64]),
}

impl<'a> Ids<'a> {
    /// Tokens.
    pub fn len(&self) -> usize {
        match self {
            Ids::I32(ids) => ids.len(),
            Ids::I64(ids) => ids.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The width.
    pub fn width(&self) -> IdWidth {
        match self {
            Ids::I32(_) => IdWidth::I32,
            Ids::I64(_) => IdWidth::I64,
        }
    }

    /// The slice, where it is 32 bits wide.
    pub fn as_i32(&self) -> Option<&'a [i32]> {
        match *self {
            Ids::I32(ids) => Some(ids),
            Ids::I64(_) => None,
        }
    }

    /// The slice, where it is 64 bits wide.
    pub fn as_i64(&self) -> Option<&'a [i64]> {
        match *self {
            Ids::I32(_) => None,
            Ids::I64(ids) => Some(ids),
        }
    }

    /// The bytes as they lie in memory, in the machine's byte order.
    pub fn as_bytes(&self) -> &'a [u8] {
        match *self {
            Ids::I32(ids) => bytemuck::cast_slice(ids),
            Ids::I64(ids) => bytemuck::cast_slice(ids),
        }
    }

    /// The part at `tokens`, if it lies within.
    pub fn get(&self, tokens: Range<usize>) -> Option<Ids<'a>> {
        match *self {
            Ids::I32(ids) => ids.get(tokens).map(Ids::I32),
            Ids::I64(ids) => ids.get(tokens).map(Ids::I64),
        }
    }

    /// The values one by one, whatever their width.
    pub fn iter(&self) -> impl Iterator<Item = i64> + use<'a> {
        let (narrow, wide): (&[i32], &[i64]) = match *self {
            Ids::I32(ids) => (ids, &[]),
            Ids::I64(ids) => (&[], ids),
        };
        narrow
            .iter()
            .map(|&id| i64::from(id))
            .chain(wide.iter().copied())
    }
}

/// A tensor of ids or labels that an adapter had to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdVec {
    /// 32 bits wide.
    I32(Vec<i32>),
    /// 64 bits wide.
    I64(Vec<i64>),
}

impl IdVec {
    /// Borrows it.
    pub fn as_ids(&self) -> Ids<'_> {
        match self {
            IdVec::I32(ids) => Ids::I32(ids),
            IdVec::I64(ids) => Ids::I64(ids),
        }
    }
}

/// What the writer and the adapters are generic over.
pub(super) trait Id: Pod + PartialEq {
    /// A label that is not trained.
    const IGNORE: Self;

    /// A token's id; what does not fit in 31 bits is refused elsewhere.
    fn from_token(token: TokenId) -> Self;
}

impl Id for i32 {
    const IGNORE: Self = IGNORE_INDEX;

    fn from_token(token: TokenId) -> Self {
        token as i32
    }
}

impl Id for i64 {
    const IGNORE: Self = IGNORE_INDEX as i64;

    fn from_token(token: TokenId) -> Self {
        i64::from(token)
    }
}
