//! The cursor against serde_json, and where the two must differ.

use super::super::json::{Cursor, MAX_INT_DIGITS, plain_run, whole};
use super::super::value::value;
use super::*;
use proptest::prelude::*;

/// The default of `limits.nesting`.
const NESTING: u32 = 128;

fn parse(text: &str) -> Result<Value> {
    Ok(whole(text, NESTING, value)?)
}

fn skip(text: &str) -> Result<()> {
    Ok(whole(text, NESTING, Cursor::skip)?)
}

#[track_caller]
fn assert_reads(text: &str, expected: &str) {
    assert_eq!(dump(&parse(text).unwrap()), expected);
    skip(text).unwrap();
}

/// The same dump of serde_json's tree.
fn dump_serde(value: &serde_json::Value) -> String {
    dump_serde_by(value, |float| format!("{float:?}"))
}

fn dump_serde_by(value: &serde_json::Value, float: fn(f64) -> String) -> String {
    use serde_json::Value as Json;
    match value {
        Json::Number(number) if number.is_f64() => float(number.as_f64().unwrap()),
        Json::Array(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| dump_serde_by(item, float))
                .collect();
            format!("[{}]", items.join(","))
        }
        Json::Object(pairs) => {
            let pairs = pairs.iter().map(|(key, item)| {
                format!(
                    "{}:{}",
                    Json::from(key.as_str()),
                    dump_serde_by(item, float)
                )
            });
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
        }
        scalar => scalar.to_string(),
    }
}

#[test]
fn integers_keep_their_digits_at_any_size() {
    for text in [
        "0",
        "-1",
        "999999999999999999",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "170141183460469231731687303715884105727",
        "-170141183460469231731687303715884105728",
        "170141183460469231731687303715884105728",
        "123456789012345678901234567890123456789012345678901234567890",
    ] {
        assert_reads(text, text);
    }
    assert_reads("-0", "0");
}

#[test]
fn integers_longer_than_pythons_limit_are_refused() {
    let fits = "7".repeat(MAX_INT_DIGITS);
    assert_reads(&fits, &fits);
    let (kind, sentence) = refused(parse(&format!("[{fits}7]")));
    assert_eq!(kind, Kind::Limit);
    assert!(sentence.contains("4301 digits at byte 1"), "{sentence}");
}

#[test]
fn floats_stay_floats() {
    for (text, expected) in [
        ("1.0", "1.0"),
        ("-0.0", "-0.0"),
        ("1e5", "100000.0"),
        ("1E+2", "100.0"),
        ("1e-7", "1e-7"),
        ("0.1", "0.1"),
        ("1e999", "inf"),
        ("NaN", "NaN"),
        ("-Infinity", "-inf"),
        ("[Infinity]", "[inf]"),
    ] {
        assert_reads(text, expected);
    }
}

#[test]
fn what_is_no_number_is_refused() {
    for text in [
        "01", "-", "+1", ".5", "1.", "1.e3", "1e", "1e+", "--1", "-Inf", "Nan", "Infinit", "0x1",
        "1_000", "-01", "00",
    ] {
        assert_eq!(refused(parse(text)).0, Kind::Corrupt, "{text}");
        assert_eq!(refused(skip(text)).0, Kind::Corrupt, "{text}");
    }
}

