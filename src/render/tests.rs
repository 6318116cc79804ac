//! Templates of our own, rendered; what they must print is written out, as Transformers 5.23 prints it.

use super::*;
use crate::error::{Error, Kind};
use minijinja::Value;
use proptest::prelude::*;

fn value(json: serde_json::Value) -> Value {
    super::template::from_json(json)
}

/// A conversation of messages as a row has them.
fn chat(messages: serde_json::Value) -> Conversation {
    let serde_json::Value::Array(messages) = messages else {
        panic!("messages are a list");
    };
    let messages = messages
        .into_iter()
        .map(|message| Message {
            role: message["role"].as_str().unwrap_or_default().to_owned(),
            value: value(message),
            train: None,
        })
        .collect();
    Conversation {
        messages,
        ..Conversation::default()
    }
}

fn hello() -> Conversation {
    chat(serde_json::json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "Ciao"},
    ]))
}

fn compiled(source: &str) -> ChatTemplate {
    let context = TemplateContext {
        special_tokens: vec![
            ("bos_token".to_owned(), "<s>".to_owned()),
            ("eos_token".to_owned(), "</s>".to_owned()),
        ],
        ..TemplateContext::default()
    };
    ChatTemplate::compile(source, context).unwrap()
}

fn render(source: &str, conversation: &Conversation) -> crate::Result<Rendered> {
    compiled(source).render(conversation, Ending::Whole)
}

fn text(source: &str) -> String {
    render(source, &hello()).unwrap().text
}

fn failure(source: &str) -> Error {
    render(source, &hello()).unwrap_err()
}

/// What the spans cover.
fn pieces(rendered: &Rendered) -> Vec<&str> {
    rendered
        .spans
        .iter()
        .map(|span| &rendered.text[span.clone()])
        .collect()
}

