//! The Jinja environment of Transformers: its filters, tests and functions, on the engine that we use.
//!
//! Set here is what the engine lacks and what it does differently without saying so; where it refuses what Python would
//! take, a refusal it remains.

use super::clock::strftime;
use super::json::tojson;
use super::limits::{BYTES_PER_FUEL, TemplateLimits};
use super::methods::{self, Ends, strip};
use super::number::is_big;
use super::page::generation;
use super::print::write_str;
use super::refusal::{Refusal, invalid};
use chrono::NaiveDateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{
    Enumerator, Kwargs, Object, ObjectRepr, Rest, Value, ValueKind, ValueOrKwargs, from_args,
};
use minijinja::{AutoEscape, Environment, Error, State, filters, functions};
use std::borrow::Cow;
use std::sync::Arc;

/// The filter that stands for `{% generation %}`.
pub(super) const GENERATION: &str = "packmill_generation";

/// The name that the one template goes by.
pub(super) const TEMPLATE: &str = "chat";

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
    // The engine counts four for a macro call and one for a scope, and goes no further than 500 in any case.
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
    add_text_filters(&mut env, nesting);
    add_generators(&mut env);
    env.add_filter(GENERATION, generation);
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
    env.add_function(
        "namespace",
        |defaults: Option<ValueOrKwargs>| -> Result<Value, Error> {
            let namespace = functions::namespace(defaults)?;
            for name in namespace.try_iter()?.checked() {
                if name?.as_str().is_some_and(|name| name.starts_with('_')) {
                    return Err(invalid(
                        "a namespace takes no names that begin with an underscore",
                    ));
                }
            }
            Ok(namespace)
        },
    );
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

fn add_text_filters(env: &mut Environment<'static>, nesting: usize) {
    env.add_filter(
        "tojson",
        move |state: &State, value: &Value, args: Rest<ValueOrKwargs>| {
            tojson(state, value, args, nesting)
        },
    );
    env.add_filter(
        "string",
        move |state: &State, value: &Value| -> Result<Value, Error> {
            if value.as_str().is_some() {
                Ok(value.clone())
            } else {
                Ok(Value::from(to_str(state, value, nesting)?.into_owned()))
            }
        },
    );
    env.add_filter(
        "trim",
        move |state: &State,
              value: &Value,
              chars: Option<Value>,
              kwargs: Kwargs|
              -> Result<Value, Error> {
            let chars = match chars {
                Some(chars) => Some(chars),
                None => kwargs.get::<Option<Value>>("chars")?,
            };
            kwargs.assert_all_used()?;
            let chars = match &chars {
                Some(chars) if !chars.is_none() => Some(
                    chars
                        .as_str()
                        .ok_or_else(|| invalid("trim: chars is not a string"))?,
                ),
                _ => None,
            };
            Ok(Value::from(strip(
                &to_str(state, value, nesting)?,
                chars,
                Ends::Both,
            )))
        },
    );
    env.add_filter(
        "join",
        move |state: &State, value: &Value, args: Rest<ValueOrKwargs>| -> Result<Value, Error> {
            join(state, value, &args.into_values(), nesting)
        },
    );
    let escape = move |state: &State, value: &Value| -> Result<Value, Error> {
        if value.is_safe() {
            Ok(value.clone())
        } else {
            let text = escape_markup(&to_str(state, value, nesting)?);
            Ok(Value::from_safe_string(text))
        }
    };
    env.add_filter("escape", escape);
    env.add_filter("e", escape);
    env.add_filter("default", default);
    env.add_filter("d", default);
    env.add_filter("int", int);
    env.add_filter("float", float);
}

/// Filters that give a generator in Jinja: true even if nothing comes out of it, and without a length.
fn add_generators(env: &mut Environment<'static>) {
    type Name<'a> = Option<Cow<'a, str>>;
    let generator = |values: Vec<Value>| -> Value { Value::from_object(Generator(values)) };
    env.add_filter(
        "map",
        move |state: &mut State, value: Value, args: Rest<ValueOrKwargs>| {
            filters::map(state, value, args).map(generator)
        },
    );
    env.add_filter(
        "select",
        move |state: &mut State, value: Value, test: Name<'_>, args: Rest<ValueOrKwargs>| {
            filters::select(state, value, test, args).map(generator)
        },
    );
    env.add_filter(
        "reject",
        move |state: &mut State, value: Value, test: Name<'_>, args: Rest<ValueOrKwargs>| {
            filters::reject(state, value, test, args).map(generator)
        },
    );
    env.add_filter(
        "selectattr",
        move |state: &mut State,
              value: Value,
              attr: Cow<'_, str>,
              test: Name<'_>,
              args: Rest<ValueOrKwargs>| {
            filters::selectattr(state, value, attr, test, args).map(generator)
        },
    );
    env.add_filter(
        "rejectattr",
        move |state: &mut State,
              value: Value,
              attr: Cow<'_, str>,
              test: Name<'_>,
              args: Rest<ValueOrKwargs>| {
            filters::rejectattr(state, value, attr, test, args).map(generator)
        },
    );
}

