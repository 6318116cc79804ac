//! Single fields of a row.

use super::fault::{Fault, Result};
use super::json::{Cursor, Type};
use std::borrow::Cow;

/// Takes a string.
pub(super) fn text<'a>(cursor: &mut Cursor<'a>, field: &str) -> Result<Cow<'a, str>> {
    let text = cursor.string();
    text.map_err(|fault| fault.within(field).or_remedy("write it as a string"))
}

/// Takes a string or null; an empty one is none.
pub(super) fn optional_text<'a>(
    cursor: &mut Cursor<'a>,
    field: &str,
) -> Result<Option<Cow<'a, str>>> {
    if cursor.peek()? == Type::Null {
        return cursor.null().map(|()| None);
    }
    Ok(Some(text(cursor, field)?).filter(|text| !text.is_empty()))
}

/// A field that the source's shape needs is not there.
pub(super) fn missing(field: &str) -> Fault {
    Fault::row(format!("has no `{field}`"))
        .remedy("the source's first record has it; name another field in sources[].fields or split the source")
}
