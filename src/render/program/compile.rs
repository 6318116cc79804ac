//! From the engine's syntax tree to a program.
//!
//! Names are resolved here. The engine keeps variables in frames: one for the template, one for each loop (emptied with
//! each item), `with` and macro call. `set` writes to the innermost; a name is looked up from the innermost outwards and
//! then in what the render brings. So each frame gets slots of its own, and a lookup is the list of slots that
//! may hold the name.

use super::code::{
    Block, Call, Callee, Code, Expr, For, Kind, LoopField, Macro, Needle, Node, Order, Root,
    Shared, Sum, Targets, Unit, Var,
};
use crate::render::environment::{GENERATION, KEPT};
use crate::render::json::Style;
use crate::render::methods::Ends;
use crate::render::page::{TURN, TURNS_END};
use minijinja::machinery::ast;
use minijinja::machinery::ast::{BinOpKind, CallArg, CallType, CompareOpKind, UnaryOpKind};
use minijinja::value::{Kwargs, Value, ValueKind};
use std::ops::Range;

/// At most so many instructions for one node of the tree, its children not counted: a slice is five, a call with
/// keywords two for each of them.
const NODE_COST: u64 = 8;

/// Deepest tree that is compiled: the compiler and the runs go down by recursion.
const DEEPEST: usize = 64;

/// Most macros and slots: more than any template has, few enough for their numbers.
const MOST: usize = 4096;

/// What the environment and the recipe give names to.
pub(super) struct Names<'a> {
    pub(super) shared: &'a [(String, Value)],
    pub(super) globals: &'a [(String, Value)],
}

/// Compiles a template.
pub(super) fn compile(template: &ast::Stmt<'_>, names: &Names<'_>) -> Option<Code> {
    let ast::Stmt::Template(template) = template else {
        return None;
    };
    let mut compiler = Compiler {
        names,
        unit: Scope::default(),
        top: None,
        macros: Vec::new(),
        cost: 0,
        lookups: 0,
        depth: 0,
        deepest: 0,
    };
    compiler.unit.frames.push(Frame::default());
    let body = compiler.block(&template.children);
    let mut outer = std::mem::take(&mut compiler.unit);
    let top = outer.frames.pop().unwrap_or_default();
    let main = Unit {
        body,
        slots: outer.slots,
        frames: outer.deepest,
        depth: std::mem::take(&mut compiler.deepest),
    };
    compiler.top = Some(top);
    // Bodies of macros come last: they see all of the outermost frame's variables.
    let declared = std::mem::take(&mut compiler.macros);
    let macros = declared.into_iter().map(|own| compiler.macro_body(own));
    let macros: Vec<Macro> = macros.collect();
    (main.slots <= MOST && macros.len() <= MOST).then_some(Code {
        main,
        macros,
        declaration: NODE_COST + compiler.lookups,
    })
}

struct Compiler<'a, 't, 's> {
    names: &'a Names<'a>,
    unit: Scope<'s>,
    /// While macros are compiled: the template's outermost frame.
    top: Option<Frame<'s>>,
    macros: Vec<&'t ast::Macro<'s>>,
    cost: u64,
    /// Variables that were looked up.
    lookups: u64,
    /// How deep the tree is here, and at most in this unit.
    depth: usize,
    deepest: usize,
}

/// The frames that are open in a unit.
#[derive(Default)]
struct Scope<'s> {
    frames: Vec<Frame<'s>>,
    slots: usize,
    deepest: usize,
    /// Names that the unit sets anywhere so far.
    set: Vec<&'s str>,
}

#[derive(Default)]
struct Frame<'s> {
    names: Vec<(&'s str, usize)>,
    is_loop: bool,
}

impl<'s> Scope<'s> {
    fn open(&mut self, is_loop: bool) -> usize {
        self.frames.push(Frame {
            names: Vec::new(),
            is_loop,
        });
        self.deepest = self.deepest.max(self.frames.len());
        self.slots
    }

    /// Closes the innermost frame: the slots that were made since it was opened.
    fn close(&mut self, from: usize) -> Range<usize> {
        self.frames.pop();
        from..self.slots
    }

