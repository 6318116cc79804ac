//! Where a stream stands: what is saved after a step, and what a later process needs to go on from there.
//!
//! A checkpoint holds coordinates, never examples: each lane's cursors and, of every example that its pool
//! holds, where it came from. Whoever resumes reads those blocks again, so a checkpoint is small and the
//! resume costs the same at any step.
//!
//! ```text
//! State ─► text ─► Folder: step-NNNNNNNN/rank-RRRRR-of-WWWWW.json
//! one rank's                     │ all of one W
//!                                └─► merge ─► Whole: every lane, ready to be dealt to any number of ranks
//! ```
//!
//! The [`Fingerprint`] says which stream it is: a checkpoint is refused where the recipe, the corpus, the
//! tokenizer, a template or a version would give other rows, and the difference is named.

mod account;

mod differences;

mod fingerprint;

mod folder;

mod fork;

mod history;

mod keys;

mod listing;

mod pooled;

mod print;

mod run;

mod sense;

mod set;

mod state;

#[cfg(test)]
mod tests;

mod text;

mod whole;

pub use fingerprint::Fingerprint;
pub use folder::{Folder, Found};
pub use fork::{Carried, Encoding, Fit, Removed, carry};
pub use history::Fork;
pub use print::{
    ENDS_BYTES, Form, ShardPrint, SourcePrint, TokenizerPrint, hash_of_texts, shard_print,
};
pub use run::Run;
pub use state::{LaneState, Phase, Pooled, State, StreamState};
pub use whole::{Whole, Whose, alone, merge};
