//! What values print as and how they compare: as Python and Jinja do, not as the engine would.

use super::*;

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
