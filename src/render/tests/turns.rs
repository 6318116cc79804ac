//! Turns of templates without generation tags: what shows them, and what is refused.

use super::*;
use crate::error::Kind;
use proptest::prelude::*;

fn turns(source: &str, conversation: &Conversation) -> crate::Result<(Rendered, Turns)> {
    let template = compiled(source);
    assert!(!template.has_generation_tags(), "{source}");
    let rendered = template.render(conversation, Ending::Whole)?;
    let turns = template.turns(conversation, &rendered)?;
    Ok((rendered, turns))
}

fn trained(source: &str) -> Vec<String> {
    let (rendered, turns) = turns(source, &hello()).unwrap();
    let spans = turns.spans.into_iter();
    spans.map(|span| rendered.text[span].to_owned()).collect()
}

fn refused(source: &str) -> String {
    let error = turns(source, &hello()).unwrap_err();
    assert_eq!(error.kind(), Kind::Mask);
    assert!(error.to_string().contains("template.path"), "{error}");
    error.to_string()
}

fn untagged(source: &str) -> String {
    source
        .replace("{%- generation %}", "")
        .replace("{%- endgeneration %}", "")
        .replace("{% generation %}", "")
        .replace("{% endgeneration %}", "")
}

/// A template around the text of one turn.
fn looped(turn: &str) -> String {
    format!(
        "{{% for m in messages %}}<{{{{ m.role }}}}>{turn}</s>{{% endfor %}}\
         {{% if add_generation_prompt %}}<assistant>{{% endif %}}"
    )
}

#[test]
fn r11_a_turn_begins_behind_the_generation_prompt_and_ends_with_its_token() {
    let (rendered, own) = turns(&untagged(CHATML), &hello()).unwrap();
    let pieces: Vec<&str> = own
        .spans
        .iter()
        .map(|s| &rendered.text[s.clone()])
        .collect();
    assert_eq!(pieces, ["Hello<|im_end|>\n", "Ciao<|im_end|>\n"]);
    assert_eq!(own.owners, [1, 3]);
    assert_eq!(
        trained(&looped("{{ m.content }}")),
        ["Hello</s>", "Ciao</s>"]
    );
}

#[test]
fn what_a_template_does_to_what_is_said_does_not_matter_where_its_loop_shows_the_turn() {
    for (turn, first) in [
        ("{{ m.content|upper }}", "HELLO</s>"),
        ("{{ m.content|trim|replace('l', 'L') }}", "HeLLo</s>"),
        ("{{ m.content|tojson }}", "\"Hello\"</s>"),
        // It counts and cuts, which the marks would change: the beginnings show the turns.
        ("{{ m.content[:2] }}", "He</s>"),
        ("{{ m.content|length }}", "5</s>"),
        ("{% if m.content == 'Hello' %}!{% endif %}", "!</s>"),
        // Nothing that is said comes out.
        ("", "</s>"),
    ] {
        let spans = trained(&looped(turn));
        assert_eq!((spans.len(), spans[0].as_str()), (2, first), "{turn}");
    }
}

#[test]
fn loops_over_parts_of_the_conversation_in_any_order_are_followed() {
    let turn = "{{ m.role }}:{{ m.content }};";
    let (prompt, looped) = (
        "{% if add_generation_prompt %}assistant:{% endif %}",
        |list: &str| format!("{{% for m in {list} %}}{turn}{{% endfor %}}"),
    );
    for (list, expected) in [
        ("messages", vec!["Hello;", "Ciao;"]),
        ("messages[::-1]", vec!["Ciao;", "Hello;"]),
        ("messages[-2:]", vec!["Ciao;"]),
        (
            "messages|selectattr('role', 'equalto', 'assistant')",
            vec!["Hello;", "Ciao;"],
        ),
        ("messages if m.role != 'user'", vec!["Hello;", "Ciao;"]),
    ] {
        assert_eq!(
            trained(&format!("{}{prompt}", looped(list))),
            expected,
            "{list}"
        );
    }
    // An inner loop over messages that prints nothing, and one that is left early.
    let scan = "{% for m in messages %}{% for x in messages %}{% if x.role == 'user' %}{% break %}{% endif %}{% endfor %}\
                {{ m.role }}:{{ m.content }};{% endfor %}";
    assert_eq!(trained(&format!("{scan}{prompt}")), ["Hello;", "Ciao;"]);
    // White space around tags stays as it was.
    let spaced = "{% for m in messages %}\n{{ m.role }}:\n  {%- for x in [1] -%}  \n {{ m.content }}\n  {% endfor %}\n;\n{% endfor %}\n";
    assert_eq!(
        trained(&format!("{spaced}{prompt}")),
        ["Hello\n;\n", "Ciao\n;\n"]
    );
}

