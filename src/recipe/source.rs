//! One named data set: its files, and how its rows are to be understood.

use super::keys::{FILLED, json};
use super::shape::{Section, Shape, Text, at_least, choice, key};
use super::{
    FilterConfig, MaskConfig, Render, SpecialTokensInText, SplitConfig, TemplateConfig, filter,
    mask, render, special_tokens, split, template, weight,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One named data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct SourceConfig {
    /// Unique name.
    pub name: String,
    /// Globs, already joined to the recipe's folder.
    pub paths: Vec<String>,
    /// Share of the delivered tokens in millionths, beside the others' weights. All sources have one or none
    /// has.
    #[serde(with = "weight::nullable")]
    pub weight: Option<u64>,
    /// First N records.
    pub limit: Option<u64>,
    /// File format.
    pub format: Format,
    /// Row shape.
    pub kind: RowKind,
    /// Names of the fields.
    pub fields: Fields,
    /// Role names to map, `human` → `user`.
    pub roles: BTreeMap<String, String>,
    /// This source's own template. It replaces the recipe's whole; what it leaves out has the default.
    pub template: Option<TemplateConfig>,
    /// What this source's conversations become; none: what the recipe says.
    pub render: Option<Render>,
    /// What becomes of special tokens that this source's rows spell; none: what the recipe says.
    pub special_tokens_in_text: Option<SpecialTokensInText>,
    /// What is left out of this source. It replaces the recipe's whole, so that an empty one leaves out nothing.
    pub filter: Option<FilterConfig>,
    /// What is held out of this source. It replaces the recipe's whole.
    pub split: Option<SplitConfig>,
    /// This source's own mask. It replaces the recipe's whole; what it leaves out has the default.
    pub mask: Option<MaskConfig>,
}

/// File format; compression is found by magic bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// By magic bytes.
    #[default]
    Auto,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow IPC, files and streams.
    Arrow,
}

impl Format {
    /// As it is written in a recipe.
    pub fn key(self) -> &'static str {
        match self {
            Format::Auto => "auto",
            Format::Jsonl => "jsonl",
            Format::Parquet => "parquet",
            Format::Arrow => "arrow",
        }
    }
}

/// How a row is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    /// By the fields that are there.
    #[default]
    Auto,
    /// `messages`, or `conversations` with from/value.
    Chat,
    /// `prompt` and `completion`, strings or messages.
    PromptCompletion,
    /// `instruction`, `input`, `output`.
    Instruction,
    /// `text`.
    Text,
    /// `input_ids` with `labels` or `loss_mask`.
    Tokens,
}

/// Names of the fields that a row is read from. Each defaults to its own name, which is how the ecosystem
/// writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Fields {
    pub messages: String,
    pub role: String,
    pub content: String,
    pub tools: String,
    pub prompt: String,
    pub completion: String,
    pub instruction: String,
    pub input: String,
    pub output: String,
    pub text: String,
    pub input_ids: String,
    pub labels: String,
    pub loss_mask: String,
}

impl Default for Fields {
    fn default() -> Self {
        let own = |name: &str| name.to_owned();
        Fields {
            messages: own("messages"),
            role: own("role"),
            content: own("content"),
            tools: own("tools"),
            prompt: own("prompt"),
            completion: own("completion"),
            instruction: own("instruction"),
            input: own("input"),
            output: own("output"),
            text: own("text"),
            input_ids: own("input_ids"),
            labels: own("labels"),
            loss_mask: own("loss_mask"),
        }
    }
}

