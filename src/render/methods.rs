//! Methods of Python's `str`, `dict` and `list`, where templates use them and the engine's own set is
//! silent or differs.
//!
//! What is not here falls through to `minijinja_contrib::pycompat`.

use super::limits::BYTES_PER_FUEL;
use super::refusal::invalid;
use minijinja::value::{Kwargs, Tuple, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat;
use std::collections::HashSet;

/// The engine's hook for methods that it does not know.
pub(super) fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let own = match value.kind() {
        ValueKind::String => {
            string_method(state, value.as_str().unwrap_or_default(), method, args)?
        }
        ValueKind::Map => map_method(value, method, args)?,
        ValueKind::Seq => list_method(value, method, args)?,
        _ => None,
    };
    match own {
        Some(result) => Ok(result),
        None => pycompat::unknown_method_callback(state, value, method, args),
    }
}

/// `str.isspace()`: Unicode white space and the four separators that only Python counts.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Which ends of a string are stripped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    Both,
    Left,
    Right,
}

/// Bytes of characters to be stripped that are walked through for each character.
const FEW_CHARS: usize = 32;

/// `str.strip`, `lstrip` and `rstrip`: of white space, or of any of `chars`.
pub(super) fn strip<'a>(text: &'a str, chars: Option<&str>, ends: Ends) -> &'a str {
    // Many are asked for each character of a text that may be as long as they are.
    let many = chars.filter(|chars| chars.len() > FEW_CHARS);
    let many: Option<HashSet<char>> = many.map(|chars| chars.chars().collect());
    let gone = |c: char| -> bool {
        match (&many, chars) {
            (Some(many), _) => many.contains(&c),
            (None, Some(few)) => few.contains(c),
            (None, None) => is_space(c),
        }
    };
    let text = match ends {
        Ends::Right => text,
        _ => text.trim_start_matches(gone),
    };
    match ends {
        Ends::Left => text,
        _ => text.trim_end_matches(gone),
    }
}

fn string_method(
    state: &State,
    text: &str,
    method: &str,
    args: &[Value],
) -> Result<Option<Value>, Error> {
    let result = match method {
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<&str>,) = from_args(args)?;
            let ends = match method {
                "lstrip" => Ends::Left,
                "rstrip" => Ends::Right,
                _ => Ends::Both,
            };
            Value::from(strip(text, chars, ends))
        }
        "split" | "rsplit" => split(state, text, args, method == "rsplit")?,
        "splitlines" => {
            let (keep, kwargs): (Option<bool>, Kwargs) = from_args(args)?;
            let keep = match keep {
                Some(keep) => keep,
                None => kwargs.get::<Option<bool>>("keepends")?.unwrap_or(false),
            };
            kwargs.assert_all_used()?;
            split_lines(state, text, keep)?
                .into_iter()
                .map(Value::from)
                .collect()
        }
        "partition" | "rpartition" => {
            let (sep,): (&str,) = from_args(args)?;
            if sep.is_empty() {
                return Err(invalid("empty separator"));
            }
            let parts = match method {
                "partition" => text
                    .split_once(sep)
                    .map(|(a, b)| [a, sep, b])
                    .unwrap_or([text, "", ""]),
                _ => text
                    .rsplit_once(sep)
                    .map(|(a, b)| [a, sep, b])
                    .unwrap_or(["", "", text]),
            };
            Value::from(Tuple::from(parts.map(Value::from)))
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "find" | "rfind" | "index" | "rindex" => {
            let (what, start, end): (&str, Option<i64>, Option<i64>) = from_args(args)?;
            match (
                find(text, what, start, end, method.starts_with('r')),
                method,
            ) {
                (Some(at), _) => Value::from(at),
                (None, "find" | "rfind") => Value::from(-1),
                (None, _) => return Err(invalid("substring not found")),
            }
        }
        "count" => {
            let (what,): (&str,) = from_args(args)?;
            Value::from(text.matches(what).count())
        }
        "isspace" => {
            let () = from_args(args)?;
            Value::from(!text.is_empty() && text.chars().all(is_space))
        }
        "isdecimal" => {
            let () = from_args(args)?;
            Value::from(!text.is_empty() && text.chars().all(|c| c.is_ascii_digit()))
        }
        "title" => {
            let () = from_args(args)?;
            Value::from(title(text))
        }
        "swapcase" => {
            let () = from_args(args)?;
            let swap = |c: char| -> String {
                if c.is_uppercase() {
                    c.to_lowercase().collect()
                } else {
                    c.to_uppercase().collect()
                }
            };
            Value::from(text.chars().map(swap).collect::<String>())
        }
        "ljust" | "rjust" | "center" | "zfill" => pad(state, text, method, args)?,
        "join" => join(state, text, args)?,
        "format" => {
            pay_for_widths(state, text)?;
            return Ok(None);
        }
        _ => return Ok(None),
    };
    Ok(Some(result))
}

