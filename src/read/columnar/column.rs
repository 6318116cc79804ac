//! One column of a batch, and its values as JSON.

use super::schema::is_json;
use super::{corrupt, quote, time};
use crate::read::decode::Fault;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, LargeStringArray, PrimitiveArray, StringArray, StringViewArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use std::fmt::Display;
use std::io::Write as _;
use std::ops::Range;

/// Where lines go, and how long one may get.
pub(super) struct Line<'a> {
    pub(super) out: &'a mut Vec<u8>,
    /// Length of `out` from which on nothing of the line matters any more: it is too long to be a record.
    pub(super) most: usize,
}

impl Line<'_> {
    /// Lists of a million nulls take no bytes in a column, and would take for ever here.
    fn is_too_long(&self) -> bool {
        self.out.len() > self.most
    }

    /// Writes a text as a string; of one that is too long by itself, as many bytes as show it.
    fn string(&mut self, text: &str) {
        let room = self.most.saturating_sub(self.out.len());
        match text.len() > room {
            true => self.out.resize(self.out.len() + room + 1, b' '),
            false => quote::string(text, self.out),
        }
    }

    /// Writes what is no JSON: the row parser refuses this record, and shows it.
    fn refuse(&mut self, what: &str) {
        self.out.extend_from_slice(what.as_bytes());
    }
}

/// An array behind a form that can be written value by value.
pub(super) struct Column {
    nulls: Option<NullBuffer>,
    values: Values,
}

enum Values {
    Null,
    Bool(BooleanArray),
    Int(Ints),
    Float(Floats),
    Time(Box<dyn Fn(usize) -> Option<String> + Send>),
    Text {
        strings: Strings,
        json: bool,
    },
    Struct(Vec<Named>),
    List {
        ends: Ends,
        items: Box<Column>,
    },
    Map {
        ends: Ends,
        keys: Strings,
        values: Box<Column>,
    },
    Dictionary {
        keys: Vec<usize>,
        values: Box<Column>,
    },
}

/// A struct's column, and what stands before its values: the quoted name and a colon.
pub(super) struct Named {
    name: Vec<u8>,
    column: Column,
}

enum Ints {
    I8(ScalarBuffer<i8>),
    I16(ScalarBuffer<i16>),
    I32(ScalarBuffer<i32>),
    I64(ScalarBuffer<i64>),
    U8(ScalarBuffer<u8>),
    U16(ScalarBuffer<u16>),
    U32(ScalarBuffer<u32>),
    U64(ScalarBuffer<u64>),
}

enum Floats {
    F16(PrimitiveArray<Float16Type>),
    F32(ScalarBuffer<f32>),
    F64(ScalarBuffer<f64>),
}

enum Strings {
    Short(StringArray),
    Long(LargeStringArray),
    View(StringViewArray),
}

/// Where the items of each list lie.
enum Ends {
    Short(OffsetBuffer<i32>),
    Long(OffsetBuffer<i64>),
    Every(usize),
}

