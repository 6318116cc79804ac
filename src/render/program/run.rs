//! One run of a program: statements, and what they print.

use super::account::{Account, Ask, Result};
use super::code::{Block, Code, Node};
use super::loops::Loop;
use super::store::Store;
use super::value::{NO_MESSAGE, Val};
use crate::render::conversation::Conversation;
use crate::render::limits::{BYTES_PER_FUEL, TemplateLimits};
use crate::render::page::{Piece, Tracking};
use minijinja::{Environment, State, Value};
use std::cell::Cell;
use std::ops::Range;

/// What a run is made of.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) code: &'a Code,
    pub(super) environment: &'a Environment<'static>,
    pub(super) limits: TemplateLimits,
    pub(super) conversation: &'a Conversation,
    /// The messages as templates see them, where that is not as the row has them.
    pub(super) messages: Option<&'a [Value]>,
    pub(super) add_generation_prompt: bool,
    pub(super) tracking: Tracking,
}

/// What a run printed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::render) struct Printed {
    pub(in crate::render) text: String,
    /// With [`Tracking::Position`].
    pub(in crate::render) spans: Vec<Range<usize>>,
    /// With [`Tracking::Turns`].
    pub(in crate::render) pieces: Vec<Piece>,
    /// Fuel that the engine would have used up at most.
    pub(in crate::render) fuel: u64,
}

/// How statements end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    Break,
    Continue,
}

pub(super) struct Run<'a> {
    pub(super) given: Given<'a>,
    pub(super) store: &'a Store,
    pub(super) account: Account,
    pub(super) slots: Vec<Val<'a>>,
    /// The unit's first slot.
    pub(super) base: usize,
    pub(super) loops: Vec<Loop<'a>>,
    pub(super) namespaces: Vec<Vec<(&'a str, Val<'a>)>>,
    pub(super) captured: Val<'a>,
    pub(super) page: String,
    pub(super) captures: usize,
    /// Statements whose parts are no pieces.
    pub(super) whole: usize,
    pub(super) spans: Vec<Range<usize>>,
    pub(super) pieces: Vec<Piece>,
    pub(super) turns: Vec<(usize, usize)>,
    /// Frames that the engine would have open at most.
    pub(super) frames: usize,
    /// Calls of ours that lie in each other at most.
    pub(super) depth: usize,
    pub(super) state: Option<State<'a, 'a>>,
    /// Fuel that the state has used up and that is paid.
    pub(super) state_fuel: u64,
}

impl<'a> Run<'a> {
    pub(super) fn new(given: Given<'a>, store: &'a Store, capacity: usize) -> Self {
        let limit = given.limits.fuel.saturating_mul(BYTES_PER_FUEL);
        Run {
            account: Account {
                left: Cell::new(limit),
            },
            slots: vec![Val::Unset; given.code.main.slots],
            base: 0,
            loops: Vec::new(),
            namespaces: Vec::new(),
            captured: Val::Undefined,
            page: String::with_capacity(capacity.min(given.limits.output_bytes)),
            captures: 0,
            whole: 0,
            spans: Vec::new(),
            pieces: Vec::new(),
            turns: Vec::new(),
            frames: 0,
            depth: 0,
            state: None,
            state_fuel: 0,
            given,
            store,
        }
    }

    pub(super) fn run(mut self) -> Result<Printed> {
        let code = self.given.code;
        self.enter(&code.main)?;
        self.block(&code.main.body)?;
        let left = self.account.left.get();
        let limit = self.given.limits.fuel.saturating_mul(BYTES_PER_FUEL);
        Ok(Printed {
            text: self.page,
            spans: self.spans,
            pieces: self.pieces,
            fuel: (limit - left) / BYTES_PER_FUEL + 1,
        })
    }

    pub(super) fn block(&mut self, block: &'a Block) -> Result<Flow> {
        self.account.pay_instructions(block.cost)?;
        for node in &block.nodes {
            match self.node(node)? {
                Flow::Next => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &'a Node) -> Result<Flow> {
        match node {
            Node::Text(text) => self.write(text)?,
            Node::Print(expr) => self.print(expr)?,
            Node::PrintAll(terms, sums) => self.print_all(terms, *sums)?,
            Node::If(own) => {
                let branch = if self.test(&own.test)? {
                    &own.yes
                } else {
                    &own.no
                };
                return self.block(branch);
            }
            Node::For(own) => self.for_loop(own)?,
            Node::Set { slot, value } => {
                let value = self.eval(value)?;
                self.set(*slot, value)?;
            }
            Node::SetField {
                namespace,
                field,
                value,
            } => {
                let value = self.eval(value)?;
                let Val::Namespace(index) = self.eval(namespace)? else {
                    return Err(Ask);
                };
                let fields = self.namespaces.get_mut(index as usize).ok_or(Ask)?;
                match fields.iter_mut().find(|(name, _)| **name == **field) {
                    Some((_, own)) => *own = value,
                    None => fields.push((field, value)),
                }
            }
            Node::Capture { slot, filter, body } => {
                let text = self.capture(|run| run.block(body).map(drop))?;
                let mut value = Val::Str(self.store.text(text));
                if let Some(filter) = filter {
                    let outer = std::mem::replace(&mut self.captured, value);
                    value = self.eval(filter)?;
                    self.captured = outer;
                }
                match slot {
                    Some(slot) => self.set(*slot, value)?,
                    None => self.print_value(value)?,
                }
            }
            Node::With { slots, body } => {
                self.unset(slots);
                return self.block(body);
            }
            Node::Generation(body) => return self.generation(body),
            Node::Macro { slot, index } => {
                self.account.pay_instructions(self.given.code.declaration)?;
                self.set(*slot, Val::Macro(*index))?;
            }
            Node::Turn(id, item) => {
                let item = self.eval(item)?;
                self.leave(*id);
                if let Val::Map(map) = item
                    && map.message != NO_MESSAGE
                {
                    self.turns.push((*id, map.message as usize));
                }
            }
            Node::TurnsEnd(id) => self.leave(*id),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::Ask => return Err(Ask),
        }
        Ok(Flow::Next)
    }

    fn generation(&mut self, body: &'a Block) -> Result<Flow> {
        // A block is captured, filtered and printed.
        let before = self.page.len();
        let flow = match self.given.tracking {
            Tracking::Off | Tracking::Turns => self.block(body)?,
            Tracking::Position => {
                let flow = self.block(body)?;
                self.spans.push(before..self.page.len());
                flow
            }
            Tracking::Sentinels { open, close } => {
                self.write(self.store.text(open.to_string()))?;
                let flow = self.block(body)?;
                self.write(self.store.text(close.to_string()))?;
                flow
            }
        };
        self.account
            .pay_bytes(self.page.len().saturating_sub(before))?;
        // The rewriter lets no jump out of one.
        match flow {
            Flow::Next => Ok(flow),
            _ => Err(Ask),
        }
    }

    /// Closes a loop over messages, and those inside it that were left by a jump.
    fn leave(&mut self, id: usize) {
        if let Some(depth) = self.turns.iter().rposition(|(open, _)| *open == id) {
            self.turns.truncate(depth);
        }
    }
}
