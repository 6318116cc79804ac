//! The state of a stream: plain data.

use super::fingerprint::Fingerprint;
use super::history::Fork;
use super::run::Run;
use crate::batch::Digest;
use crate::ledger::Ledger;
use serde::{Deserialize, Serialize};

/// Where one rank's stream stands after a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Which stream it is.
    pub fingerprint: Fingerprint,
    /// The rank that saved it.
    pub rank: u32,
    /// How many ranks there were.
    pub world_size: u32,
    /// Steps completed.
    pub step: u64,
    /// Number n of the stream's next row, of all ranks.
    pub rows: u64,
    /// Rows of the stream that were made before this process resumed it; 0 where it began. Rank 0's digest and
    /// ledger hold all of those, other ranks' none. Parts of one step may only be put together where this is
    /// the same: a rank's file may be left over from a process that was killed and began elsewhere.
    pub since: u64,
    /// Rows of all ranks in its last step; none where an earlier packmill saved it. It may change at a resume, which is
    /// said then.
    pub step_rows: Option<u64>,
    /// Sum of the hashes of the rows that this rank delivered, and, for rank 0, of those before a resume.
    pub digest: Digest,
    /// This rank's part of the account, with what rank 0 took over. Parts add up.
    pub ledger: Ledger,
    /// Whether the lanes are in turn or the last pool.
    pub phase: Phase,
    /// The rank's own lanes, by rising number.
    pub lanes: Vec<LaneState>,
    /// What made it: tokenizer engine, packmill's version, machine. Recorded, not compared.
    pub engine: String,
    /// The streams that it was before each fork, the oldest first. In rank 0's part alone.
    pub history: Vec<Fork>,
}

/// Which part of a stream is being packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The lanes, in turn.
    Lanes,
    /// A finite stream's lanes have all ended; the last pool packs what they held.
    LastPool {
        /// Rows that the last pool has made of what the lanes hold.
        rows: u64,
    },
}

/// Where one lane stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneState {
    /// Its number, from 0.
    pub lane: u32,
    /// Rows that it has made.
    pub rows: u64,
    /// Whether it makes no more.
    pub ended: bool,
    /// Index of the schedule's entry in force, from 1; 0: none yet.
    pub weights: u32,
    /// Its cursors, one a sequence: one in all without weights, one a source with them.
    pub streams: Vec<StreamState>,
    /// What its pool holds, in order of arrival.
    pub pool: Vec<Pooled>,
    /// Pieces of split records that the pool had no place for, stream by stream, in order.
    pub waiting: Vec<Pooled>,
    /// What pool and `waiting` hold of examples that were partly delivered at a fork, each run once.
    pub carried: Vec<Run>,
    /// For each source the records that the lane has read of it and the bad ones among them.
    pub bad: Vec<(u64, u64)>,
}

/// A lane's cursor in one sequence of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamState {
    /// The next item to be taken is in the lane's block of this index, or one that is taken together with it.
    pub position: u64,
    /// The item within these blocks, in the order in which their items come.
    pub place: u64,
    /// Tokens drawn since the present weights began.
    pub drawn: u64,
    /// Records and blocks passed since the last example.
    pub barren: (u64, u64),
}

/// One piece of an example in a pool: where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pooled {
    /// Index of its sequence in [`LaneState::streams`].
    pub stream: u32,
    /// The lane's block of this index: the first of those that the record's is taken together with.
    pub position: u64,
    /// The record's place in these blocks' order.
    pub place: u64,
    /// Example within the record.
    pub example: u32,
    /// First token of the piece.
    pub first: u32,
}
