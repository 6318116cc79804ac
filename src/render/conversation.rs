//! What a template sees of one chat.

use minijinja::Value;

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
    /// order; keys whose value is none removed, as the reference does; train and weight flags removed.
    pub value: Value,
    /// The row's own say on whether it is trained.
    pub train: Option<bool>,
}
