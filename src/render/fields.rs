//! Where a message's fields come out: a private character in their strings, one for each field of each message.
//!
//! What the characters show counts only if the text without them is the text of a render that had none.

use super::conversation::{Conversation, Message};
use super::owners::{Marking, NEVER_MARKED, PLANES, mark_text, mark_value};
use minijinja::Value;
use std::ops::RangeInclusive;

/// What a message says, by what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// What is said aloud.
    Content,
    /// What is thought: a field of its own, or what content holds before `</think>`.
    Reasoning,
    /// Calls of tools.
    Calls,
    /// Anything else.
    Other,
}

const FIELDS: [Field; 4] = [Field::Content, Field::Reasoning, Field::Calls, Field::Other];

/// What ends reasoning that stands in content.
pub(super) const END_OF_THINKING: &str = "</think>";

impl Field {
    /// What stands under `key` of a message; none for names and ids.
    fn of(key: &str) -> Option<Field> {
        match key {
            "content" => Some(Field::Content),
            "reasoning_content" | "thinking" | "reasoning" => Some(Field::Reasoning),
            "tool_calls" | "function_call" => Some(Field::Calls),
            "name" => None,
            key if NEVER_MARKED.contains(&key) => None,
            _ => Some(Field::Other),
        }
    }
}

/// A mark that came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FieldMark {
    /// Bytes of the text without marks that stand before it. The last of them are of the field.
    pub(super) at: usize,
    pub(super) message: usize,
    pub(super) field: Field,
}

/// The characters that mark one conversation.
#[derive(Debug, Clone)]
pub(super) struct Marks(RangeInclusive<u32>);

impl Marks {
    /// Characters that do not occur in `text`; none if there are none, or not enough for so many messages.
    pub(super) fn for_text(text: &str, messages: usize) -> Option<Marks> {
        let enough = |plane: &RangeInclusive<u32>| {
            (plane.end() - plane.start()) as usize / FIELDS.len() >= messages
        };
        let free =
            |plane: &RangeInclusive<u32>| !text.chars().any(|c| plane.contains(&u32::from(c)));
        PLANES
            .into_iter()
            .find(|plane| enough(plane) && free(plane))
            .map(Marks)
    }

    /// The conversation with marks in it. `calls` says whether names in calls have some, too.
    pub(super) fn put_in(&self, conversation: &Conversation, calls: Marking) -> Conversation {
        let mut marked = conversation.clone();
        for (index, message) in marked.messages.iter_mut().enumerate() {
            message.value = self.message(message, index, calls);
        }
        marked
    }

    fn message(&self, message: &Message, index: usize, calls: Marking) -> Value {
        let Some(pairs) = message
            .value
            .as_object()
            .and_then(|object| object.try_iter_pairs())
        else {
            return message.value.clone();
        };
        Value::from_pairs(pairs.map(|(key, item)| {
            let field = key.as_str().map_or(Some(Field::Other), Field::of);
            let marked = match field {
                Some(Field::Content) => self.content(&item, index),
                Some(Field::Calls) => mark_value(&item, self.mark(index, Field::Calls), calls),
                Some(field) => mark_value(&item, self.mark(index, field), Marking::NotNames),
                None => item,
            };
            (key, marked)
        }))
    }

    fn content(&self, content: &Value, index: usize) -> Value {
        let said = self.mark(index, Field::Content);
        match content
            .as_str()
            .and_then(|text| text.split_once(END_OF_THINKING))
        {
            Some((thought, answer)) => {
                let thought = mark_text(thought, self.mark(index, Field::Reasoning));
                let answer = mark_text(answer, said);
                Value::from(format!("{thought}{END_OF_THINKING}{answer}"))
            }
            None => mark_value(content, said, Marking::NotNames),
        }
    }

    fn mark(&self, index: usize, field: Field) -> char {
        let field = FIELDS.iter().position(|f| *f == field).unwrap_or_default();
        let code = u32::try_from(index * FIELDS.len() + field).unwrap_or_default();
        char::from_u32(self.0.start() + code).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    /// Takes the marks out: the text without them, and where they were, in order.
    pub(super) fn take_out(&self, marked: &str) -> (String, Vec<FieldMark>) {
        let mut text = String::with_capacity(marked.len());
        let mut marks = Vec::new();
        for c in marked.chars() {
            match u32::from(c).checked_sub(*self.0.start()) {
                Some(code) if self.0.contains(&u32::from(c)) => marks.push(FieldMark {
                    at: text.len(),
                    message: code as usize / FIELDS.len(),
                    field: FIELDS[code as usize % FIELDS.len()],
                }),
                _ => text.push(c),
            }
        }
        (text, marks)
    }

    /// Bytes that a mark takes.
    pub(super) const LEN: usize = 4;
}
