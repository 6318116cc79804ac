//! SentencePiece-style BPE (Llama 2, Gemma) at many times the reference's speed: the text cut at added tokens, then where
//! nothing can be joined, and what stands between looked up or merged.
//!
//! ```text
//! hello world<eos>   ─ added tokens ─►  hello world │ <eos>
//!                    ─ blanks ───────►  ▁hello▁world               where the pipeline puts one before the text
//!                    ─ seams ────────►  ▁hello │ ▁world
//!                    ─ cache, merges ►  22172    3186     2
//! ```
//!
//! The tokens' texts, a blank for each `▁`, must be the text again; then a token's place is the sum of the lengths before
//! it. A text for which they are not (one with a `▁` of its own) is left to the reference.

use super::Encoding;
use super::byte_level::{TokenBytes, widened};
use super::find_added::FindAdded;
use super::merges::{BLANK, Merges, Work};
use super::pieces::PieceCache;
use crate::example::TokenId;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use tokenizers::normalizers::Replace;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::pre_tokenizers::split::SplitPattern;
use tokenizers::{Model as _, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

/// Name of this engine in `inspect`.
pub(super) const NAME: &str = "packmill's SentencePiece BPE";

/// A pipeline of added tokens, blanks and merges.
pub(super) struct SentenceBpe {
    merges: Merges,
    added: Option<FindAdded>,
    blank: Blank,
    texts: TokenBytes,
    /// One for each call that ever ran at the same time as others; which one a call gets changes no id.
    scratch: Mutex<Vec<Scratch>>,
}

struct Scratch {
    cache: PieceCache,
    work: Work,
    /// A stretch with the blank that is put before it.
    first: String,
}

/// When a blank is put before a stretch between added tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blank {
    Never,
    /// Unless it begins with one.
    Missing,
    /// The same, only at the text's very beginning.
    MissingAtStart,
    Always,
}

impl SentenceBpe {
    /// The pipeline of `tokenizer`, whose file is `file`, or why it is not served.
    pub(super) fn of(tokenizer: &Tokenizer, vocab_len: u32, file: &[u8]) -> Result<Self, String> {
        let ModelWrapper::BPE(model) = tokenizer.get_model() else {
            return Err("its model is not BPE".to_owned());
        };
        let is_plain = |part: &Option<String>| part.as_ref().is_none_or(String::is_empty);
        let suits = model.byte_fallback
            && !model.ignore_merges
            && is_plain(&model.continuing_subword_prefix)
            && is_plain(&model.end_of_word_suffix);
        if !suits {
            return Err("its pipeline is neither byte-level nor SentencePiece's".to_owned());
        }
        let blank = blank(tokenizer).ok_or("its blanks are not written as SentencePiece does")?;
        Ok(SentenceBpe {
            merges: Merges::of(file)?,
            added: FindAdded::in_vocabulary(tokenizer)?,
            blank,
            texts: texts(tokenizer, vocab_len).ok_or("its vocabulary is too large")?,
            scratch: Mutex::new(Vec::new()),
        })
    }