#[test]
fn escapes_and_surrogate_pairs_are_decoded() {
    assert_eq!(
        parse(r#""a\"\\\/\b\f\n\r\t\u00e9\u4F60\ud83d\ude00z""#)
            .unwrap()
            .as_str(),
        Some("a\"\\/\u{8}\u{c}\n\r\té你😀z")
    );
    assert_eq!(parse("\"\u{7f}é😀\"").unwrap().as_str(), Some("\u{7f}é😀"));
}

#[test]
fn half_a_surrogate_pair_is_refused_where_it_is_asked_for() {
    for text in [
        r#""\ud83d""#,
        r#""\ude00""#,
        r#""\ud83d\u0041""#,
        r#""\ude00\ud83d""#,
        r#""\ud83dx""#,
        r#""\ud83d\ud83d\ude00""#,
    ] {
        let (kind, sentence) = refused(parse(text));
        assert_eq!(kind, Kind::Corrupt);
        assert!(sentence.contains("surrogate pair at byte 1"), "{sentence}");
        skip(text).unwrap();
    }
}

#[test]
fn broken_strings_are_refused() {
    for (text, place) in [
        (r#""abc"#, "at its end, byte 4"),
        ("\"a\nb\"", "at byte 2"),
        ("\"a\u{0}\"", "at byte 2"),
        (r#""\x41""#, "at byte 1"),
        (r#""\u12g4""#, "at byte 3"),
        (r#""\u12"#, "at byte 3"),
        ("\"\\", "at byte 1"),
    ] {
        for (kind, sentence) in [refused(parse(text)), refused(skip(text))] {
            assert_eq!(kind, Kind::Corrupt);
            assert!(sentence.contains(place), "{text}: {sentence}");
        }
    }
}

#[test]
fn broken_structure_is_refused_with_its_byte() {
    for (text, place) in [
        ("", "in an empty text"),
        ("  ", "at its end, byte 2"),
        ("[1,]", "at byte 3"),
        ("[1 2]", "at byte 3"),
        ("{,}", "at byte 1"),
        (r#"{"a":1,}"#, "at byte 7"),
        (r#"{"a" 1}"#, "at byte 5"),
        (r#"{a: 1}"#, "at byte 1"),
        (r#"{"a": 1"#, "at its end, byte 7"),
        ("{} {}", "at byte 3"),
        ("nul", "at byte 0"),
        ("truth", "at byte 0"),
        ("\u{a0}1", "at byte 0"),
        ("{\"a\": 1}\u{0}", "at byte 8"),
    ] {
        for (kind, sentence) in [refused(parse(text)), refused(skip(text))] {
            assert_eq!(kind, Kind::Corrupt);
            assert!(sentence.contains(place), "{text}: {sentence}");
        }
    }
}

#[test]
fn nesting_ends_at_the_cap_and_not_at_the_stack() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    parse(&nested(NESTING as usize)).unwrap();
    for depth in [NESTING as usize + 1, 1_000_000] {
        let objects = r#"{"a":"#.repeat(depth);
        for text in [nested(depth), objects] {
            assert_eq!(refused(parse(&text)).0, Kind::Limit);
            let (kind, sentence) = refused(skip(&text));
            assert_eq!(kind, Kind::Limit);
            assert!(sentence.contains("128 levels"), "{sentence}");
        }
    }
    // Width is no depth.
    parse(&format!("[{}[]]", "[[]],".repeat(1000))).unwrap();
}

#[test]
fn a_key_that_comes_twice_has_its_first_place_and_its_last_value() {
    assert_reads(r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#);
    let distinct: Vec<String> = (0..40).map(|n| format!(r#""k{n}":{n}"#)).collect();
    let text = format!(r#"{{{},"k3":null,"k39":"x"}}"#, distinct.join(","));
    let tree: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_reads(&text, &dump_serde(&tree));
}

#[test]
fn a_list_of_keys_behaves_like_minijinjas_own_map() {
    let ours = parse(r#"{"role": "user", "n": 1, "1": [2]}"#).unwrap();
    let own = Value::from_pairs([
        ("role", Value::from("user")),
        ("n", Value::from(1)),
        ("1", Value::from(vec![2])),
    ]);
    assert_eq!(ours, own);
    assert_eq!(own, ours);
    assert_eq!(ours.len(), Some(3));
    assert_eq!(ours.get_item(&Value::from("n")).unwrap(), Value::from(1));
    assert!(ours.get_item(&Value::from(1)).unwrap().is_undefined());
    assert!(ours.is_true());
    assert!(!parse("{}").unwrap().is_true());
    let environment = minijinja::Environment::new();
    for template in [
        "{{ m }}",
        "{{ m.role }}{{ m['n'] }}{{ m.missing is defined }}{{ 'n' in m }}{{ m is mapping }}",
        "{% for key in m %}{{ key }}{{ loop.last }}{% endfor %}",
        "{% for key, value in m|items %}{{ key }}={{ value }};{% endfor %}",
        "{{ m|list|reverse|join }}{{ m|length }}{{ m|dictsort }}",
    ] {
        let render = |m: &Value| {
            environment
                .render_str(template, minijinja::context! { m })
                .unwrap()
        };
        assert_eq!(render(&ours), render(&own), "{template}");
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value as Json;
    let scalar = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        (-1000_i32..1000).prop_map(Json::from),
        any::<f64>().prop_filter_map("finite", |float| {
            serde_json::Number::from_f64(float).map(Json::from)
        }),
        any::<String>().prop_map(Json::from),
        "[ -~]{0,30}".prop_map(Json::from),
    ];
    scalar.prop_recursive(5, 64, 24, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::vec(("[a-e]{1,2}|.*", inner), 0..24)
                .prop_map(|pairs| Json::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Names of the literals, and numbers that serde_json finds too large, are accepted as Python does.
fn is_python_only(text: &str) -> bool {
    text.contains("NaN") || text.contains("Infinity") || text.contains(['e', 'E'])
}

/// serde_json makes floats of integers outside u64 and of -0.
fn has_odd_integer(text: &str) -> bool {
    text.split(|c: char| !matches!(c, '0'..='9' | '-' | '.'))
        .any(|run| run.len() > 18 || run == "-0")
}

proptest! {
    #[test]
    fn reads_what_serde_json_reads(tree in json()) {
        for text in [tree.to_string(), serde_json::to_string_pretty(&tree).unwrap()] {
            // The tree itself, as serde_json does not read its own floats back to the last bit.
            prop_assert_eq!(dump(&parse(&text).unwrap()), dump_serde(&tree));
            skip(&text).unwrap();
        }
    }

    #[test]
    fn refuses_what_serde_json_refuses(
        tree in json(),
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..3_u8, "[\\[\\]{}:,\"\\\\u0-9aefnrt.eE+ \n\u{1}-]"),
            1..4,
        ),
    ) {
        let mut text: Vec<char> = tree.to_string().chars().collect();
        for (place, edit, insert) in edits {
            let at = place.index(text.len() + 1);
            if edit > 0 && at < text.len() {
                text.remove(at);
            }
            if edit < 2 {
                text.splice(at..at, insert.chars());
            }
        }
        let text: String = text.into_iter().collect();
        match (serde_json::from_str::<serde_json::Value>(&text), parse(&text)) {
            (Ok(tree), Ok(read)) => {
                if !has_odd_integer(&text) {
                    let any_float = |_| "float".to_owned();
                    prop_assert_eq!(dump_by(&read, any_float), dump_serde_by(&tree, any_float));
                }
                prop_assert!(skip(&text).is_ok());
            }
            (Ok(_), Err(error)) => prop_assert!(false, "{text}: {error}"),
            (Err(_), Ok(_)) => prop_assert!(is_python_only(&text), "{text}"),
            (Err(_), Err(error)) => {
                let half = error.to_string().contains("surrogate");
                prop_assert!(half || skip(&text).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn duplicate_keys_as_serde_json(keys in prop::collection::vec("[a-p]{1,2}|[ab]", 0..60)) {
        let pairs = keys.iter().enumerate().map(|(n, key)| format!(r#""{key}": {n}"#));
        let text = format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "));
        let tree: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(dump(&parse(&text).unwrap()), dump_serde(&tree));
    }

    #[test]
    fn plain_runs_end_where_a_walk_byte_by_byte_ends(
        bytes in prop::collection::vec(
            prop_oneof![8 => any::<u8>(), 16 => 0x20..=0xFF_u8, 1 => Just(b'"'), 1 => Just(b'\\')],
            0..40,
        ),
    ) {
        let naive = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\') || *byte < 0x20);
        prop_assert_eq!(plain_run(&bytes), naive.unwrap_or(bytes.len()));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), json in json()) {
        let reader = RowReader::new(&source(), Some("system"));
        let _ = reader.read(&bytes);
        let mut line = format!(r#"{{"messages": {json}, "tools": {json}, "chat_template_kwargs": {json}}}"#);
        let _ = reader.read(line.as_bytes());
        line = format!(r#"{{"messages": [{{"role": {json}, "content": {json}, "weight": {json}}}]}}"#);
        let _ = reader.read(line.as_bytes());
        line = format!(r#"{{"input_ids": {json}, "labels": {json}}}"#);
        let _ = reader.read(line.as_bytes());
    }
}
