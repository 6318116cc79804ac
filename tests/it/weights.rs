//! What rows say of the loss: weights of messages, parts, characters and tokens, down to the batch.

use crate::corpus::{Corpus, IM_END, TEMPLATE, chats, merged, report};
use packmill::batch::Batch;
use packmill::ledger::Reason;
use packmill::order::lanes::Rank;
use packmill::pipeline::Samples;
use packmill::{Error, Example, Kind, Recipe};

const USE: &str = "mask: {weights: use}";

/// An example, trained tokens in brackets: `[full]`, `[0.5:half]`. Tokens that are no bytes are `<`, `^` and `$`.
fn shown(example: &Example) -> String {
    let weight = |position: u32| {
        let lighter = example
            .weights
            .iter()
            .find(|w| w.tokens.contains(&position));
        let trained = example.trained.iter().any(|span| span.contains(&position));
        trained.then(|| lighter.map_or(1.0, |lighter| lighter.weight.get()))
    };
    let mut text = String::new();
    let mut open = None;
    for (position, &id) in (0..).zip(&example.ids) {
        let here = weight(position);
        if here != open {
            text.push_str(if open.is_some() { "]" } else { "" });
            match here {
                Some(1.0) => text.push('['),
                Some(weight) => text.push_str(&format!("[{weight}:")),
                None => {}
            }
            open = here;
        }
        text.push(match id {
            256 => '<',
            IM_END => '^',
            258 => '$',
            byte => char::from(u8::try_from(byte).unwrap()),
        });
    }
    text.push_str(if open.is_some() { "]" } else { "" });
    text
}

fn recipe(corpus: &Corpus, template: &str, rows: &str, more: &str) -> Recipe {
    corpus.write("rows.jsonl", format!("{rows}\n").as_bytes());
    corpus.write("own.jinja", template.as_bytes());
    corpus.recipe("rows.jsonl", &format!("template: own.jinja\n{more}"))
}

fn samples(template: &str, rows: &str, more: &str) -> Vec<Result<Result<String, Reason>, Error>> {
    let corpus = Corpus::new();
    let recipe = recipe(&corpus, template, rows, more);
    let model = crate::corpus::model(&recipe);
    Samples::open(&recipe, &model, &corpus.cache())
        .unwrap()
        .map(|sample| sample.map(|sample| sample.content.map(|example| shown(&example))))
        .collect()
}

/// The only sample of a row.
fn sample(template: &str, row: &str, more: &str) -> String {
    let mut samples = samples(template, row, more);
    assert_eq!(samples.len(), 1);
    samples.remove(0).unwrap().unwrap()
}

fn error(template: &str, row: &str, more: &str) -> Error {
    samples(template, row, more).remove(0).unwrap_err()
}

/// A chat whose answer is this JSON of a message without its role.
fn answer(fields: &str) -> String {
    format!(
        r#"{{"messages": [{{"role": "user", "content": "Hi"}}, {{"role": "assistant", {fields}}}]}}"#
    )
}

fn untagged() -> String {
    let untagged = TEMPLATE.replace("{% generation %}", "");
    untagged.replace("{% endgeneration %}", "")
}

