//! One run of a program: statements, and what they print.

use super::code::{Block, Code, Expr, For, Node, Root, Shared, Targets, Unit, Var};
use super::store::Store;
use super::value::{Entries, Val};
use crate::render::conversation::Conversation;
use crate::render::limits::{BYTES_PER_FUEL, Fuel, TemplateLimits};
use crate::render::page::{Piece, Tracking};
use minijinja::value::Tuple;
use minijinja::{Environment, ErrorKind, State, Value};
use std::cell::Cell;
use std::ops::Range;

/// The run cannot go on: the engine has to render the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask;

pub(super) type Result<T> = std::result::Result<T, Ask>;

/// Bytes that the engine charges for one byte of text on its way through an operation, into a capture and out of it.
const PER_BYTE: u64 = 8;

/// Deepest that blocks and expressions lie in each other, through all macros that are being called: each takes a
/// piece of the stack.
const DEEPEST: usize = 320;

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

/// Units of the engine's fuel that are left, in 64ths.
#[derive(Debug)]
pub(super) struct Account {
    left: Cell<u64>,
}

impl Account {
    /// Pays, or asks the engine whether there is enough: it may charge less.
    pub(super) fn pay(&self, cost: u64) -> Result<()> {
        match self.left.get().checked_sub(cost) {
            Some(left) if left > 0 => {
                self.left.set(left);
                Ok(())
            }
            _ => Err(Ask),
        }
    }

    pub(super) fn pay_instructions(&self, count: u64) -> Result<()> {
        self.pay(count.saturating_mul(BYTES_PER_FUEL))
    }

    pub(super) fn pay_bytes(&self, count: usize) -> Result<()> {
        self.pay((count as u64).saturating_mul(PER_BYTE))
    }
}

impl Fuel for Account {
    fn consume(&self, units: u64) -> std::result::Result<(), minijinja::Error> {
        self.pay_instructions(units)
            .map_err(|Ask| ErrorKind::OutOfFuel.into())
    }
}

/// How statements end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

pub(super) struct Run<'a> {
    pub(super) given: Given<'a>,
    pub(super) store: &'a Store,
    pub(super) account: Account,
    slots: Vec<Val<'a>>,
    /// The unit's first slot.
    base: usize,
    pub(super) loops: Vec<Loop<'a>>,
    pub(super) namespaces: Vec<Vec<(&'a str, Val<'a>)>>,
    pub(super) captured: Val<'a>,
    page: String,
    captures: usize,
    /// Statements whose parts are no pieces.
    whole: usize,
    spans: Vec<Range<usize>>,
    pieces: Vec<Piece>,
    turns: Vec<(usize, usize)>,
    /// Frames that the engine would have open at most.
    frames: usize,
    /// Calls of ours that lie in each other at most.
    depth: usize,
    pub(super) state: Option<State<'a, 'a>>,
    /// Fuel that the state has used up and that is paid.
    pub(super) state_fuel: u64,
}

/// A loop at an item.
pub(super) struct Loop<'a> {
    pub(super) index: usize,
    /// None where the engine would not know.
    pub(super) len: Option<usize>,
    pub(super) items: Items<'a>,
}

/// What a loop stands at.
#[derive(Clone, Copy)]
pub(super) enum Item<'a> {
    One(Val<'a>),
    /// Key and value of a map.
    Pair(Val<'a>, Val<'a>),
}

impl<'a> Item<'a> {
    /// The engine makes a list of a pair.
    pub(super) fn one(self) -> Result<Val<'a>> {
        match self {
            Item::One(value) => Ok(value),
            Item::Pair(..) => Err(Ask),
        }
    }
}

