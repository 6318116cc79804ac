//! The bytes that each token id stands for, read from `tokenizer.json`.
//!
//! A decoder would give text, and half a character is no text: so this looks the bytes up in the vocabulary, for the
//! three ways in which vocabularies write them.

use super::byte_level;
use anyhow::Context;
use serde_json::Value;
use std::borrow::Cow;
use std::fs;
use std::path::Path;

/// Ids above this are not believed: a row of a table is kept for each.
const MAX_ID: u64 = 1 << 24;

/// What a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    /// Its bytes; not always whole characters.
    pub(crate) bytes: Cow<'a, [u8]>,
    /// Whether it is a special token, which no ordinary text gives.
    pub(crate) special: bool,
}

/// The pieces of a vocabulary, by id.
#[derive(Debug)]
pub(crate) struct Pieces {
    by_id: Vec<Option<Piece<'static>>>,
}

/// How a vocabulary writes bytes.
#[derive(Clone, Copy)]
enum Writing {
    /// A character for each byte (GPT-2, Llama 3, Qwen).
    ByteLevel,
    /// `▁` for a space and `<0x0A>` for a byte (Llama 2, Gemma, Mistral).
    SentencePiece,
    /// As it is.
    Plain,
}

impl Pieces {
    /// Reads a `tokenizer.json`.
    pub(crate) fn open(tokenizer_json: &Path) -> anyhow::Result<Self> {
        let json = fs::read(tokenizer_json)
            .with_context(|| format!("cannot read {}", tokenizer_json.display()))?;
        Self::parse(&json).with_context(|| tokenizer_json.display().to_string())
    }

    /// Reads the contents of a `tokenizer.json`.
    pub(crate) fn parse(json: &[u8]) -> anyhow::Result<Self> {
        let json: Value = serde_json::from_slice(json)?;
        let writing = if mentions(&json["decoder"], "ByteLevel") {
            Writing::ByteLevel
        } else if mentions(&json["decoder"], "ByteFallback")
            || mentions(&json["decoder"], "Metaspace")
        {
            Writing::SentencePiece
        } else {
            Writing::Plain
        };
        let mut pieces = Pieces { by_id: Vec::new() };
        match &json["model"]["vocab"] {
            Value::Object(vocabulary) => {
                for (content, id) in vocabulary {
                    pieces.set(id.as_u64(), writing.bytes(content), false);
                }
            }
            Value::Array(vocabulary) => {
                for (id, entry) in (0u64..).zip(vocabulary) {
                    let content = entry[0].as_str().unwrap_or_default();
                    pieces.set(Some(id), writing.bytes(content), false);
                }
            }
            _ => anyhow::bail!("has no model.vocab"),
        }
        for added in json["added_tokens"].as_array().into_iter().flatten() {
            let content = added["content"].as_str().unwrap_or_default();
            let special = added["special"].as_bool().unwrap_or(false);
            pieces.set(added["id"].as_u64(), content.as_bytes().to_vec(), special);
        }
        Ok(pieces)
    }

    fn set(&mut self, id: Option<u64>, bytes: Vec<u8>, special: bool) {
        let Some(id) = id
            .filter(|&id| id <= MAX_ID)
            .and_then(|id| usize::try_from(id).ok())
        else {
            return;
        };
        if self.by_id.len() <= id {
            self.by_id.resize(id + 1, None);
        }
        self.by_id[id] = Some(Piece {
            bytes: bytes.into(),
            special,
        });
    }

    /// What an id stands for; an id that the vocabulary does not know shows itself.
    pub(crate) fn get(&self, id: i32) -> Piece<'_> {
        let known = usize::try_from(id)
            .ok()
            .and_then(|id| self.by_id.get(id)?.as_ref());
        match known {
            Some(piece) => Piece {
                bytes: Cow::Borrowed(&piece.bytes),
                special: piece.special,
            },
            None => Piece {
                bytes: format!("<unknown id {id}>").into_bytes().into(),
                special: true,
            },
        }
    }
}

impl Writing {
    fn bytes(self, content: &str) -> Vec<u8> {
        match self {
            Writing::ByteLevel => content
                .chars()
                .map(byte_level::byte_of)
                .collect::<Option<Vec<u8>>>()
                // Some vocabularies hold added tokens in clear.
                .unwrap_or_else(|| content.as_bytes().to_vec()),
            Writing::SentencePiece => match single_byte(content) {
                Some(byte) => vec![byte],
                None => content.replace('▁', " ").into_bytes(),
            },
            Writing::Plain => content.as_bytes().to_vec(),
        }
    }
}

/// The byte of `<0x0A>`.
fn single_byte(content: &str) -> Option<u8> {
    let digits = content.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// Whether a decoder, or one of a sequence of decoders, is of this type.
fn mentions(decoder: &Value, kind: &str) -> bool {
    decoder["type"] == kind
        || decoder["decoders"]
            .as_array()
            .is_some_and(|decoders| decoders.iter().any(|decoder| mentions(decoder, kind)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bytes(pieces: &Pieces, id: i32) -> Vec<u8> {
        pieces.get(id).bytes.into_owned()
    }

    #[test]
    fn byte_level_vocabularies_give_bytes_and_added_tokens_text() {
        let json = json!({
            "decoder": { "type": "Sequence", "decoders": [{ "type": "ByteLevel" }] },
            "model": { "vocab": { "Ġthe": 0, "âĤ": 1, "¬Ċ": 2 } },
            "added_tokens": [
                { "id": 5, "content": "<|end|>", "special": true },
                { "id": 3, "content": "<tool>", "special": false },
            ],
        });
        let pieces = Pieces::parse(json.to_string().as_bytes()).unwrap();
        assert_eq!(bytes(&pieces, 0), b" the");
        assert_eq!(
            [bytes(&pieces, 1), bytes(&pieces, 2)].concat(),
            "€\n".as_bytes()
        );
        assert!(pieces.get(5).special && !pieces.get(3).special);
        assert_eq!(bytes(&pieces, 4), b"<unknown id 4>");
        assert_eq!(bytes(&pieces, -1), b"<unknown id -1>");
    }

    #[test]
    fn sentence_piece_vocabularies_give_spaces_and_bytes() {
        let json = json!({
            "decoder": { "type": "Sequence", "decoders": [{ "type": "ByteFallback" }] },
            "model": { "vocab": [["<unk>", 0.0], ["▁the", -1.0], ["<0xE2>", -2.0], ["<0xZZ>", -2.0]] },
        });
        let pieces = Pieces::parse(json.to_string().as_bytes()).unwrap();
        assert_eq!(bytes(&pieces, 1), b" the");
        assert_eq!(bytes(&pieces, 2), [0xe2]);
        assert_eq!(bytes(&pieces, 3), b"<0xZZ>");
    }

    #[test]
    fn refuses_what_is_no_tokenizer_and_survives_absurd_ids() {
        assert!(Pieces::parse(b"{}").is_err());
        assert!(Pieces::parse(b"\xff").is_err());
        let pieces =
            Pieces::parse(br#"{"model": {"vocab": {"a": 18446744073709551615, "b": "x"}}}"#);
        assert_eq!(pieces.unwrap().by_id.len(), 0);
    }
}