    /// The slot of a name in the innermost frame.
    fn slot(&mut self, name: &'s str) -> usize {
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

impl<'t, 's> Compiler<'_, 't, 's> {
    fn macro_body(&mut self, own: &'t ast::Macro<'s>) -> Macro {
        self.unit = Scope::default();
        self.unit.open(false);
        self.cost = 0;
        let names: Vec<&'s str> = own
            .args
            .iter()
            .map(|arg| match arg {
                ast::Expr::Var(name) => name.id,
                _ => "",
            })
            .collect();
        for name in &names {
            self.unit.slot(name);
        }
        let plain = names.len();
        let given = plain - own.defaults.len().min(plain);
        let mut fit =
            self.unit.slots == plain && !names.contains(&"") && !names.contains(&"caller");
        let mut args = Vec::with_capacity(plain);
        for (index, name) in names.iter().enumerate() {
            // What a default reads may not be there yet, since the engine takes arguments from last to first.
            let default = index.checked_sub(given).and_then(|at| own.defaults.get(at));
            fit &= default.is_none_or(|default| default.as_const().is_some());
            let default = default.map(|default| self.expr(default));
            args.push(((*name).to_owned(), default));
        }
        let mut body = self.block(&own.body);
        if !fit {
            body = Block {
                nodes: vec![Node::Ask],
                cost: 0,
            };
        }
        body.cost += NODE_COST * (1 + plain as u64);
        let scope = std::mem::take(&mut self.unit);
        Macro {
            args,
            unit: Unit {
                body,
                slots: scope.slots,
                frames: scope.deepest,
                depth: std::mem::take(&mut self.deepest),
            },
        }
    }

    /// One level down, if that is not too deep.
    fn down(&mut self) -> bool {
        let fits = self.depth < DEEPEST;
        self.depth += usize::from(fits);
        self.deepest = self.deepest.max(self.depth);
        fits
    }

    fn block(&mut self, statements: &'t [ast::Stmt<'s>]) -> Block {
        if statements.is_empty() {
            return Block::default();
        }
        if !self.down() {
            return Block {
                nodes: vec![Node::Ask],
                cost: 0,
            };
        }
        let outer = std::mem::take(&mut self.cost);
        let mut nodes: Vec<Node> = Vec::with_capacity(statements.len());
        for statement in statements {
            nodes.push(self.statement(statement));
        }
        self.depth -= 1;
        let cost = std::mem::replace(&mut self.cost, outer);
        Block { nodes, cost }
    }

    fn statement(&mut self, statement: &'t ast::Stmt<'s>) -> Node {
        self.cost += NODE_COST;
        match statement {
            ast::Stmt::EmitRaw(raw) => Node::Text(raw.raw.into()),
            ast::Stmt::EmitExpr(print) => self.print(&print.expr),
            ast::Stmt::IfCond(condition) => {
                let test = self.expr(&condition.expr);
                let yes = self.block(&condition.true_body);
                let no = self.block(&condition.false_body);
                Node::If { test, yes, no }
            }
            ast::Stmt::ForLoop(own) => self.for_loop(own),
            ast::Stmt::Set(set) => {
                let value = self.expr(&set.expr);
                match &set.target {
                    ast::Expr::Var(name) => Node::Set {
                        slot: self.unit.slot(name.id),
                        value,
                    },
                    ast::Expr::GetAttr(field) => Node::SetField {
                        namespace: self.expr(&field.expr),
                        field: field.name.into(),
                        value,
                    },
                    _ => {
                        self.forget(&set.target);
                        Node::Ask
                    }
                }
            }
            ast::Stmt::SetBlock(set) => {
                let body = self.block(&set.body);
                let filter = set.filter.as_ref().map(|filter| self.expr(filter));
                match &set.target {
                    ast::Expr::Var(name) => Node::Capture {
                        slot: Some(self.unit.slot(name.id)),
                        filter,
                        body,
                    },
                    _ => Node::Ask,
                }
            }
            ast::Stmt::WithBlock(with) => {
                let from = self.unit.open(false);
                let mut nodes = Vec::new();
                for (target, value) in &with.assignments {
                    self.cost += NODE_COST;
                    let value = self.expr(value);
                    nodes.push(match target {
                        ast::Expr::Var(name) => Node::Set {
                            slot: self.unit.slot(name.id),
                            value,
                        },
                        _ => Node::Ask,
                    });
                }
                let mut body = self.block(&with.body);
                nodes.append(&mut body.nodes);
                body.nodes = nodes;
                let slots = self.unit.close(from);
                Node::With { slots, body }
            }
            ast::Stmt::FilterBlock(filter) => {
                let body = self.block(&filter.body);
                let is_generation = matches!(&filter.filter, ast::Expr::Filter(own)
                    if own.name == GENERATION && own.expr.is_none() && own.args.is_empty());
                if is_generation {
                    return Node::Generation(body);
                }
                Node::Capture {
                    slot: None,
                    filter: Some(self.expr(&filter.filter)),
                    body,
                }
            }
            ast::Stmt::Macro(own) => {
                // One that is declared in a frame of its own closes over more than the outermost frame.
                if self.top.is_some() || self.unit.frames.len() != 1 {
                    return Node::Ask;
                }
                let index = self.macros.len() as u32;
                self.macros.push(own);
                Node::Macro {
                    slot: self.unit.slot(own.name),
                    index,
                }
            }
            ast::Stmt::Break(_) => Node::Break,
            ast::Stmt::Continue(_) => Node::Continue,
            ast::Stmt::Do(call) => self.turn(&call.call),
            _ => Node::Ask,
        }
    }

