//! The ids of byte-level BPE at several times the speed of the engine's own call, from the engine's own
//! parts.
//!
//! `tokenizers` 0.23 keeps, for every piece of a text, a string that knows where each of its bytes came
//! from; that bookkeeping costs more than the tokens do. Where the pipeline is only "added tokens, cut by
//! patterns, BPE piece by piece", ids are a function of the pieces' text: the engine's added vocabulary and
//! patterns cut it here, and its model is asked only for pieces that were not met lately.
//!
//! ```text
//! <|im_start|>user\nhello   ─ added vocabulary ─►  <|im_start|> │ user\nhello
//!                           ─ patterns ────────►                  user │ \n │ hello
//!                           ─ cache, else BPE ─►  100             882    198  15339
//! ```
//!
//! A pipeline with anything else in it is not served ([`Pieces::of`]), and what is served is compared with
//! the engine's own call when a tokenizer is loaded.

use super::byte_level::alphabet;
use crate::example::TokenId;
use std::sync::{Mutex, PoisonError};
use tokenizers::utils::SysRegex;
use tokenizers::{
    Model, NormalizerWrapper, OffsetReferential, OffsetType, PreTokenizerWrapper,
    SplitDelimiterBehavior, Tokenizer,
};
use xxhash_rust::xxh3::xxh3_64;

/// What `ByteLevel` cuts by when it is told to; the crate keeps its own copy to itself.
const GPT2_PATTERN: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Patterns that one pipeline may cut by, one after another.
const MOST_PATTERNS: usize = 8;

/// Pieces longer than this many bytes are rare and not kept.
const LONGEST_KEPT: usize = 64;

/// Pieces that a caller's cache can hold. At some 120 bytes each a full cache has 4 MiB.
pub(super) const SLOTS: usize = 1 << 15;

/// The pieces of a byte-level pipeline and the ids of those met lately.
pub(super) struct Pieces {
    /// Each cuts what the ones before it left: matches and what lies between them become pieces.
    patterns: Vec<SysRegex>,
    /// How the vocabulary writes each byte.
    letters: Vec<char>,
    /// One for each call that ever ran at the same time as others; which one a call gets changes no id.
    caches: Mutex<Vec<PieceCache>>,
}

impl Pieces {
    /// The pieces of `tokenizer`, whose model must be byte-level BPE (a `TokenBytes` table exists for it),
    /// if its pre-tokenizer does nothing but cut and spell bytes.
    pub(super) fn of(tokenizer: &Tokenizer) -> Option<Pieces> {
        let mut patterns = Vec::new();
        collect_patterns(tokenizer.get_pre_tokenizer()?, &mut patterns)?;
        let mut letters = vec!['\0'; 256];
        for (code, byte) in alphabet().into_iter().enumerate() {
            if let Some(byte) = byte {
                *letters.get_mut(usize::from(byte))? = char::from_u32(u32::try_from(code).ok()?)?;
            }
        }
        (patterns.len() <= MOST_PATTERNS).then_some(Pieces {
            patterns,
            letters,
            caches: Mutex::new(Vec::new()),
        })
    }

    /// Appends the ids of `text`, without special tokens of a post-processor. `tokenizer` is the one that
    /// this was made for.
    pub(super) fn encode(
        &self,
        tokenizer: &Tokenizer,
        text: &str,
        ids: &mut Vec<TokenId>,
    ) -> tokenizers::Result<bool> {
        let kept = self.caches().pop();
        let mut cache = kept.unwrap_or_else(|| PieceCache::new(SLOTS));
        let result = self.encode_with(&mut cache, tokenizer, text, ids);
        self.caches().push(cache);
        result
    }

    fn caches(&self) -> std::sync::MutexGuard<'_, Vec<PieceCache>> {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn encode_with(
        &self,
        cache: &mut PieceCache,
        tokenizer: &Tokenizer,
        text: &str,
        ids: &mut Vec<TokenId>,
    ) -> tokenizers::Result<bool> {
        // The only normalizer is canonical composition, which has nothing to do in ASCII.
        let normalizer: Option<&NormalizerWrapper> = match text.is_ascii() {
            true => None,
            false => tokenizer.get_normalizer(),
        };
        let split = tokenizer
            .get_added_vocabulary()
            .extract_and_normalize(normalizer, text);
        let parts = split.get_splits(OffsetReferential::Original, OffsetType::None);
        if normalizer.is_some() {
            let rest = parts
                .iter()
                .try_fold(text, |rest, (part, _, _)| rest.strip_prefix(*part));
            if rest != Some("") {
                return Ok(false);
            }
        }
        for (part, _, tokens) in parts {
            match tokens {
                Some(tokens) => ids.extend(tokens.iter().map(|token| token.id)),
                None => cut(part, &self.patterns, &mut |piece| {
                    cache.ids(piece, ids, |piece| self.ask(tokenizer, piece))
                })?,
            }
        }
        Ok(true)
    }

    /// The model's answer for a piece.
    fn ask(&self, tokenizer: &Tokenizer, piece: &str) -> tokenizers::Result<Vec<TokenId>> {
        let spelled: String = piece
            .bytes()
            .filter_map(|byte| self.letters.get(usize::from(byte)))
            .collect();
        let tokens = tokenizer.get_model().tokenize(&spelled)?;
        Ok(tokens.into_iter().map(|token| token.id).collect())
    }
}

