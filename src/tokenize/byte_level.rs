//! Offsets without the engine's bookkeeping: for byte-level BPE a token's place in the text is the sum of
//! the lengths before it.
//!
//! This is never assumed. A text's tokens are written out one after another and compared with the text byte
//! by byte; only where they are the text is the sum the offset. Anything that changes text on the way (a
//! normalizer that had something to do, a blank that a special token swallowed, a character that the
//! vocabulary lacks) makes a difference there, and the engine's own offsets are taken.

use super::{ByteOffsets, Encoding};
use crate::example::TokenId;
use std::collections::HashMap;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

/// Ids of a vocabulary that need not be in use for a table to have a place for every one. More is another kind of file
/// than is known: one far id would make a table of gigabytes.
const MOST_HOLES: usize = 1 << 16;

/// Whether a table may have a place for each of `ids` ids, of which `used` are in use.
pub(super) fn is_dense(ids: usize, used: usize) -> bool {
    ids <= used.saturating_add(MOST_HOLES)
}

/// The bytes of every token of a byte-level vocabulary.
#[derive(Debug, Clone)]
pub(super) struct TokenBytes {
    bytes: Vec<u8>,
    /// Where token i's bytes end; they begin where those of i - 1 end. A token without any is one that is
    /// not known.
    ends: Vec<u32>,
    /// The same once more, for a quick look.
    places: Vec<Place>,
}

/// One token: its length in the lowest byte, its first [`HEAD`] bytes above it, zeros behind. Nearly all tokens are compared
/// by this alone.
#[derive(Debug, Clone, Copy)]
struct Place(u128);

/// Bytes of a token that stand in its [`Place`].
const HEAD: usize = size_of::<u128>() - 1;

/// The length of those that are longer than [`HEAD`]: they are among the long ones.
const LONG: u8 = u8::MAX;

impl Place {
    fn of(token: &[u8]) -> Place {
        let mut place = [0; HEAD + 1];
        let (len, head) = place.split_at_mut(1);
        for (to, byte) in head.iter_mut().zip(token) {
            *to = *byte;
        }
        let fits = token.len() <= HEAD;
        len.fill(if fits { token.len() as u8 } else { LONG });
        Place(u128::from_le_bytes(place))
    }

    fn len(self) -> u8 {
        self.0 as u8
    }
}

impl TokenBytes {
    /// The table of `tokenizer`, whose tokens and ids are `vocab`, if it is byte-level BPE whose steps can only leave text
    /// as it is or shorten it: then tokens that add up to the text have left all of it as it is.
    pub(super) fn of(
        tokenizer: &Tokenizer,
        vocab: &HashMap<String, TokenId>,
        vocab_len: u32,
    ) -> Option<TokenBytes> {
        let ModelWrapper::BPE(model) = tokenizer.get_model() else {
            return None;
        };
        let is_plain = |part: &Option<String>| part.as_ref().is_none_or(String::is_empty);
        let suits = is_plain(&model.continuing_subword_prefix)
            && is_plain(&model.end_of_word_suffix)
            && model.unk_token.is_none()
            && !model.byte_fallback
            && tokenizer.get_normalizer().is_none_or(composes_at_most)
            && tokenizer.get_pre_tokenizer().and_then(adds_nothing) == Some(ByteAlphabet::Used);
        if !suits || !is_dense(vocab_len as usize, vocab.len()) {
            return None;
        }
        let alphabet = alphabet();
        let spelled = |token: &str| -> Option<Vec<u8>> {
            let bytes = token.chars();
            bytes
                .map(|c| alphabet.get(c as usize).copied().flatten())
                .collect()
        };
        let mut tokens = vec![Vec::new(); vocab_len as usize];
        let mut put = |id: TokenId, bytes: Vec<u8>| {
            if let Some(own) = tokens.get_mut(id as usize) {
                *own = bytes;
            }
        };
        #[expect(clippy::iter_over_hash_type, reason = "each id has its place")]
        for (token, id) in vocab {
            put(*id, spelled(token).unwrap_or_default());
        }
        let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
        for (id, token) in added {
            put(*id, token.content.clone().into_bytes());
        }
        TokenBytes::collect(tokens.into_iter())
    }