const CHATML: &str = "\
{%- for message in messages %}
    {{- '<|im_start|>' ~ message.role ~ '\\n' }}
    {%- if message.role == 'assistant' %}
        {%- generation %}
            {{- message.content ~ '<|im_end|>' }}
        {%- endgeneration %}
    {%- else %}
        {{- message.content ~ '<|im_end|>' }}
    {%- endif %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
";

#[test]
fn a_conversation_becomes_text_and_spans() {
    let template = compiled(CHATML);
    assert!(template.has_generation_tags());
    let rendered = template.render(&hello(), Ending::Whole).unwrap();
    insta::assert_snapshot!(rendered.text, @r"
    <|im_start|>user
    Hi<|im_end|>
    <|im_start|>assistant
    Hello<|im_end|>
    <|im_start|>user
    Bye<|im_end|>
    <|im_start|>assistant
    Ciao<|im_end|>
    ");
    assert_eq!(pieces(&rendered), ["Hello<|im_end|>", "Ciao<|im_end|>"]);
    let prompt = template.render(&hello(), Ending::GenerationPrompt).unwrap();
    assert_eq!(prompt.text, rendered.text + "<|im_start|>assistant\n");
    assert_eq!(prompt.spans, rendered.spans);
    assert!(!compiled("{{ '{% generation %}' }}").has_generation_tags());
}

#[test]
fn r09_the_bos_token_is_the_templates_to_print() {
    assert_eq!(
        text("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"),
        "<s>Hi</s>"
    );
    assert_eq!(text("{{ messages[0].content }}"), "Hi");
    assert_eq!(text("{{ pad_token is defined }}"), "False");
}

#[test]
fn r14_spans_are_right_inside_captures() {
    let block = "{% generation %}{{ m.content }}!{% endgeneration %}";
    for source in [
        "{% macro turn(m) %}<a>BLOCK</a>{% endmacro %}{% for m in messages %}{{ turn(m) }}{% endfor %}",
        "{% for m in messages %}{% set out %}<a>BLOCK</a>{% endset %}{{ out }}{% endfor %}",
        "{% macro wrap() %}<a>{{ caller() }}</a>{% endmacro %}{% for m in messages %}{% call wrap() %}BLOCK{% endcall %}{% endfor %}",
        "{% for m in messages %}{% filter replace('<b>', '<a>') %}<b>BLOCK</a>{% endfilter %}{% endfor %}",
        "{% for m in messages recursive %}<a>BLOCK</a>{% endfor %}",
        "{% for m in messages %}<a>{% generation %}{% generation %}{{ m.content }}{% endgeneration %}!{% endgeneration %}</a>{% endfor %}",
        "{% for m in messages %}<a>BLOCK</a>{% endfor %}",
    ] {
        let rendered = render(&source.replace("BLOCK", block), &hello()).unwrap();
        assert_eq!(
            rendered.text, "<a>Hi!</a><a>Hello!</a><a>Bye!</a><a>Ciao!</a>",
            "{source}"
        );
        assert_eq!(
            pieces(&rendered),
            ["Hi!", "Hello!", "Bye!", "Ciao!"],
            "{source}"
        );
    }
}

#[test]
fn r14_a_block_that_is_printed_twice_has_two_spans() {
    let source = "{% set x %}a{% generation %}b{% endgeneration %}{% endset %}{{ x }}{{ x }}";
    let rendered = render(source, &hello()).unwrap();
    assert_eq!(rendered.text, "abab");
    assert_eq!(rendered.spans, [1..2, 3..4]);
    let never = render(
        "{% set x %}{% generation %}b{% endgeneration %}{% endset %}c",
        &hello(),
    )
    .unwrap();
    assert_eq!((never.text.as_str(), never.spans.len()), ("c", 0));
}

#[test]
fn r14_a_block_that_a_filter_changes_is_refused() {
    for print in [
        "x|trim",
        "x[1:]",
        "x[:4]",
        "x.split()[0]",
        "x|length",
        "x|reverse",
    ] {
        let source = format!(
            "{{% set x %}}{{% generation %}} ab c {{% endgeneration %}}{{% endset %}}{{{{ {print} }}}}"
        );
        let error = failure(&source);
        assert_eq!(error.kind(), Kind::Template, "{print}");
        assert!(
            error.to_string().contains("generation block is"),
            "{print}: {error}"
        );
    }
    // What leaves the text alone leaves the span alone.
    let source = "{% set x %}{% generation %}ab{% endgeneration %}{% endset %}{{ x|trim }}{{ x|replace('z', '') }}";
    assert_eq!(pieces(&render(source, &hello()).unwrap()), ["ab", "ab"]);
}

#[test]
fn r14_sentinels_are_not_mistaken_in_the_text() {
    let conversation =
        chat(serde_json::json!([{"role": "assistant", "content": "\u{e000}a\u{e001}"}]));
    let source = "{% macro f(m) %}[{% generation %}{{ m.content }}{% endgeneration %}]{% endmacro %}{{ f(messages[0]) }}";
    let rendered = render(source, &conversation).unwrap();
    assert_eq!(rendered.text, "[\u{e000}a\u{e001}]");
    assert_eq!(pieces(&rendered), ["\u{e000}a\u{e001}"]);
}

#[test]
fn r15_a_span_ends_where_its_block_does() {
    let source = "{% generation %}{% endgeneration %}\n{% for m in messages -%}\n {% generation %} {{ m.content }} \n{% endgeneration %} x {% endfor %}y";
    let rendered = render(source, &hello()).unwrap();
    assert_eq!(rendered.spans[0], 0..0);
    assert_eq!(
        pieces(&rendered)[1..],
        [" Hi \n", " Hello \n", " Bye \n", " Ciao \n"]
    );
    assert!(rendered.text.ends_with(" x y"));
}

#[test]
fn r19_thinking_before_the_last_question_is_left_out() {
    let source = "\
{%- set ns = namespace(last=0) %}
{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}
{%- for m in messages %}
    {%- set content = m.content.split('</think>')[-1].lstrip('\\n') %}
    {%- set thought = m.content.split('</think>')[0].split('<think>')[-1].strip('\\n') if '</think>' in m.content else '' %}
    {%- if loop.index0 > ns.last and thought %}{{- '(' + thought + ')' }}{% endif %}
    {{- content + ';' }}
{%- endfor %}";
    let thought = |text: &str| format!("<think>\n{text}\n</think>\n\n");
    let conversation = chat(serde_json::json!([
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": thought("old") + "b"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": thought("new") + "d"},
        {"role": "assistant", "content": thought("newer") + "e"},
    ]));
    assert_eq!(
        render(source, &conversation).unwrap().text,
        "a;b;c;(new)d;(newer)e;"
    );
}

#[test]
fn r21_keys_and_numbers_keep_their_order_and_text() {
    let arguments = serde_json::json!({"z": 1, "a": 1.0, "m": [1e-7, 1e16, true, null], "é": "<\"'&\n>", "n": {}});
    let conversation =
        chat(serde_json::json!([{"role": "assistant", "tool_calls": [{"arguments": arguments}]}]));
    let args = "messages[0].tool_calls[0].arguments";
    let printed = |print: &str| {
        render(&format!("{{{{ {args}{print} }}}}"), &conversation)
            .unwrap()
            .text
    };
    assert_eq!(
        printed("|tojson"),
        r#"{"z": 1, "a": 1.0, "m": [1e-07, 1e+16, true, null], "é": "<\"'&\n>", "n": {}}"#
    );
    assert_eq!(
        printed("|tojson(ensure_ascii=true, separators=(',', ':'), sort_keys=true)"),
        r#"{"a":1.0,"m":[1e-07,1e+16,true,null],"n":{},"z":1,"\u00e9":"<\"'&\n>"}"#
    );
    assert_eq!(
        printed(".m|tojson(indent=2)"),
        "[\n  1e-07,\n  1e+16,\n  true,\n  null\n]"
    );
    assert_eq!(
        printed(""),
        r#"{'z': 1, 'a': 1.0, 'm': [1e-07, 1e+16, True, None], 'é': '<"\'&\n>', 'n': {}}"#
    );
    assert_eq!(printed(".content is defined"), "False");
}

#[test]
fn numbers_are_printed_as_python_does_wherever_they_are_printed() {
    for (source, expected) in [
        (
            "{{ 1e-7 }}|{{ 1.0 }}|{{ 1e16 }}|{{ 100000.0 }}",
            "1e-07|1.0|1e+16|100000.0",
        ),
        ("{{ 'x' ~ 1e-7 ~ [1e16] }}", "x1e-07[1e+16]"),
        (
            "{{ 1e-7|string + '|' + [1e-7, 2]|join(' ') }}",
            "1e-07|1e-07 2",
        ),
        (
            "{{ [1e-7, none, true, 'a', (1,)] }}",
            "[1e-07, None, True, 'a', (1,)]",
        ),
        ("{{ {'a': 1e-7} }}", "{'a': 1e-07}"),
        (
            "{{ 7 / 2 }}|{{ 4 / 2 }}|{{ 7 // 2 }}|{{ -7 % 3 }}",
            "3.5|2.0|3|2",
        ),
        ("{{ none }}{{ true }}{{ undefined_thing }}", "NoneTrue"),
    ] {
        assert_eq!(text(source), expected, "{source}");
    }
}

#[test]
fn integers_of_any_size_keep_their_digits() {
    let digits = "123456789012345678901234567890123456789012345";
    let mut conversation = hello();
    conversation.kwargs = vec![(
        "n".to_owned(),
        Value::from_object(BigInt(digits.to_owned())),
    )];
    let source = "{{ n }}|{{ 'x' ~ n }}|{{ [n] }}|{{ {'a': n}|tojson }}|{{ n is number }}{{ n is integer }}{{ n is string }}|{{ n == n }}";
    let expected = format!("{digits}|x{digits}|[{digits}]|{{\"a\": {digits}}}|TrueTrueFalse|True");
    assert_eq!(render(source, &conversation).unwrap().text, expected);
}

#[test]
fn types_are_told_apart_as_jinja_does() {
    for (test, expected) in [
        ("none is iterable", "False"),
        ("'a' is iterable", "True"),
        ("'a' is sequence", "True"),
        ("{} is sequence", "True"),
        ("messages[1:] is sequence", "True"),
        ("1 is sequence", "False"),
        ("{} is mapping", "True"),
        ("true is number", "True"),
        ("true is integer", "False"),
        ("'yes' if messages|selectattr('nope') else 'no'", "yes"),
        ("none|default('d')", "None"),
        (
            "''|default('d', boolean=true) ~ ''|default('d', boolean=false)",
            "d",
        ),
        ("'x'|int ~ ' 5 '|int ~ '3.7'|int", "053"),
        ("'a\\x1cb'.split() ~ ' a\\x1c'|trim", "['a', 'b']a"),
        ("'<\\'>'|e", "&lt;&#39;&gt;"),
        ("'\\v\\/'|tojson", "\"\\u000b\\\\/\""),
    ] {
        assert_eq!(text(&format!("{{{{ {test} }}}}")), expected, "{test}");
    }
}

#[test]
fn blocks_have_a_scope_of_their_own() {
    for block in ["generation", "filter upper", "set x"] {
        let end = block.split(' ').next().unwrap();
        let source =
            format!("{{% set y = 1 %}}{{% {block} %}}{{% set y = 2 %}}{{% end{end} %}}{{{{ y }}}}");
        assert_eq!(text(&source), "1", "{block}");
    }
    // A namespace reaches out of them.
    assert_eq!(
        text("{% set n = namespace(y=1) %}{% set x %}{% set n.y = 2 %}{% endset %}{{ n.y }}"),
        "2"
    );
}

#[test]
fn rows_win_over_recipes_and_recipes_over_special_tokens() {
    let kwargs =
        serde_json::json!({"enable_thinking": false, "eos_token": "[E]", "mode": "recipe"});
    let serde_json::Value::Object(kwargs) = kwargs else {
        unreachable!()
    };
    let context = TemplateContext {
        special_tokens: vec![("eos_token".to_owned(), "</s>".to_owned())],
        kwargs,
        ..TemplateContext::default()
    };
    let source = "{{ enable_thinking }} {{ eos_token }} {{ mode }} {{ tools is none }} {{ documents is none }}";
    let template = ChatTemplate::compile(source, context).unwrap();
    let mut conversation = hello();
    conversation.kwargs = vec![("mode".to_owned(), Value::from("row"))];
    let rendered = template.render(&conversation, Ending::Whole).unwrap();
    assert_eq!(rendered.text, "False [E] row True True");
    conversation.tools = Some(value(serde_json::json!([{"name": "f"}])));
    assert_eq!(
        template.render(&conversation, Ending::Whole).unwrap().text,
        "False [E] row False True"
    );
}

#[test]
fn names_that_a_render_sets_are_refused_as_kwargs() {
    let mut conversation = hello();
    conversation.kwargs = vec![("messages".to_owned(), Value::from(1))];
    assert_eq!(render("x", &conversation).unwrap_err().kind(), Kind::Row);
    let mut context = TemplateContext::default();
    context
        .kwargs
        .insert("tools".to_owned(), serde_json::Value::Null);
    assert_eq!(
        ChatTemplate::compile("x", context).unwrap_err().kind(),
        Kind::Recipe
    );
    assert_eq!(
        render("x", &Conversation::default()).unwrap_err().kind(),
        Kind::Row
    );
}

#[test]
fn reasoning_goes_by_all_its_names() {
    let source = "{% for m in messages %}{{ m.thinking }}/{{ m.reasoning_content }}/{{ m.reasoning }}/{{ m|list }};{% endfor %}";
    let conversation = chat(serde_json::json!([
        {"role": "assistant", "reasoning": "a"},
        {"role": "assistant", "thinking": "b", "reasoning": "c"},
        {"role": "assistant", "reasoning_content": "d", "content": "x"},
        {"role": "assistant", "content": "x"},
    ]));
    assert_eq!(
        render(source, &conversation).unwrap().text,
        "a/a/a/['thinking', 'role', 'reasoning', 'reasoning_content'];\
         b/b/c/['thinking', 'role', 'reasoning', 'reasoning_content'];\
         d/d//['thinking', 'role', 'reasoning_content', 'content'];\
         ///['role', 'content'];"
    );
}

#[test]
fn r33_the_clock_is_the_recipes() {
    let source = "{{ strftime_now('%d %b %Y') }}";
    let at = |now: &str| {
        let context = TemplateContext {
            now: Some(now.to_owned()),
            ..TemplateContext::default()
        };
        ChatTemplate::compile(source, context)
    };
    let template = at("2026-11-24T00:00:00").unwrap();
    assert_eq!(
        template.render(&hello(), Ending::Whole).unwrap().text,
        "24 Nov 2026"
    );
    assert_eq!(at("yesterday").unwrap_err().kind(), Kind::Recipe);

    let error = failure(&format!("\n{source}"));
    assert_eq!(error.kind(), Kind::Template);
    assert!(
        error.to_string().contains("line 2") && error.to_string().contains("template.now"),
        "{error}"
    );
    // Only a template that asks is refused.
    assert_eq!(
        text("{% if false %}{{ strftime_now('%Y') }}{% endif %}x{{ strftime_now is defined }}"),
        "xTrue"
    );
}

#[test]
fn what_a_template_raises_is_told_with_its_line() {
    let error = failure(
        "a\n{% for m in messages %}\n{{ raise_exception('roles must ' ~ 'alternate') }}{% endfor %}",
    );
    assert_eq!(error.kind(), Kind::Template);
    assert!(
        error
            .to_string()
            .contains("line 3: the template raised \"roles must alternate\""),
        "{error}"
    );
    let error = ChatTemplate::compile("a\n{% if %}", TemplateContext::default()).unwrap_err();
    assert!(
        error.to_string().contains("line 2: syntax error"),
        "{error}"
    );
    assert!(
        failure("a\n\n{{ messages[9].role }}")
            .to_string()
            .contains("line 3: undefined value")
    );
    assert!(
        failure("{{ 1|nothing }}")
            .to_string()
            .contains("filter nothing is unknown")
    );
}

#[test]
fn whoever_wastes_is_stopped() {
    for source in [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 10**9 }}",
        "{{ range(10**9)|list }}",
        "{{ ['x' * 1000] * 1000000 }}",
        "{{ (['x' * 1000] * 1000000)|tojson }}",
        "{{ messages|tojson(indent='x' * 100000000) }}",
        "{{ ('y' * 1000000).join(['x'] * 9999) }}",
        "{{ (['x'] * 9999)|join('y' * 1000000) }}",
        "{{ 'x'.ljust(10**12) }}{{ '{:>1000000000}'.format(1) }}",
        "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x=[1]) %}{% for i in range(99999) %}{% set n.x = n.x + [i] %}{% endfor %}",
        "{% set n = namespace(x=[]) %}{% for i in range(99999) %}{% set n.x = [n.x] %}{% endfor %}",
        "{% set n = namespace() %}{% set n.x = [{'a': n}] %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
        "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
    ] {
        assert_eq!(failure(source).kind(), Kind::Template, "{source}");
    }
    // A deep value hides behind a thousand others: it is paid for, and what comes of it is freed.
    let hidden = "{% set big = range(1100)|list %}{% set n = namespace(x=[]) %}{% for i in range(99999) %}{% set n.x = [big, n.x] %}{% endfor %}";
    assert!(failure(hidden).to_string().contains("fuel"));
}

