//! What rows say of the loss of their messages.

use super::*;
use crate::example::LossWeight;
use std::ops::Range;

#[test]
fn r22_a_messages_own_flag_is_read_and_templates_never_see_it() {
    for (flag, train) in [
        (r#""train": true"#, Some(true)),
        (r#""train": false"#, Some(false)),
        (r#""train": null"#, None),
        (r#""weight": 0"#, Some(false)),
        (r#""weight": 1"#, Some(true)),
        (r#""weight": 1.0"#, Some(true)),
        (r#""weight": 0.0, "train": false"#, Some(false)),
    ] {
        let read = message(&format!(
            r#"{{"role": "assistant", {flag}, "content": "A"}}"#
        ));
        assert_eq!(read.train, train, "{flag}");
        assert_eq!(dump(&read.value), r#"{"role":"assistant","content":"A"}"#);
    }
}

#[test]
fn flags_that_mean_nothing_are_refused() {
    for (flag, words) in [
        (
            r#""weight": 2"#,
            "`messages[0].weight` is 2, not a number from 0 to 1",
        ),
        (r#""weight": -1"#, "is -1, not a number from 0 to 1"),
        (r#""weight": "1""#, "is a string, not a number from 0 to 1"),
        (r#""weight": NaN"#, "is NaN, not a number from 0 to 1"),
        (r#""weight": 1e-60"#, "not a number from 0 to 1"),
        (r#""train": false, "weight": 0.5"#, "contradict"),
        (
            r#""train_detail": 1"#,
            "`messages[0].train_detail` is a number, not a list",
        ),
        (
            r#""train_detail": [{"begin_offset": 0, "end_offset": 0, "train": true}]"#,
            "the content has 0",
        ),
        (
            r#""train_detail": [{"begin_offset": 2, "end_offset": 1, "train": true}]"#,
            "`messages[0].train_detail[0]` ends at 1, before it begins at 2",
        ),
        (
            r#""train_detail": [{"begin_offset": -1, "end_offset": 1, "train": true}]"#,
            "`messages[0].train_detail[0].begin_offset` is no offset",
        ),
        (
            r#""train_detail": [{"begin_offset": 0, "end_offset": 1}]"#,
            "says neither `train` nor `weight`",
        ),
        (
            r#""train": 1"#,
            "`messages[0].train` is a number, not true or false",
        ),
        (r#""train": true, "weight": 0"#, "contradict"),
    ] {
        let line = format!(r#"{{"messages": [{{"role": "user", "content": "", {flag}}}]}}"#);
        assert_refused(&line, &[words]);
    }
}

/// A stretch of a content: part, bytes, weight or 0.
type Stretch = (Option<usize>, Range<usize>, f32);

/// What a message says of its loss: `train`, the weight, and its details.
fn loss(json: &str) -> (Option<bool>, f32, Vec<Stretch>) {
    let read = message(json);
    let details = read.details.iter();
    let details = details.map(|detail| {
        let weight = detail.weight.map_or(0.0, LossWeight::get);
        (detail.part, detail.bytes.clone(), weight)
    });
    (read.train, read.weight.get(), details.collect())
}

#[test]
fn a_message_may_weigh_less() {
    let read = |flag: &str| {
        loss(&format!(
            r#"{{"role": "assistant", {flag}, "content": "A"}}"#
        ))
    };
    assert_eq!(read(r#""weight": 0.25"#), (Some(true), 0.25, vec![]));
    assert_eq!(
        read(r#""weight": 0.5, "train": true"#),
        (Some(true), 0.5, vec![])
    );
    assert_eq!(read(r#""train_detail": []"#), (None, 1.0, vec![]));
}

#[test]
fn r22_character_spans_are_bytes_of_the_content_and_the_rest_is_not_trained() {
    // Characters, not bytes: 0 "é", 1 "a", 2 "ü", 3 "b", 4 "c"; both ends belong to a span.
    let read = |details: &str| {
        loss(&format!(
            r#"{{"role": "assistant", "content": "éaübc", "train_detail": [{details}]}}"#
        ))
    };
    let span = |first: u32, last: u32, say: &str| {
        format!(r#"{{"begin_offset": {first}, "end_offset": {last}, {say}}}"#)
    };
    let some = span(1, 2, r#""train": true"#);
    let (trained, full) = (Some(true), 1.0);
    assert_eq!(
        read(&some),
        (trained, full, vec![(None, 0..2, 0.0), (None, 5..7, 0.0)])
    );
    let rest = span(3, 4, r#""weight": 0.5"#);
    let both = (trained, full, vec![(None, 0..2, 0.0), (None, 5..7, 0.5)]);
    assert_eq!(read(&format!("{rest}, {some}")), both, "in any order");
    let nothing = span(0, 4, r#""train": false"#);
    assert_eq!(read(&nothing), (Some(false), full, vec![(None, 0..7, 0.0)]));
    // Twice the same of one character is no contradiction.
    let again = span(2, 3, r#""train": true"#);
    assert_eq!(
        read(&format!("{some}, {again}")).2,
        [(None, 0..2, 0.0), (None, 6..7, 0.0)]
    );
    assert_refused(
        &format!(
            r#"{{"messages": [{{"role": "assistant", "content": "éaübc", "train_detail": [{some}, {nothing}]}}]}}"#
        ),
        &["`messages[0].train_detail` says two things of character 1"],
    );
    // The message's own word counts more.
    let read = message(&format!(
        r#"{{"role": "user", "content": "éaübc", "train": false, "train_detail": [{some}]}}"#
    ));
    assert_eq!(read.train, Some(false));
    assert_eq!(dump(&read.value), r#"{"role":"user","content":"éaübc"}"#);
}

#[test]
fn r22_parts_speak_for_themselves_and_templates_never_see_it() {
    let json = r#"{"role": "assistant", "content": [{"type": "text", "train": false, "text": "ab"}, {"type": "image"},
        {"type": "text", "text": "cd", "weight": 0.5}, {"text": "e", "train": null}, "f", {"text": "g", "train": true}]}"#;
    assert_eq!(
        loss(json),
        (
            None,
            1.0,
            vec![
                (Some(0), 0..2, 0.0),
                (Some(2), 0..2, 0.5),
                (Some(5), 0..1, 1.0)
            ]
        )
    );
    assert_eq!(
        dump(&message(json).value),
        r#"{"role":"assistant","content":[{"type":"text","text":"ab"},{"type":"image"},{"type":"text","text":"cd"},{"text":"e"},"f",{"text":"g"}]}"#
    );
    for (part, words) in [
        (
            r#"{"type": "image", "train": true}"#,
            "`messages[0].content[0]` is to be trained and has no `text`",
        ),
        (
            r#"{"text": "a", "weight": 2}"#,
            "`messages[0].content[0].weight` is 2",
        ),
    ] {
        assert_refused(
            &format!(r#"{{"messages": [{{"role": "assistant", "content": [{part}]}}]}}"#),
            &[words],
        );
    }
    assert_refused(
        r#"{"messages": [{"role": "assistant", "content": [{"text": "a"}], "train_detail": [{"begin_offset": 0, "end_offset": 0, "train": true}]}]}"#,
        &["is about characters, and the content is no text"],
    );
}
