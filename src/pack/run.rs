//! A run of an example's tokens fitted to rows as if it were an example of its own: what is left of one that was partly
//! delivered when its recipe was changed.

use super::overlong::{self, Fitted};
use crate::example::{Example, Piece, Span, Weighted};
use crate::recipe::PackConfig;
use crate::{Error, Kind, Result, Stage};
use std::sync::Arc;

/// Makes `run`, at least one token of `example`, fit for the packer of this configuration. Pieces are counted in the
/// example's own tokens. No beginning-of-sequence token is kept, as it was delivered already.
///
/// # Errors
/// As [`overlong::fit`], and [`Kind::Checkpoint`] where the example has no such tokens.
pub fn fit(example: &Example, run: Span, config: &PackConfig) -> Result<Fitted> {
    let range = run.start as usize..run.end as usize;
    let ids = example.ids.get(range).filter(|ids| !ids.is_empty());
    let Some(ids) = ids else {
        let message = format!("an example has no tokens {} to {}", run.start, run.end);
        return Err(Error::new(Kind::Checkpoint, Stage::Pack, message));
    };
    let within = |spans: &[Span]| -> Vec<Span> {
        let clipped = spans
            .iter()
            .map(|span| span.start.max(run.start)..span.end.min(run.end));
        clipped.filter(|span| span.start < span.end).collect()
    };
    let lighter = example.weights.iter().filter_map(|w| {
        let tokens = w.tokens.start.max(run.start)..w.tokens.end.min(run.end);
        (tokens.start < tokens.end).then_some(Weighted {
            tokens,
            weight: w.weight,
        })
    });
    // What lies behind the run is not kept in memory while its pieces wait in a pool.
    let whole = Arc::new(Example {
        origin: example.origin,
        ids: example.ids.iter().copied().take(run.end as usize).collect(),
        trained: within(&example.trained),
        weights: lighter.collect(),
        protected: within(&example.protected),
    });
    let shifted = |spans: &[Span]| -> Vec<Span> {
        let spans = spans.iter();
        spans
            .map(|span| span.start - run.start..span.end - run.start)
            .collect()
    };
    let alone = Example {
        origin: example.origin,
        ids: ids.to_vec(),
        trained: shifted(&whole.trained),
        // Pieces are of the whole, which has them.
        weights: Vec::new(),
        protected: shifted(&whole.protected),
    };
    // Without a beginning-of-sequence token no piece is of other tokens than the example's own.
    let mut fitted = overlong::fit(alone, config, None)?;
    for piece in &mut fitted.pieces {
        *piece = Piece {
            example: Arc::clone(&whole),
            tokens: piece.tokens.start + run.start..piece.tokens.end + run.start,
            ends: piece.ends,
        };
    }
    Ok(fitted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::Ends;
    use crate::recipe::{Overlong, Strategy};
    use proptest::prelude::*;

    proptest! {
        /// The twin: the run's tokens as an example of their own, and what each piece holds.
        #[test]
        fn pieces_are_those_of_the_run_alone(
            length in 2_u32..60,
            cuts in (0_u32..60, 0_u32..60),
            row in 2_usize..20,
            trained in prop::collection::vec(any::<bool>(), 60),
            choice in 0_usize..4,
        ) {
            let (start, end) = (cuts.0.min(cuts.1).min(length - 1), cuts.0.max(cuts.1).min(length));
            let end = end.max(start + 1);
            let spans = |range: Span| -> Vec<Span> {
                range.clone().filter(|&at| trained[at as usize]).map(|at| at - range.start..at + 1 - range.start).collect()
            };
            let example = Example { ids: (0..length).collect(), trained: spans(0..length), weights: Vec::new(), origin: Default::default(), protected: Vec::new() };
            let alone = Example { ids: (start..end).collect(), trained: spans(start..end), ..example.clone() };
            let (strategy, overlong) = [
                (Strategy::Knapsack, Overlong::Truncate),
                (Strategy::None, Overlong::TruncateLeft),
                (Strategy::Knapsack, Overlong::Split),
                (Strategy::Concat, Overlong::Drop),
            ][choice];
            let config = PackConfig { strategy, overlong, sequence_length: row, ..PackConfig::default() };
            let (run, twin) = (fit(&example, start..end, &config).unwrap(), overlong::fit(alone, &config, None).unwrap());
            prop_assert_eq!((run.truncated_tokens, run.dropped_tokens, run.dropped), (twin.truncated_tokens, twin.dropped_tokens, twin.dropped));
            let seen = |pieces: &[Piece]| -> Vec<(Vec<u32>, u64, Ends)> {
                pieces.iter().map(|piece| (piece.ids().to_vec(), piece.num_label_tokens(), piece.ends)).collect()
            };
            prop_assert_eq!(seen(&run.pieces), seen(&twin.pieces));
        }
    }

    #[test]
    fn tokens_that_are_not_there_are_refused() {
        let example = Example {
            ids: vec![1; 5],
            trained: std::iter::once(0..5).collect(),
            weights: Vec::new(),
            origin: Default::default(),
            protected: Vec::new(),
        };
        for run in [3..6, 2..2, 7..9] {
            assert!(fit(&example, run, &PackConfig::default()).is_err());
        }
    }
}