#[test]
fn a_template_too_deep_to_be_parsed_is_refused() {
    let deep = |open: &str, n: usize, close: &str| {
        ChatTemplate::compile(&(open.repeat(n) + close), TemplateContext::default())
    };
    for (open, n) in [
        ("{{ not ", 1),
        ("{% if 1 %}", 9999),
        ("{% set x %}", 9999),
        ("{% elif 1 %}", 99999),
    ] {
        assert!(deep(open, n, "").is_err(), "{open}");
    }
    for part in [
        "not ",
        "-",
        "1 if 1 else ",
        "(",
        "[",
        "1 + ",
        "1 ~ ",
        "x ** ",
        "f(",
    ] {
        let long = format!("{{{{ {}1 }}}}", part.repeat(100_000));
        assert_eq!(
            deep("", 1, &long).unwrap_err().kind(),
            Kind::Template,
            "{part}"
        );
        // As many as are let through do not break the stack, whether they make sense or not.
        let tokens = minijinja_tokens(part);
        let most = format!("{{{{ {}1 }}}}", part.repeat(3_990 / tokens));
        drop(deep("", 1, &most));
    }
    for part in [
        ".a",
        "|string",
        "[0]",
        "(1)",
        " is string",
        " + 1",
        " == 1",
        " and 1",
    ] {
        let most = format!("{{{{ x{} }}}}", part.repeat(3_990 / minijinja_tokens(part)));
        if let Ok(template) = deep("", 1, &most) {
            drop(template.render(&hello(), Ending::Whole));
        }
    }
    let branches = format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(500));
    assert_eq!(text(&branches), "");
}