    /// The table of tokens with these bytes, from id 0 on; none for one of 4 GiB.
    pub(super) fn collect(tokens: impl Iterator<Item = Vec<u8>>) -> Option<TokenBytes> {
        let mut table = TokenBytes {
            bytes: Vec::new(),
            ends: Vec::new(),
            places: Vec::new(),
        };
        for token in tokens {
            table.places.push(Place::of(&token));
            table.bytes.extend(token);
            table.ends.push(u32::try_from(table.bytes.len()).ok()?);
        }
        Some(table)
    }

    /// The bytes of a token; none for one that is not in the table.
    pub(super) fn get(&self, id: TokenId) -> Option<&[u8]> {
        let id = id as usize;
        let end = *self.ends.get(id)? as usize;
        let start = match id.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.bytes.get(start..end).filter(|bytes| !bytes.is_empty())
    }

    /// The length of a token, if its bytes, one at least, stand at the beginning of `rest`.
    fn stands_at(&self, id: TokenId, rest: &[u8]) -> Option<u32> {
        let place = *self.places.get(id as usize)?;
        let len = place.len();
        if let Some(window) = rest.first_chunk::<{ HEAD + 1 }>()
            && (1..=HEAD as u8).contains(&len)
        {
            // The text's bytes lie where the token's do; what is behind the token is pushed out.
            let differs = (u128::from_le_bytes(*window) << 8) ^ (place.0 & !0xff);
            let differs = differs << (8 * (HEAD as u32 - u32::from(len)));
            return (differs == 0).then_some(u32::from(len));
        }
        let token = self.get(id)?;
        // A text that holds it is shorter than 4 GiB.
        rest.starts_with(token).then_some(token.len() as u32)
    }

    /// Writes the offsets of `out.ids`, if these tokens, those aside that `is_inserted` marks, are exactly
    /// `text`. Otherwise leaves `out.offsets` in any state and says no.
    #[must_use]
    pub(super) fn place(
        &self,
        text: &str,
        is_inserted: impl Fn(usize) -> bool,
        out: &mut Encoding,
    ) -> bool {
        out.offsets.clear();
        out.offsets.reserve(out.ids.len());
        let mut rest = text.as_bytes();
        let ascii = text.is_ascii();
        let mut at = 0;
        for (position, &id) in out.ids.iter().enumerate() {
            if is_inserted(position) {
                out.offsets.push((at, at));
                continue;
            }
            let Some(len) = self.stands_at(id, rest) else {
                return false;
            };
            rest = rest.get(len as usize..).unwrap_or_default();
            // No overflow: `at` counts bytes of a text that is shorter than 4 GiB.
            let start = at;
            at += len;
            out.offsets.push(match ascii {
                true => (start, at),
                false => widened(text, start, at),
            });
        }
        rest.is_empty()
    }
}

/// The range made to begin and end at characters. The engine does the same: a token that is a part of a
/// character stands for the whole.
pub(super) fn widened(text: &str, mut start: u32, mut end: u32) -> ByteOffsets {
    while !text.is_char_boundary(start as usize) {
        start -= 1;
    }
    while !text.is_char_boundary(end as usize) {
        end += 1;
    }
    (start, end)
}

/// The byte that each character of a byte-level vocabulary stands for. The characters are the ones below 324.
pub(super) fn alphabet() -> Vec<Option<u8>> {
    let mut table = vec![None; 324];
    let mut next = 256;
    for byte in 0..=u8::MAX {
        let shown = matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
        let code = if shown {
            usize::from(byte)
        } else {
            next += 1;
            next - 1
        };
        if let Some(place) = table.get_mut(code) {
            *place = Some(byte);
        }
    }
    table
}

