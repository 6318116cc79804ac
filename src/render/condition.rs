//! A condition on a row's own fields: an expression of the language that templates speak, compiled once.
//!
//! Stricter than a template: what a row does not have is an error where its value is asked for, and so is an order
//! between values of different types. Either would leave out, or let in, records without a word.

use super::compare;
use super::environment::{TEMPLATE, environment, syntax};
use super::limits::TemplateLimits;
use super::row;
use super::source::{Loops, MAX_TOKENS, prepare};
use crate::error::{Error, Kind, Result, Stage};
use minijinja::machinery::tokenize;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use std::collections::BTreeSet;
use std::fmt;

/// The name of the whole row, for fields whose names are no names in an expression.
const ROW: &str = "row";

/// What one evaluation may use up: a look at each message of a long conversation, many times over. It is stopped
/// within 50 ms.
const LIMITS: TemplateLimits = TemplateLimits {
    fuel: 400_000,
    output_bytes: 1 << 10,
    nesting: 50,
};

/// Most bytes of an expression.
const MOST_BYTES: usize = 64 << 10;

/// A compiled condition.
pub struct Condition {
    text: String,
    environment: Environment<'static>,
    /// What it asks for.
    names: BTreeSet<String>,
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.text).finish()
    }
}

impl Condition {
    /// Compiles an expression, such as `quality > 0.5 and lang == 'en'`.
    ///
    /// # Errors
    /// What is wrong with it, as a clause.
    pub fn compile(text: &str) -> Result<Self, String> {
        if text.len() > MOST_BYTES {
            return Err(format!("it has more than {MOST_BYTES} bytes"));
        }
        let mut tokens = Vec::new();
        for token in tokenize(text, true, syntax()) {
            tokens.push(token.map_err(|error| wrong(&error))?);
            if tokens.len() > MAX_TOKENS {
                return Err(format!("it has more than {MAX_TOKENS} tokens"));
            }
        }
        // By itself first: what is no whole expression could become one in the template around it.
        let alone = Environment::empty();
        alone
            .compile_expression(text)
            .map_err(|error| wrong(&error))?;
        let checked = compare::checked(text, &tokens);
        let source = format!("{{% if ({checked}) %}}1{{% endif %}}");
        let prepared =
            prepare(&source, &LIMITS, Loops::Plain).map_err(|error| error.to_string())?;
        let mut environment = environment(&LIMITS, None);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        compare::add(&mut environment);
        environment
            .add_template_owned(TEMPLATE, prepared.source)
            .map_err(|error| wrong(&error))?;
        let names = environment
            .get_template(TEMPLATE)
            .map_err(|error| wrong(&error))?
            .undeclared_variables(false);
        Ok(Condition {
            text: text.to_owned(),
            names: names.into_iter().collect(),
            environment,
        })
    }

    /// Whether a record fulfils it. Of the record only what the expression names is kept; all of it must be JSON
    /// that nests at most `nesting` levels deep.
    ///
    /// # Errors
    /// As [`RowReader::read`](super::row::RowReader::read) where the record is no JSON object; [`Kind::Row`] naming the
    /// expression where it raises, fails, runs out of fuel, or asks for a value that the row does not have.
    pub fn holds(&self, record: &[u8], nesting: u32) -> Result<bool> {
        let (fields, missing) = row::pick(record, &self.names, ROW, nesting)?;
        let template = self.environment.get_template(TEMPLATE);
        let printed = template.and_then(|template| template.render(fields));
        match printed {
            Ok(text) => Ok(!text.is_empty()),
            Err(error) => Err(self.failed(&error, &missing)),
        }
    }

