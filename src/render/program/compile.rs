//! From the engine's syntax tree to a program: statements.

use super::code::{Block, Branch, Code, Expr, For, Macro, Node, Targets, Unit};
use super::scope::{Frame, Names, Scope};
use crate::render::environment::GENERATION;
use crate::render::page::{TURN, TURNS_END};
use minijinja::machinery::ast;
use minijinja::machinery::ast::{BinOpKind, CallArg, CallType};

/// At most so many instructions for one node of the tree, its children not counted: a slice is five, a call with
/// keywords two for each of them.
pub(super) const NODE_COST: u64 = 8;

/// Deepest tree that is compiled: the compiler and the runs go down by recursion.
const DEEPEST: usize = 64;

/// Most macros and slots: more than any template has, few enough for their numbers.
const MOST: usize = 4096;

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

pub(super) struct Compiler<'a, 't, 's> {
    pub(super) names: &'a Names<'a>,
    pub(super) unit: Scope<'s>,
    /// While macros are compiled: the template's outermost frame.
    pub(super) top: Option<Frame<'s>>,
    pub(super) macros: Vec<&'t ast::Macro<'s>>,
    pub(super) cost: u64,
    /// Variables that were looked up.
    pub(super) lookups: u64,
    /// How deep the tree is here, and at most in this unit.
    pub(super) depth: usize,
    pub(super) deepest: usize,
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
    pub(super) fn down(&mut self) -> bool {
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
                Node::If(Box::new(Branch { test, yes, no }))
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
                let sums = terms.len().saturating_sub(2) as u64;
                Node::PrintAll(joined(terms), sums)
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
}

/// Literal texts that stand side by side made one.
fn joined(terms: Vec<Expr>) -> Vec<Expr> {
    let mut all: Vec<Expr> = Vec::with_capacity(terms.len());
    for term in terms {
        match (all.last_mut(), term) {
            (Some(Expr::Str(before)), Expr::Str(text)) => {
                *before = [&**before, &*text].concat().into()
            }
            (_, term) => all.push(term),
        }
    }
    all
}
