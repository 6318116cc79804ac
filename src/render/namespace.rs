//! `namespace()`, and what may be kept in one.
//!
//! A namespace is all that a template can carry from one turn of a loop to the next, so it is where
//! values grow: a list in a list in a list, a slice of a slice. The engine follows and frees such
//! values by recursion, and the stack is not endless. So what is assigned to a namespace is made plain
//! first and looked at for its depth.

use super::refusal::invalid;
use minijinja::value::{ObjectRepr, Value, ValueKind, ValueOrKwargs};
use minijinja::{Error, State, functions};

/// How many values an assignment looks at. Behind so many a deep one may hide, but then each level of
/// it has cost as much fuel, which bounds the depth as well: the default fuel pays for some 4,000
/// levels.
const LOOKED_AT: usize = 1024;

/// `namespace(**values)`. As in the reference, names must not begin with an underscore.
pub(super) fn namespace(defaults: Option<ValueOrKwargs>) -> Result<Value, Error> {
    let namespace = functions::namespace(defaults)?;
    for name in namespace.try_iter()?.checked() {
        if name?.as_str().is_some_and(|name| name.starts_with('_')) {
            return Err(invalid(
                "a namespace takes no names that begin with an underscore",
            ));
        }
    }
    Ok(namespace)
}

/// The filter that the value of `{% set ns.x = value %}` goes through.
pub(super) fn kept(state: &State, value: &Value, nesting: usize) -> Result<Value, Error> {
    let plain = match value.kind() {
        // A slice or a sum of lists is lazy here and a list in Python. A generator has no length and
        // stays one.
        ValueKind::Iterable if value.len().is_some() => {
            let mut items = Vec::new();
            for item in value.try_iter()?.checked() {
                state.consume_fuel(1)?;
                items.push(item?);
            }
            Value::from(items)
        }
        ValueKind::Seq | ValueKind::Map => value.clone(),
        _ => return Ok(value.clone()),
    };
    let mut left = LOOKED_AT;
    check(state, &plain, nesting.saturating_mul(2), &mut left)?;
    Ok(plain)
}

fn check(state: &State, value: &Value, nesting: usize, left: &mut usize) -> Result<(), Error> {
    let Some(object) = value.as_object() else {
        return Ok(());
    };
    if object.type_name().ends_with("::Namespace") {
        return Err(invalid(
            "a namespace cannot be kept in a namespace, where it may come to hold itself",
        ));
    }
    if !matches!(object.repr(), ObjectRepr::Seq | ObjectRepr::Map) {
        return Ok(());
    }
    let Some(nesting) = nesting.checked_sub(1) else {
        return Err(invalid(
            "a namespace is to keep a value that is nested too deeply",
        ));
    };
    for (_, item) in object.try_iter_pairs().into_iter().flatten() {
        let Some(rest) = left.checked_sub(1) else {
            return Ok(());
        };
        *left = rest;
        state.consume_fuel(1)?;
        check(state, &item, nesting, left)?;
    }
    Ok(())
}
