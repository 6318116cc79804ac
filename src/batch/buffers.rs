//! Memory of batches: aligned, contiguous, and used again.

use bytemuck::{Pod, Zeroable};
use std::collections::TryReserveError;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use super::ids::{IdWidth, Ids};
use super::row::Row;
use super::spec::BatchSpec;
use super::{IdsMut, PROVENANCE_FIELDS};
use crate::error::{Error, Kind, Result, Stage};
use crate::recipe::LossWeights;

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
    pub(super) fn set_len(&mut self, len: usize) -> Result<(), TryReserveError> {
        self.grow(lines::<T>(len))?;
        self.len = len;
        Ok(())
    }

    /// Makes room for `more` elements, so that as many pushes need no memory.
    pub(super) fn reserve(&mut self, more: usize) -> Result<(), TryReserveError> {
        let least = lines::<T>(self.len.saturating_add(more));
        if least > self.lines.len() {
            self.grow(least.max(self.lines.len().saturating_mul(2)))?;
        }
        Ok(())
    }

    fn grow(&mut self, lines: usize) -> Result<(), TryReserveError> {
        if let Some(more) = lines.checked_sub(self.lines.len()) {
            self.lines.try_reserve_exact(more)?;
            self.lines.resize(lines, Line::zeroed());
        }
        Ok(())
    }

    /// Appends one element. Where memory may be short, [`reserve`](Aligned::reserve) first.
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

/// Lines that hold `len` elements; a size that no memory has, rather than an overflow.
fn lines<T>(len: usize) -> usize {
    len.saturating_mul(size_of::<T>()).div_ceil(LINE_BYTES)
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

    /// Borrows the ids to be written to.
    pub(super) fn as_mut_ids(&mut self) -> IdsMut<'_> {
        match self {
            IdBuffer::I32(ids) => IdsMut::I32(ids.as_mut_slice()),
            IdBuffer::I64(ids) => IdsMut::I64(ids.as_mut_slice()),
        }
    }

    fn prepare(&mut self, width: IdWidth, len: usize) -> Result<(), TryReserveError> {
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
    /// Empty where the batch carries none.
    pub(super) loss_weights: Aligned<f32>,
    pub(super) position_ids: Aligned<i32>,
    pub(super) segment_ids: Aligned<i32>,
    pub(super) cu_seqlens: Aligned<i32>,
    pub(super) segment_lengths: Aligned<i32>,
    pub(super) provenance: Aligned<i64>,
    pub(super) row_numbers: Aligned<u64>,
}

impl BatchBuffers {
    /// Sizes the fixed tensors for batches of `spec` and empties the others.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] where the system does not give the memory.
    pub(super) fn prepare(&mut self, spec: &BatchSpec) -> Result<()> {
        self.size(spec).map_err(|_| no_memory(spec, 1))?;
        self.cu_seqlens.clear();
        self.cu_seqlens.push(0);
        self.segment_lengths.clear();
        self.provenance.clear();
        self.row_numbers.clear();
        Ok(())
    }

    fn size(&mut self, spec: &BatchSpec) -> Result<(), TryReserveError> {
        let tokens = spec.tokens();
        self.input_ids.prepare(spec.width, tokens)?;
        self.labels.prepare(spec.width, tokens)?;
        self.loss_weights.set_len(spec.weights())?;
        self.position_ids.set_len(tokens)?;
        self.segment_ids.set_len(tokens)
    }

    /// Makes room for a row of `segments` segments in what grows with them.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] where the system does not give the memory.
    pub(super) fn reserve_row(&mut self, spec: &BatchSpec, segments: usize) -> Result<()> {
        // The padding at a row's end is a run too.
        let runs = segments.saturating_add(1);
        self.cu_seqlens
            .reserve(runs)
            .and_then(|()| self.segment_lengths.reserve(runs))
            .and_then(|()| {
                let fields = segments.saturating_mul(PROVENANCE_FIELDS.len());
                self.provenance.reserve(fields)
            })
            .and_then(|()| self.row_numbers.reserve(1))
            .map_err(|_| no_memory(spec, 1))
    }

