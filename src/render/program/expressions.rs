//! Expressions.

use super::code::{Expr, Key, Needle, Order, Sum};
use super::compile::{Compiler, NODE_COST};
use minijinja::machinery::ast;
use minijinja::machinery::ast::{BinOpKind, CallArg, CallType, CompareOpKind, UnaryOpKind};
use minijinja::value::{Value, ValueKind};

impl<'t, 's> Compiler<'_, 't, 's> {
    pub(super) fn boxed(&mut self, expr: &'t ast::Expr<'s>) -> Box<Expr> {
        Box::new(self.expr(expr))
    }

    pub(super) fn pair(
        &mut self,
        left: &'t ast::Expr<'s>,
        right: &'t ast::Expr<'s>,
    ) -> Box<(Expr, Expr)> {
        Box::new((self.expr(left), self.expr(right)))
    }

    pub(super) fn expr(&mut self, expr: &'t ast::Expr<'s>) -> Expr {
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

    pub(super) fn compiled(&mut self, expr: &'t ast::Expr<'s>) -> Expr {
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

    pub(super) fn binary(&mut self, own: &'t ast::BinOp<'s>) -> Expr {
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

    pub(super) fn compare(
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

    pub(super) fn is_in(&mut self, left: &'t ast::Expr<'s>, right: &'t ast::Expr<'s>) -> Expr {
        match left.as_const() {
            Some(text) if text.kind() == ValueKind::String => {
                let text = text.as_str().unwrap_or_default();
                let finder = memchr::memmem::Finder::new(text).into_owned();
                Expr::Contains(self.boxed(right), Needle { finder })
            }
            _ => Expr::In(self.pair(left, right)),
        }
    }

    pub(super) fn attribute(&mut self, of: &'t ast::Expr<'s>, name: &str) -> Expr {
        if let ast::Expr::Var(var) = of
            && var.id == "loop"
        {
            return self.loop_field(name);
        }
        Expr::Attr(self.boxed(of), Key::of(name))
    }

    /// What is split at which literal text.
    pub(super) fn split(&mut self, expr: &'t ast::Expr<'s>) -> Option<(Box<Expr>, Box<str>)> {
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
}

/// A subscript that is an integer, not a boolean or a float, which the engine takes for one, too.
fn index_fits(expr: &ast::Expr<'_>) -> bool {
    expr.as_const()
        .is_some_and(|value| value.kind() == ValueKind::Number && value.is_integer())
}

pub(super) fn text_literal(expr: &ast::Expr<'_>) -> Option<Box<str>> {
    let value = expr.as_const()?;
    (value.kind() == ValueKind::String)
        .then(|| value.as_str().map(Into::into))
        .flatten()
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
