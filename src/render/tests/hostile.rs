//! Templates that fail, waste or reach for more than they are given.

use super::*;
use crate::error::Kind;
use proptest::prelude::*;

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
        "{% set x = (',' * 100000000).split(',') %}",
        "{% set x = (',' * 100000000).rsplit(',') %}",
        "{% set x = ('\n' * 100000000).splitlines() %}",
    ] {
        assert_eq!(failure(source).kind(), Kind::Template, "{source}");
    }
    // As long as the text: looked up, not walked through.
    assert_eq!(
        text("{{ ('a' * 2000000).strip('b' * 2000000 ~ 'a') ~ '.' }}"),
        "."
    );
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No template makes the compiler panic.
    #[test]
    fn any_source_compiles_or_is_refused(source in "(\\{%-? ?(generation|endgeneration|if|for m in messages|endfor|endif|set x|endset|set n.x =) ?-?%\\}|\\{\\{|\\}\\}|~|'|\\\\|[a-z(){}|. ]|\n){0,12}") {
        if let Ok(template) = ChatTemplate::compile(&source, TemplateContext::default()) {
            drop(template.render(&hello(), Ending::Whole));
        }
    }
}