/// `str.split` and `rsplit`: with `sep`, or at runs of white space.
fn split(state: &State, text: &str, args: &[Value], from_right: bool) -> Result<Value, Error> {
    let (sep, limit, kwargs): (Option<Value>, Option<i64>, Kwargs) = from_args(args)?;
    let sep = match sep {
        Some(sep) => Some(sep),
        None => kwargs.get::<Option<Value>>("sep")?,
    };
    let limit = match limit {
        Some(limit) => Some(limit),
        None => kwargs.get::<Option<i64>>("maxsplit")?,
    };
    kwargs.assert_all_used()?;
    let limit = limit
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(usize::MAX);

    let sep = match &sep {
        Some(sep) if !sep.is_none() => match sep.as_str() {
            Some("") => return Err(invalid("empty separator")),
            Some(sep) => Some(sep),
            None => return Err(invalid("split: the separator is not a string")),
        },
        _ => None,
    };
    let mut parts = Vec::new();
    let mut rest = text;
    while parts.len() < limit {
        let cut = match (sep, from_right) {
            (Some(sep), false) => rest.split_once(sep),
            (Some(sep), true) => rest.rsplit_once(sep).map(|(head, tail)| (tail, head)),
            (None, false) => {
                rest = strip(rest, None, Ends::Left);
                rest.split_once(is_space)
            }
            (None, true) => {
                rest = strip(rest, None, Ends::Right);
                rest.rsplit_once(is_space).map(|(head, tail)| (tail, head))
            }
        };
        let Some((part, remainder)) = cut else { break };
        state.consume_fuel(1)?;
        parts.push(part);
        rest = remainder;
    }
    if sep.is_none() {
        rest = strip(
            rest,
            None,
            if from_right { Ends::Right } else { Ends::Left },
        );
    }
    if sep.is_some() || !rest.is_empty() {
        parts.push(rest);
    }
    if from_right {
        parts.reverse();
    }
    Ok(parts.into_iter().map(Value::from).collect())
}

/// `str.splitlines`: at everything that Python calls the end of a line.
fn split_lines<'t>(state: &State, text: &'t str, keep: bool) -> Result<Vec<&'t str>, Error> {
    let ends_line =
        |c: char| matches!(c, '\n'..='\r' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(ends_line) {
        let (line, tail) = rest.split_at(at);
        let end = match tail.strip_prefix("\r\n") {
            Some(_) => 2,
            None => tail.chars().next().map_or(0, char::len_utf8),
        };
        let (ending, tail) = tail.split_at(end);
        state.consume_fuel(1)?;
        lines.push(if keep {
            &rest[..line.len() + ending.len()]
        } else {
            line
        });
        rest = tail;
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    Ok(lines)
}

/// Charges what the numbers in a format string (widths, precisions) can make `str.format` print.
fn pay_for_widths(state: &State, format: &str) -> Result<(), Error> {
    for digits in format
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
    {
        let width = digits.parse::<u64>().unwrap_or(u64::MAX);
        state.consume_fuel(width / BYTES_PER_FUEL)?;
    }
    Ok(())
}

/// `str.title`: a capital at the beginning of each run of letters.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphabetic();
    }
    out
}

