//! Where the tokenizer is.

use super::keys::{FILLED, json};
use super::shape::{Section, Shape, Text, choice, key};
use serde::{Deserialize, Serialize};

/// Where the tokenizer is and which ids it ends and pads with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct TokenizerConfig {
    /// A folder with tokenizer.json, a tokenizer.json, or a Hub id (as written).
    pub path: String,
    /// Hub revision, `main` if none.
    pub revision: Option<String>,
    /// Overrides of the special tokens, by content.
    pub bos: Option<String>,
    /// The same for the end-of-sequence token.
    pub eos: Option<String>,
    /// The same for the padding token; falls back to eos, then to id 0.
    pub pad: Option<String>,
    /// What makes ids of text. Every engine gives the same ones.
    #[serde(default)]
    pub engine: TokenizerEngine,
}

/// What makes ids of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerEngine {
    /// The fast engine where there is one for the tokenizer that gives what the reference gives, else the reference.
    #[default]
    Auto,
    /// The fast engine; a tokenizer that it does not take is refused.
    Fast,
    /// The `tokenizers` crate.
    Reference,
}

/// The keys.
pub(super) static KEYS: Section = Section {
    defaults: || json(&TokenizerConfig::default()),
    keys: &[
        key(
            "path",
            Shape::Text(Text::Tokenizer),
            "A folder with tokenizer.json, a tokenizer.json, or a Hub id (org/name) found \
             in the local Hugging Face cache.",
        )
        .required()
        .elsewhere(&["name", "id"]),
        key(
            "revision",
            Shape::Nullable(&FILLED),
            "Revision of a Hub id; null is main.",
        ),
        key(
            "bos",
            Shape::Nullable(&FILLED),
            "The beginning-of-sequence token; null takes the tokenizer's own.",
        )
        .elsewhere(&["bos_token"]),
        key(
            "eos",
            Shape::Nullable(&FILLED),
            "The end-of-sequence token; null takes the tokenizer's own.",
        )
        .elsewhere(&["eos_token"]),
        key(
            "pad",
            Shape::Nullable(&FILLED),
            "The padding token; null takes the tokenizer's own, else eos, else id 0.",
        )
        .elsewhere(&["pad_token"]),
        key(
            "engine",
            Shape::Choice(&[
                choice(
                    "auto",
                    "The fast engine where there is one that gives what the reference gives, else the reference.",
                ),
                choice(
                    "fast",
                    "The fast engine; a tokenizer that it does not take is refused.",
                ),
                choice("reference", "The tokenizers crate."),
            ]),
            "What makes ids of text. Changes no token.",
        ),
    ],
};
