//! Finds the operands of `~` in an expression, without a parser: by brackets and by what binds less
//! tightly.

use minijinja::machinery::{Span, Token};

/// A token and where it lies.
pub(super) type Spanned<'a> = (Token<'a>, Span);

/// The operands of every `~` among the tokens of one expression, but for plain strings, which print as
/// they are.
pub(super) fn operands<'t, 'a>(tokens: &'t [Spanned<'a>]) -> Vec<&'t [Spanned<'a>]> {
    let mut found = Vec::new();
    if !tokens
        .iter()
        .any(|(token, _)| matches!(token, Token::Tilde))
    {
        return found;
    }
    let mut end = |group: &Group, end: usize| {
        if let Some(operand) = group.start.and_then(|start| tokens.get(start..end))
            && group.concatenated
            && !matches!(operand, [(Token::Str(_) | Token::String(_), _)])
        {
            found.push(operand);
        }
    };
    let mut outer = Vec::new();
    let mut group = Group::default();
    let mut previous: Option<&Token<'_>> = None;
    for (index, (token, _)) in tokens.iter().enumerate() {
        match token {
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => {
                group.start.get_or_insert(index);
                outer.push(std::mem::take(&mut group));
            }
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                end(&group, index);
                group = outer.pop().unwrap_or_default();
            }
            Token::Tilde => {
                group.concatenated = true;
                end(&group, index);
                group.start = None;
            }
            _ if ends_operand(token, previous) => {
                end(&group, index);
                group = Group::default();
            }
            _ => {
                group.start.get_or_insert(index);
            }
        }
        previous = Some(token);
    }
    for group in outer.iter().chain([&group]) {
        end(group, tokens.len());
    }
    found
}

/// A bracketed part of an expression, and the operand that is being read in it.
#[derive(Debug, Default)]
struct Group {
    /// The operand's first token.
    start: Option<usize>,
    /// Whether a `~` stands before or behind the operand.
    concatenated: bool,
}

/// Whether a token stands between two operands of `~` or binds less tightly: then the operand before it
/// has ended.
fn ends_operand(token: &Token<'_>, previous: Option<&Token<'_>>) -> bool {
    match token {
        Token::Comma
        | Token::Colon
        | Token::Assign
        | Token::Eq
        | Token::Ne
        | Token::Gt
        | Token::Gte
        | Token::Lt
        | Token::Lte => true,
        // Without something to add to, it is a sign.
        Token::Plus | Token::Minus => matches!(
            previous,
            Some(
                Token::Ident(_)
                    | Token::Str(_)
                    | Token::String(_)
                    | Token::Int(_)
                    | Token::Int128(_)
                    | Token::Float(_)
                    | Token::ParenClose
                    | Token::BracketClose
                    | Token::BraceClose
            )
        ),
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