impl Column {
    /// The column of an array that has the field's type.
    pub(super) fn of(array: &ArrayRef, field: &Field) -> Result<Column, Fault> {
        let array = array.as_ref();
        let values = match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Bool(array.as_boolean().clone()),
            DataType::Int8 => {
                Values::Int(Ints::I8(array.as_primitive::<Int8Type>().values().clone()))
            }
            DataType::Int16 => Values::Int(Ints::I16(
                array.as_primitive::<Int16Type>().values().clone(),
            )),
            DataType::Int32 => Values::Int(Ints::I32(
                array.as_primitive::<Int32Type>().values().clone(),
            )),
            DataType::Int64 => Values::Int(Ints::I64(
                array.as_primitive::<Int64Type>().values().clone(),
            )),
            DataType::UInt8 => {
                Values::Int(Ints::U8(array.as_primitive::<UInt8Type>().values().clone()))
            }
            DataType::UInt16 => Values::Int(Ints::U16(
                array.as_primitive::<UInt16Type>().values().clone(),
            )),
            DataType::UInt32 => Values::Int(Ints::U32(
                array.as_primitive::<UInt32Type>().values().clone(),
            )),
            DataType::UInt64 => Values::Int(Ints::U64(
                array.as_primitive::<UInt64Type>().values().clone(),
            )),
            DataType::Float16 => Values::Float(Floats::F16(array.as_primitive().clone())),
            DataType::Float32 => Values::Float(Floats::F32(
                array.as_primitive::<Float32Type>().values().clone(),
            )),
            DataType::Float64 => Values::Float(Floats::F64(
                array.as_primitive::<Float64Type>().values().clone(),
            )),
            DataType::Utf8 => text(Strings::Short(array.as_string().clone()), field),
            DataType::LargeUtf8 => text(Strings::Long(array.as_string().clone()), field),
            DataType::Utf8View => text(Strings::View(array.as_string_view().clone()), field),
            DataType::Struct(fields) => {
                let columns = array.as_struct().columns();
                let named = fields.iter().zip(columns);
                Values::Struct(
                    named
                        .map(|(f, c)| Named::of(c, f))
                        .collect::<Result<_, _>>()?,
                )
            }
            DataType::List(item) => {
                let list = array.as_list::<i32>();
                list_of(Ends::Short(list.offsets().clone()), list.values(), item)?
            }
            DataType::LargeList(item) => {
                let list = array.as_list::<i64>();
                list_of(Ends::Long(list.offsets().clone()), list.values(), item)?
            }
            DataType::FixedSizeList(item, len) => {
                let list = array.as_fixed_size_list();
                let len = usize::try_from(*len).map_err(|_| corrupt("a list has no length"))?;
                list_of(Ends::Every(len), list.values(), item)?
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let DataType::Struct(pair) = map.entries().data_type() else {
                    return Err(unexpected(array.data_type()));
                };
                let value = pair.get(1).ok_or_else(|| unexpected(array.data_type()))?;
                Values::Map {
                    ends: Ends::Short(map.offsets().clone()),
                    keys: strings(map.keys())?,
                    values: Box::new(Column::of(map.values(), value)?),
                }
            }
            DataType::Dictionary(_, of) => {
                let dictionary = array.as_any_dictionary();
                let values = dictionary.values();
                let item = field.clone().with_data_type(of.as_ref().clone());
                Values::Dictionary {
                    // A dictionary without values has no key that counts.
                    keys: match values.is_empty() {
                        true => Vec::new(),
                        false => dictionary.normalized_keys(),
                    },
                    values: Box::new(Column::of(values, &item)?),
                }
            }
            _ => Values::Time(times(array)?),
        };
        Ok(Column {
            nulls: array.logical_nulls(),
            values,
        })
    }

    fn is_null(&self, at: usize) -> bool {
        let null = self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(at));
        null || matches!(self.values, Values::Null)
    }

    /// Writes a value; `at` is within the array.
    fn write(&self, at: usize, line: &mut Line<'_>) -> Result<(), Fault> {
        if self.is_null(at) {
            line.out.extend(b"null");
            return Ok(());
        }
        match &self.values {
            Values::Null => line.out.extend(b"null"),
            Values::Bool(array) => {
                let text: &[u8] = if array.value(at) { b"true" } else { b"false" };
                line.out.extend(text);
            }
            Values::Int(ints) => ints.write(at, line.out),
            Values::Float(floats) => write_float(floats.value(at), line.out),
            Values::Time(text) => match text(at) {
                Some(text) => quote::string(&text, line.out),
                None => line.refuse("a time beyond the calendar"),
            },
            Values::Text {
                strings,
                json: false,
            } => line.string(strings.value(at)),
            Values::Text {
                strings,
                json: true,
            } => {
                let text = strings.value(at);
                if text.len() > line.most {
                    line.string(text);
                } else if !quote::value(text, line.out) {
                    line.refuse("not one JSON value: ");
                    line.string(text);
                }
            }
            Values::Struct(fields) => write_struct(fields, at, line)?,
            Values::List { ends, items } => {
                line.out.push(b'[');
                for (n, item) in ends.list(at)?.enumerate() {
                    if n > 0 {
                        line.out.push(b',');
                    }
                    items.write(item, line)?;
                    if line.is_too_long() {
                        break;
                    }
                }
                line.out.push(b']');
            }
            Values::Map { ends, keys, values } => {
                line.out.push(b'{');
                for (n, item) in ends.list(at)?.enumerate() {
                    if n > 0 {
                        line.out.push(b',');
                    }
                    line.string(keys.value(item));
                    line.out.push(b':');
                    values.write(item, line)?;
                    if line.is_too_long() {
                        break;
                    }
                }
                line.out.push(b'}');
            }
            Values::Dictionary { keys, values } => match keys.get(at) {
                Some(key) => values.write(*key, line)?,
                None => line.out.extend(b"null"),
            },
        }
        Ok(())
    }
}

impl Named {
    pub(super) fn of(array: &ArrayRef, field: &FieldRef) -> Result<Named, Fault> {
        let mut name = Vec::new();
        quote::string(field.name(), &mut name);
        name.push(b':');
        let column = Column::of(array, field)?;
        Ok(Named { name, column })
    }
}

/// Writes an object without its nulls: where some rows have a key, Arrow's types give it to all of them. What a row has
/// no value for, the JSON it was made of did not name, as a rule, and a message with a null means one without it.
pub(super) fn write_struct(fields: &[Named], at: usize, line: &mut Line<'_>) -> Result<(), Fault> {
    line.out.push(b'{');
    let mut first = true;
    for Named { name, column } in fields {
        if column.is_null(at) || line.is_too_long() {
            continue;
        }
        if !first {
            line.out.push(b',');
        }
        first = false;
        line.out.extend_from_slice(name);
        column.write(at, line)?;
    }
    line.out.push(b'}');
    Ok(())
}

fn unexpected(data_type: &DataType) -> Fault {
    corrupt(format!("a column has the type {data_type}"))
}

fn text(strings: Strings, field: &Field) -> Values {
    let json = is_json(field);
    Values::Text { strings, json }
}