    fn failed(&self, error: &minijinja::Error, missing: &[&str]) -> Error {
        let (kind, why) = innermost(error);
        let (why, remedy) = match (kind, missing) {
            (ErrorKind::UndefinedError, []) => (
                "it asks for something that the row does not have".to_owned(),
                "say what holds for such rows, as in `meta.score is defined and meta.score > 0.5`",
            ),
            (ErrorKind::UndefinedError, missing) => (
                format!("the row has no `{}`", missing.join("`, no `")),
                "say what holds for such rows, as in `quality | default(0) > 0.5` or `quality is defined and …`",
            ),
            (ErrorKind::OutOfFuel, _) => (
                format!("it used up its fuel of {} units", LIMITS.fuel),
                "make it simpler, or leave out the record with on_bad_record",
            ),
            _ => (
                why,
                "say what holds for such rows, as in `quality is number and quality > 0.5`",
            ),
        };
        let message = format!("filter.where `{}`: {why}", self.text);
        Error::new(Kind::Row, Stage::Render, message).remedy(remedy)
    }
}

/// What the engine says of an expression, without its place in our template.
fn wrong(error: &minijinja::Error) -> String {
    innermost(error).1
}

fn innermost(error: &minijinja::Error) -> (ErrorKind, String) {
    let mut innermost = error;
    let mut next = std::error::Error::source(error);
    let mut other = None;
    while let Some(current) = next {
        match current.downcast_ref::<minijinja::Error>() {
            Some(engine) => innermost = engine,
            None => other = Some(current.to_string()),
        }
        next = current.source();
    }
    let kind = innermost.kind();
    let said = match (other, innermost.detail()) {
        (Some(other), _) => other,
        (None, Some(detail)) => format!("{kind}: {detail}"),
        (None, None) => kind.to_string(),
    };
    (kind, said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holds(text: &str, row: &str) -> Result<bool> {
        Condition::compile(text).unwrap().holds(row.as_bytes(), 128)
    }

    #[track_caller]
    fn is(text: &str, row: &str, expected: bool) {
        assert_eq!(holds(text, row).unwrap(), expected, "{text} of {row}");
    }

    #[track_caller]
    fn fails(text: &str, row: &str, with: &str) {
        let error = holds(text, row).unwrap_err();
        assert_eq!(error.kind(), Kind::Row, "{error}");
        let said = error.to_string();
        assert!(said.contains(with) && said.contains(text), "{said}");
    }

    const ROW: &str = r#"{"quality": 0.7, "lang": "en", "n": 3, "tags": ["a", "b"], "none": null, "odd-name": 1,
        "meta": {"score": 5, "deep": {"x": "y"}}, "messages": [{"role": "user", "content": "hi"}], "in": 1, "big": true}"#;

    #[test]
    fn sees_the_fields_of_the_row_as_they_are() {
        is("quality > 0.5 and lang == 'en'", ROW, true);
        is("quality > 0.5 and lang == 'de'", ROW, false);
        is("meta.deep.x == 'y' and meta['score'] >= 5", ROW, true);
        is(
            "messages[0].role == 'user' and messages | length == 1",
            ROW,
            true,
        );
        is("'a' in tags and 'c' not in tags", ROW, true);
        is("row['odd-name'] == 1 and 'none' in row", ROW, true);
        is("lang in ['en', 'de'] and lang.upper() == 'EN'", ROW, true);
        is(
            "messages | selectattr('role', 'equalto', 'user') | list | length > 0",
            ROW,
            true,
        );
        is("none is none and (none or quality)", ROW, true);
        is("(lang ~ n) == 'en3'", ROW, true);
        is("not (n if big else 0) > 4", ROW, true);
        is("row", r#"{"row": 0}"#, false);
        is("x == 2", r#"{"x": 1, "x": 2}"#, true);
        is("lang == '%}'", r#"{"lang": "%}"}"#, true);
    }

    #[test]
    fn what_a_row_does_not_have_is_an_error_where_its_value_is_asked_for() {
        for text in [
            "other > 1",
            "other",
            "not other",
            "other == 1",
            "other.x",
            "other in tags",
            "1 < other < 2",
        ] {
            fails(text, ROW, "the row has no `other`");
        }
        fails(
            "meta.other > 1",
            ROW,
            "something that the row does not have",
        );
        is("other is defined and other > 1", ROW, false);
        is("other | default(3) > 1", ROW, true);
        is("big or other", ROW, true);
        is("meta.other is defined", ROW, false);
    }

    #[test]
    fn only_like_values_have_an_order() {
        fails("none > 0.5", ROW, "cannot compare null with a number");
        fails("0.5 < lang", ROW, "cannot compare a number with a string");
        fails("0 < n < lang", ROW, "cannot compare a number with a string");
        fails("meta > 0", ROW, "an object with a number");
        fails(
            "n < (1 if n < 5 else 2) or quality <= tags",
            ROW,
            "a number with a list",
        );
        is("0 < n <= 3 and big <= n and 'a' < lang", ROW, true);
        is("n + 1 < 2 * n - 1", ROW, true);
        is("n == 3 < 4", ROW, true);
        is("(n < 4) < 2", ROW, true);
        is(
            "[n < 4, n > 4] == [true, false] and {'a': n > 1}.a",
            ROW,
            true,
        );
        is("n | string < 'z' and n is divisibleby 3", ROW, true);
    }

    #[test]
    fn what_fails_names_the_expression() {
        fails("raise_exception('no')", ROW, "raised \"no\"");
        fails("n.upper()", ROW, "upper");
        fails("n | nosuch", ROW, "nosuch");
        fails("range(99999999) | list | length > 1", ROW, "range");
        let loops =
            "range(90000) | map('string') | map('upper') | map('lower') | list | length > 1";
        fails(loops, ROW, "fuel");
        let error = holds("n > 1", "[1]").unwrap_err();
        assert_eq!(error.kind(), Kind::Row, "{error}");
        assert_eq!(
            holds("n > 1", "{\"n\": ").unwrap_err().kind(),
            Kind::Corrupt
        );
    }

    #[test]
    fn only_whole_expressions_compile() {
        for text in [
            "",
            "quality >",
            "a) or (b",
            "a %}{% if b",
            "a b",
            "a |",
            "'open",
            "{% if a %}",
            "a = 1",
            "a &",
        ] {
            let said = Condition::compile(text).err();
            assert!(said.is_some_and(|said| !said.is_empty()), "{text}");
        }
        let long = format!("a{}", " + a".repeat(MAX_TOKENS));
        assert!(Condition::compile(&long).unwrap_err().contains("tokens"));
        let deep = format!("{}a{}", "(".repeat(1_000), ")".repeat(1_000));
        assert!(Condition::compile(&deep).is_err());
    }

    /// What Python would say of a comparison of two of these.
    fn order(op: &str, a: &serde_json::Value, b: &serde_json::Value) -> Option<bool> {
        use serde_json::Value::{Bool, Number, String};
        let number = |value: &serde_json::Value| match value {
            Bool(flag) => Some(f64::from(u8::from(*flag))),
            Number(number) => number.as_f64(),
            _ => None,
        };
        let ordering = match (a, b) {
            (String(a), String(b)) => a.cmp(b),
            _ => number(a)?.partial_cmp(&number(b)?)?,
        };
        Some(match op {
            "<" => ordering.is_lt(),
            "<=" => ordering.is_le(),
            ">" => ordering.is_gt(),
            _ => ordering.is_ge(),
        })
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::json;
        let values = [
            json!(null),
            json!(true),
            json!(0),
            json!(1),
            json!(-2.5),
            json!("a"),
            json!("b"),
            json!({}),
        ];
        prop::sample::select(values.to_vec())
    }

    proptest! {
        /// A chain of three, in brackets or not: the naive twin compares two at a time.
        #[test]
        fn orders_as_python_does(
            values in prop::array::uniform3(value()),
            ops in prop::array::uniform2(prop::sample::select(vec!["<", "<=", ">", ">="])),
        ) {
            let [a, b, c] = &values;
            let row = serde_json::json!({"a": a, "b": b, "c": c}).to_string();
            let expected = match order(ops[0], a, b) {
                Some(true) => order(ops[1], b, c),
                other => other,
            };
            for text in [format!("a {} b {} c", ops[0], ops[1]), format!("(a) {} row['b'] {} (c)", ops[0], ops[1])] {
                prop_assert_eq!(holds(&text, &row).ok(), expected, "{} of {}", text, row);
            }
        }
    }
}
