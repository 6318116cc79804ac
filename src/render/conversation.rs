//! What a template sees of one chat.

use crate::example::LossWeight;
use minijinja::Value;
use std::ops::Range;

/// One chat as a template sees it.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    /// The turns, in order.
    pub messages: Vec<Message>,
    /// Tool schemas; none is passed to the template as none.
    pub tools: Option<Value>,
    /// Documents for retrieval templates; none is passed to the template as none.
    pub documents: Option<Value>,
    /// The row's `chat_template_kwargs`, in the row's order.
    pub kwargs: Vec<(String, Value)>,
}

impl Conversation {
    /// Its first `count` messages, with everything that comes beside messages.
    pub fn beginning(&self, count: usize) -> Conversation {
        Conversation {
            messages: self.messages.iter().take(count).cloned().collect(),
            tools: self.tools.clone(),
            documents: self.documents.clone(),
            kwargs: self.kwargs.clone(),
        }
    }
}

/// One turn.
#[derive(Debug, Clone)]
pub struct Message {
    /// Who speaks.
    pub role: String,
    /// The message as the template sees it: a map with role, content, tool_calls, … in the row's key
    /// order; keys whose value is none removed, as the reference does; what the row says of the loss removed.
    pub value: Value,
    /// The row's own say on whether it is trained.
    pub train: Option<bool>,
    /// How much its tokens count where it is trained.
    pub weight: LossWeight,
    /// What the row says of stretches of its content, in order, disjoint in each text.
    pub details: Vec<Detail>,
}

impl Message {
    /// A message of which the row says nothing.
    pub fn new(role: impl Into<String>, value: Value) -> Message {
        Message {
            role: role.into(),
            value,
            train: None,
            weight: LossWeight::ONE,
            details: Vec::new(),
        }
    }

    /// Whether the row says anything of its loss.
    pub fn speaks_for_itself(&self) -> bool {
        self.train.is_some() || self.weight != LossWeight::ONE || !self.details.is_empty()
    }

    /// Whether the row gives any of it a weight between 0 and 1.
    pub fn is_weighted(&self) -> bool {
        let weights = self.details.iter().filter_map(|detail| detail.weight);
        weights
            .chain([self.weight])
            .any(|weight| weight < LossWeight::ONE)
    }
}

/// A stretch of a message's content of which the row says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// Which part of a content that is a list; none where the content is text.
    pub part: Option<usize>,
    /// Bytes of that text.
    pub bytes: Range<usize>,
    /// How much its tokens count where the message is trained, times the message's own weight; none: they are not
    /// trained.
    pub weight: Option<LossWeight>,
}
