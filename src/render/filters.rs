//! Jinja's filters, where the engine lacks them or does something else without saying so.

use super::json::tojson;
use super::limits::BYTES_PER_FUEL;
use super::methods::{Ends, strip};
use super::number::is_big;
use super::print::write_str;
use super::refusal::invalid;
use minijinja::filters as engine;
use minijinja::value::{Kwargs, Rest, Value, ValueKind, ValueOrKwargs, from_args};
use minijinja::{Environment, Error, State};
use std::borrow::Cow;

/// Filters that the engine lacks or that print differently.
pub(super) fn add(env: &mut Environment<'static>, nesting: usize) {
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
    env.add_filter("sum", sum);
}

/// Filters that give a generator in Jinja: true even if nothing comes out of it, without a length, and
/// read once.
pub(super) fn add_generators(env: &mut Environment<'static>) {
    type Name<'a> = Option<Cow<'a, str>>;
    type Args = Rest<ValueOrKwargs>;
    let generator = |values: Vec<Value>| Value::make_one_shot_iterator(values.into_iter());
    env.add_filter("map", move |state: &mut State, value: Value, args: Args| {
        engine::map(state, value, args).map(generator)
    });
    env.add_filter(
        "select",
        move |state: &mut State, value: Value, test: Name<'_>, args: Args| {
            engine::select(state, value, test, args).map(generator)
        },
    );
    env.add_filter(
        "reject",
        move |state: &mut State, value: Value, test: Name<'_>, args: Args| {
            engine::reject(state, value, test, args).map(generator)
        },
    );
    env.add_filter(
        "selectattr",
        move |state: &mut State, value: Value, attr: Cow<'_, str>, test: Name<'_>, args: Args| {
            engine::selectattr(state, value, attr, test, args).map(generator)
        },
    );
    env.add_filter(
        "rejectattr",
        move |state: &mut State, value: Value, attr: Cow<'_, str>, test: Name<'_>, args: Args| {
            engine::rejectattr(state, value, attr, test, args).map(generator)
        },
    );
}

/// `str(value)`.
pub(super) fn to_str<'a>(
    state: &State,
    value: &'a Value,
    nesting: usize,
) -> Result<Cow<'a, str>, Error> {
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
    engine::int(
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
    engine::float(
        state,
        stripped.as_ref().unwrap_or(value),
        Some(fallback),
        kwargs,
    )
}

/// `sum(attribute=None, start=0)`. Lists are joined here, since the engine takes a time that grows with
/// the square.
fn sum(
    state: &State,
    values: Value,
    attribute: Option<&str>,
    start: Option<Value>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let start = match start {
        Some(start) => Some(start),
        None => kwargs.get::<Option<Value>>("start")?,
    };
    let Some(list) = start
        .as_ref()
        .filter(|start| start.kind() == ValueKind::Seq)
    else {
        return engine::sum(state, values, attribute, start, kwargs);
    };
    if attribute.is_some() || kwargs.has("attribute") {
        return Err(invalid("sum: lists of attributes are not added up"));
    }
    kwargs.assert_all_used()?;
    let mut joined: Vec<Value> = list.try_iter()?.checked().collect::<Result<_, _>>()?;
    for part in values.try_iter()?.checked() {
        for item in part?.try_iter()?.checked() {
            state.consume_fuel(1)?;
            joined.push(item?);
        }
    }
    Ok(Value::from(joined))
}

/// As markupsafe escapes.
pub(super) fn escape_markup(text: &str) -> String {
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
