//! Filters, tests, methods and functions: those that programs have, and those that the engine is called for.

use super::code::{Call, Callee, Expr, Kind, Root, Shared};
use super::compile::{Compiler, NODE_COST};
use super::expressions::text_literal;
use crate::render::environment::KEPT;
use crate::render::json::Style;
use crate::render::methods::Ends;
use minijinja::machinery::ast;
use minijinja::machinery::ast::{CallArg, CallType};
use minijinja::value::{Kwargs, Value};

impl<'t, 's> Compiler<'_, 't, 's> {
    pub(super) fn filter(&mut self, filter: &'t ast::Filter<'s>) -> Expr {
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
        if !CALLED_FILTERS.contains(&name) || !names_known(filter) {
            return Expr::Ask;
        }
        let of = of(self);
        self.engine_call(Callee::Filter(name.into()), Some(*of), &filter.args)
    }

    pub(super) fn test(&mut self, test: &'t ast::Test<'s>) -> Expr {
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

    pub(super) fn call(&mut self, call: &'t ast::Call<'s>) -> Expr {
        match call.identify_call() {
            CallType::Function(name) => self.function(name, &call.args),
            CallType::Method(of, name) => self.method(of, name, &call.args),
            _ => Expr::Ask,
        }
    }

    pub(super) fn function(&mut self, name: &'s str, args: &'t [CallArg<'s>]) -> Expr {
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

    pub(super) fn method(
        &mut self,
        of: &'t ast::Expr<'s>,
        name: &str,
        args: &'t [CallArg<'s>],
    ) -> Expr {
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

    pub(super) fn engine_call(
        &mut self,
        what: Callee,
        of: Option<Expr>,
        given: &'t [CallArg<'s>],
    ) -> Expr {
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

/// Whether the filter or test that a filter is to apply, if any, is one that would be called itself.
fn names_known(filter: &ast::Filter<'_>) -> bool {
    let at = match filter.name {
        "map" | "select" | "reject" => 0,
        "selectattr" | "rejectattr" => 1,
        _ => return true,
    };
    let args = filter.args.iter();
    let mut positional = args.filter(|arg| !matches!(arg, CallArg::Kwarg(..)));
    match positional.nth(at) {
        None => true,
        Some(CallArg::Pos(name)) => text_literal(name).is_some_and(|name| {
            let own = [name.as_ref()];
            match filter.name {
                "map" => CALLED_FILTERS
                    .iter()
                    .chain(&OWN_FILTERS)
                    .any(|known| own == [*known]),
                _ => CALLED_TESTS
                    .iter()
                    .chain(&OWN_TESTS)
                    .any(|known| own == [*known]),
            }
        }),
        Some(_) => false,
    }
}

/// Filters that programs have.
const OWN_FILTERS: [&str; 6] = ["trim", "length", "count", "string", "tojson", "default"];

/// Tests that programs have.
const OWN_TESTS: [&str; 12] = [
    "defined",
    "undefined",
    "none",
    "string",
    "mapping",
    "sequence",
    "iterable",
    "boolean",
    "number",
    "integer",
    "true",
    "false",
];

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
