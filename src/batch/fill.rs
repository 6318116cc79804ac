//! Fills one row: memset and copy over slices, no branch a token.

use super::ids::Id;
use super::spec::BatchSpec;
use super::writer::internal;
use crate::error::{Error, Kind, Result, Stage};
use crate::example::{Example, LossWeight, Piece, Span, TokenId, Weighted};
use crate::recipe::Labels;

/// Refuses a row that no packer gives.
pub(super) fn check(spec: &BatchSpec, pieces: &[Piece]) -> Result<()> {
    if pieces.is_empty() {
        return Err(internal("a row without pieces"));
    }
    if spec.max_segments.is_some_and(|most| pieces.len() > most) {
        return Err(internal(format!("a row of {} segments", pieces.len())));
    }
    let mut used = 0_usize;
    for piece in pieces {
        let tokens = piece.tokens.start as usize..piece.tokens.end as usize;
        let length = piece.example.ids.get(tokens).map_or(0, <[TokenId]>::len);
        if length == 0 {
            return Err(internal(
                "a piece that is empty or reaches beyond its example",
            ));
        }
        let padded = length.checked_next_multiple_of(spec.segment_multiple);
        used = padded
            .and_then(|padded| used.checked_add(padded))
            .unwrap_or(usize::MAX);
    }
    if used > spec.sequence_length {
        let length = spec.sequence_length;
        return Err(internal(format!(
            "pieces of {used} tokens for a row of {length}"
        )));
    }
    Ok(())
}

/// One row of a batch that is being written, `[sequence_length]` each.
pub(super) struct RowSlices<'a, T> {
    pub(super) ids: &'a mut [T],
    pub(super) labels: &'a mut [T],
    /// Empty where the batch carries none.
    pub(super) weights: &'a mut [f32],
    pub(super) positions: &'a mut [i32],
    pub(super) segments: &'a mut [i32],
}

impl<T: Id> RowSlices<'_, T> {
    /// Writes every element of the row from pieces that passed [`check`]; gives the targets that count after
    /// the shift. Without pieces all of it is padding.
    pub(super) fn write(self, spec: &BatchSpec, pieces: &[Piece]) -> Result<u64> {
        let pad = T::from_token(spec.pad_id);
        let (mut at, mut targets) = (0, 0);
        self.labels.fill(T::IGNORE);
        self.weights.fill(0.0);
        for (segment, piece) in (1..).zip(pieces) {
            let tokens = piece.ids();
            let end = at + tokens.len();
            let padded = at + tokens.len().next_multiple_of(spec.segment_multiple);
            copy_ids(&mut self.ids[at..end], tokens)?;
            self.ids[end..padded].fill(pad);
            count_up(&mut self.positions[at..padded]);
            self.segments[at..padded].fill(segment);
            targets += copy_targets(
                &mut self.labels[at..end],
                &self.ids[at..end],
                spec.labels,
                piece,
            );
            if let Some(weights) = self.weights.get_mut(at..end) {
                weigh(weights, spec.labels, piece);
            }
            at = padded;
        }
        self.ids[at..].fill(pad);
        count_up(&mut self.positions[at..]);
        self.segments[at..].fill(0);
        Ok(targets)
    }
}

/// Writes 0, 1, 2, …
fn count_up(positions: &mut [i32]) {
    for (position, count) in positions.iter_mut().zip(0..) {
        *position = count;
    }
}

/// Copies ids. Whether any is too large is asked once, of all bits together.
fn copy_ids<T: Id>(to: &mut [T], tokens: &[TokenId]) -> Result<()> {
    let mut bits = 0;
    for (id, &token) in to.iter_mut().zip(tokens) {
        *id = T::from_token(token);
        bits |= token;
    }
    if i32::try_from(bits).is_err() {
        return Err(
            Error::new(Kind::Limit, Stage::Batch, "a token id is above 2147483647")
                .remedy("batches carry 31-bit ids; check the ids of sources of kind tokens"),
        );
    }
    Ok(())
}

/// Writes how much each label counts to where it stands.
fn weigh(weights: &mut [f32], form: Labels, piece: &Piece) {
    let Span { start, end } = piece.tokens;
    let mut put = |tokens: &Span, weight: f32| {
        let from = (tokens.start.max(start.saturating_add(1)) - start) as usize;
        let to = tokens.end.min(end).saturating_sub(start) as usize;
        if from < to {
            weights[from - back(form)..to - back(form)].fill(weight);
        }
    };
    let Example {
        trained, weights, ..
    } = &*piece.example;
    // A piece of a long example may stand far behind its first spans.
    let before = trained.partition_point(|span| span.end <= start);
    for span in trained[before..].iter().take_while(|span| span.start < end) {
        put(span, LossWeight::ONE.get());
    }
    let before = weights.partition_point(|lighter| lighter.tokens.end <= start);
    let within = |lighter: &&Weighted| lighter.tokens.start < end;
    for Weighted { tokens, weight } in weights[before..].iter().take_while(within) {
        put(tokens, weight.get());
    }
}

/// How far before its token a label stands.
fn back(form: Labels) -> usize {
    match form {
        Labels::Aligned => 0,
        Labels::Shifted => 1,
    }
}

/// Copies the ids of trained runs to where their labels stand, and gives their number. A segment's first
/// token is predicted from nothing and is never a target.
fn copy_targets<T: Id>(labels: &mut [T], ids: &[T], form: Labels, piece: &Piece) -> u64 {
    let (start, end) = (piece.tokens.start, piece.tokens.end);
    let back = back(form);
    let trained = &piece.example.trained;
    // A piece of a long example may stand far behind its first spans.
    let before = trained.partition_point(|span| span.end <= start);
    let mut targets = 0;
    for span in trained[before..].iter().take_while(|span| span.start < end) {
        let from = (span.start.max(start.saturating_add(1)) - start) as usize;
        let to = (span.end.min(end) - start) as usize;
        if from < to {
            labels[from - back..to - back].copy_from_slice(&ids[from..to]);
            targets += (to - from) as u64;
        }
    }
    targets
}
