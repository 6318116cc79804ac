//! Text spans to token spans.
//!
//! The policy, the only one: **any overlap trains**. A text span gives the run from the first token that
//! shares a byte with it to the last, so a token that straddles a span's edge is trained and so is one
//! inside that stands for no text. A span that shares no byte with any token gives nothing and touches no
//! other span.
//!
//! Transformers looks up the token of a span's first and of its last character (`char_to_token`). Where
//! both have a token of their own the result is the same. Where not, Transformers is wrong and this is not:
//! it gives up all later spans if the first character has no token, trains to the end of the sequence if
//! the last one has none or has token 0 (issue 47325), and leaves out the rest of a last character that
//! takes several tokens.

use super::spans::merge;
use crate::example::Span;
use std::ops::Range;

/// Byte offsets of a text's tokens, ready for look-ups.
#[derive(Debug, Clone, Copy)]
pub struct Offsets<'a> {
    offsets: &'a [(u32, u32)],
    /// Whether starts and ends both rise, as they do unless a normalizer changed the order of characters.
    rises: bool,
}

impl<'a> Offsets<'a> {
    /// Takes the offsets of all tokens of a text, in order of the tokens.
    pub fn new(offsets: &'a [(u32, u32)]) -> Self {
        let rises = offsets
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if a.0 <= b.0 && a.1 <= b.1));
        Offsets { offsets, rises }
    }

    /// The run of tokens from the first that overlaps `span`, in bytes of the text, to the last; none if
    /// none does.
    pub fn run(&self, span: &Range<usize>) -> Option<Span> {
        if span.is_empty() {
            return None;
        }
        let overlaps = |&(start, end): &(u32, u32)| {
            start < end && (start as usize) < span.end && (end as usize) > span.start
        };
        let (from, to) = if self.rises {
            (
                self.offsets
                    .partition_point(|&(_, end)| end as usize <= span.start),
                self.offsets
                    .partition_point(|&(start, _)| (start as usize) < span.end),
            )
        } else {
            (0, self.offsets.len())
        };
        let candidates = self.offsets.get(from..to)?;
        let first = from + candidates.iter().position(overlaps)?;
        let last = from + candidates.iter().rposition(overlaps)?;
        Some(u32::try_from(first).ok()?..u32::try_from(last + 1).ok()?)
    }
}