    /// Targets that are not compiled: their names are set to what nobody knows, so a run must not go on behind them.
    fn forget(&mut self, target: &ast::Expr<'s>) {
        if let ast::Expr::List(list) = target {
            for item in &list.items {
                self.forget(item);
            }
        }
        if let ast::Expr::Var(name) = target {
            self.unit.slot(name.id);
        }
    }

    fn print(&mut self, expr: &'t ast::Expr<'s>) -> Node {
        if let ast::Expr::Call(call) = expr {
            // `self.block()`, `super()` and `loop()` are no values.
            match call.identify_call() {
                CallType::Function("super" | "loop") | CallType::Block(_) => return Node::Ask,
                _ => {}
            }
        }
        let mut terms = Vec::new();
        self.terms(expr, &mut terms);
        match (terms.pop(), terms.is_empty()) {
            (Some(only), true) => Node::Print(only),
            (Some(last), false) => {
                terms.push(last);
                // Each `+` makes a text of all before it.
                self.cost += NODE_COST * terms.len() as u64;
                Node::PrintAll(terms)
            }
            (None, _) => Node::Ask,
        }
    }

    /// What is added up to an expression.
    fn terms(&mut self, expr: &'t ast::Expr<'s>, terms: &mut Vec<Expr>) {
        if let ast::Expr::BinOp(sum) = expr
            && matches!(sum.op, BinOpKind::Add)
            && expr.as_const().is_none()
        {
            self.cost += NODE_COST;
            if !self.down() {
                terms.push(Expr::Ask);
                return;
            }
            // Of texts, sums in brackets are the same as sums without.
            self.terms(&sum.left, terms);
            self.terms(&sum.right, terms);
            self.depth -= 1;
            return;
        }
        terms.push(self.expr(expr));
    }

    fn for_loop(&mut self, own: &'t ast::ForLoop<'s>) -> Node {
        if own.recursive {
            return Node::Ask;
        }
        let items = self.items(&own.iter);
        let from = self.unit.open(true);
        let targets = match &own.target {
            ast::Expr::Var(name) => Some(Targets::One(self.unit.slot(name.id))),
            ast::Expr::List(list) => {
                let names = list.items.iter().map(|item| match item {
                    ast::Expr::Var(name) => Some(self.unit.slot(name.id)),
                    _ => None,
                });
                let slots: Option<Vec<usize>> = names.collect();
                // A name that comes twice has its last value.
                slots.map(Targets::Many)
            }
            _ => None,
        };
        let before = std::mem::take(&mut self.cost);
        let filter = own.filter_expr.as_ref().map(|filter| {
            // The loop that filters has no `loop`.
            if let Some(frame) = self.unit.frames.last_mut() {
                frame.is_loop = false;
            }
            let filter = self.expr(filter);
            if let Some(frame) = self.unit.frames.last_mut() {
                frame.is_loop = true;
            }
            filter
        });
        let unpacked = match &targets {
            Some(Targets::Many(slots)) => slots.len() as u64,
            _ => 1,
        };
        let per_item = std::mem::replace(&mut self.cost, before) + (3 + unpacked) * NODE_COST;
        let mut body = self.block(&own.body);
        body.cost += per_item;
        let slots = self.unit.close(from);
        let otherwise = self.block(&own.else_body);
        match targets {
            Some(targets) => Node::For(Box::new(For {
                items,
                filter,
                targets,
                slots,
                body,
                otherwise,
            })),
            None => Node::Ask,
        }
    }

