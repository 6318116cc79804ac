//! What is trained under each policy, end to end: ids are bytes, so that a mask can be read as text.

use crate::corpus::{Corpus, IM_END, TEMPLATE};
use packmill::pipeline::{Estimate, Loader, Model, Samples, Warning};
use packmill::{Error, Example, Kind, ledger::Reason};

const CHAT: &str = r#"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "So?"}, {"role": "assistant", "content": "No."}]}"#;

fn samples(rows: &[&str], more: &str) -> Vec<Result<Example, Reason>> {
    let corpus = Corpus::new();
    corpus.write("rows.jsonl", (rows.join("\n") + "\n").as_bytes());
    let recipe = corpus.recipe("rows.jsonl", more);
    let model = crate::corpus::model(&recipe);
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

/// The trained parts of a row under a template of one's own.
fn with_template(template: &str, row: &str, mask: &str) -> Vec<String> {
    let corpus = Corpus::new();
    corpus.write("rows.jsonl", format!("{row}\n").as_bytes());
    corpus.write("own.jinja", template.as_bytes());
    let recipe = corpus.recipe(
        "rows.jsonl",
        &format!("template: own.jinja\nmask: {{{mask}}}"),
    );
    let model = crate::corpus::model(&recipe);
    let mut samples = Samples::open(&recipe, &model, &corpus.cache()).unwrap();
    trained(&samples.next().unwrap().unwrap().content.unwrap())
}

#[test]
fn every_policy_works_without_generation_tags() {
    let untagged = TEMPLATE
        .replace("{% generation %}", "")
        .replace("{% endgeneration %}", "");
    let flagged = CHAT.replacen(
        r#""content": "Yes.""#,
        r#""content": "Yes.", "train": false"#,
        1,
    );
    for (row, mask, expected) in [
        (CHAT, "", vec!["Yes.^\n", "No.^\n"]),
        (CHAT, "train: last_assistant", vec!["No.^\n"]),
        (CHAT, "end_of_turn: false", vec!["Yes.", "No."]),
        (flagged.as_str(), "", vec!["No.^\n"]),
    ] {
        assert_eq!(with_template(&untagged, row, mask), expected, "{mask}");
    }
}

#[test]
fn fields_that_are_skipped_are_context() {
    let template = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% generation %}\
{% if m.reasoning %}{{ '<think>' + m.reasoning + '</think>' }}{% endif %}{{ m.content }}{% for c in m.tool_calls %}{{ '[' + c.name + c.x + ']' }}{% endfor %}{{ '<|im_end|>' }}\
{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{% endfor %}{{ '<|im_start|>assistant\n' if add_generation_prompt }}";
    let row = r#"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "reasoning": "so", "content": "Yes.", "tool_calls": [{"name": "f", "x": "one"}]}]}"#;
    let untagged = template
        .replace("{% generation %}", "")
        .replace("{% endgeneration %}", "");
    for template in [template, &untagged] {
        for (mask, expected) in [
            ("", vec!["<think>so</think>Yes.[fone]^"]),
            ("reasoning: skip", vec!["</think>Yes.[fone]^"]),
            ("tool_calls: skip", vec!["<think>so</think>Yes.", "^"]),
            (
                "reasoning: skip, tool_calls: skip",
                vec!["</think>Yes.", "^"],
            ),
            (
                "reasoning: skip, tool_calls: skip, end_of_turn: false",
                vec!["</think>Yes."],
            ),
        ] {
            assert_eq!(with_template(template, row, mask), expected, "{mask}");
        }
    }
    let error = {
        let corpus = Corpus::new();
        corpus.write("rows.jsonl", format!("{row}\n").as_bytes());
        let recipe = corpus.recipe("rows.jsonl", "mask: {train: all, tool_calls: skip}");
        let model = crate::corpus::model(&recipe);
        Samples::open(&recipe, &model, &corpus.cache())
            .and_then(|mut samples| samples.next().unwrap())
            .expect_err("should be refused")
    };
    assert_eq!(error.kind(), Kind::Recipe, "{error}");
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

/// The error of the only row.
fn refused(row: &str, more: &str) -> Error {
    let corpus = Corpus::new();
    corpus.write("rows.jsonl", format!("{row}\n").as_bytes());
    let recipe = corpus.recipe("rows.jsonl", more);
    let model = crate::corpus::model(&recipe);
    let mut samples = Samples::open(&recipe, &model, &corpus.cache()).unwrap();
    samples.next().unwrap().expect_err("should be refused")
}

#[test]
fn r22_a_turn_that_should_be_trained_and_has_no_span_is_refused() {
    // The template has tags around assistants' turns alone.
    let row = CHAT.replacen(
        r#""content": "So?""#,
        r#""content": "So?", "train": true"#,
        1,
    );
    for (row, more) in [
        (row.as_str(), ""),
        (row.as_str(), "mask: {train: last_assistant}"),
        (CHAT, "mask: {roles: [assistant, user]}"),
    ] {
        let error = refused(row, more);
        assert_eq!(error.kind(), Kind::Mask, "{more}: {error}");
        assert_eq!(error.record(), Some(0), "{more}: {error}");
        assert!(error.to_string().contains("\"user\""), "{more}: {error}");
    }
    // A role that no message has asks for nothing.
    assert_eq!(
        one(CHAT, "mask: {roles: [assistant, ipython]}"),
        ["Yes.^", "No.^"]
    );
}

#[test]
fn r22_flags_are_refused_where_nothing_ties_them_to_tokens() {
    let row = CHAT.replacen(
        r#""content": "No.""#,
        r#""content": "No.", "train": true"#,
        1,
    );
    for policy in [
        "all",
        "markers, markers: {response: \"<|im_start|>assistant\"}",
    ] {
        let error = refused(&row, &format!("mask: {{train: {policy}}}"));
        assert_eq!(error.kind(), Kind::Mask, "{policy}: {error}");
    }
}

#[test]
fn an_assistants_turn_without_a_span_is_the_templates_decision() {
    let corpus_template = "{% for m in messages %}{% if m.role == 'assistant' and loop.last %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}|{% endfor %}";
    let corpus = Corpus::new();
    corpus.write("last.jinja", corpus_template.as_bytes());
    let flagged = CHAT.replacen(
        r#""content": "Yes.""#,
        r#""content": "Yes.", "train": true"#,
        1,
    );
    corpus.write("rows.jsonl", format!("{CHAT}\n{flagged}\n").as_bytes());
    let recipe = corpus.recipe("rows.jsonl", "template: last.jinja");
    let model = crate::corpus::model(&recipe);
    for sample in Samples::open(&recipe, &model, &corpus.cache()).unwrap() {
        assert_eq!(trained(&sample.unwrap().content.unwrap()), ["No."]);
    }
}

#[test]
fn r12_a_template_whose_stop_token_is_not_trained_is_warned_of() {
    let corpus = Corpus::new();
    corpus.write("rows.jsonl", format!("{CHAT}\n").repeat(8).as_bytes());
    let warned = |template: &str, more: &str| {
        corpus.write("own.jinja", template.as_bytes());
        let recipe = corpus.recipe("rows.jsonl", &format!("template: own.jinja\n{more}"));
        let model = Model::load(&recipe).unwrap();
        let estimate = Estimate::of(&recipe, &model).unwrap();
        let loader = Loader::builder(recipe.clone())
            .cache(corpus.cache())
            .build()
            .unwrap();
        let stops = |warnings: &[Warning]| {
            let untrained = |w: &&Warning| matches!(w, Warning::StopTokenUntrained { source } if source == "chats");
            warnings.iter().filter(untrained).count()
        };
        let found = stops(&estimate.warnings(&recipe));
        assert_eq!(stops(loader.warnings()), found);
        found
    };
    let whole = crate::corpus::TEMPLATE;
    assert_eq!(warned(whole, ""), 0);
    assert_eq!(warned(whole, "mask: {end_of_turn: false}"), 1);
    assert_eq!(warned(whole, "mask: {train: all}"), 0);
    let outside = whole.replace(
        "+ '<|im_end|>' }}{% endgeneration %}",
        "}}{% endgeneration %}<|im_end|>",
    );
    assert_ne!(outside, whole);
    assert_eq!(warned(&outside, ""), 1);
    // The message that follows prints the terminator.
    let follows = "{% for m in messages %}{% if loop.index0 > 0 %}<|im_end|>{% endif %}{% if m.role == 'assistant' %}\
        {% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}<|im_end|>";
    assert_eq!(warned(follows, ""), 1);
}

#[test]
fn r9_a_chat_gets_no_bos_beside_the_templates_own() {
    let corpus = Corpus::new();
    let path = "tokenizer/tokenizer.json";
    let text = std::fs::read_to_string(corpus.path(path)).unwrap();
    let mut file: serde_json::Value = serde_json::from_str(&text).unwrap();
    // A tokenizer that puts a BOS before whatever it is given.
    file["post_processor"] = serde_json::json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [258], "tokens": ["<|endoftext|>"]}}
    });
    corpus.write(path, file.to_string().as_bytes());
    corpus.write(
        "tokenizer/tokenizer_config.json",
        br#"{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}"#,
    );
    corpus.write(
        "bos.jinja",
        format!("{{{{ bos_token }}}}{}", crate::corpus::TEMPLATE).as_bytes(),
    );
    corpus.write("rows.jsonl", format!("{CHAT}\n").as_bytes());
    corpus.write("text.jsonl", b"{\"text\": \"ab\"}\n");
    let ids = |rows: &str, more: &str| {
        let recipe = corpus.recipe(rows, more);
        let model = crate::corpus::model(&recipe);
        let mut samples = Samples::open(&recipe, &model, &corpus.cache()).unwrap();
        samples.next().unwrap().unwrap().content.unwrap().ids
    };
    let bos = |ids: &[u32]| ids.iter().filter(|&&id| id == 258).count();
    let printed = ids("rows.jsonl", "template: bos.jinja");
    assert_eq!((printed[0], bos(&printed)), (258, 1));
    let none = ids("rows.jsonl", "");
    assert_eq!(bos(&none), 0, "the template prints none");
    let text = ids("text.jsonl", "mask: {train: all}");
    assert_eq!(text, [258, 97, 98, IM_END]);
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
    // A conversation ends as its template ends it: nothing is appended behind the last line break.
    let chat = samples(&[CHAT], "").remove(0).unwrap().ids;
    assert_eq!(chat[chat.len() - 2..], [IM_END, u32::from(b'\n')]);
}

#[test]
fn r25_a_record_of_no_length_never_becomes_a_segment() {
    // Without tokens a row is refused, or counted where the recipe says skip; with one it has no target.
    let empty = r#"{"input_ids": [], "labels": []}"#;
    assert_eq!(refused(empty, "").kind(), Kind::Row);
    let rows = [
        empty,
        r#"{"input_ids": [7], "labels": [7]}"#,
        r#"{"input_ids": [7, 8], "labels": [-100, 8]}"#,
    ];
    let samples = samples(&rows, "on_bad_record: {skip: {max_fraction: 0.5}}");
    assert_eq!(samples[0], Err(Reason::BadRecord));
    assert_eq!(samples[1], Err(Reason::NoTrainedToken));
    assert_eq!(samples[2].as_ref().unwrap().ids, [7, 8]);
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
