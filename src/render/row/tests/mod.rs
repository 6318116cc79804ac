//! What rows are read as, and what is refused how.

mod chat;
mod flat;
mod json;
mod loss;
mod shape;

use super::*;
use crate::recipe::Format;
use crate::render::conversation::Message;
use minijinja::Value;
use minijinja::value::ValueKind;

fn source() -> SourceConfig {
    SourceConfig {
        name: "test".to_owned(),
        paths: Vec::new(),
        weight: None,
        limit: None,
        format: Format::Auto,
        kind: RowKind::Auto,
        fields: Fields::default(),
        roles: Default::default(),
        template: None,
        render: None,
        special_tokens_in_text: None,
        filter: None,
        split: None,
        mask: None,
    }
}

/// Reads one record as the only one of its source.
fn read(line: &str) -> Result<Row> {
    RowReader::new(&source(), None).read(line.as_bytes())
}

fn refused<T>(read: Result<T>) -> (Kind, String) {
    match read {
        Ok(_) => panic!("this should have been refused"),
        Err(error) => (error.kind(), error.to_string()),
    }
}

/// Asserts that a record is refused as a row, with all of `words` in the sentence.
#[track_caller]
fn assert_refused(line: &str, words: &[&str]) {
    let (kind, sentence) = refused(read(line));
    assert_eq!(kind, Kind::Row, "{sentence}");
    for word in words {
        assert!(sentence.contains(word), "`{word}` is not in: {sentence}");
    }
}

fn conversation(line: &str) -> Conversation {
    match read(line) {
        Ok(Row::Chat(conversation)) => conversation,
        Ok(_) => panic!("not a conversation"),
        Err(error) => panic!("{error}"),
    }
}

/// One message's map, as read from the only message of a conversation.
fn message(json: &str) -> Message {
    let mut conversation = conversation(&format!(r#"{{"messages": [{json}]}}"#));
    assert_eq!(conversation.messages.len(), 1);
    conversation.messages.remove(0)
}

/// A value as JSON text with the types told apart: `1` is an integer, `1.0` a float.
fn dump(value: &Value) -> String {
    dump_by(value, |float| format!("{float:?}"))
}

fn dump_by(value: &Value, float: fn(f64) -> String) -> String {
    match value.kind() {
        ValueKind::Undefined => panic!("undefined"),
        ValueKind::None => "null".to_owned(),
        ValueKind::Bool => value.is_true().to_string(),
        ValueKind::String => serde_json::to_string(value.as_str().unwrap()).unwrap(),
        ValueKind::Seq => {
            let items: Vec<String> = value
                .try_iter()
                .unwrap()
                .map(|item| dump_by(&item, float))
                .collect();
            format!("[{}]", items.join(","))
        }
        ValueKind::Map => {
            let pairs = value.try_iter().unwrap().map(|key| {
                let item = value.get_item(&key).unwrap();
                format!("{}:{}", dump(&key), dump_by(&item, float))
            });
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
        }
        ValueKind::Number if value.is_integer() => value.to_string(),
        ValueKind::Number => float(f64::try_from(value.clone()).unwrap()),
        _ => value.to_string(),
    }
}

fn roles(messages: &[Message]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.role.as_str())
        .collect()
}
