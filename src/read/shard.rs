//! The one trait for all places where shards can lie.

use super::blocks::BlockTable;
use super::local::LocalShard;
use crate::error::{Error, Kind, Result, Stage};
use crate::shard::ShardFile;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::ops::Range;
use std::sync::Arc;

/// A shard whose blocks can be listed and whose stored bytes can be had in ranges.
///
/// - Futures run on packmill's own runtime ([`ReadAhead`](super::ReadAhead)). They must not block its
///   threads: what blocks goes to `spawn_blocking`.
/// - [`blocks`](Shard::blocks) looks at headers, footers and sizes. It must not decode, and must give the
///   same table on every machine.
/// - [`read`](Shard::read) gives exactly the bytes of its range, or an error. It must not give bytes of another
///   state of the shard than [`file`](Shard::file) describes: that is [`Kind::Changed`].
/// - Errors name the shard. Retrying is the implementation's business: an error is final.
pub trait Shard: Send + Sync {
    /// The shard as it was found.
    fn file(&self) -> &ShardFile;

    /// Where its blocks lie.
    fn blocks(self: Arc<Self>) -> BoxFuture<'static, Result<BlockTable>>;

    /// The stored bytes of `range`, which lies within the shard.
    fn read(self: Arc<Self>, range: Range<u64>) -> BoxFuture<'static, Result<Bytes>>;

    /// The same where nobody has to wait for them; none: [`read`](Shard::read) them. May touch pages that
    /// are not in memory yet, if [`will_need`](Shard::will_need) is what fetches them.
    fn at_hand(&self, range: Range<u64>) -> Option<Result<Bytes>> {
        let _ = range;
        None
    }

    /// Hints that `range` is needed soon. Must return at once.
    fn will_need(&self, range: Range<u64>) {
        let _ = range;
    }

    /// Refuses a shard that is no longer the one that was found. Asked at the end of a block; cheap.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

impl Shard for LocalShard {
    fn file(&self) -> &ShardFile {
        LocalShard::file(self)
    }

    fn blocks(self: Arc<Self>) -> BoxFuture<'static, Result<BlockTable>> {
        // Touches a page every 128 KiB, mapped or not: on a cold disk that blocks.
        blocking(move || BlockTable::list(LocalShard::file(&self), |range| self.read_now(range)))
    }

    fn read(self: Arc<Self>, range: Range<u64>) -> BoxFuture<'static, Result<Bytes>> {
        match self.at_hand(range.clone()) {
            Some(bytes) => std::future::ready(bytes).boxed(),
            None => blocking(move || self.read_now(range)),
        }
    }

    fn at_hand(&self, range: Range<u64>) -> Option<Result<Bytes>> {
        self.is_mapped().then(|| self.read_now(range))
    }

    fn will_need(&self, range: Range<u64>) {
        LocalShard::will_need(self, range);
    }

    fn check(&self) -> Result<()> {
        LocalShard::check(self)
    }
}

fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> BoxFuture<'static, Result<T>> {
    async {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| {
            Err(Error::new(Kind::Internal, Stage::Read, "reading was broken off").caused_by(error))
        })
    }
    .boxed()
}
