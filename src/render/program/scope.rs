//! Which slot a name means.
//!
//! The engine keeps variables in frames: one for the template, one for each loop (emptied with each item), `with` and
//! macro call. `set` writes to the innermost; a name is looked up from the innermost outwards and then in what
//! the render brings. So each frame gets slots of its own, and a lookup is the list of slots that may hold the name.

use super::code::{Expr, LoopField, Root, Shared, Var};
use super::compile::Compiler;
use minijinja::Value;
use std::ops::Range;

/// What the environment and the recipe give names to.
pub(super) struct Names<'a> {
    pub(super) shared: &'a [(String, Value)],
    pub(super) globals: &'a [(String, Value)],
}

/// The frames that are open in a unit.
#[derive(Default)]
pub(super) struct Scope<'s> {
    pub(super) frames: Vec<Frame<'s>>,
    pub(super) slots: usize,
    pub(super) deepest: usize,
    /// Names that the unit sets anywhere so far.
    pub(super) set: Vec<&'s str>,
}

#[derive(Default)]
pub(super) struct Frame<'s> {
    pub(super) names: Vec<(&'s str, usize)>,
    pub(super) is_loop: bool,
}

impl<'s> Scope<'s> {
    pub(super) fn open(&mut self, is_loop: bool) -> usize {
        self.frames.push(Frame {
            names: Vec::new(),
            is_loop,
        });
        self.deepest = self.deepest.max(self.frames.len());
        self.slots
    }

    /// Closes the innermost frame: the slots that were made since it was opened.
    pub(super) fn close(&mut self, from: usize) -> Range<usize> {
        self.frames.pop();
        from..self.slots
    }

    /// The slot of a name in the innermost frame.
    pub(super) fn slot(&mut self, name: &'s str) -> usize {
        let next = self.slots;
        self.set.push(name);
        let Some(frame) = self.frames.last_mut() else {
            return next;
        };
        if let Some((_, slot)) = frame.names.iter().find(|(own, _)| *own == name) {
            return *slot;
        }
        frame.names.push((name, next));
        self.slots += 1;
        next
    }
}

impl<'s> Compiler<'_, '_, 's> {
    pub(super) fn variable(&mut self, name: &'s str) -> Expr {
        match self.lookup(name) {
            Some(var) => match (var.slots.as_slice(), &var.top, &var.root) {
                // One that is set in the template and by nobody else is where it is, or nowhere.
                ([slot], None, Root::Shared(_, Shared::Nothing)) if !var.closed => {
                    Expr::Slot(*slot, name.into())
                }
                _ => Expr::Var(var),
            },
            None => Expr::Ask,
        }
    }

    /// None for `loop`, which is a value only field by field.
    pub(super) fn lookup(&mut self, name: &'s str) -> Option<Var> {
        self.lookups += 1;
        let mut slots = Vec::new();
        for frame in self.unit.frames.iter().rev() {
            let own = frame.names.iter().find(|(own, _)| *own == name);
            slots.extend(own.map(|(_, slot)| *slot));
            if name == "loop" && frame.is_loop {
                return None;
            }
        }
        let top = self.top.as_ref().and_then(|top| {
            let own = top.names.iter().find(|(own, _)| *own == name);
            own.map(|(_, slot)| *slot)
        });
        // What a macro sets itself it may not close over, even where it has not set it.
        let closed = self.top.is_some() && self.unit.set.contains(&name);
        if self.top.is_some() && name == "loop" {
            return None;
        }
        Some(Var {
            slots,
            top,
            closed,
            root: self.root(name),
        })
    }

    pub(super) fn root(&self, name: &str) -> Root {
        match name {
            "messages" => Root::Messages,
            "tools" => Root::Tools,
            "documents" => Root::Documents,
            "add_generation_prompt" => Root::AddGenerationPrompt,
            _ => {
                let find = |list: &[(String, Value)]| {
                    let own = list.iter().find(|(own, _)| own == name);
                    own.map(|(_, value)| value.clone())
                };
                let shared = match (find(self.names.shared), find(self.names.globals)) {
                    (Some(value), _) => Shared::Value(value),
                    (None, Some(function)) => Shared::Function(function),
                    (None, None) => Shared::Nothing,
                };
                Root::Shared(name.into(), shared)
            }
        }
    }

    pub(super) fn loop_field(&mut self, name: &str) -> Expr {
        let own = self.unit.frames.iter().rev();
        for frame in own {
            if frame.names.iter().any(|(own, _)| *own == "loop") {
                return Expr::Ask;
            }
            if frame.is_loop {
                return Expr::Loop(match name {
                    "index0" => LoopField::Index0,
                    "index" => LoopField::Index,
                    "length" => LoopField::Length,
                    "revindex" => LoopField::RevIndex,
                    "revindex0" => LoopField::RevIndex0,
                    "first" => LoopField::First,
                    "last" => LoopField::Last,
                    "previtem" => LoopField::Previous,
                    "nextitem" => LoopField::Next,
                    _ => return Expr::Ask,
                });
            }
        }
        Expr::Ask
    }
}
