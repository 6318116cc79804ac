//! Rows that are rendered with a chat template: conversations, prompt with completion, instruction with output.

use super::Row;
use super::entries::Entries;
use super::fault::{Fault, Result};
use super::json::{self, Cursor, Type};
use super::message::{Messages, Names, text_message};
use super::value;
use crate::recipe::Fields;
use crate::render::conversation::{Conversation, Message};
use minijinja::Value;
use minijinja::value::ValueKind;
use std::borrow::Cow;

/// The field whose entries are passed to the template, as in TRL.
const KWARGS: &str = "chat_template_kwargs";

/// LLaMA-Factory's columns of Alpaca and ShareGPT rows.
const SYSTEM: &str = "system";
const HISTORY: &str = "history";

/// What `chat_template_kwargs` may not hold: names that Transformers' `apply_chat_template` takes for itself,
/// so that a template never sees them.
const RESERVED: [&str; 14] = [
    "chat_template",
    "continue_final_message",
    "conversation",
    "conversations",
    "max_length",
    "messages",
    "padding",
    "return_assistant_tokens_mask",
    "return_dict",
    "return_tensors",
    "sanitize_control_tokens",
    "tokenize",
    "tokenizer_kwargs",
    "tools",
];

/// How the chat rows of a source are read.
#[derive(Debug)]
pub(super) struct Chat {
    pub(super) messages: Messages,
    /// Put before conversations that have no system message.
    pub(super) system: Option<Message>,
}

/// What stands beside the turns.
#[derive(Debug, Default)]
struct Beside {
    tools: Option<Value>,
    documents: Option<Value>,
    kwargs: Vec<(String, Value)>,
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

    /// Takes an Alpaca row. A person's turn is the instruction, a line break and the input, without what of the
    /// two is empty: LLaMA-Factory's reading.
    pub(super) fn instruction(&self, cursor: &mut Cursor<'_>, fields: &Fields) -> Result<Row> {
        let mut instruction = None;
        let mut input = None;
        let mut output = None;
        let mut system = None;
        let mut beside = Beside::default();
        cursor.object(|cursor, key| {
            if key == fields.instruction {
                instruction = Some(text(cursor, &key)?);
            } else if key == fields.input {
                input = optional_text(cursor, &key)?;
            } else if key == fields.output {
                output = Some(text(cursor, &key)?);
            } else if key == SYSTEM {
                system = optional_text(cursor, &key)?;
            } else if key == HISTORY {
                no_history(cursor)?;
            } else if !beside.take(cursor, &key, fields)? {
                cursor.skip()?;
            }
            Ok(())
        })?;
        let instruction = instruction.ok_or_else(|| missing(&fields.instruction))?;
        let output = output.ok_or_else(|| missing(&fields.output))?;
        let request = match input {
            None => instruction,
            Some(input) if instruction.is_empty() => input,
            Some(input) => Cow::Owned(format!("{instruction}\n{input}")),
        };
        let messages = vec![
            text_message("user", &request),
            text_message("assistant", &output),
        ];
        Ok(self.completed(beside, messages, 1, system))
    }

    fn completed(
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
            Some(Message {
                role: message.role.clone(),
                value: message.value.clone(),
                train: None,
            })
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

impl Beside {
    /// Takes the value of `key` if it is one of ours.
    fn take(&mut self, cursor: &mut Cursor<'_>, key: &str, fields: &Fields) -> Result<bool> {
        if key == fields.tools {
            self.tools = tools(cursor).map_err(|fault| fault.within(key))?;
        } else if key == KWARGS {
            self.take_kwargs(cursor)
                .map_err(|fault| fault.within(key))?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn take_kwargs(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        self.documents = None;
        self.kwargs.clear();
        if cursor.peek()? == Type::Null {
            return cursor.null();
        }
        let mut entries = Entries::read(cursor)?;
        if let Some(reserved) = RESERVED.iter().find(|name| entries.get(name).is_some()) {
            return Err(Fault::row("is no template variable")
                .remedy("take it out: the loader decides this itself")
                .within(reserved));
        }
        if let Some(documents) = entries.take("documents").filter(|value| !value.is_none()) {
            check_documents(&documents).map_err(|fault| fault.within("documents"))?;
            self.documents = Some(documents);
        }
        self.kwargs = entries.into_pairs();
        Ok(())
    }

    fn around(self, messages: Vec<Message>) -> Conversation {
        Conversation {
            messages,
            tools: self.tools,
            documents: self.documents,
            kwargs: self.kwargs,
        }
    }
}

/// Takes tools: a list of schemas, the same as a JSON string, or none. An empty list stays one, as templates
/// can tell the two apart; an empty string is LLaMA-Factory's way of writing none.
fn tools(cursor: &mut Cursor<'_>) -> Result<Option<Value>> {
    fn list(cursor: &mut Cursor<'_>) -> Result<Option<Value>> {
        match cursor.peek()? {
            Type::Null => cursor.null().map(|()| None),
            _ => value::objects(cursor, "a tool").map(Some),
        }
    }
    if cursor.peek()? != Type::String {
        return list(cursor);
    }
    let text = cursor.string()?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    json::whole(&text, list)
}

/// Transformers refuses anything but a list of objects.
fn check_documents(documents: &Value) -> Result<()> {
    let remedy = "documents are a list of objects with title and text";
    if documents.kind() != ValueKind::Seq {
        let clause = format!("is a {}, not a list", documents.kind());
        return Err(Fault::row(clause).remedy(remedy));
    }
    let mut kinds = documents
        .try_iter()
        .into_iter()
        .flatten()
        .map(|one| one.kind());
    match kinds.position(|kind| kind != ValueKind::Map) {
        None => Ok(()),
        Some(index) => {
            let fault = Fault::row("is not an object").within(format_args!("[{index}]"));
            Err(fault.remedy(remedy))
        }
    }
}

fn no_history(cursor: &mut Cursor<'_>) -> Result<()> {
    let mut any = false;
    match cursor.peek()? {
        Type::Array => cursor.array(|cursor| {
            any = true;
            cursor.skip()
        })?,
        Type::Null => cursor.null()?,
        _ => {
            any = true;
            cursor.skip()?;
        }
    }
    if any {
        return Err(Fault::row("holds earlier turns, which are not read")
            .remedy("write such rows as messages")
            .within(HISTORY));
    }
    Ok(())
}

/// Takes a string.
pub(super) fn text<'a>(cursor: &mut Cursor<'a>, field: &str) -> Result<Cow<'a, str>> {
    let text = cursor.string();
    text.map_err(|fault| fault.within(field).or_remedy("write it as a string"))
}

/// Takes a string or null; an empty one is none.
fn optional_text<'a>(cursor: &mut Cursor<'a>, field: &str) -> Result<Option<Cow<'a, str>>> {
    if cursor.peek()? == Type::Null {
        return cursor.null().map(|()| None);
    }
    Ok(Some(text(cursor, field)?).filter(|text| !text.is_empty()))
}

/// A field that the source's shape needs is not there.
pub(super) fn missing(field: &str) -> Fault {
    Fault::row(format!("has no `{field}`"))
        .remedy("the source's first record has it; name another field in sources[].fields or split the source")
}
