//! Lists of token spans: joining and counting.

use crate::example::Span;

/// Every token.
pub fn all(len: usize) -> Vec<Span> {
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    single(0..len)
}

/// A mask of one span, or of none if it is empty.
pub(super) fn single(span: Span) -> Vec<Span> {
    Some(span)
        .into_iter()
        .filter(|span| !span.is_empty())
        .collect()
}

/// Sorts spans, joins those that overlap or touch and drops empty ones.
pub fn merge(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|span| !span.is_empty());
    spans.sort_unstable_by_key(|span| span.start);
    spans.dedup_by(|next, span| {
        let joined = next.start <= span.end;
        if joined {
            span.end = span.end.max(next.end);
        }
        joined
    });
    spans
}

/// Targets that count after the shift, for an example that becomes one segment: trained tokens but the
/// first, which nothing before it predicts.
pub fn num_targets(trained: &[Span]) -> u64 {
    trained
        .iter()
        .map(|span| u64::from(span.end.saturating_sub(span.start.max(1))))
        .sum()
}

/// Whether any target is left after the shift. An example without one is dropped and counted.
pub fn has_target(trained: &[Span]) -> bool {
    num_targets(trained) > 0
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a mask may be one range")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEN: u32 = 24;

    fn spans() -> impl Strategy<Value = Vec<Span>> {
        prop::collection::vec((0..LEN, 0..LEN).prop_map(|(start, end)| start..end), 0..6)
    }

    fn flags(spans: &[Span]) -> Vec<bool> {
        (0..LEN)
            .map(|i| spans.iter().any(|span| span.contains(&i)))
            .collect()
    }

    fn is_mask(spans: &[Span]) -> bool {
        spans.iter().all(|span| !span.is_empty())
            && spans.windows(2).all(|pair| pair[0].end <= pair[1].start)
    }

    proptest! {
        #[test]
        fn merged_spans_hold_the_same_tokens(given in spans()) {
            let merged = merge(given.clone());
            prop_assert_eq!(flags(&merged), flags(&given));
            prop_assert!(is_mask(&merged));
            prop_assert!(merged.windows(2).all(|pair| pair[0].end < pair[1].start));
        }

        #[test]
        fn r1_targets_are_trained_tokens_but_the_first(given in spans()) {
            let trained = merge(given);
            let naive = flags(&trained).into_iter().skip(1).filter(|&on| on).count() as u64;
            prop_assert_eq!(num_targets(&trained), naive);
            let example = crate::example::Example {
                origin: crate::example::Origin::default(),
                ids: vec![0; LEN as usize],
                trained,
                weights: Vec::new(),
                protected: Vec::new(),
            };
            prop_assert_eq!(example.num_label_tokens(&(0..LEN)), naive);
        }
    }

    #[test]
    fn r17_a_first_token_alone_is_no_target() {
        assert!(!has_target(&[]));
        assert!(!has_target(&[0..1]));
        assert!(has_target(&[0..2]));
        assert!(has_target(&[1..2]));
    }

    #[test]
    fn r35_targets_are_counted_after_the_shift() {
        assert_eq!(num_targets(&[0..3, 5..9]), 6);
        assert_eq!(num_targets(&all(4)), 3);
        assert_eq!(num_targets(&all(0)), 0);
    }
}
