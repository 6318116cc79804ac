//! Where a text has added tokens: the leftmost first, and the longest of those that begin at one place.
//!
//! Added tokens begin with few different bytes (`<`, perhaps `[`). So the next such byte is looked for, at the speed of
//! memory, and only there tokens are compared: those whose first bytes, up to eight, are the text's, the longest first.

use crate::example::TokenId;
use memchr::{memchr, memchr2, memchr3};
use std::ops::Range;

/// A search for a set of tokens, none of them empty.
pub(super) struct FindAdded {
    first: First,
    /// Bytes that tokens are grouped by: no token is shorter.
    prefix: usize,
    /// The tokens' first bytes, each once, and the tokens that have them, the longest first. Few, so that a walk is fast.
    groups: Vec<(u64, Vec<Token>)>,
}

struct Token {
    content: Box<[u8]>,
    id: TokenId,
}

/// What tokens begin with.
enum First {
    One(u8),
    Two(u8, u8),
    Three(u8, u8, u8),
    Many(Box<[bool; 256]>),
}

impl FindAdded {
    /// The search for the added tokens of `tokenizer`; none where it has none. An error says why they are not served: they
    /// do more than to be found.
    pub(super) fn in_vocabulary(
        tokenizer: &tokenizers::Tokenizer,
    ) -> Result<Option<FindAdded>, String> {
        let vocabulary = tokenizer.get_added_vocabulary();
        let mut added: Vec<_> = vocabulary.get_added_tokens_decoder().iter().collect();
        added.retain(|(_, token)| !token.content.is_empty());
        added.sort_unstable_by_key(|(id, _)| **id);
        let plain = |token: &tokenizers::AddedToken| {
            !(token.normalized || token.single_word || token.lstrip || token.rstrip)
        };
        if vocabulary.get_encode_special_tokens() || !added.iter().all(|(_, token)| plain(token)) {
            return Err("its added tokens do more than to be found".to_owned());
        }
        let tokens = added.iter();
        Ok(FindAdded::of(
            tokens.map(|(id, token)| (**id, token.content.as_str())),
        ))
    }

    /// The search for these tokens; none where there are none. Of those with the same text the first counts.
    fn of<'t>(tokens: impl Iterator<Item = (TokenId, &'t str)>) -> Option<FindAdded> {
        let tokens = tokens.map(|(id, content)| Token {
            content: content.as_bytes().into(),
            id,
        });
        let mut tokens: Vec<Token> = tokens.collect();
        tokens.sort_by(|a, b| {
            let longest_first = b.content.len().cmp(&a.content.len());
            longest_first.then_with(|| a.content.cmp(&b.content))
        });
        tokens.dedup_by(|next, token| next.content == token.content);
        let mut first: Vec<u8> = tokens
            .iter()
            .filter_map(|token| token.content.first().copied())
            .collect();
        first.sort_unstable();
        first.dedup();
        let first = match *first {
            [] => return None,
            [a] => First::One(a),
            [a, b] => First::Two(a, b),
            [a, b, c] => First::Three(a, b, c),
            ref many => First::Many(Box::new(std::array::from_fn(|byte| {
                many.contains(&(byte as u8))
            }))),
        };
        let shortest = tokens.last().map_or(0, |token| token.content.len());
        let prefix = shortest.min(size_of::<u64>());
        let mut groups: Vec<(u64, Vec<Token>)> = Vec::new();
        for token in tokens {
            let head = head(&token.content, prefix);
            match groups.iter_mut().find(|(own, _)| *own == head) {
                Some((_, group)) => group.push(token),
                None => groups.push((head, vec![token])),
            }
        }
        Some(FindAdded {
            first,
            prefix,
            groups,
        })
    }

    /// The first token from a byte of the text on, and where it stands.
    pub(super) fn next(&self, text: &str, from: usize) -> Option<(Range<usize>, TokenId)> {
        let mut at = from;
        loop {
            let rest = text.as_bytes().get(at..)?;
            at += match &self.first {
                First::One(a) => memchr(*a, rest)?,
                First::Two(a, b) => memchr2(*a, *b, rest)?,
                First::Three(a, b, c) => memchr3(*a, *b, *c, rest)?,
                First::Many(first) => rest.iter().position(|byte| first[usize::from(*byte)])?,
            };
            let rest = text.as_bytes().get(at..)?;
            if let Some(token) = self.longest(rest) {
                return Some((at..at + token.content.len(), token.id));
            }
            at += 1;
        }
    }

    /// The longest token that a text begins with.
    fn longest(&self, text: &[u8]) -> Option<&Token> {
        let head = head(text, self.prefix);
        let (_, group) = self.groups.iter().find(|(own, _)| *own == head)?;
        group.iter().find(|token| text.starts_with(&token.content))
    }
}

/// The first `prefix` bytes of a text, at most eight, with zeros for those that it lacks.
fn head(text: &[u8], prefix: usize) -> u64 {
    let bytes = match text.first_chunk() {
        Some(bytes) => *bytes,
        None => {
            let mut bytes = [0; size_of::<u64>()];
            for (to, byte) in bytes.iter_mut().zip(text) {
                *to = *byte;
            }
            bytes
        }
    };
    let behind = 8 * (size_of::<u64>() - prefix) as u32;
    u64::from_le_bytes(bytes).checked_shl(behind).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every place, every token.
    fn naive(tokens: &[(TokenId, &str)], text: &str) -> Vec<(Range<usize>, TokenId)> {
        let (mut all, mut at) = (Vec::new(), 0);
        while at < text.len() {
            let here = tokens
                .iter()
                .filter(|(_, token)| text.as_bytes()[at..].starts_with(token.as_bytes()));
            match here.max_by_key(|(_, token)| token.len()) {
                Some((id, token)) => {
                    all.push((at..at + token.len(), *id));
                    at += token.len();
                }
                None => at += 1,
            }
        }
        all
    }

    proptest! {
        #[test]
        fn finds_what_the_naive_search_finds(
            tokens in prop::collection::btree_set("[<\\[é][|a]{0,2}[a>]?|[ab]{1,2}", 0..6),
            text in "([<\\[|a>é b]{0,3}){0,12}",
        ) {
            let tokens: Vec<(TokenId, &str)> = (7..).zip(tokens.iter().map(String::as_str)).collect();
            let search = FindAdded::of(tokens.iter().copied());
            prop_assert_eq!(search.is_none(), tokens.is_empty());
            let (mut found, mut at) = (Vec::new(), 0);
            while let Some((range, id)) = search.as_ref().and_then(|search| search.next(&text, at)) {
                at = range.end;
                found.push((range, id));
            }
            prop_assert_eq!(found, naive(&tokens, &text));
        }
    }
}
