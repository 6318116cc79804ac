//! Memory of batches: aligned, contiguous, and used again.

use bytemuck::{Pod, Zeroable};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use super::ids::{IdWidth, Ids};
use super::row::Row;
use super::spec::BatchSpec;

/// The unit of allocation: what makes every tensor begin at a multiple of 64 bytes, as DLPack asks of
/// memory that is shared without a copy.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Line([u8; 64]);

const LINE_BYTES: usize = size_of::<Line>();

/// A growable array of `T` that begins at a multiple of 64 bytes.
#[derive(Debug)]
pub(super) struct Aligned<T> {
    lines: Vec<Line>,
    len: usize,
    kind: PhantomData<T>,
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Aligned {
            lines: Vec::new(),
            len: 0,
            kind: PhantomData,
        }
    }
}

impl<T: Pod> Aligned<T> {
    /// The elements.
    pub(super) fn as_slice(&self) -> &[T] {
        let room: &[T] = bytemuck::cast_slice(&self.lines);
        room.get(..self.len).unwrap_or_default()
    }

    /// The elements, to be written.
    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        let room: &mut [T] = bytemuck::cast_slice_mut(&mut self.lines);
        room.get_mut(..self.len).unwrap_or_default()
    }

    /// Makes it `len` long. What it held stays, what is new is arbitrary.
    pub(super) fn set_len(&mut self, len: usize) {
        let lines = (len * size_of::<T>()).div_ceil(LINE_BYTES);
        if lines > self.lines.len() {
            self.lines.resize(lines, Line::zeroed());
        }
        self.len = len;
    }

    /// Appends one element.
    pub(super) fn push(&mut self, value: T) {
        let per_line = LINE_BYTES / size_of::<T>();
        if self.len == self.lines.len() * per_line {
            let lines = (self.lines.len() * 2).max(4);
            self.lines.resize(lines, Line::zeroed());
        }
        self.len += 1;
        if let Some(last) = self.as_mut_slice().last_mut() {
            *last = value;
        }
    }

    /// Appends some elements.
    pub(super) fn extend(&mut self, values: impl IntoIterator<Item = T>) {
        for value in values {
            self.push(value);
        }
    }

    /// Empties it and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }
}

/// `input_ids` or labels, in either width.
#[derive(Debug)]
pub(super) enum IdBuffer {
    I32(Aligned<i32>),
    I64(Aligned<i64>),
}

impl Default for IdBuffer {
    fn default() -> Self {
        IdBuffer::I32(Aligned::default())
    }
}

impl IdBuffer {
    /// Borrows the ids.
    pub(super) fn as_ids(&self) -> Ids<'_> {
        match self {
            IdBuffer::I32(ids) => Ids::I32(ids.as_slice()),
            IdBuffer::I64(ids) => Ids::I64(ids.as_slice()),
        }
    }

    fn prepare(&mut self, width: IdWidth, len: usize) {
        match (width, &mut *self) {
            (IdWidth::I32, IdBuffer::I64(_)) => *self = IdBuffer::I32(Aligned::default()),
            (IdWidth::I64, IdBuffer::I32(_)) => *self = IdBuffer::I64(Aligned::default()),
            (IdWidth::I32, IdBuffer::I32(_)) | (IdWidth::I64, IdBuffer::I64(_)) => {}
        }
        match self {
            IdBuffer::I32(ids) => ids.set_len(len),
            IdBuffer::I64(ids) => ids.set_len(len),
        }
    }
}

/// All memory of one batch.
#[derive(Debug, Default)]
pub(super) struct BatchBuffers {
    pub(super) input_ids: IdBuffer,
    pub(super) labels: IdBuffer,
    pub(super) position_ids: Aligned<i32>,
    pub(super) segment_ids: Aligned<i32>,
    pub(super) cu_seqlens: Aligned<i32>,
    pub(super) segment_lengths: Aligned<i32>,
    pub(super) provenance: Aligned<i64>,
    pub(super) row_numbers: Aligned<u64>,
}

impl BatchBuffers {
    /// Sizes the fixed tensors for `tokens` and empties the others.
    pub(super) fn prepare(&mut self, width: IdWidth, tokens: usize) {
        self.input_ids.prepare(width, tokens);
        self.labels.prepare(width, tokens);
        self.position_ids.set_len(tokens);
        self.segment_ids.set_len(tokens);
        self.cu_seqlens.clear();
        self.cu_seqlens.push(0);
        self.segment_lengths.clear();
        self.provenance.clear();
        self.row_numbers.clear();
    }

    /// Row `index`; none past the last.
    pub(super) fn row(&self, spec: &BatchSpec, index: usize) -> Option<Row<'_>> {
        let start = index.checked_mul(spec.sequence_length)?;
        let tokens = start..start.checked_add(spec.sequence_length)?;
        Some(Row {
            input_ids: self.input_ids.as_ids().get(tokens.clone())?,
            labels: self.labels.as_ids().get(tokens.clone())?,
            form: spec.labels,
            position_ids: self.position_ids.as_slice().get(tokens.clone())?,
            segment_ids: self.segment_ids.as_slice().get(tokens)?,
        })
    }
}

/// Buffers that batches gave back, for the next ones. A clone is the same pool.
///
/// Taking never waits: where none is free a new one is made. At most `most` lie idle; what comes back beyond
/// is freed. Enough is what can be alive at once: the channel's depth, the batch in writing, and those that
/// the trainer holds.
#[derive(Debug, Clone)]
pub struct BufferPool {
    idle: Arc<Mutex<Vec<BatchBuffers>>>,
    most: usize,
}

impl BufferPool {
    /// A pool that keeps at most `most` idle batches' memory.
    pub fn new(most: usize) -> Self {
        BufferPool {
            idle: Arc::default(),
            most,
        }
    }

    /// Batches' memory that lies idle now.
    pub fn idle(&self) -> usize {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    pub(super) fn take(&self) -> BatchBuffers {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        idle.unwrap_or_default()
    }

    pub(super) fn give(&self, buffers: BatchBuffers) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.most {
            idle.push(buffers);
            return;
        }
        // Freed outside the lock.
        drop(idle);
        drop(buffers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_buffer_begins_at_a_multiple_of_64_bytes() {
        let mut array = Aligned::<i32>::default();
        for value in 0..1000 {
            array.push(value);
            assert_eq!(array.as_slice().as_ptr().addr() % 64, 0);
        }
        assert_eq!(array.as_slice(), (0..1000).collect::<Vec<i32>>());
    }

    #[test]
    fn a_full_pool_frees_what_comes_back() {
        let pool = BufferPool::new(1);
        let (one, two) = (pool.take(), pool.take());
        pool.give(one);
        pool.give(two);
        assert_eq!(pool.idle(), 1);
    }

    #[test]
    fn a_buffer_may_change_its_width() {
        let mut buffer = IdBuffer::default();
        for width in [IdWidth::I64, IdWidth::I32, IdWidth::I64] {
            buffer.prepare(width, 3);
            assert_eq!((buffer.as_ids().width(), buffer.as_ids().len()), (width, 3));
        }
    }
}
