//! Templates and rows that are written out.

use super::*;
use serde_json::json;

fn rows() -> Vec<serde_json::Value> {
    vec![
        json!({"messages": [
            {"role": "system", "content": " Be brief. "},
            {"role": "user", "content": "Hi é\n"},
            {"role": "assistant", "content": "<think>\nwell\n</think>\n\nHello"},
            {"role": "user", "content": ""},
            {"role": "assistant", "content": "Bye </think> now"},
        ]}),
        json!({"messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": "", "reasoning": "look", "tool_calls": [
                {"type": "function", "function": {"name": "look_up", "arguments": {"city": "Köln \"\\\n", "n": 1e-7, "deep": [[1, null], {"a": true}]}}},
                {"type": "function", "function": {"name": "b", "arguments": "{}"}},
            ]},
            {"role": "tool", "content": "[1]", "name": "look_up"},
            {"role": "tool", "content": {"t": 1.5, "big": 123456789012345678901234567890_f64}},
            {"role": "assistant", "content": [{"type": "text", "text": "Sun"}, {"type": "image"}]},
        ], "tools": [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]}),
        json!({"messages": [{"role": "user", "content": "x"}], "chat_template_kwargs":
            {"thinking": false, "bos_token": "B", "range": 3, "enable_thinking": true, "names": {"k": "v", "items": 1}}}),
    ]
}

/// How often the program took a template, of how many times.
fn taken(source: &str) -> (usize, usize) {
    let template = template(source).unwrap_or_else(|| panic!("{source}"));
    let modes = if template.has_generation_tags() { 6 } else { 8 };
    let (mut taken, mut all) = (0, 0);
    for row_json in rows() {
        for conversation in [row(&row_json).unwrap(), by_hand(&row_json)] {
            taken += compare(&template, &conversation);
            all += modes;
        }
    }
    (taken, all)
}

fn each(turn: &str) -> String {
    format!(
        "{{% set ns = namespace(n=0, text='') %}}{{% for m in messages %}}{turn}{{% endfor %}}{{{{ ns.n }}}}{{{{ ns.text }}}}"
    )
}

#[test]
fn whole_templates_are_taken_and_print_the_same() {
    for source in [
        include_str!("../../../cli/demo/chat_template.jinja"),
        "{{ bos_token }}{% for m in messages %}{% if m.content is string %}{{ m.role + ': ' + m.content | trim }}{% endif %}{% endfor %}",
        "{%- for m in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}{{ index }}{{ loop.last }}{%- endfor %}",
    ] {
        let (taken, all) = taken(source);
        assert!(taken * 2 > all, "{taken} of {all}: {source}");
    }
}

