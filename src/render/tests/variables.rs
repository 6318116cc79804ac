//! What a template is given: the row's and the recipe's variables, special tokens, the clock.

use super::*;
use crate::error::Kind;

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
    // A template that ends its last turn otherwise (gpt-oss): what each turn's span holds is its own end.
    let source = "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}\
{{ '<|return|>' if loop.last else '<|end|>' }}{% endgeneration %}{% else %}{{ m.content }}<|end|>{% endif %}{% endfor %}";
    let rendered = render(source, &hello()).unwrap();
    let spans = pieces(&rendered);
    assert_eq!(spans.first().map(|s| s.ends_with("<|end|>")), Some(true));
    assert_eq!(spans.last().map(|s| s.ends_with("<|return|>")), Some(true));
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
