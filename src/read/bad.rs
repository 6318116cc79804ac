//! What could not be read, and what was lost with it.

use crate::error::Error;

/// Something in the place of a record.
#[derive(Debug, Clone)]
pub struct Bad {
    /// What is wrong. The shard and the record are for whoever knows them to add.
    pub error: Error,
    /// The line that it stands for, counted as the records around it are.
    pub record: u64,
    /// What is gone.
    pub lost: Lost,
}

/// How much is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// One record.
    Record,
    /// The rest of a block, from a record's beginning or middle to the block's end; decoding goes on at the
    /// next block. It counts as one record, as nobody knows how many it held.
    Rest {
        /// Stored bytes of which no text came.
        compressed_bytes: u64,
    },
}
