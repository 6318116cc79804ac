//! What a key may hold: the vocabulary of the table in `keys.rs`.

use super::{size, weight};
use serde_json::Value;

/// A mapping with known keys.
pub(super) struct Section {
    /// In the order in which they are printed.
    pub(super) keys: &'static [Key],
    /// The default of each optional key, by name; a key that is not there defaults to null. Comes from the
    /// struct's own `Default`, so that Rust and YAML cannot differ.
    pub(super) defaults: fn() -> Value,
}

/// One key: a line of the table.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) need: Need,
    /// What it means: the description in the schema and in `docs/recipe.md`.
    pub(super) doc: &'static str,
    /// What other tools call it, for whoever writes that.
    pub(super) elsewhere: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Required,
    Optional,
}

#[derive(Clone, Copy)]
pub(super) enum Shape {
    Flag,
    Integer {
        least: u64,
        most: u64,
    },
    /// A number from 0 to 1.
    Fraction,
    /// A source's weight.
    Weight {
        /// In millionths.
        least: u64,
    },
    /// Bytes, as a number or with a unit.
    Size {
        least: u64,
        most: u64,
    },
    Text(Text),
    Choice(&'static [Choice]),
    List {
        of: &'static Shape,
        /// What the items are called.
        what: &'static str,
    },
    /// A mapping of free keys to values of one shape.
    Named {
        of: &'static Shape,
        /// What the values are called.
        what: &'static str,
    },
    /// A mapping of free keys to anything that JSON has.
    Values,
    Section(&'static Section),
    /// A section, or a text that stands for `{path: text}`.
    Located(&'static Section),
    /// The shape, or null, which stands for the default.
    Nullable(&'static Shape),
}

/// What a text is for, and so what it may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Any,
    Filled,
    /// A source's name.
    Name,
    /// A path to one file.
    Path,
    /// A path or glob.
    Pattern,
    /// A path or a Hub id.
    Tokenizer,
    /// `YYYY-MM-DDTHH:MM:SS`.
    Moment,
    /// A Jinja expression.
    Condition,
}

/// One value of a choice.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    /// What it needs to know: written `{name: {…}}` then.
    pub(super) body: Option<&'static Section>,
}

/// An optional key.
pub(super) const fn key(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key {
        name,
        shape,
        need: Need::Optional,
        doc,
        elsewhere: &[],
    }
}

impl Key {
    pub(super) const fn required(mut self) -> Key {
        self.need = Need::Required;
        self
    }

    pub(super) const fn elsewhere(mut self, names: &'static [&'static str]) -> Key {
        self.elsewhere = names;
        self
    }
}

pub(super) const fn choice(name: &'static str, doc: &'static str) -> Choice {
    Choice {
        name,
        doc,
        body: None,
    }
}

impl Choice {
    pub(super) const fn with(mut self, body: &'static Section) -> Choice {
        self.body = Some(body);
        self
    }

    /// As it is written.
    pub(super) fn shown(&self) -> String {
        match self.body {
            None => self.name.to_owned(),
            Some(body) => {
                let keys: Vec<String> = body
                    .keys
                    .iter()
                    .map(|key| format!("{}: …", key.name))
                    .collect();
                format!("{{{}: {{{}}}}}", self.name, keys.join(", "))
            }
        }
    }
}

pub(super) const fn at_least(least: u64) -> Shape {
    Shape::Integer {
        least,
        most: u64::MAX,
    }
}

pub(super) const fn between(least: u64, most: u64) -> Shape {
    Shape::Integer { least, most }
}

/// A size without bounds.
pub(super) const ANY_SIZE: Shape = Shape::Size {
    least: 0,
    most: u64::MAX,
};

impl Section {
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Shape {
    /// Without the null that it may be instead.
    pub(super) fn inner(&self) -> &Shape {
        match self {
            Shape::Nullable(inner) => inner,
            other => other,
        }
    }

    /// The section that a value of this shape is, or is a list of.
    pub(super) fn section(&self) -> Option<&'static Section> {
        match self {
            Shape::Section(section) | Shape::Located(section) => Some(section),
            Shape::Nullable(inner) | Shape::List { of: inner, .. } => inner.section(),
            _ => None,
        }
    }

    /// "expected …".
    pub(super) fn expected(&self) -> String {
        match self {
            Shape::Flag => "true or false".to_owned(),
            Shape::Integer { least, most } if *most == u64::MAX => {
                format!("an integer of at least {least}")
            }
            Shape::Integer { least, most } if least == most => format!("{least}"),
            Shape::Integer { least, most } => format!("an integer from {least} to {most}"),
            Shape::Fraction => "a number from 0 to 1".to_owned(),
            Shape::Weight { least: 0 } => format!("a number from 0 to {}", weight::MOST),
            Shape::Weight { .. } => format!("a number above 0 and at most {}", weight::MOST),
            Shape::Size { least: 0, most } if *most == u64::MAX => {
                "a size such as 2GiB or 512MiB, or a number of bytes".to_owned()
            }
            Shape::Size { least, most } => format!(
                "a size from {} to {}, or a number of bytes",
                size::format(*least),
                size::format(*most)
            ),
            Shape::Text(text) => text.expected().to_owned(),
            Shape::Choice(choices) => {
                let shown: Vec<String> = choices.iter().map(Choice::shown).collect();
                match shown.as_slice() {
                    [one] => one.clone(),
                    several => format!("one of {}", several.join(", ")),
                }
            }
            Shape::List { what, .. } => format!("a list of {what}, at least one"),
            Shape::Named { what, .. } => format!("a mapping of {what}"),
            Shape::Values | Shape::Section(_) => "a mapping".to_owned(),
            Shape::Located(_) => "a path or a mapping".to_owned(),
            Shape::Nullable(inner) => format!("{} or null", inner.expected()),
        }
    }
}

impl Text {
    fn expected(self) -> &'static str {
        match self {
            Text::Any => "a text",
            Text::Filled => "a text that is not empty",
            Text::Name => "a name without control characters",
            Text::Path => "a path",
            Text::Pattern => "a path or glob",
            Text::Tokenizer => "a path or a Hub id",
            Text::Moment => "a time as YYYY-MM-DDTHH:MM:SS",
            Text::Condition => "a Jinja expression",
        }
    }
}
