//! Ordering comparisons as Python has them: of numbers with numbers and texts with texts, and of nothing else.
//!
//! The engine puts values of any two types in some order, so that `quality > 0.5` would be true of every text and false of
//! null, and nobody would know. Operands of `<`, `<=`, `>` and `>=` are sent through a check, found without a parser: by
//! brackets and by what binds less tightly.

use super::number::is_big;
use super::refusal::invalid;
use minijinja::machinery::{Span, Token};
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, State, Value};

/// The filter around an operand.
const OPERAND: &str = "packmill_operand";

/// The expression with its checks. `tokens` are all of it.
pub(super) fn checked(text: &str, tokens: &[(Token<'_>, Span)]) -> String {
    let mut inserts: Vec<(u32, String)> = Vec::new();
    for (id, chain) in chains(tokens).into_iter().enumerate() {
        for (index, operand) in chain.iter().enumerate() {
            if let [(_, first), ..] = operand
                && let [.., (_, last)] = operand
            {
                let comes = if index == 0 { "first" } else { "next" };
                inserts.push((first.start_offset, "(".to_owned()));
                inserts.push((last.end_offset, format!(")|{OPERAND}({id}, '{comes}')")));
            }
        }
    }
    // Operands lie inside each other or apart, and those of an inner comparison in brackets of their own.
    inserts.sort_by_key(|(at, _)| *at);
    let mut out = String::with_capacity(text.len() + inserts.len() * 32);
    let mut done = 0;
    for (at, insert) in inserts {
        let at = at as usize;
        out.push_str(text.get(done..at).unwrap_or_default());
        out.push_str(&insert);
        done = at;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

type Operand<'t, 'a> = &'t [(Token<'a>, Span)];

/// A bracketed part of an expression, and the comparison that is being read in it.
#[derive(Default)]
struct Group<'t, 'a> {
    /// The operand's first token.
    start: Option<usize>,
    /// The operands before it.
    chain: Vec<Operand<'t, 'a>>,
    ordered: bool,
}

/// The operands of each comparison that has an order in it.
fn chains<'t, 'a>(tokens: &'t [(Token<'a>, Span)]) -> Vec<Vec<Operand<'t, 'a>>> {
    let mut found = Vec::new();
    let mut outer = Vec::new();
    let mut group = Group::default();
    let mut previous: Option<&Token<'_>> = None;
    let mut end = |group: &mut Group<'t, 'a>, at: usize| {
        let Group {
            start,
            mut chain,
            ordered,
        } = std::mem::take(group);
        chain.extend(start.and_then(|start| tokens.get(start..at)));
        if ordered {
            found.push(chain);
        }
    };
    for (index, (token, _)) in tokens.iter().enumerate() {
        match token {
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => {
                group.start.get_or_insert(index);
                outer.push(std::mem::take(&mut group));
            }
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                end(&mut group, index);
                group = outer.pop().unwrap_or_default();
            }
            Token::Lt | Token::Lte | Token::Gt | Token::Gte => {
                let operand = group
                    .start
                    .take()
                    .and_then(|start| tokens.get(start..index));
                group.chain.extend(operand);
                group.ordered = true;
            }
            _ if ends_comparison(token, previous) => end(&mut group, index),
            _ => {
                group.start.get_or_insert(index);
            }
        }
        previous = Some(token);
    }
    end(&mut group, tokens.len());
    found
}

/// Whether a token binds no more tightly than a comparison. Of `a == b < c` the part from the last `==` on is one of
/// its own.
fn ends_comparison(token: &Token<'_>, previous: Option<&Token<'_>>) -> bool {
    match token {
        Token::Comma | Token::Colon | Token::Assign | Token::Eq | Token::Ne => true,
        // `x is in y` and `x is not y` are tests, `x.in` an attribute.
        Token::Ident("not" | "in") => {
            !matches!(previous, Some(Token::Ident("is" | "not") | Token::Dot))
                || matches!(
                    (token, previous),
                    (Token::Ident("in"), Some(Token::Ident("not")))
                )
        }
        Token::Ident("and" | "or" | "if" | "else") => !matches!(previous, Some(Token::Dot)),
        _ => false,
    }
}

/// Adds the check.
pub(super) fn add(env: &mut Environment<'static>) {
    env.add_filter(
        OPERAND,
        |state: &mut State, value: &Value, id: usize, comes: &str| -> Result<Value, Error> {
            if value.is_undefined() {
                // The comparison says it.
                return Ok(value.clone());
            }
            let this = name(value);
            let before = state.set_temp(&format!("{OPERAND} {id}"), Value::from(this));
            let like = match (comes, before.as_ref().and_then(Value::as_str)) {
                ("next", Some(before)) => match (before, this) {
                    (NUMBER | BOOLEAN, NUMBER | BOOLEAN) => None,
                    (TEXT, TEXT) | (LIST, LIST) => None,
                    _ => Some(before.to_owned()),
                },
                _ => None,
            };
            match like {
                None => Ok(value.clone()),
                Some(before) => Err(invalid(format!(
                    "cannot compare {before} with {this} by order"
                ))),
            }
        },
    );
}

const NUMBER: &str = "a number";
const BOOLEAN: &str = "a boolean";
const TEXT: &str = "a string";
const LIST: &str = "a list";

fn name(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Number => NUMBER,
        ValueKind::Bool => BOOLEAN,
        ValueKind::String => TEXT,
        ValueKind::Seq => LIST,
        ValueKind::None => "null",
        ValueKind::Map => "an object",
        _ if is_big(value) => "a number of so many digits",
        _ => "what has no order",
    }
}
