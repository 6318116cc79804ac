//! What a run may use up, and how it gives up.

use crate::render::limits::{BYTES_PER_FUEL, Fuel};
use minijinja::ErrorKind;
use std::cell::Cell;

/// The run cannot go on: the engine has to render the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask;

pub(super) type Result<T> = std::result::Result<T, Ask>;

/// Bytes that the engine charges for one byte of text on its way through an operation, into a capture and out of it.
const PER_BYTE: u64 = 8;

/// Units of the engine's fuel that are left, in 64ths.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) left: Cell<u64>,
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
