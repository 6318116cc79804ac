//! Generated templates over generated rows.

use super::*;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value as Json, json};

/// An expression, of parts that chat templates have and of some that they should not have.
fn expression() -> impl Strategy<Value = String> {
    let atom = select(vec![
        "m.content",
        "m.role",
        "m['content']",
        "m.tool_calls",
        "m.reasoning_content",
        "m.nothing",
        "m",
        "messages",
        "messages[0].content",
        "messages[-1].role",
        "messages[1:]",
        "messages[::-1]",
        "loop.index0",
        "loop.first",
        "loop.last",
        "loop.length",
        "loop.nextitem",
        "tools",
        "ns.n",
        "ns.t",
        "x",
        "y",
        "names",
        "bos_token",
        "thinking",
        "unknown",
        "'a'",
        "''",
        "'</think>'",
        "'\\n'",
        "0",
        "1",
        "-1",
        "2.5",
        "none",
        "true",
        "false",
        "[]",
        "[1, 'a']",
        "{'k': 'v'}",
        "range(3)",
        "mac(m.role)",
        "m.tool_calls[0].function.arguments",
        "m.content[0].text",
    ])
    .prop_map(str::to_owned);
    atom.prop_recursive(3, 12, 3, |inner| {
        let pair = (inner.clone(), inner.clone());
        let binary = select(vec!["+", "~", "==", "!=", "<", ">=", "in", "not in", "and", "or", "-", "*", "%", "//"]);
        let suffix = select(vec![
            "|trim", "|length", "|tojson", "|tojson(indent=2)", "|string", "|upper", "|default('d')", "|default('d', true)", "|first",
            "|last", "|join(', ')", "|list", "|items|list", "|safe", "|int", "|replace('a', 'b')", "|reverse", "|dictsort", "|sort",
            "|map(attribute='role')|list", "|selectattr('role')|list", "|unique", "|capitalize", "|e", " is string", " is mapping",
            " is iterable", " is sequence", " is defined", " is none", " is not none", " is number", " is true", " is odd",
            " is in names", ".strip()", ".lstrip('a')", ".rstrip('\\n')", ".split('</think>')[-1]", ".split('a')[0]", ".split()",
            ".startswith('a')", ".endswith('')", ".get('content')", ".get('k', 'd')", ".items()", ".keys()|list", ".upper()",
            ".content", ".function", "['k']", "[0]", "[-1]", "[1:]", "[:2]", "[::-1]", "[-2:]", ".x.y",
        ]);
        prop_oneof![
            3 => (inner.clone(), suffix).prop_map(|(of, suffix)| format!("({of}){suffix}")),
            3 => (pair, binary).prop_map(|((a, b), op)| format!("({a} {op} {b})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} if {b} else {c})")),
            1 => inner.clone().prop_map(|a| format!("(not {a})")),
            1 => (inner.clone(), inner).prop_map(|(a, b)| format!("[{a}, {b}]")),
        ]
    })
}

/// Statements.
fn statements() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => expression().prop_map(|e| format!("{{{{ {e} }}}}")),
        2 => (expression(), expression()).prop_map(|(a, b)| format!("{{{{- {a} + {b} }}}}")),
        1 => expression().prop_map(|e| format!("{{% set x = {e} %}}")),
        1 => expression().prop_map(|e| format!("{{% set ns.n = {e} %}}")),
        1 => expression().prop_map(|e| format!("{{% set ns.t = ns.t + {e} %}}")),
        1 => select(vec!["text ", "é\n", "{{ loop.index }}", "{{ loop.last }}", "{{ x }}"]).prop_map(str::to_owned),
        1 => expression().prop_map(|e| format!("{{% if {e} %}}{{% break %}}{{% endif %}}")),
        1 => expression().prop_map(|e| format!("{{% if {e} %}}{{% continue %}}{{% endif %}}")),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        let body = prop::collection::vec(inner, 1..4).prop_map(|parts| parts.concat());
        prop_oneof![
            2 => (expression(), body.clone(), body.clone()).prop_map(|(e, a, b)| format!("{{% if {e} %}}{a}{{% else %}}{b}{{% endif %}}")),
            2 => (select(vec!["m", "y", "x", "k, v"]), expression(), body.clone()).prop_map(|(name, e, a)| format!("{{% for {name} in {e} %}}{a}{{% endfor %}}")),
            1 => (expression(), body.clone()).prop_map(|(e, a)| format!("{{% for y in messages if {e} %}}{a}{{% else %}}none{{% endfor %}}")),
            1 => body.clone().prop_map(|a| format!("{{% set y %}}{a}{{% endset %}}")),
            1 => body.clone().prop_map(|a| format!("{{% filter trim %}}{a}{{% endfilter %}}")),
            1 => (expression(), body.clone()).prop_map(|(e, a)| format!("{{% with y = {e} %}}{a}{{% endwith %}}")),
            2 => body.prop_map(|a| format!("{{% generation %}}{a}{{% endgeneration %}}")),
        ]
    })
}

