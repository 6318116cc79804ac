//! The reference engine: the `tokenizers` crate, one string a call.

use super::added::{AddedTokens, Spelled};
use super::byte_level::TokenBytes;
use super::pieces::Pieces;
use super::spellings::{Spelling, Spellings};
use super::{Encoding, SpecialTokens, Tokenizer};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::TokenId;
use std::ops::Range;
use std::sync::OnceLock;
use tokenizers::{Model as _, OffsetType, PreTokenizer as _};

/// Name and version of the crate, which is pinned exactly. Part of every fingerprint.
const NAME: &str = "tokenizers 0.23.2";

/// Texts on which pipelines differ: contractions, digits, blanks, line ends, scripts, composition, joined
/// emoji.
const PROBES: &[&str] = &[
    "",
    " ",
    "Hello world, it's I'LL we've don\u{2019}t 'S 's\u{17f}",
    "  two  spaces\t\ttabs \u{a0}\u{3000}wide \u{200b}none   ",
    "\n\n  \r\n\r\n a\n b \n",
    "0 12 345 6789 1234567890 \u{bd}\u{661}\u{662}\u{663} v1.2.3 3.14e-10",
    "CamelCase HTTPServer snake_case kebab-case a/b/c // --- !!! ...?!",
    "e\u{301} A\u{30a} \u{1e9b}\u{323} \u{1100}\u{1161}",
    "\u{e9}t\u{e9} \u{c5} \u{fb01} \u{ac00} q\u{323}",
    "\u{4e2d}\u{6587}\u{65e5}\u{672c}\u{8a9e}\u{30c6} \u{e44}\u{e17}\u{e22} \u{939}\u{93f}\u{902}\u{926}\u{940} \u{627}\u{644}",
    "\u{1f642}\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{1f1e9}\u{1f1ea} \u{0}\u{1c}\u{85}\u{feff}\u{e000}\u{10ffff}",
    "<s>a</s> <|im_start|>user\nhi<|im_end|>\n<|eot_id|><|endoftext|>  <mask> [INST] x",
    "fn main() { println!(\"{:?}\", vec![1, 2, 3]); } // \u{2581}x \u{120}y",
];

/// A tokenizer of the `tokenizers` crate with exact byte offsets.
pub(super) struct Engine {
    inner: tokenizers::Tokenizer,
    /// Set for byte-level BPE: offsets are then had from lengths, text by text proven.
    bytes: Option<TokenBytes>,
    /// Set for pipelines that only cut text and look pieces up: ids are then had piece by piece.
    pieces: Option<Pieces>,
    /// Made when it is first asked for: recipes that take text as the reference does never do.
    added: OnceLock<std::result::Result<(AddedTokens, Spellings), String>>,
    vocab_len: u32,
    fingerprint: u128,
}

impl Engine {
    /// Takes a tokenizer as the reference would have it. `fingerprint` covers all that it was made of; the
    /// engine's own name is added.
    ///
    /// # Errors
    ///
    /// [`Kind::Tokenizer`] for an empty vocabulary and for ids that do not fit a batch's 32-bit integers.
    pub(super) fn new(mut inner: tokenizers::Tokenizer, fingerprint: u128) -> Result<Engine> {
        inner.with_padding(None);
        inner.with_truncation(None).map_err(failed)?;
        let vocab = inner.get_vocab(true);
        let largest = vocab.values().copied().max();
        let vocab_len = match largest {
            Some(id) if id < i32::MAX as u32 => id + 1,
            Some(id) => return Err(refuse(format!("id {id} of the vocabulary is too large"))),
            None => return Err(refuse("the vocabulary is empty")),
        };
        let bytes = TokenBytes::of(&inner, &vocab, vocab_len);
        let pieces = bytes.as_ref().and_then(|_| Pieces::of(&inner));
        let mut engine = Engine {
            inner,
            bytes,
            pieces,
            added: OnceLock::new(),
            vocab_len,
            fingerprint: fingerprint ^ xxhash_rust::xxh3::xxh3_128(NAME.as_bytes()),
        };
        if !engine.agrees()? {
            engine.pieces = None;
        }
        Ok(engine)
    }