    /// What a loop goes through: pairs of a map need not be made.
    fn items(&mut self, expr: &'t ast::Expr<'s>) -> Expr {
        match expr {
            ast::Expr::Filter(filter) if filter.name == "items" && filter.args.is_empty() => {
                if let Some(of) = &filter.expr {
                    self.cost += NODE_COST;
                    return Expr::Pairs(Box::new(self.expr(of)));
                }
            }
            ast::Expr::Call(call) if call.args.is_empty() => {
                if let CallType::Method(of, "items") = call.identify_call() {
                    self.cost += NODE_COST;
                    return Expr::Pairs(Box::new(self.expr(of)));
                }
            }
            _ => {}
        }
        self.expr(expr)
    }

    fn turn(&mut self, call: &'t ast::Call<'s>) -> Node {
        let id = call.args.first().and_then(|arg| match arg {
            CallArg::Pos(id) => usize::try_from(id.as_const()?).ok(),
            _ => None,
        });
        match (call.identify_call(), id, call.args.get(1)) {
            (CallType::Function(TURN), Some(id), Some(CallArg::Pos(item))) => {
                Node::Turn(id, self.expr(item))
            }
            (CallType::Function(TURNS_END), Some(id), None) => Node::TurnsEnd(id),
            _ => Node::Ask,
        }
    }

    fn boxed(&mut self, expr: &'t ast::Expr<'s>) -> Box<Expr> {
        Box::new(self.expr(expr))
    }

    fn pair(&mut self, left: &'t ast::Expr<'s>, right: &'t ast::Expr<'s>) -> Box<(Expr, Expr)> {
        Box::new((self.expr(left), self.expr(right)))
    }

    fn expr(&mut self, expr: &'t ast::Expr<'s>) -> Expr {
        self.cost += NODE_COST;
        if !self.down() {
            return Expr::Ask;
        }
        let compiled = match expr.as_const() {
            Some(value) => literal(value),
            None => self.compiled(expr),
        };
        self.depth -= 1;
        compiled
    }

    fn compiled(&mut self, expr: &'t ast::Expr<'s>) -> Expr {
        match expr {
            ast::Expr::Var(name) => self.variable(name.id),
            ast::Expr::Slice(slice) => {
                let mut end = |end: &'t Option<ast::Expr<'s>>| match end {
                    Some(end) => self.expr(end),
                    None => Expr::None,
                };
                let (start, stop, step) = (end(&slice.start), end(&slice.stop), end(&slice.step));
                Expr::Slice(Box::new([self.expr(&slice.expr), start, stop, step]))
            }
            ast::Expr::UnaryOp(own) => match own.op {
                UnaryOpKind::Not => Expr::Not(self.boxed(&own.expr)),
                UnaryOpKind::Neg => {
                    let of = self.expr(&own.expr);
                    Expr::Calculate(Sum::Sub, Box::new((Expr::Int(0), of)))
                }
            },
            ast::Expr::BinOp(own) => self.binary(own),
            ast::Expr::Compare(own) => match own.ops.as_slice() {
                [only] => self.compare(only.op, &own.expr, &only.expr),
                _ => Expr::Ask,
            },
            ast::Expr::IfExpr(own) => {
                let test = self.expr(&own.test_expr);
                let yes = self.expr(&own.true_expr);
                let no = match &own.false_expr {
                    Some(no) => self.expr(no),
                    None => Expr::Undefined,
                };
                Expr::If(Box::new([test, yes, no]))
            }
            ast::Expr::Filter(filter) => self.filter(filter),
            ast::Expr::Test(test) => self.test(test),
            ast::Expr::GetAttr(own) => self.attribute(&own.expr, own.name),
            ast::Expr::GetItem(own) => match own.subscript_expr.as_const() {
                Some(key) if key.kind() == ValueKind::String => {
                    self.attribute(&own.expr, key.as_str().unwrap_or_default())
                }
                Some(index) => match (self.split(&own.expr), index.as_i64()) {
                    (Some((of, separator)), Some(index)) if index_fits(&own.subscript_expr) => {
                        Expr::Split(of, separator, index)
                    }
                    _ => Expr::Item(self.pair(&own.expr, &own.subscript_expr)),
                },
                None => Expr::Item(self.pair(&own.expr, &own.subscript_expr)),
            },
            ast::Expr::Call(call) => self.call(call),
            ast::Expr::List(list) => {
                Expr::List(list.items.iter().map(|item| self.expr(item)).collect())
            }
            _ => Expr::Ask,
        }
    }

