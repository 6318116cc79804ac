//! Tokenizers made in memory, for tests.