/// What a loop goes through.
pub(super) enum Items<'a> {
    List(Val<'a>, usize),
    Keys(Entries<'a>),
    Pairs(Entries<'a>),
    Own(Vec<Val<'a>>),
}

impl Items<'_> {
    fn len(&self) -> usize {
        match self {
            Items::List(_, len) => *len,
            Items::Keys(entries) | Items::Pairs(entries) => entries.len(),
            Items::Own(items) => items.len(),
        }
    }
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

    /// Counts the frames of a unit; the engine goes as deep as five times the limit.
    fn enter(&mut self, unit: &Unit) -> Result<()> {
        self.frames += unit.frames + 8;
        self.depth += unit.depth;
        if self.frames > self.given.limits.nesting.saturating_mul(2) || self.depth > DEEPEST {
            return Err(Ask);
        }
        Ok(())
    }

    fn block(&mut self, block: &'a Block) -> Result<Flow> {
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
            Node::PrintAll(terms) => self.print_all(terms)?,
            Node::If { test, yes, no } => {
                let test = self.eval(test)?;
                let block = if self.is_true(test)? { yes } else { no };
                return self.block(block);
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
                    && map.message != super::value::NO_MESSAGE
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

    fn for_loop(&mut self, own: &'a For) -> Result<()> {
        let (mut items, mut len) = self.items(&own.items)?;
        if let Some(filter) = &own.filter {
            let mut kept = Vec::new();
            for index in 0..items.len() {
                self.account.pay_instructions(own.body.cost)?;
                self.unset(&own.slots);
                let item = self.item(&items, index);
                self.assign(&own.targets, item)?;
                let test = self.eval(filter)?;
                if self.is_true(test)? {
                    kept.push(item.one()?);
                }
            }
            len = Some(kept.len());
            items = Items::Own(kept);
        }
        let count = items.len();
        self.loops.push(Loop {
            index: 0,
            len,
            items,
        });
        for index in 0..count {
            self.unset(&own.slots);
            let open = self.loops.last_mut().ok_or(Ask)?;
            open.index = index;
            let open = self.loops.last().ok_or(Ask)?;
            let item = self.item(&open.items, index);
            self.assign(&own.targets, item)?;
            if self.block(&own.body)? == Flow::Break {
                break;
            }
        }
        self.loops.pop();
        if count == 0 {
            // The engine refuses jumps out of it.
            if self.block(&own.otherwise)? != Flow::Next {
                return Err(Ask);
            }
        }
        Ok(())
    }

    /// What a loop goes through, and its length where the engine would know it.
    fn items(&mut self, expr: &'a Expr) -> Result<(Items<'a>, Option<usize>)> {
        if let Expr::Pairs(of) = expr {
            return match self.eval(of)? {
                Val::Map(map) => Ok((Items::Pairs(map.entries), Some(map.entries.len()))),
                _ => Err(Ask),
            };
        }
        let value = self.eval(expr)?;
        let len = match value {
            Val::Undefined | Val::None => 0,
            Val::Seq(_, items) | Val::Slice { items, .. } => items.len(),
            Val::Messages { from, to, .. } => to.saturating_sub(from) as usize,
            Val::Range { len, .. } => len as usize,
            Val::Map(map) => {
                return Ok((Items::Keys(map.entries), Some(map.entries.len())));
            }
            Val::Held(value) => {
                let iter = value.try_iter().map_err(|_| Ask)?;
                let len = match iter.size_hint() {
                    (lower, Some(upper)) if lower == upper => Some(lower),
                    _ => None,
                };
                let mut items = Vec::new();
                for item in iter.checked() {
                    self.account.pay_instructions(1)?;
                    items.push(Val::held(self.store.value(item.map_err(|_| Ask)?)));
                }
                return Ok((Items::Own(items), len));
            }
            _ => return Err(Ask),
        };
        Ok((Items::List(value, len), Some(len)))
    }

    pub(super) fn item(&self, items: &Items<'a>, index: usize) -> Item<'a> {
        Item::One(match items {
            Items::List(list, _) => self.list_item(*list, index),
            Items::Keys(entries) => entries
                .at(index)
                .map_or(Val::Undefined, |(key, _)| Val::of(key)),
            Items::Pairs(entries) => match entries.at(index) {
                Some((key, value)) => return Item::Pair(Val::of(key), Val::of(value)),
                None => Val::Undefined,
            },
            Items::Own(items) => items.get(index).copied().unwrap_or(Val::Undefined),
        })
    }

    /// An item of a list that lies within it.
    pub(super) fn list_item(&self, list: Val<'a>, index: usize) -> Val<'a> {
        match list {
            Val::Seq(_, items) => items.get(index).map_or(Val::Undefined, Val::of),
            Val::Slice { items, reversed } => {
                let at = place(index, items.len(), reversed);
                at.and_then(|at| items.get(at))
                    .map_or(Val::Undefined, Val::of)
            }
            Val::Messages {
                from, to, reversed, ..
            } => {
                let len = to.saturating_sub(from) as usize;
                match place(index, len, reversed) {
                    Some(at) => self.message(from as usize + at),
                    None => Val::Undefined,
                }
            }
            Val::Range { start, step, len } => match i64::try_from(index) {
                Ok(at) if index < len as usize => Val::Int(start + step * at),
                _ => Val::Undefined,
            },
            _ => Val::Undefined,
        }
    }

    pub(super) fn message(&self, index: usize) -> Val<'a> {
        let value = match self.given.messages {
            Some(messages) => messages.get(index),
            None => {
                let messages = &self.given.conversation.messages;
                messages.get(index).map(|message| &message.value)
            }
        };
        value.map_or(Val::Undefined, |value| Val::message(value, index))
    }

    fn assign(&mut self, targets: &Targets, item: Item<'a>) -> Result<()> {
        let slots = match targets {
            Targets::One(slot) => return self.set(*slot, item.one()?),
            Targets::Many(slots) => slots,
        };
        let item = match (item, slots.as_slice()) {
            (Item::Pair(key, value), [first, second]) => {
                self.set(*first, key)?;
                return self.set(*second, value);
            }
            (item, _) => item.one()?,
        };
        let parts: &[Value] = match item {
            Val::Seq(_, parts) => parts,
            Val::Held(value) => value.downcast_object_ref::<Tuple>().ok_or(Ask)?,
            _ => return Err(Ask),
        };
        if parts.len() != slots.len() {
            return Err(Ask);
        }
        for (slot, part) in slots.iter().zip(parts) {
            self.set(*slot, Val::of(part))?;
        }
        Ok(())
    }

    fn set(&mut self, slot: usize, value: Val<'a>) -> Result<()> {
        let own = self.slots.get_mut(self.base + slot).ok_or(Ask)?;
        *own = value;
        Ok(())
    }

    fn unset(&mut self, slots: &Range<usize>) {
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

    /// What is printed meanwhile.
    pub(super) fn capture(
        &mut self,
        print: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<String> {
        let outer = std::mem::take(&mut self.page);
        self.captures += 1;
        print(self)?;
        self.captures -= 1;
        let text = std::mem::replace(&mut self.page, outer);
        self.account.pay_bytes(text.len())?;
        Ok(text)
    }

    /// Prints all that `print` prints as one piece.
    pub(super) fn whole(&mut self, print: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let from = self.page.len();
        self.whole += 1;
        print(self)?;
        self.whole -= 1;
        self.piece(from);
        Ok(())
    }

    pub(super) fn write(&mut self, text: &str) -> Result<()> {
        self.account.pay_bytes(text.len())?;
        let from = self.page.len();
        self.page.push_str(text);
        self.printed(from)
    }

    /// Prints what is written to the page itself.
    pub(super) fn write_with(
        &mut self,
        write: impl FnOnce(&mut String, &Account) -> Result<()>,
    ) -> Result<()> {
        let from = self.page.len();
        write(&mut self.page, &self.account)?;
        self.account.pay_bytes(self.page.len() - from)?;
        self.printed(from)
    }

    fn printed(&mut self, from: usize) -> Result<()> {
        if self.captures == 0 && self.page.len() > self.given.limits.output_bytes {
            return Err(Ask);
        }
        self.piece(from);
        Ok(())
    }

    fn piece(&mut self, from: usize) {
        let at = from..self.page.len();
        let wanted = self.given.tracking == Tracking::Turns && self.captures + self.whole == 0;
        if wanted && !at.is_empty() {
            let turn = self.turns.last().map(|(_, message)| *message);
            self.pieces.push(Piece { at, turn });
        }
    }
}

/// The place in a list of an item of a slice that is the list, forwards or backwards.
pub(super) fn place(index: usize, len: usize, reversed: bool) -> Option<usize> {
    match (index < len, reversed) {
        (true, false) => Some(index),
        (true, true) => len.checked_sub(index + 1),
        (false, _) => None,
    }
}
