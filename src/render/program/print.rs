//! What `{{ … }}` prints.

use super::account::{Ask, Result};
use super::code::Expr;
use super::run::Run;
use super::value::Val;
use crate::render::json;
use crate::render::page::Tracking;
use crate::render::print::write_repr;
use std::fmt::Write;

impl<'a> Run<'a> {
    /// Prints what an expression is worth.
    pub(super) fn print(&mut self, expr: &'a Expr) -> Result<()> {
        match expr {
            Expr::ToJson(of, style) => {
                let of = self.eval(of)?;
                let value = self.value(of)?;
                let nesting = self.given.limits.nesting;
                self.write_with(|page, account| {
                    json::write(page, account, &value, style, nesting).map_err(|_| Ask)
                })
            }
            Expr::If(parts) => {
                let [test, yes, no] = &**parts;
                let branch = if self.test(test)? { yes } else { no };
                self.print(branch)
            }
            Expr::Call(call) => match self.macro_of(call)? {
                Some(index) => self.whole(|run| run.run_macro(index, call)),
                None => {
                    let value = self.call(call)?;
                    self.print_value(value)
                }
            },
            _ => match self.known_text(expr) {
                Some(text) => self.write(text),
                None => {
                    let value = self.eval(expr)?;
                    self.print_value(value)
                }
            },
        }
    }

    /// Prints texts that are added up.
    pub(super) fn print_all(&mut self, terms: &'a [Expr], sums: u64) -> Result<()> {
        let mut bytes = 0;
        self.whole(|run| {
            for term in terms {
                if let Expr::ToJson(..) = term {
                    let from = run.page.len();
                    run.print(term)?;
                    bytes += run.page.len().saturating_sub(from);
                    continue;
                }
                let text = run.text(term)?;
                bytes += text.len();
                run.write(text)?;
            }
            Ok(())
        })?;
        self.account.pay((bytes as u64).saturating_mul(sums))
    }

    pub(super) fn print_value(&mut self, value: Val<'a>) -> Result<()> {
        match value {
            Val::Str(text) => self.write(text),
            Val::Undefined => Ok(()),
            // The engine prints other values in pieces of its own.
            _ if self.given.tracking == Tracking::Turns => Err(Ask),
            _ => {
                let text = self.printed_text(value)?;
                // Lists and maps cost sixteen times their text.
                self.account.pay_bytes(text.len().saturating_mul(4))?;
                self.write(&text)
            }
        }
    }

    /// What is printed of a value that is no text.
    pub(super) fn printed_text(&mut self, value: Val<'a>) -> Result<String> {
        let mut text = String::new();
        match value {
            Val::Int(int) => write!(text, "{int}").map_err(|_| Ask)?,
            Val::Undefined => {}
            _ => {
                let value = self.value(value)?;
                let nesting = self.given.limits.nesting;
                write_repr(&mut text, &self.account, &value, nesting).map_err(|_| Ask)?;
            }
        }
        Ok(text)
    }
}
