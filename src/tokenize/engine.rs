//! The engine: the `tokenizers` crate, one string a call.

use super::byte_level::TokenBytes;
use super::{Encoding, SpecialTokens, Tokenizer};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::TokenId;

/// Name and version of the crate, which is pinned exactly. Part of every fingerprint.
const NAME: &str = "tokenizers 0.23.2";

/// Words whose tokens a thread keeps. The crate's own default, 10,000, is less than a corpus of chats has.
pub(super) const WORD_CACHE: usize = 100_000;

/// A tokenizer of the `tokenizers` crate with exact byte offsets.
pub(super) struct Engine {
    inner: tokenizers::Tokenizer,
    /// Set for byte-level BPE: offsets are then had from lengths, text by text proven.
    bytes: Option<TokenBytes>,
    vocab_len: u32,
    fingerprint: u128,
}

impl Engine {
    /// Takes a tokenizer as the reference would have it. `fingerprint` covers all that it was made of; the engine's
    /// own name is added.
    ///
    /// # Errors
    ///
    /// [`Kind::Tokenizer`] for an empty vocabulary and for ids that do not fit a batch's 32-bit integers.
    pub(super) fn new(mut inner: tokenizers::Tokenizer, fingerprint: u128) -> Result<Engine> {
        inner.with_padding(None);
        inner.with_truncation(None).map_err(failed)?;
        let largest = inner.get_vocab(true).into_values().max();
        let vocab_len = match largest {
            Some(id) if id < i32::MAX as u32 => id + 1,
            Some(id) => return Err(refuse(format!("id {id} of the vocabulary is too large"))),
            None => return Err(refuse("the vocabulary is empty")),
        };
        let bytes = TokenBytes::of(&inner, vocab_len);
        Ok(Engine {
            inner,
            bytes,
            vocab_len,
            fingerprint: fingerprint ^ xxhash_rust::xxh3::xxh3_128(NAME.as_bytes()),
        })
    }

    /// Whether offsets come from lengths where they can.
    #[cfg(test)]
    pub(super) fn has_lengths(&self) -> bool {
        self.bytes.is_some()
    }

    /// The engine's own offsets: what [`Tokenizer::encode`] must equal.
    pub(super) fn encode_tracked(
        &self,
        text: &str,
        special: SpecialTokens,
        out: &mut Encoding,
    ) -> Result<()> {
        let encoding = self
            .inner
            .encode(text, special == SpecialTokens::Add)
            .map_err(failed)?;
        out.clear();
        out.ids.extend_from_slice(encoding.get_ids());
        // Inserted tokens come as (0, 0) wherever they stand; here they stand where the text before them ends.
        let inserted = encoding.get_special_tokens_mask();
        let mut at = 0;
        for (position, &(start, end)) in encoding.get_offsets().iter().enumerate() {
            if inserted.get(position) == Some(&1) {
                out.offsets.push((at, at));
            } else {
                let end = u32::try_from(end).map_err(|_| too_long())?;
                let start = u32::try_from(start).map_err(|_| too_long())?;
                out.offsets.push((start, end));
                at = end;
            }
        }
        Ok(())
    }
}

impl Tokenizer for Engine {
    fn encode(&self, text: &str, special: SpecialTokens, out: &mut Encoding) -> Result<()> {
        if u32::try_from(text.len()).is_err() {
            return Err(too_long());
        }
        if let Some(bytes) = &self.bytes {
            let encoding = self
                .inner
                .encode_fast(text, special == SpecialTokens::Add)
                .map_err(failed)?;
            let inserted = encoding.get_special_tokens_mask();
            let is_inserted = |position: usize| inserted.get(position) == Some(&1);
            if bytes.place(text, encoding.get_ids(), is_inserted, out) {
                return Ok(());
            }
        }
        self.encode_tracked(text, special, out)
    }

    fn vocab_len(&self) -> u32 {
        self.vocab_len
    }

    fn token(&self, id: TokenId) -> Option<String> {
        self.inner.id_to_token(id)
    }

    fn id(&self, token: &str) -> Option<TokenId> {
        self.inner.token_to_id(token)
    }

    fn decode(&self, ids: &[TokenId]) -> Result<String> {
        self.inner.decode(ids, false).map_err(failed)
    }

    fn name(&self) -> &str {
        NAME
    }

    fn fingerprint(&self) -> u128 {
        self.fingerprint
    }
}

fn refuse(message: impl Into<String>) -> Error {
    Error::new(Kind::Tokenizer, Stage::Tokenize, message)
}

fn failed(error: tokenizers::Error) -> Error {
    refuse(format!("the tokenizer gave up: {error}"))
}

fn too_long() -> Error {
    Error::new(Kind::Limit, Stage::Tokenize, "the text has 4 GiB or more")
}
