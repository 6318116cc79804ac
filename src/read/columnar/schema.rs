//! Which types of columns have a form in JSON, and how they are asked for.

use super::MAX_DEPTH;
use crate::error::{Error, Kind, Result, Stage};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema};
use std::sync::Arc;

/// The extension type of strings that hold JSON, as `datasets` writes what has no one type.
const JSON: &str = "arrow.json";

/// Whether a field's strings hold JSON.
pub(super) fn is_json(field: &Field) -> bool {
    field.extension_type_name() == Some(JSON)
}

/// Refuses columns that no row could be made of.
pub(super) fn check(schema: &Schema) -> Result<()> {
    if schema.fields().is_empty() {
        let message = "has no columns";
        return Err(Error::new(Kind::Recipe, Stage::Read, message)
            .remedy("write rows with messages, prompt and completion, text or input_ids"));
    }
    check_fields(schema.fields(), "", 0)
}

fn check_fields(fields: &Fields, path: &str, depth: usize) -> Result<()> {
    fields.iter().try_for_each(|field| {
        let path = match path {
            "" => field.name().clone(),
            path => format!("{path}.{}", field.name()),
        };
        check_type(field.data_type(), &path, depth)
    })
}

fn check_type(data_type: &DataType, path: &str, depth: usize) -> Result<()> {
    if depth >= MAX_DEPTH {
        return refused(path, "nests too deeply", "write it less nested");
    }
    let below = |field: &FieldRef| check_type(field.data_type(), path, depth + 1);
    match data_type {
        DataType::Null
        | DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Timestamp(..)
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View => Ok(()),
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            below(field)
        }
        DataType::Struct(fields) => check_fields(fields, path, depth + 1),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => match pair.as_ref() {
                [key, _] if is_text(key.data_type()) => check_fields(pair, path, depth + 1),
                _ => refused(
                    path,
                    "is a map whose keys are no strings",
                    "write it as a list",
                ),
            },
            _ => refused(path, "is a map without entries", "write it as a list"),
        },
        DataType::Dictionary(_, values) => match values.as_ref() {
            DataType::Dictionary(..) => refused(
                path,
                "is a dictionary of dictionaries",
                "write it as strings",
            ),
            values => check_type(values, path, depth + 1),
        },
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => refused(
            path,
            "is binary, which JSON has no form for",
            "leave the column out, or write it as a string",
        ),
        other => {
            let clause = format!("is of type {other}, which is not read");
            refused(
                path,
                &clause,
                "leave the column out, or write it as a string",
            )
        }
    }
}

fn refused(path: &str, clause: &str, remedy: &str) -> Result<()> {
    let message = format!("the column {path} {clause}");
    Err(Error::new(Kind::Recipe, Stage::Read, message).remedy(remedy))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// The same with strings as views: the thousandth row with the same long text is then 16 bytes more, and not the
/// text again.
pub(super) fn with_views(schema: &Schema) -> Schema {
    Schema::new_with_metadata(views_of(schema.fields()), schema.metadata().clone())
}

fn views_of(fields: &Fields) -> Fields {
    fields.iter().map(view_of).collect()
}

fn view_of(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Struct(fields) => DataType::Struct(views_of(fields)),
        DataType::List(field) => DataType::List(view_of(field)),
        DataType::LargeList(field) => DataType::LargeList(view_of(field)),
        DataType::FixedSizeList(field, len) => DataType::FixedSizeList(view_of(field), *len),
        DataType::Map(field, sorted) => DataType::Map(view_of(field), *sorted),
        _ => return Arc::clone(field),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}
