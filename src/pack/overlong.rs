//! What becomes of an example before it is packed: whole, cut, split or dropped, every token accounted for.

use super::concat::cut_before;
use crate::example::{Ends, Example, Piece, Span, TokenId, Weighted};
use crate::ledger::Reason;
use crate::recipe::{Overlong, PackConfig, Strategy};
use crate::{Error, Kind, Result, Stage};
use std::sync::Arc;

/// What is kept of an example, and what is not.
///
/// Its tokens = those of `pieces` + `truncated_tokens` + `dropped_tokens`.
#[derive(Debug, Clone, Default)]
pub struct Fitted {
    /// What is packed, in order; none where the example is dropped. The last one ends the record, as if the example
    /// were its only one.
    pub pieces: Vec<Piece>,
    /// Tokens cut off an example that is kept.
    pub truncated_tokens: u64,
    /// Tokens of an example that is dropped, or of a split one's pieces that are.
    pub dropped_tokens: u64,
    /// Why no piece is kept: overlong, or no token is trained, after the shift, of what would be kept.
    pub dropped: Option<Reason>,
}

impl Fitted {
    /// Why tokens are dropped, and how many; none where none are.
    pub(crate) fn loss(&self) -> Option<(Reason, u64)> {
        // Pieces of a split example are dropped for want of a target.
        let reason = self.dropped.unwrap_or(Reason::NoTrainedToken);
        (self.dropped_tokens > 0).then_some((reason, self.dropped_tokens))
    }
}

/// Makes an example fit for the [packer](super::packer) of this configuration.
///
/// Cuts never fall within a protected span but before it, or after it where the end is kept. Spans that are cut keep
/// what is left of them. With `bos`, an example that begins with it keeps it when its beginning is cut off. `concat`
/// cuts rows itself: it gets every example whole.
///
/// # Errors
/// [`Kind::Pack`] for an overlong example where the recipe has `overlong: error`, and for a protected span longer than
/// a row where no token may be left out (`split`, `concat`).
pub fn fit(example: Example, config: &PackConfig, bos: Option<TokenId>) -> Result<Fitted> {
    let row = config.sequence_length;
    let tokens = example.len() as u64;
    if example.num_label_tokens(&whole(&example)) == 0 {
        return Ok(drop_all(tokens, Reason::NoTrainedToken));
    }
    if config.strategy == Strategy::Concat {
        if let Some(span) = example.protected.iter().find(|p| p.len() > row) {
            return Err(too_long_to_protect(span, row));
        }
        return Ok(keep(Piece::whole(example), tokens));
    }
    if example.len() <= row {
        return Ok(keep(Piece::whole(example), tokens));
    }
    match config.overlong {
        Overlong::Truncate => Ok(truncate(example, row)),
        Overlong::TruncateLeft => Ok(truncate_left(example, row, bos)),
        Overlong::Split => split(example, row),
        Overlong::Drop => Ok(drop_all(tokens, Reason::Overlong)),
        Overlong::Error => Err(Error::new(
            Kind::Pack,
            Stage::Pack,
            format!("an example of {tokens} tokens is longer than a row of {row}"),
        )
        .remedy("raise pack.sequence_length or choose another pack.overlong")),
    }
}

fn truncate(example: Example, row: usize) -> Fitted {
    let tokens = example.len() as u64;
    let end = cut_before(&example.protected, as_position(row));
    // A copy: what is cut off is not kept in memory while the piece waits in a pool.
    let within = |spans: &[Span]| -> Vec<Span> {
        let beginning = spans.iter().filter(|span| span.start < end);
        beginning.map(|s| s.start..s.end.min(end)).collect()
    };
    let lighter = example.weights.iter().filter(|w| w.tokens.start < end);
    let lighter = lighter.map(|w| Weighted {
        tokens: w.tokens.start..w.tokens.end.min(end),
        weight: w.weight,
    });
    let example = Example {
        origin: example.origin,
        ids: example.ids[..end as usize].to_vec(),
        trained: within(&example.trained),
        weights: lighter.collect(),
        protected: within(&example.protected),
    };
    keep(piece(Arc::new(example), 0..end), tokens)
}

