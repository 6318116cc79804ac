//! Rows of turns: a conversation, or a prompt with its completion.

use super::Row;
use super::beside::Beside;
use super::fault::{Fault, Result};
use super::field::{missing, optional_text, text};
use super::json::{Cursor, Type};
use super::message::{Messages, Names, text_message};
use crate::recipe::Fields;
use crate::render::conversation::{Conversation, Message};
use std::borrow::Cow;

/// LLaMA-Factory's column of the system message in ShareGPT and Alpaca rows.
pub(super) const SYSTEM: &str = "system";

/// How the chat rows of a source are read.
#[derive(Debug)]
pub(super) struct Chat {
    pub(super) messages: Messages,
    /// Put before conversations that have no system message.
    pub(super) system: Option<Message>,
}

impl Chat {
    /// Takes a row with one list of turns in `field`. In ShareGPT rows a column `system` counts.
    pub(super) fn conversation(
        &self,
        cursor: &mut Cursor<'_>,
        fields: &Fields,
        field: &str,
        names: Names,
    ) -> Result<Row> {
        let mut turns = None;
        let mut system = None;
        let mut beside = Beside::default();
        cursor.object(|cursor, key| {
            if key == field {
                turns = Some(self.turns(cursor, field, names)?);
            } else if names == Names::ShareGpt && key == SYSTEM {
                system = optional_text(cursor, SYSTEM)?;
            } else if !beside.take(cursor, &key, fields)? {
                cursor.skip()?;
            }
            Ok(())
        })?;
        let messages = turns.ok_or_else(|| missing(field))?;
        let conversation = beside.around(messages);
        Ok(Row::Chat(self.with_system(conversation, system).0))
    }

    /// Takes a row with a prompt and a completion, both strings or both messages.
    pub(super) fn prompt_completion(
        &self,
        cursor: &mut Cursor<'_>,
        fields: &Fields,
    ) -> Result<Row> {
        let mut prompt = None;
        let mut completion = None;
        let mut beside = Beside::default();
        cursor.object(|cursor, key| {
            if key == fields.prompt {
                prompt = Some(self.part(cursor, &fields.prompt)?);
            } else if key == fields.completion {
                completion = Some(self.part(cursor, &fields.completion)?);
            } else if !beside.take(cursor, &key, fields)? {
                cursor.skip()?;
            }
            Ok(())
        })?;
        let prompt = prompt.ok_or_else(|| missing(&fields.prompt))?;
        let completion = completion.ok_or_else(|| missing(&fields.completion))?;
        match (prompt, completion) {
            (Part::Text(prompt), Part::Text(completion)) => {
                Ok(Row::TextCompletion { prompt, completion })
            }
            (Part::Messages(prompt), Part::Messages(completion)) => {
                let prompt_len = prompt.len();
                let mut messages = prompt;
                messages.extend(completion);
                Ok(self.completed(beside, messages, prompt_len, None))
            }
            _ => Err(Fault::row(format!(
                "has text in one and messages in the other of `{}` and `{}`",
                fields.prompt, fields.completion
            ))
            .remedy("write both as strings or both as lists of messages")),
        }
    }

    /// A prompt of `prompt_len` messages with its completion.
    pub(super) fn completed(
        &self,
        beside: Beside,
        messages: Vec<Message>,
        prompt_len: usize,
        system: Option<Cow<'_, str>>,
    ) -> Row {
        let (conversation, added) = self.with_system(beside.around(messages), system);
        Row::ChatCompletion {
            conversation,
            prompt_len: prompt_len + added,
        }
    }

    /// Puts the row's system message first, or else the recipe's, where there is none; says how many it put.
    fn with_system(
        &self,
        mut conversation: Conversation,
        own: Option<Cow<'_, str>>,
    ) -> (Conversation, usize) {
        let is_system = |message: &Message| matches!(message.role.as_str(), "system" | "developer");
        if conversation.messages.iter().any(is_system) {
            return (conversation, 0);
        }
        let recipes = || {
            let message = self.system.as_ref()?;
            Some(Message::new(message.role.clone(), message.value.clone()))
        };
        let system = own
            .map(|text| text_message("system", &text))
            .or_else(recipes);
        let added = usize::from(system.is_some());
        conversation.messages.splice(..0, system);
        (conversation, added)
    }

    fn turns(&self, cursor: &mut Cursor<'_>, field: &str, names: Names) -> Result<Vec<Message>> {
        let messages = self.messages.read(cursor, names);
        messages.map_err(|fault| {
            fault
                .within(field)
                .or_remedy("a conversation is a list of messages, each with role and content")
        })
    }

    fn part(&self, cursor: &mut Cursor<'_>, field: &str) -> Result<Part> {
        match cursor.peek()? {
            Type::String => Ok(Part::Text(text(cursor, field)?.into_owned())),
            _ => self.turns(cursor, field, Names::Roles).map(Part::Messages),
        }
    }
}

/// A prompt or a completion.
enum Part {
    Text(String),
    Messages(Vec<Message>),
}