#[test]
fn without_a_loop_over_messages_beginnings_show_the_turns() {
    let macros = "{% macro turn(m) %}<{{ m.role }}>{{ m.content }}</s>{% endmacro %}\
        {% set out %}{% for m in messages %}{{ turn(m) }}{% endfor %}{% endset %}{{ out }}{{ '<assistant>' if add_generation_prompt }}";
    assert_eq!(trained(macros), ["Hello</s>", "Ciao</s>"]);
    let ranged = "{% for i in range(messages|length) %}<{{ messages[i].role }}>{{ messages[i].content }}</s>{% endfor %}{{ '<assistant>' if add_generation_prompt }}";
    assert_eq!(trained(ranged), ["Hello</s>", "Ciao</s>"]);
}

#[test]
fn r18_beginnings_that_are_rewritten_are_refused() {
    let rewrites = "{% for i in range(messages|length) %}<{{ messages[i].role }}>{{ messages[i].content }}{{ '</s>' if loop.last else '|' }}{% endfor %}{{ '<assistant>' if add_generation_prompt }}";
    assert!(
        refused(rewrites).contains("beginning"),
        "{}",
        refused(rewrites)
    );
    // The template looks at lengths, and drops what is old.
    let drops = "{% for m in messages[-2:] %}<{{ m.role }}>{{ m.content|length }}</s>{% endfor %}{{ '<assistant>' if add_generation_prompt }}";
    refused(drops);
}

#[test]
fn what_is_said_outside_of_its_turn_is_refused() {
    let ahead = looped(
        "{{ m.content }}{% if m.role == 'user' and not loop.last %}{{ messages[loop.index].content }}{% endif %}",
    );
    assert!(refused(&ahead).contains("message 1 says outside of its turn"));
    let summary = format!(
        "{{{{ messages[-1].content }}}}{}",
        looped("{{ m.content }}")
    );
    assert!(refused(&summary).contains("outside"));
    let twice = format!("{0}{0}", looped("{{ m.content }}"));
    assert!(
        refused(&twice).contains("several places") || refused(&twice).contains("prints another")
    );
    let both = looped(
        "{{ m.content ~ (messages[loop.index0 - 1].content if m.role == 'assistant' else '') }}",
    );
    assert!(refused(&both).contains("in one statement"));
}

#[test]
fn a_generation_prompt_that_cannot_be_told_is_refused() {
    let other =
        "{{ 'a' if add_generation_prompt else 'b' }}".to_owned() + &looped("{{ m.content }}");
    assert!(refused(&other).contains("generation prompt"));
    let silent = "{% for m in messages %}<{{ m.role }}>{{ m.content }};{% endfor %}";
    assert!(refused(silent).contains("no generation prompt"));
    assert!(
        refused("{{ raise_exception('no') if messages|length < 4 }}{{ messages[1].content }}")
            .contains("generation prompt")
    );
}

#[test]
fn headers_follow_from_what_the_template_does() {
    // The prompt opens a thinking block: the block is the model's.
    let thinks = "{% for m in messages %}<{{ m.role }}>\n{% if m.role == 'assistant' %}<think>\n{{ m.reasoning_content }}\n</think>\n{% endif %}{{ m.content }};{% endfor %}{{ '<assistant>\n<think>\n' if add_generation_prompt }}";
    assert_eq!(
        trained(thinks),
        ["<think>\n\n</think>\nHello;", "<think>\n\n</think>\nCiao;"]
    );
    // The prompt comes before each part of an answer: the model writes it.
    let channels = "{% for m in messages %}{% if m.reasoning_content %}<{{ m.role }}>{{ m.reasoning_content }};{% endif %}<{{ m.role }}>{{ m.content }};{% endfor %}{{ '<assistant>' if add_generation_prompt }}";
    assert_eq!(trained(channels), ["<assistant>Hello;", "<assistant>Ciao;"]);
    // The statement that prints the answer is the answer's.
    let split = "{% for m in messages %}{{ '<' ~ m.role }}{{ '>' ~ m.content ~ ';' }}{% endfor %}{{ '<assistant>' if add_generation_prompt }}";
    assert_eq!(trained(split), [">Hello;", ">Ciao;"]);
    // The prompt is not how turns are printed, and there is none.
    let unlike = looped("{{ m.content }}").replace("<assistant>", "<answer>");
    assert_eq!(
        trained(&unlike),
        ["<assistant>Hello</s>", "<assistant>Ciao</s>"]
    );
    let none = "{% for m in messages %}{{ '[' ~ m.content ~ ']' if m.role == 'user' else ' ' ~ m.content ~ '</s> ' }}{% endfor %}";
    assert_eq!(trained(none), [" Hello</s>", " Ciao</s>"]);
    // What begins the text is nobody's.
    let bos = "{% for m in messages[1:] %}{{ '<s>' if loop.first }}<{{ m.role }}>{{ m.content }};{% endfor %}{{ '<assistant>' if add_generation_prompt }}";
    assert_eq!(trained(bos).first().map(String::as_str), Some("Hello;"));
}

