//! Rows without a conversation of their own: text, prompt with completion as text, Alpaca, tokens.

use super::*;
use crate::example::Span;

#[test]
fn r10_text_is_handed_on_as_it_is() {
    let Ok(Row::Text(text)) = read(r#"{"text": " a\n</s> ", "meta": {}}"#) else {
        panic!("not text");
    };
    assert_eq!(text, " a\n</s> ");
    let row = read(r#"{"completion": " A", "prompt": "Q:", "text": "Q: A"}"#);
    let Ok(Row::TextCompletion { prompt, completion }) = row else {
        panic!("not a completion");
    };
    assert_eq!((prompt.as_str(), completion.as_str()), ("Q:", " A"));
    assert_refused(r#"{"text": ["a"]}"#, &["`text` is a list, not a string"]);
}

#[test]
fn alpaca_rows_are_one_exchange() {
    let exchange = |line: &str, system: Option<&str>| {
        let row = RowReader::new(&source(), system)
            .read(line.as_bytes())
            .unwrap();
        let Row::ChatCompletion {
            conversation,
            prompt_len,
        } = row
        else {
            panic!("not a completion");
        };
        let turns: Vec<String> = conversation
            .messages
            .iter()
            .map(|message| {
                let content = message.value.get_attr("content").unwrap();
                format!("{}: {content}", message.role)
            })
            .collect();
        (turns, prompt_len)
    };
    let own = |turns: &[&str], prompt_len: usize| {
        (
            turns
                .iter()
                .map(|turn| (*turn).to_owned())
                .collect::<Vec<_>>(),
            prompt_len,
        )
    };
    let plain = r#"{"instruction": "Add", "input": "1 2", "output": "3", "text": "Below is"}"#;
    assert_eq!(
        exchange(plain, None),
        own(&["user: Add\n1 2", "assistant: 3"], 1)
    );
    for none in [r#""input": "","#, r#""input": null,"#, ""] {
        let line = format!(r#"{{"instruction": "Add", {none} "output": "3"}}"#);
        assert_eq!(
            exchange(&line, None),
            own(&["user: Add", "assistant: 3"], 1)
        );
    }
    let only_input = r#"{"instruction": "", "input": "1 2", "output": "3"}"#;
    assert_eq!(
        exchange(only_input, None),
        own(&["user: 1 2", "assistant: 3"], 1)
    );
    let with_system = r#"{"instruction": "Add", "output": "3", "system": "S", "history": []}"#;
    assert_eq!(
        exchange(with_system, Some("recipe")),
        own(&["system: S", "user: Add", "assistant: 3"], 2)
    );
    assert_eq!(
        exchange(plain, Some("recipe")),
        own(&["system: recipe", "user: Add\n1 2", "assistant: 3"], 2)
    );
}

#[test]
fn odd_alpaca_rows_are_refused() {
    assert_refused(
        r#"{"instruction": "Add", "output": "3", "history": [["Q", "A"]]}"#,
        &["`history` holds earlier turns", "messages"],
    );
    assert_refused(
        r#"{"instruction": "Add", "output": ["3"]}"#,
        &["`output` is a list, not a string"],
    );
    let reader = RowReader::new(&source(), None).with_shape(Shape::Instruction);
    let (_, sentence) = refused(reader.read(br#"{"instruction": "Add"}"#));
    assert!(
        sentence.contains("the record has no `output`"),
        "{sentence}"
    );
}

fn tokens(line: &str) -> (Vec<TokenId>, GivenLabels) {
    match read(line) {
        Ok(Row::Tokens { ids, trained }) => (ids, trained),
        Ok(_) => panic!("not tokens"),
        Err(error) => panic!("{error}"),
    }
}

fn given(trained: Vec<Span>) -> GivenLabels {
    GivenLabels::Targets(trained.into())
}

#[test]
fn a_loss_mask_may_hold_weights() {
    let line = r#"{"input_ids": [5, 6, 7, 8, 9], "loss_mask": [0.5, 0.5, 1, 0, 0.25], "labels": [5, 6, 7, 8, -100]}"#;
    let (_, GivenLabels::Targets(targets)) = tokens(line) else {
        panic!("no targets");
    };
    assert!(targets.trained.iter().eq([&(0..3)]));
    let weights = targets.weights.iter();
    let weights: Vec<_> = weights
        .map(|w| (w.tokens.clone(), w.weight.get()))
        .collect();
    assert_eq!(weights, [(0..2, 0.5)]);
}

#[test]
fn r23_given_labels_are_kept() {
    let (ids, trained) =
        tokens(r#"{"input_ids": [5, 0, 4294967295], "attention_mask": [1, 1, 1]}"#);
    assert_eq!(ids, [5, 0, 4_294_967_295]);
    assert_eq!(trained, GivenLabels::None);
    for row in [
        r#""labels": [5, -100, 7, 8, -100, 1]"#,
        r#""loss_mask": [1, 0, 1, 1, 0, 1], "labels": null"#,
        r#""loss_mask": [true, false, true, 1.0, 0.0, true]"#,
    ] {
        let line = format!(r#"{{{row}, "input_ids": [5, 6, 7, 8, 9, 1]}}"#);
        assert_eq!(tokens(&line).1, given(vec![0..1, 2..4, 5..6]));
    }
    let nothing = r#"{"input_ids": [5], "labels": [-100]}"#;
    assert_eq!(tokens(nothing).1, given(vec![]));
}

#[test]
fn r23_masks_compose_by_and() {
    let both =
        r#"{"input_ids": [5, 6, 7, 8], "labels": [-100, 6, 7, 8], "loss_mask": [1, 1, 0, 1]}"#;
    assert_eq!(tokens(both).1, given(vec![1..2, 3..4]));
}

#[test]
fn odd_tokens_are_refused_with_their_position() {
    for (line, words) in [
        (r#"{"input_ids": []}"#, "`input_ids` has 0 tokens"),
        (r#"{"input_ids": [1, -1]}"#, "`input_ids[1]` is no token id"),
        (
            r#"{"input_ids": [4294967296]}"#,
            "`input_ids[0]` is no token id",
        ),
        (
            r#"{"input_ids": [99999999999999999999]}"#,
            "`input_ids[0]` is no token id",
        ),
        (r#"{"input_ids": [1.0]}"#, "`input_ids[0]` is no token id"),
        (
            r#"{"input_ids": [[1]]}"#,
            "`input_ids[0]` is a list, not a number",
        ),
        (
            r#"{"input_ids": "1 2"}"#,
            "`input_ids` is a string, not a list",
        ),
        (
            r#"{"input_ids": [1, 2], "labels": [1]}"#,
            "`labels` has 1 entries for 2 tokens",
        ),
        (
            r#"{"input_ids": [1, 2], "labels": [2, -100]}"#,
            "`labels[0]` is 2, neither -100 nor the id 1",
        ),
        (
            r#"{"input_ids": [1, 2], "labels": [1, -1]}"#,
            "`labels[1]` is -1",
        ),
        (
            r#"{"input_ids": [1, 2], "labels": [1, 2.0]}"#,
            "`labels[1]` is no label",
        ),
        (
            r#"{"input_ids": [1], "loss_mask": [2]}"#,
            "`loss_mask[0]` is not between 0 and 1",
        ),
        (
            r#"{"input_ids": [1], "loss_mask": [1.5]}"#,
            "`loss_mask[0]` is not between 0 and 1",
        ),
        (
            r#"{"input_ids": [1], "loss_mask": [-0.5]}"#,
            "`loss_mask[0]` is not between 0 and 1",
        ),
        (
            r#"{"input_ids": [1], "loss_mask": ["1"]}"#,
            "`loss_mask[0]` is a string",
        ),
    ] {
        assert_refused(line, &[words]);
    }
}
