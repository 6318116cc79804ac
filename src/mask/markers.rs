//! Answers between markers: what `DataCollatorForCompletionOnlyLM` of TRL 0.11 was for, without its faults.
//!
//! It looked for the markers' own tokens among the labels. So a marker that the text tokenizes otherwise
//! was never found, nor one that holds the padding token, and the row was silently masked. Here markers are
//! found in the text.
//!
//! An answer begins where a response marker ends, and ends where the next instruction or response marker
//! begins, or with the text. Without an instruction marker only what follows the last response marker is an
//! answer. A marker is never an answer, and tokens on an answer's edge follow the one policy: any overlap
//! trains.
//!
//! The collator paired the n-th instruction with the n-th response, and trained second response markers and
//! masked last answers where the two did not alternate; this does not. Where they alternate both give the
//! same.

use super::spans::merge;
use super::{Offsets, Tokens};
use crate::example::Span;
use crate::recipe::Markers;
use memchr::memmem;
use std::ops::Range;

/// A marker that the text does not have. The collator masked such a row; here it is dropped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingMarker {
    /// No response marker: no answer.
    Response,
    /// Response markers but no instruction marker, though the recipe names one: where answers end is not
    /// known.
    Instruction,
}

/// The answers of `text`, in bytes, in order, none of them empty. A marker that takes in any of `spelled`, the places
/// of special tokens that a row spells and that are text, is text like these.
///
/// # Errors
///
/// [`MissingMarker`] where the text lacks a marker. An empty marker is in no text.
pub fn marked_answers(
    text: &str,
    markers: &Markers,
    spelled: &[Range<usize>],
) -> Result<Vec<Range<usize>>, MissingMarker> {
    let responses = occurrences(text, &markers.response, spelled);
    let Some(last) = responses.last() else {
        return Err(MissingMarker::Response);
    };
    let Some(instruction) = &markers.instruction else {
        let answer = last + markers.response.len()..text.len();
        return Ok(Some(answer).into_iter().filter(|a| !a.is_empty()).collect());
    };
    let instructions = occurrences(text, instruction, spelled);
    if instructions.is_empty() {
        return Err(MissingMarker::Instruction);
    }
    let next = |starts: &[usize], from: usize| {
        let place = starts.partition_point(|&start| start < from);
        starts.get(place).copied().unwrap_or(text.len())
    };
    Ok(responses
        .iter()
        .map(|start| start + markers.response.len())
        .map(|start| start..next(&responses, start).min(next(&instructions, start)))
        .filter(|answer| !answer.is_empty())
        .collect())
}

/// The tokens of the answers. An answer that ends with the text takes along what tokens follow it, such as
/// an EOS that the tokenizer added.
///
/// # Errors
///
/// [`MissingMarker`], as [`marked_answers`].
pub fn marked_tokens(
    tokens: &Tokens<'_>,
    markers: &Markers,
    spelled: &[Range<usize>],
) -> Result<Vec<Span>, MissingMarker> {
    let offsets = Offsets::new(tokens.offsets);
    let end = u32::try_from(tokens.offsets.len()).unwrap_or(u32::MAX);
    let runs = marked_answers(tokens.text, markers, spelled)?
        .into_iter()
        .filter_map(|answer| {
            let run = offsets.run(&answer)?;
            let is_last = answer.end == tokens.text.len();
            Some(run.start..if is_last { end } else { run.end })
        });
    Ok(merge(runs.collect()))
}