    /// Whether ids had piece by piece are those of the crate's own call, on texts that tell pipelines apart.
    fn agrees(&self) -> Result<bool> {
        let mut ids = Vec::new();
        for text in PROBES {
            for special in [SpecialTokens::Add, SpecialTokens::Leave] {
                if self.fast_ids(text, special, &mut ids)?.is_none() {
                    continue;
                }
                let own = self
                    .inner
                    .encode_fast(*text, special == SpecialTokens::Add)
                    .map_err(failed)?;
                if own.get_ids() != ids {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The tokenizer as the reference would have it.
    pub(super) fn inner(&self) -> &tokenizers::Tokenizer {
        &self.inner
    }

    /// The bytes of the tokens, for a pipeline whose offsets are the lengths before them.
    pub(super) fn bytes(&self) -> Option<&TokenBytes> {
        self.bytes.as_ref()
    }

    /// Whether a special token may take in a byte of `plain` (ranges in order and disjoint).
    pub(super) fn may_spell(&self, text: &str, plain: &[Range<usize>]) -> Result<bool> {
        let (added, spellings) = self.added()?;
        Ok(added.normalizes_special() || plain.iter().any(|own| spellings.touches(text, own)))
    }

    /// Whether ids are had piece by piece.
    #[cfg(test)]
    pub(super) fn has_pieces(&self) -> bool {
        self.pieces.is_some()
    }

    /// Replaces `ids` by those of `text` and gives 1 for each that a post-processor inserted; nothing for
    /// all 0.
    fn fast_ids(
        &self,
        text: &str,
        special: SpecialTokens,
        ids: &mut Vec<TokenId>,
    ) -> Result<Option<Vec<u32>>> {
        ids.clear();
        let add = special == SpecialTokens::Add;
        let encoding = match &self.pieces {
            Some(pieces) => {
                if !pieces.encode(&self.inner, text, ids).map_err(failed)? {
                    return Ok(None);
                }
                if !add {
                    return Ok(Some(Vec::new()));
                }
                let tokens = ids.drain(..).map(|id| (id, String::new(), (0, 0), None, 0));
                let encoding: tokenizers::Encoding = tokens.collect();
                self.inner.post_process(encoding, None, true)
            }
            None => self.inner.encode_fast(text, add),
        };
        let encoding = encoding.map_err(failed)?;
        ids.extend_from_slice(encoding.get_ids());
        Ok(Some(encoding.get_special_tokens_mask().to_vec()))
    }

    /// Whether offsets come from lengths where they can.
    #[cfg(test)]
    pub(super) fn has_lengths(&self) -> bool {
        self.bytes.is_some()
    }

    /// The id of an added token.
    #[cfg(test)]
    pub(super) fn inner_added(&self, content: &str) -> Option<TokenId> {
        let vocabulary = self.inner.get_added_vocabulary();
        vocabulary.get_vocab().get(content).copied()
    }

    /// The engine's own offsets: what [`Tokenizer::encode`] must equal.
    pub(super) fn encode_tracked(
        &self,
        text: &str,
        special: SpecialTokens,
        out: &mut Encoding,
    ) -> Result<()> {
        if u32::try_from(text.len()).is_err() {
            return Err(too_long());
        }
        let encoding = self
            .inner
            .encode(text, special == SpecialTokens::Add)
            .map_err(failed)?;
        put(&encoding, out)
    }

    fn added(&self) -> Result<&(AddedTokens, Spellings)> {
        let added = self.added.get_or_init(|| {
            let added = AddedTokens::of(&self.inner).map_err(|error| error.to_string())?;
            let spellings = Spellings::of(added.special()).map_err(|error| error.to_string())?;
            Ok((added, spellings))
        });
        added
            .as_ref()
            .map_err(|error| refuse(format!("its added tokens cannot be searched for: {error}")))
    }

    /// The crate's own steps behind the search for added tokens, with offsets.
    fn encode_split(
        &self,
        mut split: tokenizers::PreTokenizedString,
        special: SpecialTokens,
    ) -> tokenizers::Result<tokenizers::Encoding> {
        if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut split)?;
        }
        let model = self.inner.get_model();
        model.tokenize_in_pretokenized(&mut split, None)?;
        let encoding = split.into_encoding(None, 0, OffsetType::Byte)?;
        self.inner
            .post_process(encoding, None, special == SpecialTokens::Add)
    }
}

/// Replaces `out` by an encoding of the crate. Inserted tokens come as (0, 0) wherever they stand; here they stand where
/// the text before them ends.
fn put(encoding: &tokenizers::Encoding, out: &mut Encoding) -> Result<()> {
    out.clear();
    out.ids.extend_from_slice(encoding.get_ids());
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

impl Tokenizer for Engine {
    fn encode(&self, text: &str, special: SpecialTokens, out: &mut Encoding) -> Result<()> {
        if let Some(bytes) = &self.bytes
            && u32::try_from(text.len()).is_ok()
            && let Some(inserted) = self.fast_ids(text, special, &mut out.ids)?
        {
            let is_inserted = |position: usize| inserted.get(position) == Some(&1);
            if bytes.place(text, is_inserted, out) {
                return Ok(());
            }
        }
        self.encode_tracked(text, special, out)
    }

    fn encode_except(
        &self,
        text: &str,
        plain: &[Range<usize>],
        special: SpecialTokens,
        out: &mut Encoding,
    ) -> Result<Vec<Range<usize>>> {
        if plain.is_empty() {
            self.encode(text, special, out)?;
            return Ok(Vec::new());
        }
        if u32::try_from(text.len()).is_err() {
            return Err(too_long());
        }
        let (added, _) = self.added()?;
        let mut spelled = Vec::new();
        let split = added
            .split(&self.inner, text, plain, &mut spelled)
            .map_err(failed)?;
        let encoding = self.encode_split(split, special).map_err(failed)?;
        put(&encoding, out)?;
        for Spelled { id, at } in &spelled {
            let takes =
                |&(start, end): &(u32, u32)| (start as usize) < at.end && at.start < end as usize;
            let mut tokens = out.ids.iter().zip(&out.offsets);
            if tokens.any(|(own, offsets)| own == id && takes(offsets)) {
                return Err(unwritable(text.get(at.clone()).unwrap_or_default()));
            }
        }
        Ok(spelled.into_iter().map(|spelled| spelled.at).collect())
    }

    fn spellings(&self, text: &str) -> Result<Vec<Spelling>> {
        let (added, spellings) = self.added()?;
        let mut found = spellings.find(text);
        if added.normalizes_special() {
            let mut spelled = Vec::new();
            let all = 0..text.len();
            added
                .split(&self.inner, text, &[all], &mut spelled)
                .map_err(failed)?;
            found.extend(
                spelled
                    .into_iter()
                    .map(|spelled| Spelling::whole(text, spelled.at)),
            );
            found.sort_by_key(|spelling| spelling.character.start);
            found.dedup_by_key(|spelling| spelling.character.start);
        }
        Ok(found)
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

fn unwritable(token: &str) -> Error {
    Error::new(
        Kind::Tokenizer,
        Stage::Tokenize,
        format!(
            "the tokenizer's model makes the special token of {token:?} even where it is plain text"
        ),
    )
    .remedy(
        "use special_tokens_in_text: refuse for this tokenizer, or take the token out of the row",
    )
}

fn too_long() -> Error {
    Error::new(Kind::Limit, Stage::Tokenize, "the text has 4 GiB or more")
}
