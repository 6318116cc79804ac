//! Offsets without the engine's bookkeeping: for byte-level BPE a token's place in the text is the sum of
//! the lengths before it.
//!
//! This is never assumed. A text's tokens are written out one after another and compared with the text byte
//! by byte; only where they are the text is the sum the offset. Anything that changes text on the way (a
//! normalizer that had something to do, a blank that a special token swallowed, a character that the
//! vocabulary lacks) makes a difference there, and the engine's own offsets are taken.

use super::{ByteOffsets, Encoding};
use crate::example::TokenId;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

/// The bytes of every token of a byte-level vocabulary.
#[derive(Debug, Clone)]
pub(super) struct TokenBytes {
    bytes: Vec<u8>,
    /// By id.
    tokens: Vec<Place>,
}

/// One token's bytes.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The first eight of them, the first lowest, zeros behind: most tokens are compared by these alone.
    head: u64,
    /// Where they begin in the table's.
    start: u32,
    /// None: the token is not known.
    len: u32,
}

/// Bytes of a `head`.
const HEAD: usize = size_of::<u64>();

impl TokenBytes {
    /// The table of `tokenizer`, if it is byte-level BPE whose steps can only leave text as it is or
    /// shorten it: then tokens that add up to the text have left all of it as it is.
    pub(super) fn of(tokenizer: &Tokenizer, vocab_len: u32) -> Option<TokenBytes> {
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
        if !suits {
            return None;
        }
        let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
        let alphabet = alphabet();
        TokenBytes::collect((0..vocab_len).map(|id| {
            if let Some(token) = added.get(&id) {
                return token.content.clone().into_bytes();
            }
            let token = tokenizer.id_to_token(id).unwrap_or_default();
            let bytes: Option<Vec<u8>> = token
                .chars()
                .map(|c| alphabet.get(c as usize).copied().flatten())
                .collect();
            bytes.unwrap_or_default()
        }))
    }

    /// The table of tokens with these bytes, from id 0 on; none for one of 4 GiB.
    pub(super) fn collect(tokens: impl Iterator<Item = Vec<u8>>) -> Option<TokenBytes> {
        let mut table = TokenBytes {
            bytes: Vec::new(),
            tokens: Vec::new(),
        };
        for token in tokens {
            let mut head = [0; HEAD];
            for (to, byte) in head.iter_mut().zip(&token) {
                *to = *byte;
            }
            table.tokens.push(Place {
                head: u64::from_le_bytes(head),
                start: u32::try_from(table.bytes.len()).ok()?,
                len: u32::try_from(token.len()).ok()?,
            });
            table.bytes.extend(token);
        }
        Some(table)
    }

    /// The bytes of a token; none for one that is not in the table.
    pub(super) fn get(&self, id: TokenId) -> Option<&[u8]> {
        let token = self.tokens.get(id as usize)?;
        self.bytes_of(token).filter(|bytes| !bytes.is_empty())
    }

    fn bytes_of(&self, token: &Place) -> Option<&[u8]> {
        let start = token.start as usize;
        self.bytes.get(start..start + token.len as usize)
    }

    /// The length of a token, if its bytes, one at least, stand at the beginning of `rest`.
    fn stands_at(&self, id: TokenId, rest: &[u8]) -> Option<u32> {
        let token = self.tokens.get(id as usize)?;
        let len = token.len as usize;
        let stands = match rest.first_chunk::<HEAD>() {
            Some(head) if (1..=HEAD).contains(&len) => {
                let differs = u64::from_le_bytes(*head) ^ token.head;
                differs << (8 * (HEAD - len)) == 0
            }
            _ => len > 0 && rest.starts_with(self.bytes_of(token)?),
        };
        stands.then_some(token.len)
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
            cuts in prop::collection::vec(0..12usize, 1..8),
            ids in prop::collection::vec(0..16u32, 0..12),
            changed in prop::option::of((0..60usize, "[a\0é]")),
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
