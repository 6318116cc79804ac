//! packmill: chat corpora to packed, label-masked, fixed-shape batches.

mod error;

mod example;

pub mod recipe;

pub use error::{Error, Kind, Result, Stage};
pub use example::{Example, IGNORE_INDEX, Origin, Piece, Span, TokenId};