/// Appends what a pre-tokenizer cuts by; `None` if it does anything but cut and spell bytes.
fn collect_patterns(step: &PreTokenizerWrapper, patterns: &mut Vec<SysRegex>) -> Option<()> {
    match step {
        PreTokenizerWrapper::ByteLevel(step) if !step.add_prefix_space => {
            if step.use_regex {
                patterns.push(SysRegex::new(GPT2_PATTERN).ok()?);
            }
            Some(())
        }
        // Inverting a pattern changes which pieces count as matches, not where they are.
        PreTokenizerWrapper::Split(step) if step.behavior == SplitDelimiterBehavior::Isolated => {
            patterns.push(step.clone().regex);
            Some(())
        }
        PreTokenizerWrapper::Sequence(steps) => {
            let (last, cuts) = steps.as_ref().split_last()?;
            for step in cuts {
                let PreTokenizerWrapper::Split(_) = step else {
                    return None;
                };
                collect_patterns(step, patterns)?;
            }
            // Bytes are spelled last: a pattern behind that would see the spelling.
            let PreTokenizerWrapper::ByteLevel(_) = last else {
                return None;
            };
            collect_patterns(last, patterns)
        }
        _ => None,
    }
}

/// Calls `each` with the pieces that the patterns, one after another, cut `text` into. None is empty.
fn cut(
    text: &str,
    patterns: &[SysRegex],
    each: &mut dyn FnMut(&str) -> tokenizers::Result<()>,
) -> tokenizers::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let Some((pattern, rest)) = patterns.split_first() else {
        return each(text);
    };
    let mut done = 0;
    for (start, end) in pattern.find_iter(text) {
        for piece in [text.get(done..start), text.get(start..end)] {
            cut(piece.unwrap_or_default(), rest, each)?;
        }
        done = end;
    }
    cut(text.get(done..).unwrap_or_default(), rest, each)
}

/// Ids of pieces met lately: a table with one place for each hash, where a new piece takes the old one's
/// place. The piece itself is compared, so a hash decides speed only.
pub(super) struct PieceCache {
    slots: Vec<Slot>,
}

#[derive(Clone, Default)]
struct Slot {
    piece: String,
    ids: Vec<TokenId>,
}

impl PieceCache {
    /// An empty cache of `slots` places, at least one.
    pub(super) fn new(slots: usize) -> Self {
        PieceCache {
            slots: vec![Slot::default(); slots.max(1)],
        }
    }

    /// Appends the ids of `piece`, which is not empty, from the cache or from `ask`.
    pub(super) fn ids(
        &mut self,
        piece: &str,
        out: &mut Vec<TokenId>,
        ask: impl FnOnce(&str) -> tokenizers::Result<Vec<TokenId>>,
    ) -> tokenizers::Result<()> {
        let place = xxh3_64(piece.as_bytes()) % self.slots.len() as u64;
        let slot = match self.slots.get_mut(place as usize) {
            Some(slot) if piece.len() <= LONGEST_KEPT => slot,
            _ => {
                out.extend(ask(piece)?);
                return Ok(());
            }
        };
        if slot.piece != piece {
            slot.ids = ask(piece)?;
            slot.piece.clear();
            slot.piece.push_str(piece);
        }
        out.extend_from_slice(&slot.ids);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_full_cache_gives_what_asking_gives(
            slots in 1..4usize,
            pieces in prop::collection::vec("[a-c]{1,3}|[a-b]{60,70}", 0..40),
        ) {
            let ask = |piece: &str| Ok(piece.bytes().map(TokenId::from).collect::<Vec<TokenId>>());
            let mut cache = PieceCache::new(slots);
            for piece in pieces {
                let mut ids = vec![7];
                cache.ids(&piece, &mut ids, ask).unwrap();
                prop_assert_eq!(&ids[1..], ask(&piece).unwrap());
            }
        }

        #[test]
        fn cut_pieces_are_the_text(text in any::<String>()) {
            let patterns = [r"\s+(?!\S)|\s*", r"\p{L}"].map(|p| SysRegex::new(p).unwrap());
            let mut pieces = Vec::new();
            cut(&text, &patterns, &mut |piece| {
                pieces.push(piece.to_owned());
                Ok(())
            }).unwrap();
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
            prop_assert_eq!(pieces.concat(), text);
        }
    }

    #[test]
    fn a_piece_that_fails_is_not_kept() {
        let mut cache = PieceCache::new(1);
        let mut ids = Vec::new();
        assert!(cache.ids("a", &mut ids, |_| Err("no".into())).is_err());
        cache.ids("a", &mut ids, |_| Ok(vec![1])).unwrap();
        assert_eq!(ids, [1]);
    }
}