/// Where `marker` begins in `text` and takes in nothing of `spelled`; occurrences do not overlap.
fn occurrences(text: &str, marker: &str, spelled: &[Range<usize>]) -> Vec<usize> {
    let mut found = Vec::new();
    if marker.is_empty() {
        return found;
    }
    let finder = memmem::Finder::new(marker);
    let mut from = 0;
    while let Some(at) = text
        .as_bytes()
        .get(from..)
        .and_then(|rest| finder.find(rest))
    {
        let start = from + at;
        let end = start + marker.len();
        let next = spelled.partition_point(|token| token.end <= start);
        match spelled.get(next).filter(|token| token.start < end) {
            Some(_) => from = start + 1,
            None => {
                found.push(start);
                from = end;
            }
        }
    }
    found
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a mask may be one range")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn both() -> Markers {
        Markers {
            response: "A:".to_owned(),
            instruction: Some("Q:".to_owned()),
        }
    }

    fn answers(text: &str, markers: &Markers) -> Result<Vec<String>, MissingMarker> {
        let spans = marked_answers(text, markers, &[])?;
        Ok(spans
            .into_iter()
            .map(|span| text[span].to_owned())
            .collect())
    }

    /// One token a byte, and one without text at either end.
    fn per_byte(text: &str) -> Vec<(u32, u32)> {
        let len = text.len() as u32;
        let bytes = (0..len).map(|i| (i, i + 1));
        std::iter::once((0, 0))
            .chain(bytes)
            .chain(std::iter::once((len, len)))
            .collect()
    }

    /// The collator, byte by byte: everything but answers is masked, by pairs.
    fn collator(text: &str) -> Vec<bool> {
        let find = |marker: &str| {
            (0..text.len())
                .filter(|&i| text.as_bytes()[i..].starts_with(marker.as_bytes()))
                .collect::<Vec<_>>()
        };
        let mut trained = vec![true; text.len()];
        let responses: Vec<usize> = find("A:").iter().map(|at| at + 2).collect();
        let mut humans = find("Q:");
        if responses.is_empty() || humans.is_empty() {
            return vec![false; text.len()];
        }
        if humans[0] > responses[0] {
            humans.insert(0, 0);
        }
        for (i, (&start, &end)) in humans.iter().zip(&responses).enumerate() {
            trained[if i == 0 { 0 } else { start }..end].fill(false);
        }
        if responses.len() < humans.len() {
            trained[humans[humans.len() - 1]..].fill(false);
        }
        trained
    }

    proptest! {
        #[test]
        fn equals_the_collator_where_turns_alternate(
            head in "[a-c]{0,3}",
            turns in prop::collection::vec(("[a-c]{0,3}", "[a-c]{0,3}"), 1..5),
            open in prop::option::of("[a-c]{0,3}"),
        ) {
            let mut text = head;
            for (question, answer) in turns {
                text += &format!("Q:{question}A:{answer}");
            }
            text += &open.map(|question| format!("Q:{question}")).unwrap_or_default();
            let mut trained = vec![false; text.len()];
            for span in marked_answers(&text, &both(), &[]).unwrap() {
                trained[span].fill(true);
            }
            prop_assert_eq!(trained, collator(&text));
        }

        #[test]
        fn a_marker_is_never_an_answer(text in "[QA:a]{0,24}") {
            for markers in [both(), Markers { instruction: None, ..both() }] {
                let Ok(answers) = answers(&text, &markers) else { continue };
                for answer in answers {
                    prop_assert!(!answer.contains("A:"));
                    prop_assert!(markers.instruction.is_none() || !answer.contains("Q:"));
                }
            }
        }
    }

    #[test]
    fn without_instruction_the_last_response_wins() {
        let markers = Markers {
            instruction: None,
            ..both()
        };
        assert_eq!(answers("Q:1A:2Q:3A:4", &markers).unwrap(), ["4"]);
        assert_eq!(answers("A:", &markers).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_spelled_is_no_marker() {
        let text = "Q:1A:2A:3Q:4";
        let answers = |spelled: &[Range<usize>]| -> Vec<&str> {
            let spans = marked_answers(text, &both(), spelled).unwrap();
            spans.into_iter().map(|span| &text[span]).collect()
        };
        assert_eq!(answers(&[]), ["2", "3"]);
        assert_eq!(answers(&[6..8]), ["2A:3"]);
        assert_eq!(answers(&[7..8, 9..11]), ["2A:3Q:4"]);
        assert_eq!(
            marked_answers(text, &both(), &[3..4, 6..7]),
            Err(MissingMarker::Response)
        );
    }

    #[test]
    fn turns_that_do_not_alternate_are_mended() {
        assert_eq!(answers("Q:1Q:2A:3Q:4A:5", &both()).unwrap(), ["3", "5"]);
        assert_eq!(answers("Q:1A:2A:3", &both()).unwrap(), ["2", "3"]);
        assert_eq!(answers("A:1Q:2A:3Q:4", &both()).unwrap(), ["1", "3"]);
    }

    #[test]
    fn no_match_is_said() {
        assert_eq!(answers("Q:1", &both()), Err(MissingMarker::Response));
        assert_eq!(answers("A:1", &both()), Err(MissingMarker::Instruction));
        let empty = Markers {
            response: String::new(),
            instruction: None,
        };
        assert_eq!(answers("A:1", &empty), Err(MissingMarker::Response));
    }

    #[test]
    fn markers_are_found_whatever_tokens_they_fall_into() {
        // "Q:1A:" is one token, and "2Q" another.
        let (text, offsets) = ("Q:1A:2Q:3A:4", [(0, 5), (5, 7), (7, 11), (11, 12)]);
        let tokens = Tokens {
            text,
            ids: &[1, 2, 3, 4],
            offsets: &offsets,
        };
        assert_eq!(marked_tokens(&tokens, &both(), &[]).unwrap(), [1..2, 3..4]);
    }

    #[test]
    fn r8_a_pad_token_inside_a_marker_or_an_answer_is_like_any_other() {
        // Ids do not matter here at all, so none of them can be taken for padding.
        let text = "Q:1A:2";
        let offsets = per_byte(text);
        let ids = vec![0; offsets.len()];
        let tokens = Tokens {
            text,
            ids: &ids,
            offsets: &offsets,
        };
        // Token 0 is an added BOS, the last an added EOS, which belongs to the last answer.
        assert_eq!(marked_tokens(&tokens, &both(), &[]).unwrap(), [6..8]);
    }
}
