//! What a template may use up, since templates come from model folders and are untrusted code.

use crate::recipe::LimitsConfig;

/// Bytes that an operation may create for one unit of fuel: the engine's own rate, which our filters
/// keep to.
pub(super) const BYTES_PER_FUEL: u64 = 64;

/// Where the fuel comes from: the engine's state, or the account of a program.
pub(super) trait Fuel {
    /// Takes so many units.
    ///
    /// # Errors
    /// There are none left.
    fn consume(&self, units: u64) -> Result<(), minijinja::Error>;
}

impl Fuel for minijinja::State<'_, '_> {
    fn consume(&self, units: u64) -> Result<(), minijinja::Error> {
        self.consume_fuel(units)
    }
}

/// Limits of one render. A template that passes one is refused with
/// [`Kind::Template`](crate::Kind::Template).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateLimits {
    /// Work: about one unit an instruction and one for each 64 bytes that an operation or a filter
    /// creates, so it also bounds memory, to 64 bytes a unit.
    pub fuel: u64,
    /// Size of the rendered text in bytes.
    pub output_bytes: usize,
    /// Depth of macro calls and recursive loops, and of values that are printed.
    pub nesting: usize,
}

impl TemplateLimits {
    /// The limits that a recipe gives.
    pub fn of(limits: &LimitsConfig) -> Self {
        TemplateLimits {
            fuel: limits.template_fuel,
            output_bytes: usize::try_from(limits.template_output_bytes).unwrap_or(usize::MAX),
            // Templates nest a handful of macros, tool schemas some ten levels. The engine needs a few
            // KiB of stack for a macro call, and a worker has 2 MiB.
            nesting: 100,
        }
    }
}

impl Default for TemplateLimits {
    fn default() -> Self {
        TemplateLimits::of(&LimitsConfig::default())
    }
}
