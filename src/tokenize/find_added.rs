//! Where a text has added tokens: the leftmost first, and the longest of those that begin at one place.
//!
//! Added tokens begin with few different bytes (`<`, perhaps `[`). So the next such byte is looked for, at the speed of
//! memory, and only there tokens are compared: those whose first bytes, up to eight, are the text's, the longest first.
//! Where many share these (`<unused0>` to `<unused6241>`), they are looked up by length instead.

use crate::example::TokenId;
use memchr::{memchr, memchr2, memchr3};
use std::collections::HashMap;
use std::ops::Range;

/// A search for a set of tokens, none of them empty.
pub(super) struct FindAdded {
    first: First,
    /// By first byte; a byte that none begins with has none.
    starts: Vec<Option<Start>>,
}

/// A token's bytes and id.
type Token = (Box<[u8]>, TokenId);

/// Tokens that begin with the same byte.
struct Start {
    /// Bytes that they are grouped by: none is shorter.
    prefix: usize,
    /// These bytes, each once, rising, and the tokens that have them.
    groups: Vec<(u64, Group)>,
}

/// Tokens that begin alike.
enum Group {
    /// The longest first.
    Few(Vec<Token>),
    /// Their lengths, falling, and their ids.
    Many(Vec<usize>, HashMap<Box<[u8]>, TokenId>),
}

/// Tokens that are compared one by one, and groups that are.
const FEW: usize = 16;

/// What tokens begin with.
enum First {
    One(u8),
    Two(u8, u8),
    Three(u8, u8, u8),
    Many,
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
        let mut tokens: Vec<Token> = tokens
            .map(|(id, content)| (content.as_bytes().into(), id))
            .collect();
        tokens.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        tokens.dedup_by(|(next, _), (token, _)| next == token);
        let mut by_first: Vec<Vec<Token>> = vec![Vec::new(); 256];
        for token in tokens {
            let first = token.0.first().copied().unwrap_or_default();
            if let Some(own) = by_first.get_mut(usize::from(first)) {
                own.push(token);
            }
        }
        let starts: Vec<Option<Start>> = by_first.into_iter().map(Start::of).collect();
        let bytes = (0..=u8::MAX).zip(&starts);
        let first: Vec<u8> = bytes
            .filter(|(_, start)| start.is_some())
            .map(|(byte, _)| byte)
            .collect();
        let first = match *first {
            [] => return None,
            [a] => First::One(a),
            [a, b] => First::Two(a, b),
            [a, b, c] => First::Three(a, b, c),
            _ => First::Many,
        };
        Some(FindAdded { first, starts })
    }

    fn start(&self, byte: u8) -> Option<&Start> {
        self.starts.get(usize::from(byte))?.as_ref()
    }

    /// The first token from a byte of the text on, and where it stands.
    pub(super) fn next(&self, text: &str, from: usize) -> Option<(Range<usize>, TokenId)> {
        let mut at = from;
        loop {
            let rest = text.as_bytes().get(at..)?;
            at += match self.first {
                First::One(a) => memchr(a, rest)?,
                First::Two(a, b) => memchr2(a, b, rest)?,
                First::Three(a, b, c) => memchr3(a, b, c, rest)?,
                First::Many => rest.iter().position(|byte| self.start(*byte).is_some())?,
            };
            let rest = text.as_bytes().get(at..)?;
            let start = self.start(*rest.first()?)?;
            if let Some((len, id)) = start.longest(rest) {
                return Some((at..at + len, id));
            }
            at += 1;
        }
    }
}

impl Start {
    /// Of tokens, the longest first; none without any.
    fn of(tokens: Vec<Token>) -> Option<Start> {
        let prefix = tokens.last()?.0.len().min(size_of::<u64>());
        let mut heads: HashMap<u64, Vec<Token>> = HashMap::new();
        for token in tokens {
            heads.entry(head(&token.0, prefix)).or_default().push(token);
        }
        let groups = heads.into_iter().map(|(head, tokens)| {
            if tokens.len() <= FEW {
                return (head, Group::Few(tokens));
            }
            let mut lengths: Vec<usize> = tokens.iter().map(|(content, _)| content.len()).collect();
            lengths.dedup();
            (head, Group::Many(lengths, tokens.into_iter().collect()))
        });
        let mut groups: Vec<(u64, Group)> = groups.collect();
        groups.sort_unstable_by_key(|(head, _)| *head);
        Some(Start { prefix, groups })
    }

    /// The length and id of the longest token that a text begins with.
    fn longest(&self, text: &[u8]) -> Option<(usize, TokenId)> {
        let head = head(text, self.prefix);
        let at = match self.groups.len() {
            // A walk is foreseen by the machine, a bisection is not.
            0..=FEW => self.groups.iter().position(|(own, _)| *own == head)?,
            _ => self
                .groups
                .binary_search_by_key(&head, |(own, _)| *own)
                .ok()?,
        };
        let (_, group) = self.groups.get(at)?;
        match group {
            Group::Few(tokens) => {
                let found = tokens.iter().find(|(content, _)| text.starts_with(content));
                found.map(|(content, id)| (content.len(), *id))
            }
            Group::Many(lengths, ids) => lengths.iter().find_map(|len| {
                let id = ids.get(text.get(..*len)?)?;
                Some((*len, *id))
            }),
        }
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
            // Few and many, some of which begin alike, some with the same eight bytes and more.
            tokens in prop_oneof![
                prop::collection::btree_set("[<\\[é][|a]{0,2}[a>]?|[ab]{1,2}", 0..6),
                prop::collection::btree_set("<[|a]{0,2}[a>]?|[abc\\[]|<abcdefg[abc]{1,3}|<[ab]{2,3}", 0..60),
            ],
            text in "(<abcdefg|[<\\[|a>é b]{0,3}|[abc]{2}){0,12}",
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
