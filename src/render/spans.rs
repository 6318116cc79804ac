//! Spans of generation blocks that are printed into a capture before they reach the page.
//!
//! Transformers counts what the page holds when such a block is printed, which misses what waits in the
//! capture: its span is shifted. Here the block's text carries a sentinel at either end to wherever it
//! is printed. Whatever a filter does to it on the way (trim it, cut it, repeat it) shows, because the
//! text without sentinels must be the text of a render that never had any.

use super::refusal::template_error;
use crate::error::{Error, Kind, Result, Stage};
use std::ops::Range;

/// Private characters that can be sentinels, in pairs. Owners' marks are taken from other planes.
const FIRST: u32 = 0xE000;
const LAST: u32 = 0xF8FF;

/// Two characters that do not occur in `text`.
pub(super) fn absent_pair(text: &str) -> Result<(char, char)> {
    let mut absent = (FIRST..=LAST)
        .filter_map(char::from_u32)
        .filter(|c| !text.contains(*c));
    match (absent.next(), absent.next()) {
        (Some(open), Some(close)) => Ok((open, close)),
        _ => Err(Error::new(
            Kind::Template,
            Stage::Render,
            "the text uses every private character, so no sentinel is left to find its generation blocks by",
        )
        .remedy("skip the record")),
    }
}

/// Takes the sentinels out: the text without them, and the outermost spans between them.
pub(super) fn take_out(
    marked: &str,
    open: char,
    close: char,
) -> Result<(String, Vec<Range<usize>>)> {
    let mut text = String::with_capacity(marked.len());
    let mut spans = Vec::new();
    let mut starts = Vec::new();
    let mut rest = marked;
    while let Some(at) = rest.find([open, close]) {
        let (before, tail) = rest.split_at(at);
        text.push_str(before);
        let mut chars = tail.chars();
        if chars.next() == Some(open) {
            starts.push(text.len());
        } else {
            let Some(start) = starts.pop() else {
                return Err(cut());
            };
            if starts.is_empty() {
                spans.push(start..text.len());
            }
        }
        rest = chars.as_str();
    }
    text.push_str(rest);
    if starts.is_empty() {
        Ok((text, spans))
    } else {
        Err(cut())
    }
}

fn cut() -> Error {
    template_error("a generation block is cut before it is printed, so its span is not known")
        .remedy(
            "put the generation tags where the text is printed, outside of captures and filters",
        )
}

/// The text changed because sentinels were in it.
pub(super) fn changed() -> Error {
    template_error(
        "a generation block is changed by a filter before it is printed, so its span is not known",
    )
    .remedy("put the generation tags where the text is printed, outside of captures and filters")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sentinels_do_not_occur_in_the_text() {
        assert_eq!(absent_pair("plain").unwrap(), ('\u{e000}', '\u{e001}'));
        assert_eq!(
            absent_pair("\u{e000} \u{e002}").unwrap(),
            ('\u{e001}', '\u{e003}')
        );
        let all: String = (FIRST..LAST).filter_map(char::from_u32).collect();
        assert!(absent_pair(&all).is_err());
    }

    #[test]
    fn what_is_cut_is_refused() {
        for marked in ["<a", "a>", "><", "<<a>", "<a>>"] {
            assert!(take_out(marked, '<', '>').is_err(), "{marked}");
        }
    }

    #[test]
    fn nested_blocks_give_the_outer_span() {
        let (text, spans) = take_out("é<a<b>c>d<>", '<', '>').unwrap();
        assert_eq!(text, "éabcd");
        assert_eq!(spans, [2..5, 6..6]);
    }

    proptest! {
        #[test]
        fn spans_are_where_the_blocks_were(parts in prop::collection::vec(("[a-zé]{0,4}", any::<bool>()), 0..8)) {
            let (mut marked, mut text, mut spans) = (String::new(), String::new(), Vec::new());
            for (part, block) in parts {
                if block {
                    spans.push(text.len()..text.len() + part.len());
                    marked.push_str(&format!("<{part}>"));
                } else {
                    marked.push_str(&part);
                }
                text.push_str(&part);
            }
            prop_assert_eq!(take_out(&marked, '<', '>').unwrap(), (text, spans));
        }
    }
}
