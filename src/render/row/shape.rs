//! Which of the ecosystem's shapes a source's rows have, told by the fields of its first record.

use super::fault::{Fault, Result, name_keys};
use super::json::{Cursor, Type};
use crate::recipe::{Fields, RowKind};
use std::fmt;

/// ShareGPT's field of turns, known beside `fields.messages`.
pub(super) const CONVERSATIONS: &str = "conversations";

/// How the rows of a source are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// `messages`.
    Messages,
    /// `conversations`: ShareGPT.
    Conversations,
    /// `prompt` and `completion`: strings or messages.
    PromptCompletion,
    /// `instruction`, `input` and `output`: Alpaca.
    Instruction,
    /// `text`.
    Text,
    /// `input_ids`, with `labels` or `loss_mask`.
    Tokens,
}

impl Shape {
    /// In the order in which they are looked for: a corpus that has what comes first often keeps a rendered or
    /// flattened copy of it under what comes later (`text` in Alpaca, `prompt` in UltraChat).
    const ALL: [Shape; 6] = [
        Shape::Tokens,
        Shape::Messages,
        Shape::Conversations,
        Shape::PromptCompletion,
        Shape::Instruction,
        Shape::Text,
    ];

    /// The fields that a row of this shape cannot do without.
    pub(super) fn needs(self, fields: &Fields) -> Vec<&str> {
        match self {
            Shape::Messages => vec![&fields.messages],
            Shape::Conversations => vec![CONVERSATIONS],
            Shape::PromptCompletion => vec![&fields.prompt, &fields.completion],
            Shape::Instruction => vec![&fields.instruction, &fields.output],
            Shape::Text => vec![&fields.text],
            Shape::Tokens => vec![&fields.input_ids],
        }
    }

    fn is_of(self, kind: RowKind) -> bool {
        match kind {
            RowKind::Auto => true,
            RowKind::Chat => matches!(self, Shape::Messages | Shape::Conversations),
            RowKind::PromptCompletion => self == Shape::PromptCompletion,
            RowKind::Instruction => self == Shape::Instruction,
            RowKind::Text => self == Shape::Text,
            RowKind::Tokens => self == Shape::Tokens,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Shape::Messages => "messages",
            Shape::Conversations => "conversations (ShareGPT)",
            Shape::PromptCompletion => "prompt and completion",
            Shape::Instruction => "instruction (Alpaca)",
            Shape::Text => "text",
            Shape::Tokens => "tokens",
        })
    }
}

/// The first shape of `kind` whose fields the record has, none of them null.
pub(super) fn detect(cursor: &mut Cursor<'_>, kind: RowKind, fields: &Fields) -> Result<Shape> {
    let mut keys: Vec<(String, bool)> = Vec::new();
    cursor.expect(Type::Object)?;
    cursor.object(|cursor, key| {
        let there = cursor.peek()? != Type::Null;
        // A later duplicate counts, as in Python, so the list is searched from its end.
        keys.push((key.into_owned(), there));
        cursor.skip()
    })?;
    let has = |name: &str| {
        let latest = keys.iter().rev().find(|(key, _)| key == name);
        latest.is_some_and(|(_, there)| *there)
    };
    let mut shapes = Shape::ALL.into_iter().filter(|shape| shape.is_of(kind));
    let found = shapes.find(|shape| shape.needs(fields).into_iter().all(has));
    found.ok_or_else(|| {
        let wanted = Shape::ALL.into_iter().filter(|shape| shape.is_of(kind));
        let wanted = wanted.map(|shape| format!("`{}`", shape.needs(fields).join("` with `")));
        let wanted = wanted.collect::<Vec<_>>().join(", ");
        let keys = name_keys(keys.iter().map(|(key, _)| key.as_str()));
        Fault::row(format!("has {keys}, but none of {wanted}")).remedy(
            "name the fields in sources[].fields, or say what the rows are in sources[].kind",
        )
    })
}
