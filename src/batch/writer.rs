//! Collects rows into a batch: which come, what they count, where their runs begin.

use bytemuck::Pod;
use std::ops::Range;

use super::buffers::{Aligned, BatchBuffers, BufferPool, IdBuffer};
use super::digest::{Digest, RowHasher};
use super::fill::{RowSlices, check};
use super::spec::BatchSpec;
use super::{Batch, Totals};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::Piece;
use crate::recipe::LossWeights;

/// Writes batch after batch of one shape. Give it rows until it [`is_full`](BatchWriter::is_full), then
/// [`finish`](BatchWriter::finish).
pub struct BatchWriter {
    spec: BatchSpec,
    pool: BufferPool,
    hasher: RowHasher,
    open: Option<Open>,
}

/// The batch that is being filled.
struct Open {
    buffers: BatchBuffers,
    rows: usize,
    totals: Totals,
    digest: Digest,
}

impl BatchWriter {
    /// A writer of batches that look like `spec`, in buffers of `pool`.
    ///
    /// # Errors
    ///
    /// Those of [`BatchSpec::validate`]; [`Kind::Io`] for batches that the machine has no memory for, as far as the
    /// system tells.
    pub fn new(spec: BatchSpec, pool: BufferPool) -> Result<Self> {
        spec.validate()?;
        pool.probe(&spec)?;
        Ok(BatchWriter {
            spec,
            pool,
            hasher: RowHasher::default(),
            open: None,
        })
    }

    /// Writes the stream's row `number`: its pieces in order, each padded to the segment multiple, then padding.
    ///
    /// # Errors
    ///
    /// [`Kind::Limit`] for an id above `i32::MAX`. [`Kind::Internal`] for what no packer gives: no pieces, an
    /// empty piece, more pieces than `max_segments`, pieces that do not fit, a row too many, a row after a
    /// filling one. [`Kind::Io`] where memory is short. The batch is then as it was before.
    pub fn push_row(&mut self, number: u64, pieces: &[Piece]) -> Result<()> {
        check(&self.spec, pieces)?;
        let (spec, hasher) = (self.spec, &mut self.hasher);
        let open = open(&mut self.open, &spec, &self.pool)?;
        if open.totals.filling > 0 {
            return Err(internal("a row after a filling row"));
        }
        open.buffers.reserve_row(&spec, pieces.len())?;
        let label_tokens = open.buffers.write_row(&spec, open.rows, pieces)?;
        // Hashed now, while the row is in the cache.
        let row = open.buffers.row(&spec, open.rows);
        let row = row.ok_or_else(|| internal("a row outside its batch"))?;
        open.digest += hasher.hash(number, &row);
        open.totals.label_tokens += label_tokens;
        open.book_row(&spec, number, pieces);
        Ok(())
    }

    /// Writes a row that only fills the step: all padding, fully masked, without a number, in no figure and no
    /// digest. Only filling rows may follow.
    ///
    /// # Errors
    ///
    /// [`Kind::Internal`] for a row too many; [`Kind::Io`] where memory is short.
    pub fn push_filling_row(&mut self) -> Result<()> {
        let spec = self.spec;
        let open = open(&mut self.open, &spec, &self.pool)?;
        open.buffers.reserve_row(&spec, 0)?;
        open.buffers.write_row(&spec, open.rows, &[])?;
        open.book_run(spec.sequence_length, 0);
        open.rows += 1;
        open.totals.filling += 1;
        Ok(())
    }

    /// Whether the batch has all its rows.
    pub fn is_full(&self) -> bool {
        self.rows() == self.spec.rows
    }

    /// Rows that the batch has so far, filling rows included.
    pub fn rows(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.rows)
    }

    /// The full batch; the writer begins the next with the next row.
    ///
    /// # Errors
    ///
    /// [`Kind::Internal`] while rows are missing.
    pub fn finish(&mut self) -> Result<Batch> {
        match self.open.take() {
            Some(open) if open.rows == self.spec.rows => Ok(Batch {
                spec: self.spec,
                pool: self.pool.clone(),
                buffers: open.buffers,
                totals: open.totals,
                digest: open.digest,
            }),
            unfinished => {
                self.open = unfinished;
                let (has, of) = (self.rows(), self.spec.rows);
                Err(internal(format!(
                    "a batch was taken with {has} of its {of} rows"
                )))
            }
        }
    }
}

