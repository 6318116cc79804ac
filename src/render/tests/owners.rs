//! Which message a span was printed from, and where that is not known.

use super::*;
use crate::error::Kind;
use proptest::prelude::*;

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
}
