//! The page that a run writes to.

use super::account::{Account, Ask, Result};
use super::run::Run;
use crate::render::page::{Piece, Tracking};

impl<'a> Run<'a> {
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

    pub(super) fn printed(&mut self, from: usize) -> Result<()> {
        if self.captures == 0 && self.page.len() > self.given.limits.output_bytes {
            return Err(Ask);
        }
        self.piece(from);
        Ok(())
    }

    pub(super) fn piece(&mut self, from: usize) {
        let at = from..self.page.len();
        let wanted = self.given.tracking == Tracking::Turns && self.captures + self.whole == 0;
        if wanted && !at.is_empty() {
            let turn = self.turns.last().map(|(_, message)| *message);
            self.pieces.push(Piece { at, turn });
        }
    }
}