/// What a Jinja filter yields one by one.
#[derive(Debug)]
struct Generator(Vec<Value>);

impl Object for Generator {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Iter(Box::new(self.0.clone().into_iter()))
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        None
    }
}

/// `str(value)`.
fn to_str<'a>(state: &State, value: &'a Value, nesting: usize) -> Result<Cow<'a, str>, Error> {
    if let Some(text) = value.as_str() {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::new();
    write_str(&mut out, state, value, nesting)?;
    Ok(Cow::Owned(out))
}

/// `join(d='', attribute=None)`.
fn join(state: &State, value: &Value, args: &[Value], nesting: usize) -> Result<Value, Error> {
    let (sep, attribute, kwargs): (Option<Value>, Option<Value>, Kwargs) = from_args(args)?;
    let sep = match sep {
        Some(sep) => Some(sep),
        None => kwargs.get::<Option<Value>>("d")?,
    };
    let attribute = match attribute {
        Some(attribute) => Some(attribute),
        None => kwargs.get::<Option<Value>>("attribute")?,
    };
    kwargs.assert_all_used()?;
    let sep = match &sep {
        Some(sep) => to_str(state, sep, nesting)?,
        None => Cow::Borrowed(""),
    };
    let mut out = String::new();
    for (index, item) in value.try_iter()?.checked().enumerate() {
        let mut item = item?;
        match attribute.as_ref().map(|a| (a, a.as_str())) {
            Some((_, Some(path))) => {
                for part in path.split('.') {
                    item = match part.parse::<usize>() {
                        Ok(index) => item.get_item_by_index(index)?,
                        Err(_) => item.get_attr(part)?,
                    };
                }
            }
            Some((key, None)) => item = item.get_item(key)?,
            None => {}
        }
        let text = to_str(state, &item, nesting)?;
        state.consume_fuel(1 + (sep.len().saturating_add(text.len())) as u64 / BYTES_PER_FUEL)?;
        if index > 0 {
            out.push_str(&sep);
        }
        out.push_str(&text);
    }
    Ok(Value::from(out))
}

/// Splits off keyword arguments without taking a none that was passed for one that was not.
fn split_kwargs(args: &[Value]) -> Result<(&[Value], Kwargs), Error> {
    match args.split_last() {
        Some((last, positional)) if last.is_kwargs() => {
            Ok((positional, Kwargs::try_from(last.clone())?))
        }
        _ => Ok((args, Kwargs::from_iter(std::iter::empty::<(&str, Value)>()))),
    }
}

/// `default(default_value='', boolean=False)`.
fn default(value: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = args.into_values();
    let (positional, kwargs) = split_kwargs(&args)?;
    let pick = |index: usize, name: &str| -> Result<Option<Value>, Error> {
        match positional.get(index) {
            Some(value) => Ok(Some(value.clone())),
            None if kwargs.has(name) => kwargs.get::<Value>(name).map(Some),
            None => Ok(None),
        }
    };
    let replacement = pick(0, "default_value")?;
    let also_false = pick(1, "boolean")?.is_some_and(|v| v.is_true());
    kwargs.assert_all_used()?;
    if value.is_undefined() || (also_false && !value.is_true()) {
        Ok(replacement.unwrap_or_else(|| Value::from("")))
    } else {
        Ok(value.clone())
    }
}

/// `int(default=0, base=10)`: what cannot be read is the default.
fn int(
    state: &State,
    value: &Value,
    fallback: Option<Value>,
    base: Option<u32>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    if is_big(value) {
        return Ok(value.clone());
    }
    let fallback = match fallback {
        Some(fallback) => fallback,
        None => kwargs
            .get::<Option<Value>>("default")?
            .unwrap_or(Value::from(0)),
    };
    let stripped = value
        .as_str()
        .map(|text| Value::from(strip(text, None, Ends::Both)));
    filters::int(
        state,
        stripped.as_ref().unwrap_or(value),
        Some(fallback),
        base,
        kwargs,
    )
}

/// `float(default=0.0)`: what cannot be read is the default.
fn float(
    state: &State,
    value: &Value,
    fallback: Option<Value>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let fallback = match fallback {
        Some(fallback) => fallback,
        None => kwargs
            .get::<Option<Value>>("default")?
            .unwrap_or(Value::from(0.0)),
    };
    let stripped = value
        .as_str()
        .map(|text| Value::from(strip(text, None, Ends::Both)));
    filters::float(
        state,
        stripped.as_ref().unwrap_or(value),
        Some(fallback),
        kwargs,
    )
}

/// As markupsafe escapes.
fn escape_markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        }
    }
    out
}
