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

/// Bytes that are looked for.
struct ByteSet {
    /// Each once.
    bytes: Vec<u8>,
    /// A flag a byte.
    flags: [bool; 256],
}

impl ByteSet {
    fn of(bytes: impl Iterator<Item = u8>) -> ByteSet {
        let mut flags = [false; 256];
        for byte in bytes {
            flags[usize::from(byte)] = true;
        }
        let set = |byte: &u8| flags[usize::from(*byte)];
        ByteSet {
            bytes: (0..=u8::MAX).filter(set).collect(),
            flags,
        }
    }

    fn has(&self, byte: u8) -> bool {
        self.flags[usize::from(byte)]
    }

    /// Whether a text has any of them. Most vocabularies write all special tokens in one kind of brackets.
    fn is_in(&self, text: &[u8]) -> bool {
        match self.bytes.as_slice() {
            [] => false,
            [a] => memchr::memchr(*a, text).is_some(),
            [a, b] => memchr::memchr2(*a, *b, text).is_some(),
            [a, b, c] => memchr::memchr3(*a, *b, *c, text).is_some(),
            _ => text.iter().any(|&byte| self.has(byte)),
        }
    }

    /// Where a text has any of them.
    fn places(&self, text: &[u8]) -> impl Iterator<Item = usize> {
        let places = text.iter().enumerate();
        places
            .filter(|(_, byte)| self.has(**byte))
            .map(|(at, _)| at)
    }
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
            first: ByteSet::of(tokens.iter().filter_map(|t| t.bytes().next())),
            last: ByteSet::of(tokens.iter().filter_map(|t| t.bytes().next_back())),
            tokens,
            reversed,
        })
    }

    /// Whether a token of `text` may take in a byte of `own`. May say yes where none does, never no where one does.
    pub(super) fn touches(&self, text: &str, own: &Range<usize>) -> bool {
        let around = self.longest.saturating_sub(1);
        let from = floor(text, own.start.saturating_sub(around));
        let to = ceil(text, own.end.saturating_add(around).min(text.len()));
        let window = text.get(from..to).unwrap_or_default();
        if !(self.first.is_in(window.as_bytes()) && self.last.is_in(window.as_bytes())) {
            return false;
        }
        // What is found may hide what begins inside it, so a token that lies wholly before counts too. One that begins
        // behind `own` hides nothing that could reach back.
        let mut found = self.whole.find_iter(window);
        found.any(|token| from + token.start() < own.end)
    }

    /// What `text` spells, in order of the characters, each once.
    pub(super) fn find(&self, text: &str) -> Vec<Spelling> {
        let bytes = text.as_bytes();
        let (begins, ends) = (self.first.is_in(bytes), self.last.is_in(bytes));
        let mut found = Vec::new();
        if begins && ends {
            let whole = self.whole.find_iter(text);
            found.extend(whole.map(|token| Spelling::whole(text, token.start()..token.end())));
        }
        // Shorter than a token at either end, and so less than the longest.
        let edge = self.longest.saturating_sub(1).min(text.len());
        if begins {
            let tail = text.len() - edge;
            for at in self.first.places(bytes.get(tail..).unwrap_or_default()) {
                let at = tail + at;
                let rest = text.get(at..).unwrap_or_default();
                if is_begun(&self.tokens, rest) {
                    found.push(Spelling::edge(text, at));
                }
            }
        }
        if ends {
            for at in self.last.places(bytes.get(..edge).unwrap_or_default()) {
                let head = text.get(..=at).unwrap_or_default();
                let reversed: String = head.chars().rev().collect();
                if !reversed.is_empty() && is_begun(&self.reversed, &reversed) {
                    let last = reversed.chars().next().map_or(0, char::len_utf8);
                    found.push(Spelling::edge(text, at + 1 - last));
                }
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

/// The last beginning of a character that is not behind `at`.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The first one that is not before `at`.
fn ceil(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
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
        /// Where no token touches a stretch, none of those that stand in the text does.
        #[test]
        fn what_is_not_touched_is_in_no_token(before in "[<>abxé\\[\\]]{0,6}", own in "[<>abxé\\[\\]]{0,5}", behind in "[<>abxé\\[\\]]{0,6}") {
            let spellings = Spellings::of(TOKENS.into_iter()).unwrap();
            let all = format!("{before}{own}{behind}");
            let own = before.len()..before.len() + own.len();
            let takes = |token: &str| {
                let mut places = (0..all.len()).filter(|&at| all.as_bytes()[at..].starts_with(token.as_bytes()));
                places.any(|at| at < own.end && own.start < at + token.len())
            };
            let any = TOKENS.into_iter().any(takes);
            prop_assert!(spellings.touches(&all, &own) || !any);
            // A text without tokens is not touched anywhere.
            if !TOKENS.into_iter().any(|token| all.contains(token)) {
                prop_assert!(!spellings.touches(&all, &own));
            }
        }

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
