//! Byte-level BPE at memory speed: the `fastokens` crate, given the pipeline that the reference engine has.
//!
//! The crate reads a tokenizer.json. It gets the one that the reference engine would write: what the class rebuilt,
//! tokens that were added, all. Truncation, padding, post-processor and decoder are left out; packmill does their work.
//!
//! The crate wants ids without holes. Some published files have some (gpt4o's `model.vocab` ends with special tokens
//! of far ids), so holes are filled with entries that no text can spell: they begin with a character that is not in the
//! alphabet of byte-level vocabularies.

use super::alone::stays_on_callers_thread;
use crate::example::TokenId;
use fastokens::AddedTokenPolicy;
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Name and version of the crate, which is pinned exactly.
pub(super) const NAME: &str = "fastokens 0.3.5";

/// Holes that are filled. More is another kind of file than is known.
const MOST_HOLES: u64 = 1 << 16;

/// A pipeline of the crate.
pub(super) struct ByteBpe {
    inner: fastokens::Tokenizer,
    policy: AddedTokenPolicy,
}

impl ByteBpe {
    /// The pipeline of `tokenizer`, or why the crate does not take it.
    pub(super) fn of(tokenizer: &tokenizers::Tokenizer) -> Result<ByteBpe, String> {
        if !stays_on_callers_thread() {
            return Err("its threads cannot be kept off on this system".to_owned());
        }
        let json = serde_json::to_value(tokenizer).map_err(|error| error.to_string())?;
        let inner = fastokens::Tokenizer::from_json(mended(json)?);
        let nowhere = tokenizer.get_added_vocabulary().get_encode_special_tokens();
        Ok(ByteBpe {
            inner: inner.map_err(|error| error.to_string())?,
            policy: match nowhere {
                true => AddedTokenPolicy::SkipSpecial,
                false => AddedTokenPolicy::All,
            },
        })
    }

    /// Replaces `ids` by those of `text`, without the special tokens of a post-processor.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<TokenId>) -> Result<(), String> {
        let own = self.inner.encode_with_policy(text, false, self.policy);
        *ids = own.map_err(|error| error.to_string())?;
        Ok(())
    }
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
    let holes = u64::from(last) + 1 - ids.len() as u64;
    if holes > MOST_HOLES {
        return Err(format!("{holes} ids of the vocabulary are not in use"));
    }
    if holes > 0 {
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