#[test]
fn what_a_turn_can_say_is_taken() {
    for turn in [
        "{{ m.role }}{{ m['role'] }}{{ m.nothing }}{{ m.role.nothing }}",
        "{{ loop.index0 }}{{ loop.index }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}",
        "{{ loop.previtem.role if loop.previtem is defined }}{{ loop.nextitem.role if not loop.last }}",
        "{% if m.content is string %}{{ m.content.strip() + '|' + m.content.lstrip('\\n') + m.content.rstrip('Bi') }}{% endif %}",
        "{% if m.content is string %}{{ m.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1] }}{% endif %}",
        "{% if m.content is string %}{{ m.content.split('<')[7] }}{{ m.content[1:3] }}{{ m.content[:-1] }}{{ m.content[9:] }}{% endif %}",
        "{{ '</think>' in m.content }}{{ 'role' in m }}{{ 'no' not in m }}{{ m.role in ['user', 'tool'] }}",
        "{% if m.tool_calls %}{% for c in m.tool_calls %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% if not loop.last %},{% endif %}{% endfor %}{% endif %}",
        "{% for c in m.tool_calls or [] %}{{ ', ' + c.function.arguments | tojson + '}' }}{{ c | tojson(indent=2) }}{% else %}none{% endfor %}",
        "{% for c in m.tool_calls or [] %}{% if c.function.arguments is mapping %}{% for k, v in c.function.arguments | items %}{{ k }}={{ v if v is string else v | tojson }}{{ ';' if not loop.last }}{% endfor %}{% endif %}{% endfor %}",
        "{% for c in m.tool_calls or [] %}{% if c.function.arguments is mapping %}{% for k, v in c.function.arguments.items() %}{{ k }}{{ loop.length }}{% endfor %}{% for k in c.function.arguments %}{{ k }}{% endfor %}{% endif %}{% endfor %}",
        "{% if m.content is not string %}{% for p in m.content if p is mapping %}{{ p }}{{ loop.length }}{% endfor %}{% endif %}",
        "{% set ns.n = ns.n + 1 %}{% set ns.text = ns.text + m.role %}{% set x = ns.n * 3 - 1 %}{{ x // 2 }}{{ x % 2 }}{{ -x }}",
        "{% if m.role == 'user' %}{% continue %}{% elif loop.index > 3 %}{% break %}{% else %}{{ m.role }}{% endif %}",
        "{% set t %}<{{ m.role }}>{% endset %}{{ t | trim }}{{ t | length }}{% filter upper %}{{ m.role }}{% endfilter %}",
        "{% with a = m.role, b = a + '!' %}{{ b }}{% endwith %}{{ a is defined }}",
        "{{ m.role ~ 1 ~ none ~ true ~ 1.5 ~ [1, 'a'] }}{{ 1.0 }}{{ none }}{{ true }}{{ [m.role, 1] }}",
        "{{ m.get('content', 'none') }}{{ m.get('nothing') }}{{ m.get('nothing', m.role) }}",
        "{{ m.nothing | default('d') }}{{ m.content | default('e', true) }}{{ x | default('n') }}{{ m.content | length }}",
        "{{ m.content is string }}{{ m.content is mapping }}{{ m.content is iterable }}{{ m.content is sequence }}{{ m.content is none }}{{ m is defined }}{{ m.x is undefined }}{{ loop.index is number }}{{ thinking is true }}{{ thinking is false }}{{ thinking is boolean }}{{ 1 is integer }}{{ messages[1:] is sequence }}{{ messages[1:] is iterable }}",
        "{{ messages[0].role }}{{ messages[-1]['role'] }}{{ messages[loop.index0 - 1].role }}{{ messages[99] }}{{ messages[1:][0].role if messages | length > 1 }}",
        "{{ thinking }}{{ bos_token }}{{ eos_token }}{{ names }}{{ enable_thinking is defined }}{{ unknown }}{{ tools is none }}{{ add_generation_prompt }}{{ strftime_now('%Y') }}{{ strftime_now is defined }}",
        "{% for i in range(2) %}{{ i }}{{ loop.last }}{% endfor %}{% for i in range(5, 0, -2) %}{{ i }}{% endfor %}",
        "{{ names | join(', ') }}{{ m.role | upper }}{{ m.role | capitalize }}{{ m.role | replace('s', 'z') }}{{ names | first }}{{ names | last }}",
        "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ messages | map(attribute='role') | join('-') }}{{ (messages | map(attribute='role') | list)[-1] }}",
        "{{ m.role.startswith('u') }}{{ m.role.endswith('r') }}{{ m.role.upper() }}{{ m.role.replace('u', 'v') }}",
        "{{ 1 < 2 }}{{ m.role < 'm' }}{{ 1 == 1.0 }}{{ true == 1 }}{{ m.content == '' }}{{ none == m.x }}{{ [1] == [1] }}{{ m == m }}",
        "{{ m.role and 'a' }}{{ m.x or 'b' }}{{ not m.x }}{{ 'y' if m.x else 'n' }}{{ 'y' if m.x }}",
        "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}odd{% endif %}",
        "{% for k, v in m | dictsort %}{{ k }}:{{ v | string | length }}{% endfor %}",
    ] {
        let (taken, all) = taken(&each(turn));
        assert!(taken > 0, "{taken} of {all}: {turn}");
    }
}

#[test]
fn macros_see_what_the_engine_lets_them_see() {
    for source in [
        "{% macro f(a, b='x') %}<{{ a }}{{ b }}{{ c }}{{ bos_token }}>{% endmacro %}{% set c = 1 %}{{ f(1) }}{{ f(1, b=2) }}{{ f(b=1, a='q') | trim }}",
        "{% set c = 0 %}{% macro f() %}{{ c }}{% set c = 5 %}{{ c }}{% endmacro %}{{ f() }}{% set c = 1 %}{{ f() ~ f() }}",
        "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
        "{% macro g() %}{{ f(2) }}{% endmacro %}{% macro f(n) %}{{ n }}{% endmacro %}{{ g() }}",
        "{% macro f(m) %}{% for p in m %}{{ p }}{{ loop.index }}{% endfor %}{% endmacro %}{% for m in messages %}{{ f(m) }}{{ loop.index }}{% endfor %}",
        "{% macro f() %}{% if x is none %}{% set t = 1 %}{% endif %}{{ t }}{% endmacro %}{% set t = 2 %}{{ f() }}",
        "{% for m in messages %}{% macro f() %}{{ m.role }}{% endmacro %}{{ f() }}{% endfor %}",
        "{% macro f(a) %}{{ a }}{{ caller() }}{% endmacro %}{% call f(1) %}x{% endcall %}",
        "{% macro turn(m) %}<a>{% generation %}{{ m.role }}!{% endgeneration %}</a>{% endmacro %}{% for m in messages %}{{ turn(m) }}{% endfor %}",
        "{% macro f(a) %}{{ loop }}{{ a }}{% endmacro %}{% for m in messages %}{{ f(1) }}{% endfor %}",
        "{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f() }}",
    ] {
        taken(source);
    }
    let (own, all) = taken(
        "{% macro f(a) %}<{{ a }}>{% endmacro %}{% for m in messages %}{{ f(m.role) }}{% endfor %}",
    );
    assert_eq!(own, all);
}