/// The tokens of text spans (in bytes, in any order), by the policy of this file: sorted, disjoint, runs
/// that touch joined.
pub fn spans_to_tokens(spans: &[Range<usize>], offsets: &[(u32, u32)]) -> Vec<Span> {
    let offsets = Offsets::new(offsets);
    merge(spans.iter().filter_map(|span| offsets.run(span)).collect())
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a mask may be one range")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BYTES: u32 = 30;

    /// Token by token, byte by byte.
    fn naive(spans: &[Range<usize>], offsets: &[(u32, u32)]) -> Vec<bool> {
        let mut trained = vec![false; offsets.len()];
        for span in spans {
            let hit: Vec<usize> = (0..offsets.len())
                .filter(|&i| {
                    (offsets[i].0..offsets[i].1).any(|byte| span.contains(&(byte as usize)))
                })
                .collect();
            if let (Some(&first), Some(&last)) = (hit.first(), hit.last()) {
                trained[first..=last].fill(true);
            }
        }
        trained
    }

    fn flags(spans: &[Span], len: usize) -> Vec<bool> {
        (0..len as u32)
            .map(|i| spans.iter().any(|span| span.contains(&i)))
            .collect()
    }

    fn texts_spans() -> impl Strategy<Value = Vec<Range<usize>>> {
        let span = (0..BYTES as usize, 0..12usize).prop_map(|(start, len)| start..start + len);
        prop::collection::vec(span, 0..5)
    }

    /// Tokens as tokenizers give them: ascending, with gaps, tokens without text and characters of several
    /// tokens.
    fn rising() -> impl Strategy<Value = Vec<(u32, u32)>> {
        prop::collection::vec((0..3u32, 0..4u32, 1..3usize), 0..14).prop_map(|steps| {
            let mut at = 0;
            let mut offsets = Vec::new();
            for (gap, len, times) in steps {
                let start = at + gap / 2;
                at = start + len;
                offsets.extend(std::iter::repeat_n((start, at), times));
            }
            offsets
        })
    }

    fn wild() -> impl Strategy<Value = Vec<(u32, u32)>> {
        let token = (0..BYTES, 0..6u32).prop_map(|(start, len)| (start, start + len));
        prop::collection::vec(token, 0..14)
    }

    /// `apply_chat_template(return_assistant_tokens_mask=True)` of Transformers 5.23 on byte offsets.
    fn char_to_token(spans: &[Range<usize>], offsets: &[(u32, u32)]) -> Vec<bool> {
        let token = |byte: usize| {
            offsets
                .iter()
                .position(|&(start, end)| (start as usize..end as usize).contains(&byte))
        };
        let mut trained = vec![false; offsets.len()];
        for span in spans {
            let Some(start) = token(span.start) else {
                break;
            };
            let end = match token(span.end - 1) {
                Some(end) if end > 0 => end + 1,
                _ => offsets.len(),
            };
            trained[start..end].fill(true);
        }
        trained
    }

    proptest! {
        #[test]
        fn r13_any_overlap_trains(spans in texts_spans(), offsets in prop_oneof![rising(), wild()]) {
            let trained = spans_to_tokens(&spans, &offsets);
            prop_assert_eq!(flags(&trained, offsets.len()), naive(&spans, &offsets));
            prop_assert!(trained.windows(2).all(|pair| pair[0].end < pair[1].start));
        }

        #[test]
        fn r13_equals_char_to_token_where_that_is_right(
            lengths in prop::collection::vec(1..4u32, 2..14),
            spans in prop::collection::vec((0.0..1.0, 0.0..1.0), 0..5),
        ) {
            // Every byte is a character with exactly one token.
            let mut at = 0;
            let offsets: Vec<(u32, u32)> = lengths.iter().map(|len| { at += len; (at - len, at) }).collect();
            let place = |part: f64| (part * f64::from(at)) as usize;
            let spans: Vec<Range<usize>> = spans
                .iter()
                .map(|&(a, b): &(f64, f64)| place(a.min(b))..place(a.max(b)))
                .filter(|span| !span.is_empty() && span.end > lengths[0] as usize)
                .collect();
            let trained = spans_to_tokens(&spans, &offsets);
            prop_assert_eq!(flags(&trained, offsets.len()), char_to_token(&spans, &offsets));
        }
    }

    #[test]
    fn r15_a_span_that_ends_at_token_0_does_not_spill() {
        let offsets = [(0, 3), (3, 5), (5, 9)];
        assert_eq!(spans_to_tokens(&[0..2], &offsets), [0..1]);
        assert_eq!(
            char_to_token(&[0..2], &offsets),
            [true; 3],
            "the reference's fault"
        );
    }

    #[test]
    fn r15_a_span_that_ends_on_stripped_whitespace_does_not_spill() {
        // Byte 5 is a blank that no token stands for.
        let offsets = [(0, 3), (3, 5), (6, 9), (9, 10)];
        assert_eq!(spans_to_tokens(&[3..6], &offsets), [1..2]);
        assert_eq!(char_to_token(&[3..6], &offsets), [false, true, true, true]);
    }

    #[test]
    fn r15_a_span_without_a_token_leaves_later_ones_alone() {
        let offsets = [(0, 3), (5, 9), (9, 12)];
        assert_eq!(spans_to_tokens(&[3..5, 9..10], &offsets), [2..3]);
        assert_eq!(char_to_token(&[3..5, 9..10], &offsets), [false; 3]);
        assert_eq!(spans_to_tokens(&[4..4, 40..50], &offsets), []);
    }

    #[test]
    fn r11_content_and_end_of_turn_are_trained_and_the_header_is_not() {
        let text = "<|a|>\nhi<|e|>\n";
        let offsets = [(0, 5), (5, 6), (6, 8), (8, 13), (13, 14)];
        let end = text.find("<|e|>").map_or(0, |at| at + 5);
        assert_eq!(spans_to_tokens(&[6..end], &offsets), [2..4]);
    }

    #[test]
    fn all_tokens_of_a_last_character_are_trained() {
        let offsets = [(0, 2), (2, 6), (2, 6), (2, 6), (6, 7)];
        assert_eq!(spans_to_tokens(&[0..6], &offsets), [0..4]);
    }
}
