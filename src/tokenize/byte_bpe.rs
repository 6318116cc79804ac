//! Byte-level BPE at memory speed: the `fastokens` crate, given the pipeline that the reference engine has.
//!
//! The crate reads a tokenizer.json. It gets the one that the reference engine would write: what the class rebuilt,
//! tokens that were added, all. Truncation, padding, post-processor and decoder are left out; packmill does their work.
//!
//! The crate wants ids without holes. Some published files have some (gpt4o's `model.vocab` ends with special tokens
//! of far ids), so holes are filled with entries that no text can spell: they begin with a character that is not in the
//! alphabet of byte-level vocabularies.

use super::alone::stays_on_callers_thread;
use super::byte_level::is_dense;
use super::find_added::FindAdded;
use crate::example::TokenId;
use fastokens::{AddedTokenPolicy, Model, PreTokenizer};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Name and version of the crate, which is pinned exactly.
pub(super) const NAME: &str = "fastokens 0.3.5";

/// A pipeline of the crate.
pub(super) struct ByteBpe {
    inner: fastokens::Tokenizer,
    policy: AddedTokenPolicy,
    direct: Option<Direct>,
}

/// The crate's scanner, called for each stretch between added tokens, where nothing else happens to a text: the crate's
/// own call searches for added tokens byte by byte and makes lists of them and of ids.
struct Direct {
    added: Option<FindAdded>,
    scan: Box<Scan>,
}

/// Appends the ids of a stretch. The crate does not name the type of its scanners, so they are held by a function.
type Scan =
    dyn Fn(&fastokens::Tokenizer, &str, &mut Vec<TokenId>) -> Result<(), String> + Send + Sync;

/// Bytes of a text from which on the crate may cut it in pieces, which is its own affair.
const DIRECT_BYTES: usize = 64 << 10;

impl ByteBpe {
    /// The pipeline of `tokenizer`, or why the crate does not take it.
    pub(super) fn of(tokenizer: &tokenizers::Tokenizer) -> Result<ByteBpe, String> {
        if !stays_on_callers_thread() {
            return Err("its threads cannot be kept off on this system".to_owned());
        }
        let json = serde_json::to_value(tokenizer).map_err(|error| error.to_string())?;
        let inner = fastokens::Tokenizer::from_json(mended(json)?);
        let inner = inner.map_err(|error| error.to_string())?;
        let nowhere = tokenizer.get_added_vocabulary().get_encode_special_tokens();
        Ok(ByteBpe {
            direct: Direct::of(tokenizer, &inner),
            inner,
            policy: match nowhere {
                true => AddedTokenPolicy::SkipSpecial,
                false => AddedTokenPolicy::All,
            },
        })
    }

    /// Replaces `ids` by those of `text`, without the special tokens of a post-processor.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<TokenId>) -> Result<(), String> {
        if let Some(direct) = &self.direct
            && text.len() < DIRECT_BYTES
            && self
                .inner
                .normalizer()
                .is_none_or(|normalizer| normalizer.is_identity_on(text))
        {
            return direct.encode(&self.inner, text, ids);
        }
        *ids = self.encode_by_crate(text)?;
        Ok(())
    }

    /// The same by the crate's own call, which takes any text.
    pub(super) fn encode_by_crate(&self, text: &str) -> Result<Vec<TokenId>, String> {
        let ids = self.inner.encode_with_policy(text, false, self.policy);
        ids.map_err(|error| error.to_string())
    }
}

