//! The Jinja environment of Transformers: its filters, tests and functions, on the engine that we use.
//!
//! Set here is what the engine lacks and what it does differently without saying so; where it refuses
//! what Python would take, a refusal it remains.

use super::clock::strftime;
use super::filters::{self, escape_markup, to_str};
use super::limits::TemplateLimits;
use super::methods;
use super::namespace::{kept, namespace};
use super::number::is_big;
use super::page::{TURN, TURNS_END, generation, turn, turns_end};
use super::print::write_str;
use super::refusal::Refusal;
use chrono::NaiveDateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, State};

/// The filter that stands for `{% generation %}`.
pub(super) const GENERATION: &str = "packmill_generation";

/// The filter for what is assigned to a namespace.
pub(super) const KEPT: &str = "packmill_kept";

/// The name that the template goes by.
pub(super) const TEMPLATE: &str = "chat";

/// The name that the template goes by when it says which loop stands at which item.
pub(super) const INSTRUMENTED: &str = "chat, instrumented";

/// Jinja as Transformers sets it: `trim_blocks`, `lstrip_blocks`, the usual delimiters.
pub(super) fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .unwrap_or_default()
}

/// An environment with everything but the template.
pub(super) fn environment(
    limits: &TemplateLimits,
    now: Option<NaiveDateTime>,
) -> Environment<'static> {
    let nesting = limits.nesting;
    let mut env = Environment::new();
    env.set_syntax(syntax());
    env.set_fuel(Some(limits.fuel));
    // The engine counts four for a macro call and one for a scope, and goes no further than 500 in any
    // case.
    env.set_recursion_limit(nesting.saturating_mul(5));
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_unknown_method_callback(methods::call);
    env.set_formatter(move |out, state, value| {
        if !matches!(state.auto_escape(), AutoEscape::None) && !value.is_safe() {
            out.write_str(&escape_markup(&to_str(state, value, nesting)?))?;
            return Ok(());
        }
        write_str(out, state, value, nesting)
    });

    add_functions(&mut env, now);
    add_tests(&mut env);
    filters::add(&mut env, nesting);
    filters::add_generators(&mut env);
    env.add_filter(GENERATION, generation);
    env.add_filter(KEPT, move |state: &State, value: &Value| {
        kept(state, value, nesting)
    });
    // Jinja does not have them, or means something else by them.
    for name in ["attr", "bool", "chain", "lines", "pprint", "split", "zip"] {
        env.remove_filter(name);
    }
    env
}

fn add_functions(env: &mut Environment<'static>, now: Option<NaiveDateTime>) {
    // The engine's own, that Jinja does not have.
    env.remove_global("debug");
    env.add_function(
        "raise_exception",
        |message: Value| -> Result<Value, Error> {
            Err(Refusal::Raised(message.to_string()).into())
        },
    );
    env.add_function(
        "strftime_now",
        move |format: &str| -> Result<String, Error> {
            strftime(now.ok_or(Refusal::NoClock)?, format)
        },
    );
    env.add_function("namespace", namespace);
    env.add_function(TURN, |state: &State, id: usize, item: &Value| {
        turn(state, id, item)
    });
    env.add_function(TURNS_END, |state: &State, id: usize| turns_end(state, id));
}

fn add_tests(env: &mut Environment<'static>) {
    // Python counts whatever has a length and an index: strings and mappings too.
    env.add_test("sequence", |v: &Value| -> bool {
        matches!(
            v.kind(),
            ValueKind::Seq | ValueKind::Map | ValueKind::String | ValueKind::Undefined
        ) || (v.kind() == ValueKind::Iterable && v.len().is_some())
    });
    // The engine can loop over none.
    env.add_test("iterable", |v: &Value| -> bool {
        !v.is_none() && v.try_iter().is_ok()
    });
    env.add_test("number", |v: &Value| -> bool {
        matches!(v.kind(), ValueKind::Number | ValueKind::Bool) || is_big(v)
    });
    env.add_test("integer", |v: &Value| -> bool {
        v.is_integer() || is_big(v)
    });
    env.add_test("callable", |v: &Value| -> bool {
        v.kind() == ValueKind::Plain && !is_big(v)
    });
}
