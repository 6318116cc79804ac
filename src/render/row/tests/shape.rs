//! Which shape a first record has, and the outer form of records.

use super::*;

fn detect(kind: RowKind, line: &str) -> Result<Shape> {
    let mut of_kind = source();
    of_kind.kind = kind;
    RowReader::new(&of_kind, None).detect(line.as_bytes())
}

#[test]
fn the_first_record_decides_by_its_fields() {
    for (line, shape) in [
        (r#"{"messages": [], "text": ""}"#, Shape::Messages),
        (
            r#"{"prompt": "", "completion": "", "messages": []}"#,
            Shape::Messages,
        ),
        (r#"{"conversations": []}"#, Shape::Conversations),
        (
            r#"{"prompt": "", "completion": ""}"#,
            Shape::PromptCompletion,
        ),
        (
            r#"{"instruction": "", "input": "", "output": "", "text": ""}"#,
            Shape::Instruction,
        ),
        (r#"{"text": "", "prompt": ""}"#, Shape::Text),
        (r#"{"input_ids": [], "text": ""}"#, Shape::Tokens),
        (r#"{"messages": null, "text": ""}"#, Shape::Text),
        (
            r#"{"messages": null, "text": "", "messages": []}"#,
            Shape::Messages,
        ),
    ] {
        assert_eq!(detect(RowKind::Auto, line).unwrap(), shape, "{line}");
    }
}

#[test]
fn the_recipes_kind_narrows_the_choice() {
    let all = r#"{"messages": [], "conversations": [], "prompt": "", "completion": "", "instruction": "",
        "output": "", "text": "", "input_ids": []}"#;
    for (kind, shape) in [
        (RowKind::Auto, Shape::Tokens),
        (RowKind::Chat, Shape::Messages),
        (RowKind::PromptCompletion, Shape::PromptCompletion),
        (RowKind::Instruction, Shape::Instruction),
        (RowKind::Text, Shape::Text),
        (RowKind::Tokens, Shape::Tokens),
    ] {
        assert_eq!(detect(kind, all).unwrap(), shape);
    }
    let (kind, sentence) = refused(detect(RowKind::Chat, r#"{"text": ""}"#));
    assert_eq!(kind, Kind::Row);
    assert!(
        sentence.contains("the record has `text`, but none of `messages`, `conversations`"),
        "{sentence}"
    );
}

#[test]
fn a_record_of_no_shape_is_refused_with_its_keys_and_the_remedy() {
    let (kind, sentence) = refused(detect(RowKind::Auto, r#"{"question": "", "answer": ""}"#));
    assert_eq!(kind, Kind::Row);
    for words in [
        "the record has `question`, `answer`, but none of",
        "`prompt` with `completion`",
        "sources[].fields",
        "sources[].kind",
    ] {
        assert!(sentence.contains(words), "{sentence}");
    }
    let many: Vec<String> = (0..30)
        .map(|n| format!(r#""{}{n}": 0"#, "k".repeat(99)))
        .collect();
    let (_, sentence) = refused(detect(RowKind::Auto, &format!("{{{}}}", many.join(","))));
    assert!(
        sentence.contains("22 more") && sentence.len() < 800,
        "{sentence}"
    );
}

#[test]
fn later_records_must_have_the_shape_of_the_first() {
    let reader = RowReader::new(&source(), None);
    assert_eq!(reader.shape(), None);
    let shape = reader.detect(br#"{"text": "a"}"#).unwrap();
    let reader = reader.with_shape(shape);
    assert_eq!(reader.shape(), Some(Shape::Text));
    assert!(reader.read(br#"{"text": "b"}"#).is_ok());
    let (_, sentence) =
        refused(reader.read(br#"{"messages": [{"role": "user", "content": "Q"}]}"#));
    assert!(sentence.contains("the record has no `text`"), "{sentence}");
    assert!(sentence.contains("first record"), "{sentence}");
}

#[test]
fn shapes_have_names() {
    assert_eq!(Shape::PromptCompletion.to_string(), "prompt and completion");
}

#[test]
fn bytes_that_are_not_utf8_are_corrupt_and_located() {
    let reader = RowReader::new(&source(), None);
    let (kind, sentence) = refused(reader.read(b"{\"text\": \"a\xFFb\"}"));
    assert_eq!(kind, Kind::Corrupt);
    assert!(sentence.contains("not UTF-8: bad byte at 11"), "{sentence}");
    // Surrogates as UTF-8 bytes, an overlong slash, a cut character.
    for bad in [b"\xED\xA0\xBD".as_slice(), b"\xC0\xAF", b"\xE4\xBD"] {
        let line = [b"{\"text\": \"".as_slice(), bad, b"\"}"].concat();
        assert_eq!(refused(reader.read(&line)).0, Kind::Corrupt);
    }
}

#[test]
fn a_byte_order_mark_and_white_space_around_a_record_do_no_harm() {
    for line in [
        "\u{FEFF}{\"text\": \"a\"}\r\n",
        " \t{\"text\": \"a\"} \n",
        "{\"text\":\"a\"}",
    ] {
        assert!(matches!(read(line), Ok(Row::Text(text)) if text == "a"));
    }
    let (_, sentence) = refused(read("\u{FEFF}{\"text\" 3}"));
    assert!(sentence.contains("at byte 11"), "{sentence}");
}

#[test]
fn a_reader_can_be_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<RowReader>();
    shared::<Row>();
}
