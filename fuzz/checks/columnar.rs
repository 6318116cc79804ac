//! Stored bytes of any kind as Parquet or Arrow IPC: the table is refused or read to its end, and read block by block it
//! gives what all blocks by one reader give.
//!
//! Input: one byte that chooses codec and limits, then the shard.

use super::shard::{file, limits, read_alone, read_whole, slice};
use packmill::read::BlockTable;
use packmill::shard::Codec;
use std::sync::Arc;

pub(super) fn columnar(data: &[u8]) {
    let Some((&choice, stored)) = data.split_first() else {
        return;
    };
    let codec = [Codec::Parquet, Codec::ArrowFile, Codec::ArrowStream][usize::from(choice % 3)];
    let limits = limits(choice / 3);
    let file = file(codec, stored.len() as u64);
    let Ok(table) = BlockTable::list(&file, |range| Ok(slice(stored, range))) else {
        return;
    };
    let table = Arc::new(table);
    // A damaged footer may place row groups anywhere in the shard, also one over the other.
    for block in 0..table.len() {
        let place = table.stored(block).expect("a block of the table");
        assert!(place.start <= place.end && place.end <= stored.len() as u64);
    }
    let whole = read_whole(&table, &limits, stored);
    let alone = read_alone(&table, &limits, stored);
    if whole.bad == 0 && alone.bad == 0 {
        assert_eq!(whole, alone);
    }
}
