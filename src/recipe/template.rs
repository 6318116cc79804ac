//! The chat template.

use super::keys::{FILLED, json};
use super::shape::{Section, Shape, Text, key};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A chat template and what it sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct TemplateConfig {
    /// A Jinja file; none: the tokenizer folder's own.
    pub path: Option<PathBuf>,
    /// Name of one of several templates of the folder (`tool_use`); none: as Transformers chooses.
    pub name: Option<String>,
    /// What `strftime_now` sees, `YYYY-MM-DDTHH:MM:SS`. None by default: a clock's time in the text would
    /// make every run another one.
    pub now: Option<String>,
    /// Passed to the template; a row's own `chat_template_kwargs` win.
    pub kwargs: serde_json::Map<String, serde_json::Value>,
    /// System message for conversations that have none.
    pub system: Option<String>,
}

/// The keys.
pub(super) static KEYS: Section = Section {
    defaults: || json(&TemplateConfig::default()),
    keys: &[
        key(
            "path",
            Shape::Nullable(&Shape::Text(Text::Path)),
            "A Jinja file; null takes the tokenizer folder's own, found as Transformers \
             does.",
        ),
        key(
            "name",
            Shape::Nullable(&FILLED),
            "One of several templates of the folder (tool_use); null chooses as \
             Transformers does.",
        ),
        key(
            "now",
            Shape::Nullable(&Shape::Text(Text::Moment)),
            "What strftime_now sees; a template that asks for it without this key is \
             refused.",
        ),
        key(
            "kwargs",
            Shape::Values,
            "Passed to the template; a row's own chat_template_kwargs win.",
        )
        .elsewhere(&["chat_template_kwargs"]),
        key(
            "system",
            Shape::Nullable(&Shape::Text(Text::Any)),
            "System message for conversations that have none.",
        )
        .elsewhere(&["system_prompt", "system_message"]),
    ],
};
