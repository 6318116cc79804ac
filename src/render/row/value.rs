//! JSON to the values that templates see: types, key order and number text exactly as Python has them.

use super::entries::Entries;
use super::fault::{Fault, Result};
use super::json::{Cursor, Number, Type};
use crate::render::number::BigInt;
use minijinja::Value;

/// Takes one value of any type.
pub(super) fn value(cursor: &mut Cursor<'_>) -> Result<Value> {
    Ok(match cursor.peek()? {
        Type::Null => cursor.null().map(Value::from)?,
        Type::Bool => cursor.bool().map(Value::from)?,
        Type::Number => number(cursor.number()?),
        Type::String => cursor.quoted().map(Value::from)?,
        Type::Array => {
            let mut items = Vec::new();
            cursor.array(|cursor| {
                items.push(value(cursor)?);
                Ok(())
            })?;
            Value::from(items)
        }
        Type::Object => Entries::read(cursor)?.into_value(),
    })
}

/// Takes a list whose elements are all objects.
pub(super) fn objects(cursor: &mut Cursor<'_>, element: &str) -> Result<Value> {
    cursor.expect(Type::Array)?;
    let mut items: Vec<Value> = Vec::new();
    cursor.array(|cursor| {
        let index = items.len();
        let found = cursor.peek()?;
        if found != Type::Object {
            let clause = format!("is {}; {element} is an object", found.name());
            return Err(Fault::row(clause).within(format_args!("[{index}]")));
        }
        items.push(value(cursor)?);
        Ok(())
    })?;
    Ok(Value::from(items))
}

fn number(number: Number<'_>) -> Value {
    match number {
        Number::Int(int) => Value::from(int),
        Number::Float(float) => Value::from(float),
        Number::BigInt(text) => match text.parse::<i128>() {
            Ok(int) => match i64::try_from(int) {
                Ok(int) => Value::from(int),
                Err(_) => Value::from(int),
            },
            Err(_) => Value::from_object(BigInt(text.to_owned())),
        },
    }
}
