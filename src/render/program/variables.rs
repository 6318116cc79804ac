//! Variables of a run, and macros, which have their own.

use super::account::{Ask, Result};
use super::code::{Root, Shared, Unit, Var};
use super::run::{Flow, Run};
use super::value::Val;
use minijinja::Value;
use std::ops::Range;

/// Deepest that blocks and expressions lie in each other, through all macros that are being called: each takes a
/// piece of the stack.
const DEEPEST: usize = 320;

impl<'a> Run<'a> {
    pub(super) fn set(&mut self, slot: usize, value: Val<'a>) -> Result<()> {
        let own = self.slots.get_mut(self.base + slot).ok_or(Ask)?;
        *own = value;
        Ok(())
    }

    pub(super) fn unset(&mut self, slots: &Range<usize>) {
        let own = self
            .slots
            .get_mut(self.base + slots.start..self.base + slots.end);
        own.unwrap_or_default().fill(Val::Unset);
    }

    pub(super) fn slot(&self, slot: usize) -> Val<'a> {
        self.slots
            .get(self.base + slot)
            .copied()
            .unwrap_or(Val::Unset)
    }

    pub(super) fn variable(&self, var: &'a Var) -> Result<Val<'a>> {
        for slot in &var.slots {
            match self.slot(*slot) {
                Val::Unset => {}
                value => return Ok(value),
            }
        }
        if var.closed {
            return Err(Ask);
        }
        if let Some(top) = var.top {
            match self.slots.get(top) {
                None | Some(Val::Unset) => {}
                Some(value) => return Ok(*value),
            }
        }
        let of = |value: Option<&'a Value>| value.map_or(Val::None, Val::of);
        let conversation = self.given.conversation;
        Ok(match &var.root {
            Root::Messages => Val::Messages {
                from: 0,
                to: u32::try_from(conversation.messages.len()).map_err(|_| Ask)?,
                lazy: false,
                reversed: false,
            },
            Root::Tools => of(conversation.tools.as_ref()),
            Root::Documents => of(conversation.documents.as_ref()),
            Root::AddGenerationPrompt => Val::Bool(self.given.add_generation_prompt),
            Root::Shared(name, shared) => match (self.kwarg(name), shared) {
                (Some(value), _) => Val::of(value),
                (None, Shared::Value(value)) => Val::of(value),
                (None, Shared::Function(function)) => Val::Function(function),
                (None, Shared::Nothing) => Val::Undefined,
            },
        })
    }

    /// The row's own variable; the last of a name counts.
    pub(super) fn kwarg(&self, name: &str) -> Option<&'a Value> {
        let mut kwargs = self.given.conversation.kwargs.iter().rev();
        kwargs.find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// Calls a macro whose arguments are the first slots.
    pub(super) fn call_macro(
        &mut self,
        index: u32,
        positional: &[Val<'a>],
        named: &[(&'a str, Val<'a>)],
    ) -> Result<()> {
        let own = self.given.code.macros.get(index as usize).ok_or(Ask)?;
        if positional.len() > own.args.len() {
            return Err(Ask);
        }
        let (frames, depth) = (self.frames, self.depth);
        self.enter(&own.unit)?;
        let base = self.slots.len();
        self.slots.resize(base + own.unit.slots, Val::Unset);
        let outer = std::mem::replace(&mut self.base, base);
        let mut used = 0;
        for (slot, (name, default)) in own.args.iter().enumerate() {
            let named = named.iter().find(|(own, _)| own == name);
            used += usize::from(named.is_some());
            let given = match (positional.get(slot), named) {
                (Some(_), Some(_)) => return Err(Ask),
                (Some(value), None) | (None, Some((_, value))) => *value,
                (None, None) => Val::Undefined,
            };
            let value = match (given, default) {
                (Val::Undefined, Some(default)) => self.eval(default)?,
                (given, _) => given,
            };
            self.set(slot, value)?;
        }
        if used != named.len() {
            return Err(Ask);
        }
        // Loops of the caller are not seen.
        let loops = std::mem::take(&mut self.loops);
        let flow = self.block(&own.unit.body)?;
        self.loops = loops;
        self.base = outer;
        self.slots.truncate(base);
        (self.frames, self.depth) = (frames, depth);
        match flow {
            Flow::Next => Ok(()),
            _ => Err(Ask),
        }
    }

    /// Counts the frames of a unit; the engine goes as deep as five times the limit.
    pub(super) fn enter(&mut self, unit: &Unit) -> Result<()> {
        self.frames += unit.frames + 8;
        self.depth += unit.depth;
        if self.frames > self.given.limits.nesting.saturating_mul(2) || self.depth > DEEPEST {
            return Err(Ask);
        }
        Ok(())
    }
}
