//! Where a piece of text spells a special token, whole or so far as the piece goes.
//!
//! A token may be spelled by two pieces that a template prints side by side, each of which looks harmless. So the edges
//! of a piece count too: an end that is how a token begins, and a beginning that is how one ends.

use aho_corasick::{AhoCorasick, BuildError, MatchKind};
use std::ops::Range;

/// A character that a special token would take in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spelling {
    /// Bytes of the character.
    pub character: Range<usize>,
    /// Bytes of the token; none where the text spells only its beginning or its end.
    pub token: Option<Range<usize>>,
}

impl Spelling {
    /// A token that stands in the text.
    pub(super) fn whole(text: &str, token: Range<usize>) -> Spelling {
        Spelling {
            token: Some(token.clone()),
            ..Spelling::edge(text, token.start)
        }
    }

    /// A token that begins or ends with the character at a byte.
    fn edge(text: &str, at: usize) -> Spelling {
        let c = text.get(at..).and_then(|rest| rest.chars().next());
        Spelling {
            character: at..at + c.map_or(0, char::len_utf8),
            token: None,
        }
    }
}

/// The texts of special tokens, to be looked for.
pub(super) struct Spellings {
    whole: AhoCorasick,
    /// Sorted.
    tokens: Vec<String>,
    /// From their last character to their first, sorted.
    reversed: Vec<String>,
    /// Bytes of the longest.
    longest: usize,
    /// Bytes that they begin with, and that they end with: most characters are told by these.
    first: ByteSet,
    last: ByteSet,
}

/// A flag a byte.
type ByteSet = [bool; 256];

fn byte_set(bytes: impl Iterator<Item = u8>) -> ByteSet {
    let mut set = [false; 256];
    for byte in bytes {
        set[usize::from(byte)] = true;
    }
    set
}

impl Spellings {
    /// Of the tokens written so.
    pub(super) fn of<'a>(special: impl Iterator<Item = &'a str>) -> Result<Self, BuildError> {
        let mut tokens: Vec<String> = special.map(str::to_owned).collect();
        tokens.sort_unstable();
        let mut reversed: Vec<String> = tokens.iter().map(|t| t.chars().rev().collect()).collect();
        reversed.sort_unstable();
        let whole = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&tokens)?;
        Ok(Spellings {
            whole,
            longest: tokens.iter().map(String::len).max().unwrap_or(0),
            first: byte_set(tokens.iter().filter_map(|t| t.bytes().next())),
            last: byte_set(tokens.iter().filter_map(|t| t.bytes().next_back())),
            tokens,
            reversed,
        })
    }

    /// What `text` spells, in order of the characters, each once.
    pub(super) fn find(&self, text: &str) -> Vec<Spelling> {
        let mut found: Vec<Spelling> = self
            .whole
            .find_iter(text)
            .map(|token| Spelling::whole(text, token.start()..token.end()))
            .collect();
        let is_in = |set: &ByteSet, at: usize| {
            let byte = text.as_bytes().get(at);
            byte.is_some_and(|&byte| set[usize::from(byte)])
        };
        // Shorter than a token at either end, and so less than the longest.
        let edge = self.longest.saturating_sub(1).min(text.len());
        for at in text.len() - edge..text.len() {
            let rest = text.get(at..).unwrap_or_default();
            if is_in(&self.first, at) && is_begun(&self.tokens, rest) {
                found.push(Spelling::edge(text, at));
            }
        }
        for at in (0..edge).filter(|&at| is_in(&self.last, at)) {
            let reversed: String = text.get(..=at).unwrap_or_default().chars().rev().collect();
            if !reversed.is_empty() && is_begun(&self.reversed, &reversed) {
                let last = reversed.chars().next().map_or(0, char::len_utf8);
                found.push(Spelling::edge(text, at + 1 - last));
            }
        }
        // Whole tokens first, where a character is found twice.
        found.sort_by_key(|spelling| (spelling.character.start, spelling.token.is_none()));
        found.dedup_by_key(|spelling| spelling.character.start);
        found
    }
}

/// Whether one of the texts, which are sorted, begins with `part` and goes on.
fn is_begun(texts: &[String], part: &str) -> bool {
    let from = texts.partition_point(|text| text.as_str() <= part);
    texts.get(from).is_some_and(|text| text.starts_with(part))
}

#[cfg(test)]
#[expect(
    clippy::single_range_in_vec_init,
    reason = "a list of ranges may hold one"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKENS: [&str; 4] = ["<a>", "<ab>", "]x[", "é"];

    fn characters(text: &str) -> Vec<Range<usize>> {
        let spellings = Spellings::of(TOKENS.into_iter()).unwrap();
        let found = spellings.find(text).into_iter();
        found.map(|spelling| spelling.character).collect()
    }

    #[test]
    fn finds_whole_tokens_and_edges() {
        assert_eq!(characters("no token < here > or ]"), [21..22]);
        assert_eq!(characters("is <ab> one"), [3..4]);
        assert_eq!(characters("ends with <a"), [10..11]);
        assert_eq!(characters("b> begins"), [1..2]);
        assert_eq!(characters("é"), [0..2]);
        assert!(characters("").is_empty());
        // Two characters that two tokens may take in.
        assert_eq!(characters("><"), [0..1, 1..2]);
    }

    proptest! {
        /// Whatever stands before and behind, a token that takes in anything of the text takes in a character that
        /// was found, unless it reaches over the text at both ends.
        #[test]
        fn no_token_is_missed(before in "[<>abx\\[\\]]{0,3}", text in "[<>abxé\\[\\]]{1,6}", behind in "[<>abx\\[\\]]{0,3}") {
            let found = characters(&text);
            let all = format!("{before}{text}{behind}");
            let own = before.len()..before.len() + text.len();
            for token in TOKENS {
                for (at, _) in all.match_indices(token) {
                    let end = at + token.len();
                    let over = at < own.start && own.end < end;
                    if over || end <= own.start || own.end <= at {
                        continue;
                    }
                    let hit = found.iter().any(|c| at <= own.start + c.start && own.start + c.end <= end);
                    // Of overlapping tokens the leftmost is one.
                    let other = found.iter().any(|c| own.start + c.start < at && at < own.start + c.start + 4);
                    prop_assert!(hit || other, "{token} at {at} of {all:?}, found {found:?}");
                }
            }
        }
    }
}