/// How many tokens a piece of an expression has.
fn minijinja_tokens(part: &str) -> usize {
    minijinja::machinery::tokenize(part, true, Default::default())
        .count()
        .max(1)
}

#[test]
fn nothing_else_is_read() {
    for tag in [
        "include 'a'",
        "import 'a' as b",
        "from 'a' import b",
        "extends 'a'",
    ] {
        let error = ChatTemplate::compile(&format!("x\n{{% {tag} %}}"), TemplateContext::default())
            .unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}

#[test]
fn one_template_serves_many_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let template = compiled(CHATML);
    shared(&template);
    let expected = template.render(&hello(), Ending::Whole).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(template.render(&hello(), Ending::Whole).unwrap(), expected);
                }
            });
        }
    });
}

fn owners(source: &str, conversation: &Conversation) -> crate::Result<Vec<usize>> {
    let template = compiled(source);
    let rendered = template.render(conversation, Ending::Whole)?;
    template.owners(conversation, &rendered)
}

#[test]
fn spans_know_their_message() {
    assert_eq!(owners(CHATML, &hello()).unwrap(), [1, 3]);
    assert_eq!(
        owners("{{ messages[0].content }}", &hello()).unwrap(),
        [0_usize; 0]
    );
    // Out of order, by macros, with a block for the end of the turn alone.
    let backwards = "{% for m in messages[::-1] %}{% generation %}{{ m.content|trim }}{% endgeneration %}{% endfor %}";
    assert_eq!(owners(backwards, &hello()).unwrap(), [3, 2, 1, 0]);
    let ends = "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}|{% generation %}</s>{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}";
    assert_eq!(owners(ends, &hello()).unwrap(), [1, 1, 3, 3]);
    let captured = "{% macro f(m) %}{% generation %}{{ m.content }}{% endgeneration %}{% endmacro %}{% for m in messages %}{{ f(m) if m.role == 'assistant' else m.content }}{% endfor %}";
    assert_eq!(owners(captured, &hello()).unwrap(), [1, 3]);
}

