//! What is left to the engine's own filters, tests, methods and functions, called with values made for them; and macros.

use super::account::{Ask, Result};
use super::code::{Call, Callee};
use super::run::Run;
use super::value::{Val, items};
use minijinja::Value;
use minijinja::value::{Kwargs, Tuple};

impl<'a> Run<'a> {
    pub(super) fn call(&mut self, call: &'a Call) -> Result<Val<'a>> {
        if let Some(index) = self.macro_of(call)? {
            let text = self.capture(|run| run.run_macro(index, call))?;
            return Ok(Val::Str(self.store.text(text)));
        }
        let mut args = Vec::with_capacity(call.args.len() + 1);
        for arg in &call.args {
            let arg = self.eval(arg)?;
            args.push(self.value(arg)?);
        }
        if !call.kwargs.is_empty() {
            let mut kwargs = Vec::with_capacity(call.kwargs.len());
            for (name, value) in &call.kwargs {
                let value = self.eval(value)?;
                kwargs.push((&**name, self.value(value)?));
            }
            args.push(Value::from(Kwargs::from_iter(kwargs)));
        }
        let function = match &call.what {
            Callee::Function(var) => match self.variable(var)? {
                Val::Function(function) => Some(function),
                _ => return Err(Ask),
            },
            _ => None,
        };
        if let Some(text) = args.first().and_then(Value::as_str) {
            self.account.pay_bytes(text.len())?;
        }
        let environment = self.given.environment;
        let state = self.state.get_or_insert_with(|| environment.empty_state());
        let result = match (&call.what, args.split_first()) {
            (Callee::Filter(name), _) => state.apply_filter(name, &args),
            (Callee::Test(name), _) => state.perform_test(name, &args).map(Value::from),
            (Callee::Method(name), Some((of, args))) => of.call_method(state, name, args),
            (Callee::Function(_), _) => match function {
                Some(function) => function.call(state, &args),
                None => return Err(Ask),
            },
            (Callee::Method(_), None) => return Err(Ask),
        };
        let used = state.fuel_levels().map_or(0, |(used, _)| used);
        let result = result.map_err(|_| Ask)?;
        // Fuel is counted in whole units there.
        self.account
            .pay_instructions(1 + used.saturating_sub(self.state_fuel))?;
        self.state_fuel = used;
        // Length of a list, of a map or of a tuple. An iterator is not asked: it may be read only once.
        let slots = match Val::held(&result) {
            Val::Str(text) => {
                self.account.pay_bytes(text.len())?;
                0
            }
            Val::Seq(list) => items(list).map_or(0, <[Value]>::len),
            Val::Map(map) => map.entries()?.len(),
            Val::Held(value) => value
                .downcast_object_ref::<Tuple>()
                .map_or(0, |own| own.len()),
            _ => 0,
        };
        self.account.pay_instructions(slots as u64)?;
        Ok(Val::held(self.store.value(result)))
    }

    /// The macro that is called, if it is one.
    pub(super) fn macro_of(&self, call: &'a Call) -> Result<Option<u32>> {
        match &call.what {
            Callee::Function(var) => match self.variable(var)? {
                Val::Macro(index) => Ok(Some(index)),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Prints what a macro prints.
    pub(super) fn run_macro(&mut self, index: u32, call: &'a Call) -> Result<()> {
        let mut positional = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            positional.push(self.eval(arg)?);
        }
        let mut named: Vec<(&'a str, Val<'a>)> = Vec::with_capacity(call.kwargs.len());
        for (name, value) in &call.kwargs {
            let value = self.eval(value)?;
            if named.iter().any(|(own, _)| *own == &**name) {
                return Err(Ask);
            }
            named.push((name, value));
        }
        // What is printed goes through a text of its own.
        self.call_macro(index, &positional, &named)
    }
}