#[test]
fn generation_blocks_have_the_engines_spans() {
    for source in [
        "{% for m in messages %}<{% generation %}{{ m.role }}{% endgeneration %}>{% endfor %}",
        "{% for m in messages %}{% generation %}{% endgeneration %}{% if loop.first %}{% generation %}é{{ m.role }}{% endgeneration %}{% endif %}{% endfor %}",
        "{% for m in messages %}{% set t %}a{% generation %}{{ m.role }}{% endgeneration %}{% endset %}{{ t }}{{ t }}{% endfor %}",
        "{% generation %}{% generation %}x{% endgeneration %}y{% endgeneration %}",
    ] {
        let (taken, all) = taken(source);
        assert_eq!(taken, all, "{source}");
    }
}

#[test]
fn scopes_are_the_engines() {
    for source in [
        "{% set x = 1 %}{% for m in messages %}{{ x }}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}",
        "{% for m in messages %}{{ m.role }}{% if loop.first %}{% set y = 1 %}{% endif %}{{ y }}{% endfor %}{{ y }}{{ m }}",
        "{% for m in messages %}{% for m in [1, 2] %}{{ m }}{{ loop.index }}{% endfor %}{{ m.role }}{{ loop.index }}{% endfor %}",
        "{% set messages = messages[1:] %}{% for m in messages %}{{ m.role }}{{ loop.length }}{{ loop.last }}{% endfor %}{{ messages | length }}",
        "{% if not tools %}{% set tools = none %}{% endif %}{{ tools }}{% set bos_token = 'q' %}{{ bos_token }}",
        "{% with x = 1 %}{% set y = x %}{{ y }}{% endwith %}{{ y }}{{ x }}",
        "{% for m in messages if m.role == 'user' %}{{ m.role }}{{ loop.index }}{{ loop.length }}{% else %}e{% endfor %}",
        "{% for a in [[1, 2], [3, 4]] %}{% for b, c in [a] %}{{ b }}{{ c }}{% endfor %}{% endfor %}",
    ] {
        taken(source);
    }
}

#[test]
fn a_program_stops_where_the_limits_come_near() {
    let source = "{% set ns = namespace(t='a') %}{% for i in range(40) %}{% set ns.t = ns.t + ns.t %}{% endfor %}{{ ns.t | length }}";
    let conversation = row(&rows()[0]).unwrap();
    for fuel in [10, 100, 1_000, 10_000, 100_000] {
        let limits = TemplateLimits {
            fuel,
            ..TemplateLimits::default()
        };
        let template = within(source, limits).unwrap();
        assert_eq!(compare(&template, &conversation), 0);
    }
    let source = "{% for m in messages %}{{ m.role }}{{ m.content }}{% endfor %}";
    let (mut own, mut engines) = (0, 0);
    for output_bytes in 0..100 {
        let limits = TemplateLimits {
            output_bytes,
            ..TemplateLimits::default()
        };
        let template = within(source, limits).unwrap();
        own += usize::from(
            template
                .render_by_program(&conversation, Ending::Whole)
                .unwrap()
                .is_some(),
        );
        engines += usize::from(
            template
                .render_by_engine(&conversation, Ending::Whole)
                .is_ok(),
        );
    }
    assert!(own > 0 && own == engines, "{own} {engines}");
    for fuel in (0..4_000).step_by(7) {
        let limits = TemplateLimits {
            fuel,
            ..TemplateLimits::default()
        };
        compare(&within(source, limits).unwrap(), &conversation);
    }
}

#[test]
fn deep_templates_and_endless_recursion_are_the_engines() {
    let conversation = row(&rows()[0]).unwrap();
    for source in [
        format!(
            "{}x{}",
            "{% if true %}".repeat(90),
            "{% endif %}".repeat(90)
        ),
        format!("{{% if x %}}{}{{% endif %}}", "{% elif x %}a".repeat(400)),
        format!("{{{{ 'a'{} }}}}", " + 'b'".repeat(1_000)),
        format!("{{{{ messages[0].role{} }}}}", " + 'b'".repeat(1_000)),
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".to_owned(),
    ] {
        if let Some(template) = template(&source) {
            compare(&template, &conversation);
        }
    }
}

#[test]
fn what_a_look_would_use_up_is_left_alone() {
    for source in [
        "{{ tools }}",
        "{{ tools | list }}",
        "{% for t in tools %}{{ t }}{% endfor %}",
        "{{ tools | tojson }}",
        "{{ tools | length }}",
        "{% if tools %}x{% endif %}{{ tools | join }}",
        "{{ tools == tools }}",
        "{{ [tools] | string }}",
        "{{ 'a' in tools }}",
        "{{ tools[0] }}",
        "{{ messages | tojson }}",
        "{% set n = namespace(x=1) %}{% set n.x = tools %}{{ n.x | join }}",
    ] {
        let template = template(source).unwrap();
        let conversation = || {
            let mut conversation =
                by_hand(&json!({"messages": [{"role": "user", "content": "x"}]}));
            conversation.tools = Some(one_shot());
            conversation
        };
        let own = template.render(&conversation(), Ending::Whole);
        let twin = template.render_by_engine(&conversation(), Ending::Whole);
        assert_eq!(
            own.map_err(|e| e.to_string()),
            twin.map_err(|e| e.to_string()),
            "{source}"
        );
    }
}
