//! Every type that is read, as its JSON.

use super::*;
use arrow_array::types::Int32Type;
use arrow_array::*;
use arrow_buffer::OffsetBuffer;
use arrow_schema::Schema;

/// The lines of one column in each of the formats; all say the same.
fn column(field: Field, array: ArrayRef) -> Vec<String> {
    let schema = Arc::new(Schema::new(vec![field]));
    let batch = RecordBatch::try_new(schema, vec![array]).unwrap();
    let [parquet, file, stream] =
        ALL.map(|codec| lines(codec, &write(codec, std::slice::from_ref(&batch))));
    assert_eq!(file, stream);
    assert_eq!(parquet, file);
    file
}

fn values(array: impl Array + 'static) -> Vec<String> {
    let field = Field::new("v", array.data_type().clone(), true);
    let lines = column(field, Arc::new(array)).into_iter();
    lines
        .map(|line| match line.as_str() {
            "{}" => "absent".to_owned(),
            line => line["{\"v\":".len()..line.len() - 1].to_owned(),
        })
        .collect()
}

#[test]
fn scalars() {
    assert_eq!(
        values(BooleanArray::from(vec![Some(true), None, Some(false)])),
        ["true", "absent", "false"]
    );
    assert_eq!(values(Int8Array::from(vec![-128, 127])), ["-128", "127"]);
    assert_eq!(values(UInt16Array::from(vec![0, 65535])), ["0", "65535"]);
    assert_eq!(
        values(Int64Array::from(vec![i64::MIN, i64::MAX])),
        ["-9223372036854775808", "9223372036854775807"]
    );
    assert_eq!(
        values(UInt64Array::from(vec![u64::MAX])),
        ["18446744073709551615"]
    );
    // Python reads a float of 32 bits as the nearest of 64, all digits.
    assert_eq!(
        values(Float32Array::from(vec![0.1, 1.0])),
        ["0.10000000149011612", "1.0"]
    );
    assert_eq!(
        values(Float64Array::from(vec![
            0.1,
            1e300,
            f64::NAN,
            f64::NEG_INFINITY
        ])),
        ["0.1", "1e300", "NaN", "-Infinity"]
    );
    let texts = ["a", "\"\\\n\u{1}", "grüße 日本"];
    let quoted = ["\"a\"", "\"\\\"\\\\\\n\\u0001\"", "\"grüße 日本\""];
    assert_eq!(values(StringArray::from(texts.to_vec())), quoted);
    assert_eq!(values(LargeStringArray::from(texts.to_vec())), quoted);
    assert_eq!(values(StringViewArray::from(texts.to_vec())), quoted);
    assert_eq!(values(NullArray::new(2)), ["absent", "absent"]);
}

#[test]
fn times() {
    assert_eq!(
        values(TimestampMillisecondArray::from(vec![1_500])),
        ["\"1970-01-01T00:00:01.500000\""]
    );
    assert_eq!(
        values(TimestampMicrosecondArray::from(vec![0]).with_timezone("Europe/Berlin")),
        ["\"1970-01-01T00:00:00+00:00\""]
    );
    assert_eq!(values(Date32Array::from(vec![20_781])), ["\"2026-11-24\""]);
    assert_eq!(
        values(Time64MicrosecondArray::from(vec![45_000_000_000])),
        ["\"12:30:00\""]
    );
}

#[test]
fn lists_keep_their_nulls_and_structs_drop_them() {
    let ints = [Some(vec![Some(1), None]), None, Some(vec![])];
    let expected = ["[1,null]", "absent", "[]"];
    assert_eq!(
        values(ListArray::from_iter_primitive::<Int32Type, _, _>(
            ints.clone()
        )),
        expected
    );
    assert_eq!(
        values(LargeListArray::from_iter_primitive::<Int32Type, _, _>(ints)),
        expected
    );
    let pairs = FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(
        [Some(vec![Some(1), Some(2)]), Some(vec![None, Some(4)])],
        2,
    );
    assert_eq!(values(pairs), ["[1,2]", "[null,4]"]);
    let inner = StructArray::from(vec![(
        Arc::new(Field::new("b", DataType::Utf8, true)),
        Arc::new(StringArray::from(vec![Some("x"), None])) as ArrayRef,
    )]);
    let outer = StructArray::from(vec![
        (
            Arc::new(Field::new("a", DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![None, Some(2)])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("s", inner.data_type().clone(), true)),
            Arc::new(inner) as ArrayRef,
        ),
    ]);
    assert_eq!(
        values(outer),
        ["{\"s\":{\"b\":\"x\"}}", "{\"a\":2,\"s\":{}}"]
    );
}

#[test]
fn a_map_of_strings_is_an_object() {
    let mut map = builder::MapBuilder::new(
        None,
        builder::StringBuilder::new(),
        builder::Int32Builder::new(),
    );
    map.keys().append_value("a");
    map.values().append_value(1);
    map.keys().append_value("b \"");
    map.values().append_null();
    map.append(true).unwrap();
    map.append(false).unwrap();
    assert_eq!(
        values(map.finish()),
        ["{\"a\":1,\"b \\\"\":null}", "absent"]
    );
}

#[test]
fn strings_of_type_json_stand_for_what_they_hold() {
    let field = Field::new("messages", DataType::Utf8, true).with_metadata([
        ("ARROW:extension:name", "arrow.json"),
        ("ARROW:extension:metadata", ""),
    ]);
    let texts = StringArray::from(vec![
        Some("{\"a\": [1, null],\n \"b\": {}}"),
        None,
        Some("1,2"),
        Some("\"text\""),
    ]);
    assert_eq!(
        column(field.clone(), Arc::new(texts)),
        [
            "{\"messages\":{\"a\": [1, null],  \"b\": {}}}",
            "{}",
            // No JSON: the row parser refuses this one record.
            "{\"messages\":not one JSON value: \"1,2\"}",
            "{\"messages\":\"text\"}",
        ]
    );
    let items = StringArray::from(vec!["{\"role\":\"user\"}", "3"]);
    let item = Arc::new(field.with_name("item"));
    let list = ListArray::new(
        item,
        OffsetBuffer::new(vec![0, 2].into()),
        Arc::new(items),
        None,
    );
    let field = Field::new("messages", list.data_type().clone(), true);
    assert_eq!(
        column(field, Arc::new(list)),
        ["{\"messages\":[{\"role\":\"user\"},3]}"]
    );
}

#[test]
fn a_row_of_more_text_than_its_bytes_can_be_is_given_up() {
    // 2^30 nulls in a list take no bytes in a record batch, and would be 5 GiB of text.
    let many = 1 << 30;
    let list = ListArray::new(
        Arc::new(Field::new("item", DataType::Null, true)),
        OffsetBuffer::new(vec![0, many, many].into()),
        Arc::new(NullArray::new(many as usize)),
        None,
    );
    let field = Field::new("v", list.data_type().clone(), true);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(list)]);
    let stored = write(Codec::ArrowStream, &[batch.unwrap()]);
    let table = list_of(&stored);
    let read = read(&table, &stored, 0..1);
    assert_eq!(read.len(), 1);
    let error = read[0].1.as_ref().unwrap_err();
    assert!(error.contains("times its stored bytes"), "{error}");
}

fn list_of(stored: &[u8]) -> Arc<BlockTable> {
    super::list(Codec::ArrowStream, stored).unwrap()
}
