//! What is trained under each policy, end to end: ids are bytes, so that a mask can be read as text.

use crate::corpus::{Corpus, IM_END};
use packmill::pipeline::{Model, Samples};
use packmill::{Example, ledger::Reason};
use std::sync::Arc;

const CHAT: &str = r#"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "So?"}, {"role": "assistant", "content": "No."}]}"#;

fn samples(rows: &[&str], more: &str) -> Vec<Result<Example, Reason>> {
    let corpus = Corpus::new();
    corpus.write("rows.jsonl", (rows.join("\n") + "\n").as_bytes());
    let recipe = corpus.recipe("rows.jsonl", more);
    let model = Arc::new(Model::load(&recipe).unwrap());
    Samples::open(&recipe, &model, &corpus.cache())
        .unwrap()
        .map(|s| s.unwrap().content)
        .collect()
}

/// The trained parts as text; the end-of-turn token is written `^`.
fn trained(example: &Example) -> Vec<String> {
    example
        .trained
        .iter()
        .map(|span| {
            let ids = &example.ids[span.start as usize..span.end as usize];
            let bytes: Vec<u8> = ids
                .iter()
                .map(|&id| {
                    if id == IM_END {
                        b'^'
                    } else {
                        u8::try_from(id).unwrap_or(b'#')
                    }
                })
                .collect();
            String::from_utf8(bytes).unwrap()
        })
        .collect()
}

fn one(row: &str, more: &str) -> Vec<String> {
    trained(samples(&[row], more)[0].as_ref().unwrap())
}

#[test]
fn r11_content_and_end_of_turn_but_never_the_header() {
    assert_eq!(one(CHAT, ""), ["Yes.^", "No.^"]);
}

#[test]
fn end_of_turn_false_takes_the_token_off() {
    assert_eq!(one(CHAT, "mask: {end_of_turn: false}"), ["Yes.", "No."]);
}

#[test]
fn last_assistant() {
    assert_eq!(one(CHAT, "mask: {train: last_assistant}"), ["No.^"]);
}

#[test]
fn all_trains_everything() {
    let sample = &samples(&[CHAT], "mask: {train: all}")[0];
    let example = sample.as_ref().unwrap();
    assert_eq!(
        example.trained,
        [0..u32::try_from(example.ids.len()).unwrap()]
    );
}

#[test]
fn r22_a_messages_own_flag_wins_over_its_role() {
    let row = CHAT.replacen(
        r#""content": "Yes.""#,
        r#""content": "Yes.", "train": false"#,
        1,
    );
    assert_eq!(one(&row, ""), ["No.^"]);
    let row = CHAT.replacen(r#""content": "No.""#, r#""content": "No.", "weight": 0"#, 1);
    assert_eq!(one(&row, ""), ["Yes.^"]);
}

#[test]
fn markers_with_and_without_instruction() {
    let response = r#"mask: {train: markers, markers: {response: "<|im_start|>assistant\n", instruction: "<|im_start|>user\n"}}"#;
    assert_eq!(one(CHAT, response), ["Yes.^\n", "No.^\n"]);
    let alone = r#"mask: {train: markers, markers: {response: "<|im_start|>assistant\n"}}"#;
    assert_eq!(one(CHAT, alone), ["No.^\n"]);
}

#[test]
fn a_record_without_a_marker_is_dropped_by_its_own_reason() {
    let more = r#"mask: {train: markers, markers: {response: "Answer:"}}"#;
    assert_eq!(samples(&[CHAT], more), [Err(Reason::NoMarker)]);
}

#[test]
fn completion_of_messages_and_of_text() {
    let row = r#"{"prompt": [{"role": "user", "content": "Hi"}], "completion": [{"role": "assistant", "content": "Yes."}]}"#;
    assert_eq!(one(row, "mask: {train: completion}"), ["Yes.^\n"]);
    let row = r#"{"prompt": "2+2=", "completion": "4"}"#;
    assert_eq!(one(row, "mask: {train: completion}"), ["4^"]);
}

#[test]
fn r10_text_gets_its_end_once() {
    let ids = |text: &str| {
        let row = serde_json::json!({ "text": text }).to_string();
        samples(&[&row], "mask: {train: all}")
            .remove(0)
            .unwrap()
            .ids
    };
    assert_eq!(ids("ab"), [97, 98, IM_END]);
    assert_eq!(ids("ab<|im_end|>"), [97, 98, IM_END]);
}

#[test]
fn r23_given_labels_are_untouched() {
    let rows = [
        r#"{"input_ids": [1, 2, 3, 4], "labels": [-100, 2, -100, 4]}"#,
        r#"{"input_ids": [1, 2, 3, 4], "labels": [-100, -100, -100, -100]}"#,
        r#"{"input_ids": [1, 2, 3, 4], "labels": [1, -100, -100, -100]}"#,
    ];
    let samples = samples(&rows, "");
    assert_eq!(samples[0].as_ref().unwrap().trained, [1..2, 3..4]);
    assert_eq!(samples[1], Err(Reason::NoTrainedToken));
    assert_eq!(
        samples[2],
        Err(Reason::NoTrainedToken),
        "position 0 is never a target"
    );
}

#[test]
fn other_shapes_are_conversations_too() {
    let sharegpt = r#"{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes."}]}"#;
    assert_eq!(one(sharegpt, ""), ["Yes.^"]);
    let alpaca = r#"{"instruction": "Say yes", "input": "", "output": "Yes."}"#;
    assert_eq!(one(alpaca, ""), ["Yes.^"]);
}

#[test]
fn r17_a_record_without_a_trained_token_is_dropped_and_counted() {
    let row = r#"{"messages": [{"role": "user", "content": "Hi"}]}"#;
    assert_eq!(samples(&[row, CHAT], "")[0], Err(Reason::NoTrainedToken));
}