impl std::fmt::Debug for BatchWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchWriter")
            .field("spec", &self.spec)
            .field("rows", &self.rows())
            .finish_non_exhaustive()
    }
}

/// The batch that has room for one more row, begun if there is none.
fn open<'a>(
    slot: &'a mut Option<Open>,
    spec: &BatchSpec,
    pool: &BufferPool,
) -> Result<&'a mut Open> {
    let begun = match slot.take() {
        Some(open) => open,
        None => {
            let mut buffers = pool.take();
            buffers.prepare(spec)?;
            Open {
                buffers,
                rows: 0,
                totals: Totals::default(),
                digest: Digest::default(),
            }
        }
    };
    let open = slot.insert(begun);
    if open.rows == spec.rows {
        return Err(internal("a row for a batch that is full"));
    }
    Ok(open)
}

impl Open {
    /// Offsets, lengths and provenance of a row that has been written.
    fn book_row(&mut self, spec: &BatchSpec, number: u64, pieces: &[Piece]) {
        let mut at = 0;
        for piece in pieces {
            let length = piece.len();
            let padded = length.next_multiple_of(spec.segment_multiple);
            self.book_run(padded, length);
            self.book_provenance(piece);
            self.totals.tokens += length as u64;
            at += padded;
        }
        if at < spec.sequence_length {
            self.book_run(spec.sequence_length - at, 0);
        }
        self.buffers.row_numbers.push(number);
        self.rows += 1;
    }

    /// One run of `padded` tokens of which the first `length` are real. Both fit i32, as the whole batch does.
    fn book_run(&mut self, padded: usize, length: usize) {
        let start = self
            .buffers
            .cu_seqlens
            .as_slice()
            .last()
            .copied()
            .unwrap_or(0);
        self.buffers.cu_seqlens.push(start + padded as i32);
        self.buffers.segment_lengths.push(length as i32);
        self.totals.max_seqlen = self.totals.max_seqlen.max(padded);
    }

    /// The columns of [`PROVENANCE_FIELDS`](super::PROVENANCE_FIELDS).
    fn book_provenance(&mut self, piece: &Piece) {
        let origin = piece.example.origin;
        let wide = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.buffers.provenance.extend([
            i64::from(origin.source),
            i64::from(origin.shard),
            wide(origin.block),
            wide(origin.record),
            i64::from(origin.example),
            wide(origin.epoch),
            i64::from(piece.tokens.start),
            i64::from(piece.tokens.end) - 1,
            wide(self.rows as u64),
        ]);
    }
}

impl BatchBuffers {
    /// Writes row `index` of all tensors of fixed size; gives the targets that count after the shift.
    fn write_row(&mut self, spec: &BatchSpec, index: usize, pieces: &[Piece]) -> Result<u64> {
        let start = index * spec.sequence_length;
        let tokens = start..start + spec.sequence_length;
        let positions = part(&mut self.position_ids, &tokens)?;
        let segments = part(&mut self.segment_ids, &tokens)?;
        let weights = match spec.loss_weights {
            LossWeights::Refuse => &mut [],
            LossWeights::Use => part(&mut self.loss_weights, &tokens)?,
        };
        match (&mut self.input_ids, &mut self.labels) {
            (IdBuffer::I32(ids), IdBuffer::I32(labels)) => {
                let (ids, labels) = (part(ids, &tokens)?, part(labels, &tokens)?);
                RowSlices {
                    ids,
                    labels,
                    weights,
                    positions,
                    segments,
                }
                .write(spec, pieces)
            }
            (IdBuffer::I64(ids), IdBuffer::I64(labels)) => {
                let (ids, labels) = (part(ids, &tokens)?, part(labels, &tokens)?);
                RowSlices {
                    ids,
                    labels,
                    weights,
                    positions,
                    segments,
                }
                .write(spec, pieces)
            }
            _ => Err(internal("ids and labels of different widths")),
        }
    }
}

fn part<'a, T: Pod>(array: &'a mut Aligned<T>, tokens: &Range<usize>) -> Result<&'a mut [T]> {
    let part = array.as_mut_slice().get_mut(tokens.clone());
    part.ok_or_else(|| internal("a row outside its batch"))
}

/// A packer's fault, or the pipeline's: never the input's.
pub(super) fn internal(message: impl Into<String>) -> Error {
    Error::new(Kind::Internal, Stage::Batch, message)
}
