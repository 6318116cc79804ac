//! Some fields of a row as they are, whatever shape it has.

use super::entries::Entries;
use super::json::{self, Type};
use super::utf8;
use super::value::value;
use crate::error::Result;
use minijinja::Value;
use std::collections::BTreeSet;

/// The fields of these names, and those names that the record does not have. Under the name `whole`, where it is asked
/// for and no field, stands the record itself. All of it is checked to be JSON that
/// nests at most `nesting` levels deep.
pub(in crate::render) fn pick<'n>(
    line: &[u8],
    names: &'n BTreeSet<String>,
    whole: &str,
    nesting: u32,
) -> Result<(Value, Vec<&'n str>)> {
    let all = names.contains(whole);
    let mut picked = json::whole(utf8(line)?, nesting, |cursor| {
        cursor.expect(Type::Object)?;
        if all {
            return Entries::read(cursor);
        }
        let mut picked = Entries::default();
        cursor.object(|cursor, key| {
            if names.contains(key.as_ref()) {
                picked.set(&key, value(cursor)?);
                return Ok(());
            }
            cursor.skip()
        })?;
        Ok(picked)
    })?;
    let has = |name: &str| picked.get(name).is_some();
    let missing: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| !has(name) && *name != whole)
        .collect();
    if all && picked.get(whole).is_none() {
        let fields: Vec<(String, Value)> = picked.into_pairs();
        let record = Value::from_pairs(fields.iter().cloned());
        picked = Entries::default();
        picked.set(whole, record);
        for (name, value) in fields {
            if names.contains(&name) {
                picked.set(&name, value);
            }
        }
    }
    Ok((picked.into_value(), missing))
}
