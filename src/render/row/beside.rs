//! What a chat row has beside its turns: tools, documents and further variables of the template.

use super::entries::Entries;
use super::fault::{Fault, Result};
use super::json::{self, Cursor, Type};
use super::value;
use crate::recipe::Fields;
use crate::render::conversation::{Conversation, Message};
use minijinja::Value;
use minijinja::value::ValueKind;

/// The field whose entries are passed to the template, as in TRL.
const KWARGS: &str = "chat_template_kwargs";

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

/// What stands beside the turns.
#[derive(Debug, Default)]
pub(super) struct Beside {
    tools: Option<Value>,
    documents: Option<Value>,
    kwargs: Vec<(String, Value)>,
}

impl Beside {
    /// Takes the value of `key` if it is one of ours.
    pub(super) fn take(
        &mut self,
        cursor: &mut Cursor<'_>,
        key: &str,
        fields: &Fields,
    ) -> Result<bool> {
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

    /// The conversation of these turns.
    pub(super) fn around(self, messages: Vec<Message>) -> Conversation {
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
    json::whole(&text, cursor.nesting(), list)
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