#[test]
fn a_message_of_less_weight_is_trained_for_less_with_the_token_that_ends_it() {
    let row = answer(r#""content": "Yes.", "weight": 0.5"#);
    assert_eq!(
        sample(TEMPLATE, &row, USE),
        "<user\nHi^\n<assistant\n[0.5:Yes.^]\n"
    );
    assert_eq!(
        sample(&untagged(), &row, USE),
        "<user\nHi^\n<assistant\n[0.5:Yes.^\n]"
    );
    let per_turn = format!("{USE}\nrender: per_turn");
    assert_eq!(
        sample(TEMPLATE, &row, &per_turn),
        "<user\nHi^\n<assistant\n[0.5:Yes.^]\n"
    );
}

#[test]
fn weights_that_nobody_asked_for_are_refused_with_the_remedy() {
    for (row, more, words) in [
        (
            answer(r#""content": "Yes.", "weight": 0.5"#),
            "",
            "message 1 has a weight between 0 and 1",
        ),
        (
            answer(r#""content": [{"type": "text", "text": "Yes", "weight": 0.5}]"#),
            "",
            "message 1 has a weight between 0 and 1",
        ),
        (
            r#"{"input_ids": [1, 2], "loss_mask": [1, 0.5]}"#.to_owned(),
            "mask: {train: all}",
            "the loss mask has a weight between 0 and 1",
        ),
    ] {
        let refused = error(PARTS, &row, more);
        assert_eq!(refused.kind(), Kind::Mask);
        let text = refused.to_string();
        assert!(text.contains(words), "{text}");
        assert!(text.contains("set mask.weights: use"), "{text}");
    }
    // Of 0 and 1 alone there is nothing to refuse.
    let row = answer(
        r#""content": [{"type": "text", "text": "Yes", "weight": 0}, {"type": "text", "text": "No"}]"#,
    );
    assert_eq!(
        sample(PARTS, &row, ""),
        "<user\nHi^\n<assistant\nYes[No^]\n"
    );
}

/// Prints contents that are texts and contents that are lists of parts.
const PARTS: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% generation %}{% if m.content is string %}{{ m.content }}{% else %}\
{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}{% endfor %}";

#[test]
fn parts_have_weights_of_their_own_times_the_messages() {
    let parts = r#"[{"type": "text", "text": "ab", "weight": 0.5}, {"type": "image"}, {"type": "text", "text": "cd"}, {"type": "text", "text": "ef", "train": false}]"#;
    assert_eq!(
        sample(PARTS, &answer(&format!(r#""content": {parts}"#)), USE),
        "<user\nHi^\n<assistant\n[0.5:ab][cd]ef[^]\n"
    );
    assert_eq!(
        sample(
            PARTS,
            &answer(&format!(r#""weight": 0.5, "content": {parts}"#)),
            USE
        ),
        "<user\nHi^\n<assistant\n[0.25:ab][0.5:cd]ef[0.5:^]\n"
    );
}

#[test]
fn a_part_cannot_be_trained_in_a_message_that_is_not() {
    let user = |flag: &str| {
        format!(
            r#"{{"messages": [{{"role": "user", {flag} "content": [{{"type": "text", "text": "Hi", "train": true}}]}}, {{"role": "assistant", "content": "Yes."}}]}}"#
        )
    };
    let refused = error(PARTS, &user(""), "");
    assert!(
        refused.to_string().contains(
            "a part of message 0 should be trained, and the message, of role \"user\", is not"
        ),
        "{refused}"
    );
    assert_eq!(
        sample(PARTS, &user(r#""train": false,"#), ""),
        "<user\nHi^\n<assistant\n[Yes.^]\n"
    );
    assert_eq!(
        sample(PARTS, &user(r#""train": true,"#), ""),
        "<user\n[Hi^]\n<assistant\n[Yes.^]\n"
    );
}

/// Both ends of Axolotl's spans belong to them; what no span is about is not trained; the end of the turn is.
#[test]
fn r22_character_spans_train_what_they_cover() {
    let row = answer(
        r#""content": "It is Paris, I guess.", "train_detail": [{"begin_offset": 6, "end_offset": 10, "train": true}, {"begin_offset": 11, "end_offset": 20, "train": false}]"#,
    );
    let expected = "<user\nHi^\n<assistant\nIt is [Paris], I guess.[^]\n";
    assert_eq!(sample(TEMPLATE, &row, ""), expected);
    assert_eq!(
        sample(TEMPLATE, &row, "render: per_turn"),
        expected,
        "per turn"
    );
    assert_eq!(
        sample(&untagged(), &row, ""),
        "<user\nHi^\n<assistant\nIt is [Paris], I guess.[^\n]"
    );
    let weighted = row.replace(r#""train": false"#, r#""weight": 0.25"#);
    assert_eq!(
        sample(TEMPLATE, &weighted, USE),
        "<user\nHi^\n<assistant\nIt is [Paris][0.25:, I guess.][^]\n"
    );
    let no_end = "mask: {end_of_turn: false}";
    assert_eq!(
        sample(TEMPLATE, &row, no_end),
        "<user\nHi^\n<assistant\nIt is [Paris], I guess.^\n"
    );
}

#[test]
fn spans_of_a_content_that_a_template_trims_are_where_it_prints_it() {
    let trims = TEMPLATE.replace(
        "{{ message.content + '<|im_end|>' }}{% endg",
        "{{ message.content | trim + '<|im_end|>' }}{% endg",
    );
    let row = answer(
        r#""content": "  No, yes. ", "train_detail": [{"begin_offset": 0, "end_offset": 3, "train": false}, {"begin_offset": 4, "end_offset": 10, "train": true}]"#,
    );
    assert_eq!(
        sample(&trims, &row, ""),
        "<user\nHi^\n<assistant\nNo[, yes.^]\n"
    );
}

#[test]
fn a_content_that_does_not_come_out_as_it_went_in_is_refused() {
    let row = answer(
        r#""content": "No, yes", "train_detail": [{"begin_offset": 0, "end_offset": 1, "train": true}]"#,
    );
    for filter in [
        "upper",
        "replace('yes', 'no')",
        "tojson | replace(',', ';')",
    ] {
        let template = TEMPLATE.replace(
            "{{ message.content + '<|im_end|>' }}{% endg",
            &format!("{{{{ message.content | {filter} }}}}{{{{ '<|im_end|>' }}}}{{% endg"),
        );
        let refused = error(&template, &row, "");
        assert_eq!(refused.kind(), Kind::Mask, "{filter}");
        assert!(
            refused.to_string().contains("where the parts of message 1"),
            "{refused}"
        );
    }
}

/// The batches of a recipe's stream.
fn batches(corpus: &Corpus, recipe: &Recipe) -> Vec<Batch> {
    let loader = corpus.loader(recipe, Rank::ALONE, None, None).unwrap();
    loader.map(Result::unwrap).collect()
}

#[test]
fn batches_carry_weights_where_the_recipe_asks_for_them_and_digests_tell() {
    let rows = [
        answer(r#""content": "Yes.", "weight": 0.5"#),
        answer(r#""content": "No.""#),
    ]
    .join("\n");
    let corpus = Corpus::new();
    let more = "pack: {strategy: none, sequence_length: 40}\nbatch: {rows: 2}\nlanes: 1\nshuffle: false\nepochs: 1";
    let of = |mask: &str, rows: &str| {
        let recipe = recipe(&corpus, TEMPLATE, rows, &format!("{more}\n{mask}"));
        batches(&corpus, &recipe).remove(0)
    };
    let batch = of(USE, &rows);
    let weights = batch.loss_weights().unwrap();
    let labels = batch.labels().unwrap();
    for (label, weight) in labels.iter().zip(weights) {
        assert_eq!(label == -100, *weight == 0.0);
    }
    let sum = |row: usize| weights[row * 40..][..40].iter().sum::<f32>();
    // "Yes." and "No.", each with the token that ends it.
    assert_eq!((sum(0), sum(1)), (2.5, 4.0));
    let plain = rows.replace(r#", "weight": 0.5"#, "");
    let (unweighted, all_one) = (of("", &plain), of(USE, &plain));
    assert!(unweighted.loss_weights().is_none());
    assert_eq!(unweighted.labels(), batch.labels());
    assert_eq!(all_one.loss_weights().unwrap().iter().sum::<f32>(), 9.0);
    assert!(batch.digest() != all_one.digest() && all_one.digest() != unweighted.digest());
}

/// A resume reads what pools hold again: weights as well.
#[test]
fn a_resume_gives_the_same_weights() {
    let corpus = Corpus::new();
    let rows: Vec<String> = chats(60)
        .lines()
        .enumerate()
        .map(|(number, row)| {
            let weight = format!(r#""weight": 0.{}, "role": "assistant""#, number % 9 + 1);
            row.replace(r#""role": "assistant""#, &weight)
                .replace(r#""role":"assistant""#, &weight)
        })
        .collect();
    assert!(rows[0].contains("weight"), "{}", rows[0]);
    let more = "mask: {weights: use}\npack: {sequence_length: 256, lookahead: 8, overlong: split}\nbatch: {rows: 1}\nlanes: 2\nepochs: 2";
    let recipe = recipe(&corpus, TEMPLATE, &rows.join("\n"), more);
    let mut whole = corpus.loader(&recipe, Rank::ALONE, None, None).unwrap();
    for batch in whole.by_ref().take(9) {
        batch.unwrap();
    }
    let from = merged([&whole.state().unwrap()]);
    let rest: Vec<_> = whole.map(|batch| batch.unwrap().digest()).collect();
    let resumed = corpus
        .loader(&recipe, Rank::ALONE, Some(&from), None)
        .unwrap();
    let resumed: Vec<_> = resumed.map(|batch| batch.unwrap().digest()).collect();
    assert!(!rest.is_empty());
    assert_eq!(resumed, rest);
}

#[test]
fn samples_and_files_have_the_weights() {
    let corpus = Corpus::new();
    let row = answer(r#""content": "Yes.", "weight": 0.5"#);
    corpus.write("rows.jsonl", format!("{row}\n").as_bytes());
    let recipe = "version: 1\ntokenizer: tokenizer\nsources: [{name: a, paths: [rows.jsonl]}]\nmask: {weights: use}\n\
                  pack: {sequence_length: 64, strategy: none}\nbatch: {rows: 1}\nlanes: 1\n";
    corpus.write("recipe.yaml", recipe.as_bytes());
    let output = corpus
        .packmill(&["samples", "recipe.yaml"])
        .output()
        .unwrap();
    let sample = report(&output);
    let weights = sample["loss_weights"].as_array().unwrap();
    let labels = sample["labels"].as_array().unwrap();
    assert_eq!(weights.len(), labels.len());
    for (weight, label) in weights.iter().zip(labels) {
        assert_eq!(*weight, if *label == -100 { 0.0 } else { 0.5 });
    }
    let output = corpus.stream("recipe.yaml --output rows");
    report(&output);
    let file = std::fs::read(corpus.path("rows/rank-00000/step-00000000-00.safetensors")).unwrap();
    let header = String::from_utf8_lossy(&file[..1024.min(file.len())]).into_owned();
    assert!(
        header.contains(r#""loss_weights":{"dtype":"F32","shape":[1,64]"#),
        "{header}"
    );
}
