//! From one line of JSON to a typed row, for every shape in which the ecosystem writes training data.
//!
//! A row means what Python's `json.loads` and then Transformers and TRL make of it: keys keep their order,
//! integers their digits, floats stay floats, a key that comes twice has its first place and its last value, and
//! a message loses the keys that are null. Arguments of tool calls are passed on as they are, object or string.
//! What only a template could pass over in silence, a turn without role or content, is refused.
//!
//! [`RowReader`] is made once a source; the source's first record decides its [`Shape`].

mod beside;
mod chat;
mod entries;
mod fault;
mod field;
mod instruction;
mod json;
mod known;
mod loss;
mod message;
mod pick;
mod shape;
mod tokens;
mod value;

#[cfg(test)]
mod tests;

pub(super) use entries::Listed;
pub(super) use known::KnownKey;
pub(super) use pick::pick;
pub use shape::Shape;

use crate::error::{Error, Kind, Result, Stage};
use crate::example::{Targets, TokenId};
use crate::recipe::{Fields, LimitsConfig, RowKind, SourceConfig};
use crate::render::conversation::Conversation;

/// One row, understood.
pub enum Row {
    /// A conversation.
    Chat(Conversation),
    /// A prompt and a completion that are conversations, one after the other.
    ChatCompletion {
        /// The prompt's messages and then the completion's.
        conversation: Conversation,
        /// Messages of the prompt, at least one, a system message that was put first among them.
        prompt_len: usize,
    },
    /// A prompt and a completion as plain text.
    TextCompletion {
        /// Never trained.
        prompt: String,
        /// Trained.
        completion: String,
    },
    /// Plain text.
    Text(String),
    /// Tokens, at least one.
    Tokens {
        /// The ids, not yet checked against a vocabulary.
        ids: Vec<TokenId>,
        /// What the row says of the loss.
        trained: GivenLabels,
    },
}

/// What a row of tokens says of the loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GivenLabels {
    /// Nothing.
    None,
    /// These positions carry a label, perhaps none at all. Position 0 may be listed.
    Targets(Targets),
}

/// Reads the rows of one source.
#[derive(Debug)]
pub struct RowReader {
    kind: RowKind,
    fields: Fields,
    chat: chat::Chat,
    shape: Option<Shape>,
    nesting: u32,
    record_bytes: u64,
}

impl RowReader {
    /// A reader for `source`, within the default limits. `system` is put before conversations that have no system
    /// message.
    pub fn new(source: &SourceConfig, system: Option<&str>) -> Self {
        let limits = LimitsConfig::default();
        RowReader {
            nesting: limits.nesting,
            record_bytes: limits.record_bytes,
            kind: source.kind,
            fields: source.fields.clone(),
            chat: chat::Chat {
                messages: message::Messages::new(source),
                system: system.map(|text| message::text_message("system", text)),
            },
            shape: match source.kind {
                RowKind::Auto | RowKind::Chat => None,
                RowKind::PromptCompletion => Some(Shape::PromptCompletion),
                RowKind::Instruction => Some(Shape::Instruction),
                RowKind::Text => Some(Shape::Text),
                RowKind::Tokens => Some(Shape::Tokens),
            },
        }
    }

    /// The same within other limits: `nesting` and `record_bytes` are looked at here.
    #[must_use]
    pub fn within(self, limits: &LimitsConfig) -> Self {
        RowReader {
            nesting: limits.nesting,
            record_bytes: limits.record_bytes,
            ..self
        }
    }

    /// The shape of the source whose first record this is, among those that its `kind` allows.
    pub fn detect(&self, first_record: &[u8]) -> Result<Shape> {
        let text = self.text(first_record)?;
        let shape = json::whole(text, self.nesting, |cursor| {
            shape::detect(cursor, self.kind, &self.fields)
        });
        Ok(shape?)
    }

    /// From now on every record must be of this shape.
    #[must_use]
    pub fn with_shape(self, shape: Shape) -> Self {
        RowReader {
            shape: Some(shape),
            ..self
        }
    }

    /// The shape that records must have, where it is known: by `kind` alone, or since [`with_shape`](Self::with_shape).
    pub fn shape(&self) -> Option<Shape> {
        self.shape
    }

    /// Reads one record, with or without its line end. While no shape is set each record decides for itself,
    /// which walks over it twice.
    ///
    /// Errors are of [`Kind::Corrupt`] (not UTF-8, not JSON), [`Kind::Limit`] (size, nesting, digits) or [`Kind::Row`].
    pub fn read(&self, line: &[u8]) -> Result<Row> {
        let shape = match self.shape {
            Some(shape) => shape,
            None => self.detect(line)?,
        };
        let row = json::whole(self.text(line)?, self.nesting, |cursor| {
            cursor.expect(json::Type::Object)?;
            self.row(cursor, shape)
        });
        Ok(row?)
    }

    /// How deep a record may nest.
    pub(crate) fn nesting(&self) -> u32 {
        self.nesting
    }

    /// The record as text.
    fn text<'a>(&self, line: &'a [u8]) -> Result<&'a str> {
        self.check_size(line)?;
        utf8(line)
    }

    /// Refuses a record that is too large.
    pub(crate) fn check_size(&self, line: &[u8]) -> Result<()> {
        if line.len() as u64 > self.record_bytes {
            let most = self.record_bytes;
            let clause = format!("the record has {} bytes, more than {most}", line.len());
            return Err(Error::new(Kind::Limit, Stage::Render, clause).remedy(
                "split it, set a larger limits.record_bytes, or skip such records with on_bad_record",
            ));
        }
        Ok(())
    }

    fn row(&self, cursor: &mut json::Cursor<'_>, shape: Shape) -> fault::Result<Row> {
        let fields = &self.fields;
        match shape {
            Shape::Messages => {
                self.chat
                    .conversation(cursor, fields, &fields.messages, message::Names::Roles)
            }
            Shape::Conversations => self.chat.conversation(
                cursor,
                fields,
                shape::CONVERSATIONS,
                message::Names::ShareGpt,
            ),
            Shape::PromptCompletion => self.chat.prompt_completion(cursor, fields),
            Shape::Instruction => self.chat.instruction(cursor, fields),
            Shape::Text => text(cursor, &fields.text),
            Shape::Tokens => tokens::read(cursor, fields),
        }
    }
}

fn text(cursor: &mut json::Cursor<'_>, field: &str) -> fault::Result<Row> {
    let mut text = None;
    cursor.object(|cursor, key| {
        if key == field {
            text = Some(field::text(cursor, field)?.into_owned());
            return Ok(());
        }
        cursor.skip()
    })?;
    text.map(Row::Text).ok_or_else(|| field::missing(field))
}

fn utf8(line: &[u8]) -> Result<&str> {
    // Several times as fast where text is not ASCII; what is wrong, the slow one says.
    if let Ok(text) = simdutf8::basic::from_utf8(line) {
        return Ok(text);
    }
    std::str::from_utf8(line).map_err(|error| {
        let clause = format!(
            "the record is not UTF-8: bad byte at {}",
            error.valid_up_to()
        );
        Error::new(Kind::Corrupt, Stage::Render, clause).remedy("convert the file to UTF-8")
    })
}
