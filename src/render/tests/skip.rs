//! Reasoning and tool calls left out of turns, with tags and without.

use super::*;
use crate::error::Kind;
use crate::recipe::FieldLoss::{self, Skip, Train};

const TAGGED: &str = "\
{%- for m in messages %}
    {{- '<' ~ m.role ~ '>' }}
    {%- if m.role == 'assistant' %}
        {%- generation %}
        {%- set content = m.content %}
        {%- if m.reasoning_content %}{{- '<think>\\n' ~ m.reasoning_content|trim ~ '\\n</think>\\n' }}{%- endif %}
        {{- content }}
        {%- for c in m.tool_calls %}{{- '<call>' ~ c.name ~ c.arguments|tojson ~ '</call>' }}{%- endfor %}
        {{- '</s>' }}
        {%- endgeneration %}
    {%- else %}
        {{- m.content ~ '</s>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<assistant>' }}{%- endif %}";

fn parts(
    source: &str,
    message: serde_json::Value,
    reasoning: FieldLoss,
    tool_calls: FieldLoss,
) -> crate::Result<Vec<(String, Extent)>> {
    let conversation = chat(serde_json::json!([{"role": "user", "content": "Hi"}, message]));
    let template = compiled(source);
    let rendered = template.render(&conversation, Ending::Whole)?;
    let turns = template.turns(&conversation, &rendered)?;
    let parts = template.without_fields(&conversation, &rendered, &turns, reasoning, tool_calls)?;
    let text = |span: std::ops::Range<usize>| rendered.text[span].to_owned();
    Ok(parts
        .into_iter()
        .map(|(span, extent)| (text(span), extent))
        .collect())
}

fn both(
    message: &serde_json::Value,
    reasoning: FieldLoss,
    tool_calls: FieldLoss,
    expected: &[(&str, Extent)],
) {
    let untagged = TAGGED
        .replace("{%- generation %}", "")
        .replace("{%- endgeneration %}", "");
    for source in [TAGGED, &untagged] {
        let parts = parts(source, message.clone(), reasoning, tool_calls).unwrap();
        let parts: Vec<(&str, Extent)> =
            parts.iter().map(|(text, e)| (text.as_str(), *e)).collect();
        assert_eq!(parts, expected, "{source}");
    }
}

#[test]
fn fields_are_cut_where_they_were_printed() {
    let message = serde_json::json!({
        "role": "assistant", "reasoning_content": " well\nso be it \n", "content": "Yes, it is.",
        "tool_calls": [{"name": "f", "arguments": {"x": "one"}}, {"name": "g", "arguments": {}}],
    });
    let calls = "<call>f{\"x\": \"one\"}</call><call>g{}</call></s>";
    let all = format!("<think>\nwell\nso be it\n</think>\nYes, it is.{calls}");
    both(&message, Train, Train, &[(&all, Extent::Whole)]);
    let rest = format!("\n</think>\nYes, it is.{calls}");
    both(&message, Skip, Train, &[(&rest, Extent::Whole)]);
    let before = "<think>\nwell\nso be it\n</think>\nYes, it is.";
    both(
        &message,
        Train,
        Skip,
        &[(before, Extent::Inner), (calls, Extent::End)],
    );
    both(
        &message,
        Skip,
        Skip,
        &[
            ("\n</think>\nYes, it is.", Extent::Inner),
            (calls, Extent::End),
        ],
    );
}

#[test]
fn what_is_not_there_is_not_cut() {
    let plain = serde_json::json!({"role": "assistant", "content": "Yes"});
    both(&plain, Skip, Skip, &[("Yes</s>", Extent::Whole)]);
    // Calls that the template does not print.
    let silent = TAGGED.replace("m.tool_calls %}", "[] %}");
    let message =
        serde_json::json!({"role": "assistant", "content": "Yes", "tool_calls": [{"name": "f"}]});
    assert_eq!(
        parts(&silent, message, Train, Skip).unwrap(),
        [("Yes</s>".to_owned(), Extent::Whole)]
    );
    // Reasoning alone, and calls alone.
    let thinks = serde_json::json!({"role": "assistant", "content": "", "reasoning_content": "so",
        "tool_calls": [{"name": "f", "arguments": {}}]});
    both(
        &thinks,
        Train,
        Skip,
        &[
            ("<think>\nso\n</think>", Extent::Inner),
            ("\n<call>f{}</call></s>", Extent::End),
        ],
    );
    let calls = serde_json::json!({"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {}}]});
    both(
        &calls,
        Train,
        Skip,
        &[("<call>f{}</call></s>", Extent::End)],
    );
}

#[test]
fn reasoning_in_content_ends_where_its_tag_does() {
    let message =
        serde_json::json!({"role": "assistant", "content": "<think>\nwell, well\n</think>\n\nYes"});
    both(
        &message,
        Skip,
        Train,
        &[("\n</think>\n\nYes</s>", Extent::Whole)],
    );
    // A template that drops it has nothing to leave out.
    let drops = TAGGED.replace(
        "m.content %}",
        "m.content.split('</think>')[-1].lstrip('\\n') %}",
    );
    let parts = parts(&drops, message, Skip, Train).unwrap();
    assert_eq!(parts, [("Yes</s>".to_owned(), Extent::Whole)]);
}

#[test]
fn contents_in_parts_are_one_field() {
    let source = TAGGED.replace(
        "{{- content }}",
        "{%- for p in content %}{{- p.text }}{%- endfor %}",
    );
    let message = serde_json::json!({"role": "assistant", "tool_calls": [{"name": "f", "arguments": {}}],
        "content": [{"type": "text", "text": "One. "}, {"type": "text", "text": "Two."}]});
    let conversation = parts(&source, message, Train, Skip).unwrap();
    assert_eq!(conversation[0], ("One. Two.".to_owned(), Extent::Inner));
}

#[test]
fn what_cannot_be_told_apart_is_refused() {
    let message = serde_json::json!({"role": "assistant", "reasoning_content": "well", "content": "Yes",
        "tool_calls": [{"name": "f", "arguments": {"x": "one"}}]});
    for source in [
        // Changed, in another order, looked into.
        TAGGED.replace("m.reasoning_content|trim", "m.reasoning_content|upper"),
        TAGGED.replace(
            "{%- set content = m.content %}",
            "{{- m.content }}{%- set content = '' %}",
        ),
        TAGGED.replace("m.reasoning_content|trim", "m.reasoning_content|length"),
    ] {
        let error = parts(&source, message.clone(), Skip, Train).unwrap_err();
        assert_eq!(error.kind(), Kind::Mask, "{source}");
        assert!(error.to_string().contains("cannot be shown"), "{error}");
    }
    let calls_first = TAGGED
        .replace("{{- content }}", "")
        .replace("{{- '</s>' }}", "{{- content ~ '</s>' }}");
    assert_eq!(
        parts(&calls_first, message, Train, Skip)
            .unwrap_err()
            .kind(),
        Kind::Mask
    );
}
