//! One turn of a conversation: role, content, the row's own say on training, and the map that templates see.

use super::entries::Entries;
use super::fault::{Fault, Result, name_keys};
use super::json::{self, Cursor, Type};
use super::loss;
use super::value;
use crate::recipe::SourceConfig;
use crate::render::conversation::Message;
use minijinja::Value;
use minijinja::value::ValueKind;
use std::collections::BTreeMap;

/// ShareGPT speakers and their roles: those of the ShareGPT dumps (FastChat, Axolotl) and those of LLaMA-Factory's
/// format for tools. Any other name stays as it is, as in TRL.
const SPEAKERS: [(&str, &str); 8] = [
    ("human", "user"),
    ("gpt", "assistant"),
    ("chatgpt", "assistant"),
    ("bing", "assistant"),
    ("bard", "assistant"),
    ("observation", "tool"),
    ("tool_response", "tool"),
    ("function_response", "tool"),
];

/// LLaMA-Factory's speaker whose value is the JSON of one call, or of a list of calls.
const FUNCTION_CALL: &str = "function_call";

/// What a turn can say without content.
const INSTEAD_OF_CONTENT: [&str; 6] = [
    "tool_calls",
    "function_call",
    "tool_responses",
    "reasoning_content",
    "thinking",
    "reasoning",
];

/// Roles whose content a person or a model wrote: text, or a list of parts. Results of tools may be objects.
const WRITERS: [&str; 4] = ["assistant", "user", "system", "developer"];

/// Whose names the turns give to who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Roles, as templates know them; under `from` stand speakers all the same.
    Roles,
    /// ShareGPT's speakers, under whatever key.
    ShareGpt,
}

/// How the turns of a source are written.
#[derive(Debug)]
pub(super) struct Messages {
    role: String,
    content: String,
    roles: BTreeMap<String, String>,
}

impl Messages {
    pub(super) fn new(source: &SourceConfig) -> Self {
        Messages {
            role: source.fields.role.clone(),
            content: source.fields.content.clone(),
            roles: source.roles.clone(),
        }
    }

    /// Takes a list of turns, at least one.
    pub(super) fn read(&self, cursor: &mut Cursor<'_>, names: Names) -> Result<Vec<Message>> {
        cursor.expect(Type::Array)?;
        let mut messages = Vec::with_capacity(16);
        cursor.array(|cursor| {
            let message = self.message(cursor, names);
            let index = messages.len();
            messages.push(message.map_err(|fault| fault.within(format_args!("[{index}]")))?);
            Ok(())
        })?;
        if messages.is_empty() {
            return Err(Fault::row("is an empty list")
                .remedy("a conversation needs a message; leave the record out"));
        }
        Ok(messages)
    }

    fn message(&self, cursor: &mut Cursor<'_>, names: Names) -> Result<Message> {
        cursor
            .expect(Type::Object)
            .map_err(|fault| fault.remedy("a message is an object with role and content"))?;
        let mut entries = Entries::read(cursor)?;
        if let Some(role) = self.as_it_is(&entries, names) {
            let role = role.to_owned();
            return Ok(Message::new(role, entries.into_value()));
        }
        // Transformers does the same before a template sees a message.
        entries.drop_nulls();
        let from_speaker = self.rename(&mut entries)?;
        let speaker = from_speaker || names == Names::ShareGpt;
        let role = entries.get("role").and_then(Value::as_str);
        let mut role = role.unwrap_or_default().to_owned();
        if let Some(mapped) = self.mapped(&role, speaker) {
            mapped.clone_into(&mut role);
            entries.set("role", Value::from(mapped));
        } else if speaker && role == FUNCTION_CALL {
            function_call(&mut entries, cursor.nesting())?;
            "assistant".clone_into(&mut role);
        }
        let loss = loss::take(&mut entries)?;
        check_content(&entries, &role)?;
        Ok(Message {
            role,
            value: entries.into_value(),
            train: loss.train,
            weight: loss.weight,
            details: loss.details,
        })
    }