    /// Row `index`; none past the last.
    pub(super) fn row(&self, spec: &BatchSpec, index: usize) -> Option<Row<'_>> {
        let start = index.checked_mul(spec.sequence_length)?;
        let tokens = start..start.checked_add(spec.sequence_length)?;
        Some(Row {
            input_ids: self.input_ids.as_ids().get(tokens.clone())?,
            labels: self.labels.as_ids().get(tokens.clone())?,
            form: spec.labels,
            loss_weights: match spec.loss_weights {
                LossWeights::Refuse => None,
                LossWeights::Use => Some(self.loss_weights.as_slice().get(tokens.clone())?),
            },
            position_ids: self.position_ids.as_slice().get(tokens.clone())?,
            segment_ids: self.segment_ids.as_slice().get(tokens)?,
        })
    }
}

/// Bytes of the tensors whose size is fixed.
fn bytes(spec: &BatchSpec) -> usize {
    let ids = match spec.width {
        IdWidth::I32 => size_of::<i32>(),
        IdWidth::I64 => size_of::<i64>(),
    };
    let weights = spec.weights().saturating_mul(size_of::<f32>());
    let others = spec.tokens().saturating_mul(2 * ids + 2 * size_of::<i32>());
    others.saturating_add(weights)
}

fn no_memory(spec: &BatchSpec, batches: usize) -> Error {
    let (rows, length, each) = (spec.rows, spec.sequence_length, bytes(spec));
    let all = each.saturating_mul(batches);
    let wanted = match batches {
        1 => "for one more".to_owned(),
        _ => format!("for the {batches} that may be held at once, {all} bytes"),
    };
    let message = format!(
        "a batch of {rows} rows (batch.rows) of {length} tokens (pack.sequence_length) takes {each} bytes, \
         and the system does not give the memory {wanted}"
    );
    Error::new(Kind::Io, Stage::Batch, message)
        .remedy("lower batch.rows, pack.sequence_length or prefetch")
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

    /// Asks the system for all that batches of `spec` will hold when the trainer lags, and gives it back
    /// untouched: what is far more than the machine has is refused before the first record is read.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] where the system does not give it. That it does is no promise: a system that overcommits, or
    /// one that limits a group of processes, may still find later that there is too little.
    pub(super) fn probe(&self, spec: &BatchSpec) -> Result<()> {
        let batches = self.most.max(1);
        let all = bytes(spec).saturating_mul(batches).div_ceil(LINE_BYTES);
        Vec::<Line>::new()
            .try_reserve_exact(all)
            .map_err(|_| no_memory(spec, batches))
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

    fn spec(rows: usize) -> BatchSpec {
        BatchSpec {
            rows,
            sequence_length: 4096,
            pad_id: 0,
            labels: crate::recipe::Labels::Aligned,
            loss_weights: LossWeights::Refuse,
            width: IdWidth::I64,
            segment_multiple: 1,
            max_segments: None,
        }
    }

    #[test]
    fn memory_that_no_machine_has_is_an_error_that_names_the_keys() {
        // 49 GB a batch times 2^20: more than there are addresses.
        let error = BufferPool::new(1 << 20).probe(&spec(500_000)).unwrap_err();
        assert_eq!(error.kind(), Kind::Io);
        let text = error.to_string();
        for part in [
            "batch.rows",
            "pack.sequence_length",
            "prefetch",
            "49152000000",
        ] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        BufferPool::new(4).probe(&spec(8)).unwrap();

        let mut array = Aligned::<i64>::default();
        array.push(7);
        assert!(array.set_len(usize::MAX / 2).is_err() && array.reserve(usize::MAX).is_err());
        assert_eq!(array.as_slice(), [7]);
    }

    #[test]
    fn room_for_a_row_is_made_before_it_is_written() {
        let (spec, mut buffers) = (spec(1), BatchBuffers::default());
        buffers.prepare(&spec).unwrap();
        buffers.reserve_row(&spec, 1000).unwrap();
        let room = |buffers: &BatchBuffers| {
            let lines = [&buffers.cu_seqlens.lines, &buffers.segment_lengths.lines];
            (lines.map(Vec::len), buffers.provenance.lines.len())
        };
        let before = room(&buffers);
        for run in 0..1001 {
            buffers.cu_seqlens.push(run);
            buffers.segment_lengths.push(run);
        }
        buffers.provenance.extend(0..9000);
        assert_eq!(room(&buffers), before);
    }

    #[test]
    fn a_buffer_may_change_its_width() {
        let mut buffer = IdBuffer::default();
        for width in [IdWidth::I64, IdWidth::I32, IdWidth::I64] {
            buffer.prepare(width, 3).unwrap();
            assert_eq!((buffer.as_ids().width(), buffer.as_ids().len()), (width, 3));
        }
    }
}
