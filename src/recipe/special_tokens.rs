//! What becomes of text that spells special tokens.

use super::shape::{Shape, choice};
use serde::{Deserialize, Serialize};

/// What becomes of a special token that a row's text spells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum SpecialTokensInText {
    /// It becomes that token, as in Transformers. The default: the reference's ids.
    #[default]
    Parse,
    /// It stays text; what the template itself writes becomes the token.
    Plain,
    /// The record is a bad one.
    Refuse,
}

/// The choice, for the recipe's key and a source's own.
pub(super) const CHOICE: Shape = Shape::Choice(&[
    choice("parse", "It becomes that token, as in Transformers."),
    choice(
        "plain",
        "It is tokenized as ordinary text; those that the template itself writes stay special.",
    ),
    choice("refuse", "The record is a bad one."),
]);
