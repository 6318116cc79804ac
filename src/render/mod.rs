//! Stage 2 of 7: render. A conversation becomes the text that the model is trained on.
//!
//! The chat template decides what the model sees, so it is printed exactly as Transformers prints it:
//! same Jinja dialect, same JSON, same numbers, same order of keys. Beside the text a render gives
//! [spans](Rendered::spans): what the template printed inside `{% generation %}`, which is where an
//! assistant mask comes from.
//!
//! - [`row`]: a record's bytes to a row of one of the shapes that the ecosystem writes
//! - [`conversation`]: what goes in
//! - [`template`]: compile once, render from many threads
//! - `source`, `concat`, `literal`: the little that is rewritten in a template before the engine
//!   sees it
//! - `program`: the same compiled once more, for rows that need no engine
//! - `environment`, `filters`, `methods`, `namespace`, `print`, `json`, [`number`],
//!   `clock`: Python's side of Jinja
//! - `page`, `spans`: what comes out, bounded, and where it was printed
//! - `owners`: which message a span was printed from
//! - `texts`, `ownership`: what the row brought, and where characters of it come out
//! - `skip`: which part of a span is reasoning, and which calls of tools
//! - `turns`, `opening`: the same of templates without `{% generation %}`, where it can be shown
//! - `condition`, `compare`: expressions over a row's own fields, by which records are left out
//! - [`find`]: the templates of a model folder

pub mod conversation;

pub mod find;

pub mod limits;

pub mod number;

pub mod row;

pub mod template;

mod clock;
mod compare;
mod concat;
mod condition;
mod details;
mod environment;
mod fields;
mod filters;
mod json;
mod literal;
mod methods;
mod namespace;
mod opening;
mod owners;
mod ownership;
mod page;
mod print;
mod program;
mod refusal;
mod skip;
mod source;
mod spans;
mod texts;
mod turns;

#[cfg(test)]
mod tests;

pub use condition::Condition;
pub use conversation::{Conversation, Detail, Message};
pub use details::Lighter;
pub use find::{FolderTemplates, NamedTemplate};
pub use limits::TemplateLimits;
pub use number::BigInt;
pub use skip::Extent;
pub use template::{ChatTemplate, Ending, Rendered, TemplateContext};
pub use texts::Place;
pub use turns::Turns;