impl Direct {
    /// The way for a pipeline of one pattern that the crate has a scanner for, and added tokens that do nothing but to be
    /// found; none for any other.
    fn of(tokenizer: &tokenizers::Tokenizer, inner: &fastokens::Tokenizer) -> Option<Direct> {
        let PreTokenizer::Sequence(steps) = inner.pre_tokenizer()? else {
            return None;
        };
        let [PreTokenizer::Split(split), PreTokenizer::ByteLevel(bytes)] = steps.as_slice() else {
            return None;
        };
        let Model::Bpe(model) = inner.model();
        if !(bytes.is_bulk_only() && model.supports_fused_byte_level()) {
            return None;
        }
        let scanner = split.scan_kind()?;
        Some(Direct {
            added: FindAdded::in_vocabulary(tokenizer).ok()?,
            scan: Box::new(move |inner, text, ids| {
                let Model::Bpe(model) = inner.model();
                let done = model.tokenize_scanned_segment(scanner, text, ids);
                done.map_err(|error| error.to_string())
            }),
        })
    }

    /// Replaces `ids` by those of a text that no normalizer changes.
    fn encode(
        &self,
        inner: &fastokens::Tokenizer,
        text: &str,
        ids: &mut Vec<TokenId>,
    ) -> Result<(), String> {
        ids.clear();
        let stretch = |from: usize, to: usize, ids: &mut Vec<TokenId>| match text.get(from..to) {
            None | Some("") => Ok(()),
            Some(own) => (self.scan)(inner, own, ids),
        };
        let next = |from| self.added.as_ref().and_then(|added| added.next(text, from));
        let mut done = 0;
        while let Some((token, id)) = next(done) {
            stretch(done, token.start, ids)?;
            ids.push(id);
            done = token.end;
        }
        stretch(done, text.len(), ids)
    }
}

/// Whether a text has what version 0.3.5 is known to cut otherwise than the patterns say: in those of GPT-4o and gpt-oss an
/// apostrophe with a long s, which `(?i:'s)` takes for a contraction (`s'ſ'SM` is `s'ſ` and `'SM`). 35 of a million rows of
/// hostile Unicode found it.
pub(super) fn is_cut_otherwise(text: &str) -> bool {
    !text.is_ascii() && memchr::memmem::find(text.as_bytes(), "'\u{17f}".as_bytes()).is_some()
}

/// The parts that decide ids, without holes.
fn mended(json: Value) -> Result<Value, String> {
    let Value::Object(mut json) = json else {
        return Err("the tokenizer is not an object".to_owned());
    };
    for part in ["truncation", "padding", "post_processor", "decoder"] {
        json.insert(part.to_owned(), Value::Null);
    }
    let vocab = json
        .get_mut("model")
        .and_then(|model| model.get_mut("vocab"))
        .and_then(Value::as_object_mut)
        .ok_or("the model has no vocabulary of tokens and ids")?;
    fill_holes(vocab)?;
    Ok(Value::Object(json))
}

fn fill_holes(vocab: &mut Map<String, Value>) -> Result<(), String> {
    let ids: Option<HashSet<u32>> = vocab
        .values()
        .map(|id| u32::try_from(id.as_u64()?).ok())
        .collect();
    let ids = ids.ok_or("an id of the vocabulary is no 32-bit number")?;
    let Some(&last) = ids.iter().max() else {
        return Ok(());
    };
    let all = last as usize + 1;
    if !is_dense(all, ids.len()) {
        let holes = all - ids.len();
        return Err(format!("{holes} ids of the vocabulary are not in use"));
    }
    if all > ids.len() {
        let missing = (0..=last).filter(|id| !ids.contains(id));
        // Two characters, so that none is a whole piece of text.
        vocab.extend(missing.map(|id| (format!("\u{10fffe}{id}\u{10fffe}"), id.into())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_id_up_to_the_last_is_there_once() {
        let mut vocab = json!({"a": 0, "b": 2, "c": 5}).as_object().unwrap().clone();
        fill_holes(&mut vocab).unwrap();
        let mut ids: Vec<u64> = vocab.values().map(|id| id.as_u64().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, [0, 1, 2, 3, 4, 5]);
        assert_eq!(
            (&vocab["a"], &vocab["b"], &vocab["c"]),
            (&json!(0), &json!(2), &json!(5))
        );
        vocab.insert("d".to_owned(), json!(200_000));
        assert!(fill_holes(&mut vocab).is_err());
    }
}