/// Whether a normalizer does nothing but canonical composition, which leaves composed text as it is.
fn composes_at_most(normalizer: &NormalizerWrapper) -> bool {
    match normalizer {
        NormalizerWrapper::NFC(_) => true,
        NormalizerWrapper::Sequence(steps) => steps.as_ref().iter().all(composes_at_most),
        _ => false,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ByteAlphabet {
    Used,
    Unused,
}

/// Whether a pre-tokenizer writes bytes as a byte-level vocabulary does; `None` if it may write more than
/// it got.
fn adds_nothing(step: &PreTokenizerWrapper) -> Option<ByteAlphabet> {
    match step {
        PreTokenizerWrapper::ByteLevel(ByteLevel {
            add_prefix_space: false,
            ..
        }) => Some(ByteAlphabet::Used),
        PreTokenizerWrapper::Split(_)
        | PreTokenizerWrapper::Digits(_)
        | PreTokenizerWrapper::Punctuation(_)
        | PreTokenizerWrapper::Whitespace(_)
        | PreTokenizerWrapper::WhitespaceSplit(_) => Some(ByteAlphabet::Unused),
        PreTokenizerWrapper::Sequence(steps) => {
            let mut alphabet = ByteAlphabet::Unused;
            for step in steps.as_ref() {
                match (adds_nothing(step)?, alphabet) {
                    // A second pass would spell the spelling.
                    (ByteAlphabet::Used, ByteAlphabet::Used) => return None,
                    (ByteAlphabet::Used, ByteAlphabet::Unused) => alphabet = ByteAlphabet::Used,
                    (ByteAlphabet::Unused, _) => {}
                }
            }
            Some(alphabet)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All tokens written out and compared at once; then every token's place by a sum of lengths.
    fn naive(tokens: &[Vec<u8>], text: &str, ids: &[TokenId]) -> Option<Vec<ByteOffsets>> {
        let token = |id: &TokenId| tokens.get(*id as usize).filter(|token| !token.is_empty());
        let all: Vec<&Vec<u8>> = ids.iter().map(token).collect::<Option<_>>()?;
        let joined: Vec<u8> = all.iter().copied().flatten().copied().collect();
        let place = |count: usize| all[..count].iter().map(|token| token.len() as u32).sum();
        let places = (0..ids.len()).map(|i| widened(text, place(i), place(i + 1)));
        (joined == text.as_bytes()).then(|| places.collect())
    }

    proptest! {
        #[test]
        fn tokens_are_placed_where_they_are_the_text(
            // Parts of characters, tokens around the eight bytes that are compared at once, zeros.
            tokens in prop::collection::vec("[ab\0é🙂]{0,9}".prop_map(String::into_bytes), 1..8),
            cuts in prop::collection::vec(0..20usize, 1..8),
            ids in prop::collection::vec(0..16u32, 0..12),
            changed in prop::option::of((0..90usize, "[a\0é]")),
        ) {
            let halves = tokens.iter().zip(cuts.iter().cycle()).flat_map(|(token, &cut)| {
                let (first, second) = token.split_at(cut.min(token.len()));
                [first.to_vec(), second.to_vec()]
            });
            let halves: Vec<Vec<u8>> = halves.collect();
            let bytes = ids.iter().filter_map(|id| halves.get(*id as usize)).flatten();
            let mut text = String::from_utf8_lossy(&bytes.copied().collect::<Vec<u8>>()).into_owned();
            if let Some((at, other)) = changed && text.is_char_boundary(at) {
                text.truncate(at);
                text.push_str(&other);
            }
            let table = TokenBytes::collect(halves.iter().cloned()).unwrap();
            let mut out = Encoding { ids: ids.clone(), offsets: vec![(7, 7)] };
            let placed = table.place(&text, |_| false, &mut out);
            prop_assert_eq!(placed.then_some(out.offsets), naive(&halves, &text, &ids));
        }
    }

    #[test]
    fn the_alphabet_is_the_crates() {
        let table = alphabet();
        let known = ByteLevel::alphabet();
        for (code, byte) in table.iter().enumerate() {
            let c = char::from_u32(code as u32).unwrap();
            assert_eq!(byte.is_some(), known.contains(&c), "{code}");
        }
        let mut bytes: Vec<u8> = table.into_iter().flatten().collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(alphabet()['Ġ' as usize], Some(b' '));
        assert_eq!(alphabet()['Ċ' as usize], Some(b'\n'));
    }
}
