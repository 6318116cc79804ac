//! One line to a row of every shape: an answer or an error, whatever the bytes.
//!
//! Input: one byte that chooses the kind and the limits, then the line.

use packmill::Kind;
use packmill::recipe::{LimitsConfig, RowKind, SourceConfig};
use packmill::render::row::{Row, RowReader};

const KINDS: [RowKind; 6] = [
    RowKind::Auto,
    RowKind::Chat,
    RowKind::PromptCompletion,
    RowKind::Instruction,
    RowKind::Text,
    RowKind::Tokens,
];

pub(super) fn row(data: &[u8]) {
    let Some((&choice, line)) = data.split_first() else {
        return;
    };
    let mut source = SourceConfig {
        kind: KINDS[usize::from(choice) % KINDS.len()],
        ..SourceConfig::default()
    };
    if choice & 64 != 0 {
        source.roles.insert("human".to_owned(), "user".to_owned());
        source
            .roles
            .insert("gpt".to_owned(), "assistant".to_owned());
    }
    let limits = LimitsConfig {
        nesting: if choice & 128 != 0 { 8 } else { 128 },
        record_bytes: 1 << 12,
        ..LimitsConfig::DEFAULT
    };
    let reader = RowReader::new(&source, Some("Be brief.")).within(&limits);
    let read = reader.read(line);
    if line.len() as u64 > limits.record_bytes {
        assert!(matches!(read, Err(error) if error.kind() == Kind::Limit));
        return;
    }
    if std::str::from_utf8(line).is_err() {
        assert!(read.is_err());
        return;
    }
    let Ok(row) = read else { return };
    match row {
        Row::Chat(chat) => assert!(!chat.messages.is_empty()),
        Row::ChatCompletion {
            conversation,
            prompt_len,
        } => assert!(prompt_len > 0 && prompt_len <= conversation.messages.len()),
        Row::Tokens { ids, .. } => assert!(!ids.is_empty()),
        Row::TextCompletion { .. } | Row::Text(_) => {}
    }
    // What is understood once is understood again by a reader that knows the shape.
    let shape = match reader.shape() {
        Some(shape) => shape,
        None => reader.detect(line).expect("it was told just now"),
    };
    assert!(reader.with_shape(shape).read(line).is_ok());
}
