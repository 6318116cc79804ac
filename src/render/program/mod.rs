//! Templates as programs of our own, for the parts of Jinja that chat templates are written in.
//!
//! The engine renders a conversation in some forty microseconds, most of which go into values that are made, counted
//! and dropped. A template says little more than "for each message: literal, field, literal". So it is compiled from the
//! engine's own syntax tree into a [`Code`](code::Code) whose runs borrow all they read and write straight to the
//! page.
//!
//! **The engine is the judge.** A program does an operation only for values where the engine's result is beyond doubt
//! (`+` of two texts, `length` of a list), and does nothing else: on anything it does not know, on anything that may be
//! an error, and where the limits come near, it gives up and the engine renders the row from the start. So
//! errors are always the engine's own. Filters, tests and methods that are rarely used are the engine's, called with
//! values made for them.
//!
//! **Fuel** is paid for by an upper bound of what the engine would charge: so many instructions a node of
//! the tree, so much a byte. A program that has fuel left shows that the engine would have had some.
//!
//! The naive twin of all this is the engine; `tests` compares them.

mod access;
mod account;
mod call;
mod calls;
mod code;
mod compare;
mod compile;
mod engine_value;
mod eval;
mod expressions;
mod loops;
mod print;
mod quick;
mod run;
mod scope;
mod store;
mod value;
mod variables;
mod writing;

#[cfg(test)]
mod tests;

pub(super) use run::Printed;

use super::conversation::Conversation;
use super::environment::syntax;
use super::limits::TemplateLimits;
use super::page::Tracking;
use minijinja::machinery::parse;
use minijinja::{Environment, Value};
use run::{Given, Run};
use scope::Names;
use std::sync::atomic::{AtomicUsize, Ordering};
use store::Store;

/// A compiled template.
#[derive(Debug)]
pub(super) struct Program {
    code: code::Code,
    /// Bytes of a text that it printed lately: how large the next may be.
    usual: AtomicUsize,
}

impl Program {
    /// Compiles a template that the engine has compiled; none where it cannot be.
    pub(super) fn compile(
        source: &str,
        environment: &Environment<'_>,
        shared: &[(String, Value)],
    ) -> Option<Program> {
        let template = parse(source, "", syntax()).ok()?;
        let globals = environment.globals();
        let globals: Vec<(String, Value)> = globals
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let names = Names {
            shared,
            globals: &globals,
        };
        Some(Program {
            code: compile::compile(&template, &names)?,
            usual: AtomicUsize::new(1024),
        })
    }

    /// Renders a conversation; none where the engine has to. `messages` are its messages where templates see others.
    pub(super) fn run(
        &self,
        environment: &Environment<'static>,
        limits: &TemplateLimits,
        conversation: &Conversation,
        messages: Option<&[Value]>,
        add_generation_prompt: bool,
        tracking: Tracking,
    ) -> Option<Printed> {
        let store = Store::default();
        let given = Given {
            code: &self.code,
            environment,
            limits: *limits,
            conversation,
            messages,
            add_generation_prompt,
            tracking,
        };
        let usual = self.usual.load(Ordering::Relaxed);
        let printed = Run::new(given, &store, usual + usual / 4).run().ok()?;
        if printed.text.len() > usual || printed.text.len() < usual / 4 {
            self.usual.store(printed.text.len(), Ordering::Relaxed);
        }
        Some(printed)
    }
}

/// Whether a message has one of these keys, or is nothing that a program looks into.
pub(super) fn may_have(message: &Value, keys: &[&str]) -> bool {
    match value::Val::of(message) {
        value::Val::Map(map) => map.entries().map_or(true, |own| own.has_any(keys)),
        value::Val::Foreign(_) => true,
        _ => false,
    }
}
