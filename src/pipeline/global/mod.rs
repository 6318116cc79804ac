//! `plan: global`: exact epochs on any number of ranks, planned from every example's length.
//!
//! ```text
//! records ─► count ─► lengths ─► plan ─► steps ─────────► assemble ─► outlet
//!            once,     4 bytes    rows    this rank's      their        batches
//!            in cache  a record   as      rows of each     records,
//!                                 lengths step             encoded
//! ```
//!
//! Every rank plans all rows, which takes lengths alone, and reads and encodes the records of its own. So rows can
//! be dealt to any number of ranks, their number is known beforehand, and to go on from a step takes no reading of what
//! was before it.

mod assemble;

mod count;

mod fit;

mod lengths;

mod open;

mod outlook;

mod plan;

mod steps;

#[cfg(test)]
mod tests;

mod word;

pub(super) use assemble::Epochs;
pub use open::{Count, Pass};
pub(super) use open::{Opening, check, check_epochs, open};
pub use outlook::Outlook;