    /// The role of a message that has a role and text, and of which nothing is to be changed: most are like that,
    /// and what follows looks for a dozen keys.
    fn as_it_is<'e>(&self, entries: &'e Entries, names: Names) -> Option<&'e str> {
        let changes = names == Names::ShareGpt || !self.roles.is_empty();
        if changes || self.role != "role" || self.content != "content" {
            return None;
        }
        let [("role", role), ("content", content)] = entries.pair()? else {
            return None;
        };
        content.as_str()?;
        role.as_str().filter(|role| !role.is_empty())
    }

    /// Brings role and content under their standard names; true where the role came from `from`.
    fn rename(&self, entries: &mut Entries) -> Result<bool> {
        let role = entries.take_as(&self.role, "role");
        let from_speaker = !role && entries.take_as("from", "role");
        if !role && !from_speaker {
            let clause = format!("has no `{}` but {}", self.role, name_keys(entries.keys()));
            return Err(Fault::row(clause).remedy("name the key in sources[].fields.role"));
        }
        match entries.get("role") {
            Some(value) if value.as_str().is_some_and(|role| !role.is_empty()) => {}
            Some(value) => {
                let clause = match value.kind() {
                    ValueKind::String => "is empty".to_owned(),
                    kind => format!("is a {kind}, not a string"),
                };
                let key = if from_speaker { "from" } else { &self.role };
                return Err(Fault::row(clause)
                    .remedy("a role is a name such as user or assistant")
                    .within(key));
            }
            None => {}
        }
        if !entries.take_as(&self.content, "content") {
            entries.take_as("value", "content");
        }
        Ok(from_speaker)
    }

    /// What the recipe, or failing that the habit of ShareGPT, makes of a role.
    fn mapped(&self, role: &str, speaker: bool) -> Option<&str> {
        if let Some(mapped) = self.roles.get(role) {
            return Some(mapped);
        }
        if !speaker {
            return None;
        }
        let known = SPEAKERS.iter().find(|(name, _)| *name == role);
        known.map(|(_, mapped)| *mapped)
    }
}

/// A message of text that a recipe or a flat row brings.
pub(super) fn text_message(role: &str, text: &str) -> Message {
    let value = Value::from_pairs([("role", role), ("content", text)]);
    Message::new(role, value)
}

/// Refuses what templates would pass over in silence.
fn check_content(entries: &Entries, role: &str) -> Result<()> {
    let Some(content) = entries.get("content") else {
        if INSTEAD_OF_CONTENT
            .iter()
            .any(|key| entries.get(key).is_some())
        {
            return Ok(());
        }
        return Err(Fault::row("has no content and no tool calls")
            .remedy("name the key in sources[].fields.content, or leave the record out"));
    };
    let writer = WRITERS.contains(&role);
    let fault = match content.kind() {
        ValueKind::String => return Ok(()),
        ValueKind::Map if !writer => return Ok(()),
        ValueKind::Seq if !writer => return Ok(()),
        ValueKind::Seq => match odd_part(content) {
            None => return Ok(()),
            Some((index, kind)) => {
                Fault::row(format!("is a {kind}; a part is a string or an object"))
                    .within(format_args!("[{index}]"))
            }
        },
        kind => Fault::row(format!("is a {kind}, not a string or a list of parts"))
            .remedy("write the content as text"),
    };
    Err(fault.within("content"))
}

/// The first part of a content that is neither text nor an object.
fn odd_part(content: &Value) -> Option<(usize, ValueKind)> {
    let parts = content.try_iter().ok()?.map(|part| part.kind());
    parts
        .enumerate()
        .find(|(_, kind)| !matches!(kind, ValueKind::String | ValueKind::Map))
}

/// Turns LLaMA-Factory's function-call turn into an assistant turn with `tool_calls`.
fn function_call(entries: &mut Entries, nesting: u32) -> Result<()> {
    let content = entries.take("content");
    let text = content.as_ref().and_then(Value::as_str).unwrap_or_default();
    let calls = json::whole(text, nesting, |cursor| match cursor.peek()? {
        Type::Array => value::objects(cursor, "a call"),
        _ => {
            cursor.expect(Type::Object)?;
            Ok(Value::from(vec![value::value(cursor)?]))
        }
    })
    .map_err(|fault| {
        fault
            .remedy(
                "a function_call turn holds the JSON of a call, {name, arguments}; \
                 map its text elsewhere with sources[].roles",
            )
            .within("value")
    })?;
    let calls = calls.try_iter().into_iter().flatten();
    let calls = calls
        .map(|call| Value::from_pairs([("type", Value::from("function")), ("function", call)]));
    entries.set("role", Value::from("assistant"));
    entries.set("tool_calls", calls.collect());
    Ok(())
}
