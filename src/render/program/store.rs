//! What a run makes and keeps until its end.

use minijinja::Value;
use std::cell::OnceCell;
use typed_arena::Arena;

/// Texts and values that a run made. Most runs make none, so there is no room for any until it is asked for.
#[derive(Default)]
pub(super) struct Store {
    texts: OnceCell<Arena<String>>,
    values: OnceCell<Arena<Value>>,
}

impl Store {
    pub(super) fn text(&self, text: String) -> &str {
        self.texts.get_or_init(Arena::new).alloc(text)
    }

    pub(super) fn value(&self, value: Value) -> &Value {
        self.values.get_or_init(Arena::new).alloc(value)
    }
}
