//! What was expected, what was found, and what was probably meant.

use super::fault::Fault;
use super::shape::{Choice, Shape};
use super::tree::Tree;
use super::{size, weight};

/// Characters of a text or key that a fault shows.
const MOST_SHOWN: usize = 60;

/// A value that its key cannot have.
pub(super) fn wrong(shape: &Shape, tree: &Tree) -> Fault {
    let message = format!("expected {}, found {}", shape.expected(), found(tree));
    Fault::new(None, "", message).near(meant(shape, tree))
}

/// The choice of this name, if it is one that is built and complete.
pub(super) fn chosen(choices: &'static [Choice], text: &str) -> Result<&'static str, Fault> {
    let Some(choice) = choices.iter().find(|choice| choice.name == text) else {
        return Err(wrong(&Shape::Choice(choices), &Tree::Text(text.to_owned())));
    };
    match choice.body {
        Some(_) => {
            let message = format!("expected {}, found {} alone", choice.shown(), choice.name);
            Err(Fault::new(None, "", message))
        }
        None => Ok(choice.name),
    }
}

/// The right value for a usual slip.
fn meant(shape: &Shape, tree: &Tree) -> Option<String> {
    match (shape, tree) {
        (Shape::Flag, Tree::Text(text)) => match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "true" | "y" => Some("true".to_owned()),
            "no" | "off" | "false" | "n" => Some("false".to_owned()),
            _ => None,
        },
        (Shape::Flag, Tree::Integer(1)) => Some("true".to_owned()),
        (Shape::Flag, Tree::Integer(0)) => Some("false".to_owned()),
        (Shape::Integer { least, most }, Tree::Text(text)) => {
            let digits = text.replace(['_', ',', ' '], "");
            let number: u64 = digits.parse().ok()?;
            (least..=most)
                .contains(&&number)
                .then(|| number.to_string())
        }
        (Shape::Weight { least }, Tree::Text(text)) => {
            let weight = weight::millionths(text.parse().ok()?)?;
            (weight >= *least).then(|| weight::number(weight).to_string())
        }
        (Shape::Size { least, most }, Tree::Text(text)) => size::nearest(text).filter(|near| {
            size::parse(near).is_some_and(|bytes| (*least..=*most).contains(&bytes))
        }),
        (Shape::Text(_), Tree::Integer(number)) => Some(format!("\"{number}\"")),
        (Shape::Text(_), Tree::Flag(flag)) => Some(format!("\"{flag}\"")),
        (Shape::List { .. }, Tree::Text(text)) => Some(format!("[{}]", quoted(text))),
        (Shape::Choice(choices), Tree::Text(text)) => {
            nearest(text, choices.iter().map(|choice| choice.name)).map(str::to_owned)
        }
        (Shape::Choice(choices), Tree::Null) => {
            let none = choices.iter().find(|choice| choice.name == "none");
            none.map(|none| none.name.to_owned())
        }
        _ => None,
    }
}

/// The name that a slip of the keyboard away from `word`, if there is one.
pub(super) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MOST_SHOWN {
        return None;
    }
    let word = word.to_lowercase().replace(['-', ' '], "_");
    // One slip in a short word, one more for every four letters: "lane" is not "name".
    let most = (word.chars().count() + 2) / 4;
    names
        .map(|name| (strsim::damerau_levenshtein(&word, name), name))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// What stands there, in a few words.
fn found(tree: &Tree) -> String {
    match tree {
        Tree::Null => "null".to_owned(),
        Tree::Flag(flag) => flag.to_string(),
        Tree::Integer(integer) => integer.to_string(),
        Tree::Float(float) => format!("{float:?}"),
        Tree::Text(text) => quoted(text),
        Tree::List(items) if items.is_empty() => "an empty list".to_owned(),
        Tree::List(_) => "a list".to_owned(),
        Tree::Map(_) => "a mapping".to_owned(),
    }
}

/// A text in quotes on one line, not too long.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", short(text))
}

/// A text on one line, not too long.
pub(super) fn short(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(MOST_SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(MOST_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