fn source() -> impl Strategy<Value = String> {
    let body = || prop::collection::vec(statements(), 1..4).prop_map(|parts| parts.concat());
    (body(), body(), any::<bool>(), any::<bool>()).prop_map(|(turn, behind, tagged, called)| {
        let called = if called { turn.as_str() } else { "" };
        let source = format!(
            "{{% macro mac(a, b='d') %}}<{{{{ a }}}}{{{{ b }}}}{{{{ x }}}}{called}>{{% endmacro %}}{{% set ns = namespace(n=0, t='') %}}\
             {{% for m in messages %}}{turn}{{% endfor %}}{behind}"
        );
        match tagged {
            true => source,
            false => source.replace("{% generation %}", "").replace("{% endgeneration %}", ""),
        }
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-c \\n]{0,6}",
        1 => select(vec!["", "</think>", "<think>\na</think>b", "'\"\\", "\u{0}\u{7f}\u{e000}", "\u{1c} x \u{2028}", "日本語 é", "{{ x }}", "a\r\nb"]).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

fn json_value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        text().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-3i64..3).prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        any::<bool>().prop_map(Json::from),
        Just(Json::Null),
        any::<u64>().prop_map(Json::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            prop::collection::vec(
                (
                    select(vec![
                        "k", "type", "text", "role", "content", "function", "items", "é"
                    ]),
                    inner
                ),
                0..3
            )
            .prop_map(|pairs| Json::Object(
                pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
            )),
        ]
    })
}

fn message() -> impl Strategy<Value = Json> {
    let role = select(vec!["user", "assistant", "system", "tool", "a"]);
    let content = prop_oneof![
        4 => text().prop_map(Json::from),
        1 => prop::collection::vec(text().prop_map(|t| json!({"type": "text", "text": t})), 0..3).prop_map(Json::from),
        1 => json_value(),
    ];
    let call = (text(), json_value()).prop_map(|(name, arguments)| json!({"type": "function", "function": {"name": name, "arguments": arguments}}));
    let calls = prop::collection::vec(call, 0..3);
    (
        role,
        content,
        prop::option::weighted(0.3, calls),
        prop::option::weighted(0.2, json_value()),
        prop::option::weighted(0.2, json_value()),
    )
        .prop_map(|(role, content, calls, reasoning, other)| {
            let mut message = json!({"role": role, "content": content});
            for (key, value) in [
                ("tool_calls", calls.map(Json::from)),
                ("reasoning_content", reasoning),
                ("k", other),
            ] {
                if let Some(value) = value {
                    message[key] = value;
                }
            }
            message
        })
}

fn rows() -> impl Strategy<Value = Json> {
    let messages = prop::collection::vec(message(), 1..5);
    let kwargs = prop::collection::vec(
        (
            select(vec![
                "x",
                "names",
                "unknown",
                "bos_token",
                "mac",
                "range",
                "ns",
            ]),
            json_value(),
        ),
        0..2,
    );
    (
        messages,
        prop::option::weighted(0.3, prop::collection::vec(json_value(), 0..3)),
        kwargs,
    )
        .prop_map(|(messages, tools, kwargs)| {
            let mut row = json!({"messages": messages});
            if let Some(tools) = tools {
                row["tools"] = Json::from(tools);
            }
            if !kwargs.is_empty() {
                row["chat_template_kwargs"] =
                    Json::Object(kwargs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect());
            }
            row
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn programs_print_what_the_engine_prints(source in source(), json in rows()) {
        if let Some(template) = template(&source) {
            if let Some(conversation) = row(&json) {
                compare(&template, &conversation);
            }
            compare(&template, &by_hand(&json));
        }
    }

    /// One statement is seldom stopped by another that no program takes.
    #[test]
    fn single_expressions_are_worth_the_same(e in expression(), json in rows()) {
        for source in [
            format!("{{% set ns = namespace(n=0, t='') %}}{{% for m in messages %}}{{{{ {e} }}}}|{{% endfor %}}"),
            format!("{{% set ns = namespace(n=0, t='') %}}{{% for m in messages %}}{{% set y = {e} %}}{{{{ y | tojson if y is defined else 'u' }}}}{{% endfor %}}"),
            format!("{{% set ns = namespace(n=0, t='') %}}{{% for m in messages %}}{{% for y in {e} %}}{{{{ loop.index }}}}{{{{ loop.length }}}}{{{{ loop.last }}}}{{{{ y }}}}{{% endfor %}}{{% endfor %}}"),
            format!("{{% set ns = namespace(n=0, t='') %}}{{% for m in messages %}}{{% if {e} %}}y{{% else %}}n{{% endif %}}{{% endfor %}}"),
        ] {
            if let Some(template) = template(&source) {
                if let Some(conversation) = row(&json) {
                    compare(&template, &conversation);
                }
                compare(&template, &by_hand(&json));
            }
        }
    }
}
