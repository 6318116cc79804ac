//! Control plane: which block comes next.
//!
//! Pure functions of (corpus, recipe, seed, epoch, index). Nothing here does I/O, spawns, locks, reads a
//! clock or looks at a hash map's order. `docs/determinism.md` specifies all of it so that another language
//! could implement it, and golden tests freeze it: a change of order is a breaking change.
//!
//! - [`shuffle`]: a keyed bijection on `0..n`, so that a shuffle costs no memory;
//! - [`sequence`]: a list of blocks as one endless sequence, epoch after epoch;
//! - [`lanes`]: the sequence dealt to lanes, and rows taken from lanes in turn;
//! - [`layout`]: a trainer's global ranks to data-parallel ranks;
//! - [`runs`]: the order of records inside a streamed block;
//! - [`turns`]: from which of several streamed blocks a lane's next item comes;
//! - [`draw`]: which source a lane draws from, where sources have weights;
//! - [`weights`]: these weights, and the rows from which others hold.

pub mod shuffle;

pub mod sequence;

pub mod lanes;

pub mod layout;

pub mod runs;

pub mod turns;

pub mod draw;

pub mod weights;

/// Version of everything that this folder decides. Part of every fingerprint.
pub const ORDER_VERSION: u32 = 1;