/// The keys.
pub(super) static KEYS: Section = Section {
    defaults: || json(&SourceConfig::default()),
    keys: &[
        key(
            "name",
            Shape::Text(Text::Name),
            "Unique name: what the ledger and errors call it, and part of the order's key.",
        )
        .required(),
        key(
            "paths",
            Shape::List {
                of: &Shape::Text(Text::Pattern),
                what: "paths or globs",
            },
            "Shards, as globs relative to the recipe's folder; read sorted by path.",
        )
        .required()
        .elsewhere(&["path", "files", "data_files", "data_dir"]),
        key(
            "weight",
            Shape::Nullable(&Shape::Weight { least: 1 }),
            "Share of the delivered tokens, beside the others' weights; null for all \
             sources: every record once an epoch.",
        )
        .elsewhere(&["weights", "ratio", "proportion"]),
        key(
            "limit",
            Shape::Nullable(&at_least(1)),
            "Only the first N records; the source must be small enough to be held.",
        )
        .elsewhere(&["max_samples", "num_samples"]),
        key(
            "format",
            Shape::Choice(&[
                choice("auto", "By magic bytes, as compression is found."),
                choice("jsonl", "One JSON object a line."),
                choice("parquet", "Apache Parquet."),
                choice("arrow", "Apache Arrow IPC, files and streams."),
            ]),
            "File format.",
        ),
        key(
            "kind",
            Shape::Choice(&[
                choice("auto", "By the fields that a row has."),
                choice("chat", "messages, or conversations with from and value."),
                choice(
                    "prompt_completion",
                    "prompt and completion, texts or messages.",
                ),
                choice("instruction", "instruction, input and output."),
                choice("text", "text."),
                choice("tokens", "input_ids, with labels or loss_mask."),
            ]),
            "How a row is understood.",
        )
        .elsewhere(&["type"]),
        key(
            "fields",
            Shape::Section(&FIELDS),
            "What this source calls the fields of a row.",
        )
        .elsewhere(&["columns"]),
        key(
            "roles",
            Shape::Named {
                of: &FILLED,
                what: "texts",
            },
            "Role names of this source, each with the name that the template knows.",
        ),
        key(
            "template",
            Shape::Nullable(&Shape::Located(&template::KEYS)),
            "This source's own template, whole: keys left out have their defaults, not \
             the recipe's.",
        )
        .elsewhere(&["chat_template"]),
        key(
            "render",
            Shape::Nullable(&render::CHOICE),
            "What this source's conversations become; null is what the recipe says.",
        ),
        key(
            "special_tokens_in_text",
            Shape::Nullable(&special_tokens::CHOICE),
            "What becomes of special tokens that this source's rows spell; null is what the recipe says.",
        ),
        key(
            "filter",
            Shape::Nullable(&Shape::Section(&filter::KEYS)),
            "What is left out of this source, whole: keys left out have their defaults, not \
             the recipe's.",
        )
        .elsewhere(&["filters"]),
        key(
            "split",
            Shape::Nullable(&Shape::Section(&split::KEYS)),
            "What is held out of this source, whole: keys left out have their defaults, not \
             the recipe's.",
        ),
        key(
            "mask",
            Shape::Nullable(&Shape::Section(&mask::KEYS)),
            "This source's own mask, whole: keys left out have their defaults, not the \
             recipe's.",
        ),
    ],
};

/// The keys.
pub(super) static FIELDS: Section = Section {
    defaults: || json(&Fields::default()),
    keys: &[
        key("messages", FILLED, "The list of messages.").elsewhere(&["conversations"]),
        key("role", FILLED, "A message's role.").elsewhere(&["from"]),
        key("content", FILLED, "A message's content.").elsewhere(&["value"]),
        key("tools", FILLED, "The tools that the conversation may call."),
        key("prompt", FILLED, "The prompt."),
        key("completion", FILLED, "The completion.").elsewhere(&["response"]),
        key("instruction", FILLED, "The instruction."),
        key("input", FILLED, "The instruction's input."),
        key("output", FILLED, "The answer to the instruction."),
        key("text", FILLED, "The text."),
        key("input_ids", FILLED, "The token ids."),
        key("labels", FILLED, "The labels of token ids."),
        key("loss_mask", FILLED, "The loss mask of token ids."),
    ],
};