fn strings(array: &ArrayRef) -> Result<Strings, Fault> {
    match array.data_type() {
        DataType::Utf8 => Ok(Strings::Short(array.as_string().clone())),
        DataType::LargeUtf8 => Ok(Strings::Long(array.as_string().clone())),
        DataType::Utf8View => Ok(Strings::View(array.as_string_view().clone())),
        other => Err(unexpected(other)),
    }
}

fn list_of(ends: Ends, items: &ArrayRef, item: &FieldRef) -> Result<Values, Fault> {
    let items = Box::new(Column::of(items, item)?);
    Ok(Values::List { ends, items })
}

fn times(array: &dyn Array) -> Result<Box<dyn Fn(usize) -> Option<String> + Send>, Fault> {
    macro_rules! of {
        ($array:expr, $value:ident => $text:expr) => {{
            let values = $array.values().clone();
            Box::new(move |at: usize| {
                let $value = i64::from(*values.get(at)?);
                $text
            })
        }};
    }
    Ok(match array.data_type() {
        DataType::Timestamp(unit, zone) => {
            let (unit, zoned) = (*unit, zone.is_some());
            let any = array.as_any();
            macro_rules! stamps {
                ($type:ty) => {{
                    let array = any.downcast_ref::<$type>();
                    let array = array.ok_or_else(|| corrupt("a time is of another type"))?;
                    of!(array, value => time::timestamp(value, unit, zoned))
                }};
            }
            match unit {
                TimeUnit::Second => stamps!(TimestampSecondArray),
                TimeUnit::Millisecond => stamps!(TimestampMillisecondArray),
                TimeUnit::Microsecond => stamps!(TimestampMicrosecondArray),
                TimeUnit::Nanosecond => stamps!(TimestampNanosecondArray),
            }
        }
        DataType::Date32 => of!(array.as_primitive::<Date32Type>(), days => time::date(days)),
        DataType::Date64 => of!(array.as_primitive::<Date64Type>(), ms => time::date_of_ms(ms)),
        DataType::Time32(TimeUnit::Second) => {
            of!(array.as_primitive::<Time32SecondType>(), value => time::time(value, TimeUnit::Second))
        }
        DataType::Time32(TimeUnit::Millisecond) => {
            of!(array.as_primitive::<Time32MillisecondType>(), value => time::time(value, TimeUnit::Millisecond))
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            of!(array.as_primitive::<Time64MicrosecondType>(), value => time::time(value, TimeUnit::Microsecond))
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            of!(array.as_primitive::<Time64NanosecondType>(), value => time::time(value, TimeUnit::Nanosecond))
        }
        other => return Err(unexpected(other)),
    })
}

impl Ints {
    fn write(&self, at: usize, out: &mut Vec<u8>) {
        fn put(int: Option<&impl Display>, out: &mut Vec<u8>) {
            if let Some(int) = int {
                // Writing to a vector does not fail.
                let _ = write!(out, "{int}");
            }
        }
        match self {
            Ints::I8(ints) => put(ints.get(at), out),
            Ints::I16(ints) => put(ints.get(at), out),
            Ints::I32(ints) => put(ints.get(at), out),
            Ints::I64(ints) => put(ints.get(at), out),
            Ints::U8(ints) => put(ints.get(at), out),
            Ints::U16(ints) => put(ints.get(at), out),
            Ints::U32(ints) => put(ints.get(at), out),
            Ints::U64(ints) => put(ints.get(at), out),
        }
    }
}

impl Floats {
    fn value(&self, at: usize) -> f64 {
        match self {
            Floats::F16(array) => array.value(at).to_f64(),
            Floats::F32(values) => values.get(at).copied().map_or(f64::NAN, f64::from),
            Floats::F64(values) => values.get(at).copied().unwrap_or(f64::NAN),
        }
    }
}

/// Writes the shortest digits that read back as the same number, and what is none as Python's `json` does.
fn write_float(float: f64, out: &mut Vec<u8>) {
    let special: &[u8] = match float {
        nan if nan.is_nan() => b"NaN",
        f64::INFINITY => b"Infinity",
        f64::NEG_INFINITY => b"-Infinity",
        finite => {
            let _ = write!(out, "{finite:?}");
            return;
        }
    };
    out.extend(special);
}

impl Strings {
    fn value(&self, at: usize) -> &str {
        match self {
            Strings::Short(array) => array.value(at),
            Strings::Long(array) => array.value(at),
            Strings::View(array) => array.value(at),
        }
    }
}

impl Ends {
    /// The items of a list.
    fn list(&self, at: usize) -> Result<Range<usize>, Fault> {
        let list = match self {
            Ends::Short(ends) => between(ends, at),
            Ends::Long(ends) => between(ends, at),
            Ends::Every(len) => at
                .checked_mul(*len)
                .and_then(|start| Some(start..start.checked_add(*len)?)),
        };
        list.ok_or_else(|| corrupt("a list lies outside of its items"))
    }
}

fn between<T: Copy>(ends: &[T], at: usize) -> Option<Range<usize>>
where
    usize: TryFrom<T>,
{
    let end = |at| usize::try_from(*ends.get(at)?).ok();
    Some(end(at)?..end(at.checked_add(1)?)?)
}