    /// Replaces `out` by the tokens of `text`, without the special tokens of a post-processor. Where they do not prove
    /// their places, leaves it in any state and says no.
    #[must_use]
    pub(super) fn encode(&self, text: &str, out: &mut Encoding) -> bool {
        let kept = self.kept().pop();
        let mut scratch = kept.unwrap_or_else(|| Scratch {
            cache: PieceCache::new(super::pieces::SLOTS),
            work: Work::default(),
            first: String::new(),
        });
        let done = self.encode_with(&mut scratch, text, out);
        self.kept().push(scratch);
        done
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Scratch>> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn encode_with(&self, scratch: &mut Scratch, text: &str, out: &mut Encoding) -> bool {
        out.clear();
        let mut done = 0;
        let next = |from| self.added.as_ref().and_then(|added| added.next(text, from));
        while let Some((token, id)) = next(done) {
            if !self.stretch(scratch, text, done..token.start, out) {
                return false;
            }
            out.ids.push(id);
            // A text of 4 GiB is refused before.
            out.offsets.push((token.start as u32, token.end as u32));
            done = token.end;
        }
        self.stretch(scratch, text, done..text.len(), out)
    }

    /// Appends the tokens of a stretch between added ones.
    fn stretch(
        &self,
        scratch: &mut Scratch,
        text: &str,
        own: Range<usize>,
        out: &mut Encoding,
    ) -> bool {
        let Some(body) = text.get(own.clone()).filter(|body| !body.is_empty()) else {
            return true;
        };
        let is_put = match self.blank {
            Blank::Never => false,
            Blank::Missing => !body.starts_with(' '),
            Blank::MissingAtStart => own.start == 0 && !body.starts_with(' '),
            Blank::Always => true,
        };
        let from = out.ids.len();
        let mut first = std::mem::take(&mut scratch.first);
        if is_put {
            first.clear();
            first.push(' ');
            let end = self.first_seam(' ', body);
            let (head, rest) = body.split_at_checked(end).unwrap_or((body, ""));
            first.push_str(head);
            self.words(scratch, &first, &mut out.ids);
            self.words(scratch, rest, &mut out.ids);
        } else {
            self.words(scratch, body, &mut out.ids);
        }
        scratch.first = first;
        self.place(text, own, is_put, from, out)
    }

    /// Where the text behind a character may be cut for the first time.
    fn first_seam(&self, mut before: char, text: &str) -> usize {
        for (at, c) in text.char_indices() {
            if !self.merges.may_join(before, c) {
                return at;
            }
            before = c;
        }
        text.len()
    }

    /// Appends the tokens of a text, stretch by stretch.
    fn words(&self, scratch: &mut Scratch, text: &str, ids: &mut Vec<TokenId>) {
        let Scratch { cache, work, .. } = scratch;
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let width = c.len_utf8();
            let end = width + self.first_seam(c, rest.get(width..).unwrap_or_default());
            let (word, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
            let merged = |word: &str| {
                let mut own = Vec::new();
                self.merges.encode(word, work, &mut own);
                Ok(own)
            };
            // Merging cannot fail.
            let _ = cache.ids(word, ids, merged);
            rest = behind;
        }
    }

    /// Appends the places of the tokens from one on, if their texts are the stretch, with the blank that was put before.
    fn place(
        &self,
        text: &str,
        own: Range<usize>,
        is_put: bool,
        from: usize,
        out: &mut Encoding,
    ) -> bool {
        let Encoding { ids, offsets } = out;
        let mut rest = text.as_bytes().get(own.clone()).unwrap_or_default();
        let mut at = own.start as u32;
        let mut put = is_put;
        for &id in ids.get(from..).unwrap_or_default() {
            let Some(mut bytes) = self.texts.get(id) else {
                return false;
            };
            if std::mem::take(&mut put) {
                let Some(behind) = bytes.strip_prefix(b" ") else {
                    return false;
                };
                bytes = behind;
                if bytes.is_empty() {
                    // A blank that is not in the text stands for the character that it was put before.
                    offsets.push(widened(text, at, at + 1));
                    continue;
                }
            }
            let Some(behind) = rest.strip_prefix(bytes) else {
                return false;
            };
            rest = behind;
            let start = at;
            at += bytes.len() as u32;
            offsets.push(widened(text, start, at));
        }
        rest.is_empty()
    }
}

/// When blanks are put before text; none for a pipeline that does anything else to it.
fn blank(tokenizer: &Tokenizer) -> Option<Blank> {
    let replace = Replace::new(" ", "\u{2581}").ok()?;
    let replaces = |step: &NormalizerWrapper| matches!(step, NormalizerWrapper::Replace(own) if *own == replace);
    let by_normalizer = match tokenizer.get_normalizer() {
        None => None,
        Some(NormalizerWrapper::Sequence(steps)) => match steps.as_ref() {
            [NormalizerWrapper::Prepend(put), then]
                if put.prepend == "\u{2581}" && replaces(then) =>
            {
                Some(Blank::Always)
            }
            [only] if replaces(only) => Some(Blank::Never),
            _ => return None,
        },
        Some(step) if replaces(step) => Some(Blank::Never),
        Some(_) => return None,
    };
    match (by_normalizer, tokenizer.get_pre_tokenizer()) {
        (Some(blank), None) => Some(blank),
        // No blank is left to cut at.
        (Some(blank), Some(PreTokenizerWrapper::Split(step)))
            if step.pattern == SplitPattern::String(" ".to_owned()) && !step.invert =>
        {
            Some(blank)
        }
        (None, Some(PreTokenizerWrapper::Metaspace(step)))
            if !step.split && step.get_replacement() == BLANK =>
        {
            Some(match step.prepend_scheme {
                PrependScheme::Never => Blank::Never,
                PrependScheme::Always => Blank::Missing,
                PrependScheme::First => Blank::MissingAtStart,
            })
        }
        _ => None,
    }
}

/// The text of every token: plain blanks, and the byte of those that stand for one.
fn texts(tokenizer: &Tokenizer, vocab_len: u32) -> Option<TokenBytes> {
    let byte = |token: &str| {
        let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
        let byte = u8::from_str_radix(digits, 16)
            .ok()
            .filter(|_| digits.len() == 2)?;
        Some(vec![byte])
    };
    let text = |id| {
        let token = tokenizer.get_model().id_to_token(id)?;
        Some(byte(&token).unwrap_or_else(|| token.replace(BLANK, " ").into_bytes()))
    };
    TokenBytes::collect((0..vocab_len).map(|id| text(id).unwrap_or_default()))
}