    fn variable(&mut self, name: &'s str) -> Expr {
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
    fn lookup(&mut self, name: &'s str) -> Option<Var> {
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

    fn root(&self, name: &str) -> Root {
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

    fn binary(&mut self, own: &'t ast::BinOp<'s>) -> Expr {
        let compare = |op| Some(op);
        let order = match own.op {
            BinOpKind::Eq => compare(CompareOpKind::Eq),
            BinOpKind::Ne => compare(CompareOpKind::Ne),
            BinOpKind::Lt => compare(CompareOpKind::Lt),
            BinOpKind::Lte => compare(CompareOpKind::Lte),
            BinOpKind::Gt => compare(CompareOpKind::Gt),
            BinOpKind::Gte => compare(CompareOpKind::Gte),
            BinOpKind::In => compare(CompareOpKind::In),
            _ => None,
        };
        if let Some(order) = order {
            return self.compare(order, &own.left, &own.right);
        }
        let sum = match own.op {
            BinOpKind::ScAnd => return Expr::And(self.pair(&own.left, &own.right)),
            BinOpKind::ScOr => return Expr::Or(self.pair(&own.left, &own.right)),
            BinOpKind::Concat => return Expr::Concat(self.pair(&own.left, &own.right)),
            BinOpKind::Add => Sum::Add,
            BinOpKind::Sub => Sum::Sub,
            BinOpKind::Mul => Sum::Mul,
            BinOpKind::Rem => Sum::Rem,
            BinOpKind::FloorDiv => Sum::FloorDiv,
            _ => return Expr::Ask,
        };
        Expr::Calculate(sum, self.pair(&own.left, &own.right))
    }

    fn compare(
        &mut self,
        op: CompareOpKind,
        left: &'t ast::Expr<'s>,
        right: &'t ast::Expr<'s>,
    ) -> Expr {
        let order = match op {
            CompareOpKind::Eq => Order::Eq,
            CompareOpKind::Ne => Order::Ne,
            CompareOpKind::Lt => Order::Lt,
            CompareOpKind::Lte => Order::Lte,
            CompareOpKind::Gt => Order::Gt,
            CompareOpKind::Gte => Order::Gte,
            CompareOpKind::In => return self.is_in(left, right),
            CompareOpKind::NotIn => return Expr::Not(Box::new(self.is_in(left, right))),
        };
        Expr::Compare(order, self.pair(left, right))
    }

    fn is_in(&mut self, left: &'t ast::Expr<'s>, right: &'t ast::Expr<'s>) -> Expr {
        match left.as_const() {
            Some(text) if text.kind() == ValueKind::String => {
                let text = text.as_str().unwrap_or_default();
                let finder = memchr::memmem::Finder::new(text).into_owned();
                Expr::Contains(self.boxed(right), Needle { finder })
            }
            _ => Expr::In(self.pair(left, right)),
        }
    }

    fn attribute(&mut self, of: &'t ast::Expr<'s>, name: &str) -> Expr {
        if let ast::Expr::Var(var) = of
            && var.id == "loop"
        {
            return self.loop_field(name);
        }
        Expr::Attr(self.boxed(of), name.into())
    }

    fn loop_field(&mut self, name: &str) -> Expr {
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

    /// What is split at which literal text.
    fn split(&mut self, expr: &'t ast::Expr<'s>) -> Option<(Box<Expr>, Box<str>)> {
        let ast::Expr::Call(call) = expr else {
            return None;
        };
        let CallType::Method(of, "split") = call.identify_call() else {
            return None;
        };
        let [CallArg::Pos(separator)] = call.args.as_slice() else {
            return None;
        };
        let separator = text_literal(separator).filter(|text| !text.is_empty())?;
        self.cost += 2 * NODE_COST;
        Some((self.boxed(of), separator))
    }

    fn filter(&mut self, filter: &'t ast::Filter<'s>) -> Expr {
        // The lexer leaves white space in a name that is written with it.
        let name = filter.name;
        let of = |compiler: &mut Self| match &filter.expr {
            Some(of) => compiler.boxed(of),
            None => Box::new(Expr::Captured),
        };
        let is_plain = filter.args.is_empty();
        match name {
            "trim" if is_plain => return Expr::Trim(of(self)),
            "length" | "count" if is_plain => return Expr::Length(of(self)),
            "string" if is_plain => return Expr::ToText(of(self)),
            "safe" if is_plain => return Expr::Safe(of(self)),
            KEPT if is_plain => return Expr::Keep(of(self)),
            "tojson" => {
                if let Some(style) =
                    literal_args(&filter.args).and_then(|args| Style::from_args(&args).ok())
                {
                    return Expr::ToJson(of(self), Box::new(style));
                }
                return Expr::Ask;
            }
            "default" | "d" => {
                let (value, also_false) = match filter.args.as_slice() {
                    [] => (None, false),
                    [CallArg::Pos(value)] => (Some(value), false),
                    [CallArg::Pos(value), CallArg::Pos(flag)]
                    | [CallArg::Pos(value), CallArg::Kwarg("boolean", flag)] => {
                        match flag.as_const() {
                            Some(flag) => (Some(value), flag.is_true()),
                            None => return Expr::Ask,
                        }
                    }
                    _ => return Expr::Ask,
                };
                let of = of(self);
                let value = match value {
                    Some(value) => self.boxed(value),
                    None => Box::new(Expr::Str("".into())),
                };
                return Expr::Default(of, value, also_false);
            }
            _ => {}
        }
        if !CALLED_FILTERS.contains(&name) {
            return Expr::Ask;
        }
        let of = of(self);
        self.engine_call(Callee::Filter(name.into()), Some(*of), &filter.args)
    }

    fn test(&mut self, test: &'t ast::Test<'s>) -> Expr {
        let kind = match test.name {
            "defined" => Kind::Defined,
            "undefined" => Kind::Undefined,
            "none" => Kind::None,
            "string" => Kind::Text,
            "mapping" => Kind::Mapping,
            "sequence" => Kind::Sequence,
            "iterable" => Kind::Iterable,
            "boolean" => Kind::Boolean,
            "number" => Kind::Number,
            "integer" => Kind::Integer,
            "true" => Kind::True,
            "false" => Kind::False,
            name if CALLED_TESTS.contains(&name) => {
                let of = self.expr(&test.expr);
                return self.engine_call(Callee::Test(name.into()), Some(of), &test.args);
            }
            _ => return Expr::Ask,
        };
        if !test.args.is_empty() {
            return Expr::Ask;
        }
        Expr::Is(kind, self.boxed(&test.expr))
    }

    fn call(&mut self, call: &'t ast::Call<'s>) -> Expr {
        match call.identify_call() {
            CallType::Function(name) => self.function(name, &call.args),
            CallType::Method(of, name) => self.method(of, name, &call.args),
            _ => Expr::Ask,
        }
    }

    fn function(&mut self, name: &'s str, args: &'t [CallArg<'s>]) -> Expr {
        if matches!(name, "super" | "loop" | "caller") {
            return Expr::Ask;
        }
        let Some(var) = self.lookup(name) else {
            return Expr::Ask;
        };
        let is_global = var.slots.is_empty()
            && var.top.is_none()
            && matches!(&var.root, Root::Shared(_, Shared::Function(_)));
        match name {
            "namespace" if is_global => {
                let mut fields: Vec<(Box<str>, Expr)> = Vec::new();
                for arg in args {
                    let CallArg::Kwarg(name, value) = arg else {
                        return Expr::Ask;
                    };
                    if name.starts_with('_') || fields.iter().any(|(own, _)| **own == **name) {
                        return Expr::Ask;
                    }
                    self.cost += NODE_COST;
                    fields.push(((*name).into(), self.expr(value)));
                }
                Expr::Namespace(fields)
            }
            "range" if is_global => {
                let args = args.iter().map(|arg| match arg {
                    CallArg::Pos(arg) => self.expr(arg),
                    _ => Expr::Ask,
                });
                Expr::Range(args.collect())
            }
            _ if is_global && !matches!(name, "strftime_now" | "dict") => Expr::Ask,
            _ => self.engine_call(Callee::Function(var), None, args),
        }
    }

    fn method(&mut self, of: &'t ast::Expr<'s>, name: &str, args: &'t [CallArg<'s>]) -> Expr {
        let text = match args {
            [CallArg::Pos(only)] => text_literal(only),
            _ => None,
        };
        match (name, args, text) {
            ("strip" | "lstrip" | "rstrip", args, text) if args.is_empty() || text.is_some() => {
                let ends = match name {
                    "lstrip" => Ends::Left,
                    "rstrip" => Ends::Right,
                    _ => Ends::Both,
                };
                Expr::Strip(ends, self.boxed(of), text)
            }
            ("startswith", _, Some(text)) => Expr::StartsWith(self.boxed(of), text),
            ("endswith", _, Some(text)) => Expr::EndsWith(self.boxed(of), text),
            ("get", [CallArg::Pos(key)], _) => {
                let parts = [self.expr(of), self.expr(key), Expr::None];
                Expr::Get(Box::new(parts))
            }
            ("get", [CallArg::Pos(key), CallArg::Pos(default)], _) => {
                let parts = [self.expr(of), self.expr(key), self.expr(default)];
                Expr::Get(Box::new(parts))
            }
            _ if CALLED_METHODS.contains(&name) => {
                let of = self.expr(of);
                self.engine_call(Callee::Method(name.into()), Some(of), args)
            }
            _ => Expr::Ask,
        }
    }

    fn engine_call(&mut self, what: Callee, of: Option<Expr>, given: &'t [CallArg<'s>]) -> Expr {
        let mut args: Vec<Expr> = of.into_iter().collect();
        let mut kwargs = Vec::new();
        for arg in given {
            self.cost += NODE_COST;
            match arg {
                CallArg::Pos(value) => args.push(self.expr(value)),
                CallArg::Kwarg(name, value) => kwargs.push(((*name).into(), self.expr(value))),
                _ => return Expr::Ask,
            }
        }
        Expr::Call(Box::new(Call { what, args, kwargs }))
    }
}

/// Filters of the engine's that are called: they give the same for the same arguments, wherever in a template they stand.
const CALLED_FILTERS: [&str; 27] = [
    "abs",
    "batch",
    "capitalize",
    "dictsort",
    "first",
    "float",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "sort",
    "title",
    "upper",
];

/// Tests of the engine's that are called.
const CALLED_TESTS: [&str; 22] = [
    "odd",
    "even",
    "divisibleby",
    "float",
    "lower",
    "upper",
    "eq",
    "equalto",
    "==",
    "ne",
    "!=",
    "lt",
    "lessthan",
    "<",
    "le",
    "<=",
    "gt",
    "greaterthan",
    ">",
    "ge",
    ">=",
    "in",
];

/// Methods that are called.
const CALLED_METHODS: [&str; 24] = [
    "capitalize",
    "count",
    "endswith",
    "find",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdigit",
    "islower",
    "isspace",
    "isupper",
    "items",
    "join",
    "keys",
    "lower",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "split",
    "splitlines",
    "startswith",
    "upper",
];

/// A subscript that is an integer, not a boolean or a float, which the engine takes for one, too.
fn index_fits(expr: &ast::Expr<'_>) -> bool {
    expr.as_const()
        .is_some_and(|value| value.kind() == ValueKind::Number && value.is_integer())
}

fn text_literal(expr: &ast::Expr<'_>) -> Option<Box<str>> {
    let value = expr.as_const()?;
    (value.kind() == ValueKind::String)
        .then(|| value.as_str().map(Into::into))
        .flatten()
}

/// Arguments that are all literals, as the engine passes them.
fn literal_args(args: &[CallArg<'_>]) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    let mut kwargs = Vec::new();
    for arg in args {
        match arg {
            CallArg::Pos(value) => values.push(value.as_const()?),
            CallArg::Kwarg(name, value) => kwargs.push((*name, value.as_const()?)),
            _ => return None,
        }
    }
    if !kwargs.is_empty() {
        values.push(Value::from(Kwargs::from_iter(kwargs)));
    }
    Some(values)
}

fn literal(value: Value) -> Expr {
    match value.kind() {
        ValueKind::None => Expr::None,
        ValueKind::Undefined => Expr::Undefined,
        ValueKind::Bool => Expr::Bool(value.is_true()),
        ValueKind::String => Expr::Str(value.as_str().unwrap_or_default().into()),
        ValueKind::Number => match value.is_integer().then(|| value.as_i64()).flatten() {
            Some(int) => Expr::Int(int),
            None => Expr::Value(value),
        },
        _ => Expr::Value(value),
    }
}
