//! The added vocabulary searched by packmill itself, for texts in which some characters must not become special tokens.
//!
//! The `tokenizers` crate looks for added tokens everywhere or, with `encode_special_tokens`, for special ones nowhere.
//! Here a special token is recognised unless it would take in one of some given characters, and all else is as in the
//! crate (`AddedVocabulary::extract_and_normalize` of 0.23): first the tokens that are matched against the text as it
//! is, then in the normalized rest those that are matched against normalized text; of several the leftmost, of these
//! the longest; `single_word`, `lstrip` and `rstrip`; and what is not recognised is passed over whole.
//!
//! Only the split is packmill's. Each stretch between tokens is normalized, cut and tokenized by the crate in its
//! place in the text, so that what a step does at the text's very beginning, it does there alone.

use aho_corasick::{AhoCorasick, MatchKind};
use regex::Regex;
use std::ops::Range;
use tokenizers::normalizer::Range as In;
use tokenizers::tokenizer::Result;
use tokenizers::{
    AddedToken, NormalizedString, Normalizer as _, PreTokenizedString, Token, Tokenizer,
};

/// A tokenizer's added tokens, to be searched for.
pub(super) struct AddedTokens {
    /// Matched against the text as it is.
    plain: Option<Patterns>,
    /// Matched against normalized text.
    normalized: Option<Patterns>,
    /// A character of a word, for tokens that are words of their own.
    word: Regex,
}

struct Patterns {
    search: AhoCorasick,
    /// By pattern.
    tokens: Vec<(u32, AddedToken)>,
}

/// A special token that was left as text: its id, and where it is spelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spelled {
    pub(super) id: u32,
    pub(super) at: Range<usize>,
}

impl AddedTokens {
    /// Those of `tokenizer`.
    pub(super) fn of(tokenizer: &Tokenizer) -> Result<AddedTokens> {
        let mut added: Vec<(u32, AddedToken)> = tokenizer
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(_, token)| !token.content.is_empty())
            .collect();
        added.sort_by_key(|(id, _)| *id);
        let (normalized, plain): (Vec<_>, Vec<_>) =
            added.into_iter().partition(|(_, token)| token.normalized);
        let mut written = Vec::with_capacity(normalized.len());
        for (_, token) in &normalized {
            let mut text = NormalizedString::from(token.content.as_str());
            if let Some(normalizer) = tokenizer.get_normalizer() {
                normalizer.normalize(&mut text)?;
            }
            written.push(text.get().to_owned());
        }
        let contents = plain.iter().map(|(_, token)| token.content.clone());
        Ok(AddedTokens {
            plain: Patterns::new(contents.collect(), plain)?,
            normalized: Patterns::new(written, normalized)?,
            word: Regex::new(r"^\w$")?,
        })
    }

    /// Whether special tokens are among those that are matched against normalized text.
    pub(super) fn normalizes_special(&self) -> bool {
        let tokens = self.normalized.iter().flat_map(|p| &p.tokens);
        tokens.into_iter().any(|(_, token)| token.special)
    }

    /// How special tokens are written.
    pub(super) fn special(&self) -> impl Iterator<Item = &str> {
        let patterns = self.plain.iter().chain(&self.normalized);
        let tokens = patterns.flat_map(|p| &p.tokens);
        tokens
            .filter(|(_, token)| token.special)
            .map(|(_, token)| token.content.as_str())
    }

    /// Cuts `text` at its added tokens and normalizes what lies between them. A special token that would take in a
    /// byte of `plain`, which are ranges in order and disjoint, is text; these come out in `spelled`.
    pub(super) fn split(
        &self,
        tokenizer: &Tokenizer,
        text: &str,
        plain: &[Range<usize>],
        spelled: &mut Vec<Spelled>,
    ) -> Result<PreTokenizedString> {
        // As the crate has it: a tokenizer may be told to take no special token anywhere.
        let nowhere = tokenizer.get_added_vocabulary().get_encode_special_tokens();
        let mut split: PreTokenizedString = text.into();
        for (patterns, normalizes) in [(&self.plain, false), (&self.normalized, true)] {
            split.split(|_, mut piece| {
                if normalizes && let Some(normalizer) = tokenizer.get_normalizer() {
                    // The crate, too, goes on with what a normalizer that fails has left.
                    let _ = normalizer.normalize(&mut piece);
                }
                let Some(patterns) = patterns else {
                    return Ok(vec![(piece, None)]);
                };
                let mut wanted = |at: Range<usize>, id: u32, special: bool| {
                    if !special {
                        return true;
                    }
                    let Some(at) = in_text(&piece, at) else {
                        return true;
                    };
                    let from = plain.partition_point(|range| range.end <= at.start);
                    let taken = plain.get(from).is_some_and(|range| range.start < at.end);
                    if taken {
                        spelled.push(Spelled { id, at });
                    }
                    !taken && !nowhere
                };
                let cuts = patterns.cuts(piece.get(), &self.word, &mut wanted);
                cuts.into_iter()
                    .map(|(token, at)| {
                        let part = piece
                            .slice(In::Normalized(at))
                            .ok_or("an added token cuts a character")?;
                        let token = token.map(|id| {
                            let value = part.get().to_owned();
                            let end = value.len();
                            vec![Token::new(id, value, (0, end))]
                        });
                        Ok((part, token))
                    })
                    .collect::<Result<Vec<_>>>()
            })?;
        }
        spelled.sort_by_key(|spelled| spelled.at.start);
        Ok(split)
    }
}

impl Patterns {
    /// None without tokens.
    fn new(written: Vec<String>, tokens: Vec<(u32, AddedToken)>) -> Result<Option<Patterns>> {
        if tokens.is_empty() {
            return Ok(None);
        }
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(written)?;
        Ok(Some(Patterns { search, tokens }))
    }

    /// Tokens and what lies between them, in order; together they are the text. `wanted` decides on each match.
    fn cuts(
        &self,
        text: &str,
        word: &Regex,
        wanted: &mut dyn FnMut(Range<usize>, u32, bool) -> bool,
    ) -> Vec<(Option<u32>, Range<usize>)> {
        let mut cuts = Vec::new();
        let mut done = 0;
        for found in self.search.find_iter(text) {
            let Some((id, token)) = self.tokens.get(found.pattern().as_usize()) else {
                continue;
            };
            let (mut start, mut end) = (found.start(), found.end());
            let (before, behind) = (
                text.get(..start).unwrap_or_default(),
                text.get(end..).unwrap_or_default(),
            );
            if token.single_word {
                let is_word = |c: char| word.is_match(c.encode_utf8(&mut [0; 4]));
                let last = before.chars().next_back();
                if last.into_iter().chain(behind.chars().next()).any(is_word) {
                    continue;
                }
            }
            if !wanted(start..end, *id, token.special) {
                continue;
            }
            if token.lstrip {
                start = before.trim_end().len().max(done);
            }
            if token.rstrip {
                end += behind.len() - behind.trim_start().len();
            }
            if done < start {
                cuts.push((None, done..start));
            }
            cuts.push((Some(*id), start..end));
            done = end;
        }
        if done < text.len() || text.is_empty() {
            cuts.push((None, done..text.len()));
        }
        cuts
    }
}

/// Where a range of a piece stands in the text; none for a range that stands for none of it.
fn in_text(piece: &NormalizedString, at: Range<usize>) -> Option<Range<usize>> {
    let before = piece.offsets_original().0;
    let at = piece.convert_offsets(In::Normalized(at))?;
    Some(before + at.start..before + at.end)
}