#[test]
fn what_closes_the_text_is_the_last_turns_if_it_gives_way_to_the_prompt() {
    let closed = "{% for m in messages %}<{{ m.role }}>{{ m.content }}|{% endfor %}{{ '<assistant>' if add_generation_prompt else eos_token }}";
    assert_eq!(trained(closed), ["Hello|", "Ciao|", "</s>"]);
    let always = "{% for m in messages %}<{{ m.role }}>{{ m.content }}|{% endfor %}<end>{{ '<assistant>' if add_generation_prompt }}";
    assert_eq!(trained(always), ["Hello|", "Ciao|"]);
}

#[test]
fn results_within_the_turn_that_called_are_left_out() {
    let conversation = chat(serde_json::json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {"x": "one"}}]},
        {"role": "tool", "content": "two"},
        {"role": "assistant", "content": "three"},
    ]));
    let source = "{% for m in messages %}{% if m.role != 'tool' %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls %}{{ '{' ~ c.arguments.x ~ '}' }}\
        {{ '[' ~ messages[loop.index0 + 2].content ~ ']' }}{% endfor %};{% endif %}{% endfor %}{{ '<assistant>' if add_generation_prompt }}";
    let (rendered, own) = turns(source, &conversation).unwrap();
    assert_eq!(
        rendered.text,
        "<user>Hi;<assistant>{one}[two];<assistant>three;"
    );
    let pieces: Vec<&str> = own
        .spans
        .iter()
        .map(|s| &rendered.text[s.clone()])
        .collect();
    assert_eq!(pieces, ["{one}", ";", "three;"]);
    assert_eq!(own.owners, [1, 1, 3]);
}

#[test]
fn a_row_s_kwargs_are_asked_for_their_own_opening() {
    let source = "{% for m in messages %}<{{ m.role }}>{{ '!' if loud and m.role == 'assistant' }}{{ m.content }};{% endfor %}{{ ('<assistant>!' if loud else '<assistant>') if add_generation_prompt }}";
    assert_eq!(trained(source), ["Hello;", "Ciao;"]);
    let loud = Conversation {
        kwargs: vec![("loud".to_owned(), Value::from(true))],
        ..hello()
    };
    let (rendered, own) = turns(source, &loud).unwrap();
    assert_eq!(&rendered.text[own.spans[0].clone()], "Hello;");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever is said, a template without its tags gives the spans that it gives with them.
    #[test]
    fn untagged_templates_give_what_tagged_ones_do(
        contents in prop::collection::vec("[ a-z<>é\u{e000}\u{f0000}\n]{0,12}", 1..6),
        first in 0..2usize,
        shape in 0..4usize,
        filter in prop::sample::select(vec!["", "|trim", "|upper", "|tojson", "|replace('a', 'bb')", "[:3]"]),
        header in prop::sample::select(vec!["<|assistant|>\\n", "[A]", "A: "]),
        end in prop::sample::select(vec!["</s>", "<|end|>\\n", "\\n\\n"]),
    ) {
        let messages: Vec<_> = contents
            .iter()
            .enumerate()
            .map(|(i, content)| {
                let role = if (i + first) % 2 == 0 { "user" } else { "assistant" };
                serde_json::json!({"role": role, "content": content})
            })
            .collect();
        let conversation = chat(serde_json::Value::Array(messages));
        let user = format!("{{{{ '<u>' ~ m.content ~ '{end}' }}}}");
        let answer = match shape {
            0 => format!("{{{{ '{header}' }}}}{{% generation %}}{{{{ m.content{filter} ~ '{end}' }}}}{{% endgeneration %}}"),
            1 => format!("{{{{ '{header}' }}}}{{% generation %}}{{{{ m.content{filter} }}}}{{{{ '{end}' }}}}{{% endgeneration %}}"),
            2 => format!("{{% set text = m.content{filter} %}}{{{{ '{header}' }}}}{{% generation %}}{{% if text %}}{{{{ text }}}}{{% endif %}}{{{{ '{end}' }}}}{{% endgeneration %}}"),
            _ => format!("{{{{ '{header}' }}}}{{% generation %}}{{{{ say(m) }}}}{{{{ '{end}' }}}}{{% endgeneration %}}"),
        };
        let source = format!(
            "{{% macro say(m) %}}{{{{ m.content{filter} }}}}{{% endmacro %}}{{% for m in messages %}}{{% if m.role == 'assistant' %}}{answer}{{% else %}}{user}{{% endif %}}{{% endfor %}}{{{{ '{header}' if add_generation_prompt }}}}"
        );
        let tagged = compiled(&source);
        let expected = tagged.render(&conversation, Ending::Whole).unwrap();
        let owners = tagged.turns(&conversation, &expected);
        let (rendered, own) = turns(&untagged(&source), &conversation).unwrap();
        prop_assert_eq!(&rendered.text, &expected.text);
        prop_assert_eq!(&own.spans, &expected.spans);
        if let Ok(owners) = owners {
            prop_assert_eq!(own.owners, owners.owners);
        }
    }
}
