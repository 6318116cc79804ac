//! Which tokenizer engine serves.

use crate::tokenize::Tokenizer;

/// Name and number of ids of the engine that will serve, and why it is no fast one where one was wanted. Waits for one that
/// is being made.
pub(crate) fn engine(engine: &dyn Tokenizer) -> (String, Option<String>) {
    let refused = engine.wait().err();
    let refused = refused.map(|why| format!("the fast engine is not used: {why}"));
    let name = format!("{}, {} ids", engine.name(), engine.vocab_len());
    (name, refused)
}
