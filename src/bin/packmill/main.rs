//! The `packmill` command line.
fn main() {}