/// Position in characters of the first or last `what` within `start..end`, which count as Python's
/// slices do.
fn find(text: &str, what: &str, start: Option<i64>, end: Option<i64>, last: bool) -> Option<usize> {
    let (mut first_byte, mut last_byte, mut skipped) = (0, text.len(), 0);
    if start.is_some() || end.is_some() {
        let length = text.chars().count();
        let clamp = |index: i64| -> usize {
            match usize::try_from(index) {
                Ok(index) => index,
                Err(_) => length
                    .saturating_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX)),
            }
        };
        let byte = |index: usize| {
            text.char_indices()
                .nth(index)
                .map_or(text.len(), |(at, _)| at)
        };
        skipped = clamp(start.unwrap_or(0));
        if skipped > length {
            return None;
        }
        first_byte = byte(skipped);
        last_byte = end.map_or(text.len(), |end| byte(clamp(end)));
    }
    let window = text.get(first_byte..last_byte)?;
    let at = if last {
        window.rfind(what)
    } else {
        window.find(what)
    }?;
    Some(skipped + window.get(..at)?.chars().count())
}

/// `str.ljust`, `rjust`, `center` and `zfill`.
fn pad(state: &State, text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let (width, fill): (i64, Option<char>) = from_args(args)?;
    let missing = usize::try_from(width)
        .unwrap_or(0)
        .saturating_sub(text.chars().count());
    state.consume_fuel(missing as u64 * 4 / BYTES_PER_FUEL)?;
    let padding =
        |count: usize, fill: char| -> String { std::iter::repeat_n(fill, count).collect() };
    let fill = fill.unwrap_or(' ');
    Ok(Value::from(match method {
        "ljust" => text.to_owned() + &padding(missing, fill),
        "rjust" => padding(missing, fill) + text,
        "zfill" => {
            let sign = text.len() - text.strip_prefix(['+', '-']).unwrap_or(text).len();
            let (sign, digits) = text.split_at(sign);
            format!("{sign}{}{digits}", padding(missing, '0'))
        }
        _ => {
            // CPython puts the odd one on the left only where the width is odd.
            let left = missing / 2 + (missing & usize::try_from(width).unwrap_or(0) & 1);
            format!(
                "{}{text}{}",
                padding(left, fill),
                padding(missing - left, fill)
            )
        }
    }))
}

/// `str.join`, of strings alone.
fn join(state: &State, sep: &str, args: &[Value]) -> Result<Value, Error> {
    let (items,): (&Value,) = from_args(args)?;
    let mut out = String::new();
    for (index, item) in items.try_iter()?.checked().enumerate() {
        let item = item?;
        let Some(text) = item.as_str() else {
            return Err(invalid(format!(
                "join: expected strings, found {}",
                item.kind()
            )));
        };
        state.consume_fuel(1 + (sep.len().saturating_add(text.len())) as u64 / BYTES_PER_FUEL)?;
        if index > 0 {
            out.push_str(sep);
        }
        out.push_str(text);
    }
    Ok(Value::from(out))
}

fn map_method(value: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    match method {
        "copy" => {
            let () = from_args(args)?;
            Ok(Some(value.clone()))
        }
        "clear" | "pop" | "popitem" | "setdefault" | "update" => Err(immutable(method)),
        _ => Ok(None),
    }
}

fn list_method(value: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    match method {
        "copy" => {
            let () = from_args(args)?;
            Ok(Some(value.clone()))
        }
        "index" => {
            let (what,): (&Value,) = from_args(args)?;
            for (index, item) in value.try_iter()?.checked().enumerate() {
                if item? == *what {
                    return Ok(Some(Value::from(index)));
                }
            }
            Err(invalid("the value is not in the list"))
        }
        "append" | "clear" | "extend" | "insert" | "pop" | "remove" | "reverse" | "sort" => {
            Err(immutable(method))
        }
        _ => Ok(None),
    }
}

