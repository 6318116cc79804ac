//! The texts of a conversation, each with its place: what the row brought and a template may print.

use super::conversation::{Conversation, Message};
use minijinja::value::{Value, ValueKind};
use std::fmt;

/// Where a text stands in a row: `messages[1].content`.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    before: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Item(usize),
    /// A name that the row gave to a field.
    Name,
}

impl<'a> Place<'a> {
    fn within(&'a self, step: Step<'a>) -> Place<'a> {
        Place {
            before: Some(self),
            step,
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(before) = self.before {
            before.fmt(f)?;
        }
        match (self.step, self.before) {
            (Step::Field(name), None) => f.write_str(name),
            (Step::Field(name), Some(_)) => write!(f, ".{name}"),
            (Step::Item(index), _) => write!(f, "[{index}]"),
            (Step::Name, _) => f.write_str(", a name in it"),
        }
    }
}

/// Nesting of values: what a row's JSON may have.
const DEEPEST: usize = 256;

impl Conversation {
    /// Calls `each` with every text, names of fields included, until it says that it has seen enough.
    pub fn each_text<E>(
        &self,
        each: &mut dyn FnMut(&str, &Place<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let root = |name| Place {
            before: None,
            step: Step::Field(name),
        };
        let messages = root("messages");
        for (index, message) in self.messages.iter().enumerate() {
            let place = messages.within(Step::Item(index));
            visit(&message.value, &place, DEEPEST, each)?;
        }
        for (name, value) in [("tools", &self.tools), ("documents", &self.documents)] {
            if let Some(value) = value {
                visit(value, &root(name), DEEPEST, each)?;
            }
        }
        let kwargs = root("chat_template_kwargs");
        for (name, value) in &self.kwargs {
            visit(value, &kwargs.within(Step::Field(name)), DEEPEST, each)?;
        }
        Ok(())
    }

    /// The conversation with every text that `change` changes changed.
    pub(super) fn with_texts(&self, change: &dyn Fn(&str) -> Option<String>) -> Conversation {
        let changed = |value: &Value| changed(value, DEEPEST, change);
        Conversation {
            messages: self
                .messages
                .iter()
                .map(|message| Message {
                    value: changed(&message.value),
                    ..message.clone()
                })
                .collect(),
            tools: self.tools.as_ref().map(changed),
            documents: self.documents.as_ref().map(changed),
            kwargs: self
                .kwargs
                .iter()
                .map(|(name, value)| (name.clone(), changed(value)))
                .collect(),
        }
    }
}

fn visit<E>(
    value: &Value,
    place: &Place<'_>,
    depth: usize,
    each: &mut dyn FnMut(&str, &Place<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let Some(depth) = depth.checked_sub(1) else {
        return Ok(());
    };
    match value.kind() {
        ValueKind::String => each(value.as_str().unwrap_or_default(), place),
        ValueKind::Seq => {
            for (index, item) in value.try_iter().into_iter().flatten().enumerate() {
                visit(&item, &place.within(Step::Item(index)), depth, each)?;
            }
            Ok(())
        }
        ValueKind::Map => {
            let pairs = value.as_object().and_then(|object| object.try_iter_pairs());
            for (key, item) in pairs.into_iter().flatten() {
                let name = key.as_str().unwrap_or_default();
                each(name, &place.within(Step::Name))?;
                visit(&item, &place.within(Step::Field(name)), depth, each)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn changed(value: &Value, depth: usize, change: &dyn Fn(&str) -> Option<String>) -> Value {
    let Some(depth) = depth.checked_sub(1) else {
        return value.clone();
    };
    match value.kind() {
        ValueKind::String => match change(value.as_str().unwrap_or_default()) {
            Some(text) => Value::from(text),
            None => value.clone(),
        },
        ValueKind::Seq => match value.try_iter() {
            Ok(items) => items
                .map(|item| changed(&item, depth, change))
                .collect::<Vec<_>>()
                .into(),
            Err(_) => value.clone(),
        },
        ValueKind::Map => match value.as_object().and_then(|object| object.try_iter_pairs()) {
            Some(pairs) => Value::from_pairs(pairs.map(|(key, item)| {
                let name = key.as_str().and_then(change).map(Value::from);
                (name.unwrap_or(key), changed(&item, depth, change))
            })),
            None => value.clone(),
        },
        _ => value.clone(),
    }
}
