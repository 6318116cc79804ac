//! Text, and what of it was printed inside `{% generation %}`.

use super::*;
use crate::error::Kind;

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