/// The reference renders in a sandbox where nothing can be changed.
fn immutable(method: &str) -> Error {
    Error::new(
        ErrorKind::UnknownMethod,
        format!("{method} would change a value, which chat templates may not"),
    )
}

#[cfg(test)]
mod tests {
    use minijinja::Environment;

    fn eval(expression: &str) -> String {
        let mut env = Environment::new();
        env.set_unknown_method_callback(super::call);
        env.render_str(&format!("{{{{ {expression} }}}}"), ())
            .unwrap()
    }

    #[test]
    fn strings_behave_as_in_python() {
        for (expression, expected) in [
            (r#"'  a b  '.strip() ~ '|'"#, "a b|"),
            (r#"'\x1c a'.strip()"#, "a"),
            (r#"'xxaxx'.lstrip('x') ~ 'xxaxx'.rstrip('x')"#, "axxxxa"),
            (r#"' a  b '.split()"#, "['a', 'b']"),
            (r#"' a  b c '.split(none, 1)"#, "['a', 'b c ']"),
            (r#"'a,,b'.split(',')"#, "['a', '', 'b']"),
            (r#"''.split(',')"#, "['']"),
            (r#"''.split()"#, "[]"),
            (r#"'a,b,c'.split(',', 1)"#, "['a', 'b,c']"),
            (r#"'a,b,c'.split(sep=',', maxsplit=1)"#, "['a', 'b,c']"),
            (r#"'a,b,c'.rsplit(',', 1)"#, "['a,b', 'c']"),
            (r#"' a b c '.rsplit(none, 1)"#, "[' a b', 'c']"),
            (r#"'a b'.split(maxsplit=0)"#, "['a b']"),
            (
                r#"'a\r\nb\n\nc\x0bd'.splitlines()"#,
                "['a', 'b', '', 'c', 'd']",
            ),
            (r#"'a\r\nb'.splitlines(true)"#, r"['a\r\n', 'b']"),
            (r#"'a=b=c'.partition('=')"#, "('a', '=', 'b=c')"),
            (r#"'a=b=c'.rpartition('=')"#, "('a=b', '=', 'c')"),
            (r#"'abc'.partition('=')"#, "('abc', '', '')"),
            (
                r#"'abc'.removeprefix('a') ~ 'abc'.removesuffix('c')"#,
                "bcab",
            ),
            (r#"'éabab'.find('b')"#, "2"),
            (r#"'éabab'.find('b', 3)"#, "4"),
            (r#"'éabab'.rfind('b', 0, -1)"#, "2"),
            (r#"'abc'.find('z')"#, "-1"),
            (r#"'abc'.find('', 9)"#, "-1"),
            (r#"'7'.zfill(3) ~ '-7'.zfill(3)"#, "007-07"),
            (
                r#"'a'.center(4) ~ '|' ~ 'ab'.center(5) ~ '|'"#,
                " a  |  ab |",
            ),
            (r#"'a'.ljust(3, '.') ~ 'a'.rjust(3)"#, "a..  a"),
            (r#"', '.join(['a', 'b'])"#, "a, b"),
            (r#"'aBc'.swapcase()"#, "AbC"),
            (r#"'they\'re hERE'.title()"#, "They'Re Here"),
            (r#"['a', 'b'].index('b')"#, "1"),
        ] {
            assert_eq!(eval(expression), expected, "{expression}");
        }
    }

    #[test]
    fn what_python_refuses_is_refused() {
        let mut env = Environment::new();
        env.set_unknown_method_callback(super::call);
        for expression in [
            "', '.join([1])",
            "'a'.split('')",
            "'a'.index('b')",
            "[1].append(2)",
            "{'a': 1}.pop('a')",
        ] {
            assert!(
                env.render_str(&format!("{{{{ {expression} }}}}"), ())
                    .is_err(),
                "{expression}"
            );
        }
    }
}
