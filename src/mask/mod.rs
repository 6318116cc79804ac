//! Stage 4 of 7: mask.
