//! What a template may use up, since templates come from model folders and are untrusted code.

/// Bytes that an operation may create for one unit of fuel: the engine's own rate, which our filters
/// keep to.
pub(super) const BYTES_PER_FUEL: u64 = 64;

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

impl Default for TemplateLimits {
    fn default() -> Self {
        TemplateLimits {
            // A turn costs 100 to 500 units in the templates in use, and each pass over the text one
            // for 64 bytes, so this is some 10,000 turns. An endless loop is stopped within half a
            // second, and what is created on the way is at most 256 MiB of strings.
            fuel: 4_000_000,
            // Longer than any context window: some 16 million tokens.
            output_bytes: 64 << 20,
            // Templates nest a handful of macros, tool schemas some ten levels. The engine needs a few
            // KiB of stack for a macro call, and a worker has 2 MiB.
            nesting: 100,
        }
    }
}
