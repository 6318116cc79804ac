//! In the place of [`columnar`](self) where packmill is built without it: such shards are refused when they are found.

use super::Limits;
use super::decode::Fault;
use crate::error::{Error, Kind, Result, Stage};
use crate::shard::ShardFile;
use bytes::Bytes;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) decoded: u64,
    pub(super) rows: u64,
}

impl Unit {
    pub(super) fn decoded_of(&self, _: u64) -> u64 {
        self.decoded
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Columnar(Infallible);

impl Columnar {
    pub(super) fn list(
        file: &ShardFile,
        _: impl FnMut(Range<u64>) -> Result<Bytes>,
    ) -> Result<Columnar> {
        let message = "is read by the feature `columnar`, which is not built in";
        Err(Error::new(Kind::Recipe, Stage::Read, message).in_shard(&file.name))
    }

    pub(super) fn units(&self) -> &[Unit] {
        match self.0 {}
    }
}

pub(super) struct BlockRows(Infallible);

impl BlockRows {
    pub(super) fn new(columnar: Arc<Columnar>, _: u64, _: Limits) -> BlockRows {
        match columnar.0 {}
    }

    pub(super) fn feed(&mut self, _: Bytes) -> Result<(), Fault> {
        match self.0 {}
    }

    pub(super) fn next(&mut self, _: &mut Vec<u8>) -> Result<bool, Fault> {
        match self.0 {}
    }

    pub(super) fn rest_bytes(&self) -> u64 {
        match self.0 {}
    }
}
