//! Keys that messages, calls and schemas have, by number: comparing those is all that a template's `message.role` takes.

/// A key's number; 0 for all keys that are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::render) struct KnownKey(u8);

impl KnownKey {
    /// Any key that is not known.
    pub(in crate::render) const OTHER: KnownKey = KnownKey(0);

    pub(in crate::render) fn of(key: &str) -> KnownKey {
        KnownKey(match key {
            "role" => 1,
            "content" => 2,
            "tool_calls" => 3,
            "name" => 4,
            "function" => 5,
            "arguments" => 6,
            "type" => 7,
            "text" => 8,
            "id" => 9,
            "tool_call_id" => 10,
            "reasoning_content" => 11,
            "thinking" => 12,
            "reasoning" => 13,
            "parameters" => 14,
            "description" => 15,
            "properties" => 16,
            "required" => 17,
            "enum" => 18,
            "return" => 19,
            "prefix" => 20,
            "tools" => 21,
            "tool_responses" => 22,
            "response" => 23,
            "image" => 24,
            "audio" => 25,
            "video" => 26,
            "items" => 27,
            "title" => 28,
            "model" => 29,
            "channel" => 30,
            _ => return KnownKey::OTHER,
        })
    }
}
