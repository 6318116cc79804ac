//! The `packmill` binary: [`packmill::cli`] with an allocator of its own.

use std::process::ExitCode;

/// A row is some hundred small values, made on one thread and dropped on another: a fifth of the time goes into memory
/// with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(packmill::cli::main(std::env::args_os()))
}
