//! Stage 3 of 7: tokenize. Text to ids and the bytes of the text that each id stands for.
//!
//! [`load()`] finds a tokenizer and makes of its files what Hugging Face Transformers makes of them, so that
//! ids are the reference's. Two engines are behind [`Tokenizer`], and both work one string a call on the caller's
//! thread: the reference, which is the `tokenizers` crate, and in front of it a fast one where there is one that gives
//! the same ids and offsets.
//!
//! ```text
//! TokenizerConfig ─► locate ─► settings ─► reference ─► Engine ───────► FastEngine
//!                    which     the words   what the     the crate's     where it gives the
//!                    files     in them     class makes  pieces or call  same on the probes
//! ```

mod added;

mod alone;

mod byte_bpe;

mod byte_level;

mod classes;

mod engine;

mod fast;

mod find_added;

mod load;

mod locate;

mod merges;

mod pieces;

mod plain;

mod probes;

mod reference;

mod runs;

mod sentence_bpe;

mod settings;

mod spellings;

#[cfg(test)]
pub(crate) mod tiny;

#[cfg(test)]
mod tests;

use crate::error::{Error, Kind, Result, Stage};
use crate::example::TokenId;
use std::ops::Range;

pub use load::{AddedToken, LoadedTokenizer, SpecialToken, load};
pub use locate::HubCache;
pub use runs::refuse_long_runs;
pub use spellings::Spelling;

/// Bytes of the text that a token stands for, `(start, end)`. A token that stands for no text (a BOS that the
/// tokenizer put there) has an empty range.
pub type ByteOffsets = (u32, u32);

/// Whether the tokenizer adds the special tokens that its post-processor knows (BOS, EOS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecialTokens {
    /// Added, as for plain text.
    Add,
    /// Left out, as for rendered chats: the template has written them.
    Leave,
}

/// One tokenized text: a buffer to be reused.
///
/// Invariant: both lists have the same length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The tokens.
    pub ids: Vec<TokenId>,
    /// Where in the text each of them stands. Ranges lie within the text and begin and end at characters:
    /// the tokens of a character that takes several all have the whole of it. Special tokens that were
    /// added have an empty range at the text's start or end.
    pub offsets: Vec<ByteOffsets>,
}

impl Encoding {
    /// Empties both lists and keeps their memory.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.offsets.clear();
    }
}

/// What a fast engine did since it was loaded. All 0 for the reference engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineCounts {
    /// Texts that the reference engine encoded before the fast one was ready.
    pub before_ready: u64,
    /// Texts that it left to the reference engine.
    pub by_reference: u64,
    /// Texts that were compared with the reference's.
    pub checked: u64,
}

/// Text to ids.
///
/// Implementations must be pure: the same text gives the same ids in every call, on every thread, whatever
/// was encoded before. They must give the ids that the reference (`AutoTokenizer` of Transformers) gives
/// for the same files, must not truncate or pad, must encode on the caller's thread, and must take any text, the empty one
/// included.
pub trait Tokenizer: Send + Sync {
    /// Replaces `out` by the tokens of `text`.
    ///
    /// # Errors
    ///
    /// [`Kind::Tokenizer`] where the engine gives up; [`Kind::Limit`] for a text of 4 GiB or more.
    fn encode(&self, text: &str, special: SpecialTokens, out: &mut Encoding) -> Result<()>;

    /// The same, but for special tokens that take in a byte of `plain` (ranges in order and disjoint): these are
    /// ordinary text, to be told apart from those that others wrote. Other added tokens are recognised everywhere.
    /// Without `plain` it is [`encode`](Self::encode).
    ///
    /// Returns where the special tokens stand that were left as text, in order.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode), and [`Kind::Tokenizer`] where the model itself makes the special token of the
    /// text, so that it cannot be left.
    fn encode_except(
        &self,
        text: &str,
        plain: &[Range<usize>],
        special: SpecialTokens,
        out: &mut Encoding,
    ) -> Result<Vec<Range<usize>>>;

    /// Where `text`, a piece of a larger one, spells special tokens or might, with what is put before or behind it.
    /// In order.
    ///
    /// # Errors
    ///
    /// [`Kind::Tokenizer`] where the engine gives up.
    fn spellings(&self, text: &str) -> Result<Vec<Spelling>>;

    /// One past the largest id, added tokens included. Ids below it need not all be in use.
    fn vocab_len(&self) -> u32;

    /// How the vocabulary writes a token (`Ġhello` for byte-level ones).
    fn token(&self, id: TokenId) -> Option<String>;

    /// The id of a token written as in the vocabulary.
    fn id(&self, token: &str) -> Option<TokenId>;

    /// Text of a run of ids, special tokens written out; for people to look at.
    ///
    /// # Errors
    ///
    /// [`Kind::Tokenizer`] where the decoder gives up.
    fn decode(&self, ids: &[TokenId]) -> Result<String>;

    /// Name and version of the engine that serves now.
    fn name(&self) -> &str;

    /// Waits until the engine is the one that will serve from then on. Nobody has to: ids are the same before.
    ///
    /// # Errors
    ///
    /// Why that is the reference engine where a fast one was wanted.
    fn wait(&self) -> std::result::Result<(), &str> {
        Ok(())
    }

    /// Hash of everything that decides ids: files, what was changed in them, and the reference engine's name and
    /// version, whichever engine runs: ids are the same.
    fn fingerprint(&self) -> u128;

    /// The reference engine behind the one that serves now, to compare with; none where that is the reference.
    fn reference(&self) -> Option<&dyn Tokenizer> {
        None
    }

    /// Compares what [`encode_except`](Self::encode_except) made of a text with what the reference engine makes of it.
    /// The reference itself has nothing to compare.
    ///
    /// # Errors
    ///
    /// [`Kind::Internal`] where they differ, naming the engines and the place in the text.
    fn check(
        &self,
        _text: &str,
        _plain: &[Range<usize>],
        _special: SpecialTokens,
        _out: &Encoding,
    ) -> Result<()> {
        Ok(())
    }

    /// What the engine did since it was loaded, over all threads.
    fn counts(&self) -> EngineCounts {
        EngineCounts::default()
    }

    /// Refuses ids that are not in the vocabulary, for rows that come as tokens.
    ///
    /// # Errors
    ///
    /// [`Kind::Row`], naming the first such id and its position.
    fn check_ids(&self, ids: &[TokenId]) -> Result<()> {
        let len = self.vocab_len();
        match ids.iter().position(|&id| id >= len) {
            None => Ok(()),
            Some(position) => {
                let id = ids.get(position).copied().unwrap_or_default();
                Err(Error::new(
                    Kind::Row,
                    Stage::Tokenize,
                    format!(
                        "id {id} at position {position} is outside the vocabulary of {len} ids"
                    ),
                )
                .remedy("name the tokenizer that the row was made with"))
            }
        }
    }
}