fn truncate_left(example: Example, row: usize, bos: Option<TokenId>) -> Fitted {
    let tokens = example.len() as u64;
    let begins_with_bos = bos.is_some() && example.ids.first().copied() == bos;
    // A first token that belongs to a longer protected span cannot be kept without the rest of it.
    let separable = example
        .protected
        .first()
        .is_none_or(|p| p.start > 0 || p.end == 1);
    let with_bos = begins_with_bos && separable;
    let kept = row - usize::from(with_bos);
    let start = cut_after(&example.protected, as_position(example.len() - kept));
    let example = if with_bos {
        behind_bos(&example, start)
    } else {
        example
    };
    let first = if with_bos { 0 } else { start };
    let end = as_position(example.len());
    keep(piece(Arc::new(example), first..end), tokens)
}

fn split(example: Example, row: usize) -> Result<Fitted> {
    let tokens = example.len() as u64;
    let len = as_position(example.len());
    let example = Arc::new(example);
    let mut fitted = Fitted::default();
    let mut start = 0;
    while start < len {
        let mut end = len.min(start.saturating_add(as_position(row)));
        if end < len {
            end = cut_before(&example.protected, end);
        }
        if end <= start {
            let span = example.protected.iter().find(|p| p.start == start);
            return Err(too_long_to_protect(span.unwrap_or(&(start..len)), row));
        }
        let mut piece = piece(Arc::clone(&example), start..end);
        piece.ends = Ends::Nothing;
        if piece.num_label_tokens() == 0 {
            fitted.dropped_tokens += piece.len() as u64;
        } else {
            fitted.pieces.push(piece);
        }
        start = end;
    }
    match fitted.pieces.last_mut() {
        Some(last) => last.ends = Ends::Record,
        None => return Ok(drop_all(tokens, Reason::NoTrainedToken)),
    }
    Ok(fitted)
}

/// The example as one piece; what it lacks of `tokens` was truncated. Dropped if nothing in it is trained.
fn keep(piece: Piece, tokens: u64) -> Fitted {
    if piece.is_empty() || piece.num_label_tokens() == 0 {
        return drop_all(tokens, Reason::NoTrainedToken);
    }
    Fitted {
        truncated_tokens: tokens - piece.len() as u64,
        pieces: vec![piece],
        ..Fitted::default()
    }
}

fn drop_all(tokens: u64, reason: Reason) -> Fitted {
    Fitted {
        dropped_tokens: tokens,
        dropped: Some(reason),
        ..Fitted::default()
    }
}

fn piece(example: Arc<Example>, tokens: Span) -> Piece {
    Piece {
        example,
        tokens,
        ends: Ends::Record,
    }
}

/// The example's first token, then those from `start` ≥ 1 on.
fn behind_bos(example: &Example, start: u32) -> Example {
    let behind =
        |span: &Span| span.start.max(start) + 1 - start..(span.end + 1).saturating_sub(start);
    let shifted = |spans: &[Span]| -> Vec<Span> {
        let first = spans.iter().any(|span| span.start == 0).then_some(0..1);
        let rest = spans.iter().filter(|span| span.end > start).map(behind);
        first.into_iter().chain(rest).collect()
    };
    // The first token is no target, so its weight is of no account.
    let lighter = example.weights.iter().filter(|w| w.tokens.end > start);
    let lighter = lighter.map(|w| Weighted {
        tokens: behind(&w.tokens),
        weight: w.weight,
    });
    let rest = &example.ids[(start as usize).min(example.ids.len())..];
    Example {
        origin: example.origin,
        ids: example.ids.iter().take(1).chain(rest).copied().collect(),
        trained: shifted(&example.trained),
        weights: lighter.collect(),
        protected: shifted(&example.protected),
    }
}

fn cut_after(protected: &[Span], cut: u32) -> u32 {
    let inside = protected.iter().find(|p| p.start < cut && cut < p.end);
    inside.map_or(cut, |p| p.end)
}

fn whole(example: &Example) -> Span {
    0..as_position(example.len())
}

fn as_position(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

fn too_long_to_protect(span: &Span, row: usize) -> Error {
    Error::new(
        Kind::Pack,
        Stage::Pack,
        format!(
            "tokens {} to {} may not be cut and are longer than a row of {row}",
            span.start,
            span.end - 1
        ),
    )
    .remedy("raise pack.sequence_length, or use pack.overlong: drop with knapsack")
}
