//! packmill turns sharded, compressed chat corpora into packed, label-masked, fixed-shape batches.
//!
//! ```text
//! corpus ─► order ─► read ─► render ─► tokenize ─► mask ─► pack ─► batch ─► channel ─► trainer
//! shards    which     mmap,   chat      ids and     labels  rows    fixed    bounded    torch, JAX, Rust
//!           record    zstd    template  spans               with    shape
//!           is next                                         segments
//!           └ pure ┘ └async┘ └── stateless, on a worker pool ──┘└ sequential a lane, with small state ┘
//! ```
//!
//! [`Recipe`] says what is wanted, [`Loader`] delivers it: an `Iterator` and a `Stream` of [`batch::Batch`].
//! `docs/architecture.md` is the map, `docs/determinism.md` the order, `docs/masking.md` the labels.

// The modules in the order of the flow. Control plane:

pub mod recipe;

pub mod corpus;

pub mod order;

// Data plane, stages 1 to 7:

pub mod read;

pub mod render;

pub mod tokenize;

pub mod mask;

pub mod pack;

pub mod batch;

pub mod channel;

// Assembly:

pub mod pipeline;

// Where a stream stands:

pub mod checkpoint;

// What flows between stages, and the accounts:

mod error;

mod example;

pub mod ledger;

pub mod shard;

pub mod stats;

pub mod places;

mod small_file;

// What is typed:

#[cfg(feature = "cli")]
pub mod cli;

pub use error::{Error, Kind, Result, Stage};
pub use example::{Cursor, Ends, Example, IGNORE_INDEX, Origin, Piece, Span, TokenId};
pub use pipeline::Loader;
pub use recipe::Recipe;
pub use stats::StageStats;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeExamples;