#[test]
fn empty_answers_have_an_owner_where_only_one_is_possible() {
    let conversation = chat(serde_json::json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {}}]},
    ]));
    assert_eq!(owners(CHATML, &conversation).unwrap(), [1, 3]);
}

#[test]
fn owners_are_not_guessed() {
    // One block prints two messages.
    let error = owners(
        "{% generation %}{{ messages[1].content }}{{ messages[3].content }}{% endgeneration %}",
        &hello(),
    );
    assert_eq!(error.unwrap_err().kind(), Kind::Mask);
    // A constant between two answers could be either's.
    let conversation = chat(serde_json::json!([
        {"role": "assistant", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]));
    let between =
        "{{ messages[0].content }}{% generation %}</s>{% endgeneration %}{{ messages[1].content }}";
    assert_eq!(
        owners(between, &conversation).unwrap_err().kind(),
        Kind::Mask
    );
    // The template knows the content by heart: the marks are noticed, and order decides only where the
    // counts agree.
    let by_heart = "{% for m in messages %}{% if m.content in ['Hello', 'Ciao'] %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}";
    assert_eq!(owners(by_heart, &hello()).unwrap(), [1, 3]);
    let by_heart = by_heart.replace(", 'Ciao'", "");
    assert_eq!(owners(&by_heart, &hello()).unwrap_err().kind(), Kind::Mask);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is said, direct and captured blocks give the same text and the same spans, and each its
    /// owner.
    #[test]
    fn captured_blocks_equal_direct_ones(contents in prop::collection::vec("[ a-z<>é\u{e000}\u{f0000}\n]{0,12}", 1..6)) {
        let messages: Vec<_> = contents
            .iter()
            .map(|content| serde_json::json!({"role": "assistant", "content": content}))
            .collect();
        let conversation = chat(serde_json::Value::Array(messages));
        let block = "<a>{% generation %}{{ m.content }}{% endgeneration %}</a>";
        let direct = format!("{{% for m in messages %}}{block}{{% endfor %}}");
        let captured = format!("{{% macro f(m) %}}{block}{{% endmacro %}}{{% for m in messages %}}{{{{ f(m) }}}}{{% endfor %}}");
        let direct = render(&direct, &conversation).unwrap();
        let naive: String = contents.iter().map(|content| format!("<a>{content}</a>")).collect();
        prop_assert_eq!(&direct.text, &naive);
        prop_assert_eq!(pieces(&direct), contents.iter().map(String::as_str).collect::<Vec<_>>());
        prop_assert_eq!(&render(&captured, &conversation).unwrap(), &direct);
        let everyone: Vec<usize> = (0..contents.len()).collect();
        prop_assert_eq!(owners(&captured, &conversation).unwrap(), everyone);
    }

    /// No template makes the compiler panic.
    #[test]
    fn any_source_compiles_or_is_refused(source in "(\\{%-? ?(generation|endgeneration|if|for m in messages|endfor|endif|set x|endset|set n.x =) ?-?%\\}|\\{\\{|\\}\\}|~|'|\\\\|[a-z(){}|. ]|\n){0,12}") {
        if let Ok(template) = ChatTemplate::compile(&source, TemplateContext::default()) {
            drop(template.render(&hello(), Ending::Whole));
        }
    }
}
